/* SPDX-License-Identifier: Apache-2.0 */
/* plan: see plan.h. */
#include "plan.h"

#include <math.h>
#include <stdlib.h>

#define BISECTIONS 50

void
plan_lane_release(struct plan_lane *lane)
{
	free(lane->rows);
	free(lane->full);
	lane->rows = NULL;
	lane->full = NULL;
	lane->row_count = lane->row_room = 0;
}

/* Clocks add intervals millions of times: on a grid that a double holds exactly (1/64 us until
 * 2030), the sum does not drift from the plan. */
static double
on_grid(double interval)
{
	return interval > 1 ? round(interval * 64) / 64 : interval;
}

static int
add_rows(struct plan_lane *l, double per_s, double from, double till)
{
	for (size_t i = 0; i < l->shape->count; i++) {
		const struct shape_piece *p = &l->shape->pieces[i];
		double a = fmax(p->from, from), b = fmin(p->till, till);

		if (!(b > a) || p->open <= 0)
			continue;
		if (l->row_count == l->row_room) {
			size_t room = l->row_room > 0 ? l->row_room * 2 : 64;
			struct admission_row *rows = realloc(l->rows, room * sizeof(*rows));
			bool *full = rows != NULL ? realloc(l->full, room * sizeof(*full)) : NULL;

			l->rows = rows != NULL ? rows : l->rows;
			if (full == NULL)
				return -1;
			l->full = full;
			l->row_room = room;
		}
		l->full[l->row_count] = p->open >= 1;
		l->rows[l->row_count++] = (struct admission_row){
			.from = a, .till = b, .interval = on_grid(1e6 / (per_s * p->open))
		};
	}
	if (per_s > l->peak_per_s)
		l->peak_per_s = per_s;
	return 0;
}

/* When `count` messages at per_s are through, from `from` on; INFINITY past the shape. */
static double
end_of(const struct shape *s, double count, double per_s, double from)
{
	double left = count / per_s * 1e6;

	for (size_t i = 0; i < s->count; i++) {
		double a = fmax(s->pieces[i].from, from), b = s->pieces[i].till;
		double open = s->pieces[i].open;

		if (!(b > a) || open <= 0)
			continue;
		if (left <= (b - a) * open)
			return a + left / open;
		left -= (b - a) * open;
	}
	return INFINITY;
}

/* So that what comes back to it finds a rate. */
static double
least_per_s(const struct plan_request *r, const struct plan_lane *l, double till)
{
	return till > r->start ? l->least / (till - r->start) * 1e6 : 0;
}

static bool
fits(const struct plan_request *r, const struct plan_lane *lanes, size_t count, double till)
{
	double sum = 0;

	for (size_t i = 0; i < count; i++) {
		double open = shape_integral(lanes[i].shape, r->start, till) / 1e6;

		if (lanes[i].count > 0 &&
		    (open <= 0 ||
			(lanes[i].cap_per_s > 0 &&
			    lanes[i].count > lanes[i].cap_per_s * PLAN_FILL * open)))
			return false;
		sum += fmax(lanes[i].count > 0 ? lanes[i].count / open : 0,
		    least_per_s(r, &lanes[i], till));
	}
	return r->account_per_s <= 0 || sum <= r->account_per_s * PLAN_FILL;
}

static int
make_together(const struct plan_request *r, struct plan_lane *lanes, size_t count, double till,
    struct err *err)
{
	for (size_t i = 0; i < count; i++) {
		double open = shape_integral(lanes[i].shape, r->start, till) / 1e6;
		double per_s = fmax(lanes[i].count > 0 ? lanes[i].count / open : 0,
		    least_per_s(r, &lanes[i], till));

		if (per_s <= 0)
			continue;
		if (add_rows(&lanes[i], per_s, r->start, r->till) < 0)
			return err_set(err, "no memory");
		if (lanes[i].count <= 0)
			continue;
		lanes[i].end = end_of(lanes[i].shape, lanes[i].count, per_s, r->start);
		if (lanes[i].end > till)
			lanes[i].end = till;
	}
	return 0;
}

