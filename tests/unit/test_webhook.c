/* SPDX-License-Identifier: Apache-2.0 */
/* webhook: signatures against vectors of Python's hmac, the clock, and every rule of the form. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "placeholders.h"
#include "webhook.h"

#define AT 1763719200
#define BODY "{\"a\":1}"
#define FIRST "612392f1772f2e0fe91d0be8fe1d7193988fcff4fd5ef41d33a094ce54beff0b"
#define FIRST_IN_CAPITALS "612392F1772F2E0FE91D0BE8FE1D7193988FCFF4FD5EF41D33A094CE54BEFF0B"
#define SECOND "7e1f715ff3295b62288abe49eef5bb1e8eec8b5d7fba220a047853985cabffa8"
#define EMPTY "7efa9a76a39d7ec5677adfdf6e90e1b6315da26a3bffaf0918b2cc5e714b563c"

/* Two live keys: 00 01 02 … and 01 02 03 … */
static struct token_keys
two_keys(void)
{
	struct token_keys keys = { 2, { 1, 2 }, { { 0 } } };

	for (unsigned i = 0; i < TOKEN_KEY_BYTES; i++) {
		keys.key[0][i] = (unsigned char)i;
		keys.key[1][i] = (unsigned char)(i + 1);
	}
	return keys;
}

static void
test_signatures(void **state)
{
	static const struct {
		const char *timestamp, *signature, *body;
		int64_t now;
		int status; /* 0: good */
	} rows[] = {
		{ "1763719200", "v1=" FIRST, BODY, AT, 0 },
		{ "1763719200", "v1=" SECOND, BODY, AT, 0 },
		{ "1763719200", "v1=" FIRST_IN_CAPITALS, BODY, AT, 0 },
		{ " 1763719200 ", " v1=" FIRST " ", BODY, AT, 0 },
		{ "1763719200", "v0=x, v1=" FIRST, BODY, AT, 0 },
		{ "1763719200", "v1=" EMPTY ",v1=" SECOND, BODY, AT, 0 },
		{ "1763719200", "v1=" EMPTY, "", AT, 0 },
		{ "1763719200", "v1=" FIRST, BODY, AT + 300, 0 },
		{ "1763719200", "v1=" FIRST, BODY, AT - 300, 0 },
		{ "1763719200", "v1=" FIRST, BODY, AT + 301, 403 },
		{ "1763719200", "v1=" FIRST, BODY, AT - 301, 403 },
		{ "1763719200", "v1=" FIRST, BODY " ", AT, 401 },
		{ "1763719201", "v1=" FIRST, BODY, AT, 401 },
		{ "1763719201", "v1=" FIRST, BODY, AT + 9999, 401 }, /* the clock is not told */
		{ "01763719200", "v1=" FIRST, BODY, AT, 401 },
		{ "1763719200", "v1=" EMPTY, BODY, AT, 401 },
		{ "1763719200", FIRST, BODY, AT, 401 },
		{ "1763719200", "V1=" FIRST, BODY, AT, 401 },
		{ "1763719200", "v1=" FIRST "0", BODY, AT, 401 },
		{ "1763719200", "v1=", BODY, AT, 401 },
		{ "1763719200", "", BODY, AT, 401 },
		{ "1763719200", "v1=" EMPTY ",v1=" EMPTY ",v1=" EMPTY ",v1=" EMPTY ",v1=" FIRST,
		    BODY, AT, 401 },
		{ "", "v1=" FIRST, BODY, AT, 401 },
		{ "-1", "v1=" FIRST, BODY, AT, 401 },
		{ "1763719200.0", "v1=" FIRST, BODY, AT, 401 },
		{ "99999999999999999999", "v1=" FIRST, BODY, AT, 401 },
	};
	struct token_keys keys = two_keys();

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct webhook_head head = { slice_str(rows[i].timestamp),
			slice_str(rows[i].signature) };
		struct err err = { 0 };
		int status = 0,
		    result = webhook_verify(
			&keys, &head, slice_str(rows[i].body), rows[i].now, 300, &status, &err);

		assert_int_equal(result, rows[i].status == 0 ? 0 : -1);
		if (result < 0) {
			assert_int_equal(status, rows[i].status);
			assert_true(err.msg[0] != '\0');
		}
	}
}

/* Every byte of a signature counts, and every bit of it. */
static void
test_bits(void **state)
{
	struct token_keys keys = two_keys();
	static const char digits[] = "0123456789abcdef";
	int status;

	(void)state;
	for (size_t i = 0; i < 64; i++) {
		for (unsigned bit = 1; bit < 16; bit <<= 1) {
			char text[] = "v1=" FIRST;
			struct webhook_head head = { SLICE("1763719200"), slice_str(text) };
			const char *digit = strchr(digits, text[3 + i]);
			struct err err;

			text[3 + i] = digits[(unsigned)(digit - digits) ^ bit];
			assert_int_equal(
			    webhook_verify(&keys, &head, SLICE(BODY), AT, 300, &status, &err), -1);
		}
	}
}

