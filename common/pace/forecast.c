/* SPDX-License-Identifier: Apache-2.0 */
/* forecast: see forecast.h. */
#include "forecast.h"

#include <math.h>
#include <stdlib.h>

#define STEPS 40 /* to the end, of a plan that is made again and again */
#define STEP_LEAST_US 300e6

double
forecast_rate(
    const struct policy *policy, const struct forecast_rates *rates, enum forecast_basis *basis)
{
	double stream = rates->stream_per_s / (1 + rates->of_stream);
	double account = policy_bulk_per_s(policy) / (1 + rates->of_account);

	if (stream > 0 && (account <= 0 || stream <= account)) {
		*basis = FORECAST_STREAM;
		return stream;
	}
	if (account > 0) {
		*basis = FORECAST_ACCOUNT;
		return account;
	}
	*basis = rates->seen_per_s > 0 ? FORECAST_SEEN : FORECAST_NONE;
	return rates->seen_per_s / (1 + rates->of_account);
}

const char *
forecast_basis_name(enum forecast_basis basis)
{
	switch (basis) {
	case FORECAST_NONE:
		return "none";
	case FORECAST_STREAM:
		return "stream";
	case FORECAST_ACCOUNT:
		return "account";
	case FORECAST_SEEN:
		return "seen";
	}
	return "none";
}

double
forecast_account(double per_s, size_t lanes)
{
	return lanes == 1 ? per_s / PLAN_FILL : per_s;
}

static int
shape_of(const struct forecast_request *r, const struct forecast_lane *l, double now, double till,
    struct shape *out)
{
	bool steps = r->per_s > 0;

	out->count = 0;
	if (l->group == PROVIDERS_NONE || r->no_guard)
		shape_add(out, now, till, 1);
	else if (policy_shape(r->policy, l->group, r->start, now, till, steps, out) < 0)
		return -1;
	if (out->failed)
		return -1;
	return l->zone != NULL && r->quiet_from != r->quiet_till && !r->no_quiet
	    ? shape_quiet(out, l->zone, r->quiet_from, r->quiet_till, steps)
	    : 0;
}

/* plan_make() of what is left at a time, over as many days as it takes. As plan_make(). */
static int
plan(const struct forecast_request *r, const struct forecast_lane *lanes, const double *left,
    size_t count, double now, struct shape *shapes, struct plan_lane *plans, struct err *err)
{
	struct plan_request request = { .mode = policy_mode(r->policy),
		.start = now,
		.account_per_s = forecast_account(r->per_s, count) };
	int result = 1;

	for (int days = 1; result == 1 && days <= PLAN_DAYS_MAX; days *= 2) {
		request.till = now + days * 24 * HOUR_US;
		for (size_t i = 0; i < count; i++) {
			plans[i].shape = &shapes[i];
			plans[i].count = left[i];
			plans[i].cap_per_s =
			    lanes[i].capped ? policy_cap_per_s(r->policy, lanes[i].group) : 0;
			if (shape_of(r, &lanes[i], now, request.till, &shapes[i]) < 0)
				return err_set(err, "no memory");
		}
		result = plan_make(&request, plans, count, err);
	}
	if (result == 1)
		return err_set(
		    err, "this would take more than %d days; raise the limits", PLAN_DAYS_MAX);
	return result;
}

/* Takes off what leaves by that plan between two times; returns what is left of all. */
static double
pass(const struct plan_lane *plans, size_t count, double from, double till, double *left)
{
	double all = 0;

	for (size_t i = 0; i < count; i++) {
		for (size_t k = 0; k < plans[i].row_count; k++) {
			const struct admission_row *row = &plans[i].rows[k];
			double a = fmax(row->from, from), b = fmin(row->till, till);

			left[i] -= b > a ? (b - a) / row->interval : 0;
		}
		left[i] = left[i] > 0.5 ? left[i] : 0;
		all += left[i];
	}
	return all;
}

