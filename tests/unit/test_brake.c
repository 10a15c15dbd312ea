/* SPDX-License-Identifier: Apache-2.0 */
/* The brake of one destination: its transitions, its recovery against a model of a provider, its one
 * probe in the admission that production uses, and its two lines of text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "brake.h"
#include "brake_ear.h"
#include "brake_report.h"
#include "classify.h"
#include "embed.h"

#define S 1e6
#define T0 (1000 * 86400 * S)

static const struct brake_terms capped = { .cap_per_s = 10, .connections = 8, .batch = 50 };
static const struct brake_terms open_terms = { .start_per_s = 2, .connections = 4, .batch = 20 };
static const struct brake_terms account = { .cap_per_s = 100, .is_account = true };

#define assert_near(a, b, by) assert_true(fabs((a) - (b)) <= (by))

static struct brake_event
event(enum reaction reaction, int minutes, bool at_once)
{
	return (struct brake_event){ reaction, minutes, at_once, 1, 421 };
}

/* The reply, and another one of its kind a second later: no noise any more. */
static enum brake_act
hear_twice(struct brake *b, const struct brake_terms *terms, enum reaction reaction, int minutes,
    double now)
{
	struct brake_event e = event(reaction, minutes, false);

	assert_int_equal(brake_hear(b, terms, &e, now - S, 0.5), BRAKE_NOTHING);
	return brake_hear(b, terms, &e, now, 0.5);
}

static void
run_traffic(struct brake *b, double per_s, double from, double till)
{
	for (double at = from; at < till; at += S)
		assert_int_equal(brake_count(b, at, (unsigned)per_s), BRAKE_NOTHING);
}

static void
test_noise(void **state)
{
	struct brake b = { 0 };
	struct brake_event e = event(REACTION_RATE, 0, false), two = e,
			   first = event(REACTION_RATE, 0, true);

	(void)state;
	two.count = 2;
	assert_int_equal(brake_hear(&b, &capped, &e, T0, 0), BRAKE_NOTHING);
	assert_int_equal(b.mode, BRAKE_FREE);
	assert_int_equal(brake_hear(&b, &capped, &e, T0 + 301 * S, 0), BRAKE_NOTHING);
	/* the kinds are counted apart */
	e.reaction = REACTION_CONN;
	assert_int_equal(brake_hear(&b, &capped, &e, T0 + 302 * S, 0), BRAKE_NOTHING);
	e.reaction = REACTION_RATE;
	assert_int_equal(brake_hear(&b, &capped, &e, T0 + 500 * S, 0), BRAKE_CHANGED);
	b = (struct brake){ 0 };
	assert_int_equal(brake_hear(&b, &capped, &two, T0, 0), BRAKE_CHANGED);
	b = (struct brake){ 0 };
	assert_int_equal(brake_hear(&b, &capped, &first, T0, 0), BRAKE_CHANGED);
	assert_int_equal(b.reaction, REACTION_RATE);
	assert_int_equal(b.code, 421);
}

