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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_equal_times_keep_their_order),
		cmocka_unit_test(test_earlier_first),
		cmocka_unit_test(test_one_that_comes_back_keeps_its_place),
		cmocka_unit_test(test_a_run_is_removed),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
