/* SPDX-License-Identifier: Apache-2.0 */
/* run_forecast: see run_forecast.h. */
#include "run_forecast.h"

#include <math.h>
#include <stdlib.h>

#include "gauge.h"
#include "scenario.h"
#include "simulation.h"

#define CLEARLY 0.01 /* of the duration: what a limit must cost to be called binding */
#define AT_LIMIT 0.99
#define CRASH_FOR_S 60
#define BUCKET_US (FORECAST_BUCKET_S * 1e6)

/* A run with a canary goes in two: the canary, and when its wait is over the others. */
struct stage {
	double start;	 /* us since 2026 */
	double window_s; /* of a spread run */
	double from, to; /* which part of each list */
};

static double
cap_of(const struct run_forecast *f, const struct forecast_list *l)
{
	return l->capped ? policy_cap_per_s(f->policy, l->group) : 0;
}

/* Of a run, that goes first; 0: all at once. */
static double
canary_part(const struct run_forecast *f)
{
	double messages = 0;

	for (size_t i = 0; i < f->count; i++)
		messages += (double)f->lists[i].count;
	return f->canary < messages ? f->canary / messages : 0;
}

/* What goes of a list in a stage. */
static uint64_t
count_of(const struct forecast_list *l, const struct stage *g)
{
	return (uint64_t)ceil((double)l->count * g->to) -
	    (uint64_t)ceil((double)l->count * g->from);
}

static int
fill_scenario(
    const struct run_forecast *f, const struct stage *stage, struct scenario *s, struct err *err)
{
	int unknown = providers_unknown(policy_providers(f->policy));

	s->name = POLICY_POOL; /* the guard's edges are shifted by it */
	s->start = stage->start;
	s->zone = policy_zone(f->policy, unknown);
	s->account_per_s = forecast_account(f->per_s, f->count);
	s->mode = f->spread_s > 0 ? PLAN_WINDOW : policy_mode(f->policy);
	s->window_s = stage->window_s;
	s->dispatchers =
	    f->dispatchers < SCENARIO_DISPATCHERS_MAX ? f->dispatchers : SCENARIO_DISPATCHERS_MAX;
	s->seed = 1;
	s->lead_us = policy_lead_us(f->policy);
	s->soft_factor = policy_soft_factor(f->policy);
	s->quiet_open = f->quiet_till;
	s->quiet_close = f->quiet_from;
	s->lane_count = f->count;
	s->lanes = calloc(f->count + 1, sizeof(*s->lanes));
	if (s->lanes == NULL)
		return err_set(err, "no memory");
	for (size_t i = 0; i < f->count; i++) {
		const struct forecast_list *l = &f->lists[i];
		int group = l->group != PROVIDERS_NONE ? l->group : unknown;
		bool guarded = l->group != PROVIDERS_NONE;

		s->messages += count_of(l, stage);
		s->lanes[i] = (struct scenario_lane){ .name = l->name,
			.group = providers_group(policy_providers(f->policy), group)->name,
			.count = count_of(l, stage),
			.guard = guarded ? policy_guard(f->policy, group) : GUARD_OFF,
			.zone = policy_zone(f->policy, group),
			.hours = l->zone,
			.cap_per_s = cap_of(f, l),
			.limiter = cap_of(f, l) > 0 ? (int)i : -1 };
	}
	return 0;
}

/* Counts of the gauge's minutes in quarters of the hour, behind those of the stages before. */
static int
fill_buckets(
    struct run_forecast *f, const struct stage *stage, const struct gauge *g, struct err *err)
{
	double minute = floor(stage->start / MINUTE_US), first = floor(f->start / BUCKET_US);
	size_t n = (size_t)((minute + (double)g->minute_count) * MINUTE_US / BUCKET_US - first) + 1;
	struct forecast_bucket *buckets = realloc(f->buckets, n * sizeof(*buckets));

	if (buckets == NULL)
		return err_set(err, "no memory");
	f->buckets = buckets;
	for (size_t i = f->bucket_count; i < n; i++)
		buckets[i] = (struct forecast_bucket){ .at = (first + (double)i) * BUCKET_US };
	for (size_t m = 0; m < g->minute_count; m++) {
		size_t i = (size_t)(floor((minute + (double)m) * MINUTE_US / BUCKET_US) - first);

		f->buckets[i].messages += g->minutes[m];
		f->peak_per_min = fmax(f->peak_per_min, g->minutes[m]);
		if (g->minutes[m] > 0)
			f->bucket_count = i + 1;
	}
	return 0;
}

