/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inbound: one mail that came to the bounce, unsubscribe or complaint address -> events.
 * Pure, apart from GMime's own memory; g_mime_init() must have been called by main.
 *
 * Order: unsubscribe token, delivery report (RFC 3464), complaint (RFC 5965), read receipt
 * (RFC 8098), auto-reply (RFC 3834), unrecognised. Every mail gives at least one event.
 *
 * An event is linked only by a token that verifies: of the envelope recipient b+TOKEN@…, else
 * Original-Envelope-Id, Original-Mail-From, Return-Path or X-Kairan-Id of the report or of the
 * mail inside it. The row of the token is meant, whatever address the report names.
 *
 * Limits: INBOUND_SIZE_MAX bytes (more is an error), the first INBOUND_READ_MAX are looked at,
 * INBOUND_DEPTH_MAX levels, INBOUND_PARTS_MAX parts, INBOUND_HEADER_MAX of header; past one of
 * them the mail is OTHER with reason "too_complex". More than INBOUND_HOPS_MAX Received fields:
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
#define INBOUND_READ_MAX (256 * 1024)
#define INBOUND_HEADER_MAX (64 * 1024)
#define INBOUND_DEPTH_MAX 10
#define INBOUND_PARTS_MAX 100
#define INBOUND_HOPS_MAX 50
#define INBOUND_ARENA_MAX (4 * 1024 * 1024) /* an arena of this size is always enough */

struct inbound_input {
	struct slice raw;	   /* the mail; any line ends, NULs too */
	const struct slice *rcpts; /* envelope recipients, without angle brackets */
	size_t rcpt_count;	   /* 0: Delivered-To, X-Original-To, To of the mail instead */
	const struct token_keys *keys;
	struct slice bounce_domain; /* domain of b+… and u+… addresses; empty: any */
};

/*
 * Appends to events. 0, or -1 with err when the mail is past INBOUND_SIZE_MAX or the arena is
 * full; then events must not be used. Several envelope recipients: the first valid bounce token
 * counts, and every distinct unsubscribe token.
 */
int inbound_parse(const struct inbound_input *in, struct arena *arena,
    struct feedback_events *events, struct err *err) MUST_CHECK;

#endif
