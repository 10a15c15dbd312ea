/* SPDX-License-Identifier: Apache-2.0 */
/*
 * postfix_line: one line of Postfix's log, as syslog or postlogd(8) write it (Postfix 3.7,
 * traditional or RFC 3339 time). Pure; linear time; slices borrow from the line.
 *
 *   qmgr      QUEUEID: from=<a@b>, size=…, nrcpt=1 (queue active)      POSTFIX_FROM
 *   cleanup   QUEUEID: message-id=<x@y>                                POSTFIX_MESSAGE_ID
 *   qmgr      QUEUEID: removed                                         POSTFIX_REMOVED
 *   smtp, …   QUEUEID: to=<a@b>, relay=…, dsn=2.0.0, status=sent (…)   POSTFIX_STATUS
 *   qmgr      QUEUEID: from=<a@b>, status=expired, returned to sender  POSTFIX_STATUS
 *
 * What stands in the last parentheses was said by a stranger; it is never looked into for keys.
 */
#ifndef KAIRAN_POSTFIX_LINE_H
#define KAIRAN_POSTFIX_LINE_H

#include <stdbool.h>
#include <stdint.h>

#include "slice.h"

#define POSTFIX_LINE_MAX 8192
#define POSTFIX_QUEUE_ID_MAX 24

enum postfix_kind {
	POSTFIX_OTHER,
	POSTFIX_FROM,
	POSTFIX_MESSAGE_ID,
	POSTFIX_REMOVED,
	POSTFIX_STATUS
};

enum postfix_status {
	POSTFIX_STATUS_NONE,
	POSTFIX_SENT,
	POSTFIX_DEFERRED,
	POSTFIX_BOUNCED,
	POSTFIX_EXPIRED
};

struct postfix_line {
	enum postfix_kind kind;
	struct slice time; /* as it is written */
	struct slice queue_id;
	struct slice address;	 /* sender of FROM and EXPIRED, else recipient */
	struct slice message_id; /* without angle brackets */
	enum postfix_status status;
	struct slice relay;   /* "mx.example[192.0.2.1]:25", "none", "local" */
	uint16_t enhanced[3]; /* dsn=; all 0 when absent */
	int code;	      /* SMTP reply code in the text, 0 when there is none */
	struct slice text;    /* what the remote host or Postfix says, without parentheses */
};

/* True when it is one of the lines above; else kind is POSTFIX_OTHER. line: without its end. */
bool postfix_line_parse(struct postfix_line *p, struct slice line);

/*
 * "Nov 21 23:02:33" (the local zone, the year that is nearest before now_s + 1 day) or
 * "2026-11-21T23:02:33.123456+09:00" -> microseconds since 1970 UTC, 0 when it is neither.
 */
int64_t postfix_line_time(struct slice time, int64_t now_s);

#endif
