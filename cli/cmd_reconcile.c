/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_reconcile: `kairan reconcile`: what we say of each recipient against what the provider, the
 * relay's log and bounces say, both ways. Rows and events are compared by cli/sql/reconcile.sql, a
 * range of ids at a time. Nothing is changed without --fix, and that only takes those out of
 * doubt of whom there is proof.
 */
#include "cli.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "embed.h"
#include "provider_figures.h"

#define RANGE 50000 /* ids looked at in one statement */

static const struct {
	const char *kind, *meaning;
} kinds[] = {
	{ "doubt_proved", "in doubt here, taken by the remote: --fix makes them sent" },
	{ "doubt_refused", "in doubt here, refused by the provider" },
	{ "failed_but_taken", "not sent here, taken by the remote" },
	{ "queued_but_taken", "still to be sent here, taken by the remote: they may get it twice" },
	{ "sent_but_refused", "sent here, refused by the provider" },
	{ "fact_not_noted", "delivered, bounced or complained, and the row does not say so" },
	{ "no_evidence", "sent here, nothing heard" },
	{ "unknown_attempt", "heard of a later attempt than we know: were commits lost?" },
	{ "no_such_row", "heard of recipients that the run does not have" },
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))
#define DOUBT_KINDS 2 /* the first ones */

struct reconcile {
	struct cli *cli;
	struct db db;
	const char *run, *campaign, *figures_path;
	char days[16], after[24], examples[16];
	int64_t tolerance;
	bool fix;
	struct provider_figures *figures; /* NULL: none given */
	json_t *result;			  /* the document of --json */
	char since[48];			  /* evidence is heard since; empty: never */
	int64_t differences, in_doubt, fixed, runs;
};

/* ---- one run ---- */

struct counted {
	int64_t count;
	json_t *examples; /* "7/12" */
};

static void
add_examples(const struct reconcile *r, struct counted *c, const char *run, const char *ids)
{
	size_t most = (size_t)strtol(r->examples, NULL, 10);
	char name[40];

	while (*ids != '\0' && json_array_size(c->examples) < most) {
		int n = (int)strcspn(ids, ",");

		(void)snprintf(name, sizeof(name), "%s/%.*s", run, n, ids);
		(void)json_array_append_new(c->examples, json_string(name));
		ids += n + (ids[n] == ',');
	}
}

/* Those of whom there is proof, by the way of `send doubt resolve`. How many, or -1. */
static int64_t
settle(struct reconcile *r, const char *run, const char *ids)
{
	size_t size = strlen(ids) + 3;
	char *list = malloc(size);
	const char *params[] = { run, list, "proved_sent" };
	PGresult *result = NULL;
	int64_t n = -1;

	if (list == NULL)
		return -1;
	(void)snprintf(list, size, "{%s}", ids);
	result = db_query(&r->db, "SELECT kairan.doubt_settle($1, $2::int[], $3)", 3, params);
	if (result != NULL)
		n = db_int(result, 0);
	PQclear(result);
	free(list);
	return n;
}

/* Without JIT, whoever asks: compiling the plan takes a hundred times as long as running it. In a
 * transaction, which is as far as a setting may reach behind PgBouncer. */
static PGresult *
ask_range(struct db *db, const char *const *params)
{
	PGresult *rows = NULL;

	if (db_run(db, "BEGIN READ ONLY", 0, NULL) < 0)
		return NULL;
	if (db_run(db, "SET LOCAL jit = off", 0, NULL) == 0)
		rows = db_query(db, embed_cli_sql_reconcile_sql, 6, params);
	if (rows != NULL && db_run(db, "COMMIT", 0, NULL) < 0) {
		PQclear(rows);
		return NULL;
	}
	return rows;
}

static int
look_at_range(
    struct reconcile *r, const char *run, int64_t from, int64_t to, struct counted counted[KINDS])
{
	char first[24], last[24];
	const char *params[] = { run, first, last, r->after, r->since[0] != '\0' ? r->since : NULL,
		r->examples };
	PGresult *rows;

