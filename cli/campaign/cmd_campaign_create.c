/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_campaign_create: `campaign create`. Promises that a campaign that was accepted does not
 * fail later for a reason that could have been seen now; refuses the file otherwise, with file
 * and line, and changes nothing.
 */
#include "cmd_campaign.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "campaign_compose.h"
#include "campaign_fit.h"
#include "campaign_lookup.h"
#include "campaign_template.h"
#include "customer_field.h"
#include "embed.h"
#include "lint.h"
#include "mime.h"
#include "options.h"
#include "policy.h"

#define SEGMENT_CHECK_TIMEOUT "10s"
#define FIELD_CHECK_TIMEOUT "30s"

struct create {
	struct cli *cli;
	struct db db;
	struct campaign_source source;
	json_t *warnings;   /* owned array */
	int64_t customers;  /* in the segment; -1: counting takes long */
	bool keep_schedule; /* what the database has stays */
	char due[64];	    /* next start as shown, or "" */
};

static void PRINTF_LIKE(2, 3) warn(struct create *c, const char *format, ...)
{
	char text[600];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	(void)json_array_append_new(c->warnings, json_string(text));
	if (!c->cli->quiet) {
		fputs("kairan: warning: ", stderr);
		cli_put_text(stderr, text);
		fputc('\n', stderr);
	}
}

static const char *
at(struct create *c, size_t line, char *dst, size_t size)
{
	return campaign_source_at(&c->source, line, dst, size);
}

/* A lost connection shows in the next statement. */
static void
rollback(struct create *c)
{
	if (db_run(&c->db, "ROLLBACK", 0, NULL) != 0)
		c->db.error[0] = '\0';
}

/* The names of a table as "a, b, c", shortened. */
static const char *
names_of(struct create *c, const char *sql, char *dst, size_t size)
{
	PGresult *r = db_query(&c->db, sql, 0, NULL);

	(void)snprintf(dst, size, "%s", r != NULL ? db_text(r, 0, 0) : "?");
	PQclear(r);
	return dst;
}

/* ---------------------------------------------------------------- templates */

/* What is wrong with the mail is the sender's to decide. */
static void
count_lint_errors(struct create *c, const struct campaign_mail *mail)
{
	const char *domain = c->source.return_path_domain[0] != '\0'
	    ? c->source.return_path_domain
	    : c->cli->config.feedback_domain;
	struct campaign_templates templates;
	struct lint_input input = { .source = &c->source,
		.templates = &templates,
		.mail = mail,
		.unsubscribe = lint_unsubscribe_by(c->source.unsubscribe_base, domain) };
	struct lint_report report = { 0 };
	struct err err = { 0 };
	struct arena arena;

	arena_init(&arena, LINT_ARENA_MAX);
	if (campaign_templates(&templates, &c->source, &err) != 0 ||
	    lint_run(&report, &input, &arena, &err) != 0)
		warn(c, "%s: not linted: %s", c->source.path, err.msg);
	else if (report.by_severity[LINT_ERROR] > 0)
		warn(c, "%s: lint finds %zu error%s; see: kairan campaign lint %s", c->source.path,
		    report.by_severity[LINT_ERROR], report.by_severity[LINT_ERROR] == 1 ? "" : "s",
		    c->source.path);
	arena_release(&arena);
}

static int
check_templates(struct create *c)
{
	struct campaign_mail mail;
	struct err err = { 0 };
	char where[300];
	int code = EXIT_DONE;
	int result =
	    campaign_compose(&mail, &c->source, &c->cli->config, SLICE(""), NULL, NULL, &err);

	if (result == 0 && mail.raw_fields > 0)
		warn(c, "%s: %u field%s in three braces go%s out as HTML, unescaped",
		    c->source.file.html[0] != '\0' ? c->source.file.html : c->source.file.template,
		    mail.raw_fields, mail.raw_fields == 1 ? "" : "s",
		    mail.raw_fields == 1 ? "es" : "");
	if (result != 0)
		code = cli_fail(c->cli, EXIT_USAGE, "%s", err.msg);
	else
		code = campaign_fit_mail(c->cli, &mail, at(c, 0, where, sizeof(where)));
	if (code == EXIT_DONE)
		count_lint_errors(c, &mail);
	campaign_mail_release(&mail);
	return code;
}

