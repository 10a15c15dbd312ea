/* SPDX-License-Identifier: Apache-2.0 */
/* pool: what all dispatchers share in Redis, for commands: the quota and the account of SES. */
#ifndef KAIRAN_POOL_H
#define KAIRAN_POOL_H

#include <jansson.h>

#include "config.h"
#include "policy.h"
#include "rds_quota.h"

struct pool {
	struct quota quota; /* limit 0: none */
	double now;	    /* us since 2026 */
	struct rds_account account;
};

/* 0; -1 with err when Redis does not answer: the pool is empty then. What SES allows becomes part of
 * the policy. */
int pool_read(struct pool *pool, const struct config *config, struct policy *policy,
    struct err *err) MUST_CHECK;

/* {"limit", "used", "left", "opens"}; opens: when there is room again, null when there is. Owned. */
json_t *pool_quota_json(const struct pool *pool);

/* A line behind a label; nothing without a quota. */
void pool_print_quota(const char *label, const json_t *quota);

#endif
