/* SPDX-License-Identifier: Apache-2.0 */
/* smtpd: transcripts of both dialects, fed whole and byte by byte; what ends data and what does not; limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smtpd.h"

static bool
is_known(struct slice address)
{
	static const struct slice domains[] = { { "bounce.test", 11 } };
	static const struct slice locals[] = { { "postmaster", 10 } };

	return smtpd_address_known(address, domains, 1, locals, 1);
}

static enum smtpd_verdict
accepts(void *context, struct slice address)
{
	(void)context;
	if (address.len > 12 && memcmp(address.ptr + address.len - 12, "@other.test2", 12) == 0)
		return SMTPD_FOREIGN;
	return is_known(address) ? SMTPD_TAKE : SMTPD_UNKNOWN;
}

static const struct smtpd_config config = {
	.hostname = "mx.test", .size_max = 2000, .accepts = accepts
};
static const struct smtpd_config smtp = { .hostname = "mx.test",
	.size_max = 40000,
	.accepts = accepts,
	.dialect = SMTPD_SMTP,
	.offers_tls = true };
static const struct smtpd_config smtp_tls_only = { .hostname = "mx.test",
	.accepts = accepts,
	.dialect = SMTPD_SMTP,
	.offers_tls = true,
	.requires_tls = true };

#define HELLO                                                                                      \
	"220 mx.test LMTP\r\n250-mx.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n"                    \
	"250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE 2000\r\n"
#define ONE_OK                                                                                     \
	"250 2.1.0 sender ok\r\n250 2.1.5 recipient ok\r\n354 end data with <CR><LF>.<CR><LF>\r\n"
#define ENVELOPE "LHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b+t@bounce.test>\r\nDATA\r\n"

static void
feed(struct smtpd *l, const char *text, size_t n, size_t step)
{
	for (size_t i = 0; i < n && !smtpd_is_over(l); i += step)
		(void)!smtpd_input(l, text + i, step < n - i ? step : n - i);
}

static void
assert_output(struct smtpd *l, const char *expected)
{
	struct slice out = smtpd_output(l);

	assert_string_equal(out.len > 0 ? out.ptr : "", expected);
	smtpd_output_consume(l, out.len);
}

/* The message for this content, or NULL when none came; freed by the caller. */
static char *
content_of(const char *content, size_t n, size_t step)
{
	struct smtpd *l = smtpd_new(&config);
	struct smtpd_message message;
	char *copy = NULL;

	feed(l, ENVELOPE, sizeof(ENVELOPE) - 1, 7);
	feed(l, content, n, step);
	if (smtpd_message(l, &message)) {
		copy = calloc(1, message.data.len + 1);
		if (message.data.len > 0)
			memcpy(copy, message.data.ptr, message.data.len);
	}
	smtpd_free(l);
	return copy;
}

static void
test_session(void **state)
{
	static const char script[] =
	    "LHLO client\r\nMAIL FROM:<a@b.test> SIZE=20 BODY=8BITMIME\r\n"
	    "RCPT TO:<b+one@bounce.test>\r\nrcpt to:<POSTMASTER@Bounce.Test>\r\n"
	    "RCPT TO:<other@bounce.test>\r\nDATA\r\n"
	    "Subject: x\r\n\r\n..dot\r\n.\r\nNOOP\r\nQUIT\r\n";

	(void)state;
	for (size_t step = 1; step <= sizeof(script); step += sizeof(script) / 3) {
		struct smtpd *l = smtpd_new(&config);
		struct smtpd_message m;

		feed(l, script, sizeof(script) - 1, step);
		assert_output(l,
		    HELLO
		    "250 2.1.0 sender ok\r\n250 2.1.5 recipient ok\r\n250 2.1.5 recipient ok\r\n"
		    "550 5.1.1 no such recipient here\r\n"
		    "354 end data with <CR><LF>.<CR><LF>\r\n");
		assert_false(smtpd_wants_input(l));
		assert_true(smtpd_message(l, &m));
		assert_true(slice_equal(m.sender, SLICE("a@b.test")));
		assert_int_equal(m.rcpt_count, 2);
		assert_true(slice_equal(m.rcpts[0], SLICE("b+one@bounce.test")));
		assert_true(slice_equal(m.rcpts[1], SLICE("POSTMASTER@Bounce.Test")));
		assert_true(slice_equal(m.data, SLICE("Subject: x\r\n\r\n.dot\r\n")));
		assert_false(smtpd_answer(l, m.ref + 1, 250, "2.0.0 wrong"));
		assert_true(smtpd_answer(l, m.ref, 250, "2.0.0 recorded\r\n"));
		assert_output(l,
		    "250 2.0.0 recorded??\r\n250 2.0.0 recorded??\r\n250 2.0.0 ok\r\n"
		    "221 2.0.0 bye\r\n");
		assert_true(smtpd_is_over(l));
		assert_false(smtpd_answer(l, m.ref, 250, "2.0.0 twice"));
		smtpd_free(l);
	}
}

