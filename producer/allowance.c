/* SPDX-License-Identifier: Apache-2.0 */
/* allowance: see allowance.h. */
#include "allowance.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "admission.h"
#include "buf.h"
#include "embed.h"
#include "keys.h"
#include "log.h"
#include "rds_quota.h"

#define EVERY_MS 5000
#define PAIRS_MAX (QUOTA_DAY + 3)

static int64_t
now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* What dispatchers tried in each minute of the last day; what they hold now is of this minute. */
static PGresult *
read_minutes(struct db *db)
{
	return db_query(db,
	    "SELECT floor((extract(epoch FROM minute) - 1767225600) / 60)::bigint, "
	    "sum(n)::bigint FROM (SELECT minute, attempts AS n FROM kairan.tally WHERE owner > 0 "
	    "AND minute > now() - interval '1441 min' UNION ALL SELECT now(), sending FROM "
	    "kairan.campaign_progress WHERE state IN ('running', 'paused')) AS t GROUP BY 1 "
	    "HAVING sum(n) > 0 ORDER BY 1 DESC LIMIT 1442",
	    0, NULL);
}

/* lost: with all that went out before. */
static int
write_quota(
    struct db *db, redisContext *redis, uint64_t limit, double sent_24h, bool lost, struct err *err)
{
	PGresult *r = lost && limit > 0 ? read_minutes(db) : NULL;
	int rows = r != NULL ? PQntuples(r) : 0, n = 0;
	char key[KEY_MAX], most[24], counted[24] = "-";
	const char *argv[7 + 2 * PAIRS_MAX];
	redisReply *reply;

	if (lost && limit > 0 && r == NULL)
		return err_set(err, "reading what went out: %s", db->error);
	(void)snprintf(key, sizeof(key), KEY_QUOTA, POLICY_POOL);
	(void)snprintf(most, sizeof(most), "%llu", (unsigned long long)limit);
	if (sent_24h >= 0)
		(void)snprintf(counted, sizeof(counted), "%.0f", ceil(sent_24h));
	argv[n++] = "EVAL";
	argv[n++] = embed_common_lua_quota_lua;
	argv[n++] = "1";
	argv[n++] = key;
	argv[n++] = most;
	argv[n++] = counted;
	argv[n++] = "-";
	for (int i = 0; i < rows && i < PAIRS_MAX; i++) {
		argv[n++] = db_text(r, i, 0);
		argv[n++] = db_text(r, i, 1);
	}
	reply = redisCommandArgv(redis, n, argv, NULL);
	if (reply != NULL && reply->type == REDIS_REPLY_ARRAY && rows > 0)
		log_info("quota of 24 hours counted from the database minutes=%d", rows);
	PQclear(r);
	if (reply == NULL || reply->type != REDIS_REPLY_ARRAY)
		(void)err_set(err, "setting the quota: %s",
		    reply != NULL && reply->type == REDIS_REPLY_ERROR ? reply->str : redis->errstr);
	n = reply != NULL && reply->type == REDIS_REPLY_ARRAY ? 0 : -1;
	freeReplyObject(reply);
	return n;
}

/* Once when it is used up, and once when it no longer is. */
static void
tell(struct allowance *a)
{
	bool used_up = quota_left(&a->quota, a->now) == 0;
	double opens;
	time_t at;
	struct tm utc;
	char text[40];

	if (used_up == a->used_up)
		return;
	a->used_up = used_up;
	if (!used_up) {
		log_info("quota of 24 hours has room again");
		return;
	}
	opens = quota_opens(&a->quota, 1, a->now);
	if (!isfinite(opens)) /* others use all of it */
		opens = a->now + 60e6;
	at = (time_t)(opens / 1e6) + ADMISSION_EPOCH_S;
	(void)gmtime_r(&at, &utc);
	(void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc);
	log_warn("quota of 24 hours is used up, mail waits limit=%llu used=%llu until=%s",
	    (unsigned long long)a->quota.limit, (unsigned long long)a->quota.sum, text);
}

int
allowance_round(struct allowance *a, struct db *db, redisContext *redis,
    const struct policy *policy, double sent_24h, struct err *err)
{
	uint64_t limit = policy_quota(policy);
	redisReply *reply;
	bool lost;

	reply = redisCommand(redis, "HEXISTS " KEY_QUOTA " limit", POLICY_POOL);
	if (reply == NULL || reply->type != REDIS_REPLY_INTEGER) {
		(void)err_set(err, "looking at the quota: %s", redis->errstr);
		freeReplyObject(reply);
		return -1;
	}
	lost = reply->integer == 0;
	freeReplyObject(reply);
	if (limit == 0 && lost) {
		a->quota = (struct quota){ 0 };
		return 0;
	}
	if (!lost && limit == a->set && now_ms() - a->looked_ms < EVERY_MS)
		return 0;
	if (write_quota(db, redis, limit, sent_24h, lost, err) < 0 ||
	    rds_quota_read(redis, &a->quota, &a->now, err) < 0)
		return -1;
	a->set = limit;
	a->looked_ms = now_ms();
	tell(a);
	return 0;
}
