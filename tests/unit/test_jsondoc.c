/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "buf.h"
#include "plain.h"
#include "tests/support/jsondoc_check.h"

#define BYTES(literal)                                                                             \
	{                                                                                          \
		literal, sizeof(literal) - 1                                                       \
	}

static void
is_of_one_mind_with_jansson(void **state)
{
	static const struct {
		struct slice text;
		bool taken;
	} cases[] = {
		{ BYTES("{}"), true },
		{ BYTES(" \t\r\n{ \"a\" : [ ] } \n"), true },
		{ BYTES("{\"a\":[1,-0,0.5,1e3,1E-3,1.5e+10,true,false,null,\"\"]}"), true },
		{ BYTES(
		      "{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9\\u20ac\\ud83d\\ude00\"}"),
		    true },
		{ BYTES("{\"\xE5\x9B\x9E\":\"\xE8\xA6\xA7\"}"), true },
		{ BYTES("{\"a\":\"x\\u0000y\"}"), true },
		{ BYTES("{\"a\":\"\xE5\x9B\x9E\\n\xE5\x9B\x9E\"}"), true },
		{ BYTES(""), false },
		{ BYTES("[]"), false },
		{ BYTES("{"), false },
		{ BYTES("{\"a\""), false },
		{ BYTES("{\"a\":}"), false },
		{ BYTES("{\"a\":1,}"), false },
		{ BYTES("{\"a\":[1,]}"), false },
		{ BYTES("{\"a\":1}x"), false },
		{ BYTES("{\"a\":1}{}"), false },
		{ BYTES("{a:1}"), false },
		{ BYTES("{\"a\":01}"), false },
		{ BYTES("{\"a\":1.}"), false },
		{ BYTES("{\"a\":.5}"), false },
		{ BYTES("{\"a\":-}"), false },
		{ BYTES("{\"a\":1e}"), false },
		{ BYTES("{\"a\":+1}"), false },
		{ BYTES("{\"a\":nul}"), false },
		{ BYTES("{\"a\":\"x}"), false },
		{ BYTES("{\"a\":\"x\\\"}"), false },
		{ BYTES("{\"a\":\"\\x\"}"), false },
		{ BYTES("{\"a\":\"\\u12\"}"), false },
		{ BYTES("{\"a\":\"\\u12\"34\"}"), false },
		{ BYTES("{\"a\":\"\\ud800\"}"), false },
		{ BYTES("{\"a\":\"\\udc00\"}"), false },
		{ BYTES("{\"a\":\"\\ud800\\u0041\"}"), false },
		{ BYTES("{\"a\":\"\n\"}"), false },
		{ BYTES("{\"a\":\"\\n\n\"}"), false },
		{ BYTES("{\"a\":\"\xFF\"}"), false },
		{ BYTES("{\"a\":\"\xC0\xAF\"}"), false },
		{ BYTES("{\"a\":\"\\n\xE5\x9B\"}"), false },
		{ BYTES("{\"a\":1,\"a\":2}"), false },
		{ BYTES("{\"a\":1,\"\\u0061\":2}"), false },
		{ BYTES("\xEF\xBB\xBF{}"), false },
	};
	bool taken;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (!jsondoc_agrees(cases[i].text, &taken) || taken != cases[i].taken)
			fail_msg("case %zu: %.*s", i, SLICE_ARG(cases[i].text));
	}
}

/* Every prefix of a document is refused, byte by byte, as jansson does. */
static void
prefixes(void **state)
{
	struct slice whole = SLICE("{\"a\":[1.5e3,\"x\\u00e9\\ud83d\\ude00\",{\"b\":null}]}");
	bool taken;

	(void)state;
	for (size_t n = 0; n < whole.len; n++) {
		char *copy = test_malloc(n + 1); /* so that a read past the end is seen */

		memcpy(copy, whole.ptr, n);
		assert_true(jsondoc_agrees(slice_make(copy, n), &taken));
		assert_false(taken);
		test_free(copy);
	}
}