static void
test_cuts(void **state)
{
	struct brake b = { 0 };

	(void)state;
	/* from the limit when nothing was seen, from what was had otherwise, never from more */
	assert_int_equal(hear_twice(&b, &capped, REACTION_RATE, 0, T0), BRAKE_CHANGED);
	assert_true(b.mode == BRAKE_RATE && b.rate == 7 && b.good == 10);
	b = (struct brake){ 0 };
	run_traffic(&b, 4, T0, T0 + 30 * S);
	assert_int_equal(hear_twice(&b, &capped, REACTION_RATE, 0, T0 + 30 * S), BRAKE_CHANGED);
	assert_near(b.rate, 2.8, 0.3);
	b = (struct brake){ 0 };
	run_traffic(&b, 40, T0, T0 + 30 * S);
	assert_int_equal(hear_twice(&b, &capped, REACTION_RATE, 0, T0 + 30 * S), BRAKE_CHANGED);
	assert_near(b.rate, 7, 1e-9);
	/* no limit, no traffic: the rate of the table */
	b = (struct brake){ 0 };
	assert_int_equal(hear_twice(&b, &open_terms, REACTION_RATE, 0, T0), BRAKE_CHANGED);
	assert_near(b.rate, 1.4, 1e-9);
	assert_near(b.ceiling, 3, 1e-9);
	/* one cut a minute, and not below the floor */
	b = (struct brake){ 0 };
	assert_int_equal(hear_twice(&b, &capped, REACTION_RATE, 0, T0), BRAKE_CHANGED);
	assert_int_equal(hear_twice(&b, &capped, REACTION_RATE, 0, T0 + 400 * S), BRAKE_CHANGED);
	assert_near(b.rate, 4.9, 1e-9);
	for (int i = 0; i < 10; i++) {
		struct brake_event e = event(REACTION_RATE, 0, false);

		assert_int_equal(brake_hear(&b, &capped, &e, T0 + (401 + i) * S, 0), BRAKE_NOTHING);
	}
	for (int i = 0; i < 30; i++) {
		struct brake_event e = event(REACTION_RATE, 0, false);

		(void)(brake_hear(&b, &capped, &e, T0 + (500 + 61 * i) * S, 0) == BRAKE_CHANGED);
	}
	assert_near(b.rate, BRAKE_FLOOR * 10, 1e-9);
	/* the account: a little, and again after seconds */
	b = (struct brake){ 0 };
	for (int i = 0; i < 3; i++) {
		struct brake_event e = event(REACTION_ACCOUNT_RATE, 0, true);

		assert_int_equal(brake_hear(&b, &account, &e, T0 + 11 * i * S, 0), BRAKE_CHANGED);
	}
	assert_near(b.rate, 72.9, 1e-9);
	/* a few messages in a quiet moment are not its rate */
	b = (struct brake){ 0 };
	run_traffic(&b, 1, T0, T0 + 15 * S);
	{
		const struct brake_terms quiet = { .start_per_s = 10, .is_account = true };
		struct brake_event e = event(REACTION_ACCOUNT_RATE, 0, true);

		assert_int_equal(brake_hear(&b, &quiet, &e, T0 + 15 * S, 0), BRAKE_CHANGED);
	}
	assert_near(b.rate, 9, 1e-9);
}

/* Up quickly to near the rate that was too fast, slowly past it, then free; never above the limit. */
static void
test_recovery(void **state)
{
	struct brake b = { 0 };
	double now = T0, near_at = 0, good_at = 0, last;

	(void)state;
	assert_int_equal(hear_twice(&b, &capped, REACTION_RATE, 5, now), BRAKE_CHANGED);
	last = b.rate;
	while (b.mode == BRAKE_RATE && now < T0 + 86400 * S) {
		now += S;
		if (brake_tick(&b, &capped, now) == BRAKE_CHANGED && b.mode == BRAKE_RATE)
			assert_true(b.rate > last);
		if (now < T0 + 300 * S) /* the reply asked for five minutes */
			assert_near(b.rate, 7, 1e-9);
		assert_true(b.mode == BRAKE_FREE || b.rate < 10);
		last = b.rate;
		near_at = near_at == 0 && b.rate >= 9 ? now : near_at;
		good_at = good_at == 0 && b.rate >= b.good ? now : good_at;
	}
	assert_int_equal(b.mode, BRAKE_FREE);
	/* 2 at 1 a minute, then 1 at 0.02 a minute */
	assert_in_range((near_at - T0) / S, 300 + 110, 300 + 140);
	assert_in_range((now - near_at) / S, 49 * 60, 51 * 60);
	/* without a limit it is past the old rate for an hour and more */
	b = (struct brake){ 0 };
	now = T0;
	good_at = 0;
	assert_int_equal(hear_twice(&b, &open_terms, REACTION_RATE, 0, now), BRAKE_CHANGED);
	while (b.mode == BRAKE_RATE && now < T0 + 86400 * S) {
		now += S;
		(void)(brake_tick(&b, &open_terms, now) == BRAKE_CHANGED);
		good_at = good_at == 0 && b.rate >= b.good ? now : good_at;
	}
	assert_int_equal(b.mode, BRAKE_FREE);
	assert_in_range((now - good_at) / S, 3600, 7200);
}

