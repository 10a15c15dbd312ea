/* SPDX-License-Identifier: Apache-2.0 */
/* Verdicts on replies that servers give; every reason is one of the documented list. */
#include "classify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "smtp_reply.h"

#define CONNECT OUTCOME_PHASE_CONNECT
#define GREETING OUTCOME_PHASE_GREETING
#define MAIL OUTCOME_PHASE_MAIL
#define RCPT OUTCOME_PHASE_RCPT
#define DATA OUTCOME_PHASE_DATA
#define DOT OUTCOME_PHASE_DOT
#define NONE OUTCOME_PHASE_NONE
#define RECIPIENT OUTCOME_SCOPE_RECIPIENT
#define MESSAGE OUTCOME_SCOPE_MESSAGE
#define SESSION OUTCOME_SCOPE_SESSION
#define ROUTE OUTCOME_SCOPE_ROUTE

static const struct {
	enum outcome_phase phase;
	const char *reply;
	enum outcome_class cls;
	enum outcome_scope scope;
	const char *reason;
} cases[] = {
	/* hard: the address */
	{ RCPT, "550 5.1.1 <a@b.example>: Recipient address rejected: User unknown", OUTCOME_HARD,
	    RECIPIENT, "user_unknown" },
	{ RCPT, "550 User unknown", OUTCOME_HARD, RECIPIENT, "user_unknown" },
	{ RCPT, "550 NO SUCH USER HERE", OUTCOME_HARD, RECIPIENT, "user_unknown" },
	{ RCPT, "550 5.7.1 550 User Unknown", OUTCOME_HARD, RECIPIENT, "user_unknown" },
	{ RCPT, "550 5.4.1 Recipient address rejected: Access denied.", OUTCOME_HARD, RECIPIENT,
	    "user_unknown" },
	{ NONE, "550 5.1.1 gone", OUTCOME_HARD, RECIPIENT, "user_unknown" },
	{ DOT, "554 delivery error: This user doesn't have a mail account", OUTCOME_HARD, RECIPIENT,
	    "user_unknown" },
	{ RCPT, "550 5.1.2 no", OUTCOME_HARD, RECIPIENT, "domain_unknown" },
	{ RCPT, "556 5.1.10 no", OUTCOME_HARD, RECIPIENT, "domain_unknown" },
	{ RCPT, "553 5.1.3 no", OUTCOME_HARD, RECIPIENT, "bad_address" },
	{ RCPT, "550 5.2.1 no", OUTCOME_HARD, RECIPIENT, "mailbox_disabled" },
	{ RCPT, "550 This account is disabled", OUTCOME_HARD, RECIPIENT, "mailbox_disabled" },
	{ RCPT, "551 try elsewhere", OUTCOME_HARD, RECIPIENT, "moved" },
	{ RCPT, "550 5.1.6 no", OUTCOME_HARD, RECIPIENT, "moved" },
	{ RCPT, "550 5.7.13 no", OUTCOME_HARD, RECIPIENT, "mailbox_disabled" },
	/* words of a lost address, about something else */
	{ RCPT, "550 The domain our.example does not exist (sender)", OUTCOME_BLOCK, RECIPIENT,
	    "policy" },
	{ RCPT, "550 5.1.1 mailbox unavailable: too many messages waiting", OUTCOME_BLOCK,
	    RECIPIENT, "policy" },
	{ RCPT, "550 mailbox unavailable, local policy", OUTCOME_BLOCK, RECIPIENT, "policy" },
	{ RCPT, "550 Mailbox not found because a server is offline", OUTCOME_SOFT, RECIPIENT,
	    "system" },
	{ RCPT, "550 utilisateur inconnu dans la liste blanche", OUTCOME_BLOCK, RECIPIENT,
	    "policy" },
	{ DOT, "554 Mail with an unknown domain in URL", OUTCOME_BLOCK, RECIPIENT, "policy" },
	/* a 4xx is never hard */
	{ RCPT, "450 4.1.1 User unknown", OUTCOME_SOFT, RECIPIENT, "user_unknown" },
	{ RCPT, "450 4.2.1 no", OUTCOME_SOFT, RECIPIENT, "mailbox_disabled" },
	/* soft */
	{ RCPT, "552 5.2.2 over quota", OUTCOME_SOFT, RECIPIENT, "mailbox_full" },
	{ RCPT, "452 4.2.2 full", OUTCOME_SOFT, RECIPIENT, "mailbox_full" },
	{ DOT, "552 Mailbox full", OUTCOME_SOFT, RECIPIENT, "mailbox_full" },
	{ RCPT, "450 4.7.1 Greylisted, see http://x.example", OUTCOME_SOFT, RECIPIENT,
	    "greylisted" },
	{ RCPT, "450 4.2.1 The user you are trying to contact is receiving mail too quickly",
	    OUTCOME_SOFT, RECIPIENT, "rate" },
	{ RCPT, "451 4.3.0 later", OUTCOME_SOFT, SESSION, "system" },
	{ RCPT, "451 later", OUTCOME_SOFT, RECIPIENT, "system" },
	{ RCPT, "421 closing", OUTCOME_SOFT, SESSION, "system" },
	{ RCPT, "421", OUTCOME_SOFT, SESSION, "system" },
	{ NONE, "554 4.4.7 delivery gave up", OUTCOME_SOFT, RECIPIENT, "expired" },
	{ NONE, "connect to mx.example[192.0.2.1]: Connection timed out", OUTCOME_SOFT, RECIPIENT,
	    "network" },
	/* block: us */
	{ RCPT, "550 no", OUTCOME_BLOCK, RECIPIENT, "policy" },
	{ RCPT, "550 5.7.1 no", OUTCOME_BLOCK, RECIPIENT, "policy" },
	{ NONE, "554 go away", OUTCOME_BLOCK, RECIPIENT, "policy" },
	{ RCPT,
	    "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org",
	    OUTCOME_BLOCK, ROUTE, "reputation" },
	{ RCPT, "550 5.7.606 Access denied, banned sending IP [192.0.2.1]", OUTCOME_BLOCK, ROUTE,
	    "reputation" },
	{ MAIL, "451 4.7.650 The mail server has been temporarily rate limited", OUTCOME_BLOCK,
	    ROUTE, "rate" },
	{ DOT, "421 4.7.28 unusual rate of unsolicited mail", OUTCOME_BLOCK, ROUTE, "rate" },
	{ MAIL, "421 4.7.0 [TSS04] Messages temporarily deferred", OUTCOME_BLOCK, ROUTE, "rate" },
	{ MAIL, "454 Throttling failure: Maximum sending rate exceeded.", OUTCOME_BLOCK, ROUTE,
	    "rate" },
	{ MAIL, "550 5.7.1 no", OUTCOME_BLOCK, ROUTE, "policy" },
	{ GREETING, "554 no service", OUTCOME_BLOCK, ROUTE, "policy" },
	{ GREETING, "421 too many connections", OUTCOME_BLOCK, ROUTE, "rate" },
	{ CONNECT, "Connection refused", OUTCOME_SOFT, ROUTE, "network" },
	/* message */
	{ MAIL, "552 5.3.4 too big", OUTCOME_MESSAGE, MESSAGE, "too_large" },
	{ DOT, "552 too big", OUTCOME_MESSAGE, MESSAGE, "too_large" },
	{ DOT, "554 5.7.1 looks like spam", OUTCOME_MESSAGE, MESSAGE, "content" },
	{ DOT, "550 5.6.0 no", OUTCOME_MESSAGE, MESSAGE, "content" },
	/* config */
	{ MAIL, "553 5.1.8 no", OUTCOME_CONFIG, ROUTE, "config" },
	{ RCPT, "450 4.1.8 Sender address rejected: Domain not found", OUTCOME_CONFIG, ROUTE,
	    "config" },
	{ DOT, "550-5.7.26 Unauthenticated email from x is not accepted due to DMARC policy",
	    OUTCOME_CONFIG, ROUTE, "auth" },
	{ MAIL, "530 5.7.0 Authentication required", OUTCOME_CONFIG, ROUTE, "auth" },
	{ RCPT, "521 never", OUTCOME_BLOCK, RECIPIENT, "policy" },
	{ RCPT, "521 5.3.2 host does not accept mail", OUTCOME_HARD, RECIPIENT, "domain_unknown" },
	{ MAIL, "530 no", OUTCOME_CONFIG, ROUTE, "auth" },
	{ RCPT, "554 5.7.1 <a@b.example>: Relay access denied", OUTCOME_CONFIG, RECIPIENT,
	    "config" },
	{ RCPT, "503 no", OUTCOME_CONFIG, SESSION, "config" },
	{ MAIL, "555 no", OUTCOME_CONFIG, SESSION, "config" },
	/* the words of an address are nobody's opinion */
	{ RCPT, "550 <spamhaus@b.example> 5.1.1", OUTCOME_HARD, RECIPIENT, "user_unknown" },
	{ RCPT, "550 <user unknown@b.example> no", OUTCOME_BLOCK, RECIPIENT, "policy" },
	{ RCPT, "550 mailbox-full@b.example is not here", OUTCOME_BLOCK, RECIPIENT, "policy" },
	/* broken by lines and blanks */
	{ RCPT, "550 The email account that you tried to reach\ndoes not  exist.", OUTCOME_HARD,
	    RECIPIENT, "user_unknown" },
	/* nothing */
	{ NONE, "", OUTCOME_SOFT, RECIPIENT, "undefined" },
	{ NONE, "hello", OUTCOME_SOFT, RECIPIENT, "undefined" },
	{ DOT, "250 ok", OUTCOME_CLASS_NONE, RECIPIENT, "undefined" },
};

