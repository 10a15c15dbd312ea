/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transcripts of SMTP sessions. Each line begins with who speaks:
 *   S  the server         D  the server, answering the dot of the next message
 *   C  the client, exactly these bytes and CRLF
 *   T  the caller's TLS handshake, done
 * Every transcript is run whole, byte by byte, and cut at every byte of the server by a lost
 * connection, a timeout and garbage.
 */
#include "dispatcher/smtp/smtp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "buf.h"

#define MESSAGES_MAX 4
#define LINES_MAX 80

enum {
	PIPE = 1,
	BEHIND = 2,
	DSN = 4,
	NO_SEND = 8, /* may_send says no to message 1 */
	NO_DOT = 16, /* before_dot says no to message 1 */
	BIG = 32,    /* message 1 is larger than SIZE 100 */
	NULL_FROM = 64,
	QUIT_LAST = 128, /* smtp_quit while the last one is undecided */
	TLS_MAY = 256,	 /* STARTTLS: opportunistic, required, there from the start */
	TLS_MUST = 512,
	TLS_IS = 1024,
	LOGIN = 2048,
	TOKEN = 4096, /* credentials with a token */
	LMTP = 8192,
	CHUNK = 16384,
	UTF8 = 32768,  /* message 1 goes to a non-ASCII address */
	EIGHT = 65536, /* message 1 is 8-bit */
};

static const struct auth credentials = { "user", "secret", AUTH_PLAIN | AUTH_LOGIN };
static const struct auth token = { "user", "token", AUTH_XOAUTH2 };

struct expect {
	enum outcome_kind kind;
	int code;
	enum outcome_phase phase;
	const char *reason;
};

struct transcript {
	const char *name;
	unsigned flags;
	unsigned messages;
	unsigned max;
	struct expect expect[MESSAGES_MAX];
	const char *lines[LINES_MAX];
};

#define BODY(n) "C Subject: " #n, "C ", "C Hello", "C ..dot", "C ."
#define CHUNK_BODY(n) "C BDAT 27 LAST", "C Subject: " #n, "C ", "C Hello", "C .dot"
#define MAIL(n) "C MAIL FROM:<b" #n "@example.org>"
#define RCPT(n) "C RCPT TO:<r" #n "@example.net>"
#define GROUP(n) MAIL(n), RCPT(n), "C DATA"
#define GREETING "S 220 mx ready", "C EHLO me.example.org"
#define PIPE_HELLO GREETING, "S 250-mx", "S 250-SIZE", "S 250 PIPELINING"
#define PLAIN_HELLO GREETING, "S 250 mx"
#define OK3 "S 250 2.1.0 ok", "S 250 2.1.5 ok", "S 354 go on"
#define SENT                                                                                       \
	{                                                                                          \
		OUTCOME_SENT, 250, OUTCOME_PHASE_DOT, ""                                           \
	}

