/* SPDX-License-Identifier: Apache-2.0 */
/*
 * braker: the brakes of all destinations, kept by the leading producer. Each round it takes what
 * dispatchers have heard out of Redis, lets the brakes react (common/pace/brake.h), writes what
 * changed into kairan.brake, pauses runs that need a person, gives braked lanes a list of their own,
 * and tells dispatchers. The pacer makes calendars of it. PostgreSQL keeps the brakes, so nothing is
 * forgotten when a producer or Redis is lost; reports that were on their way are.
 */
#ifndef KAIRAN_BRAKER_H
#define KAIRAN_BRAKER_H

#include <hiredis/hiredis.h>

#include "brake.h"
#include "config.h"
#include "db.h"
#include "err.h"
#include "policy.h"

struct braker;

/* Both are borrowed. NULL without memory. */
struct braker *braker_new(const struct config *config, const struct policy *policy);
void braker_free(struct braker *b);

/* epoch: of the lease; with another one everything is read anew. 0; -1 with err: PostgreSQL (db_is_lost) or Redis (redis->err) failed, or no memory. */
int braker_round(struct braker *b, struct db *db, redisContext *redis, int64_t epoch,
    struct err *err) MUST_CHECK;

/* Tells dispatchers, when there is something to tell: after the calendars, since who is held gives
 * his permits back. As above. */
int braker_tell(struct braker *b, redisContext *redis, struct err *err) MUST_CHECK;

/* The brake that limits the rate of this destination; NULL: none does. Valid until the next round. */
const struct brake *braker_find(const struct braker *b, const char *name);

/* Counts what calendars depend on. */
uint64_t braker_version(const struct braker *b);

#endif
