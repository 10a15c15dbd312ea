/* SPDX-License-Identifier: Apache-2.0 */
/* Replies whole and byte by byte, limits, and the search for enhanced codes. */
#include "smtp_reply.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct reply_case {
	struct slice input;
	enum smtp_reply_result result;
	size_t used;
	int code;
	uint16_t enhanced[3];
	const char *text;
};

#define IN(literal)                                                                                \
	{                                                                                          \
		literal, sizeof(literal) - 1                                                       \
	}

static const struct reply_case cases[] = {
	{ IN("250 ok\r\n"), SMTP_REPLY_DONE, 8, 250, { 0 }, "ok" },
	{ IN("250 ok\n"), SMTP_REPLY_DONE, 7, 250, { 0 }, "ok" },
	{ IN("354\r\n"), SMTP_REPLY_DONE, 5, 354, { 0 }, "" },
	{ IN("250 \r\n"), SMTP_REPLY_DONE, 6, 250, { 0 }, "" },
	{ IN("550 5.1.1 no such user\r\n"), SMTP_REPLY_DONE, 24, 550, { 5, 1, 1 },
	    "5.1.1 no such user" },
	/* the class must fit */
	{ IN("450 5.1.1 no\r\n"), SMTP_REPLY_DONE, 14, 450, { 0 }, "5.1.1 no" },
	{ IN("250-a\r\n250-\r\n250 b\r\n"), SMTP_REPLY_DONE, 20, 250, { 0 }, "a\n\nb" },
	{ IN("550-5.7.26 one\r\n550 5.7.26 two\r\n"), SMTP_REPLY_DONE, 32, 550, { 5, 7, 26 },
	    "5.7.26 one\n5.7.26 two" },
	/* no more than one reply is used */
	{ IN("250 a\r\n250 b\r\n"), SMTP_REPLY_DONE, 7, 250, { 0 }, "a" },
	{ IN("250 a"), SMTP_REPLY_MORE, 5, 0, { 0 }, "" },
	{ IN("250-a\r\n"), SMTP_REPLY_MORE, 7, 0, { 0 }, "" },
	{ IN("250-a\r\n550 b\r\n"), SMTP_REPLY_BAD, 14, 0, { 0 }, "" },
	{ IN("hello\r\n"), SMTP_REPLY_BAD, 7, 0, { 0 }, "" },
	{ IN("\r\n"), SMTP_REPLY_BAD, 2, 0, { 0 }, "" },
	{ IN("25\r\n"), SMTP_REPLY_BAD, 4, 0, { 0 }, "" },
	{ IN("2500 ok\r\n"), SMTP_REPLY_BAD, 9, 0, { 0 }, "" },
	{ IN("099 ok\r\n"), SMTP_REPLY_BAD, 8, 0, { 0 }, "" },
	{ IN("600 ok\r\n"), SMTP_REPLY_BAD, 8, 0, { 0 }, "" },
	{ IN("25x ok\r\n"), SMTP_REPLY_BAD, 8, 0, { 0 }, "" },
	{ IN("250\tok\r\n"), SMTP_REPLY_BAD, 8, 0, { 0 }, "" },
	{ IN("2-0 ok\r\n"), SMTP_REPLY_BAD, 8, 0, { 0 }, "" },
	{ IN("20- ok\r\n"), SMTP_REPLY_BAD, 8, 0, { 0 }, "" },
	{ IN("2:0 ok\r\n"), SMTP_REPLY_BAD, 8, 0, { 0 }, "" },
	{ IN("\n"), SMTP_REPLY_BAD, 1, 0, { 0 }, "" },
};

static void
check(const struct reply_case *c, bool by_byte)
{
	enum smtp_reply_result result = SMTP_REPLY_MORE;
	struct smtp_reply_parser p;
	struct smtp_reply reply = { 0 };
	size_t used = 0, n;

	smtp_reply_init(&p);
	if (by_byte) {
		while (used < c->input.len && result == SMTP_REPLY_MORE) {
			result = smtp_reply_feed(&p, c->input.ptr + used, 1, &n, &reply);
			assert_int_equal(n, 1);
			used += n;
		}
	} else {
		result = smtp_reply_feed(&p, c->input.ptr, c->input.len, &used, &reply);
	}
	if (result != c->result || used != c->used)
		fail_msg("\"%.*s\": result %d, used %zu", SLICE_ARG(c->input), (int)result, used);
	if (result == SMTP_REPLY_DONE) {
		assert_int_equal(reply.code, c->code);
		assert_memory_equal(reply.enhanced, c->enhanced, sizeof(reply.enhanced));
		assert_true(slice_equal(reply.text, slice_str(c->text)));
		assert_false(smtp_reply_is_partial(&p));
	}
	if (result == SMTP_REPLY_MORE)
		assert_true(smtp_reply_is_partial(&p));
	if (result == SMTP_REPLY_BAD)
		assert_int_equal(smtp_reply_feed(&p, "250 a\r\n", 7, &n, &reply), SMTP_REPLY_BAD);
	smtp_reply_release(&p);
}

static void
test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		check(&cases[i], false);
		check(&cases[i], true);
	}
}

static void
test_nul_is_text(void **state)
{
	struct smtp_reply_parser p;
	struct smtp_reply reply;
	size_t used;

	(void)state;
	smtp_reply_init(&p);
	assert_int_equal(smtp_reply_feed(&p, "250 a\0b\r\n", 9, &used, &reply), SMTP_REPLY_DONE);
	assert_int_equal(reply.text.len, 3);
	/* one after the other from the same parser */
	assert_int_equal(smtp_reply_feed(&p, "550 c\r\n", 7, &used, &reply), SMTP_REPLY_DONE);
	assert_int_equal(reply.code, 550);
	assert_int_equal(reply.text.len, 1);
	smtp_reply_release(&p);
}