static void
test_hold(void **state)
{
	struct brake b = { 0 };
	struct brake_event e = event(REACTION_RATE, 0, false);
	double now = T0;

	(void)state;
	run_traffic(&b, 8, T0 - 30 * S, T0);
	assert_int_equal(hear_twice(&b, &capped, REACTION_HOLD, 10, now), BRAKE_CHANGED);
	assert_int_equal(b.mode, BRAKE_HOLD);
	assert_near(b.until, now + 600 * S, 1);			      /* chance in the middle */
	assert_int_equal(brake_count(&b, now + S, 5), BRAKE_NOTHING); /* what was under way */
	assert_int_equal(hear_twice(&b, &capped, REACTION_RATE, 0, now + 60 * S), BRAKE_NOTHING);
	assert_int_equal(brake_tick(&b, &capped, now + 599 * S), BRAKE_NOTHING);
	now = b.until;
	assert_int_equal(brake_tick(&b, &capped, now), BRAKE_CHANGED);
	assert_int_equal(b.mode, BRAKE_PROBE);
	/* nothing is heard of it: another one */
	assert_int_equal(brake_tick(&b, &capped, now + 119 * S), BRAKE_NOTHING);
	assert_int_equal(brake_tick(&b, &capped, now + 120 * S), BRAKE_CHANGED);
	assert_true(b.mode == BRAKE_PROBE && b.since == now + 120 * S);
	/* taken badly, even by a milder reply, and once: twice as long */
	now += 130 * S;
	assert_int_equal(brake_hear(&b, &capped, &e, now, 0.5), BRAKE_CHANGED);
	assert_int_equal(b.mode, BRAKE_HOLD);
	assert_near(b.until, now + 1800 * S, 1); /* a reply without minutes: 30, more than 20 */
	now = b.until;
	assert_int_equal(brake_tick(&b, &capped, now), BRAKE_CHANGED);
	assert_int_equal(brake_hear(&b, &capped, &e, now + S, 0.5), BRAKE_CHANGED);
	assert_near(b.until, now + S + 3600 * S, 1);
	for (int i = 0; i < 10; i++) { /* at most so long */
		now = b.until;
		assert_int_equal(brake_tick(&b, &capped, now), BRAKE_CHANGED);
		assert_int_equal(brake_hear(&b, &capped, &e, now, 0.5), BRAKE_CHANGED);
	}
	assert_near(b.until, now + BRAKE_HOLD_LONGEST_S * S, 1);
	/* taken well: a quarter of before */
	now = b.until;
	assert_int_equal(brake_tick(&b, &capped, now), BRAKE_CHANGED);
	assert_int_equal(brake_count(&b, now + 2 * S, 1), BRAKE_CHANGED);
	assert_int_equal(b.mode, BRAKE_RATE);
	assert_near(b.good, 8, 1);
	assert_near(b.rate, b.good / 4, 1e-9);
	/* the next one within four hours is longer */
	now += 3600 * S;
	assert_int_equal(hear_twice(&b, &capped, REACTION_HOLD, 10, now), BRAKE_CHANGED);
	assert_true(b.until >= now + 12 * 3600 * S - 1);
	/* chance spreads it by a fifth both ways */
	for (int i = 0; i <= 1; i++) {
		struct brake_event h = event(REACTION_HOLD, 10, true);

		b = (struct brake){ 0 };
		assert_int_equal(brake_hear(&b, &capped, &h, T0, i), BRAKE_CHANGED);
		assert_near(b.until - T0, i == 0 ? 480 * S : 720 * S, 1);
	}
}

