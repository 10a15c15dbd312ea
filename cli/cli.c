/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli: see cli.h. Owns how commands read options, open the database, and print. Returns errors
 * as exit codes after printing them; ends the process nowhere.
 */
#include "cli.h"

#include <inttypes.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "addr.h"
#include "slice.h"

#define REDRAW_MS 100
#define LINE_MS 10000
#define BAR_CELLS 24

/* ---------------------------------------------------------------- options */

static const struct cli_option *
find_option(const struct cli_option *options, const char *name, size_t len)
{
	for (; options != NULL && options->name != NULL; options++)
		if (strlen(options->name) == len && memcmp(options->name, name, len) == 0)
			return options;
	return NULL;
}

static bool
take_common(struct cli *cli, const char *name)
{
	if (strcmp(name, "json") == 0)
		cli->json = true;
	else if (strcmp(name, "quiet") == 0)
		cli->quiet = true;
	else
		return strcmp(name, "help") == 0;
	return true;
}

/* Takes argv[*at] (and perhaps the next one). 0, or -1 after printing. */
static int
take_option(struct cli *cli, const struct cli_option *options, int argc, char **argv, int *at)
{
	const char *name = argv[*at] + 2, *equals = strchr(name, '=');
	size_t len = equals != NULL ? (size_t)(equals - name) : strlen(name);
	const struct cli_option *o = find_option(options, name, len);

	if (o == NULL) {
		if (equals == NULL && take_common(cli, name))
			return 0;
		(void)cli_fail(cli, EXIT_USAGE,
		    "unknown option --%.*s; --help lists those of this "
		    "command",
		    (int)len, name);
		return -1;
	}
	if (o->value_name == NULL) {
		if (equals != NULL) {
			(void)cli_fail(cli, EXIT_USAGE, "--%s takes no value", o->name);
			return -1;
		}
		if (o->flag != NULL)
			*o->flag = true;
		return 0;
	}
	/* `--run-key $KEY --wait` without a KEY must not start a run of the name "--wait" */
	if (equals == NULL && (*at + 1 >= argc || strncmp(argv[*at + 1], "--", 2) == 0)) {
		(void)cli_fail(cli, EXIT_USAGE,
		    "--%s needs a value: --%s %s (--%s=%s when it begins with --)", o->name,
		    o->name, o->value_name, o->name, o->value_name);
		return -1;
	}
	*o->value = equals != NULL ? equals + 1 : argv[++*at];
	return 0;
}

int
cli_options(struct cli *cli, const struct cli_option *options, int argc, char **argv)
{
	int kept = 0;

	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--") == 0) {
			while (++i < argc)
				argv[kept++] = argv[i];
		} else if (strncmp(argv[i], "--", 2) == 0) {
			if (take_option(cli, options, argc, argv, &i) < 0)
				return -1;
		} else if (argv[i][0] == '-' && argv[i][1] != '\0') {
			(void)cli_fail(cli, EXIT_USAGE,
			    "unknown option %s; options are written --name (put -- before an "
			    "argument that begins with -)",
			    argv[i]);
			return -1;
		} else {
			argv[kept++] = argv[i];
		}
	}
	return kept;
}

int64_t
cli_parse_number(struct cli *cli, const char *name, const char *text, int64_t min, int64_t max)
{
	int64_t value = 0;
	size_t n = strlen(text);

	if (n > 0 && n <= 18 && strspn(text, "0123456789") == n) {
		value = strtoll(text, NULL, 10);
		if (value >= min && value <= max)
			return value;
	}
	(void)cli_fail(cli, EXIT_USAGE,
	    "--%s takes a number from %" PRId64 " to %" PRId64 ", not '%s'", name, min, max, text);
	return -1;
}