static const struct transcript transcripts[] = {
	{ "plain", 0, 2, 0, { SENT, SENT },
	    { PLAIN_HELLO, MAIL(1), "S 250 ok", RCPT(1), "S 250 ok", "C DATA", "S 354 go", BODY(1),
		"D 250 ok", MAIL(2), "S 250 ok", RCPT(2), "S 251 ok", "C DATA", "S 354", BODY(2),
		"D 250 2.0.0 Ok: queued as 4ABC" } },
	{ "pipelining offered, not wanted", 0, 1, 0, { SENT },
	    { PIPE_HELLO, "C MAIL FROM:<b1@example.org> SIZE=27", "S 250 ok", RCPT(1), "S 250 ok",
		"C DATA", "S 354 go", BODY(1), "D 250 ok" } },
	{ "wanted, not offered", PIPE | BEHIND, 1, 0, { SENT },
	    { PLAIN_HELLO, MAIL(1), "S 250 ok", RCPT(1), "S 250 ok", "C DATA", "S 354 go", BODY(1),
		"D 250 ok" } },
	{ "group", PIPE, 2, 0, { SENT, SENT },
	    { GREETING, "S 250-mx", "S 250 PIPELINING", GROUP(1), OK3, BODY(1), "D 250 ok",
		GROUP(2), OK3, BODY(2), "D 250 ok" } },
	{ "behind the dot", PIPE | BEHIND, 3, 0, { SENT, SENT, SENT },
	    { GREETING, "S 250-mx", "S 250 pipelining", GROUP(1), OK3, BODY(1), GROUP(2),
		"D 250 ok", OK3, BODY(2), GROUP(3), "D 250 ok", OK3, BODY(3), "D 250 ok" } },
	{ "limit and quit", PIPE | BEHIND, 2, 2, { SENT, SENT },
	    { GREETING, "S 250-mx", "S 250 PIPELINING", GROUP(1), OK3, BODY(1), GROUP(2),
		"D 250 ok", OK3, BODY(2), "D 250 ok", "C QUIT", "S 221 bye" } },
	{ "dot refused, next goes on", PIPE | BEHIND, 2, 0,
	    { { OUTCOME_FAILED, 554, OUTCOME_PHASE_DOT, "content" }, SENT },
	    { GREETING, "S 250-mx", "S 250 PIPELINING", GROUP(1), OK3, BODY(1), GROUP(2),
		"D 554 5.6.0 looks like spam", OK3, BODY(2), "D 250 ok" } },
	{ "dot deferred", 0, 1, 0, { { OUTCOME_DEFERRED, 452, OUTCOME_PHASE_DOT, "system" } },
	    { PLAIN_HELLO, MAIL(1), "S 250 ok", RCPT(1), "S 250 ok", "C DATA", "S 354 go", BODY(1),
		"D 452 4.3.1 full" } },
	{ "rcpt refused in group, data refused", PIPE | BEHIND, 2, 0,
	    { { OUTCOME_FAILED, 550, OUTCOME_PHASE_RCPT, "user_unknown" }, SENT },
	    { GREETING, "S 250-mx", "S 250 PIPELINING", GROUP(1), "S 250 ok",
		"S 550 5.1.1 no such user", "S 554 5.5.1 no valid recipients", "C RSET", GROUP(2),
		"S 250 ok", OK3, BODY(2), "D 250 ok" } },
	{ "rcpt refused in group, 354 all the same", PIPE | BEHIND, 2, 0,
	    { { OUTCOME_DEFERRED, 450, OUTCOME_PHASE_RCPT, "greylisted" }, SENT },
	    { GREETING, "S 250-mx", "S 250 PIPELINING", GROUP(1), "S 250 ok",
		"S 450 4.7.1 Greylisted", "S 354 go", "C .", "S 554 5.5.1 nobody", "C RSET",
		GROUP(2), "S 250 ok", OK3, BODY(2), "D 250 ok" } },
	{ "rcpt refused behind a dot, 354", PIPE | BEHIND, 3, 0,
	    { SENT, { OUTCOME_FAILED, 550, OUTCOME_PHASE_RCPT, "policy" }, SENT },
	    { GREETING, "S 250-mx", "S 250 PIPELINING", GROUP(1), OK3, BODY(1), GROUP(2),
		"D 250 ok", "S 250 ok", "S 550 no", "S 354 go", "C .", "S 554 nobody", "C RSET",
		GROUP(3), "S 250 ok", OK3, BODY(3), "D 250 ok" } },
	{ "rcpt refused one by one", 0, 2, 0,
	    { { OUTCOME_FAILED, 550, OUTCOME_PHASE_RCPT, "user_unknown" }, SENT },
	    { PLAIN_HELLO, MAIL(1), "S 250 ok", RCPT(1), "S 550 user unknown", "C RSET", "S 250 ok",
		MAIL(2), "S 250 ok", RCPT(2), "S 250 ok", "C DATA", "S 354 go", BODY(2),
		"D 250 ok" } },
	{ "mail refused", 0, 2, 0, { { OUTCOME_FAILED, 550, OUTCOME_PHASE_MAIL, "config" }, SENT },
	    { PLAIN_HELLO, MAIL(1), "S 550 5.1.8 bad sender", MAIL(2), "S 250 ok", RCPT(2),
		"S 250 ok", "C DATA", "S 354 go", BODY(2), "D 250 ok" } },
	{ "mail refused in group", PIPE, 2, 0,
	    { { OUTCOME_DEFERRED, 451, OUTCOME_PHASE_MAIL, "system" }, SENT },
	    { GREETING, "S 250-mx", "S 250 PIPELINING", GROUP(1), "S 451 later", "S 503 no mail",
		"S 503 no mail", "C RSET", GROUP(2), "S 250 ok", OK3, BODY(2), "D 250 ok" } },
	{ "mail refused, recipient accepted, 354", PIPE, 1, 0,
	    { { OUTCOME_DEFERRED, 451, OUTCOME_PHASE_MAIL, "system" } },
	    { GREETING, "S 250-mx", "S 250 PIPELINING", GROUP(1), "S 451 later", "S 250 ok",
		"S 354 go" } },
	{ "data refused", PIPE, 2, 0,
	    { { OUTCOME_DEFERRED, 451, OUTCOME_PHASE_DATA, "system" }, SENT },
	    { GREETING, "S 250-mx", "S 250 PIPELINING", GROUP(1), "S 250 ok", "S 250 ok",
		"S 451 later", "C RSET", GROUP(2), "S 250 ok", OK3, BODY(2), "D 250 ok" } },
	{ "group behind the dot not understood", PIPE | BEHIND, 3, 0, { SENT, SENT, SENT },
	    { GREETING, "S 250-mx", "S 250 PIPELINING", GROUP(1), OK3, BODY(1), GROUP(2),
		"D 250 ok", "S 503 what", "S 503 what", "S 503 what", "C RSET", GROUP(2),
		"S 250 ok", OK3, BODY(2), "D 250 ok", GROUP(3), OK3, BODY(3), "D 250 ok" } },
	{ "group not understood", PIPE, 1, 0, { SENT },
	    { GREETING, "S 250-mx", "S 250 PIPELINING", GROUP(1), "S 250 ok", "S 503 what",
		"S 503 what", "C RSET", "S 250 ok", MAIL(1), "S 250 ok", RCPT(1), "S 250 ok",
		"C DATA", "S 354 go", BODY(1), "D 250 ok" } },
	{ "group answered with 500", PIPE, 1, 0, { SENT },
	    { GREETING, "S 250-mx", "S 250 PIPELINING", GROUP(1), "S 500 what", "S 500 what",
		"S 500 what", "C RSET", "S 250 ok", MAIL(1), "S 250 ok", RCPT(1), "S 250 ok",
		"C DATA", "S 354 go", BODY(1), "D 250 ok" } },
	{ "group answered with 502", PIPE, 1, 0, { SENT },
	    { GREETING, "S 250-mx", "S 250 PIPELINING", GROUP(1), "S 250 ok", "S 502 what",
		"S 502 what", "C RSET", "S 250 ok", MAIL(1), "S 250 ok", RCPT(1), "S 250 ok",
		"C DATA", "S 354 go", BODY(1), "D 250 ok" } },
	{ "503 one by one is final", 0, 1, 0,
	    { { OUTCOME_FAILED, 503, OUTCOME_PHASE_RCPT, "config" } },
	    { PLAIN_HELLO, MAIL(1), "S 250 ok", RCPT(1), "S 503 AUTH first" } },
	{ "421 at greeting", PIPE, 1, 0,
	    { { OUTCOME_RELEASED, 421, OUTCOME_PHASE_GREETING, "system" } }, { "S 421 busy" } },
	{ "554 at greeting", PIPE, 1, 0,
	    { { OUTCOME_RELEASED, 554, OUTCOME_PHASE_GREETING, "policy" } },
	    { "S 554 no service", "C QUIT", "S 221 bye" } },
	{ "354 at greeting", 0, 1, 0, { { OUTCOME_RELEASED, 0, OUTCOME_PHASE_GREETING, "system" } },
	    { "S 354 go" } },
	{ "354 to ehlo", 0, 1, 0, { { OUTCOME_RELEASED, 0, OUTCOME_PHASE_EHLO, "system" } },
	    { GREETING, "S 354 go" } },
	{ "354 to starttls", TLS_MAY, 1, 0,
	    { { OUTCOME_RELEASED, 0, OUTCOME_PHASE_TLS, "system" } },
	    { GREETING, "S 250-mx", "S 250 STARTTLS", "C STARTTLS", "S 354 go" } },
	{ "150 to mail", 0, 1, 0, { { OUTCOME_RELEASED, 0, OUTCOME_PHASE_MAIL, "system" } },
	    { PLAIN_HELLO, MAIL(1), "S 150 wait" } },
	{ "dsn for a utf8 address", DSN | UTF8, 1, 0, { SENT },
	    { GREETING, "S 250-mx", "S 250-DSN", "S 250-8BITMIME", "S 250 SMTPUTF8",
		"C MAIL FROM:<b1@example.org> SMTPUTF8 BODY=8BITMIME RET=HDRS "
		"ENVID=id+2B1+3D+20+C3+A9+7F",
		"S 250 ok", "C RCPT TO:<\xc3\xa9@example.net> NOTIFY=FAILURE", "S 250 ok", "C DATA",
		"S 354 go", BODY(1), "D 250 ok" } },
	{ "rset refused", 0, 2, 0,
	    { { OUTCOME_FAILED, 550, OUTCOME_PHASE_RCPT, "user_unknown" },
		{ OUTCOME_RELEASED, 451, OUTCOME_PHASE_MAIL, "system" } },
	    { PLAIN_HELLO, MAIL(1), "S 250 ok", RCPT(1), "S 550 user unknown", "C RSET",
		"S 451 no" } },
	{ "421 to the lone dot", PIPE, 1, 0,
	    { { OUTCOME_DEFERRED, 450, OUTCOME_PHASE_RCPT, "greylisted" } },
	    { GREETING, "S 250-mx", "S 250 PIPELINING", GROUP(1), "S 250 ok",
		"S 450 4.7.1 Greylisted", "S 354 go", "C .", "S 421 closing" } },
	{ "421 at ehlo", PIPE, 1, 0, { { OUTCOME_RELEASED, 421, OUTCOME_PHASE_EHLO, "system" } },
	    { GREETING, "S 421 busy" } },
	{ "450 at ehlo", PIPE, 1, 0, { { OUTCOME_RELEASED, 450, OUTCOME_PHASE_EHLO, "system" } },
	    { GREETING, "S 450 later", "C QUIT", "S 221 bye" } },
	{ "ehlo refused", PIPE | BEHIND, 1, 0, { SENT },
	    { GREETING, "S 502 what", "C HELO me.example.org", "S 250 mx", MAIL(1), "S 250 ok",
		RCPT(1), "S 250 ok", "C DATA", "S 354 go", BODY(1), "D 250 ok" } },
	{ "helo refused", PIPE, 1, 0, { { OUTCOME_RELEASED, 550, OUTCOME_PHASE_EHLO, "policy" } },
	    { GREETING, "S 502 what", "C HELO me.example.org", "S 550 no", "C QUIT",
		"S 221 bye" } },
	{ "host takes no mail", PIPE, 1, 0,
	    { { OUTCOME_RELEASED, 521, OUTCOME_PHASE_EHLO, "policy" } },
	    { GREETING, "S 521 never", "C QUIT", "S 221 bye" } },
	{ "421 at mail", 0, 1, 0, { { OUTCOME_RELEASED, 421, OUTCOME_PHASE_MAIL, "system" } },
	    { PLAIN_HELLO, MAIL(1), "S 421 closing" } },
	{ "421 at rcpt", PIPE, 1, 0, { { OUTCOME_RELEASED, 421, OUTCOME_PHASE_RCPT, "system" } },
	    { GREETING, "S 250-mx", "S 250 PIPELINING", GROUP(1), "S 250 ok", "S 421 closing" } },
	{ "421 at data", PIPE, 1, 0, { { OUTCOME_RELEASED, 421, OUTCOME_PHASE_DATA, "system" } },
	    { GREETING, "S 250-mx", "S 250 PIPELINING", GROUP(1), "S 250 ok", "S 250 ok",
		"S 421 closing" } },
	{ "421 at dot", PIPE | BEHIND, 2, 0,
	    { { OUTCOME_DEFERRED, 421, OUTCOME_PHASE_DOT, "system" },
		{ OUTCOME_RELEASED, 421, OUTCOME_PHASE_MAIL, "system" } },
	    { GREETING, "S 250-mx", "S 250 PIPELINING", GROUP(1), OK3, BODY(1), GROUP(2),
		"D 421 4.3.2 closing" } },
	{ "421 behind a dot", PIPE | BEHIND, 2, 0,
	    { SENT, { OUTCOME_RELEASED, 421, OUTCOME_PHASE_MAIL, "system" } },
	    { GREETING, "S 250-mx", "S 250 PIPELINING", GROUP(1), OK3, BODY(1), GROUP(2),
		"D 250 ok", "S 421 closing" } },
	/* a server that was silent for too long says so to whatever comes next */
	{ "421 to a group", PIPE, 1, 0,
	    { { OUTCOME_RELEASED, 421, OUTCOME_PHASE_MAIL, "network" } },
	    { GREETING, "S 250-mx", "S 250 PIPELINING", GROUP(1), "S 421 4.4.2 idle too long" } },
	{ "421 to the second group", PIPE, 2, 0,
	    { SENT, { OUTCOME_RELEASED, 421, OUTCOME_PHASE_MAIL, "system" } },
	    { GREETING, "S 250-mx", "S 250 PIPELINING", GROUP(1), OK3, BODY(1), "D 250 ok",
		GROUP(2), "S 421 4.3.2 no more in this session" } },
	{ "421 at rcpt behind a dot", PIPE | BEHIND, 2, 0,
	    { SENT, { OUTCOME_RELEASED, 421, OUTCOME_PHASE_RCPT, "system" } },
	    { GREETING, "S 250-mx", "S 250 PIPELINING", GROUP(1), OK3, BODY(1), GROUP(2),
		"D 250 ok", "S 250 ok", "S 421 closing" } },
	{ "421 at data behind a dot", PIPE | BEHIND, 2, 0,
	    { SENT, { OUTCOME_RELEASED, 421, OUTCOME_PHASE_DATA, "system" } },
	    { GREETING, "S 250-mx", "S 250 PIPELINING", GROUP(1), OK3, BODY(1), GROUP(2),
		"D 250 ok", "S 250 ok", "S 250 ok", "S 421 closing" } },
	{ "421 behind a refused dot", PIPE | BEHIND, 2, 0,
	    { { OUTCOME_FAILED, 554, OUTCOME_PHASE_DOT, "content" },
		{ OUTCOME_RELEASED, 421, OUTCOME_PHASE_MAIL, "system" } },
	    { GREETING, "S 250-mx", "S 250 PIPELINING", GROUP(1), OK3, BODY(1), GROUP(2),
		"D 554 5.6.0 looks like spam", "S 421 closing" } },
	{ "421 behind a refused recipient", PIPE, 1, 0,
	    { { OUTCOME_FAILED, 550, OUTCOME_PHASE_RCPT, "user_unknown" } },
	    { GREETING, "S 250-mx", "S 250 PIPELINING", GROUP(1), "S 250 ok",
		"S 550 5.1.1 no such user", "S 421 too many errors" } },
	{ "421 behind a refused sender", PIPE, 1, 0,
	    { { OUTCOME_DEFERRED, 451, OUTCOME_PHASE_MAIL, "system" } },
	    { GREETING, "S 250-mx", "S 250 PIPELINING", GROUP(1), "S 451 later",
		"S 421 closing" } },
	{ "421 to rset", 0, 2, 0,
	    { { OUTCOME_FAILED, 550, OUTCOME_PHASE_RCPT, "user_unknown" },
		{ OUTCOME_RELEASED, 421, OUTCOME_PHASE_MAIL, "system" } },
	    { PLAIN_HELLO, MAIL(1), "S 250 ok", RCPT(1), "S 550 user unknown", "C RSET",
		"S 421 closing" } },
	{ "421 to rset in front of a group", PIPE, 2, 0,
	    { { OUTCOME_FAILED, 550, OUTCOME_PHASE_RCPT, "user_unknown" },
		{ OUTCOME_RELEASED, 421, OUTCOME_PHASE_MAIL, "system" } },
	    { GREETING, "S 250-mx", "S 250 PIPELINING", GROUP(1), "S 250 ok",
		"S 550 5.1.1 no such user", "S 554 5.5.1 no valid recipients", "C RSET", GROUP(2),
		"S 421 closing" } },
	{ "421 between two", 0, 1, 0, { SENT },
	    { PLAIN_HELLO, MAIL(1), "S 250 ok", RCPT(1), "S 250 ok", "C DATA", "S 354 go", BODY(1),
		"D 250 ok", "S 421 4.4.2 idle too long" } },
	{ "limit, one by one", 0, 2, 2, { SENT, SENT },
	    { PLAIN_HELLO, MAIL(1), "S 250 ok", RCPT(1), "S 250 ok", "C DATA", "S 354 go", BODY(1),
		"D 250 ok", MAIL(2), "S 250 ok", RCPT(2), "S 250 ok", "C DATA", "S 354 go", BODY(2),
		"D 250 ok", "C QUIT", "S 221 bye" } },
	{ "a refused one counts, too", PIPE | BEHIND, 2, 2,
	    { SENT, { OUTCOME_FAILED, 550, OUTCOME_PHASE_RCPT, "user_unknown" } },
	    { GREETING, "S 250-mx", "S 250 PIPELINING", GROUP(1), OK3, BODY(1), GROUP(2),
		"D 250 ok", "S 250 ok", "S 550 5.1.1 no such user",
		"S 554 5.5.1 no valid recipients", "C QUIT", "S 221 bye" } },
	{ "limit of one with chunks", CHUNK | PIPE | BEHIND, 1, 1, { SENT },
	    { GREETING, "S 250-mx", "S 250-CHUNKING", "S 250 PIPELINING", MAIL(1), RCPT(1),
		"S 250 ok", "S 250 ok", CHUNK_BODY(1), "D 250 ok", "C QUIT", "S 221 bye" } },
	/* Amazon SES: no extension but these, whatever we would like; its verdicts follow the dot */
	{ "ses", TLS_MUST | LOGIN | PIPE | BEHIND | DSN | CHUNK, 3, 3,
	    { SENT, { OUTCOME_DEFERRED, 454, OUTCOME_PHASE_DOT, "rate" }, SENT },
	    { "S 220 email-smtp.amazonaws.com ESMTP SimpleEmailService", "C EHLO me.example.org",
		"S 250-email-smtp.amazonaws.com", "S 250-8BITMIME", "S 250-STARTTLS",
		"S 250-AUTH PLAIN LOGIN", "S 250 Ok", "C STARTTLS", "S 220 Ready to start TLS",
		"T ", "C EHLO me.example.org", "S 250-email-smtp.amazonaws.com", "S 250-8BITMIME",
		"S 250-SIZE 10485760", "S 250-AUTH PLAIN LOGIN", "S 250 Ok",
		"C AUTH PLAIN AHVzZXIAc2VjcmV0", "S 235 Authentication successful.",
		"C MAIL FROM:<b1@example.org> SIZE=27", "S 250 Ok", RCPT(1), "S 250 Ok", "C DATA",
		"S 354 End data with <CR><LF>.<CR><LF>", BODY(1), "D 250 Ok 0106-id",
		"C MAIL FROM:<b2@example.org> SIZE=27", "S 250 Ok", RCPT(2), "S 250 Ok", "C DATA",
		"S 354 End data with <CR><LF>.<CR><LF>", BODY(2),
		"D 454 Throttling failure: Maximum sending rate exceeded",
		"C MAIL FROM:<b3@example.org> SIZE=27", "S 250 Ok", RCPT(3), "S 250 Ok", "C DATA",
		"S 354 End data with <CR><LF>.<CR><LF>", BODY(3), "D 250 Ok 0106-id", "C QUIT",
		"S 221 Bye" } },
	{ "ses, idle too long", 0, 2, 0,
	    { SENT, { OUTCOME_DEFERRED, 451, OUTCOME_PHASE_MAIL, "network" } },
	    { GREETING, "S 250-email-smtp.amazonaws.com", "S 250 Ok", MAIL(1), "S 250 Ok", RCPT(1),
		"S 250 Ok", "C DATA", "S 354 go", BODY(1), "D 250 Ok 0106-id", MAIL(2),
		"S 451 Timeout waiting for data from client." } },
	{ "354 to the dot", 0, 1, 0, { { OUTCOME_IN_DOUBT, 0, OUTCOME_PHASE_DOT, "system" } },
	    { PLAIN_HELLO, MAIL(1), "S 250 ok", RCPT(1), "S 250 ok", "C DATA", "S 354 go", BODY(1),
		"S 354 go" } },
	{ "not SMTP at the dot", 0, 1, 0, { { OUTCOME_IN_DOUBT, 0, OUTCOME_PHASE_DOT, "system" } },
	    { PLAIN_HELLO, MAIL(1), "S 250 ok", RCPT(1), "S 250 ok", "C DATA", "S 354 go", BODY(1),
		"S ok" } },
	{ "mixed codes at the dot", 0, 1, 0,
	    { { OUTCOME_IN_DOUBT, 0, OUTCOME_PHASE_DOT, "system" } },
	    { PLAIN_HELLO, MAIL(1), "S 250 ok", RCPT(1), "S 250 ok", "C DATA", "S 354 go", BODY(1),
		"S 250-one", "S 550 two" } },
	{ "354 to mail", 0, 1, 0, { { OUTCOME_RELEASED, 0, OUTCOME_PHASE_MAIL, "system" } },
	    { PLAIN_HELLO, MAIL(1), "S 354 go" } },
	{ "250 to data", 0, 1, 0, { { OUTCOME_RELEASED, 0, OUTCOME_PHASE_DATA, "system" } },
	    { PLAIN_HELLO, MAIL(1), "S 250 ok", RCPT(1), "S 250 ok", "C DATA", "S 250 ok" } },
	{ "many lines", 0, 1, 0, { { OUTCOME_DEFERRED, 451, OUTCOME_PHASE_RCPT, "system" } },
	    { "S 220-one", "S 220-two", "S 220", "C EHLO me.example.org", "S 250-mx", "S 250-HELP",
		"S 250", MAIL(1), "S 250-", "S 250-more", "S 250 ok", RCPT(1), "S 451-4.3.0 a",
		"S 451 4.3.0 b" } },
	{ "size", 0, 1, 0, { SENT },
	    { GREETING, "S 250-mx", "S 250-DSN", "S 250 size 100",
		"C MAIL FROM:<b1@example.org> SIZE=27", "S 250 ok", RCPT(1), "S 250 ok", "C DATA",
		"S 354 go", BODY(1), "D 250 ok" } },
	{ "too large", BIG, 2, 0, { { OUTCOME_FAILED, 0, OUTCOME_PHASE_MAIL, "too_large" }, SENT },
	    { GREETING, "S 250-mx", "S 250 SIZE 100", "C MAIL FROM:<b2@example.org> SIZE=27",
		"S 250 ok", RCPT(2), "S 250 ok", "C DATA", "S 354 go", BODY(2), "D 250 ok" } },
	{ "dsn", DSN, 1, 0, { SENT },
	    { GREETING, "S 250-mx", "S 250 DSN",
		"C MAIL FROM:<b1@example.org> RET=HDRS ENVID=id+2B1+3D+20+C3+A9+7F", "S 250 ok",
		"C RCPT TO:<r1@example.net> NOTIFY=FAILURE ORCPT=rfc822;r1@example.net", "S 250 ok",
		"C DATA", "S 354 go", BODY(1), "D 250 ok" } },
	{ "no dsn for the null sender", DSN | NULL_FROM, 1, 0, { SENT },
	    { GREETING, "S 250-mx", "S 250 DSN", "C MAIL FROM:<>", "S 250 ok", RCPT(1), "S 250 ok",
		"C DATA", "S 354 go", BODY(1), "D 250 ok" } },
	{ "may not send", PIPE | NO_SEND, 1, 0,
	    { { OUTCOME_RELEASED, 0, OUTCOME_PHASE_BODY, "undefined" } },
	    { GREETING, "S 250-mx", "S 250 PIPELINING", GROUP(1), OK3 } },
	{ "no mark, no dot", PIPE | NO_DOT, 1, 0,
	    { { OUTCOME_RELEASED, 0, OUTCOME_PHASE_BODY, "undefined" } },
	    { GREETING, "S 250-mx", "S 250 PIPELINING", GROUP(1), OK3 } },
	{ "tls when offered", TLS_MAY, 1, 0, { SENT },
	    { GREETING, "S 250-mx", "S 250-DSN", "S 250 STARTTLS", "C STARTTLS", "S 220 go", "T ",
		"C EHLO me.example.org", "S 250-mx", "S 250 SIZE",
		"C MAIL FROM:<b1@example.org> SIZE=27", "S 250 ok", RCPT(1), "S 250 ok", "C DATA",
		"S 354 go", BODY(1), "D 250 ok" } },
	{ "what was learned in clear is forgotten", TLS_MUST | PIPE | DSN, 1, 0, { SENT },
	    { GREETING, "S 250-mx", "S 250-DSN", "S 250-PIPELINING", "S 250 STARTTLS", "C STARTTLS",
		"S 220 go", "T ", "C EHLO me.example.org", "S 500 what", "C HELO me.example.org",
		"S 250 mx", MAIL(1), "S 250 ok", RCPT(1), "S 250 ok", "C DATA", "S 354 go", BODY(1),
		"D 250 ok" } },
	{ "tls not offered, may", TLS_MAY, 1, 0, { SENT },
	    { PLAIN_HELLO, MAIL(1), "S 250 ok", RCPT(1), "S 250 ok", "C DATA", "S 354 go", BODY(1),
		"D 250 ok" } },
	{ "tls not offered, must", TLS_MUST, 1, 0,
	    { { OUTCOME_RELEASED, 0, OUTCOME_PHASE_TLS, "auth" } },
	    { PLAIN_HELLO, "C QUIT", "S 221 bye" } },
	{ "tls refused, may", TLS_MAY, 1, 0, { SENT },
	    { GREETING, "S 250-mx", "S 250 STARTTLS", "C STARTTLS", "S 454 not now", MAIL(1),
		"S 250 ok", RCPT(1), "S 250 ok", "C DATA", "S 354 go", BODY(1), "D 250 ok" } },
	{ "tls refused, must", TLS_MUST, 1, 0,
	    { { OUTCOME_RELEASED, 454, OUTCOME_PHASE_TLS, "auth" } },
	    { GREETING, "S 250-mx", "S 250 STARTTLS", "C STARTTLS", "S 454 not now", "C QUIT",
		"S 221 bye" } },
	{ "421 at starttls", TLS_MAY, 1, 0,
	    { { OUTCOME_RELEASED, 421, OUTCOME_PHASE_TLS, "system" } },
	    { GREETING, "S 250-mx", "S 250 STARTTLS", "C STARTTLS", "S 421 closing" } },
	{ "login plain behind starttls", TLS_MUST | LOGIN, 1, 0, { SENT },
	    { GREETING, "S 250-mx", "S 250 STARTTLS", "C STARTTLS", "S 220 go", "T ",
		"C EHLO me.example.org", "S 250-mx", "S 250 AUTH LOGIN PLAIN XOAUTH2",
		"C AUTH PLAIN AHVzZXIAc2VjcmV0", "S 235 ok", MAIL(1), "S 250 ok", RCPT(1),
		"S 250 ok", "C DATA", "S 354 go", BODY(1), "D 250 ok" } },
	{ "login login", TLS_IS | LOGIN, 1, 0, { SENT },
	    { GREETING, "S 250-mx", "S 250 AUTH=LOGIN", "C AUTH LOGIN", "S 334 VXNlcm5hbWU6",
		"C dXNlcg==", "S 334 UGFzc3dvcmQ6", "C c2VjcmV0", "S 235 2.7.0 ok", MAIL(1),
		"S 250 ok", RCPT(1), "S 250 ok", "C DATA", "S 354 go", BODY(1), "D 250 ok" } },
	{ "login xoauth2", TLS_IS | TOKEN, 1, 0, { SENT },
	    { GREETING, "S 250-mx", "S 250 AUTH PLAIN XOAUTH2",
		"C AUTH XOAUTH2 dXNlcj11c2VyAWF1dGg9QmVhcmVyIHRva2VuAQE=", "S 235 ok", MAIL(1),
		"S 250 ok", RCPT(1), "S 250 ok", "C DATA", "S 354 go", BODY(1), "D 250 ok" } },
	{ "login xoauth2 refused", TLS_IS | TOKEN, 1, 0,
	    { { OUTCOME_RELEASED, 535, OUTCOME_PHASE_AUTH, "auth" } },
	    { GREETING, "S 250-mx", "S 250 AUTH PLAIN XOAUTH2",
		"C AUTH XOAUTH2 dXNlcj11c2VyAWF1dGg9QmVhcmVyIHRva2VuAQE=", "S 334 e30=", "C ",
		"S 535 5.7.8 no", "C QUIT", "S 221 bye" } },
	{ "login refused", TLS_IS | LOGIN, 1, 0,
	    { { OUTCOME_RELEASED, 535, OUTCOME_PHASE_AUTH, "auth" } },
	    { GREETING, "S 250-mx", "S 250 AUTH PLAIN", "C AUTH PLAIN AHVzZXIAc2VjcmV0",
		"S 535 Authentication Credentials Invalid", "C QUIT", "S 221 bye" } },
	{ "login not now", TLS_IS | LOGIN, 1, 0,
	    { { OUTCOME_RELEASED, 454, OUTCOME_PHASE_AUTH, "auth" } },
	    { GREETING, "S 250-mx", "S 250 AUTH PLAIN", "C AUTH PLAIN AHVzZXIAc2VjcmV0",
		"S 454 Temporary authentication failure", "C QUIT", "S 221 bye" } },
	{ "login with a challenge too many", TLS_IS | LOGIN, 1, 0,
	    { { OUTCOME_RELEASED, 501, OUTCOME_PHASE_AUTH, "config" } },
	    { GREETING, "S 250-mx", "S 250 AUTH PLAIN", "C AUTH PLAIN AHVzZXIAc2VjcmV0", "S 334 ",
		"C *", "S 501 cancelled", "C QUIT", "S 221 bye" } },
	{ "login with challenges for ever", TLS_IS | LOGIN, 1, 0,
	    { { OUTCOME_RELEASED, 0, OUTCOME_PHASE_AUTH, "system" } },
	    { GREETING, "S 250-mx", "S 250 AUTH PLAIN", "C AUTH PLAIN AHVzZXIAc2VjcmV0", "S 334 ",
		"C *", "S 334 ", "C *", "S 334 ", "C *", "S 334 ", "C *", "S 334 " } },
	{ "no login in clear", TLS_MAY | LOGIN, 1, 0,
	    { { OUTCOME_RELEASED, 0, OUTCOME_PHASE_AUTH, "auth" } },
	    { GREETING, "S 250-mx", "S 250 AUTH PLAIN", "C QUIT", "S 221 bye" } },
	{ "no login in common", TLS_IS | LOGIN, 1, 0,
	    { { OUTCOME_RELEASED, 0, OUTCOME_PHASE_AUTH, "auth" } },
	    { GREETING, "S 250-mx", "S 250 AUTH CRAM-MD5 GSSAPI", "C QUIT", "S 221 bye" } },
	{ "authentication required at mail", 0, 1, 0,
	    { { OUTCOME_FAILED, 530, OUTCOME_PHASE_MAIL, "auth" } },
	    { PLAIN_HELLO, MAIL(1), "S 530 Authentication required" } },
	{ "lmtp", LMTP | PIPE | BEHIND, 2, 0,
	    { { OUTCOME_DEFERRED, 452, OUTCOME_PHASE_DOT, "mailbox_full" }, SENT },
	    { "S 220 box", "C LHLO me.example.org", "S 250-box", "S 250 PIPELINING", GROUP(1), OK3,
		BODY(1), GROUP(2), "D 452 4.2.2 <r1@example.net> full", OK3, BODY(2),
		"D 250 <r2@example.net> saved" } },
	{ "lmtp has no helo", LMTP, 1, 0,
	    { { OUTCOME_RELEASED, 500, OUTCOME_PHASE_EHLO, "config" } },
	    { "S 220 mx", "C LHLO me.example.org", "S 500 what", "C QUIT", "S 221 bye" } },
	{ "chunk", CHUNK, 2, 0, { SENT, SENT },
	    { GREETING, "S 250-mx", "S 250 CHUNKING", MAIL(1), "S 250 ok", RCPT(1), "S 250 ok",
		CHUNK_BODY(1), "D 250 ok", MAIL(2), "S 250 ok", RCPT(2), "S 250 ok", CHUNK_BODY(2),
		"D 250 ok" } },
	{ "chunk behind a chunk", CHUNK | PIPE | BEHIND, 3, 0, { SENT, SENT, SENT },
	    { GREETING, "S 250-mx", "S 250-CHUNKING", "S 250 PIPELINING", MAIL(1), RCPT(1),
		"S 250 ok", "S 250 ok", CHUNK_BODY(1), MAIL(2), RCPT(2), "D 250 ok", "S 250 ok",
		"S 250 ok", CHUNK_BODY(2), MAIL(3), RCPT(3), "D 250 ok", "S 250 ok", "S 250 ok",
		CHUNK_BODY(3), "D 250 ok" } },
	{ "chunk wanted, not offered", CHUNK, 1, 0, { SENT },
	    { PLAIN_HELLO, MAIL(1), "S 250 ok", RCPT(1), "S 250 ok", "C DATA", "S 354 go", BODY(1),
		"D 250 ok" } },
	{ "chunk, rcpt refused", CHUNK | PIPE, 2, 0,
	    { { OUTCOME_FAILED, 550, OUTCOME_PHASE_RCPT, "user_unknown" }, SENT },
	    { GREETING, "S 250-mx", "S 250-CHUNKING", "S 250 PIPELINING", MAIL(1), RCPT(1),
		"S 250 ok", "S 550 5.1.1 no such user", "C RSET", MAIL(2), RCPT(2), "S 250 ok",
		"S 250 ok", "S 250 ok", CHUNK_BODY(2), "D 250 ok" } },
	{ "chunk, mail refused, rcpt not", CHUNK | PIPE, 2, 0,
	    { { OUTCOME_DEFERRED, 451, OUTCOME_PHASE_MAIL, "system" }, SENT },
	    { GREETING, "S 250-mx", "S 250-CHUNKING", "S 250 PIPELINING", MAIL(1), RCPT(1),
		"S 451 later", "S 250 ok", "C RSET", MAIL(2), RCPT(2), "S 250 ok", "S 250 ok",
		"S 250 ok", CHUNK_BODY(2), "D 250 ok" } },
	{ "chunk refused", CHUNK | PIPE, 2, 0,
	    { { OUTCOME_FAILED, 554, OUTCOME_PHASE_DOT, "content" }, SENT },
	    { GREETING, "S 250-mx", "S 250-CHUNKING", "S 250 PIPELINING", MAIL(1), RCPT(1),
		"S 250 ok", "S 250 ok", CHUNK_BODY(1), "D 554 5.6.0 looks like spam", "C RSET",
		MAIL(2), RCPT(2), "S 250 ok", "S 250 ok", "S 250 ok", CHUNK_BODY(2), "D 250 ok" } },
	{ "chunk not understood", CHUNK, 1, 0,
	    { { OUTCOME_RELEASED, 500, OUTCOME_PHASE_DOT, "config" } },
	    { GREETING, "S 250-mx", "S 250 CHUNKING", MAIL(1), "S 250 ok", RCPT(1), "S 250 ok",
		CHUNK_BODY(1), "D 500 what" } },
	{ "chunk, 421", CHUNK, 1, 0, { { OUTCOME_DEFERRED, 421, OUTCOME_PHASE_DOT, "system" } },
	    { GREETING, "S 250-mx", "S 250 CHUNKING", MAIL(1), "S 250 ok", RCPT(1), "S 250 ok",
		CHUNK_BODY(1), "D 421 closing" } },
	{ "chunk, may not send", CHUNK | NO_SEND, 1, 0,
	    { { OUTCOME_RELEASED, 0, OUTCOME_PHASE_BODY, "undefined" } },
	    { GREETING, "S 250-mx", "S 250 CHUNKING", MAIL(1), "S 250 ok", RCPT(1), "S 250 ok" } },
	{ "limits", PIPE | BEHIND, 2, 0, { SENT, SENT },
	    { GREETING, "S 250-mx", "S 250-PIPELINING", "S 250 LIMITS RCPTMAX=1 MAILMAX=2 X=y",
		GROUP(1), OK3, BODY(1), GROUP(2), "D 250 ok", OK3, BODY(2), "D 250 ok", "C QUIT",
		"S 221 bye" } },
	{ "limits below our own", PIPE | BEHIND, 1, 5, { SENT },
	    { GREETING, "S 250-mx", "S 250-PIPELINING", "S 250 LIMITS MAILMAX=1", GROUP(1), OK3,
		BODY(1), "D 250 ok", "C QUIT", "S 221 bye" } },
	{ "limits above our own", PIPE | BEHIND, 1, 1, { SENT },
	    { GREETING, "S 250-mx", "S 250-PIPELINING", "S 250 LIMITS MAILMAX=5", GROUP(1), OK3,
		BODY(1), "D 250 ok", "C QUIT", "S 221 bye" } },
	{ "utf8 address", UTF8, 1, 0, { SENT },
	    { GREETING, "S 250-mx", "S 250-8BITMIME", "S 250 SMTPUTF8",
		"C MAIL FROM:<b1@example.org> SMTPUTF8 BODY=8BITMIME", "S 250 ok",
		"C RCPT TO:<\xc3\xa9@example.net>", "S 250 ok", "C DATA", "S 354 go", BODY(1),
		"D 250 ok" } },
	{ "utf8 address, not offered", UTF8, 2, 0,
	    { { OUTCOME_FAILED, 0, OUTCOME_PHASE_MAIL, "smtputf8_unsupported" }, SENT },
	    { GREETING, "S 250-mx", "S 250 8BITMIME", MAIL(2), "S 250 ok", RCPT(2), "S 250 ok",
		"C DATA", "S 354 go", BODY(2), "D 250 ok" } },
	{ "8bit", EIGHT, 1, 0, { SENT },
	    { GREETING, "S 250-mx", "S 250 8BITMIME", "C MAIL FROM:<b1@example.org> BODY=8BITMIME",
		"S 250 ok", RCPT(1), "S 250 ok", "C DATA", "S 354 go", "C Subject: 1", "C ",
		"C Hello", "C ..dot\xc3\xa9", "C .", "D 250 ok" } },
	{ "8bit, not offered", EIGHT, 1, 0,
	    { { OUTCOME_FAILED, 0, OUTCOME_PHASE_MAIL, "content" } }, { PLAIN_HELLO } },
	{ "454 throttled behind the dot", PIPE, 1, 0,
	    { { OUTCOME_DEFERRED, 454, OUTCOME_PHASE_DOT, "rate" } },
	    { GREETING, "S 250-mx", "S 250 PIPELINING", GROUP(1), OK3, BODY(1),
		"D 454 Throttling failure: Maximum sending rate exceeded." } },
	{ "quit", PIPE | QUIT_LAST, 1, 0, { SENT },
	    { GREETING, "S 250-mx", "S 250 PIPELINING", GROUP(1), OK3, BODY(1), "D 250 ok",
		"C QUIT", "S 221 bye" } },
};

