/* SPDX-License-Identifier: Apache-2.0 */
/* mail_intake: see mail_intake.h. Owns nothing. */
#include "mail_intake.h"

#include "intake.h"
#include "log.h"

int
mail_intake_read(
    const struct inbound_input *in, struct arena *arena, struct feedback_events *events)
{
	struct err why = { 0 };
	struct slice parts[] = { SLICE("mail"), SLICE("unreadable"), { 0 } };
	struct feedback_event *e;

	*events = (struct feedback_events){ 0 };
	if (inbound_parse(in, arena, events, &why) == 0 && events->count > 0)
		return 0;
	log_warn("mail cannot be read, kept aside bytes=%zu error=\"%s\"", in->raw.len, why.msg);
	arena_reset(arena);
	parts[2] = feedback_digest(arena, in->raw);
	e = intake_quarantine_event(
	    arena, "mail", "unreadable", feedback_key(arena, parts, 3), why.msg, in->raw);
	if (e == NULL || e->key.len == 0)
		return -1;
	*events = (struct feedback_events){ .items = e, .count = 1, .capacity = 1 };
	return 0;
}
