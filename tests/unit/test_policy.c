/* SPDX-License-Identifier: Apache-2.0 */
/* What [pace] says about groups, and that replacing a calendar keeps what is owed (plan.lua). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "admission_redis.h"
#include "embed.h"
#include "policy.h"

#define HOUR (100 * 24 * HOUR_US) /* a full hour in Tokyo as well */

static struct policy *
load(const char *guard, const char *limits, const char *lead)
{
	struct config config = { 0 };
	struct err err = { 0 };
	struct policy *p;

	(void)setenv("KAIRAN_PACE_HOUR_GUARD", guard, 1);
	(void)setenv("KAIRAN_PACE_GROUP_LIMITS", limits, 1);
	(void)setenv("KAIRAN_PACE_GUARD_LEAD_S", lead, 1);
	assert_int_equal(config_load(&config, NULL, &err), 0);
	p = policy_new(&config, &err);
	config_release(&config);
	return p;
}

static int
group(const struct policy *p, const char *name)
{
	int g = providers_find(policy_providers(p), slice_str(name));

	assert_true(g >= 0);
	return g;
}

static void
test_settings(void **state)
{
	struct policy *p = load("strict", "no", "0");
	struct err err = { 0 };
	uint64_t version;

	(void)state;
	assert_non_null(p);
	policy_begin_settings(p);
	(void)policy_end_settings(p);
	version = policy_version(p);
	policy_begin_settings(p);
	assert_int_equal(policy_set(p, "group:docomo", "5/s", &err), 0);
	assert_int_equal(policy_set(p, POLICY_SET_GUARD, "off", &err), 0);
	assert_int_equal(policy_set(p, POLICY_SET_ACCOUNT, "600/min", &err), 0);
	assert_int_equal(policy_set(p, "group:docomo", "0/s", &err), -1);
	assert_int_equal(policy_set(p, "group:nobody", "1/s", &err), -1);
	assert_int_equal(policy_set(p, POLICY_SET_GUARD, "on", &err), -1);
	assert_int_equal(policy_set(p, POLICY_SET_ACCOUNT, "-1/s", &err), -1);
	assert_int_equal(policy_set(p, "nothing", "1/s", &err), -1);
	assert_true(policy_end_settings(p));
	assert_int_equal(policy_version(p), version + 1);
	/* what was refused has changed nothing */
	assert_float_equal(policy_cap_per_s(p, group(p, "docomo")), 5, 1e-9);
	assert_true(policy_cap_per_s(p, group(p, "google")) <= 0);
	assert_float_equal(policy_account_per_s(p), 10, 1e-9);
	assert_int_equal(policy_guard(p, group(p, "docomo")), GUARD_OFF);
	/* the same again is no change, none is the configuration */
	policy_begin_settings(p);
	assert_int_equal(policy_set(p, "group:docomo", "5/s", &err), 0);
	assert_int_equal(policy_set(p, POLICY_SET_GUARD, "off", &err), 0);
	assert_int_equal(policy_set(p, POLICY_SET_ACCOUNT, "10/s", &err), 0);
	assert_false(policy_end_settings(p));
	policy_begin_settings(p);
	assert_true(policy_end_settings(p));
	assert_true(policy_cap_per_s(p, group(p, "docomo")) <= 0);
	assert_int_equal(policy_guard(p, group(p, "docomo")), GUARD_STRICT);
	policy_free(p);
}

static void
test_guards(void **state)
{
	struct policy *p = load("strict", "no", "0");

	(void)state;
	assert_non_null(p);
	assert_int_equal(policy_guard(p, group(p, "docomo")), GUARD_STRICT);
	assert_int_equal(policy_guard(p, group(p, "google")), GUARD_OFF);
	assert_true(policy_is_paced(p, group(p, "docomo"), false));
	assert_false(policy_is_paced(p, group(p, "google"), false));
	assert_true(policy_cap_per_s(p, group(p, "google")) <= 0);
	policy_free(p);
	p = load("all", "no", "0");
	assert_int_equal(policy_guard(p, group(p, "google")), GUARD_SOFT);
	assert_true(policy_is_paced(p, group(p, PROVIDERS_UNKNOWN), true));
	policy_free(p);
	p = load("off", "yes", "0");
	assert_int_equal(policy_guard(p, group(p, "docomo")), GUARD_OFF);
	assert_true(policy_is_paced(p, group(p, "google"), false));
	assert_true(policy_is_paced(p, group(p, PROVIDERS_UNKNOWN), false));
	assert_false(policy_is_paced(p, group(p, PROVIDERS_UNKNOWN), true)); /* many sites */
	assert_true(policy_cap_per_s(p, group(p, "google")) > 0);
	policy_free(p);
	assert_null(load("sometimes", "no", "0"));
}

