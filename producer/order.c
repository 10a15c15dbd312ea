/* SPDX-License-Identifier: Apache-2.0 */
/*
 * order: see order.h. Two connections, so that sorting and writing run side by side. The j-th of n
 * recipients of the i-th largest domain of a lane has the key (j + frac(i * golden ratio)) / n:
 * every domain is spread evenly over the run, and single-recipient domains do not meet in the
 * middle. That brings each lane close to its share; lane_order_next() then says whose turn it is,
 * and a row that comes too early waits for its turn in its lane.
 */
#include "order.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "crash.h"
#include "interleave.h"
#include "log.h"
#include "slice.h"

#define FLUSH_BYTES 65536
#define ORDER_FENCED "55000" /* as plan_fence() says it */
#define HELD_MAX 100000	     /* rows that wait for their turn; more and the order gives way */

/* Rows of a lane that came before their turn, oldest first. */
struct lane_queue {
	char **rows; /* ring; of libpq */
	size_t head, count, room;
	uint64_t given;
};

struct writing {
	const struct order_job *job;
	struct db reader;
	struct buf lines;
	char prefix[16]; /* run TAB */
	char run[16], epoch[24];
	int64_t number; /* of the row that had its turn last */
	int64_t cursor; /* rows up to it are written */
	bool has_origins;
	bool in_page;
	struct lane_order *turns;
	int turn; /* the lane whose row is next, 0: its row has come; -1: no more turns */
	struct lane_queue *lanes;
	size_t lane_count; /* with the unused lane 0 */
	size_t held;	   /* rows in the queues */
};

static int
writer_failed(const struct writing *w, struct err *err)
{
	return err_set(err, "writing send rows: %s", w->job->writer->error);
}

static int
read_cursor(struct writing *w, struct err *err)
{
	const char *params[] = { w->run };
	PGresult *r = db_query(w->job->writer,
	    "SELECT plan_cursor, EXISTS (SELECT FROM kairan.run_origin WHERE run_id = $1) FROM "
	    "kairan.run WHERE id = $1",
	    1, params);

	if (r == NULL)
		return writer_failed(w, err);
	w->cursor = db_int(r, 0);
	w->has_origins = db_text(r, 0, 1)[0] == 't';
	PQclear(r);
	return 0;
}

static int
open_reader(struct writing *w, struct err *err)
{
	char sql[800];
	PGresult *r;

	if (db_open(&w->reader, w->job->config->database_url, "kairan_producer",
		"kairan-producer order", err) < 0)
		return -1;
	(void)snprintf(sql, sizeof(sql),
	    "COPY (SELECT d.lane, %sc.recipient_id, c.address, c.address_key "
	    "FROM kairan.candidate_%d c JOIN kairan.domain_%d d ON d.domain = c.domain "
	    "ORDER BY CASE WHEN c.j IS NULL THEN c.recipient_id * 0.6180339887498949::float8 "
	    "- floor(c.recipient_id * 0.6180339887498949::float8) ELSE (c.j + d.phase) / "
	    "d.recipients END, "
	    "c.domain, c.recipient_id) TO STDOUT",
	    w->has_origins ? "c.origin, " : "", w->job->run, w->job->run);
	if (db_run(&w->reader, "BEGIN TRANSACTION READ ONLY", 0, NULL) < 0 ||
	    db_run(&w->reader, "SET LOCAL work_mem = '128MB'", 0, NULL) < 0 ||
	    /* nothing else has a processor busy while rows are sorted, whatever a row costs to pass on */
	    db_run(&w->reader, "SET LOCAL parallel_tuple_cost = 0", 0, NULL) < 0 ||
	    (r = db_query(&w->reader, sql, 0, NULL)) == NULL)
		return err_set(err, "ordering the audience: %s", w->reader.error);
	PQclear(r);
	return 0;
}

static int
flush(struct writing *w, struct err *err)
{
	PGconn *conn = w->job->writer->conn;

	if (buf_failed(&w->lines))
		return err_set(err, "no memory");
	if (w->lines.len > 0 && PQputCopyData(conn, w->lines.data, (int)w->lines.len) != 1)
		return err_set(err, "writing send rows: %s", PQerrorMessage(conn));
	buf_reset(&w->lines);
	return 0;
}

