/* SPDX-License-Identifier: Apache-2.0 */
/* mx.source_rates, and that dispatchers which lease parts of an address's rate pass it together by one each at most. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "connections.h"
#include "embed.h"
#include "source_limits.h"

#define DAY_S INT64_C(86400)
#define NOVEMBER_1 INT64_C(1793491200) /* 2026-11-01, midnight of UTC */

static struct slice
table(void)
{
	return slice_str(embed_common_data_warmup_tsv);
}

static void
test_reading(void **state)
{
	static const char *const bad[][2] = {
		{ "192.0.2.1", "expected ADDRESS=RATE" },
		{ "mail.example=5/s", "is no address" },
		{ "192.0.2.300=5/s", "is no address" },
		{ "192.0.2.1=0/s", "192.0.2.1: " },
		{ "192.0.2.1=5", "192.0.2.1: " },
		{ "192.0.2.1=5/s, 192.0.2.1=6/s", "has two rates" },
		{ "2001:db8::1=5/s, 2001:DB8:0::1=6/s", "2001:db8::1 has two rates" },
		{ "192.0.2.1=ip-30@yesterday", "expected SCHEDULE@YYYY-MM-DD" },
		{ "192.0.2.1=ip-30@2026-11-01T00", "expected SCHEDULE@YYYY-MM-DD" },
		{ "192.0.2.1=none@2026-11-01", "none" },
	};
	struct source_limits s;
	struct err err;

	(void)state;
	assert_int_equal(source_limits_parse(&s, "", table(), &err), 0);
	assert_int_equal(s.count, 0);
	assert_int_equal(
	    source_limits_parse(&s,
		" 192.0.2.1 = 5/s,2001:DB8:0::1=90/min, 192.0.2.2=ip-30@2026-11-01", table(), &err),
	    0);
	assert_int_equal(s.count, 3);
	assert_null(source_limits_find(&s, "192.0.2.3"));
	assert_float_equal(
	    source_limit_rate(source_limits_find(&s, "192.0.2.1"), table(), 0), 5, 1e-9);
	assert_float_equal(
	    source_limit_rate(source_limits_find(&s, "2001:db8::1"), table(), 0), 1.5, 1e-9);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		err.msg[0] = '\0';
		assert_int_equal(source_limits_parse(&s, bad[i][0], table(), &err), -1);
		if (strstr(err.msg, bad[i][1]) == NULL)
			fail_msg("%s: %s", bad[i][0], err.msg);
	}
}

/* A day's limit, evenly over the day; before its first day as on it; behind its last no limit. */
static void
test_warming_up(void **state)
{
	struct source_limits s;
	const struct source_limit *l = &s.list[0];
	uint64_t first, fifth;
	struct err err;

	(void)state;
	assert_int_equal(source_limits_parse(&s, "192.0.2.2=ip-30@2026-11-01", table(), &err), 0);
	assert_int_equal(warmup_limit(table(), "ip-30", 0, &first, &err), 0);
	assert_int_equal(warmup_limit(table(), "ip-30", 5, &fifth, &err), 0);
	assert_true(fifth > first && first > 0);
	assert_float_equal(
	    source_limit_rate(l, table(), NOVEMBER_1 - DAY_S), (double)first / DAY_S, 1e-12);
	assert_float_equal(source_limit_rate(l, table(), NOVEMBER_1), (double)first / DAY_S, 1e-12);
	assert_float_equal(source_limit_rate(l, table(), NOVEMBER_1 + 6 * DAY_S - 1),
	    (double)fifth / DAY_S, 1e-12);
	assert_float_equal(source_limit_rate(l, table(), NOVEMBER_1 + 1000 * DAY_S), 0, 1e-12);
}

#define SENDERS 3
#define PER_S 20
#define END_S 60

/* Three that come, go and want at random, each with a clock of its own at the part it was granted. */
static void
test_parts_of_a_rate(void **state)
{
	static const char *const names[SENDERS] = { "1", "2", "3" };
	static double sent[PER_S * END_S + 100];
	struct connections *c = connections_new();
	unsigned granted[SENDERS] = { 0 };
	struct source_clock clocks[SENDERS] = { 0 };
	bool wants[SENDERS] = { true, false, true };
	size_t n = 0;

	(void)state;
	assert_non_null(c);
	srand(20261123);
	for (uint64_t now = 1000000; now < END_S * UINT64_C(1000000); now += 1000) {
		for (unsigned i = 0; i < SENDERS; i++) {
			struct connections_answer answer;
			struct connections_ask ask = { .dispatcher = names[i],
				.known = SENDERS,
				.now = (double)now,
				.life = CONNECTIONS_LIFE_US,
				.destination = "source rate 192.0.2.1",
				.limit = SOURCE_LIMITS_PARTS,
				.have = wants[i] ? granted[i] : 0,
				.want = wants[i] ? SOURCE_LIMITS_PARTS : 0 };

			if ((now / 1000 + i) % 50 == 0) { /* each 50 ms, one after the other */
				if (rand() % 40 == 0)
					wants[i] = !wants[i];
				assert_true(connections_ask(c, &ask, &answer));
				granted[i] = answer.granted;
			}
			source_clock_run(&clocks[i], now, PER_S, granted[i]);
			if (wants[i] && source_clock_wait(&clocks[i], PER_S) == 0) {
				assert_true(n < sizeof(sent) / sizeof(sent[0]));
				sent[n++] = (double)now;
				source_clock_take(&clocks[i]);
			}
		}
	}
	assert_true(n > (END_S - 15) * PER_S / 2); /* nothing is granted for the first 10 s */
	for (size_t from = 0; from < n; from++)
		for (size_t to = from; to < n; to++)
			assert_true((double)(to - from + 1) <=
			    (sent[to] - sent[from]) / 1e6 * PER_S + SENDERS + 1e-6);
	connections_free(c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reading),
		cmocka_unit_test(test_warming_up),
		cmocka_unit_test(test_parts_of_a_rate),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
