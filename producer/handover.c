/* SPDX-License-Identifier: Apache-2.0 */
/* handover: see handover.h. Blocking; one round is a few small statements per running run. */
#include "handover.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "allowance.h"
#include "braker.h"
#include "crash.h"
#include "feed.h"
#include "jobs.h"
#include "known_run.h"
#include "log.h"
#include "pacer.h"
#include "relist.h"
#include "retries.h"

struct handover {
	const struct config *config;
	struct jobs jobs;
	struct known_run *runs;
	struct policy *policy;
	struct braker *braker; /* NULL: pace.adaptive is off */
	struct pacer *pacer;
	struct account *account;
	struct allowance allowance;
	struct relist relist;
};

struct handover *
handover_new(const struct config *config, struct policy *policy, const struct rds_address *redis,
    struct account *account)
{
	struct handover *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return NULL;
	h->config = config;
	h->policy = policy;
	h->jobs.address = redis;
	h->account = account;
	if (config->pace_adaptive)
		h->braker = braker_new(config, policy);
	h->pacer = pacer_new(policy, h->braker, config->pace_takeover_s);
	if (h->pacer == NULL || (config->pace_adaptive && h->braker == NULL)) {
		handover_free(h);
		return NULL;
	}
	return h;
}

void
handover_free(struct handover *h)
{
	if (h == NULL)
		return;
	while (h->runs != NULL) {
		struct known_run *r = h->runs;

		h->runs = r->next;
		known_run_free(r);
	}
	pacer_free(h->pacer);
	braker_free(h->braker);
	jobs_close(&h->jobs);
	free(h);
}

/* ---- runs ---- */

/* The counts say that nothing is left; the rows have the last word. */
static int
end_run(struct db *db, const struct run_row *row, struct known_run *known)
{
	char number[16];
	const char *params[] = { number };
	PGresult *r;
	bool left;

	(void)snprintf(number, sizeof(number), "%d", row->id);
	CRASH_POINT("before_finish");
	r = db_query(db, "SELECT kairan.run_end($1)", 1, params);
	if (r == NULL)
		return -1;
	left = db_text(r, 0, 0)[0] != 't';
	PQclear(r);
	if (left) {
		if (jobs_now_ms() - known->since_ms > FEED_STUCK_MS) {
			log_error(
			    "counts of run=%d say that it is done, its rows do not; refilling",
			    row->id);
			known_run_refill(known, row->low_water);
		}
		return 0;
	}
	log_info("run finished run=%d", row->id);
	return 0;
}

static void
forget_keys(struct handover *h, const struct known_run *k)
{
	char key[KEY_MAX];

	if (h->jobs.redis == NULL)
		return;
	(void)snprintf(key, sizeof(key), KEY_GENERATION, k->id);
	(void)jobs_number(&h->jobs, "tidying", redisCommand(h->jobs.redis, "DEL %s", key));
	for (size_t i = 0; h->jobs.redis != NULL && i < k->list_count; i++) {
		jobs_key(key, k->id, k->lists[i].lane);
		(void)jobs_number(&h->jobs, "tidying", redisCommand(h->jobs.redis, "DEL %s", key));
	}
}

static int
feed_runs(struct handover *h, struct db *db)
{
	PGresult *r = db_query(db,
	    "SELECT r.id, r.planned, r.pushed, r.low_water, p.queued, p.sending, p.deferred, "
	    "s.name, "
	    "coalesce(s.rate_per_s, 0), extract(epoch FROM coalesce(r.started_at, r.due_at)), "
	    "CASE WHEN r.snapshot ? 'mail' OR s.kind = 'transactional' THEN 0 "
	    "WHEN s.kind = 'triggered' THEN 1 ELSE 2 END, c.weight, "
	    "kairan.urgent_in_use(s.id), r.relisted, "
	    "coalesce(extract(epoch FROM r.started_at) + c.spread_s, 0), "
	    "coalesce(c.quiet_from, 0), coalesce(c.quiet_till, 0), "
	    "CASE WHEN kairan.canary_is_open(k.phase) THEN k.recipients ELSE r.planned END "
	    "FROM kairan.run r JOIN kairan.campaign_progress p ON p.run_id = r.id "
	    "JOIN kairan.campaign c ON c.id = r.campaign_id "
	    "JOIN kairan.stream s ON s.id = c.stream_id "
	    "LEFT JOIN kairan.canary k ON k.run_id = r.id "
	    "WHERE r.state = 'running' ORDER BY r.id",
	    0, NULL);
	struct known_run **link, *k;
	bool lost = false;
	int result = 0;

	if (r == NULL)
		return -1;
	for (k = h->runs; k != NULL; k = k->next)
		k->seen = false;
	for (int i = 0; i < PQntuples(r) && result == 0; i++) {
		struct run_row row = { (int)db_number(r, i, 0), db_number(r, i, 1),
			db_number(r, i, 2), db_number(r, i, 3), db_number(r, i, 4),
			db_number(r, i, 5), db_number(r, i, 6), db_number(r, i, 17),
			db_text(r, i, 7), strtod(db_text(r, i, 8), NULL),
			(strtod(db_text(r, i, 9), NULL) - ADMISSION_EPOCH_S) * 1e6,
			(enum share_class)db_number(r, i, 10), strtod(db_text(r, i, 11), NULL),
			db_text(r, i, 12)[0] == 't', db_number(r, i, 13),
			strtod(db_text(r, i, 14), NULL), (int)db_number(r, i, 15),
			(int)db_number(r, i, 16) };

		row.until = row.until > 0 ? (row.until - ADMISSION_EPOCH_S) * 1e6 : 0;

		k = known_run_find(&h->runs, h->policy, db, &row, &lost);
		if (lost)
			result = -1;
		if (k == NULL)
			continue;
		if (row.queued <= 0 && row.sending <= 0 && row.deferred <= 0)
			result = end_run(db, &row, k);
		if (result == 0 && jobs_ready(&h->jobs))
			result = feed_run(&h->jobs, db, &row, k, h->config->producer_backlog);
	}
	PQclear(r);
	for (link = &h->runs; result == 0 && (k = *link) != NULL;) {
		if (k->seen) {
			link = &k->next;
			continue;
		}
		forget_keys(h, k); /* paused, cancelled, finished: a resume refills */
		*link = k->next;
		known_run_free(k);
	}
	return result;
}

