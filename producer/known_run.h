/* SPDX-License-Identifier: Apache-2.0 */
/*
 * known_run: what the producer remembers of a running run: its lists of jobs, how far they were handed
 * over, what is left. Losing it costs a look at PostgreSQL, nothing else.
 */
#ifndef KAIRAN_KNOWN_RUN_H
#define KAIRAN_KNOWN_RUN_H

#include "db.h"
#include "pacer.h"
#include "policy.h"
#include "retry_budget.h"

/* A list of ids: list 0 of every run, and one for each lane that has a clock of its own. */
struct list {
	int lane;		 /* 0: all others */
	char *name;		 /* of the lane, owned */
	char *route;		 /* of its dispatchers, owned; "": those without one */
	int group;		 /* of the provider table */
	const struct zone *zone; /* of its recipients; NULL: it does not matter */
	int64_t recipients;	 /* of the lane */
	int64_t pushed;		 /* ids up to here were handed over */
	int64_t handed;		 /* how many of the lane these were */
	int64_t refill_at; /* ids from here to `pushed` may be missing in Redis; -1: none are */
	int64_t length;	   /* in Redis: as measured last, and what was pushed since */
	int64_t clear;	   /* between `pushed` and here there is nothing */
	int64_t ahead;	   /* retries in it: they leave first */
	struct retry_budget retries;
};

struct known_run {
	struct known_run *next;
	int id;
	struct list *lists; /* owned; lists[0] is list 0 */
	size_t list_count;
	char *others; /* SQL: rows of list 0, owned */
	int64_t queued, sending, deferred;
	int64_t since_ms; /* when these three last changed */
	char *stream;	  /* owned */
	double per_s;	  /* of the stream, 0: no limit */
	double began;	  /* us since 2026 */
	enum share_class class;
	double weight;
	bool reserve;
	double until; /* us since 2026, 0: not spread */
	int quiet_from, quiet_till;
	bool seen;
	int64_t planned, open;	  /* recipients; ids up to here may be handed over */
	int64_t relisted;	  /* of run */
	bool unsorted;		  /* list 0 may hold ids of other lists */
	struct pacer_lane *lanes; /* owned; lists for the pacer */
};

/* A running run, as PostgreSQL has it now. */
struct run_row {
	int id;
	int64_t planned, pushed, low_water, queued, sending, deferred;
	int64_t open; /* ids up to here may be handed over: all, or those of the canary */
	const char *stream;
	double per_s, began;
	enum share_class class;
	double weight;
	bool reserve;
	int64_t relisted;
	double until;
	int quiet_from, quiet_till;
};

/* The run of a row, brought up to date, in *runs. NULL: no memory, or PostgreSQL failed (*lost). */
struct known_run *known_run_find(struct known_run **runs, struct policy *policy, struct db *db,
    const struct run_row *row, bool *lost);

void known_run_free(struct known_run *k);

/* Rows from here on may be missing in Redis: looks through them again. */
void known_run_refill(struct known_run *k, int64_t low_water);

/* Of this list, nothing up to `open` is left to be handed over for the first time. */
bool known_run_list_is_done(const struct list *l, int64_t open);

/* Fills k->lanes for the pacer. */
void known_run_count_lanes(struct known_run *k);

#endif
