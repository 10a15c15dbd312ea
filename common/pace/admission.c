/* SPDX-License-Identifier: Apache-2.0 */
/* admission: see admission.h. Twin of common/lua/reserve.lua, line by line where it matters. */
#include "admission.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "heap.h"

#define WAKE_MIN_US 1e3
#define WAKE_MAX_US 1e6
#define WAKE_BLIND_US 250e3  /* more may come, or a first calendar */
#define WAKE_CLOSED_US 500e3 /* nothing comes but what somebody changes */

/* `at` plus `owed` messages of the calendar behind it. */
struct clock {
	double at, owed;
	size_t cursor; /* first row that ends behind `at` */
};

struct calendar {
	struct admission_row *rows; /* owned */
	size_t count;
};

struct limiter {
	struct calendar calendar;
	struct clock next;
	bool fresh;	/* nothing is known of the past */
	uint32_t lanes; /* of this call, that it limits */
	bool in_line;	/* these are all */
};

struct lane {
	struct calendar calendar;
	struct clock due; /* when the next permit is planned */
	struct clock gap; /* before which it may not leave */
	bool fresh;
	int chain[ADMISSION_CHAIN_MAX];
	size_t chain_count;
	bool urgent;
	uint32_t left; /* wanted, during one call */
};

struct admission {
	struct limiter account;
	struct limiter *limiters;
	size_t limiter_count;
	struct lane *lanes;
	size_t lane_count;
	uint64_t generation;
	struct quota quota;
	bool lost;	 /* what was handed out before is not known */
	double opens_at; /* when it has passed for certain */
	struct heap waiting, ready;
	size_t heap_room;
	uint32_t bulk;				       /* lanes of this call that are not urgent */
	struct limiter *line[ADMISSION_CHAIN_MAX + 1]; /* what they all wait for */
	size_t line_count;
};

struct admission *
admission_new(void)
{
	struct admission *a = calloc(1, sizeof(*a));

	if (a != NULL)
		a->account.fresh = true;
	return a;
}

void
admission_free(struct admission *a)
{
	if (a == NULL)
		return;
	for (size_t i = 0; i < a->limiter_count; i++)
		free(a->limiters[i].calendar.rows);
	for (size_t i = 0; i < a->lane_count; i++)
		free(a->lanes[i].calendar.rows);
	free(a->account.calendar.rows);
	free(a->limiters);
	free(a->lanes);
	heap_release(&a->waiting);
	heap_release(&a->ready);
	free(a);
}

int
admission_add_limiter(struct admission *a)
{
	struct limiter *more = realloc(a->limiters, (a->limiter_count + 1) * sizeof(*more));

	if (more == NULL)
		return -1;
	a->limiters = more;
	more[a->limiter_count] = (struct limiter){ .fresh = true };
	return (int)a->limiter_count++;
}

int
admission_add_lane(struct admission *a, const int *chain, size_t chain_count)
{
	struct lane *more = realloc(a->lanes, (a->lane_count + 1) * sizeof(*more));

	if (more == NULL || chain_count > ADMISSION_CHAIN_MAX)
		return -1;
	a->lanes = more;
	more[a->lane_count] = (struct lane){ .fresh = true };
	admission_set_chain(a, (int)a->lane_count, chain, chain_count);
	return (int)a->lane_count++;
}

void
admission_set_chain(struct admission *a, int lane, const int *chain, size_t chain_count)
{
	struct lane *l = &a->lanes[lane];

	l->chain_count = 0;
	for (size_t i = 0; i < chain_count && i < ADMISSION_CHAIN_MAX; i++) {
		size_t k = 0;

		while (k < l->chain_count && l->chain[k] != chain[i])
			k++;
		l->chain[k] = chain[i]; /* each limiter once */
		l->chain_count += k == l->chain_count;
	}
}

void
admission_set_urgent(struct admission *a, int lane, bool urgent)
{
	a->lanes[lane].urgent = urgent;
}

/* ---------------------------------------------------------------- calendars */