static void
test_second_message(void **state)
{
	struct smtpd *l = smtpd_new(&config);
	struct smtpd_message m;
	static const char more[] =
	    "MAIL FROM:<>\r\nRCPT TO:<u+x@bounce.test>\r\nDATA\r\nb\r\n.\r\n";

	(void)state;
	feed(l, ENVELOPE "a\r\n.\r\n", sizeof(ENVELOPE "a\r\n.\r\n") - 1, 1000);
	assert_output(l, HELLO ONE_OK);
	assert_true(smtpd_message(l, &m));
	assert_true(smtpd_answer(l, m.ref, 451, "4.3.0 try later"));
	assert_output(l, "451 4.3.0 try later\r\n");
	feed(l, more, sizeof(more) - 1, 3);
	assert_output(l, ONE_OK);
	assert_true(smtpd_message(l, &m));
	assert_int_equal(m.ref, 2);
	assert_true(slice_equal(m.rcpts[0], SLICE("u+x@bounce.test")));
	assert_true(slice_equal(m.data, SLICE("b\r\n")));
	smtpd_free(l);
}

/* Only CR LF . CR LF ends the data (the smuggling advisories of 2023). */
static void
test_end_of_data(void **state)
{
	static const struct {
		const char *sent, *read;
	} rows[] = {
		{ "a\n.\nb\r\n.\r\n", "a\n.\nb\r\n" },
		{ "a\n.\r\nb\r\n.\r\n", "a\n.\r\nb\r\n" },
		{ "a\r.\r\nb\r\n.\r\n", "a\r.\r\nb\r\n" },
		{ "a\r\n.\nb\r\n.\r\n", "a\r\n\nb\r\n" },
		{ "a\r\n.\rb\r\n.\r\n", "a\r\n\rb\r\n" },
		{ "a\r\n.\r\r\n.\r\n", "a\r\n\r\r\n" },
		{ "a\r.\rb\r\n.\r\n", "a\r.\rb\r\n" },
		{ "a\r\n..\r\n.\r\n", "a\r\n.\r\n" },
		{ "a\r\r\n.\r\n", "a\r\r\n" },
		{ "a\r\n\n.\r\nb\r\n.\r\n", "a\r\n\n.\r\nb\r\n" },
		{ ".\r\n", "" },
		{ "\r\n.\r\n", "\r\n" },
		{ "a\r\n.", NULL },
		{ "a\r\n.\r", NULL },
		{ "a\n.\n", NULL },
		{ "a\r.\r", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (size_t step = 1; step < 20; step += 6) {
			char *got = content_of(rows[i].sent, strlen(rows[i].sent), step);
			if (rows[i].read == NULL)
				assert_null(got);
			else
				assert_string_equal(got != NULL ? got : "(none)", rows[i].read);
			free(got);
		}
	}
}

static void
test_commands(void **state)
{
	static const struct {
		const char *sent, *answer;
	} rows[] = {
		{ "EHLO c\r\n", "502 5.5.1 command not known\r\n" },
		{ "HELO c\r\n", "502 5.5.1 command not known\r\n" },
		{ "VRFY a\r\n", "252 2.0.0 not told, but mail is taken where it is known\r\n" },
		{ "ETRN a\r\n", "502 5.5.1 command not known\r\n" },
		{ "BDAT 3 LAST\r\n", "502 5.5.1 command not known\r\n" },
		{ "GET / HTTP/1.1\r\n", "502 5.5.1 command not known\r\n" },
		{ "LHLO\r\n", "501 5.5.4 LHLO needs a name\r\n" },
		{ "MAIL FROM:<>\r\n", "503 5.5.1 LHLO first\r\n" },
		{ "RCPT TO:<b+a@bounce.test>\r\n", "503 5.5.1 MAIL first\r\n" },
		{ "DATA\r\n", "503 5.5.1 no valid recipients\r\n" },
		{ "NOOP\nNOOP\r\n", "500 5.5.2 bad character in command\r\n" },
		{ "NOOP\r\r\n", "500 5.5.2 bad character in command\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct smtpd *l = smtpd_new(&config);
		smtpd_output_consume(l, smtpd_output(l).len);
		feed(l, rows[i].sent, strlen(rows[i].sent), 1);
		assert_output(l, rows[i].answer);
		smtpd_free(l);
	}
}

static void
test_paths(void **state)
{
	static const struct {
		const char *sent, *answer;
	} rows[] = {
		{ "MAIL FROM:a@b\r\n", "501 5.1.7 bad sender address\r\n" },
		{ "MAIL FROM:<a@b\r\n", "501 5.1.7 bad sender address\r\n" },
		{ "MAIL FROM:<a b@c>\r\n", "501 5.1.7 bad sender address\r\n" },
		{ "MAIL FROM:<a@b>SIZE=1\r\n", "501 5.1.7 bad sender address\r\n" },
		{ "MAIL FROM:<a@b> SIZE=2001\r\n", "552 5.3.4 message too big\r\n" },
		{ "MAIL FROM:<a@b> SIZE=x\r\n", "501 5.5.4 SIZE is not a number\r\n" },
		{ "MAIL FROM:<a@b> SMTPUTF8\r\n", "250 2.1.0 sender ok\r\n" },
		{ "MAIL FROM:<\xC3\xA9@b> SMTPUTF8\r\n", "250 2.1.0 sender ok\r\n" },
		{ "MAIL FROM:<\xC3\xA9@b>\r\n", "553 5.6.7 such an address needs SMTPUTF8\r\n" },
		{ "MAIL FROM:<> BODY=BINARYMIME\r\n", "555 5.5.4 parameter not known\r\n" },
		{ "MAIL FROM:<\"a>b\"@c>\r\nMAIL FROM:<>\r\n",
		    "250 2.1.0 sender ok\r\n503 5.5.1 MAIL already given\r\n" },
		{ "MAIL FROM:<>\r\nRCPT TO:<>\r\nRCPT TO:<b+a@bounce.test> NOTIFY=NEVER\r\n",
		    "250 2.1.0 sender ok\r\n501 5.1.3 bad recipient address\r\n"
		    "555 5.5.4 parameter not known\r\n" },
		{ "MAIL FROM:<>\r\nDATA\r\nRSET\r\nMAIL FROM:<>\r\n",
		    "250 2.1.0 sender ok\r\n503 5.5.1 no valid recipients\r\n250 2.0.0 reset\r\n"
		    "250 2.1.0 sender ok\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct smtpd *l = smtpd_new(&config);
		feed(l, "LHLO c\r\n", 8, 8);
		smtpd_output_consume(l, smtpd_output(l).len);
		feed(l, rows[i].sent, strlen(rows[i].sent), 1);
		assert_output(l, rows[i].answer);
		smtpd_free(l);
	}
}

static void
test_addresses(void **state)
{
	(void)state;
	assert_true(is_known(SLICE("b+x@bounce.test")));
	assert_true(is_known(SLICE("U+x@BOUNCE.test")));
	assert_true(is_known(SLICE("postmaster@bounce.test")));
	assert_false(is_known(SLICE("b+@bounce.test")));
	assert_false(is_known(SLICE("c+x@bounce.test")));
	assert_false(is_known(SLICE("b+x@other.test")));
	assert_false(is_known(SLICE("b+x@bounce.test@other.test")));
	assert_false(is_known(SLICE("postmaster")));
	assert_false(is_known(SLICE("")));
}

static void
test_too_big(void **state)
{
	struct smtpd *l = smtpd_new(&config);
	struct smtpd_message m;
	char line[1000];

	(void)state;
	memset(line, 'x', sizeof(line));
	line[998] = '\r';
	line[999] = '\n';
	feed(l, ENVELOPE, sizeof(ENVELOPE) - 1, 100);
	feed(l, line, 1000, 1000);
	feed(l, line, 1000, 1000);
	assert_output(l, HELLO ONE_OK);
	feed(l, "y\r\n", 3, 3);
	for (int i = 0; i < 200; i++)
		feed(l, line, 1000, 1000);
	feed(l, ".\r\nNOOP\r\n", 9, 9);
	assert_output(l, "552 5.3.4 message too big\r\n250 2.0.0 ok\r\n");
	assert_false(smtpd_message(l, &m));
	smtpd_free(l);
	/* exactly the limit is fine */
	l = smtpd_new(&config);
	feed(l, ENVELOPE, sizeof(ENVELOPE) - 1, 100);
	feed(l, line, 1000, 1000);
	feed(l, line, 1000, 1000);
	feed(l, ".\r\n", 3, 3);
	assert_true(smtpd_message(l, &m));
	assert_int_equal(m.data.len, 2000);
	smtpd_free(l);
	/* two bytes more are not */
	l = smtpd_new(&config);
	feed(l, ENVELOPE, sizeof(ENVELOPE) - 1, 100);
	feed(l, line, 1000, 1000);
	feed(l, line, 1000, 1000);
	feed(l, "\r\n.\r\n", 5, 5);
	assert_false(smtpd_message(l, &m));
	smtpd_free(l);
}

static void
test_limits(void **state)
{
	struct smtpd *l = smtpd_new(&config);
	struct smtpd_message m;
	char line[3000];

	(void)state;
	memset(line, 'N', sizeof(line));
	feed(l, line, sizeof(line), 700);
	feed(l, "\r\nNOOP\r\n", 8, 1);
	assert_output(l, "220 mx.test LMTP\r\n500 5.5.2 line too long\r\n250 2.0.0 ok\r\n");
	feed(l, "LHLO c\r\nMAIL FROM:<>\r\n", 22, 22);
	smtpd_output_consume(l, smtpd_output(l).len);
	for (int i = 0; i < SMTPD_RCPTS_MAX; i++)
		feed(l, "RCPT TO:<b+a@bounce.test>\r\n", 27, 27);
	smtpd_output_consume(l, smtpd_output(l).len);
	for (int i = 0; i < SMTPD_OVER_MAX; i++) {
		feed(l, "RCPT TO:<b+a@bounce.test>\r\n", 27, 27);
		assert_output(l, "452 4.5.3 too many recipients\r\n");
	}
	feed(l, "DATA\r\n.\r\n", 9, 9);
	assert_true(smtpd_message(l, &m));
	assert_int_equal(m.rcpt_count, SMTPD_RCPTS_MAX);
	smtpd_free(l);
}

static void
test_floods(void **state)
{
	struct smtpd *l = smtpd_new(&config);
	int sent = 0;

	(void)state;
	while (!smtpd_is_over(l) && sent++ < 1000)
		feed(l, "ETRN x\r\n", 8, 8);
	assert_int_equal(sent, SMTPD_ERRORS_MAX + 1);
	smtpd_free(l);
	l = smtpd_new(&config);
	feed(l, "LHLO c\r\nMAIL FROM:<>\r\n", 22, 22);
	for (sent = 0; !smtpd_is_over(l) && sent < 1000000; sent++)
		feed(l, "RCPT TO:<nobody@bounce.test>\r\n", 30, 30);
	assert_int_equal(sent, 101);
	smtpd_free(l);
	l = smtpd_new(&config);
	feed(l, "LHLO c\r\nMAIL FROM:<>\r\n", 22, 22);
	for (sent = 0; !smtpd_is_over(l) && sent < 1000000; sent++)
		feed(l, "RCPT TO:<b+a@bounce.test>\r\n", 27, 27);
	assert_int_equal(sent, SMTPD_RCPTS_MAX + SMTPD_OVER_MAX + SMTPD_ERRORS_MAX + 1);
	smtpd_free(l);
	/* pipelined junk while a message waits is bounded */
	l = smtpd_new(&config);
	feed(l, ENVELOPE ".\r\n", sizeof(ENVELOPE ".\r\n") - 1, 100);
	for (sent = 0; !smtpd_is_over(l) && sent < 1000000; sent++)
		feed(l, "NOOP\r\n", 6, 6);
	assert_in_range(sent, SMTPD_AHEAD_MAX / 6, SMTPD_AHEAD_MAX / 6 + 10);
	smtpd_free(l);
	/* so is a client that never reads */
	l = smtpd_new(&config);
	for (sent = 0; !smtpd_is_over(l) && sent < 1000000; sent++)
		feed(l, "NOOP\r\n", 6, 6);
	assert_in_range(sent, 1, 100000);
	smtpd_free(l);
}

static void
test_end(void **state)
{
	struct smtpd *l = smtpd_new(&config);

	(void)state;
	smtpd_output_consume(l, smtpd_output(l).len);
	smtpd_end(l, "4.4.2 silent for too long");
	assert_output(l, "421 4.4.2 silent for too long\r\n");
	assert_int_equal(smtpd_input(l, "NOOP\r\n", 6), -1);
	assert_output(l, "");
	smtpd_free(l);
}

/* ---- SMTP ------------------------------------------------------------------------------- */

#define SMTP_HELLO                                                                                 \
	"250-mx.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n"                        \
	"250-ENHANCEDSTATUSCODES\r\n250-STARTTLS\r\n250 SIZE 40000\r\n"
#define SMTP_ENVELOPE "EHLO c.test\r\nMAIL FROM:<>\r\nRCPT TO:<b+t@bounce.test>\r\nDATA\r\n"

static struct smtpd *
smtp_new(const struct smtpd_config *c, const char *before)
{
	struct smtpd *l = smtpd_new(c);

	feed(l, before, strlen(before), 1000);
	smtpd_output_consume(l, smtpd_output(l).len);
	return l;
}

static void
test_smtp_session(void **state)
{
	static const char script[] =
	    "EHLO client.test\r\nMAIL FROM:<a@b.test> SIZE=20 BODY=8BITMIME\r\n"
	    "RCPT TO:<b+one@bounce.test>\r\nRCPT TO:<POSTMASTER@Bounce.Test>\r\n"
	    "RCPT TO:<x@bounce.test>\r\nRCPT TO:<x@other.test2>\r\nDATA\r\n"
	    "Subject: x\r\n\r\n..dot\r\n.\r\nNOOP\r\nQUIT\r\n";

	(void)state;
	for (size_t step = 1; step <= sizeof(script); step += sizeof(script) / 3) {
		struct smtpd *l = smtpd_new(&smtp);
		struct smtpd_message m;

		feed(l, script, sizeof(script) - 1, step);
		assert_output(l,
		    "220 mx.test ESMTP\r\n" SMTP_HELLO
		    "250 2.1.0 sender ok\r\n250 2.1.5 recipient ok\r\n250 2.1.5 recipient ok\r\n"
		    "550 5.1.1 no such recipient here\r\n"
		    "550 5.7.1 not a domain of ours, and we do not relay\r\n"
		    "354 end data with <CR><LF>.<CR><LF>\r\n");
		assert_true(smtpd_message(l, &m));
		assert_int_equal(m.rcpt_count, 2);
		assert_true(slice_equal(m.helo, SLICE("client.test")));
		assert_true(m.is_extended);
		assert_false(m.is_tls);
		assert_true(smtpd_answer(l, m.ref, 250, "2.0.0 recorded"));
		/* one answer for the message, not one for each recipient */
		assert_output(l, "250 2.0.0 recorded\r\n250 2.0.0 ok\r\n221 2.0.0 bye\r\n");
		smtpd_free(l);
	}
}

static void
test_smtp_commands(void **state)
{
	static const struct {
		const char *sent, *answer;
	} rows[] = {
		{ "VRFY postmaster\r\n",
		    "252 2.0.0 not told, but mail is taken where it is known\r\n" }, /* A53 */
		{ "EXPN list\r\n", "502 5.5.1 command not known\r\n" },
		{ "ETRN a\r\n", "502 5.5.1 command not known\r\n" },
		{ "AUTH PLAIN AGEAYg==\r\n", "502 5.5.1 command not known\r\n" }, /* A49 */
		{ "TURN\r\n", "502 5.5.1 command not known\r\n" },
		{ "BDAT 3 LAST\r\n", "502 5.5.1 command not known\r\n" },
		{ "XCLIENT ADDR=127.0.0.1\r\n", "502 5.5.1 command not known\r\n" },
		{ "LHLO c\r\n", "502 5.5.1 command not known\r\n" },
		{ "HELO\r\n", "501 5.5.4 HELO needs a name\r\n" },
		{ "EHLO a b\r\n", "501 5.5.4 EHLO needs a name\r\n" },
		{ "EHLO a;b\r\n", "501 5.5.4 EHLO needs a name\r\n" },
		{ "HELO [192.0.2.1]\r\n", "250 mx.test\r\n" },
		{ "EHLO c\r\n", SMTP_HELLO },
		{ "MAIL FROM:<>\r\n", "503 5.5.1 EHLO first\r\n" },
		{ "NOOP\nMAIL FROM:<>\r\n", "500 5.5.2 bad character in command\r\n" },
		{ "NOOP\rMAIL FROM:<>\r\n", "500 5.5.2 bad character in command\r\n" },
		{ "GET / HTTP/1.1\r\nHost: a\r\n", "421 5.7.0 this is not HTTP\r\n" },
		{ "POST /x HTTP/1.1\r\n", "421 5.7.0 this is not HTTP\r\n" },
		{ "HELO c\r\nMAIL FROM:<a@\xC3\xA9.test>\r\n",
		    "250 mx.test\r\n553 5.6.7 such an address needs SMTPUTF8\r\n" },
		{ "HELO c\r\nMAIL FROM:<a@\xC3\xA9.test> SMTPUTF8\r\n",
		    "250 mx.test\r\n250 2.1.0 sender ok\r\n" },
		{ "HELO c\r\nMAIL FROM:<a@\xC3.test> SMTPUTF8\r\n",
		    "250 mx.test\r\n553 5.6.7 such an address needs SMTPUTF8\r\n" },
		{ "HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<b+\xC3\xA9@bounce.test>\r\n",
		    "250 mx.test\r\n250 2.1.0 sender ok\r\n501 5.1.3 bad recipient address\r\n" },
		{ "HELO c\r\nMAIL FROM:<> SMTPUTF8\r\nRSET\r\nMAIL FROM:<\xC3\xA9@b>\r\n",
		    "250 mx.test\r\n250 2.1.0 sender ok\r\n250 2.0.0 reset\r\n"
		    "553 5.6.7 such an address needs SMTPUTF8\r\n" },
		{ "HELO c\r\nMAIL FROM:<> SIZE=40001\r\n",
		    "250 mx.test\r\n552 5.3.4 message too big\r\n" },
		{ "HELO c\r\nMAIL FROM:<>\r\nHELO c\r\nRCPT TO:<b+t@bounce.test>\r\n",
		    "250 mx.test\r\n250 2.1.0 sender ok\r\n250 mx.test\r\n503 5.5.1 MAIL "
		    "first\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct smtpd *l = smtp_new(&smtp, "");

		feed(l, rows[i].sent, strlen(rows[i].sent), 1);
		assert_output(l, rows[i].answer);
		smtpd_free(l);
	}
}

/* A53: what another server might take for an end of data, or for a line, is refused whole. */
static void
test_smtp_smuggling(void **state)
{
	static const char smuggled[] = "MAIL FROM:<x@y>\r\nRCPT TO:<b+z@bounce.test>\r\nDATA\r\n";
	static const struct {
		const char *sent;
		const char *answer; /* NULL: taken */
	} rows[] = {
		{ "a\n.\n%s.\r\n", "550 5.5.2" },
		{ "a\n.\r\n%s\r\n.\r\n", "550 5.5.2" },
		{ "a\r\n.\n%s\r\n.\r\n", "550 5.5.2" },
		{ "a\r.\r%s\r\n.\r\n", "550 5.5.2" },
		{ "a\r\n.\r%s\r\n.\r\n", "550 5.5.2" },
		{ "a\r.\r\n%s\r\n.\r\n", "550 5.5.2" },
		{ "a\r\r\n%s\r\n.\r\n", "550 5.5.2" },
		{ "a\r\n\n%s\r\n.\r\n", "550 5.5.2" },
		{ "a\nb%s\r\n.\r\n", "550 5.5.2" },
		{ "\n%s\r\n.\r\n", "550 5.5.2" },
		{ "a\r\n..\r\n%s\r\n.\r\n", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (size_t step = 1; step < 40; step += 13) {
			struct smtpd *l = smtp_new(&smtp, SMTP_ENVELOPE);
			struct smtpd_message m;
			char text[300];
			int n;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
			n = snprintf(text, sizeof(text), rows[i].sent, smuggled);
#pragma GCC diagnostic pop
			feed(l, text, (size_t)n, step);
			if (rows[i].answer == NULL) {
				assert_true(smtpd_message(l, &m));
			} else {
				struct slice out = smtpd_output(l);

				assert_false(smtpd_message(l, &m));
				assert_true(slice_starts_nocase(out, slice_str(rows[i].answer)));
				/* one answer: nothing of the content was a command */
				assert_ptr_equal(
				    memchr(out.ptr, '\n', out.len), out.ptr + out.len - 1);
			}
			smtpd_free(l);
		}
	}
}

static void
test_smtp_starttls(void **state)
{
	struct smtpd *l = smtp_new(&smtp_tls_only, "EHLO c\r\n");

	(void)state;
	feed(l, "MAIL FROM:<>\r\n", 14, 14);
	assert_output(l, "530 5.7.0 STARTTLS first\r\n");
	feed(l, "STARTTLS x\r\nSTARTTLS\r\n", 22, 22);
	assert_output(l, "501 5.5.4 STARTTLS takes no parameter\r\n220 2.0.0 go ahead\r\n");
	assert_true(smtpd_wants_tls(l));
	assert_false(smtpd_wants_input(l));
	smtpd_tls_started(l);
	assert_false(smtpd_wants_tls(l));
	feed(l, "MAIL FROM:<>\r\n", 14, 14); /* the hello in clear is forgotten */
	assert_output(l, "503 5.5.1 EHLO first\r\n");
	feed(l, "EHLO c\r\nMAIL FROM:<>\r\nSTARTTLS\r\n", 32, 5);
	assert_output(l,
	    "250-mx.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n"
	    "250-ENHANCEDSTATUSCODES\r\n250 SIZE 1048576\r\n250 2.1.0 sender ok\r\n"
	    "502 5.5.1 command not known\r\n");
	smtpd_free(l);
}

/* A48, CVE-2011-0411: what was pipelined in clear is never read as said under TLS. */
static void
test_smtp_starttls_injection(void **state)
{
	static const char script[] = "STARTTLS\r\nRSET\r\n";

	(void)state;
	for (size_t step = 1; step <= sizeof(script); step += 5) {
		struct smtpd *l = smtp_new(&smtp, "EHLO c\r\n");

		feed(l, script, sizeof(script) - 1, step);
		assert_output(l, "220 2.0.0 go ahead\r\n421 5.5.1 nothing may follow STARTTLS\r\n");
		assert_true(smtpd_is_over(l));
		smtpd_tls_started(l);
		assert_true(smtpd_is_over(l));
		smtpd_free(l);
	}
}

static void
test_smtp_limits(void **state)
{
	char line[SMTPD_TEXT_MAX + 10];
	struct smtpd_message m;
	struct smtpd *l;
	int sent;

	(void)state;
	memset(line, 'x', sizeof(line));
	for (size_t over = 0; over < 2; over++) { /* the line itself, its CR counts */
		l = smtp_new(&smtp, SMTP_ENVELOPE);
		feed(l, line, SMTPD_TEXT_MAX - 1 + over, 1000);
		feed(l, "\r\n.\r\n", 5, 1);
		assert_int_equal(smtpd_message(l, &m), over == 0);
		assert_output(l, over == 0 ? "" : "550 5.6.0 a line is too long\r\n");
		smtpd_free(l);
	}
	l = smtp_new(&smtp, "EHLO c\r\nMAIL FROM:<>\r\n"); /* A53: guessing recipients */
	for (sent = 0; !smtpd_is_over(l) && sent < 1000000; sent++)
		feed(l, "RCPT TO:<nobody@bounce.test>\r\n", 30, 30);
	assert_int_equal(sent, SMTPD_REJECTS_MAX + 1);
	smtpd_free(l);
	l = smtp_new(&smtp, "EHLO c\r\n"); /* new transactions do not forgive it */
	for (sent = 0; !smtpd_is_over(l) && sent < 1000000; sent++)
		feed(l, "MAIL FROM:<>\r\nRCPT TO:<n@bounce.test>\r\nRSET\r\n", 45, 45);
	assert_int_equal(sent, SMTPD_REJECTS_MAX + 1);
	smtpd_free(l);
	l = smtp_new(&smtp, "EHLO c\r\n"); /* nor is a session for idling */
	for (sent = 0; !smtpd_is_over(l) && sent < 1000000; sent++) {
		feed(l, "NOOP\r\n", 6, 6);
		smtpd_output_consume(l, smtpd_output(l).len);
	}
	assert_int_equal(sent, SMTPD_IDLE_COMMANDS);
	smtpd_free(l);
	l = smtp_new(&smtp, "EHLO c\r\n");
	for (sent = 0; !smtpd_is_over(l) && sent < 1000000; sent++) {
		feed(l, "MAIL FROM:<>\r\nRCPT TO:<b+t@bounce.test>\r\nDATA\r\n.\r\n", 50, 50);
		if (smtpd_message(l, &m))
			assert_true(smtpd_answer(l, m.ref, 250, "2.0.0 ok"));
		smtpd_output_consume(l, smtpd_output(l).len);
	}
	assert_int_equal(sent, SMTPD_MESSAGES_MAX);
	smtpd_free(l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_session),
		cmocka_unit_test(test_second_message),
		cmocka_unit_test(test_end_of_data),
		cmocka_unit_test(test_commands),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_too_big),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_floods),
		cmocka_unit_test(test_end),
		cmocka_unit_test(test_smtp_session),
		cmocka_unit_test(test_smtp_commands),
		cmocka_unit_test(test_smtp_smuggling),
		cmocka_unit_test(test_smtp_starttls),
		cmocka_unit_test(test_smtp_starttls_injection),
		cmocka_unit_test(test_smtp_limits),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