static void
give_up_check(struct create *c, const char *field)
{
	warn(c, "looking for the field \"%s\" among the customers took too long; not checked",
	    field);
	rollback(c);
}

/* 1 when a customer has the field, 0 when none has (*any: there are customers), 2 when it took
 * too long, -1 with db.error. */
static int
field_exists(struct create *c, const char *columns, const struct campaign_field *f, bool *any)
{
	struct buf sql;
	PGresult *r = NULL;
	int has;

	/* one scan over the customers, which ends with the first one that has the field */
	buf_init(&sql, 64 << 10);
	buf_append_str(&sql, "SELECT EXISTS (SELECT FROM kairan.customer c WHERE ");
	customer_field_sql(&sql, columns, "c", f->name, f->json);
	buf_append_str(&sql, " IS NOT NULL), EXISTS (SELECT FROM kairan.customer)");
	if (!buf_failed(&sql))
		r = db_query(&c->db, buf_str(&sql), 0, NULL);
	buf_release(&sql);
	if (r == NULL)
		return strcmp(c->db.sqlstate, "57014") == 0 ? 2 : -1;
	has = db_text(r, 0, 0)[0] == 't';
	*any = db_text(r, 0, 1)[0] == 't';
	PQclear(r);
	return has;
}

static int
check_field(struct create *c, const char *columns, const struct campaign_field *f)
{
	const char *name = arena_copy(&c->source.arena, f->name).ptr;
	char where[500];
	bool any = false;
	int has;

	if (!f->used || customer_has_column(columns, f->name))
		return EXIT_DONE;
	has = field_exists(c, columns, f, &any);
	if (has == 2) {
		give_up_check(c, name);
		if (db_run(&c->db, "BEGIN READ ONLY", 0, NULL) == 0 &&
		    db_run(&c->db, "SET LOCAL statement_timeout = '" FIELD_CHECK_TIMEOUT "'", 0,
			NULL) == 0)
			return EXIT_DONE;
		has = -1;
	}
	if (has < 0)
		return cli_db_failed(c->cli, &c->db, "checking the fields of the templates");
	if (has == 1)
		return EXIT_DONE;
	(void)campaign_part_at(&c->source, f->part, f->at, where, sizeof(where));
	if (f->required && any)
		return cli_fail(c->cli, EXIT_USAGE,
		    f->json
			? "%sno customer has a field \"%s\"; correct the name, or say with "
			  "{{else}} what stands there without it"
			: "%sno customer has a field \"%s\"; correct the name, or write {{default "
			  "%s \"…\"}}",
		    where, name, name);
	warn(c, "%s%s has a field \"%s\"", where,
	    any ? "no customer" : "there are no customers yet; none", name);
	return EXIT_DONE;
}

static int
check_fields(struct create *c)
{
	struct campaign_templates t;
	struct err err = { 0 };
	const char *columns;
	int code = EXIT_DONE;

	if (campaign_templates(&t, &c->source, &err) != 0)
		return cli_fail(c->cli, EXIT_USAGE, "%s", err.msg);
	if (t.needs_unsubscribe && c->source.unsubscribe_base[0] == '\0' &&
	    c->source.return_path_domain[0] == '\0' && c->cli->config.feedback_domain[0] == '\0')
		return cli_fail(c->cli, EXIT_USAGE,
		    "%s: the templates use unsubscribe_url, but there is nowhere to unsubscribe: "
		    "give the "
		    "stream \"%s\" an unsubscribe_base or set feedback.domain in the configuration",
		    c->source.path, c->source.file.stream);
	if (t.needs_view && c->cli->config.web_base[0] == '\0')
		return cli_fail(c->cli, EXIT_USAGE,
		    "%s: the templates use view_url, but web.base is not set: that is where "
		    "kairan-feedback shows the mail in a browser",
		    c->source.path);
	if (db_run(&c->db, "BEGIN READ ONLY", 0, NULL) != 0 ||
	    db_run(&c->db, "SET LOCAL statement_timeout = '" FIELD_CHECK_TIMEOUT "'", 0, NULL) !=
		0 ||
	    (columns = campaign_lookup_columns(&c->db, &c->source.arena)) == NULL)
		return cli_db_failed(c->cli, &c->db, "checking the fields of the templates");
	for (size_t i = 0; i < t.fields.count && code == EXIT_DONE; i++)
		code = check_field(c, columns, &t.field[i]);
	rollback(c);
	return code;
}

