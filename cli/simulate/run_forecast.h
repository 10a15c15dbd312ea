/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run_forecast: a run played in virtual time through the engines that production uses: lists and
 * rates as the pacer would have them (policy, forecast), plan_make() and admission (simulation).
 */
#ifndef KAIRAN_RUN_FORECAST_H
#define KAIRAN_RUN_FORECAST_H

#include <stdint.h>

#include "forecast.h"
#include "quota.h"

#define FORECAST_BUCKET_S 900
#define FORECAST_OTHERS "all others" /* the list of lanes without a clock of their own */

struct forecast_list {
	const char *name; /* borrowed */
	int group;	  /* PROVIDERS_NONE: FORECAST_OTHERS */
	uint64_t count;
	bool capped;
	const struct zone *zone; /* of its recipients; NULL: it keeps no quiet hours */
	/* filled: */
	double peak_per_min, end; /* messages; us since 2026 */
	const char *
	    binding; /* "group limit", "guard window", "quiet hours", "stream rate", "account", "quota", "spread", "nothing" */
};

struct forecast_bucket {
	double at; /* us since 2026 */
	uint64_t messages;
	double closed_s; /* for which the guard closes the list that it closes longest */
};

struct run_forecast {
	const struct policy *policy;
	struct forecast_rates rates;
	const struct quota *quota; /* of 24 hours, as it is now; NULL: none */
	double
	    spread_s; /* over which it is spread evenly; 0: not. Set to 0 when that is too short */
	double canary, canary_wait_s; /* recipients that go first, and the wait for them; 0: none */
	double start;		      /* us since 2026 */
	int quiet_from, quiet_till;   /* minutes of the recipients' day; equal: none */
	int dispatchers;	      /* at least 1 */
	double overrun; /* real by expected duration of earlier runs, the 90th of 100; 0: unknown */
	struct forecast_list *lists;
	size_t count;
	/* filled: */
	bool known; /* false: nothing limits it and nothing was ever sent */
	enum forecast_basis basis;
	double per_s, p50, p90, peak_per_min;
	double others;			 /* us since 2026, when those behind the canary begin */
	struct forecast_bucket *buckets; /* owned */
	size_t bucket_count;
};

/* 0, or -1 with err. Release either way. */
int run_forecast_make(struct run_forecast *f, struct err *err) MUST_CHECK;
void run_forecast_release(struct run_forecast *f);

#endif