static void
test_stop(void **state)
{
	struct brake b = { 0 };
	struct brake_event stop = event(REACTION_STOP, 0, true),
			   hold = event(REACTION_HOLD, 1, true),
			   pause = event(REACTION_PAUSE_CAMPAIGN, 0, true);

	(void)state;
	assert_int_equal(brake_hear(&b, &capped, &stop, T0, 0), BRAKE_STOPPED);
	assert_int_equal(brake_hear(&b, &capped, &stop, T0 + S, 0), BRAKE_NOTHING);
	assert_int_equal(brake_hear(&b, &capped, &hold, T0 + 2 * S, 0), BRAKE_NOTHING);
	assert_int_equal(brake_count(&b, T0 + 3 * S, 10), BRAKE_NOTHING);
	for (int days = 1; days < 30; days++)
		assert_int_equal(brake_tick(&b, &capped, T0 + days * 86400 * S), BRAKE_NOTHING);
	assert_int_equal(b.mode, BRAKE_STOP);
	brake_release(&b);
	assert_int_equal(b.mode, BRAKE_FREE);
	assert_true(brake_is_idle(&b, T0));
	/* a fault of the campaign brakes nobody else */
	assert_int_equal(brake_hear(&b, &capped, &pause, T0, 0), BRAKE_PAUSE_RUN);
	assert_int_equal(b.mode, BRAKE_FREE);
	/* nor does what is about one recipient */
	for (int i = 0; i < 5; i++) {
		struct brake_event one = event(i % 2 ? REACTION_RCPT : REACTION_DROP, 0, true);

		assert_int_equal(brake_hear(&b, &capped, &one, T0 + i * S, 0), BRAKE_NOTHING);
	}
	assert_int_equal(b.mode, BRAKE_FREE);
}

static void
test_connections(void **state)
{
	struct brake b = { 0 };
	struct brake_event e = event(REACTION_CONN, 0, true), mpc = event(REACTION_MPC, 0, true);
	double now = T0;

	(void)state;
	assert_int_equal(brake_hear(&b, &capped, &e, now, 0), BRAKE_CHANGED);
	assert_int_equal(b.window, 4);
	assert_int_equal(b.mode, BRAKE_FREE); /* the rate stays */
	assert_int_equal(brake_hear(&b, &capped, &e, now + S, 0), BRAKE_NOTHING);
	assert_int_equal(brake_hear(&b, &capped, &e, now + 11 * S, 0), BRAKE_CHANGED);
	assert_int_equal(b.window, 2);
	for (int i = 2; i < 6; i++)
		(void)(brake_hear(&b, &capped, &e, now + 11 * i * S, 0) == BRAKE_CHANGED);
	assert_int_equal(b.window, 1);
	now += 55 * S;
	assert_int_equal(brake_tick(&b, &capped, now + 119 * S), BRAKE_NOTHING);
	for (unsigned i = 2; i < 8; i++) { /* one a minute */
		now += (i == 2 ? 120 : 60) * S;
		assert_int_equal(brake_tick(&b, &capped, now), BRAKE_CHANGED);
		assert_int_equal(b.window, i);
	}
	assert_int_equal(brake_tick(&b, &capped, now + 60 * S), BRAKE_CHANGED);
	assert_int_equal(b.window, 0);
	assert_true(brake_is_idle(&b, now + 60 * S));
	/* with minutes: one connection for so long */
	e.minutes = 60;
	assert_int_equal(brake_hear(&b, &capped, &e, now, 0), BRAKE_CHANGED);
	assert_int_equal(b.window, 1);
	assert_int_equal(brake_tick(&b, &capped, now + 3599 * S), BRAKE_NOTHING);
	assert_int_equal(brake_tick(&b, &capped, now + 3600 * S), BRAKE_CHANGED);
	/* fewer messages per connection, for a day */
	b = (struct brake){ 0 };
	assert_int_equal(brake_hear(&b, &capped, &mpc, now, 0), BRAKE_CHANGED);
	assert_int_equal(b.batch, 25);
	assert_int_equal(brake_tick(&b, &capped, now + 86399 * S), BRAKE_NOTHING);
	assert_int_equal(brake_tick(&b, &capped, now + 86400 * S), BRAKE_CHANGED);
	assert_int_equal(b.batch, 0);
}

/* ---- calendars ---- */

/* Permits that a limiter lets pass to two eager lanes until a time, asked for each half second. */
static unsigned
permits_until(struct admission *a, double from, double till)
{
	struct admission_want wants[] = { { 0, 1000, 0 }, { 1, 1000, 0 } };
	struct admission_permit permits[64];
	unsigned n = 0;

	for (double now = from; now < till; now += 0.5 * S) {
		struct admission_ask ask = { now, S, wants, 2, 64 };
		double wake;

		n += (unsigned)admission_reserve(a, &ask, permits, &wake);
	}
	return n;
}

