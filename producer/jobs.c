/* SPDX-License-Identifier: Apache-2.0 */
/* jobs: see jobs.h. */
#include "jobs.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log.h"

#define PUSH_CHUNK 1000	    /* ids in one RPUSH */
#define REDIS_AGAIN_MS 1000 /* between two attempts to reach Redis */

int64_t
jobs_now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void
jobs_close(struct jobs *j)
{
	if (j->redis != NULL)
		redisFree(j->redis);
	j->redis = NULL;
}

void
jobs_lost(struct jobs *j, const char *doing)
{
	log_warn("redis lost while=\"%s\" error=\"%s\"", doing, j->redis->errstr);
	redisFree(j->redis);
	j->redis = NULL;
	j->again_ms = jobs_now_ms() + REDIS_AGAIN_MS;
}

bool
jobs_ready(struct jobs *j)
{
	struct err err;

	if (j->redis != NULL)
		return true;
	if (jobs_now_ms() < j->again_ms)
		return false;
	j->redis = rds_open(j->address, &err);
	if (j->redis != NULL && rds_check_policy(j->redis, &err) < 0) {
		redisFree(j->redis);
		j->redis = NULL;
	}
	if (j->redis == NULL) {
		log_warn("redis absent error=\"%s\"", err.msg);
		j->again_ms = jobs_now_ms() + REDIS_AGAIN_MS;
	}
	return j->redis != NULL;
}

int64_t
jobs_number(struct jobs *j, const char *doing, redisReply *reply)
{
	int64_t n = 0;

	if (reply == NULL) {
		jobs_lost(j, doing);
		return -1;
	}
	if (reply->type == REDIS_REPLY_INTEGER)
		n = reply->integer;
	else if (reply->type == REDIS_REPLY_STRING)
		n = 1;
	if (reply->type == REDIS_REPLY_ERROR) {
		log_warn("redis refused while=\"%s\" error=\"%s\"", doing, reply->str);
		n = -1;
		if (strncmp(reply->str, "OOM", 3) != 0) { /* full: wait; else start afresh */
			redisFree(j->redis);
			j->redis = NULL;
			j->again_ms = jobs_now_ms() + REDIS_AGAIN_MS;
		}
	}
	freeReplyObject(reply);
	return n;
}

void
jobs_key(char key[KEY_MAX], int run, int lane)
{
	if (lane == 0)
		(void)snprintf(key, KEY_MAX, KEY_QUEUE, run, KEY_LANE_ALL);
	else
		(void)snprintf(key, KEY_MAX, KEY_QUEUE_LANE, run, lane);
}

int
jobs_push(struct jobs *j, int run, int lane, const char *command, const int64_t *ids, int count)
{
	char key[KEY_MAX], text[PUSH_CHUNK][12];
	const char *argv[PUSH_CHUNK + 2] = { command, key };

	jobs_key(key, run, lane);
	for (int done = 0; done < count;) {
		int n = count - done < PUSH_CHUNK ? count - done : PUSH_CHUNK;

		for (int i = 0; i < n; i++) {
			(void)snprintf(text[i], sizeof(text[i]), "%d", (int)ids[done + i]);
			argv[i + 2] = text[i];
		}
		if (jobs_number(j, "pushing", redisCommandArgv(j->redis, n + 2, argv, NULL)) < 0)
			return -1;
		done += n;
	}
	return 0;
}
