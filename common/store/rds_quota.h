/* SPDX-License-Identifier: Apache-2.0 */
/* rds_quota: the quota of 24 hours and the account of Amazon SES as Redis has them. */
#ifndef KAIRAN_RDS_QUOTA_H
#define KAIRAN_RDS_QUOTA_H

#include <hiredis/hiredis.h>

#include "err.h"
#include "rds_read.h"

#define RDS_ACCOUNT_FRESH_S 180 /* older figures are of nobody any more */

/* 0; -1 with err. now: us since 2026, by the clock of Redis. */
int rds_quota_read(redisContext *redis, struct quota *q, double *now, struct err *err);
int rds_account_read(redisContext *redis, struct rds_account *a, struct err *err);
int rds_account_write(redisContext *redis, const struct rds_account *a, struct err *err);

#endif