/* How long the guard closes a list within each quarter. */
static int
fill_guard(struct run_forecast *f, struct err *err)
{
	double till = f->buckets[0].at + (double)f->bucket_count * BUCKET_US;

	for (size_t k = 0; k < f->count; k++) {
		struct shape shape = { 0 };
		int group = f->lists[k].group;

		if (group == PROVIDERS_NONE || policy_guard(f->policy, group) == GUARD_OFF)
			continue;
		if (policy_shape(f->policy, group, f->start, f->buckets[0].at, till, true, &shape) <
		    0) {
			shape_release(&shape);
			return err_set(err, "no memory");
		}
		for (size_t i = 0; i < f->bucket_count; i++) {
			double closed = 0, from = f->buckets[i].at, end = from + BUCKET_US;

			for (size_t p = 0; p < shape.count; p++)
				if (shape.pieces[p].open <= 0)
					closed += fmax(0,
					    fmin(shape.pieces[p].till, end) -
						fmax(shape.pieces[p].from, from));
			f->buckets[i].closed_s = fmax(f->buckets[i].closed_s, closed / 1e6);
		}
		shape_release(&shape);
	}
	return 0;
}

/* Plays a stage; with `faults` a dispatcher is away for a minute half-way and the clocks are lost. */
static int
play_stage(
    struct run_forecast *f, const struct stage *stage, bool faults, double *finish, struct err *err)
{
	struct simulation_hooks hooks = { .trace_every = 1 };
	struct simulation_result result;
	struct scenario s = { 0 };
	struct gauge g = { 0 };
	struct plan_lane *plans = calloc(f->count + 1, sizeof(*plans));
	int code = plans == NULL ? err_set(err, "no memory") : fill_scenario(f, stage, &s, err);

	if (code == 0 && faults) {
		double half = (f->p50 - stage->start) / 2e6;

		s.faults[s.fault_count++] = (struct scenario_fault){
			.kind = FAULT_DISPATCHER_CRASH, .at_s = half, .for_s = CRASH_FOR_S
		};
		s.faults[s.fault_count++] =
		    (struct scenario_fault){ .kind = FAULT_REDIS_LOST, .at_s = half };
	}
	if (code == 0)
		code = simulation_run(&s, &hooks, plans, &g, &result, err);
	if (code == 0 && result.unsent > 0)
		code = err_set(err, "%llu recipients would never be sent to",
		    (unsigned long long)result.unsent);
	if (code == 0)
		*finish = result.finish;
	for (size_t i = 0; code == 0 && !faults && i < f->count; i++) {
		if (count_of(&f->lists[i], stage) == 0)
			continue;
		f->lists[i].peak_per_min = plans[i].peak_per_s * 60;
		f->lists[i].end = plans[i].end;
	}
	if (code == 0 && !faults)
		code = fill_buckets(f, stage, &g, err);
	for (size_t i = 0; plans != NULL && i < f->count; i++)
		plan_lane_release(&plans[i]);
	free(plans);
	free(s.lanes);
	gauge_release(&g);
	return code;
}

/* The whole run. A canary that is sent is heard for its wait, whatever became of its faults. */
static int
play(struct run_forecast *f, bool faults, double *finish, struct err *err)
{
	struct stage stage = { .start = f->start, .window_s = f->spread_s, .to = 1 };
	double part = canary_part(f);

	if (!faults) {
		run_forecast_release(f);
		f->peak_per_min = 0;
		f->others = f->start;
	}
	if (part > 0) {
		stage.to = part;
		stage.window_s = f->spread_s * stage.to;
		if (!faults && play_stage(f, &stage, false, &f->others, err) < 0)
			return -1;
		f->others += faults ? 0 : f->canary_wait_s * 1e6;
		stage = (struct stage){ .start = f->others,
			.window_s = f->spread_s - (f->others - f->start) / 1e6,
			.from = stage.to,
			.to = 1 };
		if (f->spread_s > 0 && stage.window_s <= 0)
			return err_set(err, "the wait for the canary is longer than the spread");
	}
	return play_stage(f, &stage, faults, finish, err);
}

/* By what would end earlier without it, of those behind the canary. With quiet hours the plan is made
 * again when some lists are through: the forecast knows, and what was played does not. */
