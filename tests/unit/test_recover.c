/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recover: what an earlier life's rows become, by what its journal says. The journal is real; a FAKE
 * PostgreSQL answers the statements and notes them, and each of them fails once, as memory does at each call:
 * then nothing is called done that was not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "failing.h"
#include "rds.h"
#include "recover.h"

#define LOCK_ID "0123456789abcdef0123456789abcdef"
#define SYSTEM UINT64_C(7000000000000000001)
#define DEAD 5
#define ROWS_MAX 600

/* ---- FAKE PostgreSQL ---- */

enum statement {
	ENTER_INSTALLATION,
	ADOPT,
	CLAIMS,
	HOLD,
	ASSERT,
	REGISTER,
	LIVES,
	FENCE,
	ROWS,
	SUPPRESS,
	RECORD,
	UNSEND,
	RECOVERED,
	STATEMENTS
};

static const char *const marks_of_statements[STATEMENTS] = { "installation_enter",
	"installation_adopt", "SELECT claim_seq", "runs_hold", "journal_assert", "dispatcher_enter",
	"WHERE lock_id = $1 AND id <", "dispatcher_fence", "recover_rows", "kairan.ingest",
	"INSERT INTO kairan.tally_lane", "send_unsend", "dispatcher_recovered" };

static struct {
	const char *system_id, *ours, *synchronous, *claim_seq;
	bool no_installation, two_timelines;
	int lives;
	const char *rows[ROWS_MAX][6]; /* of the dead life */
	int row_count, unsent;
	enum statement fails; /* STATEMENTS: none */
	/* what it was told */
	int asked[STATEMENTS];
	char record_ids[3][200], record_states[3][200], record_from[3][16], record_reasons[3][400],
	    record_remotes[300];
	char record_codes[200], unsent_ids[3][200];
	char asserted[6][1000];
	char word_life[8], word_whole[4];
} pg;

static enum statement
statement_of(const char *sql)
{
	int at = 0;

	while (at < STATEMENTS && strstr(sql, marks_of_statements[at]) == NULL)
		at++;
	if (at == STATEMENTS)
		fail_msg("unknown statement: %.60s", sql);
	pg.asked[at]++;
	return (enum statement)at;
}

static PGresult *
table(int columns)
{
	PGresAttDesc names[6] = { 0 };
	PGresult *r = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);

	for (int i = 0; i < columns; i++)
		names[i].name = (char *)"column";
	assert_true(PQsetResultAttrs(r, columns, names));
	return r;
}

static void
add(PGresult *r, const char *const *values)
{
	int row = PQntuples(r);

	for (int i = 0; i < PQnfields(r); i++) {
		char text[64];
		int n = snprintf(text, sizeof(text), "%s", values[i]);

		assert_true(PQsetvalue(r, row, i, text, n));
	}
}

static void
note(char *where, size_t room, const char *text)
{
	(void)snprintf(where, room, "%s", text != NULL ? text : "NULL");
}

static bool
refused(struct db *db, enum statement what)
{
	if (pg.fails != what)
		return false;
	(void)snprintf(db->error, sizeof(db->error), "it broke");
	return true;
}

static PGresult *
fake_unsend(const char *const *params)
{
	PGresult *r = table(2);

	note(pg.unsent_ids[pg.asked[UNSEND] - 1], sizeof(pg.unsent_ids[0]), params[2]);
	for (int i = 0; i < pg.unsent; i++)
		add(r, (const char *const[]){ "105", "0" });
	return r;
}

