/* SPDX-License-Identifier: Apache-2.0 */
/* When retries come, and how many of them: the ladder keeps off the hour, the budget to its share. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "config.h"
#include "ladder.h"
#include "retry_budget.h"

static const struct outcome kinds[] = { { .reason = "rate" }, { .reason = "greylisted" },
	{ .reason = "mailbox_full" }, { .reason = "network", .enhanced = { 4, 4, 3 } } };

/* The waits of one kind, as they are without a setting. */
static void
check_default(const struct ladder *ladder, const struct outcome *o)
{
	static const int counts[LADDER_KINDS] = { 6, 6, 1, 7 };
	const struct ladder_steps *steps = &ladder->of[ladder_kind_of(o)];
	long least[LADDER_MAX], most[LADDER_MAX];
	int last = steps->count - 1;

	assert_int_equal(steps->count, counts[ladder_kind_of(o)]);
	for (int tries = 0; tries < last + 3; tries++) {
		long step = steps->wait_s[tries < last ? tries : last];
		long clear = step >= 1800 ? LADDER_CLEAR_S : 0;

		least[tries] = LONG_MAX;
		most[tries] = 0;
		for (uint32_t chance = 0; chance < 20000; chance++) {
			long wait = ladder_wait_s(ladder, o, tries, chance);

			/* of the minutes around the hour in which it began, none again */
			if (wait >= 1800)
				assert_in_range(wait % 3600, LADDER_CLEAR_S, 3600 - LADDER_CLEAR_S);
			assert_in_range(
			    wait, step - step * 15 / 100 - clear, step + step * 15 / 100 + clear);
			least[tries] = wait < least[tries] ? wait : least[tries];
			most[tries] = wait > most[tries] ? wait : most[tries];
		}
		/* spread, and the steps do not run into each other */
		assert_true(most[tries] - least[tries] >= step / 5);
		assert_true(tries == 0 || tries > last || least[tries] > most[tries - 1]);
	}
}

static void
test_ladder_keeps_off_the_hour(void **state)
{
	struct config config = { 0 };
	struct ladder ladder;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(config_load(&config, NULL, &err), 0);
	assert_int_equal(ladder_parse(&ladder, config.dispatcher_retry_ladder, &err), 0);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		check_default(&ladder, &kinds[i]);
	config_release(&config);
	/* a full hour is what a careless ladder has */
	assert_int_equal(ladder_parse(&ladder, "60m,1s", &err), 0);
	for (uint32_t chance = 0; chance < 5000; chance++) {
		assert_in_range(ladder_wait_s(&ladder, NULL, 0, chance) % 3600, LADDER_CLEAR_S,
		    3600 - LADDER_CLEAR_S);
		assert_int_equal(ladder_wait_s(&ladder, NULL, 1, chance), 1);
	}
}
static void
test_budget_is_a_share(void **state)
{
	struct retry_budget b = { 0 };
	int64_t sent = 0, retries = 0;

	(void)state;
	for (int i = 0; i < RETRY_FIRST; i++)
		assert_true(retry_budget_take(&b));
	assert_false(retry_budget_take(&b));
	retry_budget_earn(&b, -100);
	assert_false(retry_budget_take(&b));
	for (int round = 0; round < 1000; round++) { /* as many retries as there may be */
		retry_budget_earn(&b, 50);
		sent += 50;
		while (retry_budget_take(&b))
			retries++;
	}
	assert_in_range(retries, sent / 5 - 1, sent / 5);
	/* what is saved up is bounded */
	for (int round = 0; round < 1000; round++)
		retry_budget_earn(&b, 1000);
	assert_in_range(retry_budget_left(&b), 200, 210);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ladder_keeps_off_the_hour),
		cmocka_unit_test(test_budget_is_a_share),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
