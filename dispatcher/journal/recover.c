/* SPDX-License-Identifier: Apache-2.0 */
/* recover: see recover.h. Blocking, before the event loop exists; uses the same RECORD and RELEASE
 * as a living dispatcher, in the name of the dead one. */
#include "recover.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "crash.h"
#include "embed.h"
#include "keys.h"
#include "ladder.h"
#include "ledger.h"
#include "log.h"
#include "pgarray.h"
#include "policy.h"
#include "rds.h"
#include "relay.h"
#include "run_sql.h"

#define CHUNK 500
#define ARRAY_MAX ((size_t)4 << 20)
#define SQL_MAX ((size_t)64 << 10)

/* Columns of recover_rows(). */
enum row_column { ROW_RUN, ROW_ID, ROW_ATTEMPT, ROW_TRIES, ROW_STATE, ROW_ADDRESS };

/* Arrays of record.sql from $4 on. */
enum record_column {
	R_ID,
	R_ATTEMPT,
	R_STATE,
	R_CODE,
	R_ENHANCED,
	R_CLASS,
	R_REASON,
	R_REPLY,
	R_REMOTE,
	R_REMOTE_ID,
	R_WAIT,
	R_COLUMNS
};

/* One run's rows of one dead life that are in one state (sending or in_doubt). */
struct chunk {
	int run;
	char run_text[16], owner_text[16];
	char state[16];
	struct buf columns[R_COLUMNS];
	int records;
	struct buf unsent_ids, unsent_attempts;
	int unsent;
	struct ledger_batch ledger;
};

struct recovery {
	const struct config *config;
	const struct journal *journal;
	struct db *db;
	redisContext *redis; /* NULL: the producer finds what is queued again */
	struct ladder ladder;
	const char *remote; /* who said what the journal tells; "": not known */
	enum journal_evidence evidence;
	int dead;
	long answered, doubtful, unsent, unknown;
};

/* ---- chunks ---- */

static void
chunk_init(struct chunk *c, int run, int dead, const char *state)
{
	*c = (struct chunk){ .run = run };
	(void)snprintf(c->run_text, sizeof(c->run_text), "%d", run);
	(void)snprintf(c->owner_text, sizeof(c->owner_text), "%d", dead);
	(void)snprintf(c->state, sizeof(c->state), "%s", state);
	for (int i = 0; i < R_COLUMNS; i++)
		buf_init(&c->columns[i], ARRAY_MAX);
	buf_init(&c->unsent_ids, ARRAY_MAX);
	buf_init(&c->unsent_attempts, ARRAY_MAX);
	ledger_init(&c->ledger);
}

static void
chunk_release(struct chunk *c)
{
	for (int i = 0; i < R_COLUMNS; i++)
		buf_release(&c->columns[i]);
	buf_release(&c->unsent_ids);
	buf_release(&c->unsent_attempts);
	ledger_release(&c->ledger);
}

static int
chunk_suppress(struct chunk *c, struct db *db)
{
	const char *params[LEDGER_COLUMNS];

	if (c->ledger.count == 0)
		return 0;
	return ledger_params(&c->ledger, params) ? db_run(db, LEDGER_SQL, LEDGER_COLUMNS, params)
						 : -1;
}

static int
chunk_record(struct chunk *c, struct db *db)
{
	const char *params[3 + R_COLUMNS] = { c->run_text, c->owner_text, c->state };
	struct buf sql;
	int result;

	for (int i = 0; i < R_COLUMNS; i++) {
		params[3 + i] = pgarray_end(&c->columns[i]);
		if (params[3 + i] == NULL)
			return -1;
	}
	if (c->records == 0)
		return 0;
	buf_init(&sql, SQL_MAX);
	run_sql_with_origins(&sql, embed_dispatcher_sql_record_sql); /* it may have some */
	result = buf_failed(&sql) ? -1 : db_run(db, buf_str(&sql), 3 + R_COLUMNS, params);
	buf_release(&sql);
	return result;
}

/* Only hints: nothing depends on them. */
static void
push_back(redisContext *redis, int run, const PGresult *ids)
{
	char key[KEY_MAX], text[CHUNK][12];
	const char *argv[CHUNK + 2] = { "LPUSH", key };
	int n = PQntuples(ids) < CHUNK ? PQntuples(ids) : CHUNK;

	if (redis == NULL || n == 0)
		return;
	(void)snprintf(key, sizeof(key), KEY_QUEUE, run, KEY_LANE_ALL);
	for (int i = 0; i < n; i++) {
		(void)snprintf(text[i], sizeof(text[i]), "%d", (int)db_number(ids, n - 1 - i, 0));
		argv[i + 2] = text[i];
	}
	freeReplyObject(redisCommandArgv(redis, n + 2, argv, NULL));
}

