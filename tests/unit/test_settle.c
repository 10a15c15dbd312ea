/* SPDX-License-Identifier: Apache-2.0 */
/*
 * settle: outcomes become statements, and none is forgotten before its commit. A FAKE connection takes the
 * place of pgloop: it keeps what was submitted, and the test answers. Memory fails at each call in turn:
 * then everything is written all the same, or the process ends and its journal speaks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "db.h"
#include "failing.h"
#include "ladder.h"
#include "ledger.h"
#include "log.h"
#include "settle.h"
#include "stats.h"

#define ABORTED 42
#define SUBMITTED_MAX 16

/* Of RECORD's parameters. */
enum { RECORD_STATE = 2, RECORD_IDS, RECORD_ATTEMPTS, RECORD_STATES, RECORD_CODES };
enum { RECORD_CLASSES = 8, RECORD_REASONS, RECORD_WAITS = 13 };

struct submitted {
	char name[16];
	char params[LEDGER_COLUMNS][160];
	pgloop_done *done;
	void *ctx;
};

static struct submitted submitted[SUBMITTED_MAX];
static int submitted_count;
static bool queue_is_full;
static int freed_slots[80], freed_slot_count;
static int rooms, checked_id;
static int released_ids[4], released_lanes[4];
static size_t released_count;

bool __wrap_pgloop_submit(struct pgloop *pg, const char *name, const char *sql, int count,
    const char *const *params, pgloop_done *done, void *ctx);
bool
__wrap_pgloop_submit(struct pgloop *pg, const char *name, const char *sql, int count,
    const char *const *params, pgloop_done *done, void *ctx)
{
	struct submitted *at = &submitted[submitted_count];

	(void)pg;
	(void)sql;
	if (queue_is_full)
		return false;
	assert_true(submitted_count < SUBMITTED_MAX);
	*at = (struct submitted){ .done = done, .ctx = ctx };
	(void)snprintf(at->name, sizeof(at->name), "%s", name);
	for (int i = 0; i < count; i++)
		(void)snprintf(at->params[i], sizeof(at->params[i]), "%s", params[i]);
	submitted_count++;
	return true;
}

void __wrap_journal_settled(struct journal *j, int slot);
void
__wrap_journal_settled(struct journal *j, int slot)
{
	(void)j;
	freed_slots[freed_slot_count++] = slot;
}

#ifdef KAIRAN_COVERAGE
void __gcov_dump(void);
#endif

/* Ends a child, whose memory is not looked at for leaks. */
static _Noreturn void
end_child(int status)
{
	failing_end();
#ifdef KAIRAN_COVERAGE
	__gcov_dump();
#endif
	_exit(status);
}

_Noreturn void __wrap_abort(void);
_Noreturn void
__wrap_abort(void)
{
	end_child(ABORTED);
}

/* ---- one dispatcher ---- */

static void
on_room(struct dispatcher *d)
{
	(void)d;
	rooms++;
}

static struct flight *checked;

static void
on_checked(struct dispatcher *d, struct flight *f)
{
	(void)d;
	checked_id = f->id;
	checked = f;
}

static void
on_released(struct dispatcher *d, const struct live_run *run, const int *ids, const int *lanes,
    size_t count)
{
	(void)d;
	(void)run;
	for (size_t i = 0; i < count; i++) {
		released_ids[i] = ids[i];
		released_lanes[i] = lanes[i];
	}
	released_count = count;
}

static const struct dispatcher_news news = {
	.room = on_room, .checked = on_checked, .released = on_released
};
static struct config config;
static struct stats stats;
static struct dispatcher d;
static struct live_run run;
static struct settler *s;

