/* SPDX-License-Identifier: Apache-2.0 */
/* pacer: see pacer.h. */
#include "pacer.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "braker.h"
#include "embed.h"
#include "keys.h"
#include "log.h"
#include "rds.h"
#include "hash.h"

#define KNOWN (-1)

struct pacer {
	const struct policy *policy;
	const struct braker *brakes; /* NULL: none */
	struct quota quota;	     /* as of quota_now */
	double quota_now;
	struct publication_past past;
	uint64_t signature;
	long takeover_s;
	int64_t planned_ms; /* 0: never */
	int64_t refused_ms; /* since when; 0: not */
};

struct pacer *
pacer_new(const struct policy *policy, const struct braker *brakes, long takeover_s)
{
	struct pacer *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->policy = policy;
	p->brakes = brakes;
	p->takeover_s = takeover_s;
	return p;
}

void
pacer_set_quota(struct pacer *p, const struct quota *quota, double now)
{
	p->quota = *quota;
	p->quota_now = now;
}

void
pacer_free(struct pacer *p)
{
	if (p != NULL)
		publication_past_release(&p->past);
	free(p);
}

static int64_t
now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Changes when the plan must. */
static uint64_t
signature_of(const struct pacer *p, const struct pacer_run *runs, size_t count)
{
	uint64_t h = HASH_START + policy_version(p->policy);

	h = hash_step(h, p->brakes != NULL ? braker_version(p->brakes) : 0);
	for (size_t i = 0; i < count; i++) {
		uint64_t rate;

		memcpy(&rate, &runs[i].per_s, sizeof(rate));
		h = hash_step(h, (uint64_t)runs[i].id);
		h = hash_step(h, rate ^ rate >> 32);
		h = hash_step(h, pacer_run_is_active(&runs[i]));
		h = hash_step(h, runs[i].lane_count);
		h = hash_step(h, (uint64_t)runs[i].class + 4 * (uint64_t)runs[i].weight);
		h = hash_step(h, runs[i].reserve);
		h = hash_step(h, (uint64_t)(runs[i].until / 1e6));
		h = hash_step(h, (uint64_t)(runs[i].quiet_from * 1440 + runs[i].quiet_till));
	}
	return h;
}

/* ---- Redis ---- */

static int
redis_failed(redisContext *redis, const redisReply *reply, const char *doing, struct err *err)
{
	return err_set(err, "%s: %s", doing,
	    reply != NULL && reply->type == REDIS_REPLY_ERROR ? reply->str : redis->errstr);
}

static int
compare_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Fields that this plan does not have any more are given an empty calendar. */
static int
put_stale(struct publication *b, redisContext *redis, struct err *err)
{
	redisReply *reply = redisCommand(redis, "HKEYS " KEY_PACE, POLICY_POOL);
	size_t fields = b->args / 2;
	const char **known = calloc(fields + 1, sizeof(*known));
	int result = 0;

	if (reply == NULL || reply->type != REDIS_REPLY_ARRAY)
		result = redis_failed(redis, reply, "reading the pace", err);
	else if (known == NULL)
		result = err_set(err, "no memory");
	for (size_t i = 0; result == 0 && i < fields; i++)
		known[i] = publication_arg(b, 2 * i);
	if (result == 0)
		qsort(known, fields, sizeof(*known), compare_text);
	/* in two turns, since adding moves the text that `known` points into */
	for (size_t i = 0; result == 0 && i < reply->elements; i++) {
		const char *field = reply->element[i]->str;

		if (field == NULL || strcmp(field, "#") == 0 ||
		    bsearch(&field, known, fields, sizeof(*known), compare_text) != NULL)
			reply->element[i]->integer = KNOWN;
	}
	for (size_t i = 0; result == 0 && i < reply->elements; i++) {
		if (reply->element[i]->integer == KNOWN)
			continue;
		publication_put(b, reply->element[i]->str, "");
	}
	free(known);
	freeReplyObject(reply);
	return result;
}