struct run {
	const struct transcript *t;
	struct smtp *s;
	struct buf client;  /* all that was written */
	size_t client_read; /* compared so far */
	size_t write_max;   /* bytes per write */
	char data[MESSAGES_MAX + 1][256], from[MESSAGES_MAX + 1][64], to[MESSAGES_MAX + 1][64];
	unsigned offered;
	unsigned outcomes[MESSAGES_MAX + 1]; /* how many */
	struct outcome got[MESSAGES_MAX + 1];
	char got_text[MESSAGES_MAX + 1][OUTCOME_TEXT_MAX], got_id[MESSAGES_MAX + 1][64];
	unsigned asked_send[MESSAGES_MAX + 1], asked_dot[MESSAGES_MAX + 1];
	bool dot_written[MESSAGES_MAX + 1];
	unsigned dots, dots_asked;
	uint64_t dot_refs[MESSAGES_MAX + 1]; /* in order */
};

static bool
may_send(void *ctx, uint64_t ref)
{
	struct run *r = ctx;

	r->asked_send[ref]++;
	return !((r->t->flags & NO_SEND) != 0 && ref == 1);
}

static bool
before_dot(void *ctx, uint64_t ref)
{
	struct run *r = ctx;

	if ((r->t->flags & NO_DOT) != 0 && ref == 1)
		return false;
	assert_int_equal(r->asked_send[ref], 1);
	r->asked_dot[ref]++;
	r->dot_refs[r->dots_asked++] = ref;
	return true;
}

