/* SPDX-License-Identifier: Apache-2.0 */
/* ses_simulator and ses_order: addresses, requests, and which events they lead to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "ses_simulator.h"

#define ORDER(to)                                                                                  \
	"{\"Content\":{\"Raw\":{\"Data\":\"eA==\"}},\"Destination\":{\"ToAddresses\":[" to         \
	"]},\"ConfigurationSetName\":\"set\",\"EmailTags\":[{\"Name\":\"kairan\",\"Value\":"       \
	"\"abc\"}]}"

#define CONTENT(kinds)                                                                             \
	"{\"Content\":{" kinds "},\"Destination\":{\"ToAddresses\":[\"a@x.example\"]},"            \
	"\"EmailTags\":[{\"Name\":\"kairan\",\"Value\":\"abc\"}]}"
#define SIMPLE "{\"Subject\":{\"Data\":\"s\"},\"Body\":{\"Text\":{\"Data\":\"t\"}}}"
#define TEMPLATED(data)                                                                            \
	CONTENT(                                                                                   \
	    "\"Template\":{\"TemplateContent\":{\"Subject\":\"{{a}}\",\"Text\":\"{{ b }}{{\"},"    \
	    "\"TemplateData\":" data "}")

static void
test_addresses(void **state)
{
	static const struct {
		const char *address;
		enum ses_simulated kind;
	} rows[] = {
		{ "success@simulator.amazonses.com", SES_SIMULATED_SUCCESS },
		{ "bounce@simulator.amazonses.com", SES_SIMULATED_BOUNCE },
		{ "Bounce+Label+2@Simulator.AmazonSES.com", SES_SIMULATED_BOUNCE },
		{ "ooto+@simulator.amazonses.com", SES_SIMULATED_OOTO },
		{ "complaint@simulator.amazonses.com", SES_SIMULATED_COMPLAINT },
		{ "suppressionlist@simulator.amazonses.com", SES_SIMULATED_SUPPRESSED },
		{ "bounced@simulator.amazonses.com", SES_SIMULATED_SUCCESS },
		{ "bounce@simulator.amazonses.com.example", SES_SIMULATED_SUCCESS },
		{ "bounce@example.com", SES_SIMULATED_SUCCESS },
		{ "+@simulator.amazonses.com", SES_SIMULATED_SUCCESS },
		{ "bounce", SES_SIMULATED_SUCCESS },
		{ "", SES_SIMULATED_SUCCESS },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(ses_simulated_of(slice_str(rows[i].address)), rows[i].kind);
}

static int
read_order(const char *json, struct ses_order *order, struct arena *arena)
{
	struct err err;

	arena_init(arena, 1 << 20);
	return ses_order_read(order, slice_str(json), arena, &err);
}

static void
test_requests(void **state)
{
	static const char *const refused[] = { "", "[]", "{}", ORDER(""),
		ORDER("\"a@x.example\",\"b@x.example\""), ORDER("7"), ORDER("\"\""),
		ORDER("\"Nobody <>\""), CONTENT(""), CONTENT("\"Raw\":{}"),
		CONTENT("\"Raw\":{\"Data\":\"eA==\"},\"Simple\":" SIMPLE),
		CONTENT("\"Simple\":{\"Body\":{\"Text\":{\"Data\":\"t\"}}}"),
		CONTENT("\"Simple\":{\"Subject\":{\"Data\":\"s\"},\"Body\":{}}"),
		CONTENT("\"Template\":{\"TemplateName\":\"kept\"}"),
		CONTENT("\"Template\":{\"TemplateContent\":{\"Subject\":\"s\"}}"),
		CONTENT(
		    "\"Template\":{\"TemplateContent\":{\"Text\":\"t\"},\"TemplateData\":\"7\"}") };
	struct ses_order order;
	struct arena arena;

	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		assert_int_equal(read_order(refused[i], &order, &arena), -1);
		ses_order_release(&order);
		arena_release(&arena);
	}
}

/* eventType of each, in order. */
static void
check_events(const char *json, const char *wanted)
{
	char types[100] = "";
	struct ses_order order;
	struct arena arena;
	json_t *events, *event;
	size_t i;

	assert_int_equal(read_order(json, &order, &arena), 0);
	events = ses_simulator_events(&order, "id-1", 0);
	json_array_foreach(events, i, event)
	{
		json_t *mail = json_object_get(event, "mail");
		const char *token = json_string_value(
		    json_array_get(json_object_get(json_object_get(mail, "tags"), "kairan"), 0));

		(void)snprintf(types + strlen(types), sizeof(types) - strlen(types), "%s ",
		    json_string_value(json_object_get(event, "eventType")));
		assert_string_equal(json_string_value(json_object_get(mail, "messageId")), "id-1");
		assert_string_equal(token, "abc");
	}
	assert_string_equal(types, wanted);
	json_decref(events);
	ses_order_release(&order);
	arena_release(&arena);
}

static void
test_events(void **state)
{
	(void)state;
	check_events(ORDER("\"a@x.example\""), "Delivery ");
	check_events(ORDER("\"ooto@simulator.amazonses.com\""), "Delivery ");
	check_events(ORDER("\"bounce@simulator.amazonses.com\""), "Bounce ");
	check_events(ORDER("\"suppressionlist@simulator.amazonses.com\""), "Bounce ");
	check_events(ORDER("\"complaint@simulator.amazonses.com\""), "Delivery Complaint ");
	check_events(ORDER("\"A. <B> <bounce+b@simulator.amazonses.com>\""), "Bounce ");
	check_events(CONTENT("\"Simple\":" SIMPLE), "Delivery ");
	check_events(TEMPLATED("\"{\\\"a\\\":\\\"1\\\",\\\"b\\\":\\\"\\\"}\""), "Delivery ");
	check_events(TEMPLATED("\"{\\\"a\\\":\\\"1\\\"}\""), "Rendering Failure ");
}

