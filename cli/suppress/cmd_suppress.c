/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_suppress: `kairan suppress add|remove|check|list|import|export|undo`. Each reason is an entry of
 * its own, never made weaker by adding: the later end stays. Everything is noted in kairan.audit.
 */
#include <inttypes.h>
#include <string.h>

#include "addr.h"
#include "cli.h"
#include "suppress_batch.h"
#include "suppress_export.h"
#include "suppress_import.h"

#define LIST_LIMIT 1000000

/* ---------------------------------------------------------------- add */

/* "14d", "36h", "2w" as an SQL interval behind now(), or a date and time; the server judges. */
static bool
is_period(struct slice s)
{
	if (s.len < 2 || s.len > 6 || s.ptr[s.len - 1] == '\0' ||
	    strchr("hdw", s.ptr[s.len - 1]) == NULL)
		return false;
	for (size_t i = 0; i + 1 < s.len; i++)
		if (s.ptr[i] < '0' || s.ptr[i] > '9')
			return false;
	return true;
}

/* Turns what a person writes into a time of the server; "" stays "". -1 after printing. */
static int
resolve_time(struct cli *cli, struct db *db, const char *text, char *dst, size_t size)
{
	PGresult *result;
	const char *params[] = { text };
	bool period = is_period(slice_str(text));

	dst[0] = '\0';
	if (text[0] == '\0')
		return 0;
	if (!period && !suppress_is_time(slice_str(text))) {
		(void)cli_fail(cli, EXIT_USAGE,
		    "--expires takes a time from now (36h, 14d, 2w) or a date (2027-01-31), not "
		    "'%s'",
		    text);
		return -1;
	}
	result = db_query(
	    db, period ? "SELECT now() + $1::interval" : "SELECT $1::timestamptz", 1, params);
	if (result == NULL) {
		(void)cli_fail(cli, EXIT_USAGE, "--expires: %s", db->error);
		return -1;
	}
	(void)snprintf(dst, size, "%s", db_text(result, 0, 0));
	PQclear(result);
	return 0;
}

/* The object of an audit line: the keys of few addresses, a number of many. */
static void
name_objects(int argc, char **argv, char *dst, size_t size)
{
	struct addr a;
	size_t n = 0;

	if (argc > 3) {
		(void)snprintf(dst, size, "%d addresses", argc);
		return;
	}
	dst[0] = '\0';
	for (int i = 0; i < argc && n < size; i++)
		if (addr_parse(&a, slice_trim(slice_str(argv[i])), NULL) == 0)
			n += (size_t)snprintf(dst + n, size - n, "%s%s", n > 0 ? " " : "", a.key);
}

static int
add_all(struct suppress_batch *b, int argc, char **argv, struct suppress_entry *e)
{
	char object[3 * (ADDR_MAX + 2)];
	struct err err = { 0 };
	int code = EXIT_DONE;

	for (int i = 0; i < argc; i++) { /* all or none: look before anything is written */
		struct addr a;

		if (addr_parse(&a, slice_trim(slice_str(argv[i])), &err) < 0)
			return cli_fail(
			    b->cli, EXIT_USAGE, "%s: %s; nothing was added", argv[i], err.msg);
	}
	code = suppress_batch_begin(b);
	for (int i = 0; i < argc && code == EXIT_DONE; i++) {
		const char *why;

		e->address = slice_trim(slice_str(argv[i]));
		why = suppress_batch_add(b, (uint64_t)i + 1, e, &err);
		if (why != NULL)
			code = cli_fail(b->cli, EXIT_USAGE, "%s; nothing was added", why);
		b->read++;
	}
	if (code != EXIT_DONE) {
		buf_release(&b->out);
		return code;
	}
	name_objects(argc, argv, object, sizeof(object));
	code = suppress_batch_end(b, "suppress.add", object);
	if (code == EXIT_DONE)
		suppress_batch_print(b);
	return code;
}

