/* SPDX-License-Identifier: Apache-2.0 */
/* pool: see pool.h. */
#include "pool.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

#include "admission.h"
#include "rds.h"

#define SES_SHARE 0.9 /* of MaxSendRate, as the producer takes it */

int
pool_read(struct pool *pool, const struct config *config, struct policy *policy, struct err *err)
{
	struct rds_address address;
	redisContext *redis = NULL;
	int result = -1;

	*pool = (struct pool){ .account = { .max_24h = -1 } };
	if (rds_address_parse(&address, config->redis_url, err) == 0)
		redis = rds_open(&address, err);
	if (redis != NULL && rds_quota_read(redis, &pool->quota, &pool->now, err) == 0 &&
	    rds_account_read(redis, &pool->account, err) == 0)
		result = 0;
	if (redis != NULL)
		redisFree(redis);
	if (result == 0 && pool->account.at > 0)
		policy_set_account(policy,
		    config->ses_rate > 0 ? (double)config->ses_rate
					 : pool->account.max_rate * SES_SHARE,
		    pool->account.max_24h > 0 ? (uint64_t)pool->account.max_24h : 0);
	return result;
}

json_t *
pool_quota_json(const struct pool *pool)
{
	struct quota copy = pool->quota;
	uint64_t left = quota_left(&copy, pool->now);
	double opens = quota_opens(&pool->quota, 1, pool->now);
	time_t at = (time_t)(opens / 1e6) + ADMISSION_EPOCH_S;
	struct tm utc;
	char text[40];

	(void)gmtime_r(&at, &utc);
	(void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc);
	return json_pack("{s:I, s:I, s:I, s:s?}", "limit", (json_int_t)pool->quota.limit, "used",
	    (json_int_t)copy.sum, "left", (json_int_t)left, "opens",
	    left > 0 || !isfinite(opens) ? NULL : text);
}

void
pool_print_quota(const char *label, const json_t *quota)
{
	const char *opens = json_string_value(json_object_get(quota, "opens"));

	if (quota == NULL)
		return;
	printf("%s%lld left of %lld in 24 hours", label,
	    (long long)json_integer_value(json_object_get(quota, "left")),
	    (long long)json_integer_value(json_object_get(quota, "limit")));
	if (opens != NULL)
		printf(", used up until %s", opens);
	putchar('\n');
}
