/* SPDX-License-Identifier: Apache-2.0 */
/* options: written and read back, and what is not understood. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "options.h"

static void
test_round_trip(void **state)
{
	struct slice domains[] = { { "a.jp", 4 }, { "b.jp", 4 } };
	struct options o = { .sender_name = SLICE("事務局"),
		.sender_addr = SLICE("a@b.jp"),
		.jis_domains = domains,
		.jis_domain_count = 2 };
	struct options back;
	struct arena arena;
	struct err err;
	char *json = options_write(&o);

	(void)state;
	arena_init(&arena, 1 << 20);
	assert_string_equal(json,
	    "{\"iso_2022_jp\":[\"a.jp\",\"b.jp\"],\"sender\":\"a@b.jp\",\"sender_name\":"
	    "\"事務局\"}");
	assert_int_equal(options_read(&back, json, &arena, &err), 0);
	assert_true(slice_equal(back.sender_name, o.sender_name));
	assert_true(slice_equal(back.sender_addr, o.sender_addr));
	assert_int_equal(back.reply_to_name.len, 0);
	assert_int_equal(back.jis_domain_count, 2);
	assert_true(slice_equal(back.jis_domains[1], domains[1]));
	free(json);
	o = (struct options){ 0 };
	json = options_write(&o);
	assert_string_equal(json, "{}");
	free(json);
	assert_int_equal(options_read(&back, "{\"later\":1}", &arena, &err), 0);
	assert_int_equal(options_read(&back, "{\"sender\":1}", &arena, &err), -1);
	assert_int_equal(options_read(&back, "{\"iso_2022_jp\":[1]}", &arena, &err), -1);
	assert_int_equal(options_read(&back, "[]", &arena, &err), -1);
	assert_int_equal(options_read(&back, "", &arena, &err), -1);
	arena_release(&arena);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_round_trip) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
