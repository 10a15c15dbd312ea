/* SPDX-License-Identifier: Apache-2.0 */
/*
 * smtpd: the server side of SMTP (RFC 5321) and LMTP (RFC 2033) without a socket: bytes in,
 * replies out, messages out. After a message it says nothing until smtpd_answer(), so that the
 * client is told only what is committed. The end of data is CR LF . CR LF and nothing else.
 *
 *   greeting -> hello -> [STARTTLS -> hello] -> MAIL -> RCPT+ -> DATA -> content -> waiting -> hello
 *
 * LMTP is for an MTA of our own: LHLO, one answer a recipient. SMTP is for strangers: HELO and
 * EHLO, one answer a message, STARTTLS, SMTPUTF8 (RFC 6531), and stricter: a bare CR or LF in
 * content is refused (nobody may disagree about where a message ends), so are lines of more than
 * SMTPD_TEXT_MAX bytes, a command pipelined behind STARTTLS, many recipients we do not know, many
 * commands without a message. Neither relays: what is not taken is refused, and there is no AUTH.
 *
 * Both refuse every other command, lines past SMTPD_LINE_MAX, messages past size_max.
 */
#ifndef KAIRAN_SMTPD_H
#define KAIRAN_SMTPD_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"
#include "slice.h"

#define SMTPD_LINE_MAX 1024  /* RFC 5321 4.5.3.1.4: 512, more for MAIL with its extensions */
#define SMTPD_TEXT_MAX 16384 /* RFC 5321 4.5.3.1.6: 1000; real bounces quote longer lines */
#define SMTPD_RCPTS_MAX 100  /* RFC 5321 4.5.3.1.8: at least 100 */
#define SMTPD_OVER_MAX 1000  /* further ones of a transaction that are told to come later */
#define SMTPD_SIZE_MAX (1024 * 1024)
#define SMTPD_AHEAD_MAX (128 * 1024) /* bytes kept while a message waits for its answer */
#define SMTPD_ERRORS_MAX 20	     /* bad commands before 421 */
#define SMTPD_HELO_MAX 255

/* Of SMTP alone. */
#define SMTPD_REJECTS_MAX 20   /* recipients refused in a session before 421 */
#define SMTPD_MESSAGES_MAX 100 /* of a session before 421 */
#define SMTPD_IDLE_COMMANDS 60 /* commands without a message between before 421 */

enum smtpd_dialect { SMTPD_LMTP, SMTPD_SMTP };

/* What becomes of mail for an address. */
enum smtpd_verdict {
	SMTPD_UNKNOWN, /* 550 5.1.1 */
	SMTPD_FOREIGN, /* 550 5.7.1: not of a domain of ours, and we do not relay */
	SMTPD_TAKE     /* 250 */
};

struct smtpd_config {
	const char *hostname; /* in the greeting and the answer to the hello */
	size_t size_max;      /* bytes of content; 0: SMTPD_SIZE_MAX */
	/* About an address without its brackets; UTF-8 only after SMTPUTF8. */
	enum smtpd_verdict (*accepts)(void *context, struct slice address);
	void *context;
	enum smtpd_dialect dialect;
	bool offers_tls;   /* STARTTLS, of SMTP alone */
	bool requires_tls; /* 530 before it */
};

/* A complete message. Slices are good until smtpd_answer(). */
struct smtpd_message {
	uint64_t ref;		   /* name of this message on this session, never 0 */
	struct slice helo;	   /* as the client called itself */
	struct slice sender;	   /* without brackets; empty for <> */
	const struct slice *rcpts; /* as given, without brackets */
	size_t rcpt_count;
	struct slice data;	  /* CRLF as sent, dots unstuffed */
	bool is_tls, is_extended; /* for Received: what was spoken */
};

struct smtpd;

/* config is borrowed for the session's life. The greeting is in the output at once. NULL
 * without memory. */
struct smtpd *smtpd_new(const struct smtpd_config *config);
void smtpd_free(struct smtpd *s);

/* Takes all bytes; they may be cut anywhere. 0, or -1 when the session is over: write what
 * smtpd_output() holds, then close. */
int smtpd_input(struct smtpd *s, const char *bytes, size_t n) MUST_CHECK;

/* False while a message waits for its answer, TLS is due, or after the end: stop reading. */
bool smtpd_wants_input(const struct smtpd *s);

/* Bytes to write, in order; borrowed until the next call. */
struct slice smtpd_output(const struct smtpd *s);
/* The first n of them were written. */
void smtpd_output_consume(struct smtpd *s, size_t n);

/* STARTTLS was answered: write the output in clear, then speak TLS and call smtpd_tls_started().
 * What the client said before is forgotten (RFC 3207 4.2). */
bool smtpd_wants_tls(const struct smtpd *s);
void smtpd_tls_started(struct smtpd *s);

/* The message that waits for its answer, if any. */
bool smtpd_message(const struct smtpd *s, struct smtpd_message *message);

/*
 * Answers the message: code 250, 451, …, text begins with the enhanced status ("2.0.0 recorded")
 * and is printable ASCII. LMTP says it once for each recipient (RFC 2033 4.2). Call it after the
 * commit. Commands that came meanwhile are then read: look for output and for a next message.
 * False for a ref that does not wait (answered, or the session is over).
 */
bool smtpd_answer(struct smtpd *s, uint64_t ref, int code, const char *text);

/* The client was silent for too long, or the program stops: says 421 and ends the session. */
void smtpd_end(struct smtpd *s, const char *text);

/* QUIT, too many errors, smtpd_end() or no memory: close when the output is written. */
bool smtpd_is_over(const struct smtpd *s);

/*
 * For `accepts`: true for b+…@ and u+…@ (at least one character behind the plus) and for the
 * local parts listed, at one of the domains. Case does not matter.
 */
bool smtpd_address_known(struct slice address, const struct slice *domains, size_t domain_count,
    const struct slice *local_parts, size_t local_count);

#endif
