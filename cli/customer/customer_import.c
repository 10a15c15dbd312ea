/* SPDX-License-Identifier: Apache-2.0 */
/* customer_import: see customer_import.h. */
#include "customer_import.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "addr.h"
#include "csv.h"
#include "utf8.h"

#define READ_BYTES ((size_t)256 * 1024)
#define PUT_BYTES ((size_t)64 * 1024)
#define LINE_BYTES_MAX ((size_t)16 * 1024 * 1024) /* a record of 1 MB, escaped twice */
#define MAPS_MAX CSV_FIELDS_MAX
#define REASONS_MAX 64
#define REJECTS_SHOWN 20
#define COLUMN_NAME_MAX 200

enum column {
	COLUMN_ATTRIBUTE,
	COLUMN_EMAIL,
	COLUMN_ID,
	COLUMN_NAME,
	COLUMN_LOCALE,
	COLUMN_TIME_ZONE,
	COLUMN_STATUS,
	COLUMN_CONSENT_AT,
	COLUMN_IGNORED,
	COLUMN_COUNT
};

static const char *const column_names[COLUMN_COUNT] = { "", "email", "id", "name", "locale",
	"time_zone", "status", "consent_at", "-" };

struct reason {
	char text[120];
	int64_t count;
};

struct import {
	struct cli *cli;
	struct db *db;
	bool new_only, strict;
	bool refused;		    /* --strict, and a line was rejected */
	const char *maps[MAPS_MAX]; /* "csvname=column", borrowed from argv */
	size_t map_count;

	struct csv csv;
	size_t columns;
	enum column target[CSV_FIELDS_MAX];
	size_t field_of[COLUMN_COUNT];	   /* 1 + field; 0: not in the file */
	size_t key_at[CSV_FIELDS_MAX + 1]; /* into keys: escaped attribute names */
	struct buf keys;

	struct buf out;	  /* COPY lines not sent yet */
	struct buf cells; /* the cleaned cells of one line */
	bool line_cleaned;

	int64_t read, imported, updated, unchanged, rejected, cleaned;
	struct reason reasons[REASONS_MAX];
	size_t reason_count;
	FILE *rejects;
};

/* ---------------------------------------------------------------- rejected lines */

static void
count_reason(struct import *im, const char *reason)
{
	size_t i = 0;

	while (i < im->reason_count && strcmp(im->reasons[i].text, reason) != 0)
		i++;
	if (i == im->reason_count && i == REASONS_MAX)
		i = REASONS_MAX - 1;
	else if (i == im->reason_count)
		(void)snprintf(im->reasons[im->reason_count++].text, sizeof(im->reasons[0].text),
		    "%s", reason);
	im->reasons[i].count++;
}

/* detail: what only concerns this line, or "". */
static void
reject(struct import *im, uint64_t line, const char *reason, const char *detail)
{
	char text[200];

	(void)snprintf(text, sizeof(text), "%.110s%s", reason, detail);
	count_reason(im, reason);
	if (im->rejected++ < REJECTS_SHOWN) {
		if (im->cli->live)
			fputs("\r\033[K", stderr);
		fprintf(stderr, "line %" PRIu64 ": ", line);
		cli_put_text(stderr, text);
		fputc('\n', stderr);
	}
	if (im->rejects != NULL) {
		struct buf b;

		buf_init(&b, 1024);
		csv_append(&b, slice_str(text), ',', true);
		fprintf(im->rejects, "%" PRIu64 ",%s\n", line, buf_str(&b));
		buf_release(&b);
	}
}

/* ---------------------------------------------------------------- cells */

static bool
is_utf8(struct slice s)
{
	size_t n;

	for (size_t i = 0; i < s.len; i += n)
		if ((n = utf8_char(s.ptr + i, s.len - i)) == 0)
			return false;
	return true;
}

/* Length of the control character at the front (C0, DEL, C1 in UTF-8); 0: none. */
static size_t
control_length(const char *p, const char *end)
{
	unsigned char c = (unsigned char)p[0];

	if (c < 0x20 || c == 0x7f)
		return 1;
	return c == 0xc2 && p + 1 < end && (unsigned char)p[1] <= 0x9f ? 2 : 0;
}

/* Runs of control characters become one blank, at the ends nothing; keep_lines: LF and TAB
 * stay, CRLF becomes LF. */