static void
run_init(struct run *r, const struct transcript *t)
{
	struct smtp_options o = { .ehlo_name = "me.example.org",
		.pipelining = (t->flags & PIPE) != 0,
		.next_behind_dot = (t->flags & BEHIND) != 0,
		.dsn = (t->flags & DSN) != 0,
		.max_messages = t->max,
		.lmtp = (t->flags & LMTP) != 0,
		.chunking = (t->flags & CHUNK) != 0,
		.tls = (t->flags & TLS_MAY) != 0 ? SMTP_TLS_OPPORTUNISTIC
		    : (t->flags & TLS_MUST) != 0 ? SMTP_TLS_REQUIRED
		    : (t->flags & TLS_IS) != 0	 ? SMTP_TLS_ALREADY
						 : SMTP_TLS_OFF,
		.auth = (t->flags & LOGIN) != 0 ? &credentials
		    : (t->flags & TOKEN) != 0	? &token
						: NULL,
		.ctx = r,
		.may_send = may_send,
		.before_dot = before_dot };

	memset(r, 0, sizeof(*r));
	r->t = t;
	r->write_max = SIZE_MAX;
	buf_init(&r->client, 1 << 20);
	r->s = smtp_new(&o, "mx.example.net");
	assert_non_null(r->s);
}

