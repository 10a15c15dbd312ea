/* SPDX-License-Identifier: Apache-2.0 */
/* ses_template: each form of the file, and what is wrong with others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ses_template.h"

static struct ses_template got;
static struct err last;

static int
parse(struct arena *arena, const char *text)
{
	last = (struct err){ 0 };
	return ses_template_parse(&got, slice_str(text), arena, &last);
}

static void
test_forms(void **state)
{
	static const char *const forms[] = {
		"{\"TemplateName\":\"n\",\"SubjectPart\":\"S {{a}}\",\"HtmlPart\":\"<p>\\n\","
		"\"TextPart\":\"T\"}",
		"{\"Template\":{\"TemplateName\":\"n\",\"SubjectPart\":\"S {{a}}\","
		"\"HtmlPart\":\"<p>\\n\",\"TextPart\":\"T\"}}",
		"\xef\xbb\xbf{\"TemplateName\":\"n\",\"TemplateContent\":{\"Subject\":\"S {{a}}\","
		"\"Html\":\"<p>\\n\",\"Text\":\"T\"},\"Tags\":[]}",
	};
	struct arena arena;

	(void)state;
	arena_init(&arena, 1 << 20);
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		assert_int_equal(parse(&arena, forms[i]), 0);
		assert_string_equal(got.subject.ptr, "S {{a}}");
		assert_string_equal(got.html.ptr, "<p>\n");
		assert_string_equal(got.text.ptr, "T");
	}
	assert_int_equal(
	    parse(&arena, "{\"SubjectPart\":\"S\",\"TextPart\":\"T\",\"HtmlPart\":null}"), 0);
	assert_int_equal(got.html.len, 0);
	arena_release(&arena);
}

static void
refused(struct arena *arena, const char *text, size_t line, const char *why)
{
	assert_int_equal(parse(arena, text), -1);
	assert_int_equal(last.offset, line);
	if (strstr(last.msg, why) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", why, last.msg);
}

static void
test_refused(void **state)
{
	struct arena arena;

	(void)state;
	arena_init(&arena, 1 << 20);
	refused(&arena, "", 1, "not JSON");
	refused(&arena, "{\n\"SubjectPart\":\n}", 3, "not JSON");
	refused(&arena, "[]", 0, "not a template of Amazon SES");
	refused(&arena, "{}", 0, "SubjectPart is missing");
	refused(&arena, "{\"Template\":5}", 0, "not an object");
	refused(&arena, "{\"SubjectPart\":5}", 0, "SubjectPart is not a text");
	refused(&arena, "{\"SubjectPart\":\"S\"}", 0, "HtmlPart and TextPart");
	refused(&arena, "{\"TemplateContent\":{\"Subject\":\"S\"}}", 0, "Html and Text");
	refused(&arena, "{\"SubjectPart\":\"a\\u0000b\",\"TextPart\":\"T\"}", 1, "not JSON");
	refused(&arena, "{\"SubjectPart\":\"S\",\"SubjectPart\":\"S\"}", 1, "duplicate");
	arena_release(&arena);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_refused),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
