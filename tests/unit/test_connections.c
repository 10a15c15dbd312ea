/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connections: who is granted what; the script in a real Redis grants the same as the twin in memory;
 * and with both sides of the rules several dispatchers never have more open than the limit, whatever
 * becomes of Redis, of their way to it, and of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "admission_redis.h"
#include "connections.h"
#include "embed.h"

#define START 28000000000000.0 /* some day of November 2026 */
#define S 1e6

static uint64_t
random_next(uint64_t *state)
{
	uint64_t x = (*state += 0x9e3779b97f4a7c15u);

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static unsigned
below(uint64_t *state, unsigned n)
{
	return (unsigned)(random_next(state) % n);
}

static unsigned
ask(struct connections *c, const char *who, double now, unsigned known, unsigned limit,
    unsigned have, unsigned want)
{
	struct connections_answer answer;

	assert_true(connections_ask(c,
	    &(struct connections_ask){ .dispatcher = who,
		.known = known,
		.now = START + now * S,
		.life = CONNECTIONS_LIFE_US,
		.destination = "mx",
		.limit = limit,
		.have = have,
		.want = want },
	    &answer));
	return answer.granted;
}

static void
test_one_has_all(void **state)
{
	struct connections *c = connections_new();

	(void)state;
	assert_int_equal(ask(c, "a", 0, 1, 4, 0, 9), 4);
	assert_int_equal(ask(c, "a", 1, 1, 4, 4, 4), 4);
	assert_int_equal(ask(c, "a", 2, 1, 4, 1, 1), 1);
	assert_int_equal(ask(c, "a", 3, 1, 2, 1, 9), 2); /* the limit was lowered */
	connections_free(c);
}

static void
test_two_share(void **state)
{
	struct connections *c = connections_new();

	(void)state;
	/* nothing is known of others for a life */
	assert_int_equal(ask(c, "a", 0, 2, 4, 0, 4), 0);
	assert_int_equal(ask(c, "b", 1, 2, 4, 1, 2), 1);
	/* b may have lost its way to Redis: its share is kept */
	assert_int_equal(ask(c, "a", 12, 2, 4, 0, 4), 2);
	assert_int_equal(ask(c, "b", 13, 2, 4, 0, 0), 0);
	/* b is here and wants none */
	assert_int_equal(ask(c, "a", 14, 2, 4, 2, 4), 4);
	/* b wants its share: a is asked to give back, b waits until it did */
	assert_int_equal(ask(c, "b", 15, 2, 4, 0, 4), 0);
	assert_int_equal(ask(c, "a", 16, 2, 4, 4, 4), 2);
	assert_int_equal(ask(c, "b", 17, 2, 4, 0, 4), 0);
	assert_int_equal(ask(c, "a", 18, 2, 4, 2, 4), 2);
	assert_int_equal(ask(c, "b", 19, 2, 4, 0, 4), 2);
	/* b is dead: its share alone is kept until it is known to be */
	assert_int_equal(ask(c, "a", 27, 2, 4, 2, 4), 2);
	assert_int_equal(ask(c, "a", 30, 2, 4, 2, 4), 2);
	assert_int_equal(ask(c, "a", 31, 1, 4, 2, 4), 4);
	/* all is forgotten: what is open stays, and no more */
	connections_forget(c);
	assert_int_equal(ask(c, "a", 40, 2, 4, 3, 4), 3);
	assert_int_equal(ask(c, "b", 41, 2, 4, 0, 4), 0);
	assert_int_equal(ask(c, "a", 49, 2, 4, 3, 4), 3);
	assert_int_equal(ask(c, "b", 51, 2, 4, 0, 4), 1);
	connections_free(c);
}

static void
test_the_holder(void **state)
{
	struct connections_hold h = { 0 };

	(void)state;
	connections_count(&h, 3);
	assert_int_equal(connections_allowed(&h, START, 10, 5), 0); /* never had an answer */
	connections_answered(&h, START);
	assert_int_equal(connections_allowed(&h, START + 4.9 * S, 10, 5), 5);
	assert_int_equal(connections_allowed(&h, START + 4.9 * S, 4, 5), 4);
	assert_int_equal(connections_allowed(&h, START + 5 * S, 10, 5), 3);
	assert_int_equal(connections_allowed(&h, START + 5 * S, 10, 1), 1);
	assert_int_equal(connections_allowed(&h, START + 15 * S, 10, 1), 3);
	connections_count(&h, 2); /* the others may not know yet */
	assert_int_equal(connections_allowed(&h, START + 15 * S, 10, 1), 3);
	connections_count(&h, 3);
	assert_int_equal(connections_allowed(&h, START + 15 * S, 2, 2), 0); /* less than one each */
}

/* ---- the script ---- */

static void
test_redis_grants_the_same(void **state)
{
	static const char *const names[] = { "1", "22", "333", "4" };
	struct private_redis redis;
	struct connections *c = connections_new();
	uint64_t seed = 7;
	double now = START;
	char sha[41] = "";
	unsigned granted = 0;

	(void)state;
	if (!private_redis_start(&redis)) {
		print_message("redis-server cannot be started: the script is not compared\n");
		connections_free(c);
		skip();
	}
	for (int turn = 0; turn < 20000; turn++) {
		struct connections_ask a = { .dispatcher = names[below(&seed, 4)],
			.known = 1 + below(&seed, 5),
			.life = CONNECTIONS_LIFE_US,
			.destination = below(&seed, 9) > 0 ? "mx" : NULL,
			.limit = 1 + below(&seed, 12),
			.have = below(&seed, 8),
			.want = below(&seed, 16) };
		char known[16], life[32], at[32], limit[16], have[16], want[16], opens[32];
		const char *argv[] = { "{p:t}:here", "{p:t}:conn:mx", a.dispatcher, known, life, at,
			limit, have, want };
		const char *sign[] = { "{p:t}:here", a.dispatcher, known, life, at };
		struct connections_answer answer;
		redisReply *reply;

		if (below(&seed, 500) == 0) {
			connections_forget(c);
			freeReplyObject(redisCommand(redis.c, "FLUSHALL"));
			freeReplyObject(redisCommand(redis.c, "SCRIPT FLUSH"));
		}
		now += below(&seed, 20) == 0 ? 6e6 : 10000;
		a.now = now;
		(void)snprintf(known, sizeof(known), "%u", a.known);
		(void)snprintf(life, sizeof(life), "%.0f", a.life);
		(void)snprintf(at, sizeof(at), "%.0f", a.now);
		(void)snprintf(limit, sizeof(limit), "%u", a.limit);
		(void)snprintf(have, sizeof(have), "%u", a.have);
		(void)snprintf(want, sizeof(want), "%u", a.want);
		assert_true(connections_ask(c, &a, &answer));
		granted += answer.granted;
		(void)snprintf(opens, sizeof(opens), "%.0f", answer.opens);
		reply = redis_script(&redis, sha, embed_common_lua_connections_lua,
		    a.destination != NULL ? 2 : 1, a.destination != NULL ? 9 : 5,
		    a.destination != NULL ? argv : sign);
		assert_non_null(reply);
		if (reply->type == REDIS_REPLY_ERROR)
			fail_msg("%s", reply->str);
		assert_int_equal(reply->elements, 4);
		assert_int_equal(reply->element[3]->integer, answer.here);
		assert_int_equal(reply->element[0]->integer, answer.granted);
		assert_int_equal(reply->element[1]->integer, answer.before);
		assert_string_equal(reply->element[2]->str, opens);
		freeReplyObject(reply);
	}
	assert_true(granted > 1000);
	private_redis_stop(&redis);
	connections_free(c);
}

/* ---- both sides together ---- */

#define DISPATCHERS 3

struct actor {
	char name[8];
	struct connections_hold hold;
	unsigned granted, open, want;
	double opens, away_until, asked_at;
	bool alive;
	double dead_at;
};

/* Closes what it may not have and opens what it may, at once. */
static void
act(struct actor *a, double now, unsigned limit)
{
	unsigned may = connections_allowed(&a->hold, now, limit, a->granted);

	if (a->open > may)
		a->open = may;
	if (a->open < may && a->open < a->want)
		a->open = may < a->want ? may : a->want;
}

static void
tell(struct connections *c, struct actor *a, double now, unsigned limit)
{
	struct connections_answer answer;

	a->asked_at = now;
	assert_true(connections_ask(c,
	    &(struct connections_ask){
		a->name, a->hold.known, now, CONNECTIONS_LIFE_US, "mx", limit, a->open, a->want },
	    &answer));
	connections_answered(&a->hold, now);
	a->granted = answer.granted;
	a->opens = answer.opens;
}

static void
test_never_more_than_the_limit(void **state)
{
	uint64_t seed = 11;
	unsigned full = 0, steps = 0;

	(void)state;
	for (int world = 0; world < 200; world++) {
		struct connections *c = connections_new();
		unsigned limit = 1 + below(&seed, 9);
		struct actor actors[DISPATCHERS] = { 0 };
		double now = START, forgotten = 0;

		for (int i = 0; i < DISPATCHERS; i++) {
			(void)snprintf(actors[i].name, sizeof(actors[i].name), "d%d", i);
			actors[i].alive = true;
		}
		for (int step = 0; step < 3000; step++, now += 0.1 * S) {
			unsigned open = 0, known = 0;

			/* everything at once is not what the rules promise: Redis forgets, or
			 * somebody cannot reach it, not both within a life */
			if (below(&seed, 600) == 0) {
				bool away = false;

				for (int i = 0; i < DISPATCHERS; i++)
					away = away ||
					    actors[i].away_until + CONNECTIONS_LIFE_US > now;
				if (!away) {
					connections_forget(c);
					forgotten = now;
				}
			}
			for (int i = 0; i < DISPATCHERS; i++) {
				struct actor *a = &actors[i];

				if (a->alive && below(&seed, 400) == 0 &&
				    now > forgotten + 2 * CONNECTIONS_LIFE_US)
					a->away_until = now + below(&seed, 40) * S;
				if (below(&seed, 900) == 0 && a->alive) {
					*a = (struct actor){ .dead_at = now, .want = 0 };
					(void)snprintf(a->name, sizeof(a->name), "d%d", i);
				} else if (!a->alive && now > a->dead_at + 60 * S &&
				    below(&seed, 50) == 0) {
					a->alive = true;
				}
				/* PostgreSQL takes a minute to believe that somebody is gone */
				known += a->alive || now < a->dead_at + 60 * S;
			}
			for (int i = 0; i < DISPATCHERS; i++) {
				struct actor *a = &actors[i];

				if (!a->alive)
					continue;
				connections_count(&a->hold, known);
				if (below(&seed, 20) == 0)
					a->want = below(&seed, 12);
				if (a->open > a->want)
					a->open = a->want;
				if (now >= a->away_until &&
				    (now - a->asked_at > 2 * S || below(&seed, 8) == 0))
					tell(c, a, now, limit);
				act(a, now, limit);
				open += a->open;
			}
			if (open > limit)
				fail_msg(
				    "world %d step %d: %u open of %u", world, step, open, limit);
			full += open == limit;
			steps++;
		}
		connections_free(c);
	}
	assert_true(full > steps / 5); /* and the limit is made use of */
	print_message("# the limit was reached in %u of %u steps\n", full, steps);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_has_all),
		cmocka_unit_test(test_two_share),
		cmocka_unit_test(test_the_holder),
		cmocka_unit_test(test_redis_grants_the_same),
		cmocka_unit_test(test_never_more_than_the_limit),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