static int
run_add(struct cli *cli, int argc, char **argv)
{
	const char *reason = "manual", *scope = "all", *note = "", *expires = "";
	const struct cli_option options[] = {
		{ .name = "reason",
		    .value_name = "manual|bounce|complaint|unsubscribe",
		    .value = &reason },
		{ .name = "scope", .value_name = "all|stream:NAME|list:NAME", .value = &scope },
		{ .name = "note", .value_name = "TEXT", .value = &note },
		{ .name = "expires", .value_name = "14d|DATE", .value = &expires },
		{ 0 },
	};
	char until[64];
	struct suppress_entry e;
	struct suppress_batch b;
	struct db db;
	int code;

	argc = cli_options(cli, options, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc == 0)
		return cli_fail(
		    cli, EXIT_USAGE, "name one address or more: kairan suppress add ADDRESS");
	if (suppress_reason(slice_str(reason)) == NULL)
		return cli_fail(cli, EXIT_USAGE,
		    "--reason takes manual, bounce, complaint or unsubscribe, not '%s'", reason);
	if (!suppress_is_scope(slice_str(scope)))
		return cli_fail(cli, EXIT_USAGE,
		    "--scope takes all, stream:NAME or list:NAME, not '%s'", scope);
	code = cli_open_db(cli, &db);
	if (code != EXIT_DONE)
		return code;
	b = (struct suppress_batch){ .cli = cli, .db = &db, .source = "person" };
	if (db_run(&db, "SET timezone = 'UTC'", 0, NULL) < 0)
		code = cli_db_failed(cli, &db, "beginning");
	else if (resolve_time(cli, &db, expires, until, sizeof(until)) < 0)
		code = EXIT_USAGE;
	e = (struct suppress_entry){ .reason = slice_str(reason),
		.scope = slice_str(scope),
		.note = slice_str(note),
		.expires = slice_str(until) };
	if (code == EXIT_DONE)
		code = add_all(&b, argc, argv, &e);
	db_close(&db);
	return code;
}

/* ---------------------------------------------------------------- remove, check, list */

static int
key_of(struct cli *cli, const char *text, char key[ADDR_MAX + 1])
{
	struct err err = { 0 };
	struct addr a;

	if (addr_parse(&a, slice_trim(slice_str(text)), &err) < 0)
		return cli_fail(cli, EXIT_USAGE, "%s: %s", text, err.msg);
	memcpy(key, a.key, a.len + 1);
	return EXIT_DONE;
}

static int
remove_one(struct cli *cli, struct db *db, const char *text, const char *scope, json_t *removed)
{
	char key[ADDR_MAX + 1], detail[600];
	const char *params[] = { key, scope };
	PGresult *result;
	int code = key_of(cli, text, key);

	if (code != EXIT_DONE)
		return code;
	result = db_query(db,
	    "DELETE FROM kairan.suppression WHERE address_key = $1 AND ($2::text IS NULL OR scope "
	    "= $2) "
	    "RETURNING scope, reason, source, created_at, expires_at",
	    2, params);
	if (result == NULL)
		return cli_db_failed(cli, db, "removing");
	for (int i = 0; i < PQntuples(result); i++) {
		(void)snprintf(detail, sizeof(detail), "%.200s %s by %.100s since %s%s%s",
		    db_text(result, i, 0), db_text(result, i, 1), db_text(result, i, 2),
		    db_text(result, i, 3), PQgetisnull(result, i, 4) ? "" : " until ",
		    db_text(result, i, 4));
		cli_audit(db, "suppress.remove", key, detail);
		(void)json_array_append_new(removed,
		    json_pack("{s:s, s:s, s:s}", "address", key, "scope", db_text(result, i, 0),
			"reason", db_text(result, i, 1)));
		if (!cli->json)
			printf("removed %s: %s %s\n", key, db_text(result, i, 0),
			    db_text(result, i, 1));
	}
	if (PQntuples(result) == 0 && !cli->json)
		printf("%s is not suppressed%s%s\n", key, scope != NULL ? " in scope " : "",
		    scope != NULL ? scope : "");
	PQclear(result);
	return EXIT_DONE;
}

