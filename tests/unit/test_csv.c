/* SPDX-License-Identifier: Apache-2.0 */
/* test_csv: cli/customer/csv.c: each case is read whole and in pieces of every small size; the answers
 * must be the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/customer/csv.h"

/* Records as "[a|b]", refusals as "<reason line-last>"; result in dst. */
static void
read_all(struct slice text, size_t piece, struct buf *dst)
{
	struct csv *c = malloc(sizeof(*c));
	struct slice left = { NULL, 0 };
	size_t at = 0;

	assert_non_null(c);
	csv_init(c, ',');
	for (;;) {
		enum csv_result r = csv_next(c, &left, at == text.len && left.len == 0);

		if (r == CSV_END)
			break;
		if (r == CSV_MORE) {
			size_t n = text.len - at < piece ? text.len - at : piece;

			assert_int_equal(left.len, 0);
			left = slice_make(text.ptr + at, n);
			at += n;
		} else if (r == CSV_RECORD) {
			buf_printf(dst, "%d[", (int)c->line);
			for (size_t i = 0; i < c->count; i++) {
				if (i > 0)
					buf_append_char(dst, '|');
				buf_append_slice(dst, c->fields[i]);
			}
			buf_append_char(dst, ']');
		} else {
			buf_printf(dst, "<%d %d-%d>", (int)r, (int)c->line, (int)c->last_line);
		}
	}
	csv_release(c);
	free(c);
}

static void
expect(struct slice text, const char *wanted)
{
	for (size_t piece = 1; piece <= text.len + 1; piece++) {
		struct buf got;

		buf_init(&got, 1 << 20);
		read_all(text, piece, &got);
		if (strcmp(buf_str(&got), wanted) != 0)
			fail_msg(
			    "in pieces of %zu: got %s, wanted %s", piece, buf_str(&got), wanted);
		buf_release(&got);
	}
}

static void
test_plain(void **state)
{
	(void)state;
	expect(SLICE(""), "");
	expect(SLICE("a"), "1[a]");
	expect(SLICE("a,b\nc,d\n"), "1[a|b]2[c|d]");
	expect(SLICE("a,b\r\nc,d"), "1[a|b]2[c|d]");
	expect(SLICE("a,\n,b\n,\n"), "1[a|]2[|b]3[|]");
	expect(SLICE("a,"), "1[a|]");
	expect(SLICE(" a , b "), "1[ a | b ]");
}

static void
test_empty_lines(void **state)
{
	(void)state;
	expect(SLICE("\n\r\na\n\n\r\nb\n\n"), "3[a]6[b]");
	expect(SLICE("\n"), "");
	expect(SLICE("\"\"\n"), "");
}

static void
test_quoted(void **state)
{
	(void)state;
	expect(SLICE("\"a\",\"b,c\"\n"), "1[a|b,c]");
	expect(SLICE("\"a \"\"b\"\" c\"\r\nd\n"), "1[a \"b\" c]2[d]");
	expect(SLICE("\"a\nb\r\nc\",d\ne"), "1[a\nb\r\nc|d]4[e]");
	expect(SLICE("\"\",\"\""), "1[|]");
	expect(SLICE("\"\"\"\""), "1[\"]");
}

static void
test_carriage_return(void **state)
{
	(void)state;
	expect(SLICE("a\rb\n"), "1[a\rb]");
	expect(SLICE("a\r\r\n"), "1[a\r]");
	expect(SLICE("a\r"), "1[a\r]");
	expect(SLICE("a\r,b\n"), "1[a\r|b]");
}

static void
test_byte_order_mark(void **state)
{
	(void)state;
	expect(SLICE("\xef\xbb\xbf"
		     "a,b\n"),
	    "1[a|b]");
	expect(SLICE("\xef\xbb\xbf\"a\"\n"), "1[a]");
	expect(SLICE("\xef\xbb"
		     "a\n"),
	    "1[\xef\xbb"
	    "a]");
	expect(SLICE("\xef"), "1[\xef]");
	expect(SLICE("a\n\xef\xbb\xbf"
		     "b\n"),
	    "1[a]2[\xef\xbb\xbf"
	    "b]");
}

static void
test_refusals_resume(void **state)
{
	(void)state;
	expect(SLICE("a\"b,c\nd\n"), "<5 1-1>2[d]");
	expect(SLICE("\"a\"b\nd\n"), "<5 1-1>2[d]");
	expect(SLICE("\"a\"\rb\nd\n"), "<5 1-1>2[d]");
	expect(SLICE("\"a\nb\"c\nd\n"), "<5 1-2>3[d]");
	expect(SLICE("a\n\"b\nc\n"), "1[a]<6 2-4>");
	expect(SLICE("x\"\n"), "<5 1-1>");
	expect(SLICE("x\""), "<5 1-1>");
}

