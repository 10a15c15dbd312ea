/* SPDX-License-Identifier: Apache-2.0 */
/* feed: see feed.h. */
#include "feed.h"

#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "crash.h"
#include "log.h"
#include "pgarray.h"
#include "rds_read.h"

#define PUSH_CHUNK 1000	     /* ids pushed at once without a look at PostgreSQL */
#define REFILL_CHUNK 10000   /* rows looked up at once */
#define SORT_CHUNK 5000	     /* ids moved from one list to others at once */
#define LIST_BACKLOG_MIN 100 /* of a list that has its own clock */

/* Rows of (id, lane) at the end of their lists. */
static int
push_sorted(struct jobs *j, const struct known_run *k, const PGresult *rows)
{
	int n = PQntuples(rows), result = 0;
	int64_t *ids = calloc((size_t)n + 1, sizeof(*ids));

	for (size_t i = 0; ids != NULL && result == 0 && i < k->list_count; i++) {
		int count = 0;

		for (int row = 0; row < n; row++) {
			size_t l = k->list_count - 1;

			while (l > 0 && k->lists[l].lane != db_number(rows, row, 1))
				l--;
			if (l == i)
				ids[count++] = db_number(rows, row, 0);
		}
		result = jobs_push(j, k->id, k->lists[i].lane, "RPUSH", ids, count);
	}
	free(ids);
	return result;
}

/* Ids in list 0 whose lane has a list of its own now go there. What is lost on the way is found
 * like anything that Redis loses. 0; -1: PostgreSQL failed. */
static int
sort_list(struct jobs *j, struct db *db, struct known_run *k)
{
	char key[KEY_MAX], number[16];
	int result = 0;

	jobs_key(key, k->id, 0);
	(void)snprintf(number, sizeof(number), "%d", k->id);
	for (int64_t left = jobs_number(j, "measuring", redisCommand(j->redis, "LLEN %s", key));
	     result == 0 && j->redis != NULL && left > 0; left -= SORT_CHUNK) {
		redisReply *reply = redisCommand(j->redis, "LPOP %s %d", key, SORT_CHUNK);
		struct buf ids;
		const char *params[] = { number, NULL };
		PGresult *r = NULL;

		if (reply == NULL) {
			jobs_lost(j, "sorting");
			return 0;
		}
		buf_init(&ids, (size_t)1 << 20);
		for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++)
			if (rds_read_id(reply->element[i]) > 0)
				pgarray_int(&ids, rds_read_id(reply->element[i]));
		freeReplyObject(reply);
		params[1] = pgarray_end(&ids);
		if (params[1] != NULL)
			r = db_query(db,
			    "SELECT id, lane FROM kairan.send WHERE run_id = $1 AND id = ANY "
			    "($2::int[]) ORDER BY id",
			    2, params);
		result = r != NULL ? 0 : -1;
		if (r != NULL && push_sorted(j, k, r) < 0)
			left = 0; /* Redis says no */
		PQclear(r);
		buf_release(&ids);
	}
	return result;
}

/* A cursor never goes back, and only its own program moves it forward. */
static int
save_pushed(struct db *db, int run, const struct list *l)
{
	char number[16], lane[16], pushed[24], handed[24];
	const char *params[] = { number, pushed, lane, handed };

	(void)snprintf(number, sizeof(number), "%d", run);
	(void)snprintf(lane, sizeof(lane), "%d", l->lane);
	(void)snprintf(pushed, sizeof(pushed), "%lld", (long long)l->pushed);
	(void)snprintf(handed, sizeof(handed), "%lld", (long long)l->handed);
	return l->lane == 0
	    ? db_run(db, "UPDATE kairan.run SET pushed = greatest(pushed, $2::int) WHERE id = $1",
		  2, params)
	    : db_run(db,
		  "UPDATE kairan.run_lane SET pushed = greatest(pushed, $2::int), "
		  "handed = greatest(handed, $4::bigint) WHERE run_id = $1 "
		  "AND lane = $3",
		  4, params);
}