static int
run_remove(struct cli *cli, int argc, char **argv)
{
	const char *scope = NULL;
	const struct cli_option options[] = {
		{ .name = "scope", .value_name = "all|stream:NAME|list:NAME", .value = &scope },
		{ 0 }
	};
	json_t *removed;
	struct db db;
	int code;

	argc = cli_options(cli, options, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc == 0)
		return cli_fail(
		    cli, EXIT_USAGE, "name one address or more: kairan suppress remove ADDRESS");
	code = cli_open_db(cli, &db);
	if (code != EXIT_DONE)
		return code;
	removed = json_array();
	if (db_run(&db, "BEGIN", 0, NULL) < 0)
		code = cli_db_failed(cli, &db, "beginning");
	for (int i = 0; i < argc && code == EXIT_DONE; i++)
		code = remove_one(cli, &db, argv[i], scope, removed);
	if (code == EXIT_DONE && db_run(&db, "COMMIT", 0, NULL) < 0)
		code = cli_db_failed(cli, &db, "committing");
	if (code == EXIT_DONE && json_array_size(removed) == 0)
		code = EXIT_NOTHING;
	if (cli->json && (code == EXIT_DONE || code == EXIT_NOTHING))
		cli_print_json(json_incref(removed));
	json_decref(removed);
	db_close(&db);
	return code;
}

static int
run_check(struct cli *cli, int argc, char **argv)
{
	const char *scope = NULL;
	const struct cli_option options[] = {
		{ .name = "scope", .value_name = "all|stream:NAME|list:NAME", .value = &scope },
		{ 0 }
	};
	char key[ADDR_MAX + 1];
	const char *params[2];
	int code;

	argc = cli_options(cli, options, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc != 1)
		return cli_fail(cli, EXIT_USAGE, "name one address: kairan suppress check ADDRESS");
	code = key_of(cli, argv[0], key);
	if (code != EXIT_DONE)
		return code;
	params[0] = key;
	params[1] = scope;
	return cli_print_rows(cli,
	    "SELECT address_key AS address, scope, reason, state, source, created_at, expires_at, "
	    "evidence AS note FROM kairan.suppression_state WHERE address_key = $1 "
	    "AND state NOT IN ('expired', 'probation') "
	    "AND ($2::text IS NULL OR scope IN ('all', $2)) ORDER BY scope, reason",
	    2, params, "reading the suppression list");
}

static int
run_list(struct cli *cli, int argc, char **argv)
{
	const char *reason = NULL, *scope = NULL, *state = NULL, *limit = "100";
	const struct cli_option options[] = {
		{ .name = "reason",
		    .value_name = "manual|bounce|complaint|unsubscribe",
		    .value = &reason },
		{ .name = "scope", .value_name = "all|stream:NAME|list:NAME", .value = &scope },
		{ .name = "state", .value_name = "STATE", .value = &state },
		{ .name = "limit", .value_name = "N", .value = &limit },
		{ 0 },
	};
	const char *params[4];
	int code;

	argc = cli_options(cli, options, argc, argv);
	if (argc < 0 || cli_parse_number(cli, "limit", limit, 1, LIST_LIMIT) < 0)
		return EXIT_USAGE;
	if (argc > 0)
		return cli_fail(cli, EXIT_USAGE,
		    "suppress list takes no argument; for one address: suppress check");
	if (reason != NULL && suppress_reason(slice_str(reason)) == NULL)
		return cli_fail(cli, EXIT_USAGE,
		    "--reason takes manual, bounce, complaint or unsubscribe, not '%s'", reason);
	params[0] = reason;
	params[1] = scope;
	params[2] = limit;
	params[3] = state;
	code = cli_print_rows(cli,
	    "SELECT address_key AS address, scope, reason, state, source, created_at, expires_at, "
	    "evidence AS note FROM kairan.suppression_state "
	    "WHERE ($1::text IS NULL OR reason = $1) AND ($2::text IS NULL OR scope = $2) "
	    "AND ($4::text IS NULL OR state = $4) "
	    "ORDER BY created_at DESC, address_key LIMIT $3::bigint",
	    4, params, "reading the suppression list");
	return code == EXIT_NOTHING ? EXIT_DONE : code;
}

