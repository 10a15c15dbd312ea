/* SPDX-License-Identifier: Apache-2.0 */
/*
 * webhook: feedback as JSON from any system that has a key of ours (another mail provider's
 * adapter, an application). Pure: signature, clock and document are given.
 *
 *   X-Kairan-Timestamp: 1763719200            seconds since 1970 UTC
 *   X-Kairan-Signature: v1=HEX                HMAC-SHA-256(key, timestamp "." body); several,
 *                                             with commas, while keys are changed
 *
 *   {"version": 1, "events": [{
 *     "id": "evt-1",            required, 1..128 characters; the same fact has the same id
 *     "event": "bounced",       required: delivered bounced delayed complained unsubscribed opened
 *                               clicked
 *     "token": "…",             the one of X-Kairan-Id or of the return path, or
 *     "message_id": "<…@…>",    our Message-ID
 *     "address": "a@b",         for display
 *     "status": "5.1.1",        RFC 3463
 *     "code": 550,              SMTP reply code
 *     "diagnostic": "…", "remote": "mx.b",
 *     "time": "2026-11-20T10:00:00Z"
 *   }]}
 *
 * What is in no such field is refused, so that a slip is noticed and not guessed about. An event
 * changes a row only by a token or Message-ID that verifies; without one it is kept without effect.
 * The key says who speaks, the token says about whom.
 */
#ifndef KAIRAN_WEBHOOK_H
#define KAIRAN_WEBHOOK_H

#include "arena.h"
#include "err.h"
#include "event.h"
#include "slice.h"
#include "token.h"

#define WEBHOOK_BODY_MAX ((size_t)256 * 1024)
#define WEBHOOK_ARENA_MAX ((size_t)4 * 1024 * 1024) /* always enough */
#define WEBHOOK_ID_MAX 128
#define WEBHOOK_SIGNATURES_MAX 4

struct webhook_head {
	struct slice timestamp, signature; /* values of the two fields; empty: absent */
};

/*
 * 0, or -1 with err and *status: 401 not signed, or by no key of ours; 403 signed, but more than
 * window_s seconds away from now_s. Every signature is compared with every key in constant time.
 */
int webhook_verify(const struct token_keys *keys, const struct webhook_head *head,
    struct slice body, int64_t now_s, long window_s, int *status, struct err *err) MUST_CHECK;

struct webhook_input {
	struct slice json;
	const struct token_keys *keys; /* of tokens, not those of the signature */
	struct slice bounce_domain;    /* of b+TOKEN@… as token; empty: any */
};

/* Appends one event each, source "webhook". -1 with err: not of the form above, more than
 * FEEDBACK_EVENTS_MAX events, none at all; then the events must not be used. */
int webhook_parse(const struct webhook_input *in, struct arena *arena,
    struct feedback_events *events, struct err *err) MUST_CHECK;

#endif