/* ---- pace ---- */

static int
publish_pace(struct handover *h, int64_t epoch)
{
	struct pacer_run *runs;
	struct err err = { 0 };
	size_t n = 0;
	int result;

	for (const struct known_run *k = h->runs; k != NULL; k = k->next)
		n++;
	runs = calloc(n + 1, sizeof(*runs));
	if (runs == NULL)
		return -1;
	n = 0;
	for (struct known_run *k = h->runs; k != NULL; k = k->next) {
		known_run_count_lanes(k);
		runs[n++] = (struct pacer_run){ .id = k->id,
			.stream = k->stream,
			.per_s = k->per_s,
			.began = k->began,
			.class = k->class,
			.weight = k->weight,
			.reserve = k->reserve,
			.until = k->until,
			.quiet_from = k->quiet_from,
			.quiet_till = k->quiet_till,
			.lanes = k->lanes,
			.lane_count = k->list_count };
	}
	pacer_set_quota(h->pacer, &h->allowance.quota, h->allowance.now);
	result = pacer_round(h->pacer, h->jobs.redis, epoch, runs, n, &err);
	free(runs);
	if (result == 0)
		return 0;
	log_warn("pace not published error=\"%s\"", err.msg);
	if (h->jobs.redis->err != 0)
		jobs_lost(&h->jobs, "publishing the pace");
	return -1;
}

/* Before anything is handed over: braked lanes are read from their own lists. */
static int
run_brakes(struct handover *h, struct db *db, int64_t epoch, struct err *err)
{
	if (h->braker == NULL || !jobs_ready(&h->jobs) ||
	    braker_round(h->braker, db, h->jobs.redis, epoch, err) == 0)
		return 0;
	if (h->jobs.redis->err == 0)
		return -1;
	jobs_lost(&h->jobs, "looking at brakes");
	return 0;
}

static void
tell_brakes(struct handover *h)
{
	struct err err = { 0 };

	if (h->braker == NULL || h->jobs.redis == NULL ||
	    braker_tell(h->braker, h->jobs.redis, &err) == 0)
		return;
	log_warn("brakes not told error=\"%s\"", err.msg);
	if (h->jobs.redis->err != 0)
		jobs_lost(&h->jobs, "telling of brakes");
}

/* Before calendars, so that nothing leaves until the quota is counted. -1: PostgreSQL or Redis
 * failed; Redis was closed then. */
static int
keep_quota(struct handover *h, struct db *db)
{
	struct rds_account figures;
	struct err err = { 0 };
	double sent = -1;
	bool fresh = account_take(h->account, &figures);

	if (figures.at > 0 && (double)time(NULL) - figures.at < RDS_ACCOUNT_FRESH_S)
		sent = figures.sent_24h;
	if ((!fresh || rds_account_write(h->jobs.redis, &figures, &err) == 0) &&
	    allowance_round(&h->allowance, db, h->jobs.redis, h->policy, sent, &err) == 0)
		return 0;
	log_warn("quota not kept, nothing is published error=\"%s\"", err.msg);
	if (h->jobs.redis->err != 0)
		jobs_lost(&h->jobs, "keeping the quota");
	return -1;
}

int
handover_round(struct handover *h, struct db *db, int64_t epoch, struct err *err)
{
	if (run_brakes(h, db, epoch, err) < 0)
		return -1;
	if (relist_round(&h->relist, db, h->policy) < 0 || feed_runs(h, db) < 0 ||
	    (h->jobs.redis != NULL && retries_push(&h->jobs, db, h->runs) < 0) ||
	    retries_forget(db) < 0)
		return err_set(err, "handing over: %s", db->error);
	if (jobs_ready(&h->jobs) && (keep_quota(h, db) < 0 || publish_pace(h, epoch) < 0))
		log_debug("the pace is published in the next round");
	else
		tell_brakes(h);
	return 0;
}
