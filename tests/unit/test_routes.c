/* SPDX-License-Identifier: Apache-2.0 */
#include "common/pace/routes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
test_good(void **state)
{
	struct routes r;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(routes_parse(&r, "", "", &err), 0);
	assert_null(routes_of(&r, "docomo"));
	assert_int_equal(routes_parse(&r, " docomo=own, au = own,google=ses-2 ,",
			     "own=2/s , ses-2=60/min", &err),
	    0);
	assert_int_equal(r.way_count, 2);
	assert_string_equal(routes_part_name(&r, routes_of(&r, "au"), 0), "own");
	assert_int_equal(routes_of(&r, "docomo")->parts[0].way, routes_of(&r, "au")->parts[0].way);
	assert_true(routes_named(&r, "own")->per_s == 2);
	assert_true(routes_named(&r, "ses-2")->per_s == 1);
	assert_null(routes_named(&r, "google"));
	assert_null(routes_of(&r, "softbank"));
}

/* Parts by weight, each person always in the same one, whatever else is in the list. */
static void
test_parts(void **state)
{
	struct routes r;
	struct err err = { 0 };
	const struct routes_group *g;
	size_t counts[ROUTES_PARTS_MAX] = { 0 };

	(void)state;
	assert_int_equal(
	    routes_parse(&r, "docomo=own, gmail = own:30 + ses:60+*:10", "ses=5/s", &err), 0);
	g = routes_of(&r, "gmail");
	assert_non_null(g);
	assert_int_equal(g->part_count, 3);
	assert_int_equal(r.way_count, 2);
	assert_string_equal(routes_part_name(&r, g, 0), "own");
	assert_string_equal(routes_part_name(&r, g, 1), "ses");
	assert_string_equal(routes_part_name(&r, g, 2), "");
	for (int i = 0; i < 100000; i++) {
		char key[40];
		size_t part;

		(void)snprintf(key, sizeof(key), "person%d@gmail.com", i);
		part = routes_part(g, slice_str(key));
		assert_true(part < 3 && part == routes_part(g, slice_str(key)));
		counts[part]++;
	}
	assert_in_range(counts[0], 29500, 30500);
	assert_in_range(counts[1], 59500, 60500);
	assert_in_range(counts[2], 9700, 10300);
	/* equal parts without weights */
	assert_int_equal(routes_parse(&r, "gmail=a+b", "", &err), 0);
	assert_int_equal(routes_of(&r, "gmail")->parts[1].weight, 1);
}

static void
test_bad(void **state)
{
	static const char *const bad[][3] = {
		{ "docomo", "", "pace.routes: expected NAME=VALUE" },
		{ "docomo=", "", "pace.routes: names are" },
		{ "=own", "", "pace.routes: names are" },
		{ "docomo=a b", "", "pace.routes: names are" },
		{ "docomo=own;", "", "pace.routes: names are" },
		{ "docomo=012345678901234567890123456789012", "", "pace.routes: names are" },
		{ "docomo=a,docomo=b", "", "pace.routes: 'docomo' is named twice" },
		{ "docomo=a:1+a:2", "", "pace.routes: 'docomo' has the route 'a' twice" },
		{ "docomo=a:0+b:1", "", "pace.routes: names are" },
		{ "docomo=a:1001+b:1", "", "pace.routes: names are" },
		{ "docomo=a:1x+b", "", "pace.routes: names are" },
		{ "docomo=a:+b", "", "pace.routes: names are" },
		{ "docomo=a+", "", "pace.routes: names are" },
		{ "docomo=*", "", "pace.routes: names are" },
		{ "docomo=a+b+c+d+e", "", "pace.routes: 'docomo' has more than 4" },
		{ "docomo=a+*", "*=1/s", "pace.route_rates: no group" },
		{ "a=1,b=2,c=3,d=4,e=5,f=6,g=7,h=8,i=9,j=10,k=11,l=12,m=13,n=14,o=15,p=16,q=17", "",
		    "pace.routes: at most" },
		{ "docomo=own", "other=1/s", "pace.route_rates: no group" },
		{ "docomo=own", "own=0/s", "pace.route_rates: own: " },
		{ "docomo=own", "own", "pace.route_rates: expected" },
		{ "docomo=own", "own=1/s, own=2/s", "pace.route_rates: 'own' has two rates" },
	};
	struct routes r;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err err = { 0 };

		assert_int_equal(routes_parse(&r, bad[i][0], bad[i][1], &err), -1);
		if (strncmp(err.msg, bad[i][2], strlen(bad[i][2])) != 0)
			fail_msg("%s / %s: %s", bad[i][0], bad[i][1], err.msg);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_good),
		cmocka_unit_test(test_parts), cmocka_unit_test(test_bad) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
