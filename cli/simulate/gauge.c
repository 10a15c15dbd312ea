/* SPDX-License-Identifier: Apache-2.0 */
/* gauge: see gauge.h. */
#include "gauge.h"

#include <math.h>
#include <stdlib.h>

#define SECOND_US 1e6
#define MINUTES_MAX ((size_t)PLAN_DAYS_MAX * 2 * 1440)
#define ROUNDING_US 0.01

int
gauge_init(
    struct gauge *g, const struct scenario *s, const struct plan_lane *plans, struct err *err)
{
	*g = (struct gauge){ .scenario = s, .account_last = -INFINITY, .run_lane = UINT32_MAX };
	g->lanes = calloc(s->lane_count + 1, sizeof(*g->lanes));
	g->limiter_last = calloc(s->lane_count + 1, sizeof(*g->limiter_last));
	g->minutes = calloc(MINUTES_MAX, sizeof(*g->minutes));
	if (g->lanes == NULL || g->limiter_last == NULL || g->minutes == NULL) {
		gauge_release(g);
		return err_set(err, "no memory");
	}
	for (size_t i = 0; i < s->lane_count; i++) {
		g->lanes[i].lane = &s->lanes[i];
		g->lanes[i].plan = &plans[i];
		g->lanes[i].last = -INFINITY;
		g->limiter_last[i] = -INFINITY;
	}
	g->second_at = floor(s->start / SECOND_US) * SECOND_US;
	g->total_open = true;
	return 0;
}

void
gauge_release(struct gauge *g)
{
	free(g->lanes);
	free(g->limiter_last);
	free(g->minutes);
	*g = (struct gauge){ 0 };
}

/* ---------------------------------------------------------------- windows */

static void
count_window(struct gauge_windows *w, bool open)
{
	double n = (double)w->current;

	w->current = 0;
	if (!open)
		return;
	w->n++;
	w->sum += n;
	w->squares += n * n;
	if (n > w->peak)
		w->peak = n;
}

double
gauge_burst(const struct gauge_windows *w)
{
	double mean = w->n > 0 ? w->sum / w->n : 0;

	return mean > 0 ? (w->squares / w->n - mean * mean) / mean : 0;
}

double
gauge_peak_to_mean(const struct gauge_windows *w)
{
	return w->sum > 0 ? w->peak / (w->sum / w->n) : 0;
}

/* Whether one fully open row of the plan covers the window, and the lane is not done in it. */
static bool
is_open(struct gauge_lane *l, double from, double till)
{
	const struct plan_lane *p = l->plan;

	while (l->open_row < p->row_count && p->rows[l->open_row].till < till)
		l->open_row++;
	return l->open_row < p->row_count && p->full[l->open_row] &&
	    p->rows[l->open_row].from <= from && l->sent < l->lane->count;
}

int
gauge_distance(const struct scenario_lane *lane, double second_at)
{
	int64_t time = (int64_t)(second_at / SECOND_US) + ADMISSION_EPOCH_S;
	int64_t s = ((time + zone_offset(lane->zone, time)) % 3600 + 3600) % 3600;
	int64_t away = s < 1800 ? s : 3600 - s - 1;

	return (int)(away / 60);
}

static void
end_second(struct gauge *g, struct gauge_lane *l, bool ten, bool minute)
{
	double till = g->second_at + SECOND_US;

	if (l->this_second > 0) {
		int away = gauge_distance(l->lane, g->second_at);

		if (away < GAUGE_NEAR)
			l->near_hour[away] += l->this_second;
		if (l->lane->guard == GUARD_STRICT && away < GAUGE_STRICT_MINUTES)
			g->strict_near += l->this_second;
	}
	l->second.current = l->this_second;
	l->ten.current += l->this_second;
	l->minute.current += l->this_second;
	l->this_second = 0;
	/* the longest window first: its row is the one that is_open moves on to */
	if (minute) {
		bool open = is_open(l, till - 60 * SECOND_US, till);

		if (!open && l->sent < l->lane->count)
			g->total_open = false;
		count_window(&l->minute, open);
	}
	if (ten)
		count_window(&l->ten, is_open(l, till - 10 * SECOND_US, till));
	count_window(&l->second, is_open(l, g->second_at, till));
}

