/* SPDX-License-Identifier: Apache-2.0 */
/* calendar: see calendar.h. */
#include "calendar.h"

#include <math.h>
#include <stdlib.h>

#include "hash.h"

#define DAY_US 86400e6

void
shape_release(struct shape *s)
{
	free(s->pieces);
	*s = (struct shape){ 0 };
}

void
shape_add(struct shape *s, double from, double till, double open)
{
	struct shape_piece *last = s->count > 0 ? &s->pieces[s->count - 1] : NULL;

	if (last != NULL && from < last->till)
		from = last->till;
	if (!(till > from))
		return;
	if (last != NULL && last->open == open && last->till == from) {
		last->till = till;
		return;
	}
	if (s->count == s->room) {
		size_t room = s->room > 0 ? s->room * 2 : 64;
		struct shape_piece *more = realloc(s->pieces, room * sizeof(*more));

		if (more == NULL) {
			s->failed = true;
			return;
		}
		s->pieces = more;
		s->room = room;
	}
	s->pieces[s->count++] = (struct shape_piece){ from, till, open };
}

static uint64_t
mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

uint64_t
hash_name(const char *pool, const char *group)
{
	uint64_t h = hash_step(hash_slice(HASH_START, slice_str(pool)), '/');

	return mix(hash_slice(h, slice_str(group)));
}

static int64_t
unix_s(double us)
{
	return (int64_t)floor(us / 1e6) + ADMISSION_EPOCH_S;
}

static double
offset_us(const struct zone *zone, double at)
{
	return (double)zone_offset(zone, unix_s(at)) * 1e6;
}

static double
change_us(const struct zone *zone, double at)
{
	int64_t next = zone_next_change(zone, unix_s(at));

	return next == INT64_MAX ? INFINITY : (double)(next - ADMISSION_EPOCH_S) * 1e6;
}

static double
edge_shift(uint64_t seed, double hour_at)
{
	uint64_t h = mix(seed ^ (uint64_t)(int64_t)floor(hour_at / MINUTE_US));

	return ((double)(h >> 11) / 9007199254740992.0 * 2 - 1) * GUARD_EDGE_US;
}

/* A ramp in steps between two times, clipped to [low, high); each step has its middle's height. */
static void
ramp(struct shape *s, double from, double till, double step, bool up, double low, double high)
{
	for (double at = from; at < till - 1; at += step) {
		double middle = (at + step / 2 - from) / (till - from);
		double a = at > low ? at : low, b = at + step < high ? at + step : high;

		shape_add(s, a, b, up ? middle : 1 - middle);
	}
}

static double
strict_close(double hour, uint64_t seed, double lead)
{
	return hour - GUARD_CLOSE_BEFORE_US + edge_shift(seed, hour) - lead;
}

/* Pieces of one hour mark (`hour`: when it is :00), clipped to [low, high). */
static void
strict_hour(struct shape *s, double hour, uint64_t seed, double lead, double low, double high)
{
	double close = strict_close(hour, seed, lead);
	double open = hour + GUARD_CLOSE_AFTER_US + edge_shift(seed, hour);
	/* with a long lead the next hour's guard begins in this one's ramp, or before it */
	double next = strict_close(hour + HOUR_US, seed, lead);

	shape_add(s, low, fmin(close - GUARD_RAMP_US, high), 1);
	ramp(s, close - GUARD_RAMP_US, close, GUARD_RAMP_STEP_US, false, low, high);
	shape_add(s, fmax(close, low), fmin(open, high), 0);
	ramp(s, open, open + GUARD_RAMP_US, GUARD_RAMP_STEP_US, true, low, fmin(high, next));
}

/* The first local full hour whose guard may reach `at`. */
static double
first_hour(double at, double offset)
{
	return floor((at + offset) / HOUR_US) * HOUR_US - offset;
}

/* All offsets of zones are whole minutes, and so are its edges. */
static void
soft_guard(struct shape *s, const struct zone *zone, double soft, double from, double till)
{
	for (double at = from; at < till;) {
		double until = guard_start(GUARD_SOFT, zone, 0, at);
		double end = until > at ? until : (floor(at / MINUTE_US) + 1) * MINUTE_US;

		shape_add(s, at, fmin(end, till), until > at ? soft : 1);
		at = end;
	}
}

void
shape_guard(struct shape *s, enum guard_mode mode, const struct zone *zone, uint64_t seed,
    double lead_us, double soft, double from, double till)
{
	if (mode == GUARD_SOFT && soft < 1) {
		soft_guard(s, zone, soft, from, till);
		return;
	}
	if (mode != GUARD_STRICT) {
		shape_add(s, from, till, 1);
		return;
	}
	/* the minutes of the hour follow the zone: each stretch of one offset on its own */
	for (double at = from; at < till;) {
		double offset = offset_us(zone, at), end = fmin(change_us(zone, at), till);

		for (double hour = first_hour(at, offset); hour < end + HOUR_US; hour += HOUR_US)
			strict_hour(s, hour, seed, lead_us, at, end);
		shape_add(s, at, end, 1);
		at = end;
	}
}

