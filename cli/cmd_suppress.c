/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_suppress: `kairan suppress add|remove|check|list|import|export`. Each reason is an entry of
 * its own, never made weaker by adding: the later end stays. Everything is noted in kairan.audit.
 */
#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "addr.h"
#include "csv.h"

#define READ_BYTES ((size_t)64 * 1024)
#define PUT_BYTES ((size_t)64 * 1024)
#define NOTE_MAX 500
#define SCOPE_MAX 200
#define REJECTS_SHOWN 20
#define LIST_LIMIT 1000000

/* One entry to be. Empty: the default. */
struct entry {
	struct slice address, reason, scope, note, expires, created;
};

static const char stage_sql[] =
    "CREATE TEMP TABLE kairan_suppress (line bigint, key text COLLATE \"C\", scope text, "
    "reason text, note text, expires timestamptz, created timestamptz) ON COMMIT DROP";

/* The last line of an address, scope and reason counts. */
static const char merge_sql[] =
    "WITH i AS (INSERT INTO kairan.suppression AS s (address_key, scope, reason, source, evidence, "
    "created_at, expires_at) "
    "SELECT DISTINCT ON (key, scope, reason) key, scope, reason, $1, note, coalesce(created, "
    "now()), expires "
    "FROM kairan_suppress ORDER BY key, scope, reason, line DESC "
    "ON CONFLICT (address_key, scope, reason) DO UPDATE SET "
    "source = excluded.source, "
    "evidence = coalesce(nullif(excluded.evidence, ''), s.evidence), "
    "created_at = CASE WHEN s.expires_at <= now() THEN excluded.created_at ELSE s.created_at END, "
    "expires_at = CASE WHEN s.expires_at <= now() THEN excluded.expires_at "
    "  WHEN s.expires_at IS NULL OR excluded.expires_at IS NULL THEN NULL "
    "  ELSE greatest(s.expires_at, excluded.expires_at) END, "
    "rest_until = NULL, probation = false "
    "WHERE s.expires_at <= now() OR (s.expires_at IS NOT NULL AND "
    "  (excluded.expires_at IS NULL OR excluded.expires_at > s.expires_at)) "
    "RETURNING address_key, (xmax = 0) AS fresh) "
    "SELECT count(*) FILTER (WHERE fresh), count(*) FILTER (WHERE NOT fresh), "
    "(SELECT count(*) FROM (SELECT DISTINCT key, scope, reason FROM kairan_suppress) d) FROM i";

/* ---------------------------------------------------------------- values */

static const char *
known_reason(struct slice s)
{
	static const char *const reasons[] = { "manual", "bounce", "complaint", "unsubscribe" };

	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (slice_equal_nocase(s, slice_str(reasons[i])))
			return reasons[i];
	return NULL;
}

static bool
is_scope(struct slice s)
{
	size_t prefix = slice_starts_nocase(s, SLICE("stream:")) ? 7
	    : slice_starts_nocase(s, SLICE("list:"))		 ? 5
								 : 0;

	if (slice_equal(s, SLICE("all")))
		return true;
	if (prefix == 0 || s.len <= prefix || s.len > SCOPE_MAX || s.ptr[0] == 'S' ||
	    s.ptr[0] == 'L')
		return false;
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.ptr[i] <= ' ' || s.ptr[i] == 0x7f)
			return false;
	return true;
}

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