static void
test_nul_is_a_byte(void **state)
{
	struct csv *c = malloc(sizeof(*c));
	struct slice text = SLICE("a\0b,c\n");

	(void)state;
	assert_non_null(c);
	csv_init(c, ',');
	assert_int_equal(csv_next(c, &text, true), CSV_RECORD);
	assert_int_equal(c->fields[0].len, 3);
	assert_memory_equal(c->fields[0].ptr, "a\0b", 3);
	csv_release(c);
	free(c);
}

static void
test_separator(void **state)
{
	struct csv *c = malloc(sizeof(*c));
	struct slice text = SLICE("a;b,c;\"d;e\"\n");

	(void)state;
	assert_non_null(c);
	csv_init(c, ';');
	assert_int_equal(csv_next(c, &text, true), CSV_RECORD);
	assert_int_equal(c->count, 3);
	assert_true(slice_equal(c->fields[1], SLICE("b,c")));
	assert_true(slice_equal(c->fields[2], SLICE("d;e")));
	csv_release(c);
	free(c);
}

static void
test_limits(void **state)
{
	struct buf text, got;

	(void)state;
	buf_init(&text, 4 * CSV_RECORD_MAX);
	buf_init(&got, 4 * CSV_RECORD_MAX);
	for (int i = 0; i < CSV_FIELDS_MAX - 1; i++)
		buf_append_char(&text, ',');
	buf_append_str(&text, "\n");
	for (int i = 0; i < CSV_FIELDS_MAX; i++)
		buf_append_char(&text, ',');
	buf_append_str(&text, "\nnext\n");
	read_all(buf_slice(&text), 1000, &got);
	assert_int_equal(strncmp(buf_str(&got), "1[|", 3), 0);
	assert_non_null(strstr(buf_str(&got), "]<4 2-2>3[next]"));

	buf_reset(&text);
	buf_reset(&got);
	buf_append_str(&text, "\"");
	for (size_t i = 0; i < CSV_RECORD_MAX; i++)
		buf_append_char(&text, 'x');
	buf_append_str(&text, "x\"\nnext\n");
	read_all(buf_slice(&text), 100000, &got);
	assert_string_equal(buf_str(&got), "<3 1-1>2[next]");

	/* exactly the limit is fine */
	buf_reset(&text);
	buf_reset(&got);
	for (size_t i = 0; i < CSV_RECORD_MAX; i++)
		buf_append_char(&text, 'x');
	buf_append_str(&text, "\nnext\n");
	read_all(buf_slice(&text), 100000, &got);
	assert_int_equal(strncmp(buf_str(&got), "1[xxx", 5), 0);
	assert_non_null(strstr(buf_str(&got), "]2[next]"));
	buf_release(&got);
	buf_release(&text);
}

static void
check_written(struct slice field, const char *wanted)
{
	struct csv *c = malloc(sizeof(*c));
	struct slice text;
	struct buf b;

	assert_non_null(c);
	buf_init(&b, 1000);
	csv_append(&b, field, ',', true);
	assert_string_equal(buf_str(&b), wanted);
	buf_append_str(&b, ",end\n");
	csv_init(c, ',');
	text = buf_slice(&b);
	assert_int_equal(csv_next(c, &text, true), CSV_RECORD);
	assert_int_equal(c->count, 2);
	assert_true(slice_equal(csv_unguard(c->fields[0]), field));
	csv_release(c);
	free(c);
	buf_release(&b);
}

static void
test_written_and_read_back(void **state)
{
	(void)state;
	check_written(SLICE("plain"), "plain");
	check_written(SLICE(""), "");
	check_written(SLICE("a,b"), "\"a,b\"");
	check_written(SLICE("a\"b"), "\"a\"\"b\"");
	check_written(SLICE("\""), "\"\"\"\"");
	check_written(SLICE("a\nb"), "\"a\nb\"");
	check_written(SLICE("=1+1"), "'=1+1");
	check_written(SLICE("+x@y.example"), "'+x@y.example");
	check_written(SLICE("-1"), "'-1");
	check_written(SLICE("@sum"), "'@sum");
	check_written(SLICE("'=1"), "''=1");
	check_written(SLICE("'quoted'"), "'quoted'");
	check_written(SLICE("=\"a\",b"), "\"'=\"\"a\"\",b\"");
	check_written(SLICE("\t=1"), "'\t=1");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_empty_lines),
		cmocka_unit_test(test_quoted),
		cmocka_unit_test(test_carriage_return),
		cmocka_unit_test(test_byte_order_mark),
		cmocka_unit_test(test_refusals_resume),
		cmocka_unit_test(test_nul_is_a_byte),
		cmocka_unit_test(test_separator),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_written_and_read_back),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