/* ---------------------------------------------------------------- stream, names, segment */

/* Opens and clicks need a place that counts them. */
static int
check_tracking(struct create *c)
{
	const char *stream = c->source.file.stream;
	PGresult *r;

	if (c->cli->config.web_base[0] != '\0')
		return EXIT_DONE;
	r = db_query(&c->db,
	    "SELECT FROM kairan.stream WHERE name = $1 AND (track_opens OR track_clicks)", 1,
	    &stream);
	if (r == NULL)
		return cli_db_failed(c->cli, &c->db, "looking for the stream");
	if (PQntuples(r) > 0)
		warn(c,
		    "the stream \"%s\" counts opens and clicks, but web.base is not set: nothing "
		    "is "
		    "counted until it is the address of kairan-feedback's pages",
		    stream);
	PQclear(r);
	return EXIT_DONE;
}

static int
check_stream(struct create *c)
{
	char where[300], names[500];
	int found = campaign_lookup_stream(&c->db, &c->source);

	if (found < 0)
		return cli_db_failed(c->cli, &c->db, "looking for the stream");
	if (found > 0)
		return check_tracking(c);
	return cli_fail(c->cli, EXIT_USAGE, "%sthere is no stream \"%s\"; there are: %s",
	    at(c, c->source.file.stream_line, where, sizeof(where)), c->source.file.stream,
	    names_of(c, "SELECT string_agg(name, ', ' ORDER BY name) FROM kairan.stream", names,
		sizeof(names)));
}

/* A typing error in an exclusion would write to the very people who are to be left out. */
static int
check_exclusions(struct create *c, const struct campaign_names *names, size_t line,
    const char *table, const char *what)
{
	char where[300], sql[100];

	(void)snprintf(sql, sizeof(sql), "SELECT FROM kairan.%s WHERE name = $1", table);
	for (size_t i = 0; i < names->count; i++) {
		PGresult *r = db_query(&c->db, sql, 1, &names->name[i]);
		int rows = r != NULL ? PQntuples(r) : 0;

		if (r == NULL)
			return cli_db_failed(c->cli, &c->db, "checking what is to be left out");
		PQclear(r);
		if (rows == 0)
			return cli_fail(c->cli, EXIT_USAGE, "%sthere is no %s \"%s\" to leave out",
			    at(c, line, where, sizeof(where)), what, names->name[i]);
	}
	return EXIT_DONE;
}

static int
segment_refused(struct create *c, const char *segment, bool named, size_t line)
{
	char where[300], names[400] = "", why[sizeof(c->db.error)];
	bool lost = db_is_lost(&c->db), timeout = strcmp(c->db.sqlstate, "57014") == 0;

	(void)snprintf(why, sizeof(why), "%s", c->db.error);
	if (lost)
		return cli_db_failed(c->cli, &c->db, "checking the segment");
	rollback(c);
	(void)at(c, line, where, sizeof(where));
	if (named)
		return cli_fail(c->cli, EXIT_USAGE,
		    "%sthe condition of segment \"%s\" is refused: %s", where, segment, why);
	if (campaign_name_ok(slice_str(segment)))
		return cli_fail(c->cli, EXIT_USAGE, "%sthere is no segment \"%s\"; there are: %s",
		    where, segment,
		    names_of(c, "SELECT string_agg(name, ', ' ORDER BY name) FROM kairan.segment",
			names, sizeof(names)));
	return cli_fail(c->cli, EXIT_USAGE, "%sthe segment is refused: %s%s", where, why,
	    timeout ? " (checking it took longer than " SEGMENT_CHECK_TIMEOUT ")" : "");
}

