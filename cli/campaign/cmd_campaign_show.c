/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_campaign_show: `campaign status` and `campaign report`; they change nothing. */
#include "cmd_campaign.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "campaign_pace.h"
#include "report.h"

#define LANES_SHOWN 20

/* EXIT_DONE with an open database and the run, or an exit code after printing. */
static int
open_run(
    struct cli *cli, struct db *db, const char *name, const char *key, struct campaign_run *run)
{
	int code = cli_open_db(cli, db);

	if (code != EXIT_DONE)
		return code;
	code = campaign_find_run(cli, db, name, key, NULL, run);
	if (code != EXIT_DONE)
		db_close(db);
	return code;
}

/* ---------------------------------------------------------------- status */

struct count_line {
	const char *name, *label;
	bool always;
};

static const struct count_line count_lines[] = {
	{ "audience", "in the segment", true },
	{ "excluded", "left out", true },
	{ "planned", "recipients", true },
	{ "queued", "waiting", false },
	{ "sending", "being sent", false },
	{ "deferred", "tried again later", false },
	{ "sent", "sent", true },
	{ "failed", "failed", true },
	{ "in_doubt", "in doubt", true },
	{ "skipped", "skipped (suppressed since)", false },
	{ "cancelled", "cancelled", false },
	{ "expired", "too late", false },
	{ "delivered", "delivered (heard)", false },
	{ "bounced", "bounced (heard)", false },
	{ "complained", "complained", false },
	{ "unsubscribed", "unsubscribed", false },
	{ "opened", "opened", false },
	{ "opened_by_proxy", "  of these through an image proxy", false },
	{ "opened_by_machine", "images loaded by machines", false },
	{ "clicked", "clicked", false },
	{ "clicked_by_machine", "links followed by machines", false },
};

static void
print_time(const char *label, const char *time)
{
	if (time[0] != '\0')
		printf("%-12s%.19s\n", label, time);
}

static void
print_status(const json_t *p)
{
	char n[32];

	printf("%-12s%s\n", "campaign", campaign_word(p, "campaign"));
	printf("%-12s", "run");
	cli_put_text(stdout, campaign_word(p, "run_key"));
	printf("\n%-12s%s", "state", campaign_word(p, "state"));
	if (campaign_word(p, "reason")[0] != '\0') {
		fputs(": ", stdout);
		cli_put_text(stdout, campaign_word(p, "reason"));
	}
	putchar('\n');
	print_time("due", campaign_word(p, "due_at"));
	print_time("began", campaign_word(p, "started_at"));
	print_time("ended", campaign_word(p, "finished_at"));
	print_time("expected", campaign_word(p, "expected_finish"));
	print_time("P90", campaign_word(p, "expected_p90"));
	if (campaign_word(p, "finished_at")[0] != '\0' &&
	    campaign_word(p, "expected_finish")[0] != '\0') {
		int64_t late = campaign_count(p, "finished_late_s");

		printf("%-12s%s s %s than expected\n", "", cli_number(late < 0 ? -late : late, n),
		    late < 0 ? "earlier" : "later");
	}
	campaign_print_waits("waits       ", json_object_get(p, "waits"));
	if (json_is_object(json_object_get(p, "canary"))) {
		printf("%-12s", "canary");
		cli_put_text(stdout, campaign_word(json_object_get(p, "canary"), "words"));
		putchar('\n');
	}
	for (size_t i = 0; i < sizeof(count_lines) / sizeof(count_lines[0]); i++) {
		int64_t value = campaign_count(p, count_lines[i].name);

		if (value != 0 || count_lines[i].always)
			printf("%15s  %s\n", cli_number(value, n), count_lines[i].label);
	}
}

