/* SPDX-License-Identifier: Apache-2.0 */
#include "common/relay.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define MIDDLE 25 /* a chance that changes no wait: 75 + 25 % */

static size_t
parse(struct relay list[RELAYS_MAX], const char *text)
{
	struct err err = { 0 };
	size_t count;

	if (relay_parse_list(list, &count, text, 25, &err) < 0)
		fail_msg("%s: %s", text, err.msg);
	return count;
}

static void
test_lists(void **state)
{
	static const struct {
		const char *text, *name;
		unsigned port, weight;
		bool local, backup;
	} cases[] = {
		{ "mx.example", "mx.example", 25, 1, false, false },
		{ " mx.example:587 ", "mx.example", 587, 1, false, false },
		{ "192.0.2.1:2525", "192.0.2.1", 2525, 1, false, false },
		{ "2001:db8::1", "2001:db8::1", 25, 1, false, false },
		{ "[2001:db8::1]", "2001:db8::1", 25, 1, false, false },
		{ "[2001:db8::1]:465", "2001:db8::1", 465, 1, false, false },
		{ "unix:/run/lmtp.sock", "/run/lmtp.sock", 25, 1, true, false },
		{ "mx.example weight=100", "mx.example", 25, 100, false, false },
	};
	struct relay list[RELAYS_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(parse(list, cases[i].text), 1);
		assert_string_equal(list[0].name, cases[i].name);
		assert_int_equal(list[0].port, cases[i].port);
		assert_int_equal(list[0].weight, cases[i].weight);
		assert_int_equal(list[0].local, cases[i].local);
		assert_int_equal(list[0].backup, cases[i].backup);
	}
	assert_int_equal(parse(list, "a weight=3, b:26 ,c\tbackup weight=2"), 3);
	assert_string_equal(list[1].name, "b");
	assert_int_equal(list[1].port, 26);
	assert_true(list[2].backup);
	assert_int_equal(list[2].weight, 2);
}

static void
test_bad_lists(void **state)
{
	static const char *const texts[] = { "", ",", "a,", "a,,b", "a:0", "a:65536", "a:", "a:x",
		":25", "a weight=0", "a weight=101", "a weight=", "a often", "a backup",
		"a backup, b backup", "unix:run", "unix:", "[::1", "[::1]25", "[::1]:", "[]:25",
		"a\001b", "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17" };
	struct relay list[RELAYS_MAX];
	char longest[400];
	struct err err;
	size_t count;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		err = (struct err){ 0 };
		if (relay_parse_list(list, &count, texts[i], 25, &err) == 0)
			fail_msg("taken: %s", texts[i]);
		assert_true(err.msg[0] != '\0');
	}
	memset(longest, 'a', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(relay_parse_list(list, &count, longest, 25, &err), -1);
}

/* Contents that are not answered for leave one connection to try, and others in its place. */
static void
test_silence(void **state)
{
	struct relay list[RELAYS_MAX];
	size_t count = parse(list, "a, b");
	struct outcome doubt = { .kind = OUTCOME_IN_DOUBT, .phase = OUTCOME_PHASE_DOT };
	struct outcome refused = {
		.kind = OUTCOME_FAILED, .phase = OUTCOME_PHASE_RCPT, .code = 550
	};
	struct outcome taken = { .kind = OUTCOME_SENT, .phase = OUTCOME_PHASE_DOT, .code = 250 };

	(void)state;
	list[0].connections = list[0].working = list[1].connections = list[1].working = 1;
	for (int i = 0; i < RELAY_SILENT_MAX; i++)
		assert_false(relay_hear(&list[0], &doubt));
	assert_ptr_equal(relay_choose(list, count, 1000), &list[0]); /* it may be chance */
	assert_true(relay_hear(&list[0], &doubt));
	assert_false(relay_hear(&list[0], &doubt)); /* told once */
	assert_ptr_equal(relay_choose(list, count, 1000), &list[1]);
	assert_null(relay_choose(list, 1, 1000));
	list[0].connections = list[0].working = 0;
	assert_ptr_equal(relay_choose(list, 1, 1000), &list[0]);
	list[0].connections = list[0].working = 1;
	assert_false(relay_hear(&list[0], &refused)); /* it has not had the content */
	assert_null(relay_choose(list, 1, 1000));
	assert_false(relay_hear(&list[0], &taken));
	assert_ptr_equal(relay_choose(list, 1, 1000), &list[0]);
}

/* Connections are spread by weight. */
static void
test_shares(void **state)
{
	struct relay list[RELAYS_MAX];
	size_t count = parse(list, "a weight=3, b, c backup");

	(void)state;
	for (int i = 0; i < 16; i++) {
		struct relay *r = relay_choose(list, count, 1000);

		assert_non_null(r);
		r->connections++;
		r->working++;
	}
	assert_int_equal(list[0].connections, 12);
	assert_int_equal(list[1].connections, 4);
	assert_int_equal(list[2].connections, 0);
}

