/* SPDX-License-Identifier: Apache-2.0 */
/* routes: see routes.h. */
#include "routes.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "hash.h"
#include "rate.h"

#define NAME "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

bool
routes_name_is_good(struct slice name)
{
	for (size_t i = 0; i < name.len; i++)
		if (name.ptr[i] == '\0' || strchr(NAME, name.ptr[i]) == NULL)
			return false;
	return name.len > 0 && name.len <= ROUTES_NAME_MAX;
}

/* The next "LEFT=RIGHT" between commas. 1, 0 behind the last, or -1. */
static int
next_pair(
    const char **at, const char *key, struct slice *left, struct slice *right, struct err *err)
{
	size_t n = strcspn(*at, ",");
	struct slice pair = slice_trim(slice_make(*at, n));
	const char *equals = memchr(pair.ptr, '=', pair.len);

	if (**at == '\0')
		return 0;
	*at += n + ((*at)[n] == ',');
	if (equals == NULL)
		return err_set(err, "%s: expected NAME=VALUE between commas, not '%.*s'", key,
		    (int)(pair.len < 100 ? pair.len : 100), pair.ptr);
	*left = slice_trim(slice_make(pair.ptr, (size_t)(equals - pair.ptr)));
	*right = slice_trim(slice_make(equals + 1, pair.len - (size_t)(equals + 1 - pair.ptr)));
	return 1;
}

static struct routes_way *
find_way(struct routes *r, struct slice name)
{
	for (size_t i = 0; i < r->way_count; i++)
		if (slice_equal(slice_str(r->ways[i].name), name))
			return &r->ways[i];
	return NULL;
}

static int
bad_route(struct slice group, struct slice text, struct err *err)
{
	return err_set(err,
	    "pace.routes: names are at most %d letters, digits, - and _, weights 1 to %d, not "
	    "'%.*s=%.*s'",
	    ROUTES_NAME_MAX, ROUTES_WEIGHT_MAX, (int)(group.len < 60 ? group.len : 60), group.ptr,
	    (int)(text.len < 60 ? text.len : 60), text.ptr);
}

/* "ROUTE", or with a weight behind ":"; 1 when there is none. */
static int
read_part(struct slice text, struct slice *name, unsigned *weight)
{
	const char *colon = memchr(text.ptr, ':', text.len);
	struct slice number = { NULL, 0 };

	*weight = 1;
	*name = text;
	if (colon != NULL) {
		*name = slice_trim(slice_make(text.ptr, (size_t)(colon - text.ptr)));
		number =
		    slice_trim(slice_make(colon + 1, text.len - (size_t)(colon + 1 - text.ptr)));
		*weight = 0;
		for (size_t i = 0; i < number.len && number.len <= 4; i++)
			*weight = number.ptr[i] >= '0' && number.ptr[i] <= '9'
			    ? 10 * *weight + (unsigned)(number.ptr[i] - '0')
			    : ROUTES_WEIGHT_MAX + 1;
	}
	return *weight >= 1 && *weight <= ROUTES_WEIGHT_MAX &&
		(routes_name_is_good(*name) || slice_equal(*name, slice_str(ROUTES_OTHERS)))
	    ? 0
	    : -1;
}

static int
add_part(
    struct routes *r, struct routes_group *g, struct slice name, unsigned weight, struct err *err)
{
	struct routes_way *way = find_way(r, name);
	bool others = slice_equal(name, slice_str(ROUTES_OTHERS));
	size_t number;

	if (g->part_count == ROUTES_PARTS_MAX)
		return err_set(
		    err, "pace.routes: '%s' has more than %d routes", g->name, ROUTES_PARTS_MAX);
	if (way == NULL && !others) {
		if (r->way_count == ROUTES_MAX)
			return err_set(err, "pace.routes: at most %d groups and %d routes",
			    ROUTES_GROUPS_MAX, ROUTES_MAX);
		way = &r->ways[r->way_count++];
		(void)snprintf(way->name, sizeof(way->name), "%.*s", SLICE_ARG(name));
	}
	number = others ? SIZE_MAX : (size_t)(way - r->ways);
	for (size_t i = 0; i < g->part_count; i++)
		if (g->parts[i].way == number)
			return err_set(err, "pace.routes: '%s' has the route '%.*s' twice", g->name,
			    SLICE_ARG(name));
	g->parts[g->part_count++] = (struct routes_part){ number, weight };
	return 0;
}

