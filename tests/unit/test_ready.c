/* SPDX-License-Identifier: Apache-2.0 */
/* ready: by time, and in order of arrival among equal times, whatever goes in and out between. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "ready.h"

static struct live_run runs[2];
static struct batch batches[2] = { { .run = &runs[0] }, { .run = &runs[1] } };

static struct flight *
flight_new(int id, uint64_t due_us)
{
	struct flight *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	*f = (struct flight){ .batch = &batches[id % 2], .id = id, .due_us = due_us };
	f->late_us = UINT64_MAX;
	return f;
}

static struct flight *
with_limit(int id, uint64_t due_us, uint64_t late_us)
{
	struct flight *f = flight_new(id, due_us);

	f->late_us = late_us;
	return f;
}

static int
pop_id(struct ready *r)
{
	struct flight *f = ready_pop(r);
	int id = f != NULL ? f->id : -1;

	free(f);
	return id;
}

static void
test_equal_times_keep_their_order(void **state)
{
	struct ready r = { 0 };

	(void)state;
	for (int i = 0; i < 3000; i++)
		assert_int_equal(ready_add(&r, flight_new(i, 5)), 0);
	for (int i = 0; i < 3000; i++)
		assert_int_equal(pop_id(&r), i);
	assert_int_equal(pop_id(&r), -1);
	ready_release(&r);
}

static void
test_earlier_first(void **state)
{
	struct ready r = { 0 };

	(void)state;
	for (int i = 0; i < 1000; i++)
		assert_int_equal(ready_add(&r, flight_new(i, (uint64_t)(1000 - i) / 10)), 0);
	for (int last = -1, n = 0; n < 1000; n++) {
		struct flight *f = ready_pop(&r);

		assert_true((int)f->due_us >= last);
		last = (int)f->due_us;
		free(f);
	}
	ready_release(&r);
}

static void
test_one_that_comes_back_keeps_its_place(void **state)
{
	struct ready r = { 0 };
	struct flight *first;

	(void)state;
	for (int i = 0; i < 100; i++)
		assert_int_equal(ready_add(&r, flight_new(i, 0)), 0);
	first = ready_pop(&r);
	assert_int_equal(ready_add(&r, first), 0);
	for (int i = 0; i < 100; i++)
		assert_int_equal(pop_id(&r), i);
	ready_release(&r);
}

static void
give(void *ctx, struct flight *f)
{
	(*(int *)ctx)++;
	free(f);
}

static void
test_a_run_is_removed(void **state)
{
	struct ready r = { 0 };
	int given = 0;

	(void)state;
	for (int i = 0; i < 100; i++)
		assert_int_equal(ready_add(&r, flight_new(i, (uint64_t)i / 7)), 0);
	ready_remove_run(&r, &runs[0], give, &given);
	assert_int_equal(given, 50);
	for (int i = 1; i < 20; i += 2)
		assert_int_equal(pop_id(&r), i);
	ready_remove_run(&r, NULL, give, &given);
	assert_int_equal(given, 90);
	assert_int_equal(r.count, 0);
	ready_release(&r);
}

static int
next_id(struct ready *r, uint64_t now_us, bool (*may)(const struct flight *f))
{
	struct flight *f = ready_next(r, now_us, may);
	int id = f != NULL ? f->id : -1;

	free(f);
	return id;
}

static bool
is_even(const struct flight *f)
{
	return f->id % 2 == 0;
}

static void
test_who_has_a_limit_gets_every_second_turn_in_a_line_without(void **state)
{
	struct ready r = { 0 };

	(void)state;
	for (int i = 0; i < 6; i++)
		assert_int_equal(ready_add(&r, flight_new(i, 1000)), 0);
	assert_int_equal(ready_add(&r, with_limit(20, 90000, 500)), 0);	  /* was late */
	assert_int_equal(ready_add(&r, with_limit(21, 99800, 9000)), 0);  /* these can go */
	assert_int_equal(ready_add(&r, with_limit(22, 99900, 200)), 0);	  /* and this one first */
	assert_int_equal(ready_add(&r, with_limit(23, 100001, 5000)), 0); /* not yet */
	assert_int_equal(next_id(&r, 100000, NULL), 22);
	assert_int_equal(next_id(&r, 100000, NULL), 0);
	assert_int_equal(next_id(&r, 100000, is_even), 1);
	assert_int_equal(next_id(&r, 100000, NULL), 21);
	for (int i = 2; i < 6; i++)
		assert_int_equal(next_id(&r, 100000, NULL), i);
	assert_int_equal(next_id(&r, 100000, NULL), 20); /* by its time, as always */
	assert_int_equal(next_id(&r, 100000, NULL), 23);
	assert_int_equal(next_id(&r, 100000, NULL), -1);
	assert_int_equal(r.limited, 0);
	ready_release(&r);
}

static void
test_a_line_that_moves_and_urgent_mail_are_not_passed(void **state)
{
	struct ready r = { 0 };
	struct flight *urgent = flight_new(2, 1000);

	(void)state;
	assert_int_equal(ready_add(&r, flight_new(0, 99000)), 0);
	assert_int_equal(ready_add(&r, with_limit(1, 99900, 9000)), 0);
	assert_int_equal(next_id(&r, 100000, NULL), 0);
	urgent->ahead_us = 60000000;
	assert_int_equal(ready_add(&r, urgent), 0);
	assert_int_equal(next_id(&r, 100000, NULL), 2);
	ready_remove_run(&r, NULL, give, &(int){ 0 });
	assert_int_equal(r.limited, 0);
	ready_release(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_equal_times_keep_their_order),
		cmocka_unit_test(test_earlier_first),
		cmocka_unit_test(test_one_that_comes_back_keeps_its_place),
		cmocka_unit_test(test_a_run_is_removed),
		cmocka_unit_test(test_who_has_a_limit_gets_every_second_turn_in_a_line_without),
		cmocka_unit_test(test_a_line_that_moves_and_urgent_mail_are_not_passed),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
