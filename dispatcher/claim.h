/* SPDX-License-Identifier: Apache-2.0 */
/*
 * claim: brings flights in. For one run at a time a pipeline: measure the queue, reserve pace,
 * pop ids, CLAIM; then the rows go to the route with their release times. No more is popped than
 * was reserved, and nothing is claimed while enough is ready.
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

/* Gives ids back to the run's queue (after RELEASE). */
void claim_give_back(struct claimer *c, const struct live_run *run, const int *ids, size_t count);

#endif
