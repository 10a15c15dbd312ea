/* SPDX-License-Identifier: Apache-2.0 */
/*
 * outcome: what became of one recipient, in the one vocabulary that dispatcher and feedback
 * share. The dispatcher says what the transaction did (SENT .. RELEASED); feedback says what
 * was heard later (DELIVERED .. CLICKED). Only `ledger` turns an outcome into rows.
 */
#ifndef KAIRAN_OUTCOME_H
#define KAIRAN_OUTCOME_H

#include <stdint.h>

#include "slice.h"

enum outcome_kind {
	/* of a transaction */
	OUTCOME_SENT,	  /* the remote took responsibility: a complete 2xx after the dot */
	OUTCOME_DEFERRED, /* a complete 4xx, or nothing past DATA: may be tried again */
	OUTCOME_FAILED,	  /* a complete 5xx: final for this run */
	OUTCOME_IN_DOUBT, /* past the point of no return without a complete reply */
	OUTCOME_RELEASED, /* not attempted (session closed first, pause, shutdown): back to queued */
	/* heard later */
	OUTCOME_DELIVERED, /* evidence of delivery at the final or remote host */
	OUTCOME_BOUNCED,   /* final failure after acceptance */
	OUTCOME_DELAYED,   /* still being tried elsewhere */
	OUTCOME_COMPLAINED,
	OUTCOME_UNSUBSCRIBED,
	OUTCOME_OPENED,
	OUTCOME_CLICKED,
	OUTCOME_REJECTED, /* taken by SES, then never sent (Reject, Rendering Failure) */
	OUTCOME_ACCEPTED, /* SES "Send": proof of acceptance, nothing more */
	OUTCOME_OTHER	  /* auto-reply, read receipt, anything that changes nothing */
};
#define OUTCOME_KINDS (OUTCOME_OTHER + 1)

/* Whose fault a failure is (reference: RFC 3463 classes, Postfix's DSN use). */
enum outcome_class {
	OUTCOME_CLASS_NONE,
	OUTCOME_HARD,	 /* the address is dead: suppress */
	OUTCOME_SOFT,	 /* the address is fine, not now */
	OUTCOME_BLOCK,	 /* policy against us, not about the address */
	OUTCOME_MESSAGE, /* content or size */
	OUTCOME_CONFIG	 /* our own set-up */
};
#define OUTCOME_CLASSES (OUTCOME_CONFIG + 1)

/* How far a failure reaches. */
enum outcome_scope {
	OUTCOME_SCOPE_RECIPIENT,
	OUTCOME_SCOPE_MESSAGE, /* every recipient of the campaign would fail alike */
	OUTCOME_SCOPE_SESSION, /* this connection only */
	OUTCOME_SCOPE_ROUTE,   /* the relay, the account, our own address: slow down or stop */
	/* of the direct route: others are not concerned */
	OUTCOME_SCOPE_HOST,  /* the mail servers of the destination */
	OUTCOME_SCOPE_DOMAIN /* the recipient's domain, by what DNS says of it */
};
#define OUTCOME_SCOPES (OUTCOME_SCOPE_DOMAIN + 1)

/* Where in the transaction it happened. */
enum outcome_phase {
	OUTCOME_PHASE_NONE,
	OUTCOME_PHASE_CONNECT,
	OUTCOME_PHASE_GREETING,
	OUTCOME_PHASE_EHLO,
	OUTCOME_PHASE_TLS,
	OUTCOME_PHASE_AUTH,
	OUTCOME_PHASE_MAIL,
	OUTCOME_PHASE_RCPT,
	OUTCOME_PHASE_DATA,
	OUTCOME_PHASE_BODY, /* content under way, dot not yet written */
	OUTCOME_PHASE_DOT
};
#define OUTCOME_PHASES (OUTCOME_PHASE_DOT + 1)

/* The longest text that is kept of a remote reply, in bytes; control bytes become spaces. */
#define OUTCOME_TEXT_MAX 512

/* Slices are borrowed from whoever made the outcome; each maker says until when. */
struct outcome {
	enum outcome_kind kind;
	enum outcome_class cls;
	enum outcome_scope scope;
	enum outcome_phase phase;
	int code;		/* SMTP reply code, 0 when there is none */
	uint16_t enhanced[3];	/* RFC 3463 class.subject.detail; all 0 when absent */
	const char *reason;	/* static word, e.g. "user_unknown", "mailbox_full"; never NULL */
	struct slice text;	/* reply or diagnostic text, <= OUTCOME_TEXT_MAX, cleaned */
	struct slice remote;	/* host that said it */
	struct slice remote_id; /* queue id after 250, SES message id */
};

/* "sent", "deferred", … as stored in the database; never NULL. */
const char *outcome_kind_name(enum outcome_kind kind);
const char *outcome_class_name(enum outcome_class cls);
const char *outcome_scope_name(enum outcome_scope scope);
const char *outcome_phase_name(enum outcome_phase phase);

/* "5.1.1" into dst (at least 12 bytes), "" when absent. Returns dst. */
const char *outcome_enhanced_str(const struct outcome *o, char *dst);

#endif