static struct slice
replace_controls(struct import *im, struct slice s, bool keep_lines)
{
	size_t at = im->cells.len;
	const char *p = s.ptr, *end = s.ptr + s.len;
	bool blank = false;

	while (p < end) {
		size_t n = control_length(p, end);

		if (n > 0 && !(keep_lines && (*p == '\n' || *p == '\t'))) {
			if (!(keep_lines && *p == '\r' && p + 1 < end && p[1] == '\n')) {
				blank = true;
				im->line_cleaned = true;
			}
			p += n;
			continue;
		}
		if (blank)
			buf_append_char(&im->cells, ' ');
		blank = false;
		buf_append_char(&im->cells, *p++);
	}
	/* cells has its room from the start: the slice stays valid while the line is made */
	return slice_make(im->cells.data + at, im->cells.len - at);
}

/* The cell as it is stored. NULL, or why the line is refused. */
static const char *
clean(struct import *im, struct slice *s, bool keep_lines)
{
	bool high = false, control = false;

	for (size_t i = 0; i < s->len; i++) {
		unsigned char c = (unsigned char)s->ptr[i];

		high |= c >= 0x80;
		control |= c < 0x20 || c == 0x7f || c == 0xc2;
		if (c == '\0')
			return "NUL byte";
	}
	if (high && !is_utf8(*s))
		return "not UTF-8 (convert the file, e.g. with iconv -f CP932 -t UTF-8)";
	*s = slice_trim(*s);
	if (control)
		*s = slice_trim(replace_controls(im, *s, keep_lines));
	return NULL;
}

static bool
is_date(int year, int month, int day)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return year >= 1900 && month >= 1 && month <= 12 && day >= 1 &&
	    day <= days[month - 1] + (month == 2 && leap);
}

/* YYYY-MM-DD or YYYY/MM/DD, with [T ]HH:MM[:SS[.f]] and [Z|+HH[[:]MM]] behind it if wanted. PostgreSQL
 * must take all of them: one that it refused would end the whole import. */
static bool
is_time(struct slice s)
{
	int year, month, day, hour, minute, second = 0, zone_hour, zone_minute = 0;
	const char *between = s.len > 4 && s.ptr[4] == '/' ? "/" : "-";

	if (!slice_take_digits(&s, 4, &year) || !slice_take_char(&s, between) ||
	    !slice_take_digits(&s, 2, &month) || !slice_take_char(&s, between) ||
	    !slice_take_digits(&s, 2, &day) || !is_date(year, month, day))
		return false;
	if (s.len == 0)
		return true;
	if (!slice_take_char(&s, "T t") || !slice_take_digits(&s, 2, &hour) ||
	    !slice_take_char(&s, ":") || !slice_take_digits(&s, 2, &minute) || hour > 23 ||
	    minute > 59)
		return false;
	if (slice_take_char(&s, ":")) {
		if (!slice_take_digits(&s, 2, &second) || second > 59)
			return false;
		if (slice_take_char(&s, "."))
			for (int digit, n = 0; slice_take_digits(&s, 1, &digit); n++)
				if (n == 9)
					return false;
	}
	(void)slice_take_char(&s, " ");
	if (s.len == 0 || (slice_take_char(&s, "Zz") && s.len == 0))
		return true;
	if (!slice_take_char(&s, "+-") || !slice_take_digits(&s, 2, &zone_hour) || zone_hour > 14)
		return false;
	if (s.len > 0 && (slice_take_char(&s, ":"), !slice_take_digits(&s, 2, &zone_minute)))
		return false;
	return s.len == 0 && zone_minute < 60;
}

static bool
is_made_of(struct slice s, const char *extra, size_t max)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			(c != '\0' && strchr(extra, c) != NULL)))
			return false;
	}
	return s.len <= max;
}

static bool
is_id(struct slice s)
{
	int64_t value = 0;

	if (s.len == 0 || s.len > 18)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] < '0' || s.ptr[i] > '9')
			return false;
		value = value * 10 + (s.ptr[i] - '0');
	}
	return value > 0;
}

static const char *
check_cell(enum column column, struct slice s)
{
	if (s.len == 0)
		return NULL;
	if (column == COLUMN_ID && !is_id(s))
		return "id is not a positive number";
	if (column == COLUMN_LOCALE && !is_made_of(s, "-_", 35))
		return "locale is no language tag like ja or en-GB";
	if (column == COLUMN_TIME_ZONE && !is_made_of(s, "/_+-", 64))
		return "time_zone is no name like Asia/Tokyo";
	if (column == COLUMN_CONSENT_AT && !is_time(s))
		return "consent_at is no possible time like 2026-01-31T09:30:00+09:00";
	return NULL;
}

/* ---------------------------------------------------------------- one line */