/* Without other lists ids are consecutive: no look at PostgreSQL is needed to push them. */
static int
push_all(struct jobs *j, struct db *db, const struct run_row *row, struct list *l, int64_t room)
{
	int64_t ids[PUSH_CHUNK], next = l->pushed;
	int64_t last = row->open - next < room ? row->open : next + room;

	while (next < last) {
		int n = 0;

		while (n < PUSH_CHUNK && next + n < last) {
			ids[n] = next + n + 1;
			n++;
		}
		CRASH_POINT("before_push");
		if (jobs_push(j, row->id, 0, "RPUSH", ids, n) < 0)
			break;
		CRASH_POINT("pushed");
		next += n;
	}
	if (next == l->pushed)
		return 0;
	l->length += next - l->pushed;
	l->pushed = next;
	return save_pushed(db, row->id, l);
}

/* Ids of a list, from behind one, up to another; again: those still queued. -1: PostgreSQL. */
static int
find_ids(struct db *db, const struct known_run *k, const struct list *l, int64_t behind,
    int64_t last, bool again, int64_t limit, int64_t **ids)
{
	char number[16], from[24], to[24], most[24], lane[40];
	const char *params[] = { number, from, to, most };
	struct buf sql;
	PGresult *r = NULL;
	int n = -1;

	(void)snprintf(number, sizeof(number), "%d", k->id);
	(void)snprintf(from, sizeof(from), "%lld", (long long)behind);
	(void)snprintf(to, sizeof(to), "%lld", (long long)last);
	(void)snprintf(
	    most, sizeof(most), "%lld", (long long)(limit < REFILL_CHUNK ? limit : REFILL_CHUNK));
	(void)snprintf(lane, sizeof(lane), "AND lane = %d", l->lane);
	buf_init(&sql, (size_t)1 << 20);
	buf_printf(&sql,
	    "SELECT id FROM kairan.send WHERE run_id = $1 AND id > $2::int AND id <= $3::int %s %s "
	    "ORDER BY id LIMIT $4",
	    again ? "AND state = 'queued'" : "", l->lane > 0 ? lane : k->others);
	if (!buf_failed(&sql))
		r = db_query(db, buf_str(&sql), 4, params);
	buf_release(&sql);
	if (r == NULL)
		return -1;
	*ids = calloc((size_t)PQntuples(r) + 1, sizeof(**ids));
	n = *ids != NULL ? PQntuples(r) : -1;
	for (int i = 0; i < n; i++)
		(*ids)[i] = db_number(r, i, 0);
	PQclear(r);
	return n;
}

static int
push_list(struct jobs *j, struct db *db, const struct run_row *row, const struct known_run *k,
    struct list *l, int64_t room)
{
	int64_t *ids = NULL;
	int n = find_ids(db, k, l, l->pushed, row->open, false, room, &ids), result = 0;

	if (n < 0)
		return -1;
	CRASH_POINT("before_push");
	if (n == 0) {
		l->clear = row->open;
		if (l->lane == 0) {
			l->pushed = row->open;
			result = save_pushed(db, k->id, l);
		}
	} else if (jobs_push(j, k->id, l->lane, "RPUSH", ids, n) == 0) {
		CRASH_POINT("pushed");
		l->pushed = ids[n - 1];
		l->handed += n;
		l->length += n;
		result = save_pushed(db, k->id, l);
	}
	free(ids);
	return result;
}

/* Ids that were pushed before and are still queued: after a loss in Redis. */
static int
push_again(struct jobs *j, struct db *db, const struct known_run *k, struct list *l, int64_t room)
{
	int64_t *ids = NULL;
	int n = find_ids(db, k, l, l->refill_at - 1, l->pushed, true, room, &ids);

	if (n < 0)
		return -1;
	if (n > 0 && jobs_push(j, k->id, l->lane, "RPUSH", ids, n) == 0) {
		l->refill_at = ids[n - 1] + 1;
		l->length += n;
	} else if (n == 0)
		l->refill_at = -1;
	log_info("queue refilled run=%d lane=%d ids=%d", k->id, l->lane, n);
	free(ids);
	return 0;
}

