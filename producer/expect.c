/* SPDX-License-Identifier: Apache-2.0 */
/* expect: see expect.h. */
#include "expect.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "forecast.h"
#include "pgarray.h"
#include "rds.h"
#include "rds_quota.h"

#define OVERRUN_MIN 5	/* earlier runs that say how far forecasts are off; before that */
#define SILENCE_US 60e6 /* nothing is sent for so long */
#define ARRAY_MAX ((size_t)1 << 20)

/* A lane of the run, and the list that it waits in. */
struct expected_lane {
	int lane;
	size_t list;
	double count;
};

struct expectation {
	struct forecast_lane *lanes; /* owned; lists with a clock of their own, then all others */
	size_t count;
	struct expected_lane *of_run; /* owned */
	size_t of_run_count;
	struct forecast_plan *plans; /* owned; by list */
	double messages;
	bool capped;
	double begin, finish, p90; /* us since 2026 */
	const char *p90_from;
};

static int
failed(const struct db *db, struct err *err)
{
	return err_set(err, "%s", db->error);
}

/* Lists as the pacer will have them: those of paced lanes, and one for all the others. */
static int
read_lanes(
    struct db *db, struct policy *policy, const char *run, struct expectation *e, struct err *err)
{
	const struct providers *p = policy_providers(policy);
	PGresult *r = db_query(db,
	    "SELECT provider, recipients, paced, name LIKE 'tail-%', time_zone, lane FROM "
	    "kairan.run_lane "
	    "WHERE run_id = $1 ORDER BY lane",
	    1, &run);
	struct forecast_lane others = { .group = PROVIDERS_NONE };

	if (r == NULL)
		return failed(db, err);
	e->lanes = calloc((size_t)PQntuples(r) + 1, sizeof(*e->lanes));
	e->plans = calloc((size_t)PQntuples(r) + 1, sizeof(*e->plans));
	e->of_run = calloc((size_t)PQntuples(r) + 1, sizeof(*e->of_run));
	e->of_run_count = (size_t)PQntuples(r);
	for (int i = 0; e->lanes != NULL && e->of_run != NULL && i < PQntuples(r); i++) {
		struct forecast_lane l = { .group = providers_filed(p, slice_str(db_text(r, i, 0))),
			.count = (double)db_number(r, i, 1) };

		e->messages += l.count;
		e->of_run[i] = (struct expected_lane){ (int)db_number(r, i, 5), e->count, l.count };
		if (db_text(r, i, 2)[0] != 't') {
			others.count += l.count;
			e->of_run[i].list = SIZE_MAX;
			continue;
		}
		l.capped = db_text(r, i, 3)[0] != 't' && policy_cap_per_s(policy, l.group) > 0;
		if (db_text(r, i, 4)[0] != '\0')
			l.zone = policy_zone_named(policy, db_text(r, i, 4), err);
		e->capped = e->capped || l.capped;
		e->lanes[e->count++] = l;
	}
	PQclear(r);
	if (e->lanes == NULL || e->of_run == NULL || e->plans == NULL)
		return err_set(err, "no memory");
	for (size_t i = 0; i < e->of_run_count; i++)
		if (e->of_run[i].list == SIZE_MAX)
			e->of_run[i].list = e->count;
	if (others.count > 0)
		e->lanes[e->count++] = others;
	return 0;
}

static int
read_rates(struct db *db, const char *run, struct forecast_rates *rates,
    struct forecast_request *request, double *spread_s, struct err *err)
{
	PGresult *r = db_query(db,
	    "SELECT coalesce(f.rate_per_s, 0), f.of_stream, f.of_account, coalesce(f.seen_per_s, "
	    "0), coalesce(c.spread_s, 0), coalesce(c.quiet_from, 0), coalesce(c.quiet_till, 0), "
	    "coalesce(k.recipients, 0), coalesce(k.wait_s, 0) "
	    "FROM kairan.run r JOIN kairan.campaign c ON c.id = r.campaign_id "
	    "JOIN kairan.stream s ON s.id = c.stream_id LEFT JOIN kairan.canary k ON k.run_id = "
	    "r.id, kairan.plan_rates(s.name, r.id) AS f "
	    "WHERE r.id = $1",
	    1, &run);

