/* SPDX-License-Identifier: Apache-2.0 */
/*
 * retries: deferred recipients whose time has come, to the front of their lists; not more than their
 * share of a list that first tries wait in (retry_budget.h).
 */
#ifndef KAIRAN_RETRIES_H
#define KAIRAN_RETRIES_H

#include "jobs.h"
#include "known_run.h"

/* 0, also when Redis is lost meanwhile; -1: PostgreSQL failed. */
int retries_push(struct jobs *j, struct db *db, struct known_run *runs) MUST_CHECK;

/* Forgets those that were taken, or whose run is over. 0 or -1. */
int retries_forget(struct db *db) MUST_CHECK;

#endif
