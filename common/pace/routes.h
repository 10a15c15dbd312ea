/* SPDX-License-Identifier: Apache-2.0 */
/*
 * routes: which groups of the provider table leave by which dispatchers (pace.routes, dispatcher.route), a group
 * perhaps by several, and how fast each of these ways may go (pace.route_rates). Pure; the group's names are the
 * caller's to check.
 */
#ifndef KAIRAN_ROUTES_H
#define KAIRAN_ROUTES_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"
#include "slice.h"

#define ROUTES_NAME_MAX 32 /* letters, digits, "-" and "_" */
#define ROUTES_MAX 16
#define ROUTES_GROUPS_MAX 64
#define ROUTES_PARTS_MAX 4 /* of a group */
#define ROUTES_WEIGHT_MAX 1000
#define ROUTES_OTHERS "*" /* in pace.routes: dispatchers without a route */

struct routes {
	struct routes_way {
		char name[ROUTES_NAME_MAX + 1];
		double per_s; /* 0: no limit */
	} ways[ROUTES_MAX];
	size_t way_count;
	struct routes_group {
		char name[ROUTES_NAME_MAX + 8]; /* of the provider table */
		struct routes_part {
			size_t way; /* SIZE_MAX: that of all that have none */
			unsigned weight;
		} parts[ROUTES_PARTS_MAX];
		size_t part_count;
	} groups[ROUTES_GROUPS_MAX];
	size_t group_count;
};

bool routes_name_is_good(struct slice name);

/* groups: "GROUP=ROUTE, GROUP=ROUTE:WEIGHT+ROUTE:WEIGHT, ..."; rates: "ROUTE=RATE, ...", of routes that a group has;
 * both may be empty. 0, or -1 with err, which names the key. */
int routes_parse(
    struct routes *r, const char *groups, const char *rates, struct err *err) MUST_CHECK;

/* NULL: the group has no way of its own. */
const struct routes_group *routes_of(const struct routes *r, const char *group);

/* Which part of the group somebody belongs to, by his address key, or by the name of a domain that is not divided:
 * always the same one, as often as of a hundred as its weight is of all. */
size_t routes_part(const struct routes_group *g, struct slice key);

/* "": that of all that have none. */
const char *routes_part_name(const struct routes *r, const struct routes_group *g, size_t part);

/* NULL: no group has it. */
const struct routes_way *routes_named(const struct routes *r, const char *way);

#endif
