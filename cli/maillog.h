/* SPDX-License-Identifier: Apache-2.0 */
/*
 * maillog: lines of Postfix's log that prove that it has taken a message of ours: its queue
 * manager names the queue id and the sender, which is our signed return path, when the message
 * has become active. cleanup(8)'s message-id line is no proof: it is written before the end of
 * the message. Pure; the token is not verified here.
 *
 *   Nov 21 22:00:00 mx postfix/qmgr[123]: 4F1A2B3C4D: from=<b+TOKEN@d>, size=9, nrcpt=1 (queue active)
 */
#ifndef KAIRAN_MAILLOG_H
#define KAIRAN_MAILLOG_H

#include <stdbool.h>

#include "err.h"
#include "slice.h"

#define MAILLOG_LINE_MAX 4096
#define MAILLOG_QUEUE_ID_MAX 32

struct maillog_line {
	struct slice queue_id; /* letters and digits; borrowed from the line */
	struct slice token;    /* TOKEN_CHARS letters and digits; borrowed from the line */
};

/* True when the line is such a proof. */
bool maillog_read(struct slice line, struct maillog_line *out) MUST_CHECK;

#endif