static void
test_probe_is_one_message(void **state)
{
	struct brake b = { 0 };
	struct brake_event e = event(REACTION_HOLD, 10, true);
	struct admission *a = admission_new();
	struct admission_row row, lane = { T0 - 60 * S, T0 + 86400 * S, 1 };
	int limiter = admission_add_limiter(a);
	struct err err;
	double now;

	(void)state;
	for (int i = 0; i < 2; i++) {
		int added = admission_add_lane(a, &limiter, 1);

		assert_int_equal(added, i);
		assert_int_equal(admission_plan_lane(a, 1, i, &lane, 1, &err), 0);
	}
	assert_int_equal(brake_rows(&b, 0, T0, T0 + 900 * S, &row), 0); /* no limit at all */
	assert_int_equal(brake_rows(&b, 10, T0 - 60 * S, T0 + 900 * S, &row), 1);
	assert_int_equal(admission_plan_limiter(a, 1, limiter, &row, 1, &err), 0);
	assert_in_range(permits_until(a, T0, T0 + 10 * S), 100, 120);
	assert_int_equal(brake_hear(&b, &capped, &e, T0 + 10 * S, 0.5), BRAKE_CHANGED);
	assert_int_equal(brake_rows(&b, 10, T0, T0 + 900 * S, &row), 0);
	assert_int_equal(admission_plan_limiter(a, 1, limiter, NULL, 0, &err), 0);
	assert_int_equal(permits_until(a, T0 + 12 * S, T0 + 600 * S), 0);
	now = b.until;
	assert_int_equal(brake_tick(&b, &capped, now), BRAKE_CHANGED);
	/* published again and again, by somebody who comes late */
	for (int i = 0; i < 11; i++) {
		assert_int_equal(brake_rows(&b, 10, now - 60 * S, now + 900 * S, &row), 1);
		assert_int_equal(admission_plan_limiter(a, 1, limiter, &row, 1, &err), 0);
		assert_int_equal(
		    permits_until(a, now + (1 + 10 * i) * S, now + (11 + 10 * i) * S), i == 0);
	}
	assert_int_equal(brake_count(&b, now + 115 * S, 1), BRAKE_CHANGED);
	assert_int_equal(brake_rows(&b, 10, now, now + 900 * S, &row), 1);
	assert_near(row.interval, 1e6 / b.rate, 1e-6);
	/* a brake above the limit does not lift it */
	b.rate = 50;
	assert_int_equal(brake_rows(&b, 10, now, now + 900 * S, &row), 1);
	assert_near(row.interval, 1e5, 1e-6);
	admission_free(a);
}

/* ---- a day against a provider ---- */

/* The model of the design: a limit of 600 a minute, behind it the provider's own, of which we
 * hear 20 s later. */
static double
hidden_per_s(double s)
{
	return s >= 6 * 3600 && s < 9 * 3600	? 120 / 60.0
	    : s >= 15 * 3600 && s < 15.5 * 3600 ? 0
						: 420 / 60.0;
}

static void
test_a_day(void **state)
{
	const struct brake_terms terms = { .cap_per_s = 10 };
	double delayed[20] = { 0 }, ideal = 0, good = 0, refused = 0, credit = 0;
	struct brake b = { 0 };

	(void)state;
	for (int s = 0; s < 86400; s++) {
		double now = T0 + s * S, rate, taken, bad;
		struct admission_row row;

		(void)(brake_tick(&b, &terms, now) == BRAKE_CHANGED);
		rate = brake_rows(&b, terms.cap_per_s, now, now + S, &row) > 0 ? 1e6 / row.interval
									       : 0;
		taken = rate < hidden_per_s(s) ? rate : hidden_per_s(s);
		bad = rate - taken;
		ideal += hidden_per_s(s);
		good += taken;
		refused += bad;
		credit += taken;
		(void)(brake_count(&b, now, (unsigned)credit) == BRAKE_CHANGED);
		credit -= (unsigned)credit;
		if (delayed[s % 20] > 0) {
			struct brake_event e = { REACTION_RATE, 0, false, 2, 421 };

			(void)(brake_hear(&b, &terms, &e, now, 0.5) == BRAKE_CHANGED);
		}
		delayed[s % 20] = bad;
		assert_true(b.mode != BRAKE_RATE || b.rate <= terms.cap_per_s);
	}
	print_message("# a day: %.3f of what the provider takes, %.2f %% refused\n", good / ideal,
	    100 * refused / (good + refused));
	/* without a brake a third is refused */
	assert_true(good / ideal > 0.84);
	assert_true(refused / (good + refused) < 0.006);
}