static int
begin_page(struct writing *w, struct err *err)
{
	const char *params[] = { w->run, w->epoch };
	struct db *db = w->job->writer;
	char sql[120];
	PGresult *r;

	(void)snprintf(sql, sizeof(sql),
	    "COPY kairan.send_%d (run_id, id, lane, %srecipient_id, address, address_key) FROM "
	    "STDIN",
	    w->job->run, w->has_origins ? "origin, " : "");
	/* rows and cursor stand or fall together, so a page need not reach the disk before the next */
	if (db_run(db, "BEGIN", 0, NULL) < 0 ||
	    db_run(db, "SET LOCAL synchronous_commit = off", 0, NULL) < 0 ||
	    db_run(db, "SELECT kairan.plan_fence($1, $2)", 2, params) < 0 ||
	    (r = db_query(db, sql, 0, NULL)) == NULL)
		return writer_failed(w, err);
	PQclear(r);
	return 0;
}

/* From where we know it to be. A producer that slept in the middle of a page may find that another one
 * has written it meanwhile. */
static int
move_cursor(struct writing *w, struct err *err)
{
	struct db *db = w->job->writer;
	char from[24], to[24];
	const char *params[] = { w->run, from, to };
	PGresult *r;
	bool moved;

	(void)snprintf(from, sizeof(from), "%lld", (long long)w->cursor);
	(void)snprintf(to, sizeof(to), "%lld", (long long)w->number);
	r = db_query(db,
	    "UPDATE kairan.run SET plan_cursor = $3 WHERE id = $1 AND plan_cursor = $2 RETURNING 1",
	    3, params);
	if (r == NULL)
		return writer_failed(w, err);
	moved = PQntuples(r) == 1;
	PQclear(r);
	if (moved)
		return 0;
	(void)snprintf(db->sqlstate, sizeof(db->sqlstate), ORDER_FENCED);
	return err_set(err, "writing send rows: another producer has written them");
}

static int
end_page(struct writing *w, struct err *err)
{
	struct db *db = w->job->writer;
	PGresult *r;
	bool good = true;

	if (flush(w, err) < 0)
		return -1;
	if (PQputCopyEnd(db->conn, NULL) != 1)
		return err_set(err, "writing send rows: %s", PQerrorMessage(db->conn));
	while ((r = PQgetResult(db->conn)) != NULL) {
		if (PQresultStatus(r) != PGRES_COMMAND_OK) {
			const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
			const char *why = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);

			good = false;
			(void)snprintf(db->sqlstate, sizeof(db->sqlstate), "%.5s",
			    state != NULL ? state : "08000");
			(void)err_set(
			    err, "writing send rows: %s", why != NULL ? why : "connection lost");
		}
		PQclear(r);
	}
	if (!good)
		return -1;
	if (move_cursor(w, err) < 0)
		return -1;
	if (db_run(db, "COMMIT", 0, NULL) < 0)
		return writer_failed(w, err);
	w->cursor = w->number;
	log_debug("page written run=%d rows=%lld", w->job->run, (long long)w->cursor);
	return 0;
}

/* A row of the sorted candidates, lane TAB [origin TAB] recipient TAB address TAB key LF, is the rest of the line for
 * COPY, but for an address that is its own key. */
static void
append_row(struct buf *lines, struct slice row)
{
	static const char same[] = "\t\\N\t";
	const char *address = memmem(row.ptr, row.len, same, sizeof(same) - 1), *key;

	if (address == NULL) {
		buf_append_slice(lines, row);
		return;
	}
	key = address + sizeof(same) - 1;
	buf_append(lines, row.ptr, (size_t)(address + 1 - row.ptr));
	buf_append(lines, key, (size_t)(row.ptr + row.len - 1 - key));
	buf_append_char(lines, '\t');
	buf_append(lines, key, (size_t)(row.ptr + row.len - key));
}

static int
write_row(struct writing *w, struct slice line, struct err *err)
{
	w->number++;
	if (w->number <= w->cursor)
		return 0;
	if (!w->in_page) {
		if (begin_page(w, err) < 0)
			return -1;
		w->in_page = true;
	}
	buf_append_str(&w->lines, w->prefix);
	buf_append_uint(&w->lines, (uint64_t)w->number);
	buf_append_char(&w->lines, '\t');
	append_row(&w->lines, line);
	if (w->lines.len >= FLUSH_BYTES && flush(w, err) < 0)
		return -1;
	if (w->number - w->cursor < w->job->config->producer_page)
		return 0;
	w->in_page = false;
	CRASH_POINT("page_written");
	if (end_page(w, err) < 0)
		return -1;
	CRASH_POINT("page_committed");
	return 0;
}

