/* SPDX-License-Identifier: Apache-2.0 */
/* test_ledger: what reaches kairan.ingest(), column by column. */
#include "ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "intake.h"

enum { SOURCE, KIND, KEY, OCCURRED, RUN, SEND, ATTEMPT, ADDRESS, CLASS, REASON, CODE, ENHANCED };
enum { REPLY = ENHANCED + 1, REMOTE, DETAIL, MESSAGE_ID };

static struct feedback_event
an_event(void)
{
	return (struct feedback_event){ .kind = OUTCOME_BOUNCED,
		.cls = OUTCOME_HARD,
		.reason = "user_unknown",
		.source = "dsn",
		.code = 550,
		.enhanced = { 5, 1, 1 },
		.text = SLICE("no \"such\" user\\"),
		.address = SLICE("User@Example.COM"),
		.key = SLICE("k1"),
		.occurred_at_us = INT64_C(1476421336645000) };
}

static void
take(struct ledger_batch *b, const char *params[LEDGER_COLUMNS])
{
	assert_true(ledger_params(b, params));
}

static void
test_unlinked(void **state)
{
	const char *p[LEDGER_COLUMNS];
	struct feedback_event e = an_event();
	struct ledger_batch b;

	(void)state;
	ledger_init(&b);
	e.token = (struct token){ 7, 8, 9 }; /* must not be believed without linked */
	assert_true(ledger_add(&b, &e));
	take(&b, p);
	assert_string_equal(p[SOURCE], "{\"dsn\"}");
	assert_string_equal(p[KIND], "{\"bounced\"}");
	assert_string_equal(p[OCCURRED], "{\"2016-10-14 05:02:16.645000+00\"}");
	assert_string_equal(p[RUN], "{NULL}");
	assert_string_equal(p[SEND], "{NULL}");
	assert_string_equal(p[ATTEMPT], "{NULL}");
	assert_string_equal(p[ADDRESS], "{\"user@example.com\"}");
	assert_string_equal(p[CLASS], "{\"hard\"}");
	assert_string_equal(p[CODE], "{550}");
	assert_string_equal(p[ENHANCED], "{\"5.1.1\"}");
	assert_string_equal(p[REPLY], "{\"no \\\"such\\\" user\\\\\"}");
	assert_string_equal(p[REMOTE], "{NULL}");
	assert_string_equal(p[DETAIL], "{NULL}");
	assert_string_equal(p[MESSAGE_ID], "{NULL}");
	ledger_release(&b);
}

static void
test_linked_and_reset(void **state)
{
	const char *p[LEDGER_COLUMNS];
	struct feedback_event e = an_event();
	struct ledger_batch b;

	(void)state;
	ledger_init(&b);
	e.linked = true;
	e.message_id = SLICE("0100-a");
	e.token = (struct token){ 7, 8, 9 };
	e.address = SLICE("no address");
	e.occurred_at_us = 0;
	e.cls = OUTCOME_CLASS_NONE;
	e.code = 0;
	memset(e.enhanced, 0, sizeof(e.enhanced));
	for (int i = 0; i < 2; i++) { /* the second time the buffers are used again */
		ledger_reset(&b);
		assert_true(ledger_add(&b, &e));
		assert_true(ledger_add(&b, &e));
		assert_int_equal(b.count, 2);
		take(&b, p);
		assert_string_equal(p[RUN], "{7,7}");
		assert_string_equal(p[MESSAGE_ID], "{\"0100-a\",\"0100-a\"}");
		assert_string_equal(p[SEND], "{8,8}");
		assert_string_equal(p[ATTEMPT], "{9,9}");
		assert_string_equal(p[ADDRESS], "{NULL,NULL}");
		assert_string_equal(p[OCCURRED], "{NULL,NULL}");
		assert_string_equal(p[CLASS], "{NULL,NULL}");
		assert_string_equal(p[CODE], "{NULL,NULL}");
		assert_string_equal(p[ENHANCED], "{NULL,NULL}");
	}
	ledger_release(&b);
}

static void
test_smtp(void **state)
{
	const char *p[LEDGER_COLUMNS];
	struct ledger_batch b;
	struct outcome o = { .kind = OUTCOME_FAILED,
		.cls = OUTCOME_HARD,
		.code = 550,
		.enhanced = { 5, 1, 1 },
		.reason = "user_unknown",
		.text = SLICE("unknown"),
		.remote = SLICE("mx.example.com") };

	(void)state;
	ledger_init(&b);
	assert_true(ledger_add_smtp(&b, 3, 4, 5, SLICE("a@example.com"), &o, 1000000));
	take(&b, p);
	assert_string_equal(p[SOURCE], "{\"smtp\"}");
	assert_string_equal(p[KIND], "{\"bounced\"}");
	assert_string_equal(p[KEY], "{\"smtp|3|4|5\"}");
	assert_string_equal(p[RUN], "{3}");
	assert_string_equal(p[SEND], "{4}");
	assert_string_equal(p[ATTEMPT], "{5}");
	assert_string_equal(p[ADDRESS], "{\"a@example.com\"}");
	assert_string_equal(p[OCCURRED], "{\"1970-01-01 00:00:01.000000+00\"}");
	assert_string_equal(p[REMOTE], "{\"mx.example.com\"}");
	ledger_release(&b);
}

