/* SPDX-License-Identifier: Apache-2.0 */
/* ladder: what is a ladder, and where its waits end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "ladder.h"

static void
test_units(void **state)
{
	struct ladder l;
	struct err err;

	(void)state;
	assert_int_equal(ladder_parse(&l, "7m, 17m,2h 300s  5,", &err), 0);
	assert_int_equal(l.steps, 5);
	assert_int_equal(l.wait_s[0], 420);
	assert_int_equal(l.wait_s[1], 1020);
	assert_int_equal(l.wait_s[2], 7200);
	assert_int_equal(l.wait_s[3], 300);
	assert_int_equal(l.wait_s[4], 5);
}

static void
test_refused(void **state)
{
	static const char *const bad[] = { "", "x", "7m,x", "-1", "0", "1m,0s", "0h", "1000001",
		"7d", "99999999999999999999999",
		"1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1" };
	struct ladder l;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err err = { 0 };

		assert_int_equal(ladder_parse(&l, bad[i], &err), -1);
		assert_memory_equal(err.msg, "dispatcher.retry_ladder", 23);
	}
}

/* Spread by 15 %, and never in the minutes around the full hour. */
static void
test_waits(void **state)
{
	struct ladder l;
	struct err err;

	(void)state;
	assert_int_equal(ladder_parse(&l, "60s,1h,4h", &err), 0);
	for (uint32_t chance = 0; chance < 20000; chance += 7) {
		assert_in_range(ladder_wait_s(&l, 0, chance), 51, 69);
		for (int tries = 1; tries < 5; tries++) {
			long wait = ladder_wait_s(&l, tries, chance);

			assert_in_range(wait % 3600, LADDER_CLEAR_S, 3600 - LADDER_CLEAR_S);
			assert_in_range(wait, tries == 1 ? 3000 : 12000, tries == 1 ? 4200 : 17000);
		}
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_units),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_waits),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