/* Plans the query, then counts: some conditions fail only when they meet a row. */
static int
check_segment(struct create *c, const char *segment, size_t line)
{
	bool named;
	const char *condition =
	    campaign_segment_condition(&c->db, &c->source.arena, segment, &named);
	PGresult *r;

	if (condition == NULL)
		return cli_fail(c->cli, EXIT_FAILED, "there is not enough memory");
	if (campaign_segment_begin(&c->db, SEGMENT_CHECK_TIMEOUT) != 0)
		return cli_db_failed(c->cli, &c->db, "taking the rights of a segment");
	r = campaign_segment_run(&c->db, "EXPLAIN SELECT c.id", condition);
	if (r == NULL)
		return segment_refused(c, segment, named, line);
	PQclear(r);
	r = campaign_segment_run(&c->db, "SELECT count(*)", condition);
	if (r == NULL && strcmp(c->db.sqlstate, "57014") != 0)
		return segment_refused(c, segment, named, line);
	c->customers = r != NULL ? db_int(r, -1) : -1;
	PQclear(r);
	rollback(c);
	return EXIT_DONE;
}

static int
check_names(struct create *c)
{
	const struct campaign_file *f = &c->source.file;
	int code = check_exclusions(
	    c, &f->exclude_campaigns, f->exclude_campaigns_line, "campaign", "campaign");

	if (code == EXIT_DONE)
		code = check_exclusions(
		    c, &f->exclude_segments, f->exclude_segments_line, "segment", "segment");
	for (size_t i = 0; i < f->exclude_segments.count && code == EXIT_DONE; i++)
		code = check_segment(c, f->exclude_segments.name[i], f->exclude_segments_line);
	if (code == EXIT_DONE)
		code = check_segment(c, f->segment, f->segment_line);
	return code;
}

/* ---------------------------------------------------------------- times */

/* The producer would take one that does not exist for UTC. */
static int
check_zone(struct create *c)
{
	const struct campaign_file *f = &c->source.file;
	struct err err = { 0 };
	struct policy *policy;
	char where[300];
	int code = EXIT_DONE;

	if (f->time_zone[0] == '\0')
		return EXIT_DONE;
	policy = policy_new(&c->cli->config, &err);
	if (policy == NULL)
		return cli_fail(c->cli, EXIT_USAGE, "%s", err.msg);
	if (policy_zone_named(policy, f->time_zone, &err) == NULL)
		code = cli_fail(c->cli, EXIT_USAGE,
		    "%stime_zone \"%.60s\": %s; give one like Asia/Tokyo",
		    at(c, f->time_zone_line, where, sizeof(where)), f->time_zone, err.msg);
	policy_free(policy);
	return code;
}

static int
check_times(struct create *c)
{
	const struct campaign_file *f = &c->source.file;
	const char *params[] = { f->start[0] != '\0' ? f->start : NULL,
		f->not_after[0] != '\0' ? f->not_after : NULL, f->name };
	char where[300];
	PGresult *r;
	bool start_past, after_past, after_first, exists;

	if (params[0] == NULL && params[1] == NULL) {
		c->keep_schedule = true;
		return EXIT_DONE;
	}
	r = db_query(&c->db,
	    "SELECT $1::timestamptz <= now(), $2::timestamptz <= now(), "
	    "$2::timestamptz <= $1::timestamptz, EXISTS (SELECT FROM kairan.campaign WHERE name = "
	    "$3)",
	    3, params);
	if (r == NULL && !db_is_lost(&c->db))
		return cli_fail(c->cli, EXIT_USAGE, "%s%s",
		    at(c, f->start_line > 0 ? f->start_line : f->not_after_line, where,
			sizeof(where)),
		    c->db.error);
	if (r == NULL)
		return cli_db_failed(c->cli, &c->db, "checking the times");
	start_past = db_text(r, 0, 0)[0] == 't';
	after_past = db_text(r, 0, 1)[0] == 't';
	after_first = db_text(r, 0, 2)[0] == 't';
	exists = db_text(r, 0, 3)[0] == 't';
	PQclear(r);
	if (after_past)
		return cli_fail(c->cli, EXIT_MISSED,
		    "%snot_after %s has passed: this campaign could only miss "
		    "its time",
		    at(c, f->not_after_line, where, sizeof(where)), f->not_after);
	if (after_first)
		return cli_fail(c->cli, EXIT_USAGE, "%snot_after is not later than start",
		    at(c, f->not_after_line, where, sizeof(where)));
	if (start_past && !exists)
		return cli_fail(c->cli, EXIT_USAGE,
		    "%sstart %s has passed; give the next one, or leave it out "
		    "and use: kairan campaign start",
		    at(c, f->start_line, where, sizeof(where)), f->start);
	if (start_past) {
		c->keep_schedule = true;
		warn(c, "%sstart %s has passed: the schedule stays as it is",
		    at(c, f->start_line, where, sizeof(where)), f->start);
	}
	return EXIT_DONE;
}

