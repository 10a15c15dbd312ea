/* SPDX-License-Identifier: Apache-2.0 */
/* verdict: what a reporter says about a failure, told apart from what it made up. */
#include "verdict.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static const struct {
	int code;
	const char *status, *text;
	enum outcome_class cls;
	const char *reason;
} rows[] = {
	/* made up, and the reply tells another cause */
	{ 550, "5.1.1", "550 mailbox is over quota", OUTCOME_SOFT, "mailbox_full" },
	{ 550, "5.1.1", "550 message contains a virus", OUTCOME_MESSAGE, "content" },
	{ 550, "5.1.2", "host mx.a.test[192.0.2.1] said: 550 listed in dnsbl", OUTCOME_BLOCK,
	    "reputation" },
	{ 550, "5.2.1", "550 rate limit exceeded", OUTCOME_BLOCK, "rate" },
	/* made up, but nothing speaks against it */
	{ 550, "5.1.1", "550 sorry", OUTCOME_HARD, "user_unknown" },
	{ 0, "5.1.1", "", OUTCOME_HARD, "user_unknown" },
	/* said by the host itself */
	{ 550, "5.1.1", "550 5.1.1 access denied", OUTCOME_HARD, "user_unknown" },
	{ 550, "5.1.1", "host mx.a.test[192.0.2.1] said: 550-5.1.1 denied", OUTCOME_HARD,
	    "user_unknown" },
	/* generic ones say nothing */
	{ 550, "5.0.0", "550 no such user", OUTCOME_HARD, "user_unknown" },
	{ 550, "5.5.0", "550 no such user", OUTCOME_HARD, "user_unknown" },
	{ 550, "5.0.0", "550 mailbox full", OUTCOME_SOFT, "mailbox_full" },
	{ 552, "5.5.0", "552 over quota", OUTCOME_SOFT, "mailbox_full" },
	{ 550, "5.0.0", "550 sorry", OUTCOME_BLOCK, "policy" },
	{ 450, "4.0.0", "450 no such user", OUTCOME_SOFT, "user_unknown" },
	{ 550, "4.0.0", "550 no such user", OUTCOME_SOFT, "user_unknown" },
	{ 450, "5.0.0", "450 no such user", OUTCOME_SOFT, "user_unknown" },
	/* without any code nobody is dead */
	{ 0, "0.0.0", "no such user", OUTCOME_SOFT, "user_unknown" },
	/* the host's name and the command are the reporter's words */
	{ 550, "5.0.0", "host blacklist.test[192.0.2.1] said: 550 no such user", OUTCOME_HARD,
	    "user_unknown" },
	{ 550, "5.0.0",
	    "host mx.a.test[192.0.2.1] said: 550 no such user (in reply to MAIL FROM command)",
	    OUTCOME_BLOCK, "policy" },
};

static void
test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct feedback_event event = { .code = rows[i].code,
			.text = slice_str(rows[i].text) };

		assert_int_equal(sscanf(rows[i].status, "%hu.%hu.%hu", &event.enhanced[0],
				     &event.enhanced[1], &event.enhanced[2]),
		    3);
		verdict_judge(&event);
		if (event.cls != rows[i].cls)
			print_message("# row %zu: %s %s\n", i, rows[i].status, rows[i].text);
		assert_int_equal(event.cls, rows[i].cls);
		assert_string_equal(event.reason, rows[i].reason);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_rows) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