static int
chunk_unsend(struct chunk *c, struct db *db, redisContext *redis)
{
	PGresult *ids;

	const char *params[] = { c->run_text, c->owner_text, pgarray_end(&c->unsent_ids),
		pgarray_end(&c->unsent_attempts) };

	if (params[2] == NULL || params[3] == NULL)
		return -1;
	if (c->unsent == 0)
		return 0;
	ids = db_query(db, embed_dispatcher_sql_unsend_sql, 4, params);
	if (ids == NULL)
		return -1;
	push_back(redis, c->run, ids);
	PQclear(ids);
	return 0;
}

/* Suppression first, as in settle_flush(). */
static int
chunk_write(struct chunk *c, struct db *db, redisContext *redis)
{
	int result;

	CRASH_POINT("recover_before_write");
	result = chunk_suppress(c, db);
	if (result == 0)
		CRASH_POINT("recover_between_writes");
	if (result == 0)
		result = chunk_record(c, db);
	if (result == 0)
		result = chunk_unsend(c, db, redis);
	CRASH_POINT("recover_after_write");
	return result;
}

/* ---- one row ---- */

static void
add_record(
    struct chunk *c, int id, int attempt, const char *state, const struct outcome *o, long wait_s)
{
	struct buf *b = c->columns;
	char enhanced[12];

	pgarray_int(&b[R_ID], id);
	pgarray_int(&b[R_ATTEMPT], attempt);
	pgarray_optional(&b[R_STATE], slice_str(state));
	if (o->code > 0)
		pgarray_int(&b[R_CODE], o->code);
	else
		pgarray_null(&b[R_CODE]);
	pgarray_optional(&b[R_ENHANCED], slice_str(outcome_enhanced_str(o, enhanced)));
	pgarray_optional(&b[R_CLASS], slice_str(outcome_class_name(o->cls)));
	pgarray_optional(&b[R_REASON], slice_str(o->reason));
	pgarray_optional(&b[R_REPLY], o->text);
	pgarray_optional(&b[R_REMOTE], o->remote);
	pgarray_optional(&b[R_REMOTE_ID], o->remote_id);
	pgarray_int(&b[R_WAIT], wait_s);
	c->records++;
}

/* The outcome that the journal holds; the text of a refusal stays unknown. */
static void
add_answered(struct recovery *r, struct chunk *c, const PGresult *rows, int row,
    const struct journal_mark *mark)
{
	char reason[JOURNAL_TEXT_MAX + 1] = "";
	struct outcome o = { .kind = mark->answer.kind,
		.cls = mark->answer.cls,
		.code = mark->answer.code,
		.reason = reason,
		.remote = slice_str(r->remote) };
	int tries = (int)db_number(rows, row, ROW_TRIES);

	memcpy(o.enhanced, mark->answer.enhanced, sizeof(o.enhanced));
	if (o.kind == OUTCOME_SENT)
		o.remote_id = mark->answer.text;
	else
		(void)snprintf(reason, sizeof(reason), "%.*s", SLICE_ARG(mark->answer.text));
	if (o.kind == OUTCOME_FAILED && o.cls == OUTCOME_HARD &&
	    !ledger_add_smtp(&c->ledger, (uint32_t)c->run, (uint32_t)mark->attempt.send,
		(unsigned)mark->attempt.attempt, slice_str(db_text(rows, row, ROW_ADDRESS)), &o,
		mark->at_s * 1000000))
		return; /* no memory: the row is found again by the next life */
	add_record(c, mark->attempt.send, mark->attempt.attempt, outcome_kind_name(o.kind), &o,
	    o.kind == OUTCOME_DEFERRED ? ladder_wait_s(&r->ladder, &o, tries, arc4random()) : 0);
	r->answered++;
}

static void
add_doubt(struct recovery *r, struct chunk *c, const struct journal_attempt *attempt,
    const char *reason, const char *text)
{
	struct outcome o = {
		.reason = reason, .text = slice_str(text), .remote = slice_str(r->remote)
	};

	add_record(c, attempt->send, attempt->attempt, "in_doubt", &o, 0);
}