/* ---- SendBulkEmail ---- */

#define BULK(data, entries)                                                                        \
	"{\"FromEmailAddress\":\"f@x.example\",\"DefaultContent\":{\"Template\":{"                 \
	"\"TemplateContent\":{\"Subject\":\"{{s0}}\",\"Html\":\"{{h0}}\"},\"TemplateData\":" data  \
	"}},\"DefaultEmailTags\":[{\"Name\":\"run\",\"Value\":\"7\"},{\"Name\":\"kairan\","        \
	"\"Value\":\"none\"}],\"BulkEmailEntries\":[" entries "]}"
#define ENTRY(to, data)                                                                            \
	"{\"Destination\":{\"ToAddresses\":[" to "]},\"ReplacementEmailContent\":{"                \
	"\"ReplacementTemplate\":{\"ReplacementTemplateData\":" data "}},"                         \
	"\"ReplacementTags\":[{\"Name\":\"kairan\",\"Value\":\"abc\"}]}"
#define BOTH "\"{\\\"s0\\\":\\\"a\\\",\\\"h0\\\":\\\"b\\\"}\""
#define ONE "\"{\\\"s0\\\":\\\"a\\\"}\""
#define OTHER "\"{\\\"h0\\\":\\\"b\\\"}\""

static int
read_bulk(const char *json, struct ses_bulk_order *bulk, struct arena *arena)
{
	struct err err;

	arena_init(arena, 4 << 20);
	return ses_bulk_order_read(bulk, slice_str(json), arena, &err);
}

static const char *
tag_of(const struct ses_order *order, const char *name)
{
	return json_string_value(json_array_get(json_object_get(order->tags, name), 0));
}

/* Each entry has its own recipient, answer, tags over those of all, and data over that of all. */
static void
test_bulk_entries(void **state)
{
	static const struct {
		const char *status, *missing;
	} wanted[] = { { "SUCCESS", "" }, { "INVALID_PARAMETER", "" }, { "INVALID_PARAMETER", "" },
		{ "SUCCESS", "h0" }, { "INVALID_PARAMETER", "" } };
	struct ses_bulk_order bulk;
	struct arena arena;

	(void)state;
	assert_int_equal(
	    read_bulk(BULK("\"{}\"",
			  ENTRY("\"A <a@x.example>\"", BOTH) "," ENTRY("", BOTH) "," ENTRY(
			      "\"b@x.example\"", "\"[]\"") "," ENTRY("\"c@x.example\"", ONE) ",7"),
		&bulk, &arena),
	    0);
	assert_int_equal(bulk.count, sizeof(wanted) / sizeof(wanted[0]));
	for (size_t i = 0; i < bulk.count; i++) {
		const struct ses_bulk_order_entry *e = &bulk.entry[i];

		assert_string_equal(e->status, wanted[i].status);
		assert_int_equal(e->error == NULL, strcmp(e->status, "SUCCESS") == 0);
		assert_true(slice_equal(e->order.missing, slice_str(wanted[i].missing)));
		assert_string_equal(tag_of(&e->order, "run"), "7");
	}
	assert_true(slice_equal(bulk.entry[0].order.to, SLICE("a@x.example")));
	assert_true(slice_equal(bulk.entry[0].order.from, SLICE("f@x.example")));
	assert_string_equal(tag_of(&bulk.entry[0].order, "kairan"), "abc");
	assert_string_equal(tag_of(&bulk.entry[4].order, "kairan"), "none");
	ses_bulk_order_release(&bulk);
	arena_release(&arena);

	assert_int_equal(read_bulk(BULK(OTHER, ENTRY("\"c@x.example\"", ONE)), &bulk, &arena), 0);
	assert_int_equal(bulk.entry[0].order.missing.len, 0);
	ses_bulk_order_release(&bulk);
	arena_release(&arena);
}

/* {"DefaultContent":...,"BulkEmailEntries":[n times {}]} */
static int
read_many(size_t n)
{
	struct ses_bulk_order bulk;
	struct arena arena;
	struct buf json;
	int result;

	buf_init(&json, 1 << 20);
	buf_append_str(&json,
	    "{\"DefaultContent\":{\"Template\":{\"TemplateContent\":{\"Text\":\"t\"}}},"
	    "\"BulkEmailEntries\":[");
	for (size_t i = 0; i < n; i++)
		buf_append_str(&json, i > 0 ? ",{}" : "{}");
	buf_append_str(&json, "]}");
	result = read_bulk(buf_str(&json), &bulk, &arena);
	if (result == 0)
		assert_int_equal(bulk.count, n);
	ses_bulk_order_release(&bulk);
	arena_release(&arena);
	buf_release(&json);
	return result;
}

static void
test_bulk_refused(void **state)
{
	static const char *const refused[] = { "", "{}", BULK("\"{}\"", ""), BULK("\"7\"", "{}"),
		"{\"DefaultContent\":{\"Template\":{\"TemplateName\":\"kept\"}},"
		"\"BulkEmailEntries\":[{}]}",
		"{\"DefaultContent\":{\"Template\":{\"TemplateContent\":{\"Subject\":\"s\"}}},"
		"\"BulkEmailEntries\":[{}]}" };
	struct ses_bulk_order bulk;
	struct arena arena;

	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		assert_int_equal(read_bulk(refused[i], &bulk, &arena), -1);
		ses_bulk_order_release(&bulk);
		arena_release(&arena);
	}
	assert_int_equal(read_many(50), 0);
	assert_int_equal(read_many(51), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_events),
		cmocka_unit_test(test_bulk_entries),
		cmocka_unit_test(test_bulk_refused),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
