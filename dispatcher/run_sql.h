/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run_sql: a statement for one run. The rows of a run are a partition of kairan.send; a statement that
 * takes the run as a parameter is planned for all partitions and opens each of them every time, one
 * that names it for its own alone. Where the text says RUN_SQL_MARK, the parameter behind it is
 * replaced by the run's number; as it stands, the text is the statement for any run.
 *
 * What only runs with origins need (kairan.run_origin) stands in a comment that begins with
 * RUN_SQL_ORIGIN, and is let out of it for these: the others have no part in its cost.
 */
#ifndef KAIRAN_RUN_SQL_H
#define KAIRAN_RUN_SQL_H

#include <stdbool.h>

#include "arena.h"
#include "buf.h"
#include "err.h"

#define RUN_SQL_MARK "/*run*/$"
#define RUN_SQL_ORIGIN "/*origin"

struct run_sql {
	const char *name; /* of the prepared statement: "record_17" */
	const char *sql;
};

/* Both in the arena. False without memory. */
bool run_sql_make(struct run_sql *s, struct arena *arena, const char *what, const char *text,
    int run, bool has_origins) MUST_CHECK;

/* Appends the text with what runs with origins need. */
void run_sql_with_origins(struct buf *sql, const char *text);

#endif