PGresult *__wrap_db_query(struct db *db, const char *sql, int count, const char *const *params);
PGresult *
__wrap_db_query(struct db *db, const char *sql, int count, const char *const *params)
{
	enum statement what = statement_of(sql);
	PGresult *r;

	if (refused(db, what))
		return NULL;
	switch ((int)what) {
	case ENTER_INSTALLATION:
		r = table(4);
		if (!pg.no_installation)
			add(r, (const char *const[]){ pg.system_id, pg.ours, pg.synchronous, "1" });
		return r;
	case CLAIMS:
		r = table(1);
		add(r, &pg.claim_seq);
		return r;
	case ASSERT:
		for (int i = 0; i < count; i++)
			note(pg.asserted[i], sizeof(pg.asserted[0]), params[i]);
		r = table(1);
		add(r, (const char *const[]){ "2" });
		return r;
	case REGISTER:
		note(pg.word_life, sizeof(pg.word_life), params[4]);
		note(pg.word_whole, sizeof(pg.word_whole), params[5]);
		r = table(2);
		if (!pg.two_timelines)
			add(r, (const char *const[]){ "9", "1500" });
		return r;
	case LIVES:
		r = table(1);
		for (int i = 0; i < pg.lives; i++)
			add(r, (const char *const[]){ "5" });
		return r;
	case ROWS:
		r = table(6);
		for (int i = 0; i < pg.row_count; i++)
			add(r, pg.rows[i]);
		return r;
	case UNSEND:
		return fake_unsend(params);
	default:
		fail_msg("not a query: %.60s", sql);
		return NULL;
	}
}

int __wrap_db_run(struct db *db, const char *sql, int count, const char *const *params);
int
__wrap_db_run(struct db *db, const char *sql, int count, const char *const *params)
{
	enum statement what = statement_of(sql);
	int n = pg.asked[RECORD] - 1;

	(void)count;
	if (refused(db, what))
		return -1;
	if (what != RECORD)
		return 0;
	note(pg.record_from[n], sizeof(pg.record_from[0]), params[2]);
	note(pg.record_ids[n], sizeof(pg.record_ids[0]), params[3]);
	note(pg.record_states[n], sizeof(pg.record_states[0]), params[5]);
	note(pg.record_codes, sizeof(pg.record_codes), params[6]);
	note(pg.record_reasons[n], sizeof(pg.record_reasons[0]), params[9]);
	note(pg.record_remotes, sizeof(pg.record_remotes), params[11]);
	return 0;
}

/* ---- Redis, which need not be there ---- */

static bool redis_is_there;
static int pushed;
static char pushed_key[64], pushed_first[16]; /* of the last ones */
static char ended[64];			      /* life whose leases were ended, and where they are */
static redisContext fake_redis;

redisContext *__wrap_rds_open(const struct rds_address *a, struct err *err);
redisContext *
__wrap_rds_open(const struct rds_address *a, struct err *err)
{
	(void)a;
	(void)err;
	return redis_is_there ? &fake_redis : NULL;
}

void *__wrap_redisCommandArgv(redisContext *c, int argc, const char **argv, const size_t *sizes);
void *
__wrap_redisCommandArgv(redisContext *c, int argc, const char **argv, const size_t *sizes)
{
	(void)sizes;
	assert_ptr_equal(c, &fake_redis);
	if (strcmp(argv[0], "HDEL") == 0) {
		assert_int_equal(argc, 3);
		(void)snprintf(ended, sizeof(ended), "%s %s", argv[1], argv[2]);
		return NULL;
	}
	assert_string_equal(argv[0], "LPUSH");
	(void)snprintf(pushed_key, sizeof(pushed_key), "%s", argv[1]);
	(void)snprintf(pushed_first, sizeof(pushed_first), "%s", argv[2]);
	pushed += argc - 2;
	return NULL;
}

void __wrap_redisFree(redisContext *c);
void
__wrap_redisFree(redisContext *c)
{
	assert_ptr_equal(c, &fake_redis);
}

/* ---- the journal ---- */

static int64_t mark_at_s; /* of marks without an answer; 0: as they are */
static enum journal_evidence evidence;
static bool evidence_is_bent, sync_fails;

bool __real_journal_find(
    const struct journal *j, const struct journal_attempt *attempt, struct journal_mark *mark);
bool __wrap_journal_find(
    const struct journal *j, const struct journal_attempt *attempt, struct journal_mark *mark);
bool
__wrap_journal_find(
    const struct journal *j, const struct journal_attempt *attempt, struct journal_mark *mark)
{
	bool found = __real_journal_find(j, attempt, mark);

	if (found && !mark->answered && mark_at_s != 0)
		mark->at_s = mark_at_s;
	return found;
}

