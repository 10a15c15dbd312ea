/* SPDX-License-Identifier: Apache-2.0 */
/*
 * provider_figures: a provider's own counts by day, out of a file that was exported from it. Pure.
 *
 *   JSON   {"SendDataPoints":[{"Timestamp":…,"DeliveryAttempts":…,"Bounces":…,"Complaints":…,
 *          "Rejects":…}]}                                     aws ses get-send-statistics
 *          {"Label":"Send","Datapoints":[{"Timestamp":…,"Sum":…}]}, or an array of these
 *                                                             aws cloudwatch get-metric-statistics
 *          {"MetricDataResults":[{"Label":"Send","Timestamps":[…],"Values":[…]}]}
 *                                                             aws cloudwatch get-metric-data
 *   CSV    a heading with a column Date, Day, Time or Timestamp and columns named as in JSON, or
 *          Send(s), Delivery, Deliveries, Bounce(s), Complaint(s), Reject(s), without regard to case
 *
 * Days are those of UTC. Points of one day are added up.
 */
#ifndef KAIRAN_PROVIDER_FIGURES_H
#define KAIRAN_PROVIDER_FIGURES_H

#include <stdint.h>

#include "err.h"
#include "slice.h"

#define PROVIDER_FILE_MAX ((size_t)16 << 20)
#define PROVIDER_DAYS_MAX 1100 /* three years */

enum provider_column {
	PROVIDER_SENDS,
	PROVIDER_DELIVERIES,
	PROVIDER_BOUNCES,
	PROVIDER_COMPLAINTS,
	PROVIDER_REJECTS,
	PROVIDER_COLUMNS
};

struct provider_day {
	int32_t day; /* since 1970-01-01 */
	int64_t counts[PROVIDER_COLUMNS];
};

struct provider_figures {
	struct provider_day days[PROVIDER_DAYS_MAX]; /* by day */
	size_t count;
	bool has[PROVIDER_COLUMNS]; /* which columns the file has at all */
};

/* 0, or -1 with err. */
int provider_figures_read(
    struct provider_figures *f, struct slice text, struct err *err) MUST_CHECK;

/* "sends", "deliveries", … */
const char *provider_column_name(enum provider_column column);

#endif