void
shape_day(struct shape *s, const struct zone *zone, int open_minute, int close_minute, double from,
    double till)
{
	double length = (double)((close_minute - open_minute + 1440) % 1440) * MINUTE_US;
	double edge = fmin(QUIET_RAMP_US, length / 2);

	if (length <= 0) {
		shape_add(s, from, till, 1);
		return;
	}
	for (double at = from; at < till;) {
		double offset = offset_us(zone, at), end = fmin(change_us(zone, at), till);
		double day = floor((at + offset) / DAY_US) * DAY_US - offset - DAY_US;

		for (; day < end; day += DAY_US) {
			double open = day + open_minute * MINUTE_US, close = open + length;

			shape_add(s, at, fmin(open, end), 0);
			ramp(s, open, open + edge, QUIET_RAMP_STEP_US, true, at, end);
			shape_add(s, fmax(open + edge, at), fmin(close - edge, end), 1);
			ramp(s, close - edge, close, QUIET_RAMP_STEP_US, false, at, end);
		}
		shape_add(s, at, end, 0);
		at = end;
	}
}

void
shape_start(struct shape *s, double begin, double moved, double from, double till)
{
	if (!(moved > begin)) {
		shape_add(s, from, till, 1);
		return;
	}
	shape_add(s, from, moved < till ? moved : till, 0);
	for (int step = 0; step < START_STEPS; step++) {
		double a = moved + step * START_STEP_US, b = a + START_STEP_US;

		shape_add(s, a > from ? a : from, b < till ? b : till, (step + 0.5) / START_STEPS);
	}
	shape_add(s, from, till, 1); /* what is left of it */
}

int
shape_quiet(struct shape *s, const struct zone *zone, int quiet_from, int quiet_till, bool steps)
{
	struct shape day = { 0 }, both = { 0 };

	if (s->count == 0)
		return s->failed ? -1 : 0;
	shape_day(
	    &day, zone, quiet_till, quiet_from, s->pieces[0].from, s->pieces[s->count - 1].till);
	shape_multiply(&both, s, &day);
	for (size_t i = 0; !steps && i < both.count; i++)
		if (both.pieces[i].open < 1)
			both.pieces[i].open = 0;
	shape_release(&day);
	shape_release(s);
	*s = both;
	return s->failed ? -1 : 0;
}

void
shape_multiply(struct shape *out, const struct shape *a, const struct shape *b)
{
	out->count = 0;
	for (size_t i = 0, k = 0; i < a->count && k < b->count;) {
		const struct shape_piece *x = &a->pieces[i], *y = &b->pieces[k];

		shape_add(out, fmax(x->from, y->from), fmin(x->till, y->till), x->open * y->open);
		if (x->till <= y->till)
			i++;
		else
			k++;
	}
	out->failed = out->failed || a->failed || b->failed;
}

double
shape_integral(const struct shape *s, double from, double till)
{
	double sum = 0;

	for (size_t i = 0; i < s->count; i++) {
		double a = fmax(s->pieces[i].from, from), b = fmin(s->pieces[i].till, till);

		if (b > a)
			sum += (b - a) * s->pieces[i].open;
	}
	return sum;
}

size_t
shape_rows(const struct shape *s, double per_s, double from, double till,
    struct admission_row *rows, size_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < s->count && n < max; i++) {
		const struct shape_piece *p = &s->pieces[i];

		if (p->till <= from || p->from >= till || p->open <= 0)
			continue;
		rows[n++] = (struct admission_row){ .from = fmax(p->from, from),
			.till = fmin(p->till, till),
			.interval = 1e6 / (per_s * p->open) };
	}
	return n;
}

double
guard_start(enum guard_mode mode, const struct zone *zone, uint64_t seed, double at)
{
	double offset = offset_us(zone, at), hour, shift;

	if (mode == GUARD_OFF)
		return at;
	if (mode == GUARD_SOFT) {
		hour = floor((at + offset + GUARD_SOFT_BEFORE_US) / (HOUR_US / 2)) * (HOUR_US / 2) -
		    offset;
		return at < hour + GUARD_SOFT_AFTER_US ? hour + GUARD_SOFT_AFTER_US : at;
	}
	for (int k = 0; k <= 1; k++) {
		hour = first_hour(at, offset) + k * HOUR_US;
		shift = edge_shift(seed, hour);
		if (at >= hour - GUARD_CLOSE_BEFORE_US + shift &&
		    at < hour + GUARD_CLOSE_AFTER_US + shift)
			return hour + GUARD_CLOSE_AFTER_US + shift;
	}
	return at;
}