/* ---------------------------------------------------------------- undo */

struct undo {
	const char *provider, *domain, *from, *to, *text;
	bool dry;
	char since[64]; /* the first part of --between */
};

/* --between A,B is --from A --to B. -1 after printing. */
static int
undo_between(struct cli *cli, struct undo *u, const char *between)
{
	const char *comma = strchr(between, ',');
	size_t length = comma != NULL ? (size_t)(comma - between) : 0;

	if (length == 0 || length >= sizeof(u->since) || comma[1] == '\0' ||
	    strchr(comma + 1, ',') != NULL || u->from != NULL || u->to != NULL) {
		(void)cli_fail(cli, EXIT_USAGE,
		    "--between takes two times, in the place of --from and --to: "
		    "--between '2026-11-20 09:00+09,2026-11-20 12:00+09'");
		return -1;
	}
	memcpy(u->since, between, length);
	u->since[length] = '\0';
	u->from = u->since;
	u->to = comma + 1;
	return 0;
}

static int
undo_options(struct cli *cli, struct undo *u, int argc, char **argv)
{
	const char *between = NULL;
	const struct cli_option options[] = {
		{ .name = "provider", .value_name = "NAME", .value = &u->provider },
		{ .name = "domain", .value_name = "DOMAIN", .value = &u->domain },
		{ .name = "from", .value_name = "TIME", .value = &u->from },
		{ .name = "to", .value_name = "TIME", .value = &u->to },
		{ .name = "between", .value_name = "TIME,TIME", .value = &between },
		{ .name = "text", .value_name = "PHRASE", .value = &u->text },
		{ .name = "dry-run", .flag = &u->dry },
		{ 0 },
	};

	argc = cli_options(cli, options, argc, argv);
	if (argc < 0 || (between != NULL && undo_between(cli, u, between) < 0))
		return EXIT_USAGE;
	if (argc > 0 || u->from == NULL ||
	    (u->provider == NULL && u->domain == NULL && u->text == NULL))
		return cli_fail(cli, EXIT_USAGE,
		    "say since when, and whose bounces: kairan suppress undo --provider docomo "
		    "--from '2026-11-20 09:00+09' --to '2026-11-20 12:00+09'");
	if (u->to == NULL)
		u->to = "now";
	return EXIT_DONE;
}

static int
run_undo(struct cli *cli, int argc, char **argv)
{
	struct undo u = { 0 };
	char detail[400];
	const char *params[6];
	PGresult *result;
	struct db db;
	int code = undo_options(cli, &u, argc, argv);

	if (code == EXIT_DONE)
		code = cli_open_db(cli, &db);
	if (code != EXIT_DONE)
		return code;
	params[0] = u.provider;
	params[1] = u.domain;
	params[2] = u.from;
	params[3] = u.to;
	params[4] = u.text;
	params[5] = u.dry ? "t" : "f";
	result =
	    db_query(&db, "SELECT * FROM kairan.suppress_undo($1, $2, $3, $4, $5, $6)", 6, params);
	if (result == NULL) {
		code = cli_db_failed(cli, &db, "undoing");
	} else {
		code = PQntuples(result) > 0 ? EXIT_DONE : EXIT_NOTHING;
		(void)snprintf(detail, sizeof(detail), "%.60s %.100s from %.40s to %.40s %.100s",
		    u.provider != NULL ? u.provider : "", u.domain != NULL ? u.domain : "", u.from,
		    u.to, u.text != NULL ? u.text : "");
		if (!u.dry && code == EXIT_DONE)
			cli_audit(&db, "suppress.undo", "bounce", detail);
		cli_print_result(cli, result);
	}
	PQclear(result);
	db_close(&db);
	return code;
}

