/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lease: which of several processes does a single job. A row with an end time by PostgreSQL's
 * clock, renewed by its holder; whoever finds it run out takes it over with a higher epoch. No
 * session state, so it works through PgBouncer.
 */
#ifndef KAIRAN_LEASE_H
#define KAIRAN_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#include "db.h"

#define LEASE_S 15

struct lease {
	const char *name;
	char holder[128]; /* host:pid:random */
	int64_t epoch;	  /* 0: not held */
};

/* holder is made from host, process and a random number. */
void lease_init(struct lease *l, const char *name);

/* Takes or renews it for LEASE_S seconds. 1 held, 0 somebody else has it, -1 db->error. */
int lease_hold(struct lease *l, struct db *db) MUST_CHECK;

/* Gives it up at once, so that another need not wait. */
void lease_drop(struct lease *l, struct db *db);

#endif