static void
run_release(struct run *r)
{
	smtp_free(r->s);
	buf_release(&r->client);
}

static void
take(struct run *r)
{
	struct outcome o;
	uint64_t ref;

	while (smtp_next_outcome(r->s, &ref, &o)) {
		assert_in_range(ref, 1, r->offered);
		r->outcomes[ref]++;
		assert_true(o.text.len <= OUTCOME_TEXT_MAX);
		assert_non_null(o.reason);
		assert_true(slice_equal(o.remote, SLICE("mx.example.net")));
		r->got[ref] = o;
		if (o.text.len > 0)
			memcpy(r->got_text[ref], o.text.ptr, o.text.len);
		if (o.remote_id.len > 0)
			memcpy(r->got_id[ref], o.remote_id.ptr, o.remote_id.len);
	}
}

static void
offer(struct run *r)
{
	while (r->offered < r->t->messages && smtp_wants(r->s)) {
		unsigned n = ++r->offered;
		bool big = n == 1 && (r->t->flags & BIG) != 0;

		(void)snprintf(r->data[n], sizeof(r->data[n]),
		    "Subject: %u\r\n\r\nHello\r\n.dot%s\r\n", n,
		    big ? " and a hundred more, a hundred more, a hundred more, a hundred more, "
			  "and so on"
			: n == 1 && (r->t->flags & EIGHT) != 0 ? "\xc3\xa9"
							       : "");
		(void)snprintf(r->from[n], sizeof(r->from[n]), "b%u@example.org", n);
		(void)snprintf(r->to[n], sizeof(r->to[n]), "r%u@example.net", n);
		if (n == 1 && (r->t->flags & UTF8) != 0)
			(void)snprintf(r->to[n], sizeof(r->to[n]), "\xc3\xa9@example.net");
		smtp_offer(r->s,
		    &(struct smtp_envelope){ .ref = n,
			.mail_from = slice_str((r->t->flags & NULL_FROM) != 0 ? "" : r->from[n]),
			.rcpt_to = slice_str(r->to[n]),
			.envid = SLICE("id+1= \xc3\xa9\x7f"),
			.data = slice_str(r->data[n]) });
	}
	if ((r->t->flags & QUIT_LAST) != 0 && r->dot_written[r->t->messages])
		smtp_quit(r->s);
}

/* Notes which messages' dots are on the wire. A dot line behind a line is one; the lone dot
 * of a refused recipient follows "DATA". */
static void
note_dots(struct run *r)
{
	static const char last[] = "Hello\r\n.dot\r\n";
	const char *p = buf_str(&r->client);
	unsigned n = 0;

	if ((r->t->flags & CHUNK) != 0 && strstr(p, "BDAT") != NULL) {
		for (; (p = strstr(p, last)) != NULL; p += sizeof(last) - 1) {
			assert_true(n < r->dots_asked);
			r->dot_written[r->dot_refs[n++]] = true;
		}
		return;
	}
	while ((p = strstr(p, "\r\n.\r\n")) != NULL) {
		if (memcmp(p - 4, "DATA", 4) != 0) {
			assert_true(n < r->dots_asked);
			r->dot_written[r->dot_refs[n++]] = true;
		}
		p += 2;
	}
}

/* One turn of the caller. Returns the number of writes. */
static unsigned
turn(struct run *r)
{
	unsigned writes = 0;
	struct slice out;

	do {
		take(r);
		offer(r);
		while ((out = smtp_output(r->s)).len > 0) {
			size_t n = out.len < r->write_max ? out.len : r->write_max;

			buf_append(&r->client, out.ptr, n);
			smtp_wrote(r->s, n);
			writes++;
			note_dots(r);
		}
	} while (smtp_has_outcome(r->s));
	return writes;
}

static void
expect_line(struct run *r, const char *line)
{
	size_t len = strlen(line);
	const char *at = buf_str(&r->client) + r->client_read;

	if (r->client.len - r->client_read < len + 2 || memcmp(at, line, len) != 0 ||
	    memcmp(at + len, "\r\n", 2) != 0)
		fail_msg("%s: wanted \"%s\", got \"%.60s\"", r->t->name, line, at);
	r->client_read += len + 2;
}

static bool
is_server(const char *line)
{
	return line[0] == 'S' || line[0] == 'D';
}

static void
handshake(struct run *r)
{
	assert_true(smtp_wants_tls(r->s));
	assert_int_equal(smtp_deadline_s(r->s), 60);
	smtp_secured(r->s);
	(void)turn(r);
}

/* Feeds a server's lines; one by one, together up to the next client's line, or byte by byte. */
static void
run_whole(struct run *r, bool by_byte)
{
	struct buf lines;

	buf_init(&lines, 1 << 16);
	(void)turn(r);
	for (size_t i = 0; i < LINES_MAX && r->t->lines[i] != NULL; i++) {
		const char *line = r->t->lines[i],
			   *next = i + 1 < LINES_MAX ? r->t->lines[i + 1] : NULL;

		if (line[0] == 'T') {
			handshake(r);
			continue;
		}
		if (!is_server(line)) {
			expect_line(r, line + 2);
			continue;
		}
		buf_append_str(&lines, line + 2);
		buf_append_str(&lines, "\r\n");
		if (next != NULL && is_server(next))
			continue;
		assert_int_equal(r->client_read, r->client.len);
		for (size_t b = 0; by_byte && b < lines.len; b++) {
			smtp_input(r->s, lines.data + b, 1);
			(void)turn(r);
		}
		if (!by_byte)
			smtp_input(r->s, lines.data, lines.len);
		(void)turn(r);
		buf_reset(&lines);
	}
	assert_int_equal(r->client_read, r->client.len);
	buf_release(&lines);
}

static void
check_outcomes(const struct run *r)
{
	for (unsigned n = 1; n <= r->t->messages; n++) {
		const struct expect *e = &r->t->expect[n - 1];
		const struct outcome *o = &r->got[n];

		if (r->outcomes[n] != 1)
			fail_msg("%s: message %u has %u outcomes", r->t->name, n, r->outcomes[n]);
		if (o->kind != e->kind || o->code != e->code || o->phase != e->phase ||
		    strcmp(o->reason, e->reason) != 0)
			fail_msg("%s: message %u is %s %d %s %s (%s)", r->t->name, n,
			    outcome_kind_name(o->kind), o->code, outcome_phase_name(o->phase),
			    o->reason, r->got_text[n]);
		assert_int_equal(r->asked_dot[n], r->dot_written[n]);
	}
}

static void
test_transcripts(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(transcripts) / sizeof(transcripts[0]); i++) {
		for (int way = 0; way < 3; way++) {
			struct run r;

			run_init(&r, &transcripts[i]);
			if (way == 2)
				r.write_max = 3;
			run_whole(&r, way == 1);
			check_outcomes(&r);
			run_release(&r);
		}
	}
}

enum ending { END_EOF, END_TIMEOUT, END_GARBAGE, END_ABORT, ENDINGS };

static void
end_session(struct run *r, enum ending ending)
{
	switch (ending) {
	case END_EOF:
		smtp_eof(r->s);
		break;
	case END_TIMEOUT:
		smtp_timeout(r->s);
		break;
	case END_GARBAGE:
		/* no line end: it must not complete a reply */
		for (int i = 0; i < 3000; i++)
			smtp_input(r->s, "\001", 1);
		break;
	case END_ABORT:
	case ENDINGS:
		smtp_abort(r->s, OUTCOME_PHASE_NONE, "broken");
		break;
	}
	(void)turn(r);
	/* what only asked for a polite end gets it */
	smtp_eof(r->s);
	(void)turn(r);
	assert_true(smtp_is_closed(r->s));
	assert_int_equal(smtp_deadline_s(r->s), 0);
}