static int
begin(void **state)
{
	struct err err;

	(void)state;
	config = (struct config){ .dispatcher_batch = 64,
		.dispatcher_expire_after_s = 3600,
		.dispatcher_retry_ladder = (char *)"100s,200s" };
	stats = (struct stats){ 0 };
	d = (struct dispatcher){
		.config = &config, .owner = 5, .owner_text = "5", .news = &news, .stats = &stats
	};
	run = (struct live_run){ .id = 3,
		.id_text = "3",
		.running = true,
		.stream = (char *)"news",
		.scopes = (char *)"{all}",
		.started_s = time(NULL) };
	run.record.name = "record_3";
	run.release.name = "release_3";
	run.unsend.name = "unsend_3";
	run.recheck.name = "recheck_3";
	submitted_count = freed_slot_count = rooms = checked_id = 0;
	released_count = 0;
	queue_is_full = false;
	checked = NULL;
	if (uv_loop_init(&d.loop) != 0)
		return -1;
	s = settler_new(&d, &err);
	return s != NULL ? 0 : -1;
}

static int
end(void **state)
{
	(void)state;
	settle_stop(s);
	settle_stop(s); /* a second SIGTERM */
	(void)uv_run(&d.loop, UV_RUN_DEFAULT);
	settler_free(s);
	return uv_loop_close(&d.loop);
}

static struct flight *
flight(int id)
{
	PGresAttDesc columns[CLAIM_ADDRESS + 1] = { 0 };
	struct flight *f = calloc(1, sizeof(*f));
	struct batch *batch = calloc(1, sizeof(*batch));
	PGresult *rows = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
	char address[] = "someone@example.jp";

	for (int i = 0; i <= CLAIM_ADDRESS; i++)
		columns[i].name = (char *)"column";
	assert_true(f != NULL && batch != NULL && rows != NULL);
	assert_true(PQsetResultAttrs(rows, CLAIM_ADDRESS + 1, columns));
	assert_true(PQsetvalue(rows, 0, CLAIM_ADDRESS, address, (int)strlen(address)));
	*batch = (struct batch){ .run = &run, .rows = rows, .flights = 1 };
	*f = (struct flight){ .batch = batch, .id = id, .attempt = 1, .slot = -1 };
	run.flights++;
	stats.in_hand++;
	return f;
}

/* Rows of numbers, in so many columns. */
static PGresult *
numbers(int columns, int rows, const int *values)
{
	PGresAttDesc names[2] = { { .name = (char *)"a" }, { .name = (char *)"b" } };
	PGresult *r = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);

	assert_true(PQsetResultAttrs(r, columns, names));
	for (int i = 0; i < rows * columns; i++) {
		char text[16];
		int len = snprintf(text, sizeof(text), "%d", values[i]);

		assert_true(PQsetvalue(r, i / columns, i % columns, text, len));
	}
	return r;
}

static void
answer(int which, enum pgloop_verdict verdict, PGresult *result)
{
	struct pgloop_answer a = {
		.verdict = verdict, .result = result, .error = "", .sqlstate = ""
	};

	submitted[which].done(submitted[which].ctx, &a);
	PQclear(result);
}

/* It settled so many. */
static void
commit(int which, int count)
{
	answer(which, PGLOOP_DONE, numbers(1, 1, &count));
}

static void
run_until_submitted(int count)
{
	while (submitted_count < count)
		(void)uv_run(&d.loop, UV_RUN_ONCE);
}

static const struct outcome taken = { .kind = OUTCOME_SENT, .code = 250, .reason = "" };
static const struct outcome unknown_user = { .kind = OUTCOME_FAILED,
	.cls = OUTCOME_HARD,
	.code = 550,
	.enhanced = { 5, 1, 1 },
	.reason = "user_unknown" };
static const struct outcome greylisted = {
	.kind = OUTCOME_DEFERRED, .cls = OUTCOME_SOFT, .code = 451, .reason = "greylisted"
};

/* ---- what is written ---- */

