/* SPDX-License-Identifier: Apache-2.0 */
/*
 * taking: ids of one run that were popped, with their permits, on the way to CLAIM; lives until its
 * answer. What it claimed goes to the route; when its commit is unknown, what it took is looked up
 * and released.
 */
#ifndef KAIRAN_TAKING_H
#define KAIRAN_TAKING_H

#include "claimer.h"

/* An id that was popped, and its permit. */
struct entry {
	int id, lane;
	uint64_t due_us, late_us;
};

struct taking;

/* An empty one with room for so many ids, in front of the list. NULL without memory. */
struct taking *taking_new(
    struct claimer *c, struct live_run *run, size_t room, struct taking *next) MUST_CHECK;

/* False: there is no room. */
bool taking_add(struct taking *t, const struct entry *entry) MUST_CHECK;

struct taking *taking_next(const struct taking *t);
const struct live_run *taking_run(const struct taking *t);
size_t taking_count(const struct taking *t);

/* Sends the CLAIM; the taking frees itself behind its answer and kicks the claimer. */
void taking_claim(struct taking *t);

#endif
