/* SPDX-License-Identifier: Apache-2.0 */
/* The text format of Prometheus: escapes, histograms, special values. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/metric.h"

static struct buf out;

static int
setup(void **state)
{
	(void)state;
	buf_init(&out, METRIC_TEXT_MAX);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	buf_release(&out);
	return 0;
}

static void
test_samples(void **state)
{
	const struct metric_label labels[] = { { "a", "x" }, { "b", "\"\\\n" } };

	(void)state;
	metric_one(&out, "kairan_x_total", METRIC_COUNTER, "Counts", 12345678901.0);
	metric_sample(&out, "kairan_y", labels, 2, 0.25);
	metric_sample(&out, "kairan_y", NULL, 0, (double)INFINITY);
	metric_sample(&out, "kairan_y", NULL, 0, (double)NAN);
	assert_string_equal(buf_str(&out),
	    "# HELP kairan_x_total Counts\n# TYPE kairan_x_total counter\n"
	    "kairan_x_total 12345678901\n"
	    "kairan_y{a=\"x\",b=\"\\\"\\\\\\n\"} 0.25\nkairan_y +Inf\nkairan_y NaN\n");
}

static void
test_long_label(void **state)
{
	char value[200], expected[200] = "m{a=\"";

	(void)state;
	memset(value, 'x', 99);
	(void)strcpy(value + 99, "\xe3\x81\x82 and more"); /* does not fit whole */
	memset(expected + 5, 'x', 99);
	(void)strcpy(expected + 104, "\"} 1\n");
	metric_sample(&out, "m", &(struct metric_label){ "a", value }, 1, 1);
	assert_string_equal(buf_str(&out), expected);
}

static void
test_histogram(void **state)
{
	struct metric_histogram h = { 0 };

	(void)state;
	metric_observe(&h, 0.0005); /* a bound belongs to its bucket */
	metric_observe(&h, 0.3);
	metric_observe(&h, 100);
	metric_histogram(&out, "h", NULL, 0, &h);
	assert_non_null(strstr(buf_str(&out), "h_bucket{le=\"0.0005\"} 1\n"));
	assert_non_null(strstr(buf_str(&out), "h_bucket{le=\"0.25\"} 1\n"));
	assert_non_null(strstr(buf_str(&out), "h_bucket{le=\"0.5\"} 2\n"));
	assert_non_null(strstr(buf_str(&out), "h_bucket{le=\"60\"} 2\n"));
	assert_non_null(
	    strstr(buf_str(&out), "h_bucket{le=\"+Inf\"} 3\nh_sum 100.3005\nh_count 3\n"));
}

static void
test_process(void **state)
{
	(void)state;
	metric_process(&out, "test");
	assert_non_null(strstr(buf_str(&out), "kairan_build_info{program=\"test\",version=\""));
	assert_non_null(strstr(buf_str(&out), "\nprocess_resident_memory_bytes "));
	assert_non_null(strstr(buf_str(&out), "\nprocess_start_time_seconds "));
	assert_non_null(strstr(buf_str(&out), "\nprocess_open_fds "));
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test_setup_teardown(
						test_samples, setup, teardown),
		cmocka_unit_test_setup_teardown(test_long_label, setup, teardown),
		cmocka_unit_test_setup_teardown(test_histogram, setup, teardown),
		cmocka_unit_test_setup_teardown(test_process, setup, teardown) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
