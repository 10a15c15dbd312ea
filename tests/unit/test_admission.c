/* SPDX-License-Identifier: Apache-2.0 */
/*
 * admission: no window above the limit, no credit, closed rows, quota, old planners; and the
 * script in a real Redis grants the same as the backend in memory, permit for permit: given the same
 * calendars, and given the texts of the same publications.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "admission_redis.h"
#include "admission_text.h"
#include "embed.h"

#define START 28000000000000.0 /* some day of November 2026 */
#define S 1e6

static struct admission_permit permits[ADMISSION_PERMITS_MAX];

static uint64_t
random_next(uint64_t *state)
{
	uint64_t x = (*state += 0x9e3779b97f4a7c15u);

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static double
between(uint64_t *state, double low, double high)
{
	return low + (high - low) * ((double)(random_next(state) >> 11) / 9007199254740992.0);
}

static size_t
ask(struct admission *a, double now, uint32_t lanes, uint32_t each, uint32_t max, double *wake)
{
	struct admission_want wants[64];

	for (uint32_t i = 0; i < lanes; i++)
		wants[i] = (struct admission_want){ .lane = i, .count = each };
	return admission_reserve(a,
	    &(struct admission_ask){
		.now = now, .horizon = S, .wants = wants, .want_count = lanes, .max = max },
	    permits, wake);
}

static void
test_one_lane_keeps_its_line(void **state)
{
	struct admission *a = admission_new();
	struct admission_row row = { START, START + 900 * S, 10000 };
	struct err err;
	double wake, last = 0;
	size_t n = 0;

	(void)state;
	assert_int_equal(admission_add_lane(a, NULL, 0), 0);
	assert_int_equal(admission_plan_lane(a, 1, 0, &row, 1, &err), 0);
	for (double now = START; now < START + 10 * S; now += S / 4) {
		size_t k = ask(a, now, 1, 1000, 1000, &wake);

		for (size_t i = 0; i < k; i++, n++) {
			assert_true(
			    fabs(permits[i].at - (START + ((double)n + 0.5) * 10000)) < 0.1);
			assert_true(permits[i].at >= now && permits[i].at < now + S);
			assert_true(permits[i].at > last);
			last = permits[i].at;
		}
	}
	assert_int_equal(n, 1075); /* 9.75 s and the horizon */
	admission_free(a);
}

static void
test_no_credit_after_silence(void **state)
{
	struct admission *a = admission_new();
	struct admission_row row = { START, START + 3600 * S, 10000 };
	struct err err;
	double wake;
	size_t n;

	(void)state;
	assert_int_equal(admission_add_lane(a, NULL, 0), 0);
	assert_int_equal(admission_plan_lane(a, 1, 0, &row, 1, &err), 0);
	(void)ask(a, START, 1, 1000, 1000, &wake);
	n = ask(a, START + 600 * S, 1, 1000, 1000, &wake);
	assert_in_range(n, 100, 106); /* 100 a second, and what a lag allows: 1/0.96 */
	assert_true(permits[1].at - permits[0].at >= 4600 - 0.1);
	for (size_t i = 2; i < n; i++)
		assert_true(permits[i].at - permits[i - 1].at >= 9600 - 0.1);
	admission_forget(a);
	/* what was handed out may still be leaving */
	assert_int_equal(ask(a, START + 600 * S, 1, 1000, 1000, &wake), 0);
	assert_true(wake == START + 601 * S);
	n = ask(a, START + 601 * S, 1, 1000, 1000, &wake);
	assert_int_equal(n, 100); /* nothing known: paced from now on */
	admission_free(a);
}

/* After an hour of silence no more than a minute of it is ever made up for. */
static void
test_little_is_made_up_for(void **state)
{
	struct admission *a = admission_new();
	struct admission_row row = { START, START + 7200 * S, S };
	struct err err;
	double wake;
	size_t n = 0;

	(void)state;
	assert_int_equal(admission_add_lane(a, NULL, 0), 0);
	assert_int_equal(admission_plan_lane(a, 1, 0, &row, 1, &err), 0);
	(void)ask(a, START, 1, 1000, 1000, &wake);
	for (int i = 3600; i < 6600; i++)
		n += ask(a, START + i * S, 1, 1000, 1000, &wake);
	assert_in_range(n, 3000, 3062);
	admission_free(a);
}

/* Permits that passed unused are made up for, no faster than what is late ever is. */
static void
test_missed_permits_come_again(void **state)
{
	struct admission *a = admission_new();
	struct admission_row row = { START, START + 900 * S, 10000 };
	struct admission_want want = { .count = 1000 };
	struct admission_ask question = {
		.horizon = S, .wants = &want, .want_count = 1, .max = ADMISSION_PERMITS_MAX
	};
	struct err err;
	double wake, last = 0;
	size_t n = 0;

	(void)state;
	assert_int_equal(admission_add_lane(a, NULL, 0), 0);
	assert_int_equal(admission_plan_lane(a, 1, 0, &row, 1, &err), 0);
	for (question.now = START; question.now < START + 60 * S; question.now += S / 2) {
		size_t k = admission_reserve(a, &question, permits, &wake);

		want.missed = question.now < START + 10 * S ? 3 : 0; /* 20 calls */
		for (size_t i = 0; i < k; i++, n++) {
			assert_true(permits[i].at - last >= 4600 - 0.1);
			last = permits[i].at;
		}
	}
	assert_in_range(n, 6050 + 60 - 1, 6050 + 60);
	admission_free(a);
}

static void
test_nothing_outside_the_calendar(void **state)
{
	struct admission *a = admission_new();
	struct admission_row rows[] = { { START, START + S, 1000 },
		{ START + 60 * S, START + 61 * S, 1000 } };
	struct err err;
	double wake;
	size_t n;

	(void)state;
	assert_int_equal(admission_add_lane(a, NULL, 0), 0);
	assert_int_equal(ask(a, START, 1, 10, 10, &wake), 0); /* no calendar, no permit */
	assert_true(wake == START + 0.25 * S);
	assert_int_equal(admission_plan_lane(a, 5, 0, rows, 2, &err), 0);
	assert_int_equal(ask(a, START, 1, 4000, 4000, &wake), 1000);
	assert_int_equal(ask(a, START + 2 * S, 1, 4000, 4000, &wake), 0);
	assert_true(wake == START + 3 * S);
	n = ask(a, START + 60 * S, 1, 4000, 4000, &wake);
	assert_int_equal(n, 1000); /* none was saved up */
	assert_true(permits[0].at >= START + 60 * S);
	assert_int_equal(ask(a, START + 62 * S, 1, 4000, 4000, &wake), 0);
	assert_true(wake == START + 62.5 * S); /* it is over: there is no hurry */
	/* an older planner is not heard */
	assert_int_equal(admission_plan_lane(a, 4, 0, rows, 2, &err), -1);
	assert_int_equal(admission_plan_lane(a, 5, 0, rows, 2, &err), 0);
	rows[1].from = START;
	assert_int_equal(admission_plan_lane(a, 6, 0, rows, 2, &err), -1);
	rows[0].interval = 0;
	assert_int_equal(admission_plan_lane(a, 6, 0, rows, 1, &err), -1);
	admission_free(a);
}

static void
test_slow_lane_over_many_short_calendars(void **state)
{
	struct admission *a = admission_new();
	struct err err;
	double wake, first = 0, last = 0;
	size_t n = 0;

	(void)state;
	assert_int_equal(admission_add_lane(a, NULL, 0), 0);
	/* 3 an hour, calendars of 15 minutes: what is left of an interval counts on */
	for (double now = START; now < START + 6 * 3600 * S; now += S) {
		if (fmod(now - START, 60 * S) == 0) {
			struct admission_row row = { now - 60 * S, now + 900 * S, 1200 * S };

			assert_int_equal(admission_plan_lane(a, 1, 0, &row, 1, &err), 0);
		}
		if (ask(a, now, 1, 1, 1, &wake) == 1) {
			first = n++ == 0 ? permits[0].at : first;
			last = permits[0].at;
		}
	}
	assert_int_equal(n, 18);
	assert_true(fabs(first - START - 600 * S) < 1 && fabs(last - first - 17 * 1200 * S) < 1);
	admission_free(a);
}

static void
test_shared_limits_hold_in_every_window(void **state)
{
	struct admission *a = admission_new();
	struct admission_row account = { START, START + 900 * S, 2000 };
	struct admission_row group = { START, START + 900 * S, 10000 };
	struct admission_row lane = { START, START + 900 * S, 12500 };
	double wake[3] = { START, START, START }, last = 0, last_of_group = 0;
	size_t n = 0, of[8] = { 0 };
	struct err err;
	int g;

	(void)state;
	g = admission_add_limiter(a);
	assert_int_equal(admission_plan_limiter(a, 1, -1, &account, 1, &err), 0);
	assert_int_equal(admission_plan_limiter(a, 1, g, &group, 1, &err), 0);
	for (int i = 0; i < 8; i++) { /* 640/s wanted, 500/s allowed; lanes 0 and 1 share 100/s */
		assert_int_equal(admission_add_lane(a, &g, i < 2 ? 1 : 0), i);
		assert_int_equal(admission_plan_lane(a, 1, i, &lane, 1, &err), 0);
	}
	for (double now = START; now < START + 60 * S; now += S / 50)
		for (int d = 0; d < 3; d++) { /* three dispatchers */
			if (now < wake[d])
				continue;
			size_t k = ask(a, now, 8, 100, 64, &wake[d]);

			for (size_t i = 0; i < k; i++, n++) {
				assert_true(permits[i].at - last >= 2000 - 0.1);
				last = permits[i].at;
				of[permits[i].lane]++;
				if (permits[i].lane >= 2)
					continue;
				assert_true(permits[i].at - last_of_group >= 10000 - 0.1);
				last_of_group = permits[i].at;
			}
		}
	assert_in_range(n, 29900, 30550);
	assert_in_range(of[0] + of[1], 5500, 6110);
	admission_free(a);
}

static void
test_quota_of_any_day(void **state)
{
	struct admission *a = admission_new();
	struct admission_row row = { START, START + 3 * 86400 * S, 1e4 };
	uint32_t *minutes = calloc(3 * 1440 + 2, sizeof(*minutes));
	struct err err;
	double wake;
	size_t all = 0;

	(void)state;
	assert_non_null(minutes);
	assert_int_equal(admission_add_lane(a, NULL, 0), 0);
	assert_int_equal(admission_plan_lane(a, 1, 0, &row, 1, &err), 0);
	admission_set_quota(a, 2000, 500, START);
	for (double now = START; now < START + 3 * 86400 * S; now += 20 * S) {
		size_t k = ask(a, now, 1, 1, 1, &wake);

		all += k;
		if (k == 1)
			minutes[(int)((permits[0].at - START) / 60e6)]++;
	}
	for (int m = 0; m + 1440 <= 3 * 1440; m++) {
		uint64_t sum = 0;

		for (int k = m; k < m + 1440; k++)
			sum += minutes[k];
		assert_true(sum <= 2000);
	}
	for (int k = 0, sum = 0; k < 1440; k++)
		assert_true((sum += (int)minutes[k]) <= 1500); /* 500 had gone before */
	assert_true(all > 4000);
	free(minutes);
	admission_free(a);
}

static int
by_time(const void *x, const void *y)
{
	const double *a = x, *b = y;

	return (*a > *b) - (*a < *b);
}

/* Bulk that reserves as far ahead as it may, and now and then an urgent message: it gets the first
 * free moment of its own share, and both together stay below the limit. */
static void
test_urgent_waits_for_nobody(void **state)
{
	struct admission *a = admission_new();
	struct admission_row others = { START, START + 900 * S, 20000 / 0.9 };
	struct admission_row share = { START, START + 900 * S, 20000 / 0.1 };
	struct admission_row open = { START, START + 900 * S, 1 };
	static double all[8192];
	struct err err;
	double wake, next = START + 2.345 * S, worst = 0;
	size_t n = 0, sent = 0, bulk = 0;
	int limiter;

	(void)state;
	limiter = admission_add_limiter(a);
	assert_int_equal(admission_add_lane(a, NULL, 0), 0);
	assert_int_equal(admission_add_lane(a, &limiter, 1), 1);
	admission_set_urgent(a, 1, true);
	assert_int_equal(admission_plan_limiter(a, 1, -1, &others, 1, &err), 0);
	assert_int_equal(admission_plan_limiter(a, 1, limiter, &share, 1, &err), 0);
	assert_int_equal(admission_plan_lane(a, 1, 0, &open, 1, &err), 0);
	assert_int_equal(admission_plan_lane(a, 1, 1, &open, 1, &err), 0);
	for (double now = START; now < START + 60 * S; now += S / 100) {
		bool asked = now >= next;
		struct admission_want wants[] = { { 0, 1000, 0 }, { 1, asked, 0 } };
		size_t k = admission_reserve(a,
		    &(struct admission_ask){
			.now = now, .horizon = S, .wants = wants, .want_count = 2, .max = 1000 },
		    permits, &wake);

		for (size_t i = 0; i < k; i++) {
			all[n++] = permits[i].at;
			if (permits[i].lane == 0) {
				bulk++;
				continue;
			}
			worst = fmax(worst, permits[i].at - next);
			next += 0.777 * S;
			sent++;
		}
	}
	assert_in_range(sent, 70, 76);
	assert_true(worst <= S / 100 + 1); /* the step of this test */
	assert_in_range(bulk, 45 * 59, 45 * 62);
	/* in no window of a second more than its 50, and one for each of the two clocks */
	qsort(all, n, sizeof(all[0]), by_time);
	for (size_t i = 0; i + 52 < n; i++)
		assert_true(all[i + 52] - all[i] > S);
	admission_free(a);
}

/* ---------------------------------------------------------------- both backends */

#define LANES 12
#define LIMITERS 6
#define FIELDS (1 + LIMITERS + LANES)

struct both {
	struct admission *a;
	struct admission_text *t; /* NULL: calendars go into `a` without their text */
	bool known[FIELDS];	  /* to t and Redis */
	struct private_redis redis;
	char plan_sha[41], quota_sha[41], return_sha[41], reserve_sha[41];
	int chain[LANES][ADMISSION_CHAIN_MAX];
	size_t chain_count[LANES];
	bool account, chained, urgent[LANES];
	uint64_t generation, random;
};

static size_t
random_rows(uint64_t *r, double now, double slow, struct admission_row *rows)
{
	size_t n = random_next(r) % 6;
	double at = now - between(r, 0, 3 * S);

	for (size_t i = 0; i < n; i++) {
		rows[i].from = at + (random_next(r) % 2 == 0 ? 0 : between(r, 0, S));
		rows[i].till = rows[i].from + between(r, 0.05 * S, 4 * S);
		rows[i].interval = between(r, slow / 20, slow);
		at = rows[i].till;
	}
	return n;
}

static void
publish(struct both *b, const char *field, const char *chain, const struct admission_row *rows,
    size_t n, double now)
{
	char generation[24], time[32];
	const char *argv[] = { "{p:t}:pace", generation, time, field, NULL };
	struct buf text;
	redisReply *reply;

	buf_init(&text, 1 << 16);
	calendar_text(&text, chain, rows, n);
	argv[4] = buf_str(&text);
	(void)snprintf(generation, sizeof(generation), "%d", (int)b->generation);
	(void)snprintf(time, sizeof(time), "%.17g", now);
	reply = redis_script(&b->redis, b->plan_sha, embed_common_lua_plan_lua, 1, 5, argv);
	assert_non_null(reply);
	assert_int_equal(reply->type, REDIS_REPLY_INTEGER);
	assert_int_equal(reply->integer, 1);
	freeReplyObject(reply);
	buf_release(&text);
}

/* ---- publications as texts ---- */

static void
field_name(int i, char name[16])
{
	if (i == 0)
		(void)snprintf(name, 16, "a");
	else if (i <= LIMITERS)
		(void)snprintf(name, 16, "g:%d", i - 1);
	else
		(void)snprintf(name, 16, "l:%d", i - 1 - LIMITERS);
}

/* A calendar; of a lane with urgency and limiters that may change each time. Now and then none. */
static void
random_value(struct both *b, int i, double now, struct buf *value)
{
	struct admission_row rows[8];
	bool is_lane = i > LIMITERS;
	double slow = i == 0 ? 2e4 : is_lane && i % 3 == 0 ? 3e6 : 1e5;
	char chain[64] = "";
	size_t n;

	if (random_next(&b->random) % 16 == 0)
		return;
	if (is_lane && random_next(&b->random) % 6 == 0)
		(void)snprintf(chain, sizeof(chain), "!");
	for (int k = 0, count = 0; is_lane && k < LIMITERS && count < ADMISSION_CHAIN_MAX; k++)
		if (random_next(&b->random) % 3 == 0)
			(void)snprintf(chain + strlen(chain), sizeof(chain) - strlen(chain),
			    "%sg:%d", count++ > 0 ? "," : "", k);
	n = random_rows(&b->random, now, slow, rows);
	calendar_text(value, chain, rows, n);
}

/* One publication to both, with clocks that go back; some of what was known is left out, which the
 * pacer tells Redis with an empty calendar. Now and then it is an old planner's, and changes nothing. */
static void
random_publication(struct both *b, double now)
{
	struct buf values[FIELDS];
	char names[FIELDS][16], generation[24], time[32];
	const char *argv[4 + 2 * FIELDS] = { "{p:t}:pace", "{p:t}:next", generation, time };
	bool old = b->generation > 0 && random_next(&b->random) % 8 == 0;
	uint64_t number = old ? b->generation - 1 : ++b->generation;
	redisReply *reply;
	struct err err;
	int argc = 4;

	(void)snprintf(generation, sizeof(generation), "%d", (int)number);
	(void)snprintf(time, sizeof(time), "%.17g", now);
	for (int i = 0; i < FIELDS; i++) {
		bool named = random_next(&b->random) % 8 != 0;

		buf_init(&values[i], 1 << 16);
		field_name(i, names[i]);
		if (named) {
			random_value(b, i, now, &values[i]);
			assert_int_equal(admission_text_put(b->t, number, now, names[i],
					     buf_str(&values[i]), &err),
			    old ? -1 : 0);
		}
		if (named || b->known[i]) {
			argv[argc++] = names[i];
			argv[argc++] = buf_str(&values[i]);
		}
		b->known[i] = old ? b->known[i] : buf_str(&values[i])[0] != '\0';
	}
	if (!old)
		admission_text_end(b->t);
	b->account = b->known[0];
	reply = redis_script(&b->redis, b->plan_sha, embed_common_lua_plan_lua, 2, argc, argv);
	assert_non_null(reply);
	assert_int_equal(reply->type, REDIS_REPLY_INTEGER);
	assert_int_equal(reply->integer, !old);
	freeReplyObject(reply);
	for (int i = 0; i < FIELDS; i++)
		buf_release(&values[i]);
}

/* Some of n permits were of no use. */
static void
return_some(struct both *b, size_t n, double now)
{
	size_t unused = n > 0 ? random_next(&b->random) % n : 0;
	char count[24], time[32];
	const char *argv[] = { "{p:t}:quota", count, time };

	(void)snprintf(count, sizeof(count), "%zu", unused);
	(void)snprintf(time, sizeof(time), "%.17g", now);
	admission_return_quota(b->a, unused, now);
	freeReplyObject(
	    redis_script(&b->redis, b->return_sha, embed_common_lua_quota_return_lua, 1, 3, argv));
}

static void
random_calendars(struct both *b, double now)
{
	struct admission_row rows[8];
	bool alike =
	    random_next(&b->random) % 3 == 0; /* lanes, which are due at the same moments */
	struct err err;
	size_t n;
	char field[16], chain[64];

	b->generation++;
	if (b->account) {
		n = random_rows(&b->random, now, 2e4, rows);
		assert_int_equal(admission_plan_limiter(b->a, b->generation, -1, rows, n, &err), 0);
		publish(b, "a", "", rows, n, now);
	}
	for (int i = 0; i < LIMITERS; i++) {
		n = random_rows(&b->random, now, 1e5, rows);
		assert_int_equal(admission_plan_limiter(b->a, b->generation, i, rows, n, &err), 0);
		(void)snprintf(field, sizeof(field), "g:%d", i);
		publish(b, field, "", rows, n, now);
	}
	for (int i = 0; i < LANES; i++) {
		if (i == 0 || !alike)
			n = random_rows(&b->random, now, i % 3 == 0 && !alike ? 3e6 : 1e5, rows);
		assert_int_equal(admission_plan_lane(b->a, b->generation, i, rows, n, &err), 0);
		(void)snprintf(chain, sizeof(chain), "%s", b->urgent[i] ? "!" : "");
		for (size_t k = 0; k < b->chain_count[i]; k++)
			(void)snprintf(chain + strlen(chain), sizeof(chain) - strlen(chain),
			    "%sg:%d", k > 0 ? "," : "", b->chain[i][k]);
		(void)snprintf(field, sizeof(field), "l:%d", i);
		publish(b, field, chain, rows, n, now);
	}
}

/* A pool without calendars. */
static void
begin_pool(struct both *b, bool texts)
{
	if (texts) {
		char name[16];

		b->t = admission_text_new();
		b->a = admission_text_pool(b->t);
		b->chained = true;
		memset(b->known, 0, sizeof(b->known));
		for (int i = 0; i < LANES; i++) {
			field_name(1 + LIMITERS + i, name);
			assert_int_equal(admission_text_lane(b->t, name), i);
		}
		return;
	}
	b->a = admission_new();
	b->chained = random_next(&b->random) % 3 != 0;
	b->account = b->chained && random_next(&b->random) % 3 != 0;
	for (int i = 0; i < LIMITERS; i++)
		assert_int_equal(admission_add_limiter(b->a), i);
	for (int i = 0; i < LANES; i++) {
		b->chain_count[i] =
		    b->chained ? random_next(&b->random) % (ADMISSION_CHAIN_MAX + 1) : 0;
		/* any, in any order; now and then one of them twice */
		for (size_t k = 0; k < b->chain_count[i]; k++)
			b->chain[i][k] = (int)(random_next(&b->random) % LIMITERS);
		assert_int_equal(admission_add_lane(b->a, b->chain[i], b->chain_count[i]), i);
		b->urgent[i] = random_next(&b->random) % 6 == 0;
		admission_set_urgent(b->a, i, b->urgent[i]);
	}
}

static void
end_pool(struct both *b)
{
	if (b->t != NULL)
		admission_text_free(b->t);
	else
		admission_free(b->a);
	b->t = NULL;
	b->a = NULL;
}

static void
publish_any(struct both *b, double now)
{
	if (b->t != NULL)
		random_publication(b, now);
	else
		random_calendars(b, now);
}

static void
begin(struct both *b, bool texts, double now)
{
	uint64_t limit = random_next(&b->random) % 3 == 0 ? 3000 : 0;
	char text[24], time[32];
	char minute[24];
	const char *argv[] = { "{p:t}:quota", text, "17", time, minute, "5" };

	b->generation = 0;
	freeReplyObject(redisCommand(b->redis.c, "FLUSHALL"));
	begin_pool(b, texts);
	admission_forget(b->a); /* the script cannot know that the pool is new */
	admission_set_quota(b->a, limit, 0, now);
	admission_put_quota(b->a, (int64_t)floor(now / 60e6) - 700, 5, now);
	admission_set_quota(b->a, limit, 17, now);
	(void)snprintf(minute, sizeof(minute), "%.0f", floor(now / 60e6) - 700);
	(void)snprintf(text, sizeof(text), "%d", (int)limit);
	(void)snprintf(time, sizeof(time), "%.17g", now);
	freeReplyObject(
	    redis_script(&b->redis, b->quota_sha, embed_common_lua_quota_lua, 1, 6, argv));
	publish_any(b, now);
}

static int
by_lane(const void *x, const void *y)
{
	const struct admission_permit *a = x, *b = y;

	return a->lane != b->lane ? (a->lane < b->lane ? -1 : 1)
				  : (a->at > b->at) - (a->at < b->at);
}

/* One call with random wants to both; returns how many permits both gave. */
static size_t
compare_call(struct both *b, double now)
{
	struct admission_want wants[LANES];
	char numbers[LANES][3][16], horizon[32], max[16], time[32];
	const char *argv[6 + 3 * LANES] = { "{p:t}:pace", "{p:t}:next", "{p:t}:quota", horizon, max,
		time };
	struct admission_ask question = { .now = now,
		.horizon = floor(between(&b->random, 1e4, S)),
		.wants = wants,
		.max = (uint32_t)(random_next(&b->random) % (b->chained ? 200 : 4000) + 1) };
	static struct admission_permit others[ADMISSION_PERMITS_MAX];
	redisReply *reply;
	double wake;
	size_t n;
	int argc = 6;

	for (uint32_t i = 0; i < LANES; i++) {
		if (random_next(&b->random) % 4 == 0)
			continue;
		wants[question.want_count] = (struct admission_want){ .lane = i,
			.count = (uint32_t)(random_next(&b->random) % 40),
			.missed = (uint32_t)(random_next(&b->random) % 8 == 0
				? random_next(&b->random) % 20
				: 0) };
		(void)snprintf(numbers[i][0], 16, "%u", i);
		(void)snprintf(numbers[i][1], 16, "%u", wants[question.want_count].count);
		(void)snprintf(numbers[i][2], 16, "%u", wants[question.want_count++].missed);
		for (int k = 0; k < 3; k++)
			argv[argc++] = numbers[i][k];
	}
	(void)snprintf(horizon, sizeof(horizon), "%.17g", question.horizon);
	(void)snprintf(max, sizeof(max), "%u", question.max);
	(void)snprintf(time, sizeof(time), "%.17g", now);
	n = admission_reserve(b->a, &question, permits, &wake);
	reply =
	    redis_script(&b->redis, b->reserve_sha, embed_common_lua_reserve_lua, 3, argc, argv);
	assert_non_null(reply);
	if (reply->type == REDIS_REPLY_ERROR)
		fail_msg("%s", reply->str);
	assert_int_equal(reply->type, REDIS_REPLY_ARRAY);
	assert_int_equal(reply->elements, 3);
	assert_int_equal(reply->element[2]->len, n * PERMIT_BYTES);
	assert_int_equal(reply->element[1]->integer, (long long)floor(wake - now));
	for (size_t i = 0; i < n; i++) {
		size_t place;
		uint64_t offset;

		assert_true(
		    permit_read(reply->element[2]->str + i * PERMIT_BYTES, &place, &offset));
		others[i].lane = wants[place].lane;
		others[i].at = (double)offset;
	}
	if (!b->account) { /* the script may go lane by lane */
		qsort(others, n, sizeof(others[0]), by_lane);
		qsort(permits, n, sizeof(permits[0]), by_lane);
	}
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(others[i].lane, permits[i].lane);
		assert_true(others[i].at == floor(permits[i].at - now));
	}
	freeReplyObject(reply);
	return n;
}

