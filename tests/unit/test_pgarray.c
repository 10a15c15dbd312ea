/* SPDX-License-Identifier: Apache-2.0 */
/* pgarray: literals that PostgreSQL reads back as what went in; broken bytes are replaced. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pgarray.h"

static void
expect(struct buf *b, const char *literal)
{
	assert_string_equal(pgarray_end(b), literal);
	buf_reset(b);
}

static void
test_numbers_and_nulls(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	expect(&b, "{}");
	pgarray_int(&b, 7);
	pgarray_int(&b, -3);
	pgarray_null(&b);
	pgarray_int(&b, INT64_MIN);
	expect(&b, "{7,-3,NULL,-9223372036854775808}");
	buf_release(&b);
}

static void
test_texts_are_quoted(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	pgarray_text(&b, SLICE("a,b}"));
	pgarray_text(&b, SLICE("say \"hi\" \\ ho"));
	pgarray_text(&b, SLICE(""));
	pgarray_optional(&b, SLICE(""));
	pgarray_optional(&b, SLICE("NULL"));
	pgarray_text(&b, SLICE("\xe5\x9b\x9e\xe8\xa6\xa7"));
	expect(&b,
	    "{\"a,b}\",\"say \\\"hi\\\" \\\\ "
	    "ho\",\"\",NULL,\"NULL\",\"\xe5\x9b\x9e\xe8\xa6\xa7\"}");
	buf_release(&b);
}

static void
test_bytes_that_are_no_text(void **state)
{
	static const struct slice bad[] = { SLICE("x\0y"), SLICE("x\xffy"), SLICE("x\xc3y"),
		SLICE("x\xc0\x80y"), SLICE("x\xed\xa0\x80y"), SLICE("x\xf4\x90\x80\x80y") };
	static const char *const good[] = { "{\"x?y\"}", "{\"x?y\"}", "{\"x?y\"}", "{\"x??y\"}",
		"{\"x???y\"}", "{\"x????y\"}" };
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		pgarray_text(&b, bad[i]);
		expect(&b, good[i]);
	}
	pgarray_text(&b, SLICE("cut \xe5\x9b"));
	expect(&b, "{\"cut ??\"}");
	buf_release(&b);
}

static void
test_overflow_is_told(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 8);
	pgarray_text(&b, SLICE("longer than eight"));
	assert_null(pgarray_end(&b));
	buf_release(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers_and_nulls),
		cmocka_unit_test(test_texts_are_quoted),
		cmocka_unit_test(test_bytes_that_are_no_text),
		cmocka_unit_test(test_overflow_is_told),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
