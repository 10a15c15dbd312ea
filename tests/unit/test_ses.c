/* SPDX-License-Identifier: Apache-2.0 */
/* ses: notices of both dialects, written for this test, and what they become. %B is a bounce
 * token of run 7, send 42, attempt 3; %U an unsubscribe token; %F a forged one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "placeholders.h"
#include "ses.h"

static struct arena arena;
static char text[65536];

static struct slice
fill(const char *from)
{
	return placeholders_fill(from, text);
}

static int
try_parse(const char *from, struct feedback_events *events)
{
	struct ses_input in = { fill(from), &placeholder_keys, SLICE("bounce.test") };
	struct err err = { 0, "" };

	memset(events, 0, sizeof(*events));
	arena_release(&arena);
	arena_init(&arena, SES_ARENA_MAX);
	return ses_parse(&in, &arena, events, &err);
}

static struct feedback_events
parse(const char *from)
{
	struct feedback_events events;

	assert_int_equal(try_parse(from, &events), 0);
	for (size_t i = 0; i < events.count; i++) {
		json_t *detail = json_loads(events.items[i].detail.ptr, 0, NULL);
		assert_non_null(detail);
		json_decref(detail);
		assert_true(events.items[i].key.len > 0);
		assert_string_equal(events.items[i].source, "sns");
	}
	return events;
}

static void
assert_event(const struct feedback_event *e, enum outcome_kind kind, enum outcome_class cls,
    const char *reason)
{
	assert_string_equal(outcome_kind_name(e->kind), outcome_kind_name(kind));
	assert_string_equal(outcome_class_name(e->cls), outcome_class_name(cls));
	assert_string_equal(e->reason, reason);
}

#define MAIL                                                                                       \
	"\"mail\":{\"timestamp\":\"2026-11-21T17:05:40.000Z\",\"messageId\":\"0100-aa-000000\","   \
	"\"source\":\"News <news@ex.test>\",\"destination\":[\"u@x.test\"],"                       \
	"\"tags\":{\"kairan\":[\"%B\"],\"ses:configuration-set\":[\"k\"]}}"

#define BOUNCE(type, subtype, recipients)                                                          \
	"{\"eventType\":\"Bounce\",\"bounce\":{\"bounceType\":\"" type                             \
	"\",\"bounceSubType\":\"" subtype "\",\"bouncedRecipients\":[" recipients                  \
	"],\"timestamp\":"                                                                         \
	"\"2026-11-21T17:05:42.123Z\",\"feedbackId\":\"fb-1\",\"reportingMTA\":\"dsn; "            \
	"a.test\"}," MAIL "}"

#define RECIPIENT(extra) "{\"emailAddress\":\"u@x.test\"" extra "}"

static void
test_bounce(void **state)
{
	struct feedback_events events = parse(BOUNCE("Permanent", "General",
	    RECIPIENT(",\"action\":\"failed\",\"status\":\"5.1.1\",\"diagnosticCode\":"
		      "\"smtp; 550 5.1.1 user unknown\"")));
	const struct feedback_event *e = events.items;

	(void)state;
	assert_int_equal(events.count, 1);
	assert_event(e, OUTCOME_BOUNCED, OUTCOME_HARD, "user_unknown");
	assert_true(e->linked);
	assert_int_equal(e->token.run, 7);
	assert_int_equal(e->token.send, 42);
	assert_int_equal(e->token.attempt, 3);
	assert_int_equal(e->code, 550);
	assert_int_equal(e->occurred_at_us, 1795280742123000);
	assert_string_equal(e->address.ptr, "u@x.test");
	assert_string_equal(e->message_id.ptr, "0100-aa-000000");
	assert_string_equal(e->key.ptr, "ses|bounce|fb-1|019799238927d6e2065b081100f02169");
	assert_string_equal(e->text.ptr, "550 5.1.1 user unknown");
}

static void
test_bounce_types(void **state)
{
	static const struct {
		const char *json;
		enum outcome_kind kind;
		enum outcome_class cls;
		const char *reason;
	} rows[] = {
		{ BOUNCE("Permanent", "General", RECIPIENT("")), OUTCOME_BOUNCED, OUTCOME_HARD,
		    "undefined" },
		{ BOUNCE("Permanent", "NoEmail", RECIPIENT("")), OUTCOME_BOUNCED, OUTCOME_HARD,
		    "user_unknown" },
		{ BOUNCE("Permanent", "Suppressed", RECIPIENT("")), OUTCOME_BOUNCED, OUTCOME_HARD,
		    "on_global_suppression_list" },
		{ BOUNCE("Permanent", "OnAccountSuppressionList", RECIPIENT("")), OUTCOME_BOUNCED,
		    OUTCOME_HARD, "on_account_suppression_list" },
		{ BOUNCE("Permanent", "OnTenantSuppressionList", RECIPIENT("")), OUTCOME_BOUNCED,
		    OUTCOME_HARD, "on_tenant_suppression_list" },
		{ BOUNCE("Permanent", "UnsubscribedRecipient", RECIPIENT("")), OUTCOME_UNSUBSCRIBED,
		    OUTCOME_CLASS_NONE, "contact_list" },
		{ BOUNCE("Permanent", "SomethingNew", RECIPIENT("")), OUTCOME_BOUNCED, OUTCOME_HARD,
		    "undefined" },
		{ BOUNCE("Transient", "General", RECIPIENT("")), OUTCOME_BOUNCED, OUTCOME_SOFT,
		    "undefined" },
		{ BOUNCE("Transient", "MailboxFull", RECIPIENT("")), OUTCOME_BOUNCED, OUTCOME_SOFT,
		    "mailbox_full" },
		{ BOUNCE("Transient", "MessageTooLarge", RECIPIENT("")), OUTCOME_BOUNCED,
		    OUTCOME_MESSAGE, "too_large" },
		{ BOUNCE("Transient", "ContentRejected", RECIPIENT("")), OUTCOME_BOUNCED,
		    OUTCOME_MESSAGE, "content" },
		{ BOUNCE("Transient", "AttachmentRejected", RECIPIENT("")), OUTCOME_BOUNCED,
		    OUTCOME_MESSAGE, "content" },
		{ BOUNCE("Transient", "CustomTimeoutExceeded", RECIPIENT("")), OUTCOME_BOUNCED,
		    OUTCOME_SOFT, "expired" },
		{ BOUNCE("Undetermined", "Undetermined", RECIPIENT("")), OUTCOME_BOUNCED,
		    OUTCOME_SOFT, "undefined" },
		{ BOUNCE("NewType", "X", RECIPIENT("")), OUTCOME_BOUNCED, OUTCOME_SOFT,
		    "undefined" },
		/* the recipient's own status softens */
		{ BOUNCE("Permanent", "General",
		      RECIPIENT(",\"action\":\"failed\",\"status\":\"4.2.2\"")),
		    OUTCOME_BOUNCED, OUTCOME_SOFT, "mailbox_full" },
		{ BOUNCE("Permanent", "General",
		      RECIPIENT(",\"action\":\"delayed\",\"status\":\"4.4.1\"")),
		    OUTCOME_DELAYED, OUTCOME_SOFT, "delayed" },
		{ BOUNCE("Permanent", "General",
		      RECIPIENT(
			  ",\"status\":\"5.7.1\",\"diagnosticCode\":\"smtp; 550 5.7.1 blocked "
			  "by policy\"")),
		    OUTCOME_BOUNCED, OUTCOME_BLOCK, "policy" },
		/* and does not harden a transient one, but an undetermined one */
		{ BOUNCE("Transient", "General",
		      RECIPIENT(",\"action\":\"failed\",\"status\":\"5.1.1\"")),
		    OUTCOME_BOUNCED, OUTCOME_SOFT, "user_unknown" },
		{ BOUNCE("Undetermined", "Undetermined",
		      RECIPIENT(",\"action\":\"failed\",\"status\":\"5.1.1\"")),
		    OUTCOME_BOUNCED, OUTCOME_HARD, "user_unknown" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct feedback_events events = parse(rows[i].json);
		assert_int_equal(events.count, 1);
		if (strcmp(events.items->reason, rows[i].reason) != 0)
			print_message("# row %zu\n", i);
		assert_event(events.items, rows[i].kind, rows[i].cls, rows[i].reason);
		assert_true(events.items->linked);
	}
}