/* Whom the hour guard keeps waiting in a run that is under way. 0, or an exit code after printing. */
static int
add_waits(struct cli *cli, struct db *db, int64_t run, json_t *p)
{
	const char *state = campaign_word(p, "state");
	struct campaign_moment now = { .run = run };
	struct err err = { 0 };
	json_t *waits;

	if (strcmp(state, "running") != 0 && strcmp(state, "planning") != 0)
		return EXIT_DONE;
	waits = campaign_waits(cli, db, &now, &err);
	if (waits == NULL)
		return cli_fail(cli, EXIT_FAILED, "%s", err.msg);
	(void)json_object_set_new(p, "waits", waits);
	return EXIT_DONE;
}

int
campaign_status(struct cli *cli, int argc, char **argv)
{
	const char *key = NULL;
	const struct cli_option options[] = {
		{ .name = "run-key", .value_name = "KEY", .value = &key },
		{ 0 },
	};
	struct campaign_run run;
	struct db db;
	json_t *p;
	int code;

	argc = cli_options(cli, options, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc != 1)
		return cli_fail(cli, EXIT_USAGE, "campaign status needs the name of one campaign");
	code = open_run(cli, &db, argv[0], key, &run);
	if (code != EXIT_DONE)
		return code;
	p = campaign_progress(&db, run.id);
	if (p == NULL) {
		code = cli_db_failed(cli, &db, "reading the run");
	} else if ((code = add_waits(cli, &db, run.id, p)) != EXIT_DONE) {
		json_decref(p);
	} else if (cli->json) {
		cli_print_json(p);
	} else {
		print_status(p);
		json_decref(p);
	}
	db_close(&db);
	return code;
}

/* ---------------------------------------------------------------- report */

/* Written beside its place and renamed when complete, readable by its owner only. */
struct output {
	const char *path;
	char *part; /* owned; NULL for standard output */
	FILE *file;
};

static int
output_open(struct cli *cli, struct output *o, const char *path)
{
	int fd;

	*o = (struct output){ .path = path, .file = stdout };
	if (strcmp(path, "-") == 0)
		return EXIT_DONE;
	if (asprintf(&o->part, "%s.XXXXXX", path) < 0) {
		o->part = NULL;
		return cli_fail(cli, EXIT_FAILED, "there is not enough memory");
	}
	fd = mkostemp(o->part, O_CLOEXEC);
	o->file = fd >= 0 ? fdopen(fd, "w") : NULL;
	if (o->file != NULL)
		return EXIT_DONE;
	(void)cli_fail(cli, EXIT_FAILED, "cannot write %s: %s", path, strerror(errno));
	if (fd >= 0) {
		(void)close(fd);
		(void)unlink(o->part);
	}
	free(o->part);
	return EXIT_FAILED;
}

static int
output_close(struct cli *cli, struct output *o, int code)
{
	bool bad = ferror(o->file) != 0;

	if (o->part == NULL)
		return code;
	bad = fclose(o->file) != 0 || bad;
	if (code == EXIT_DONE && (bad || rename(o->part, o->path) != 0))
		code = cli_fail(cli, EXIT_FAILED, "cannot write %s: %s", o->path, strerror(errno));
	if (code != EXIT_DONE)
		(void)unlink(o->part);
	free(o->part);
	return code;
}

static int
write_report(
    struct cli *cli, struct db *db, int64_t run, const char *path, bool html, int64_t *lines)
{
	struct output o;
	int code = output_open(cli, &o, path);

	if (code != EXIT_DONE)
		return code;
	if (html ? report_html(db, run, o.file) != 0 : (*lines = report_csv(db, run, o.file)) < 0)
		code = cli_db_failed(cli, db, "making the report");
	return output_close(cli, &o, code);
}

/* What was planned for each provider and large site, and what came of it. 0, or an exit code after
 * printing. */
static int
add_comparison(struct cli *cli, struct db *db, int64_t run, json_t *p)
{
	char id[24];
	const char *params[] = { id };
	PGresult *r;

	if (campaign_word(p, "expected_finish")[0] == '\0')
		return EXIT_DONE;
	(void)snprintf(id, sizeof(id), "%lld", (long long)run);
	r = db_query(db,
	    "SELECT coalesce(json_agg(x), '[]') FROM (SELECT name AS lane, provider, recipients, "
	    "by_mx, planned_per_min, most_per_min, expected_finish, finish, sent AS settled FROM "
	    "kairan.plan_compare($1)) AS x",
	    1, params);
	if (r == NULL)
		return cli_db_failed(cli, db, "comparing the plan");
	(void)json_object_set_new(p, "plan", json_loads(db_text(r, 0, 0), 0, NULL));
	PQclear(r);
	return EXIT_DONE;
}