/* As if the machine had been started again since, or the file were another one. */
enum journal_evidence __real_journal_evidence(
    const struct journal *j, int32_t life, uint64_t system_id);
enum journal_evidence __wrap_journal_evidence(
    const struct journal *j, int32_t life, uint64_t system_id);
enum journal_evidence
__wrap_journal_evidence(const struct journal *j, int32_t life, uint64_t system_id)
{
	return evidence_is_bent ? evidence : __real_journal_evidence(j, life, system_id);
}

bool __real_journal_is_whole(const struct journal *j, uint64_t system_id);
bool __wrap_journal_is_whole(const struct journal *j, uint64_t system_id);
bool
__wrap_journal_is_whole(const struct journal *j, uint64_t system_id)
{
	return evidence_is_bent ? evidence == JOURNAL_SAYS_ALL
				: __real_journal_is_whole(j, system_id);
}

int __real_journal_sync(const struct journal *j, struct err *err);
int __wrap_journal_sync(const struct journal *j, struct err *err);
int
__wrap_journal_sync(const struct journal *j, struct err *err)
{
	return sync_fails ? err_set(err, "no disk") : __real_journal_sync(j, err);
}

static char folder[] = "/tmp/kairan-recover.XXXXXX";
static char path[64];
static struct config config;
static struct identity id = { .lock_id = LOCK_ID };
static struct identity_life life;
static struct err err;

static int
make_folder(void **state)
{
	(void)state;
	if (mkdtemp(folder) == NULL)
		return -1;
	(void)snprintf(path, sizeof(path), "%s/j", folder);
	return 0;
}

static int
remove_folder(void **state)
{
	(void)state;
	(void)unlink(path);
	return rmdir(folder);
}

static struct journal *
open_journal(void)
{
	struct journal *j = journal_open(path, LOCK_ID, 1024, &err);

	if (j == NULL)
		fail_msg("%s", err.msg);
	return j;
}

static void
mark(struct journal *j, int send, enum outcome_kind kind, enum outcome_class cls, const char *text)
{
	struct journal_attempt attempt = { DEAD, 3, send, 1 };
	struct journal_answer said = { .kind = kind,
		.cls = cls,
		.code = kind == OUTCOME_SENT ? 250
		    : kind == OUTCOME_FAILED ? 550
					     : 0,
		.text = slice_str(text) };
	int slot = journal_dot(j, -1, &attempt);

	assert_true(slot >= 0);
	if (kind != OUTCOME_IN_DOUBT)
		journal_answer(j, slot, &said);
}

/* One of each kind. */
static void
make_journal(void)
{
	struct journal *j;

	(void)unlink(path);
	j = open_journal();
	journal_is_first(j);
	journal_begin_life(j, DEAD, SYSTEM);
	journal_claimed(j, 10);
	mark(j, 101, OUTCOME_SENT, OUTCOME_CLASS_NONE, "4F1A2B");
	mark(j, 102, OUTCOME_DEFERRED, OUTCOME_SOFT, "greylisted");
	mark(j, 103, OUTCOME_FAILED, OUTCOME_HARD, "user_unknown");
	mark(j, 104, OUTCOME_RELEASED, OUTCOME_CLASS_NONE, "");
	mark(j, 106, OUTCOME_IN_DOUBT, OUTCOME_CLASS_NONE, "");
	mark(j, 107, OUTCOME_FAILED, OUTCOME_MESSAGE, "");
	journal_close(j);
}

static void
add_row(const char *run, const char *send, const char *state)
{
	const char *row[] = { run, send, "1", "0", state, "someone@example.jp" };

	memcpy(pg.rows[pg.row_count++], row, sizeof(row));
}

