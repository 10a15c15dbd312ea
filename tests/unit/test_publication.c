/* SPDX-License-Identifier: Apache-2.0 */
/* What is published for lists and their limiters, and what admission then grants. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "admission_text.h"
#include "keys.h"
#include "publication.h"

#define HOUR (100 * 24 * HOUR_US) /* a full hour in Tokyo as well */
#define MINUTE 60e6
#define S 1e6

static struct policy *
load(void)
{
	struct config config = { 0 };
	struct err err = { 0 };
	struct policy *p;

	assert_int_equal(config_load(&config, NULL, &err), 0);
	p = policy_new(&config, &err);
	config_release(&config);
	assert_non_null(p);
	return p;
}

static int
group(const struct policy *p, const char *name)
{
	int g = providers_find(policy_providers(p), slice_str(name));

	assert_true(g >= 0);
	return g;
}

static const char *
value_of(const struct publication *p, const char *field)
{
	for (size_t i = 0; i < p->args; i += 2)
		if (strcmp(publication_arg(p, i), field) == 0)
			return publication_arg(p, i + 1);
	return NULL;
}

static void
publish(struct admission_text *pool, uint64_t generation, const struct publication *p, double now)
{
	struct err err = { 0 };

	for (size_t i = 0; i < p->args; i += 2)
		assert_int_equal(admission_text_put(pool, generation, now, publication_arg(p, i),
				     publication_arg(p, i + 1), &err),
		    0);
	admission_text_end(pool);
}

/* Permits of one lane within so many seconds, asked for all the time. */
static size_t
granted(struct admission_text *pool, const char *name, double now, int seconds)
{
	static struct admission_permit permits[ADMISSION_PERMITS_MAX];
	struct admission_want want = { .lane = (uint32_t)admission_text_lane(pool, name),
		.count = 1000 };
	struct admission_ask ask = {
		.horizon = S, .wants = &want, .want_count = 1, .max = ADMISSION_PERMITS_MAX
	};
	double wake;
	size_t n = 0;

	for (int i = 0; i < 2 * seconds; i++) {
		ask.now = now + i * S / 2;
		n += admission_reserve(admission_text_pool(pool), &ask, permits, &wake);
	}
	return n;
}

/* Every limit that there is: the account, the stream, the group, the route. */
static void
test_urgent_lists_keep_the_limit_of_their_route(void **state)
{
	struct policy *policy;
	struct pacer_lane lane = { .lane = 3, .remaining = 1000 };
	struct pacer_run run = { .id = 7,
		.stream = "s",
		.per_s = 50,
		.class = SHARE_URGENT,
		.weight = 1,
		.reserve = true,
		.began = HOUR,
		.lanes = &lane,
		.lane_count = 1 };
	struct publication_past past = { 0 };
	struct quota quota = { 0 };
	struct publication_request r = {
		.quota = &quota, .now = HOUR + 30 * MINUTE, .runs = &run, .count = 1
	};
	struct admission_text *pool = admission_text_new();
	struct publication p;
	struct err err = { 0 };
	char name[32];

	(void)state;
	assert_non_null(pool);
	assert_int_equal(setenv("KAIRAN_PACE_ACCOUNT_RATE", "100/s", 1), 0);
	assert_int_equal(setenv("KAIRAN_PACE_ROUTES", "docomo=own", 1), 0);
	assert_int_equal(setenv("KAIRAN_PACE_ROUTE_RATES", "own=2/s", 1), 0);
	policy = load();
	policy_begin_settings(policy);
	assert_int_equal(policy_set(policy, POLICY_SET_GROUP "docomo", "40/s", &err), 0);
	policy_set_urgent(policy, true);
	(void)policy_end_settings(policy);
	lane.group = group(policy, "docomo");
	lane.name = "docomo";
	lane.route = "own";
	r.policy = policy;
	assert_int_equal(publication_make(&p, &past, &r, &err), 0);
	(void)snprintf(name, sizeof(name), KEY_LANE_NAME, run.id, lane.lane);
	assert_non_null(value_of(&p, name));
	assert_memory_equal(value_of(&p, name), "!au,su:s,g:docomo,r:own|", 24);
	assert_non_null(value_of(&p, "r:own"));
	publish(pool, 1, &p, r.now);
	assert_in_range(granted(pool, name, r.now, 60), 100, 2 * 61 + 1);
	publication_release(&p);
	admission_text_free(pool);
	policy_free(policy);
}

/* ---- the soft guard ---- */

/* Rate that a calendar gives at a time; 0: closed. */
static double
rate_of(const struct publication *p, const char *field, double at)
{
	static struct admission_row rows[ADMISSION_ROWS_MAX];
	const char *text = value_of(p, field);
	size_t n = 0;

	assert_non_null(text);
	assert_int_equal(admission_text_rows(strchr(text, '|') + 1, rows, &n), 0);
	for (size_t i = 0; i < n; i++)
		if (rows[i].from <= at && at < rows[i].till)
			return 1e6 / rows[i].interval;
	return 0;
}

struct soft {
	struct policy *policy;
	struct pacer_lane lane;
	struct pacer_run run;
	struct publication_past past;
	struct quota quota;
	struct brake brake;
	bool braked;
};

static const struct brake *
find_brake(const void *brakes, const char *name)
{
	const struct soft *s = brakes;

	return s->braked && strcmp(name, "google") == 0 ? &s->brake : NULL;
}