static int
feed_list(struct jobs *j, struct db *db, const struct run_row *row, const struct known_run *k,
    struct list *l, int64_t backlog)
{
	int64_t room;

	if (l->lane > 0) { /* together not more than one */
		backlog /= (int64_t)k->list_count - 1;
		backlog = backlog > LIST_BACKLOG_MIN ? backlog : LIST_BACKLOG_MIN;
	}
	room = backlog - l->length;
	if (room < (backlog + 1) / 2)
		return 0;
	if (l->refill_at >= 0)
		return push_again(j, db, k, l, room);
	if (known_run_list_is_done(l, row->open))
		return 0;
	return k->list_count == 1 ? push_all(j, db, row, l, room)
				  : push_list(j, db, row, k, l, room);
}

/* What Redis has of a run. False when it cannot be asked. */
static bool
measure(struct jobs *j, const struct known_run *k)
{
	char key[KEY_MAX];
	int64_t length, left;

	for (size_t i = 0; i < k->list_count; i++) {
		jobs_key(key, k->id, k->lists[i].lane);
		length = jobs_number(j, "measuring", redisCommand(j->redis, "LLEN %s", key));
		if (length < 0)
			return false;
		left = k->lists[i].length - length;
		retry_budget_earn(&k->lists[i].retries, left);
		k->lists[i].ahead -= left > 0 ? left : 0;
		if (k->lists[i].ahead < 0)
			k->lists[i].ahead = 0;
		k->lists[i].length = length;
	}
	return true;
}

static int
forget_pushes(struct db *db, int run)
{
	char number[16];
	const char *params[] = { number };

	(void)snprintf(number, sizeof(number), "%d", run);
	return db_run(db,
	    "UPDATE kairan.retry SET pushed_at = NULL WHERE run_id = $1 AND pushed_at IS NOT NULL",
	    1, params);
}

int
feed_run(
    struct jobs *j, struct db *db, const struct run_row *row, struct known_run *k, int64_t backlog)
{
	char generation[KEY_MAX];
	int64_t there, length = 0;
	bool pushed = false, refilling = false, all = true;
	int result = 0;

	(void)snprintf(generation, sizeof(generation), KEY_GENERATION, row->id);
	there = jobs_number(j, "looking", redisCommand(j->redis, "EXISTS %s", generation));
	if (there < 0)
		return 0;
	if (there == 0) {
		if (jobs_number(j, "marking", redisCommand(j->redis, "SET %s 1", generation)) < 0)
			return 0;
		for (size_t i = 0; i < k->list_count; i++)
			pushed = pushed || k->lists[i].pushed > 0;
		if (pushed) {
			log_warn("redis lost the jobs of run=%d; refilling", row->id);
			known_run_refill(k, row->low_water);
			result = forget_pushes(db, row->id);
		}
	}
	if (k->unsorted && result == 0) {
		k->unsorted = false;
		result = sort_list(j, db, k);
	}
	if (j->redis == NULL || !measure(j, k))
		return result;
	for (size_t i = 0; i < k->list_count; i++) {
		length += k->lists[i].length;
		refilling = refilling || k->lists[i].refill_at >= 0;
		all = all && known_run_list_is_done(&k->lists[i], row->open);
	}
	if (!refilling && all && row->queued - (row->planned - row->open) > length &&
	    jobs_now_ms() - k->since_ms > FEED_STUCK_MS)
		known_run_refill(k, row->low_water);
	for (size_t i = 0; result == 0 && j->redis != NULL && i < k->list_count; i++)
		result = feed_list(j, db, row, k, &k->lists[i], backlog);
	return result;
}
