/* SPDX-License-Identifier: Apache-2.0 */
/* attach: header and body of a file, names in all scripts, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "attach.h"

static struct buf out;
static struct err err;

static const char *
put(struct attach a)
{
	buf_reset(&out);
	err = (struct err){ 0 };
	return attach_put(&a, &out, &err) == 0 ? buf_str(&out) : NULL;
}

static struct attach
base(void)
{
	return (struct attach){
		.name = SLICE("a.pdf"), .type = SLICE("application/pdf"), .bytes = SLICE("hello")
	};
}

static void
test_attachment(void **state)
{
	(void)state;
	assert_string_equal(put(base()),
	    "Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n"
	    "Content-Disposition: attachment;\r\n filename=\"a.pdf\"\r\n\r\naGVsbG8=\r\n");
}

static void
test_image_has_an_id(void **state)
{
	struct attach a = base();

	(void)state;
	a.type = SLICE("image/png");
	a.content_id = SLICE("logo@shop.example");
	assert_string_equal(put(a),
	    "Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n"
	    "Content-ID: <logo@shop.example>\r\n"
	    "Content-Disposition: inline;\r\n filename=\"a.pdf\"\r\n\r\naGVsbG8=\r\n");
}

static void
test_empty_file(void **state)
{
	struct attach a = base();

	(void)state;
	a.bytes = SLICE("");
	assert_non_null(strstr(put(a), "\"a.pdf\"\r\n\r\n\r\n"));
}

static void
test_japanese_name(void **state)
{
	struct attach a = base();

	(void)state;
	a.name = SLICE("案内.pdf");
	assert_non_null(strstr(put(a), ";\r\n filename*=UTF-8''%E6%A1%88%E5%86%85.pdf\r\n\r\n"));
	a.name = SLICE("a\"b.pdf");
	assert_non_null(strstr(put(a), ";\r\n filename*=UTF-8''a%22b.pdf\r\n\r\n"));
}

/* RFC 2231 continuations: every length, lines of 78, the joined value is the name. */
static void
test_names_of_all_lengths(void **state)
{
	char name[ATTACH_NAME_MAX + 1] = "";

	(void)state;
	for (size_t n = 3; n + 3 <= ATTACH_NAME_MAX; n += 3) {
		struct attach a = base();
		char back[ATTACH_NAME_MAX + 1];
		size_t got = 0;
		const char *p;

		(void)strcat(name, "漢");
		a.name = slice_str(name);
		p = put(a);
		assert_non_null(p);
		for (const char *line = p; (line = strstr(line, "\r\n")) != NULL; line += 2) {
			const char *end = strstr(line + 2, "\r\n");

			assert_true(end == NULL || end - line - 2 <= 78);
		}
		for (p = strstr(p, "filename"); *p != '\0' && strncmp(p, "\r\n\r\n", 4) != 0; p++) {
			unsigned v;

			if (*p == '%' && sscanf(p + 1, "%2x", &v) == 1)
				back[got++] = (char)v;
		}
		assert_int_equal(got, n);
		assert_memory_equal(back, name, n);
	}
}

static void
test_refused(void **state)
{
	static const char *const names[] = { "", "a/b", "..\\x", "a\r\nb", "a\x7f", "\xff",
		"a\xe2\x80\xa8" };
	static const char *const types[] = { "", "image", "image/", "/png", "a/b/c", "a/b\r\nX: y",
		"a b/c", "a/b;c" };
	struct attach a;

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		a = base();
		a.name = slice_str(names[i]);
		assert_null(put(a));
		assert_true(err.msg[0] != '\0');
	}
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		a = base();
		a.type = slice_str(types[i]);
		assert_null(put(a));
	}
	a = base();
	a.content_id = SLICE("a>b");
	assert_null(put(a));
	a.content_id = SLICE("a\r\nb");
	assert_null(put(a));
}

static void
test_types(void **state)
{
	(void)state;
	assert_string_equal(attach_type(SLICE("A.PNG")), "image/png");
	assert_string_equal(attach_type(SLICE("x.jpeg")), "image/jpeg");
	assert_string_equal(attach_type(SLICE(".png")), "application/octet-stream");
	assert_string_equal(attach_type(SLICE("x")), "application/octet-stream");
}

static int
start(void **state)
{
	(void)state;
	buf_init(&out, 1 << 20);
	return 0;
}

static int
stop(void **state)
{
	(void)state;
	buf_release(&out);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_attachment),
		cmocka_unit_test(test_image_has_an_id),
		cmocka_unit_test(test_empty_file),
		cmocka_unit_test(test_japanese_name),
		cmocka_unit_test(test_names_of_all_lengths),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_types),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, start, stop);
}
