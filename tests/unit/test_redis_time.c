/* SPDX-License-Identifier: Apache-2.0 */
/* redis_time: answers that were slow do not move moments, clocks that are set are followed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "permit.h"
#include "redis_time.h"

#define SHIFT 1000000000000 /* what Redis says is ahead of ours by it */

static void
test_slow_answers_do_not_move_it(void **state)
{
	struct redis_time t = { 0 };

	(void)state;
	/* asked at 1000, in Redis at 1100, answered at 1200 */
	assert_int_equal(redis_time_ours(&t, 1000, 1100 + SHIFT, 1200), 1200);
	/* in Redis at 5050, answered 30 ms later: as exact as the quick one was */
	assert_int_equal(redis_time_ours(&t, 5000, 5050 + SHIFT, 35000), 5150);
	/* a quicker one makes it better */
	assert_int_equal(redis_time_ours(&t, 40000, 40010 + SHIFT, 40030), 40030);
	assert_int_equal(redis_time_ours(&t, 50000, 50010 + SHIFT, 90000), 50030);
	/* asked in a loop that stood still: the answer was waiting for long */
	assert_int_equal(redis_time_ours(&t, 100000, 130000 + SHIFT, 190000), 130020);
}

static void
test_clocks_that_are_set(void **state)
{
	struct redis_time t = { 0 };

	(void)state;
	(void)redis_time_ours(&t, 1000, 1050 + SHIFT, 1100);
	/* forward by a second, then back by two */
	assert_int_equal(redis_time_ours(&t, 2000, 1002050 + SHIFT, 2100), 2100);
	assert_int_equal(redis_time_ours(&t, 3000, -996950 + SHIFT, 3100), 3000);
	/* a drift moves it no further than it must */
	assert_int_equal(redis_time_ours(&t, 4000, -995950 + SHIFT, 4200), 4000);
}

static void
test_permits_in_bytes(void **state)
{
	char bytes[PERMIT_BYTES];
	size_t place;
	uint64_t offset;

	(void)state;
	permit_write(bytes, 4711, 999999.75);
	assert_true(permit_read(bytes, &place, &offset));
	assert_int_equal(place, 4711);
	assert_int_equal(offset, 999999);
	permit_write(bytes, 0, 0);
	assert_true(permit_read(bytes, &place, &offset));
	assert_int_equal(place + offset, 0);
	permit_write(bytes, 0, -1);
	assert_false(permit_read(bytes, &place, &offset));
	memset(bytes, 0xff, sizeof(bytes)); /* not a number */
	assert_false(permit_read(bytes, &place, &offset));
	permit_write(bytes, 0, 1e300);
	assert_false(permit_read(bytes, &place, &offset));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_slow_answers_do_not_move_it),
		cmocka_unit_test(test_clocks_that_are_set),
		cmocka_unit_test(test_permits_in_bytes),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
