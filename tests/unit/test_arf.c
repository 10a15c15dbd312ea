/* SPDX-License-Identifier: Apache-2.0 */
/* arf: fields and meaning of complaint reports. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "arf.h"

static struct arena arena;

static struct arf
parse(const char *text)
{
	struct arf arf;

	assert_int_equal(arf_parse(&arf, slice_str(text), &arena), 0);
	return arf;
}

static void
test_fields(void **state)
{
	struct arf arf = parse("Feedback-Type: Abuse\r\nUser-Agent: Gen/1.0\r\nVersion: 1\r\n"
			       "Original-Mail-From: <b+x@bounce.test>\r\n"
			       "Original-Rcpt-To: <user@example.test>\r\nOriginal-Rcpt-To: b@c\r\n"
			       "Arrival-Date: Thu, 8 Mar 2026 14:00:00 +0000\r\n"
			       "Reporting-MTA: dns; mail.example.test\r\nSource-IP: 192.0.2.1\r\n"
			       "Original-Envelope-Id: abc\r\nIncidents: 3\r\n");

	(void)state;
	assert_true(arf.has_type);
	assert_int_equal(arf.type, ARF_ABUSE);
	assert_true(slice_equal(arf.user_agent, SLICE("Gen/1.0")));
	assert_true(slice_equal(arf.mail_from, SLICE("b+x@bounce.test")));
	assert_true(slice_equal(arf.rcpt_to, SLICE("user@example.test")));
	assert_true(slice_equal(arf.reporting_mta, SLICE("mail.example.test")));
	assert_true(slice_equal(arf.source_ip, SLICE("192.0.2.1")));
	assert_true(slice_equal(arf.envelope_id, SLICE("abc")));
	assert_int_equal(arf.incidents, 3);
	assert_true(arf.arrival_us > 0);
}

static void
test_types(void **state)
{
	static const struct {
		const char *text;
		enum outcome_kind kind;
		const char *reason;
	} rows[] = {
		{ "Feedback-Type: abuse\n", OUTCOME_COMPLAINED, "abuse" },
		{ "feedback-type: FRAUD (x)\n", OUTCOME_COMPLAINED, "fraud" },
		{ "Feedback-Type: virus\n", OUTCOME_COMPLAINED, "virus" },
		{ "Feedback-Type: other\n", OUTCOME_COMPLAINED, "other" },
		{ "Feedback-Type: opt-out\n", OUTCOME_COMPLAINED, "other" },
		{ "Feedback-Type:\n\tnot-spam\n", OUTCOME_OTHER, "not-spam" },
		{ "Feedback-Type: auth-failure\nAuth-Failure: dmarc\n", OUTCOME_OTHER,
		    "auth-failure" },
		{ "Feedback-Type: not-spam\nFeedback-Type: abuse\n", OUTCOME_OTHER, "not-spam" },
		{ "User-Agent: x\n", OUTCOME_OTHER, "no_type" },
		{ "", OUTCOME_OTHER, "no_type" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct arf arf = parse(rows[i].text);
		struct feedback_event event = { .reason = "none" };

		arf_judge(&arf, &arena, &event);
		assert_int_equal(event.kind, rows[i].kind);
		assert_string_equal(event.reason, rows[i].reason);
		assert_string_equal(event.source, "arf");
		assert_false(event.linked);
	}
}

static void
test_counts(void **state)
{
	(void)state;
	assert_int_equal(parse("Incidents: x\n").incidents, 1);
	assert_int_equal(parse("Incidents: 0\n").incidents, 1);
	assert_int_equal(parse("Incidents: 99999999999999999999\n").incidents, 1000000);
	assert_int_equal(parse("Arrival-Date: never\n").arrival_us, 0);
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
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_counts),
	};

	arena_init(&arena, 1 << 20);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, teardown);
}
