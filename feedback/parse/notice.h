/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notice: what one mail that came back is, and what it says about each recipient: the bounce
 * classifier. Pure. It decides no policy and trusts nobody: who may act upon it is decided by
 * inbound, which looks for our token.
 *
 * Order: delivery report (RFC 3464, RFC 6533; also as plain text), complaint (RFC 5965, and
 * feedback loops without it), read receipt (RFC 8098), TLS report, prose of a mail system,
 * auto-reply (RFC 3834), anything else. So an auto-reply is never a bounce, and a reply of a
 * person that quotes a bounce is OTHER.
 *
 * Reasons and classes: classify.h.
 */
#ifndef KAIRAN_NOTICE_H
#define KAIRAN_NOTICE_H

#include <stdint.h>

#include "arena.h"
#include "arf.h"
#include "dsn.h"
#include "err.h"
#include "event.h"
#include "mail.h"
#include "outcome.h"
#include "slice.h"

#define NOTICE_RECIPIENTS_MAX 100

enum notice_kind {
	NOTICE_OTHER,
	NOTICE_BOUNCE,	  /* at least one recipient failed for good */
	NOTICE_DELAYED,	  /* somebody still tries */
	NOTICE_DELIVERED, /* success reports, relayed and expanded too */
	NOTICE_COMPLAINT, /* any feedback report, not-spam and auth-failure too */
	NOTICE_AUTO_REPLY
};

struct notice_recipient {
	struct slice address; /* the address that was written to, when it is told */
	struct slice final;   /* Final-Recipient, when it is another */
	enum dsn_action action;
	uint16_t reported[3]; /* Status field; all 0 when absent */
	uint16_t enhanced[3]; /* of the diagnostic, else the field; all 0 when absent */
	int code;	      /* SMTP reply code; 0 when there is none */
	enum outcome_class cls;
	const char *reason;	 /* static */
	struct slice text;	 /* diagnostic, cleaned */
	struct slice remote;	 /* host that said it */
	int64_t last_attempt_us; /* 0 unknown */
};

struct notice {
	enum notice_kind kind;
	const char *source; /* "dsn", "text", "arf", "mail"; static */
	const char *reason; /* word for the whole, e.g. "read_receipt", "auto_reply"; static */
	struct slice feedback_type; /* of a complaint: as reported, lower case */
	struct dsn dsn;		    /* per-message fields; recipients are below */
	struct arf arf;
	struct notice_recipient *recipients;
	size_t count, capacity;
	struct slice original; /* header of the mail reported on; may be empty */
};

/* 0, or -1 without memory. */
int notice_read(struct notice *notice, const struct mail *mail, struct arena *arena) MUST_CHECK;

/* Another recipient, reason "undefined"; NULL when there is no room. */
struct notice_recipient *notice_add(struct notice *notice, struct arena *arena);

/* The kind from the actions of the recipients. */
void notice_settle(struct notice *notice);

/* "bounce", "delayed", "delivered", "complaint", "auto_reply", "other". */
const char *notice_kind_name(enum notice_kind kind);

#endif