static bool
looks_like_time(struct slice s)
{
	if (s.len < 10 || s.len > 40)
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (i < 10 ? (i == 4 || i == 7) != (s.ptr[i] == '-') ||
			    (i != 4 && i != 7 && !isdigit((unsigned char)s.ptr[i]))
			   : s.ptr[i] == '\0' || strchr("0123456789T:.+- Zz", s.ptr[i]) == NULL)
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
	if (!period && !looks_like_time(slice_str(text))) {
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

/* ---------------------------------------------------------------- adding */

struct batch {
	struct cli *cli;
	struct db *db;
	const char *source;
	struct buf out;
	int64_t read, rejected;
	int64_t added, changed, already;
};

static void
refuse(struct batch *b, uint64_t line, const char *why)
{
	if (b->rejected++ < REJECTS_SHOWN) {
		fprintf(stderr, "line %" PRIu64 ": ", line);
		cli_put_text(stderr, why);
		fputc('\n', stderr);
	}
}

static void
append_text(struct buf *b, struct slice s, const char *standard)
{
	if (s.len > 0)
		cli_copy_cell(b, s);
	else
		buf_append_str(b, standard);
}

static bool
is_plain_text(struct slice s)
{
	json_t *text =
	    json_stringn(s.ptr != NULL ? s.ptr : "", s.len); /* refuses what is not UTF-8 */
	bool fine = text != NULL && memchr(s.ptr != NULL ? s.ptr : "", '\0', s.len) == NULL;

	json_decref(text);
	return fine;
}

/* Checks an entry and adds it to what is sent. NULL, or why not. */
static const char *
batch_add(struct batch *b, uint64_t line, const struct entry *e, struct err *err)
{
	const char *reason = e->reason.len > 0 ? known_reason(e->reason) : "manual";
	struct addr a;

	if (addr_parse(&a, e->address, err) < 0)
		return err->msg;
	if (reason == NULL)
		return "reason is not manual, bounce, complaint or unsubscribe";
	if (e->scope.len > 0 && !is_scope(e->scope))
		return "scope is not all, stream:NAME or list:NAME";
	if (e->note.len > NOTE_MAX || !is_plain_text(e->note))
		return "note is longer than 500 bytes or not UTF-8";
	if ((e->expires.len > 0 && !looks_like_time(e->expires)) ||
	    (e->created.len > 0 && !looks_like_time(e->created)))
		return "time is not like 2026-01-31 or 2026-01-31T09:30:00Z";
	buf_append_uint(&b->out, line);
	buf_append_char(&b->out, '\t');
	cli_copy_cell(&b->out, slice_make(a.key, a.len));
	buf_append_char(&b->out, '\t');
	append_text(&b->out, e->scope, "all");
	buf_append_char(&b->out, '\t');
	buf_append_str(&b->out, reason);
	buf_append_char(&b->out, '\t');
	append_text(&b->out, e->note, "");
	buf_append_char(&b->out, '\t');
	append_text(&b->out, e->expires, "\\N");
	buf_append_char(&b->out, '\t');
	append_text(&b->out, e->created, "\\N");
	buf_append_char(&b->out, '\n');
	return NULL;
}

static int
batch_begin(struct batch *b)
{
	const char *const statements[] = { "BEGIN", "SET LOCAL timezone = 'UTC'", stage_sql,
		"COPY kairan_suppress FROM STDIN" };

	buf_init(&b->out, 4 * CSV_RECORD_MAX);
	for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++)
		if (db_run(b->db, statements[i], 0, NULL) < 0)
			return cli_db_failed(b->cli, b->db, "preparing the list");
	return EXIT_DONE;
}

static int
batch_flush(struct batch *b, size_t at_least)
{
	if (b->out.len < at_least && !buf_failed(&b->out))
		return EXIT_DONE;
	return cli_copy_put(b->db, &b->out) < 0 ? cli_db_failed(b->cli, b->db, "sending addresses")
						: EXIT_DONE;
}

/* Merges and commits. */
static int
batch_end(struct batch *b, const char *action, const char *object)
{
	const char *params[] = { b->source };
	PGresult *result;
	char detail[120];
	int code = batch_flush(b, 0);

	buf_release(&b->out);
	if (code != EXIT_DONE)
		return code;
	if (cli_copy_end(b->db, NULL) < 0)
		return cli_db_failed(b->cli, b->db, "sending addresses");
	result = db_query(b->db, merge_sql, 1, params);
	if (result == NULL)
		return cli_db_failed(b->cli, b->db, "adding to the suppression list");
	b->added = db_number(result, 0, 0);
	b->changed = db_number(result, 0, 1);
	b->already = db_number(result, 0, 2) - b->added - b->changed;
	PQclear(result);
	(void)snprintf(detail, sizeof(detail),
	    "%" PRId64 " added, %" PRId64 " changed, %" PRId64 " there already", b->added,
	    b->changed, b->already);
	cli_audit(b->db, action, object, detail);
	if (db_run(b->db, "COMMIT", 0, NULL) < 0)
		return cli_db_failed(b->cli, b->db, "committing");
	return EXIT_DONE;
}

static void
print_batch(const struct batch *b)
{
	char n[4][32];

	if (b->cli->json)
		cli_print_json(json_pack("{s:I, s:I, s:I, s:I, s:I}", "read", (json_int_t)b->read,
		    "added", (json_int_t)b->added, "changed", (json_int_t)b->changed, "already",
		    (json_int_t)b->already, "rejected", (json_int_t)b->rejected));
	else
		printf("%s added, %s changed, %s there already, %s rejected\n",
		    cli_number(b->added, n[0]), cli_number(b->changed, n[1]),
		    cli_number(b->already, n[2]), cli_number(b->rejected, n[3]));
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
add_all(struct batch *b, int argc, char **argv, struct entry *e)
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
	code = batch_begin(b);
	for (int i = 0; i < argc && code == EXIT_DONE; i++) {
		const char *why;

		e->address = slice_trim(slice_str(argv[i]));
		why = batch_add(b, (uint64_t)i + 1, e, &err);
		if (why != NULL)
			code = cli_fail(b->cli, EXIT_USAGE, "%s; nothing was added", why);
		b->read++;
	}
	if (code != EXIT_DONE) {
		buf_release(&b->out);
		return code;
	}
	name_objects(argc, argv, object, sizeof(object));
	code = batch_end(b, "suppress.add", object);
	if (code == EXIT_DONE)
		print_batch(b);
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
	struct entry e;
	struct batch b;
	struct db db;
	int code;

	argc = cli_options(cli, options, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc == 0)
		return cli_fail(
		    cli, EXIT_USAGE, "name one address or more: kairan suppress add ADDRESS");
	if (known_reason(slice_str(reason)) == NULL)
		return cli_fail(cli, EXIT_USAGE,
		    "--reason takes manual, bounce, complaint or unsubscribe, not '%s'", reason);
	if (!is_scope(slice_str(scope)))
		return cli_fail(cli, EXIT_USAGE,
		    "--scope takes all, stream:NAME or list:NAME, not '%s'", scope);
	code = cli_open_db(cli, &db);
	if (code != EXIT_DONE)
		return code;
	b = (struct batch){ .cli = cli, .db = &db, .source = "person" };
	if (db_run(&db, "SET timezone = 'UTC'", 0, NULL) < 0)
		code = cli_db_failed(cli, &db, "beginning");
	else if (resolve_time(cli, &db, expires, until, sizeof(until)) < 0)
		code = EXIT_USAGE;
	e = (struct entry){ .reason = slice_str(reason),
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
	if (reason != NULL && known_reason(slice_str(reason)) == NULL)
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

/* ---------------------------------------------------------------- import */

enum field { F_ADDRESS, F_REASON, F_SCOPE, F_NOTE, F_EXPIRES, F_CREATED, FIELDS };

/* Which field a header names, by our export or by Amazon SES; -1: none. */
static int
field_named(struct slice name)
{
	static const struct {
		const char *name;
		enum field field;
	} names[] = { { "address", F_ADDRESS }, { "email", F_ADDRESS },
		{ "emailaddress", F_ADDRESS }, { "email address", F_ADDRESS },
		{ "reason", F_REASON }, { "scope", F_SCOPE }, { "note", F_NOTE },
		{ "expires", F_EXPIRES }, { "expires_at", F_EXPIRES }, { "created_at", F_CREATED },
		{ "lastupdatetime", F_CREATED }, { "last update time", F_CREATED } };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (slice_equal_nocase(slice_trim(name), slice_str(names[i].name)))
			return (int)names[i].field;
	return -1;
}

struct layout {
	bool known;
	size_t columns;
	size_t field_at[FIELDS]; /* 1 + column; 0: none */
};

/* Looks at the first record. 1 when it was a header, 0 when it is data, -1 after printing. */
static int
find_layout(struct batch *b, const struct csv *csv, struct layout *l)
{
	l->known = true;
	l->columns = csv->count;
	for (size_t i = 0; i < csv->count; i++) {
		int f = field_named(csv->fields[i]);

		if (f >= 0 && l->field_at[f] == 0)
			l->field_at[f] = i + 1;
	}
	if (l->field_at[F_ADDRESS] != 0)
		return 1;
	if (csv->count == 1) {
		l->field_at[F_ADDRESS] = 1;
		return 0;
	}
	(void)cli_fail(b->cli, EXIT_USAGE,
	    "no column is named address in the first line; give one address per line, or a CSV "
	    "file "
	    "with the columns address, reason, scope, note, expires");
	return -1;
}

static struct slice
cell(const struct csv *csv, const struct layout *l, enum field f)
{
	size_t at = l->field_at[f];

	return at == 0 || at > csv->count ? (struct slice){ NULL, 0 }
					  : slice_trim(csv_unguard(csv->fields[at - 1]));
}

static int
take_record(struct batch *b, const struct csv *csv, struct layout *l)
{
	struct err err = { 0 };
	struct entry e;
	const char *why;

	if (!l->known) {
		int header = find_layout(b, csv, l);

		if (header != 0)
			return header < 0 ? EXIT_USAGE : EXIT_DONE;
	}
	e = (struct entry){ cell(csv, l, F_ADDRESS), cell(csv, l, F_REASON), cell(csv, l, F_SCOPE),
		cell(csv, l, F_NOTE), cell(csv, l, F_EXPIRES), cell(csv, l, F_CREATED) };
	if (e.address.len > 0 && e.address.ptr[0] == '#' && csv->count == 1)
		return EXIT_DONE;
	b->read++;
	why = csv->count != l->columns ? "number of columns differs from the first line"
				       : batch_add(b, csv->line, &e, &err);
	if (why != NULL)
		refuse(b, csv->line, why);
	return batch_flush(b, PUT_BYTES);
}

static int
import_csv(struct batch *b, FILE *in)
{
	static const char failed[] = "cannot read the file: %s; nothing was added";
	struct layout layout = { 0 };
	struct csv *csv = malloc(sizeof(*csv));
	char *chunk = malloc(READ_BYTES);
	struct slice left = { NULL, 0 };
	bool at_end = false;
	int code = EXIT_DONE;

	if (csv != NULL)
		csv_init(csv, ',');
	if (csv == NULL || chunk == NULL)
		code = cli_fail(b->cli, EXIT_FAILED, "no memory");
	while (code == EXIT_DONE) {
		enum csv_result result = csv_next(csv, &left, at_end);

		if (result == CSV_END)
			break;
		if (result == CSV_RECORD) {
			code = take_record(b, csv, &layout);
		} else if (result != CSV_MORE) {
			b->read++;
			refuse(b, csv->line, csv_reason(result));
		} else {
			size_t n = fread(chunk, 1, READ_BYTES, in);

			at_end = n == 0;
			left = slice_make(chunk, n);
			if (n == 0 && ferror(in))
				code = cli_fail(b->cli, EXIT_FAILED, failed, strerror(errno));
		}
	}
	if (csv != NULL)
		csv_release(csv);
	free(csv);
	free(chunk);
	return code;
}

static struct slice
json_slice(const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);

	return slice_make(json_string_value(value), json_string_length(value));
}

static int
take_json(struct batch *b, const json_t *object, uint64_t number)
{
	struct entry e = { .address = json_slice(object, "EmailAddress"),
		.reason = json_slice(object, "Reason"),
		.created = json_slice(object, "LastUpdateTime") };
	struct err err = { 0 };
	const char *why;

	if (e.address.len == 0)
		e = (struct entry){ json_slice(object, "address"), json_slice(object, "reason"),
			json_slice(object, "scope"), json_slice(object, "note"),
			json_slice(object, "expires_at"), json_slice(object, "created_at") };
	b->read++;
	why = batch_add(b, number, &e, &err);
	if (why != NULL)
		refuse(b, number, why);
	return batch_flush(b, PUT_BYTES);
}

/* One object after another, arrays of them, or what `aws sesv2 list-suppressed-destinations`
 * prints. */
static int
import_json(struct batch *b, FILE *in)
{
	int code = EXIT_DONE;
	uint64_t number = 0;
	int c;

	while (code == EXIT_DONE) {
		json_error_t error;
		json_t *value, *list, *item;
		size_t i;

		while ((c = getc(in)) != EOF && (isspace(c) || c == ','))
			;
		if (c == EOF)
			break;
		(void)ungetc(c, in);
		value = json_loadf(in, JSON_DISABLE_EOF_CHECK, &error);
		if (value == NULL)
			return cli_fail(b->cli, EXIT_FAILED,
			    "object %" PRIu64 " of the file is no JSON: %s; nothing was added",
			    number + 1, error.text);
		list = json_is_array(value)
		    ? value
		    : json_object_get(value, "SuppressedDestinationSummaries");
		if (list == NULL)
			code = take_json(b, value, ++number);
		json_array_foreach(list, i, item) if (code == EXIT_DONE) code =
		    take_json(b, item, ++number);
		json_decref(value);
	}
	return code;
}

static int
import_file(struct batch *b, FILE *in, const char *path)
{
	int c, code = batch_begin(b);

	if (code == EXIT_DONE) {
		while ((c = getc(in)) == ' ' || c == '\n' || c == '\r' || c == '\t')
			;
		if (c != EOF)
			(void)ungetc(c, in);
		code = c == '{' || c == '[' ? import_json(b, in) : import_csv(b, in);
	}
	if (code != EXIT_DONE) {
		buf_release(&b->out);
		return code;
	}
	code = batch_end(b, "suppress.import", path);
	if (code != EXIT_DONE)
		return code;
	if (b->rejected > REJECTS_SHOWN)
		fprintf(stderr, "… and %" PRId64 " more\n", b->rejected - REJECTS_SHOWN);
	print_batch(b);
	if (b->read == 0)
		return EXIT_NOTHING;
	return b->rejected == b->read ? EXIT_FAILED : EXIT_DONE;
}

static int
run_import(struct cli *cli, int argc, char **argv)
{
	struct batch b;
	struct db db;
	FILE *in;
	int code;

	argc = cli_options(cli, NULL, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc != 1)
		return cli_fail(cli, EXIT_USAGE,
		    "name one file, or - for standard input: kairan suppress import FILE");
	in = strcmp(argv[0], "-") == 0 ? stdin : fopen(argv[0], "re");
	if (in == NULL)
		return cli_fail(cli, EXIT_FAILED, "cannot open %s: %s", argv[0], strerror(errno));
	code = cli_open_db(cli, &db);
	if (code == EXIT_DONE) {
		b = (struct batch){ .cli = cli, .db = &db, .source = "import" };
		code = import_file(&b, in, argv[0]);
		db_close(&db);
	}
	if (in != stdin)
		fclose(in);
	return code;
}

/* ---------------------------------------------------------------- export */

/* A spreadsheet runs what begins with = + - @; an apostrophe in front keeps it text, and
 * csv_unguard() takes it away again. */
static const char export_sql[] =
    "COPY (SELECT regexp_replace(address_key, '^(''*[=+@\\t\\r-])', '''\\1') AS address, reason, "
    "scope, "
    "regexp_replace(source, '^(''*[=+@\\t\\r-])', '''\\1') AS source, "
    "regexp_replace(evidence, '^(''*[=+@\\t\\r-])', '''\\1') AS note, "
    "to_char(created_at, 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS created_at, "
    "to_char(coalesce(rest_until, expires_at), 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS expires_at "
    "FROM kairan.suppression ORDER BY address_key, scope, reason) TO STDOUT (FORMAT csv, HEADER)";

static int
export_rows(struct cli *cli, struct db *db, FILE *out, int64_t *rows)
{
	PGresult *result;
	char *row = NULL;
	int n;

	*rows = -1; /* the header */
	if (db_run(db, "SET timezone = 'UTC'", 0, NULL) < 0 || db_run(db, export_sql, 0, NULL) < 0)
		return cli_db_failed(cli, db, "reading the suppression list");
	while ((n = PQgetCopyData(db->conn, &row, 0)) > 0) {
		(void)fwrite(row, 1, (size_t)n, out);
		PQfreemem(row);
		++*rows;
	}
	while ((result = PQgetResult(db->conn)) != NULL) {
		if (PQresultStatus(result) != PGRES_COMMAND_OK)
			n = -2;
		PQclear(result);
	}
	if (n == -2)
		return cli_fail(cli, EXIT_TEMPORARY, "PostgreSQL stopped in the middle; try again");
	return EXIT_DONE;
}

static int
export_to(struct cli *cli, struct db *db, const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	FILE *out = fd >= 0 ? fdopen(fd, "w") : NULL;
	char number[32];
	int64_t rows;
	int code;

	if (out == NULL)
		return cli_fail(cli, EXIT_FAILED, "cannot write %s: %s", path, strerror(errno));
	code = export_rows(cli, db, out, &rows);
	if (ferror(out) | fclose(out))
		return cli_fail(cli, EXIT_FAILED, "cannot write %s: %s", path, strerror(errno));
	if (code != EXIT_DONE)
		return code;
	cli_audit(db, "suppress.export", path, "");
	if (cli->json)
		cli_print_json(json_pack("{s:I, s:s}", "exported", (json_int_t)rows, "file", path));
	else
		printf("%s entries written to %s\n", cli_number(rows, number), path);
	return EXIT_DONE;
}

static int
run_export(struct cli *cli, int argc, char **argv)
{
	struct db db;
	int64_t rows;
	int code;

	argc = cli_options(cli, NULL, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc > 1)
		return cli_fail(
		    cli, EXIT_USAGE, "name at most one file: kairan suppress export FILE.csv");
	if (cli->json && argc == 0)
		return cli_print_rows(cli,
		    "SELECT address_key AS address, reason, scope, source, evidence AS note, "
		    "created_at, "
		    "coalesce(rest_until, expires_at) AS expires_at FROM kairan.suppression ORDER "
		    "BY "
		    "address_key, scope, reason",
		    0, NULL, "reading the suppression list");
	code = cli_open_db(cli, &db);
	if (code != EXIT_DONE)
		return code;
	if (argc == 1 && strcmp(argv[0], "-") != 0) {
		code = export_to(cli, &db, argv[0]);
	} else {
		code = export_rows(cli, &db, stdout, &rows);
		if (code == EXIT_DONE)
			cli_audit(&db, "suppress.export", "standard output", "");
	}
	db_close(&db);
	return code;
}

/* ---------------------------------------------------------------- undo */

static int
run_undo(struct cli *cli, int argc, char **argv)
{
	const char *provider = NULL, *domain = NULL, *from = NULL, *to = "now", *text = NULL;
	bool dry = false;
	const struct cli_option options[] = {
		{ .name = "provider", .value_name = "NAME", .value = &provider },
		{ .name = "domain", .value_name = "DOMAIN", .value = &domain },
		{ .name = "from", .value_name = "TIME", .value = &from },
		{ .name = "to", .value_name = "TIME", .value = &to },
		{ .name = "text", .value_name = "PHRASE", .value = &text },
		{ .name = "dry-run", .flag = &dry },
		{ 0 },
	};
	char detail[400];
	const char *params[6];
	PGresult *result;
	struct db db;
	int code;

	argc = cli_options(cli, options, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc > 0 || from == NULL || (provider == NULL && domain == NULL && text == NULL))
		return cli_fail(cli, EXIT_USAGE,
		    "say since when, and whose bounces: kairan suppress undo --provider docomo "
		    "--from '2026-11-20 09:00+09' --to '2026-11-20 12:00+09'");
	code = cli_open_db(cli, &db);
	if (code != EXIT_DONE)
		return code;
	params[0] = provider;
	params[1] = domain;
	params[2] = from;
	params[3] = to;
	params[4] = text;
	params[5] = dry ? "t" : "f";
	result =
	    db_query(&db, "SELECT * FROM kairan.suppress_undo($1, $2, $3, $4, $5, $6)", 6, params);
	if (result == NULL) {
		code = cli_db_failed(cli, &db, "undoing");
	} else {
		code = PQntuples(result) > 0 ? EXIT_DONE : EXIT_NOTHING;
		(void)snprintf(detail, sizeof(detail), "%.60s %.100s from %.40s to %.40s %.100s",
		    provider != NULL ? provider : "", domain != NULL ? domain : "", from, to,
		    text != NULL ? text : "");
		if (!dry && code == EXIT_DONE)
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
	    true, run_import },
	{ "suppress export", "[FILE]", "write the suppression list as CSV",
	    "Cells that a spreadsheet would run get an apostrophe in front, which import takes "
	    "away\n"
	    "again. Without FILE: to standard output.\n"
	    "\n"
	    "Example:\n"
	    "  kairan suppress export suppressed.csv\n",
	    true, run_export },
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
	    "  --text T       only where the evidence holds this phrase\n"
	    "  --dry-run      only show\n"
	    "\n"
	    "Example:\n"
	    "  kairan suppress undo --provider docomo --from '2026-11-20 09:00+09' --dry-run\n",
	    true, run_undo },
	{ 0 },
};
