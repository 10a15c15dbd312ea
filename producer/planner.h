/* SPDX-License-Identifier: Apache-2.0 */
/*
 * planner: turns one due run into send rows: audience, exclusions, order, pages, seal. Every
 * step is committed and can be taken up again after a crash; nobody sees a row before the seal.
 */
#ifndef KAIRAN_PLANNER_H
#define KAIRAN_PLANNER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "db.h"
#include "err.h"
#include "policy.h"

enum planner_result {
	PLANNER_DONE,
	PLANNER_AGAIN, /* connection lost, stopped, or another producer leads: take it up later */
	PLANNER_FAILED /* the run cannot be planned (segment refused); err says why */
};

/* Plans the run (state planning). epoch: of the lease under which we may; every step checks it.
 * stop: looked at between steps. */
enum planner_result planner_run(struct db *db, const struct config *config, struct policy *policy,
    int run, int64_t epoch, const atomic_bool *stop, struct err *err);

#endif
