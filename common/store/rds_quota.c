/* SPDX-License-Identifier: Apache-2.0 */
/* rds_quota: see rds_quota.h. */
#include "rds_quota.h"

#include <stdlib.h>
#include <string.h>

#include "admission.h"
#include "keys.h"
#include "policy.h"

static int
failed(redisContext *redis, redisReply *reply, const char *doing, struct err *err)
{
	(void)err_set(err, "%s: %s", doing,
	    reply != NULL && reply->type == REDIS_REPLY_ERROR ? reply->str : redis->errstr);
	freeReplyObject(reply);
	return -1;
}

static int
read_now(redisContext *redis, double *now, struct err *err)
{
	redisReply *reply = redisCommand(redis, "TIME");

	if (reply == NULL || reply->type != REDIS_REPLY_ARRAY || reply->elements != 2)
		return failed(redis, reply, "asking the time", err);
	*now = (strtod(reply->element[0]->str, NULL) - ADMISSION_EPOCH_S) * 1e6 +
	    strtod(reply->element[1]->str, NULL);
	freeReplyObject(reply);
	return 0;
}

int
rds_quota_read(redisContext *redis, struct quota *q, double *now, struct err *err)
{
	redisReply *reply;
	uint64_t others = 0;

	*q = (struct quota){ 0 };
	if (read_now(redis, now, err) < 0)
		return -1;
	reply = redisCommand(redis, "HGETALL " KEY_QUOTA, POLICY_POOL);
	if (reply == NULL || reply->type != REDIS_REPLY_ARRAY)
		return failed(redis, reply, "reading the quota", err);
	for (int turn = 0; turn < 2; turn++) /* without the limit nothing is put in */
		for (size_t i = 0; i + 1 < reply->elements; i += 2) {
			const char *field = reply->element[i]->str;
			uint64_t n = strtoull(reply->element[i + 1]->str, NULL, 10);

			if (turn == 0 && strcmp(field, "limit") == 0)
				q->limit = n;
			else if (turn == 0 && strcmp(field, "others") == 0)
				others = n;
			else if (turn == 1 && field[0] >= '0' && field[0] <= '9')
				quota_put(q, strtoll(field, NULL, 10), n, *now);
		}
	quota_counted(q, q->sum + others, *now);
	freeReplyObject(reply);
	return 0;
}

bool
rds_account_take(const redisReply *reply, struct rds_account *a)
{
	double *const to[] = { &a->max_24h, &a->max_rate, &a->sent_24h, &a->paused, &a->at };

	*a = (struct rds_account){ .max_24h = -1 };
	if (reply == NULL || reply->type != REDIS_REPLY_ARRAY || reply->elements != 5 ||
	    reply->element[4]->str == NULL)
		return false;
	for (size_t i = 0; i < 5; i++)
		if (reply->element[i]->str != NULL)
			*to[i] = strtod(reply->element[i]->str, NULL);
	return true;
}

int
rds_account_read(redisContext *redis, struct rds_account *a, struct err *err)
{
	char key[KEY_MAX];
	const char *argv[] = { "HMGET", key, RDS_ACCOUNT_FIELDS };
	redisReply *reply;

	(void)snprintf(key, sizeof(key), KEY_ACCOUNT, POLICY_POOL);
	reply = redisCommandArgv(redis, sizeof(argv) / sizeof(argv[0]), argv, NULL);
	if (reply == NULL || reply->type != REDIS_REPLY_ARRAY)
		return failed(redis, reply, "reading the account", err);
	(void)rds_account_take(reply, a);
	freeReplyObject(reply);
	return 0;
}

int
rds_account_write(redisContext *redis, const struct rds_account *a, struct err *err)
{
	redisReply *reply = redisCommand(redis,
	    "HSET " KEY_ACCOUNT " max_24h %.17g max_rate %.17g sent_24h %.17g paused %.0f at %.0f",
	    POLICY_POOL, a->max_24h, a->max_rate, a->sent_24h, a->paused, a->at);

	if (reply == NULL || reply->type != REDIS_REPLY_INTEGER)
		return failed(redis, reply, "writing the account", err);
	freeReplyObject(reply);
	return 0;
}