static void
test_recipients(void **state)
{
	struct feedback_events events = parse(BOUNCE("Permanent", "General",
	    "{\"emailAddress\":\"A <A@X.test>\",\"action\":\"failed\",\"status\":\"5.1.1\"},"
	    "{\"emailAddress\":\"b@x.test\",\"action\":\"delayed\",\"status\":\"4.4.1\"}"));

	(void)state;
	assert_int_equal(events.count, 2);
	assert_event(&events.items[0], OUTCOME_BOUNCED, OUTCOME_HARD, "user_unknown");
	assert_string_equal(events.items[0].address.ptr, "A@X.test");
	assert_string_equal(
	    events.items[0].key.ptr, "ses|bounce|fb-1|15a8717ffa4f3d4ff3fc98af10a028e4");
	assert_event(&events.items[1], OUTCOME_DELAYED, OUTCOME_SOFT, "delayed");
	/* an empty list: the destination of the mail */
	events = parse(BOUNCE("Permanent", "General", ""));
	assert_int_equal(events.count, 1);
	assert_string_equal(events.items[0].address.ptr, "u@x.test");
}

/* The other dialect and the EventBridge envelope give the same fact, with the same key. */
static void
test_dialects(void **state)
{
	struct feedback_events events;
	char notice[4000], wrapped[5000];
	char *type;

	(void)state;
	(void)snprintf(notice, sizeof(notice), "%s", BOUNCE("Permanent", "NoEmail", RECIPIENT("")));
	(void)snprintf(wrapped, sizeof(wrapped),
	    "{\"version\":\"0\",\"id\":\"x\",\"detail-type\":\"Email "
	    "Bounced\",\"source\":\"aws.ses\","
	    "\"detail\":%s}",
	    notice);
	events = parse(wrapped);
	assert_event(events.items, OUTCOME_BOUNCED, OUTCOME_HARD, "user_unknown");
	assert_string_equal(
	    events.items[0].key.ptr, "ses|bounce|fb-1|019799238927d6e2065b081100f02169");
	type = strstr(notice, "\"eventType\"");
	(void)snprintf(wrapped, sizeof(wrapped), "{\"notificationType\"%s", type + 11);
	events = parse(wrapped);
	assert_event(events.items, OUTCOME_BOUNCED, OUTCOME_HARD, "user_unknown");
	assert_string_equal(
	    events.items[0].key.ptr, "ses|bounce|fb-1|019799238927d6e2065b081100f02169");
	/* an envelope of another service */
	assert_int_equal(
	    try_parse("{\"detail-type\":\"x\",\"source\":\"aws.ec2\",\"detail\":{}}", &events), -1);
	/* news about the account */
	events = parse(
	    "{\"detail-type\":\"Sending Status Disabled\",\"source\":\"aws.ses\",\"detail\":{}}");
	assert_event(events.items, OUTCOME_OTHER, OUTCOME_CLASS_NONE, "account");
}