static void
add_row(struct recovery *r, struct chunk *c, const PGresult *rows, int row)
{
	struct journal_attempt attempt = { r->dead, c->run, (int32_t)db_number(rows, row, ROW_ID),
		(int32_t)db_number(rows, row, ROW_ATTEMPT) };
	struct journal_mark mark;
	char text[140], when[32] = "";
	struct tm tm;
	time_t at;

	if (r->evidence != JOURNAL_SAYS_NOTHING && journal_find(r->journal, &attempt, &mark)) {
		/* after a restart of the machine a page may be older than the dot that followed a
		 * release */
		bool released = mark.answered && mark.answer.kind == OUTCOME_RELEASED;

		if (mark.answered && !released) {
			add_answered(r, c, rows, row, &mark);
			return;
		}
		if (!released || r->evidence != JOURNAL_SAYS_ALL) {
			at = (time_t)mark.at_s;
			if (gmtime_r(&at, &tm) != NULL)
				(void)strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
			(void)snprintf(text, sizeof(text),
			    "the final dot may have left at %s; the dispatcher ended before the "
			    "answer",
			    when);
			add_doubt(r, c, &attempt, "crashed_after_dot", text);
			r->doubtful++;
			return;
		}
	} else if (r->evidence != JOURNAL_SAYS_ALL) {
		if (strcmp(c->state, "in_doubt") == 0)
			return; /* it is already */
		add_doubt(r, c, &attempt, "owner_lost",
		    "the dispatcher ended, and its journal cannot tell how far it came");
		r->unknown++;
		return;
	}
	pgarray_int(&c->unsent_ids, attempt.send);
	pgarray_int(&c->unsent_attempts, attempt.attempt);
	c->unsent++;
	r->unsent++;
}

/* ---- one life ---- */

/* Rows come by run, each with its state: a chunk ends where either changes. */
static int
settle_rows(struct recovery *r, const PGresult *rows)
{
	int n = PQntuples(rows), row = 0, result = 0;

	while (row < n && result == 0) {
		const char *state = db_text(rows, row, ROW_STATE);
		int run = (int)db_number(rows, row, ROW_RUN), last = row + CHUNK;
		struct chunk c;

		chunk_init(&c, run, r->dead, state);
		while (row < n && row < last && db_number(rows, row, ROW_RUN) == run &&
		    strcmp(db_text(rows, row, ROW_STATE), state) == 0)
			add_row(r, &c, rows, row++);
		result = chunk_write(&c, r->db, r->redis);
		chunk_release(&c);
	}
	return result;
}

static int
settle_life(struct recovery *r)
{
	char number[16];
	const char *params[] = { number };
	PGresult *rows;
	int result;

	(void)snprintf(number, sizeof(number), "%d", r->dead);
	if (db_run(r->db, "SELECT kairan.dispatcher_fence($1)", 1, params) < 0)
		return -1;
	CRASH_POINT("recover_fenced");
	rows = db_query(r->db, "SELECT * FROM kairan.recover_rows($1)", 1, params);
	if (rows == NULL)
		return -1;
	result = settle_rows(r, rows);
	PQclear(rows);
	CRASH_POINT("recover_settled");
	if (result == 0)
		result = db_run(r->db, "SELECT kairan.dispatcher_recovered($1)", 1, params);
	if (result == 0)
		log_warn("earlier life ended without goodbye id=%d answered=%ld in_doubt=%ld "
			 "not_sent=%ld",
		    r->dead, r->answered, r->doubtful + r->unknown, r->unsent);
	if (result == 0 && r->unknown > 0)
		log_warn("journal cannot tell about id=%d: %ld recipients are in doubt that may "
			 "not have been sent",
		    r->dead, r->unknown);
	return result;
}

/* The only one that can have answered: a single relay. Any of several, and of the mail servers of a domain,
 * is no answer; the earlier life's configuration is taken to have been this one's. */
static void
find_remote(const struct config *config, char name[RELAY_NAME_MAX + 1])
{
	struct relay list[RELAYS_MAX];
	struct err ignored;
	size_t count;

	name[0] = '\0';
	if (strcmp(config->dispatcher_transport, "relay") == 0 &&
	    relay_parse_list(list, &count, config->relay_host, config->relay_port, &ignored) == 0 &&
	    count == 1)
		(void)snprintf(name, RELAY_NAME_MAX + 1, "%s", list[0].name);
}

/* It is dead for certain, its connections with it: its leases of them (mx_lease.h) need not run out. */
static void
end_leases(redisContext *redis, const struct config *config, int dead)
{
	char key[KEY_MAX], number[16];
	const char *argv[] = { "HDEL", key, number };

	if (redis == NULL || strcmp(config->dispatcher_transport, "mx") != 0)
		return;
	(void)snprintf(key, sizeof(key), KEY_HERE, POLICY_POOL);
	(void)snprintf(number, sizeof(number), "%d", dead);
	freeReplyObject(redisCommandArgv(redis, 3, argv, NULL));
}

