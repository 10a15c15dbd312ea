/* SPDX-License-Identifier: Apache-2.0 */
/* codes: reply and enhanced codes where a reply can be, and nowhere else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "codes.h"

static void
test_find(void **state)
{
	static const struct {
		const char *text, *expected;
	} rows[] = {
		{ "550 5.1.1 no such user", "550 5.1.1" },
		{ "550-5.1.1 no\n550 5.1.1 such user", "550 5.1.1" },
		{ "550: 5.1.1 no such user", "550 5.1.1" },
		{ "#550 5.1.10 RESOLVER.ADR##", "550 5.1.10" },
		{ "Remote Server returned '550 5.4.1 x'", "550 5.4.1" },
		{ "host x.test[192.0.2.1] said: 450 later (in reply to RCPT TO)", "450 0.0.0" },
		{ "host x.test [192.0.2.1]: 550 unknown", "550 0.0.0" },
		{ "Sorry, no mailbox. (#5.1.1)", "0 5.1.1" },
		{ "said: 511 no mailbox (#5.1.1 - chkuser)", "511 5.1.1" },
		{ "[SMTP Error Code 550]", "550 0.0.0" },
		{ "Permanent Failure: 550_5.1.1_<a@x.test>_User_unknown", "550 5.1.1" },
		{ "5.1.0 - Unknown address error 550-'5.1.1 <a@x.test>: no'", "550 5.1.1" },
		{ " 09:00:01: <-- 250 SIZE\n 09:00:01: <-- 550 not here", "550 0.0.0" },
		{ "cause\t550 no such user", "550 0.0.0" },
		{ "not seen for 6 months: 550 account is inactive", "550 0.0.0" },
		{ "退信原因：550 User suspended", "550 0.0.0" },
		{ "收件人不存在 550 Mailbox not found", "550 0.0.0" },
		{ "理由：550 宛先不明", "550 0.0.0" },
		{ "host x.test[192.0.2.1] refused to talk to me: 554\n    Service unavailable",
		    "554 0.0.0" },
		/* the remote's word, not the relay's summary */
		{ "<<< 452 4.2.2 full\n554 5.0.0 Service unavailable", "452 4.2.2" },
		/* a consequence is no cause */
		{ "<<< 550 no such user\n<<< 503 Need RCPT (recipient)", "550 0.0.0" },
		{ "said: 452 full\nsaid: 554 5.5.1 Error: no valid recipients", "452 0.0.0" },
		/* no codes */
		{ "sent to 10.550.1.1 port 25 on 29 Apr 2011", "0 0.0.0" },
		{ "limit of 500 messages, 552 kB", "0 0.0.0" },
		{ "what you sent has a size of: 550 bytes, limit: 452 KB", "0 0.0.0" },
		{ "no_550_reply", "0 0.0.0" },
		{ "容量：550 MB", "0 0.0.0" },
		{ "более 550 сообщений, 452 mails", "0 0.0.0" },
		{ "Exim 4.52, version 5.65.1.2, from 209.85.1.1", "0 0.0.0" },
		{ "at 192.0.2.4 (5.65/1.37)", "0 0.0.0" },
		{ "", "0 0.0.0" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct codes c = codes_find(slice_str(rows[i].text));
		char got[40];

		(void)snprintf(got, sizeof(got), "%d %u.%u.%u", c.code, c.enhanced[0],
		    c.enhanced[1], c.enhanced[2]);
		if (strcmp(got, rows[i].expected) != 0)
			print_message("# %s\n", rows[i].text);
		assert_string_equal(got, rows[i].expected);
	}
}

/* Where the last quoted reply begins, its first line included. */
static void
test_place(void **state)
{
	static const char text[] = "said: 451 later\nConnected again\nsaid: 550-no\n550 such user";
	struct codes c = codes_find(slice_str(text));

	(void)state;
	assert_true(c.is_quoted);
	assert_int_equal(c.at, strstr(text, "550-no") - text);
	assert_false(codes_find(slice_str("550 no such user")).is_quoted);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_find),
		cmocka_unit_test(test_place) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