	if (r == NULL)
		return failed(db, err);
	*rates = (struct forecast_rates){ .stream_per_s = strtod(db_text(r, 0, 0), NULL),
		.of_stream = strtod(db_text(r, 0, 1), NULL),
		.of_account = strtod(db_text(r, 0, 2), NULL),
		.seen_per_s = strtod(db_text(r, 0, 3), NULL) };
	*spread_s = strtod(db_text(r, 0, 4), NULL);
	request->quiet_from = (int)db_number(r, 0, 5);
	request->quiet_till = (int)db_number(r, 0, 6);
	request->canary = (double)db_number(r, 0, 7);
	request->canary_wait_us = (double)db_number(r, 0, 8) * 1e6;
	PQclear(r);
	return 0;
}

static int
write_plan(struct db *db, const char *run, const struct expectation *e, double per_s,
    enum forecast_basis basis, struct err *err)
{
	char took[40], late[40], messages[24], rate[40];
	const char *params[] = { run, took, messages, rate, forecast_basis_name(basis), late,
		e->p90_from };

	(void)snprintf(took, sizeof(took), "%.3f", (e->finish - e->begin) / 1e6);
	(void)snprintf(late, sizeof(late), "%.3f", (e->p90 - e->begin) / 1e6);
	(void)snprintf(messages, sizeof(messages), "%.0f", e->messages);
	(void)snprintf(rate, sizeof(rate), "%.6f", per_s);
	if (db_run(db,
		"INSERT INTO kairan.run_plan (run_id, expected_finish, messages, rate_per_s, "
		"basis, expected_p90, p90_from) "
		"VALUES ($1, clock_timestamp() + make_interval(secs => $2), $3, $4, $5, "
		"clock_timestamp() + make_interval(secs => $6), $7) "
		"ON CONFLICT (run_id) DO UPDATE SET made_at = now(), expected_finish = "
		"excluded.expected_finish, messages = excluded.messages, rate_per_s = "
		"excluded.rate_per_s, basis = excluded.basis, expected_p90 = "
		"excluded.expected_p90, p90_from = excluded.p90_from",
		7, params) < 0)
		return failed(db, err);
	return 0;
}

/* A lane that shares a list has its part of what is planned for it. */
static int
write_lanes(struct db *db, const char *run, const struct expectation *e, struct err *err)
{
	struct buf arrays[3];
	const char *params[4] = { run };
	char text[40];
	int result = 0;

	for (size_t i = 0; i < 3; i++)
		buf_init(&arrays[i], ARRAY_MAX);
	for (size_t i = 0; i < e->of_run_count; i++) {
		const struct expected_lane *l = &e->of_run[i];
		const struct forecast_plan *plan = &e->plans[l->list];

		pgarray_int(&arrays[0], l->lane);
		(void)snprintf(text, sizeof(text), "%.6f",
		    60 * plan->peak_per_s * l->count / fmax(1, e->lanes[l->list].count));
		pgarray_text(&arrays[1], slice_str(text));
		(void)snprintf(text, sizeof(text), "%.3f", (plan->end - e->begin) / 1e6);
		pgarray_text(&arrays[2], slice_str(text));
	}
	for (size_t i = 0; i < 3; i++)
		if ((params[i + 1] = pgarray_end(&arrays[i])) == NULL)
			result = err_set(err, "no memory");
	if (result == 0 &&
	    db_run(db,
		"UPDATE kairan.run_lane l SET planned_per_min = n.peak, expected_finish = "
		"clock_timestamp() + make_interval(secs => n.took) FROM unnest($2::int[], "
		"$3::float8[], $4::float8[]) AS n(lane, peak, took) WHERE l.run_id = $1 AND l.lane "
		"= n.lane",
		4, params) < 0)
		result = failed(db, err);
	for (size_t i = 0; i < 3; i++)
		buf_release(&arrays[i]);
	return result;
}

/* When the quota lets the last one go; `finish` when it is no obstacle, or not known. */
static double
quota_end(const struct config *config, double messages, double per_s, double finish)
{
	struct rds_address address;
	redisContext *redis = NULL;
	struct quota quota;
	struct err err = { 0 };
	double now, end = finish;

	if (rds_address_parse(&address, config->redis_url, &err) == 0)
		redis = rds_open(&address, &err);
	if (redis != NULL && rds_quota_read(redis, &quota, &now, &err) == 0 && quota.limit > 0)
		end = quota_finish(&quota, messages, per_s, now);
	if (redis != NULL)
		redisFree(redis);
	return isfinite(end) && end > finish ? end : finish;
}

