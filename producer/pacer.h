/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pacer: who may leave when, as the leading producer publishes it: a calendar of the next
 * PACER_AHEAD_S for each list of each running run, and for the limiters they share. Made again
 * each minute and when something changed. Dispatchers draw their permits from it (reserve.lua);
 * when nobody renews it, it runs out and nothing is sent.
 */
#ifndef KAIRAN_PACER_H
#define KAIRAN_PACER_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "policy.h"
#include "quota.h"
#include "share.h"

#define PACER_AHEAD_S 900
#define PACER_EVERY_MS 60000

/* A list of a run. */
struct pacer_lane {
	const struct zone *zone; /* of its recipients, NULL: as the run has no quiet hours */
	int lane;		 /* 0: the list of all that have no clock of their own */
	int group;		 /* of the provider table; PROVIDERS_NONE for list 0 */
	const char *name;	 /* of the lane, borrowed */
	double remaining;	 /* messages, about */
};

struct pacer_run {
	int id;
	const char *stream; /* borrowed */
	double per_s;	    /* of the stream, 0: no limit */
	enum share_class class;
	double weight;
	bool reserve;		    /* urgent mail goes through its stream now and then */
	double began;		    /* us since 2026 */
	int quiet_from, quiet_till; /* minutes of the recipients' day; equal: none */
	double until; /* it is spread evenly until then; 0: as fast as its limits let it */
	const struct pacer_lane *lanes;
	size_t lane_count;
};

struct pacer;
struct braker;

/* policy and brakes are borrowed; brakes NULL: there are none. takeover_s: for so long another
 * producer's calendars, of a higher epoch than ours, keep ours out while we hold the lease; then
 * they are taken for a leftover of another database. NULL without memory. */
struct pacer *pacer_new(const struct policy *policy, const struct braker *brakes, long takeover_s);
void pacer_free(struct pacer *p);

/* What went out in 24 hours, as of `now`: bulk is slowed down so that what is left lasts. */
void pacer_set_quota(struct pacer *p, const struct quota *quota, double now);

/* Publishes when it is time to. generation: epoch of the lease. 0; -1 with err: no memory, or
 * Redis failed (redis->err). */
int pacer_round(struct pacer *p, redisContext *redis, int64_t generation,
    const struct pacer_run *runs, size_t count, struct err *err) MUST_CHECK;

#endif