	(void)snprintf(first, sizeof(first), "%" PRId64, from);
	(void)snprintf(last, sizeof(last), "%" PRId64, to);
	rows = ask_range(&r->db, params);
	if (rows == NULL)
		return cli_db_failed(r->cli, &r->db, "comparing");
	for (int i = 0; i < PQntuples(rows); i++) {
		int64_t n = db_number(rows, i, 1), done;
		size_t k = 0;

		while (k < KINDS && strcmp(kinds[k].kind, db_text(rows, i, 0)) != 0)
			k++;
		if (k == KINDS)
			continue;
		if (k == 0 && r->fix) {
			done = settle(r, run, db_text(rows, i, 2));
			if (done < 0) {
				PQclear(rows);
				return cli_db_failed(r->cli, &r->db, "taking out of doubt");
			}
			r->fixed += done;
			n -= done;
		}
		counted[k].count += n;
		if (n > 0)
			add_examples(r, &counted[k], run, db_text(rows, i, 2));
	}
	PQclear(rows);
	return EXIT_DONE;
}

static void
print_run(const char *run, const char *campaign, const char *key, const struct counted *counted)
{
	bool same = true;
	char n[32];

	printf("run %s, ", run);
	cli_put_text(stdout, campaign);
	putchar(' ');
	cli_put_text(stdout, key);
	putchar('\n');
	for (size_t k = 0; k < KINDS; k++) {
		const json_t *one;
		size_t i;

		if (counted[k].count == 0)
			continue;
		same = false;
		printf("  %-17s %12s  %s\n  %-31s ", kinds[k].kind, cli_number(counted[k].count, n),
		    kinds[k].meaning, "");
		json_array_foreach(counted[k].examples, i, one)
		    printf(" %s", json_string_value(one));
		fputs((int64_t)i < counted[k].count ? " ...\n" : "\n", stdout);
	}
	if (same)
		puts("  no difference");
}

static int
look_at_run(
    struct reconcile *r, const PGresult *runs, int row, struct cli_progress *bar, int64_t *done)
{
	const char *run = db_text(runs, row, 0);
	int64_t planned = db_number(runs, row, 3);
	struct counted counted[KINDS] = { 0 };
	json_t *o = json_object();
	int code = EXIT_DONE;

	for (size_t k = 0; k < KINDS; k++)
		counted[k].examples = json_array();
	for (int64_t from = 0; code == EXIT_DONE && from <= planned; from += RANGE) {
		bool is_last = from + RANGE > planned;

		code = look_at_range(r, run, from, is_last ? INT32_MAX : from + RANGE - 1, counted);
		cli_progress_set(
		    bar, *done + (is_last ? planned : from + RANGE), db_text(runs, row, 1));
	}
	*done += planned;
	for (size_t k = 0; k < KINDS; k++) {
		r->differences += counted[k].count;
		r->in_doubt += k < DOUBT_KINDS ? counted[k].count : 0;
		(void)json_object_set_new(o, kinds[k].kind,
		    json_pack("{s:I, s:O}", "count", (json_int_t)counted[k].count, "examples",
			counted[k].examples));
	}
	if (code == EXIT_DONE && !r->cli->json)
		print_run(run, db_text(runs, row, 1), db_text(runs, row, 2), counted);
	(void)json_array_append_new(json_object_get(r->result, "runs"),
	    json_pack("{s:I, s:s, s:s, s:I, s:o}", "run", (json_int_t)strtoll(run, NULL, 10),
		"campaign", db_text(runs, row, 1), "run_key", db_text(runs, row, 2), "planned",
		(json_int_t)planned, "differences", o));
	for (size_t k = 0; k < KINDS; k++)
		json_decref(counted[k].examples);
	return code;
}

static int
look_at_runs(struct reconcile *r)
{
	const char *params[] = { r->run, r->campaign, r->days };
	struct cli_progress bar;
	int64_t total = 0, done = 0;
	int code = EXIT_DONE;
	PGresult *runs = db_query(&r->db,
	    "SELECT r.id, c.name, r.run_key, r.planned, to_regclass('kairan.send_' || r.id) IS "
	    "NULL "
	    "FROM kairan.run r JOIN kairan.campaign c ON c.id = r.campaign_id "
	    "WHERE r.planned > 0 AND (r.id = $1 OR $1 IS NULL) AND (c.name = $2 OR $2 IS NULL) "
	    "AND r.state NOT IN ('scheduled', 'planning') "
	    "AND ($1 IS NOT NULL OR coalesce(r.finished_at, now()) > now() - $3::interval) "
	    "ORDER BY r.id",
	    3, params);

	if (runs == NULL)
		return cli_db_failed(r->cli, &r->db, "looking for runs");
	for (int i = 0; i < PQntuples(runs); i++)
		total += db_number(runs, i, 3);
	cli_progress_start(&bar, r->cli, "comparing", total);
	for (int i = 0; code == EXIT_DONE && i < PQntuples(runs); i++) {
		if (db_text(runs, i, 4)[0] == 't') {
			fprintf(stderr,
			    "kairan: run %s is passed over: its rows are not there any more\n",
			    db_text(runs, i, 0));
			continue;
		}
		r->runs++;
		code = look_at_run(r, runs, i, &bar, &done);
	}
	cli_progress_end(&bar, NULL);
	PQclear(runs);
	return code;
}