/* 1 when it is published, 0 when a newer generation has been. */
static int
publish(struct publication *b, redisContext *redis, int64_t generation, struct err *err)
{
	char pace[KEY_MAX], next[KEY_MAX], number[24];
	const char *head[] = { "EVAL", embed_common_lua_plan_lua, "2", pace, next, number, "-" };
	size_t fixed = sizeof(head) / sizeof(head[0]);
	const char **argv = calloc(fixed + b->args, sizeof(*argv));
	redisReply *reply = NULL;
	int result = -1;

	(void)snprintf(pace, sizeof(pace), KEY_PACE, POLICY_POOL);
	(void)snprintf(next, sizeof(next), KEY_NEXT, POLICY_POOL);
	(void)snprintf(number, sizeof(number), "%lld", (long long)generation);
	if (argv == NULL)
		return err_set(err, "no memory");
	memcpy(argv, head, sizeof(head));
	for (size_t i = 0; i < b->args; i++)
		argv[fixed + i] = publication_arg(b, i);
	reply = redisCommandArgv(redis, (int)(fixed + b->args), argv, NULL);
	if (reply == NULL || reply->type != REDIS_REPLY_INTEGER)
		result = redis_failed(redis, reply, "publishing the pace", err);
	else
		result = reply->integer == 1;
	freeReplyObject(reply);
	free(argv);
	return result;
}

/* While we hold the lease nobody can have a higher epoch, unless he read it in another database:
 * one that lost commits, or that uses this Redis as well. */
static int
yield(struct pacer *p, redisContext *redis, struct err *err)
{
	redisReply *reply;

	if (p->refused_ms == 0) {
		log_warn(
		    "a calendar of a newer producer is there; waiting %ld s for it", p->takeover_s);
		p->refused_ms = now_ms();
	}
	p->planned_ms = 0;
	if (now_ms() - p->refused_ms < p->takeover_s * 1000)
		return 0;
	log_error("the calendar in Redis is of a producer that our database does not know; taking "
		  "over. If another installation uses this Redis, give it a database of its own");
	p->refused_ms = 0;
	reply = redisCommand(redis, "HDEL " KEY_PACE " #", POLICY_POOL);
	if (reply == NULL)
		return redis_failed(redis, reply, "taking over the pace", err);
	freeReplyObject(reply);
	return 0;
}

static const struct brake *
find_brake(const void *brakes, const char *name)
{
	return braker_find(brakes, name);
}

static int
plan_and_publish(struct pacer *p, redisContext *redis, int64_t generation,
    const struct pacer_run *runs, size_t count, struct err *err)
{
	struct publication_request request = { .policy = p->policy,
		.find_brake = p->brakes != NULL ? find_brake : NULL,
		.brakes = p->brakes,
		.quota = &p->quota,
		.quota_now = p->quota_now,
		.runs = runs,
		.count = count };
	struct publication b = { 0 };
	int result = rds_time(redis, &request.now, err);

	if (result == 0)
		result = publication_make(&b, &p->past, &request, err);
	if (result == 0)
		result = put_stale(&b, redis, err);
	if (result == 0 && publication_failed(&b))
		result = err_set(err, "no memory for the pace");
	if (result == 0)
		result = publish(&b, redis, generation, err);
	publication_release(&b);
	if (result == 0)
		return yield(p, redis, err);
	if (result < 0)
		return -1;
	p->refused_ms = 0;
	p->planned_ms = now_ms();
	return 0;
}

int
pacer_round(struct pacer *p, redisContext *redis, int64_t generation, const struct pacer_run *runs,
    size_t count, struct err *err)
{
	uint64_t signature = signature_of(p, runs, count);
	redisReply *reply;
	bool there;

	if (count == 0)
		return 0;
	reply = redisCommand(redis, "EXISTS " KEY_PACE, POLICY_POOL);
	if (reply == NULL || reply->type != REDIS_REPLY_INTEGER) {
		int result = redis_failed(redis, reply, "looking at the pace", err);

		freeReplyObject(reply);
		return result;
	}
	there = reply->integer == 1;
	freeReplyObject(reply);
	if (there && signature == p->signature && p->planned_ms != 0 &&
	    now_ms() - p->planned_ms < PACER_EVERY_MS)
		return 0;
	p->signature = signature;
	return plan_and_publish(p, redis, generation, runs, count, err);
}
