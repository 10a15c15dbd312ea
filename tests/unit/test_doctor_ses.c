/* SPDX-License-Identifier: Apache-2.0 */
/* doctor_ses: every state of an account and what is said of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "doctor_identity.h"
#include "doctor_ses.h"

static void
test_account(void **state)
{
	static const struct {
		bool sending, production;
		const char *enforcement, *wanted;
	} rows[] = {
		{ true, true, "HEALTHY", "ok the account sends, 14.00 recipients a second; " },
		{ true, false, "HEALTHY",
		    "warning the account is in the sandbox: verified recipients only, 200 in 24 "
		    "hours, 14 a second; " },
		{ true, true, "PROBATION", "warning Amazon SES reviews this account; " },
		{ false, true, "HEALTHY",
		    "failed Amazon SES has paused sending for this account and region; " },
		{ true, true, "SHUTDOWN",
		    "failed Amazon SES has paused sending for this account and region; " },
		{ true, false, "PROBATION",
		    "warning Amazon SES reviews this account; warning the account is in the "
		    "sandbox: verified recipients only, 200 in 24 hours, 14 a second; " },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		static struct doctor_checks d;
		struct ses_account account = { .max_24h = 200,
			.max_rate = 14,
			.sending = rows[i].sending,
			.production = rows[i].production };
		char said[400] = "";

		(void)snprintf(
		    account.enforcement, sizeof(account.enforcement), "%s", rows[i].enforcement);
		doctor_checks_init(&d);
		doctor_judge_account(&d, "email.example", &account);
		for (size_t k = 0; k < d.count; k++)
			(void)snprintf(said + strlen(said), sizeof(said) - strlen(said), "%s %s; ",
			    doctor_verdict_name(d.list[k].verdict), d.list[k].found);
		assert_string_equal(said, rows[i].wanted);
		doctor_checks_release(&d);
	}
}

static void
test_senders(void **state)
{
	static const struct slice names[] = { { "Example.jp", 10 }, { "news@shop.example", 17 },
		{ "a.deep.example", 14 } };
	static const struct doctor_identities verified = { names, 3 };
	static const struct {
		const char *sender, *wanted; /* "": verified */
	} rows[] = { { "example.jp", "" }, { "news@example.jp", "" }, { "x@mail.EXAMPLE.jp", "" },
		{ "mail.example.jp", "" }, { "news@shop.example", "" },
		{ "other@shop.example", "failed" }, { "shop.example", "warning" },
		{ "deep.example", "failed" }, { "notexample.jp", "failed" }, { "jp", "failed" },
		{ "x@b.deep.example", "failed" } };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		static struct doctor_checks d;
		bool good;

		doctor_checks_init(&d);
		good = doctor_judge_sender(&d, &verified, rows[i].sender);
		assert_int_equal(good, rows[i].wanted[0] == '\0');
		assert_int_equal(d.count, !good);
		if (!good)
			assert_string_equal(doctor_verdict_name(d.list[0].verdict), rows[i].wanted);
		doctor_checks_release(&d);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_account),
		cmocka_unit_test(test_senders),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