/* ---- beyond runs ---- */

/* Since when evidence of acceptance is heard at all: without it nothing is missed. */
static int
ask_since(struct reconcile *r)
{
	PGresult *row = db_query(&r->db,
	    "SELECT coalesce(occurred_at, received_at)::text FROM kairan.feedback_event "
	    "WHERE kind IN ('accepted', 'delivered') AND source <> 'smtp' ORDER BY id LIMIT 1",
	    0, NULL);

	if (row == NULL)
		return cli_db_failed(r->cli, &r->db, "looking for evidence");
	if (PQntuples(row) > 0)
		(void)snprintf(r->since, sizeof(r->since), "%s", db_text(row, 0, 0));
	else if (!r->cli->json)
		puts("no source reports sends or deliveries: nothing is missed where nothing is "
		     "heard");
	(void)json_object_set_new(
	    r->result, "evidence_since", r->since[0] != '\0' ? json_string(r->since) : json_null());
	PQclear(row);
	return EXIT_DONE;
}

/* Events of the period whose ids we do not know. */
static int
look_at_strangers(struct reconcile *r)
{
	const char *params[] = { r->days };
	json_t *list = json_object_get(r->result, "unlinked");
	PGresult *rows;
	char n[32];

	if (r->run != NULL || r->campaign != NULL)
		return EXIT_DONE;
	rows = db_query(&r->db,
	    "SELECT source, kind, count(*), min(id) FROM kairan.feedback_event "
	    "WHERE send_id IS NULL AND kind <> 'other' AND received_at > now() - $1::interval "
	    "GROUP BY 1, 2 ORDER BY 1, 2",
	    1, params);
	if (rows == NULL)
		return cli_db_failed(r->cli, &r->db, "looking for events without a recipient");
	if (PQntuples(rows) > 0 && !r->cli->json)
		puts("events whose ids we do not know");
	for (int i = 0; i < PQntuples(rows); i++) {
		r->differences += db_number(rows, i, 2);
		(void)json_array_append_new(list,
		    json_pack("{s:s, s:s, s:I, s:I}", "source", db_text(rows, i, 0), "kind",
			db_text(rows, i, 1), "count", (json_int_t)db_number(rows, i, 2), "example",
			(json_int_t)db_number(rows, i, 3)));
		if (!r->cli->json)
			printf("  %-8s %-12s %9s  first: feedback_event.id %s\n",
			    db_text(rows, i, 0), db_text(rows, i, 1),
			    cli_number(db_number(rows, i, 2), n), db_text(rows, i, 3));
	}
	PQclear(rows);
	return EXIT_DONE;
}

/* Our counts of one day, in the order of enum provider_column: mails, however many sources told of
 * them, without those that the provider says it did not send. */
static const char day_sql[] =
    "SELECT (SELECT coalesce(sum(sent), 0) FROM kairan.tally WHERE minute >= d.a AND minute < "
    "d.b), "
    "f.delivered, f.bounced, f.complained, f.rejected, to_char(d.a AT TIME ZONE 'UTC', "
    "'YYYY-MM-DD') "
    "FROM (SELECT ('1970-01-01'::timestamp + make_interval(days => $1)) AT TIME ZONE 'UTC' AS a, "
    "('1970-01-02'::timestamp + make_interval(days => $1)) AT TIME ZONE 'UTC' AS b) AS d, "
    "LATERAL (SELECT count(DISTINCT mail) FILTER (WHERE kind = 'delivered') AS delivered, "
    "count(DISTINCT mail) FILTER (WHERE kind = 'bounced' AND kairan.bounce_counts(reason)) AS "
    "bounced, "
    "count(DISTINCT mail) FILTER (WHERE kind = 'complained') AS complained, "
    "count(DISTINCT mail) FILTER (WHERE kind = 'rejected') AS rejected FROM kairan.feedback_event, "
    "LATERAL (SELECT CASE WHEN send_id IS NULL THEN id::text "
    "ELSE concat_ws('.', run_id, send_id, greatest(attempt, 1)) END AS mail) AS m "
    "WHERE month = date_trunc('month', d.a AT TIME ZONE 'UTC')::date AND source <> 'smtp' "
    "AND occurred_at >= d.a AND occurred_at < d.b) AS f";

