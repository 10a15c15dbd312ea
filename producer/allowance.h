/* SPDX-License-Identifier: Apache-2.0 */
/*
 * allowance: what may go out in 24 hours. Keeps the limit of the policy in Redis, where
 * dispatchers count against it, and puts back from PostgreSQL what Redis lost, before calendars are
 * published. A figure of Amazon SES that is higher than ours is believed.
 */
#ifndef KAIRAN_ALLOWANCE_H
#define KAIRAN_ALLOWANCE_H

#include <hiredis/hiredis.h>

#include "db.h"
#include "err.h"
#include "policy.h"
#include "quota.h"

struct allowance {
	struct quota quota; /* as it was last read; limit 0: none */
	double now;	    /* when, us since 2026 */
	int64_t looked_ms;
	uint64_t set; /* limit in Redis as far as we know */
	bool used_up; /* said so */
};

/* sent_24h: what SES counted, -1: nothing is known. 0; -1 with err: PostgreSQL (db_is_lost) or
 * Redis (redis->err) failed. */
int allowance_round(struct allowance *a, struct db *db, redisContext *redis,
    const struct policy *policy, double sent_24h, struct err *err) MUST_CHECK;

#endif
