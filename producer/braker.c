/* SPDX-License-Identifier: Apache-2.0 */
/* braker: see braker.h. */
#include "braker.h"

#include <stdlib.h>
#include <string.h>

#include "brake_report.h"
#include "keys.h"
#include "log.h"
#include "pgarray.h"
#include "rds.h"
#include "strmap.h"

#define BRAKES_MAX 2000 /* destinations remembered at once */
#define TAKE_MAX "2000" /* reports of one round */
#define RELIST_US 2e6	/* runs that began since have lanes in the common list */
#define TELL_US 5e6	/* in case Redis lost it */
#define ARRAY_MAX ((size_t)1 << 20)

struct entry {
	char name[BRAKE_NAME_MAX + 1];
	struct brake brake;
	bool dirty;  /* differs from its row */
	bool stored; /* has a row */
};

struct braker {
	const struct config *config;
	const struct policy *policy;
	struct strmap by_name;
	struct entry *entries[BRAKES_MAX]; /* owned */
	size_t count;
	int64_t epoch; /* of what is in memory; 0: nothing was read */
	uint64_t version;
	double now;
	double relisted_at, told_at;
	bool changed, told; /* something is to be told; the hash in Redis may hold something */
};

struct braker *
braker_new(const struct config *config, const struct policy *policy)
{
	struct braker *b = calloc(1, sizeof(*b));

	if (b != NULL) {
		b->config = config;
		b->policy = policy;
	}
	return b;
}

static void
forget_all(struct braker *b)
{
	for (size_t i = 0; i < b->count; i++)
		free(b->entries[i]);
	b->count = 0;
	strmap_release(&b->by_name);
	b->by_name = (struct strmap){ 0 };
}

void
braker_free(struct braker *b)
{
	if (b != NULL)
		forget_all(b);
	free(b);
}

const struct brake *
braker_find(const struct braker *b, const char *name)
{
	const struct entry *e = strmap_get(&b->by_name, name);

	return e != NULL && brake_is_limiting(&e->brake) ? &e->brake : NULL;
}

uint64_t
braker_version(const struct braker *b)
{
	return b->version;
}

/* NULL: too many, or no memory. */
static struct entry *
entry_of(struct braker *b, const char *name)
{
	struct entry *e = strmap_get(&b->by_name, name);

	if (e != NULL || b->count == BRAKES_MAX)
		return e;
	e = calloc(1, sizeof(*e));
	if (e == NULL)
		return NULL;
	(void)snprintf(e->name, sizeof(e->name), "%s", name);
	if (!strmap_add(&b->by_name, e->name, e)) {
		free(e);
		return NULL;
	}
	b->entries[b->count++] = e;
	return e;
}

static struct brake_terms
terms_of(const struct braker *b, const char *name)
{
	return brake_terms_of(b->policy, name, (unsigned)b->config->mx_connections_per_destination,
	    (unsigned)b->config->mx_messages_per_connection);
}

static void
note_change(struct braker *b, struct entry *e)
{
	e->dirty = true;
	b->changed = true;
	b->version++;
}

/* ---- PostgreSQL ---- */

static int
db_failed(const struct db *db, const char *doing, struct err *err)
{
	return err_set(err, "%s: %s", doing, db->error);
}

static int
load(struct braker *b, struct db *db, struct err *err)
{
	PGresult *r = db_query(db, "SELECT name, detail FROM kairan.brake", 0, NULL);

	if (r == NULL)
		return db_failed(db, "reading brakes", err);
	forget_all(b);
	for (int i = 0; i < PQntuples(r); i++) {
		struct entry *e = entry_of(b, db_text(r, i, 0));

		if (e == NULL)
			continue;
		e->stored = true;
		if (!brake_parse(&e->brake, db_text(r, i, 1)))
			log_warn("a brake is not understood and is released name=%s", e->name);
	}
	PQclear(r);
	b->changed = true;
	b->version++;
	return 0;
}

static void
put_time(char *text, size_t size, double at)
{
	(void)snprintf(text, size, "%.6f", at / 1e6 + ADMISSION_EPOCH_S);
}