static struct outcome
trouble(enum outcome_phase phase, const char *text)
{
	return (struct outcome){ .kind = OUTCOME_RELEASED,
		.phase = phase,
		.scope = OUTCOME_SCOPE_ROUTE,
		.reason = "network",
		.text = slice_str(text) };
}

/* One connection shows whether a relay works; when it does not, the others, then the backup. */
static void
test_failover(void **state)
{
	struct relay list[RELAYS_MAX];
	size_t count = parse(list, "a, b, c backup");
	struct outcome why = trouble(OUTCOME_PHASE_CONNECT, "connection refused");
	uint64_t now = 1000;

	(void)state;
	assert_ptr_equal(relay_choose(list, count, now), &list[0]);
	list[0].connections = 1;
	assert_ptr_equal(relay_choose(list, count, now), &list[1]);
	list[1].connections = 1;
	assert_null(relay_choose(list, count, now));
	assert_true(relay_unwell(&list[0], &why, now, MIDDLE));
	list[0].connections = 0;
	assert_null(relay_choose(list, count, now));
	assert_true(relay_unwell(&list[1], &why, now, MIDDLE));
	list[1].connections = 0;
	assert_ptr_equal(relay_choose(list, count, now), &list[2]);
	/* and back */
	assert_ptr_equal(relay_choose(list, count, now + RELAY_FIRST_REST_MS), &list[0]);
}

static void
test_rests_grow(void **state)
{
	struct relay list[RELAYS_MAX], *r = list;
	struct outcome why = trouble(OUTCOME_PHASE_GREETING, "421 busy");
	uint64_t now = 1000, rest = RELAY_FIRST_REST_MS;

	(void)state;
	(void)parse(list, "a");
	for (int i = 0; i < 12; i++) {
		assert_true(relay_unwell(r, &why, now, MIDDLE));
		assert_int_equal(r->open_after_ms - now, rest);
		assert_false(relay_is_usable(r, now));
		assert_false(relay_unwell(r, &why, now, MIDDLE));
		now = r->open_after_ms;
		assert_true(relay_is_usable(r, now));
		rest = rest * 2 < RELAY_LONGEST_REST_MS ? rest * 2 : RELAY_LONGEST_REST_MS;
	}
	relay_works(r);
	for (unsigned chance = 0; chance < 200; chance++) {
		relay_works(r);
		assert_true(relay_unwell(r, &why, now, chance));
		assert_in_range(r->open_after_ms - now, 375, 625);
	}
	/* one that works is used on, whatever becomes of further connections */
	r->working = 1;
	assert_true(relay_is_usable(r, now));
}

/* Each address of a name is tried before the relay rests. */
static void
test_addresses(void **state)
{
	struct relay list[RELAYS_MAX], *r = list;
	struct outcome why = trouble(OUTCOME_PHASE_CONNECT, "no route");

	(void)state;
	(void)parse(list, "a");
	r->address_count = 3;
	assert_false(relay_unwell(r, &why, 1000, MIDDLE));
	assert_int_equal(r->at, 1);
	assert_true(relay_is_usable(r, 1000));
	assert_false(relay_unwell(r, &why, 1000, MIDDLE));
	assert_int_equal(r->at, 2);
	assert_true(relay_unwell(r, &why, 1000, MIDDLE));
	assert_int_equal(r->address_count, 0); /* looked up again */
}

static void
test_throttled(void **state)
{
	struct relay list[RELAYS_MAX], *r = list;
	struct outcome rate = trouble(OUTCOME_PHASE_DOT, "Maximum sending rate exceeded."),
		       quota = trouble(OUTCOME_PHASE_DOT, "Daily message Quota exceeded");

	(void)state;
	(void)parse(list, "a");
	r->connections = r->working = 4;
	assert_true(relay_throttled(r, &rate, 1000, MIDDLE));
	assert_int_equal(r->begin_after_ms, 2000);
	assert_false(relay_may_begin(r, 1999));
	assert_false(relay_is_usable(r, 1999));
	assert_false(relay_throttled(r, &rate, 1500, MIDDLE)); /* they were under way */
	assert_true(relay_may_begin(r, 2000));
	assert_true(relay_throttled(r, &rate, 2000, MIDDLE));
	assert_int_equal(r->begin_after_ms, 4000);
	relay_took(r, 5000);
	assert_true(relay_throttled(r, &rate, 5000, MIDDLE));
	assert_int_equal(r->begin_after_ms, 9000);
	relay_took(r, 9000 + 60000); /* a minute without */
	assert_true(relay_throttled(r, &rate, 100000, MIDDLE));
	assert_int_equal(r->begin_after_ms, 101000);
	assert_true(relay_throttled(r, &quota, 200000, MIDDLE));
	assert_int_equal(r->begin_after_ms, 200000 + RELAY_QUOTA_REST_MS);
}