static int
begin(void **state)
{
	(void)state;
	memset(&pg, 0, sizeof(pg));
	pg.system_id = "7000000000000000001";
	pg.ours = "t";
	pg.synchronous = "on";
	pg.claim_seq = "10";
	pg.lives = 1;
	pg.fails = STATEMENTS;
	pg.unsent = 2;
	for (int i = 0; i < 7; i++) {
		static const char *const ids[] = { "101", "102", "103", "104", "105", "106",
			"107" };

		add_row("3", ids[i], "sending");
	}
	add_row("3", "108", "in_doubt");
	add_row("4", "201", "sending");
	redis_is_there = true;
	pushed = 0;
	ended[0] = '\0';
	mark_at_s = 0;
	evidence_is_bent = sync_fails = false;
	config = (struct config){ .dispatcher_retry_ladder = (char *)"100s",
		.redis_url = (char *)"redis://127.0.0.1:6379",
		.dispatcher_transport = (char *)"relay",
		.relay_host = (char *)"relay.example.jp:587 weight=2",
		.relay_port = 25,
		.dispatcher_name = (char *)"one" };
	err = (struct err){ 0 };
	make_journal();
	return 0;
}

static enum recover_result
recover(bool adopt)
{
	struct journal *j = open_journal();
	struct db db = { 0 };
	enum recover_result result;

	life = (struct identity_life){ 0 };
	failing_begin();
	result = recover_begin(&id, &config, j, &db, adopt, &life, &err);
	failing_end();
	journal_close(j);
	return result;
}

/* ---- what rows become ---- */

static void
test_the_journal_tells_what_became_of_each(void **state)
{
	(void)state;
	assert_int_equal(recover(false), RECOVER_DONE);
	assert_int_equal(life.id, 9);
	assert_int_equal(life.wait_ms, 1500);
	assert_string_equal(pg.word_life, "1");
	assert_string_equal(pg.word_whole, "t");
	assert_string_equal(pg.record_from[0], "sending");
	assert_string_equal(pg.record_ids[0], "{101,102,103,106,107}");
	assert_string_equal(
	    pg.record_states[0], "{\"sent\",\"deferred\",\"failed\",\"in_doubt\",\"failed\"}");
	assert_string_equal(pg.record_reasons[0],
	    "{NULL,\"greylisted\",\"user_unknown\",\"crashed_after_dot\",NULL}");
	assert_string_equal(pg.record_codes, "{250,NULL,550,NULL,550}");
	assert_int_equal(pg.asked[RECORD], 1);
	assert_int_equal(pg.asked[SUPPRESS], 1); /* who is unknown there */
	assert_string_equal(pg.unsent_ids[0], "{104,105}");
	assert_string_equal(pg.unsent_ids[1], "{108}"); /* put in doubt when we seemed lost */
	assert_string_equal(pg.unsent_ids[2], "{201}");
	assert_int_equal(pushed, 6);
	assert_non_null(strstr(pushed_key, "4"));
	assert_string_equal(pushed_first, "105");
	assert_string_equal(ended, ""); /* a relay's connections are not leased */
	assert_int_equal(pg.asked[RECOVERED], 1);
}

/* Who answered is told only when there is one who can have. */
static void
test_the_relay_is_named_when_there_is_one(void **state)
{
	(void)state;
	assert_int_equal(recover(false), RECOVER_DONE);
	assert_non_null(strstr(pg.record_remotes, "\"relay.example.jp\""));
	assert_null(strstr(pg.record_remotes, "587"));
}

static void
test_nobody_is_named_of_several_relays(void **state)
{
	(void)state;
	config.relay_host = (char *)"a.example.jp, b.example.jp";
	assert_int_equal(recover(false), RECOVER_DONE);
	assert_non_null(strstr(pg.record_remotes, "NULL"));
	assert_null(strstr(pg.record_remotes, "example"));
}

/* The name that a list begins with is not that of the relay when the list is none. */
static void
test_nobody_is_named_of_a_list_that_is_none(void **state)
{
	(void)state;
	config.relay_host = (char *)"a.example.jp weight=none";
	assert_int_equal(recover(false), RECOVER_DONE);
	assert_non_null(strstr(pg.record_remotes, "NULL"));
	assert_null(strstr(pg.record_remotes, "example"));
}

static void
test_nobody_is_named_of_a_domains_servers(void **state)
{
	(void)state;
	config.dispatcher_transport = (char *)"mx";
	assert_int_equal(recover(false), RECOVER_DONE);
	assert_non_null(strstr(pg.record_remotes, "NULL"));
	assert_null(strstr(pg.record_remotes, "relay"));
}