static int
save(struct braker *b, struct db *db, struct entry *e)
{
	char detail[BRAKE_TEXT_MAX], since[40], until[40], rate[40], window[16], batch[16], why[60];
	const struct brake *k = &e->brake;
	const char *params[] = { e->name, brake_mode_name(k->mode), since, until, rate, window,
		batch, why, detail };

	if (brake_is_idle(k, b->now))
		return e->stored ? db_run(db, "DELETE FROM kairan.brake WHERE name = $1", 1, params)
				 : 0;
	brake_print(k, detail);
	put_time(since, sizeof(since), k->since);
	put_time(until, sizeof(until), k->until);
	(void)snprintf(rate, sizeof(rate), "%.6g", k->rate);
	(void)snprintf(window, sizeof(window), "%u", k->window);
	(void)snprintf(batch, sizeof(batch), "%u", k->batch);
	(void)snprintf(why, sizeof(why), "%s %d", reaction_name(k->reaction), k->code);
	params[2] = k->since > 0 ? since : NULL;
	params[3] = k->until > b->now ? until : NULL;
	params[4] = k->rate > 0 ? rate : NULL;
	params[5] = k->window > 0 ? window : NULL;
	params[6] = k->batch > 0 ? batch : NULL;
	return db_run(db,
	    "INSERT INTO kairan.brake AS b (name, mode, since, until, rate_per_s, connections, "
	    "messages_per_connection, why, detail) VALUES ($1, $2, to_timestamp($3::float8), "
	    "to_timestamp($4::float8), $5::float8, $6::int, $7::int, $8, $9) ON CONFLICT (name) DO "
	    "UPDATE SET mode = excluded.mode, since = excluded.since, until = excluded.until, "
	    "rate_per_s = excluded.rate_per_s, connections = excluded.connections, "
	    "messages_per_connection = excluded.messages_per_connection, why = excluded.why, "
	    "detail = excluded.detail, changed_at = now()",
	    9, params);
}

/* Those that matter no more go, but for the counts of traffic. */
static int
save_all(struct braker *b, struct db *db, struct err *err)
{
	for (size_t i = 0; i < b->count; i++) {
		struct entry *e = b->entries[i];

		e->dirty = e->dirty || (e->stored && brake_is_idle(&e->brake, b->now));
		if (!e->dirty)
			continue;
		if (save(b, db, e) < 0)
			return db_failed(db, "writing a brake", err);
		e->dirty = false;
		e->stored = !brake_is_idle(&e->brake, b->now);
	}
	return 0;
}

/* What an operator has released. */
static int
take_releases(struct braker *b, struct db *db, struct err *err)
{
	PGresult *r = db_query(db,
	    "DELETE FROM kairan.brake WHERE release_by IS NOT NULL RETURNING name, release_by", 0,
	    NULL);

	if (r == NULL)
		return db_failed(db, "looking for releases", err);
	for (int i = 0; i < PQntuples(r); i++) {
		struct entry *e = strmap_get(&b->by_name, db_text(r, i, 0));

		log_info("brake released name=%s by=%s", db_text(r, i, 0), db_text(r, i, 1));
		if (e == NULL)
			continue;
		brake_release(&e->brake);
		e->stored = false;
		note_change(b, e);
	}
	PQclear(r);
	return 0;
}

static int
pause_run(struct db *db, const struct brake_report *report, enum brake_act act, struct err *err)
{
	char run[16], why[2 * BRAKE_NAME_MAX + 200];
	const char *params[] = { run, why };

	(void)snprintf(run, sizeof(run), "%d", report->run);
	if (act == BRAKE_STOPPED)
		(void)snprintf(why, sizeof(why),
		    "%s refuses us for good (%d): see `kairan pace show`, mend the cause, then "
		    "`kairan pace release %s`; resumed before that, the others are sent to",
		    report->name, report->event.code, report->name);
	else
		(void)snprintf(why, sizeof(why),
		    "%s refuses this campaign for its content or authentication (%d): see the view "
		    "top_replies",
		    report->name, report->event.code);
	log_error("run paused run=%s why=\"%s\"", run, why);
	return db_run(db, "SELECT kairan.run_move($1, '{running}', 'paused', $2)", 2, params) < 0
	    ? db_failed(db, "pausing a run", err)
	    : 0;
}

/* Every while, and when somebody new is braked: lanes that are in the common list of their run. */
static int
relist(struct braker *b, struct db *db, struct err *err)
{
	struct buf names;
	const char *params[1];
	PGresult *r = NULL;
	size_t n = 0;
	int result = 0;

	if (!b->changed && b->now - b->relisted_at < RELIST_US)
		return 0;
	b->relisted_at = b->now;
	buf_init(&names, ARRAY_MAX);
	for (size_t i = 0; i < b->count; i++)
		if (brake_is_limiting(&b->entries[i]->brake)) {
			pgarray_text(&names, slice_str(b->entries[i]->name));
			n++;
		}
	params[0] = n > 0 ? pgarray_end(&names) : NULL;
	if (n > 0 && params[0] == NULL)
		result = err_set(err, "no memory");
	if (params[0] != NULL) {
		r = db_query(db, "SELECT kairan.lanes_relist($1::text[])", 1, params);
		result = r != NULL ? 0 : db_failed(db, "giving lanes their own list", err);
	}
	if (r != NULL && db_int(r, 0) > 0)
		log_info("braked lanes have a list of their own now lanes=%s", db_text(r, 0, 0));
	PQclear(r);
	buf_release(&names);
	return result;
}