int
cli_take_domain(struct cli *cli, const char *text, char domain[256])
{
	char address[300];
	struct addr a;
	struct err err = { 0 };

	/* the one place that knows what a domain is, IDN and all */
	(void)snprintf(
	    address, sizeof(address), "%s%.255s", strchr(text, '@') == NULL ? "x@" : "", text);
	if (addr_parse(&a, slice_str(address), &err) < 0)
		return cli_fail(cli, EXIT_USAGE, "'%s' is neither a domain nor an address", text);
	(void)snprintf(domain, 256, "%.*s", SLICE_ARG(addr_domain(&a)));
	return EXIT_DONE;
}

/* ---------------------------------------------------------------- errors, database */

int
cli_fail(struct cli *cli, int code, const char *format, ...)
{
	char text[2048];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	(void)fflush(stdout);
	fputs("kairan: ", stderr);
	cli_put_text(stderr, text);
	fputc('\n', stderr);
	if (cli->json) {
		json_t *message = json_string(text);

		if (message == NULL)
			message = json_string("(text is not UTF-8; see standard error)");
		cli_print_json(json_pack("{s:o, s:i}", "error", message, "exit", code));
	}
	return code;
}

/* Absent is temporary; a wrong URL, user, password or database is not. */
static int
open_failed(struct cli *cli, const struct err *err)
{
	static const char *const lasting[] = { "authentication failed", "does not exist",
		"no password supplied", "no pg_hba.conf entry" };
	int code = EXIT_TEMPORARY;

	if (cli->config.database_url == NULL || cli->config.database_url[0] == '\0' ||
	    strncmp(err->msg, "database.url", 12) == 0)
		code = EXIT_USAGE;
	for (size_t i = 0; i < sizeof(lasting) / sizeof(lasting[0]); i++)
		if (strstr(err->msg, lasting[i]) != NULL)
			code = EXIT_FAILED;
	return cli_fail(cli, code, "%s", err->msg);
}

int
cli_open_owner(struct cli *cli, struct db *db)
{
	struct err err = { 0 };

	if (db_open(db, cli->config.database_url, NULL, "kairan", &err) < 0)
		return open_failed(cli, &err);
	return EXIT_DONE;
}

int
cli_open_db(struct cli *cli, struct db *db)
{
	struct err err = { 0 };

	if (db_open(db, cli->config.database_url, "kairan_operator", "kairan", &err) < 0) {
		if (strstr(err.msg, "role \"kairan_operator\" does not exist") != NULL)
			return cli_fail(cli, EXIT_FAILED,
			    "the database is not prepared for Kairan yet; run: kairan init");
		return open_failed(cli, &err);
	}
	if (db_check_schema(db, &err) < 0) {
		int code = db_is_lost(db) ? EXIT_TEMPORARY : EXIT_FAILED;

		db_close(db);
		return cli_fail(cli, code, "%s", err.msg);
	}
	return EXIT_DONE;
}

int
cli_db_failed(struct cli *cli, const struct db *db, const char *while_doing)
{
	if (db_is_lost(db))
		return cli_fail(cli, EXIT_TEMPORARY, "PostgreSQL went away while %s: %s; try again",
		    while_doing, db->error);
	if (strcmp(db->sqlstate, "42501") == 0)
		return cli_fail(cli, EXIT_FAILED,
		    "%s: %s; connect as kairan_operator or as the owner", while_doing, db->error);
	return cli_fail(cli, EXIT_FAILED, "%s: %s", while_doing, db->error);
}

void
cli_audit(struct db *db, const char *action, const char *object, const char *detail)
{
	const struct passwd *pw = getpwuid(getuid());
	const char *params[] = { pw != NULL ? pw->pw_name : "?", action,
		object != NULL ? object : "", detail != NULL ? detail : "" };

	(void)!db_run(db,
	    "INSERT INTO kairan.audit (who, action, object, detail) "
	    "VALUES (session_user || ' (' || $1 || ')', $2, $3, $4)",
	    4, params);
}