int
admission_accept(struct admission *a, uint64_t generation, struct err *err)
{
	if (generation < a->generation)
		return err_set(err, "the calendar comes from an older planner; it is ignored");
	a->generation = generation;
	return 0;
}

static int
plan(struct admission *a, uint64_t generation, struct calendar *calendar,
    const struct admission_row *rows, size_t count, struct err *err)
{
	struct admission_row *copy;

	if (admission_accept(a, generation, err) < 0)
		return -1;
	if (count > ADMISSION_ROWS_MAX)
		return err_set(err, "a calendar has at most %d rows", ADMISSION_ROWS_MAX);
	for (size_t i = 0; i < count; i++)
		if (!(rows[i].interval > 0) || !(rows[i].till > rows[i].from) ||
		    !isfinite(rows[i].interval) || (i > 0 && rows[i].from < rows[i - 1].till))
			return err_set(err,
			    "row %zu of the calendar is out of order, empty, or "
			    "has no interval",
			    i + 1);
	copy = malloc((count + 1) * sizeof(*copy));
	if (copy == NULL)
		return err_set(err, "no memory");
	if (count > 0)
		memcpy(copy, rows, count * sizeof(*copy));
	free(calendar->rows);
	*calendar = (struct calendar){ .rows = copy, .count = count };
	return 0;
}

int
admission_plan_limiter(struct admission *a, uint64_t generation, int limiter,
    const struct admission_row *rows, size_t count, struct err *err)
{
	struct limiter *l = limiter < 0 ? &a->account : &a->limiters[limiter];

	l->next.cursor = 0;
	return plan(a, generation, &l->calendar, rows, count, err);
}

int
admission_plan_lane(struct admission *a, uint64_t generation, int lane,
    const struct admission_row *rows, size_t count, struct err *err)
{
	struct lane *l = &a->lanes[lane];

	l->due.cursor = l->gap.cursor = 0;
	return plan(a, generation, &l->calendar, rows, count, err);
}

/* Messages that a calendar lets pass between two times. */
static double
messages(const struct calendar *calendar, double from, double till)
{
	double sum = 0;

	for (size_t i = 0; i < calendar->count; i++) {
		const struct admission_row *row = &calendar->rows[i];
		double low = fmax(row->from, from), high = fmin(row->till, till);

		if (high > low)
			sum += (high - low) / row->interval;
	}
	return sum;
}

static void
rewind_clock(struct clock *c, const struct calendar *calendar, double now)
{
	double base = now + ADMISSION_HORIZON_MAX_US;

	if (!(c->at > base))
		return;
	c->owed = fmin(c->owed + messages(calendar, base, c->at), 1);
	c->at = base;
}

void
admission_rewind_limiter(struct admission *a, int limiter, double now)
{
	struct limiter *l = limiter < 0 ? &a->account : &a->limiters[limiter];

	if (!l->fresh && l->calendar.rows != NULL)
		rewind_clock(&l->next, &l->calendar, now);
}

void
admission_rewind_lane(struct admission *a, int lane, double now)
{
	struct lane *l = &a->lanes[lane];

	if (l->fresh || l->calendar.rows == NULL)
		return;
	rewind_clock(&l->due, &l->calendar, now);
	rewind_clock(&l->gap, &l->calendar, now);
}

static void
drop(struct calendar *calendar, bool *fresh)
{
	free(calendar->rows);
	*calendar = (struct calendar){ 0 };
	*fresh = true;
}

void
admission_drop_limiter(struct admission *a, int limiter)
{
	struct limiter *l = limiter < 0 ? &a->account : &a->limiters[limiter];

	drop(&l->calendar, &l->fresh);
}

void
admission_drop_lane(struct admission *a, int lane)
{
	struct lane *l = &a->lanes[lane];

	drop(&l->calendar, &l->fresh);
	l->chain_count = 0;
	l->urgent = false;
}

static inline void
seek(struct clock *c, const struct calendar *calendar)
{
	while (c->cursor < calendar->count && calendar->rows[c->cursor].till <= c->at)
		c->cursor++;
}

