/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lmtp: the server side of LMTP (RFC 2033) without a socket: bytes in, replies out, messages
 * out. After a message it says nothing until lmtp_answer(), so that the client is told only
 * what is committed. The end of data is CR LF . CR LF and nothing else.
 *
 * Refuses every command but LHLO MAIL RCPT DATA RSET NOOP QUIT, lines past LMTP_LINE_MAX,
 * messages past size_max, recipients that the callback does not know.
 *
 *   greeting -> LHLO -> MAIL -> RCPT+ -> DATA -> content -> waiting -> LHLO-state again
 */
#ifndef KAIRAN_LMTP_H
#define KAIRAN_LMTP_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"
#include "slice.h"

#define LMTP_LINE_MAX 1024
#define LMTP_RCPTS_MAX 100
#define LMTP_SIZE_MAX (1024 * 1024)
#define LMTP_AHEAD_MAX (128 * 1024) /* bytes kept while a message waits for its answer */
#define LMTP_ERRORS_MAX 20	    /* bad commands before 421 */

struct lmtp_config {
	const char *hostname; /* in the greeting and the answer to LHLO */
	size_t size_max;      /* bytes of content; 0: LMTP_SIZE_MAX */
	/* True when mail for this address (without brackets) is taken; else 550 5.1.1. */
	bool (*accepts)(void *context, struct slice address);
	void *context;
};

/* A complete message. Slices are good until lmtp_answer(). */
struct lmtp_message {
	uint64_t ref;		   /* name of this message on this session, never 0 */
	struct slice sender;	   /* without brackets; empty for <> */
	const struct slice *rcpts; /* as given, without brackets */
	size_t rcpt_count;
	struct slice data; /* CRLF as sent, dots unstuffed */
};

struct lmtp;

/* config is borrowed for the session's life. The greeting is in the output at once. NULL
 * without memory. */
struct lmtp *lmtp_new(const struct lmtp_config *config);
void lmtp_free(struct lmtp *lmtp);

/* Takes all bytes; they may be cut anywhere. 0, or -1 when the session is over: write what
 * lmtp_output() holds, then close. */
int lmtp_input(struct lmtp *lmtp, const char *bytes, size_t n) MUST_CHECK;

/* False while a message waits for its answer, or after the end: stop reading the socket. */
bool lmtp_wants_input(const struct lmtp *lmtp);

/* Bytes to write, in order; borrowed until the next call. */
struct slice lmtp_output(const struct lmtp *lmtp);
/* The first n of them were written. */
void lmtp_output_consume(struct lmtp *lmtp, size_t n);

/* The message that waits for its answer, if any. */
bool lmtp_message(const struct lmtp *lmtp, struct lmtp_message *message);

/*
 * Answers every recipient of the message alike (RFC 2033 4.2: one line each): code 250, 451, …,
 * text begins with the enhanced status ("2.0.0 recorded") and is printable ASCII. Call it after
 * the commit. Commands that came meanwhile are then read: look for output and for a next
 * message. False for a ref that does not wait (answered, or the session is over).
 */
bool lmtp_answer(struct lmtp *lmtp, uint64_t ref, int code, const char *text);

/* The client was silent for too long, or the program stops: says 421 and ends the session. */
void lmtp_end(struct lmtp *lmtp, const char *text);

/* QUIT, too many errors, lmtp_end() or no memory: close when the output is written. */
bool lmtp_is_over(const struct lmtp *lmtp);

/*
 * For `accepts`: true for b+…@ and u+…@ (at least one character behind the plus) and for the
 * local parts listed, at one of the domains. Case does not matter.
 */
bool lmtp_address_known(struct slice address, const struct slice *domains, size_t domain_count,
    const struct slice *local_parts, size_t local_count);

#endif