static struct classify_verdict
judge(enum outcome_phase phase, struct slice reply)
{
	struct classify_input in = { .phase = phase, .code = atoi(reply.ptr), .text = reply };

	(void)smtp_enhanced_find(reply, 0, in.enhanced);
	return classify(&in);
}

static void
test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct classify_verdict v = judge(cases[i].phase, slice_str(cases[i].reply));

		if (v.cls != cases[i].cls || v.scope != cases[i].scope ||
		    strcmp(v.reason, cases[i].reason) != 0)
			fail_msg("%s \"%s\": %s %s %s (%s)", outcome_phase_name(cases[i].phase),
			    cases[i].reply, outcome_class_name(v.cls), outcome_scope_name(v.scope),
			    v.reason, v.rule);
	}
}

static bool
is_documented(const char *reason)
{
	static const char *const reasons[] = { "user_unknown", "domain_unknown", "bad_address",
		"mailbox_disabled", "mailbox_full", "moved", "too_large", "content", "policy",
		"reputation", "rate", "greylisted", "system", "network", "expired", "auth",
		"config", "smtputf8_unsupported", "undefined" };

	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (strcmp(reasons[i], reason) == 0)
			return true;
	return false;
}

/* Every code in every phase has a verdict that keeps the promises. */
static void
test_every_code(void **state)
{
	(void)state;
	for (int phase = 0; phase < OUTCOME_PHASES; phase++) {
		for (unsigned n = 0; n < 600 * 9 * 35; n++) {
			struct classify_input in = { .phase = (enum outcome_phase)phase };
			struct classify_verdict v;

			in.code = (int)(n % 600);
			if (in.code < 400)
				continue;
			in.enhanced[0] = (uint16_t)(in.code / 100);
			in.enhanced[1] = (uint16_t)(n / 600 % 9);
			in.enhanced[2] = (uint16_t)(n / 600 / 9);
			v = classify(&in);
			assert_true(is_documented(v.reason));
			assert_true(v.cls != OUTCOME_CLASS_NONE);
			if (in.code < 500)
				assert_true(v.cls != OUTCOME_HARD);
			if (phase >= OUTCOME_PHASE_CONNECT && phase <= OUTCOME_PHASE_AUTH)
				assert_int_equal(v.scope, OUTCOME_SCOPE_ROUTE);
			if (phase == OUTCOME_PHASE_MAIL)
				assert_true(
				    v.scope != OUTCOME_SCOPE_RECIPIENT && v.cls != OUTCOME_HARD);
		}
	}
}

static void
test_long_text(void **state)
{
	char text[8192];

	(void)state;
	memset(text, 'x', sizeof(text));
	memcpy(text, "550 ", 4);
	memcpy(text + 1000, " user unknown ", 14);
	assert_int_equal(judge(RCPT, slice_make(text, sizeof(text))).cls, OUTCOME_HARD);
	memset(text + 4, '@', sizeof(text) - 4);
	assert_int_equal(judge(RCPT, slice_make(text, sizeof(text))).cls, OUTCOME_BLOCK);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_every_code),
		cmocka_unit_test(test_long_text),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
