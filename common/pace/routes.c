/* SPDX-License-Identifier: Apache-2.0 */
/* routes: see routes.h. */
#include "routes.h"

#include <stdio.h>
#include <string.h>

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
add_group(struct routes *r, struct slice group, struct slice way, struct err *err)
{
	struct routes_way *found = find_way(r, way);

	if (!routes_name_is_good(way) || !routes_name_is_good(group))
		return err_set(err,
		    "pace.routes: names are at most %d letters, digits, - and _, not '%.*s=%.*s'",
		    ROUTES_NAME_MAX, (int)(group.len < 60 ? group.len : 60), group.ptr,
		    (int)(way.len < 60 ? way.len : 60), way.ptr);
	for (size_t i = 0; i < r->group_count; i++)
		if (slice_equal(slice_str(r->groups[i].name), group))
			return err_set(err, "pace.routes: '%.*s' has two routes", SLICE_ARG(group));
	if (r->group_count == ROUTES_GROUPS_MAX || (found == NULL && r->way_count == ROUTES_MAX))
		return err_set(err, "pace.routes: at most %d groups and %d routes",
		    ROUTES_GROUPS_MAX, ROUTES_MAX);
	if (found == NULL) {
		found = &r->ways[r->way_count++];
		(void)snprintf(found->name, sizeof(found->name), "%.*s", SLICE_ARG(way));
	}
	r->groups[r->group_count].way = (size_t)(found - r->ways);
	(void)snprintf(
	    r->groups[r->group_count].name, sizeof(r->groups[0].name), "%.*s", SLICE_ARG(group));
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

const struct routes_way *
routes_find(const struct routes *r, const char *group)
{
	for (size_t i = 0; i < r->group_count; i++)
		if (strcmp(r->groups[i].name, group) == 0)
			return &r->ways[r->groups[i].way];
	return NULL;
}