/* Of a run that begins then. */
static double
opens_at(const struct policy *p, int group, double at, bool steps)
{
	return policy_opens(p, group, at, at, steps);
}

static void
test_opens(void **state)
{
	struct policy *p = load("strict", "no", "0");
	int docomo = group(p, "docomo"), google = group(p, "google");
	double opens = opens_at(p, docomo, HOUR, true), flat = opens_at(p, docomo, HOUR, false);

	(void)state;
	assert_true(opens >= HOUR + 6.2 * MINUTE_US && opens <= HOUR + 7.8 * MINUTE_US);
	assert_true(opens_at(p, docomo, HOUR - 4 * MINUTE_US, true) == opens);
	assert_true(opens_at(p, docomo, HOUR + 30 * MINUTE_US, true) == HOUR + 30 * MINUTE_US);
	assert_true(opens_at(p, google, HOUR, true) == HOUR);
	/* without a rate the ramps are closed: later behind the hour, earlier before it */
	assert_true(fabs(flat - opens - 3 * MINUTE_US) < 1);
	assert_true(opens_at(p, docomo, HOUR + 8.5 * MINUTE_US, false) == flat);
	assert_true(opens_at(p, docomo, HOUR - 6.5 * MINUTE_US, true) == HOUR - 6.5 * MINUTE_US);
	assert_true(opens_at(p, docomo, HOUR - 6.5 * MINUTE_US, false) == flat);
	assert_false(policy_is_limited(p, docomo));
	policy_free(p);
	p = load("strict", "yes", "0");
	assert_true(policy_is_limited(p, google));
	policy_free(p);
	/* a longer lead closes earlier and opens no later */
	p = load("strict", "no", "1800");
	assert_true(opens_at(p, docomo, HOUR - 30 * MINUTE_US, true) == opens);
	policy_free(p);
	/* so long that the next hour's guard begins in the ramp of this one: the guard wins */
	p = load("strict", "no", "3120");
	for (double at = HOUR + 9 * MINUTE_US; at < HOUR + HOUR_US; at += MINUTE_US)
		assert_true(opens_at(p, docomo, at, true) > at);
	policy_free(p);
	p = load("strict", "no", "3300");
	for (double at = HOUR; at < HOUR + HOUR_US; at += MINUTE_US)
		assert_true(isinf(opens_at(p, docomo, at, true)));
	policy_free(p);
	/* soft: a run that would begin at the hour begins behind it */
	p = load("all", "no", "0");
	assert_true(opens_at(p, google, HOUR, true) == HOUR + GUARD_SOFT_AFTER_US);
	assert_true(opens_at(p, google, HOUR + 10 * MINUTE_US, true) == HOUR + 10 * MINUTE_US);
	/* one that began before goes on */
	assert_true(policy_opens(p, google, HOUR - 49 * MINUTE_US, HOUR, false) == HOUR);
	policy_free(p);
}

static void
test_zones(void **state)
{
	static const char rows[] = "# a table over the built-in one\n"
				   "group\tnear\t1\t1\t1/s\tstrict\tAsia/Tokyo\ttest\n"
				   "group\tfar\t1\t1\t1/s\tstrict\tAsia/Tokio\ttest\n";
	struct err err = { 0 };
	struct providers *p =
	    providers_new(slice_str(embed_common_data_providers_tsv), slice_str(rows), &err);

	(void)state;
	assert_non_null(p);
	assert_int_equal(policy_check_zones(p, &err), -1);
	assert_int_equal(err.offset, 3);
	assert_non_null(strstr(err.msg, "'Asia/Tokio'"));
	providers_free(p);
	p = providers_new(slice_str(embed_common_data_providers_tsv), SLICE(""), &err);
	assert_int_equal(policy_check_zones(p, &err), 0);
	providers_free(p);
}

static void
test_shape(void **state)
{
	struct policy *p = load("strict", "no", "0");
	struct shape s = { 0 };
	int docomo = group(p, "docomo");
	double from = HOUR - 30 * MINUTE_US, till = HOUR + 30 * MINUTE_US, open, ramped;

	(void)state;
	assert_int_equal(policy_shape(p, docomo, from, from, till, true, &s), 0);
	assert_true(s.pieces[0].from == from && s.pieces[s.count - 1].till == till);
	ramped = shape_integral(&s, from, till);
	assert_true(ramped > 44 * MINUTE_US && ramped < 46 * MINUTE_US);
	assert_int_equal(policy_shape(p, docomo, from, from, till, false, &s), 0);
	for (size_t i = 0; i < s.count; i++)
		assert_true(s.pieces[i].open <= 0 || s.pieces[i].open >= 1);
	open = shape_integral(&s, from, till);
	assert_true(open > 41 * MINUTE_US && open < ramped);
	shape_release(&s);
	policy_free(p);
}