static int
find_binding(struct run_forecast *f, struct err *err)
{
	const struct stage others = { .from = canary_part(f), .to = 1 };
	struct forecast_lane *lanes = calloc(f->count + 1, sizeof(*lanes));
	struct forecast_request r = { .policy = f->policy,
		.per_s = f->per_s,
		.start = f->others,
		.quiet_from = f->quiet_from,
		.quiet_till = f->quiet_till };
	double planned = 0, unguarded = 0, awake = 0, uncapped = 0, faster = 0, clearly;
	int code = lanes == NULL ? err_set(err, "no memory") : 0;

	for (size_t i = 0; lanes != NULL && i < f->count; i++)
		lanes[i] = (struct forecast_lane){ f->lists[i].group,
			(double)count_of(&f->lists[i], &others), f->lists[i].capped,
			f->lists[i].zone };
	if (code == 0)
		code = forecast_finish(&r, lanes, f->count, &planned, err);
	r.no_guard = true;
	if (code == 0)
		code = forecast_finish(&r, lanes, f->count, &unguarded, err);
	r.no_guard = false;
	r.no_quiet = true;
	if (code == 0)
		code = forecast_finish(&r, lanes, f->count, &awake, err);
	r.no_quiet = false;
	r.per_s *= 2;
	if (code == 0)
		code = forecast_finish(&r, lanes, f->count, &faster, err);
	r.per_s = f->per_s;
	for (size_t i = 0; lanes != NULL && i < f->count; i++)
		lanes[i].capped = false;
	if (code == 0)
		code = forecast_finish(&r, lanes, f->count, &uncapped, err);
	free(lanes);
	if (code == 0 && f->quiet_from != f->quiet_till && f->p90 > f->start) {
		f->p90 =
		    f->start + (f->p90 - f->start) * (planned - f->start) / (f->p50 - f->start);
		f->p50 = planned;
	}
	clearly = (planned - f->others) * CLEARLY;
	for (size_t i = 0; code == 0 && i < f->count; i++) {
		struct forecast_list *l = &f->lists[i];
		bool quiet = l->zone != NULL && planned - awake > clearly;
		bool guarded = l->group != PROVIDERS_NONE &&
		    policy_guard(f->policy, l->group) != GUARD_OFF && planned - unguarded > clearly;
		bool full = l->capped &&
		    l->peak_per_min >=
			60 * AT_LIMIT * PLAN_FILL * policy_cap_per_s(f->policy, l->group);

		l->binding = "nothing";
		if (full && (!guarded || unguarded >= uncapped) && (!quiet || awake >= uncapped))
			l->binding = "group limit";
		else if (quiet && (!guarded || awake <= unguarded))
			l->binding = "quiet hours";
		else if (guarded)
			l->binding = "guard window";
		else if (planned - faster > clearly && f->basis != FORECAST_SEEN)
			l->binding = f->basis == FORECAST_STREAM ? "stream rate" : "account";
	}
	return code;
}

int
run_forecast_make(struct run_forecast *f, struct err *err)
{
	bool capped = false, limited = f->quota != NULL && f->quota->limit > 0;
	double worst, quota = 0, messages = 0;

	f->per_s = forecast_rate(f->policy, &f->rates, &f->basis);
	for (size_t i = 0; i < f->count; i++) {
		capped = capped || f->lists[i].capped;
		f->lists[i].binding = "nothing";
		messages += (double)f->lists[i].count;
	}
	f->known = f->count > 0 && (f->basis != FORECAST_NONE || capped || f->spread_s > 0);
	if (!f->known)
		return 0;
	if (f->spread_s > 0 && play(f, false, &f->p50, err) < 0) {
		f->spread_s = 0;
		return run_forecast_make(f, err);
	}
	if ((f->spread_s <= 0 && play(f, false, &f->p50, err) < 0) ||
	    play(f, true, &worst, err) < 0 || fill_guard(f, err) < 0)
		return -1;
	f->p90 = fmax(f->p50, f->overrun > 0 ? f->start + (f->p50 - f->start) * f->overrun : worst);
	for (size_t i = 0; f->spread_s > 0 && i < f->count; i++)
		f->lists[i].binding = "spread";
	if (f->spread_s <= 0 && find_binding(f, err) < 0)
		return -1;
	if (limited)
		quota = quota_finish(f->quota, messages, f->per_s, f->start);
	if (quota <= f->p50)
		return 0;
	if (!isfinite(quota))
		return err_set(err, "the quota of 24 hours would need more than a year for this");
	for (size_t i = 0; i < f->count; i++)
		f->lists[i].binding = "quota";
	f->p90 = fmax(f->p90, quota);
	f->p50 = quota;
	return 0;
}

void
run_forecast_release(struct run_forecast *f)
{
	free(f->buckets);
	f->buckets = NULL;
	f->bucket_count = 0;
}
