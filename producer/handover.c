/* SPDX-License-Identifier: Apache-2.0 */
/* handover: see handover.h. Blocking; one round is a few small statements per running run. */
#include "handover.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "crash.h"
#include "keys.h"
#include "log.h"

#define PUSH_CHUNK 1000	      /* ids in one RPUSH */
#define REFILL_CHUNK 10000    /* rows looked up at once */
#define STUCK_MS 5000	      /* queued rows, empty queue, nothing moving */
#define REDIS_AGAIN_MS 1000   /* between two attempts to reach Redis */
#define CALENDAR_US 900000000 /* a published pace holds for 15 minutes */

/* What this process remembers of a running run; losing it costs a look, nothing else. */
struct known_run {
	struct known_run *next;
	int id;
	int64_t refill_at; /* ids from here to `pushed` may be missing in Redis; -1: none are */
	int64_t queued, sending, deferred;
	int64_t since_ms; /* when these three last changed */
	bool seen;
};

struct handover {
	const struct config *config;
	const struct rds_address *address;
	redisContext *redis; /* NULL when it cannot be reached */
	int64_t redis_again_ms;
	struct known_run *runs;
};

struct run_row {
	int id;
	int64_t planned, pushed, low_water, queued, sending, deferred;
};

static int64_t
now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

struct handover *
handover_new(const struct config *config, const struct rds_address *redis)
{
	struct handover *h = calloc(1, sizeof(*h));

	if (h != NULL) {
		h->config = config;
		h->address = redis;
	}
	return h;
}

void
handover_free(struct handover *h)
{
	if (h == NULL)
		return;
	while (h->runs != NULL) {
		struct known_run *r = h->runs;

		h->runs = r->next;
		free(r);
	}
	if (h->redis != NULL)
		redisFree(h->redis);
	free(h);
}

static void
redis_lost(struct handover *h, const char *doing)
{
	log_warn("redis lost while=\"%s\" error=\"%s\"", doing, h->redis->errstr);
	redisFree(h->redis);
	h->redis = NULL;
	h->redis_again_ms = now_ms() + REDIS_AGAIN_MS;
}

static bool
redis_ready(struct handover *h)
{
	struct err err;

	if (h->redis != NULL)
		return true;
	if (now_ms() < h->redis_again_ms)
		return false;
	h->redis = rds_open(h->address, &err);
	if (h->redis != NULL && rds_check_policy(h->redis, &err) < 0) {
		redisFree(h->redis);
		h->redis = NULL;
	}
	if (h->redis == NULL) {
		log_warn("redis absent error=\"%s\"", err.msg);
		h->redis_again_ms = now_ms() + REDIS_AGAIN_MS;
	}
	return h->redis != NULL;
}

/* Runs a command whose answer is a number or OK; -1 when Redis is lost or says no. */
static int64_t
redis_number(struct handover *h, const char *doing, redisReply *reply)
{
	int64_t n = 0;

	if (reply == NULL) {
		redis_lost(h, doing);
		return -1;
	}
	if (reply->type == REDIS_REPLY_INTEGER)
		n = reply->integer;
	else if (reply->type == REDIS_REPLY_STRING)
		n = 1;
	if (reply->type == REDIS_REPLY_ERROR) {
		log_warn("redis refused while=\"%s\" error=\"%s\"", doing, reply->str);
		n = -1;
		if (strncmp(reply->str, "OOM", 3) != 0) { /* full: wait; else start afresh */
			redisFree(h->redis);
			h->redis = NULL;
			h->redis_again_ms = now_ms() + REDIS_AGAIN_MS;
		}
	}
	freeReplyObject(reply);
	return n;
}

