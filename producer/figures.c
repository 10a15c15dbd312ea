/* SPDX-License-Identifier: Apache-2.0 */
/* figures: see figures.h. One table names each figure of the database for Prometheus. */
#include "figures.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log.h"
#include "metric.h"

#define BRAKES_SHOWN "100"
#define ORIGINS_SHOWN "100"

enum column { FIGURE, LABEL, STATE, VALUE };

static const struct {
	const char *figure; /* of kairan.figures() */
	const char *name, *help;
	const char *label; /* what its label is; NULL: none */
} table[] = {
	{ "recipients", "kairan_recipients",
	    "Recipients of running and paused runs that are not settled yet", "stream" },
	{ "runs", "kairan_runs", "Runs that are not over", "stream" },
	{ "runs_broken", "kairan_runs_paused_by_breaker", "Runs that the breaker has paused",
	    "stream" },
	{ "queue_oldest", "kairan_queue_oldest_seconds",
	    "Since the oldest running run with queued recipients was started", "stream" },
	{ "queue_idle", "kairan_queue_idle_seconds",
	    "Since something happened in the running run with queued recipients where least did",
	    "stream" },
	{ "overdue", "kairan_runs_overdue_seconds",
	    "Since the oldest scheduled run that was not begun was due", "stream" },
	{ "in_doubt", "kairan_in_doubt", "Recipients in doubt", "stream" },
	{ "attempted", "kairan_reputation_attempted",
	    "Recipients of the last 7 days that were taken or refused for good", "stream" },
	{ "sent", "kairan_reputation_sent", "Of these, taken", "stream" },
	{ "hard", "kairan_reputation_hard_bounces", "Dead addresses of the last 7 days", "stream" },
	{ "complained", "kairan_reputation_complaints", "Complaints of the last 7 days", "stream" },
	{ "bounce_ratio", "kairan_reputation_bounce_ratio", "Dead addresses of attempted, 7 days",
	    "stream" },
	{ "bounce_at_least", "kairan_reputation_bounce_ratio_lower",
	    "The bounce ratio that is certain to 99 %: small numbers say little", "stream" },
	{ "complaint_ratio", "kairan_reputation_complaint_ratio", "Complaints of sent, 7 days",
	    "stream" },
	{ "complaint_at_least", "kairan_reputation_complaint_ratio_lower",
	    "The complaint ratio that is certain to 99 %", "stream" },
	{ "bounce_line", "kairan_breaker_bounce_ratio",
	    "Bounce ratio at which the breaker pauses a run", "stream" },
	{ "complaint_line", "kairan_breaker_complaint_ratio",
	    "Complaint ratio at which the breaker pauses a run", "stream" },
	{ "rate_limit", "kairan_rate_limit_messages_per_second",
	    "Limit of a stream that all dispatchers share; absent: none", "stream" },
	{ "dispatchers", "kairan_dispatchers",
	    "Dispatchers that have not said goodbye: sending, troubled (see kairan status), silent "
	    "for more than a minute, fenced",
	    NULL },
	{ "lease", "kairan_lease_seconds",
	    "Time until a lease of the single jobs runs out; below 0: nobody holds it", "lease" },
	{ "hooks", "kairan_hooks_waiting", "Hooks of runs that were not called yet", NULL },
	{ "database", "kairan_database_bytes", "Size of the database", NULL },
};

static void
put_figure(struct buf *out, const PGresult *rows, size_t which)
{
	bool is_told = false;

	for (int i = 0; i < PQntuples(rows); i++) {
		struct metric_label labels[2];
		size_t n = 0;

		if (strcmp(db_text(rows, i, FIGURE), table[which].figure) != 0)
			continue;
		if (!is_told)
			metric_family(out, table[which].name, METRIC_GAUGE, table[which].help);
		is_told = true;
		if (table[which].label != NULL)
			labels[n++] =
			    (struct metric_label){ table[which].label, db_text(rows, i, LABEL) };
		if (!PQgetisnull(rows, i, STATE))
			labels[n++] = (struct metric_label){ "state", db_text(rows, i, STATE) };
		metric_sample(
		    out, table[which].name, labels, n, strtod(db_text(rows, i, VALUE), NULL));
	}
}

static void
put_brake(struct buf *out, const PGresult *rows, int column, const char *name, const char *help)
{
	metric_family(out, name, METRIC_GAUGE, help);
	for (int i = 0; i < PQntuples(rows); i++) {
		struct metric_label labels[] = { { "provider", db_text(rows, i, 0) },
			{ "state", db_text(rows, i, 1) } };

		if (!PQgetisnull(rows, i, column))
			metric_sample(out, name, labels, column == 2 ? 2 : 1,
			    strtod(db_text(rows, i, column), NULL));
	}
}

