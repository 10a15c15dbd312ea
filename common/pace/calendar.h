/* SPDX-License-Identifier: Apache-2.0 */
/*
 * calendar: when a lane is open, and how far (0 closed .. 1 full), as pieces of time; the hour
 * guard, quiet hours and windows are shapes that multiply. Operational time is the integral of
 * the shape: plans are made in it, so a closed window never leaves a debt that bursts. Pure.
 *
 * Times are microseconds since 2026 as in admission.h.
 */
#ifndef KAIRAN_CALENDAR_H
#define KAIRAN_CALENDAR_H

#include <stdbool.h>
#include <stdint.h>

#include "admission.h"
#include "err.h"
#include "providers.h"
#include "zone.h"

#define MINUTE_US 60e6
#define HOUR_US 3600e6

/* Strict: closed from CLOSE_BEFORE to CLOSE_AFTER around the hour, ramps of RAMP at both edges,
 * everything shifted by a hash of (pool, group, hour) within EDGE. Soft: a run does not begin, and no rate rises
 * (publication.c), within SOFT_BEFORE to SOFT_AFTER around :00 and :30. */
#define GUARD_CLOSE_BEFORE_US (5 * MINUTE_US)
#define GUARD_CLOSE_AFTER_US (7 * MINUTE_US)
#define GUARD_RAMP_US (3 * MINUTE_US)
#define GUARD_RAMP_STEP_US 15e6
#define GUARD_EDGE_US 45e6
#define GUARD_SOFT_BEFORE_US (2 * MINUTE_US)
#define GUARD_SOFT_AFTER_US (4 * MINUTE_US)
#define START_STEPS 40 /* of the ramp behind a start that a soft guard put off */
#define START_STEP_US 15e6
#define QUIET_RAMP_US (15 * MINUTE_US)
#define QUIET_RAMP_STEP_US (1 * MINUTE_US)

struct shape_piece {
	double from, till;
	double open; /* 0..1 */
};

struct shape {
	struct shape_piece *pieces; /* owned; without gaps, in order */
	size_t count, room;
	bool failed; /* no memory, sticky */
};

void shape_release(struct shape *s);

/* Appends a piece up to `till`; merged with the last one when equally open. */
void shape_add(struct shape *s, double from, double till, double open);

/* The hour guard between two times. zone: whose hours; seed: hash_name(pool, group); lead_us:
 * how much earlier releases stop, for what is still under way. soft: as far open is a soft one, 0..1. */
void shape_guard(struct shape *s, enum guard_mode mode, const struct zone *zone, uint64_t seed,
    double lead_us, double soft, double from, double till);

/* Open from one minute of the local day to another (may span midnight), ramps inside. */
void shape_day(struct shape *s, const struct zone *zone, int open_minute, int close_minute,
    double from, double till);

/* A run that begins at `begin` and was moved to `moved`, which softens its start. */
void shape_start(struct shape *s, double begin, double moved, double from, double till);

/* Closes an existing shape in quiet hours: from one minute of the zone's day till another. steps: as
 * of policy_shape(). -1 without memory. */
int shape_quiet(struct shape *s, const struct zone *zone, int quiet_from, int quiet_till,
    bool steps) MUST_CHECK;

/* a * b over the time that both cover; out is emptied first. */
void shape_multiply(struct shape *out, const struct shape *a, const struct shape *b);

/* Operational time between two times. */
double shape_integral(const struct shape *s, double from, double till);

/* Rows for admission: per_s messages a second where the shape is full, between two times. Returns
 * their number, at most max. */
size_t shape_rows(const struct shape *s, double per_s, double from, double till,
    struct admission_row *rows, size_t max);

/* When a run that is due at `at` may begin for a group: behind the guard of its mode. */
double guard_start(enum guard_mode mode, const struct zone *zone, uint64_t seed, double at);

/* FNV-1a of two names with a final mix. */
uint64_t hash_name(const char *pool, const char *group);

#endif