/* Times that no calendar of PostgreSQL's would like. */
static void
test_odd_times(void **state)
{
	const char *p[LEDGER_COLUMNS];
	const int64_t odd[] = { -1, INT64_MIN, INT64_MAX, INT64_C(253402300800000000) };
	struct feedback_event e = an_event();
	struct ledger_batch b;

	(void)state;
	ledger_init(&b);
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		e.occurred_at_us = odd[i];
		assert_true(ledger_add(&b, &e));
	}
	e.occurred_at_us = INT64_C(253402300799999999);
	assert_true(ledger_add(&b, &e));
	take(&b, p);
	assert_string_equal(p[OCCURRED], "{NULL,NULL,NULL,NULL,\"9999-12-31 23:59:59.999999+00\"}");
	ledger_release(&b);
}

/* What is kept of a refused event can always be stored. */
static void
test_refused_event(void **state)
{
	struct feedback_event e = an_event(), *kept;
	struct arena arena;

	(void)state;
	arena_init(&arena, 64 * 1024);
	e.detail = slice_make("{\"a\":\"\xff\x00\x1b\"}", 11);
	kept = intake_refused_event(&arena, &e, "value too long");
	assert_non_null(kept);
	assert_int_equal(kept->kind, OUTCOME_OTHER);
	assert_false(kept->linked);
	assert_string_equal(kept->reason, "refused");
	assert_string_equal(kept->source, "dsn");
	assert_int_equal(kept->address.len, 0);
	assert_true(slice_equal(kept->detail, SLICE("{\"a\":\"???\"}")));
	assert_true(slice_starts_nocase(kept->key, SLICE("refused|")));
	arena_release(&arena);
}

/* The event itself, as parameters of ingest(), goes with it and comes back. */
static void
test_kept_whole(void **state)
{
	struct feedback_event e = an_event(), *kept;
	const char *p[LEDGER_PARAMS_MAX], *again[LEDGER_COLUMNS], *sql;
	struct ledger_batch b;
	struct arena arena;
	int count;

	(void)state;
	arena_init(&arena, 64 * 1024);
	e.text = SLICE("\"quoted\\ \xc3\xa9");
	kept = intake_refused_event(&arena, &e, "no");
	assert_non_null(kept);
	assert_non_null(kept->kept);
	assert_string_equal(kept->kept->form, "event");
	ledger_init(&b);
	assert_true(ledger_add(&b, &e));
	sql = ledger_statement(&b, p, &count);
	assert_int_equal(count, LEDGER_COLUMNS);
	assert_string_equal(sql, LEDGER_SQL);
	assert_true(intake_refused_params(kept->kept->content, &arena, again));
	for (size_t i = 0; i < LEDGER_COLUMNS; i++)
		assert_string_equal(again[i], p[i]);
	ledger_reset(&b);
	assert_true(ledger_add(&b, &e));
	assert_true(ledger_add(&b, kept));
	intake_keep_whole(&arena, kept,
	    &(struct feedback_kept){ .form = "mail",
		.is_believed = true,
		.rcpts = SLICE("a\n"),
		.content = slice_make("\0\xff\"", 3) });
	assert_true(ledger_add(&b, kept));
	sql = ledger_statement(&b, p, &count);
	assert_int_equal(count, LEDGER_PARAMS_MAX);
	assert_non_null(strstr(sql, "notice_keep"));
	assert_string_equal(p[LEDGER_COLUMNS + 4], "{\"event\",\"mail\"}");
	assert_string_equal(p[LEDGER_COLUMNS + 5], "{0,1}");
	assert_string_equal(p[LEDGER_COLUMNS + 6], "{\"\",\"a\n\"}");
	assert_string_equal(strchr(p[LEDGER_COLUMNS + 7], ','), ",\"AP8i\"}");
	assert_false(intake_refused_params(SLICE("[]"), &arena, again));
	assert_false(intake_refused_params(SLICE("{"), &arena, again));
	ledger_release(&b);
	arena_release(&arena);
}

static void
test_whose_fault(void **state)
{
	static const struct {
		const char *sqlstate;
		bool of_data;
	} rows[] = { { "22021", true }, { "23514", true }, { "22008", true }, { "P0001", true },
		{ "54000", true }, { "40P01", false }, { "53100", false }, { "57P01", false },
		{ "42501", false }, { "42883", false }, { "25006", false }, { "", false } };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(intake_is_fault_of_data(rows[i].sqlstate), rows[i].of_data);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_unlinked),
		cmocka_unit_test(test_linked_and_reset), cmocka_unit_test(test_smtp),
		cmocka_unit_test(test_odd_times), cmocka_unit_test(test_refused_event),
		cmocka_unit_test(test_kept_whole), cmocka_unit_test(test_whose_fault) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