/* ---- turns */

/* How many rows each lane will have, very nearly: a numbered twin may still have been left out. When all
 * who were read had a number, nobody is looked for who has none. */
static int
read_lanes(struct writing *w, struct err *err)
{
	uint64_t *counts = NULL;
	char sql[800];
	PGresult *r;

	(void)snprintf(sql, sizeof(sql),
	    "SELECT l.lane, coalesce(n.n, 0)::bigint FROM kairan.run_lane l LEFT JOIN (SELECT "
	    "lane, "
	    "sum(n) AS n FROM (SELECT lane, recipients AS n FROM kairan.domain_%d UNION ALL "
	    "SELECT d.lane, count(*) FROM kairan.candidate_%d c JOIN kairan.domain_%d d "
	    "ON d.domain = c.domain WHERE c.j IS NULL AND (SELECT r.audience > (SELECT "
	    "sum(recipients) FROM kairan.domain_%d) FROM kairan.run r WHERE r.id = %d) GROUP BY 1) "
	    "AS t GROUP BY 1) AS n ON n.lane = l.lane WHERE l.run_id = %d ORDER BY 1",
	    w->job->run, w->job->run, w->job->run, w->job->run, w->job->run, w->job->run);
	r = db_query(w->job->writer, sql, 0, NULL);
	if (r == NULL)
		return writer_failed(w, err);
	/* numbered from 1 without gaps */
	w->lane_count = (size_t)PQntuples(r) + 1;
	w->lanes = calloc(w->lane_count, sizeof(*w->lanes));
	counts = calloc(w->lane_count, sizeof(*counts));
	for (size_t i = 1; counts != NULL && i < w->lane_count; i++)
		counts[i] = (uint64_t)db_number(r, (int)i - 1, 1);
	PQclear(r);
	if (counts != NULL)
		w->turns = lane_order_new(counts, w->lane_count);
	free(counts);
	return w->turns != NULL && w->lanes != NULL ? 0 : err_set(err, "no memory");
}

static int
hold(struct writing *w, struct lane_queue *q, char *row)
{
	if (q->count == q->room) {
		size_t room = q->room > 0 ? 2 * q->room : 16;
		char **rows = calloc(room, sizeof(*rows));

		if (rows == NULL)
			return -1;
		for (size_t i = 0; i < q->count; i++)
			rows[i] = q->rows[(q->head + i) % q->room];
		free(q->rows);
		q->rows = rows;
		q->room = room;
		q->head = 0;
	}
	q->rows[(q->head + q->count++) % q->room] = row;
	w->held++;
	return 0;
}

/* Writes the oldest row of a lane. */
static int
give(struct writing *w, struct lane_queue *q, struct err *err)
{
	char *row = q->rows[q->head];
	int result = write_row(w, slice_str(row), err);

	PQfreemem(row);
	q->head = (q->head + 1) % q->room;
	q->count--;
	q->given++;
	w->held--;
	return result;
}

/* Rows whose turn it is. A lane that waits for a row stops them all, unless no more rows come. */
static int
give_turns(struct writing *w, bool ended, struct err *err)
{
	for (;;) {
		struct lane_queue *q;

		if (w->turn == 0)
			w->turn = lane_order_next(w->turns);
		if (w->turn < 0)
			return 0;
		q = &w->lanes[w->turn];
		if (q->count == 0 && !ended)
			return 0;
		w->turn = 0;
		if (q->count > 0 && give(w, q, err) < 0)
			return -1;
	}
}

/* Takes the row over. */
static int
take_row(struct writing *w, char *row, struct err *err)
{
	size_t lane = (size_t)strtoul(row, NULL, 10);
	struct lane_queue *q = &w->lanes[lane < w->lane_count ? lane : 0];

	if (hold(w, q, row) < 0) {
		PQfreemem(row);
		return err_set(err, "no memory");
	}
	if (give_turns(w, false, err) < 0)
		return -1;
	return w->held > HELD_MAX ? give(w, q, err) : 0;
}

