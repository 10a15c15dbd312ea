/* SPDX-License-Identifier: Apache-2.0 */
/* mail_text: transfer encodings, charsets, words of headers, HTML. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "mail_text.h"

static struct arena arena;

static void
assert_text(struct slice got, const char *expected)
{
	if (!slice_equal(got, slice_str(expected)))
		print_message("# got '%.*s'\n", SLICE_ARG(got));
	assert_true(slice_equal(got, slice_str(expected)));
}

static void
test_transfer(void **state)
{
	(void)state;
	assert_text(mail_text_decode(&arena, SLICE("SGVs\nbG8="), SLICE("Base64")), "Hello");
	assert_text(mail_text_decode(&arena, SLICE("SGVsbG8"), SLICE("base64")), "Hello");
	assert_text(mail_text_decode(&arena, SLICE("550 no: <a@b> (x)!"), SLICE("base64")),
	    "550 no: <a@b> (x)!");
	assert_text(
	    mail_text_decode(&arena, SLICE("a=3Db=\nc=20 \n=zz"), SLICE("quoted-printable")),
	    "a=bc  \n=zz");
	assert_text(mail_text_decode(&arena, SLICE("=3D"), SLICE("7bit")), "=3D");
	assert_text(mail_text_lines(&arena, SLICE("a\r\nb\rc\0d"), 100), "a\nb c d");
	assert_text(mail_text_lines(&arena, SLICE("a\rb"), 100), "a\nb");
}

static void
test_charset(void **state)
{
	(void)state;
	assert_text(mail_text_utf8(&arena, SLICE("\xE9t\xE9"), SLICE("iso-8859-1")), "été");
	assert_text(mail_text_utf8(&arena, SLICE("\xE9t\xE9"), SLICE("")), "été");
	assert_text(mail_text_utf8(&arena, SLICE("\x1b$B0$\x1b(B"), SLICE("us-ascii")), "阿");
	assert_text(mail_text_utf8(&arena, SLICE("\x83\x81\x81[\x83\x8b"), SLICE("")), "メール");
	assert_text(
	    mail_text_utf8(&arena, SLICE("\xA5\xE1\xA1\xBC\xA5\xEB"), SLICE("euc-jp")), "メール");
	assert_text(mail_text_utf8(&arena, SLICE("\xCE\xC5\xD4"), SLICE("koi8-r")), "нет");
	/* what says UTF-8 and is, and what names a charset that is none */
	assert_text(mail_text_utf8(&arena, SLICE("été"), SLICE("x-unknown")), "été");
	assert_text(mail_text_utf8(&arena, SLICE("plain"), SLICE("../../etc//IGNORE")), "plain");
}

static void
test_words(void **state)
{
	(void)state;
	assert_text(mail_text_words(&arena, SLICE("=?UTF-8?B?w6k=?= =?utf-8?q?t_x?= y")), "ét x y");
	assert_text(mail_text_words(&arena, SLICE("=?bad =?utf-8?x?y?=")), "=?bad =?utf-8?x?y?=");
	assert_text(mail_text_words(&arena, SLICE("")), "");
}

static void
test_html(void **state)
{
	(void)state;
	assert_text(
	    mail_text_html(&arena, SLICE("<style>p{}</style><p>a&nbsp;b<br/>c")), "\na b\nc");
	assert_text(mail_text_html(&arena, SLICE("&lt;a@b.test&gt; 1 < 2 <c@d.test>")),
	    "<a@b.test> 1 < 2 <c@d.test>");
	assert_text(mail_text_html(&arena, SLICE("<a href=\"mailto:x@y\">x@y</a><b")), "x@y");
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_transfer),
		cmocka_unit_test(test_charset), cmocka_unit_test(test_words),
		cmocka_unit_test(test_html) };
	int failed;

	arena_init(&arena, 1 << 20);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	arena_release(&arena);
	return failed;
}
