/* SPDX-License-Identifier: Apache-2.0 */
/*
 * publication: who may leave when, as text for common/lua/plan.lua: a calendar of the next
 * PUBLICATION_AHEAD_S for each list of each running run, and for the limiters they share (the
 * account, streams, destinations), after shares, brakes, the quota, guards and quiet hours. The
 * leading producer hands it to Redis (producer/pacer.h), the simulator to its own admission.
 * Pure but for a line in the log.
 */
#ifndef KAIRAN_PUBLICATION_H
#define KAIRAN_PUBLICATION_H

#include "brake.h"
#include "buf.h"
#include "policy.h"
#include "quota.h"
#include "share.h"

#define PUBLICATION_AHEAD_S 900
#define PUBLICATION_PARTS_MAX 256

/* A list of a run. */
struct pacer_lane {
	const struct zone *zone; /* of its recipients, NULL: as the run has no quiet hours */
	int lane;		 /* 0: the list of all that have no clock of their own */
	int group;		 /* of the provider table; PROVIDERS_NONE for list 0 */
	const char *name;	 /* of the lane, borrowed */
	const char *route;	 /* of its dispatchers, borrowed; NULL or "": those without one */
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

struct publication_request {
	const struct policy *policy;
	/* The brake that limits a destination, or BRAKE_ACCOUNT; NULL: none does. May be NULL. */
	const struct brake *(*find_brake)(const void *brakes, const char *name);
	const void *brakes;
	const struct quota *quota; /* as of quota_now: bulk is slowed down so that it lasts */
	double quota_now;
	double now; /* us since 2026, as all times */
	const struct pacer_run *runs;
	size_t count;
};

/* What one publication must know of the last one. Zeroed: there was none. */
struct publication_past {
	struct publication_part {
		char name[72];
		double urgent; /* part of this limit that urgent runs had */
	} parts[PUBLICATION_PARTS_MAX];
	size_t part_count;
	int late_run; /* that it cannot be spread was said of this one */
	/* lists and destinations under a soft guard, and their rates, by name; owned */
	struct publication_rate {
		uint64_t name;
		double per_s;
	} * rates;
	size_t rate_count;
};

void publication_past_release(struct publication_past *past);

/* Pairs of texts: a field of the pool, and "LIMITERS|FROM,TILL,INTERVAL;…" (LIMITERS for lists alone,
 * with "!" in front for urgent ones). Owned. */
struct publication {
	struct buf text;
	size_t *ends;
	size_t args, room;
	bool failed; /* no memory, sticky */
};

/* 0, or -1 with err: no memory. Release either way. */
int publication_make(struct publication *p, struct publication_past *past,
    const struct publication_request *r, struct err *err) MUST_CHECK;
void publication_release(struct publication *p);

/* Whether anything is left of it. */
bool pacer_run_is_active(const struct pacer_run *run);

/* One more pair. */
void publication_put(struct publication *p, const char *field, const char *value);
bool publication_failed(const struct publication *p);

/* Fields are even, values odd; valid until the next put. */
const char *publication_arg(const struct publication *p, size_t i);

#endif
