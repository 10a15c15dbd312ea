/* SPDX-License-Identifier: Apache-2.0 */
/* origins: names that many can share are told apart, all else is one of two. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "origins.h"

static const char *
named(struct origins *o, const char *value)
{
	int number = origins_number(o, slice_str(value));

	assert_in_range(number, 1, ORIGINS_MAX + 2);
	return o->names[number - 1];
}

static void
test_names(void **state)
{
	static const char *const others[] = { "taro@example.jp", "a\\tb", "a\tb", "bell\a", "\xff",
		"\xe2\x80\xae"
		"form",
		"12345678901234567890123456789012345678901234567890123456789012345" };
	struct origins o = { 0 };

	(void)state;
	assert_string_equal(named(&o, "form"), "form");
	assert_string_equal(named(&o, " form "), "form");
	assert_string_equal(named(&o, "\xe3\x83\x95\xe3\x82\xa9"), "\xe3\x83\x95\xe3\x82\xa9");
	assert_string_equal(named(&o, ""), "none");
	assert_string_equal(named(&o, "\\N"), "none");
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_string_equal(named(&o, others[i]), "other");
	assert_int_equal(origins_number(&o, SLICE("form")), 1);
	assert_int_equal(o.count, 4);
	origins_release(&o);
}

/* A field with a value of its own for everybody. */
static void
test_too_many(void **state)
{
	struct origins o = { 0 };
	char name[16];

	(void)state;
	for (int i = 0; i < 10000; i++) {
		(void)snprintf(name, sizeof(name), "n%d", i);
		assert_string_equal(named(&o, name), i < ORIGINS_MAX ? name : "other");
	}
	assert_string_equal(named(&o, "n7"), "n7");
	assert_string_equal(named(&o, ""), "none");
	assert_string_equal(named(&o, "other"), "other");
	assert_int_equal(o.count, ORIGINS_MAX + 2);
	origins_release(&o);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_names),
		cmocka_unit_test(test_too_many) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
