/* SPDX-License-Identifier: Apache-2.0 */
/* test_campaign_size: a campaign that is larger than each way out takes; relays are asked by a table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/campaign/campaign_size.h"

#define UNREACHED UINT64_MAX

struct table {
	uint64_t size[3]; /* of the relays a, b and c */
	const char *routes;
	unsigned asked;
};

static int
ask(void *ctx, const struct relay *relay, uint64_t *size)
{
	struct table *t = ctx;

	t->asked++;
	*size = t->size[relay->name[0] - 'a'];
	return *size == UNREACHED ? -1 : 0;
}

static bool
exceeds(struct table *t, const char *transport, const char *hosts, size_t bytes, struct err *err)
{
	char way[10], list[100], routes[40];
	struct config config = { .dispatcher_transport = way,
		.relay_host = list,
		.relay_port = 25,
		.pace_routes = routes };

	(void)snprintf(way, sizeof(way), "%s", transport);
	(void)snprintf(list, sizeof(list), "%s", hosts);
	(void)snprintf(routes, sizeof(routes), "%s", t->routes != NULL ? t->routes : "");
	t->asked = 0;
	*err = (struct err){ 0 };
	return campaign_size_exceeds(&config, bytes, ask, t, err);
}

static void
test_relays(void **state)
{
	struct table t = { .size = { 100000, 200000, 0 } };
	struct err err;

	(void)state;
	assert_true(exceeds(&t, "relay", "a", 100001, &err));
	assert_string_equal(err.msg,
	    "the mail has 100001 bytes, and the relay takes at most 100000 (SIZE): make it "
	    "smaller, or "
	    "have relay.host take more");
	assert_false(exceeds(&t, "relay", "a", 100000, &err));
	assert_true(exceeds(&t, "relay", "a, b weight=3", 200001, &err));
	assert_non_null(strstr(err.msg, "each relay takes at most 200000"));
	assert_int_equal(t.asked, 2);
	assert_false(exceeds(&t, "relay", "a, b backup", 150000, &err));
	/* the first that takes it ends the asking; no SIZE, or SIZE 0, is no limit */
	assert_false(exceeds(&t, "relay", "b, a", 150000, &err));
	assert_int_equal(t.asked, 1);
	assert_false(exceeds(&t, "relay", "a, c", 50000000, &err));
}

static void
test_not_known(void **state)
{
	struct table t = { .size = { 100000, UNREACHED, 10 } };
	struct err err;

	(void)state;
	assert_false(exceeds(&t, "relay", "a, b", 1000000, &err));
	assert_int_equal(t.asked, 2);
	assert_false(exceeds(&t, "relay", "", 1000000, &err));
	assert_false(exceeds(&t, "mx", "a", 1000000, &err));
	assert_int_equal(t.asked, 0);
	/* dispatchers of another route know what theirs take */
	t.routes = "docomo=own";
	assert_false(exceeds(&t, "relay", "c", 1000000, &err));
	assert_int_equal(t.asked, 0);
	t.routes = NULL;
	/* what every server must take */
	assert_false(exceeds(&t, "relay", "c", 65536, &err));
	assert_int_equal(t.asked, 0);
	assert_true(exceeds(&t, "relay", "c", 65537, &err));
}

static void
test_ses(void **state)
{
	struct table t = { 0 };
	struct err err;

	(void)state;
	assert_false(exceeds(&t, "ses", "a", 41943040, &err));
	assert_true(exceeds(&t, "ses", "a", 41943041, &err));
	assert_string_equal(err.msg, "the mail has 41943041 bytes, and Amazon SES takes 41943040");
	assert_int_equal(t.asked, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_relays),
		cmocka_unit_test(test_not_known),
		cmocka_unit_test(test_ses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
