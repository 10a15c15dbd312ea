/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_campaign_lint: `campaign lint`: the rules of lint.h for one campaign file, with what the
 * database knows when there is one. Reads only.
 */
#include "cmd_campaign.h"

#include <stdio.h>
#include <string.h>

#include "campaign_compose.h"
#include "campaign_lookup.h"
#include "campaign_size.h"
#include "customer_field.h"
#include "lint.h"

#define COUNT_TIMEOUT "30s"

struct linting {
	struct cli *cli;
	struct campaign_source source;
	struct campaign_templates templates;
	struct campaign_mail mail;
	struct arena arena;
	struct lint_input input;
	struct lint_report report;
	char not_asked[500];
};

/* ---------------------------------------------------------------- what the database knows */

static void
not_asked(struct linting *l, const char *why)
{
	(void)snprintf(l->not_asked, sizeof(l->not_asked), "%s", why);
	l->input.not_asked = l->not_asked;
}

/* SELECT count(*), count(*) FILTER (WHERE field IS NULL), …: as the claim would find the field. */
static int
put_counts(struct linting *l, const char *columns, struct buf *sql)
{
	const struct campaign_templates *t = &l->templates;

	buf_append_str(sql, "SELECT count(*)");
	for (size_t i = 0; i < t->fields.count; i++) {
		if (!t->field[i].stops) {
			buf_append_str(sql, ", 0");
			continue;
		}
		buf_append_str(sql, ", count(*) FILTER (WHERE ");
		customer_field_sql(sql, columns, "c", t->field[i].name, t->field[i].json);
		buf_append_str(sql, " IS NULL)");
	}
	return buf_failed(sql) ? -1 : 0;
}

static void
take_counts(struct linting *l, const PGresult *r)
{
	int64_t *absent = arena_array(&l->arena, l->templates.fields.count + 1, sizeof(*absent));

	if (absent == NULL) {
		not_asked(l, "there is not enough memory");
		return;
	}
	for (size_t i = 0; i < l->templates.fields.count; i++)
		absent[i] = db_number(r, 0, (int)i + 1);
	l->input.customers = db_number(r, 0, 0);
	l->input.absent = absent;
}

static void
count_fields(struct linting *l, struct db *db)
{
	const char *condition, *columns = campaign_lookup_columns(db, &l->arena);
	PGresult *r = NULL;
	struct buf sql;
	bool named;

	buf_init(&sql, (size_t)1 << 20);
	condition = campaign_segment_condition(db, &l->arena, l->source.file.segment, &named);
	if (columns != NULL && condition != NULL && put_counts(l, columns, &sql) == 0 &&
	    campaign_segment_begin(db, COUNT_TIMEOUT) == 0)
		r = campaign_segment_run(db, buf_str(&sql), condition);
	if (r != NULL)
		take_counts(l, r);
	else if (strcmp(db->sqlstate, "57014") == 0)
		not_asked(l, "it took longer than " COUNT_TIMEOUT);
	else
		not_asked(l, db->error[0] != '\0' ? db->error : "there are too many fields");
	PQclear(r);
	buf_release(&sql);
}

static void
ask_database(struct linting *l)
{
	const struct config *config = &l->cli->config;
	struct err err = { 0 };
	struct db db;
	int found;

	if (config->database_url[0] == '\0') {
		not_asked(l, "no database is configured (database.url)");
		return;
	}
	if (db_open(&db, config->database_url, "kairan_operator", "kairan", &err) < 0) {
		not_asked(l, err.msg);
		return;
	}
	if (db_check_schema(&db, &err) < 0) {
		not_asked(l, err.msg);
		db_close(&db);
		return;
	}
	found = campaign_lookup_stream(&db, &l->source);
	if (found > 0)
		l->input.unsubscribe = lint_unsubscribe_by(l->source.unsubscribe_base,
		    l->source.return_path_domain[0] != '\0' ? l->source.return_path_domain
							    : config->feedback_domain);
	if (found < 0)
		not_asked(l, db.error);
	if (found == 0)
		not_asked(l, "there is no such stream");
	if (found >= 0)
		count_fields(l, &db);
	db_close(&db);
}

/* ---------------------------------------------------------------- printing */

static void
print_json(const struct linting *l)
{
	json_t *list = json_array();

	for (size_t i = 0; i < l->report.count; i++) {
		const struct lint_finding *f = &l->report.findings[i];
		json_t *o = json_pack("{s:s, s:s, s:s, s:s}", "rule", f->rule->id, "severity",
		    lint_severity_name(f->rule->severity), "file", f->file, "text", f->text);

		if (o == NULL)
			continue;
		(void)json_object_set_new(
		    o, "line", f->line > 0 ? json_integer((json_int_t)f->line) : json_null());
		(void)json_object_set_new(
		    o, "column", f->column > 0 ? json_integer((json_int_t)f->column) : json_null());
		(void)json_array_append_new(list, o);
	}
	cli_print_json(list);
}