void
cli_copy_cell(struct buf *line, struct slice value)
{
	const char *p = value.ptr, *end = value.ptr + value.len, *run = p;

	for (; p < end; p++) {
		char c = *p;

		if (c != '\\' && c != '\t' && c != '\n' && c != '\r')
			continue;
		buf_append(line, run, (size_t)(p - run));
		buf_append_char(line, '\\');
		buf_append_char(line, c == '\t' ? 't' : c == '\n' ? 'n' : c == '\r' ? 'r' : '\\');
		run = p + 1;
	}
	buf_append(line, run, (size_t)(end - run));
}

static int
copy_failed(struct db *db, const char *text)
{
	size_t n = 0;

	for (; *text != '\0' && n + 1 < sizeof(db->error); text++)
		db->error[n++] = *text == '\n' ? ' ' : *text;
	db->error[n] = '\0';
	return -1;
}

int
cli_copy_put(struct db *db, struct buf *b)
{
	if (buf_failed(b))
		return copy_failed(db, "no memory");
	if (b->len > 0 && PQputCopyData(db->conn, b->data, (int)b->len) != 1)
		return copy_failed(db, PQerrorMessage(db->conn));
	buf_reset(b);
	return 0;
}

int
cli_copy_end(struct db *db, const char *abort_reason)
{
	PGresult *result;
	int status = 0;

	if (PQputCopyEnd(db->conn, abort_reason) != 1)
		return copy_failed(db, PQerrorMessage(db->conn));
	while ((result = PQgetResult(db->conn)) != NULL) {
		if (PQresultStatus(result) != PGRES_COMMAND_OK) {
			const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
			const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

			(void)snprintf(
			    db->sqlstate, sizeof(db->sqlstate), "%.5s", state != NULL ? state : "");
			status = copy_failed(db, text != NULL ? text : PQerrorMessage(db->conn));
		}
		PQclear(result);
	}
	return status;
}

/* ---------------------------------------------------------------- text on a terminal */

struct glyph_range {
	uint32_t first, last;
};

/* Two cells wide (East Asian Wide and Fullwidth), in the large. */
static const struct glyph_range wide[] = { { 0x1100, 0x115f }, { 0x2e80, 0x303e },
	{ 0x3041, 0xa4cf }, { 0xa960, 0xa97c }, { 0xac00, 0xd7a3 }, { 0xf900, 0xfaff },
	{ 0xfe30, 0xfe6f }, { 0xff00, 0xff60 }, { 0xffe0, 0xffe6 }, { 0x1f300, 0x1f64f },
	{ 0x1f680, 0x1f6ff }, { 0x1f900, 0x1f9ff }, { 0x20000, 0x3fffd } };
/* Drawn over the one before. */
static const struct glyph_range narrowest[] = { { 0x300, 0x36f }, { 0x200b, 0x200f },
	{ 0x202a, 0x202e }, { 0x2060, 0x2069 }, { 0x3099, 0x309a }, { 0xfe00, 0xfe0f },
	{ 0xfeff, 0xfeff } };

static bool
is_in(const struct glyph_range *ranges, size_t count, uint32_t c)
{
	for (size_t i = 0; i < count; i++)
		if (c >= ranges[i].first && c <= ranges[i].last)
			return true;
	return false;
}

/* The next character of valid UTF-8; a wrong byte stands for itself. */
static uint32_t
next_char(const unsigned char **at)
{
	const unsigned char *p = *at;
	uint32_t c = *p++;
	int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;

	if (more > 0)
		c &= 0x3fu >> more;
	for (; more > 0 && (*p & 0xc0) == 0x80; more--)
		c = c << 6 | (*p++ & 0x3f);
	*at = p;
	return c;
}

static bool
is_control(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c <= 0x9f) || (c >= 0x202a && c <= 0x202e) ||
	    (c >= 0x2066 && c <= 0x2069);
}