/* ---------------------------------------------------------------- writing */

/* {"a","b"} */
static char *
array_literal(struct create *c, const struct campaign_names *names)
{
	size_t size = 3;
	char *text, *p;

	for (size_t i = 0; i < names->count; i++)
		size += strlen(names->name[i]) + 3;
	p = text = arena_alloc(&c->source.arena, size);
	if (text == NULL)
		return NULL;
	*p++ = '{';
	for (size_t i = 0; i < names->count; i++)
		p += snprintf(
		    p, size - (size_t)(p - text), "%s\"%s\"", i > 0 ? "," : "", names->name[i]);
	*p++ = '}';
	*p = '\0';
	return text;
}

static char *
headers_json(const struct campaign_file *f)
{
	json_t *object = json_object();
	char *text;

	for (size_t i = 0; i < f->header_count; i++)
		(void)json_object_set_new(
		    object, f->headers[i].name, json_string(f->headers[i].value));
	text = json_dumps(object, JSON_COMPACT);
	json_decref(object);
	return text;
}

static char *
options_json(struct create *c)
{
	const struct campaign_file *f = &c->source.file;
	struct slice domains[CAMPAIGN_LIST_MAX];
	struct options o = { .sender_name = slice_str(f->sender_name),
		.sender_addr = slice_str(f->sender_address),
		.reply_to_name = slice_str(f->reply_to_name),
		.jis_domains = domains,
		.jis_domain_count = f->iso_2022_jp.count };

	for (size_t i = 0; i < f->iso_2022_jp.count; i++)
		domains[i] = slice_str(f->iso_2022_jp.name[i]);
	return options_write(&o);
}

/* What the digest has besides the texts; nothing for a message of texts alone. */
static void
describe_extras(const struct create *c, const char *options, struct buf *out)
{
	if (strcmp(options, "{}") == 0 && c->source.file_count == 0)
		return;
	buf_printf(out, "\n%s\n", options);
	for (size_t i = 0; i < c->source.file_count; i++) {
		const struct attach *a = &c->source.files[i];

		buf_printf(out, "%.*s\t%.*s\t%.*s\t%s\n", SLICE_ARG(a->name), SLICE_ARG(a->type),
		    SLICE_ARG(a->content_id), c->source.digests[i]);
	}
}

/* The row of these texts; made when it is not there. -1 with db->error. */
static int64_t
put_texts(struct create *c, const char *options, const char *extras)
{
	static const char sql[] =
	    "WITH t AS (SELECT encode(sha256(convert_to($1, 'UTF8') || '\\x00'::bytea || "
	    "convert_to($2, 'UTF8') || '\\x00'::bytea || convert_to($3, 'UTF8') || "
	    "convert_to($5, 'UTF8')), 'hex') AS digest), "
	    "i AS (INSERT INTO kairan.template (digest, subject, html, body, options) "
	    "SELECT digest, $1, $2, $3, $4 FROM t ON CONFLICT (digest) DO NOTHING RETURNING id) "
	    "SELECT id FROM i UNION ALL SELECT x.id FROM kairan.template x JOIN t ON t.digest = "
	    "x.digest "
	    "LIMIT 1";
	const char *params[] = { c->source.file.subject, c->source.html.ptr, c->source.text.ptr,
		options, extras };
	int64_t id = -1;

	for (int i = 1; i < 3; i++)
		if (params[i] == NULL)
			params[i] = "";
	/* twice: the row may have been made by somebody else in between */
	for (int i = 0; i < 2 && id < 0; i++) {
		PGresult *r = db_query(&c->db, sql, 5, params);

		if (r == NULL)
			return -1;
		id = db_int(r, -1);
		PQclear(r);
	}
	return id;
}