static int
settle_earlier(const struct identity *id, const struct config *config,
    const struct journal *journal, struct db *db, uint64_t system_id, int owner, struct err *err)
{
	char number[16];
	const char *params[] = { id->lock_id, number };
	char remote[RELAY_NAME_MAX + 1];
	struct rds_address address;
	redisContext *redis = NULL;
	struct err ignored;
	PGresult *lives;
	int result = 0;

	(void)snprintf(number, sizeof(number), "%d", owner);
	find_remote(config, remote);
	lives = db_query(db,
	    "SELECT id FROM kairan.dispatcher WHERE lock_id = $1 AND id < $2::int "
	    "AND recovered_at IS NULL AND (stopped_at IS NULL OR fenced_at IS NOT NULL) ORDER BY "
	    "id",
	    2, params);
	if (lives == NULL)
		return err_set(err, "cannot look for earlier lives: %s", db->error);
	if (PQntuples(lives) > 0 && rds_address_parse(&address, config->redis_url, &ignored) == 0)
		redis = rds_open(&address, &ignored);
	for (int i = 0; i < PQntuples(lives) && result == 0; i++) {
		struct recovery r = { .config = config,
			.journal = journal,
			.db = db,
			.redis = redis,
			.remote = remote,
			.dead = (int)db_number(lives, i, 0) };

		result = ladder_parse(&r.ladder, config->dispatcher_retry_ladder, err);
		end_leases(redis, config, r.dead);
		r.evidence = journal_evidence(journal, r.dead, system_id);
		if (result == 0 && settle_life(&r) < 0)
			result = err_set(err, "cannot settle the earlier life: %s", db->error);
	}
	PQclear(lives);
	if (redis != NULL)
		redisFree(redis);
	return result;
}

/* ---- copies and lost commits ---- */

static enum recover_result
check_installation(struct db *db, bool adopt, const char *name, uint64_t *system_id, int *timeline,
    struct err *err)
{
	const char *params[] = { name };
	PGresult *r = db_query(db,
	    "SELECT system_id, is_ours, current_setting('synchronous_commit'), kairan.timeline() "
	    "FROM kairan.installation_enter()",
	    0, NULL);
	bool ours, durable;

	if (r == NULL || PQntuples(r) != 1) {
		PQclear(r);
		(void)err_set(err, "cannot tell which database this is: %s", db->error);
		return RECOVER_AGAIN;
	}
	*system_id = (uint64_t)db_number(r, 0, 0);
	ours = db_text(r, 0, 1)[0] == 't';
	durable = strcmp(db_text(r, 0, 2), "off") != 0;
	*timeline = (int)db_number(r, 0, 3);
	PQclear(r);
	if (!durable) {
		(void)err_set(err,
		    "synchronous_commit is off: a crash of PostgreSQL would forget who was sent "
		    "to; ALTER ROLE kairan_dispatcher SET synchronous_commit = on");
		return RECOVER_REFUSED;
	}
	if (ours)
		return RECOVER_DONE;
	if (!adopt) {
		(void)err_set(err,
		    "this database is a copy: it was made in another PostgreSQL cluster, which may "
		    "still be sending. To send from here, run kairan-dispatcher --adopt once; it "
		    "pauses all running runs, and you resume those that shall go out from here");
		return RECOVER_REFUSED;
	}
	if (db_run(db, "SELECT kairan.installation_adopt($1)", 1, params) < 0) {
		(void)err_set(err, "cannot adopt: %s", db->error);
		return RECOVER_AGAIN;
	}
	log_warn("copy of a database adopted; all runs are paused");
	return RECOVER_DONE;
}