static size_t
cells(const char *text)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t width = 0;

	while (*p != '\0') {
		uint32_t c = next_char(&p);

		if (is_control(c))
			width++;
		else if (is_in(wide, sizeof(wide) / sizeof(wide[0]), c))
			width += 2;
		else if (!is_in(narrowest, sizeof(narrowest) / sizeof(narrowest[0]), c))
			width++;
	}
	return width;
}

void
cli_put_text(FILE *out, const char *text)
{
	const unsigned char *p = (const unsigned char *)text, *from;

	while (*p != '\0') {
		from = p;
		if (is_control(next_char(&p)))
			fputc(' ', out);
		else
			(void)fwrite(from, 1, (size_t)(p - from), out);
	}
}

void
cli_put_word(FILE *out, const char *text)
{
	static const char plain[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.,:/+=@%";
	const char *quote;

	if (*text != '\0' && text[strspn(text, plain)] == '\0') {
		fputs(text, out);
		return;
	}
	fputc('\'', out);
	while ((quote = strchr(text, '\'')) != NULL) {
		char *part = strndup(text, (size_t)(quote - text));

		cli_put_text(out, part != NULL ? part : "");
		free(part);
		fputs("'\\''", out);
		text = quote + 1;
	}
	cli_put_text(out, text);
	fputc('\'', out);
}

/* ---------------------------------------------------------------- results */

enum {
	OID_BOOL = 16,
	OID_INT8 = 20,
	OID_INT2 = 21,
	OID_INT4 = 23,
	OID_OID = 26,
	OID_JSON = 114,
	OID_FLOAT4 = 700,
	OID_FLOAT8 = 701,
	OID_NUMERIC = 1700,
	OID_JSONB = 3802
};

static bool
is_number(Oid type)
{
	return type == OID_INT8 || type == OID_INT2 || type == OID_INT4 || type == OID_OID ||
	    type == OID_FLOAT4 || type == OID_FLOAT8 || type == OID_NUMERIC;
}

static json_t *
cell_json(const PGresult *result, int row, int column)
{
	Oid type = PQftype(result, column);
	const char *text = PQgetvalue(result, row, column);
	json_t *value = NULL;

	if (PQgetisnull(result, row, column))
		return json_null();
	if (type == OID_BOOL)
		return json_boolean(text[0] == 't');
	if (is_number(type) || type == OID_JSON || type == OID_JSONB)
		value = json_loads(text, JSON_DECODE_ANY, NULL);
	return value != NULL ? value : json_string(text);
}

static void
print_json_rows(const PGresult *result)
{
	json_t *rows = json_array();

	for (int r = 0; r < PQntuples(result); r++) {
		json_t *row = json_object();

		for (int c = 0; c < PQnfields(result); c++)
			(void)json_object_set_new(row, PQfname(result, c), cell_json(result, r, c));
		(void)json_array_append_new(rows, row);
	}
	cli_print_json(rows);
}

static void
print_cell(const char *text, size_t width, bool right, bool last)
{
	size_t have = cells(text), pad = width > have ? width - have : 0;

	if (right)
		printf("%*s", (int)pad, "");
	cli_put_text(stdout, text);
	if (!right && !last)
		printf("%*s", (int)pad, "");
	fputs(last ? "\n" : "  ", stdout);
}

void
cli_print_result(const struct cli *cli, const PGresult *result)
{
	int rows = PQntuples(result), columns = PQnfields(result);
	size_t *width;

	if (cli->json) {
		print_json_rows(result);
		return;
	}
	if (rows == 0) {
		puts("(none)");
		return;
	}
	width = calloc((size_t)columns + 1, sizeof(*width));
	if (width == NULL)
		return;
	for (int c = 0; c < columns; c++) {
		width[c] = cells(PQfname(result, c));
		for (int r = 0; r < rows; r++) {
			size_t n = cells(db_text(result, r, c));

			if (n > width[c])
				width[c] = n;
		}
	}
	if (cli->colour)
		fputs("\033[1m", stdout);
	for (int c = 0; c < columns; c++)
		print_cell(
		    PQfname(result, c), width[c], is_number(PQftype(result, c)), c + 1 == columns);
	if (cli->colour)
		fputs("\033[0m", stdout);
	for (int r = 0; r < rows; r++)
		for (int c = 0; c < columns; c++)
			print_cell(db_text(result, r, c), width[c], is_number(PQftype(result, c)),
			    c + 1 == columns);
	free(width);
}

int
cli_print_rows(
    struct cli *cli, const char *sql, int count, const char *const *params, const char *while_doing)
{
	PGresult *result;
	struct db db;
	int code = cli_open_db(cli, &db);

	if (code != EXIT_DONE)
		return code;
	result = db_query(&db, sql, count, params);
	if (result == NULL) {
		code = cli_db_failed(cli, &db, while_doing);
	} else {
		cli_print_result(cli, result);
		code = PQntuples(result) > 0 ? EXIT_DONE : EXIT_NOTHING;
	}
	PQclear(result);
	db_close(&db);
	return code;
}

void
cli_print_json(json_t *object)
{
	char *text = json_dumps(object, JSON_COMPACT);

	puts(text != NULL ? text : "{\"error\":\"no memory\"}");
	free(text);
	json_decref(object);
}

const char *
cli_number(int64_t value, char *dst)
{
	char digits[24];
	int n = snprintf(digits, sizeof(digits), "%" PRId64, value), out = 0;

	for (int i = 0; i < n; i++) {
		dst[out++] = digits[i];
		if (digits[i] != '-' && i + 1 < n && (n - i - 1) % 3 == 0)
			dst[out++] = ',';
	}
	dst[out] = '\0';
	return dst;
}

/* ---------------------------------------------------------------- progress */

static int64_t
now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void
draw(struct cli_progress *p, int64_t done, const char *note)
{
	int64_t elapsed = now_ms() - p->started_ms;
	char number[32];

	if (p->live)
		fputs("\r\033[K", stderr);
	fprintf(stderr, "%s ", p->label);
	if (p->total > 0) {
		int64_t part = done < p->total ? done : p->total;

		if (p->live) {
			int filled = (int)((double)part / (double)p->total * BAR_CELLS);

			fputc('[', stderr);
			for (int i = 0; i < BAR_CELLS; i++)
				fputc(i < filled ? '#' : '.', stderr);
			fputs("] ", stderr);
		}
		fprintf(stderr, "%3d %%", (int)((double)part / (double)p->total * 100));
		if (part > 0 && part < p->total && elapsed > 2000)
			fprintf(stderr, ", %" PRId64 " s left",
			    (int64_t)((double)elapsed / (double)part * (double)(p->total - part)) /
				1000);
	} else {
		fputs(cli_number(done, number), stderr);
	}
	if (note != NULL)
		fprintf(stderr, "  %s", note);
	if (!p->live)
		fputc('\n', stderr);
	(void)fflush(stderr);
	p->open = true;
}

void
cli_progress_start(struct cli_progress *p, const struct cli *cli, const char *label, int64_t total)
{
	*p = (struct cli_progress){ .label = label,
		.total = total,
		.live = cli->live,
		.quiet = cli->quiet,
		.started_ms = now_ms() };
	p->drawn_ms = p->started_ms;
}

void
cli_progress_set(struct cli_progress *p, int64_t done, const char *note)
{
	int64_t now = now_ms();

	if (p->quiet || now - p->drawn_ms < (p->live ? REDRAW_MS : LINE_MS))
		return;
	p->drawn_ms = now;
	draw(p, done, note);
}

void
cli_progress_end(struct cli_progress *p, const char *note)
{
	if (p->quiet)
		return;
	if (p->live && p->open)
		fputs("\r\033[K", stderr);
	if (note != NULL)
		fprintf(stderr, "%s: %s\n", p->label, note);
	p->open = false;
}