static int
add_group(struct routes *r, struct slice group, struct slice ways, struct err *err)
{
	struct routes_group *g = &r->groups[r->group_count];
	struct slice left = ways;

	if (!routes_name_is_good(group))
		return bad_route(group, ways, err);
	for (size_t i = 0; i < r->group_count; i++)
		if (slice_equal(slice_str(r->groups[i].name), group))
			return err_set(err, "pace.routes: '%.*s' is named twice", SLICE_ARG(group));
	if (r->group_count == ROUTES_GROUPS_MAX)
		return err_set(err, "pace.routes: at most %d groups and %d routes",
		    ROUTES_GROUPS_MAX, ROUTES_MAX);
	*g = (struct routes_group){ .part_count = 0 };
	(void)snprintf(g->name, sizeof(g->name), "%.*s", SLICE_ARG(group));
	for (;;) {
		const char *plus = memchr(left.ptr, '+', left.len);
		size_t n = plus != NULL ? (size_t)(plus - left.ptr) : left.len;
		struct slice name;
		unsigned weight;

		if (read_part(slice_trim(slice_make(left.ptr, n)), &name, &weight) < 0)
			return bad_route(group, ways, err);
		if (add_part(r, g, name, weight, err) < 0)
			return -1;
		if (plus == NULL)
			break;
		left = slice_make(plus + 1, left.len - n - 1);
	}
	if (g->part_count == 1 && g->parts[0].way == SIZE_MAX)
		return bad_route(group, ways, err); /* it says nothing */
	r->group_count++;
	return 0;
}

static int
set_rate(struct routes *r, struct slice name, struct slice rate, struct err *err)
{
	struct routes_way *way = find_way(r, name);
	struct err why = { 0 };

	if (way == NULL)
		return err_set(err,
		    "pace.route_rates: no group of pace.routes has the route '%.*s'",
		    (int)(name.len < 60 ? name.len : 60), name.ptr);
	if (way->per_s > 0)
		return err_set(err, "pace.route_rates: '%s' has two rates", way->name);
	if (rate_parse(&way->per_s, rate, &why) < 0)
		return err_set(err, "pace.route_rates: %s: %.300s", way->name, why.msg);
	return 0;
}

int
routes_parse(struct routes *r, const char *groups, const char *rates, struct err *err)
{
	struct slice left, right;
	int more, result = 0;

	*r = (struct routes){ 0 };
	while (result == 0 && (more = next_pair(&groups, "pace.routes", &left, &right, err)) != 0)
		result = more < 0 ? -1 : add_group(r, left, right, err);
	while (
	    result == 0 && (more = next_pair(&rates, "pace.route_rates", &left, &right, err)) != 0)
		result = more < 0 ? -1 : set_rate(r, left, right, err);
	return result;
}

const struct routes_group *
routes_of(const struct routes *r, const char *group)
{
	for (size_t i = 0; i < r->group_count; i++)
		if (strcmp(r->groups[i].name, group) == 0)
			return &r->groups[i];
	return NULL;
}

size_t
routes_part(const struct routes_group *g, struct slice key)
{
	uint64_t all = 0, at;
	size_t part = 0;

	for (size_t i = 0; i < g->part_count; i++)
		all += g->parts[i].weight;
	at = (hash_spread(hash_slice(HASH_START, key)) >> 16) % all;
	while (at >= g->parts[part].weight)
		at -= g->parts[part++].weight;
	return part;
}

const char *
routes_part_name(const struct routes *r, const struct routes_group *g, size_t part)
{
	return g->parts[part].way == SIZE_MAX ? "" : r->ways[g->parts[part].way].name;
}

const struct routes_way *
routes_named(const struct routes *r, const char *way)
{
	for (size_t i = 0; i < r->way_count; i++)
		if (strcmp(r->ways[i].name, way) == 0)
			return &r->ways[i];
	return NULL;
}