/* The rules of doubt, for a session cut behind so many bytes of the server. */
static void
check_cut(const struct run *r, const bool answered[MESSAGES_MAX + 1], size_t cut)
{
	for (unsigned n = 1; n <= r->offered; n++) {
		enum outcome_kind kind = r->got[n].kind, final = r->t->expect[n - 1].kind;
		bool good;

		if (r->outcomes[n] != 1)
			fail_msg("%s cut at %zu: message %u has %u outcomes", r->t->name, cut, n,
			    r->outcomes[n]);
		if (answered[n])
			good = kind == final && kind != OUTCOME_IN_DOUBT;
		else if (r->dot_written[n])
			good = kind == OUTCOME_IN_DOUBT;
		else
			good = kind == OUTCOME_RELEASED ||
			    (kind == final && (kind == OUTCOME_DEFERRED || kind == OUTCOME_FAILED));
		if (!good)
			fail_msg("%s cut at %zu: message %u is %s (dot %d, answered %d)",
			    r->t->name, cut, n, outcome_kind_name(kind), r->dot_written[n],
			    answered[n]);
	}
	for (unsigned n = r->offered + 1; n <= r->t->messages; n++)
		assert_int_equal(r->outcomes[n], 0);
}

/* Feeds cut bytes of the server in pieces as the transcript allows. True when there were more. */
static bool
run_cut(const struct transcript *t, size_t cut, enum ending ending)
{
	bool answered[MESSAGES_MAX + 1] = { false };
	size_t fed = 0;
	struct run r;

	run_init(&r, t);
	(void)turn(&r);
	for (size_t i = 0; i < LINES_MAX && t->lines[i] != NULL && fed < cut; i++) {
		char line[256];
		int len = snprintf(line, sizeof(line), "%s\r\n", t->lines[i] + 2);
		size_t n = (size_t)len < cut - fed ? (size_t)len : cut - fed;

		if (t->lines[i][0] == 'T')
			handshake(&r);
		if (!is_server(t->lines[i]))
			continue;
		/* a complete line ends with its LF */
		if (n == (size_t)len && t->lines[i][0] == 'D')
			answered[r.dot_refs[r.dots++]] = true;
		smtp_input(r.s, line, n);
		fed += n;
		(void)turn(&r);
	}
	end_session(&r, ending);
	check_cut(&r, answered, cut);
	run_release(&r);
	return fed == cut;
}

static void
test_cut_everywhere(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(transcripts) / sizeof(transcripts[0]); i++)
		for (unsigned ending = 0; ending < ENDINGS; ending++)
			for (size_t cut = 0; run_cut(&transcripts[i], cut, (enum ending)ending);
			     cut++)
				continue;
}

static const struct transcript *
find_transcript(const char *name)
{
	for (size_t i = 0; i < sizeof(transcripts) / sizeof(transcripts[0]); i++)
		if (strcmp(transcripts[i].name, name) == 0)
			return &transcripts[i];
	fail_msg("no transcript %s", name);
	return NULL;
}

static void
feed(struct run *r, const char *text)
{
	smtp_input(r->s, text, strlen(text));
}

/* Up to the reply to EHLO; the first skip messages of the transcript are not offered. */
static void
start(struct run *r, const char *name, unsigned skip, const char *ehlo)
{
	run_init(r, find_transcript(name));
	r->offered = skip;
	(void)turn(r);
	feed(r, "220 mx\r\n");
	(void)turn(r);
	feed(r, ehlo);
}

#define EHLO_PIPE "250-mx\r\n250 PIPELINING\r\n"

/* What is longer than a path, an envelope id or a message may be never leaves (RFC 5321 4.5.3.1.3,
 * RFC 3461 4.4). */
static void
test_limits_of_envelopes(void **state)
{
	static char mail[SMTP_OUTPUT_MAX / 2], path[300], envid[150];
	const struct {
		struct slice from, envid, data;
		const char *reason; /* NULL: it is good */
	} cases[] = {
		{ { path, 254 }, { envid, 100 }, { "x", 1 }, NULL },
		{ { path, 255 }, { "", 0 }, { "x", 1 }, "config" },
		{ { "a", 1 }, { envid, 101 }, { "x", 1 }, "config" },
		{ { "a", 1 }, { envid, 150 }, { "x", 1 }, "config" },
		{ { "a", 1 }, { "==================================", 34 }, { "x", 1 }, "config" },
		{ { "a\x7f", 2 }, { "", 0 }, { "x", 1 }, "config" },
		{ { "a", 1 }, { "", 0 }, { mail, sizeof(mail) - 4096 }, NULL },
		{ { "a", 1 }, { "", 0 }, { mail, sizeof(mail) - 4095 }, "too_large" },
	};

	(void)state;
	memset(mail, 'm', sizeof(mail));
	memset(path, 'p', sizeof(path));
	memset(envid, 'e', sizeof(envid));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct run r;

		run_init(&r, find_transcript("plain"));
		r.offered = 2;
		smtp_offer(r.s,
		    &(struct smtp_envelope){ .ref = 1,
			.mail_from = cases[i].from,
			.envid = cases[i].envid,
			.rcpt_to = SLICE("r@example.net"),
			.data = cases[i].data });
		take(&r);
		assert_int_equal(r.outcomes[1], cases[i].reason != NULL);
		if (cases[i].reason != NULL) {
			assert_int_equal(r.got[1].kind, OUTCOME_FAILED);
			assert_string_equal(r.got[1].reason, cases[i].reason);
			assert_int_equal(smtp_is_too_large(&r.got[1]),
			    strcmp(cases[i].reason, "too_large") == 0);
		}
		smtp_eof(r.s);
		take(&r);
		run_release(&r);
	}
}

/* Outcomes that nobody takes are kept, and nothing more is begun. */
static void
test_outcomes_wait(void **state)
{
	struct run r;

	(void)state;
	run_init(&r, find_transcript("plain"));
	r.offered = MESSAGES_MAX;
	for (unsigned n = 1; n <= MESSAGES_MAX; n++) {
		assert_true(smtp_wants(r.s));
		smtp_offer(r.s, &(struct smtp_envelope){ .ref = n, .rcpt_to = SLICE("bad path") });
	}
	assert_false(smtp_wants(r.s));
	take(&r);
	for (unsigned n = 1; n <= MESSAGES_MAX; n++)
		assert_int_equal(r.outcomes[n], 1);
	assert_true(smtp_wants(r.s));
	run_release(&r);
}

/* In steady state: one write and one read per message. */
static void
test_one_write_per_message(void **state)
{
	struct run r;

	(void)state;
	start(&r, "behind the dot", 0, EHLO_PIPE);
	assert_int_equal(turn(&r), 1);
	feed(&r, "250 ok\r\n250 ok\r\n354 go\r\n");
	assert_int_equal(turn(&r), 1);
	assert_true(smtp_is_undecided(r.s));
	assert_int_equal(smtp_deadline_s(r.s), 600);
	feed(&r, "250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n");
	assert_int_equal(turn(&r), 1);
	assert_int_equal(r.outcomes[1], 1);
	assert_int_equal(r.offered, 3);
	run_release(&r);
}

/* Cut on our side: after k bytes written, the connection dies. In doubt from the dot on, no
 * earlier. */
static void
test_cut_while_writing(void **state)
{
	struct slice whole;
	size_t dot, before;

	(void)state;
	for (size_t k = 1;; k++) {
		struct run r;
		struct slice out;

		start(&r, "behind the dot", 0, EHLO_PIPE);
		(void)turn(&r);
		feed(&r, "250 ok\r\n250 ok\r\n354 go\r\n");
		take(&r);
		offer(&r);
		whole = smtp_output(r.s);
		before = (size_t)((const char *)memmem(whole.ptr, whole.len, "\r\n.\r\n", 5) -
		    whole.ptr);
		dot = before + 2;
		if (k > whole.len) {
			run_release(&r);
			break;
		}
		for (size_t w = 0; w < k; w++) {
			out = smtp_output(r.s);
			assert_int_equal(out.len, whole.len - w);
			smtp_wrote(r.s, 1);
		}
		assert_string_equal(smtp_state_name(r.s), k > dot ? "dot" : "body");
		smtp_eof(r.s);
		take(&r);
		assert_int_equal(r.outcomes[1], 1);
		assert_int_equal(r.got[1].kind, k > dot ? OUTCOME_IN_DOUBT : OUTCOME_RELEASED);
		assert_int_equal(r.outcomes[2], 1);
		assert_int_equal(r.got[2].kind, OUTCOME_RELEASED);
		run_release(&r);
	}
	assert_true(dot > 10);
}

