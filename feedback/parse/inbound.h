/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inbound: one mail that came to the bounce, unsubscribe or complaint address -> events.
 * Pure. What the mail is, notice.h says: delivery report or bounce in prose, complaint, read
 * receipt, auto-reply; a mail that is none of these and came to an unsubscribe token is an
 * unsubscribe, else unrecognised. Every mail gives at least one event.
 *
 * An event is linked only by a token that verifies: of the envelope recipient b+TOKEN@…, else
 * Original-Envelope-Id, Original-Mail-From, Return-Path, Errors-To or X-Kairan-Id of the report or
 * of the mail inside it; last, for reports and complaints, the signed Message-ID of that mail, also
 * as In-Reply-To or References of the report. It names no attempt (0): the present one is meant.
 * The row of the token is meant, whatever address the report names.
 *
 * Limits: INBOUND_SIZE_MAX bytes (more is an error), and those of mail.h; past one of them the
 * mail is OTHER with reason "too_complex". More than INBOUND_HOPS_MAX Received fields:
 * OTHER with reason "mail_loop".
 */
#ifndef KAIRAN_INBOUND_H
#define KAIRAN_INBOUND_H

#include "arena.h"
#include "err.h"
#include "event.h"
#include "slice.h"
#include "token.h"

#define INBOUND_SIZE_MAX (1024 * 1024)
#define INBOUND_HOPS_MAX 50
#define INBOUND_ARENA_MAX (8 * 1024 * 1024) /* an arena of this size is always enough */

struct inbound_input {
	struct slice raw;	   /* the mail; any line ends, NULs too */
	const struct slice *rcpts; /* envelope recipients, without angle brackets */
	size_t rcpt_count;	   /* 0: Delivered-To, X-Original-To, To of the mail instead */
	const struct token_keys *keys;
	struct slice bounce_domain; /* domain of b+… and u+… addresses; empty: any */
	/* instead of keys, where there are none: asks whether text is a token of this purpose */
	bool (*verify)(
	    void *ctx, enum token_purpose purpose, struct slice text, struct token *token);
	void *verify_ctx;
};

/*
 * Appends to events. 0, or -1 with err when the mail is past INBOUND_SIZE_MAX or the arena is
 * full; then events must not be used. Several envelope recipients: the first valid bounce token
 * counts, and every distinct unsubscribe token.
 */
int inbound_parse(const struct inbound_input *in, struct arena *arena,
    struct feedback_events *events, struct err *err) MUST_CHECK;

#endif