/* When the last lane ends of those that go together. */
static int
finish_together(const struct forecast_request *r, const struct forecast_lane *lanes, size_t count,
    double *finish, struct err *err)
{
	struct shape *shapes = calloc(count + 1, sizeof(*shapes));
	struct plan_lane *plans = calloc(count + 1, sizeof(*plans));
	double *left = calloc(count + 1, sizeof(*left)), now = r->start, all = 0;
	bool quiet = r->quiet_from != r->quiet_till && !r->no_quiet, again = true;
	int result =
	    shapes == NULL || plans == NULL || left == NULL ? err_set(err, "no memory") : 0;

	for (size_t i = 0; result == 0 && i < count; i++)
		left[i] = lanes[i].count;
	*finish = r->start;
	while (result == 0 && again) {
		double step;

		result = plan(r, lanes, left, count, now, shapes, plans, err);
		for (size_t i = 0; result == 0 && i < count; i++)
			*finish = left[i] > 0 ? fmax(*finish, plans[i].end) : *finish;
		/* who has said good night leaves his rate to the others when the pacer plans anew */
		step = fmax((*finish - now) / STEPS, STEP_LEAST_US);
		if (result == 0 && quiet)
			all = pass(plans, count, now, now + step, left);
		now += step;
		again = quiet && all > 0;
		if (again)
			*finish = now;
	}
	for (size_t i = 0; shapes != NULL && plans != NULL && i < count; i++) {
		plan_lane_release(&plans[i]);
		shape_release(&shapes[i]);
	}
	free(shapes);
	free(plans);
	free(left);
	return result;
}

int
forecast_plans(const struct forecast_request *r, const struct forecast_lane *lanes, size_t count,
    struct forecast_plan *plans, struct err *err)
{
	struct forecast_request awake = *r;
	struct shape *shapes = calloc(count + 1, sizeof(*shapes));
	struct plan_lane *made = calloc(count + 1, sizeof(*made));
	double *left = calloc(count + 1, sizeof(*left));
	int result = shapes == NULL || made == NULL || left == NULL ? err_set(err, "no memory") : 0;

	awake.no_quiet = true;
	for (size_t i = 0; result == 0 && i < count; i++)
		left[i] = lanes[i].count;
	if (result == 0)
		result = plan(&awake, lanes, left, count, r->start, shapes, made, err);
	for (size_t i = 0; shapes != NULL && made != NULL && i < count; i++) {
		plans[i] = (struct forecast_plan){ made[i].peak_per_s, made[i].end };
		plan_lane_release(&made[i]);
		shape_release(&shapes[i]);
	}
	free(shapes);
	free(made);
	free(left);
	return result;
}

/* A part of each lane, from a time on. */
static int
finish_part(const struct forecast_request *r, const struct forecast_lane *lanes, size_t count,
    double start, double part, double *finish, struct err *err)
{
	struct forecast_request later = *r;
	struct forecast_lane *some = calloc(count + 1, sizeof(*some));
	int result;

	if (some == NULL)
		return err_set(err, "no memory");
	for (size_t i = 0; i < count; i++) {
		some[i] = lanes[i];
		some[i].count *= part;
	}
	later.start = start;
	result = finish_together(&later, some, count, finish, err);
	free(some);
	return result;
}

int
forecast_finish(const struct forecast_request *r, const struct forecast_lane *lanes, size_t count,
    double *finish, struct err *err)
{
	double all = 0, heard;

	for (size_t i = 0; i < count; i++)
		all += lanes[i].count;
	if (r->canary <= 0 || r->canary >= all)
		return finish_together(r, lanes, count, finish, err);
	if (finish_part(r, lanes, count, r->start, r->canary / all, &heard, err) < 0)
		return -1;
	return finish_part(
	    r, lanes, count, heard + r->canary_wait_us, 1 - r->canary / all, finish, err);
}
