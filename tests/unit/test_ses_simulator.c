/* SPDX-License-Identifier: Apache-2.0 */
/* ses_simulator: addresses, requests, and which events they lead to. */
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
		"{\"Content\":{},\"Destination\":{\"ToAddresses\":[\"a@x.example\"]}}" };
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
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_events),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