/* ---- text ---- */

static void
test_text(void **state)
{
	static const char *const bad[] = { "", "rate",
		"fast 1 2 3 4 5 6 7 8 9 10 11 12 1 1 1 1 1 rate 421 0",
		"hold 1 2 3 4 5 6 7 8 9 10 11 12 1 1 1 1 1 quick 421 0",
		"hold 1 2 3 4 5 6 7 8 9 10 11 12 1 1 1 1 1 rate 421 nan",
		"hold 1 2 -3 4 5 6 7 8 9 10 11 12 1 1 1 1 1 rate 421 0",
		"hold 1 2 3 4 5 6 7 8 9 10 11 12 1 1 1 1 1 rate 421 0 x" };
	struct brake b = { 0 }, copy;
	char text[BRAKE_TEXT_MAX], again[BRAKE_TEXT_MAX];

	(void)state;
	run_traffic(&b, 9, T0, T0 + 21 * S);
	assert_int_equal(hear_twice(&b, &capped, REACTION_HOLD, 10, T0 + 30 * S), BRAKE_CHANGED);
	assert_int_equal(hear_twice(&b, &capped, REACTION_CONN, 10, T0 + 32 * S), BRAKE_CHANGED);
	brake_print(&b, text);
	assert_true(brake_parse(&copy, text));
	brake_print(&copy, again);
	assert_string_equal(text, again);
	assert_true(copy.mode == BRAKE_HOLD && copy.until == b.until && copy.window == 1);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(brake_parse(&copy, bad[i]));
}

static void
test_report(void **state)
{
	static const char *const bad[] = { "", "google", "google 1 0 rate 0 0 1",
		"google -1 0 rate 0 0 1 421", "google 1 0 quick 0 0 1 421",
		"google 1 0 rate 99999 0 1 421", "google 1 0 rate 0 2 1 421",
		"google 1 0 rate 0 0 1 421 x", "google 1 0 rate 0 0 1 4210" };
	struct brake_report r = { .name = "google",
		.answers = 12,
		.run = 7,
		.event = { REACTION_RATE, 15, true, 3, 421 } },
			    copy;
	char text[BRAKE_REPORT_MAX];

	(void)state;
	brake_report_print(&r, text);
	assert_string_equal(text, "google 12 7 rate 15 1 3 421");
	assert_true(brake_report_parse(&copy, text, strlen(text)));
	assert_memory_equal(&copy.event, &r.event, sizeof(r.event));
	assert_string_equal(copy.name, "google");
	assert_true(copy.answers == 12 && copy.run == 7);
	assert_false(brake_report_parse(&copy, "go\0gle 1 0 rate 0 0 1 421", 25));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(brake_report_parse(&copy, bad[i], strlen(bad[i])));
	memset(r.name, 'a', BRAKE_NAME_MAX);
	r.name[BRAKE_NAME_MAX] = '\0';
	r.answers = 10000000;
	r.run = INT32_MAX;
	brake_report_print(&r, text);
	assert_true(brake_report_parse(&copy, text, strlen(text)));
}

/* Who has a list of his own leaves when a hold is over, though nobody told of the probe yet. */
static void
test_hold_that_is_over_keeps_nobody(void **state)
{
	struct brake b = { .mode = BRAKE_HOLD, .until = 1000e6 };

	(void)state;
	assert_false(brake_lets_leave(&b, 998e6, true));
	assert_true(brake_lets_leave(&b, 1000e6, true));
	assert_false(brake_lets_leave(&b, 1000e6, false));
	b.mode = BRAKE_STOP;
	assert_false(brake_lets_leave(&b, 1000e6, true));
	b.mode = BRAKE_PROBE;
	assert_true(brake_lets_leave(&b, 998e6, true));
	assert_false(brake_lets_leave(&b, 998e6, false));
}

