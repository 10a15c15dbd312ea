/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rehearsal: plays the runs of a scenario recipient by recipient in virtual time, against providers
 * that refuse, through all that shapes in production: calendars as the leading producer makes them
 * (publication.h), admission, brakes, retries, quota and warm-up. Every message and reply is shown to
 * the referee. No clock, no network.
 */
#ifndef KAIRAN_REHEARSAL_H
#define KAIRAN_REHEARSAL_H

#include <stdio.h>

#include "lane_figures.h"
#include "referee.h"
#include "scenario.h"

#define REHEARSAL_EVENTS_MAX 500

struct rehearsal_run {
	const char *name; /* of the scenario */
	uint64_t recipients, sent, failed, expired, doubt, open;
	double began, finish, forecast; /* us since 2026; forecast 0: none */
	const char *canary; /* what became of it; NULL: there was none, or it was not judged */
};

/* A change of a brake. */
struct rehearsal_event {
	double at;
	char name[PROVIDERS_NAME_MAX];
	const char *mode;
	double per_s;
	unsigned connections, batch;
	int code;
};

struct rehearsal_lane {
	struct lane_figure figure;
	double deviation, order_deviation; /* messages; deviation below 0: it had no line */
};

struct rehearsal {
	uint64_t sent, failed, expired, doubt,
	    open; /* recipients; open: when nothing moved any more */
	uint64_t tries, deferred, given_back, retries, connections, calls, lost_permits;
	double finish, busy_from; /* us since 2026 */
	struct rehearsal_run runs[SCENARIO_RUNS_MAX];
	size_t run_count;
	struct rehearsal_event events[REHEARSAL_EVENTS_MAX];
	size_t event_count, events_left_out;
	struct referee_rule rules[REFEREE_RULES];
	double urgent_wait_p99;	      /* us */
	struct rehearsal_lane *lanes; /* owned; by lane, and all of them behind the last one */
};

struct rehearsal_hooks {
	FILE *trace; /* "time_us lane campaign tries" a message, or NULL */
	void (*progress)(void *ctx, uint64_t done); /* now and then; may be NULL */
	void *ctx;
};

/* 0, or -1 with err. Release either way. */
void rehearsal_release(struct rehearsal *r);
int rehearsal_play(const struct scenario *s, const struct rehearsal_hooks *hooks,
    struct rehearsal *result, struct err *err) MUST_CHECK;

#endif
