/* SPDX-License-Identifier: Apache-2.0 */
/* rds: addresses of Redis, and what is wrong with those that are none; hook words. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "hook.h"
#include "rds.h"

static void
test_addresses(void **state)
{
	struct rds_address a;
	struct err err;

	(void)state;
	assert_int_equal(rds_address_parse(&a, "redis://127.0.0.1:6379/0", &err), 0);
	assert_string_equal(a.host, "127.0.0.1");
	assert_int_equal(a.port, 6379);
	assert_int_equal(a.number, 0);
	assert_int_equal(
	    rds_address_parse(&a, "redis://me:p%40ss%3Aword@cache.example:7000/3", &err), 0);
	assert_string_equal(a.user, "me");
	assert_string_equal(a.password, "p@ss:word");
	assert_string_equal(a.host, "cache.example");
	assert_int_equal(a.port, 7000);
	assert_int_equal(a.number, 3);
	assert_int_equal(rds_address_parse(&a, "redis://:secret@h", &err), 0);
	assert_string_equal(a.user, "");
	assert_string_equal(a.password, "secret");
	assert_int_equal(a.port, 6379);
	assert_int_equal(rds_address_parse(&a, "unix:///run/my%20redis/sock?db=2", &err), 0);
	assert_string_equal(a.path, "/run/my redis/sock");
	assert_int_equal(a.number, 2);
}

static void
test_refused_addresses(void **state)
{
	static const char *const bad[] = { "", "http://x", "redis://", "redis://h:port",
		"redis://h:70000", "redis://h/x", "redis://h/-1", "unix:///x?number=1",
		"redis://h%2", "redis://h%00", "unix://", "unix://?db=2", "unix://run/redis",
		"unix:///"
		"0123456789012345678901234567890123456789012345678901234567890123456789012345678901"
		"2345678901234567890123456789" };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct rds_address a;
		struct err err = { 0 };

		assert_int_equal(rds_address_parse(&a, bad[i], &err), -1);
		assert_memory_equal(err.msg, "redis.url", 9);
	}
}

static void
test_hook_commands(void **state)
{
	struct err err = { 0 };

	(void)state;
	assert_int_equal(
	    hook_command("/bin/sh -c 'grep -q finished'", "{\"event\":\"finished\"}", 5, &err), 0);
	assert_int_equal(hook_command("/bin/sh -c \"exit 3\"", "{}", 5, &err), -1);
	assert_non_null(strstr(err.msg, "status 3"));
	assert_int_equal(hook_command("/no/such/program", "{}", 5, &err), -1);
	assert_int_equal(hook_command("   ", "{}", 5, &err), -1);
	assert_int_equal(hook_command("/bin/true 'open", "{}", 5, &err), -1);
	assert_int_equal(hook_post("file:///etc/hostname", "{}", 5, &err), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_refused_addresses),
		cmocka_unit_test(test_hook_commands),
	};

	(void)signal(SIGPIPE, SIG_IGN); /* as the programs do: the other end may be gone */
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