/* Replies that come before the dot is written. */
static void
test_early_replies(void **state)
{
	static const struct {
		const char *input;
		enum outcome_kind kind;
		int code;
	} cases[] = {
		{ "250 queued\r\n", OUTCOME_RELEASED, 0 },
		{ "552 5.3.4 too big\r\n", OUTCOME_FAILED, 552 },
		{ "451 4.3.0 later\r\n", OUTCOME_DEFERRED, 451 },
		{ "421 closing\r\n", OUTCOME_RELEASED, 421 },
		{ "nonsense\r\n", OUTCOME_RELEASED, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct run r;

		start(&r, "behind the dot", 0, EHLO_PIPE);
		(void)turn(&r);
		feed(&r, "250 ok\r\n250 ok\r\n354 go\r\n");
		take(&r);
		offer(&r);
		assert_true(smtp_output(r.s).len > 20);
		smtp_wrote(r.s, 5);
		assert_string_equal(smtp_state_name(r.s), "body");
		/* once a reply has begun, nothing more is written */
		smtp_input(r.s, cases[i].input, 2);
		assert_int_equal(smtp_output(r.s).len, 0);
		feed(&r, cases[i].input + 2);
		(void)turn(&r);
		assert_true(smtp_is_closed(r.s));
		assert_int_equal(r.outcomes[1], 1);
		assert_int_equal(r.got[1].kind, cases[i].kind);
		assert_int_equal(r.got[1].code, cases[i].code);
		assert_int_equal(r.outcomes[2], 1);
		assert_int_equal(r.got[2].kind, OUTCOME_RELEASED);
		run_release(&r);
	}
}

/* Replies sent before their commands: never content, never sent. */
static void
test_desync(void **state)
{
	static const char *const inputs[] = {
		"220 mx\r\n250 mx\r\n",
		"220 mx\r\n2",
		"220 mx\r\n250 a\r\n250 b\r\n250 c\r\n354 d\r\n250 e\r\n",
	};
	struct run r;

	(void)state;
	for (size_t i = 0; i < sizeof(inputs) / sizeof(inputs[0]); i++) {
		run_init(&r, find_transcript("plain"));
		(void)turn(&r);
		feed(&r, inputs[i]);
		(void)turn(&r);
		feed(&r, "50 more\r\n");
		(void)turn(&r);
		assert_true(smtp_is_closed(r.s));
		assert_int_equal(r.outcomes[1], 1);
		assert_int_equal(r.got[1].kind, OUTCOME_RELEASED);
		run_release(&r);
	}
	/* the answer to the dot in one read with 354 */
	start(&r, "behind the dot", 0, EHLO_PIPE);
	(void)turn(&r);
	feed(&r, "250 ok\r\n250 ok\r\n354 go\r\n250 queued\r\n");
	(void)turn(&r);
	assert_int_equal(r.got[1].kind, OUTCOME_RELEASED);
	assert_int_equal(r.asked_dot[1], 0);
	run_release(&r);
	/* refusals that come too early blame nobody: before EHLO left, and before the content was made */
	run_init(&r, find_transcript("plain"));
	(void)turn(&r);
	feed(&r, "220 mx\r\n554 no\r\n");
	(void)turn(&r);
	assert_true(smtp_is_closed(r.s));
	assert_int_equal(r.got[1].kind, OUTCOME_RELEASED);
	assert_int_equal(r.got[1].code, 0);
	run_release(&r);
	start(&r, "group", 1, EHLO_PIPE);
	(void)turn(&r);
	feed(&r, "250 ok\r\n250 ok\r\n354 go\r\n554 no\r\n");
	(void)turn(&r);
	assert_true(smtp_is_closed(r.s));
	assert_int_equal(r.got[2].kind, OUTCOME_RELEASED);
	run_release(&r);
	/* a farewell before ours has left */
	run_init(&r, find_transcript("554 at greeting"));
	(void)turn(&r);
	feed(&r, "554 no service\r\n221 bye\r\n");
	assert_true(smtp_is_closed(r.s));
	assert_int_equal(smtp_failure(r.s)->code, 554);
	take(&r);
	run_release(&r);
	/* 354 in the wrong place, with more text than an outcome keeps */
	start(&r, "plain", 0, "250 mx\r\n");
	(void)turn(&r);
	feed(&r, "354-");
	for (int i = 0; i < 100; i++)
		feed(&r, "more text ");
	feed(&r, "\r\n354 go\r\n");
	(void)turn(&r);
	assert_true(smtp_is_closed(r.s));
	assert_int_equal(r.got[1].kind, OUTCOME_RELEASED);
	assert_memory_equal(r.got_text[1], "reply out of place: 354 more text", 33);
	run_release(&r);
	/* one reply too many behind the dot, nothing else under way */
	start(&r, "group", 1, EHLO_PIPE);
	(void)turn(&r);
	feed(&r, "250 ok\r\n250 ok\r\n354 go\r\n");
	(void)turn(&r);
	feed(&r, "250 queued\r\n250 queued\r\n");
	(void)turn(&r);
	assert_int_equal(r.got[2].kind, OUTCOME_SENT);
	assert_true(smtp_is_closed(r.s));
	assert_non_null(smtp_failure(r.s));
	run_release(&r);
}

/* Half of the dot is written when the server says no: it has not seen all of the message. */
static void
test_refused_within_the_dot(void **state)
{
	static const char *const replies[] = { "421 closing\r\n", "554 no\r\n" };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct slice out;
		struct run r;

		start(&r, "group", 1, EHLO_PIPE);
		(void)turn(&r);
		feed(&r, "250 ok\r\n250 ok\r\n354 go\r\n");
		take(&r);
		out = smtp_output(r.s);
		smtp_wrote(r.s, out.len - 2);
		assert_true(smtp_is_undecided(r.s));
		feed(&r, replies[i]);
		take(&r);
		assert_true(smtp_is_closed(r.s));
		assert_int_equal(r.outcomes[2], 1);
		assert_int_equal(r.got[2].kind, i == 0 ? OUTCOME_DEFERRED : OUTCOME_FAILED);
		run_release(&r);
	}
}

/* Silence of a server says that it lost a pipelined group only where it was asked something. */
static void
test_silence_behind_the_dot(void **state)
{
	(void)state;
	for (int written = 0; written < 2; written++) {
		struct run r;

		start(&r, "behind the dot", 0, EHLO_PIPE);
		(void)turn(&r);
		feed(&r, "250 ok\r\n250 ok\r\n354 go\r\n");
		(void)turn(&r);
		feed(&r, "250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n");
		if (written)
			(void)turn(&r);
		assert_string_equal(smtp_state_name(r.s), written ? "dot" : "body");
		smtp_timeout(r.s);
		take(&r);
		assert_int_equal(r.got[2].kind, written ? OUTCOME_IN_DOUBT : OUTCOME_RELEASED);
		assert_false(smtp_pipelining_failed(r.s));
		run_release(&r);
	}
}

static void
test_what_a_pool_asks(void **state)
{
	static const struct {
		struct outcome o;
		bool too_large;
	} cases[] = {
		{ { .kind = OUTCOME_FAILED, .phase = OUTCOME_PHASE_MAIL, .reason = "too_large" },
		    true },
		{ { .kind = OUTCOME_FAILED, .phase = OUTCOME_PHASE_MAIL, .reason = "content" },
		    false },
		{ { .kind = OUTCOME_FAILED, .phase = OUTCOME_PHASE_DOT, .reason = "too_large" },
		    false },
		{ { .kind = OUTCOME_FAILED,
		      .code = 552,
		      .phase = OUTCOME_PHASE_MAIL,
		      .reason = "too_large" },
		    false },
		{ { .kind = OUTCOME_DEFERRED, .phase = OUTCOME_PHASE_MAIL, .reason = "too_large" },
		    false },
	};
	struct run r;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(smtp_is_too_large(&cases[i].o), cases[i].too_large);
	start(&r, "plain", 2, "250 mx\r\n");
	assert_true(smtp_is_idle(r.s) && smtp_is_ready(r.s));
	smtp_offer(r.s, &(struct smtp_envelope){ .ref = 1, .rcpt_to = SLICE("r@example.net") });
	assert_false(smtp_is_idle(r.s));
	smtp_quit(r.s);
	assert_false(smtp_is_idle(r.s) || smtp_is_ready(r.s));
	take(&r);
	run_release(&r);
	/* as many as the server takes in a session */
	start(&r, "limits above our own", 0, EHLO_PIPE);
	(void)turn(&r);
	feed(&r, "250 ok\r\n250 ok\r\n354 go\r\n");
	(void)turn(&r);
	feed(&r, "250 ok\r\n");
	assert_false(smtp_is_idle(r.s));
	(void)turn(&r);
	assert_string_equal(smtp_state_name(r.s), "quit");
	assert_false(smtp_is_ready(r.s));
	run_release(&r);
}

/* A large message shows its dot, and asks for the mark, only near its end. */
static void
test_large_message_holds_the_dot(void **state)
{
	struct run r;
	struct buf data;
	struct slice out;

	(void)state;
	buf_init(&data, 1 << 20);
	while (data.len < 300000)
		buf_append_str(&data, "A line of a large message, all ASCII, with an end.\r\n");
	start(&r, "group", 2, EHLO_PIPE);
	smtp_offer(r.s,
	    &(struct smtp_envelope){
		.ref = 1, .rcpt_to = SLICE("r@example.net"), .data = buf_slice(&data) });
	out = smtp_output(r.s);
	smtp_wrote(r.s, out.len);
	feed(&r, "250 ok\r\n250 ok\r\n354 go\r\n");
	out = smtp_output(r.s);
	assert_int_equal(out.len, data.len);
	assert_int_equal(r.asked_dot[1], 0);
	smtp_wrote(r.s, 100000);
	assert_int_equal(smtp_output(r.s).len, data.len - 100000);
	assert_int_equal(r.asked_dot[1], 0);
	smtp_wrote(r.s, data.len - 150000);
	assert_int_equal(smtp_output(r.s).len, 50000 + 3);
	assert_int_equal(r.asked_dot[1], 1);
	assert_false(smtp_is_undecided(r.s));
	smtp_wrote(r.s, 50000);
	assert_false(smtp_is_undecided(r.s));
	assert_int_equal(smtp_deadline_s(r.s), 180);
	smtp_wrote(r.s, 3);
	assert_true(smtp_is_undecided(r.s));
	feed(&r, "250 ok id=1abc-00\r\n");
	take(&r);
	assert_int_equal(r.got[1].kind, OUTCOME_SENT);
	assert_string_equal(r.got_id[1], "1abc-00");
	run_release(&r);
	buf_release(&data);
}

