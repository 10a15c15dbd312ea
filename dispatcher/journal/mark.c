/* SPDX-License-Identifier: Apache-2.0 */
/* mark: see mark.h. */
#include "mark.h"

#include <string.h>

#include "crash.h"
#include "journal.h"
#include "log.h"

bool
mark_may(const struct dispatcher *d, const struct flight *f)
{
	return flight_run(f)->running && !d->fenced;
}

bool
mark_before(struct dispatcher *d, struct flight *f)
{
	struct journal_attempt attempt = { d->owner, flight_run(f)->id, f->id, f->attempt };
	int slot;

	CRASH_POINT("before_mark");
	slot = journal_dot(d->journal, f->slot, &attempt);
	if (slot < 0) {
		log_warn("no slot of the journal is free: outcomes wait for PostgreSQL");
		return false;
	}
	f->slot = slot;
	CRASH_POINT("after_mark");
	return true;
}

void
mark_answer(struct dispatcher *d, const struct flight *f, const struct outcome *o)
{
	struct journal_answer answer = { .kind = o->kind,
		.cls = o->cls,
		.code = o->code,
		.text = o->kind == OUTCOME_SENT ? o->remote_id : slice_str(o->reason) };

	if (f->slot < 0 || o->kind == OUTCOME_IN_DOUBT)
		return;
	memcpy(answer.enhanced, o->enhanced, sizeof(answer.enhanced));
	CRASH_POINT("before_answer_mark");
	journal_answer(d->journal, f->slot, &answer);
	CRASH_POINT("after_answer_mark");
}
