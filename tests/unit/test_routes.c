/* SPDX-License-Identifier: Apache-2.0 */
#include "common/pace/routes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
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
	assert_null(routes_find(&r, "docomo"));
	assert_int_equal(routes_parse(&r, " docomo=own, au = own,google=ses-2 ,",
			     "own=2/s , ses-2=60/min", &err),
	    0);
	assert_int_equal(r.way_count, 2);
	assert_string_equal(routes_find(&r, "au")->name, "own");
	assert_ptr_equal(routes_find(&r, "au"), routes_find(&r, "docomo"));
	assert_true(routes_find(&r, "au")->per_s == 2);
	assert_true(routes_find(&r, "google")->per_s == 1);
	assert_null(routes_find(&r, "softbank"));
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
		{ "docomo=a,docomo=b", "", "pace.routes: 'docomo' has two routes" },
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
		cmocka_unit_test(test_bad) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