/* A JSON string inside a COPY cell: what JSON escapes by a backslash has two here. */
static void
append_json(struct buf *b, struct slice s)
{
	size_t from = 0;

	buf_append_char(b, '"');
	for (size_t i = 0; i < s.len; i++) {
		const char *escaped;

		switch (s.ptr[i]) {
		case '"':
			escaped = "\\\\\"";
			break;
		case '\\':
			escaped = "\\\\\\\\";
			break;
		case '\n':
			escaped = "\\\\n";
			break;
		case '\t':
			escaped = "\\\\t";
			break;
		default:
			continue;
		}
		buf_append(b, s.ptr + from, i - from);
		buf_append_str(b, escaped);
		from = i + 1;
	}
	buf_append(b, s.ptr + from, s.len - from);
	buf_append_char(b, '"');
}

static void
append_attributes(struct import *im)
{
	bool first = true;

	buf_append_char(&im->out, '{');
	for (size_t i = 0; i < im->columns; i++) {
		if (im->target[i] != COLUMN_ATTRIBUTE || im->csv.fields[i].len == 0)
			continue;
		if (!first)
			buf_append_char(&im->out, ',');
		first = false;
		buf_append(
		    &im->out, im->keys.data + im->key_at[i], im->key_at[i + 1] - im->key_at[i]);
		buf_append_char(&im->out, ':');
		append_json(&im->out, im->csv.fields[i]);
	}
	buf_append_str(&im->out, "}\n");
}

static void
append_cell(struct import *im, enum column column)
{
	size_t at = im->field_of[column];

	if (at == 0 || im->csv.fields[at - 1].len == 0)
		buf_append_str(&im->out, "\\N");
	else
		cli_copy_cell(&im->out, im->csv.fields[at - 1]);
	buf_append_char(&im->out, '\t');
}

static void
append_line(struct import *im, const struct addr *a)
{
	struct slice email = im->csv.fields[im->field_of[COLUMN_EMAIL] - 1];
	const char *at = memchr(email.ptr, '@', email.len);
	struct slice domain = slice_make(at + 1, email.len - (size_t)(at + 1 - email.ptr));

	buf_append_uint(&im->out, im->csv.line);
	buf_append_char(&im->out, '\t');
	cli_copy_cell(&im->out, slice_make(a->key, a->len));
	buf_append_char(&im->out, '\t');
	cli_copy_cell(&im->out, slice_make(a->text, a->len));
	buf_append_char(&im->out, '\t');
	if (slice_is_ascii(domain))
		buf_append_str(&im->out, "\\N");
	else
		cli_copy_cell(&im->out, domain);
	buf_append_char(&im->out, '\t');
	for (enum column c = COLUMN_ID; c <= COLUMN_CONSENT_AT; c++)
		append_cell(im, c);
	append_attributes(im);
}

/* Checks the present record and adds it to what is sent. */
static void
take_record(struct import *im)
{
	struct csv *csv = &im->csv;
	struct err err = { 0 };
	struct addr a;

	im->line_cleaned = false;
	buf_reset(&im->cells);
	if (csv->count != im->columns) {
		char detail[60];

		(void)snprintf(
		    detail, sizeof(detail), " (%zu instead of %zu)", csv->count, im->columns);
		reject(im, csv->line, "number of columns differs from the header", detail);
		return;
	}
	for (size_t i = 0; i < csv->count; i++) {
		const char *why;

		if (im->target[i] == COLUMN_IGNORED)
			continue;
		why = clean(im, &csv->fields[i], im->target[i] == COLUMN_ATTRIBUTE);
		if (why == NULL)
			why = check_cell(im->target[i], csv->fields[i]);
		if (why != NULL) {
			reject(im, csv->line, why, "");
			return;
		}
	}
	if (addr_parse(&a, csv->fields[im->field_of[COLUMN_EMAIL] - 1], &err) < 0) {
		reject(im, csv->line, err.msg, "");
		return;
	}
	im->cleaned += im->line_cleaned;
	append_line(im, &a);
}

/* ---------------------------------------------------------------- header */

static const char *
mapped_name(const struct import *im, struct slice name, size_t *len)
{
	for (size_t i = 0; i < im->map_count; i++) {
		const char *equals = strchr(im->maps[i], '=');

		if (slice_equal(name, slice_make(im->maps[i], (size_t)(equals - im->maps[i])))) {
			*len = strlen(equals + 1);
			return equals + 1;
		}
	}
	*len = name.len;
	return name.ptr;
}

