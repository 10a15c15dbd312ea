/* SPDX-License-Identifier: Apache-2.0 */
/* rds_quota: the quota of 24 hours and the account of Amazon SES as Redis has them. */
#ifndef KAIRAN_RDS_QUOTA_H
#define KAIRAN_RDS_QUOTA_H

#include <hiredis/hiredis.h>
#include <stdbool.h>

#include "err.h"
#include "quota.h"

/* What GetAccount said last, and when by the clock of Redis. */
struct rds_account {
	double max_24h; /* -1: unlimited */
	double max_rate, sent_24h;
	double paused; /* 1: SES takes nothing of it */
	double at;     /* s since 1970; 0: nobody asked */
};

#define RDS_ACCOUNT_FRESH_S 180 /* older figures are of nobody any more */

/* 0; -1 with err. now: us since 2026, by the clock of Redis. */
int rds_quota_read(redisContext *redis, struct quota *q, double *now, struct err *err);
int rds_account_read(redisContext *redis, struct rds_account *a, struct err *err);

/* The reply to HMGET of these fields. False when it is none, or nobody asked yet. */
#define RDS_ACCOUNT_FIELDS "max_24h", "max_rate", "sent_24h", "paused", "at"
bool rds_account_take(const redisReply *reply, struct rds_account *a);

int rds_account_write(redisContext *redis, const struct rds_account *a, struct err *err);

#endif
