/* SPDX-License-Identifier: Apache-2.0 */
/*
 * feed: brings ids of a run from its rows to its lists: a bounded backlog of each, again what Redis has
 * lost, and to their own lists the ids of lanes that were given one.
 */
#ifndef KAIRAN_FEED_H
#define KAIRAN_FEED_H

#include "jobs.h"
#include "known_run.h"

#define FEED_STUCK_MS 5000 /* queued rows, empty queue, nothing moving: then they are looked for */

/* backlog: most ids of a list. 0, also when Redis is lost meanwhile; -1: PostgreSQL failed. */
int feed_run(struct jobs *j, struct db *db, const struct run_row *row, struct known_run *k,
    int64_t backlog) MUST_CHECK;

#endif