/* Everything the journal holds, told to the rows. */
static int
assert_marks(const struct journal *journal, struct db *db, struct err *err)
{
	struct journal_mark mark;
	struct buf b[6];
	const char *params[6];
	int64_t changed = 0;
	int result = 0;

	for (size_t at = 0; result == 0 && journal_each(journal, at, &mark);) {
		PGresult *r = NULL;
		bool good = true;
		int n = 0;

		for (int i = 0; i < 6; i++)
			buf_init(&b[i], ARRAY_MAX);
		for (; n < CHUNK && journal_each(journal, at, &mark); at++) {
			bool sent = mark.answered && mark.answer.kind == OUTCOME_SENT;

			if (mark.answered && !sent)
				continue; /* refused: trying again is no second copy */
			pgarray_int(&b[0], mark.attempt.run);
			pgarray_int(&b[1], mark.attempt.send);
			pgarray_int(&b[2], mark.attempt.attempt);
			pgarray_int(&b[3], mark.attempt.owner);
			pgarray_optional(&b[4], sent ? mark.answer.text : slice_make(NULL, 0));
			pgarray_text(&b[5], sent ? SLICE("t") : SLICE("f"));
			n++;
		}
		for (int i = 0; i < 6; i++) {
			params[i] = pgarray_end(&b[i]);
			good = good && params[i] != NULL;
		}
		if (good)
			r = db_query(db,
			    "SELECT kairan.journal_assert($1::int[], $2::int[], $3::smallint[], "
			    "$4::int[], $5::text[], $6::boolean[])",
			    6, params);
		changed += db_int(r, 0);
		result = r != NULL
		    ? 0
		    : err_set(err, "cannot tell the rows: %s", good ? db->error : "no memory");
		PQclear(r);
		for (int i = 0; i < 6; i++)
			buf_release(&b[i]);
	}
	if (result == 0)
		log_warn("journal asserted: rows put right=%lld", (long long)changed);
	return result;
}

/* Has PostgreSQL forgotten claims that it acknowledged to the last life? */
static enum recover_result
check_commits(const struct identity *id, struct journal *journal, struct db *db, uint64_t system_id,
    bool adopt, struct identity_word *word, struct err *err)
{
	const struct journal_header *h = journal_header(journal);
	char life[16];
	const char *params[] = { life, id->lock_id };
	int64_t known;
	PGresult *r;

	if (h->life == 0 || h->system_id != system_id)
		return RECOVER_DONE;
	(void)snprintf(life, sizeof(life), "%d", h->life);
	/* its number may have been given to another dispatcher since */
	r = db_query(db, "SELECT claim_seq FROM kairan.dispatcher WHERE id = $1 AND lock_id = $2",
	    2, params);
	if (r == NULL) {
		(void)err_set(err, "cannot look at earlier lives: %s", db->error);
		return RECOVER_AGAIN;
	}
	known = db_int(r, -1);
	PQclear(r);
	if (known >= (int64_t)h->claim_seq)
		return RECOVER_DONE;
	if (!adopt) {
		if (db_run(db,
			"SELECT kairan.runs_hold('PostgreSQL has lost commits: see "
			"kairan-dispatcher(8), LOST COMMITS')",
			0, NULL) < 0)
			log_error("runs not paused error=\"%s\"", db->error);
		(void)err_set(err,
		    "PostgreSQL has lost commits: life %d had made %llu claims, it knows of %lld. "
		    "It "
		    "was restored from a backup or failed over. All runs are paused. Start every "
		    "dispatcher once with --adopt, which puts right what its journal knows, then "
		    "resume the runs",
		    h->life, (unsigned long long)h->claim_seq, (long long)known);
		return RECOVER_REFUSED;
	}
	if (assert_marks(journal, db, err) < 0)
		return RECOVER_AGAIN;
	/* marks that it lacks may be of claims that the rows lack: then it speaks for nobody, not even for
	 * a life that had ended before */
	if (!word->whole)
		word->life = 0;
	return RECOVER_DONE;
}

enum recover_result
recover_begin(const struct identity *id, const struct config *config, struct journal *journal,
    struct db *db, bool adopt, struct identity_life *life, struct err *err)
{
	struct identity_word word = { .life = journal_header(journal)->first_life };
	enum recover_result result;
	uint64_t system_id = 0;

	result =
	    check_installation(db, adopt, config->dispatcher_name, &system_id, &word.timeline, err);
	word.whole = journal_is_whole(journal, system_id);
	if (result == RECOVER_DONE)
		result = check_commits(id, journal, db, system_id, adopt, &word, err);
	if (result != RECOVER_DONE)
		return result;
	if (identity_register(id, config, db, &word, life, err) < 0)
		return RECOVER_AGAIN;
	CRASH_POINT("recover_registered");
	if (settle_earlier(id, config, journal, db, system_id, life->id, err) < 0)
		return RECOVER_AGAIN;
	CRASH_POINT("recover_before_life");
	journal_begin_life(journal, life->id, system_id);
	if (journal_sync(journal, err) < 0)
		return RECOVER_AGAIN;
	CRASH_POINT("recover_after_life");
	return RECOVER_DONE;
}