static void
test_an_outcome_is_forgotten_with_its_commit(void **state)
{
	struct flight *f = flight(77);

	(void)state;
	f->slot = 9;
	f->taken_us = 1;
	f->message = malloc(sizeof(*f->message)); /* made ahead */
	buf_init(f->message, 100);
	buf_str(f->message);
	assert_true(settle_is_idle(s));
	settle_outcome(s, f, &taken);
	assert_false(settle_is_idle(s));
	assert_int_equal(submitted_count, 0); /* it waits for others */
	run_until_submitted(1);
	assert_string_equal(submitted[0].name, "record_3");
	assert_string_equal(submitted[0].params[RECORD_STATE], "sending");
	assert_string_equal(submitted[0].params[RECORD_IDS], "{77}");
	assert_string_equal(submitted[0].params[RECORD_STATES], "{\"sent\"}");
	assert_false(settle_is_idle(s));
	assert_int_equal(freed_slot_count, 0);
	assert_int_equal(stats.unrecorded, 1);
	commit(0, 1);
	assert_int_equal(freed_slot_count, 1);
	assert_int_equal(freed_slots[0], 9);
	assert_int_equal(stats.unrecorded, 0);
	assert_int_equal(rooms, 1);
	assert_int_equal(run.flights, 0);
	assert_true(settle_is_idle(s));
}

/* An answer that is lost costs nothing: the statement does nothing the second time. */
static void
test_an_unknown_commit_is_sent_again(void **state)
{
	(void)state;
	settle_outcome(s, flight(77), &taken);
	settle_flush(s);
	answer(0, PGLOOP_UNKNOWN, NULL);
	assert_int_equal(submitted_count, 2);
	assert_string_equal(submitted[1].params[RECORD_IDS], "{77}");
	commit(1, 1);
	assert_true(settle_is_idle(s));
}

static void
test_a_refusal_and_a_full_queue_are_tried_again(void **state)
{
	(void)state;
	settle_outcome(s, flight(77), &taken);
	settle_flush(s);
	answer(0, PGLOOP_REFUSED, NULL);
	assert_int_equal(stats.refused_records, 1);
	queue_is_full = true;
	settle_outcome(s, flight(78), &unknown_user);
	settle_flush(s);
	assert_int_equal(submitted_count, 1);
	assert_false(settle_is_idle(s));
	queue_is_full = false;
	run_until_submitted(4);
	answer(1, PGLOOP_REFUSED, NULL); /* again: the timer is there */
	run_until_submitted(5);
	for (int i = 2; i < 5; i++)
		commit(i, 1);
	assert_true(settle_is_idle(s));
	assert_int_equal(run.flights, 0);
}

/* Somebody declared us dead: the rows are in doubt, and we know better. */
static void
test_what_was_put_in_doubt_is_settled_all_the_same(void **state)
{
	const int back[] = { 79, 4 };

	(void)state;
	settle_outcome(s, flight(77), &taken);
	settle_release(s, flight(79));
	settle_flush(s);
	assert_int_equal(submitted_count, 2);
	assert_string_equal(submitted[0].name, "release_3");
	answer(0, PGLOOP_DONE, numbers(2, 0, NULL));
	commit(1, 0);
	assert_int_equal(submitted_count, 4);
	assert_string_equal(submitted[2].name, "unsend_3");
	assert_string_equal(submitted[3].params[RECORD_STATE], "in_doubt");
	assert_int_equal(released_count, 0);
	answer(2, PGLOOP_DONE, numbers(2, 1, back));
	assert_int_equal(released_count, 1);
	assert_int_equal(released_ids[0], 79);
	assert_int_equal(released_lanes[0], 4);
	commit(3, 0); /* nor was it in doubt: somebody settled it, and nothing is left to say */
	assert_int_equal(submitted_count, 4);
	assert_true(settle_is_idle(s));
}

