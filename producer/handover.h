/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handover: from send rows to jobs. Keeps a bounded backlog of send ids in Redis for every
 * running run, in a list for each lane that has a clock of its own and one for all others; refills
 * it from PostgreSQL when Redis lost it, pushes due retries, has the pace published, and ends runs that have nothing left to do. An id may be pushed twice: the claim
 * decides.
 */
#ifndef KAIRAN_HANDOVER_H
#define KAIRAN_HANDOVER_H

#include <stdbool.h>

#include "account.h"
#include "config.h"
#include "db.h"
#include "err.h"
#include "policy.h"
#include "rds.h"

struct handover;

/* All are borrowed. NULL without memory. */
struct handover *handover_new(const struct config *config, struct policy *policy,
    const struct rds_address *redis, struct account *account);
void handover_free(struct handover *h);

/*
 * One round; epoch: of the lease under which we may. 0; -1 with err when PostgreSQL failed (db_is_lost tells how). Redis being absent is
 * no error: it is logged, tried again, and nothing else waits for it.
 */
int handover_round(struct handover *h, struct db *db, int64_t epoch, struct err *err) MUST_CHECK;

#endif
