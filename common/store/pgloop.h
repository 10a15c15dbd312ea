/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pgloop: one PostgreSQL connection on the event loop. Statements wait in a queue and run one
 * after the other, each in a transaction of its own. A lost connection is opened again with
 * growing waits; what was in flight then is reported as unknown, what waited keeps waiting.
 */
#ifndef KAIRAN_PGLOOP_H
#define KAIRAN_PGLOOP_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <uv.h>

struct pgloop;

enum pgloop_verdict {
	PGLOOP_DONE,	/* result holds rows or a command tag; committed */
	PGLOOP_REFUSED, /* the server said no: nothing happened; error says why */
	PGLOOP_UNKNOWN	/* the connection died, or the commit has not reached the standby: it may
			   have happened or not */
};

struct pgloop_answer {
	enum pgloop_verdict verdict;
	PGresult *result;     /* PGLOOP_DONE only. The callee may take it by setting this to NULL
	                       * (then PQclear is his), else it is freed after the call. */
	const char *error;    /* one line without values; "" when done. Borrowed. */
	const char *sqlstate; /* 5 characters or "". Borrowed. */
};

typedef void pgloop_done(void *ctx, struct pgloop_answer *answer);

/*
 * Starts connecting at once. conninfo (from db_conninfo) is copied. prepared: use named
 * prepared statements. timeout_s: a statement without an answer for so long costs the connection
 * and is PGLOOP_UNKNOWN; the server may still be working on it. NULL without memory.
 */
struct pgloop *pgloop_new(uv_loop_t *loop, const char *conninfo, bool prepared, long timeout_s);

/* Closes; waiting and running statements are dropped without a call. The handles belong to the
 * loop until uv_run has closed them. */
void pgloop_free(struct pgloop *pg);

/*
 * Queues a statement. name: of the prepared statement, unique for its sql, both copied only on
 * first use (they must live until then; static or owned by something that outlives the queue).
 * params are copied. done is called from the loop, never from here. False without memory.
 */
bool pgloop_submit(struct pgloop *pg, const char *name, const char *sql, int count,
    const char *const *params, pgloop_done *done, void *ctx);

/* Frees a prepared statement that is not used any more, and of which none waits. name: letters, digits
 * and _, at most 63. */
void pgloop_forget(struct pgloop *pg, const char *name);

bool pgloop_is_ready(const struct pgloop *pg);

#endif