static int
together(const struct plan_request *r, struct plan_lane *lanes, size_t count, struct err *err)
{
	double low = r->start, high = r->till;

	if (!fits(r, lanes, count, high))
		return 1;
	for (int i = 0; i < BISECTIONS; i++) {
		double mid = low + (high - low) / 2;

		if (fits(r, lanes, count, mid))
			high = mid;
		else
			low = mid;
	}
	/* room behind the end, for what a crash left over */
	if (high + (high - r->start) * 0.1 + HOUR_US > r->till)
		return 1;
	return make_together(r, lanes, count, high, err);
}

static int
window(const struct plan_request *r, struct plan_lane *lanes, size_t count, struct err *err)
{
	if (r->deadline + HOUR_US > r->till)
		return 1;
	if (!fits(r, lanes, count, r->deadline))
		return err_set(err,
		    "the window is too short for the limits of the account, a group or the hours "
		    "in which lanes are open");
	return make_together(r, lanes, count, r->deadline, err);
}

/* Max-min: the same rate for all lanes that their caps do not hold below it. */
static double
level(const struct plan_lane *lanes, const double *left, size_t count, double account)
{
	double water = account;

	for (int round = 0; round < 64; round++) {
		double capped = 0, next;
		size_t open = 0;

		for (size_t i = 0; i < count; i++) {
			double cap = lanes[i].cap_per_s * PLAN_FILL;

			if (left[i] <= 0)
				continue;
			if (cap > 0 && cap <= water && round > 0)
				capped += cap;
			else
				open++;
		}
		if (open == 0)
			return water;
		next = (account - capped) / (double)open;
		if (fabs(next - water) < 1e-9 * account)
			return next;
		water = next;
	}
	return water;
}

static double
asap_rate(const struct plan_lane *l, double water)
{
	double cap = l->cap_per_s * PLAN_FILL;

	return cap > 0 && cap < water ? cap : water;
}

static int
asap(const struct plan_request *r, struct plan_lane *lanes, size_t count, struct err *err)
{
	double account = r->account_per_s > 0 ? r->account_per_s * PLAN_FILL : 1e6;
	double *left = calloc(count + 1, sizeof(*left)), t = r->start;
	int result = 0;

	for (size_t i = 0; left != NULL && i < count; i++)
		left[i] = fmax(lanes[i].count, lanes[i].least);
	if (left == NULL)
		return err_set(err, "no memory");
	for (;;) { /* a phase ends when a lane does */
		double water = level(lanes, left, count, account), end = INFINITY;
		bool any = false;

		for (size_t i = 0; i < count; i++) {
			if (left[i] <= 0)
				continue;
			any = true;
			end = fmin(
			    end, end_of(lanes[i].shape, left[i], asap_rate(&lanes[i], water), t));
		}
		if (!any || !(end + HOUR_US < r->till)) {
			result = any ? 1 : 0;
			break;
		}
		for (size_t i = 0; i < count && result == 0; i++) {
			double per_s = asap_rate(&lanes[i], water);

			if (left[i] <= 0)
				continue;
			left[i] -= per_s * shape_integral(lanes[i].shape, t, end) / 1e6;
			if (left[i] < 1e-6) {
				left[i] = 0;
				lanes[i].end = end;
			}
			if (add_rows(&lanes[i], per_s, t, left[i] > 0 ? end : r->till) < 0)
				result = err_set(err, "no memory");
		}
		if (result != 0)
			break;
		t = end;
	}
	free(left);
	return result;
}

int
plan_make(const struct plan_request *r, struct plan_lane *lanes, size_t count, struct err *err)
{
	for (size_t i = 0; i < count; i++) {
		plan_lane_release(&lanes[i]);
		lanes[i].peak_per_s = lanes[i].end = 0;
	}
	switch (r->mode) {
	case PLAN_ASAP:
		return asap(r, lanes, count, err);
	case PLAN_WINDOW:
		return window(r, lanes, count, err);
	case PLAN_TOGETHER:
		return together(r, lanes, count, err);
	}
	return err_set(err, "no such mode");
}