/* Should we die in between, the address is suppressed and the row in doubt, not the other way round. */
static void
test_a_dead_address_is_suppressed_before_its_row_is_settled(void **state)
{
	(void)state;
	settle_release_row(s, &run, 70, 2);
	settle_outcome(s, flight(77), &unknown_user);
	settle_flush(s);
	assert_int_equal(submitted_count, 3);
	assert_string_equal(submitted[0].name, "ingest");
	answer(0, PGLOOP_UNKNOWN, NULL);
	assert_string_equal(submitted[3].name, "ingest");
	assert_string_equal(submitted[3].params[2], submitted[0].params[2]);
	commit(3, 1);
	for (int i = 1; i <= 2; i++) {
		bool release = submitted[i].name[2] == 'l';

		answer(i, PGLOOP_DONE, numbers(release ? 2 : 1, 1, (const int[]){ 70, 0 }));
	}
	assert_true(settle_is_idle(s));
}

static void
test_who_waits_too_long_has_failed(void **state)
{
	static const struct {
		enum outcome_class cls;
		const char *becomes;
	} cases[] = { { OUTCOME_SOFT, "{\"soft\"}" }, { OUTCOME_BLOCK, "{\"block\"}" },
		{ OUTCOME_HARD, "{\"soft\"}" }, { OUTCOME_CLASS_NONE, "{\"soft\"}" } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct outcome o = greylisted;

		o.cls = cases[i].cls;
		submitted_count = 0;
		settle_postpone(s, flight(77), &o, config.dispatcher_expire_after_s + 60);
		settle_flush(s);
		assert_int_equal(submitted_count, 1); /* nobody is suppressed for it */
		assert_string_equal(submitted[0].params[RECORD_STATES], "{\"failed\"}");
		assert_string_equal(submitted[0].params[RECORD_CLASSES], cases[i].becomes);
		commit(0, 1);
	}
}

static void
test_waits(void **state)
{
	struct ladder ladder;
	struct err err;
	long wait_s;

	(void)state;
	settle_postpone(s, flight(77), &greylisted, 90);
	settle_flush(s);
	assert_string_equal(submitted[0].params[RECORD_WAITS], "{-90}"); /* no step of the ladder */
	settle_later(s, flight(78), &greylisted, 1000);
	settle_flush(s);
	assert_string_equal(submitted[1].params[RECORD_WAITS], "{1000}");
	settle_later(s, flight(79), &greylisted, 1);
	settle_flush(s);
	assert_int_equal(sscanf(submitted[2].params[RECORD_WAITS], "{%ld}", &wait_s), 1);
	assert_in_range(wait_s, 85, 115);
	for (int i = 0; i < 3; i++)
		commit(i, 1);
	assert_int_equal(ladder_parse(&ladder, "400s | greylisted 30s", &err), 0);
	settle_reload(s, &ladder);
	assert_in_range(settle_first_wait_s(s), 340, 460);
	/* its own waits */
	settle_outcome(s, flight(80), &greylisted);
	settle_flush(s);
	assert_int_equal(sscanf(submitted[3].params[RECORD_WAITS], "{%ld}", &wait_s), 1);
	assert_in_range(wait_s, 25, 35);
	commit(3, 1);
}

static void
test_why_there_is_no_message(void **state)
{
	const struct compose_refusal skip = { .skip = true, .reason = "missing_field" },
				     large = { .reason = "too_large" },
				     unsigned_yet = { .cls = OUTCOME_CONFIG,
					     .reason = "not_signed" },
				     no_memory = { .later = true, .reason = "no_memory" };

	(void)state;
	settle_refusal(s, flight(77), &skip);
	settle_refusal(s, flight(78), &large);
	settle_refusal(s, flight(79), &unsigned_yet);
	settle_flush(s);
	assert_string_equal(
	    submitted[0].params[RECORD_STATES], "{\"skipped\",\"failed\",\"failed\"}");
	assert_string_equal(submitted[0].params[RECORD_CLASSES], "{NULL,\"message\",\"config\"}");
	assert_string_equal(submitted[0].params[RECORD_REASONS],
	    "{\"missing_field\",\"too_large\",\"not_signed\"}");
	commit(0, 3);
	settle_refusal(
	    s, flight(80), &no_memory); /* nobody's fault: later, and no step of the ladder */
	settle_flush(s);
	assert_string_equal(submitted[1].params[RECORD_STATES], "{\"deferred\"}");
	assert_string_equal(submitted[1].params[RECORD_WAITS], "{-5}");
	commit(1, 1);
}

