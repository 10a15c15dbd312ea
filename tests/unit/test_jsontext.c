/* SPDX-License-Identifier: Apache-2.0 */
/* jsontext: what is a JSON text, and finding values in one; jansson has the same opinion. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "jsontext.h"

static void
test_check(void **state)
{
	static const char *const good[] = { "0", "-0", "12.50", "1e5", "-1.5E+10", "true", "false",
		"null", "\"\"", "\"a\\\"b\\u00e9\\ud83d\\ude00\"", "[]", "{}", " [ ] ", "[1, 2]",
		"{\"a\":{\"b\":[1,{}]},\"c\":\"]}\"}", "\t{ \"a\" : 1 }\r\n" };
	static const char *const bad[] = { "", " ", "01", "1.", ".5", "-", "+1", "1e", "nul",
		"truex", "\"", "\"\\x\"", "\"\\u12\"", "\"\\ud800\"", "\"\\ud800\\u0041\"",
		"\"\\udc00\"", "\"\\u0000\"", "\"\n\"", "[", "]", "[1", "[1,", "[1,]", "[,]",
		"[1 2]", "{", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "{1:1}", "[1}", "{]",
		"1 2", "[]]" };

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		json_t *other = json_loads(good[i], JSON_DECODE_ANY, NULL);

		if (!jsontext_check(slice_str(good[i])))
			fail_msg("refused: %s", good[i]);
		assert_non_null(other);
		json_decref(other);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (jsontext_check(slice_str(bad[i])))
			fail_msg("taken: %s", bad[i]);
		assert_null(json_loads(bad[i], JSON_DECODE_ANY, NULL));
	}
}

/* Every text of up to six of these characters: the same verdict as jansson's. */
static void
test_check_as_jansson(void **state)
{
	static const char chars[] = "[]{},:\"1a";
	char text[7];
	size_t total = 1, taken = 0;

	(void)state;
	for (size_t len = 1; len <= 6; len++) {
		total *= sizeof(chars) - 1;
		for (size_t k = 0; k < total; k++) {
			json_t *other;

			for (size_t i = 0, rest = k; i < len; i++, rest /= sizeof(chars) - 1)
				text[i] = chars[rest % (sizeof(chars) - 1)];
			text[len] = '\0';
			other = json_loads(text, JSON_DECODE_ANY, NULL);
			taken += other != NULL;
			if (jsontext_check(slice_str(text)) != (other != NULL))
				fail_msg("another verdict: %s", text);
			json_decref(other);
		}
	}
	assert_true(taken > 100);
}

static void
test_depth(void **state)
{
	char text[2 * (JSONTEXT_DEPTH_MAX + 1) + 1] = "";

	(void)state;
	memset(text, '[', JSONTEXT_DEPTH_MAX);
	memset(text + JSONTEXT_DEPTH_MAX, ']', JSONTEXT_DEPTH_MAX);
	assert_true(jsontext_check(slice_str(text)));
	memset(text, '[', JSONTEXT_DEPTH_MAX + 1);
	memset(text + JSONTEXT_DEPTH_MAX + 1, ']', JSONTEXT_DEPTH_MAX + 1);
	assert_false(jsontext_check(slice_str(text)));
}

static void
member_is(const char *text, const char *name, const char *expected)
{
	struct slice v = jsontext_member(jsontext_value(slice_str(text)), slice_str(name));

	assert_true(slice_equal(v, slice_str(expected)));
}

static void
test_member(void **state)
{
	static const char object[] =
	    " { \"a\" : 1 , \"b\":\"x,}\", \"c\":{\"a\":2}, \"d\\u00e9\\\"\":[1,2], \"\":null} ";

	(void)state;
	member_is(object, "a", "1");
	member_is(object, "b", "\"x,}\"");
	member_is(object, "c", "{\"a\":2}");
	member_is(object, "d\u00e9\"", "[1,2]");
	member_is(object, "", "null");
	member_is(object, "e", "");
	member_is("[10,[20],\"30\"]", "1", "[20]");
	member_is("[10,[20],\"30\"]", "2", "\"30\"");
	member_is("[10]", "1", "");
	member_is("[10]", "00", "");
	member_is("[10]", "-1", "");
	member_is("[10]", "x", "");
	member_is("\"text\"", "0", "");
	member_is("[]", "0", "");
}

static void
test_walk(void **state)
{
	struct jsontext_walk w = jsontext_walk(SLICE("{\"a\":1,\"b\": [2] }"));

	(void)state;
	assert_true(jsontext_next(&w));
	assert_true(slice_equal(w.key, SLICE("a")) && slice_equal(w.value, SLICE("1")));
	assert_false(w.last);
	assert_true(jsontext_next(&w));
	assert_true(slice_equal(w.key, SLICE("b")) && slice_equal(w.value, SLICE("[2]")));
	assert_true(w.last);
	assert_false(jsontext_next(&w));
	w = jsontext_walk(SLICE("7"));
	assert_false(jsontext_next(&w));
}

static void
test_decode(void **state)
{
	static const char inside[] =
	    "\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9\\u3042\\ud83d\\ude00x";
	char plain[sizeof(inside)];
	size_t n = jsontext_decode(slice_str(inside), plain);

	(void)state;
	assert_true(
	    slice_equal(slice_make(plain, n), SLICE("\"\\/\b\f\n\r\tA\u00e9\u3042\U0001f600x")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_check_as_jansson),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_member),
		cmocka_unit_test(test_walk),
		cmocka_unit_test(test_decode),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