static int
take_column(struct import *im, size_t i)
{
	struct slice name = slice_trim(im->csv.fields[i]);
	size_t len;
	const char *wanted = mapped_name(im, name, &len);

	if (!is_utf8(name) || len == 0 || len > COLUMN_NAME_MAX)
		return cli_fail(im->cli, EXIT_USAGE,
		    "column %zu has no usable name in the header line (1 to %d bytes of UTF-8); "
		    "the "
		    "first line must name the columns",
		    i + 1, COLUMN_NAME_MAX);
	for (size_t k = 0; k < len; k++)
		if ((unsigned char)wanted[k] < 0x20 || wanted[k] == 0x7f)
			return cli_fail(im->cli, EXIT_USAGE,
			    "the name of column %zu holds a control character; mend the header "
			    "line",
			    i + 1);
	im->target[i] = COLUMN_ATTRIBUTE;
	for (enum column c = COLUMN_EMAIL; c < COLUMN_COUNT; c++)
		if (slice_equal_nocase(slice_make(wanted, len), slice_str(column_names[c])))
			im->target[i] = c;
	im->key_at[i] = im->keys.len;
	if (im->target[i] == COLUMN_ATTRIBUTE) {
		append_json(&im->keys, slice_make(wanted, len));
	} else if (im->target[i] != COLUMN_IGNORED) {
		if (im->field_of[im->target[i]] != 0)
			return cli_fail(im->cli, EXIT_USAGE,
			    "two columns are %s; name one otherwise, or drop it with --map NAME=-",
			    column_names[im->target[i]]);
		im->field_of[im->target[i]] = i + 1;
	}
	im->key_at[i + 1] = im->keys.len;
	for (size_t k = 0; k < i && im->target[i] == COLUMN_ATTRIBUTE; k++)
		if (im->target[k] == COLUMN_ATTRIBUTE &&
		    slice_equal(slice_make(im->keys.data + im->key_at[k],
				    im->key_at[k + 1] - im->key_at[k]),
			slice_make(
			    im->keys.data + im->key_at[i], im->key_at[i + 1] - im->key_at[i])))
			return cli_fail(im->cli, EXIT_USAGE,
			    "two columns are named %.*s; drop one with --map, or rename it",
			    (int)len, wanted);
	return EXIT_DONE;
}

static int
take_header(struct import *im)
{
	struct slice first = im->csv.fields[0];

	im->columns = im->csv.count;
	if (im->columns == 1 && memchr(first.ptr, '\t', first.len) != NULL)
		return cli_fail(im->cli, EXIT_USAGE,
		    "the columns seem to be separated by tabs; add --separator tab");
	for (size_t i = 0; i < im->columns; i++) {
		int code = take_column(im, i);

		if (code != EXIT_DONE)
			return code;
	}
	if (im->field_of[COLUMN_EMAIL] != 0)
		return EXIT_DONE;
	if (im->columns == 1 && memchr(first.ptr, ';', first.len) != NULL)
		return cli_fail(im->cli, EXIT_USAGE,
		    "the columns seem to be separated by ';'; add --separator ';'");
	return cli_fail(im->cli, EXIT_USAGE,
	    "no column is named email in the header line; if it has another name: "
	    "--map NAME=email");
}

/* ---------------------------------------------------------------- reading */

struct reader {
	int fd;
	char *chunk; /* READ_BYTES, owned */
	struct slice left;
	int64_t taken, total;
	bool at_end;
};

/* The next record or refusal. CSV_MORE: reading failed (errno). */
static enum csv_result
next_record(struct import *im, struct reader *r)
{
	for (;;) {
		enum csv_result result = csv_next(&im->csv, &r->left, r->at_end);
		ssize_t n;

		if (result != CSV_MORE)
			return result;
		do
			n = read(r->fd, r->chunk, READ_BYTES);
		while (n < 0 && errno == EINTR);
		if (n < 0)
			return CSV_MORE;
		r->at_end = n == 0;
		r->taken += n;
		r->left = slice_make(r->chunk, (size_t)n);
	}
}

static int
read_header(struct import *im, struct reader *r)
{
	enum csv_result result = next_record(im, r);

	if (result == CSV_RECORD)
		return take_header(im);
	if (result == CSV_MORE)
		return cli_fail(im->cli, EXIT_FAILED, "cannot read the file: %s", strerror(errno));
	if (result == CSV_END)
		return cli_fail(im->cli, EXIT_USAGE,
		    "the file is empty; its first line must name the columns, one of them email");
	return cli_fail(im->cli, EXIT_USAGE, "header line: %s", csv_reason(result));
}

static int
copy_records(struct import *im, struct reader *r)
{
	struct cli_progress progress;
	enum csv_result result;
	char note[64], number[32];

	cli_progress_start(&progress, im->cli, "import", r->total);
	while ((result = next_record(im, r)) != CSV_END && result != CSV_MORE) {
		im->read++;
		if (result == CSV_RECORD) {
			take_record(im);
		} else {
			char detail[60] = "";

			if (im->csv.last_line > im->csv.line)
				(void)snprintf(detail, sizeof(detail),
				    " (through line %" PRIu64 ")", im->csv.last_line);
			reject(im, im->csv.line, csv_reason(result), detail);
		}
		if (im->out.len >= PUT_BYTES || buf_failed(&im->out)) {
			if (cli_copy_put(im->db, &im->out) < 0)
				return cli_db_failed(im->cli, im->db, "sending lines");
			(void)snprintf(
			    note, sizeof(note), "%s lines", cli_number(im->read, number));
			cli_progress_set(&progress, r->taken, note);
		}
	}
	cli_progress_end(&progress, NULL);
	if (result == CSV_MORE)
		return cli_fail(im->cli, EXIT_FAILED,
		    "cannot read the file: %s; nothing was imported", strerror(errno));
	if (cli_copy_put(im->db, &im->out) < 0)
		return cli_db_failed(im->cli, im->db, "sending lines");
	return EXIT_DONE;
}

