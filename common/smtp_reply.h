/* SPDX-License-Identifier: Apache-2.0 */
/*
 * smtp_reply: bytes of a server -> one reply (RFC 5321 4.2), and the enhanced status code in a
 * text (RFC 3463). Pure; holds one reply at a time.
 *
 * Lenient: a bare LF ends a line, "DDD" may stand without text, NUL and other bytes are text.
 * Refused: a line without three digits 100..599, another code or separator in a continuation,
 * a line or a reply over the limits.
 */
#ifndef KAIRAN_SMTP_REPLY_H
#define KAIRAN_SMTP_REPLY_H

#include <stdint.h>

#include "buf.h"

#define SMTP_REPLY_LINE_MAX 2048   /* bytes of a line with its end; RFC 5321 says 512 */
#define SMTP_REPLY_LINES_MAX 128   /* lines of a reply */
#define SMTP_REPLY_MAX (64 * 1024) /* bytes of a reply */

enum smtp_reply_result {
	SMTP_REPLY_MORE, /* all bytes used, not complete */
	SMTP_REPLY_DONE, /* one reply, complete */
	SMTP_REPLY_BAD	 /* not SMTP, or no memory; sticky until smtp_reply_reset() */
};

struct smtp_reply {
	int code;	      /* 100..599 */
	uint16_t enhanced[3]; /* all 0 when absent; class equals the first digit of code */
	struct slice text;    /* text of the lines, joined by LF; borrowed until the next feed */
};

struct smtp_reply_parser {
	struct buf bytes; /* text of the finished lines, then the unfinished line */
	size_t line_at;	  /* where the unfinished line begins in bytes */
	size_t total;	  /* bytes of this reply so far */
	unsigned lines;
	int code; /* of the first line */
	bool bad;
	bool done; /* a reply was handed out; the next feed begins anew */
};

void smtp_reply_init(struct smtp_reply_parser *p);
void smtp_reply_release(struct smtp_reply_parser *p);
void smtp_reply_reset(struct smtp_reply_parser *p);

/* Uses bytes up to the end of one reply and no more; *used tells how many. *reply is set only
 * with SMTP_REPLY_DONE. */
enum smtp_reply_result smtp_reply_feed(struct smtp_reply_parser *p, const char *bytes, size_t n,
    size_t *used, struct smtp_reply *reply) MUST_CHECK;

/* True when part of a reply is held. */
bool smtp_reply_is_partial(const struct smtp_reply_parser *p);

/*
 * The first enhanced status code in text, anywhere in it ("550 #5.1.1 ...", "smtp; 550-5.1.1").
 * class_digit: 2, 4 or 5 that it must have, 0 = any of them. Things that only look like one
 * (addresses such as 5.1.1.9, versions, parts of words) are passed over. False, and zeros, when
 * there is none.
 */
bool smtp_enhanced_find(struct slice text, unsigned class_digit, uint16_t enhanced[3]);

#endif
