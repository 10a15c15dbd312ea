/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lane_figures: what each lane of a rehearsal did, from what left and at which rates it was planned: the
 * figures that gauge.h has of a plain scenario. Pure; times are us since 2026.
 */
#ifndef KAIRAN_LANE_FIGURES_H
#define KAIRAN_LANE_FIGURES_H

#include <stdbool.h>
#include <stdint.h>

#include "gauge.h"
#include "scenario.h"

enum { FIGURES_1S, FIGURES_10S, FIGURES_60S, FIGURES_WINDOWS };

/* Counts of windows in which the lane had one rate all the time, against what was planned. */
struct figures_window {
	double n, sum, planned, squares, products, planned_squares, peak;
	double current, due, low, high; /* of the window that is being counted; its rates */
};

struct lane_figure {
	uint64_t sent, run, near_hour[GAUGE_NEAR];
	struct figures_window windows[FIGURES_WINDOWS];
};

struct lane_figures {
	const struct scenario *scenario;
	struct lane_figure *lanes; /* owned; by lane, and all of them behind the last one */
	double second_at;	   /* the second being counted began */
	uint32_t last;
	uint64_t run;
	/* Messages a second that are planned for a lane now; 0: none, or it has nothing left. */
	double (*rate)(void *ctx, uint32_t lane, double at);
	void *ctx;
};

/* false without memory. Release either way. */
bool lane_figures_init(struct lane_figures *f, const struct scenario *s) MUST_CHECK;
void lane_figures_release(struct lane_figures *f);

/* Before the rates change, and now and then. */
void lane_figures_pass(struct lane_figures *f, double now);
void lane_figures_take(struct lane_figures *f, uint32_t lane, double at);

double lane_figures_burst(const struct figures_window *w);	  /* 0 when unknown */
double lane_figures_peak_to_mean(const struct figures_window *w); /* 0 when unknown */

#endif