static void
compare_calls(bool texts)
{
	const char *text = getenv("KAIRAN_ADMISSION_CALLS");
	long calls = text != NULL ? strtol(text, NULL, 10) : 6000;
	struct both b = { .random = 20261121 };
	size_t granted = 0, empty = 0;
	double now = START;

	if (!private_redis_start(&b.redis)) {
		print_message("# skipped: redis-server cannot be started\n");
		skip();
	}
	for (long i = 0; i < calls; i++) {
		size_t n;

		if (i % 300 == 0) {
			end_pool(&b);
			begin(&b, texts, now);
		} else if (i % (texts ? 7 : 25) == 0) {
			publish_any(&b, now);
		}
		if (i % 77 == 0) { /* Redis lost its state, and its scripts */
			freeReplyObject(redisCommand(b.redis.c, "SCRIPT FLUSH"));
			freeReplyObject(redisCommand(b.redis.c, "DEL {p:t}:next"));
			admission_forget(b.a);
		}
		n = compare_call(&b, now);
		if (texts)
			return_some(&b, n, now);
		granted += n;
		empty += n == 0;
		now += floor(between(&b.random, 0, i % 500 == 0 ? 90000 * S : 0.4 * S));
	}
	print_message("# %ld calls, %zu permits, %zu calls without one\n", calls, granted, empty);
	assert_true(granted > (size_t)calls * 2 && empty < (size_t)calls);
	end_pool(&b);
	private_redis_stop(&b.redis);
}