/* Lets what is owed pass by the calendar; what its end leaves over stays owed. */
static inline void
run(struct clock *c, const struct calendar *calendar)
{
	for (; c->owed > 0 && c->cursor < calendar->count; c->cursor++) {
		const struct admission_row *row = &calendar->rows[c->cursor];
		double room;

		if (c->at >= row->till)
			continue;
		if (c->at < row->from)
			c->at = row->from;
		room = (row->till - c->at) / row->interval;
		if (c->owed < room) {
			c->at += c->owed * row->interval;
			c->owed = 0;
			break;
		}
		c->owed -= room;
		c->at = row->till;
	}
	seek(c, calendar);
}

/* The first moment from t on at which the calendar is open; rows before `from` end before t. */
static inline double
open_from(const struct calendar *calendar, size_t from, double t)
{
	for (size_t i = from; i < calendar->count; i++)
		if (t < calendar->rows[i].till)
			return t > calendar->rows[i].from ? t : calendar->rows[i].from;
	return INFINITY;
}

/* Of every limiter that a call names, before anything else: time passes by today's calendar. */
static void
limiter_begin(struct limiter *l, double now)
{
	if (l->fresh) {
		l->next = (struct clock){ .at = now };
		l->fresh = false;
	}
	run(&l->next, &l->calendar);
}

static inline double
limiter_open(struct limiter *l, double t)
{
	run(&l->next, &l->calendar);
	if (l->next.owed > 0)
		return INFINITY;
	return open_from(&l->calendar, l->next.cursor, t > l->next.at ? t : l->next.at);
}

/* Of all that a lane waits for beside the line; an urgent one stands in none. */
static double
lane_open(struct admission *a, struct lane *l, double s)
{
	double t = s, u;

	if (l->due.owed > 0 || l->gap.owed > 0)
		return INFINITY;
	if (t < l->due.at)
		t = l->due.at;
	if (t < l->gap.at)
		t = l->gap.at;
	for (;;) {
		u = open_from(&l->calendar, l->due.cursor, t);
		for (size_t i = 0; i < l->chain_count && u < INFINITY; i++)
			if (l->urgent || !a->limiters[l->chain[i]].in_line)
				u = limiter_open(&a->limiters[l->chain[i]], u);
		if (u == t || u == INFINITY)
			return u;
		t = u;
	}
}

static inline double
deadline(const struct lane *l)
{
	double interval =
	    l->due.cursor < l->calendar.count ? l->calendar.rows[l->due.cursor].interval : 0;

	return l->due.at + 0.5 * interval;
}

static void
grant(struct admission *a, struct lane *l, double s)
{
	size_t row = l->due.cursor;
	double slack;

	while (l->calendar.rows[row].till <= s)
		row++; /* there is one: s is open */
	slack = ADMISSION_SLACK * l->calendar.rows[row].interval;
	if (l->due.at < s - ADMISSION_LAG_US)
		l->due.at = s - ADMISSION_LAG_US;
	l->due.owed = 1;
	seek(&l->due, &l->calendar);
	run(&l->due, &l->calendar);
	if (l->gap.at < s - slack)
		l->gap.at = s - slack;
	l->gap.owed = ADMISSION_SQUEEZE;
	seek(&l->gap, &l->calendar);
	run(&l->gap, &l->calendar);
	for (size_t i = 0; i < l->chain_count; i++) {
		struct limiter *limiter = &a->limiters[l->chain[i]];

		limiter->next.at = s;
		limiter->next.owed = 1;
		run(&limiter->next, &limiter->calendar);
	}
	if (a->account.calendar.rows != NULL && !l->urgent) {
		a->account.next.at = s;
		a->account.next.owed = 1;
		run(&a->account.next, &a->account.calendar);
	}
}

/* ---------------------------------------------------------------- quota */

void
admission_set_quota(struct admission *a, uint64_t limit, uint64_t used, double now)
{
	a->quota.limit = limit;
	quota_counted(&a->quota, used, now);
}