static void
next_second(struct gauge *g)
{
	int64_t second = (int64_t)(g->second_at / SECOND_US);
	bool ten = second % 10 == 9, minute = second % 60 == 59;

	for (size_t i = 0; i < g->scenario->lane_count; i++)
		end_second(g, &g->lanes[i], ten, minute);
	if (minute) {
		g->total.current = g->total_minute;
		for (size_t i = 0; i < g->scenario->lane_count; i++)
			g->total_open = g->total_open && g->lanes[i].sent < g->lanes[i].lane->count;
		count_window(&g->total, g->total_open);
		g->total_minute = 0;
		g->total_open = true;
	}
	g->second_at += SECOND_US;
}

/* ---------------------------------------------------------------- messages */

/* The plan's integral at a time, messages; times go back by no more than the jitter, and hardly
 * ever over the edge of a row, where the row's own rate then counts. */
static double
planned_at(struct gauge_lane *l, double at)
{
	const struct plan_lane *p = l->plan;

	while (l->row < p->row_count && at >= p->rows[l->row].till) {
		l->passed +=
		    (p->rows[l->row].till - p->rows[l->row].from) / p->rows[l->row].interval;
		l->row++;
	}
	if (l->row >= p->row_count || (at <= p->rows[l->row].from && l->row == 0))
		return l->passed;
	if (at < p->rows[l->row].from)
		return at >= p->rows[l->row - 1].till
		    ? l->passed
		    : l->passed - (p->rows[l->row - 1].till - at) / p->rows[l->row - 1].interval;
	return l->passed + (at - p->rows[l->row].from) / p->rows[l->row].interval;
}

static void
check_limits(struct gauge *g, struct gauge_lane *l, double at)
{
	const struct scenario *s = g->scenario;

	if (s->account_per_s > 0 && at - g->account_last < 1e6 / s->account_per_s - ROUNDING_US)
		g->window_violations++;
	g->account_last = at;
	if (l->lane->limiter >= 0) {
		double *last = &g->limiter_last[l->lane->limiter];

		if (at - *last < 1e6 / l->lane->cap_per_s - ROUNDING_US)
			g->window_violations++;
		*last = at;
	}
}

static void
check_line(struct gauge *g, struct gauge_lane *l, double at, double released)
{
	double permitted = planned_at(l, at);
	double planned = released > at ? planned_at(l, released) : permitted;
	double clipped, interval, behind;

	/* the lane's own limit, by its plan's integral: at most W / SQUEEZE + 1 + SLACK */
	if (permitted < l->tat - ADMISSION_SLACK - 1e-3)
		g->window_violations++;
	l->tat = fmax(l->tat, permitted) + ADMISSION_SQUEEZE;
	clipped = planned < (double)l->lane->count ? planned : (double)l->lane->count;
	if (clipped - (double)l->sent > l->deviation)
		l->deviation = clipped - (double)l->sent;
	if ((double)l->sent + 1 - clipped > l->deviation)
		l->deviation = (double)l->sent + 1 - clipped;
	interval = l->row < l->plan->row_count ? l->plan->rows[l->row].interval : 0;
	behind = (clipped - (double)l->sent - 0.5) * interval;
	if (behind > l->late_us)
		l->late_us = behind;
}

void
gauge_take(struct gauge *g, uint32_t lane, double at, double released)
{
	struct gauge_lane *l = &g->lanes[lane];
	int64_t minute;

	while (released >= g->second_at + SECOND_US)
		next_second(g);
	check_limits(g, l, at);
	check_line(g, l, at, released);
	minute = (int64_t)(at / MINUTE_US) - (int64_t)(g->scenario->start / MINUTE_US);
	if (minute >= 0 && (size_t)minute < MINUTES_MAX) {
		g->minutes[minute]++;
		if ((size_t)minute >= g->minute_count)
			g->minute_count = (size_t)minute + 1;
	}
	g->run = lane == g->run_lane ? g->run + 1 : 1;
	g->run_lane = lane;
	if (g->run > l->longest_run)
		l->longest_run = g->run;
	l->sent++;
	l->this_second++;
	g->total_minute++;
	g->sent++;
	l->last = released;
	if (released > g->finish)
		g->finish = released;
}

void
gauge_end(struct gauge *g)
{
	next_second(g);
}

uint64_t
gauge_quota_violations(const struct gauge *g)
{
	uint64_t quota = g->scenario->quota, sum = 0, over = 0;

	if (quota == 0)
		return 0;
	for (size_t m = 0; m < g->minute_count; m++) {
		sum += g->minutes[m];
		if (m >= 1440)
			sum -= g->minutes[m - 1440];
		/* what had gone before the start counts for a day, but it is not what broke a quota */
		over +=
		    g->minutes[m] > 0 && sum + (m <= 1440 ? g->scenario->quota_used : 0) > quota;
	}
	return over;
}
