/* SPDX-License-Identifier: Apache-2.0 */
/* doctor_routes: what is said of a route. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "doctor_routes.h"

static void
test_routes(void **state)
{
	static const struct {
		const char *route;
		bool is_served;
		long runs;
		const char *wanted, *advice;
	} rows[] = {
		{ "own", true, 3, "ok own: a dispatcher serves it", "" },
		{ "own", false, 0,
		    "warning own: no dispatcher serves it: mail of the next run would wait",
		    "dispatcher.route = own;" },
		{ "own", false, 1,
		    "failed own: no dispatcher serves it, and 1 running run with mail for it waits",
		    "dispatcher.route = own;" },
		{ "", false, 2,
		    "failed without a route: no dispatcher serves it, and 2 running runs with mail "
		    "for it wait",
		    "without dispatcher.route" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		static struct doctor_checks d;
		char text[300];

		doctor_checks_init(&d);
		doctor_judge_route(&d, rows[i].route, rows[i].is_served, rows[i].runs);
		assert_int_equal(d.count, 1);
		(void)snprintf(text, sizeof(text), "%s %s: %s",
		    doctor_verdict_name(d.list[0].verdict), d.list[0].subject, d.list[0].found);
		assert_string_equal(text, rows[i].wanted);
		assert_non_null(strstr(d.list[0].advice, rows[i].advice));
		doctor_checks_release(&d);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_routes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
