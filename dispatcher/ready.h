/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ready: the flights that wait for their time, a binary heap. They leave by due time, and those
 * due at the same time in the order in which they first came in; one that goes ahead (f->ahead_us)
 * as if it had been due earlier, and must be due when it is put in: the interleaving of domains is
 * that order, and without a rate limit a whole batch is due at once. No I/O, no clock.
 *
 * Where what has no limit waits in line, a flight with one would find its moment over each time it
 * comes to the front: ready_next() takes turns between the line and those whose moment is now.
 */
#ifndef KAIRAN_READY_H
#define KAIRAN_READY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "flight.h"

/* Zeroed it is empty. Fields are read-only for others. */
struct ready {
	struct flight **heap; /* heap[0] leaves next */
	size_t count, room;
	size_t limited;	 /* that may be late (f->late_us) */
	bool passed;	 /* the last turn went past the line */
	uint64_t orders; /* flights numbered so far */
};

/* Puts the flight in by f->due_us; numbers it (f->order) the first time, so that one that comes
 * back keeps its place. 0, or -1 without memory: the flight is still the caller's. */
MUST_CHECK int ready_add(struct ready *r, struct flight *f);

/* The flight due first, removed; NULL when there is none. */
struct flight *ready_pop(struct ready *r);

/* The flight that goes next, removed: the one due first; or, every second time that this one has no limit
 * and has waited, the one with a limit that is due, not late yet and would be late first. may (NULL: all)
 * says which of the latter can. NULL when there is none. */
struct flight *ready_next(struct ready *r, uint64_t now_us, bool (*may)(const struct flight *f));

/* Removes all flights of a run (all of them: run NULL) and hands each to `give`. */
void ready_remove_run(struct ready *r, const struct live_run *run,
    void (*give)(void *ctx, struct flight *f), void *ctx);

void ready_release(struct ready *r);

#endif
