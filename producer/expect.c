/* SPDX-License-Identifier: Apache-2.0 */
/* expect: see expect.h. */
#include "expect.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "forecast.h"
#include "rds.h"
#include "rds_quota.h"

struct expectation {
	struct forecast_lane *lanes; /* owned */
	size_t count;
	double messages;
	bool capped;
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
	    "SELECT provider, recipients, paced, name LIKE 'tail-%', time_zone FROM "
	    "kairan.run_lane "
	    "WHERE run_id = $1 ORDER BY lane",
	    1, &run);
	struct forecast_lane others = { .group = PROVIDERS_NONE };

	if (r == NULL)
		return failed(db, err);
	e->lanes = calloc((size_t)PQntuples(r) + 1, sizeof(*e->lanes));
	for (int i = 0; e->lanes != NULL && i < PQntuples(r); i++) {
		struct forecast_lane l = { .group = providers_filed(p, slice_str(db_text(r, i, 0))),
			.count = (double)db_number(r, i, 1) };

		e->messages += l.count;
		if (db_text(r, i, 2)[0] != 't') {
			others.count += l.count;
			continue;
		}
		l.capped = db_text(r, i, 3)[0] != 't' && policy_cap_per_s(policy, l.group) > 0;
		if (db_text(r, i, 4)[0] != '\0')
			l.zone = policy_zone_named(policy, db_text(r, i, 4), err);
		e->capped = e->capped || l.capped;
		e->lanes[e->count++] = l;
	}
	PQclear(r);
	if (e->lanes == NULL)
		return err_set(err, "no memory");
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
    enum forecast_basis basis, double seconds, struct err *err)
{
	char took[40], messages[24], rate[40];
	const char *params[] = { run, took, messages, rate, forecast_basis_name(basis) };

	(void)snprintf(took, sizeof(took), "%.3f", seconds);
	(void)snprintf(messages, sizeof(messages), "%.0f", e->messages);
	(void)snprintf(rate, sizeof(rate), "%.6f", per_s);
	if (db_run(db,
		"INSERT INTO kairan.run_plan (run_id, expected_finish, messages, rate_per_s, "
		"basis) "
		"VALUES ($1, clock_timestamp() + make_interval(secs => $2), $3, $4, $5) "
		"ON CONFLICT (run_id) DO UPDATE SET made_at = now(), expected_finish = "
		"excluded.expected_finish, messages = excluded.messages, rate_per_s = "
		"excluded.rate_per_s, basis = excluded.basis",
		5, params) < 0)
		return failed(db, err);
	return 0;
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

int
expect_note(struct db *db, const struct config *config, struct policy *policy, const char *run,
    struct err *err)
{
	struct expectation e = { 0 };
	struct forecast_rates rates;
	enum forecast_basis basis = FORECAST_NONE;
	struct forecast_request request = { .policy = policy };
	double begin, finish, spread_s = 0;
	struct timespec now;
	int result = -1;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	begin = (double)(now.tv_sec - ADMISSION_EPOCH_S) * 1e6 + (double)now.tv_nsec / 1e3;
	if (read_lanes(db, policy, run, &e, err) == 0 &&
	    read_rates(db, run, &rates, &request, &spread_s, err) == 0) {
		request.per_s = forecast_rate(policy, &rates, &basis);
		request.start = finish = begin;
		if (basis == FORECAST_NONE && !e.capped && spread_s <= 0)
			result = 0;
		else if ((basis == FORECAST_NONE && !e.capped) ||
		    forecast_finish(&request, e.lanes, e.count, &finish, err) == 0) {
			finish = fmax(finish, begin + spread_s * 1e6);
			result = write_plan(db, run, &e, request.per_s, basis,
			    (quota_end(config, e.messages, request.per_s, finish) - begin) / 1e6,
			    err);
		}
	}
	free(e.lanes);
	return result;
}
