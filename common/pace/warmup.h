/* SPDX-License-Identifier: Apache-2.0 */
/*
 * warmup: how many recipients a new route may send to in 24 hours, growing by the day
 * (common/data/warmup.tsv), as long as bounces and complaints stay below the lines. Pure.
 */
#ifndef KAIRAN_WARMUP_H
#define KAIRAN_WARMUP_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "slice.h"

#define WARMUP_NAME_MAX 32
#define WARMUP_DAY_S 86400
/* Per cent of the last 24 hours above which a day does not count; rates of fewer than
 * WARMUP_CERTAIN mails say nothing. */
#define WARMUP_BOUNCE_LINE 2.0
#define WARMUP_COMPLAINT_LINE 0.1
#define WARMUP_CERTAIN 100

/* The limit of a schedule after so many days; 0: none any more. -1 with err: no such schedule, or a
 * row of the table is not understood. */
int warmup_limit(
    struct slice table, const char *schedule, int day, uint64_t *limit, struct err *err) MUST_CHECK;

/* The day at which the limit changes next; -1: never. */
int warmup_next_day(struct slice table, const char *schedule, int day);

struct warmup_rates {
	double attempted, hard, sent, complained; /* of the last 24 hours */
};

enum warmup_verdict {
	WARMUP_WAIT,	/* the day is not over */
	WARMUP_ADVANCE, /* the next day begins */
	WARMUP_BOUNCES, /* held: too many of these */
	WARMUP_COMPLAINTS
};

/* day_began, now: s of any clock. */
enum warmup_verdict warmup_judge(double day_began, double now, const struct warmup_rates *rates);

#endif
