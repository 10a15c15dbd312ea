/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dsn: the body of a message/delivery-status part (RFC 3464 section 2, RFC 6533 section 3):
 * groups of header-like fields. Pure; linear time; borrows from its input except for values
 * that were folded, which live in the arena.
 *
 * Tolerates: any line ends, folded fields, comments, a missing address type, extension fields,
 * several blank lines between groups, a missing per-message group. Refuses nothing: what cannot
 * be read is absent.
 */
#ifndef KAIRAN_DSN_H
#define KAIRAN_DSN_H

#include <stdint.h>

#include "arena.h"
#include "event.h"
#include "slice.h"

#define DSN_RECIPIENTS_MAX 100

/* A reader of header-like fields, also used for ARF and for text/rfc822-headers. */
struct dsn_fields {
	struct slice rest;
};

enum dsn_field_result { DSN_FIELD, DSN_FIELD_BLANK, DSN_FIELD_END, DSN_FIELD_NO_MEMORY };

/* The next field (name without colon, value unfolded and trimmed), a blank line, or the end.
 * Lines without a colon are skipped. */
enum dsn_field_result dsn_fields_next(
    struct dsn_fields *fields, struct arena *arena, struct slice *name, struct slice *value);

enum dsn_action {
	DSN_ACTION_NONE, /* absent or unknown */
	DSN_FAILED,
	DSN_DELAYED,
	DSN_DELIVERED,
	DSN_RELAYED,
	DSN_EXPANDED
};

struct dsn_recipient {
	struct slice original; /* Original-Recipient without its type; the address we used */
	struct slice final;    /* Final-Recipient without its type */
	enum dsn_action action;
	uint16_t status[3];	 /* RFC 3463; all 0 when absent */
	struct slice remote_mta; /* without its type */
	struct slice diagnostic; /* without its type */
	bool diagnostic_is_smtp; /* its type is "smtp" or absent */
	int64_t last_attempt_us; /* 0 unknown */
};

struct dsn {
	struct slice reporting_mta;
	struct slice envelope_id;	  /* Original-Envelope-Id */
	int64_t arrival_us;		  /* 0 unknown */
	struct dsn_recipient *recipients; /* in the arena */
	size_t count;
	bool truncated; /* there were more than DSN_RECIPIENTS_MAX */
};

/* 0, or -1 without memory. A body without any per-recipient group gives count 0. */
int dsn_parse(struct dsn *dsn, struct slice body, struct arena *arena) MUST_CHECK;

/* The same three values where they come one by one (SES): "failed", "5.1.1", "smtp; 550 …". */
void dsn_recipient_read(struct dsn_recipient *recipient, struct slice action, struct slice status,
    struct slice diagnostic);

/* Fills code, enhanced, text, remote, address and time of the event: what the report says. */
void dsn_quote(const struct dsn *dsn, const struct dsn_recipient *recipient, struct arena *arena,
    struct feedback_event *event);

/* The same, and what it means: kind, cls, reason. The action decides, then the diagnostic, then
 * the status; failed with 4.x.x is soft. */
void dsn_judge(const struct dsn *dsn, const struct dsn_recipient *recipient, struct arena *arena,
    struct feedback_event *event);

/* "Sat, 21 Nov 2026 17:05:42 +0900 (JST)" (RFC 5322 section 3.3) -> microseconds since 1970
 * UTC; 0 for anything else. */
int64_t dsn_date_parse(struct slice text);

/* "failed", … ; "none". */
const char *dsn_action_name(enum dsn_action action);

#endif
