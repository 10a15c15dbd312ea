/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp_ehlo.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void
test_everything(void **state)
{
	struct smtp_features f = smtp_ehlo_parse(
	    SLICE("SIZE 7 is the greeting\nPIPELINING\nsize 10485760\n8BITMIME\nDSN\n"
		  "EnhancedStatusCodes\nSTARTTLS\nAUTH PLAIN LOGIN CRAM-MD5\nCHUNKING\nSMTPUTF8\n"
		  "LIMITS RCPTMAX=1 MAILMAX=50 RCPTDOMAINMAX=20\nXCLIENT NAME\nHELP"));

	(void)state;
	assert_int_equal(f.extensions,
	    SMTP_EXT_PIPELINING | SMTP_EXT_SIZE | SMTP_EXT_8BITMIME | SMTP_EXT_DSN |
		SMTP_EXT_ENHANCED | SMTP_EXT_STARTTLS | SMTP_EXT_AUTH | SMTP_EXT_CHUNKING |
		SMTP_EXT_UTF8 | SMTP_EXT_LIMITS);
	assert_int_equal(f.size_max, 10485760);
	assert_int_equal(f.mechanisms, AUTH_PLAIN | AUTH_LOGIN);
	assert_int_equal(f.messages_max, 20);
}

static void
test_odd_lines(void **state)
{
	static const struct {
		struct slice line;
		unsigned extensions, mechanisms, messages_max;
		uint64_t size_max;
	} cases[] = {
		{ SLICE("SIZE"), SMTP_EXT_SIZE, 0, 0, 0 },
		{ SLICE("SIZE 0"), SMTP_EXT_SIZE, 0, 0, 0 },
		{ SLICE("SIZE=100"), SMTP_EXT_SIZE, 0, 0, 100 },
		{ SLICE("SIZE\t100 "), SMTP_EXT_SIZE, 0, 0, 100 },
		{ SLICE("SIZE 100x"), SMTP_EXT_SIZE, 0, 0, 0 },
		{ SLICE("SIZE -1"), SMTP_EXT_SIZE, 0, 0, 0 },
		{ SLICE("SIZE 99999999999999999999999"), SMTP_EXT_SIZE, 0, 0, 0 },
		{ SLICE("SIZED 100"), 0, 0, 0, 0 },
		{ SLICE("AUTH=LOGIN"), SMTP_EXT_AUTH, AUTH_LOGIN, 0, 0 },
		{ SLICE("AUTH =PLAIN xoauth2"), SMTP_EXT_AUTH, AUTH_XOAUTH2, 0, 0 },
		{ SLICE("AUTH"), SMTP_EXT_AUTH, 0, 0, 0 },
		{ SLICE("LIMITS"), SMTP_EXT_LIMITS, 0, 0, 0 },
		{ SLICE("LIMITS MAILMAX=0 MAILMAX=05 mailmax=7"), SMTP_EXT_LIMITS, 0, 7, 0 },
		{ SLICE("LIMITS MAILMAX= MAILMAX=1000000 MAILMAX=1x"), SMTP_EXT_LIMITS, 0, 0, 0 },
		{ SLICE("LIMITS MAILMAX=999999"), SMTP_EXT_LIMITS, 0, 999999, 0 },
		{ SLICE("LIMITS MAILMAX=5 RCPTDOMAINMAX=9"), SMTP_EXT_LIMITS, 0, 5, 0 },
		{ SLICE(""), 0, 0, 0, 0 },
		{ SLICE("   "), 0, 0, 0, 0 },
		{ SLICE("="), 0, 0, 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[100] = "mx\n";
		struct smtp_features f;

		memcpy(text + 3, cases[i].line.ptr, cases[i].line.len);
		f = smtp_ehlo_parse(slice_make(text, 3 + cases[i].line.len));
		if (f.extensions != cases[i].extensions || f.mechanisms != cases[i].mechanisms ||
		    f.messages_max != cases[i].messages_max || f.size_max != cases[i].size_max)
			fail_msg("%s: %x %x %u %llu", cases[i].line.ptr, f.extensions, f.mechanisms,
			    f.messages_max, (unsigned long long)f.size_max);
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_everything),
		cmocka_unit_test(test_odd_lines),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
