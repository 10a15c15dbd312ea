/* SPDX-License-Identifier: Apache-2.0 */
/*
 * forecast: when a run would end at the pace that the producer would publish for it: the same
 * policy and plan_make(), without a message sent. Pure.
 */
#ifndef KAIRAN_FORECAST_H
#define KAIRAN_FORECAST_H

#include "policy.h"

/* Where a run's rate comes from. */
enum forecast_basis {
	FORECAST_NONE,	  /* nothing limits it, and nothing was ever sent: no forecast */
	FORECAST_STREAM,  /* its share of the stream's rate */
	FORECAST_ACCOUNT, /* its share of the account's */
	FORECAST_SEEN	  /* no limit: the fastest minute that was seen */
};

/* A row of plan_rates(). */
struct forecast_rates {
	double stream_per_s, seen_per_s; /* 0: none */
	double of_stream, of_account;	 /* other runs under way that share */
};

/* A list with a clock of its own; group PROVIDERS_NONE: the one of all the others. */
struct forecast_lane {
	int group;
	double count;
	bool capped;		 /* held to the rate of its group */
	const struct zone *zone; /* of its recipients; NULL: it keeps no quiet hours */
};

struct forecast_request {
	const struct policy *policy;
	double per_s;		    /* of the run, 0: no limit */
	double start;		    /* us since 2026 */
	int quiet_from, quiet_till; /* minutes of the recipients' day; equal: none */
	bool no_guard, no_quiet;
	double canary; /* recipients that go first; 0: all at once. They end before the others */
	double canary_wait_us; /* begin, so much later */
};

/* Messages a second that a run gets while all others under way go on. */
double forecast_rate(
    const struct policy *policy, const struct forecast_rates *rates, enum forecast_basis *basis);
const char *forecast_basis_name(enum forecast_basis basis);

/* The rate for plan_make(): a single list has the run's rate, several share PLAN_FILL of it. */
double forecast_account(double per_s, size_t lanes);

/* What is planned for a lane at the start. */
struct forecast_plan {
	double peak_per_s, end; /* messages; us since 2026 */
};

/* Of each lane, when all begin at once and nobody is asleep; -1 as below. */
int forecast_plans(const struct forecast_request *r, const struct forecast_lane *lanes,
    size_t count, struct forecast_plan *plans, struct err *err) MUST_CHECK;

/* When the last lane ends, into *finish. 0; -1 with err: it takes longer than PLAN_DAYS_MAX, no
 * memory. */
int forecast_finish(const struct forecast_request *r, const struct forecast_lane *lanes,
    size_t count, double *finish, struct err *err) MUST_CHECK;

#endif
