/* SPDX-License-Identifier: Apache-2.0 */
/*
 * smtp: the client side of one SMTP or LMTP connection (RFC 5321, RFC 2033) with PIPELINING,
 * CHUNKING, STARTTLS, AUTH, SIZE, DSN, LIMITS as a pure machine: bytes and events in, bytes and
 * outcomes out. No socket, no clock, no log, no encryption.
 *
 * Promises
 *   - Exactly one outcome for every envelope offered.
 *   - OUTCOME_SENT only for a complete 2xx reply that began after the dot was written.
 *   - OUTCOME_IN_DOUBT only when a byte of the final dot was reported as written and no complete
 *     reply followed. Whatever ends the session earlier is RELEASED: certainly not delivered.
 *   - At most one message per connection is undecided; content never goes out before 354.
 *   - Bytes that nobody asked for end the session, those behind the answer to STARTTLS included.
 *   - A login is spoken on an encrypted channel only, and wiped from memory once it is written.
 *
 * "The dot" stands for the last byte that makes a message complete: the final dot of DATA, or the
 * last byte of its one chunk with CHUNKING.
 *
 * The caller's turn, after each event:
 *
 *	smtp_input(s, bytes, n);                  or smtp_eof, smtp_timeout, smtp_abort
 *	do {
 *		while (smtp_next_outcome(s, &ref, &o))        record (journal first)
 *		while (smtp_wants(s) && there is a message)   smtp_offer(s, &envelope)
 *		while ((out = smtp_output(s)).len > 0)        write, smtp_wrote(s, n); or socket full
 *	} while (smtp_has_outcome(s))                         offers and output can end messages
 *	if (smtp_is_closed(s))                                close the socket
 *	else if (smtp_wants_tls(s))                           handshake, then smtp_secured(s)
 *	else                          wait smtp_deadline_s(s) since smtp_progress(s) last changed
 *
 * In that order, with pipelining, a message costs one write and one read: content, dot and the
 * next MAIL/RCPT/DATA leave together, four replies come back.
 */
#ifndef KAIRAN_SMTP_H
#define KAIRAN_SMTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth.h"
#include "err.h"
#include "outcome.h"
#include "slice.h"
#include "smtp_ehlo.h"

/* Ceiling of the output buffer; a message that might exceed it is refused (too_large). */
#define SMTP_OUTPUT_MAX ((size_t)32 << 20)

/* While more content than this lies before the dot, smtp_output() shows the content alone, so
 * that a large message passes the point of no return only at its end. */
#define SMTP_HOLD_BYTES ((size_t)64 << 10)

struct smtp;

enum smtp_tls {
	SMTP_TLS_OFF,
	SMTP_TLS_OPPORTUNISTIC, /* STARTTLS when it is offered */
	SMTP_TLS_REQUIRED,	/* nothing but EHLO and STARTTLS in clear */
	SMTP_TLS_ALREADY	/* the channel is encrypted before the greeting */
};

struct smtp_options {
	const char
	    *ehlo_name; /* our FQDN or address literal; borrowed for the life of the engine */
	bool lmtp;	/* LHLO, and no HELO */
	enum smtp_tls tls;
	const struct auth *auth; /* log in with these; borrowed for the life of the engine; NULL:
				    no login */
	bool chunking;		 /* one BDAT a message instead of DATA when CHUNKING is offered */
	bool pipelining;	 /* use PIPELINING when offered */
	bool next_behind_dot;	 /* write the next MAIL/RCPT/DATA right behind the dot (needs
				  pipelining); switched off for the session when refused */
	bool dsn;		 /* NOTIFY=FAILURE RET=HDRS ENVID= ORCPT= when DSN is offered */
	unsigned max_messages;	 /* per session, then QUIT; 0 = no limit; LIMITS may lower it */
	unsigned command_timeout_s; /* at most for a reply; 0 = RFC 5321 4.5.3.2 */
	unsigned dot_timeout_s;	    /* for the reply to the dot; 0 = 600 */

	void *ctx; /* handed to the two callbacks, which must not call smtp_* on this engine */

	/* Asked once, after 354, before any content becomes visible (suppression, pause).
	 * false: no content, the session closes, RELEASED. NULL = always yes. */
	bool (*may_send)(void *ctx, uint64_t ref);

	/* The point of no return: called once, before smtp_output() shows a byte of the dot (the
	 * journal writes its mark here). false: the dot is not written, the session closes,
	 * RELEASED. After true, RELEASED, DEFERRED or FAILED is still possible. NULL = yes. */
	bool (*before_dot)(void *ctx, uint64_t ref);
};

/* All slices are borrowed until the outcome with this ref has been taken. */
struct smtp_envelope {
	uint64_t ref;
	/* non-ASCII ones need SMTPUTF8 (RFC 6531) */
	struct slice mail_from; /* without <>; empty = null sender */
	struct slice rcpt_to;	/* without <> */
	struct slice envid;	/* raw (xtext is made here), for DSN; may be empty */
	struct slice
	    data; /* complete message with CRLF line ends, not dot-stuffed, without the dot */
};