static void
test_blame(void **state)
{
	struct outcome o = { .kind = OUTCOME_DEFERRED,
		.scope = OUTCOME_SCOPE_ROUTE,
		.phase = OUTCOME_PHASE_DOT,
		.code = 454,
		.reason = "rate" };

	(void)state;
	assert_true(relay_is_to_blame(&o));
	o.scope = OUTCOME_SCOPE_RECIPIENT; /* one mailbox is flooded */
	assert_false(relay_is_to_blame(&o));
	o.scope = OUTCOME_SCOPE_ROUTE;
	o.kind = OUTCOME_FAILED;
	assert_false(relay_is_to_blame(&o));
	o.code = 530;
	o.reason = "auth";
	assert_true(relay_is_to_blame(&o));
	o = (struct outcome){ .kind = OUTCOME_SENT, .code = 250, .reason = "" };
	assert_false(relay_is_to_blame(&o));
}

static void
test_who_takes_a_large_message(void **state)
{
	struct relay list[RELAYS_MAX];

	(void)state;
	(void)parse(list, "a, b, c, d backup");
	list[0].size = 100;
	assert_ptr_equal(relay_choose_for(list, 4, 100, 1000), &list[0]);
	assert_ptr_equal(relay_choose_for(list, 4, 101, 1000), &list[1]); /* not known */
	list[1].size = list[2].size = 200;
	list[1].begin_after_ms = 5000;
	assert_ptr_equal(relay_choose_for(list, 4, 150, 1000), &list[2]);
	list[2].begin_after_ms = 5000; /* rests as well: to be waited for */
	assert_ptr_equal(relay_choose_for(list, 4, 150, 1000), &list[1]);
	assert_null(relay_choose_for(list, 4, 201, 1000));
	list[3].connections = 1; /* the backup carries mail now */
	assert_ptr_equal(relay_choose_for(list, 4, 201, 1000), &list[3]);
	assert_true(relay_takes(&list[0], 100));
	assert_false(relay_takes(&list[0], 101));
}

static void
test_faults_of_the_account_at_amazon_ses(void **state)
{
	static const char check[] =
	    "Message rejected: Email address is not verified. The following "
	    "identities failed the check in region US-EAST-1: ";
	static const struct {
		const char *text, *identities, *left; /* NULL: it is the recipient's */
	} cases[] = {
		{ check, "news@example.org",
		    "Message rejected: Email address is not verified. The "
		    "following identities failed the check in region US-EAST-1" },
		{ check, "news@example.org, Someone@b.example",
		    "Message rejected: Email address is not "
		    "verified. The following identities failed the check in region US-EAST-1" },
		{ check, "someone@B.example", NULL },
		{ "MAIL FROM domain not verified: bounces.example.org", "",
		    "MAIL FROM domain not verified: bounces.example.org" },
		{ "Access denied: User `arn:aws:iam::1:user/x' is not authorized to perform "
		  "`ses:SendRawEmail' on resource `arn:aws:ses:eu-west-1:1:identity/example.org'",
		    "",
		    "Access denied: User `arn:aws:iam::1:user/x' is not authorized to perform "
		    "`ses:SendRawEmail' on resource "
		    "`arn:aws:ses:eu-west-1:1:identity/example.org'" },
		{ "Transaction failed: spam", "", NULL },
		{ "Access denied, someone@b.example is unknown", "", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[OUTCOME_TEXT_MAX];
		struct outcome o = { .kind = OUTCOME_FAILED,
			.cls = OUTCOME_HARD,
			.phase = OUTCOME_PHASE_DOT,
			.code = 554,
			.reason = "undefined" };

		(void)snprintf(text, sizeof(text), "%s%s", cases[i].text, cases[i].identities);
		o.text = slice_str(text);
		assert_int_equal(
		    relay_take_blame(&o, SLICE("Someone@b.example")), cases[i].left != NULL);
		assert_int_equal(relay_is_to_blame(&o), cases[i].left != NULL);
		if (cases[i].left != NULL)
			assert_true(slice_equal(o.text, slice_str(cases[i].left)));
		else
			assert_int_equal(o.kind, OUTCOME_FAILED);
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_bad_lists),
		cmocka_unit_test(test_shares),
		cmocka_unit_test(test_silence),
		cmocka_unit_test(test_failover),
		cmocka_unit_test(test_rests_grow),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_throttled),
		cmocka_unit_test(test_blame),
		cmocka_unit_test(test_who_takes_a_large_message),
		cmocka_unit_test(test_faults_of_the_account_at_amazon_ses),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
