/* SPDX-License-Identifier: Apache-2.0 */
/* forecast: see forecast.h. */
#include "forecast.h"

#include <math.h>
#include <stdlib.h>

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
shape_of(
    const struct forecast_request *r, const struct forecast_lane *l, double till, struct shape *out)
{
	out->count = 0;
	if (l->group != PROVIDERS_NONE && !r->no_guard)
		return policy_shape(
		    r->policy, l->group, r->start, r->start, till, r->per_s > 0, out);
	shape_add(out, r->start, till, 1);
	return out->failed ? -1 : 0;
}

/* plan_make() over as many days as it takes. As plan_make(). */
static int
plan(const struct forecast_request *r, const struct forecast_lane *lanes, size_t count,
    struct shape *shapes, struct plan_lane *plans, struct err *err)
{
	struct plan_request request = { .mode = policy_mode(r->policy),
		.start = r->start,
		.account_per_s = forecast_account(r->per_s, count) };
	int result = 1;

	for (int days = 1; result == 1 && days <= PLAN_DAYS_MAX; days *= 2) {
		request.till = r->start + days * 24 * HOUR_US;
		for (size_t i = 0; i < count; i++) {
			plans[i].shape = &shapes[i];
			plans[i].count = lanes[i].count;
			plans[i].cap_per_s =
			    lanes[i].capped ? policy_cap_per_s(r->policy, lanes[i].group) : 0;
			if (shape_of(r, &lanes[i], request.till, &shapes[i]) < 0)
				return err_set(err, "no memory");
		}
		result = plan_make(&request, plans, count, err);
	}
	if (result == 1)
		return err_set(
		    err, "this would take more than %d days; raise the limits", PLAN_DAYS_MAX);
	return result;
}

int
forecast_finish(const struct forecast_request *r, const struct forecast_lane *lanes, size_t count,
    double *finish, struct err *err)
{
	struct shape *shapes = calloc(count + 1, sizeof(*shapes));
	struct plan_lane *plans = calloc(count + 1, sizeof(*plans));
	int result = shapes == NULL || plans == NULL ? err_set(err, "no memory") : 0;

	if (result == 0)
		result = plan(r, lanes, count, shapes, plans, err);
	*finish = r->start;
	for (size_t i = 0; shapes != NULL && plans != NULL && i < count; i++) {
		*finish = fmax(*finish, plans[i].end);
		plan_lane_release(&plans[i]);
		shape_release(&shapes[i]);
	}
	free(shapes);
	free(plans);
	return result;
}
