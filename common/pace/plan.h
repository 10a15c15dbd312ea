/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan: from what remains and when lanes are open to the rate of each lane: a calendar of rows
 * per lane and the time at which the run ends. The sum of the lanes stays below the account's
 * rate by a little (PLAN_FILL), which keeps lanes from displacing each other. What closed lanes
 * leave free stays free: the others do not rise. Pure.
 */
#ifndef KAIRAN_PLAN_H
#define KAIRAN_PLAN_H

#include "calendar.h"

#define PLAN_FILL 0.97
#define PLAN_DAYS_MAX 64

enum plan_mode {
	PLAN_TOGETHER, /* all lanes end together: lowest peak */
	PLAN_ASAP,  /* each lane as fast as it may; what is left by the slow goes to the others */
	PLAN_WINDOW /* spread until `deadline` */
};

struct plan_lane {
	const struct shape *shape; /* covers the time asked for */
	double count;
	double
	    least; /* messages that its rate is for at least, until the end of all, which they do not put off */
	double cap_per_s; /* 0: none */
	/* filled: */
	struct admission_row *rows; /* owned */
	bool *full;		    /* owned; rows[i] is fully open */
	size_t row_count, row_room;
	double end;	   /* us; when its planned curve reaches count */
	double peak_per_s; /* the highest planned rate */
};

struct plan_request {
	enum plan_mode mode;
	double start, deadline; /* us; deadline of PLAN_WINDOW */
	double till;		/* us; how far the shapes reach */
	double account_per_s;	/* 0: none */
};

/* Fills the lanes' rows, up to r->till. 0; 1 when the shapes are too short (build longer ones and
 * ask again); -1 with err: infeasible in the window, no memory. */
int plan_make(const struct plan_request *r, struct plan_lane *lanes, size_t count,
    struct err *err) MUST_CHECK;

void plan_lane_release(struct plan_lane *lane);

#endif