#define COMPLAINT(fields)                                                                          \
	"{\"notificationType\":\"Complaint\",\"complaint\":{\"complainedRecipients\":"             \
	"[{\"emailAddress\":\"u@x.test\"}],\"timestamp\":\"2026-11-21T17:05:42.123Z\","            \
	"\"feedbackId\":\"fb-2\"" fields "}," MAIL "}"

static void
test_complaint(void **state)
{
	static const struct {
		const char *json;
		enum outcome_kind kind;
		enum outcome_class cls;
		const char *reason;
	} rows[] = {
		{ COMPLAINT(""), OUTCOME_COMPLAINED, OUTCOME_CLASS_NONE, "complaint" },
		{ COMPLAINT(",\"complaintSubType\":null,\"complaintFeedbackType\":\"abuse\""),
		    OUTCOME_COMPLAINED, OUTCOME_CLASS_NONE, "abuse" },
		{ COMPLAINT(",\"complaintFeedbackType\":\"virus\""), OUTCOME_COMPLAINED,
		    OUTCOME_CLASS_NONE, "virus" },
		{ COMPLAINT(",\"complaintFeedbackType\":\"new\""), OUTCOME_COMPLAINED,
		    OUTCOME_CLASS_NONE, "complaint" },
		{ COMPLAINT(",\"complaintFeedbackType\":\"not-spam\""), OUTCOME_OTHER,
		    OUTCOME_CLASS_NONE, "not-spam" },
		{ COMPLAINT(",\"complaintFeedbackType\":\"auth-failure\""), OUTCOME_OTHER,
		    OUTCOME_CLASS_NONE, "auth-failure" },
		{ COMPLAINT(",\"complaintSubType\":\"OnAccountSuppressionList\""), OUTCOME_BOUNCED,
		    OUTCOME_HARD, "on_account_suppression_list" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct feedback_events events = parse(rows[i].json);
		assert_int_equal(events.count, 1);
		assert_event(events.items, rows[i].kind, rows[i].cls, rows[i].reason);
		assert_string_equal(
		    events.items[0].key.ptr, "ses|complaint|fb-2|019799238927d6e2065b081100f02169");
	}
}

#define EVENT(type, part) "{\"eventType\":\"" type "\"," part "," MAIL "}"

static void
test_types(void **state)
{
	static const struct {
		const char *json;
		enum outcome_kind kind;
		enum outcome_class cls;
		const char *reason, *key;
	} rows[] = {
		{ EVENT("Send", "\"send\":{}"), OUTCOME_ACCEPTED, OUTCOME_CLASS_NONE, "accepted",
		    "ses|send|0100-aa-000000|019799238927d6e2065b081100f02169|2026-11-21T17:05:40."
		    "000Z" },
		{ EVENT("Delivery",
		      "\"delivery\":{\"timestamp\":\"2026-11-21T17:05:41.000Z\",\"recipients\":"
		      "[\"u@x.test\"],\"smtpResponse\":\"250 2.6.0 "
		      "ok\",\"processingTimeMillis\":5}"),
		    OUTCOME_DELIVERED, OUTCOME_CLASS_NONE, "delivered",
		    "ses|delivery|0100-aa-000000|019799238927d6e2065b081100f02169|2026-11-21T17:05:"
		    "41.000Z" },
		{ EVENT("Reject", "\"reject\":{\"reason\":\"Bad content\"}"), OUTCOME_REJECTED,
		    OUTCOME_MESSAGE, "content", NULL },
		{ EVENT("Rendering Failure",
		      "\"failure\":{\"templateName\":\"t\",\"errorMessage\":\"missing\"}"),
		    OUTCOME_REJECTED, OUTCOME_MESSAGE, "rendering_failure", NULL },
		{ EVENT("RENDERING_FAILURE", "\"failure\":{}"), OUTCOME_REJECTED, OUTCOME_MESSAGE,
		    "rendering_failure", NULL },
		{ EVENT("Open",
		      "\"open\":{\"timestamp\":\"2026-11-21T17:06:00Z\",\"userAgent\":\"M\"}"),
		    OUTCOME_OPENED, OUTCOME_CLASS_NONE, "opened", NULL },
		{ EVENT("Click",
		      "\"click\":{\"timestamp\":\"2026-11-21T17:06:00Z\",\"link\":\"https://x\","
		      "\"linkTags\":null}"),
		    OUTCOME_CLICKED, OUTCOME_CLASS_NONE, "clicked", NULL },
		{ EVENT("DeliveryDelay",
		      "\"deliveryDelay\":{\"timestamp\":\"2026-11-21T17:06:00Z\",\"delayType\":"
		      "\"MailboxFull\",\"delayedRecipients\":[{\"emailAddress\":\"u@x.test\","
		      "\"status\":\"4.2.2\",\"diagnosticCode\":\"smtp; 452 4.2.2 full\"}]}"),
		    OUTCOME_DELAYED, OUTCOME_SOFT, "delayed", NULL },
		{ EVENT("DeliveryDelay",
		      "\"deliveryDelay\":{\"delayedRecipients\":{\"emailAddress\":\"u@x.test\"}}"),
		    OUTCOME_DELAYED, OUTCOME_SOFT, "delayed", NULL },
		{ EVENT("Subscription",
		      "\"subscription\":{\"contactList\":\"l\",\"newTopicPreferences\":"
		      "{\"unsubscribeAll\":true}}"),
		    OUTCOME_UNSUBSCRIBED, OUTCOME_CLASS_NONE, "all", NULL },
		{ EVENT("Subscription",
		      "\"subscription\":{\"newTopicPreferences\":{\"unsubscribeAll\":false}}"),
		    OUTCOME_OTHER, OUTCOME_CLASS_NONE, "subscription", NULL },
		{ EVENT("Teleported", "\"teleport\":{}"), OUTCOME_OTHER, OUTCOME_CLASS_NONE,
		    "unknown_type", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct feedback_events events = parse(rows[i].json);
		assert_int_equal(events.count, 1);
		assert_event(events.items, rows[i].kind, rows[i].cls, rows[i].reason);
		assert_string_equal(events.items[0].address.ptr, "u@x.test");
		if (rows[i].key != NULL)
			assert_string_equal(events.items[0].key.ptr, rows[i].key);
	}
}

#define DELIVERY(mail)                                                                             \
	"{\"eventType\":\"Delivery\",\"delivery\":{\"recipients\":[\"u@x.test\"]},\"mail\":{"      \
	"\"messageId\":\"m\",\"timestamp\":\"2018-10-08T14:05:45 +0000\"" mail "}}"

static void
test_link(void **state)
{
	static const struct {
		const char *json;
		bool linked;
	} rows[] = {
		{ DELIVERY(",\"tags\":{\"kairan\":[\"%B\"]}"), true },
		{ DELIVERY(",\"headers\":[{\"name\":\"x-kairan-id\",\"value\":\"%B\"}]"), true },
		{ DELIVERY(",\"source\":\"b+%B@bounce.test\""), true },
		{ DELIVERY(",\"source\":\"N <b+%B@bounce.test>\""), true },
		{ DELIVERY(",\"commonHeaders\":{\"returnPath\":\"b+%B@bounce.test\"}"), true },
		{ DELIVERY(",\"tags\":{\"kairan\":[\"%F\"]},\"source\":\"b+%B@bounce.test\""),
		    true },
		{ DELIVERY(""), false },
		{ DELIVERY(",\"tags\":{\"kairan\":[\"%F\"]}"), false },
		{ DELIVERY(",\"tags\":{\"kairan\":[\"%U\"]}"), false },
		{ DELIVERY(",\"tags\":{\"kairan\":\"%B\"}"), false },
		{ DELIVERY(",\"tags\":{\"other\":[\"%B\"]}"), false },
		{ DELIVERY(",\"headers\":[{\"name\":\"Subject\",\"value\":\"%B\"}]"), false },
		{ DELIVERY(",\"source\":\"u+%B@bounce.test\""), false },
		{ DELIVERY(",\"source\":\"b+%B@evil.test\""), false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct feedback_events events = parse(rows[i].json);
		assert_int_equal(events.count, 1);
		assert_int_equal(events.items->linked, rows[i].linked);
		assert_int_equal(events.items->token.send, rows[i].linked ? 42 : 0);
		assert_int_equal(events.items->occurred_at_us, 1539007545000000);
		assert_string_equal(events.items->message_id.ptr, "m");
	}
}

/* An address is in a key as its digest; a key that was too long for one is what it was before. */
static void
test_keys(void **state)
{
	struct slice who[] = { SLICE("ses"), SLICE("u@x.test"), SLICE("t") };
	struct slice nobody[] = { SLICE("ses"), SLICE(""), SLICE("t") };
	struct slice odd[] = { SLICE("ses"), SLICE("taro"), SLICE("t") };
	struct slice plain[] = { SLICE("ses"), SLICE("u@x.test"), SLICE("") };
	struct slice longer[] = { SLICE("ses"), SLICE("u@x.test"), SLICE("") };
	char filler[FEEDBACK_KEY_MAX];

	(void)state;
	assert_string_equal(
	    feedback_key_of(&arena, who, 3, 1).ptr, "ses|019799238927d6e2065b081100f02169|t");
	assert_string_equal(feedback_key_of(&arena, nobody, 3, 1).ptr, "ses||t");
	assert_string_equal(feedback_key_of(&arena, odd, 3, 1).ptr, "ses|taro|t");
	memset(filler, 'x', sizeof(filler));
	plain[2] = longer[2] = slice_make(filler, sizeof(filler));
	assert_string_equal(
	    feedback_key_of(&arena, longer, 3, 1).ptr, feedback_key(&arena, plain, 3).ptr);
}

static void
test_plain_text(void **state)
{
	(void)state;
	assert_int_equal(
	    parse("Successfully validated SNS topic for Amazon SES event publishing.").count, 0);
	assert_int_equal(
	    parse("{\"notificationType\":\"AmazonSnsSubscriptionSucceeded\",\"message\":\"x\"}")
		.count,
	    0);
}

static void
test_bad(void **state)
{
	static const char *const bad[] = { "", "hello", "[]", "{}", "{\"eventType\":1}",
		"{\"eventType\":\"Bounce\"}",
		"{\"eventType\":\"Bounce\",\"mail\":{\"messageId\":\"m\"}}",
		"{\"eventType\":\"Send\",\"mail\":{}}", "{\"eventType\":\"Send\",\"mail\":[]}",
		"{\"eventType\":\"Send\",\"eventType\":\"Send\",\"mail\":{\"messageId\":\"m\"}}",
		"{\"eventType\":\"Send\",\"mail\":{\"messageId\":\"a\\u0000b\"}}",
		"{\"eventType\":\"Send\",\"mail\":{\"messageId\":\"m\",\"destination\":[\"a\\u0000@"
		"b\"]}}",
		"{\"eventType\":\"Send\",\"mail\":{\"messageId\":\"m\"}} trailing",
		"{\"eventType\":[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]}" };
	struct feedback_events events;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(try_parse(bad[i], &events), -1);
	/* types other than expected inside are only absent; a NUL in a field not used is nothing */
	events = parse(
	    "{\"eventType\":\"Bounce\",\"x\":\"\\u0000\",\"bounce\":{\"bouncedRecipients\":[1,null,"
	    "{\"emailAddress\":[]}],\"timestamp\":5},\"mail\":{\"messageId\":\"m\",\"tags\":[],"
	    "\"headers\":{\"a\":1},\"commonHeaders\":\"x\",\"destination\":\"y\"}}");
	assert_int_equal(events.count, 3);
	assert_int_equal(events.items[0].cls, OUTCOME_SOFT);
}

static void
test_many(void **state)
{
	char *json = malloc(40000);
	size_t n = (size_t)snprintf(json, 40000,
	    "{\"eventType\":\"Send\",\"mail\":{\"messageId\":\"m\",\"destination\":[\"a@b\"");
	struct feedback_events events;

	(void)state;
	for (int i = 0; i < 2000; i++)
		n += (size_t)snprintf(json + n, 40000 - n, ",\"u%d@x.test\"", i);
	(void)snprintf(json + n, 40000 - n, "]}}");
	events = parse(json);
	assert_int_equal(events.count, FEEDBACK_EVENTS_MAX);
	free(json);
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
		cmocka_unit_test(test_bounce),
		cmocka_unit_test(test_bounce_types),
		cmocka_unit_test(test_recipients),
		cmocka_unit_test(test_dialects),
		cmocka_unit_test(test_complaint),
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_link),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_plain_text),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_many),
	};

	arena_init(&arena, SES_ARENA_MAX);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, teardown);
}