/* The files of a template, and their bytes when they are new. 0, or -1 with db->error. */
static int
put_files(struct create *c, int64_t template_id)
{
	struct buf base64;
	int result = 0;

	buf_init(&base64, 2 * ATTACH_BYTES_MAX);
	for (size_t i = 0; i < c->source.file_count && result == 0; i++) {
		const struct attach *a = &c->source.files[i];
		char id[24], position[24];
		const char *blob[] = { c->source.digests[i], NULL };
		const char *file[] = { id, position, a->name.ptr, a->type.ptr,
			a->content_id.len > 0 ? a->content_id.ptr : "", c->source.digests[i] };

		(void)snprintf(id, sizeof(id), "%lld", (long long)template_id);
		(void)snprintf(position, sizeof(position), "%zu", i + 1);
		buf_reset(&base64);
		mime_put_base64(&base64, a->bytes);
		blob[1] = buf_str(&base64);
		if (db_run(&c->db,
			"INSERT INTO kairan.blob (digest, bytes) VALUES ($1, decode($2, 'base64')) "
			"ON CONFLICT DO NOTHING",
			2, blob) != 0 ||
		    db_run(&c->db,
			"INSERT INTO kairan.template_file (template_id, position, name, type, "
			"content_id, digest) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO "
			"NOTHING",
			6, file) != 0)
			result = -1;
	}
	buf_release(&base64);
	return result;
}

static int64_t
put_template(struct create *c)
{
	char *options = options_json(c);
	struct buf extras;
	int64_t id = -1;

	buf_init(&extras, (size_t)1 << 20);
	if (options != NULL)
		describe_extras(c, options, &extras);
	if (options == NULL || buf_failed(&extras))
		(void)snprintf(c->db.error, sizeof(c->db.error), "there is not enough memory");
	else
		id = put_texts(c, options, buf_str(&extras));
	if (id >= 0 && put_files(c, id) != 0)
		id = -1;
	buf_release(&extras);
	free(options);
	return id;
}

static int
put_campaign(struct create *c, int64_t template_id, bool *is_new)
{
	const struct campaign_file *f = &c->source.file;
	char template_text[24], window[16], spread[16], weight[16], from[16], till[16];
	char canary[16], canary_wait[16];
	bool is_quiet = f->quiet_from != f->quiet_till;
	char *headers = headers_json(f);
	const char *params[] = { f->name, f->stream, template_text, f->from_name, f->from_address,
		f->reply_to, f->list, headers, f->segment, array_literal(c, &f->exclude_campaigns),
		array_literal(c, &f->exclude_segments), f->missing_field, f->bad_field,
		f->start[0] != '\0' ? f->start : NULL,
		f->not_after[0] != '\0' ? f->not_after : NULL, f->window_s > 0 ? window : NULL,
		f->repeat, f->hook_command, f->hook_url, c->source.source.ptr,
		c->keep_schedule ? "true" : "false", f->spread_s > 0 ? spread : NULL, weight,
		is_quiet ? from : NULL, is_quiet ? till : NULL,
		f->time_zone[0] != '\0' ? f->time_zone : "UTC", f->zone_field,
		f->canary > 0 ? canary : NULL, f->canary > 0 ? canary_wait : NULL,
		f->origin_field };
	PGresult *r;

	(void)snprintf(template_text, sizeof(template_text), "%lld", (long long)template_id);
	(void)snprintf(window, sizeof(window), "%d", (int)f->window_s);
	(void)snprintf(spread, sizeof(spread), "%d", (int)f->spread_s);
	(void)snprintf(weight, sizeof(weight), "%d", (int)f->weight);
	(void)snprintf(from, sizeof(from), "%d", (int)f->quiet_from);
	(void)snprintf(till, sizeof(till), "%d", (int)f->quiet_till);
	(void)snprintf(canary, sizeof(canary), "%d", (int)f->canary);
	(void)snprintf(canary_wait, sizeof(canary_wait), "%d", (int)f->canary_wait_s);
	r = db_query(&c->db, embed_cli_sql_put_campaign_sql,
	    (int)(sizeof(params) / sizeof(params[0])), params);
	free(headers);
	if (r == NULL)
		return -1;
	*is_new = db_text(r, 0, 0)[0] == 't';
	(void)snprintf(c->due, sizeof(c->due), "%s%s%s", db_text(r, 0, 1),
	    db_text(r, 0, 1)[0] != '\0' && db_text(r, 0, 2)[0] != '\0' ? ", " : "",
	    db_text(r, 0, 1)[0] != '\0' ? db_text(r, 0, 2) : "");
	PQclear(r);
	return 0;
}