/* ---- suppressed meanwhile? ---- */

static void
test_who_was_suppressed_meanwhile_is_left_out(void **state)
{
	const int suppressed[] = { 78, 79 };

	(void)state;
	settle_recheck(s, flight(77));
	settle_recheck(s, flight(78));
	settle_recheck(s, flight(79));
	settle_flush(s);
	assert_string_equal(submitted[0].name, "recheck_3");
	assert_string_equal(submitted[0].params[1], "{77,78,79}");
	answer(0, PGLOOP_DONE, numbers(1, 2, suppressed));
	assert_int_equal(checked_id, 77);
	settle_flush(s);
	assert_string_equal(submitted[1].params[RECORD_IDS], "{78,79}");
	assert_string_equal(submitted[1].params[RECORD_REASONS], "{\"suppressed\",\"suppressed\"}");
	commit(1, 2);
	settle_release(s, checked);
	settle_flush(s);
	answer(2, PGLOOP_DONE, numbers(2, 1, (const int[]){ 77, 0 }));
	assert_true(settle_is_idle(s));
}

static void
test_who_may_not_be_sent_any_more_is_given_back(void **state)
{
	(void)state;
	for (int stopping = 0; stopping <= 1; stopping++) {
		submitted_count = 0;
		d.stopping = stopping == 1;
		run.running = stopping == 1;
		settle_recheck(s, flight(77));
		settle_flush(s);
		answer(0, PGLOOP_DONE, numbers(1, 0, NULL));
		settle_flush(s);
		assert_string_equal(submitted[1].name, "release_3");
		assert_int_equal(checked_id, 0);
		answer(1, PGLOOP_DONE, numbers(2, 1, (const int[]){ 77, 0 }));
	}
	assert_true(settle_is_idle(s));
}

/* ---- limits ---- */

static void
test_a_full_sheet_does_not_wait(void **state)
{
	(void)state;
	config.dispatcher_batch = 20; /* 80 rows a statement */
	for (int i = 0; i < 80; i++) {
		struct flight *f = flight(100 + i);

		assert_int_equal(submitted_count, 0);
		f->slot = i;
		settle_outcome(s, f, &taken);
	}
	assert_int_equal(submitted_count, 1);
	commit(0, 80);
	assert_int_equal(freed_slot_count, 80);
	for (int i = 0; i < 80; i++)
		assert_int_equal(freed_slots[i], i);
}

static void
test_many_statements_are_too_many(void **state)
{
	(void)state;
	for (int i = 0; i < 9; i++) {
		assert_false(settle_is_behind(s));
		settle_outcome(s, flight(77 + i), &taken);
		settle_flush(s);
	}
	assert_true(settle_is_behind(s));
	for (int i = 0; i < 9; i++)
		commit(i, 1);
	assert_false(settle_is_behind(s));
}

/* What comes when the timer is gone waits for the last flush. */
static void
test_after_the_end_only_a_flush_writes(void **state)
{
	(void)state;
	assert_true(log_open("test_settle", "debug"));
	settle_stop(s);
	settle_outcome(s, flight(77), &taken);
	assert_true(log_open("test_settle", "error"));
	(void)uv_run(&d.loop, UV_RUN_DEFAULT);
	assert_int_equal(submitted_count, 0);
	settle_flush(s);
	commit(0, 1);
	assert_true(settle_is_idle(s));
}

static void
test_a_bad_ladder_says_so(void **state)
{
	struct err err = { 0 };

	(void)state;
	config.dispatcher_retry_ladder = (char *)"7x";
	assert_null(settler_new(&d, &err));
	assert_non_null(strstr(err.msg, "retry_ladder"));
}

