/* SPDX-License-Identifier: Apache-2.0 */
/*
 * claim: brings flights in. One pipeline at a time, for all runs: measure their lists, ask
 * reserve.lua for permits, pop ids, one CLAIM for each run; then the rows go to the route with
 * their release times. No more is popped than there are permits, and nothing is claimed while
 * enough is ready.
 *
 * A flight that could not leave near its time (no connection was free, the machine stood still)
 * asks for another permit before it leaves, so that what was late does not leave all at once.
 */
#ifndef KAIRAN_CLAIM_H
#define KAIRAN_CLAIM_H

#include "dispatcher.h"
#include "flight.h"

struct claimer *claimer_new(struct dispatcher *d);
void claimer_free(struct claimer *c);

/* Looks whether a pipeline should start; cheap, called whenever something changed. */
void claim_kick(struct claimer *c);

/* Ends the timer. Pipelines under way end by themselves; claim_is_idle tells. */
void claim_stop(struct claimer *c);
bool claim_is_idle(const struct claimer *c);

/* Takes a flight that is late; it goes back to the route with its next permit, or is released. */
void claim_late(struct claimer *c, struct flight *f);

/* Releases the late flights of a run (all: NULL). */
void claim_release_late(struct claimer *c, const struct live_run *run);

/* Gives ids back to the run's lists (after RELEASE). */
void claim_give_back(
    struct claimer *c, const struct live_run *run, const int *ids, const int *lanes, size_t count);

#endif
