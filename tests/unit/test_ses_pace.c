/* SPDX-License-Identifier: Apache-2.0 */
/* ses_pace: requests under way by Little's law, permits one by one, slower and faster. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ses_pace.h"

static void
test_requests(void **state)
{
	struct ses_pace p;

	(void)state;
	ses_pace_init(&p, 0);
	assert_int_equal(ses_pace_requests(&p, 32), 32); /* no limit is known */
	assert_int_equal(ses_pace_recipients(&p, 50), 50);
	ses_pace_init(&p, 100);
	assert_int_equal(ses_pace_requests(&p, 32), 2); /* nor a latency */
	ses_pace_answered(&p, 0.1);
	assert_int_equal(ses_pace_requests(&p, 32), 17); /* 100 x 0.1 x 1.5 + 2 */
	assert_int_equal(ses_pace_requests(&p, 16), 16);
	ses_pace_answered(&p, 0.3); /* a twentieth of it counts */
	assert_int_equal(ses_pace_requests(&p, 32), 18);
	assert_int_equal(ses_pace_recipients(&p, 50), 50);
	ses_pace_init(&p, 14);
	assert_int_equal(ses_pace_recipients(&p, 50), 14);
	ses_pace_init(&p, 0.5);
	assert_int_equal(ses_pace_recipients(&p, 50), 1);
}

static void
test_charge(void **state)
{
	struct ses_pace p;

	(void)state;
	ses_pace_init(&p, 0);
	ses_pace_charge(&p, 1000000);
	assert_int_equal(p.next_us, 0);
	ses_pace_init(&p, 100);
	ses_pace_charge(&p, 1000000); /* an unused second gives 50 ms */
	assert_int_equal(p.next_us, 1000000 - 50000 + 10000);
	for (int i = 0; i < 5; i++)
		ses_pace_charge(&p, 1000000);
	assert_int_equal(p.next_us, 1010000);
	ses_pace_charge(&p, 1010000);
	assert_int_equal(p.next_us, 1020000);
}

/* What leaves late, because a connection had to be made, is counted when it leaves. */
static void
test_left(void **state)
{
	struct ses_pace p;

	(void)state;
	ses_pace_init(&p, 0);
	ses_pace_left(&p, 1, 1000000);
	assert_int_equal(p.next_us, 0);
	ses_pace_init(&p, 1);
	ses_pace_charge(&p, 5000000); /* nothing is caught up with, where one a second leaves */
	assert_int_equal(p.next_us, 6000000);
	ses_pace_left(&p, 1, 5200000);
	assert_int_equal(p.next_us, 6200000);
	ses_pace_init(&p, 10);
	for (int i = 0; i < 10; i++)
		ses_pace_charge(&p, 5000000); /* one request for ten */
	ses_pace_left(&p, 10, 5300000);
	assert_int_equal(p.next_us, 6300000);
	ses_pace_init(&p, 100);
	for (int i = 0; i < 10; i++)
		ses_pace_charge(&p, 5000000);
	ses_pace_left(&p, 1, 5060000); /* others were charged behind it */
	assert_int_equal(p.next_us, 5000000 - 50000 + 100000);
}

static void
test_slower(void **state)
{
	struct ses_pace p;

	(void)state;
	ses_pace_init(&p, 100);
	ses_pace_charge(&p, 1000000);
	ses_pace_slower(&p);
	assert_int_equal(ses_pace_recipients(&p, 100), 70);
	for (int i = 0; i < 20; i++)
		ses_pace_slower(&p);
	assert_int_equal(ses_pace_recipients(&p, 100), 10); /* and not less */
	for (int i = 0; i < 116; i++)
		ses_pace_faster(&p);
	assert_in_range(ses_pace_recipients(&p, 100), 99, 100); /* 1.02 ^ 116 = 9.95 */
	for (int i = 0; i < 10; i++)
		ses_pace_faster(&p);
	assert_int_equal(ses_pace_recipients(&p, 1000), 100); /* and not more */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_charge),
		cmocka_unit_test(test_left),
		cmocka_unit_test(test_slower),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
