/* SPDX-License-Identifier: Apache-2.0 */
/*
 * claimer: what claim.c (when to claim; late flights; giving back), pipeline.c (permits and ids) and
 * taking.c (CLAIM) share. Nobody else includes this; claim.h is for the others.
 */
#ifndef KAIRAN_CLAIMER_H
#define KAIRAN_CLAIMER_H

#include "claim.h"
#include "claim_size.h"
#include "redis_time.h"

#define TROUBLE_MS 1000 /* wait after a refusal */

struct claimer {
	struct dispatcher *d;
	uv_timer_t timer;
	struct rdsloop_script reserve, give_back;
	struct pipeline *pipeline; /* NULL: none is under way */
	unsigned takings;
	uint64_t again_ms;   /* no permits before */
	struct flight *late; /* waiting for another permit */
	size_t missed;	     /* permits that passed unused since the last pipeline */
	struct redis_time redis_time;
	struct claim_size size;
};

/* The list of a run that a row's recipient belongs to. */
int claimer_list_of(const struct live_run *run, int lane);

/* Gives a flight its permit: when it is due, and how late it may leave. Urgent mail that is due goes
 * before what the relay has not had time for. */
void claimer_set_due(struct flight *f, uint64_t due_us, uint64_t late_us);

#endif
