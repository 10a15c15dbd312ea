/* SPDX-License-Identifier: Apache-2.0 */
/* handover: see handover.h. Blocking; one round is a few small statements per running run. */
#include "handover.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "allowance.h"
#include "braker.h"
#include "buf.h"
#include "crash.h"
#include "keys.h"
#include "log.h"
#include "pacer.h"
#include "pgarray.h"
#include "rds_read.h"
#include "retry_budget.h"

#define PUSH_CHUNK 1000	     /* ids in one RPUSH */
#define REFILL_CHUNK 10000   /* rows looked up at once */
#define STUCK_MS 5000	     /* queued rows, empty queue, nothing moving */
#define REDIS_AGAIN_MS 1000  /* between two attempts to reach Redis */
#define SORT_CHUNK 5000	     /* ids moved from one list to others at once */
#define LIST_BACKLOG_MIN 100 /* of a list that has its own clock */

/* A list of ids: list 0 of every run, and one for each lane that has a clock of its own. */
struct list {
	int lane;		 /* 0: all others */
	char *name;		 /* of the lane, owned */
	int group;		 /* of the provider table */
	const struct zone *zone; /* of its recipients; NULL: it does not matter */
	int64_t recipients;	 /* of the lane */
	int64_t pushed;		 /* ids up to here were handed over */
	int64_t handed;		 /* how many of the lane these were */
	int64_t refill_at; /* ids from here to `pushed` may be missing in Redis; -1: none are */
	int64_t length;	   /* in Redis: as measured last, and what was pushed since */
	int64_t clear;	   /* between `pushed` and here there is nothing */
	int64_t ahead;	   /* retries in it: they leave first */
	struct retry_budget retries;
};

/* What this process remembers of a running run; losing it costs a look, nothing else. */
struct known_run {
	struct known_run *next;
	int id;
	struct list *lists; /* owned; lists[0] is list 0 */
	size_t list_count;
	char *others; /* SQL: rows of list 0, owned */
	int64_t queued, sending, deferred;
	int64_t since_ms; /* when these three last changed */
	char *stream;	  /* owned */
	double per_s;	  /* of the stream, 0: no limit */
	double began;	  /* us since 2026 */
	enum share_class class;
	double weight;
	bool reserve;
	double until; /* us since 2026, 0: not spread */
	int quiet_from, quiet_till;
	bool seen;
	int64_t planned, open;	  /* recipients; ids up to here may be handed over */
	int64_t relisted;	  /* of run */
	bool unsorted;		  /* list 0 may hold ids of other lists */
	struct pacer_lane *lanes; /* owned; lists for the pacer */
};

struct handover {
	const struct config *config;
	const struct rds_address *address;
	redisContext *redis; /* NULL when it cannot be reached */
	int64_t redis_again_ms;
	struct known_run *runs;
	struct policy *policy;
	struct braker *braker; /* NULL: pace.adaptive is off */
	struct pacer *pacer;
	struct account *account;
	struct allowance allowance;
};

struct run_row {
	int id;
	int64_t planned, pushed, low_water, queued, sending, deferred;
	int64_t open; /* ids up to here may be handed over: all, or those of the canary */
	const char *stream;
	double per_s, began;
	enum share_class class;
	double weight;
	bool reserve;
	int64_t relisted;
	double until;
	int quiet_from, quiet_till;
};

static int64_t
now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

struct handover *
handover_new(const struct config *config, struct policy *policy, const struct rds_address *redis,
    struct account *account)
{
	struct handover *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return NULL;
	h->config = config;
	h->policy = policy;
	h->address = redis;
	h->account = account;
	if (config->pace_adaptive)
		h->braker = braker_new(config, policy);
	h->pacer = pacer_new(policy, h->braker, config->pace_takeover_s);
	if (h->pacer == NULL || (config->pace_adaptive && h->braker == NULL)) {
		handover_free(h);
		return NULL;
	}
	return h;
}

static void
run_forget(struct known_run *k)
{
	for (size_t i = 0; i < k->list_count; i++)
		free(k->lists[i].name);
	free(k->lists);
	free(k->others);
	free(k->stream);
	free(k->lanes);
	free(k);
}

