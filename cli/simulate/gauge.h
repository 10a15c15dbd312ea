/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gauge: measures a stream of releases against what was planned and allowed. It knows the plan
 * and the limits, nothing of the admission that made the stream. O(1) a message.
 */
#ifndef KAIRAN_GAUGE_H
#define KAIRAN_GAUGE_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "plan.h"
#include "scenario.h"

#define GAUGE_NEAR 16 /* minutes of distance from the hour */
#define GAUGE_STRICT_MINUTES 4

/* Counts in windows that lie wholly in the lane's fully open time. */
struct gauge_windows {
	double n, sum, squares, peak;
	uint64_t current;
};

struct gauge_lane {
	const struct scenario_lane *lane;
	const struct plan_lane *plan;
	uint64_t sent;
	double deviation; /* D, messages */
	double late_us;	  /* the most a release came behind its planned time */
	double last;	  /* release before */
	double tat;	  /* plan's integral at which the next one is in time */
	uint64_t longest_run;
	uint64_t near_hour[GAUGE_NEAR];
	struct gauge_windows second, ten, minute;
	uint64_t this_second, violations;
	size_t row;	 /* of the plan's integral */
	double passed;	 /* integral before `row` */
	size_t open_row; /* of the windows */
};

struct gauge {
	const struct scenario *scenario;
	struct gauge_lane *lanes; /* owned */
	double *limiter_last;	  /* owned; by limiter */
	double account_last, finish;
	double second_at; /* start of the second being counted, us */
	uint64_t sent, window_violations, strict_near, calls;
	uint32_t run_lane;
	uint64_t run;
	uint32_t *minutes; /* owned; permits by minute, for the quota */
	size_t minute_count;
	struct gauge_windows total; /* minutes in which every unfinished lane is fully open */
	uint64_t total_minute;
	bool total_open;
};

int gauge_init(struct gauge *g, const struct scenario *s, const struct plan_lane *plans,
    struct err *err) MUST_CHECK;
void gauge_release(struct gauge *g);

/* One message: `at` its permit (never before the last one), `released` when it left. */
void gauge_take(struct gauge *g, uint32_t lane, double at, double released);

/* Behind the last message. */
void gauge_end(struct gauge *g);

/* 24-hour windows, at every minute, that hold more than the quota. */
uint64_t gauge_quota_violations(const struct gauge *g);

/* Minutes between a second and the nearest full hour of the lane's zone. */
int gauge_distance(const struct scenario_lane *lane, double second_at);

double gauge_burst(const struct gauge_windows *w);	  /* variance / mean; 0 when unknown */
double gauge_peak_to_mean(const struct gauge_windows *w); /* 0 when unknown */

#endif