static int
look_at_day(struct reconcile *r, const struct provider_day *day)
{
	char number[16], n[2][32];
	const char *params[] = { number };
	json_t *o = json_object();
	PGresult *row;

	(void)snprintf(number, sizeof(number), "%d", day->day);
	row = db_query(&r->db, day_sql, 1, params);
	if (row == NULL) {
		json_decref(o);
		return cli_db_failed(r->cli, &r->db, "counting a day");
	}
	(void)json_object_set_new(o, "date", json_string(db_text(row, 0, 5)));
	for (int c = 0; c < PROVIDER_COLUMNS; c++) {
		int64_t ours = db_number(row, 0, c), theirs = day->counts[c];
		int64_t apart = ours > theirs ? ours - theirs : theirs - ours;
		bool differs = apart * 100 > r->tolerance * (ours > theirs ? ours : theirs);

		if (!r->figures->has[c])
			continue;
		r->differences += differs ? 1 : 0;
		(void)json_object_set_new(o, provider_column_name((enum provider_column)c),
		    json_pack("{s:I, s:I, s:b}", "ours", (json_int_t)ours, "provider",
			(json_int_t)theirs, "differs", differs));
		if (differs && !r->cli->json)
			printf("  %s %-11s here %12s, provider %12s\n", db_text(row, 0, 5),
			    provider_column_name((enum provider_column)c), cli_number(ours, n[0]),
			    cli_number(theirs, n[1]));
	}
	(void)json_array_append_new(json_object_get(r->result, "days"), o);
	PQclear(row);
	return EXIT_DONE;
}

static int
look_at_days(struct reconcile *r)
{
	int64_t before = r->differences;
	int code = EXIT_DONE;

	if (r->figures == NULL)
		return EXIT_DONE;
	if (!r->cli->json)
		printf("days of %s (UTC), apart by more than %" PRId64 " %%\n", r->figures_path,
		    r->tolerance);
	for (size_t i = 0; code == EXIT_DONE && i < r->figures->count; i++)
		code = look_at_day(r, &r->figures->days[i]);
	if (code == EXIT_DONE && !r->cli->json && r->differences == before)
		printf("  none of %zu days\n", r->figures->count);
	return code;
}

static int
read_figures(struct reconcile *r)
{
	struct err err = { 0 };
	struct buf text;
	FILE *file;
	size_t n = 1;
	int code = EXIT_DONE;

	if (r->figures_path == NULL)
		return EXIT_DONE;
	file = fopen(r->figures_path, "re");
	if (file == NULL)
		return cli_fail(r->cli, EXIT_USAGE, "cannot open %s", r->figures_path);
	buf_init(&text, PROVIDER_FILE_MAX + 1);
	while (n > 0 && buf_reserve(&text, 65536)) {
		n = fread(text.data + text.len, 1, 65536, file);
		buf_commit(&text, n);
	}
	r->figures = calloc(1, sizeof(*r->figures));
	if (ferror(file) || r->figures == NULL)
		code = cli_fail(r->cli, EXIT_FAILED, "cannot read %s", r->figures_path);
	else if (buf_failed(&text))
		code = cli_fail(r->cli, EXIT_USAGE, "%s is larger than 16 MB", r->figures_path);
	else if (provider_figures_read(r->figures, buf_slice(&text), &err) < 0)
		code = cli_fail(r->cli, EXIT_USAGE, "%s: %s", r->figures_path, err.msg);
	buf_release(&text);
	(void)fclose(file);
	return code;
}

/* ---- command ---- */

static int
compare(struct reconcile *r)
{
	int code = ask_since(r);

	if (code == EXIT_DONE)
		code = look_at_runs(r);
	if (code == EXIT_DONE)
		code = look_at_strangers(r);
	if (code == EXIT_DONE)
		code = look_at_days(r);
	if (code != EXIT_DONE)
		return code;
	if (r->fixed > 0) {
		char detail[64];

		(void)snprintf(
		    detail, sizeof(detail), "%" PRId64 " recipients proved sent", r->fixed);
		cli_audit(&r->db, "reconcile.fix", r->run != NULL ? r->run : "all", detail);
	}
	(void)json_object_set_new(r->result, "differences", json_integer(r->differences));
	(void)json_object_set_new(r->result, "fixed", json_integer(r->fixed));
	if (r->cli->json) {
		cli_print_json(json_incref(r->result));
	} else {
		char n[2][32];

		printf("%s differences, %s taken out of doubt\n", cli_number(r->differences, n[0]),
		    cli_number(r->fixed, n[1]));
	}
	if (r->differences > 0)
		return r->differences == r->in_doubt ? EXIT_DOUBT : EXIT_FAILED;
	return r->runs == 0 && r->figures == NULL ? EXIT_NOTHING : EXIT_DONE;
}

