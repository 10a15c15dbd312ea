/* SPDX-License-Identifier: Apache-2.0 */
/* rds_quota: see rds_quota.h. */
#include "rds_quota.h"

#include "keys.h"
#include "policy.h"
#include "rds.h"

static int
failed(redisContext *redis, redisReply *reply, const char *doing, struct err *err)
{
	(void)err_set(err, "%s: %s", doing,
	    reply != NULL && reply->type == REDIS_REPLY_ERROR ? reply->str : redis->errstr);
	freeReplyObject(reply);
	return -1;
}

int
rds_quota_read(redisContext *redis, struct quota *q, double *now, struct err *err)
{
	redisReply *reply;

	*q = (struct quota){ 0 };
	if (rds_time(redis, now, err) < 0)
		return -1;
	reply = redisCommand(redis, "HGETALL " KEY_QUOTA, POLICY_POOL);
	if (reply == NULL || reply->type != REDIS_REPLY_ARRAY)
		return failed(redis, reply, "reading the quota", err);
	rds_read_quota(reply, q, *now);
	freeReplyObject(reply);
	return 0;
}

int
rds_account_read(redisContext *redis, struct rds_account *a, struct err *err)
{
	char key[KEY_MAX];
	const char *argv[] = { "HMGET", key, RDS_ACCOUNT_FIELDS };
	redisReply *reply;

	(void)snprintf(key, sizeof(key), KEY_ACCOUNT, POLICY_POOL);
	reply = redisCommandArgv(redis, sizeof(argv) / sizeof(argv[0]), argv, NULL);
	*a = (struct rds_account){ .max_24h = -1 };
	if (reply == NULL || reply->type != REDIS_REPLY_ARRAY)
		return failed(redis, reply, "reading the account", err);
	rds_read_account(reply, a);
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