const struct cli_command cli_suppress_commands[] = {
	{ "suppress add", "ADDRESS...", "never write to these addresses again",
	    "Each reason is an entry of its own and never made weaker: the later end stays.\n"
	    "\n"
	    "Options:\n"
	    "  --reason R     manual (default), bounce, complaint or unsubscribe\n"
	    "  --scope S      all (default), stream:NAME or list:NAME\n"
	    "  --note TEXT    why; shown by check, list and send why\n"
	    "  --expires T    until when: 36h, 14d, 2w from now, or 2027-01-31; default: for good\n"
	    "\n"
	    "Example:\n"
	    "  kairan suppress add taro@example.jp --note 'asked by telephone'\n",
	    true, run_add },
	{ "suppress remove", "ADDRESS...", "take addresses off the suppression list",
	    "Options:\n"
	    "  --scope S      only this entry; default: every scope\n"
	    "\n"
	    "Exit code 6 when none was suppressed.\n"
	    "\n"
	    "Example:\n"
	    "  kairan suppress remove taro@example.jp\n",
	    true, run_remove },
	{ "suppress check", "ADDRESS", "say whether an address is suppressed now",
	    "Exit code 0: suppressed, with the entries; 6: not.\n"
	    "\n"
	    "Options:\n"
	    "  --scope S      as a campaign of this stream: or list: would see it\n"
	    "\n"
	    "Example:\n"
	    "  kairan suppress check taro@example.jp --json\n",
	    true, run_check },
	{ "suppress list", "", "show the newest entries",
	    "Options:\n"
	    "  --reason R     only manual, bounce, complaint or unsubscribe\n"
	    "  --scope S      only all, stream:NAME or list:NAME\n"
	    "  --state S      only these: 'for good', 'for a time', expired, rests, provisional,\n"
	    "                 'waits for probation', probation\n"
	    "  --limit N      at most N (default 100)\n"
	    "\n"
	    "Example:\n"
	    "  kairan suppress list --reason complaint --limit 20\n",
	    true, run_list },
	{ "suppress import", "FILE|-", "add addresses from a file",
	    "One address per line (# begins a comment), or CSV with the columns address, reason,\n"
	    "scope, note, expires, or the suppression list of Amazon SES as CSV or JSON\n"
	    "(EmailAddress, Reason, LastUpdateTime).\n"
	    "\n"
	    "Example:\n"
	    "  aws sesv2 list-suppressed-destinations | kairan suppress import -\n",
	    true, suppress_import },
	{ "suppress export", "[FILE]", "write the suppression list as CSV",
	    "Cells that a spreadsheet would run get an apostrophe in front, which import takes "
	    "away\n"
	    "again. Without FILE: to standard output.\n"
	    "\n"
	    "Example:\n"
	    "  kairan suppress export suppressed.csv\n",
	    true, suppress_export },
	{ "suppress undo", "", "lift what a provider's false bounces have suppressed",
	    "Lifts suppressions by bounce made in a span of time, by provider, domain or words of "
	    "the\n"
	    "reply, and lets those bounces count no more. Complaints and unsubscribes stay. Prints "
	    "how\n"
	    "many were lifted by domain; exit code 6 when none was.\n"
	    "\n"
	    "Options:\n"
	    "  --provider P   domains of this provider (table provider_domain)\n"
	    "  --domain D     this domain\n"
	    "  --from TIME    suppressed at this time or later\n"
	    "  --to TIME      and before this time (default: now)\n"
	    "  --between A,B  the same as --from A --to B\n"
	    "  --text T       only where the evidence holds this phrase\n"
	    "  --dry-run      only show\n"
	    "\n"
	    "Example:\n"
	    "  kairan suppress undo --provider docomo --from '2026-11-20 09:00+09' --dry-run\n",
	    true, run_undo },
	{ 0 },
};