static void
print_finding(const struct cli *cli, const struct lint_finding *f)
{
	static const char *const colours[LINT_SEVERITIES] = { "\033[36m", "\033[33m", "\033[31m" };

	cli_put_text(stdout, f->file);
	if (f->line > 0)
		printf(":%zu", f->line);
	if (f->line > 0 && f->column > 0)
		printf(":%zu", f->column);
	printf(": %s%s:%s ", cli->colour ? colours[f->rule->severity] : "",
	    lint_severity_name(f->rule->severity), cli->colour ? "\033[0m" : "");
	cli_put_text(stdout, f->text);
	printf(" [%s]\n", f->rule->id);
}

static void
print_report(const struct linting *l)
{
	const size_t *n = l->report.by_severity;

	if (l->cli->json) {
		print_json(l);
		return;
	}
	for (size_t i = 0; i < l->report.count; i++)
		print_finding(l->cli, &l->report.findings[i]);
	if (l->cli->quiet)
		return;
	printf("%s: %zu error%s, %zu warning%s, %zu note%s\n", l->source.file.name, n[LINT_ERROR],
	    n[LINT_ERROR] == 1 ? "" : "s", n[LINT_WARNING], n[LINT_WARNING] == 1 ? "" : "s",
	    n[LINT_NOTE], n[LINT_NOTE] == 1 ? "" : "s");
}

/* One rule, or the list of all. */
static int
explain(struct cli *cli, const char *id)
{
	const struct lint_rule *rule = lint_rule_by_id(id), *all;
	size_t count;

	if (rule == NULL && strcmp(id, "all") != 0)
		return cli_fail(cli, EXIT_USAGE,
		    "there is no rule \"%s\"; kairan campaign lint --explain all lists them", id);
	all = rule != NULL ? rule : lint_rules(&count);
	count = rule != NULL ? 1 : count;
	if (cli->json) {
		json_t *list = json_array();

		for (size_t i = 0; i < count; i++)
			(void)json_array_append_new(list,
			    json_pack("{s:s, s:s, s:s, s:s}", "rule", all[i].id, "severity",
				lint_severity_name(all[i].severity), "text", all[i].advice,
				"example", all[i].example));
		cli_print_json(list);
		return EXIT_DONE;
	}
	for (size_t i = 0; i < count; i++)
		printf("%s (%s)\n  %s\n  example: %s\n", all[i].id,
		    lint_severity_name(all[i].severity), all[i].advice, all[i].example);
	return EXIT_DONE;
}

/* ---------------------------------------------------------------- command */

static int
lint_source(struct linting *l)
{
	struct err err = { 0 }, large = { 0 };

	l->input = (struct lint_input){
		.source = &l->source, .templates = &l->templates, .mail = &l->mail
	};
	if (campaign_templates(&l->templates, &l->source, &err) != 0)
		return cli_fail(l->cli, EXIT_FAILED, "%s", err.msg);
	ask_database(l);
	if (campaign_compose(&l->mail, &l->source, &l->cli->config, SLICE(""), NULL, NULL, &err) !=
	    0)
		return cli_fail(l->cli, EXIT_FAILED, "%s", err.msg);
	if (campaign_size_is_too_large(&l->cli->config, l->mail.eml.len, &large))
		l->input.too_large = large.msg;
	if (lint_run(&l->report, &l->input, &l->arena, &err) != 0)
		return cli_fail(l->cli, EXIT_FAILED, "%s", err.msg);
	print_report(l);
	return l->report.by_severity[LINT_ERROR] > 0 ? EXIT_FAILED : EXIT_DONE;
}

int
campaign_lint(struct cli *cli, int argc, char **argv)
{
	const char *rule = NULL;
	const struct cli_option options[] = {
		{ .name = "explain", .value_name = "RULE", .value = &rule },
		{ 0 },
	};
	struct linting l = { .cli = cli };
	struct err err = { 0 };
	int code;

	argc = cli_options(cli, options, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (rule != NULL && argc == 0)
		return explain(cli, rule);
	if (rule != NULL || argc != 1)
		return cli_fail(cli, EXIT_USAGE,
		    "campaign lint needs one campaign file, or --explain with a rule");
	arena_init(&l.arena, LINT_ARENA_MAX);
	if (campaign_source_read(&l.source, argv[0], &err) != 0)
		code = cli_fail(cli, EXIT_USAGE, "%s", err.msg);
	else
		code = lint_source(&l);
	campaign_mail_release(&l.mail);
	campaign_source_release(&l.source);
	arena_release(&l.arena);
	return code;
}
