/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of runs: never more together than the limit, by weight, urgent and triggered first. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "share.h"

static struct share_run
run(const char *stream, double stream_per_s, enum share_class class, double weight, double backlog)
{
	return (struct share_run){ .stream = stream,
		.stream_per_s = stream_per_s,
		.class = class,
		.weight = weight,
		.backlog = backlog };
}

static void
test_weights(void **state)
{
	struct share_pool pool = { .account_per_s = 120, .part = 0.1 };
	struct share_run runs[] = { run("a", 0, SHARE_BULK, 3, 1000),
		run("b", 0, SHARE_BULK, 1, 1000), run("c", 20, SHARE_BULK, 2, 1000),
		run("d", 0, SHARE_BULK, 9, 0) };

	(void)state;
	assert_true(share_out(&pool, runs, 4));
	assert_float_equal(pool.account_urgent, 0, 1e-9);
	assert_float_equal(runs[2].per_s, 20, 1e-9); /* cannot use its 40 */
	assert_float_equal(runs[0].per_s, 75, 1e-9);
	assert_float_equal(runs[1].per_s, 25, 1e-9);
	runs[0].most = 10; /* spread over a long time: the others have more */
	assert_true(share_out(&pool, runs, 4));
	assert_float_equal(runs[0].per_s, 10, 1e-9);
	assert_float_equal(runs[1].per_s, 90, 1e-9);
	runs[0].most = 0;
	assert_true(share_out(&pool, runs, 4));
	assert_float_equal(runs[3].per_s, 120, 1e-9); /* counts for nobody until it has something */
	/* of one stream, without an account */
	pool.account_per_s = 0;
	runs[0] = run("s", 40, SHARE_BULK, 3, 10);
	runs[1] = run("s", 40, SHARE_BULK, 1, 10);
	assert_true(share_out(&pool, runs, 2));
	assert_float_equal(runs[0].per_s, 30, 1e-9);
	assert_float_equal(runs[1].per_s, 10, 1e-9);
	/* no limit at all */
	runs[0].stream_per_s = runs[1].stream_per_s = 0;
	assert_true(share_out(&pool, runs, 2));
	assert_float_equal(runs[0].per_s, 0, 1e-9);
}

static void
test_urgent(void **state)
{
	struct share_pool pool = { .account_per_s = 100, .part = 0.1 };
	struct share_run runs[] = { run("mail", 0, SHARE_URGENT, 1, 1),
		run("a", 0, SHARE_BULK, 1, 1000) };

	(void)state;
	assert_true(share_out(&pool, runs, 2));
	assert_float_equal(pool.account_urgent, 0.1, 1e-9);
	assert_float_equal(runs[0].per_s, 10, 1e-9);
	assert_float_equal(runs[1].per_s, 90, 1e-9);
	runs[0].backlog = 101; /* more than ten seconds of its part */
	assert_true(share_out(&pool, runs, 2));
	assert_float_equal(runs[0].per_s, 50, 1e-9);
	assert_float_equal(runs[1].per_s, 50, 1e-9);
	runs[1].backlog = 0; /* alone: all */
	assert_true(share_out(&pool, runs, 2));
	assert_float_equal(runs[0].per_s, 100, 1e-9);
	/* none under way, but now and then there is one: its part is kept free */
	pool.reserve = true;
	runs[1].backlog = 1000;
	assert_true(share_out(&pool, runs + 1, 1));
	assert_float_equal(runs[1].per_s, 90, 1e-9);
	pool.reserve = false;
	assert_true(share_out(&pool, runs + 1, 1));
	assert_float_equal(runs[1].per_s, 100, 1e-9);
	/* single mails in the stream of a campaign */
	pool.account_per_s = 0;
	runs[0] = run("s", 50, SHARE_URGENT, 1, 1);
	runs[1] = run("s", 50, SHARE_BULK, 1, 100);
	assert_true(share_out(&pool, runs, 2));
	assert_float_equal(runs[0].urgent_part, 0.1, 1e-9);
	assert_float_equal(runs[0].per_s, 5, 1e-9);
	assert_float_equal(runs[1].per_s, 45, 1e-9);
}

static void
test_triggered(void **state)
{
	struct share_pool pool = { .account_per_s = 100, .part = 0.1 };
	struct share_run runs[] = { run("t", 0, SHARE_TRIGGERED, 1, 1000),
		run("a", 0, SHARE_BULK, 100, 1000), run("b", 5, SHARE_TRIGGERED, 1, 1000) };

	(void)state;
	assert_true(share_out(&pool, runs, 3));
	assert_float_equal(runs[0].per_s, 75, 1e-9);
	assert_float_equal(runs[2].per_s, 5, 1e-9);
	assert_float_equal(runs[1].per_s, 20, 1e-9); /* whatever its weight */
	runs[0].stream_per_s = 30;		     /* what they leave is for bulk */
	assert_true(share_out(&pool, runs, 3));
	assert_float_equal(runs[1].per_s, 65, 1e-9);
	runs[1].backlog = 0;
	runs[0].stream_per_s = 0;
	assert_true(share_out(&pool, runs, 3));
	assert_float_equal(runs[0].per_s, 95, 1e-9);
}

/* Any mix: all together never above the account, streams never above theirs. */
static void
test_never_above(void **state)
{
	static const char *const streams[] = { "a", "b", "c" };
	uint32_t x = 20261122;

	(void)state;
	for (int round = 0; round < 2000; round++) {
		struct share_pool pool = {
			.account_per_s = 100, .part = 0.1, .reserve = round % 2
		};
		double rates[] = { round % 3 == 0 ? 0 : 30, 60, 0 }, sum = 0, of[3] = { 0 };
		struct share_run runs[8];

		for (int i = 0; i < 8; i++) {
			x = x * 1664525u + 1013904223u;
			runs[i] = run(streams[x >> 30 & 3 ? (x >> 30) - 1 : 0], 0,
			    x >> 8 & 3 ? (x >> 8 & 3) - 1 : 0, 1 + (x >> 12 & 7),
			    x >> 16 & 1 ? x >> 20 & 0xff : 0);
			runs[i].stream_per_s = rates[runs[i].stream[0] - 'a'];
		}
		assert_true(share_out(&pool, runs, 8));
		for (int i = 0; i < 8; i++) {
			assert_true(runs[i].per_s >= 0);
			sum += runs[i].backlog > 0 ? runs[i].per_s : 0;
			of[runs[i].stream[0] - 'a'] += runs[i].backlog > 0 ? runs[i].per_s : 0;
		}
		assert_true(sum <= 100 + 1e-6);
		for (int s = 0; s < 3; s++)
			assert_true(rates[s] <= 0 || of[s] <= rates[s] + 1e-6);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_weights),
		cmocka_unit_test(test_urgent),
		cmocka_unit_test(test_triggered),
		cmocka_unit_test(test_never_above),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