void
admission_put_quota(struct admission *a, int64_t minute, uint64_t n, double now)
{
	quota_put(&a->quota, minute, n, now);
}

const struct quota *
admission_quota(const struct admission *a)
{
	return &a->quota;
}

void
admission_return_quota(struct admission *a, uint64_t n, double now)
{
	quota_return(&a->quota, n, now);
}

void
admission_forget(struct admission *a)
{
	a->lost = true;
	a->account.fresh = true;
	for (size_t i = 0; i < a->limiter_count; i++)
		a->limiters[i].fresh = true;
	for (size_t i = 0; i < a->lane_count; i++)
		a->lanes[i].fresh = true;
}

/* ---------------------------------------------------------------- reserve */

static bool
make_room(struct admission *a, size_t room)
{
	if (room <= a->heap_room)
		return true;
	heap_release(&a->waiting);
	heap_release(&a->ready);
	a->heap_room = 0;
	if (!heap_init(&a->waiting, room) || !heap_init(&a->ready, room))
		return false;
	a->heap_room = room;
	return true;
}

/* At most to where the row begins. */
static void
go_back(struct lane *l, uint32_t missed)
{
	const struct admission_row *row;
	double at;

	if (missed == 0 || l->due.owed > 0 || l->due.cursor >= l->calendar.count)
		return;
	row = &l->calendar.rows[l->due.cursor];
	if (l->due.at <= row->from)
		return;
	at = l->due.at - missed * row->interval;
	l->due.at = at > row->from ? at : row->from;
}

static void
make_line(struct admission *a)
{
	a->line_count = 0;
	if (a->account.calendar.rows != NULL)
		a->line[a->line_count++] = &a->account;
	for (size_t k = 0; k < a->limiter_count; k++) {
		struct limiter *l = &a->limiters[k];

		l->in_line = a->bulk > 0 && l->lanes == a->bulk;
		if (l->in_line)
			a->line[a->line_count++] = l;
	}
}

/* Before anything is granted, clocks of all that the call names come up to today's calendars. */
static void
begin(struct admission *a, const struct admission_ask *ask)
{
	limiter_begin(&a->account, ask->now);
	for (size_t k = 0; k < a->limiter_count; k++)
		a->limiters[k].lanes = 0;
	a->bulk = 0;
	for (size_t i = 0; i < ask->want_count; i++) {
		struct lane *l = &a->lanes[ask->wants[i].lane];

		l->left = ask->wants[i].count;
		if (l->left == 0)
			continue;
		if (l->fresh) {
			l->due = (struct clock){ .at = ask->now, .owed = 0.5 };
			l->gap = (struct clock){ .at = ask->now };
			l->fresh = false;
		}
		run(&l->due, &l->calendar);
		run(&l->gap, &l->calendar);
		go_back(l, ask->wants[i].missed);
		a->bulk += !l->urgent;
		for (size_t k = 0; k < l->chain_count; k++) {
			limiter_begin(&a->limiters[l->chain[k]], ask->now);
			a->limiters[l->chain[k]].lanes += !l->urgent;
		}
	}
	make_line(a);
}

/* The heap of lanes that are served in order of time. */
static void
gather(struct admission *a, const struct admission_ask *ask)
{
	a->waiting.count = a->ready.count = 0;
	for (size_t i = 0; i < ask->want_count; i++) {
		struct lane *l = &a->lanes[ask->wants[i].lane];
		double at;

		if (l->left == 0 || l->urgent)
			continue;
		at = lane_open(a, l, ask->now);
		if (at < INFINITY)
			heap_push(&a->waiting, at, (uint32_t)i);
	}
}

/* Urgent lanes, one after the other; *moment: the first at which one could go on. */
static size_t
serve_urgent(struct admission *a, const struct admission_ask *ask, uint64_t left,
    struct admission_permit *permits, double *moment)
{
	double end = ask->now + ask->horizon;
	size_t n = 0;

