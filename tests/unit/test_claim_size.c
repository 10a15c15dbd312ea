/* SPDX-License-Identifier: Apache-2.0 */
/* claim_size: rows of a statement grow with what leaves, and shrink again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "claim_size.h"

static long
rows_at(struct claim_size *s, uint64_t now_ms)
{
	claim_size_adapt(s, now_ms);
	return s->rows;
}

static void
test_idle(void **state)
{
	struct claim_size s;

	(void)state;
	claim_size_init(&s, 256, 1024, 5000);
	assert_int_equal(s.rows, 256); /* it is asked for before anything left */
	assert_int_equal(rows_at(&s, 5000), 256);
	assert_int_equal(rows_at(&s, 9000), 256);
	claim_size_count(&s, 40); /* 10 a second */
	assert_int_equal(rows_at(&s, 13000), 256);
}

static void
test_grows_and_shrinks(void **state)
{
	struct claim_size s;

	(void)state;
	claim_size_init(&s, 256, 1024, 0);
	claim_size_count(&s, 1000);
	assert_int_equal(rows_at(&s, 249), 256); /* too short to tell */
	claim_size_count(&s, 200);
	assert_int_equal(rows_at(&s, 250), 600); /* 4,800 a second: an eighth of it */
	claim_size_count(&s, 1000000);
	assert_int_equal(rows_at(&s, 1250), 1024);
	assert_int_equal(rows_at(&s, 1499), 1024); /* nothing since, but not for long */
	assert_int_equal(rows_at(&s, 1500), 256);
}

static void
test_rows_of_one(void **state)
{
	struct claim_size s;

	(void)state;
	claim_size_init(&s, 1, 1, 0); /* a route of one connection */
	claim_size_count(&s, 100000);
	assert_int_equal(rows_at(&s, 1000), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_idle),
		cmocka_unit_test(test_grows_and_shrinks), cmocka_unit_test(test_rows_of_one) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