/* The lists by the plan at the start, stretched to when the run ends. free: nothing limits them. */
static int
plan_lists(const struct forecast_request *r, struct expectation *e, double forecast, bool free,
    struct err *err)
{
	double last = e->begin, longer, slower;

	if (!free && forecast_plans(r, e->lanes, e->count, e->plans, err) < 0)
		return -1;
	for (size_t i = 0; i < e->count; i++)
		last = fmax(last, e->plans[i].end);
	/* by canary and nights, then by spread and quota, which lower rates as well */
	longer = last > e->begin ? (e->finish - e->begin) / (last - e->begin) : 1;
	slower = forecast > e->begin ? (e->finish - e->begin) / (forecast - e->begin) : 1;
	for (size_t i = 0; i < e->count; i++) {
		struct forecast_plan *p = &e->plans[i];

		if (free)
			*p = (struct forecast_plan){
				e->lanes[i].count / fmax(1, (e->finish - e->begin) / 1e6), e->finish
			};
		else
			*p = (struct forecast_plan){ p->peak_per_s / fmax(1, slower),
				e->begin + (p->end - e->begin) * longer };
	}
	return 0;
}

/* In nine of ten runs it ends by then. */
static int
find_p90(struct db *db, const struct config *config, const struct forecast_request *r,
    struct expectation *e, bool free, struct err *err)
{
	PGresult *found =
	    db_query(db, "SELECT runs, coalesce(p90, 0) FROM kairan.plan_overrun()", 0, NULL);
	struct forecast_request late = *r;
	double finish = e->finish + SILENCE_US, overrun;
	bool known;

	if (found == NULL)
		return failed(db, err);
	known = db_number(found, 0, 0) >= OVERRUN_MIN;
	overrun = strtod(db_text(found, 0, 1), NULL);
	PQclear(found);
	e->p90_from = known ? "earlier runs" : "a minute of silence";
	if (known) {
		e->p90 = e->begin + (e->finish - e->begin) * fmax(1, overrun);
		return 0;
	}
	late.start += SILENCE_US;
	if (!free && forecast_finish(&late, e->lanes, e->count, &finish, err) < 0)
		return -1;
	e->p90 = fmax(e->finish, quota_end(config, e->messages, r->per_s, finish));
	return 0;
}

/* 1 when nothing limits the run, so that nothing is expected of it. */
static int
expect(struct db *db, const struct config *config, const char *run, struct forecast_request *r,
    struct expectation *e, const struct forecast_rates *rates, double spread_s, struct err *err)
{
	enum forecast_basis basis = FORECAST_NONE;
	double forecast = e->begin;
	bool free;

	r->per_s = forecast_rate(r->policy, rates, &basis);
	r->start = e->begin;
	free = basis == FORECAST_NONE && !e->capped;
	if (free && spread_s <= 0)
		return 1;
	if (!free && forecast_finish(r, e->lanes, e->count, &forecast, err) < 0)
		return -1;
	e->finish =
	    quota_end(config, e->messages, r->per_s, fmax(forecast, e->begin + spread_s * 1e6));
	if (plan_lists(r, e, forecast, free, err) < 0 || find_p90(db, config, r, e, free, err) < 0)
		return -1;
	return write_plan(db, run, e, r->per_s, basis, err) < 0 || write_lanes(db, run, e, err) < 0
	    ? -1
	    : 0;
}

int
expect_note(struct db *db, const struct config *config, struct policy *policy, const char *run,
    struct err *err)
{
	struct expectation e = { 0 };
	struct forecast_rates rates;
	struct forecast_request request = { .policy = policy };
	double spread_s = 0;
	struct timespec now;
	int result = -1;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	e.begin = (double)(now.tv_sec - ADMISSION_EPOCH_S) * 1e6 + (double)now.tv_nsec / 1e3;
	if (read_lanes(db, policy, run, &e, err) == 0 &&
	    read_rates(db, run, &rates, &request, &spread_s, err) == 0)
		result = expect(db, config, run, &request, &e, &rates, spread_s, err);
	free(e.lanes);
	free(e.of_run);
	free(e.plans);
	return result < 0 ? -1 : 0;
}