static struct arena arena;

static int
parse(const char *text, struct feedback_events *events, struct err *err)
{
	static char filled[40000];
	struct webhook_input in = { .keys = &placeholder_keys, .bounce_domain = SLICE("b.test") };

	in.json = placeholders_fill(text, filled);
	*events = (struct feedback_events){ 0 };
	arena_release(&arena);
	arena_init(&arena, WEBHOOK_ARENA_MAX);
	return webhook_parse(&in, &arena, events, err);
}

#define DOC(events) "{\"version\":1,\"events\":[" events "]}"

static void
test_events(void **state)
{
	static const struct {
		const char *text;
		enum outcome_kind kind;
		enum outcome_class cls;
		const char *reason;
		int attempt; /* -1: not linked */
	} rows[] = {
		{ DOC("{\"id\":\"1\",\"event\":\"bounced\",\"token\":\"%B\",\"status\":\"5.1.1\"}"),
		    OUTCOME_BOUNCED, OUTCOME_HARD, "user_unknown", 3 },
		{ DOC("{\"id\":\"1\",\"event\":\"bounced\",\"token\":\"b+%B@b.test\",\"code\":550,"
		      "\"diagnostic\":\"550 user unknown\"}"),
		    OUTCOME_BOUNCED, OUTCOME_HARD, "user_unknown", 3 },
		{ DOC("{\"id\":\"1\",\"event\":\"bounced\",\"message_id\":\"<%M@x.test>\","
		      "\"status\":\"4.2.2\"}"),
		    OUTCOME_BOUNCED, OUTCOME_SOFT, NULL, 0 },
		{ DOC("{\"id\":\"1\",\"event\":\"bounced\",\"message_id\":\"%M@x.test\"}"),
		    OUTCOME_BOUNCED, OUTCOME_SOFT, NULL, 0 },
		{ DOC("{\"id\":\"1\",\"event\":\"complained\",\"token\":\"%B\"}"),
		    OUTCOME_COMPLAINED, OUTCOME_CLASS_NONE, "abuse", 3 },
		{ DOC("{\"id\":\"1\",\"event\":\"unsubscribed\",\"token\":\"%U\"}"),
		    OUTCOME_UNSUBSCRIBED, OUTCOME_CLASS_NONE, "webhook", 3 },
		{ DOC("{\"id\":\"1\",\"event\":\"delivered\",\"token\":\"%B\"}"), OUTCOME_DELIVERED,
		    OUTCOME_CLASS_NONE, "delivered", 3 },
		{ DOC("{\"id\":\"1\",\"event\":\"bounced\",\"token\":\"%F\",\"status\":\"5.1.1\"}"),
		    OUTCOME_BOUNCED, OUTCOME_HARD, NULL, -1 },
		{ DOC("{\"id\":\"1\",\"event\":\"bounced\",\"token\":\"b+%B@other\"}"),
		    OUTCOME_BOUNCED, OUTCOME_SOFT, NULL, -1 },
		{ DOC("{\"id\":\"1\",\"event\":\"bounced\",\"message_id\":\"<%B@x.test>\"}"),
		    OUTCOME_BOUNCED, OUTCOME_SOFT, NULL, -1 },
		{ DOC("{\"id\":\"1\",\"event\":\"opened\",\"address\":\"a@b.test\"}"),
		    OUTCOME_OPENED, OUTCOME_CLASS_NONE, "opened", -1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct feedback_events events;
		const struct feedback_event *e;
		struct err err;

		assert_int_equal(parse(rows[i].text, &events, &err), 0);
		assert_int_equal(events.count, 1);
		e = &events.items[0];
		assert_string_equal(outcome_kind_name(e->kind), outcome_kind_name(rows[i].kind));
		assert_string_equal(outcome_class_name(e->cls), outcome_class_name(rows[i].cls));
		if (rows[i].reason != NULL)
			assert_string_equal(e->reason, rows[i].reason);
		assert_int_equal(e->linked, rows[i].attempt >= 0);
		assert_int_equal(e->token.send, rows[i].attempt >= 0 ? 42 : 0);
		assert_int_equal(e->token.attempt, rows[i].attempt >= 0 ? rows[i].attempt : 0);
		assert_string_equal(e->source, "webhook");
		assert_true(slice_equal(e->key, SLICE("webhook|1")));
	}
}

static void
test_values(void **state)
{
	struct feedback_events events;
	struct err err;

	(void)state;
	assert_int_equal(
	    parse(
		DOC("{\"id\":\"a|b\",\"event\":\"bounced\",\"token\":\"%B\",\"code\":550,"
		    "\"status\":\"5.1.1\",\"diagnostic\":\"<script>\\u001b[2J\\r\\nx\",\"remote\":"
		    "\"mx.b.test\",\"time\":\"2026-11-20T10:00:00Z\",\"address\":\"A@b.test\"},"
		    "{\"id\":\"2\",\"event\":\"clicked\",\"token\":\"%B\"}"),
		&events, &err),
	    0);
	assert_int_equal(events.count, 2);
	assert_string_equal(events.items[0].text.ptr, "<script> [2J x"); /* A20 */
	assert_string_equal(events.items[0].remote.ptr, "mx.b.test");
	assert_string_equal(events.items[0].address.ptr, "A@b.test");
	assert_int_equal(events.items[0].code, 550);
	assert_true(events.items[0].occurred_at_us == INT64_C(1795168800000000));
	assert_int_equal(events.items[1].occurred_at_us, 0);
}

/* A10 and slips: refused with what is wrong and where. */
static void
test_refused(void **state)
{
	static const struct {
		const char *text, *says;
	} rows[] = {
		{ "", "not a JSON" },
		{ "[]", "not an object" },
		{ "{}", "version" },
		{ "{\"version\":2,\"events\":[]}", "version" },
		{ "{\"version\":\"1\",\"events\":[]}", "version" },
		{ "{\"version\":1,\"events\":[]}", "1 to 200" },
		{ "{\"version\":1,\"events\":{}}", "a list" },
		{ "{\"version\":1,\"events\":[1]}", "event 1: not an object" },
		{ "{\"version\":1,\"events\":[1],\"more\":1}", "alone" },
		{ "{\"version\":1,\"version\":1,\"events\":[]}", "not a JSON" },
		{ DOC("{\"id\":\"1\",\"id\":\"2\",\"event\":\"opened\"}"), "not a JSON" },
		{ DOC("{\"id\":\"1\",\"event\":\"opened\"}") "x", "not a JSON" },
		{ "\xEF\xBB\xBF" DOC("{\"id\":\"1\",\"event\":\"opened\"}"), "not a JSON" },
		{ DOC("{\"id\":\"\xFF\",\"event\":\"opened\"}"), "not a JSON" },
		{ DOC("{\"id\":\"\\ud800\",\"event\":\"opened\"}"), "not a JSON" },
		{ DOC("{\"event\":\"opened\"}"), "id is missing" },
		{ DOC("{\"id\":\"\",\"event\":\"opened\"}"), "id is missing" },
		{ DOC("{\"id\":1,\"event\":\"opened\"}"), "event 1: id must be a text" },
		{ DOC("{\"id\":\"1\"}"), "event must be one of" },
		{ DOC("{\"id\":\"1\",\"event\":\"Bounced\"}"), "event must be one of" },
		{ DOC("{\"id\":\"1\",\"event\":\"opened\"},{\"id\":\"2\",\"event\":\"x\"}"),
		    "event 2" },
		{ DOC("{\"id\":\"1\",\"event\":\"opened\",\"tokn\":\"x\"}"),
		    "unknown field 'tokn'" },
		{ DOC("{\"id\":\"1\",\"event\":\"bounced\",\"code\":\"550\"}"), "code must be" },
		{ DOC("{\"id\":\"1\",\"event\":\"bounced\",\"code\":5500}"), "code must be" },
		{ DOC("{\"id\":\"1\",\"event\":\"bounced\",\"status\":\"5.1\"}"),
		    "status must be" },
		{ DOC("{\"id\":\"1\",\"event\":\"bounced\",\"status\":\"5.1.1 x\"}"),
		    "status must be" },
		{ DOC("{\"id\":\"1\",\"event\":\"bounced\",\"time\":\"yesterday\"}"),
		    "time must be" },
		{ DOC("{\"id\":\"1\",\"event\":\"bounced\",\"address\":\"a\\u0000b\"}"),
		    "holds a NUL" },
		{ DOC("{\"id\":\"1\",\"event\":\"bounced\",\"address\":null}"), "must be a text" },
		{ DOC("[[[[[[1]]]]]]"), "nested" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct feedback_events events;
		struct err err = { 0 };

		assert_int_equal(parse(rows[i].text, &events, &err), -1);
		assert_non_null(strstr(err.msg, rows[i].says));
	}
}

static void
test_many(void **state)
{
	char *text = malloc(FEEDBACK_EVENTS_MAX * 60 + 1000);
	struct webhook_input in = { .keys = &placeholder_keys };

	(void)state;
	for (int count = FEEDBACK_EVENTS_MAX; count <= FEEDBACK_EVENTS_MAX + 1; count++) {
		struct feedback_events events = { 0 };
		struct err err;
		size_t n = (size_t)sprintf(text, "{\"version\":1,\"events\":[");

		for (int i = 0; i < count; i++)
			n += (size_t)sprintf(text + n, "%s{\"id\":\"%d\",\"event\":\"opened\"}",
			    i > 0 ? "," : "", i);
		n += (size_t)sprintf(text + n, "]}");
		in.json = slice_make(text, n);
		arena_release(&arena);
		arena_init(&arena, WEBHOOK_ARENA_MAX);
		assert_int_equal(webhook_parse(&in, &arena, &events, &err),
		    count > FEEDBACK_EVENTS_MAX ? -1 : 0);
	}
	arena_release(&arena);
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_signatures),
		cmocka_unit_test(test_bits),
		cmocka_unit_test(test_events),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_many),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
