/* SPDX-License-Identifier: Apache-2.0 */
/* suppress_batch: see suppress_batch.h. */
#include "suppress_batch.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "addr.h"
#include "csv.h"

#define NOTE_MAX 500
#define SCOPE_MAX 200

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

const char *
suppress_reason(struct slice s)
{
	static const char *const reasons[] = { "manual", "bounce", "complaint", "unsubscribe" };

	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (slice_equal_nocase(s, slice_str(reasons[i])))
			return reasons[i];
	return NULL;
}

bool
suppress_is_scope(struct slice s)
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

bool
suppress_is_time(struct slice s)
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

/* ---------------------------------------------------------------- the batch */

void
suppress_batch_refuse(struct suppress_batch *b, uint64_t line, const char *why)
{
	if (b->rejected++ < SUPPRESS_REJECTS_SHOWN) {
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
const char *
suppress_batch_add(
    struct suppress_batch *b, uint64_t line, const struct suppress_entry *e, struct err *err)
{
	const char *reason = e->reason.len > 0 ? suppress_reason(e->reason) : "manual";
	struct addr a;

	if (addr_parse(&a, e->address, err) < 0)
		return err->msg;
	if (reason == NULL)
		return "reason is not manual, bounce, complaint or unsubscribe";
	if (e->scope.len > 0 && !suppress_is_scope(e->scope))
		return "scope is not all, stream:NAME or list:NAME";
	if (e->note.len > NOTE_MAX || !is_plain_text(e->note))
		return "note is longer than 500 bytes or not UTF-8";
	if ((e->expires.len > 0 && !suppress_is_time(e->expires)) ||
	    (e->created.len > 0 && !suppress_is_time(e->created)))
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

int
suppress_batch_begin(struct suppress_batch *b)
{
	const char *const statements[] = { "BEGIN", "SET LOCAL timezone = 'UTC'", stage_sql,
		"COPY kairan_suppress FROM STDIN" };

	buf_init(&b->out, 4 * CSV_RECORD_MAX);
	for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++)
		if (db_run(b->db, statements[i], 0, NULL) < 0)
			return cli_db_failed(b->cli, b->db, "preparing the list");
	return EXIT_DONE;
}

int
suppress_batch_flush(struct suppress_batch *b, size_t at_least)
{
	if (b->out.len < at_least && !buf_failed(&b->out))
		return EXIT_DONE;
	return cli_copy_put(b->db, &b->out) < 0 ? cli_db_failed(b->cli, b->db, "sending addresses")
						: EXIT_DONE;
}

/* Merges and commits. */
int
suppress_batch_end(struct suppress_batch *b, const char *action, const char *object)
{
	const char *params[] = { b->source };
	PGresult *result;
	char detail[120];
	int code = suppress_batch_flush(b, 0);

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

void
suppress_batch_print(const struct suppress_batch *b)
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
