/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pg_differential: the same calls, drawn by a seed, to sim_pg and to a real PostgreSQL with the schema
 * and the dispatcher's own SQL. What they answer, and the rows behind each call, must be equal: else the
 * simulation of the protocol speaks of another database than the one that is used.
 *
 *   pg_differential CALLS [SEED]     KAIRAN_DATABASE_URL: an empty schema that this program may fill
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "buf.h"
#include "db.h"
#include "embed.h"
#include "ledger.h"
#include "pgarray.h"
#include "sim_pg.h"

#define ROWS 12
#define LIVES 4
#define TEXT ((size_t)1 << 20)
#define MANY 6 /* items of an array parameter */
#define HOUR_US INT64_C(3600000000)

static struct db db;
static struct pg pg;
static uint64_t chance;

static unsigned
pick(unsigned below)
{
	chance = chance * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned)(chance >> 33) % below;
}

static void
must(const char *sql)
{
	if (db_run(&db, sql, 0, NULL) == 0)
		return;
	fprintf(stderr, "%s: %s\n", sql, db.error);
	exit(1);
}

/* ---- the same beginning ---- */

static void
begin(void)
{
	char sql[1024];

	must("SET jit = off");
	must("SELECT kairan.installation_enter()");
	must("INSERT INTO kairan.template (digest, subject) VALUES ('d', 'Hello')");
	must("INSERT INTO kairan.campaign (name, stream_id, template_id, from_address, list) "
	     "SELECT 'news', id, 1, 'news@example.org', 'news' FROM kairan.stream WHERE name = "
	     "'marketing'");
	for (int run = 1; run <= PG_RUNS; run++) {
		(void)snprintf(sql, sizeof(sql),
		    "INSERT INTO kairan.run (id, campaign_id, run_key, template_id, state, "
		    "planned, pushed, "
		    "started_at, snapshot) OVERRIDING SYSTEM VALUE VALUES (%d, 1, 'k%d', 1, "
		    "'running', %d, %d, "
		    "now(), '{\"on_doubt\": \"%s\"}')",
		    run, run, ROWS, ROWS, run == 1 ? "resend" : "hold");
		must(sql);
		(void)snprintf(sql, sizeof(sql),
		    "CREATE TABLE kairan.send_%d PARTITION OF kairan.send FOR VALUES IN (%d)", run,
		    run);
		must(sql);
		(void)snprintf(sql, sizeof(sql),
		    "INSERT INTO kairan.send (run_id, id, recipient_id, address, address_key, "
		    "lane) SELECT %d, i, i, "
		    "'u' || i || '@r%d.example', 'u' || i || '@r%d.example', i %% %d FROM "
		    "generate_series(1, %d) AS i",
		    run, run, run, PG_LANES, ROWS);
		must(sql);
		pg.run[run].rows = ROWS;
		pg.run[run].running = true;
		pg.run[run].resend = run == 1;
		for (int id = 1; id <= ROWS; id++) {
			pg.run[run].row[id].lane = id % PG_LANES;
			(void)snprintf(pg.run[run].row[id].address,
			    sizeof(pg.run[run].row[id].address), "u%d@r%d.example", id, run);
		}
	}
	/* customers, so that CLAIM finds them */
	(void)snprintf(sql, sizeof(sql),
	    "INSERT INTO kairan.customer (id, email) SELECT i, 'c' || i || '@example.org' "
	    "FROM generate_series(1, %d) AS i",
	    ROWS);
	must(sql);
}

/* ---- the state behind both ---- */

static const char *
due(int64_t at)
{
	return at == PG_NEVER ? "-" : at <= pg.now ? "due" : "later";
}

static const char *
fact(int64_t at)
{
	return at == PG_NEVER ? "f" : "t";
}

#define REAL_STATE                                                                                 \
	"SELECT concat_ws(' ', run_id, id, state, attempt, tries, owner, coalesce(code, 0), "      \
	"CASE WHEN not_before IS NULL THEN '-' WHEN not_before <= now() THEN 'due' ELSE 'later' "  \
	"END, "                                                                                    \
	"coalesce(accepted_attempt, 0), coalesce(rejected_attempt, 0), "                           \
	"(settled_at IS NOT NULL)::text::char, (delivered_at IS NOT NULL)::text::char, "           \
	"(bounced_at IS NOT NULL)::text::char, (complained_at IS NOT NULL)::text::char, "          \
	"(unsubscribed_at IS NOT NULL)::text::char, '[' || coalesce(class, '') || '|' || "         \
	"coalesce(reason, '') || '|' || coalesce(remote_id, '') || ']') FROM kairan.send ORDER "   \
	"BY run_id, id"