/* ---------------------------------------------------------------- merging */

static int
run_sql(struct import *im, const char *sql, const char *while_doing)
{
	return db_run(im->db, sql, 0, NULL) < 0 ? cli_db_failed(im->cli, im->db, while_doing)
						: EXIT_DONE;
}

/* sql deletes lines and returns (line, other number); each becomes a rejected line. */
static int
reject_by_sql(struct import *im, const char *sql, const char *reason, const char *noun)
{
	PGresult *result = db_query(im->db, sql, 0, NULL);
	char *row = NULL;
	int n;

	if (result == NULL)
		return cli_db_failed(im->cli, im->db, "looking for duplicates");
	PQclear(result);
	while ((n = PQgetCopyData(im->db->conn, &row, 0)) > 0) {
		char detail[60], *rest;
		uint64_t line = strtoull(row, &rest, 10);

		(void)snprintf(detail, sizeof(detail), " (%s %lld)", noun, strtoll(rest, NULL, 10));
		reject(im, line, reason, detail);
		PQfreemem(row);
	}
	while ((result = PQgetResult(im->db->conn)) != NULL) {
		if (PQresultStatus(result) != PGRES_COMMAND_OK)
			n = -2;
		PQclear(result);
	}
	if (n == -2) {
		(void)snprintf(
		    im->db->error, sizeof(im->db->error), "the server stopped the query");
		return cli_db_failed(im->cli, im->db, "looking for duplicates");
	}
	return EXIT_DONE;
}

static int
reject_duplicates(struct import *im)
{
	int code = reject_by_sql(im,
	    "COPY (DELETE FROM kairan_import s USING (SELECT key, min(line) AS first "
	    "FROM kairan_import GROUP BY key HAVING count(*) > 1) d "
	    "WHERE s.key = d.key AND s.line > d.first RETURNING s.line, d.first) TO STDOUT",
	    "same address as an earlier line", "line");

	if (code != EXIT_DONE || im->field_of[COLUMN_ID] == 0)
		return code;
	code = reject_by_sql(im,
	    "COPY (DELETE FROM kairan_import s USING (SELECT id, min(line) AS first "
	    "FROM kairan_import WHERE id IS NOT NULL GROUP BY id HAVING count(*) > 1) d "
	    "WHERE s.id = d.id AND s.line > d.first RETURNING s.line, d.first) TO STDOUT",
	    "same id as an earlier line", "line");
	if (code != EXIT_DONE)
		return code;
	return reject_by_sql(im,
	    "COPY (DELETE FROM kairan_import s USING kairan.customer c "
	    "WHERE c.id = s.id AND lower(c.email COLLATE \"C\") <> s.key "
	    "RETURNING s.line, s.id) TO STDOUT",
	    "the id belongs to a customer with another address", "id");
}

/* Known addresses: what the file says anew. An empty cell changes nothing. */
static void
build_update(const struct import *im, struct buf *sql)
{
	buf_append_str(sql,
	    "UPDATE kairan.customer c SET updated_at = now(), "
	    "attributes = c.attributes || s.attributes");
	for (enum column k = COLUMN_NAME; k <= COLUMN_CONSENT_AT; k++)
		if (im->field_of[k] != 0)
			buf_printf(sql, ", %s = coalesce(s.%s, c.%s)", column_names[k],
			    column_names[k], column_names[k]);
	buf_append_str(sql,
	    " FROM kairan_import s WHERE lower(c.email COLLATE \"C\") = s.key "
	    "AND (NOT c.attributes @> s.attributes");
	for (enum column k = COLUMN_NAME; k <= COLUMN_CONSENT_AT; k++)
		if (im->field_of[k] != 0)
			buf_printf(sql, " OR s.%s <> c.%s OR (c.%s IS NULL AND s.%s IS NOT NULL)",
			    column_names[k], column_names[k], column_names[k], column_names[k]);
	buf_append_char(sql, ')');
}

/* New addresses, in the order of the index, which is twice as fast as the order of the file.
 * No ON CONFLICT, which would be as slow again: imports take turns, so that only another
 * program can get in between. */
