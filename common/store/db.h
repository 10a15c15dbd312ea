/* SPDX-License-Identifier: Apache-2.0 */
/*
 * db: a blocking PostgreSQL connection for commands and the producer (dispatcher and feedback
 * use pgloop). search_path is never relied on: every statement names kairan.*.
 *
 * A failed call leaves the reason in db->error (one line, without values) and the SQLSTATE in
 * db->sqlstate; db_is_lost() tells a dead connection from a refused statement.
 */
#ifndef KAIRAN_DB_H
#define KAIRAN_DB_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "err.h"

struct db {
	PGconn *conn; /* owned; NULL when closed */
	char error[400];
	char sqlstate[6];
};

/* Adds user=role when neither url nor PGUSER names a user, application_name and timeouts.
 * Returned string is owned by the caller (free); NULL without memory or when url is malformed
 * (err says why). role may be NULL: libpq's own default. */
char *db_conninfo(
    const char *url, const char *role, const char *application, struct err *err) MUST_CHECK;

/* Connects. 0, or -1 with err, which says what to check. */
int db_open(struct db *db, const char *url, const char *role, const char *application,
    struct err *err) MUST_CHECK;
void db_close(struct db *db);

/* 0 when the schema of the database is the one this program was built for; -1 with err that
 * says whether to run `kairan init` or a newer program. */
int db_check_schema(struct db *db, struct err *err) MUST_CHECK;

/* Runs one statement with text parameters ($1…; NULL is SQL NULL). Returns the result (owned,
 * PQclear) or NULL with db->error. */
PGresult *db_query(struct db *db, const char *sql, int count, const char *const *params) MUST_CHECK;

/* The same for statements whose rows do not matter. 0 or -1. */
int db_run(struct db *db, const char *sql, int count, const char *const *params) MUST_CHECK;

/* db_run() in two: the statement begins, and another connection can work meanwhile; db_end(), once
 * for each that began, waits for its end. 0 or -1. */
int db_begin(struct db *db, const char *sql, int count, const char *const *params) MUST_CHECK;
int db_end(struct db *db) MUST_CHECK;

/* True when the connection is gone (reconnect); false when only the statement failed. */
bool db_is_lost(const struct db *db);

/* First column of the first row as a number; fallback when there is no row or it is NULL. */
int64_t db_int(const PGresult *result, int64_t fallback);

/* Text of a column of a row, "" for NULL. Borrowed from the result. */
const char *db_text(const PGresult *result, int row, int column);
int64_t db_number(const PGresult *result, int row, int column);

#endif
