/* SPDX-License-Identifier: Apache-2.0 */
/* rules: the first row that fits decides; nothing relays; slips are named with their line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "rules.h"

static const char list[] = "# who          what\n"
			   "token          accept\n"
			   "Sales@Bounce.Example keep # a person\n"
			   "spam@bounce.example\tDROP\r\n"
			   "\n"
			   ".deep.bounce.example drop\n"
			   "open.example   accept\n"
			   "bounce.example bounce\n"
			   "late@bounce.example accept\n";

static void
test_decides(void **state)
{
	static const struct {
		const char *address;
		bool is_token;
		enum rule_action action;
	} rows[] = {
		{ "b+x@bounce.example", true, RULE_ACCEPT },
		{ "b+x@bounce.example", false, RULE_BOUNCE },
		{ "sales@bounce.example", false, RULE_KEEP },
		{ "SPAM@BOUNCE.EXAMPLE", false, RULE_DROP },
		{ "late@bounce.example", false, RULE_BOUNCE }, /* a row above fits */
		{ "anyone@open.example", false, RULE_ACCEPT },
		{ "anyone@sub.open.example", false, RULE_FOREIGN },
		{ "a@x.deep.bounce.example", false, RULE_DROP },
		{ "a@y.x.deep.bounce.example", false, RULE_DROP },
		{ "a@deep.bounce.example", false, RULE_FOREIGN }, /* below it, not itself */
		{ "a@notbounce.example", false, RULE_FOREIGN },
		{ "victim@elsewhere.example", false, RULE_FOREIGN },
		{ "victim%elsewhere.example@bounce.example", false, RULE_BOUNCE },
		{ "@bounce.example:victim@elsewhere.example", false, RULE_FOREIGN },
		{ "\"a@open.example\"@elsewhere.example", false, RULE_FOREIGN },
		{ "postmaster", false, RULE_FOREIGN },
		{ "a@", false, RULE_FOREIGN },
		{ "", false, RULE_FOREIGN },
	};
	struct rules rules;
	struct err err;

	(void)state;
	assert_int_equal(rules_parse(&rules, slice_str(list), &err), 0);
	assert_int_equal(rules.count, 7);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(rules_decide(&rules, slice_str(rows[i].address), rows[i].is_token),
		    rows[i].action);
	rules_release(&rules);
}

static void
test_standard(void **state)
{
	struct rules rules;
	struct err err;

	(void)state;
	assert_int_equal(rules_standard(&rules, SLICE("b.test"), &err), 0);
	assert_int_equal(rules_decide(&rules, SLICE("b+x@b.test"), true), RULE_ACCEPT);
	assert_int_equal(rules_decide(&rules, SLICE("b+x@b.test"), false), RULE_BOUNCE);
	assert_int_equal(rules_decide(&rules, SLICE("Postmaster@b.test"), false), RULE_KEEP);
	assert_int_equal(rules_decide(&rules, SLICE("abuse@b.test"), false), RULE_KEEP);
	assert_int_equal(rules_decide(&rules, SLICE("abuse@c.test"), false), RULE_FOREIGN);
	rules_release(&rules);
	assert_int_equal(rules_standard(&rules, SLICE(""), &err), -1);
	rules_release(&rules);
}

static void
test_slips(void **state)
{
	static const struct {
		const char *text, *says;
	} rows[] = {
		{ "token\n", "line 1: needs a recipient and one of" },
		{ "\ntoken relay\n", "line 2: needs a recipient and one of" },
		{ "token accept now\n", "line 1: needs a recipient" },
		{ "*.example drop\n", "line 1: write token" },
		{ "a..b drop\n", "line 1: write token" },
		{ ". drop\n", "line 1: write token" },
		{ "@example.com drop\n", "line 1: no address" },
		{ "user@ drop\n", "line 1: no address" },
		{ "user@*.test drop\n", "line 1: no address" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rules rules;
		struct err err;

		assert_int_equal(rules_parse(&rules, slice_str(rows[i].text), &err), -1);
		assert_ptr_equal(strstr(err.msg, rows[i].says), err.msg);
		rules_release(&rules);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_decides),
		cmocka_unit_test(test_standard),
		cmocka_unit_test(test_slips),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
