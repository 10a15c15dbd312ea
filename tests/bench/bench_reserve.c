/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_reserve: permits that one core of Redis hands out through common/lua/reserve.lua, 16
 * lanes a call, and the same by the backend in memory. Two cases: lanes alone, and lanes under
 * an account limit. What counts is Redis's own CPU time (INFO cpu). Argument: seconds per case.
 */
#include <math.h>
#include <time.h>

#include "admission_redis.h"
#include "embed.h"

#define LANES 16
#define CALL_MAX 4096

static double
redis_cpu(struct private_redis *r)
{
	redisReply *reply = redisCommand(r->c, "INFO cpu");
	const char *user = reply != NULL ? strstr(reply->str, "used_cpu_user:") : NULL;
	const char *sys = reply != NULL ? strstr(reply->str, "used_cpu_sys:") : NULL;
	double sum = user != NULL && sys != NULL ? atof(user + 14) + atof(sys + 13) : NAN;

	freeReplyObject(reply);
	return sum;
}

static double
now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int
plan(struct private_redis *r, struct admission *a, bool account)
{
	char sha[41] = "", field[24];
	const char *argv[] = { "{p:b}:pace", "1", "0", field, NULL };
	/* a time far ahead, so that the clock of a replay decides what is due */
	struct admission_row row = { 1, 1e15, 1000 };
	struct err err = { 0 };

	for (int i = account ? -1 : 0; i < LANES; i++) {
		struct buf text;

		row.interval = i < 0 ? 1000.0 / LANES * 0.97 : 1000;
		buf_init(&text, 1000);
		calendar_text(&text, "", &row, 1);
		argv[4] = buf_str(&text);
		if (i < 0)
			(void)snprintf(field, sizeof(field), "a");
		else
			(void)snprintf(field, sizeof(field), "l:%d", i);
		freeReplyObject(redis_script(r, sha, embed_common_lua_plan_lua, 1, 5, argv));
		if ((i < 0 ? admission_plan_limiter(a, 1, -1, &row, 1, &err)
			   : admission_plan_lane(a, 1, i, &row, 1, &err)) < 0)
			return -1;
		buf_release(&text);
	}
	return 0;
}

static void
bench(struct private_redis *r, const char *name, bool account, double seconds)
{
	static struct admission_permit permits[CALL_MAX];
	char sha[41] = "", clock[32], lane[LANES][8];
	const char *argv[6 + 2 * LANES] = { "{p:b}:pace", "{p:b}:next", "{p:b}:quota", "1000000",
		"4096", clock };
	struct admission_want wants[LANES];
	struct admission *a = admission_new();
	double at = 1e12, start, cpu, memory, permitted = 0, same = 0, wake;
	long calls = 0;

	freeReplyObject(redisCommand(r->c, "FLUSHALL"));
	for (uint32_t i = 0; i < LANES; i++) {
		if (a == NULL || admission_add_lane(a, NULL, 0) < 0)
			return;
		wants[i] = (struct admission_want){ i, 1000000 };
		(void)snprintf(lane[i], sizeof(lane[i]), "%u", i);
		argv[6 + 2 * i] = lane[i];
		argv[7 + 2 * i] = "1000000";
	}
	if (plan(r, a, account) < 0)
		return;
	cpu = redis_cpu(r);
	/* each call opens 16 ms: 16 permits a lane */
	for (start = now(CLOCK_MONOTONIC); now(CLOCK_MONOTONIC) - start < seconds; at += 16e3) {
		redisReply *reply;

		(void)snprintf(clock, sizeof(clock), "%.17g", at);
		reply = redis_script(r, sha, embed_common_lua_reserve_lua, 3, 6 + 2 * LANES, argv);
		if (reply == NULL || reply->type != REDIS_REPLY_ARRAY)
			fprintf(stderr, "bench_reserve: %s\n", reply ? reply->str : "lost");
		else
			permitted += (double)(reply->elements - 2) / 2;
		calls++;
		freeReplyObject(reply);
	}
	cpu = redis_cpu(r) - cpu;
	memory = now(CLOCK_PROCESS_CPUTIME_ID);
	for (long i = 0; i < calls; i++)
		same += (double)admission_reserve(a,
		    &(struct admission_ask){ .now = 1e12 + (double)i * 16e3,
			.horizon = 1e6,
			.wants = wants,
			.want_count = LANES,
			.max = CALL_MAX },
		    permits, &wake);
	memory = now(CLOCK_PROCESS_CPUTIME_ID) - memory;
	printf("{\"bench\":\"%s\",\"value\":%.0f,\"unit\":\"permits/s of one Redis core\","
	       "\"yardstick\":\"the same in memory\",\"yardstick_value\":%.0f,\"ratio\":%.3f,"
	       "\"target\":1000000,\"calls\":%ld,\"permits_per_call\":%.0f}\n",
	    name, permitted / cpu, same / memory, permitted / cpu / (same / memory), calls,
	    permitted / (double)calls);
	admission_free(a);
}

int
main(int argc, char **argv)
{
	double seconds = argc > 1 ? strtod(argv[1], NULL) : 3;
	struct private_redis r;

	if (!private_redis_start(&r)) {
		fprintf(stderr, "bench_reserve: redis-server cannot be started\n");
		return 1;
	}
	bench(&r, "reserve", false, seconds);
	bench(&r, "reserve_account", true, seconds);
	private_redis_stop(&r);
	return 0;
}
