/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_redis_memory: what Redis keeps of a run of 10 million recipients, filled by the code that
 * fills it in production (pacer, jobs, the scripts) at its limits: calendars and clocks of all lists
 * and limiters, full lists of ids, the quota's 1,440 minutes, a brake for as many destinations as are
 * remembered, leases of connections. Case `groups`: the destinations of the provider table and 16
 * tail lanes. Case `sites`: as many sites with lanes of their own as a run can have, each with a
 * guard and a limit. What is in flight is kept by PostgreSQL and takes nothing here.
 */
#include "admission_redis.h"
#include "brake.h"
#include "config.h"
#include "embed.h"
#include "jobs.h"
#include "pacer.h"
#include "policy.h"

#define RECIPIENTS 10000000
#define TAIL_LANES 16
#define BACKLOG_MIN 100	  /* of one list, as in feed.c */
#define BRAKES 2000	  /* as in braker.c */
#define DESTINATIONS 2000 /* with open connections */
#define DISPATCHERS 3
#define LANES_MAX 4096
#define LEASE_US "10000000"

struct fill {
	struct private_redis redis;
	struct policy *policy;
	long backlog;
	size_t lane_count;
	struct pacer_lane lanes[LANES_MAX];
	char names[LANES_MAX][64];
};

static double
info(struct private_redis *r, const char *field)
{
	redisReply *reply = redisCommand(r->c, "INFO memory");
	const char *at = reply != NULL && reply->str != NULL ? strstr(reply->str, field) : NULL;
	double value = at != NULL ? strtod(at + strlen(field), NULL) : -1;

	freeReplyObject(reply);
	return value;
}

static bool
load_policy(struct fill *f)
{
	struct config config = { 0 };
	struct err err = { 0 };

	(void)setenv("KAIRAN_PACE_HOUR_GUARD", "all", 1);
	(void)setenv("KAIRAN_PACE_GROUP_LIMITS", "yes", 1);
	(void)setenv("KAIRAN_PACE_ACCOUNT_RATE", "1000/s", 1);
	if (config_load(&config, NULL, &err) == 0) {
		f->backlog = config.producer_backlog;
		f->policy = policy_new(&config, &err);
	}
	config_release(&config);
	if (f->policy == NULL)
		fprintf(stderr, "bench_redis_memory: %s\n", err.msg);
	return f->policy != NULL;
}

static void
add_lane(struct fill *f, int group, const char *name, double remaining)
{
	struct pacer_lane *l = &f->lanes[f->lane_count];

	(void)snprintf(f->names[f->lane_count], sizeof(f->names[0]), "%s", name);
	*l = (struct pacer_lane){ .lane = (int)f->lane_count,
		.group = group,
		.name = f->names[f->lane_count],
		.remaining = remaining };
	f->lane_count++;
}

static void
make_lanes(struct fill *f, bool sites)
{
	const struct providers *providers = policy_providers(f->policy);
	int group = providers_find(providers, slice_str(PROVIDERS_UNKNOWN));
	size_t count =
	    sites ? RECIPIENTS / policy_site_min(RECIPIENTS) : providers_count(providers);
	char name[64];

	add_lane(f, PROVIDERS_NONE, KEY_LANE_ALL, 0);
	for (size_t i = 0; i < count; i++) {
		(void)snprintf(name, sizeof(name), "a-long-name-of-%05zu.example.co.jp", i);
		if (sites)
			add_lane(f, group, name, (double)RECIPIENTS / (double)count);
		else
			add_lane(f, (int)i, providers_group(providers, (int)i)->name,
			    RECIPIENTS * 0.9 / (double)count);
	}
	for (int i = 0; !sites && i < TAIL_LANES; i++) {
		(void)snprintf(name, sizeof(name), "tail-%d", i);
		add_lane(f, PROVIDERS_NONE, name, RECIPIENTS * 0.1 / TAIL_LANES);
	}
}

static bool
publish(struct fill *f)
{
	struct pacer_run run = { .id = 123456,
		.stream = "newsletter",
		.per_s = 800,
		.class = SHARE_BULK,
		.weight = 1,
		.lanes = f->lanes,
		.lane_count = f->lane_count };
	struct pacer *p = pacer_new(f->policy, NULL, 60);
	struct err err = { 0 };
	bool ok = p != NULL && pacer_round(p, f->redis.c, 1, &run, 1, &err) == 0;

	if (!ok)
		fprintf(stderr, "bench_redis_memory: %s\n", err.msg);
	pacer_free(p);
	return ok;
}

static bool
push_lists(struct fill *f)
{
	struct jobs jobs = { .redis = f->redis.c };
	int64_t *ids = calloc((size_t)f->backlog, sizeof(*ids)), id = 4000000000;
	long each = f->backlog / (long)(f->lane_count - 1);
	bool ok = ids != NULL;

	for (size_t i = 0; ok && i < f->lane_count; i++) {
		long n = i == 0 ? f->backlog : each > BACKLOG_MIN ? each : BACKLOG_MIN;

		for (long k = 0; k < n; k++)
			ids[k] = id++;
		ok = jobs_push(&jobs, 123456, f->lanes[i].lane, "RPUSH", ids, (int)n) == 0;
	}
	free(ids);
	return ok;
}