/* Pushes ids (text, separated by blanks as built by the callers below). */
static int
push_ids(struct handover *h, int run, const char *command, const int64_t *ids, int count)
{
	char key[KEY_MAX], text[PUSH_CHUNK][12];
	const char *argv[PUSH_CHUNK + 2] = { command, key };

	(void)snprintf(key, sizeof(key), KEY_QUEUE, run, KEY_LANE_ALL);
	for (int done = 0; done < count;) {
		int n = count - done < PUSH_CHUNK ? count - done : PUSH_CHUNK;

		for (int i = 0; i < n; i++) {
			(void)snprintf(text[i], sizeof(text[i]), "%d", (int)ids[done + i]);
			argv[i + 2] = text[i];
		}
		if (redis_number(h, "pushing", redisCommandArgv(h->redis, n + 2, argv, NULL)) < 0)
			return -1;
		done += n;
	}
	return 0;
}

static int
set_pushed(struct db *db, int run, int64_t pushed)
{
	char number[16], value[24];
	const char *params[] = { number, value };

	(void)snprintf(number, sizeof(number), "%d", run);
	(void)snprintf(value, sizeof(value), "%lld", (long long)pushed);
	return db_run(db, "UPDATE kairan.run SET pushed = greatest(pushed, $2::int) WHERE id = $1",
	    2, params);
}

/* New ids are consecutive: no look at PostgreSQL is needed to push them. */
static int
push_next(struct handover *h, struct db *db, const struct run_row *row, int64_t room)
{
	int64_t ids[PUSH_CHUNK], next = row->pushed;
	int64_t last = row->planned - next < room ? row->planned : next + room;

	while (next < last) {
		int n = 0;

		while (n < PUSH_CHUNK && next + n < last) {
			ids[n] = next + n + 1;
			n++;
		}
		CRASH_POINT("before_push");
		if (push_ids(h, row->id, "RPUSH", ids, n) < 0)
			break;
		CRASH_POINT("pushed");
		next += n;
	}
	return next > row->pushed ? set_pushed(db, row->id, next) : 0;
}

/* Ids that were pushed before and are still queued: after a loss in Redis. */
static int
push_again(struct handover *h, struct db *db, const struct run_row *row, struct known_run *known,
    int64_t room)
{
	char number[16], from[24], to[24], limit[24];
	const char *params[] = { number, from, to, limit };
	int64_t *ids;
	PGresult *r;
	int n;

	(void)snprintf(number, sizeof(number), "%d", row->id);
	(void)snprintf(from, sizeof(from), "%lld", (long long)known->refill_at);
	(void)snprintf(to, sizeof(to), "%lld", (long long)row->pushed);
	(void)snprintf(
	    limit, sizeof(limit), "%lld", (long long)(room < REFILL_CHUNK ? room : REFILL_CHUNK));
	r = db_query(db,
	    "SELECT id FROM kairan.send WHERE run_id = $1 AND id >= $2::int AND id <= $3::int "
	    "AND state = 'queued' ORDER BY id LIMIT $4",
	    4, params);
	if (r == NULL)
		return -1;
	n = PQntuples(r);
	ids = calloc((size_t)n + 1, sizeof(*ids));
	for (int i = 0; ids != NULL && i < n; i++)
		ids[i] = db_number(r, i, 0);
	PQclear(r);
	if (ids == NULL)
		return 0;
	if (n > 0 && push_ids(h, row->id, "RPUSH", ids, n) == 0)
		known->refill_at = ids[n - 1] + 1;
	else if (n == 0)
		known->refill_at = -1;
	log_info("queue refilled run=%d ids=%d", row->id, n);
	free(ids);
	return 0;
}

static struct known_run *
know(struct handover *h, const struct run_row *row)
{
	struct known_run *k = h->runs;

	while (k != NULL && k->id != row->id)
		k = k->next;
	if (k == NULL) {
		k = calloc(1, sizeof(*k));
		if (k == NULL)
			return NULL;
		*k = (struct known_run){
			.next = h->runs, .id = row->id, .refill_at = -1, .queued = -1
		};
		h->runs = k;
	}
	if (k->queued != row->queued || k->sending != row->sending ||
	    k->deferred != row->deferred) {
		k->queued = row->queued;
		k->sending = row->sending;
		k->deferred = row->deferred;
		k->since_ms = now_ms();
	}
	k->seen = true;
	return k;
}