static void
limits(void **state)
{
	struct arena arena;
	struct err err = { 0 };
	struct buf b;

	(void)state;
	arena_init(&arena, 8 * 1024 * 1024);
	assert_null(jsondoc_parse(SLICE("{\"a\":1}"), 6, 9, &arena, &err));
	assert_non_null(jsondoc_parse(SLICE("{\"a\":[[1]]}"), 99, 3, &arena, &err));
	assert_null(jsondoc_parse(SLICE("{\"a\":[[1]]}"), 99, 2, &arena, &err));
	assert_non_null(strstr(err.msg, "deep"));
	buf_init(&b, 1 << 20);
	buf_append_str(&b, "{\"a\":[0");
	for (int i = 0; i < JSONDOC_VALUES_MAX; i++)
		buf_append_str(&b, ",0");
	buf_append_str(&b, "]}");
	assert_null(jsondoc_parse(buf_slice(&b), 1 << 20, 9, &arena, &err));
	assert_non_null(strstr(err.msg, "many"));
	buf_release(&b);
	arena_release(&arena);
}

/* Of many keys, too, none may be there twice. */
static void
many_keys(void **state)
{
	struct buf b;
	bool taken;

	(void)state;
	for (int twice = 0; twice < 2; twice++) {
		char text[32];

		buf_init(&b, 1 << 20);
		for (int i = 0; i < 500; i++) {
			(void)snprintf(
			    text, sizeof(text), "%s\"k%d\":%d", i == 0 ? "{" : ",", i, i);
			buf_append_str(&b, text);
		}
		buf_append_str(&b, twice ? ",\"k77\":0}" : "}");
		assert_true(jsondoc_agrees(buf_slice(&b), &taken));
		assert_int_equal(taken, !twice);
		buf_release(&b);
	}
}

static void
finds(void **state)
{
	struct arena arena;
	struct err err = { 0 };
	const struct jsondoc *root, *a;

	(void)state;
	arena_init(&arena, 1 << 20);
	root = jsondoc_parse(SLICE("{\"a\":[\"x\",2],\"b\":{\"c\":true}}"), 99, 9, &arena, &err);
	a = jsondoc_get(root, "a");
	assert_int_equal(jsondoc_count(a), 2);
	assert_true(slice_equal(jsondoc_at(a, 0)->text, SLICE("x")));
	assert_true(jsondoc_is(jsondoc_at(a, 1), JSONDOC_NUMBER));
	assert_null(jsondoc_at(a, 2));
	assert_null(jsondoc_at(root, 0));
	assert_null(jsondoc_get(a, "a"));
	assert_null(jsondoc_get(NULL, "a"));
	assert_null(jsondoc_get(root, "aa"));
	assert_int_equal(jsondoc_count(root), 0);
	assert_true(jsondoc_is(jsondoc_get(jsondoc_get(root, "b"), "c"), JSONDOC_TRUE));
	arena_release(&arena);
}

/* Each byte at each place of two words, behind plain ones and before any. */
static void
plain_text_ends_where_it_does(void **state)
{
	char text[16];

	(void)state;
	for (unsigned c = 0; c < 256; c++) {
		for (size_t at = 0; at < sizeof(text); at++) {
			bool is_plain = c >= 0x20 && c < 0x80 && c != '"' && c != '\\';

			for (unsigned behind = 0; behind < 256; behind++) {
				memset(text, 'a', at);
				memset(text + at, (int)behind, sizeof(text) - at);
				text[at] = (char)c;
				if (is_plain && at + 1 < sizeof(text))
					text[at + 1] = '"';
				assert_int_equal(plain_length(text, text + sizeof(text)),
				    is_plain ? at + 1 : at);
			}
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_text_ends_where_it_does),
		cmocka_unit_test(is_of_one_mind_with_jansson),
		cmocka_unit_test(prefixes),
		cmocka_unit_test(limits),
		cmocka_unit_test(many_keys),
		cmocka_unit_test(finds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
