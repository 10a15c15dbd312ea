/* SPDX-License-Identifier: Apache-2.0 */
/* dsn: fields, groups, codes and dates of delivery reports. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dsn.h"

static struct arena arena;

static struct dsn
parse(const char *text)
{
	struct dsn dsn;

	arena_release(&arena);
	arena_init(&arena, 1 << 20);
	assert_int_equal(dsn_parse(&dsn, slice_str(text), &arena), 0);
	return dsn;
}

static void
assert_slice(struct slice s, const char *expected)
{
	char text[600] = "";

	assert_true(s.len < sizeof(text));
	if (s.len > 0)
		memcpy(text, s.ptr, s.len);
	assert_string_equal(text, expected);
}

static void
test_fields(void **state)
{
	struct dsn dsn = parse("Reporting-MTA: dns; mta.example\r\n"
			       "Original-Envelope-Id: abc\r\n"
			       "Arrival-Date: Sat, 21 Nov 2026 17:05:42 +0000 (UTC)\r\n"
			       "\r\n"
			       "Final-Recipient: rfc822; <u@hard.example> (forwarded)\r\n"
			       "Original-Recipient: rfc822;orig@x.example\r\n"
			       "Action: Failed (permanent)\r\n"
			       "Status: (bad (nested) one) 5.1.1 (mailbox)\r\n"
			       "Remote-MTA: dns;\r\n mx.hard.example\r\n"
			       "Diagnostic-Code: smtp;\r\n\t550 5.1.1\r\n no such user\r\n"
			       "Last-Attempt-Date: 21 Nov 2026 18:05 +0100\r\n");
	const struct dsn_recipient *r = dsn.recipients;

	(void)state;
	assert_int_equal(dsn.count, 1);
	assert_slice(dsn.reporting_mta, "mta.example");
	assert_slice(dsn.envelope_id, "abc");
	assert_int_equal(dsn.arrival_us, 1795280742000000);
	assert_slice(r->final, "u@hard.example");
	assert_slice(r->original, "orig@x.example");
	assert_int_equal(r->action, DSN_FAILED);
	assert_int_equal(r->status[0], 5);
	assert_int_equal(r->status[1], 1);
	assert_int_equal(r->status[2], 1);
	assert_slice(r->remote_mta, "mx.hard.example");
	assert_slice(r->diagnostic, "550 5.1.1 no such user");
	assert_true(r->diagnostic_is_smtp);
	assert_int_equal(r->last_attempt_us, 1795280700000000);
}

static void
test_groups(void **state)
{
	struct dsn dsn;

	(void)state;
	/* no blank line between the groups, LF only, an unknown field, text without colon */
	dsn = parse(
	    "Reporting-MTA: dns; m\nX-Foo: bar\nFinal-Recipient: rfc822; a@b\nAction: failed\n"
	    "Status: 5.0.0\nFinal-Recipient: rfc822; c@d\nnonsense\nAction: delayed\n");
	assert_int_equal(dsn.count, 2);
	assert_slice(dsn.recipients[0].final, "a@b");
	assert_slice(dsn.recipients[1].final, "c@d");
	assert_int_equal(dsn.recipients[1].action, DSN_DELAYED);
	/* several blank lines, no address type, a recipient group without recipient */
	dsn = parse("\n\n\nFinal-Recipient: a@b\nAction: delivered\n \n\n\nAction: relayed\n\n"
		    "X-Only: x\n\n");
	assert_int_equal(dsn.count, 2);
	assert_slice(dsn.recipients[0].final, "a@b");
	assert_int_equal(dsn.recipients[1].action, DSN_RELAYED);
	/* nothing at all */
	assert_int_equal(parse("").count, 0);
	assert_int_equal(parse("Reporting-MTA: dns; m\n").count, 0);
	assert_int_equal(parse(": x\n:\n(\n\"\n").count, 0);
}

static void
test_utf8_address(void **state)
{
	struct dsn dsn = parse("Final-Recipient: utf-8; \\x{E9}l\\x{1F600}@ex.example\n"
			       "Action: failed\nStatus: 5.1.1\n\n"
			       "Final-Recipient: utf-8; \xE3\x81\x82@ex.example\nAction: failed\n\n"
			       "Final-Recipient: utf-8; a\\x{D800}\\x{}\\x{12@b\nAction: failed\n");

	(void)state;
	assert_slice(dsn.recipients[0].final, "\xC3\xA9l\xF0\x9F\x98\x80@ex.example");
	assert_slice(dsn.recipients[1].final, "\xE3\x81\x82@ex.example");
	assert_slice(dsn.recipients[2].final, "a\\x{}\\x{12@b");
}