/* ---- without memory ---- */

enum { NOTHING_FAILED = 3 };

/* Answers all that is submitted, until everything is written. */
static void
answer_all(struct settler *other)
{
	for (int n = 0; !settle_is_idle(other); settle_flush(other)) {
		while (n == submitted_count && !settle_is_idle(other))
			(void)uv_run(&d.loop, UV_RUN_ONCE);
		for (; n < submitted_count; n++) {
			if (strcmp(submitted[n].name, "recheck_3") == 0)
				answer(n, PGLOOP_DONE, numbers(1, 0, NULL));
			else if (strcmp(submitted[n].name, "release_3") == 0)
				answer(n, PGLOOP_DONE, numbers(2, 1, (const int[]){ 79, 0 }));
			else
				commit(n, 2);
		}
	}
}

/* In a child: one of each kind, with the queue full at first. */
static _Noreturn void
settle_one_of_each_kind(void)
{
	struct flight *flights[4];
	struct outcome dead = unknown_user;
	struct err err = { 0 };
	struct settler *other;
	char text[252]; /* its array is closed by the first byte of more memory */

	for (int i = 0; i < 4; i++)
		flights[i] = flight(77 + i);
	flights[0]->slot = 9;
	memset(text, 'x', sizeof(text));
	dead.text = slice_make(text, sizeof(text));
	failing_begin();
	other = settler_new(&d, &err);
	if (other == NULL)
		end_child(strcmp(err.msg, "no memory") == 0 ? 0 : 1);
	settle_outcome(other, flights[0], &taken);
	settle_outcome(other, flights[1], &dead);
	settle_release(other, flights[2]);
	settle_recheck(other, flights[3]);
	queue_is_full = true;
	settle_flush(other);
	queue_is_full = false;
	answer_all(other);
	if (run.flights != (checked != NULL)) /* that one is not the settler's any more */
		end_child(1);
	if (failing.name != NULL)
		end_child(0);
	end_child(checked_id == 80 && freed_slot_count == 1 ? NOTHING_FAILED : 1);
}

static void
test_without_memory_nothing_is_lost_in_silence(void **state)
{
	int ended = 0, aborted = 0, status = 0;

	(void)state;
	config.dispatcher_batch = 16;
	for (unsigned n = 1; status != NOTHING_FAILED; n++) {
		pid_t child;

		(void)failing_from(n);
		child = fork();
		assert_true(child >= 0);
		if (child == 0)
			settle_one_of_each_kind();
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFEXITED(status));
		status = WEXITSTATUS(status);
		if (status != 0 && status != ABORTED && status != NOTHING_FAILED)
			fail_msg("call %u failed: status %d", n, status);
		ended += status == 0;
		aborted += status == ABORTED;
	}
	assert_true(
	    ended >= 4); /* the settler, a slot, an id given back, a look that is not taken */
	assert_true(aborted > 10);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(test_an_outcome_is_forgotten_with_its_commit),
		TEST(test_an_unknown_commit_is_sent_again),
		TEST(test_a_refusal_and_a_full_queue_are_tried_again),
		TEST(test_what_was_put_in_doubt_is_settled_all_the_same),
		TEST(test_a_dead_address_is_suppressed_before_its_row_is_settled),
		TEST(test_who_waits_too_long_has_failed),
		TEST(test_waits),
		TEST(test_why_there_is_no_message),
		TEST(test_who_was_suppressed_meanwhile_is_left_out),
		TEST(test_who_may_not_be_sent_any_more_is_given_back),
		TEST(test_a_full_sheet_does_not_wait),
		TEST(test_many_statements_are_too_many),
		TEST(test_after_the_end_only_a_flush_writes),
		TEST(test_a_bad_ladder_says_so),
		TEST(test_without_memory_nothing_is_lost_in_silence),
	};

	return cmocka_run_group_tests_name("settle", tests, NULL, NULL);
}
