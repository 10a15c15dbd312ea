/* SPDX-License-Identifier: Apache-2.0 */
/* db: see db.h. */
#include "db.h"

#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "embed.h"
#include "schema.h"

static void
append_conninfo(struct buf *b, const char *keyword, const char *value)
{
	buf_append_str(b, keyword);
	buf_append_str(b, "='");
	for (; *value != '\0'; value++) {
		if (*value == '\'' || *value == '\\')
			buf_append_char(b, '\\');
		buf_append_char(b, *value);
	}
	buf_append_str(b, "' ");
}

char *
db_conninfo(const char *url, const char *role, const char *application, struct err *err)
{
	char *why = NULL;
	PQconninfoOption *options = PQconninfoParse(url, &why);
	bool has_user = getenv("PGUSER") != NULL;
	static const struct {
		const char *keyword, *value;
	} liveness[] = { { "keepalives_idle", "30" }, { "keepalives_interval", "10" },
		{ "keepalives_count", "3" }, { "tcp_user_timeout", "60000" } };
	struct buf b;

	if (options == NULL) {
		(void)err_set(
		    err, "database.url is not understood: %s", why != NULL ? why : "no memory");
		PQfreemem(why);
		return NULL;
	}
	buf_init(&b, 64 * 1024);
	for (PQconninfoOption *o = options; o->keyword != NULL; o++) {
		if (o->val == NULL)
			continue;
		if (strcmp(o->keyword, "user") == 0)
			has_user = true;
		append_conninfo(&b, o->keyword, o->val);
	}
	PQconninfoFree(options);
	if (!has_user && role != NULL)
		append_conninfo(&b, "user", role);
	append_conninfo(&b, "application_name", application);
	if (strstr(buf_str(&b), "connect_timeout=") == NULL)
		append_conninfo(&b, "connect_timeout", "10");
	/* a peer that vanishes without a word is noticed within a minute, idle or not */
	for (size_t i = 0; i < sizeof(liveness) / sizeof(liveness[0]); i++)
		if (strstr(buf_str(&b), liveness[i].keyword) == NULL)
			append_conninfo(&b, liveness[i].keyword, liveness[i].value);
	if (strstr(buf_str(&b), "target_session_attrs=") == NULL)
		append_conninfo(&b, "target_session_attrs", "read-write");
	if (buf_failed(&b)) {
		(void)err_set(err, "no memory");
		buf_release(&b);
		return NULL;
	}
	return b.data;
}

/* libpq's messages end in a newline and may have several lines; keep one line. */
static void
keep_line(char *dst, size_t size, const char *text)
{
	size_t n = 0;

	while (*text == '\n' || *text == ' ')
		text++;
	for (; *text != '\0' && n + 1 < size; text++)
		dst[n++] = *text == '\n' || *text == '\t' ? ' ' : *text;
	while (n > 0 && dst[n - 1] == ' ')
		n--;
	dst[n] = '\0';
}

static void
ignore_notice(void *ctx, const PGresult *result)
{
	(void)ctx;
	(void)result;
}

int
db_open(struct db *db, const char *url, const char *role, const char *application, struct err *err)
{
	char *conninfo;

	*db = (struct db){ 0 };
	if (url[0] == '\0')
		return err_set(err,
		    "no database is configured; set KAIRAN_DATABASE_URL or database.url "
		    "(kairan local up starts a private one for trying)");
	conninfo = db_conninfo(url, role, application, err);
	if (conninfo == NULL)
		return -1;
	db->conn = PQconnectdb(conninfo);
	free(conninfo);
	if (db->conn == NULL || PQstatus(db->conn) != CONNECTION_OK) {
		keep_line(db->error, sizeof(db->error),
		    db->conn != NULL ? PQerrorMessage(db->conn) : "no memory");
		(void)err_set(err, "cannot reach PostgreSQL: %s", db->error);
		db_close(db);
		return -1;
	}
	(void)PQsetNoticeReceiver(db->conn, ignore_notice, NULL);
	return 0;
}

