/* SPDX-License-Identifier: Apache-2.0 */
/* Counts of a provider from its files; and the small bars of kairan status. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/provider_figures.h"
#include "cli/sparkline.h"

#define DAY_2026_11_20 20777

static struct provider_figures figures;
static struct err err;

static int
take(const char *text)
{
	err.msg[0] = '\0';
	return provider_figures_read(&figures, slice_str(text), &err);
}

static void
test_send_statistics(void **state)
{
	(void)state;
	assert_int_equal(take("{\"SendDataPoints\":["
			      "{\"Timestamp\":\"2026-11-21T00:00:00+00:00\",\"DeliveryAttempts\":7,"
			      "\"Bounces\":1,\"Complaints\":0,\"Rejects\":2},"
			      "{\"Timestamp\":\"2026-11-20T23:45:00Z\",\"DeliveryAttempts\":5},"
			      "{\"Timestamp\":\"2026-11-20T10:00:00Z\",\"DeliveryAttempts\":6}]}"),
	    0);
	assert_int_equal(figures.count, 2);
	assert_int_equal(figures.days[0].day, DAY_2026_11_20);
	assert_int_equal(figures.days[0].counts[PROVIDER_SENDS], 11);
	assert_int_equal(figures.days[1].counts[PROVIDER_SENDS], 7);
	assert_int_equal(figures.days[1].counts[PROVIDER_REJECTS], 2);
	assert_true(figures.has[PROVIDER_BOUNCES]);
	assert_false(figures.has[PROVIDER_DELIVERIES]);
}

static void
test_cloudwatch(void **state)
{
	(void)state;
	assert_int_equal(take("[{\"Label\":\"Delivery\",\"Datapoints\":[{\"Timestamp\":"
			      "\"2026-11-20T00:00:00Z\",\"Sum\":40.0}]},{\"Label\":\"Open\","
			      "\"Datapoints\":[{}]}]"),
	    0);
	assert_int_equal(figures.days[0].counts[PROVIDER_DELIVERIES], 40);
	assert_int_equal(take("{\"MetricDataResults\":[{\"Label\":\"Bounce\",\"Timestamps\":"
			      "[\"2026-11-20T00:00:00Z\"],\"Values\":[3]}]}"),
	    0);
	assert_int_equal(figures.days[0].counts[PROVIDER_BOUNCES], 3);
	assert_int_equal(take("{\"MetricDataResults\":[{\"Label\":\"Bounce\",\"Timestamps\":"
			      "[\"2026-11-20T00:00:00Z\"],\"Values\":[]}]}"),
	    -1);
	assert_int_equal(take("{\"Label\":\"Send\",\"Datapoints\":[{\"Timestamp\":"
			      "\"2026-11-20T00:00:00Z\",\"Average\":1}]}"),
	    -1);
	assert_non_null(strstr(err.msg, "Sum"));
}

static void
test_csv(void **state)
{
	(void)state;
	assert_int_equal(take("\xef\xbb\xbf"
			      "date,SENDS,Other,bounces\r\n2026-11-20,10,x,1\r\n"
			      "2026-11-20T23:00:00-02:00,5,y,0\r\n"),
	    0);
	assert_int_equal(figures.count, 2);
	assert_int_equal(figures.days[0].counts[PROVIDER_SENDS], 10);
	assert_int_equal(figures.days[1].day, DAY_2026_11_20 + 1);
}

static void
test_refused(void **state)
{
	static const char *const texts[] = { "", "a,b\n1,2\n", "Date,Sends\n2026-11-20\n",
		"Date,Sends\n2026-11-20,x\n", "Date,Sends\n2026-11-20,-1\n",
		"Date,Sends\n2026-11-20,1.5\n", "Date,Sends\n2026-11-20,nan\n",
		"Date,Sends\n2026-11-20,1e300\n", "Date,Sends\nyesterday,1\n", "{", "{}", "[1,",
		"{\"SendDataPoints\":[{\"DeliveryAttempts\":1}]}",
		"{\"SendDataPoints\":[{\"Timestamp\":\"2026-11-20T00:00:00Z\","
		"\"DeliveryAttempts\":\"1\"}]}" };

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		assert_int_equal(take(texts[i]), -1);
		assert_true(err.msg[0] != '\0');
	}
}

static void
test_sparkline(void **state)
{
	char line[3 * SPARKLINE_MAX + 1];

	(void)state;
	assert_string_equal(sparkline(line, (const int64_t[]){ 0, 1, 400, 800 }, 4, true), "._-#");
	assert_string_equal(
	    sparkline(line, (const int64_t[]){ 0, 1, 400, 800 }, 4, false), ".\u2581\u2584\u2588");
	assert_string_equal(sparkline(line, (const int64_t[]){ 0, 0 }, 2, false), "..");
	assert_string_equal(
	    sparkline(line, (const int64_t[]){ INT64_MAX, -5, INT64_MAX / 2 }, 3, true), "#.-");
	assert_string_equal(sparkline(line, NULL, 0, false), "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_send_statistics),
		cmocka_unit_test(test_cloudwatch), cmocka_unit_test(test_csv),
		cmocka_unit_test(test_refused), cmocka_unit_test(test_sparkline) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