static void
sim_state(struct buf *out)
{
	for (int run = 1; run <= PG_RUNS; run++)
		for (int id = 1; id <= ROWS; id++) {
			const struct pg_row *s = &pg.run[run].row[id];

			buf_printf(out, "%d %d %s %d %d %d %d %s %d %d %s %s %s %s %s [%s|%s|%s]\n",
			    run, id, pg_state_name(s->state), s->attempt, s->tries, s->owner,
			    s->code, due(s->not_before), s->accepted, s->rejected,
			    fact(s->settled_at), fact(s->delivered_at), fact(s->bounced_at),
			    fact(s->complained_at), fact(s->unsubscribed_at), s->cls, s->reason,
			    s->remote_id);
		}
}

#define REAL_LIVES                                                                                 \
	"SELECT concat_ws(' ', 'life', id, claim_seq, (fenced_at IS NOT NULL)::text::char, "       \
	"(stopped_at IS NOT NULL)::text::char, (recovered_at IS NOT NULL)::text::char, "           \
	"kairan.timeline() - began, kairan.timeline() - heard, unheard::text::char, "              \
	"(joined_at < now() - interval '1 day')::text::char) "                                     \
	"FROM kairan.dispatcher ORDER BY id"

#define REAL_QUARANTINE                                                                            \
	"SELECT concat_ws(' ', 'timeline', kairan.timeline() - timeline, (SELECT string_agg("      \
	"id::text, ' ' ORDER BY id) FROM kairan.quarantine)) FROM kairan.installation"

static void
sim_lives(struct buf *out)
{
	for (int id = 1; id <= pg.lives; id++)
		buf_printf(out, "life %d %lld %s %s %s %d %d %s %s\n", id,
		    (long long)pg.life[id].claim_seq, fact(pg.life[id].fenced_at),
		    fact(pg.life[id].stopped_at), fact(pg.life[id].recovered_at),
		    pg.here - pg.life[id].began, pg.here - pg.life[id].heard,
		    pg.life[id].unheard ? "t" : "f",
		    pg.life[id].joined_at < pg.now - 24 * HOUR_US ? "t" : "f");
}

static void
sim_quarantine(struct buf *out)
{
	buf_printf(out, "timeline %d", pg.here - pg.cleared);
	for (int id = 1; id <= pg.lives; id++)
		if (pg_is_missing(&pg, id))
			buf_printf(out, " %d", id);
	buf_append_str(out, "\n");
}

#define REAL_TALLY                                                                                 \
	"SELECT concat_ws(' ', 'tally', run_id, o, c, l, s, d, f, i, k) FROM (SELECT run_id, "     \
	"CASE WHEN owner = -1 THEN 96 ELSE owner END AS o, sum(claimed) AS c, sum(released) AS "   \
	"l, "                                                                                      \
	"sum(sent) AS s, sum(deferred) AS d, sum(failed) AS f, sum(in_doubt) AS i, sum(skipped) "  \
	"AS k "                                                                                    \
	"FROM kairan.tally GROUP BY 1, 2) AS t WHERE (c, l, s, d, f, i, k) <> (0, 0, 0, 0, 0, 0, " \
	"0) "                                                                                      \
	"ORDER BY run_id, o"

static void
sim_tally(struct buf *out)
{
	for (int run = 1; run <= PG_RUNS; run++)
		for (int owner = 0; owner <= PG_LIVES; owner++) {
			const int64_t *t = pg.tally[run][owner];
			bool any = false;

			for (int i = 0; i < PG_COUNTS; i++)
				any = any || t[i] != 0;
			if (!any)
				continue;
			buf_printf(out, "tally %d %d", run, owner);
			for (int i = 0; i < PG_COUNTS; i++)
				buf_printf(out, " %lld", (long long)t[i]);
			buf_append_str(out, "\n");
		}
}