static void
test_status(void **state)
{
	static const struct {
		const char *text;
		int v[3];
	} rows[] = {
		{ "5.1.1", { 5, 1, 1 } },
		{ "4.2.2 (full)", { 4, 2, 2 } },
		{ "2.1.5", { 2, 1, 5 } },
		{ "5.7.606", { 5, 7, 606 } },
		{ "3.1.1", { 0, 0, 0 } },
		{ "5.1", { 0, 0, 0 } },
		{ "5.1.1.1", { 0, 0, 0 } },
		{ "5.1000.1", { 0, 0, 0 } },
		{ "55.1.1", { 0, 0, 0 } },
		{ "", { 0, 0, 0 } },
		{ "(5.1.1)", { 0, 0, 0 } },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct dsn_recipient r;
		dsn_recipient_read(&r, SLICE("failed"), slice_str(rows[i].text), SLICE(""));
		for (int k = 0; k < 3; k++)
			assert_int_equal(r.status[k], rows[i].v[k]);
	}
}

/* Action, then diagnostic, then status. */
static void
test_judge(void **state)
{
	static const struct {
		const char *action, *status, *diagnostic;
		enum outcome_kind kind;
		enum outcome_class cls;
		int code;
		const char *enhanced;
	} rows[] = {
		{ "failed", "5.1.1", "X-Postfix; mailbox unavailable", OUTCOME_BOUNCED,
		    OUTCOME_HARD, 0, "5.1.1" },
		{ "failed", "5.1.1", "smtp; 550 5.1.1 <a@b> user unknown", OUTCOME_BOUNCED,
		    OUTCOME_HARD, 550, "5.1.1" },
		{ "failed", "4.2.2", "", OUTCOME_BOUNCED, OUTCOME_SOFT, 0, "4.2.2" },
		{ "failed", "4.1.1", "smtp; 450 4.1.1 user unknown", OUTCOME_BOUNCED, OUTCOME_SOFT,
		    450, "4.1.1" },
		{ "failed", "5.0.0", "smtp; 452 4.2.2 mailbox full", OUTCOME_BOUNCED, OUTCOME_SOFT,
		    452, "4.2.2" },
		{ "failed", "5.2.2", "smtp; 552 5.2.2 over quota", OUTCOME_BOUNCED, OUTCOME_SOFT,
		    552, "5.2.2" },
		{ "failed", "5.1.1", "smtp; 550 5.7.1 blocked by policy", OUTCOME_BOUNCED,
		    OUTCOME_BLOCK, 550, "5.7.1" },
		{ "failed", "5.0.0", "smtp; 554 relay said: 550 5.1.1 user unknown",
		    OUTCOME_BOUNCED, OUTCOME_HARD, 550, "5.1.1" },
		{ "failed", "4.4.7", "smtp; 550 no such user", OUTCOME_BOUNCED, OUTCOME_HARD, 550,
		    "" },
		{ "failed", "", "it did not work", OUTCOME_BOUNCED, OUTCOME_SOFT, 0, "" },
		{ "failed", "", "user unknown", OUTCOME_BOUNCED, OUTCOME_SOFT, 0, "" },
		{ "failed", "5.1.1", "smtp; 550 5.1.1 limit of 500 reached at 10.1.1.1 552",
		    OUTCOME_BOUNCED, OUTCOME_BLOCK, 550, "5.1.1" },
		{ "delayed", "5.1.1", "smtp; 550 5.1.1 user unknown", OUTCOME_DELAYED, OUTCOME_SOFT,
		    550, "5.1.1" },
		{ "delivered", "2.0.0", "smtp; 250 2.0.0 ok", OUTCOME_DELIVERED, OUTCOME_CLASS_NONE,
		    250, "2.0.0" },
		{ "relayed", "2.0.0", "", OUTCOME_OTHER, OUTCOME_CLASS_NONE, 0, "2.0.0" },
		{ "expanded", "2.0.0", "", OUTCOME_OTHER, OUTCOME_CLASS_NONE, 0, "2.0.0" },
		{ "", "5.1.1", "smtp; 550 5.1.1 user unknown", OUTCOME_OTHER, OUTCOME_CLASS_NONE,
		    550, "5.1.1" },
		{ "exploded", "5.1.1", "", OUTCOME_OTHER, OUTCOME_CLASS_NONE, 0, "5.1.1" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		static const struct dsn none;
		struct feedback_event event = { .reason = "none" };
		struct outcome outcome = { 0 };
		struct dsn_recipient r;
		char text[12];

		dsn_recipient_read(&r, slice_str(rows[i].action), slice_str(rows[i].status),
		    slice_str(rows[i].diagnostic));
		dsn_judge(&none, &r, &arena, &event);
		memcpy(outcome.enhanced, event.enhanced, sizeof(outcome.enhanced));
		if (event.kind != rows[i].kind || event.cls != rows[i].cls)
			print_message("# row %zu: %s %s\n", i, rows[i].status, rows[i].diagnostic);
		assert_int_equal(event.kind, rows[i].kind);
		assert_int_equal(event.cls, rows[i].cls);
		assert_int_equal(event.code, rows[i].code);
		assert_string_equal(outcome_enhanced_str(&outcome, text), rows[i].enhanced);
	}
}

static void
test_dates(void **state)
{
	(void)state;
	assert_int_equal(
	    dsn_date_parse(SLICE("Sat, 21 Nov 2026 17:05:42 +0000 (UTC)")), 1795280742000000);
	assert_int_equal(dsn_date_parse(SLICE("22 Nov 2026 02:05:42 +0900")), 1795280742000000);
	assert_int_equal(dsn_date_parse(SLICE("1 Jan 1970 00:00:01 GMT")), 1000000);
	assert_int_equal(dsn_date_parse(SLICE("29 Feb 2024 00:00 +0000")), 1709164800000000);
	assert_int_equal(dsn_date_parse(SLICE("yesterday")), 0);
	assert_int_equal(dsn_date_parse(SLICE("")), 0);
	assert_int_equal(dsn_date_parse(SLICE("1 Jan 2026 25:00 +0000")), 0);
	assert_int_equal(feedback_time_parse(SLICE("2016-10-14T05:02:16.645Z")), 1476421336645000);
	assert_int_equal(feedback_time_parse(SLICE("2018-10-08T14:05:45 +0000")), 1539007545000000);
	assert_int_equal(
	    feedback_time_parse(SLICE("2009-12-03T04:24:21.000-05:00")), 1259832261000000);
	assert_int_equal(feedback_time_parse(SLICE("2016-10-14T05:02:16Zx")), 0);
	assert_int_equal(feedback_time_parse(SLICE("2016-13-14T05:02:16Z")), 0);
	assert_int_equal(feedback_time_parse(SLICE("not a time")), 0);
}

static void
test_text(void **state)
{
	(void)state;
	assert_slice(feedback_text(&arena, SLICE(" a\x1B[31m\r\n\tb\0c "), 100), "a [31m b c");
	assert_slice(
	    feedback_text(&arena, SLICE("\xFF\xE3\x81\x82\xED\xA0\x80"), 100), "?\xE3\x81\x82???");
	assert_slice(feedback_text(&arena, SLICE("ab\xE3\x81\x82"), 4), "ab");
	assert_slice(feedback_text(&arena,
			 SLICE("a\xC2\x85"
			       "b\xE2\x80\xA8"
			       "c"),
			 100),
	    "a b c");
	assert_slice(feedback_text(&arena, SLICE(""), 100), "");
}

/* Many recipients, long folds and comments: bounded and linear. */
static void
test_hostile(void **state)
{
	size_t max = 256 * 1024, n = 0;
	char *text = malloc(max + 64);
	struct dsn dsn;
	clock_t start = clock();

	(void)state;
	while (n < max)
		n += (size_t)snprintf(
		    text + n, 64, "Final-Recipient: rfc822;a@b\nAction: failed\n\n");
	dsn = parse(text);
	assert_int_equal(dsn.count, DSN_RECIPIENTS_MAX);
	assert_true(dsn.truncated);
	memset(text, '(', max);
	memcpy(text, "Status: ", 8);
	text[max] = '\0';
	assert_int_equal(parse(text).count, 0);
	for (n = 0; n + 4 < max; n += 4)
		memcpy(text + n, "555 ", 4);
	memcpy(text, "Diagnostic-Code: ", 17);
	text[max] = '\0';
	dsn = parse(text);
	{
		struct feedback_event event = { .reason = "none" };
		dsn.recipients[0].action = DSN_FAILED;
		dsn_judge(&dsn, &dsn.recipients[0], &arena, &event);
		assert_true(event.text.len <= OUTCOME_TEXT_MAX);
	}
	for (n = 0; n + 3 < max; n += 3)
		memcpy(text + n, "\n a", 3);
	memcpy(text, "Status:", 7);
	(void)parse(text);
	assert_true(clock() - start < 2 * CLOCKS_PER_SEC);
	free(text);
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
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_utf8_address),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_judge),
		cmocka_unit_test(test_dates),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_hostile),
	};

	arena_init(&arena, 1 << 20);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, teardown);
}
