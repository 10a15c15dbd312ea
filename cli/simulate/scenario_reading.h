/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scenario_reading: what the two halves of reading a scenario share: scenario.c (one run, its limits),
 * scenario_runs.c (several runs, their replies and settings).
 */
#ifndef KAIRAN_SCENARIO_READING_H
#define KAIRAN_SCENARIO_READING_H

#include <jansson.h>

#include "scenario.h"

struct reading {
	struct scenario *s;
	const char *path;
	json_t *json;
	struct providers *providers; /* NULL: no limits, no guard by group */
	bool unlimited, guard_off;
	struct err *err;
	struct zone_name {
		struct zone_name *next;
		const char *name;
		struct zone zone;
	} * zones;
	int *limiter_of_group;
	int limiters;
};

/* A zone of this host; NULL with err. */
struct zone *scenario_zone(struct reading *r, const char *name);

/* `name` beside the scenario file, unless absolute. NULL without memory. */
const char *scenario_beside(struct reading *r, const char *name);

/* A member that is a text, `missing` without one; NULL with err. */
const char *scenario_text(
    struct reading *r, const json_t *from, const char *key, const char *missing);

/* A member that is a number in a range. 0, or -1 with err. */
int scenario_number(struct reading *r, const json_t *from, const char *key, double min, double max,
    double missing, double *value) MUST_CHECK;

/* Every member is one of the keys (ending in NULL). -1 with err. */
int scenario_keys(
    struct reading *r, const json_t *from, const char *what, const char *const *keys) MUST_CHECK;

/* An object of lanes, into s->lanes from `first` on; returns how many, -1 with err. zone: what members
 * without one have. */
int scenario_lanes(struct reading *r, json_t *lanes, const struct zone *zone) MUST_CHECK;

/* campaigns, settings, warmup, and the replies in behaviour and faults. 0, or -1 with err. */
int scenario_take_runs(struct reading *r) MUST_CHECK;

/* Of an object of faults: true when it is one of replies, *result as above. */
bool scenario_take_mood(struct reading *r, const json_t *fault, int *result);

#endif
