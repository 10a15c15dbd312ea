/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pacer: hands what publication.h makes to Redis, each minute and when something changed.
 * Dispatchers draw their permits from it (reserve.lua); when nobody renews it, it runs out and
 * nothing is sent.
 */
#ifndef KAIRAN_PACER_H
#define KAIRAN_PACER_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "publication.h"

#define PACER_EVERY_MS 60000

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
