/* SPDX-License-Identifier: Apache-2.0 */
/*
 * admission: who may leave when. Hands out release times ahead of time, so that nobody polls a
 * full bucket; no time is ever handed out twice, and time that passed unused is lost (no credit).
 *
 * This is the backend in plain memory, for the simulator. common/lua/reserve.lua is the same
 * algorithm inside Redis, shared by all dispatchers; given the same input both grant the same
 * (tests/unit/test_admission.c). Change them together.
 *
 * A pool is a set of limiters and lanes:
 *
 *   limiter  a rate calendar and the time from which the next permit may leave: the account (all
 *            lanes), a group, a route or source address. In no window does it pass more than the
 *            calendar's integral plus 1.
 *   lane     a rate calendar that is a plan: the k-th permit falls due when the plan's integral
 *            reaches k - 1/2, never before. A lane that was kept waiting catches up at
 *            1/ADMISSION_SQUEEZE of its rate, two permits never closer than 0.46 of an interval
 *            (SQUEEZE - SLACK), and at most ADMISSION_LAG_US of it: what is older is the
 *            planner's. So in no window does a lane get more than its integral / SQUEEZE + 1.5.
 *
 * A permit that passed unused is lost for the limiters, since its moment is over. Its lane goes back
 * by an interval, so that what machines let pass does not turn one lane against the others.
 *
 * The limiters that all lanes of a call wait for (urgent ones aside) are its line: their free
 * moments are dealt to the lanes. So the work of a permit does not grow with the number of lanes.
 *
 * An urgent lane does not wait for the account: its share of it is a limiter in its chain, and who
 * plans leaves that share out of the account's calendar. So it gets the first free moment of its
 * own limiters however far ahead others have reserved, and is served before them.
 *
 * A calendar is rows (from, till, interval). Between rows, and behind the last one, nothing may
 * leave: who sets the pace is gone, so sending stops. Where rows meet, what is left of an
 * interval counts on at the new rate.
 *
 * Among the lanes that are due at a free moment the one with the earliest deadline (half an
 * interval behind its due time) gets it, so fast lanes are hardly displaced and every lane stays
 * close to its line. The planner keeps the sum of the lanes below the account; when it does not,
 * slow lanes wait longest. One call should name every lane that the caller serves: limiters
 * shared by lanes are handed out in order of time.
 *
 * All times are microseconds since 2026-01-01T00:00:00Z as double, exact to 1/64 us until 2030.
 */
#ifndef KAIRAN_ADMISSION_H
#define KAIRAN_ADMISSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "quota.h"

#define ADMISSION_EPOCH_S 1767225600 /* 2026-01-01T00:00:00Z */
#define ADMISSION_CHAIN_MAX                                                                        \
	4 /* limiters of a lane beside the account: urgent part, stream, group, route */
#define ADMISSION_SQUEEZE 0.96
#define ADMISSION_SLACK 0.5
#define ADMISSION_LAG_US 60e6
#define ADMISSION_HORIZON_MAX_US 1e6
#define ADMISSION_ROWS_MAX 512	   /* of one calendar */
#define ADMISSION_PERMITS_MAX 4096 /* of one call */

struct admission_row {
	double from, till; /* us; rows are in order and do not overlap */
	double interval;   /* us a message, above 0 */
};

struct admission_want {
	uint32_t lane;
	uint32_t count;	 /* messages at hand */
	uint32_t missed; /* its permits that passed unused, and were not told of before */
};

struct admission_ask {
	double now;
	double horizon;			    /* us; no permit lies at or behind now + horizon */
	const struct admission_want *wants; /* each lane once */
	size_t want_count;
	uint32_t max; /* permits of this call, at most ADMISSION_PERMITS_MAX */
};

struct admission_permit {
	double at; /* us; in order of time, behind those of urgent lanes, lane by lane */
	uint32_t lane;
};

struct admission;

struct admission *admission_new(void) MUST_CHECK;
void admission_free(struct admission *a);

/* New ones without a calendar; their number, or -1 without memory. chain: as of admission_set_chain(). */
int admission_add_limiter(struct admission *a) MUST_CHECK;
int admission_add_lane(struct admission *a, const int *chain, size_t chain_count) MUST_CHECK;

/* Whether a lane is urgent; none is at first. */
void admission_set_urgent(struct admission *a, int lane, bool urgent);

/* The generation of what follows: 0, and it is the newest one seen; -1 with err when it is older. */
int admission_accept(struct admission *a, uint64_t generation, struct err *err) MUST_CHECK;

/* Calendars; rows are copied. 0, or -1 with err: too many rows, out of order, no interval, or a
 * generation older than the newest one seen (an old planner that still believes it leads).
 * limiter -1: the account; without a calendar of its own it does not limit. */
int admission_plan_limiter(struct admission *a, uint64_t generation, int limiter,
    const struct admission_row *rows, size_t count, struct err *err) MUST_CHECK;
int admission_plan_lane(struct admission *a, uint64_t generation, int lane,
    const struct admission_row *rows, size_t count, struct err *err) MUST_CHECK;

/* Its limiters from now on, at most ADMISSION_CHAIN_MAX; one that is named again counts once. */
void admission_set_chain(struct admission *a, int lane, const int *chain, size_t chain_count);

/* Before a calendar is replaced, as plan.lua does it: a clock that stands behind all that may have
 * been given goes back to there; the way counts as owed, at most the one message that it was for. */
void admission_rewind_limiter(struct admission *a, int limiter, double now);
void admission_rewind_lane(struct admission *a, int lane, double now);

/* Takes away calendar and clock, and what the calendar of a lane says of its limiters and of urgency;
 * without its calendar the account does not limit any more. */
void admission_drop_limiter(struct admission *a, int limiter);
void admission_drop_lane(struct admission *a, int lane);

/* Permits in any 24 hours (0: no limit), and how many an outside authority has counted in the 24
 * hours before now: the larger figure is believed until it says another (quota.h). */
void admission_set_quota(struct admission *a, uint64_t limit, uint64_t used, double now);

/* As it stands. */
const struct quota *admission_quota(const struct admission *a);

/* Permits that nobody used do not count, as in quota_return.lua. */
void admission_return_quota(struct admission *a, uint64_t n, double now);

/* That at least n went out in a minute since 2026, before this pool was known. */
void admission_put_quota(struct admission *a, int64_t minute, uint64_t n, double now);

/* As if Redis had lost the clocks. What was handed out before may still be leaving: the first
 * call after it and all within ADMISSION_HORIZON_MAX_US give nothing, then all start at their
 * pace. (The script does so for a pool that it sees for the first time, too.) */
void admission_forget(struct admission *a);

/* Hands out permits into `permits` (room for ask->max). Returns their number; *wake is the time
 * at which asking again is of use, from 1 ms to 1 s after now. */
size_t admission_reserve(struct admission *a, const struct admission_ask *ask,
    struct admission_permit *permits, double *wake);

#endif
