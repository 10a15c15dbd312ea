/* SPDX-License-Identifier: Apache-2.0 */
/*
 * relist: lanes of running runs that were planned into the common list and have a guard or a limit of
 * their own now, since an operator set one. They get a list of their own, as braked ones do.
 */
#ifndef KAIRAN_RELIST_H
#define KAIRAN_RELIST_H

#include "db.h"
#include "policy.h"

/* Zeroed: never looked. */
struct relist {
	uint64_t version; /* of the policy, when it was looked last */
	int64_t at_ms;
};

/* Looks when the policy has changed, and now and then: runs begin that were planned before. 0, or -1
 * with db->error. */
int relist_round(struct relist *l, struct db *db, const struct policy *policy) MUST_CHECK;

#endif
