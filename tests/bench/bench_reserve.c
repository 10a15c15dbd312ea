/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_reserve: permits that one core of Redis hands out through common/lua/reserve.lua, 16
 * lanes a call, and the same by the backend in memory. Cases: lanes alone; lanes under an account
 * limit, which all are due at the same moments; the same under the limit of a stream, each with a
 * limit of its provider. What counts is Redis's own CPU time (INFO cpu), in the best of ROUNDS,
 * since other work on the same core makes it longer. Argument: seconds a case.
 */
#include <math.h>
#include <time.h>

#include "admission_redis.h"
#include "embed.h"

#define LANES 16
#define CALL_MAX 4096
#define ROUNDS 8
#define LANE_US 1000.0			   /* between two of a lane */
#define SHARED_US (LANE_US / LANES * 0.97) /* of what they share */

enum limits { ALONE, ACCOUNT, STREAM };

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

/* To Redis and to the backend in memory alike. */
static bool
publish(struct private_redis *r, const char *field, const char *chain, double interval,
    struct admission *a, int limiter, int lane)
{
	char sha[41] = "";
	const char *argv[] = { "{p:b}:pace", "1", "0", field, NULL };
	/* a time far ahead, so that the clock of a replay decides what is due */
	struct admission_row row = { 1, 1e15, interval };
	struct err err = { 0 };
	struct buf text;

	buf_init(&text, 1000);
	calendar_text(&text, chain, &row, 1);
	argv[4] = buf_str(&text);
	freeReplyObject(redis_script(r, sha, embed_common_lua_plan_lua, 1, 5, argv));
	buf_release(&text);
	return (lane < 0 ? admission_plan_limiter(a, 1, limiter, &row, 1, &err)
			 : admission_plan_lane(a, 1, lane, &row, 1, &err)) == 0;
}

static bool
plan(struct private_redis *r, struct admission *a, enum limits limits)
{
	char field[24], chain[24];
	int stream = limits == STREAM ? admission_add_limiter(a) : -1;

	if (limits == ACCOUNT && !publish(r, "a", "", SHARED_US, a, -1, -1))
		return false;
	if (limits == STREAM && !publish(r, "s:0", "", SHARED_US, a, stream, -1))
		return false;
	for (int i = 0; i < LANES; i++) {
		int both[] = { stream, limits == STREAM ? admission_add_limiter(a) : -1 };

		(void)snprintf(chain, sizeof(chain), "g:%d", i);
		if (limits == STREAM && !publish(r, chain, "", LANE_US * 0.97, a, both[1], -1))
			return false;
		(void)snprintf(chain, sizeof(chain), "s:0,g:%d", i);
		(void)snprintf(field, sizeof(field), "l:%d", i);
		if (admission_add_lane(a, both, limits == STREAM ? 2 : 0) < 0 ||
		    !publish(r, field, limits == STREAM ? chain : "", LANE_US, a, -1, i))
			return false;
	}
	return true;
}

static void
bench(struct private_redis *r, const char *name, enum limits limits, double seconds)
{
	static struct admission_permit permits[CALL_MAX];
	char sha[41] = "", clock[32], lane[LANES][8];
	const char *argv[6 + 3 * LANES] = { "{p:b}:pace", "{p:b}:next", "{p:b}:quota", "1000000",
		"4096", clock };
	struct admission_want wants[LANES];
	struct admission *a = admission_new();
	double at = 1e12, start, cpu, memory, permitted, all = 0, best = 0, same = 0, wake;
	long calls = 0;

	freeReplyObject(redisCommand(r->c, "FLUSHALL"));
	for (uint32_t i = 0; i < LANES; i++) {
		wants[i] = (struct admission_want){ .lane = i, .count = 1000000 };
		(void)snprintf(lane[i], sizeof(lane[i]), "%u", i);
		argv[6 + 3 * i] = lane[i];
		argv[7 + 3 * i] = "1000000";
		argv[8 + 3 * i] = "0";
	}
	if (a == NULL || !plan(r, a, limits))
		return;
	/* the first round is not counted: it opens the whole second ahead */
	for (int round = 0; round <= ROUNDS; round++) {
		permitted = 0;
		cpu = redis_cpu(r);
		/* each call opens 16 ms: 16 permits a lane */
		for (start = now(CLOCK_MONOTONIC); now(CLOCK_MONOTONIC) - start < seconds / ROUNDS;
		     at += 16e3, calls++) {
			redisReply *reply;

			(void)snprintf(clock, sizeof(clock), "%.17g", at);
			reply = redis_script(
			    r, sha, embed_common_lua_reserve_lua, 3, 6 + 3 * LANES, argv);
			if (reply == NULL || reply->type != REDIS_REPLY_ARRAY)
				fprintf(stderr, "bench_reserve: %s\n", reply ? reply->str : "lost");
			else
				permitted += (double)reply->element[2]->len / PERMIT_BYTES;
			freeReplyObject(reply);
		}
		if (round > 0)
			best = fmax(best, permitted / (redis_cpu(r) - cpu));
		all += permitted;
	}
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
	    name, best, same / memory, best / (same / memory), calls, all / (double)calls);
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
	bench(&r, "reserve", ALONE, seconds);
	bench(&r, "reserve_account", ACCOUNT, seconds);
	bench(&r, "reserve_stream", STREAM, seconds);
	private_redis_stop(&r);
	return 0;
}