static void
print_comparison(const json_t *p)
{
	const json_t *plan = json_object_get(p, "plan"), *lane;
	char recipients[32], planned[32], most[32];
	size_t i;

	if (json_array_size(plan) == 0)
		return;
	printf("\n%-24s %12s %9s %9s  %-19s  %-19s\n", "provider", "recipients", "peak/min",
	    "planned", "ended", "planned");
	json_array_foreach(plan, i, lane)
	{
		if (i == LANES_SHOWN) {
			printf("and %zu more (--json has all)\n", json_array_size(plan) - i);
			return;
		}
		printf("%-24.24s %12s %9s %9s  %-19.19s  %-19.19s\n", campaign_word(lane, "lane"),
		    cli_number(campaign_count(lane, "recipients"), recipients),
		    cli_number(campaign_count(lane, "most_per_min"), most),
		    cli_number(
			(int64_t)ceil(json_number_value(json_object_get(lane, "planned_per_min"))),
			planned),
		    campaign_word(lane, "finish"), campaign_word(lane, "expected_finish"));
	}
}

static int
say_written(struct cli *cli, struct db *db, const struct campaign_run *run, const char *csv,
    const char *html, int64_t lines)
{
	json_t *p = campaign_progress(db, run->id);
	int code = EXIT_DONE;
	char n[32];

	if (p == NULL)
		return cli_db_failed(cli, db, "reading the run");
	if (cli->json || (csv == NULL && html == NULL))
		code = add_comparison(cli, db, run->id, p);
	if (code != EXIT_DONE) {
		json_decref(p);
		return code;
	}
	if (cli->json) {
		if (csv != NULL)
			(void)json_object_set_new(p, "csv", json_string(csv));
		if (html != NULL)
			(void)json_object_set_new(p, "html", json_string(html));
		cli_print_json(p);
		return EXIT_DONE;
	}
	if (csv == NULL && html == NULL) {
		print_status(p);
		print_comparison(p);
	}
	if (csv != NULL)
		printf("%s: %s lines\n", csv, cli_number(lines, n));
	if (html != NULL)
		printf("%s: report of run %s\n", html, run->key);
	json_decref(p);
	return EXIT_DONE;
}

int
campaign_report(struct cli *cli, int argc, char **argv)
{
	const char *key = NULL, *csv = NULL, *html = NULL;
	const struct cli_option options[] = {
		{ .name = "run-key", .value_name = "KEY", .value = &key },
		{ .name = "csv", .value_name = "FILE", .value = &csv },
		{ .name = "html", .value_name = "FILE", .value = &html },
		{ 0 },
	};
	struct campaign_run run;
	struct db db;
	int64_t lines = 0;
	bool to_stdout;
	int code;

	argc = cli_options(cli, options, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc != 1)
		return cli_fail(cli, EXIT_USAGE, "campaign report needs the name of one campaign");
	to_stdout =
	    (csv != NULL && strcmp(csv, "-") == 0) || (html != NULL && strcmp(html, "-") == 0);
	if (to_stdout && ((csv != NULL && html != NULL) || cli->json))
		return cli_fail(cli, EXIT_USAGE, "only one thing can go to standard output");
	code = open_run(cli, &db, argv[0], key, &run);
	if (code != EXIT_DONE)
		return code;
	if (csv != NULL)
		code = write_report(cli, &db, run.id, csv, false, &lines);
	if (code == EXIT_DONE && html != NULL)
		code = write_report(cli, &db, run.id, html, true, &lines);
	if (code == EXIT_DONE && !to_stdout)
		code = say_written(cli, &db, &run, csv, html, lines);
	db_close(&db);
	return code;
}