void
handover_free(struct handover *h)
{
	if (h == NULL)
		return;
	while (h->runs != NULL) {
		struct known_run *r = h->runs;

		h->runs = r->next;
		run_forget(r);
	}
	pacer_free(h->pacer);
	braker_free(h->braker);
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

static void
list_key(char key[KEY_MAX], int run, int lane)
{
	if (lane == 0)
		(void)snprintf(key, KEY_MAX, KEY_QUEUE, run, KEY_LANE_ALL);
	else
		(void)snprintf(key, KEY_MAX, KEY_QUEUE_LANE, run, lane);
}

static int
push_ids(struct handover *h, int run, int lane, const char *command, const int64_t *ids, int count)
{
	char key[KEY_MAX], text[PUSH_CHUNK][12];
	const char *argv[PUSH_CHUNK + 2] = { command, key };

	list_key(key, run, lane);
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

/* Rows of (id, lane) at the end of their lists. */
static int
push_sorted(struct handover *h, const struct known_run *k, const PGresult *rows)
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
		result = push_ids(h, k->id, k->lists[i].lane, "RPUSH", ids, count);
	}
	free(ids);
	return result;
}

/* Ids in list 0 whose lane has a list of its own now go there. What is lost on the way is found
 * like anything that Redis loses. 0; -1: PostgreSQL failed. */