/* What has no turn left: there were more rows than counted. */
static int
give_rest(struct writing *w, struct err *err)
{
	if (give_turns(w, true, err) < 0)
		return -1;
	for (size_t i = 0; i < w->lane_count; i++)
		while (w->lanes[i].count > 0)
			if (give(w, &w->lanes[i], err) < 0)
				return -1;
	return w->in_page ? end_page(w, err) : 0;
}

/* What the lanes have in the end. */
static int
save_lanes(struct writing *w, struct err *err)
{
	struct db *db = w->job->writer;

	if (db_run(db, "BEGIN", 0, NULL) < 0)
		return writer_failed(w, err);
	for (size_t i = 1; i < w->lane_count; i++) {
		char lane[24], given[24];
		const char *params[] = { w->run, lane, given };

		(void)snprintf(lane, sizeof(lane), "%zu", i);
		(void)snprintf(given, sizeof(given), "%llu", (unsigned long long)w->lanes[i].given);
		if (db_run(db,
			"UPDATE kairan.run_lane SET recipients = $3 WHERE run_id = $1 AND lane = "
			"$2 "
			"AND recipients <> $3",
			3, params) < 0)
			return writer_failed(w, err);
		log_debug("lane run=%d lane=%zu recipients=%s deviation=%.3f", w->job->run, i,
		    given, lane_order_deviation(w->turns, i));
	}
	return db_run(db, "COMMIT", 0, NULL) < 0 ? writer_failed(w, err) : 0;
}

static int
pump(struct writing *w, bool *reader_lost, struct err *err)
{
	char *row = NULL;
	int n = 0, result = 0;

	while (result == 0 && (w->in_page || !atomic_load(w->job->stop)) &&
	    (n = PQgetCopyData(w->reader.conn, &row, 0)) > 0)
		result = take_row(w, row, err);
	if (result < 0)
		return -1;
	if (n > 0)
		return 1;
	if (n == -2) {
		*reader_lost = PQstatus(w->reader.conn) != CONNECTION_OK;
		return err_set(err, "ordering the audience: %s", PQerrorMessage(w->reader.conn));
	}
	return give_rest(w, err) < 0 ? -1 : save_lanes(w, err);
}

static void
release(struct writing *w)
{
	for (size_t i = 0; w->lanes != NULL && i < w->lane_count; i++) {
		struct lane_queue *q = &w->lanes[i];

		while (q->count > 0) {
			PQfreemem(q->rows[q->head]);
			q->head = (q->head + 1) % q->room;
			q->count--;
		}
		free(q->rows);
	}
	free(w->lanes);
	lane_order_free(w->turns);
	db_close(&w->reader);
	buf_release(&w->lines);
}

int
order_write(const struct order_job *job, bool *reader_lost, struct err *err)
{
	struct writing w = { .job = job };
	int result = -1;

	*reader_lost = false;
	(void)snprintf(w.run, sizeof(w.run), "%d", job->run);
	(void)snprintf(w.prefix, sizeof(w.prefix), "%d\t", job->run);
	(void)snprintf(w.epoch, sizeof(w.epoch), "%lld", (long long)job->epoch);
	buf_init(&w.lines, (size_t)1 << 20);
	if (read_cursor(&w, err) == 0 && read_lanes(&w, err) == 0) {
		if (open_reader(&w, err) < 0)
			*reader_lost = w.reader.conn == NULL || db_is_lost(&w.reader);
		else
			result = pump(&w, reader_lost, err);
	}
	release(&w);
	/* whatever page was open is rolled back; of no use on a lost connection, and of no harm */
	if (result != 0 && PQtransactionStatus(job->writer->conn) != PQTRANS_IDLE) {
		char state[6];

		(void)snprintf(state, sizeof(state), "%s", job->writer->sqlstate);
		if (PQtransactionStatus(job->writer->conn) == PQTRANS_ACTIVE)
			(void)PQputCopyEnd(job->writer->conn, "given up");
		while (PQtransactionStatus(job->writer->conn) == PQTRANS_ACTIVE) {
			PGresult *r = PQgetResult(job->writer->conn);

			if (r == NULL)
				break;
			PQclear(r);
		}
		if (db_run(job->writer, "ROLLBACK", 0, NULL) < 0)
			log_debug("not rolled back error=\"%s\"", job->writer->error);
		(void)snprintf(job->writer->sqlstate, sizeof(job->writer->sqlstate), "%s", state);
	}
	return result;
}
