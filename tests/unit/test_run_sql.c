/* SPDX-License-Identifier: Apache-2.0 */
/* run_sql: the run's number stands where the text marks it, and nothing else changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "embed.h"
#include "run_sql.h"

static struct arena arena;

static const char *
made(const char *text, int run)
{
	struct run_sql s;

	assert_true(run_sql_make(&s, &arena, "record", text, run, false));
	return s.sql;
}

static void
test_marks(void **state)
{
	struct run_sql s;

	(void)state;
	assert_string_equal(made("SELECT $1", 17), "SELECT $1");
	assert_string_equal(made("a = /*run*/$1 AND b = $1", 17), "a = 17 AND b = $1");
	assert_string_equal(made("/*run*/$12,/*run*/$2", 2147483647), "2147483647,2147483647");
	assert_string_equal(made("", 1), "");
	assert_true(run_sql_make(&s, &arena, "record", "x", 17, false));
	assert_string_equal(s.name, "record_17");
}

/* What is for runs with origins is a comment to the others. */
static void
test_origins(void **state)
{
	static const char text[] = "a/*origin, b*/ = /*run*/$1 /*fields*/ /*origin OR (c)*/";
	struct run_sql s;

	(void)state;
	assert_string_equal(made(text, 7), "a/*origin, b*/ = 7 /*fields*/ /*origin OR (c)*/");
	assert_true(run_sql_make(&s, &arena, "claim", text, 7, true));
	assert_string_equal(s.sql, "a, b = 7 /*fields*/  OR (c)");
	assert_true(run_sql_make(&s, &arena, "record", embed_dispatcher_sql_record_sql, 7, true));
	assert_non_null(strstr(s.sql, "kairan.tally_origin"));
	assert_null(strstr(s.sql, RUN_SQL_ORIGIN));
}

/* Whatever touches rows of send says which run it is for. */
static void
test_statements(void **state)
{
	const char *texts[] = { embed_dispatcher_sql_claim_sql, embed_dispatcher_sql_record_sql,
		embed_dispatcher_sql_release_sql, embed_dispatcher_sql_unsend_sql,
		embed_dispatcher_sql_recheck_sql };

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		const char *sql = made(texts[i], 4711);

		assert_null(strstr(sql, RUN_SQL_MARK));
		assert_non_null(strstr(sql, "run_id = 4711"));
		assert_null(strstr(sql, "s.run_id = $"));
		assert_null(strstr(sql, "x.run_id = $"));
	}
}

static int
setup(void **state)
{
	(void)state;
	arena_init(&arena, (size_t)1 << 20);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	arena_release(&arena);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_marks),
		cmocka_unit_test(test_origins), cmocka_unit_test(test_statements) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, setup, teardown);
}
