/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quota: how much may go out in any 24 hours, in buckets of a minute. A bucket leaves when it lies
 * wholly more than a day back, so no day of any start is above the limit. Pure; the same rules are
 * in common/lua/reserve.lua and quota.lua.
 *
 * Times are us since 2026 as in admission.h; minutes count from there.
 */
#ifndef KAIRAN_QUOTA_H
#define KAIRAN_QUOTA_H

#include <stdint.h>

#define QUOTA_DAY 1440	/* minutes */
#define QUOTA_RING 1500 /* a day, what may be reserved ahead and some */
#define QUOTA_MINUTE_US 60e6

/* Zeroed: no limit. */
struct quota {
	uint64_t limit;	 /* 0: none */
	uint64_t sum;	 /* of minutes and others */
	uint64_t others; /* what an outside authority counts beyond our own */
	int64_t tail;	 /* oldest minute in sum */
	uint64_t minutes[QUOTA_RING];
};

/* Forgets what left by `now`; what is left of the limit, UINT64_MAX without one. Times go forward. */
uint64_t quota_left(struct quota *q, double now);

void quota_add(struct quota *q, double at, uint64_t n);

/* n of the last permits were not used. */
void quota_return(struct quota *q, uint64_t n, double now);

/* Rebuilding: at least n went out in a minute of the last day; others leave the sum alone. */
void quota_put(struct quota *q, int64_t minute, uint64_t n, double now);

/* What somebody else counted in the 24 hours before now: the larger figure is believed. */
void quota_counted(struct quota *q, uint64_t used, double now);

/* The first moment from `now` on at which n would be left if nothing more went out; INFINITY when
 * never. */
double quota_opens(const struct quota *q, uint64_t n, double now);

/* When the last of n more messages is through, at most per_s a second (0: no limit) and none above
 * the quota; INFINITY after a year. */
double quota_finish(const struct quota *q, double n, double per_s, double now);

/* What bulk may send a second so that the next hour's room lasts for that hour and `kept` is left
 * to others; INFINITY when n fit anyway, 0 when nothing is left. */
double quota_pace(const struct quota *q, double n, uint64_t kept, double now);

#endif