/* ---- plan.lua ---- */

static long long
publish(struct private_redis *r, const char *generation, double now, int keys, const char *calendar)
{
	char sha[41] = "", time[40];
	const char *two[] = { "{p:t}:pace", "{p:t}:next", generation, time, "l:1.0", calendar };
	const char *single[] = { "{p:t}:pace", generation, time, "l:1.0", calendar };
	redisReply *reply;
	long long result;

	(void)snprintf(time, sizeof(time), "%.17g", now);
	reply = redis_script(
	    r, sha, embed_common_lua_plan_lua, keys, keys == 2 ? 6 : 5, keys == 2 ? two : single);
	assert_non_null(reply);
	assert_int_equal(reply->type, REDIS_REPLY_INTEGER);
	result = reply->integer;
	freeReplyObject(reply);
	return result;
}

/* Permits within a second; *first: offset of the first one. */
static size_t
reserve(struct private_redis *r, double now, long long *first)
{
	char sha[41] = "", time[40];
	const char *argv[] = { "{p:t}:pace", "{p:t}:next", "{p:t}:quota", "1000000", "1000", time,
		"1.0", "1000", "0" };
	redisReply *reply;
	size_t n, place;
	uint64_t offset;

	(void)snprintf(time, sizeof(time), "%.17g", now);
	reply = redis_script(r, sha, embed_common_lua_reserve_lua, 3, 9, argv);
	assert_non_null(reply);
	assert_int_equal(reply->type, REDIS_REPLY_ARRAY);
	n = reply->element[2]->len / PERMIT_BYTES;
	*first = -1;
	if (n > 0 && permit_read(reply->element[2]->str, &place, &offset))
		*first = (long long)offset;
	freeReplyObject(reply);
	return n;
}

static void
replace_slow(struct private_redis *r, int keys, size_t *n, long long *first)
{
	freeReplyObject(redisCommand(r->c, "FLUSHALL"));
	/* one in 50 s */
	assert_int_equal(publish(r, "1", 1e6, keys, "|0,1000000000,50000000;"), 1);
	assert_int_equal(reserve(r, 1e6, first), 0); /* a pool seen for the first time */
	assert_int_equal(reserve(r, 30e6, first), 0);
	assert_int_equal(reserve(r, 54.5e6, first), 1);
	assert_int_equal(reserve(r, 56e6, first), 0);
	/* now 200/s */
	assert_int_equal(publish(r, "1", 57e6, keys, "|0,1000000000,5000;"), 1);
	*n = reserve(r, 58.5e6, first);
}

static void
test_replaced_calendar(void **state)
{
	struct private_redis r;
	long long first;
	size_t n;
	redisReply *reply;

	(void)state;
	if (!private_redis_start(&r)) {
		print_message("skipped: redis-server cannot be started\n");
		skip();
	}
	replace_slow(&r, 1, &n, &first);
	assert_int_equal(n, 0); /* the clock as it was: the slow interval runs to its end */
	replace_slow(&r, 2, &n, &first);
	assert_in_range(n, 190, 210);
	/* back to slow: the message that was due when the second ahead ended, then an interval */
	assert_int_equal(publish(&r, "1", 59e6, 2, "|0,1000000000,50000000;"), 1);
	assert_int_equal(reserve(&r, 61e6, &first), 1);
	assert_int_equal(reserve(&r, 63e6, &first), 0);
	assert_true(reserve(&r, 109e6, &first) <= 1);
	/* an older generation changes nothing */
	assert_int_equal(publish(&r, "0", 110e6, 2, "|0,1000000000,5000;"), 0);
	assert_true(reserve(&r, 111e6, &first) <= 1);
	/* a calendar that goes takes its clock along */
	assert_int_equal(publish(&r, "2", 112e6, 2, ""), 1);
	reply = redisCommand(r.c, "HEXISTS {p:t}:next l:1.0");
	assert_int_equal(reply->integer, 0);
	freeReplyObject(reply);
	private_redis_stop(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_settings),
		cmocka_unit_test(test_guards), cmocka_unit_test(test_opens),
		cmocka_unit_test(test_zones), cmocka_unit_test(test_shape),
		cmocka_unit_test(test_replaced_calendar) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
