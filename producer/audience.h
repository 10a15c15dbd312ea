/* SPDX-License-Identifier: Apache-2.0 */
/*
 * audience: from customers to candidates. Reads the customers of a run's segment through the
 * segment role (read only, time limit) and copies them, checked and keyed, into candidate_N.
 * Rows stream through; memory does not grow with their number.
 */
#ifndef KAIRAN_AUDIENCE_H
#define KAIRAN_AUDIENCE_H

#include <stdint.h>

#include "config.h"
#include "db.h"
#include "err.h"
#include "policy.h"

struct audience_counts {
	int64_t matched; /* customers of the segment */
	int64_t invalid; /* among them without a valid address */
};

/*
 * Fills candidate_RUN and domain_RUN (made by plan_begin, committed) and the run's lanes. writer:
 * connection of the producer, in the transaction of the fence. 0; -1 with err: the segment is refused (final) or the connection is
 * lost (db_is_lost of one of them; reader's state is told by *lost).
 */
int audience_read(struct db *writer, const struct config *config, struct policy *policy, int run,
    struct audience_counts *counts, bool *lost, struct err *err) MUST_CHECK;

#endif
