/* SPDX-License-Identifier: Apache-2.0 */
/* The schedules that are built in, and what holds them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "embed.h"
#include "warmup.h"

static uint64_t
limit(const char *schedule, int day)
{
	struct err err = { 0 };
	uint64_t n = 7;

	assert_int_equal(
	    warmup_limit(slice_str(embed_common_data_warmup_tsv), schedule, day, &n, &err), 0);
	return n;
}

static void
test_schedules(void **state)
{
	static const char *const addresses[] = { "ip-30", "ip-45" };
	struct slice table = slice_str(embed_common_data_warmup_tsv);

	(void)state;
	assert_int_equal(limit("growth", 0), 1000);
	assert_int_equal(limit("growth", 2), 1000);
	assert_int_equal(limit("growth", 3), 10000);
	assert_int_equal(limit("growth", 9), 10000);
	assert_int_equal(limit("growth", 10), 100000);
	assert_int_equal(limit("growth", 14), 1000000);
	assert_int_equal(limit("growth", 900), 1000000);
	assert_int_equal(warmup_next_day(table, "growth", 3), 10);
	assert_int_equal(warmup_next_day(table, "growth", 14), -1);
	for (int i = 0; i < 2; i++) {
		int last = i == 0 ? 30 : 45;

		assert_int_equal(limit(addresses[i], 0), 50);
		for (int day = 1; day < last; day++) { /* never more than twice the day before */
			assert_true(limit(addresses[i], day) > limit(addresses[i], day - 1));
			assert_true(limit(addresses[i], day) <= 2 * limit(addresses[i], day - 1));
		}
		assert_int_equal(limit(addresses[i], last), 0); /* warm */
	}
	assert_in_range(limit("ip-30", 29), 150000, 250000);
	assert_int_equal(limit("ip-45", 44), 50000);
}

static void
test_bad_tables(void **state)
{
	static const char *const bad[] = { "a\t0\t10\na\t0\t20\n", "a\t1\t10\n", "a\t0\n",
		"a\t0\t-5\n", "a\t0\t0\n", "a\tx\t5\n", "\t0\t5\n", "a\t0\t99999999999999\n" };
	struct err err = { 0 };
	uint64_t n;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(warmup_limit(slice_str(bad[i]), "a", 5, &n, &err), -1);
	assert_int_equal(warmup_limit(slice_str("a\t0\t5\n"), "b", 0, &n, &err), -1);
	assert_int_equal(warmup_limit(slice_str("a\t0\t5"), "a", -3, &n, &err), 0);
	assert_int_equal(n, 5);
}

static void
test_gates(void **state)
{
	struct warmup_rates r = { .attempted = 1000, .hard = 20, .sent = 980 };

	(void)state;
	assert_int_equal(warmup_judge(0, 86399, &r), WARMUP_WAIT);
	assert_int_equal(warmup_judge(0, 86400, &r), WARMUP_ADVANCE);
	r.hard = 21;
	assert_int_equal(warmup_judge(0, 86399, &r), WARMUP_WAIT);
	assert_int_equal(warmup_judge(0, 86400, &r), WARMUP_BOUNCES);
	r = (struct warmup_rates){ .attempted = 99, .hard = 50, .sent = 49, .complained = 5 };
	assert_int_equal(warmup_judge(0, 86400, &r), WARMUP_ADVANCE); /* too few to tell */
	r = (struct warmup_rates){ .attempted = 1000, .sent = 1000, .complained = 1 };
	assert_int_equal(warmup_judge(0, 86400, &r), WARMUP_ADVANCE);
	r.complained = 2;
	assert_int_equal(warmup_judge(0, 86400, &r), WARMUP_COMPLAINTS);
}

/* Twenty days, of which two are bad: the limits come two days later. */
static void
test_a_month(void **state)
{
	int day = 0;
	double began = 0;

	(void)state;
	for (int hour = 0; hour <= 24 * 20; hour++) {
		bool bad = hour >= 24 * 5 && hour < 24 * 7;
		struct warmup_rates r = { .attempted = 500, .hard = bad ? 50 : 1, .sent = 450 };

		if (warmup_judge(began, hour * 3600.0, &r) == WARMUP_ADVANCE) {
			day++;
			began = hour * 3600.0;
		}
		if (hour == 24 * 7 - 1)
			assert_int_equal(day, 4);
	}
	assert_int_equal(day, 18);
	assert_int_equal(limit("growth", day), 1000000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_schedules),
		cmocka_unit_test(test_bad_tables),
		cmocka_unit_test(test_gates),
		cmocka_unit_test(test_a_month),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