static bool
is_run(const char *text)
{
	size_t n = strlen(text);

	return n > 0 && n <= 10 && strspn(text, "0123456789") == n && strtoll(text, NULL, 10) > 0 &&
	    strtoll(text, NULL, 10) <= INT32_MAX;
}

static int
parse(struct reconcile *r, int argc, char **argv)
{
	const char *days = "7", *after = "24", *examples = "5", *tolerance = "1";
	const struct cli_option options[] = {
		{ .name = "campaign", .value_name = "NAME", .value = &r->campaign },
		{ .name = "days", .value_name = "N", .value = &days },
		{ .name = "after", .value_name = "HOURS", .value = &after },
		{ .name = "figures", .value_name = "FILE", .value = &r->figures_path },
		{ .name = "tolerance", .value_name = "PERCENT", .value = &tolerance },
		{ .name = "examples", .value_name = "N", .value = &examples },
		{ .name = "fix", .flag = &r->fix }, { 0 }
	};
	int64_t n;

	argc = cli_options(r->cli, options, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc > 1)
		return cli_fail(r->cli, EXIT_USAGE, "name one run, or none");
	if (argc == 1 && !is_run(argv[0]))
		return cli_fail(r->cli, EXIT_USAGE,
		    "name a run by its number: kairan reconcile 7; not '%s'", argv[0]);
	r->run = argc == 1 ? argv[0] : NULL;
	if ((n = cli_parse_number(r->cli, "days", days, 1, 3650)) < 0)
		return EXIT_USAGE;
	(void)snprintf(r->days, sizeof(r->days), "%d days", (int)n);
	if ((n = cli_parse_number(r->cli, "after", after, 0, 8760)) < 0)
		return EXIT_USAGE;
	(void)snprintf(r->after, sizeof(r->after), "%d hours", (int)n);
	if ((n = cli_parse_number(r->cli, "examples", examples, 0, 1000)) < 0)
		return EXIT_USAGE;
	(void)snprintf(r->examples, sizeof(r->examples), "%d", (int)n);
	r->tolerance = cli_parse_number(r->cli, "tolerance", tolerance, 0, 100);
	return r->tolerance < 0 ? EXIT_USAGE : EXIT_DONE;
}

static int
run_reconcile(struct cli *cli, int argc, char **argv)
{
	struct reconcile r = { .cli = cli };
	int code = parse(&r, argc, argv);

	if (code == EXIT_DONE)
		code = read_figures(&r);
	if (code == EXIT_DONE)
		code = cli_open_db(cli, &r.db);
	if (code == EXIT_DONE) {
		r.result = json_pack("{s:[], s:[], s:[]}", "runs", "unlinked", "days");
		code = compare(&r);
		json_decref(r.result);
		db_close(&r.db);
	}
	free(r.figures);
	return code;
}

const struct cli_command cli_reconcile_commands[] = {
	{ "reconcile", "[RUN] [--campaign NAME] [--days N] [--fix]",
	    "compare what was heard with what the rows say",
	    "Both ways, for one run, or for the runs that were sending in the last 7 days: sent\n"
	    "without evidence, evidence for those in doubt, taken by the remote but not sent here, "
	    "facts\n"
	    "that were lost, events whose ids we do not know.\n"
	    "\n"
	    "Options:\n"
	    "  --campaign NAME      runs of this campaign only\n"
	    "  --days N             runs that were sending in the last N days (7)\n"
	    "  --after HOURS        miss evidence only of what was sent before (24)\n"
	    "  --figures FILE       compare counts by day with a provider's own, JSON or CSV\n"
	    "  --tolerance PERCENT  by which counts of a day may be apart (1)\n"
	    "  --examples N         recipients to name of a kind (5)\n"
	    "  --fix                take those out of doubt whom the remote has taken\n"
	    "\n"
	    "Exit codes: 0 no difference, 1 differences, 4 only recipients in doubt, 6 no such "
	    "run.\n"
	    "\n"
	    "Example:\n"
	    "  kairan reconcile 7 --fix\n"
	    "  aws ses get-send-statistics >ses.json && kairan reconcile --figures ses.json\n",
	    true, run_reconcile },
	{ 0 },
};
