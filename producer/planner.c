/* SPDX-License-Identifier: Apache-2.0 */
/* planner: see planner.h. The set-based work is in schema/002_functions.sql (plan_*). */
#include "planner.h"

#include <stdio.h>
#include <string.h>

#include "audience.h"
#include "crash.h"
#include "expect.h"
#include "log.h"
#include "order.h"

struct planning {
	struct db *db;
	const struct config *config;
	struct policy *policy;
	const atomic_bool *stop;
	char run[16], epoch[24];
	struct err *err;
};

/* 55000: plan_fence; class 40: a deadlock or the like; class 53: disk or memory full. */
static bool
is_passing(const struct db *db)
{
	return db_is_lost(db) || strcmp(db->sqlstate, "55000") == 0 ||
	    strncmp(db->sqlstate, "40", 2) == 0 || strncmp(db->sqlstate, "53", 2) == 0;
}

static enum planner_result
trouble_of(struct planning *p, const struct db *db, const char *doing)
{
	(void)err_set(p->err, "%s: %s", doing, db->error);
	return is_passing(db) ? PLANNER_AGAIN : PLANNER_FAILED;
}

static enum planner_result
db_trouble(struct planning *p, const char *doing)
{
	return trouble_of(p, p->db, doing);
}

static enum planner_result
roll_back(struct planning *p, enum planner_result result)
{
	/* of no use on a lost connection, and of no harm */
	if (db_run(p->db, "ROLLBACK", 0, NULL) < 0)
		log_debug("not rolled back error=\"%s\"", p->db->error);
	return result;
}

static enum planner_result
stage(struct planning *p, int run)
{
	char matched[24];
	const char *params[] = { p->run, p->epoch }, *stage[] = { p->run, matched, p->epoch };
	struct audience_counts counts = { 0 };
	bool lost = false;

	if (db_run(p->db, "SELECT kairan.plan_begin($1, $2)", 2, params) < 0)
		return db_trouble(p, "preparing the run");
	CRASH_POINT("plan_begun");
	/* one transaction, so that the fence holds until the last row is there */
	if (db_run(p->db, "BEGIN", 0, NULL) < 0 ||
	    db_run(p->db, "SELECT kairan.plan_fence($1, $2)", 2, params) < 0)
		return roll_back(p, db_trouble(p, "reading the audience"));
	if (audience_read(p->db, p->config, p->policy, run, &counts, &lost, p->err) < 0)
		return roll_back(p, lost || db_is_lost(p->db) ? PLANNER_AGAIN : PLANNER_FAILED);
	if (PQtransactionStatus(p->db->conn) != PQTRANS_INTRANS) {
		(void)err_set(p->err, "reading the audience: the transaction was lost");
		return roll_back(p, PLANNER_AGAIN);
	}
	CRASH_POINT("audience_read");
	if (db_run(p->db, "COMMIT", 0, NULL) < 0)
		return roll_back(p, db_trouble(p, "reading the audience"));
	log_info("audience read run=%d matched=%lld invalid=%lld", run, (long long)counts.matched,
	    (long long)counts.invalid);
	(void)snprintf(matched, sizeof(matched), "%lld", (long long)counts.matched);
	if (db_run(p->db, "SELECT kairan.plan_stage($1, $2, $3)", 3, stage) < 0)
		return db_trouble(p, "taking out who is excluded");
	return PLANNER_DONE;
}

static enum planner_result
write_rows(struct planning *p, int run, int64_t epoch)
{
	struct order_job job = { p->db, p->config, run, epoch, p->stop };
	bool reader_lost = false;
	int result = order_write(&job, &reader_lost, p->err);

	if (result < 0)
		return reader_lost || is_passing(p->db) ? PLANNER_AGAIN : PLANNER_FAILED;
	return result == 0 ? PLANNER_DONE : PLANNER_AGAIN;
}

/* Each on a connection of its own, since building an index keeps one processor busy; plan_seal() builds
 * those whose connection is not to be had. When one fails the others go on in PostgreSQL, and are found
 * when planning is taken up again. */
static enum planner_result
index_rows(struct planning *p)
{
	static const char sql[] = "SELECT kairan.plan_index($1, $2, $3)",
			  doing[] = "indexing send rows";
	static const char *const beside[] = { "{address}", "{recipient}" };
	const char *params[] = { p->run, "{id,lane}", p->epoch };
	struct db others[sizeof(beside) / sizeof(beside[0])] = { 0 };
	enum planner_result result = PLANNER_DONE;
	struct err err;

	for (size_t i = 0; i < sizeof(beside) / sizeof(beside[0]); i++) {
		const char *theirs[] = { p->run, beside[i], p->epoch };

		if (db_open(&others[i], p->config->database_url, "kairan_producer",
			"kairan-producer index", &err) == 0 &&
		    db_begin(&others[i], sql, 3, theirs) < 0)
			db_close(&others[i]);
	}
	if (db_run(p->db, sql, 3, params) < 0)
		result = db_trouble(p, doing);
	for (size_t i = 0; i < sizeof(beside) / sizeof(beside[0]); i++) {
		if (others[i].conn != NULL && result == PLANNER_DONE && db_end(&others[i]) < 0)
			result = trouble_of(p, &others[i], doing);
		db_close(&others[i]);
	}
	return result;
}

enum planner_result
planner_run(struct db *db, const struct config *config, struct policy *policy, int run,
    int64_t epoch, const atomic_bool *stop, struct err *err)
{
	struct planning p = {
		.db = db, .config = config, .policy = policy, .stop = stop, .err = err
	};
	const char *params[] = { p.run, p.epoch };
	enum planner_result result = PLANNER_DONE;
	PGresult *r;
	bool staged;

	(void)snprintf(p.run, sizeof(p.run), "%d", run);
	(void)snprintf(p.epoch, sizeof(p.epoch), "%lld", (long long)epoch);
	r = db_query(db, "SELECT kairan.plan_is_staged($1)", 1, params);
	if (r == NULL)
		return db_trouble(&p, "looking at the run");
	staged = db_text(r, 0, 0)[0] == 't';
	PQclear(r);
	CRASH_POINT("plan_looked");
	if (!staged)
		result = stage(&p, run);
	CRASH_POINT("plan_staged");
	if (result == PLANNER_DONE)
		result = write_rows(&p, run, epoch);
	CRASH_POINT("plan_written");
	if (result == PLANNER_DONE)
		result = index_rows(&p);
	if (result != PLANNER_DONE)
		return result;
	log_debug("rows indexed run=%d", run);
	if (db_run(db, "SELECT kairan.origin_plan($1, $2)", 2, params) < 0)
		return db_trouble(&p, "counting the origins");
	if (db_run(db, "SELECT kairan.canary_plan($1, $2)", 2, params) < 0)
		return db_trouble(&p, "noting the canary");
	/* a forecast is no reason not to send */
	if (expect_note(db, config, policy, p.run, err) < 0)
		log_warn("no forecast run=%d why=\"%s\"", run, err->msg);
	CRASH_POINT("plan_before_seal");
	if (db_run(db, "SELECT kairan.plan_seal($1, $2)", 2, params) < 0)
		return db_trouble(&p, "sealing the run");
	CRASH_POINT("plan_sealed");
	log_info("run planned run=%d", run);
	return PLANNER_DONE;
}