static void
build_insert(struct buf *sql, bool with_id)
{
	buf_printf(sql,
	    "INSERT INTO kairan.customer (%semail, name, locale, time_zone, status, consent_at, "
	    "attributes) SELECT %ss.email, s.name, s.locale, s.time_zone, "
	    "coalesce(s.status, 'active'), s.consent_at, s.attributes FROM kairan_import s "
	    "WHERE s.id IS %sNULL AND NOT EXISTS (SELECT FROM kairan.customer c "
	    "WHERE lower(c.email COLLATE \"C\") = s.key) ORDER BY s.key",
	    with_id ? "id, " : "", with_id ? "s.id, " : "", with_id ? "NOT " : "");
}

static int
run_merge(struct import *im, struct buf *sql, int64_t *count)
{
	PGresult *result = buf_failed(sql) ? NULL : db_query(im->db, buf_str(sql), 0, NULL);

	buf_release(sql);
	if (result == NULL && strcmp(im->db->sqlstate, "23505") == 0 &&
	    strstr(im->db->error, "customer_pkey") != NULL)
		return cli_fail(im->cli, EXIT_FAILED,
		    "the counter of customer ids is behind; run as the owner: SELECT "
		    "setval('kairan.customer_id_seq', (SELECT max(id) FROM kairan.customer))");
	if (result == NULL && strcmp(im->db->sqlstate, "23505") == 0)
		return cli_fail(im->cli, EXIT_TEMPORARY,
		    "another program added the same customers meanwhile; nothing was imported, try "
		    "again");
	if (result == NULL)
		return cli_db_failed(im->cli, im->db, "merging into kairan.customer");
	*count += strtoll(PQcmdTuples(result), NULL, 10);
	PQclear(result);
	return EXIT_DONE;
}

static int
insert_new(struct import *im, bool with_id)
{
	struct buf sql;

	buf_init(&sql, 16 * 1024);
	build_insert(&sql, with_id);
	return run_merge(im, &sql, &im->imported);
}

static int
update_known(struct import *im)
{
	struct buf sql;

	buf_init(&sql, 16 * 1024);
	build_update(im, &sql);
	return run_merge(im, &sql, &im->updated);
}

/* Later customers without an id must not meet ids that came from the file. */
static void
advance_counter(struct import *im)
{
	(void)!db_run(im->db, "SAVEPOINT counter", 0, NULL);
	if (db_run(im->db,
		"SELECT setval(pg_get_serial_sequence('kairan.customer', 'id'), greatest("
		"(SELECT max(id) FROM kairan.customer), "
		"nextval(pg_get_serial_sequence('kairan.customer', 'id'))))",
		0, NULL) == 0)
		return;
	(void)!db_run(im->db, "ROLLBACK TO counter", 0, NULL);
	fputs("kairan: warning: the counter of customer ids could not be set; run as the owner: "
	      "SELECT setval('kairan.customer_id_seq', (SELECT max(id) FROM kairan.customer))\n",
	    stderr);
}

static int
merge_all(struct import *im)
{
	PGresult *result;
	int64_t staged;
	int code = run_sql(im,
	    "INSERT INTO kairan.idn (u_label, a_label) SELECT DISTINCT ON (1) lower(u_domain), "
	    "split_part(email, '@', 2) FROM kairan_import WHERE u_domain IS NOT NULL "
	    "ON CONFLICT DO NOTHING",
	    "noting internationalised domains");

	if (code != EXIT_DONE)
		return code;
	result = db_query(im->db, "SELECT count(*) FROM kairan_import", 0, NULL);
	if (result == NULL)
		return cli_db_failed(im->cli, im->db, "counting lines");
	staged = db_int(result, 0);
	PQclear(result);
	if (!im->new_only)
		code = update_known(im);
	if (code == EXIT_DONE && im->field_of[COLUMN_ID] != 0) {
		code = insert_new(im, true);
		if (code == EXIT_DONE)
			advance_counter(im);
	}
	if (code == EXIT_DONE)
		code = insert_new(im, false);
	im->unchanged = staged - im->imported - im->updated;
	return code;
}

/* ---------------------------------------------------------------- import */