static int
sort_list(struct handover *h, struct db *db, struct known_run *k)
{
	char key[KEY_MAX], number[16];
	int result = 0;

	list_key(key, k->id, 0);
	(void)snprintf(number, sizeof(number), "%d", k->id);
	for (int64_t left = redis_number(h, "measuring", redisCommand(h->redis, "LLEN %s", key));
	     result == 0 && h->redis != NULL && left > 0; left -= SORT_CHUNK) {
		redisReply *reply = redisCommand(h->redis, "LPOP %s %d", key, SORT_CHUNK);
		struct buf ids;
		const char *params[] = { number, NULL };
		PGresult *r = NULL;

		if (reply == NULL) {
			redis_lost(h, "sorting");
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
		if (r != NULL && push_sorted(h, k, r) < 0)
			left = 0; /* Redis says no */
		PQclear(r);
		buf_release(&ids);
	}
	return result;
}

/* ---- what is known of a run ---- */

/* List 0, and the lanes with a list of their own. */
static int
read_lists(struct handover *h, struct db *db, struct known_run *k)
{
	char number[16];
	const char *params[] = { number };
	struct buf others;
	struct err err = { 0 };
	PGresult *r;
	int n;

	(void)snprintf(number, sizeof(number), "%d", k->id);
	r = db_query(db,
	    "SELECT lane, name, provider, recipients, pushed, handed, time_zone FROM "
	    "kairan.run_lane "
	    "WHERE run_id = $1 AND paced ORDER BY lane",
	    1, params);
	if (r == NULL)
		return -1;
	n = PQntuples(r);
	buf_init(&others, (size_t)1 << 20);
	k->lists = calloc((size_t)n + 1, sizeof(*k->lists));
	k->lanes = calloc((size_t)n + 1, sizeof(*k->lanes));
	for (int i = 0; k->lists != NULL && i < n; i++) {
		struct list *l = &k->lists[i + 1];

		*l = (struct list){ .lane = (int)db_number(r, i, 0),
			.name = strdup(db_text(r, i, 1)),
			.group = providers_find(
			    policy_providers(h->policy), slice_str(db_text(r, i, 2))),
			.recipients = db_number(r, i, 3),
			.pushed = db_number(r, i, 4),
			.handed = db_number(r, i, 5),
			.refill_at = -1 };
		if (db_text(r, i, 6)[0] != '\0')
			l->zone = policy_zone_named(h->policy, db_text(r, i, 6), &err);
		/* a group that the table no longer has is an unknown site */
		if (l->group == PROVIDERS_NONE)
			l->group =
			    providers_find(policy_providers(h->policy), SLICE(POLICY_DEFAULT));
		buf_printf(&others, "%s%d", i > 0 ? "," : "AND lane <> ALL ('{", l->lane);
	}
	buf_append_str(&others, n > 0 ? "}')" : "");
	PQclear(r);
	k->others = buf_failed(&others) ? NULL : strdup(buf_str(&others));
	buf_release(&others);
	if (k->lists == NULL || k->lanes == NULL || k->others == NULL)
		return 1;
	k->list_count = (size_t)n + 1;
	k->lists[0] = (struct list){ .group = PROVIDERS_NONE, .refill_at = -1 };
	return 0;
}

/* NULL: no memory, or PostgreSQL failed (*lost). */
static struct known_run *
know(struct handover *h, struct db *db, const struct run_row *row, bool *lost)
{
	struct known_run **link = &h->runs, *k;
	bool unsorted = false;

	while ((k = *link) != NULL && k->id != row->id)
		link = &k->next;
	if (k != NULL && k->relisted != row->relisted) { /* lanes have lists of their own now */
		*link = k->next;
		run_forget(k);
		k = NULL;
		unsorted = true;
	}
	if (k == NULL) {
		int result;

		k = calloc(1, sizeof(*k));
		if (k == NULL)
			return NULL;
		*k = (struct known_run){
			.id = row->id,
			.queued = -1,
			.stream = strdup(row->stream),
			.relisted = row->relisted,
			.unsorted = unsorted,
		};
		result = read_lists(h, db, k);
		*lost = result < 0;
		if (result != 0 || k->stream == NULL) {
			run_forget(k);
			return NULL;
		}
		k->next = h->runs;
		h->runs = k;
	}
	if (k->queued != row->queued || k->sending != row->sending ||
	    k->deferred != row->deferred) {
		k->queued = row->queued;
		k->sending = row->sending;
		k->deferred = row->deferred;
		k->since_ms = now_ms();
	}
	k->lists[0].pushed = row->pushed;
	k->per_s = row->per_s;
	k->began = row->began;
	k->class = row->class;
	k->weight = row->weight;
	k->reserve = row->reserve;
	k->until = row->until;
	k->quiet_from = row->quiet_from;
	k->quiet_till = row->quiet_till;
	k->planned = row->planned;
	k->open = row->open;
	k->seen = true;
	return k;
}

/* ---- pushing ---- */

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
push_all(struct handover *h, struct db *db, const struct run_row *row, struct list *l, int64_t room)
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
		if (push_ids(h, row->id, 0, "RPUSH", ids, n) < 0)
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
push_list(struct handover *h, struct db *db, const struct run_row *row, const struct known_run *k,
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
	} else if (push_ids(h, k->id, l->lane, "RPUSH", ids, n) == 0) {
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
push_again(
    struct handover *h, struct db *db, const struct known_run *k, struct list *l, int64_t room)
{
	int64_t *ids = NULL;
	int n = find_ids(db, k, l, l->refill_at - 1, l->pushed, true, room, &ids);

	if (n < 0)
		return -1;
	if (n > 0 && push_ids(h, k->id, l->lane, "RPUSH", ids, n) == 0) {
		l->refill_at = ids[n - 1] + 1;
		l->length += n;
	} else if (n == 0)
		l->refill_at = -1;
	log_info("queue refilled run=%d lane=%d ids=%d", k->id, l->lane, n);
	free(ids);
	return 0;
}

static bool
is_done(int64_t open, const struct list *l)
{
	return l->pushed >= open ||
	    (l->lane > 0 && (l->clear >= open || l->handed >= l->recipients));
}

static int
feed_list(struct handover *h, struct db *db, const struct run_row *row, const struct known_run *k,
    struct list *l)
{
	int64_t backlog = h->config->producer_backlog, room;

	if (l->lane > 0) { /* together not more than one */
		backlog /= (int64_t)k->list_count - 1;
		backlog = backlog > LIST_BACKLOG_MIN ? backlog : LIST_BACKLOG_MIN;
	}
	room = backlog - l->length;
	if (room < (backlog + 1) / 2)
		return 0;
	if (l->refill_at >= 0)
		return push_again(h, db, k, l, room);
	if (is_done(row->open, l))
		return 0;
	return k->list_count == 1 ? push_all(h, db, row, l, room)
				  : push_list(h, db, row, k, l, room);
}

static void
refill(struct known_run *k, int64_t low_water)
{
	for (size_t i = 0; i < k->list_count; i++)
		k->lists[i].refill_at = low_water > 0 ? low_water : 1;
	k->since_ms = now_ms();
}

/* What Redis has of a run. False when it cannot be asked. */
static bool
measure(struct handover *h, const struct known_run *k)
{
	char key[KEY_MAX];
	int64_t length, left;

	for (size_t i = 0; i < k->list_count; i++) {
		list_key(key, k->id, k->lists[i].lane);
		length = redis_number(h, "measuring", redisCommand(h->redis, "LLEN %s", key));
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

static int
feed(struct handover *h, struct db *db, const struct run_row *row, struct known_run *k)
{
	char generation[KEY_MAX];
	int64_t there, length = 0;
	bool pushed = false, refilling = false, all = true;
	int result = 0;

	(void)snprintf(generation, sizeof(generation), KEY_GENERATION, row->id);
	there = redis_number(h, "looking", redisCommand(h->redis, "EXISTS %s", generation));
	if (there < 0)
		return 0;
	if (there == 0) {
		if (redis_number(h, "marking", redisCommand(h->redis, "SET %s 1", generation)) < 0)
			return 0;
		for (size_t i = 0; i < k->list_count; i++)
			pushed = pushed || k->lists[i].pushed > 0;
		if (pushed) {
			log_warn("redis lost the jobs of run=%d; refilling", row->id);
			refill(k, row->low_water);
			result = forget_pushes(db, row->id);
		}
	}
	if (k->unsorted && result == 0) {
		k->unsorted = false;
		result = sort_list(h, db, k);
	}
	if (h->redis == NULL || !measure(h, k))
		return result;
	for (size_t i = 0; i < k->list_count; i++) {
		length += k->lists[i].length;
		refilling = refilling || k->lists[i].refill_at >= 0;
		all = all && is_done(row->open, &k->lists[i]);
	}
	if (!refilling && all && row->queued - (row->planned - row->open) > length &&
	    now_ms() - k->since_ms > STUCK_MS)
		refill(k, row->low_water);
	for (size_t i = 0; result == 0 && h->redis != NULL && i < k->list_count; i++)
		result = feed_list(h, db, row, k, &k->lists[i]);
	return result;
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
			refill(known, row->low_water);
		}
		return 0;
	}
	log_info("run finished run=%d", row->id);
	return 0;
}

static void
forget_keys(struct handover *h, const struct known_run *k)
{
	char key[KEY_MAX];

	if (h->redis == NULL)
		return;
	(void)snprintf(key, sizeof(key), KEY_GENERATION, k->id);
	(void)redis_number(h, "tidying", redisCommand(h->redis, "DEL %s", key));
	for (size_t i = 0; h->redis != NULL && i < k->list_count; i++) {
		list_key(key, k->id, k->lists[i].lane);
		(void)redis_number(h, "tidying", redisCommand(h->redis, "DEL %s", key));
	}
}

static int
feed_runs(struct handover *h, struct db *db)
{
	PGresult *r = db_query(db,
	    "SELECT r.id, r.planned, r.pushed, r.low_water, p.queued, p.sending, p.deferred, "
	    "s.name, "
	    "coalesce(s.rate_per_s, 0), extract(epoch FROM coalesce(r.started_at, r.due_at)), "
	    "CASE WHEN r.snapshot ? 'mail' OR s.kind = 'transactional' THEN 0 "
	    "WHEN s.kind = 'triggered' THEN 1 ELSE 2 END, c.weight, "
	    "kairan.urgent_in_use(s.id), r.relisted, "
	    "coalesce(extract(epoch FROM r.started_at) + c.spread_s, 0), "
	    "coalesce(c.quiet_from, 0), coalesce(c.quiet_till, 0), "
	    "CASE WHEN kairan.canary_is_open(k.phase) THEN k.recipients ELSE r.planned END "
	    "FROM kairan.run r JOIN kairan.campaign_progress p ON p.run_id = r.id "
	    "JOIN kairan.campaign c ON c.id = r.campaign_id "
	    "JOIN kairan.stream s ON s.id = c.stream_id "
	    "LEFT JOIN kairan.canary k ON k.run_id = r.id "
	    "WHERE r.state = 'running' ORDER BY r.id",
	    0, NULL);
	struct known_run **link, *k;
	bool lost = false;
	int result = 0;

	if (r == NULL)
		return -1;
	for (k = h->runs; k != NULL; k = k->next)
		k->seen = false;
	for (int i = 0; i < PQntuples(r) && result == 0; i++) {
		struct run_row row = { (int)db_number(r, i, 0), db_number(r, i, 1),
			db_number(r, i, 2), db_number(r, i, 3), db_number(r, i, 4),
			db_number(r, i, 5), db_number(r, i, 6), db_number(r, i, 17),
			db_text(r, i, 7), strtod(db_text(r, i, 8), NULL),
			(strtod(db_text(r, i, 9), NULL) - ADMISSION_EPOCH_S) * 1e6,
			(enum share_class)db_number(r, i, 10), strtod(db_text(r, i, 11), NULL),
			db_text(r, i, 12)[0] == 't', db_number(r, i, 13),
			strtod(db_text(r, i, 14), NULL), (int)db_number(r, i, 15),
			(int)db_number(r, i, 16) };

		row.until = row.until > 0 ? (row.until - ADMISSION_EPOCH_S) * 1e6 : 0;

		k = know(h, db, &row, &lost);
		if (lost)
			result = -1;
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
		forget_keys(h, k); /* paused, cancelled, finished: a resume refills */
		*link = k->next;
		run_forget(k);
	}
	return result;
}

/* ---- pace ---- */

/* What is left of each list, about: a look at the rows would cost more than it tells. Who waits for
 * a canary asks for nothing yet; the rate of a run that is spread is that of the whole. */
static void
count_lanes(struct known_run *k)
{
	bool all = k->open >= k->planned || k->until > 0;
	double part = all ? 1 : (double)k->open / (double)k->planned;
	double others = (double)(k->queued - (all ? 0 : k->planned - k->open));

	for (size_t i = k->list_count; i-- > 0;) {
		const struct list *l = &k->lists[i];
		double left = part * (double)l->recipients - (double)(l->handed - l->length);

		if (left < (double)l->length)
			left = (double)l->length;
		if (i > 0)
			others -= left;
		else
			left = others > (double)l->length ? others : (double)l->length;
		k->lanes[i] = (struct pacer_lane){ .lane = l->lane,
			.zone = l->zone,
			.group = l->group,
			.name = l->name,
			.remaining = left };
	}
}

static int
publish_pace(struct handover *h, int64_t epoch)
{
	struct pacer_run *runs;
	struct err err = { 0 };
	size_t n = 0;
	int result;

	for (const struct known_run *k = h->runs; k != NULL; k = k->next)
		n++;
	runs = calloc(n + 1, sizeof(*runs));
	if (runs == NULL)
		return -1;
	n = 0;
	for (struct known_run *k = h->runs; k != NULL; k = k->next) {
		count_lanes(k);
		runs[n++] = (struct pacer_run){ .id = k->id,
			.stream = k->stream,
			.per_s = k->per_s,
			.began = k->began,
			.class = k->class,
			.weight = k->weight,
			.reserve = k->reserve,
			.until = k->until,
			.quiet_from = k->quiet_from,
			.quiet_till = k->quiet_till,
			.lanes = k->lanes,
			.lane_count = k->list_count };
	}
	pacer_set_quota(h->pacer, &h->allowance.quota, h->allowance.now);
	result = pacer_round(h->pacer, h->redis, epoch, runs, n, &err);
	free(runs);
	if (result == 0)
		return 0;
	log_warn("pace not published error=\"%s\"", err.msg);
	if (h->redis->err != 0)
		redis_lost(h, "publishing the pace");
	return -1;
}

/* The list that a retry goes to, and what of its run may be handed over; NULL: its run is not known
 * here. */
static struct list *
list_of(const struct handover *h, int run, int lane, int64_t *open)
{
	for (const struct known_run *k = h->runs; k != NULL; k = k->next) {
		*open = k->open;
		for (size_t i = 0; k->id == run && i < k->list_count; i++)
			if (k->lists[i].lane == lane)
				return &k->lists[i];
	}
	return NULL;
}

/* First tries are still to come from it: retries may have a share only. */
static bool
has_first_tries(const struct list *l, int64_t open)
{
	return l->length > l->ahead || l->refill_at >= 0 || (l->lane > 0 && !is_done(open, l));
}

/* Lists whose share is used up, as arrays of runs and lanes. */
static void
put_exhausted(const struct handover *h, struct buf *runs, struct buf *lanes)
{
	for (const struct known_run *k = h->runs; k != NULL; k = k->next)
		for (size_t i = 0; i < k->list_count; i++) {
			const struct list *l = &k->lists[i];

			if (!has_first_tries(l, k->open) || retry_budget_left(&l->retries) > 0)
				continue;
			pgarray_int(runs, k->id);
			pgarray_int(lanes, l->lane);
		}
}

static PGresult *
find_retries(const struct handover *h, struct db *db)
{
	struct buf runs, lanes;
	const char *params[2];
	PGresult *r = NULL;

	buf_init(&runs, (size_t)1 << 20);
	buf_init(&lanes, (size_t)1 << 20);
	put_exhausted(h, &runs, &lanes);
	params[0] = pgarray_end(&runs);
	params[1] = pgarray_end(&lanes);
	if (params[0] != NULL && params[1] != NULL)
		r = db_query(db,
		    "SELECT t.run_id, t.send_id, CASE WHEN l.paced THEN l.lane ELSE 0 END "
		    "FROM kairan.retry t JOIN kairan.run r ON r.id = t.run_id "
		    "JOIN kairan.send s ON s.run_id = t.run_id AND s.id = t.send_id "
		    "LEFT JOIN kairan.run_lane l ON l.run_id = t.run_id AND l.lane = s.lane "
		    "WHERE t.due_at <= now() AND (t.pushed_at IS NULL OR t.pushed_at < now() - "
		    "CASE WHEN l.paced THEN interval '1 h' ELSE interval '30 s' END) "
		    "AND r.state = 'running' AND NOT EXISTS (SELECT FROM unnest($1::int[], "
		    "$2::int[]) AS x(run, lane) WHERE x.run = t.run_id AND x.lane = CASE WHEN "
		    "l.paced THEN l.lane ELSE 0 END) ORDER BY t.run_id, t.due_at LIMIT 1000",
		    2, params);
	buf_release(&runs);
	buf_release(&lanes);
	return r;
}

/* Deferred recipients whose time has come. Pushed ones are pushed again after a while, in case
 * Redis lost them; a lane that is closed for so long would only gather them. */
static int
push_retries(struct handover *h, struct db *db)
{
	PGresult *r = find_retries(h, db);
	int n, result = 0;

	if (r == NULL)
		return -1;
	n = PQntuples(r);
	for (int i = 0; i < n && result == 0; i++) {
		const char *params[] = { db_text(r, i, 0), db_text(r, i, 1) };
		int64_t id = db_number(r, i, 1);
		int run = (int)db_number(r, i, 0), lane = (int)db_number(r, i, 2);
		int64_t open = 0;
		struct list *l = list_of(h, run, lane, &open);

		if (l == NULL || (has_first_tries(l, open) && !retry_budget_take(&l->retries)))
			continue;
		if (push_ids(h, run, lane, "LPUSH", &id, 1) < 0)
			break;
		l->length++;
		l->ahead++;
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
	    "AND (t.due_at <= now() OR t.due_at = 'infinity') "
	    "AND (r.state NOT IN ('running', 'paused') "
	    "OR (t.pushed_at < now() - interval '1 s' AND NOT EXISTS "
	    "(SELECT FROM kairan.send s WHERE s.run_id = t.run_id AND s.id = t.send_id "
	    "AND s.state = 'deferred')))",
	    0, NULL);
}

/* Before anything is handed over: braked lanes are read from their own lists. */
static int
run_brakes(struct handover *h, struct db *db, int64_t epoch, struct err *err)
{
	if (h->braker == NULL || !redis_ready(h) ||
	    braker_round(h->braker, db, h->redis, epoch, err) == 0)
		return 0;
	if (h->redis->err == 0)
		return -1;
	redis_lost(h, "looking at brakes");
	return 0;
}

static void
tell_brakes(struct handover *h)
{
	struct err err = { 0 };

	if (h->braker == NULL || h->redis == NULL || braker_tell(h->braker, h->redis, &err) == 0)
		return;
	log_warn("brakes not told error=\"%s\"", err.msg);
	if (h->redis->err != 0)
		redis_lost(h, "telling of brakes");
}

/* Before calendars, so that nothing leaves until the quota is counted. -1: PostgreSQL or Redis
 * failed; Redis was closed then. */
static int
keep_quota(struct handover *h, struct db *db)
{
	struct rds_account figures;
	struct err err = { 0 };
	double sent = -1;
	bool fresh = account_take(h->account, &figures);

	if (figures.at > 0 && (double)time(NULL) - figures.at < RDS_ACCOUNT_FRESH_S)
		sent = figures.sent_24h;
	if ((!fresh || rds_account_write(h->redis, &figures, &err) == 0) &&
	    allowance_round(&h->allowance, db, h->redis, h->policy, sent, &err) == 0)
		return 0;
	log_warn("quota not kept, nothing is published error=\"%s\"", err.msg);
	if (h->redis->err != 0)
		redis_lost(h, "keeping the quota");
	return -1;
}

int
handover_round(struct handover *h, struct db *db, int64_t epoch, struct err *err)
{
	if (run_brakes(h, db, epoch, err) < 0)
		return -1;
	if (feed_runs(h, db) < 0 || (h->redis != NULL && push_retries(h, db) < 0) ||
	    forget_retries(db) < 0)
		return err_set(err, "handing over: %s", db->error);
	if (redis_ready(h) && (keep_quota(h, db) < 0 || publish_pace(h, epoch) < 0))
		log_debug("the pace is published in the next round");
	else
		tell_brakes(h);
	return 0;
}
