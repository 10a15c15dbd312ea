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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_urgent_lists_keep_the_limit_of_their_route),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
