/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rds_read: what replies of Redis say. Pure. Whatever stands there may have been put there by
 * anybody: what is not understood is passed over, and no figure is believed that cannot be.
 */
#ifndef KAIRAN_RDS_READ_H
#define KAIRAN_RDS_READ_H

#include <hiredis/hiredis.h>
#include <stdbool.h>

#include "quota.h"

/* What GetAccount said last, and when by the clock of Redis. */
struct rds_account {
	double max_24h; /* -1: unlimited */
	double max_rate, sent_24h;
	double paused; /* 1: SES takes nothing of it */
	double at;     /* s since 1970; 0: nobody asked */
};

/* The id of a recipient: digits alone, 1 to INT32_MAX; 0: that is none. */
int rds_read_id(const redisReply *reply);

/* TIME as us since 2026; false when it is none. */
bool rds_read_time(const redisReply *reply, double *now) __attribute__((warn_unused_result));

/* The hash of the quota that common/lua/quota.lua keeps, by HGETALL, into a quota made anew. */
void rds_read_quota(const redisReply *fields, struct quota *q, double now);

/* The reply to HMGET of these fields; what is not all there is as if nobody had asked. */
#define RDS_ACCOUNT_FIELDS "max_24h", "max_rate", "sent_24h", "paused", "at"
void rds_read_account(const redisReply *values, struct rds_account *a);

#endif
