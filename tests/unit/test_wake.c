/* SPDX-License-Identifier: Apache-2.0 */
/* Whoever waits is told: at once, also when it was said before he waited, and once. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "wake.h"

#define LONG_MS 600000 /* a test that is not told does not end */

static void *
tell(void *wake)
{
	const struct timespec soon = { 0, 20000000 };

	(void)nanosleep(&soon, NULL);
	wake_up(wake);
	return NULL;
}

static void
test_is_told(void **state)
{
	struct wake w;
	pthread_t teller;

	(void)state;
	wake_init(&w);
	assert_int_equal(pthread_create(&teller, NULL, tell, &w), 0);
	assert_true(wake_wait(&w, LONG_MS));
	assert_int_equal(pthread_join(teller, NULL), 0);
	assert_false(wake_wait(&w, 0));
}

static void
test_was_told_before(void **state)
{
	struct wake w;

	(void)state;
	wake_init(&w);
	wake_up(&w);
	wake_up(&w);
	assert_true(wake_wait(&w, LONG_MS));
	assert_false(wake_wait(&w, 1));
}

static void
test_time_is_over(void **state)
{
	struct timespec begin, end;
	struct wake w;

	(void)state;
	wake_init(&w);
	(void)clock_gettime(CLOCK_MONOTONIC, &begin);
	assert_false(wake_wait(&w, 30));
	(void)clock_gettime(CLOCK_MONOTONIC, &end);
	assert_true(
	    (end.tv_sec - begin.tv_sec) * 1000 + (end.tv_nsec - begin.tv_nsec) / 1000000 >= 29);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_is_told),
		cmocka_unit_test(test_was_told_before),
		cmocka_unit_test(test_time_is_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