/* They would count against its next life for as long as leases last. */
static void
test_the_dead_hold_no_connections(void **state)
{
	(void)state;
	config.dispatcher_transport = (char *)"mx";
	assert_int_equal(recover(false), RECOVER_DONE);
	assert_string_equal(ended, "{p:kairan}:here 5");
}

/* The machine was started again: a page may be older than the dot behind a release. */
static void
test_after_a_restart_of_the_machine_what_has_no_mark_is_in_doubt(void **state)
{
	(void)state;
	evidence_is_bent = true;
	evidence = JOURNAL_SAYS_MARKS;
	assert_int_equal(recover(false), RECOVER_DONE);
	assert_string_equal(pg.record_ids[0], "{101,102,103,104,105,106,107}");
	assert_string_equal(pg.record_states[0],
	    "{\"sent\",\"deferred\",\"failed\",\"in_doubt\",\"in_doubt\",\"in_doubt\",\"failed\"}");
	assert_non_null(strstr(pg.record_reasons[0], "\"crashed_after_dot\",\"owner_lost\""));
	assert_string_equal(pg.record_ids[1], "{201}"); /* 108 is in doubt already */
	assert_int_equal(pg.asked[UNSEND], 0);
	assert_int_equal(pushed, 0);
}

static void
test_without_its_journal_everybody_is_in_doubt(void **state)
{
	(void)state;
	evidence_is_bent = true;
	evidence = JOURNAL_SAYS_NOTHING;
	redis_is_there = false;
	assert_int_equal(recover(false), RECOVER_DONE);
	assert_string_equal(pg.record_states[0],
	    "{\"in_doubt\",\"in_doubt\",\"in_doubt\",\"in_doubt\",\"in_doubt\",\"in_doubt\",\"in_"
	    "doubt\"}");
	assert_int_equal(pg.asked[SUPPRESS], 0);
	assert_string_equal(pg.word_whole, "f");
}

static void
test_a_time_that_is_none_does_no_harm(void **state)
{
	(void)state;
	mark_at_s = INT64_MAX;
	assert_int_equal(recover(false), RECOVER_DONE);
	assert_non_null(strstr(pg.record_reasons[0], "crashed_after_dot"));
}

/* What is queued again is told to Redis, as far as it is there and has room. */
static void
test_hints_are_only_hints(void **state)
{
	static char ids[ROWS_MAX][8];

	(void)state;
	redis_is_there = false;
	assert_int_equal(recover(false), RECOVER_DONE);
	assert_int_equal(pushed, 0);

	(void)begin(state);
	config.redis_url = (char *)"nonsense";
	assert_int_equal(recover(false), RECOVER_DONE);
	assert_int_equal(pushed, 0);

	(void)begin(state);
	pg.unsent = 0; /* settled meanwhile */
	assert_int_equal(recover(false), RECOVER_DONE);
	assert_int_equal(pushed, 0);

	(void)begin(state);
	pg.row_count = 0;
	for (int i = 0; i < 600; i++) {
		(void)snprintf(ids[i], sizeof(ids[i]), "%d", 1000 + i);
		add_row("3", ids[i], "sending");
	}
	pg.unsent = 600; /* it says more than it was asked for */
	assert_int_equal(recover(false), RECOVER_DONE);
	assert_int_equal(pg.asked[UNSEND], 2); /* 500 and 100 */
	assert_int_equal(pushed, 1000);
}

static void
test_nobody_died(void **state)
{
	(void)state;
	pg.lives = 0;
	assert_int_equal(recover(false), RECOVER_DONE);
	assert_int_equal(pg.asked[FENCE], 0);
	assert_int_equal(life.id, 9);
}

/* ---- what a person has to decide ---- */

static void
test_a_copy_of_a_database_is_not_sent_from(void **state)
{
	(void)state;
	pg.ours = "f";
	assert_int_equal(recover(false), RECOVER_REFUSED);
	assert_non_null(strstr(err.msg, "--adopt"));
	assert_int_equal(pg.asked[REGISTER], 0);
	assert_int_equal(recover(true), RECOVER_DONE);
	assert_int_equal(pg.asked[ADOPT], 1);
}

