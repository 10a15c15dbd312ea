/* SPDX-License-Identifier: Apache-2.0 */
/*
 * simulation: plays a scenario in virtual time through the admission that production uses
 * (common/pace/admission.h): a planner that publishes 15 minutes of calendar each minute,
 * dispatchers that reserve ahead and release, faults. No clock, no network.
 */
#ifndef KAIRAN_SIMULATION_H
#define KAIRAN_SIMULATION_H

#include <stdio.h>

#include "gauge.h"
#include "scenario.h"

struct simulation_hooks {
	FILE *trace; /* "time_us lane domain" a message, or NULL */
	uint64_t trace_every;
	void (*progress)(void *ctx, uint64_t done); /* now and then; may be NULL */
	void *ctx;
};

struct simulation_result {
	double finish, planned_finish; /* us since 2026 */
	uint64_t calls;		       /* of admission */
	uint64_t lost_permits;	       /* reserved by a dispatcher that died */
	uint64_t unsent;	       /* when the calendar never let them go */
};

/* Fills plans (room for s->lane_count, zeroed; released by the caller) and the gauge. 0, or -1
 * with err. */
int simulation_run(const struct scenario *s, const struct simulation_hooks *hooks,
    struct plan_lane *plans, struct gauge *g, struct simulation_result *result,
    struct err *err) MUST_CHECK;

/* order_D of every lane into worst (room for s->lane_count), and the order itself into `trace`
 * ("n lane domain", one in `every`; NULL: not). 0, or -1 with err. */
int simulation_order(const struct scenario *s, FILE *trace, uint64_t every, double *worst,
    struct err *err) MUST_CHECK;

#endif