/* One call that names every list. Permits given, -1: the script failed. */
static long
reserve(struct fill *f)
{
	int argc = 6 + 3 * (int)f->lane_count;
	const char **argv = calloc((size_t)argc, sizeof(*argv));
	char(*names)[24] = calloc(f->lane_count, sizeof(*names)), sha[41] = "";
	const char *head[] = { "{p:kairan}:pace", "{p:kairan}:next", "{p:kairan}:quota", "1000000",
		"4096", "-" };
	redisReply *reply;
	long n = -1;

	if (argv == NULL || names == NULL)
		abort();
	memcpy(argv, head, sizeof(head));
	for (size_t i = 0; i < f->lane_count; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "123456.%d", f->lanes[i].lane);
		argv[6 + 3 * i] = names[i];
		argv[7 + 3 * i] = "100";
		argv[8 + 3 * i] = "0";
	}
	reply = redis_script(&f->redis, sha, embed_common_lua_reserve_lua, 3, argc, argv);
	if (reply != NULL && reply->type == REDIS_REPLY_ARRAY)
		n = (long)(reply->element[2]->len / PERMIT_BYTES);
	else
		fprintf(stderr, "bench_redis_memory: %s\n", reply != NULL ? reply->str : "lost");
	freeReplyObject(reply);
	free(names);
	free(argv);
	return n;
}

/* Quota, brakes, replies heard, connections. */
static void
fill_others(struct fill *f)
{
	struct brake brake = { .mode = BRAKE_RATE,
		.rate = 12.3456789,
		.good = 23.456789,
		.since = 3e13,
		.until = 3e13,
		.cut_at = 3e13,
		.heard_at = 3e13,
		.step_at = 3e13,
		.ceiling = 100.0 / 3,
		.code = 421,
		.seen_per_s = 10.0 / 3,
		.piece_at = 3e13 };
	char text[BRAKE_TEXT_MAX];
	redisContext *c = f->redis.c;

	freeReplyObject(
	    redisCommand(c, "HSET {p:kairan}:quota limit 10000000 sum 10000000 tail 1"));
	for (int i = 0; i < 1440; i++)
		freeReplyObject(redisCommand(c, "HSET {p:kairan}:quota %d 60000", 29000000 + i));
	brake_print(&brake, text);
	for (int i = 0; i < BRAKES; i++)
		freeReplyObject(redisCommand(
		    c, "HSET {p:kairan}:brake a-long-name-of-%05d.example.co.jp %s", i, text));
	for (int i = 0; i < DESTINATIONS * DISPATCHERS; i++)
		freeReplyObject(redisCommand(c,
		    "HSET {p:kairan}:conn:%016llx 0123456789abcdef%d %s",
		    (unsigned long long)(i / DISPATCHERS) * 2654435761U, i % DISPATCHERS, "20 20"));
}

static void
bench(const char *name, bool sites)
{
	static struct fill f;
	struct {
		const char *what;
		double bytes;
	} steps[4];
	double empty, before, all, lua;

	memset(&f, 0, sizeof(f));
	if (!load_policy(&f) || !private_redis_start(&f.redis))
		return;
	make_lanes(&f, sites);
	empty = before = info(&f.redis, "used_memory:");
	for (int i = 0; i < 4; i++) {
		static const char *const what[] = { "calendars", "lists", "clocks", "others" };
		bool ok = i == 0 ? publish(&f) : i == 1 ? push_lists(&f) : true;

		if (i == 2) { /* the first call opens the pool a second later */
			ok = reserve(&f) == 0;
			(void)usleep(1100000);
			ok = reserve(&f) >= 0 && ok;
		}
		if (i == 3)
			fill_others(&f);
		if (!ok)
			fprintf(
			    stderr, "bench_redis_memory: %s: %s was not filled\n", name, what[i]);
		all = info(&f.redis, "used_memory:");
		steps[i].what = what[i];
		steps[i].bytes = all - before;
		before = all;
	}
	lua = info(&f.redis, "used_memory_vm_eval:");
	printf("{\"bench\":\"redis_memory_%s\",\"value\":%.2f,\"unit\":\"MB for a run of 10 M\","
	       "\"target\":20,\"lists\":%zu,\"lua_mb\":%.2f",
	    name, (all - empty + lua) / 1e6, f.lane_count, lua / 1e6);
	for (int i = 0; i < 4; i++)
		printf(",\"%s_mb\":%.2f", steps[i].what, steps[i].bytes / 1e6);
	printf("}\n");
	(void)fflush(stdout); /* the next Redis is a fork */
	private_redis_stop(&f.redis);
	policy_free(f.policy);
}

int
main(void)
{
	bench("groups", false);
	bench("sites", true);
	return 0;
}
