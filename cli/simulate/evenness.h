/* SPDX-License-Identifier: Apache-2.0 */
/*
 * evenness: messages a minute to each destination around the hours at which some of them are closed,
 * reckoned from what left alone. What a destination had in the open minutes of an hour is the measure
 * for the minutes behind them: where it was closed it must not make up for it in a rush, and where it
 * was not it must not take what the closed ones leave free. Judged only while nothing else moves
 * rates. Pure; times are us since 2026.
 */
#ifndef KAIRAN_EVENNESS_H
#define KAIRAN_EVENNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "zone.h"

#define EVENNESS_RISE 1.05
#define EVENNESS_SETTLE_US (16 * 60e6) /* a soft guard's wait at a start, and its ramp */

struct evenness_destination {
	bool closes; /* around its hours */
	const struct zone *zone;
	unsigned lanes; /* each may be a message and a half off its line */
};

struct evenness_finding {
	size_t destination;
	double at; /* the minute's end */
	double got, most;
	bool closes;
};

struct evenness_terms {
	const struct evenness_destination *destinations; /* borrowed */
	size_t count;
	double start;
	/* Asked at the end of each minute: another number when somebody began, or has nothing left. */
	uint64_t (*who)(void *ctx);
	/* Told of each minute that was looked at. */
	void (*judge)(void *ctx, const struct evenness_finding *f);
	void *ctx;
};

struct evenness;

/* NULL without memory. */
struct evenness *evenness_new(const struct evenness_terms *t) MUST_CHECK;
void evenness_free(struct evenness *e);

void evenness_leave(struct evenness *e, size_t destination, double now);

/* Something happened that moves rates: nothing is judged until they have settled. */
void evenness_disturb(struct evenness *e, double now);

#endif