	*moment = INFINITY;
	for (size_t i = 0; i < ask->want_count; i++) {
		struct lane *l = &a->lanes[ask->wants[i].lane];
		double at;

		if (l->left == 0 || !l->urgent)
			continue;
		at = lane_open(a, l, ask->now);
		while (at < end && l->left > 0 && n < ask->max && n < left) {
			permits[n++] =
			    (struct admission_permit){ .at = at, .lane = ask->wants[i].lane };
			grant(a, l, at);
			quota_add(&a->quota, at, 1);
			l->left--;
			at = lane_open(a, l, at);
		}
		if (l->left > 0 && at < *moment)
			*moment = at;
	}
	return n;
}

/* The first moment from s on at which the whole line is open. */
static double
line_open(struct admission *a, double s)
{
	double t;

	do {
		t = s;
		for (size_t k = 0; k < a->line_count; k++)
			s = limiter_open(a->line[k], s);
	} while (s != t);
	return s;
}

/* The next free moment, at or after s; INFINITY when there is none. */
static double
next_moment(struct admission *a, double s)
{
	if (a->ready.count == 0) {
		if (a->waiting.count == 0)
			return INFINITY;
		if (heap_key(&a->waiting) > s)
			s = heap_key(&a->waiting);
	}
	return line_open(a, s);
}

/* Whoever gives nothing then is closed as far as its calendar reaches. */
static bool
all_known(const struct admission *a, const struct admission_ask *ask)
{
	for (size_t i = 0; i < ask->want_count; i++)
		if (ask->wants[i].count > 0 && a->lanes[ask->wants[i].lane].calendar.rows == NULL)
			return false;
	return true;
}

static double
wake_time(const struct admission_ask *ask, double moment, bool full, bool quota, bool closed)
{
	double wake = ask->now + (closed ? WAKE_CLOSED_US : WAKE_BLIND_US);

	if (full)
		wake = ask->now;
	else if (quota)
		wake = ask->now + WAKE_MAX_US;
	else if (moment < INFINITY)
		wake = moment - 0.5 * ask->horizon;
	if (wake < ask->now + WAKE_MIN_US)
		return ask->now + WAKE_MIN_US;
	return wake > ask->now + WAKE_MAX_US ? ask->now + WAKE_MAX_US : wake;
}

size_t
admission_reserve(struct admission *a, const struct admission_ask *ask,
    struct admission_permit *permits, double *wake)
{
	double s = ask->now, end = ask->now + ask->horizon, urgent;
	uint64_t left = quota_left(&a->quota, ask->now);
	size_t n;

	*wake = ask->now + WAKE_MAX_US;
	if (a->lost)
		a->opens_at = ask->now + ADMISSION_HORIZON_MAX_US;
	a->lost = false;
	if (ask->now < a->opens_at)
		return 0;
	if (!make_room(a, ask->want_count))
		return 0;
	begin(a, ask);
	n = serve_urgent(a, ask, left, permits, &urgent);
	gather(a, ask);
	while (n < ask->max && n < left) {
		uint32_t i;
		struct lane *l;
		double at;

		s = next_moment(a, s);
		if (s >= end)
			break;
		while (a->waiting.count > 0 && heap_key(&a->waiting) <= s) {
			i = heap_pop(&a->waiting);
			heap_push(&a->ready, deadline(&a->lanes[ask->wants[i].lane]), i);
		}
		i = heap_pop(&a->ready);
		l = &a->lanes[ask->wants[i].lane];
		at = lane_open(a, l, s);
		if (at > s) { /* another lane took the group's or the route's turn, or it closed */
			if (at < INFINITY)
				heap_push(&a->waiting, at, i);
			continue;
		}
		permits[n++] = (struct admission_permit){ .at = s, .lane = ask->wants[i].lane };
		grant(a, l, s);
		quota_add(&a->quota, s, 1);
		if (--l->left == 0)
			continue;
		at = lane_open(a, l, s);
		if (at < INFINITY)
			heap_push(&a->waiting, at, i);
	}
	*wake = wake_time(
	    ask, s < urgent ? s : urgent, n == ask->max, n == left, n == 0 && all_known(a, ask));
	return n;
}