void
db_close(struct db *db)
{
	if (db->conn != NULL)
		PQfinish(db->conn);
	db->conn = NULL;
}

bool
db_is_lost(const struct db *db)
{
	return db->conn == NULL || PQstatus(db->conn) != CONNECTION_OK ||
	    strncmp(db->sqlstate, "57P", 3) == 0 || strncmp(db->sqlstate, "08", 2) == 0;
}

static bool
begin_question(struct db *db)
{
	db->error[0] = db->sqlstate[0] = '\0';
	if (db->conn != NULL)
		return true;
	(void)snprintf(db->error, sizeof(db->error), "not connected");
	return false;
}

/* The result when the statement succeeded; else it is cleared, and the reason kept. */
static PGresult *
take_result(struct db *db, PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);
	const char *state;

	if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK || status == PGRES_COPY_IN ||
	    status == PGRES_COPY_OUT)
		return result;
	state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	if (state != NULL)
		(void)snprintf(db->sqlstate, sizeof(db->sqlstate), "%.5s", state);
	state = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	keep_line(db->error, sizeof(db->error), state != NULL ? state : PQerrorMessage(db->conn));
	PQclear(result);
	return NULL;
}

PGresult *
db_query(struct db *db, const char *sql, int count, const char *const *params)
{
	return begin_question(db)
	    ? take_result(db, PQexecParams(db->conn, sql, count, NULL, params, NULL, NULL, 0))
	    : NULL;
}

int
db_begin(struct db *db, const char *sql, int count, const char *const *params)
{
	if (!begin_question(db))
		return -1;
	if (PQsendQueryParams(db->conn, sql, count, NULL, params, NULL, NULL, 0) == 1)
		return 0;
	keep_line(db->error, sizeof(db->error), PQerrorMessage(db->conn));
	return -1;
}

int
db_end(struct db *db)
{
	PGresult *result = take_result(db, PQgetResult(db->conn)), *rest;
	bool is_good = result != NULL;

	PQclear(result);
	while ((rest = PQgetResult(db->conn)) != NULL)
		PQclear(rest);
	return is_good ? 0 : -1;
}

int
db_run(struct db *db, const char *sql, int count, const char *const *params)
{
	PGresult *result = db_query(db, sql, count, params);

	PQclear(result);
	return result != NULL ? 0 : -1;
}

int64_t
db_int(const PGresult *result, int64_t fallback)
{
	if (PQntuples(result) == 0 || PQgetisnull(result, 0, 0))
		return fallback;
	return strtoll(PQgetvalue(result, 0, 0), NULL, 10);
}

const char *
db_text(const PGresult *result, int row, int column)
{
	return PQgetisnull(result, row, column) ? "" : PQgetvalue(result, row, column);
}

int64_t
db_number(const PGresult *result, int row, int column)
{
	return strtoll(db_text(result, row, column), NULL, 10);
}

int
db_check_schema(struct db *db, struct err *err)
{
	PGresult *result = db_query(db, "SELECT max(version) FROM kairan.migration", 0, NULL);
	int64_t there;

	if (result == NULL) {
		if (strcmp(db->sqlstate, "42P01") == 0 || strcmp(db->sqlstate, "3F000") == 0)
			return err_set(
			    err, "the database has no kairan schema yet; run: kairan init");
		return err_set(err, "cannot read kairan.migration: %s", db->error);
	}
	there = db_int(result, 0);
	PQclear(result);
	if (there < SCHEMA_VERSION)
		return err_set(err,
		    "the schema is version %lld, this program needs %d; run: kairan init",
		    (long long)there, SCHEMA_VERSION);
	if (there > SCHEMA_VERSION)
		return err_set(err,
		    "the schema is version %lld, this program knows %d; install the newer kairan",
		    (long long)there, SCHEMA_VERSION);
	return 0;
}