static enum smtp_reply_result
feed_text(struct smtp_reply_parser *p, const struct buf *text, size_t piece)
{
	enum smtp_reply_result result = SMTP_REPLY_MORE;
	struct smtp_reply reply;
	size_t used;

	for (size_t at = 0; at < text->len && result == SMTP_REPLY_MORE; at += used) {
		size_t n = text->len - at < piece ? text->len - at : piece;

		result = smtp_reply_feed(p, text->data + at, n, &used, &reply);
	}
	return result;
}

static enum smtp_reply_result
feed_lines(unsigned lines, size_t line_bytes, bool ended, size_t piece)
{
	enum smtp_reply_result result;
	struct smtp_reply_parser p;
	struct buf text;

	smtp_reply_init(&p);
	buf_init(&text, 1 << 20);
	for (unsigned i = 0; i < lines; i++) {
		buf_append_str(&text, i + 1 < lines || !ended ? "250-" : "250 ");
		for (size_t n = 6; n < line_bytes; n++)
			buf_append_char(&text, 'x');
		buf_append_str(&text, "\r\n");
	}
	result = feed_text(&p, &text, piece);
	assert_true(p.bytes.capacity <= 2 * SMTP_REPLY_MAX);
	buf_release(&text);
	smtp_reply_release(&p);
	return result;
}

static void
test_limits(void **state)
{
	(void)state;
	for (size_t piece = 1; piece <= 1 << 20; piece *= 1024) {
		assert_int_equal(feed_lines(1, SMTP_REPLY_LINE_MAX, true, piece), SMTP_REPLY_DONE);
		assert_int_equal(
		    feed_lines(1, SMTP_REPLY_LINE_MAX + 1, true, piece), SMTP_REPLY_BAD);
		assert_int_equal(
		    feed_lines(SMTP_REPLY_LINES_MAX, 80, true, piece), SMTP_REPLY_DONE);
		assert_int_equal(
		    feed_lines(SMTP_REPLY_LINES_MAX + 1, 80, true, piece), SMTP_REPLY_BAD);
		assert_int_equal(feed_lines(10000, 6, false, piece), SMTP_REPLY_BAD);
		assert_int_equal(feed_lines(33, 2000, true, piece), SMTP_REPLY_BAD);
		assert_int_equal(feed_lines(32, 2000, true, piece), SMTP_REPLY_DONE);
	}
}

static void
test_enhanced_find(void **state)
{
	static const struct {
		const char *text;
		unsigned digit;
		uint16_t want[3];
	} finds[] = {
		{ "5.1.1 no", 0, { 5, 1, 1 } },
		{ "5.1.1", 5, { 5, 1, 1 } },
		{ "5.1.1", 4, { 0 } },
		{ "#5.1.1 no", 0, { 5, 1, 1 } },
		{ "no such user (#5.1.1)", 5, { 5, 1, 1 } },
		{ "smtp; 550-5.7.26 This", 5, { 5, 7, 26 } },
		{ "5.7.606 Access denied", 0, { 5, 7, 606 } },
		{ "status 4.4.7.", 0, { 4, 4, 7 } },
		{ "4.4.7 expired <550 5.1.1>", 5, { 5, 1, 1 } },
		{ "host 5.1.1.9 said no", 0, { 0 } },
		{ "host 192.5.1.1 said no", 0, { 0 } },
		{ "host 15.1.1 said no", 0, { 0 } },
		{ "[5.1.1.9] 550 5.1.2 no", 0, { 5, 1, 2 } },
		{ "version 4.2.1-rc1", 0, { 0 } },
		{ "v5.1.1", 0, { 0 } },
		{ "5.1.1@example.org", 0, { 0 } },
		{ "3.1.1 5.1", 0, { 0 } },
		{ "5.1.1234", 0, { 0 } },
		{ "5.12.", 0, { 0 } },
		{ "5..1.1", 0, { 0 } },
		{ "V5.1.1", 0, { 0 } },
		{ "_5.1.1", 0, { 0 } },
		{ "{5.1.1}", 0, { 5, 1, 1 } },
		{ "5.1.1A", 0, { 0 } },
		{ "5.1.1_", 0, { 0 } },
		{ "5.1.1/24", 0, { 0 } },
		{ "5.1.1-", 0, { 5, 1, 1 } },
		{ "5.1.1- no", 0, { 5, 1, 1 } },
		{ "5.1.1. No", 0, { 5, 1, 1 } },
		{ "2.0.0 ok", 2, { 2, 0, 0 } },
		{ "5.1-1 no", 0, { 0 } },
		{ "5.1.12345", 0, { 0 } },
		{ "5.123", 0, { 0 } },
		{ "", 0, { 0 } },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(finds) / sizeof(finds[0]); i++) {
		uint16_t got[3] = { 9, 9, 9 };
		bool found = smtp_enhanced_find(slice_str(finds[i].text), finds[i].digit, got);

		if (found != (finds[i].want[0] != 0) ||
		    memcmp(got, finds[i].want, sizeof(got)) != 0)
			fail_msg("\"%s\" gives %u.%u.%u", finds[i].text, got[0], got[1], got[2]);
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_nul_is_text),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_enhanced_find),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