static int
begin_import(struct import *im)
{
	static const char *const statements[] = { "BEGIN", "SET LOCAL timezone = 'UTC'",
		"SET LOCAL datestyle = 'ISO, YMD'", "SET LOCAL work_mem = '64MB'",
		/* two imports of the same addresses would wait for each other in a circle */
		"SELECT pg_advisory_xact_lock(7308047352118423394)",
		"CREATE TEMP TABLE kairan_import (line bigint, key text COLLATE \"C\", email text, "
		"u_domain text, id bigint, name text, locale text, time_zone text, status text, "
		"consent_at timestamptz, attributes jsonb) ON COMMIT DROP",
		"COPY kairan_import FROM STDIN" };
	PGresult *result = db_query(im->db,
	    "SELECT relkind FROM pg_class WHERE oid = 'kairan.customer'::regclass", 0, NULL);
	bool is_table;

	if (result == NULL)
		return cli_db_failed(im->cli, im->db, "looking at kairan.customer");
	is_table = strcmp(db_text(result, 0, 0), "r") == 0;
	PQclear(result);
	if (!is_table)
		return cli_fail(im->cli, EXIT_FAILED,
		    "kairan.customer is a view on a table of your own; import into that table");
	for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
		int code = run_sql(im, statements[i], "preparing the import");

		if (code != EXIT_DONE)
			return code;
	}
	return EXIT_DONE;
}

static int
finish_import(struct import *im)
{
	int code;

	if (cli_copy_end(im->db, NULL) < 0)
		return cli_db_failed(im->cli, im->db, "sending lines");
	code = run_sql(im, "ANALYZE kairan_import", "preparing the merge");
	if (code == EXIT_DONE)
		code = reject_duplicates(im);
	if (code != EXIT_DONE)
		return code;
	im->refused = im->strict && im->rejected > 0;
	if (im->refused)
		return EXIT_FAILED; /* report() says so */
	code = merge_all(im);
	return code != EXIT_DONE ? code : run_sql(im, "COMMIT", "committing the import");
}

static void
print_summary(struct import *im, bool done)
{
	char n[6][32];

	if (im->cli->json) {
		json_t *reasons = json_object();

		for (size_t i = 0; i < im->reason_count; i++)
			(void)json_object_set_new(
			    reasons, im->reasons[i].text, json_integer(im->reasons[i].count));
		cli_print_json(json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:o}", "read",
		    (json_int_t)im->read, "imported", (json_int_t)im->imported, "updated",
		    (json_int_t)im->updated, "unchanged", (json_int_t)im->unchanged, "rejected",
		    (json_int_t)im->rejected, "cleaned", (json_int_t)im->cleaned, "committed", done,
		    "rejects", reasons));
		return;
	}
	printf("%s lines read: %s imported, %s updated, %s unchanged, %s rejected, %s cleaned\n",
	    cli_number(im->read, n[0]), cli_number(im->imported, n[1]),
	    cli_number(im->updated, n[2]), cli_number(im->unchanged, n[3]),
	    cli_number(im->rejected, n[4]), cli_number(im->cleaned, n[5]));
	for (size_t i = 0; i < im->reason_count; i++) {
		printf("  %s  ", cli_number(im->reasons[i].count, n[0]));
		cli_put_text(stdout, im->reasons[i].text);
		putchar('\n');
	}
}

static int
report(struct import *im, int code)
{
	if (im->rejected > REJECTS_SHOWN && im->rejects == NULL)
		fprintf(stderr, "… and %" PRId64 " more; --rejects FILE writes all of them\n",
		    im->rejected - REJECTS_SHOWN);
	if (code != EXIT_DONE && !im->refused)
		return code;
	print_summary(im, code == EXIT_DONE);
	if (im->refused) {
		fputs("kairan: nothing was imported (--strict): mend the rejected lines\n", stderr);
		return EXIT_FAILED;
	}
	if (im->read == 0)
		return EXIT_NOTHING;
	if (im->rejected == 0)
		return EXIT_DONE;
	fprintf(stderr, "kairan: warning: %" PRId64 " %s rejected\n", im->rejected,
	    im->rejected == 1 ? "line was" : "lines were");
	return im->rejected == im->read ? EXIT_FAILED : EXIT_DONE;
}

static int
import_file(struct import *im, struct reader *r)
{
	struct stat st;
	int code;

	if (fstat(r->fd, &st) == 0 && S_ISREG(st.st_mode))
		r->total = (int64_t)st.st_size;
	code = read_header(im, r);
	if (code == EXIT_DONE)
		code = begin_import(im);
	if (code != EXIT_DONE)
		return code;
	code = copy_records(im, r);
	if (code == EXIT_DONE)
		code = finish_import(im);
	if (code == EXIT_DONE) {
		char detail[120];

		(void)snprintf(detail, sizeof(detail),
		    "%" PRId64 " imported, %" PRId64 " updated, %" PRId64 " rejected", im->imported,
		    im->updated, im->rejected);
		cli_audit(im->db, "customer.import", "customer", detail);
	}
	return report(im, code);
}

