/* SPDX-License-Identifier: Apache-2.0 */
/* lmtp: transcripts, fed whole and byte by byte; what ends data and what does not; limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "lmtp.h"

static bool
accepts(void *context, struct slice address)
{
	static const struct slice domains[] = { { "bounce.test", 11 } };
	static const struct slice locals[] = { { "postmaster", 10 } };

	(void)context;
	return lmtp_address_known(address, domains, 1, locals, 1);
}

static const struct lmtp_config config = { "mx.test", 2000, accepts, NULL };

#define HELLO                                                                                      \
	"220 mx.test LMTP\r\n250-mx.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n"                    \
	"250-ENHANCEDSTATUSCODES\r\n250 SIZE 2000\r\n"
#define ONE_OK                                                                                     \
	"250 2.1.0 sender ok\r\n250 2.1.5 recipient ok\r\n354 end data with <CR><LF>.<CR><LF>\r\n"
#define ENVELOPE "LHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<b+t@bounce.test>\r\nDATA\r\n"

static void
feed(struct lmtp *l, const char *text, size_t n, size_t step)
{
	for (size_t i = 0; i < n && !lmtp_is_over(l); i += step)
		(void)!lmtp_input(l, text + i, step < n - i ? step : n - i);
}

static void
assert_output(struct lmtp *l, const char *expected)
{
	struct slice out = lmtp_output(l);

	assert_string_equal(out.len > 0 ? out.ptr : "", expected);
	lmtp_output_consume(l, out.len);
}

/* The message for this content, or NULL when none came; freed by the caller. */
static char *
content_of(const char *content, size_t n, size_t step)
{
	struct lmtp *l = lmtp_new(&config);
	struct lmtp_message message;
	char *copy = NULL;

	feed(l, ENVELOPE, sizeof(ENVELOPE) - 1, 7);
	feed(l, content, n, step);
	if (lmtp_message(l, &message)) {
		copy = calloc(1, message.data.len + 1);
		if (message.data.len > 0)
			memcpy(copy, message.data.ptr, message.data.len);
	}
	lmtp_free(l);
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
		struct lmtp *l = lmtp_new(&config);
		struct lmtp_message m;

		feed(l, script, sizeof(script) - 1, step);
		assert_output(l,
		    HELLO
		    "250 2.1.0 sender ok\r\n250 2.1.5 recipient ok\r\n250 2.1.5 recipient ok\r\n"
		    "550 5.1.1 no such recipient here\r\n"
		    "354 end data with <CR><LF>.<CR><LF>\r\n");
		assert_false(lmtp_wants_input(l));
		assert_true(lmtp_message(l, &m));
		assert_true(slice_equal(m.sender, SLICE("a@b.test")));
		assert_int_equal(m.rcpt_count, 2);
		assert_true(slice_equal(m.rcpts[0], SLICE("b+one@bounce.test")));
		assert_true(slice_equal(m.rcpts[1], SLICE("POSTMASTER@Bounce.Test")));
		assert_true(slice_equal(m.data, SLICE("Subject: x\r\n\r\n.dot\r\n")));
		assert_false(lmtp_answer(l, m.ref + 1, 250, "2.0.0 wrong"));
		assert_true(lmtp_answer(l, m.ref, 250, "2.0.0 recorded\r\n"));
		assert_output(l,
		    "250 2.0.0 recorded??\r\n250 2.0.0 recorded??\r\n250 2.0.0 ok\r\n"
		    "221 2.0.0 bye\r\n");
		assert_true(lmtp_is_over(l));
		assert_false(lmtp_answer(l, m.ref, 250, "2.0.0 twice"));
		lmtp_free(l);
	}
}

static void
test_second_message(void **state)
{
	struct lmtp *l = lmtp_new(&config);
	struct lmtp_message m;
	static const char more[] =
	    "MAIL FROM:<>\r\nRCPT TO:<u+x@bounce.test>\r\nDATA\r\nb\r\n.\r\n";

	(void)state;
	feed(l, ENVELOPE "a\r\n.\r\n", sizeof(ENVELOPE "a\r\n.\r\n") - 1, 1000);
	assert_output(l, HELLO ONE_OK);
	assert_true(lmtp_message(l, &m));
	assert_true(lmtp_answer(l, m.ref, 451, "4.3.0 try later"));
	assert_output(l, "451 4.3.0 try later\r\n");
	feed(l, more, sizeof(more) - 1, 3);
	assert_output(l, ONE_OK);
	assert_true(lmtp_message(l, &m));
	assert_int_equal(m.ref, 2);
	assert_true(slice_equal(m.rcpts[0], SLICE("u+x@bounce.test")));
	assert_true(slice_equal(m.data, SLICE("b\r\n")));
	lmtp_free(l);
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
		{ "VRFY a\r\n", "502 5.5.1 command not known\r\n" },
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
		struct lmtp *l = lmtp_new(&config);
		lmtp_output_consume(l, lmtp_output(l).len);
		feed(l, rows[i].sent, strlen(rows[i].sent), 1);
		assert_output(l, rows[i].answer);
		lmtp_free(l);
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
		{ "MAIL FROM:<a@b> SMTPUTF8\r\n", "555 5.5.4 parameter not known\r\n" },
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
		struct lmtp *l = lmtp_new(&config);
		feed(l, "LHLO c\r\n", 8, 8);
		lmtp_output_consume(l, lmtp_output(l).len);
		feed(l, rows[i].sent, strlen(rows[i].sent), 1);
		assert_output(l, rows[i].answer);
		lmtp_free(l);
	}
}