#define REAL_OTHERS                                                                                \
	"SELECT t FROM (SELECT 'suppressed ' || address_key || ' ' || scope || ' ' || reason || "  \
	"' ' || "                                                                                  \
	"(expires_at IS NULL)::text::char AS t FROM kairan.suppression UNION ALL "                 \
	"SELECT 'event ' || f.semantic_key || ' ' || (w.id IS NOT NULL)::text::char FROM "         \
	"kairan.feedback_event f LEFT JOIN kairan.feedback_wait w ON w.id = f.id UNION ALL "       \
	"SELECT concat_ws(' ', 'resent', run_id, send_id, attempt) FROM kairan.doubt UNION ALL "   \
	"SELECT 'run ' || id || ' ' || state FROM kairan.run) AS u ORDER BY t COLLATE \"C\""

static int
compare_lines(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void
sim_others(struct buf *out)
{
	static char line[PG_SUPPRESSIONS + PG_EVENTS + PG_DOUBTS + PG_RUNS][160];
	static char *lines[sizeof(line) / sizeof(line[0])];
	size_t n = 0;

	for (int i = 0; i < pg.suppressions; i++, n++)
		(void)snprintf(line[n], sizeof(line[n]), "suppressed %s %s %s %s",
		    pg.suppression[i].address, pg.suppression[i].scope, pg.suppression[i].reason,
		    pg.suppression[i].expires_at == PG_NEVER ? "t" : "f");
	for (int i = 0; i < pg.events; i++, n++)
		(void)snprintf(line[n], sizeof(line[n]), "event %s %s", pg.event[i].key,
		    pg.event[i].waits ? "t" : "f");
	for (int i = 0; i < pg.doubts; i++, n++)
		(void)snprintf(line[n], sizeof(line[n]), "resent %d %d %d", pg.doubt[i].run,
		    pg.doubt[i].send, pg.doubt[i].attempt);
	for (int i = 1; i <= PG_RUNS; i++, n++)
		(void)snprintf(line[n], sizeof(line[n]), "run %d %s", i,
		    pg.run[i].running ? "running" : "paused");
	for (size_t i = 0; i < n; i++)
		lines[i] = line[i];
	qsort(lines, n, sizeof(*lines), compare_lines);
	for (size_t i = 0; i < n; i++)
		buf_printf(out, "%s\n", lines[i]);
}

static void
real_lines(struct buf *out, const char *sql)
{
	PGresult *r = db_query(&db, sql, 0, NULL);

	for (int i = 0; r != NULL && i < PQntuples(r); i++)
		buf_printf(out, "%s\n", db_text(r, i, 0));
	if (r == NULL)
		buf_printf(out, "error: %s\n", db.error);
	PQclear(r);
}

/* ---- answers ---- */

/* Rows as lines in order; columns that hold a time are left out by the mask. */
static void
answer_lines(struct buf *out, const PGresult *r, unsigned skip)
{
	static char line[256][512];
	char *lines[256];
	int n = r != NULL ? PQntuples(r) : 0;

	for (int i = 0; i < n; i++) {
		size_t used = 0;

		line[i][0] = '\0';
		for (int k = 0; k < PQnfields(r) && used < sizeof(line[i]); k++)
			if ((skip & 1U << k) == 0)
				used += (size_t)snprintf(line[i] + used, sizeof(line[i]) - used,
				    "%s|", db_text(r, i, k));
		lines[i] = line[i];
	}
	qsort(lines, (size_t)n, sizeof(*lines), compare_lines);
	for (int i = 0; i < n; i++)
		buf_printf(out, "answer %s\n", lines[i]);
}

static long calls, told;

/* 0, or 1 after saying how they differ. values: whether the rows of the answer count. */
static int
both(const char *name, const char *sql, const char *real_sql, int count, const char *const *params,
    const char *const *sim_params, unsigned skip, bool values)
{
	static const char *const states[] = { REAL_STATE, REAL_LIVES, REAL_QUARANTINE, REAL_TALLY,
		REAL_OTHERS };
	struct buf real, sim;
	struct timespec now;
	PGresult *ours = NULL, *theirs;
	enum pg_verdict verdict;
	int wrong;

	buf_init(&real, TEXT);
	buf_init(&sim, TEXT);
	theirs = db_query(&db, real_sql, count, params);
	(void)clock_gettime(CLOCK_REALTIME, &now);
	pg.now = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
	verdict = pg_exec(&pg, sql, sim_params, &ours);
	if (theirs == NULL)
		buf_printf(&real, "refused: %s\n", db.error);
	if (verdict != PG_DONE)
		buf_printf(&sim, "refused\n");
	if (values) {
		answer_lines(&real, theirs, skip);
		answer_lines(&sim, ours, skip);
	}
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		real_lines(&real, states[i]);
	sim_state(&sim);
	sim_lives(&sim);
	sim_quarantine(&sim);
	sim_tally(&sim);
	sim_others(&sim);
	calls++;
	told += ours != NULL && PQntuples(ours) > 0;
	wrong = strcmp(buf_str(&real), buf_str(&sim)) != 0;
	if (wrong) {
		printf("# call %ld, %s:", calls, name);
		for (int i = 0; i < count; i++)
			printf(" %s", params[i] != NULL ? params[i] : "NULL");
		printf(
		    "\n# ---- PostgreSQL\n%s# ---- simulation\n%s", buf_str(&real), buf_str(&sim));
	}
	PQclear(theirs);
	PQclear(ours);
	buf_release(&real);
	buf_release(&sim);
	return wrong;
}

/* ---- calls ---- */

struct arguments {
	char run[12], owner[12], number[24], here[12];
	struct buf list[12];
	const char *params[16];
	int ids[MANY];
	size_t count;
};

static void
list_int(struct arguments *a, int list, int64_t n)
{
	pgarray_int(&a->list[list], n);
}

static void
list_text(struct arguments *a, int list, const char *text)
{
	pgarray_optional(&a->list[list], slice_str(text));
}

/* Some ids of a run, each once, a few of nobody. */
static void
draw(struct arguments *a)
{
	bool used[ROWS + 3] = { false };

	*a = (struct arguments){ .count = 1 + pick(MANY) };
	(void)snprintf(a->run, sizeof(a->run), "%u", 1 + pick(PG_RUNS));
	(void)snprintf(
	    a->owner, sizeof(a->owner), "%u", 1 + pick(pg.lives > 0 ? (unsigned)pg.lives : 1));
	for (int i = 0; i < 12; i++)
		buf_init(&a->list[i], TEXT);
	for (size_t i = 0; i < a->count; i++) {
		int id;

		do
			id = 1 + (int)pick(ROWS + 2);
		while (used[id]);
		used[id] = true;
		a->ids[i] = id;
	}
}

static void
release_arguments(struct arguments *a)
{
	for (int i = 0; i < 12; i++)
		buf_release(&a->list[i]);
}

/* Of a row: its owner and attempt, or near them. */
static int
attempt_of(const struct arguments *a, int id)
{
	int attempt = id <= ROWS ? pg.run[atoi(a->run)].row[id].attempt : 1;

	return pick(8) == 0 ? (int)pick(4) : attempt;
}

static void
owner_of_first(struct arguments *a)
{
	int id = a->ids[0];
	int owner = id <= ROWS ? pg.run[atoi(a->run)].row[id].owner : 0;

	if (owner > 0 && pick(8) > 0)
		(void)snprintf(a->owner, sizeof(a->owner), "%d", owner);
}

/* The owner's lock, at times another one. */
static const char *
lock_of(const struct arguments *a)
{
	return pick(12) == 0 ? "other" : pg.life[atoi(a->owner)].lock_id;
}

static const char *
claim_sql(void)
{
	return embed_dispatcher_sql_claim_sql; /* a run without fields: the mark is a comment */
}

static int
call_claim(struct arguments *a)
{
	static const char *const scopes[] = { "{all}", "{all,stream:marketing,list:news}",
		"{list:other}" };
	int64_t seq = pg.life[atoi(a->owner)].claim_seq;
	static const int64_t off[] = { 0, 0, 0, 0, -1, 1, -1048576, -1048575 };

	for (size_t i = 0; i < a->count; i++)
		list_int(a, 0, a->ids[i]);
	(void)snprintf(a->number, sizeof(a->number), "%lld", (long long)(seq + off[pick(8)]));
	a->params[0] = a->owner;
	a->params[1] = a->run;
	a->params[2] = pgarray_end(&a->list[0]);
	a->params[3] = scopes[pick(3)];
	a->params[4] = a->number;
	a->params[5] = lock_of(a);
	a->params[6] = "";
	return both("claim", claim_sql(), claim_sql(), 7, a->params, a->params, 1U << 5, true);
}

static int
call_lost_claim(struct arguments *a)
{
	for (size_t i = 0; i < a->count; i++)
		list_int(a, 0, a->ids[i]);
	owner_of_first(a);
	a->params[0] = a->run;
	a->params[1] = a->owner;
	a->params[2] = pgarray_end(&a->list[0]);
	a->params[3] = "-infinity";
	return both("lost_claim", embed_dispatcher_sql_lost_claim_sql,
	    embed_dispatcher_sql_lost_claim_sql, 4, a->params, a->params, 0, true);
}

static int
call_record(struct arguments *a)
{
	static const char *const outcomes[] = { "sent", "sent", "deferred", "failed", "in_doubt",
		"skipped" };

	owner_of_first(a);
	for (size_t i = 0; i < a->count; i++) {
		const char *outcome = outcomes[pick(6)];
		char remote[40];

		(void)snprintf(remote, sizeof(remote), "m%s-%d", a->run, a->ids[i]);
		list_int(a, 0, a->ids[i]);
		list_int(a, 1, attempt_of(a, a->ids[i]));
		list_text(a, 2, outcome);
		list_int(a, 3, 200 + pick(300));
		list_text(a, 4, pick(2) ? "5.1.1" : "");
		list_text(a, 5, pick(2) ? "hard" : pick(2) ? "soft" : "");
		list_text(a, 6, pick(2) ? "why, \"so\"" : "");
		list_text(a, 7, "a reply");
		list_text(a, 8, "mx.example");
		list_text(a, 9, strcmp(outcome, "sent") == 0 ? remote : "");
		list_int(a, 10, (int64_t)pick(3) * 3600 - 3600);
	}
	a->params[0] = a->run;
	a->params[1] = a->owner;
	a->params[2] = pick(3) ? "sending" : "in_doubt";
	for (int i = 0; i < 11; i++)
		a->params[3 + i] = pgarray_end(&a->list[i]);
	return both("record", embed_dispatcher_sql_record_sql, embed_dispatcher_sql_record_sql, 14,
	    a->params, a->params, 0, true);
}

static int
call_give_back(struct arguments *a)
{
	const char *sql =
	    pick(2) ? embed_dispatcher_sql_release_sql : embed_dispatcher_sql_unsend_sql;

	owner_of_first(a);
	for (size_t i = 0; i < a->count; i++) {
		list_int(a, 0, a->ids[i]);
		list_int(a, 1, attempt_of(a, a->ids[i]));
	}
	a->params[0] = a->run;
	a->params[1] = a->owner;
	a->params[2] = pgarray_end(&a->list[0]);
	a->params[3] = pgarray_end(&a->list[1]);
	return both(sql == embed_dispatcher_sql_release_sql ? "release" : "unsend", sql, sql, 4,
	    a->params, a->params, 0, true);
}

static int
call_recheck(struct arguments *a)
{
	for (size_t i = 0; i < a->count; i++)
		list_int(a, 0, a->ids[i]);
	a->params[0] = a->run;
	a->params[1] = pgarray_end(&a->list[0]);
	a->params[2] = "{all,list:news}";
	return both("recheck", embed_dispatcher_sql_recheck_sql, embed_dispatcher_sql_recheck_sql,
	    3, a->params, a->params, 0, true);
}

static int
call_assert(struct arguments *a)
{
	static const char *const sql = "SELECT kairan.journal_assert($1::int[], $2::int[], "
				       "$3::smallint[], $4::int[], $5::text[], "
				       "$6::boolean[])";

	for (size_t i = 0; i < a->count; i++) {
		bool sent = pick(2);
		int attempt = attempt_of(a, a->ids[i]) + (int)pick(2);

		list_int(a, 0, atoi(a->run));
		list_int(a, 1, a->ids[i]);
		list_int(a, 2, attempt > 0 ? attempt : 1); /* a journal knows no attempt 0 */
		list_int(a, 3, atoi(a->owner));
		list_text(a, 4, sent ? "remote" : "");
		list_text(a, 5, sent ? "t" : "f");
	}
	for (int i = 0; i < 6; i++)
		a->params[i] = pgarray_end(&a->list[i]);
	return both("journal_assert", sql, sql, 6, a->params, a->params, 0, true);
}

static int
call_ingest(struct arguments *a)
{
	static const enum outcome_kind kinds[] = { OUTCOME_DELIVERED, OUTCOME_BOUNCED,
		OUTCOME_COMPLAINED, OUTCOME_UNSUBSCRIBED, OUTCOME_ACCEPTED, OUTCOME_REJECTED,
		OUTCOME_DELAYED };
	static const enum outcome_class classes[] = { OUTCOME_HARD, OUTCOME_BLOCK, OUTCOME_SOFT };
	static const char *const sources[] = { "dsn", "sns", "smtp" };
	struct ledger_batch batch;
	struct timespec now;
	int result;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	ledger_init(&batch);
	for (size_t i = 0; i < a->count && i < 4; i++) {
		int id = a->ids[i], run = atoi(a->run);
		char key[40], remote[40], address[48];
		enum outcome_kind kind = kinds[pick(7)];
		bool linked = pick(4) > 0;
		struct feedback_event e = { .kind = kind,
			.cls = kind == OUTCOME_BOUNCED ? classes[pick(3)] : OUTCOME_CLASS_NONE,
			.reason = kind == OUTCOME_BOUNCED ? "user_unknown" : "none",
			.linked = linked,
			.token = { (uint32_t)run, (uint32_t)id, (uint16_t)attempt_of(a, id) },
			.source = linked ? sources[pick(3)] : "sns",
			.occurred_at_us = (int64_t)now.tv_sec * 1000000 };

		if (strcmp(e.source, "smtp") == 0)
			e.kind = OUTCOME_BOUNCED;
		(void)snprintf(
		    key, sizeof(key), "k%u", pick(60) == 0 ? 1 : (unsigned)(calls * 10 + (long)i));
		(void)snprintf(remote, sizeof(remote), "m%d-%d", run, id);
		(void)snprintf(address, sizeof(address), "u%d@r%d.example", id, run);
		e.key = slice_str(key);
		e.address = slice_str(address);
		if (!linked && pick(8) > 0)
			e.message_id = slice_str(remote);
		if (!ledger_add(&batch, &e))
			exit(1);
	}
	if (!ledger_params(&batch, a->params))
		exit(1);
	result =
	    both("ingest", LEDGER_SQL, LEDGER_SQL, LEDGER_COLUMNS, a->params, a->params, 0, true);
	ledger_release(&batch);
	return result;
}

/* Statements of one number, the owner's. */
static int
call_life(struct arguments *a)
{
	static const struct {
		const char *sql;
		bool values;
	} list[] = {
		{ "SELECT kairan.dispatcher_fence($1)", false },
		{ "SELECT kairan.dispatcher_recovered($1)", false },
		{ "SELECT * FROM kairan.recover_rows($1)", true },
		{ "SELECT * FROM kairan.recover_rows($1)", true },
		{ PG_SQL_BURY, true },
	};
	size_t i = pick(sizeof(list) / sizeof(list[0]));

	a->params[0] = a->owner;
	return both("life", list[i].sql, list[i].sql, 1, a->params, a->params, 0, list[i].values);
}

static int
call_fence_claims(struct arguments *a)
{
	(void)snprintf(a->number, sizeof(a->number), "%lld",
	    (long long)pg.life[atoi(a->owner)].claim_seq + (int)pick(3) - 1);
	a->params[0] = a->owner;
	a->params[1] = a->number;
	return both("fence_claims", embed_dispatcher_sql_fence_claims_sql,
	    embed_dispatcher_sql_fence_claims_sql, 2, a->params, a->params, 0, true);
}

static int
call_active(struct arguments *a)
{
	(void)snprintf(a->number, sizeof(a->number), "%lld",
	    (long long)pg.life[atoi(a->owner)].claim_seq + (pick(4) == 0));
	a->params[0] = a->owner;
	a->params[1] = "";
	a->params[2] = a->number;
	a->params[3] = lock_of(a);
	a->params[4] = "";
	return both("active", embed_dispatcher_sql_active_sql, embed_dispatcher_sql_active_sql, 5,
	    a->params, a->params, 1U << 2, true);
}

static int
call_earlier(struct arguments *a)
{
	static const char *const sql = "SELECT id FROM kairan.dispatcher WHERE lock_id = $1 AND id "
				       "< $2::int AND recovered_at IS NULL AND "
				       "(stopped_at IS NULL OR fenced_at IS NOT NULL) ORDER BY id";

	a->params[0] = pick(2) ? "a" : "b";
	a->params[1] = a->owner;
	return both("earlier lives", sql, sql, 2, a->params, a->params, 0, true);
}

static int
call_register(struct arguments *a)
{
	static const char *const sql = "SELECT id, (wait_s * 1000)::bigint FROM "
				       "kairan.dispatcher_enter($1, $2, $3, $4, $5, $6, $7)";
	const char *sim_params[7];
	unsigned behind = pick(10) == 0;

	(void)snprintf(a->number, sizeof(a->number), "%u", pick((unsigned)pg.lives + 1));
	(void)snprintf(a->here, sizeof(a->here), "%d", pg.here - (int)behind);
	a->params[0] = "name";
	a->params[1] = "host";
	a->params[2] = pick(2) ? "a" : "b";
	a->params[3] = behind ? "0" : "1"; /* a fresh cluster is on its first timeline */
	a->params[4] = a->number;
	a->params[5] = pick(4) ? "t" : "f";
	a->params[6] = "100000";
	memcpy(sim_params, a->params, sizeof(sim_params));
	sim_params[3] = a->here;
	return both("register", sql, sql, 7, a->params, sim_params, 1U << 1, true);
}

static int
call_forget(struct arguments *a)
{
	a->params[0] = "name";
	return both("forget", PG_SQL_FORGET, PG_SQL_FORGET, 1, a->params, a->params, 0, true);
}

/* Behind a fail-over: what is stored is of an earlier timeline than the one there is. */
static void
begin_timeline(void)
{
	must("UPDATE kairan.installation SET timeline = timeline - 1");
	must("UPDATE kairan.dispatcher SET began = began - 1, heard = heard - 1");
	pg.here++;
}

/* The breaker pauses a lane, or an operator resumes it; and what claims had put off is due. */
static int
call_lane(struct arguments *a)
{
	char sql[300];
	int run = atoi(a->run), lane = (int)pick(PG_LANES);

	pg.run[run].broken[lane] = pick(2);
	(void)snprintf(sql, sizeof(sql),
	    "INSERT INTO kairan.lane_break AS b (run_id, lane, why) VALUES (%d, %d, 'rate') "
	    "ON CONFLICT (run_id, lane) DO UPDATE SET resumed_at = NULL",
	    run, lane);
	must(sql);
	(void)snprintf(sql, sizeof(sql),
	    "UPDATE kairan.lane_break SET resumed_at = now() WHERE run_id = %d AND lane = %d", run,
	    lane);
	if (!pg.run[run].broken[lane])
		must(sql);
	(void)snprintf(a->number, sizeof(a->number), "%d", lane);
	a->params[0] = a->run;
	a->params[1] = a->number;
	return pick(3) == 0 ? 0
			    : both("lane_release", PG_SQL_LANE_RELEASE, PG_SQL_LANE_RELEASE, 2,
				  a->params, a->params, 0, true);
}

/* Events that are due at the same moment are looked for in any order, and at most so many of them: a
 * moment for each, in the order of their keys. */
static void
order_waits(void)
{
	must("UPDATE kairan.feedback_wait w SET due_at = now() - interval '1 hour' + n * interval "
	     "'1 ms' FROM (SELECT id, "
	     "row_number() OVER (ORDER BY semantic_key COLLATE \"C\") AS n FROM "
	     "kairan.feedback_wait WHERE due_at <= now()) "
	     "AS o WHERE o.id = w.id");
	for (int i = 0; i < pg.events; i++) {
		int before = 1;

		if (!pg.event[i].waits || pg.event[i].wait_due > pg.now)
			continue;
		for (int k = 0; k < pg.events; k++)
			before += pg.event[k].waits && pg.event[k].wait_due <= pg.now &&
			    strcmp(pg.event[k].key, pg.event[i].key) < 0;
		pg.event[i].wait_due = pg.now - HOUR_US + before * 1000;
	}
}

static int
call_plain(struct arguments *a)
{
	static const char *const sql[] = { PG_SQL_JOIN, PG_SQL_RESEND };
	size_t i = pick(2);

	(void)a;
	if (i == 0)
		order_waits();
	return both(sql[i], sql[i], sql[i], 0, NULL, NULL, 0, true);
}

/* What no statement of the dispatcher does: time passes, a run is paused or goes on, somebody is
 * suppressed. */
static int
shake(struct arguments *a)
{
	char sql[300];
	int run = atoi(a->run), id = a->ids[0] <= ROWS ? a->ids[0] : 1;

	switch (pick(5)) {
	case 4:
		begin_timeline();
		return 0;
	case 0:
		must("UPDATE kairan.send SET not_before = not_before - interval '2 hours'");
		for (int r = 1; r <= PG_RUNS; r++)
			for (int i = 1; i <= ROWS; i++)
				if (pg.run[r].row[i].not_before != PG_NEVER &&
				    pg.run[r].row[i].not_before != PG_FOREVER)
					pg.run[r].row[i].not_before -= 2 * HOUR_US;
		must("UPDATE kairan.feedback_wait SET due_at = due_at - interval '7 hours'");
		for (int i = 0; i < pg.events; i++)
			pg.event[i].wait_due -= 7 * HOUR_US;
		return 0;
	case 1:
		(void)snprintf(sql, sizeof(sql), "UPDATE kairan.run SET state = '%s' WHERE id = %d",
		    pick(4) ? "running" : "paused", run);
		pg.run[run].running = strstr(sql, "running") != NULL;
		must(sql);
		return 0;
	case 2:
		if (pick(4) > 0)
			return 0;
		(void)snprintf(sql, sizeof(sql),
		    "INSERT INTO kairan.suppression (address_key, reason) VALUES "
		    "('u%d@r%d.example', 'manual') "
		    "ON CONFLICT DO NOTHING",
		    id, run);
		must(sql);
		pg_suppress(&pg, pg.run[run].row[id].address);
		return 0;
	default:
		/* so that the calls do not run out of rows */
		must("DELETE FROM kairan.suppression");
		must("UPDATE kairan.send SET state = 'queued', not_before = NULL WHERE state IN "
		     "('skipped', 'failed', "
		     "'sent')");
		pg.suppressions = 0;
		for (int r = 1; r <= PG_RUNS; r++)
			for (int i = 1; i <= ROWS; i++) {
				struct pg_row *s = &pg.run[r].row[i];

				if (s->state != PG_SKIPPED && s->state != PG_FAILED &&
				    s->state != PG_SENT)
					continue;
				s->state = PG_QUEUED;
				s->not_before = PG_NEVER;
			}
		return 0;
	}
}

static int
one_call(void)
{
	static int (*const list[])(struct arguments *) = { call_claim, call_claim, call_claim,
		call_record, call_record, call_record, call_give_back, call_lost_claim,
		call_recheck, call_assert, call_ingest, call_ingest, call_plain, call_fence_claims,
		call_active, call_active, call_active, call_forget, call_earlier, call_lane,
		shake };
	struct arguments a;
	unsigned which = pick(60);
	int result;

	draw(&a);
	if (which == 0 || pg.lives < LIVES)
		result = pg.lives < 40 ? call_register(&a) : 0;
	else if (which <= 4)
		result = call_life(&a);
	else
		result = list[which % (sizeof(list) / sizeof(list[0]))](&a);
	release_arguments(&a);
	return result;
}

int
main(int argc, char **argv)
{
	const char *url = getenv("KAIRAN_DATABASE_URL");
	long wanted = argc > 1 ? strtol(argv[1], NULL, 10) : 500;
	struct err err = { 0 };

	chance = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
	if (url == NULL || db_open(&db, url, NULL, "pg_differential", &err) < 0) {
		fprintf(stderr, "KAIRAN_DATABASE_URL: %s\n", url != NULL ? err.msg : "not set");
		return 1;
	}
	begin();
	for (long i = 0; i < wanted && pg.events < PG_EVENTS - 8 &&
	     pg.suppressions < PG_SUPPRESSIONS - 8 && pg.doubts < PG_DOUBTS - ROWS;
	     i++)
		if (one_call() != 0)
			return 1;
	printf("# %ld calls, %ld with an answer, all equal\n", calls, told);
	db_close(&db);
	return 0;
}
