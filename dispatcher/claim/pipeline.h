/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pipeline: one round trip for all runs that want flights: measure their lists, ask reserve.lua for
 * permits, serve late flights, pop ids for the rest. Ends by itself and hands the ids on (taking.h).
 */
#ifndef KAIRAN_PIPELINE_H
#define KAIRAN_PIPELINE_H

#include "claimer.h"

/* Has it room for flights, and is it its time? */
bool pipeline_is_wanted(const struct claimer *c, const struct live_run *run, uint64_t now_ms);

/* Starts one, of the runs that are wanted; c->pipeline until it has ended. */
void pipeline_start(struct claimer *c);

#endif