static void
test_bad_envelopes(void **state)
{
	static const struct {
		struct slice from, to, data;
		const char *reason;
	} cases[] = {
		{ { "a@b.c>\r\nX", 9 }, { "d@e.f", 5 }, { "x", 1 }, "config" },
		{ { "a b@b.c", 7 }, { "d@e.f", 5 }, { "x", 1 }, "config" },
		{ { "a@b.c", 5 }, { "d@e.f\n", 6 }, { "x", 1 }, "config" },
		{ { "a@b.c", 5 }, { "d@e.f\r", 6 }, { "x", 1 }, "config" },
		{ { "a@b.c", 5 }, { "d\0@e.f", 6 }, { "x", 1 }, "config" },
		{ { "a@b.c", 5 }, { "<d@e.f", 6 }, { "x", 1 }, "config" },
		{ { "a@b.c", 5 }, { "d@e.f>", 6 }, { "x", 1 }, "config" },
		{ { "a@b.c", 5 }, { "", 0 }, { "x", 1 }, "config" },
		{ { "a@b.c", 5 }, { "d@e.f", 5 }, { "x\0y", 3 }, "content" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct run r;
		struct slice out;

		run_init(&r, find_transcript("plain"));
		r.offered = 2;
		assert_true(smtp_wants(r.s));
		smtp_offer(r.s,
		    &(struct smtp_envelope){ .ref = 1,
			.mail_from = cases[i].from,
			.rcpt_to = cases[i].to,
			.data = cases[i].data });
		take(&r);
		assert_int_equal(r.outcomes[1], 1);
		assert_int_equal(r.got[1].kind, OUTCOME_FAILED);
		assert_string_equal(r.got[1].reason, cases[i].reason);
		assert_true(smtp_wants(r.s));
		feed(&r, "220 mx\r\n");
		out = smtp_output(r.s);
		assert_true(slice_equal(out, SLICE("EHLO me.example.org\r\n")));
		run_release(&r);
	}
}

static void
test_remote_id(void **state)
{
	static const struct {
		const char *reply, *id;
	} cases[] = {
		{ "250 2.0.0 Ok: queued as 4ABCdef12\r\n", "4ABCdef12" },
		{ "250 Ok 0100018f2c-abc-000000\r\n", "0100018f2c-abc-000000" },
		{ "250 OK id=1rXyZ-0004Ab-1f\r\n", "1rXyZ-0004Ab-1f" },
		{ "250 2.0.0 OK  1700000000 d2e1a72fcca58-6c1.44 - gsmtp\r\n",
		    "d2e1a72fcca58-6c1.44" },
		{ "250 2.0.0 Ok\r\n", "" },
		{ "250 ok\r\n", "" },
		{ "250 Message accepted for delivery\r\n", "" },
		{ "250 2.0.0 Ok: queued as ABC.\r\n", "ABC" },
		{ "250 Queued As <x>\r\n", "<x" },
		{ "250 2.0.0\r\n", "" },
		{ "250 ok abcdef\r\n", "" },
		{ "250 ok ab1def\r\n", "ab1def" },
		{ "250 ok a-b\x7f\r\n", "" },
		{ "250 OK abc def\r\n", "" },
		{ "250 OK abc 1def more\r\n", "1def" },
		{ "250 OK abc defghijklmnopqrs\r\n", "defghijklmnopqrs" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct run r;

		start(&r, "group", 0, EHLO_PIPE);
		(void)turn(&r);
		feed(&r, "250 ok\r\n250 ok\r\n354 go\r\n");
		(void)turn(&r);
		feed(&r, cases[i].reply);
		take(&r);
		assert_int_equal(r.got[1].kind, OUTCOME_SENT);
		if (strncmp(r.got_id[1], cases[i].id, sizeof(r.got_id[1])) != 0)
			fail_msg("%s gives \"%s\"", cases[i].reply, r.got_id[1]);
		run_release(&r);
	}
}

static void
test_reset_and_reuse(void **state)
{
	struct run r;
	uint32_t progress;

	(void)state;
	run_init(&r, find_transcript("421 at greeting"));
	run_whole(&r, false);
	check_outcomes(&r);
	assert_true(smtp_is_closed(r.s));
	assert_int_equal(smtp_failure(r.s)->code, 421);
	assert_int_equal(smtp_failure(r.s)->scope, OUTCOME_SCOPE_ROUTE);
	smtp_eof(r.s); /* nothing more happens */
	smtp_reset(r.s, "mx.example.net");
	assert_null(smtp_failure(r.s));
	assert_string_equal(smtp_state_name(r.s), "greeting");
	progress = smtp_progress(r.s);
	feed(&r, "22");
	assert_int_equal(smtp_progress(r.s), progress);
	feed(&r, "0 mx\r\n");
	assert_int_not_equal(smtp_progress(r.s), progress);
	(void)turn(&r);
	feed(&r,
	    "250-mx\r\n250-pipelining\r\n250-8BITMIME\r\n250-DSN\r\n250-SIZE=5\r\n"
	    "250 ENHANCEDSTATUSCODES\r\n");
	assert_int_equal(smtp_features(r.s)->extensions,
	    SMTP_EXT_PIPELINING | SMTP_EXT_8BITMIME | SMTP_EXT_DSN | SMTP_EXT_SIZE |
		SMTP_EXT_ENHANCED);
	assert_true(smtp_is_idle(r.s));
	smtp_timeout(r.s); /* idle too long: QUIT */
	assert_int_equal(turn(&r), 1);
	assert_int_equal(smtp_deadline_s(r.s), 5);
	smtp_timeout(r.s);
	assert_true(smtp_is_closed(r.s));
	assert_null(smtp_failure(r.s));
	run_release(&r);
}

/* Before the greeting there is nobody to be polite to; names of hosts have a limit. */
static void
test_quit_before_the_greeting(void **state)
{
	char remote[400];
	struct run r;

	(void)state;
	run_init(&r, find_transcript("plain"));
	offer(&r);
	smtp_quit(r.s);
	assert_false(smtp_is_ready(r.s));
	assert_true(smtp_is_closed(r.s));
	take(&r);
	assert_int_equal(r.got[1].kind, OUTCOME_RELEASED);
	assert_int_equal(smtp_output(r.s).len, 0);
	smtp_wrote(r.s, 5);
	smtp_timeout(r.s);
	smtp_abort(r.s, OUTCOME_PHASE_CONNECT, "late");
	assert_null(smtp_failure(r.s));
	memset(remote, 'h', sizeof(remote) - 1);
	remote[sizeof(remote) - 1] = '\0';
	smtp_reset(r.s, remote);
	smtp_abort(r.s, OUTCOME_PHASE_CONNECT, "no route");
	assert_int_equal(smtp_failure(r.s)->remote.len, 255);
	smtp_reset(r.s, NULL);
	smtp_abort(r.s, OUTCOME_PHASE_CONNECT, "no route");
	assert_int_equal(smtp_failure(r.s)->remote.len, 0);
	run_release(&r);
	smtp_free(NULL);
}

/* A message waiting behind the dot of another is given back when the end is asked for. */
static void
test_quit_releases_what_waits(void **state)
{
	struct run r;

	(void)state;
	start(&r, "behind the dot", 0, EHLO_PIPE);
	(void)turn(&r);
	feed(&r, "250 ok\r\n250 ok\r\n354 go\r\n");
	offer(&r);
	assert_int_equal(r.offered, 2);
	smtp_quit(r.s);
	take(&r);
	assert_int_equal(r.got[2].kind, OUTCOME_RELEASED);
	assert_false(smtp_wants(r.s));
	(void)turn(&r);
	feed(&r, "250 ok\r\n");
	(void)turn(&r);
	assert_int_equal(r.got[1].kind, OUTCOME_SENT);
	assert_string_equal(smtp_state_name(r.s), "quit");
	feed(&r, "221 bye\r\n");
	assert_true(smtp_is_closed(r.s));
	assert_null(smtp_failure(r.s));
	run_release(&r);
}

static void
test_pipelining_fallback_is_told(void **state)
{
	struct run r;

	(void)state;
	run_init(&r, find_transcript("group behind the dot not understood"));
	run_whole(&r, false);
	assert_true(smtp_pipelining_failed(r.s));
	assert_int_equal(smtp_messages(r.s), 3);
	run_release(&r);
	run_init(&r, find_transcript("group not understood"));
	run_whole(&r, false);
	assert_true(smtp_pipelining_failed(r.s));
	run_release(&r);
	/* a server that throws away what came with the dot answers the dot and then nothing */
	start(&r, "behind the dot", 0, EHLO_PIPE);
	(void)turn(&r);
	feed(&r, "250 ok\r\n250 ok\r\n354 go\r\n");
	(void)turn(&r);
	feed(&r, "250 ok\r\n");
	(void)turn(&r);
	smtp_timeout(r.s);
	take(&r);
	assert_int_equal(r.got[1].kind, OUTCOME_SENT);
	assert_int_equal(r.got[2].kind, OUTCOME_RELEASED);
	assert_true(smtp_pipelining_failed(r.s));
	run_release(&r);
}

/* Whatever comes with or behind the 220 in clear ends the session (CVE-2011-0411). */
static void
test_injection_behind_starttls(void **state)
{
	static const char *const inputs[] = { "220 go\r\n250 evil\r\n", "220 go\r\n2",
		"220 go\r\n\n" };

	(void)state;
	for (size_t i = 0; i <= sizeof(inputs) / sizeof(inputs[0]); i++) {
		struct run r;

		start(&r, "tls when offered", 0, "250-mx\r\n250 STARTTLS\r\n");
		(void)turn(&r);
		feed(&r, i == 0 ? "220 go\r\n" : inputs[i - 1]);
		if (i == 0) {
			assert_true(smtp_wants_tls(r.s));
			feed(&r, "250 evil\r\n");
		}
		(void)turn(&r);
		assert_true(smtp_is_closed(r.s));
		assert_int_equal(smtp_failure(r.s)->phase, OUTCOME_PHASE_TLS);
		assert_int_equal(r.got[1].kind, OUTCOME_RELEASED);
		assert_null(strstr(buf_str(&r.client), "MAIL"));
		run_release(&r);
	}
}

/* The caller's handshake fails. */
static void
test_handshake_fails(void **state)
{
	struct run r;

	(void)state;
	start(&r, "tls when offered", 0, "250-mx\r\n250 STARTTLS\r\n");
	(void)turn(&r);
	feed(&r, "220 go\r\n");
	assert_int_equal(smtp_output(r.s).len, 0);
	smtp_abort(r.s, OUTCOME_PHASE_TLS, "certificate has expired");
	take(&r);
	assert_int_equal(r.got[1].kind, OUTCOME_RELEASED);
	assert_int_equal(r.got[1].phase, OUTCOME_PHASE_TLS);
	assert_int_equal(smtp_failure(r.s)->scope, OUTCOME_SCOPE_ROUTE);
	assert_true(slice_equal(smtp_failure(r.s)->text, SLICE("certificate has expired")));
	run_release(&r);
}

/* The login is in the output buffer only until it is written. */
static void
test_login_is_wiped(void **state)
{
	static const char secret[] = "AHVzZXIAc2VjcmV0";
	struct slice out;
	struct run r;

	(void)state;
	start(&r, "login refused", 0, "250-mx\r\n250 AUTH PLAIN\r\n");
	out = smtp_output(r.s);
	assert_non_null(memmem(out.ptr, out.len, secret, sizeof(secret) - 1));
	smtp_wrote(r.s, out.len - 1);
	assert_non_null(memmem(out.ptr, out.len, secret, sizeof(secret) - 1));
	smtp_wrote(r.s, 1);
	/* the memory is still the engine's: it gives back only what is larger */
	assert_null(memmem(out.ptr, out.len, secret, sizeof(secret) - 1));
	run_release(&r);
}

static void
test_timeouts(void **state)
{
	struct smtp_options o = {
		.ehlo_name = "me", .command_timeout_s = 20, .dot_timeout_s = 700
	};
	struct smtp *s = smtp_new(&o, NULL);

	(void)state;
	assert_non_null(s);
	assert_int_equal(smtp_deadline_s(s), 20);
	assert_false(smtp_is_ready(s));
	smtp_input(s, "220 mx\r\n", 8);
	smtp_wrote(s, smtp_output(s).len);
	smtp_input(s, "250 mx\r\n", 8);
	assert_true(smtp_is_ready(s));
	smtp_offer(s,
	    &(struct smtp_envelope){
		.ref = 1, .rcpt_to = SLICE("r@example.net"), .data = SLICE("x\r\n") });
	smtp_wrote(s, smtp_output(s).len);
	smtp_input(s, "250 ok\r\n", 8);
	smtp_wrote(s, smtp_output(s).len);
	smtp_input(s, "250 ok\r\n", 8);
	smtp_wrote(s, smtp_output(s).len);
	smtp_input(s, "354 go\r\n", 8);
	smtp_wrote(s, smtp_output(s).len);
	assert_true(smtp_is_undecided(s));
	assert_int_equal(smtp_deadline_s(s), 700);
	smtp_free(s);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_transcripts),
		cmocka_unit_test(test_cut_everywhere),
		cmocka_unit_test(test_one_write_per_message),
		cmocka_unit_test(test_cut_while_writing),
		cmocka_unit_test(test_early_replies),
		cmocka_unit_test(test_desync),
		cmocka_unit_test(test_refused_within_the_dot),
		cmocka_unit_test(test_silence_behind_the_dot),
		cmocka_unit_test(test_what_a_pool_asks),
		cmocka_unit_test(test_large_message_holds_the_dot),
		cmocka_unit_test(test_bad_envelopes),
		cmocka_unit_test(test_remote_id),
		cmocka_unit_test(test_limits_of_envelopes),
		cmocka_unit_test(test_outcomes_wait),
		cmocka_unit_test(test_reset_and_reuse),
		cmocka_unit_test(test_quit_before_the_greeting),
		cmocka_unit_test(test_quit_releases_what_waits),
		cmocka_unit_test(test_pipelining_fallback_is_told),
		cmocka_unit_test(test_injection_behind_starttls),
		cmocka_unit_test(test_handshake_fails),
		cmocka_unit_test(test_login_is_wiped),
		cmocka_unit_test(test_timeouts),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
