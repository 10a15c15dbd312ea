/* SPDX-License-Identifier: Apache-2.0 */
/* planner: see planner.h. The set-based work is in schema/002_functions.sql (plan_*). */
#include "planner.h"

#include <stdio.h>
#include <string.h>

#include "audience.h"
#include "log.h"

struct planning {
	struct db *db;
	const struct config *config;
	const atomic_bool *stop;
	char run[16], epoch[24];
	struct err *err;
};

static enum planner_result
db_trouble(struct planning *p, const char *doing)
{
	const char *state = p->db->sqlstate;

	(void)err_set(p->err, "%s: %s", doing, p->db->error);
	/* 55000: plan_fence; class 40: a deadlock or the like */
	return db_is_lost(p->db) || strcmp(state, "55000") == 0 || strncmp(state, "40", 2) == 0
	    ? PLANNER_AGAIN
	    : PLANNER_FAILED;
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
	const char *params[] = { p->run, p->epoch };
	struct audience_counts counts = { 0 };
	bool lost = false;

	if (db_run(p->db, "SELECT kairan.plan_begin($1, $2)", 2, params) < 0)
		return db_trouble(p, "preparing the run");
	/* one transaction, so that the fence holds until the last row is there */
	if (db_run(p->db, "BEGIN", 0, NULL) < 0 ||
	    db_run(p->db, "SELECT kairan.plan_fence($1, $2)", 2, params) < 0)
		return roll_back(p, db_trouble(p, "reading the audience"));
	if (audience_read(p->db, p->config, run, &counts, &lost, p->err) < 0)
		return roll_back(p, lost || db_is_lost(p->db) ? PLANNER_AGAIN : PLANNER_FAILED);
	if (PQtransactionStatus(p->db->conn) != PQTRANS_INTRANS) {
		(void)err_set(p->err, "reading the audience: the transaction was lost");
		return roll_back(p, PLANNER_AGAIN);
	}
	if (db_run(p->db, "COMMIT", 0, NULL) < 0)
		return roll_back(p, db_trouble(p, "reading the audience"));
	log_info("audience read run=%d matched=%lld invalid=%lld", run, (long long)counts.matched,
	    (long long)counts.invalid);
	if (db_run(p->db, "SELECT kairan.plan_stage($1, $2)", 2, params) < 0)
		return db_trouble(p, "ordering the audience");
	return PLANNER_DONE;
}

static enum planner_result
write_pages(struct planning *p, int run)
{
	char size[24];
	const char *params[] = { p->run, size, p->epoch };
	int64_t written, total = 0;

	(void)snprintf(size, sizeof(size), "%ld", p->config->producer_page);
	do {
		PGresult *r;

		if (atomic_load(p->stop))
			return PLANNER_AGAIN;
		r = db_query(p->db, "SELECT kairan.plan_page($1, $2, $3)", 3, params);
		if (r == NULL)
			return db_trouble(p, "writing send rows");
		written = db_int(r, 0);
		total += written;
		PQclear(r);
		log_debug("page written run=%d rows=%lld", run, (long long)total);
	} while (written > 0);
	return PLANNER_DONE;
}

enum planner_result
planner_run(struct db *db, const struct config *config, int run, int64_t epoch,
    const atomic_bool *stop, struct err *err)
{
	struct planning p = { .db = db, .config = config, .stop = stop, .err = err };
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
	if (!staged)
		result = stage(&p, run);
	if (result == PLANNER_DONE)
		result = write_pages(&p, run);
	if (result != PLANNER_DONE)
		return result;
	if (db_run(db, "SELECT kairan.plan_seal($1, $2)", 2, params) < 0)
		return db_trouble(&p, "indexing send rows");
	log_info("run planned run=%d", run);
	return PLANNER_DONE;
}