/* ---- greylisting ---- */

/* As the dispatcher reads a reply to RCPT. */
static struct outcome
refusal(int code, uint16_t subject, uint16_t detail, const char *text)
{
	struct outcome o = { .kind = OUTCOME_DEFERRED,
		.phase = OUTCOME_PHASE_RCPT,
		.code = code,
		.enhanced = { 4, subject, detail },
		.text = slice_str(text) };
	struct classify_input in = {
		.phase = o.phase, .code = code, .enhanced = { 4, subject, detail }, .text = o.text
	};
	struct classify_verdict v = classify(&in);

	o.cls = v.cls;
	o.scope = v.scope;
	o.reason = v.reason;
	return o;
}

/* Whoever is greylisted comes again; his provider is not braked, whatever its rules make of 4xx. */
static void
test_greylisting(void **state)
{
	static const char *const groups[] = { "docomo", "ymobile", "apple", "ms-consumer", "ms-365",
		"yandex", "default" };
	const struct outcome replies[] = { refusal(450, 2, 0, "Greylisted, see example.org/help"),
		refusal(450, 7, 1, "Greylisting in action, please come back later"),
		refusal(451, 7, 1, "You have been graylisted"),
		refusal(451, 7, 5, "Access denied, please try again: grey-listed"),
		refusal(421, 7, 0, "Server busy, greylisted") };
	struct err err = { 0 };
	struct providers *p =
	    providers_new(slice_str(embed_common_data_providers_tsv), slice_make(NULL, 0), &err);

	(void)state;
	assert_non_null(p);
	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
		for (size_t k = 0; k < 2 * sizeof(replies) / sizeof(replies[0]); k++) {
			struct outcome o = replies[k / 2];
			struct provider_verdict v = brake_verdict(
			    p, k % 2 == 0, providers_find(p, slice_str(groups[i])), &o);
			struct brake_duty duty = brake_duty_of(&v, &o);

			assert_true(v.reaction == REACTION_NONE || v.reaction == REACTION_RCPT);
			assert_true(duty.is_answer && !duty.is_event && o.kind == OUTCOME_DEFERRED);
			assert_true(duty.way != BRAKES_POSTPONE);
		}
	providers_free(p);
}

/* Other replies of the same code still are the provider's, and a rule about a recipient keeps its
 * minutes. */
static void
test_not_greylisting(void **state)
{
	struct outcome busy = refusal(450, 3, 2, "Please try again later");
	struct outcome grey = refusal(450, 7, 1, "Greylisted");
	struct err err = { 0 };
	struct providers *p = providers_new(slice_str(embed_common_data_providers_tsv),
	    SLICE("rule\tdocomo\t450\tgreylist\trcpt\t17\tme\n"), &err);
	struct provider_verdict v;
	int docomo;

	(void)state;
	assert_non_null(p);
	docomo = providers_find(p, SLICE("docomo"));
	v = brake_verdict(p, true, docomo, &busy);
	assert_int_equal(v.reaction, REACTION_HOLD);
	v = brake_verdict(p, true, docomo, &grey);
	assert_int_equal(v.reaction, REACTION_RCPT);
	assert_int_equal(v.minutes, 17);
	v = brake_verdict(p, true, providers_find(p, SLICE("yahoo-jp")), &grey);
	assert_int_equal(v.reaction, REACTION_RCPT);
	providers_free(p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_noise),
		cmocka_unit_test(test_greylisting),
		cmocka_unit_test(test_not_greylisting),
		cmocka_unit_test(test_cuts),
		cmocka_unit_test(test_recovery),
		cmocka_unit_test(test_hold),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_connections),
		cmocka_unit_test(test_probe_is_one_message),
		cmocka_unit_test(test_hold_that_is_over_keeps_nobody),
		cmocka_unit_test(test_a_day),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_report),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