static void
print_names(const char *label, const struct campaign_names *names)
{
	if (names->count == 0)
		return;
	printf("  %-10s", label);
	for (size_t i = 0; i < names->count; i++)
		printf("%s%s", i > 0 ? ", " : "", names->name[i]);
	putchar('\n');
}

static void
print_line(const char *label, const char *value)
{
	printf("  %-10s", label);
	cli_put_text(stdout, value);
	putchar('\n');
}

static void
print_created(struct create *c, bool is_new, int64_t template_id)
{
	const struct campaign_file *f = &c->source.file;
	char number[32];

	if (c->cli->json) {
		cli_print_json(json_pack("{s:s, s:b, s:I, s:s, s:I, s:O, s:s}", "campaign", f->name,
		    "created", is_new, "template", (json_int_t)template_id, "segment", f->segment,
		    "customers", (json_int_t)c->customers, "warnings", c->warnings, "next",
		    c->due));
		return;
	}
	printf("%s campaign %s\n", is_new ? "created" : "updated", f->name);
	print_line("stream", f->stream);
	printf("  %-10s", "from");
	cli_put_text(stdout, f->from_name);
	printf("%s<%s>\n", f->from_name[0] != '\0' ? " " : "", f->from_address);
	print_line("subject", f->subject);
	printf("  %-10s%s%s%s%s\n", "texts", f->template, f->html,
	    f->html[0] != '\0' && f->text[0] != '\0' ? ", " : "", f->text);
	for (size_t i = 0; i < c->source.file_count; i++)
		printf("  %-10s%s (%s bytes)\n", i == 0 ? "files" : "", c->source.paths[i],
		    cli_number((int64_t)c->source.files[i].bytes.len, number));
	print_line("segment", f->segment);
	if (c->customers >= 0)
		printf("  %-10s%s customers before exclusions\n", "",
		    cli_number(c->customers, number));
	else
		printf("  %-10smore customers than could be counted in " SEGMENT_CHECK_TIMEOUT "\n",
		    "");
	print_names("without", &f->exclude_campaigns);
	print_names("without", &f->exclude_segments);
	if (f->canary > 0)
		printf("  %-10s%s recipients first, then %d minutes of waiting\n", "canary",
		    cli_number(f->canary, number), (int)f->canary_wait_s / 60);
	print_line("next run", c->due[0] != '\0' ? c->due : "by command: kairan campaign start");
}

static int
write_campaign(struct create *c)
{
	int64_t template_id = -1;
	bool is_new = false;

	if (db_run(&c->db, "BEGIN", 0, NULL) != 0 || (template_id = put_template(c)) < 0 ||
	    put_campaign(c, template_id, &is_new) != 0 || db_run(&c->db, "COMMIT", 0, NULL) != 0)
		return cli_db_failed(c->cli, &c->db, "writing the campaign");
	cli_audit(&c->db, is_new ? "campaign create" : "campaign update", c->source.file.name,
	    c->source.path);
	print_created(c, is_new, template_id);
	return EXIT_DONE;
}

static int
check_files(struct create *c)
{
	struct err err = { 0 };

	if (campaign_source_scan(&c->source, c->cli->config.scan_clamd, &err) != 0)
		return cli_fail(c->cli, EXIT_FAILED, "%s", err.msg);
	return EXIT_DONE;
}

static int
check_and_write(struct create *c)
{
	static int (*const steps[])(struct create *) = { check_stream, check_templates, check_files,
		check_fields, check_names, check_zone, check_times, write_campaign };
	int code = EXIT_DONE;

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && code == EXIT_DONE; i++)
		code = steps[i](c);
	return code;
}

int
campaign_create(struct cli *cli, int argc, char **argv)
{
	struct create c = { .cli = cli, .customers = -1 };
	struct err err = { 0 };
	int code;

	argc = cli_options(cli, NULL, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc != 1)
		return cli_fail(cli, EXIT_USAGE, "campaign create needs one campaign file");
	if (campaign_source_read(&c.source, argv[0], &err) != 0) {
		campaign_source_release(&c.source);
		return cli_fail(cli, EXIT_USAGE, "%s", err.msg);
	}
	c.warnings = json_array();
	code = cli_open_db(cli, &c.db);
	if (code == EXIT_DONE) {
		code = check_and_write(&c);
		db_close(&c.db);
	}
	json_decref(c.warnings);
	campaign_source_release(&c.source);
	return code;
}