/* ---- Redis ---- */

static int
redis_failed(redisContext *redis, const redisReply *reply, const char *doing, struct err *err)
{
	return err_set(err, "%s: %s", doing,
	    reply != NULL && reply->type == REDIS_REPLY_ERROR ? reply->str : redis->errstr);
}

static double
chance(void)
{
	return arc4random() / (double)UINT32_MAX;
}

static int
hear(struct braker *b, struct db *db, const struct brake_report *report, struct err *err)
{
	struct entry *e = entry_of(b, report->name);
	struct brake_terms terms;
	enum brake_act act;
	bool changed;

	if (e == NULL)
		return 0;
	terms = terms_of(b, e->name);
	act = brake_report_take(report, &e->brake, &terms, b->now, chance(), &changed);
	if (changed)
		note_change(b, e);
	if (act == BRAKE_NOTHING)
		return 0;
	if (act != BRAKE_PAUSE_RUN)
		log_warn("braked name=%s reaction=%s code=%d mode=%s rate_per_s=%.3g "
			 "connections=%u until_s=%.0f",
		    e->name, reaction_name(report->event.reaction), report->event.code,
		    brake_mode_name(e->brake.mode), e->brake.rate, e->brake.window,
		    e->brake.until > b->now ? (e->brake.until - b->now) / 1e6 : 0);
	return act != BRAKE_CHANGED && report->run > 0 ? pause_run(db, report, act, err) : 0;
}

static int
take_reports(struct braker *b, struct db *db, redisContext *redis, struct err *err)
{
	redisReply *reply = redisCommand(redis, "LPOP " KEY_HEARD " " TAKE_MAX, POLICY_POOL);
	int result = 0;

	if (reply == NULL || reply->type == REDIS_REPLY_ERROR)
		result = redis_failed(redis, reply, "reading what was heard", err);
	for (size_t i = 0; result == 0 && reply->type == REDIS_REPLY_ARRAY && i < reply->elements;
	     i++) {
		const redisReply *line = reply->element[i];
		struct brake_report report;

		/* whatever stands in Redis is only a hint */
		if (line->type == REDIS_REPLY_STRING &&
		    brake_report_parse(&report, line->str, line->len))
			result = hear(b, db, &report, err);
	}
	freeReplyObject(reply);
	return result;
}

int
braker_round(struct braker *b, struct db *db, redisContext *redis, int64_t epoch, struct err *err)
{
	if (rds_time(redis, &b->now, err) < 0)
		return -1;
	if (b->epoch != epoch) {
		if (load(b, db, err) < 0)
			return -1;
		b->epoch = epoch;
	}
	if (take_reports(b, db, redis, err) < 0 || take_releases(b, db, err) < 0)
		return -1;
	for (size_t i = 0; i < b->count; i++) {
		struct entry *e = b->entries[i];
		struct brake_terms terms = terms_of(b, e->name);

		if (brake_tick(&e->brake, &terms, b->now) != BRAKE_NOTHING)
			note_change(b, e);
	}
	return save_all(b, db, err) < 0 || relist(b, db, err) < 0 ? -1 : 0;
}

int
braker_tell(struct braker *b, redisContext *redis, struct err *err)
{
	unsigned commands = 3;
	bool any = false;
	int result = 0;

	if (!b->changed && b->now - b->told_at < TELL_US)
		return 0;
	for (size_t i = 0; i < b->count; i++)
		any = any || !brake_is_idle(&b->entries[i]->brake, b->now);
	if (!any && !b->told && !b->changed)
		return 0;
	(void)redisAppendCommand(redis, "MULTI");
	(void)redisAppendCommand(redis, "DEL " KEY_BRAKE, POLICY_POOL);
	for (size_t i = 0; i < b->count; i++) {
		const struct entry *e = b->entries[i];
		char text[BRAKE_TEXT_MAX];

		if (brake_is_idle(&e->brake, b->now))
			continue;
		brake_print(&e->brake, text);
		(void)redisAppendCommand(
		    redis, "HSET " KEY_BRAKE " %s %s", POLICY_POOL, e->name, text);
		commands++;
	}
	(void)redisAppendCommand(redis, "EXEC");
	while (commands-- > 0) {
		redisReply *reply = NULL;

		if (redisGetReply(redis, (void **)&reply) != REDIS_OK || reply == NULL ||
		    reply->type == REDIS_REPLY_ERROR)
			result = redis_failed(redis, reply, "telling of brakes", err);
		freeReplyObject(reply);
		if (redis->err != 0)
			return -1;
	}
	b->told = any;
	b->told_at = b->now;
	b->changed = b->changed && result < 0;
	return result;
}