static void
test_both_backends_grant_the_same(void **state)
{
	(void)state;
	compare_calls(false);
}

/* What plan.lua makes of a publication, admission_text.c does too. */
static void
test_both_read_publications_alike(void **state)
{
	(void)state;
	compare_calls(true);
}

/* A call may name more lists and limiters than Lua passes as arguments. */
#define MANY 3000

static void
test_thousands_of_lists(void **state)
{
	static char fields[2 * MANY][16], values[2 * MANY][80];
	static const char *plan[4 + 4 * MANY] = { "{p:t}:pace", "{p:t}:next", "1", "0" };
	static const char *call[6 + 3 * MANY] = { "{p:t}:pace", "{p:t}:next", "{p:t}:quota",
		"1000000", "4096", NULL };
	char plan_sha[41] = "", reserve_sha[41] = "";
	static const char *const clocks[] = { "28000000000000", "28000001000000" };
	struct private_redis r;

	(void)state;
	if (!private_redis_start(&r)) {
		print_message("# skipped: redis-server cannot be started\n");
		skip();
	}
	for (int i = 0; i < 2 * MANY; i++) {
		(void)snprintf(
		    fields[i], sizeof(fields[i]), "%s:%d", i < MANY ? "l" : "g", i % MANY);
		(void)snprintf(
		    values[i], sizeof(values[i]), "%.*s|1,1e15,1000;", i < MANY ? 6 : 0, fields[i]);
		if (i < MANY)
			values[i][0] = 'g';
		plan[4 + 2 * i] = fields[i];
		plan[5 + 2 * i] = values[i];
	}
	for (int i = 0; i < MANY; i++) {
		call[6 + 3 * i] = fields[i] + 2;
		call[7 + 3 * i] = "1";
		call[8 + 3 * i] = "0";
	}
	freeReplyObject(
	    redis_script(&r, plan_sha, embed_common_lua_plan_lua, 2, 4 + 4 * MANY, plan));
	for (int i = 0; i < 2; i++) { /* a new pool gives nothing for a second */
		redisReply *reply;

		call[5] = clocks[i];
		reply = redis_script(
		    &r, reserve_sha, embed_common_lua_reserve_lua, 3, 6 + 3 * MANY, call);
		assert_non_null(reply);
		if (reply->type == REDIS_REPLY_ERROR)
			fail_msg("%s", reply->str);
		assert_int_equal(
		    reply->element[2]->len, (size_t)(i == 0 ? 0 : MANY) * PERMIT_BYTES);
		freeReplyObject(reply);
	}
	private_redis_stop(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_lane_keeps_its_line),
		cmocka_unit_test(test_no_credit_after_silence),
		cmocka_unit_test(test_little_is_made_up_for),
		cmocka_unit_test(test_missed_permits_come_again),
		cmocka_unit_test(test_nothing_outside_the_calendar),
		cmocka_unit_test(test_slow_lane_over_many_short_calendars),
		cmocka_unit_test(test_shared_limits_hold_in_every_window),
		cmocka_unit_test(test_quota_of_any_day),
		cmocka_unit_test(test_urgent_waits_for_nobody),
		cmocka_unit_test(test_both_backends_grant_the_same),
		cmocka_unit_test(test_both_read_publications_alike),
		cmocka_unit_test(test_thousands_of_lists),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
