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
	assert_int_equal(l.of[LADDER_ANY].count, 5);
	for (int i = 0; i < 5; i++)
		assert_int_equal(
		    l.of[LADDER_ANY].wait_s[i], ((int[]){ 420, 1020, 7200, 300, 5 })[i]);
	for (int kind = LADDER_ANY + 1; kind < LADDER_KINDS; kind++)
		assert_int_equal(l.of[kind].count, 0);
}

static void
test_kinds(void **state)
{
	struct ladder l;
	struct err err;

	(void)state;
	assert_int_equal(
	    ladder_parse(&l, " 7m 17m|dns 3m, 7m | greylisted 6m|  mailbox_full  5h ", &err), 0);
	assert_int_equal(l.of[LADDER_ANY].count, 2);
	assert_int_equal(l.of[LADDER_DNS].count, 2);
	assert_int_equal(l.of[LADDER_DNS].wait_s[1], 420);
	assert_int_equal(l.of[LADDER_GREYLISTED].count, 1);
	assert_int_equal(l.of[LADDER_GREYLISTED].wait_s[0], 360);
	assert_int_equal(l.of[LADDER_MAILBOX_FULL].count, 1);
	assert_int_equal(l.of[LADDER_MAILBOX_FULL].wait_s[0], 18000);
}

static void
test_refused(void **state)
{
	static const char *const bad[] = { "", "x", "7m,x", "-1", "0", "1m,0s", "0h", "1000001",
		"7d", "99999999999999999999999", "| dns 1m", "1m |", "1m | dns", "1m | dns |",
		"1m | dns x", "1m | dns 0s", "1m | dnss 1m", "1m | dn 1m", "1m | 7m",
		"1m | dns 1m | dns 2m", "1m | dns 1m greylisted 2m", "1m greylisted 2m",
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
		assert_in_range(ladder_wait_s(&l, NULL, 0, chance), 51, 69);
		for (int tries = 1; tries < 5; tries++) {
			long wait = ladder_wait_s(&l, NULL, tries, chance);

			assert_in_range(wait % 3600, LADDER_CLEAR_S, 3600 - LADDER_CLEAR_S);
			assert_in_range(wait, tries == 1 ? 3000 : 12000, tries == 1 ? 4200 : 17000);
		}
	}
}

/* By what the failure is; a kind without waits of its own has those of all. */
static void
test_own_waits(void **state)
{
	static const struct {
		struct outcome o;
		long least, most;
	} cases[] = {
		{ { .reason = "greylisted", .code = 451 }, 85, 115 },
		{ { .reason = "mailbox_full", .code = 452, .enhanced = { 4, 2, 2 } }, 850, 1150 },
		{ { .reason = "network", .enhanced = { 4, 4, 3 } }, 170, 230 },
		{ { .reason = "domain_unknown", .enhanced = { 4, 1, 2 } }, 170, 230 },
		{ { .reason = "network", .enhanced = { 4, 4, 1 } }, 8, 12 },
		{ { .reason = "rate", .code = 421 }, 8, 12 },
	};
	struct ladder l, plain;
	struct err err;

	(void)state;
	assert_int_equal(
	    ladder_parse(
		&l, "10s,20s | greylisted 100s | mailbox_full 1000s | dns 200s,400s", &err),
	    0);
	assert_int_equal(ladder_parse(&plain, "10s,20s", &err), 0);
	for (uint32_t chance = 0; chance < 2000; chance++) {
		for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
			assert_in_range(ladder_wait_s(&l, &cases[i].o, 0, chance), cases[i].least,
			    cases[i].most);
			assert_in_range(ladder_wait_s(&plain, &cases[i].o, 0, chance), 8, 12);
		}
		assert_in_range(ladder_wait_s(&l, &cases[2].o, 1, chance), 340, 460);
		assert_in_range(ladder_wait_s(&l, &cases[0].o, 9, chance), 85, 115);
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_units),
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_waits),
		cmocka_unit_test(test_own_waits),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