/* The engine, waiting for a greeting; options are copied. remote: name of the host for
 * outcomes, copied, may be NULL. NULL without memory. Owned: smtp_free(). */
struct smtp *smtp_new(const struct smtp_options *options, const char *remote) MUST_CHECK;
void smtp_free(struct smtp *s);

/* For a new connection in the same memory. All outcomes of the old one must have been taken and
 * the old session be closed. */
void smtp_reset(struct smtp *s, const char *remote);

/* Events. After smtp_is_closed() they do nothing. */
void smtp_input(struct smtp *s, const char *bytes, size_t n);
void smtp_eof(struct smtp *s);	   /* the peer closed, TLS closure included */
void smtp_timeout(struct smtp *s); /* smtp_deadline_s() passed */

/* The connection could not be made, or died otherwise. phase: CONNECT, TLS, ... or NONE for
 * "wherever the session is now". text: for people, copied. */
void smtp_abort(struct smtp *s, enum outcome_phase phase, const char *text);

/* The answer to STARTTLS came: the caller makes the handshake, gives nothing it reads meanwhile to
 * smtp_input(), and calls smtp_secured(), or smtp_abort() with OUTCOME_PHASE_TLS. */
bool smtp_wants_tls(const struct smtp *s);
void smtp_secured(struct smtp *s);

/* Bytes to be written now, borrowed until the next smtp_* call that changes s; empty when there
 * is nothing. This is where content is composed and the callbacks are asked, so it may also end
 * messages and the session. */
struct slice smtp_output(struct smtp *s);

/* The first n bytes of smtp_output() have been given to the kernel. Must be called before any
 * other event; a caller that cannot tell (asynchronous writes) calls it when it submits. */
void smtp_wrote(struct smtp *s, size_t n);

/* Can take one more envelope now. */
bool smtp_wants(const struct smtp *s);

/* Only when smtp_wants(). A bad envelope (control bytes, blanks, '<', '>', NUL in the data) is
 * never written: FAILED at once; so are those that the server cannot take (larger than SIZE,
 * 8-bit without 8BITMIME, non-ASCII addresses without SMTPUTF8: smtputf8_unsupported). */
void smtp_offer(struct smtp *s, const struct smtp_envelope *envelope);

/* No new transaction; envelopes whose MAIL was not written are RELEASED, one in progress is
 * finished, then QUIT; before the greeting it closes at once. */
void smtp_quit(struct smtp *s);

/* Greeting, EHLO, TLS and login are behind us, and the end is not asked for. */
bool smtp_is_ready(const struct smtp *s);

/* True when the socket should be closed; nothing more will be written. */
bool smtp_is_closed(const struct smtp *s);

/* Nothing in progress and nothing held: fit for a pool of idle sessions. */
bool smtp_is_idle(const struct smtp *s);

/* True while the dot of a message is written and its reply has not come. */
bool smtp_is_undecided(const struct smtp *s);

/* Takes the oldest finished message. Slices in *o are borrowed until the next smtp_* call that
 * changes s. false when there is none. */
bool smtp_next_outcome(struct smtp *s, uint64_t *ref, struct outcome *o) MUST_CHECK;

/* The outcome of a message that was not begun, since the server's SIZE is less. */
bool smtp_is_too_large(const struct outcome *o);

bool smtp_has_outcome(const struct smtp *s);

/* How long the present wait may last, in seconds (RFC 5321 4.5.3.2; 600 after the dot, 60 for a
 * TLS handshake, 5 after QUIT; see the options); 0 = closed. */
unsigned smtp_deadline_s(const struct smtp *s);

/* A number that changes whenever that wait begins anew: a complete reply, a command written,
 * content accepted by the kernel. Part of a reply line does not change it (tarpits). */
uint32_t smtp_progress(const struct smtp *s);

/* Why the session ended, NULL while it has not or when it ended politely. For sessions that die
 * without an envelope. Borrowed until smtp_reset(). */
const struct outcome *smtp_failure(const struct smtp *s);

const char *smtp_state_name(const struct smtp *s);
/* What the last EHLO reply said; borrowed. */
const struct smtp_features *smtp_features(const struct smtp *s);
unsigned smtp_messages(const struct smtp *s);	   /* transactions begun in this session */
bool smtp_pipelining_failed(const struct smtp *s); /* the peer refused or lost pipelined commands:
						      do without on this route */
bool smtp_chunking_failed(const struct smtp *s);   /* the same for BDAT */
uint64_t smtp_repaired(const struct smtp *s);	   /* bare CR or LF repaired, over the life of s; a
						 figure above 0 is a fault of the composer */

#endif
