/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mark: what the journal holds after each step of a flight, read as the next life would; what is
 * in doubt stays a mark without answer, and nothing may leave without a slot.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "journal.h"
#include "mark.h"

#define LOCK_ID "0123456789abcdef0123456789abcdef"
#define SYSTEM UINT64_C(7000000000000000001)

static char folder[] = "/tmp/kairan-mark.XXXXXX";
static char path[64];
static struct dispatcher d = { .owner = 5 };
static struct live_run run = { .id = 3 };
static struct batch batch = { .run = &run };

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
	return unlink(path) == 0 ? rmdir(folder) : -1;
}

static struct journal *
open_or_fail(void)
{
	struct err err = { 0 };
	struct journal *j = journal_open(path, LOCK_ID, 2, &err);

	if (j == NULL)
		fail_msg("%s", err.msg);
	return j;
}

static void
begin(void)
{
	d.journal = open_or_fail();
	journal_begin_life(d.journal, d.owner, SYSTEM);
}

static struct flight
flight(int id, int attempt)
{
	return (struct flight){ .batch = &batch, .id = id, .attempt = attempt, .slot = -1 };
}

/* What the next life finds of an attempt. */
static bool
found(int owner, int id, int attempt, struct journal_mark *mark)
{
	struct journal_attempt a = { owner, run.id, id, attempt };
	struct journal *j;
	bool is_there;

	journal_close(d.journal);
	j = open_or_fail();
	is_there = journal_find(j, &a, mark);
	journal_close(j);
	return is_there;
}

static void
test_a_mark_is_there_before_anything_leaves(void **state)
{
	struct flight f = flight(77, 2);
	struct journal_mark mark;

	(void)state;
	begin();
	assert_true(mark_before(&d, &f));
	assert_true(f.slot >= 0);
	assert_true(found(5, 77, 2, &mark));
	assert_false(mark.answered);
}

static void
test_who_was_declared_dead_may_send_nothing(void **state)
{
	struct flight f = flight(78, 1);

	(void)state;
	run.running = true;
	assert_true(mark_may(&d, &f));
	d.fenced = true;
	assert_false(mark_may(&d, &f));
	d.fenced = run.running = false;
	assert_false(mark_may(&d, &f));
}

static void
test_each_outcome_is_what_it_was(void **state)
{
	static const enum outcome_kind kinds[] = { OUTCOME_SENT, OUTCOME_DEFERRED, OUTCOME_FAILED,
		OUTCOME_RELEASED };

	(void)state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct flight f = flight(100 + (int)i, 1);
		struct outcome o = { .kind = kinds[i],
			.cls = kinds[i] == OUTCOME_FAILED ? OUTCOME_HARD : OUTCOME_CLASS_NONE,
			.code = 250 + (int)i,
			.reason = "user_unknown",
			.remote_id = SLICE("4F1A2B") };
		struct journal_mark mark;

		begin();
		assert_true(mark_before(&d, &f));
		mark_answer(&d, &f, &o);
		assert_true(found(5, f.id, 1, &mark));
		assert_true(mark.answered);
		assert_int_equal(mark.answer.kind, kinds[i]);
		assert_int_equal(mark.answer.cls, o.cls);
		assert_int_equal(mark.answer.code, o.code);
	}
}

static void
test_doubt_stays_a_mark_without_answer(void **state)
{
	struct flight f = flight(200, 1);
	struct outcome o = { .kind = OUTCOME_IN_DOUBT, .reason = "" };
	struct journal_mark mark;

	(void)state;
	begin();
	assert_true(mark_before(&d, &f));
	mark_answer(&d, &f, &o);
	assert_true(found(5, 200, 1, &mark));
	assert_false(mark.answered);
}

/* Without a mark there is nothing to answer: a release before DATA leaves the journal alone. */
static void
test_no_mark_no_answer(void **state)
{
	struct flight f = flight(201, 1);
	struct outcome o = { .kind = OUTCOME_RELEASED, .reason = "" };
	struct journal_mark mark;

	(void)state;
	begin();
	mark_answer(&d, &f, &o);
	assert_int_equal(f.slot, -1);
	assert_false(found(5, 201, 1, &mark));
}

static void
test_without_a_slot_nothing_may_leave(void **state)
{
	struct flight a = flight(301, 1), b = flight(302, 1), c = flight(303, 1);
	struct outcome o = { .kind = OUTCOME_SENT, .reason = "" };

	(void)state;
	begin();
	assert_true(mark_before(&d, &a));
	assert_true(mark_before(&d, &b));
	assert_false(mark_before(&d, &c));
	/* an answer alone sets no slot free, its RECORD does */
	mark_answer(&d, &a, &o);
	assert_false(mark_before(&d, &c));
	journal_settled(d.journal, a.slot);
	assert_true(mark_before(&d, &c));
	journal_close(d.journal);
}

/* Should PostgreSQL lose the commit of a RECORD, the journal is what is left of it. */
static void
test_success_erases_nothing(void **state)
{
	struct flight f = flight(401, 3);
	struct outcome o = { .kind = OUTCOME_SENT, .reason = "", .remote_id = SLICE("4F1A2B") };
	struct journal_mark mark;

	(void)state;
	begin();
	assert_true(mark_before(&d, &f));
	mark_answer(&d, &f, &o);
	journal_settled(d.journal, f.slot);
	assert_true(found(5, 401, 3, &mark));
	assert_true(mark.answered);
	assert_int_equal(mark.answer.kind, OUTCOME_SENT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_mark_is_there_before_anything_leaves),
		cmocka_unit_test(test_who_was_declared_dead_may_send_nothing),
		cmocka_unit_test(test_each_outcome_is_what_it_was),
		cmocka_unit_test(test_doubt_stays_a_mark_without_answer),
		cmocka_unit_test(test_no_mark_no_answer),
		cmocka_unit_test(test_without_a_slot_nothing_may_leave),
		cmocka_unit_test(test_success_erases_nothing),
	};

	return cmocka_run_group_tests_name("mark", tests, make_folder, remove_folder);
}