static void
soft_begin(struct soft *s, const char *factor)
{
	assert_int_equal(setenv("KAIRAN_PACE_HOUR_GUARD", "all", 1), 0);
	assert_int_equal(setenv("KAIRAN_PACE_GUARD_SOFT_FACTOR", factor, 1), 0);
	assert_int_equal(unsetenv("KAIRAN_PACE_ACCOUNT_RATE"), 0);
	*s = (struct soft){ .policy = load() };
	s->lane = (struct pacer_lane){
		.lane = 1, .group = group(s->policy, "google"), .name = "google", .remaining = 1e6
	};
	s->run = (struct pacer_run){ .id = 7,
		.stream = "s",
		.class = SHARE_BULK,
		.weight = 1,
		.began = HOUR - 40 * MINUTE,
		.lanes = &s->lane,
		.lane_count = 1 };
}

static void
soft_end(struct soft *s)
{
	publication_past_release(&s->past);
	policy_free(s->policy);
}

/* A minute of the hour (negative: before it), and the rate of the stream from then on. */
static void
soft_publish(struct soft *s, struct publication *p, double minute, double per_s)
{
	struct publication_request r = { .policy = s->policy,
		.find_brake = find_brake,
		.brakes = s,
		.quota = &s->quota,
		.now = HOUR + minute * MINUTE,
		.runs = &s->run,
		.count = 1 };
	struct err err = { 0 };

	s->run.per_s = per_s;
	assert_int_equal(publication_make(p, &s->past, &r, &err), 0);
}

static void
check_rates(const struct publication *p, const char *field, double first_minute, double till_4,
    double later)
{
	assert_float_equal(rate_of(p, field, HOUR + first_minute * MINUTE + 1), till_4, 1e-6);
	assert_float_equal(rate_of(p, field, HOUR + 3.99 * MINUTE), till_4, 1e-6);
	assert_float_equal(rate_of(p, field, HOUR + 4.01 * MINUTE), later, 1e-6);
}

static void
test_nothing_rises_under_a_soft_guard(void **state)
{
	struct soft s;
	struct publication p;
	char name[32];

	(void)state;
	soft_begin(&s, "1");
	(void)snprintf(name, sizeof(name), KEY_LANE_NAME, s.run.id, s.lane.lane);
	soft_publish(&s, &p, -4, 10);
	check_rates(&p, name, -4, 10, 10);
	publication_release(&p);
	soft_publish(&s, &p, -3, 20); /* outside it may */
	check_rates(&p, name, -3, 20, 20);
	publication_release(&p);
	for (int minute = -2; minute < 4; minute++) { /* of :00 */
		soft_publish(&s, &p, minute, 50);
		check_rates(&p, name, minute, 20, 50);
		publication_release(&p);
	}
	soft_publish(&s, &p, -1, 5); /* lower it goes at once */
	check_rates(&p, name, -1, 5, 5);
	publication_release(&p);
	soft_publish(&s, &p, 1, 50);
	check_rates(&p, name, 1, 20, 50);
	publication_release(&p);
	soft_publish(&s, &p, 2, 20.9); /* plans are never quite the same */
	check_rates(&p, name, 2, 20.9, 20.9);
	publication_release(&p);
	soft_publish(&s, &p, 4, 50);
	check_rates(&p, name, 5, 50, 50);
	publication_release(&p);
	soft_publish(&s, &p, 29, 60); /* and of :30 */
	assert_float_equal(rate_of(&p, name, HOUR + 29.1 * MINUTE), 50, 1e-6);
	assert_float_equal(rate_of(&p, name, HOUR + 34.1 * MINUTE), 60, 1e-6);
	publication_release(&p);
	soft_end(&s);
}

/* What replies braked recovers behind the guard. */
static void
test_brakes_recover_behind_a_soft_guard(void **state)
{
	struct soft s;
	struct publication p;

	(void)state;
	soft_begin(&s, "1");
	s.braked = true;
	s.brake = (struct brake){ .mode = BRAKE_RATE, .rate = 3 };
	soft_publish(&s, &p, -3, 50);
	check_rates(&p, "g:google", -3, 3, 3);
	publication_release(&p);
	s.brake.rate = 4;
	soft_publish(&s, &p, -1, 50);
	check_rates(&p, "g:google", -1, 3, 4);
	publication_release(&p);
	s.brake.rate = 2;
	soft_publish(&s, &p, 0, 50);
	check_rates(&p, "g:google", 0, 2, 2);
	publication_release(&p);
	s.brake = (struct brake){ .mode = BRAKE_HOLD, .rate = 3, .until = HOUR + 2 * MINUTE };
	soft_publish(&s, &p, 1, 50);
	publication_release(&p);
	s.brake = (struct brake){ .mode = BRAKE_RATE, .rate = 1 };
	soft_publish(&s, &p, 2.5, 50);
	check_rates(&p, "g:google", 2.5, 0, 1);
	publication_release(&p);
	soft_end(&s);
}

static void
test_a_soft_guard_slows_down(void **state)
{
	struct soft s;
	struct publication p;
	char name[32];

	(void)state;
	soft_begin(&s, "0.5");
	(void)snprintf(name, sizeof(name), KEY_LANE_NAME, s.run.id, s.lane.lane);
	soft_publish(&s, &p, -5, 10);
	assert_float_equal(rate_of(&p, name, HOUR - 2.01 * MINUTE), 10, 1e-6);
	check_rates(&p, name, -1.99, 5, 10);
	publication_release(&p);
	soft_publish(&s, &p, 0, 10);
	check_rates(&p, name, 0, 5, 10);
	publication_release(&p);
	soft_publish(&s, &p, 0, 0); /* nothing to slow down where there is no rate */
	assert_true(rate_of(&p, name, HOUR + 1) > 0);
	publication_release(&p);
	soft_end(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_urgent_lists_keep_the_limit_of_their_route),
		cmocka_unit_test(test_nothing_rises_under_a_soft_guard),
		cmocka_unit_test(test_brakes_recover_behind_a_soft_guard),
		cmocka_unit_test(test_a_soft_guard_slows_down),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