static int
feed(struct handover *h, struct db *db, const struct run_row *row, struct known_run *known)
{
	char generation[KEY_MAX], queue[KEY_MAX];
	int64_t there, length, room;

	(void)snprintf(generation, sizeof(generation), KEY_GENERATION, row->id);
	(void)snprintf(queue, sizeof(queue), KEY_QUEUE, row->id, KEY_LANE_ALL);
	there = redis_number(h, "looking", redisCommand(h->redis, "EXISTS %s", generation));
	if (there < 0)
		return 0;
	if (there == 0) {
		if (redis_number(h, "marking", redisCommand(h->redis, "SET %s 1", generation)) < 0)
			return 0;
		if (row->pushed > 0) {
			log_warn("redis lost the jobs of run=%d; refilling", row->id);
			known->refill_at = row->low_water;
		}
	}
	length = redis_number(h, "measuring", redisCommand(h->redis, "LLEN %s", queue));
	if (length < 0)
		return 0;
	room = h->config->producer_backlog - length;
	if (known->refill_at < 0 && row->queued > 0 && length == 0 && row->pushed >= row->planned &&
	    now_ms() - known->since_ms > STUCK_MS) {
		known->refill_at = row->low_water;
		known->since_ms = now_ms();
	}
	if (room < (h->config->producer_backlog + 1) / 2)
		return 0;
	if (known->refill_at >= 0)
		return push_again(h, db, row, known, room);
	return row->pushed < row->planned ? push_next(h, db, row, room) : 0;
}

/* The counts say that nothing is left; the rows have the last word. */
static int
end_run(struct db *db, const struct run_row *row, struct known_run *known)
{
	char number[16];
	const char *params[] = { number };
	PGresult *r;
	bool left;

	(void)snprintf(number, sizeof(number), "%d", row->id);
	CRASH_POINT("before_finish");
	r = db_query(db, "SELECT kairan.run_end($1)", 1, params);
	if (r == NULL)
		return -1;
	left = db_text(r, 0, 0)[0] != 't';
	PQclear(r);
	if (left) {
		if (now_ms() - known->since_ms > STUCK_MS) {
			log_error(
			    "counts of run=%d say that it is done, its rows do not; refilling",
			    row->id);
			known->refill_at = row->low_water;
			known->since_ms = now_ms();
		}
		return 0;
	}
	log_info("run finished run=%d", row->id);
	return 0;
}

static void
forget_keys(struct handover *h, int run)
{
	char generation[KEY_MAX], queue[KEY_MAX];

	if (h->redis == NULL)
		return;
	(void)snprintf(generation, sizeof(generation), KEY_GENERATION, run);
	(void)snprintf(queue, sizeof(queue), KEY_QUEUE, run, KEY_LANE_ALL);
	(void)redis_number(h, "tidying", redisCommand(h->redis, "DEL %s %s", generation, queue));
}

static int
feed_runs(struct handover *h, struct db *db)
{
	PGresult *r = db_query(db,
	    "SELECT r.id, r.planned, r.pushed, r.low_water, p.queued, p.sending, p.deferred "
	    "FROM kairan.run r JOIN kairan.campaign_progress p ON p.run_id = r.id "
	    "WHERE r.state = 'running' ORDER BY r.id",
	    0, NULL);
	struct known_run **link, *k;
	int result = 0;

	if (r == NULL)
		return -1;
	for (k = h->runs; k != NULL; k = k->next)
		k->seen = false;
	for (int i = 0; i < PQntuples(r) && result == 0; i++) {
		struct run_row row = { (int)db_number(r, i, 0), db_number(r, i, 1),
			db_number(r, i, 2), db_number(r, i, 3), db_number(r, i, 4),
			db_number(r, i, 5), db_number(r, i, 6) };

		k = know(h, &row);
		if (k == NULL)
			continue;
		if (row.queued <= 0 && row.sending <= 0 && row.deferred <= 0)
			result = end_run(db, &row, k);
		if (result == 0 && redis_ready(h))
			result = feed(h, db, &row, k);
	}
	PQclear(r);
	for (link = &h->runs; result == 0 && (k = *link) != NULL;) {
		if (k->seen) {
			link = &k->next;
			continue;
		}
		forget_keys(h, k->id); /* paused, cancelled, finished: a resume refills */
		*link = k->next;
		free(k);
	}
	return result;
}