static void
test_commits_that_are_not_durable_are_refused(void **state)
{
	(void)state;
	pg.synchronous = "off";
	assert_int_equal(recover(true), RECOVER_REFUSED);
	assert_non_null(strstr(err.msg, "synchronous_commit"));
	assert_int_equal(pg.asked[REGISTER], 0);
}

static void
test_lost_commits_are_put_right_when_asked(void **state)
{
	(void)state;
	pg.claim_seq = "9";
	assert_int_equal(recover(false), RECOVER_REFUSED);
	assert_non_null(strstr(err.msg, "lost commits"));
	assert_int_equal(pg.asked[HOLD], 1);
	pg.fails = HOLD; /* and refused all the same */
	assert_int_equal(recover(false), RECOVER_REFUSED);
	pg.fails = STATEMENTS;
	assert_int_equal(recover(true), RECOVER_DONE);
	/* refusals are left out: trying again is no second copy */
	assert_string_equal(pg.asserted[1], "{101,106}");
	assert_string_equal(pg.asserted[4], "{\"4F1A2B\",NULL}");
	assert_string_equal(pg.asserted[5], "{\"t\",\"f\"}");
	assert_string_equal(pg.word_life, "1");
}

static void
test_a_long_journal_is_told_in_pieces(void **state)
{
	struct journal *j = open_journal();

	(void)state;
	journal_begin_life(j, DEAD + 1, SYSTEM);
	journal_claimed(j, 10);
	for (int i = 0; i < 600; i++)
		mark(j, 1000 + i, OUTCOME_IN_DOUBT, OUTCOME_CLASS_NONE, "");
	journal_close(j);
	pg.claim_seq = "9";
	assert_int_equal(recover(true), RECOVER_DONE);
	assert_int_equal(pg.asked[ASSERT], 2);
	assert_non_null(strstr(pg.asserted[1], "1599}"));
}

/* Marks that a journal with holes lacks may be of claims that the rows lack. */
static void
test_a_journal_with_holes_speaks_for_nobody_behind_lost_commits(void **state)
{
	(void)state;
	pg.claim_seq = "9";
	evidence_is_bent = true;
	evidence = JOURNAL_SAYS_MARKS;
	assert_int_equal(recover(true), RECOVER_DONE);
	assert_string_equal(pg.word_life, "0");
	assert_string_equal(pg.word_whole, "f");
}

static void
test_another_cluster_has_lost_nothing(void **state)
{
	(void)state;
	pg.system_id = "8000000000000000001";
	pg.claim_seq = "0";
	assert_int_equal(recover(false), RECOVER_DONE);
	assert_int_equal(pg.asked[CLAIMS], 0);
	assert_int_equal(pg.asked[ASSERT], 0);
}

static void
test_the_first_life_has_nothing_to_compare(void **state)
{
	(void)state;
	(void)unlink(path);
	pg.lives = 0;
	assert_int_equal(recover(false), RECOVER_DONE);
	assert_int_equal(pg.asked[CLAIMS], 0);
}

/* ---- faults ---- */

static void
test_each_statement_that_fails_is_tried_again(void **state)
{
	(void)state;
	for (int i = 0; i < STATEMENTS; i++) {
		if (i == HOLD)
			continue;
		(void)begin(state);
		pg.fails = (enum statement)i;
		pg.ours = i == ADOPT ? "f" : "t";
		pg.claim_seq = i == ASSERT ? "9" : "10";
		assert_int_equal(recover(true), RECOVER_AGAIN);
		if (strstr(err.msg, "it broke") == NULL)
			fail_msg("%s: %s", marks_of_statements[i], err.msg);
		/* no life has begun, so that the next try finds all of it again */
		evidence_is_bent = false;
		pg.fails = STATEMENTS;
		pg.claim_seq = "10";
		memset(pg.asked, 0, sizeof(pg.asked));
		assert_int_equal(recover(true), RECOVER_DONE);
		assert_string_equal(pg.record_ids[0], "{101,102,103,106,107}");
	}
}

