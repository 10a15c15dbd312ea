/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ses: one notice of Amazon SES -> events, one per recipient in it. Pure. Reads event
 * publishing (eventType), identity notifications (notificationType) and the EventBridge
 * envelope around either. Unknown fields are ignored, unknown types are OTHER.
 *
 * Linked by the first token that verifies: mail.tags.kairan[0], header X-Kairan-Id, the VERP
 * address in mail.source or mail.commonHeaders.returnPath. message_id is always given, so that
 * the caller may look the row up by SES's id when the channel is trusted (signed).
 */
#ifndef KAIRAN_SES_H
#define KAIRAN_SES_H

#include "arena.h"
#include "err.h"
#include "event.h"
#include "slice.h"
#include "token.h"

#define SES_JSON_MAX (256 * 1024)
#define SES_JSON_DEPTH_MAX 16
#define SES_ARENA_MAX (4 * 1024 * 1024) /* an arena of this size is always enough */

struct ses_input {
	struct slice json; /* Message of SNS, an SQS body, or detail's envelope */
	const struct token_keys *keys;
	struct slice bounce_domain; /* of VERP addresses; empty: any */
};

/*
 * Appends to events. 0 (also for the plain-text test message that SNS sends: no events), or -1
 * with err: not JSON, a key twice, too deep, too large, a required part missing, a NUL in a
 * field that is used, no memory. After -1 the events must not be used; keep the notice aside.
 */
int ses_parse(const struct ses_input *in, struct arena *arena, struct feedback_events *events,
    struct err *err) MUST_CHECK;

#endif
