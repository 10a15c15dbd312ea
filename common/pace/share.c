/* SPDX-License-Identifier: Apache-2.0 */
/* share: see share.h. */
#include "share.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Who of the runs shares a limit. stream NULL: all. */
static bool
shares(const struct share_run *run, const char *stream)
{
	return stream == NULL || strcmp(run->stream, stream) == 0;
}

/* The part of a limit that urgent runs have for themselves. */
static double
urgent_part(const struct share_pool *pool, const struct share_run *runs, size_t count,
    const char *stream, double per_s, bool reserve)
{
	double urgent = 0;
	bool others = false, any = reserve;

	for (size_t i = 0; i < count; i++) {
		if (!shares(&runs[i], stream))
			continue;
		if (runs[i].class == SHARE_URGENT) {
			urgent += runs[i].backlog;
			any = true;
		} else if (runs[i].backlog > 0) {
			others = true;
		}
	}
	if (!any)
		return 0;
	if (urgent > 0 && !others)
		return 1;
	return urgent > SHARE_BACKLOG_S * pool->part * per_s ? SHARE_URGENT_MOST : pool->part;
}

/* Divides `rate` among the runs for which wants[i] is set by weight, none above its limit[i] (0:
 * none), into per_s. Returns what is left. */
static double
divide(const struct share_run *runs, const bool *wants, const double *limit, size_t count,
    double rate, double *per_s)
{
	double left = rate, weights = 0;
	bool again = true;

	for (size_t i = 0; i < count; i++) {
		per_s[i] = wants[i] ? -1 : per_s[i]; /* not settled yet */
		weights += wants[i] ? runs[i].weight : 0;
	}
	while (again && weights > 0) {
		double level = left / weights;

		again = false;
		for (size_t i = 0; i < count; i++)
			if (wants[i] && per_s[i] < 0 && limit[i] > 0 &&
			    limit[i] <= level * runs[i].weight) {
				per_s[i] = limit[i];
				left -= limit[i];
				weights -= runs[i].weight;
				again = true;
			}
	}
	if (weights <= 0)
		return left;
	for (size_t i = 0; i < count; i++)
		if (wants[i] && per_s[i] < 0)
			per_s[i] = left / weights * runs[i].weight;
	return 0;
}

/* A run's part of its stream's rate; one without anything to send gets what it would have. */
static double
of_stream(const struct share_run *runs, size_t count, size_t run)
{
	const struct share_run *r = &runs[run];
	bool urgent = r->class == SHARE_URGENT;
	double weights = 0;

	for (size_t i = 0; i < count; i++)
		if ((i == run || runs[i].backlog > 0) && shares(&runs[i], r->stream) &&
		    (runs[i].class == SHARE_URGENT) == urgent)
			weights += runs[i].weight;
	return r->stream_per_s * (urgent ? r->urgent_part : 1 - r->urgent_part) * r->weight /
	    weights;
}

/* What a run without anything to send would get: as much as the greediest of its class. */
static void
fill_idle(const struct share_pool *pool, struct share_run *runs, size_t count, double others,
    const double *limit)
{
	for (size_t i = 0; i < count; i++) {
		double mine = runs[i].class == SHARE_URGENT
		    ? pool->account_per_s * pool->account_urgent
		    : others;

		if (runs[i].backlog > 0 || mine <= 0)
			continue;
		runs[i].per_s = limit[i] > 0 ? fmin(limit[i], mine) : mine;
	}
}

bool
share_out(struct share_pool *pool, struct share_run *runs, size_t count)
{
	bool *wants = calloc(count + 1, sizeof(*wants));
	double *limit = calloc(2 * count + 1, sizeof(*limit));
	double others, triggered, left;

	for (size_t i = 0; limit != NULL && i < count; i++) {
		struct share_run *r = &runs[i];

		if (r->stream_per_s > 0)
			r->urgent_part =
			    urgent_part(pool, runs, count, r->stream, r->stream_per_s, r->reserve);
		limit[i] = r->per_s = r->stream_per_s > 0 ? of_stream(runs, count, i) : 0;
		if (r->most > 0 && (limit[i] <= 0 || r->most < limit[i]))
			limit[i] = r->most;
	}
	pool->account_urgent =
	    urgent_part(pool, runs, count, NULL, pool->account_per_s, pool->reserve);
	others =
	    pool->account_per_s > 0 ? pool->account_per_s * (1 - pool->account_urgent) : INFINITY;
	if (pool->others_most > 0)
		others = fmin(others, pool->others_most);
	if (wants == NULL || limit == NULL || isinf(others))
		goto out;
	left = 0;
	for (enum share_class c = SHARE_URGENT; c <= SHARE_BULK; c++) {
		double *per_s = limit + count, rate;
		bool bulk = false;

		if (c == SHARE_URGENT && pool->account_per_s <= 0)
			continue;
		for (size_t i = 0; i < count; i++) {
			wants[i] = runs[i].class == c && runs[i].backlog > 0;
			bulk = bulk || (runs[i].class == SHARE_BULK && runs[i].backlog > 0);
		}
		triggered = bulk ? others * (1 - SHARE_BULK_LEAST) : others;
		rate = c == SHARE_URGENT   ? pool->account_per_s * pool->account_urgent
		    : c == SHARE_TRIGGERED ? triggered
					   : left + others - triggered;
		left = divide(runs, wants, limit, count, rate, per_s);
		for (size_t i = 0; i < count; i++)
			if (wants[i])
				runs[i].per_s = per_s[i];
	}
	fill_idle(pool, runs, count, others, limit);
out:
	free(wants);
	free(limit);
	return wants != NULL && limit != NULL;
}
