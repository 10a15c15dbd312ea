/* SPDX-License-Identifier: Apache-2.0 */
/*
 * event: one fact about one recipient, heard from outside and ready for the ledger. Every
 * parser of feedback (SES, DSN, ARF) ends in a list of these. Nothing here decides policy.
 *
 * All slices live in the arena that the parser was given, are valid UTF-8 without control
 * characters, and have a NUL behind them that is not counted (an empty one may be NULL).
 */
#ifndef KAIRAN_EVENT_H
#define KAIRAN_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include "arena.h"
#include "err.h"
#include "outcome.h"
#include "slice.h"
#include "token.h"

#define FEEDBACK_EVENTS_MAX 200	 /* facts taken from one notice */
#define FEEDBACK_ADDRESS_MAX 320 /* bytes kept of a reported address */
#define FEEDBACK_DETAIL_MAX 4096 /* bytes of evidence at most */
#define FEEDBACK_KEY_MAX 512	 /* bytes of a semantic key at most */

/* A notice as a whole, of an event that stands for what could not be read or was refused. */
struct feedback_kept {
	const char *form;     /* static: "mail", "notice" or "event", as kept_notice.form says */
	bool is_believed;     /* of a notice: needs no signature when it is read again */
	struct slice rcpts;   /* of a mail's envelope, one a line */
	struct slice content; /* any bytes */
};

struct feedback_event {
	enum outcome_kind kind;	 /* DELIVERED .. OTHER */
	enum outcome_class cls;	 /* of a failure; OUTCOME_CLASS_NONE otherwise */
	const char *reason;	 /* static word, e.g. "user_unknown", "auto_reply"; never NULL */
	int code;		 /* SMTP reply code, 0 when there is none */
	uint16_t enhanced[3];	 /* RFC 3463; all 0 when absent */
	struct slice text;	 /* diagnostic text, <= OUTCOME_TEXT_MAX */
	struct slice remote;	 /* host that said it */
	bool linked;		 /* token is verified; without it no row may change */
	struct token token;	 /* all 0 unless linked */
	struct slice address;	 /* as reported, for display only when linked; may be empty */
	const char *source;	 /* "dsn", "arf", "mail", "sns"; static */
	struct slice message_id; /* SES message id; empty otherwise (not a proof by itself) */
	struct slice key;	 /* the same fact has the same key, however often it is heard */
	int64_t occurred_at_us; /* microseconds since 1970 UTC by the reporter's clock; 0 unknown */
	struct slice detail;	/* evidence: one compact JSON object */
	const struct feedback_kept *kept; /* NULL but of what is kept aside */
};

struct feedback_events {
	struct feedback_event *items; /* in the arena */
	size_t count;
	size_t capacity;
};

/* A new event at the end: kind OTHER, reason "none", all else empty. NULL when the arena or the
 * list is full (FEEDBACK_EVENTS_MAX). The pointer is good until the next add. */
struct feedback_event *feedback_event_add(struct feedback_events *events, struct arena *arena);

/* Copy of at most max bytes, fit for text columns, JSON and terminals: control characters
 * become spaces, broken UTF-8 becomes '?', trimmed; cut at a character. Empty without room. */
struct slice feedback_text(struct arena *arena, struct slice s, size_t max);

/* Joins count parts by '|' into a key. A key past FEEDBACK_KEY_MAX is replaced by its SHA-256
 * in hex. Empty without room. */
struct slice feedback_key(struct arena *arena, const struct slice *parts, size_t count);

/* As feedback_key(), with part `who`, which may be an address, as its feedback_digest(): keys are
 * kept for ever, people may be erased. Changes that part. What has no '@' stays as it is, and a key
 * past FEEDBACK_KEY_MAX is made of the parts as they came; the schema's event_key() is its twin. */
struct slice feedback_key_of(struct arena *arena, struct slice *parts, size_t count, size_t who);

/* First 16 bytes of SHA-256 in hex (32 characters): a key for what has no name. */
struct slice feedback_digest(struct arena *arena, struct slice bytes);

/* One pair of the evidence. */
struct feedback_pair {
	const char *name; /* ASCII without quotes */
	struct slice value;
};

/* {"name":"value",…} of the pairs that are not empty, each cleaned and cut to 300 bytes. Pairs
 * that do not fit into FEEDBACK_DETAIL_MAX are left out. Empty without room. */
struct slice feedback_detail(struct arena *arena, const struct feedback_pair *pairs, size_t count);

/* "2016-10-14T05:02:16.645Z", "…-05:00", "2018-10-08T14:05:45 +0000" -> microseconds since
 * 1970 UTC; 0 for anything else. */
int64_t feedback_time_parse(struct slice text);

/* A civil time in a zone zone_s seconds east of UTC -> the same; 0 outside 1970 .. 9999. */
int64_t feedback_time_us(int year, int month, int day, int seconds_of_day, int zone_s);

/* The token in a VERP address "b+TOKEN@domain" (purpose is its first letter), not verified; empty
 * when it is none. domain is compared without case; an empty one accepts any. */
struct slice feedback_verp_token(
    enum token_purpose purpose, struct slice address, struct slice domain);

/* Reads one verified VERP address "b+TOKEN@domain" (purpose is its first letter). domain is
 * compared without case; an empty domain accepts any. True when it verifies. */
bool feedback_verp_verify(const struct token_keys *keys, enum token_purpose purpose,
    struct slice address, struct slice domain, struct token *token) MUST_CHECK;

#endif