/* Deferred recipients whose time has come. Pushed ones are pushed again after a while, in case
 * Redis lost them. */
static int
push_retries(struct handover *h, struct db *db)
{
	PGresult *r = db_query(db,
	    "SELECT t.run_id, t.send_id FROM kairan.retry t JOIN kairan.run r ON r.id = t.run_id "
	    "WHERE t.due_at <= now() AND (t.pushed_at IS NULL OR t.pushed_at < now() - interval "
	    "'30 s') "
	    "AND r.state = 'running' ORDER BY t.run_id, t.due_at LIMIT 1000",
	    0, NULL);
	int n, result = 0;

	if (r == NULL)
		return -1;
	n = PQntuples(r);
	for (int i = 0; i < n && result == 0; i++) {
		const char *params[] = { db_text(r, i, 0), db_text(r, i, 1) };
		int64_t id = db_number(r, i, 1);

		if (push_ids(h, (int)db_number(r, i, 0), "LPUSH", &id, 1) < 0)
			break;
		CRASH_POINT("retry_pushed");
		result = db_run(db,
		    "UPDATE kairan.retry SET pushed_at = now() WHERE run_id = $1 AND send_id = $2",
		    2, params);
	}
	PQclear(r);
	return result;
}

/* Retries that were taken, or whose run is over. */
static int
forget_retries(struct db *db)
{
	return db_run(db,
	    "DELETE FROM kairan.retry t USING kairan.run r WHERE r.id = t.run_id "
	    "AND t.due_at <= now() AND (r.state NOT IN ('running', 'paused') "
	    "OR (t.pushed_at < now() - interval '1 s' AND NOT EXISTS "
	    "(SELECT FROM kairan.send s WHERE s.run_id = t.run_id AND s.id = t.send_id "
	    "AND s.state = 'deferred')))",
	    0, NULL);
}

static int
publish_pace(struct handover *h, struct db *db)
{
	PGresult *r;
	redisReply *time_reply;
	int64_t now_us;

	time_reply = redisCommand(h->redis, "TIME");
	if (time_reply == NULL || time_reply->type != REDIS_REPLY_ARRAY ||
	    time_reply->elements != 2) {
		freeReplyObject(time_reply);
		if (h->redis->err != 0)
			redis_lost(h, "asking the time");
		return 0;
	}
	now_us = strtoll(time_reply->element[0]->str, NULL, 10) * 1000000 +
	    strtoll(time_reply->element[1]->str, NULL, 10);
	freeReplyObject(time_reply);
	r = db_query(
	    db, "SELECT name, coalesce(1000000 / rate_per_s, 0) FROM kairan.stream", 0, NULL);
	if (r == NULL)
		return -1;
	for (int i = 0; i < PQntuples(r) && h->redis != NULL; i++) {
		char key[KEY_MAX];

		(void)snprintf(key, sizeof(key), KEY_CALENDAR, db_text(r, i, 0));
		(void)redis_number(h, "publishing the pace",
		    redisCommand(h->redis, "HSET %s %s %lld|%lld|%s", key, KEY_LANE_ALL,
			(long long)(now_us - 1000000), (long long)(now_us + CALENDAR_US),
			db_text(r, i, 1)));
	}
	PQclear(r);
	return 0;
}

int
handover_round(struct handover *h, struct db *db, struct err *err)
{
	if ((redis_ready(h) && publish_pace(h, db) < 0) || feed_runs(h, db) < 0 ||
	    (h->redis != NULL && push_retries(h, db) < 0) || forget_retries(db) < 0)
		return err_set(err, "handing over: %s", db->error);
	return 0;
}
