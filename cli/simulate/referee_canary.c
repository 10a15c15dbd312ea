/* SPDX-License-Identifier: Apache-2.0 */
/* referee_canary: see referee_parts.h. Rule 21: nobody behind the first recipients of a run before these were
 * tried, waited for and found to fare well. */
#include "referee_parts.h"

#include <stdlib.h>

#include "at_least.h"

enum { NOT_TRIED, IN_CANARY, BEHIND };

struct canary {
	uint64_t tried, sent, failed;
	double last_at;
	bool judged;
};

int
canary_begin(struct referee *f)
{
	bool any = false;

	for (size_t i = 0; i < f->t.runs; i++)
		any = any || f->t.run[i].canary > 0;
	if (!any)
		return 0;
	f->canaries = calloc(f->t.runs, sizeof(*f->canaries));
	f->canary_run = calloc((size_t)f->t.recipients + 1, sizeof(*f->canary_run));
	f->canary_place = calloc((size_t)f->t.recipients + 1, 1);
	return f->canaries != NULL && f->canary_run != NULL && f->canary_place != NULL ? 0 : -1;
}

void
canary_release(struct referee *f)
{
	free(f->canaries);
	free(f->canary_run);
	free(f->canary_place);
}

/* When the first one behind it leaves. */
static void
judge(struct referee *f, struct canary *c, const struct referee_run *run, double now)
{
	uint64_t not_taken = c->tried - c->sent - c->failed;

	c->judged = true;
	referee_check(f, 21, now >= c->last_at + run->canary_wait_us,
	    "sent to others %.0f s behind the last of a canary, at second %.0f",
	    (now - c->last_at) / S_US, referee_at_s(f, now));
	referee_check(f, 21,
	    at_least_per_cent(c->failed, c->tried) < run->bounce_line &&
		at_least_per_cent(not_taken, c->tried) < run->canary_line,
	    "sent to others, though of a canary of %llu %llu failed and %llu were not taken, at "
	    "second "
	    "%.0f",
	    (unsigned long long)c->tried, (unsigned long long)c->failed,
	    (unsigned long long)not_taken, referee_at_s(f, now));
}

void
canary_leave(struct referee *f, const struct referee_leave *l)
{
	const struct referee_run *run = &f->t.run[l->run];
	struct canary *c;

	if (f->canaries == NULL || run->canary == 0 || f->canary_place[l->recipient] != NOT_TRIED)
		return;
	c = &f->canaries[l->run];
	f->canary_place[l->recipient] = c->tried < run->canary ? IN_CANARY : BEHIND;
	f->canary_run[l->recipient] = (uint16_t)l->run;
	if (f->canary_place[l->recipient] == IN_CANARY) {
		c->tried++;
		c->last_at = l->now;
	} else if (!c->judged) {
		judge(f, c, run, l->now);
	}
}

void
canary_settle(struct referee *f, uint32_t recipient, enum referee_end end)
{
	struct canary *c;

	if (f->canaries == NULL || f->canary_place[recipient] != IN_CANARY)
		return;
	c = &f->canaries[f->canary_run[recipient]];
	c->sent += end == REFEREE_SENT;
	c->failed += end == REFEREE_FAILED;
}