static void
test_one_life_that_cannot_be_settled_ends_it(void **state)
{
	(void)state;
	pg.lives = 2;
	pg.fails = FENCE;
	assert_int_equal(recover(false), RECOVER_AGAIN);
	assert_int_equal(pg.asked[FENCE], 1);
}

static void
test_what_else_is_tried_again(void **state)
{
	(void)state;
	pg.no_installation = true;
	assert_int_equal(recover(false), RECOVER_AGAIN);
	pg.no_installation = false;
	pg.two_timelines = true;
	assert_int_equal(recover(false), RECOVER_AGAIN);
	assert_non_null(strstr(err.msg, "failed over"));
	pg.two_timelines = false;
	config.dispatcher_retry_ladder = (char *)"x";
	assert_int_equal(recover(false), RECOVER_AGAIN);
	assert_int_equal(pg.asked[FENCE], 0);
	config.dispatcher_retry_ladder = (char *)"100s";
	sync_fails = true;
	assert_int_equal(recover(false), RECOVER_AGAIN);
	assert_string_equal(err.msg, "no disk");
}

/* Done is only what was told to PostgreSQL whole. */
static void
test_without_memory_nothing_is_called_done_that_was_not(void **state)
{
	int again = 0;

	(void)state;
	for (unsigned n = 1; failing_from(n); n++) {
		(void)begin(state);
		pg.claim_seq = "9";
		if (recover(true) != RECOVER_DONE) {
			assert_int_not_equal(err.msg[0], '\0');
			again++;
			continue;
		}
		assert_string_equal(pg.record_ids[0], "{101,102,103,106,107}");
		assert_string_equal(pg.unsent_ids[2], "{201}");
		for (int i = 0; i < 6; i++)
			if (strcmp(pg.asserted[i], "NULL") == 0)
				fail_msg("call %u failed: array %d was not told", n, i);
	}
	assert_true(again > 20);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_the_journal_tells_what_became_of_each, begin),
		cmocka_unit_test_setup(test_the_relay_is_named_when_there_is_one, begin),
		cmocka_unit_test_setup(test_nobody_is_named_of_several_relays, begin),
		cmocka_unit_test_setup(test_nobody_is_named_of_a_list_that_is_none, begin),
		cmocka_unit_test_setup(test_nobody_is_named_of_a_domains_servers, begin),
		cmocka_unit_test_setup(test_the_dead_hold_no_connections, begin),
		cmocka_unit_test_setup(
		    test_after_a_restart_of_the_machine_what_has_no_mark_is_in_doubt, begin),
		cmocka_unit_test_setup(test_without_its_journal_everybody_is_in_doubt, begin),
		cmocka_unit_test_setup(test_a_time_that_is_none_does_no_harm, begin),
		cmocka_unit_test_setup(test_hints_are_only_hints, begin),
		cmocka_unit_test_setup(test_nobody_died, begin),
		cmocka_unit_test_setup(test_a_copy_of_a_database_is_not_sent_from, begin),
		cmocka_unit_test_setup(test_commits_that_are_not_durable_are_refused, begin),
		cmocka_unit_test_setup(test_lost_commits_are_put_right_when_asked, begin),
		cmocka_unit_test_setup(test_a_long_journal_is_told_in_pieces, begin),
		cmocka_unit_test_setup(
		    test_a_journal_with_holes_speaks_for_nobody_behind_lost_commits, begin),
		cmocka_unit_test_setup(test_another_cluster_has_lost_nothing, begin),
		cmocka_unit_test_setup(test_the_first_life_has_nothing_to_compare, begin),
		cmocka_unit_test_setup(test_each_statement_that_fails_is_tried_again, begin),
		cmocka_unit_test_setup(test_one_life_that_cannot_be_settled_ends_it, begin),
		cmocka_unit_test_setup(test_what_else_is_tried_again, begin),
		cmocka_unit_test_setup(
		    test_without_memory_nothing_is_called_done_that_was_not, begin),
	};

	return cmocka_run_group_tests_name("recover", tests, make_folder, remove_folder);
}
