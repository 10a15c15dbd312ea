/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source_limits: how fast each of our addresses may send (mx.source_rates): a rate, or a warm-up
 * schedule since a day. And the clock of one: when the next message may leave, without credit. Pure.
 */
#ifndef KAIRAN_SOURCE_LIMITS_H
#define KAIRAN_SOURCE_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "slice.h"
#include "warmup.h"

#define SOURCE_LIMITS_MAX 64
#define SOURCE_LIMITS_ADDRESS 46
#define SOURCE_LIMITS_PARTS 1000 /* of a rate that dispatchers share */

struct source_limits {
	struct source_limit {
		char address[SOURCE_LIMITS_ADDRESS]; /* as inet_ntop() writes it */
		double per_s;			     /* 0: the schedule says */
		char schedule[WARMUP_NAME_MAX + 1];
		int64_t began_s; /* the schedule's first day, since 1970 */
	} list[SOURCE_LIMITS_MAX];
	size_t count;
};

/* "ADDRESS=RATE, ADDRESS=SCHEDULE@YYYY-MM-DD"; may be empty. table: of schedules (warmup.h). 0, or
 * -1 with err. */
int source_limits_parse(
    struct source_limits *s, const char *text, struct slice table, struct err *err) MUST_CHECK;

/* Messages a second, a day's recipients evenly over the day; 0: no limit. */
double source_limit_rate(const struct source_limit *l, struct slice table, int64_t now_s);

/* NULL: the address has none. */
const struct source_limit *source_limits_find(const struct source_limits *s, const char *address);

/* One message may leave at once; what it uses comes again by the part of the rate that its holder has. Of
 * two parts in between the lower one counts, so all holders together pass no more than the rate in any
 * window, and one each. Zeroed at first. */
struct source_clock {
	bool begun;
	double ready; /* messages, at most 1 */
	uint64_t at_us;
	unsigned parts;
};

/* Time has passed; parts: of SOURCE_LIMITS_PARTS, from now on. */
void source_clock_run(struct source_clock *c, uint64_t now_us, double per_s, unsigned parts);

/* us from then until the next message may leave; 0: it may. UINT64_MAX: with no part, never. */
uint64_t source_clock_wait(const struct source_clock *c, double per_s);

void source_clock_take(struct source_clock *c);

#endif