static void
put_brakes(struct buf *out, struct db *db)
{
	PGresult *rows = db_query(db,
	    "SELECT name, mode, extract(epoch FROM now() - since), CASE WHEN mode = 'rate' THEN "
	    "rate_per_s END, connections FROM kairan.brake ORDER BY mode DESC, name "
	    "LIMIT " BRAKES_SHOWN,
	    0, NULL);

	if (rows == NULL) {
		log_warn("brakes for metrics not read error=\"%s\"", db->error);
		return;
	}
	put_brake(out, rows, 2, "kairan_brake_seconds",
	    "How long replies of a provider have held it back in this way: rate, hold, probe, "
	    "stop; "
	    "free: its rate is not");
	put_brake(out, rows, 3, "kairan_brake_messages_per_second",
	    "Rate that replies have left to a provider");
	put_brake(out, rows, 4, "kairan_brake_connections",
	    "Connections, of all dispatchers together, that replies have left to each destination "
	    "of a provider");
	PQclear(rows);
}

static void
put_origin(struct buf *out, const PGresult *rows, int column, const char *name, const char *help)
{
	metric_family(out, name, METRIC_GAUGE, help);
	for (int i = 0; i < PQntuples(rows); i++) {
		struct metric_label labels[] = { { "stream", db_text(rows, i, 0) },
			{ "origin", db_text(rows, i, 1) } };

		metric_sample(out, name, labels, 2, strtod(db_text(rows, i, column), NULL));
	}
}

/* The largest, so that the same ones are told of from one scrape to the next. */
static void
put_origins(struct buf *out, struct db *db)
{
	PGresult *rows = db_query(db,
	    "SELECT stream, origin, attempted, coalesce(bounce_at_least_per_cent, 0) / 100, "
	    "coalesce(complaint_at_least_per_cent, 0) / 100, (SELECT count(*) FROM "
	    "kairan.origin_break b JOIN kairan.run r ON r.id = b.run_id WHERE b.resumed_at IS NULL "
	    "AND r.state IN ('running', 'paused')) FROM kairan.origin_reputation "
	    "ORDER BY attempted DESC, 1, 2 LIMIT " ORIGINS_SHOWN,
	    0, NULL);

	if (rows == NULL) {
		log_warn("origins for metrics not read error=\"%s\"", db->error);
		return;
	}
	put_origin(out, rows, 2, "kairan_origin_attempted",
	    "Recipients of the last 7 days that were taken or refused for good, by where the "
	    "customers come from");
	put_origin(out, rows, 3, "kairan_origin_bounce_ratio_lower",
	    "Dead addresses of these, certain to 99 %");
	put_origin(out, rows, 4, "kairan_origin_complaint_ratio_lower",
	    "Complaints of those that were taken, certain to 99 %");
	metric_one(out, "kairan_origins_paused", METRIC_GAUGE,
	    "Origins of runs that the breaker has paused",
	    PQntuples(rows) > 0 ? strtod(db_text(rows, 0, 5), NULL) : 0);
	PQclear(rows);
}

void
figures_text(struct buf *out, struct db *db, const struct figures_own *own)
{
	PGresult *rows = NULL;

	if (db->conn != NULL) {
		rows = db_query(db,
		    "SELECT figure, label, state, value FROM kairan.figures() ORDER BY 1, 2, 3", 0,
		    NULL);
		if (rows == NULL)
			log_warn("figures for metrics not read error=\"%s\"", db->error);
	}
	metric_process(out, "kairan-producer");
	metric_one(out, "kairan_producer_leading", METRIC_GAUGE, "1 when it does the single jobs",
	    own->is_leading);
	metric_one(out, "kairan_producer_planning", METRIC_GAUGE, "1 while it plans a run",
	    own->is_planning);
	metric_one(out, "kairan_producer_rounds_total", METRIC_COUNTER, "Rounds of the single jobs",
	    (double)own->rounds);
	metric_one(out, "kairan_producer_rounds_failed_total", METRIC_COUNTER,
	    "Of these, ended by an error", (double)own->failed_rounds);
	metric_one(out, "kairan_producer_postgresql_up", METRIC_GAUGE,
	    "1 when the figures of the database below were read", rows != NULL);
	metric_one(out, "kairan_producer_figures_timestamp_seconds", METRIC_GAUGE,
	    "When they were read, or this was tried", (double)time(NULL));
	for (size_t i = 0; rows != NULL && i < sizeof(table) / sizeof(table[0]); i++)
		put_figure(out, rows, i);
	PQclear(rows);
	if (db->conn != NULL) {
		put_brakes(out, db);
		put_origins(out, db);
	}
}
