/* SPDX-License-Identifier: Apache-2.0 */
/* The quota of any 24 hours, by a clock of the test. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "quota.h"

#define DAY (86400 * 1e6)
#define MINUTE QUOTA_MINUTE_US
#define START (326.0 * DAY + 12345678) /* some day of November 2026, within a minute */

static void
test_days_of_any_start(void **state)
{
	struct quota q = { .limit = 1000 };
	static uint32_t minutes[5 * 1440];
	uint32_t x = 1;
	uint64_t sum = 0;

	(void)state;
	assert_int_equal(quota_left(&(struct quota){ 0 }, START), UINT64_MAX);
	for (int m = 0; m < 5 * 1440; m++) {
		double at = START + m * MINUTE;
		uint64_t left = quota_left(&q, at);

		x = x * 1664525u + 1013904223u;
		minutes[m] = (uint32_t)(x >> 28 == 0 ? left : x >> 31 && left > 0);
		quota_add(&q, at, minutes[m]);
	}
	for (int m = 0; m < 5 * 1440; m++) {
		sum += minutes[m];
		sum -= m >= 1440 ? minutes[m - 1440] : 0;
		assert_true(sum <= 1000);
	}
}

static void
test_used_up_at_the_start(void **state)
{
	struct quota q = { .limit = 100 };
	int64_t now = (int64_t)(START / MINUTE);

	(void)state;
	/* put back from what was written down: 60 twenty hours ago, 50 ten hours ago */
	quota_put(&q, now - 20 * 60, 60, START);
	quota_put(&q, now - 10 * 60, 50, START);
	quota_put(&q, now - 10 * 60, 40, START);  /* known better already */
	quota_put(&q, now - 30 * 60, 500, START); /* gone */
	assert_int_equal(quota_left(&q, START), 0);
	/* the 60 leave four hours from now, a bucket wholly past */
	assert_true(quota_opens(&q, 1, START) == (double)(now + 4 * 60 + 1) * MINUTE);
	assert_true(quota_opens(&q, 60, START) == (double)(now + 14 * 60 + 1) * MINUTE);
	assert_true(isinf(quota_opens(&q, 101, START)));
	assert_int_equal(quota_left(&q, START + 4 * 3600e6), 0);
	assert_int_equal(quota_left(&q, (double)(now + 4 * 60 + 1) * MINUTE), 50);
	/* fifty of 80 then, the rest when the other fifty leave */
	assert_true(quota_finish(&q, 80, 0, START) == (double)(now + 14 * 60 + 1) * MINUTE);
}

static void
test_larger_figure_is_believed(void **state)
{
	struct quota q = { .limit = 200 };

	(void)state;
	quota_add(&q, START, 30);
	quota_counted(&q, 10, START); /* theirs lags behind */
	assert_int_equal(quota_left(&q, START), 170);
	quota_counted(&q, 90, START); /* somebody else sends as well */
	assert_int_equal(quota_left(&q, START), 110);
	quota_add(&q, START, 10);
	assert_int_equal(quota_left(&q, START), 100);
	quota_counted(&q, 60, START); /* his left; ours are 40 */
	assert_int_equal(quota_left(&q, START), 140);
	quota_counted(&q, 0, START);
	assert_int_equal(quota_left(&q, START + DAY + 2 * MINUTE), 200);
}

static void
test_pace_and_finish(void **state)
{
	struct quota q = { .limit = 3600 };

	(void)state;
	assert_true(isinf(quota_pace(&q, 3000, 180, START)));
	assert_true(isinf(quota_pace(&(struct quota){ 0 }, 1e9, 0, START)));
	/* does not fit: the room of the hour, but for what is kept */
	assert_true(fabs(quota_pace(&q, 5000, 180, START) - ((3600 - 180) / 3600.0)) < 1e-9);
	quota_add(&q, START, 3500);
	assert_true(fabs(quota_pace(&q, 5000, 180, START) - (0)) < 1e-9);
	/* a day later what left may go again */
	assert_true(fabs(quota_pace(&q, 5000, 180, START + DAY + MINUTE) - (0.95)) < 1e-9);
	/* 100 now, 3,500 a day later, 400 of those of today once more a day later */
	assert_true(fabs(quota_finish(&q, 100, 10, START) - (START + 10e6)) < 1);
	assert_in_range((uint64_t)(quota_finish(&q, 3600, 0, START) - START), (uint64_t)DAY,
	    (uint64_t)(DAY + 2 * MINUTE));
	assert_in_range((uint64_t)(quota_finish(&q, 4000, 0, START) - START),
	    (uint64_t)(2 * DAY - MINUTE), (uint64_t)(2 * DAY + 4 * MINUTE));
	/* a slow rate binds instead */
	assert_true(fabs(quota_finish(&q, 100, 0.01, START) - (START + 10000e6)) < 61e6);
}

/* The clock of a machine that does not know the day yet stands in 1970. */
static void
test_clock_before_2026(void **state)
{
	struct quota q = { .limit = 10 };
	const double early = -1767225600e6;

	(void)state;
	quota_add(&q, early, 4);
	assert_int_equal(quota_left(&q, early), 6);
	assert_int_equal(quota_left(&q, early + DAY / 2), 6);
	assert_int_equal(quota_left(&q, early + DAY + 2 * MINUTE), 10);
	quota_put(&q, (int64_t)floor(-1.5 * MINUTE / MINUTE), 3, -MINUTE);
	assert_int_equal(quota_left(&q, -MINUTE), 7);
	/* the day is set: what went out before is far away */
	assert_int_equal(quota_left(&q, START), 10);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_days_of_any_start),
		cmocka_unit_test(test_used_up_at_the_start),
		cmocka_unit_test(test_larger_figure_is_believed),
		cmocka_unit_test(test_pace_and_finish),
		cmocka_unit_test(test_clock_before_2026),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
