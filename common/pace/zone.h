/* SPDX-License-Identifier: Apache-2.0 */
/*
 * zone: offsets of a time zone from the bytes of its TZif file (RFC 8536, versions 1 to 4), with
 * the rule in the footer for times behind the last transition. Pure: who reads the file gives
 * the bytes.
 */
#ifndef KAIRAN_ZONE_H
#define KAIRAN_ZONE_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "slice.h"

#define ZONE_FILE_MAX ((size_t)64 << 10)
#define ZONE_TRANSITIONS_MAX 2000

/* The n-th (5: last) weekday of a month at a local second of the day (may be negative). */
struct zone_day {
	int month, week, weekday, second;
};

struct zone {
	int64_t at[ZONE_TRANSITIONS_MAX];     /* seconds since 1970 */
	int32_t offset[ZONE_TRANSITIONS_MAX]; /* from at[i] on, seconds east */
	size_t count;
	int32_t first; /* before at[0] */
	bool has_rule; /* behind the last transition: */
	bool has_summer;
	int32_t standard, summer;
	struct zone_day to_summer, to_standard;
};

/* Always UTC. */
void zone_utc(struct zone *z);

/* 0, or -1 with err. */
int zone_parse(struct zone *z, struct slice bytes, struct err *err) MUST_CHECK;

/* Seconds east of Greenwich at a time (seconds since 1970). */
int32_t zone_offset(const struct zone *z, int64_t time);

/* The next time behind `time` at which the offset changes; INT64_MAX when none is known within a
 * year. */
int64_t zone_next_change(const struct zone *z, int64_t time);

#endif
