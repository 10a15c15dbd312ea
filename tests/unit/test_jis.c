/* SPDX-License-Identifier: Apache-2.0 */
/* jis: every place of JIS X 0208 against iconv, what has none, and the bytes of RFC 1468. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <iconv.h>

#include "jis.h"

static struct arena arena;
static const struct jis *jis;
static char bytes[1000];

static struct slice
encode(const char *text)
{
	size_t n = jis_encode(jis, slice_str(text), bytes);

	assert_int_equal(n, jis_size(jis, slice_str(text)));
	assert_true(n == JIS_NO_PLACE || n <= JIS_WORST(strlen(text)));
	return n == JIS_NO_PLACE ? slice_make(NULL, 0) : slice_make(bytes, n);
}

static void
check(const char *text, const char *expected)
{
	struct slice s = encode(text);

	assert_int_equal(s.len, strlen(expected));
	assert_memory_equal(s.ptr, expected, s.len);
}

static void
test_text_begins_and_ends_in_ascii(void **state)
{
	(void)state;
	check("abc ~\\", "abc ~\\");
	check("日本", "\x1b$BF|K\\\x1b(B");
	check("a日b", "a\x1b$BF|\x1b(Bb");
	check("日本\r\n語\r\n", "\x1b$BF|K\\\x1b(B\r\n\x1b$B8l\x1b(B\r\n");
	check("a漢a漢", "a\x1b$B4A\x1b(Ba\x1b$B4A\x1b(B");
	assert_int_equal(jis_encode(jis, SLICE(""), bytes), 0);
}

/* What iconv makes of our bytes is what went in. */
static void
test_every_place_reads_back(void **state)
{
	iconv_t cd = iconv_open("UTF-8", "ISO-2022-JP");
	unsigned found = 0;

	(void)state;
	assert_true(cd != (iconv_t)-1);
	for (uint32_t c = 0x80; c < 0x10000; c++) {
		char utf8[4] = { 0 }, back[16], *from = bytes, *to = back;
		size_t left, room = sizeof(back), n;

		if (c >= 0xd800 && c < 0xe000)
			continue;
		if (c < 0x800) {
			utf8[0] = (char)(0xc0 | c >> 6);
			utf8[1] = (char)(0x80 | (c & 0x3f));
		} else {
			utf8[0] = (char)(0xe0 | c >> 12);
			utf8[1] = (char)(0x80 | (c >> 6 & 0x3f));
			utf8[2] = (char)(0x80 | (c & 0x3f));
		}
		n = jis_encode(jis, slice_str(utf8), bytes);
		if (n == JIS_NO_PLACE)
			continue;
		assert_int_equal(n, 8);
		left = n;
		assert_int_equal(iconv(cd, &from, &left, &to, &room), 0);
		found++;
		/* of a pair of twins one reads back as the other */
		if (memcmp(back, utf8, strlen(utf8)) != 0)
			assert_non_null(strstr("～∥－￠￡￢", utf8));
	}
	(void)iconv_close(cd);
	/* the 6,879 characters of JIS X 0208, less the backslash that is ASCII if iconv says so,
	 * and six twins */
	assert_in_range(found, 6878 + 6, 6879 + 6);
}

static void
test_no_place(void **state)
{
	static const char *const none[] = { "😀", "ｱ", "ﾞ", "①", "髙", "㈱", "¥", "é", "한",
		"\x1b$B", "\x0e", "\x7f", "か\xe3\x82\x99", "\xe2\x80\x8d", "\xff", "\xe3\x81" };

	(void)state;
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		char text[100];

		(void)strcpy(text, "漢字 ");
		(void)strcat(text, none[i]);
		if (encode(text).ptr != NULL)
			fail_msg("%s has a place", none[i]);
	}
}

static void
test_windows_twins(void **state)
{
	(void)state;
	check("～〜", "\x1b$B!A!A\x1b(B");
	check("－−", "\x1b$B!]!]\x1b(B");
	check("∥‖", "\x1b$B!B!B\x1b(B");
}

static int
start(void **state)
{
	(void)state;
	arena_init(&arena, (size_t)1 << 20);
	jis = jis_new(&arena);
	return jis != NULL ? 0 : -1;
}

static int
stop(void **state)
{
	(void)state;
	arena_release(&arena);
	return 0;
}

static void
test_no_memory(void **state)
{
	struct arena small;

	(void)state;
	arena_init(&small, 1000);
	assert_null(jis_new(&small));
	arena_release(&small);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text_begins_and_ends_in_ascii),
		cmocka_unit_test(test_every_place_reads_back),
		cmocka_unit_test(test_no_place),
		cmocka_unit_test(test_windows_twins),
		cmocka_unit_test(test_no_memory),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, start, stop);
}