static void
test_addresses(void **state)
{
	(void)state;
	assert_true(accepts(NULL, SLICE("b+x@bounce.test")));
	assert_true(accepts(NULL, SLICE("U+x@BOUNCE.test")));
	assert_true(accepts(NULL, SLICE("postmaster@bounce.test")));
	assert_false(accepts(NULL, SLICE("b+@bounce.test")));
	assert_false(accepts(NULL, SLICE("c+x@bounce.test")));
	assert_false(accepts(NULL, SLICE("b+x@other.test")));
	assert_false(accepts(NULL, SLICE("b+x@bounce.test@other.test")));
	assert_false(accepts(NULL, SLICE("postmaster")));
	assert_false(accepts(NULL, SLICE("")));
}

static void
test_too_big(void **state)
{
	struct lmtp *l = lmtp_new(&config);
	struct lmtp_message m;
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
	assert_false(lmtp_message(l, &m));
	lmtp_free(l);
	/* exactly the limit is fine */
	l = lmtp_new(&config);
	feed(l, ENVELOPE, sizeof(ENVELOPE) - 1, 100);
	feed(l, line, 1000, 1000);
	feed(l, line, 1000, 1000);
	feed(l, ".\r\n", 3, 3);
	assert_true(lmtp_message(l, &m));
	assert_int_equal(m.data.len, 2000);
	lmtp_free(l);
	/* two bytes more are not */
	l = lmtp_new(&config);
	feed(l, ENVELOPE, sizeof(ENVELOPE) - 1, 100);
	feed(l, line, 1000, 1000);
	feed(l, line, 1000, 1000);
	feed(l, "\r\n.\r\n", 5, 5);
	assert_false(lmtp_message(l, &m));
	lmtp_free(l);
}

static void
test_limits(void **state)
{
	struct lmtp *l = lmtp_new(&config);
	struct lmtp_message m;
	char line[3000];

	(void)state;
	memset(line, 'N', sizeof(line));
	feed(l, line, sizeof(line), 700);
	feed(l, "\r\nNOOP\r\n", 8, 1);
	assert_output(l, "220 mx.test LMTP\r\n500 5.5.2 line too long\r\n250 2.0.0 ok\r\n");
	feed(l, "LHLO c\r\nMAIL FROM:<>\r\n", 22, 22);
	lmtp_output_consume(l, lmtp_output(l).len);
	for (int i = 0; i < LMTP_RCPTS_MAX; i++)
		feed(l, "RCPT TO:<b+a@bounce.test>\r\n", 27, 27);
	lmtp_output_consume(l, lmtp_output(l).len);
	feed(l, "RCPT TO:<b+a@bounce.test>\r\n", 27, 27);
	assert_output(l, "452 4.5.3 too many recipients\r\n");
	feed(l, "DATA\r\n.\r\n", 9, 9);
	assert_true(lmtp_message(l, &m));
	assert_int_equal(m.rcpt_count, LMTP_RCPTS_MAX);
	lmtp_free(l);
}

static void
test_floods(void **state)
{
	struct lmtp *l = lmtp_new(&config);
	int sent = 0;

	(void)state;
	while (!lmtp_is_over(l) && sent++ < 1000)
		feed(l, "VRFY x\r\n", 8, 8);
	assert_int_equal(sent, LMTP_ERRORS_MAX + 1);
	lmtp_free(l);
	l = lmtp_new(&config);
	feed(l, "LHLO c\r\nMAIL FROM:<>\r\n", 22, 22);
	for (sent = 0; !lmtp_is_over(l) && sent < 1000000; sent++)
		feed(l, "RCPT TO:<nobody@bounce.test>\r\n", 30, 30);
	assert_int_equal(sent, 101);
	lmtp_free(l);
	/* pipelined junk while a message waits is bounded */
	l = lmtp_new(&config);
	feed(l, ENVELOPE ".\r\n", sizeof(ENVELOPE ".\r\n") - 1, 100);
	for (sent = 0; !lmtp_is_over(l) && sent < 1000000; sent++)
		feed(l, "NOOP\r\n", 6, 6);
	assert_in_range(sent, LMTP_AHEAD_MAX / 6, LMTP_AHEAD_MAX / 6 + 10);
	lmtp_free(l);
	/* so is a client that never reads */
	l = lmtp_new(&config);
	for (sent = 0; !lmtp_is_over(l) && sent < 1000000; sent++)
		feed(l, "NOOP\r\n", 6, 6);
	assert_in_range(sent, 1, 100000);
	lmtp_free(l);
}

static void
test_end(void **state)
{
	struct lmtp *l = lmtp_new(&config);

	(void)state;
	lmtp_output_consume(l, lmtp_output(l).len);
	lmtp_end(l, "4.4.2 silent for too long");
	assert_output(l, "421 4.4.2 silent for too long\r\n");
	assert_int_equal(lmtp_input(l, "NOOP\r\n", 6), -1);
	assert_output(l, "");
	lmtp_free(l);
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
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