/* --map may be given many times, which the option table does not know. */
static int
collect_maps(struct import *im, int argc, char **argv)
{
	for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
		const char *value = NULL;

		if (strncmp(argv[i], "--map=", 6) == 0)
			value = argv[i] + 6;
		else if (strcmp(argv[i], "--map") == 0 && i + 1 < argc)
			value = argv[++i];
		if (value == NULL)
			continue;
		if (strchr(value, '=') == NULL || im->map_count == MAPS_MAX)
			return cli_fail(im->cli, EXIT_USAGE,
			    "--map takes NAME=COLUMN, e.g. --map mail=email; not '%s'", value);
		im->maps[im->map_count++] = value;
	}
	return EXIT_DONE;
}

static int
open_files(struct import *im, struct reader *r, const char *path, const char *rejects)
{
	r->fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
	if (r->fd < 0)
		return cli_fail(im->cli, EXIT_FAILED, "cannot open %s: %s", path, strerror(errno));
	if (rejects != NULL) {
		int fd = open(rejects, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

		im->rejects = fd >= 0 ? fdopen(fd, "w") : NULL;
		if (im->rejects == NULL)
			return cli_fail(
			    im->cli, EXIT_FAILED, "cannot write %s: %s", rejects, strerror(errno));
		fputs("line,reason\n", im->rejects);
	}
	return EXIT_DONE;
}

static int
close_files(struct import *im, struct reader *r, const char *rejects, int code)
{
	bool bad = im->rejects != NULL && ferror(im->rejects) != 0;

	if (im->rejects != NULL && (fclose(im->rejects) != 0 || bad))
		code =
		    cli_fail(im->cli, EXIT_FAILED, "cannot write %s: %s", rejects, strerror(errno));
	if (r->fd > STDERR_FILENO)
		close(r->fd);
	return code;
}

/* Everything but options and files: memory, database. */
static int
run_with_memory(struct import *im, struct reader *r, char separator)
{
	struct db db = { 0 };
	int code;

	csv_init(&im->csv, separator);
	buf_init(&im->keys, (size_t)CSV_FIELDS_MAX * COLUMN_NAME_MAX * 4);
	buf_init(&im->out, LINE_BYTES_MAX);
	buf_init(&im->cells, 2 * CSV_RECORD_MAX);
	im->db = &db;
	r->chunk = malloc(READ_BYTES);
	if (r->chunk == NULL || !buf_reserve(&im->cells, CSV_RECORD_MAX + 1)) {
		code = cli_fail(im->cli, EXIT_FAILED, "no memory");
	} else {
		code = cli_open_db(im->cli, &db);
		if (code == EXIT_DONE) {
			code = import_file(im, r);
			db_close(&db); /* rolls back what was not committed */
		}
	}
	free(r->chunk);
	buf_release(&im->cells);
	buf_release(&im->out);
	buf_release(&im->keys);
	csv_release(&im->csv);
	return code;
}

int
customer_import(struct cli *cli, int argc, char **argv)
{
	const char *map = NULL, *rejects = NULL, *separator = ",";
	bool update = false, new_only = false, strict = false;
	const struct cli_option options[] = {
		{ .name = "map", .value_name = "NAME=COLUMN", .value = &map },
		{ .name = "rejects", .value_name = "FILE", .value = &rejects },
		{ .name = "separator", .value_name = "CHARACTER", .value = &separator },
		{ .name = "update", .flag = &update },
		{ .name = "new-only", .flag = &new_only },
		{ .name = "strict", .flag = &strict },
		{ 0 },
	};
	struct reader reader = { .fd = -1 };
	struct import *im = calloc(1, sizeof(*im));
	int code;

	if (im == NULL)
		return cli_fail(cli, EXIT_FAILED, "no memory");
	im->cli = cli;
	code = collect_maps(im, argc, argv);
	if (code == EXIT_DONE && (argc = cli_options(cli, options, argc, argv)) < 0)
		code = EXIT_USAGE;
	else if (code == EXIT_DONE && argc != 1)
		code = cli_fail(cli, EXIT_USAGE,
		    "name one CSV file, or - for standard input: kairan customer import FILE.csv");
	if (strcmp(separator, "tab") == 0)
		separator = "\t";
	if (code == EXIT_DONE && (strlen(separator) != 1 || strchr(",;|\t:", separator[0]) == NULL))
		code = cli_fail(cli, EXIT_USAGE, "--separator takes one of , ; | : or tab");
	if (code == EXIT_DONE && update && new_only)
		code = cli_fail(cli, EXIT_USAGE, "--update and --new-only exclude each other");
	if (code == EXIT_DONE) {
		im->new_only = new_only;
		im->strict = strict;
		code = open_files(im, &reader, argv[0], rejects);
		if (code == EXIT_DONE)
			code = run_with_memory(im, &reader, separator[0]);
		code = close_files(im, &reader, rejects, code);
	}
	free(im);
	return code;
}
