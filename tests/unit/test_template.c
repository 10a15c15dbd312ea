/* SPDX-License-Identifier: Apache-2.0 */
/* template: the language, the escapes by place, the limits, and where errors are reported. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "template.h"

struct pair {
	const char *name, *value;
};

static enum template_status last_status;
static char last_field[160];
static unsigned last_cleaned;
static struct err last_err;

/* Compiles and renders; the result is kept until the next call. NULL when either failed
 * (last_err.msg is not empty after a compile error). */
static const char *
render(enum template_context context, const char *source, const struct pair *pairs)
{
	static struct buf out;
	struct arena arena;
	struct template_fields fields;
	struct template t;
	struct template_value values[16] = { 0 };
	struct template_result result;
	struct template_values v = { .fields = values, .count = 16 };

	buf_release(&out);
	buf_init(&out, (size_t)32 << 20);
	arena_init(&arena, (size_t)64 << 20);
	last_err = (struct err){ 0 };
	assert_true(template_fields_init(&fields, NULL, 0, &arena));
	if (template_compile(&t, slice_str(source), context, &fields, &last_err) != 0) {
		assert_true(last_err.msg[0] != '\0');
		arena_release(&arena);
		return NULL;
	}
	for (; pairs != NULL && pairs->name != NULL; pairs++) {
		int64_t i = template_field_index(&fields, slice_str(pairs->name));

		if (i >= 0 && i < 16)
			values[i] = (struct template_value){ slice_str(pairs->value), true };
	}
	last_status = template_render(&t, &v, &out, &result);
	assert_true(result.field.len < sizeof(last_field));
	memcpy(last_field, result.field.len > 0 ? result.field.ptr : "", result.field.len);
	last_field[result.field.len] = '\0';
	last_cleaned = result.cleaned;
	arena_release(&arena);
	if (last_status != TEMPLATE_OK)
		assert_int_equal(out.len, 0);
	return last_status == TEMPLATE_OK ? buf_str(&out) : NULL;
}

#define P(...) ((const struct pair[]){ __VA_ARGS__, { NULL, NULL } })
/* Not compiled, as opposed to not rendered. */
#define assert_refused(call)                                                                       \
	do {                                                                                       \
		assert_null(call);                                                                 \
		assert_true(last_err.msg[0] != 0);                                                 \
	} while (0)
#define text(source, pairs) render(TEMPLATE_TEXT, source, pairs)
#define html(source, pairs) render(TEMPLATE_HTML, source, pairs)
#define header(source, pairs) render(TEMPLATE_HEADER, source, pairs)

static void
test_fields(void **state)
{
	(void)state;
	assert_string_equal(text("", NULL), "");
	assert_string_equal(text("Hello", NULL), "Hello");
	assert_string_equal(text("{{a}}", P({ "a", "x" })), "x");
	assert_string_equal(text("Dear {{ name }}, {{order.total}}!",
				P({ "name", "Aki" }, { "order.total", "12" })),
	    "Dear Aki, 12!");
	assert_string_equal(text("{{氏名}}様", P({ "氏名", "山田" })), "山田様");
	assert_string_equal(text("{{a}}{{a}}{{{a}}}", P({ "a", "<&" })), "<&<&<&");
	assert_string_equal(text("a { b } }} {x}", NULL), "a { b } }} {x}");
	assert_string_equal(text("{{a}}", P({ "a", "" })), "");
}

static void
test_values_are_not_templates(void **state)
{
	(void)state;
	assert_string_equal(
	    text("{{a}}{{b}}", P({ "a", "{{b}}" }, { "b", "%s%n{{env}}" })), "{{b}}%s%n{{env}}");
	assert_string_equal(text("{{a}}b}}", P({ "a", "{{" })), "{{b}}");
}

static void
test_default(void **state)
{
	(void)state;
	assert_string_equal(text("{{default a \"you\"}}", NULL), "you");
	assert_string_equal(text("{{default a 'you'}}", P({ "a", "" })), "you");
	assert_string_equal(text("{{default a \"you\"}}", P({ "a", "me" })), "me");
	assert_string_equal(text("{{default a \"}} \\\" \\\\\"}}.", NULL), "}} \" \\.");
	assert_string_equal(html("{{default a \"<b>\"}}", NULL), "&lt;b&gt;");
	assert_string_equal(text("{{default}}", P({ "default", "x" })), "x");
	assert_refused(text("{{default a}}", NULL));
	assert_refused(text("{{default a \"x}}", NULL));
	assert_refused(text("{{default a \"x\" y\"}}", NULL));
	assert_refused(header("{{default a \"x\ny\"}}", NULL));
}

static void
test_conditions(void **state)
{
	static const char source[] = "{{#if a}}yes{{else}}no{{/if}}";
	static const char *const no[] = { "", "0", "false" }, *const yes[] = { "1", "00", "no" };

	(void)state;
	assert_string_equal(text(source, NULL), "no");
	for (size_t i = 0; i < 3; i++) {
		assert_string_equal(text(source, P({ "a", no[i] })), "no");
		assert_string_equal(text(source, P({ "a", yes[i] })), "yes");
	}
	assert_string_equal(text("{{#if a}}yes{{/if}}.", NULL), ".");
	assert_string_equal(text("{{#unless a}}no{{else}}yes{{/unless}}", P({ "a", "1" })), "yes");
	assert_string_equal(text("{{#unless a}}no{{else}}yes{{/unless}}", NULL), "no");
	assert_string_equal(
	    text("{{#if a}}1{{#if b}}2{{else}}3{{/if}}4{{else}}5{{/if}}6", P({ "a", "x" })),
	    "1346");
	assert_string_equal(
	    text("{{#if a}}{{#unless b}}{{a}}{{/unless}}{{/if}}", P({ "a", "x" })), "x");
	/* the branch that is not taken may use what is missing */
	assert_string_equal(text("{{#if a}}{{b}}{{/if}}ok", NULL), "ok");
}

static void
test_comments_and_lines(void **state)
{
	(void)state;
	assert_string_equal(text("a{{! b }}c{{!-- d }} e --}}f", NULL), "acf");
	assert_string_equal(
	    text("a\n{{#if x}}\nb\n  {{/if}}  \nc\n", P({ "x", "1" })), "a\nb\nc\n");
	assert_string_equal(text("a\r\n{{#if x}}\r\nb\r\n{{/if}}\r\nc", NULL), "a\r\nc");
	assert_string_equal(text("{{! only }}\nx", NULL), "x");
	assert_string_equal(text("a\n {{x}} \nb", P({ "x", "1" })), "a\n 1 \nb");
	assert_string_equal(text("a {{#if x}}\nb{{/if}}\n", P({ "x", "1" })), "a \nb\n");
}

static void
test_missing(void **state)
{
	(void)state;
	assert_null(text("Dear {{first.name}}", NULL));
	assert_int_equal(last_status, TEMPLATE_MISSING_FIELD);
	assert_string_equal(last_field, "first.name");
}

static void
test_bad_data(void **state)
{
	static const char *const bad[] = { "\xff", "a\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80",
		"\xe3\x81", "12345678\x80", "\xf0\x80\x80\x80" };
	struct arena arena;
	struct template_fields fields;
	struct template t;
	struct template_value value = { slice_make("a\0b", 3), true };
	struct template_values v = { .fields = &value, .count = 1 };
	struct template_result result;
	struct buf out;
	struct err err;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_null(text("{{a}}", P({ "a", bad[i] })));
		assert_int_equal(last_status, TEMPLATE_BAD_DATA);
		assert_string_equal(last_field, "a");
	}
	arena_init(&arena, 1 << 20);
	buf_init(&out, 1000);
	assert_true(template_fields_init(&fields, NULL, 0, &arena));
	assert_int_equal(template_compile(&t, SLICE("{{a}}"), TEMPLATE_TEXT, &fields, &err), 0);
	assert_int_equal(template_render(&t, &v, &out, &result), TEMPLATE_BAD_DATA);
	value.text = SLICE("0123456789abcdef\0g");
	assert_int_equal(template_render(&t, &v, &out, &result), TEMPLATE_BAD_DATA);
	value.text = SLICE("0123456789abcdefg");
	assert_int_equal(template_render(&t, &v, &out, &result), TEMPLATE_OK);
	buf_release(&out);
	arena_release(&arena);
}

static void
test_limits(void **state)
{
	char *big = calloc(1, TEMPLATE_SOURCE_MAX + 2), *p;

	(void)state;
	memset(big, 'x', TEMPLATE_VALUE_MAX);
	assert_non_null(text("{{a}}", P({ "a", big })));
	/* 64 kB * 160 is the 10 MB of output, one more is too much */
	p = calloc(1, 170 * 5 + 1);
	for (size_t i = 0; i < 161; i++) {
		memcpy(p + i * 5, "{{a}}", 5);
		if (i >= 159) {
			const char *got = text(p, P({ "a", big }));

			assert_true((got != NULL) == (i == 159));
		}
	}
	assert_int_equal(last_status, TEMPLATE_TOO_LARGE);
	free(p);
	big[TEMPLATE_VALUE_MAX] = 'x';
	assert_null(text("{{a}}", P({ "a", big })));
	assert_int_equal(last_status, TEMPLATE_TOO_LARGE);
	assert_string_equal(last_field, "a");
	memset(big, 'x', TEMPLATE_SOURCE_MAX);
	assert_non_null(text(big, NULL));
	big[TEMPLATE_SOURCE_MAX] = 'x';
	assert_refused(text(big, NULL));
	free(big);
}

static void
test_limits_of_counts(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 1 << 20);
	for (int i = 0; i < 1000; i++)
		buf_printf(&b, "{{#if f%d}}{{/if}}", i);
	assert_non_null(text(buf_str(&b), NULL));
	buf_append_str(&b, "{{#if f1000}}{{/if}}");
	assert_refused(text(buf_str(&b), NULL));
	for (int depth = 32; depth <= 33; depth++) {
		buf_reset(&b);
		for (int i = 0; i < depth; i++)
			buf_append_str(&b, "{{#if a}}");
		for (int i = 0; i < depth; i++)
			buf_append_str(&b, "{{/if}}");
		assert_true((text(buf_str(&b), NULL) != NULL) == (depth == 32));
	}
	buf_reset(&b);
	for (int i = 0; i <= TEMPLATE_TAGS_MAX; i++)
		buf_append_str(&b, "{{a}}");
	assert_refused(text(buf_str(&b), P({ "a", "" })));
	buf_release(&b);
}

static void
test_error_positions(void **state)
{
	static const struct {
		const char *source, *msg;
		size_t offset;
	} cases[] = {
		{ "{{a b}}", "line 1, column 3: not a field name: \"a b\"", 2 },
		{ "x\ny\n  {{ a$ }}", "line 3, column 6: not a field name: \"a$\"", 9 },
		{ "日本{{}}", "line 1, column 5: a field name is missing: \"}}\"", 8 },
		{ "a\n{{name", "line 2, column 1: the tag is not closed: \"{{name\"", 2 },
		{ "{{{a}}", "line 1, column 1: the tag is not closed: \"{{{a}}\"", 0 },
		{ "{{!-- a }}", "line 1, column 1: the tag is not closed: \"{{!-- a }}\"", 0 },
		{ "\n\n{{#if a}}\n", "line 3, column 1: #if is not closed: \"a\"", 2 },
		{ "{{else}}", "line 1, column 1: else without #if: \"else\"", 0 },
		{ "{{/if}}", "line 1, column 1: nothing is open here: \"/if\"", 0 },
		{ "{{#if a}}{{/unless}}", "line 1, column 10: /if is expected here: \"/unless\"",
		    9 },
		{ "{{#if a}}{{else}}{{else}}{{/if}}",
		    "line 1, column 18: a second else in the same block: \"else\"", 17 },
		{ "{{#each a}}", "line 1, column 3: unknown tag: \"#each a\"", 2 },
		{ "{{> part}}", "line 1, column 3: unknown tag: \"> part\"", 2 },
		{ "{{#if}}", "line 1, column 3: a field name is missing: \"#if}}\"", 2 },
		{ "ok \xff", "line 1, column 4: not valid UTF-8, or a NUL: \"\"", 3 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_refused(text(cases[i].source, NULL));
		assert_string_equal(last_err.msg, cases[i].msg);
		assert_int_equal(last_err.offset, cases[i].offset);
	}
}

static void
test_header(void **state)
{
	(void)state;
	assert_string_equal(header("Hi {{a}}", P({ "a", "x\r\nBcc: y" })), "Hi x Bcc: y");
	assert_int_equal(last_cleaned, 1);
	assert_string_equal(
	    header("{{a}}", P({ "a", "\x01\x02m\tn\x7f\xe2\x80\xa8\xe2\x80\xa9o\xc2\x85" })),
	    " m n o ");
	assert_int_equal(last_cleaned, 4);
	assert_string_equal(header("あ{{a}}", P({ "a", "\xe2\x80\xa6" })), "あ\xe2\x80\xa6");
	assert_int_equal(last_cleaned, 0);
	assert_string_equal(header("a\nb", NULL), "a b");
	assert_int_equal(last_cleaned, 0);
}

static void
test_html_text(void **state)
{
	(void)state;
	assert_string_equal(html("<p>{{a}}</p>", P({ "a", "<script>&\"'" })),
	    "<p>&lt;script&gt;&amp;&quot;&#39;</p>");
	assert_string_equal(html("<p>{{{a}}}</p>", P({ "a", "<b>" })), "<p><b></p>");
	assert_string_equal(html("<p title=\"{{a}}\">", P({ "a", "\" onload=x" })),
	    "<p title=\"&quot; onload=x\">");
	assert_string_equal(html("<p title='{{a}}'>", P({ "a", "'" })), "<p title='&#39;'>");
	assert_string_equal(
	    html("<title>{{a}}</title>", P({ "a", "</title>" })), "<title>&lt;/title&gt;</title>");
	assert_string_equal(html("<!-- {{a}} -->", P({ "a", "-->" })), "<!-- --&gt; -->");
	assert_string_equal(html("1 < 2 {{a}}", P({ "a", "x" })), "1 < 2 x");
}

static void
test_html_links(void **state)
{
	static const char *const bad[] = { "javascript:alert(1)", "JavaScript:x", " javascript:x",
		"java\tscript:x", "\x01javascript:x", "data:text/html,x", "vbscript:x", ":x",
		"file:///etc", "a:b", "javascript\n:x" };
	static const char *const good[] = { "https://e.jp/", "HTTP://e.jp", "mailto:a@e.jp",
		"tel:+81", "/path", "//e.jp/", "page.html", "?a:b", "#a:b", "", "a/b:c" };
	static const char *const places[] = { "<a href=\"{{a}}\">", "<img src='{{a}}'>",
		"<form action=\"{{a}}\">", "<A HREF = \"{{a}}\">", "<a disabled href=\"{{a}}\">",
		"<a class=\"b\"href=\"{{a}}\">", "<a\nhref=\" {{a}}\">",
		"<!--[if mso]><a href=\"{{a}}\">", "<!-- x --><a href=\"{{a}}\">",
		"<!--> <a href=\"{{a}}\">", "<a/href=\"{{a}}\">",
		"<style>a<b</style><a href=\"{{a}}\">", "<body background=\"{{a}}\">",
		"<script>x='<!--'</script><a href=\"{{a}}\">" };

	(void)state;
	for (size_t p = 0; p < sizeof(places) / sizeof(places[0]); p++) {
		const char *at = strstr(places[p], "{{a}}");
		size_t front = (size_t)(at - places[p]);

		for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
			const char *got = html(places[p], P({ "a", bad[i] }));

			assert_non_null(got);
			assert_memory_equal(got, places[p], front);
			assert_int_equal(got[front], '#');
			assert_string_equal(got + front + 1, at + 5);
		}
		for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
			const char *got = html(places[p], P({ "a", good[i] }));

			assert_memory_equal(got + front, good[i], strlen(good[i]));
			assert_string_equal(got + front + strlen(good[i]), at + 5);
		}
	}
}

static void
test_html_link_parts(void **state)
{
	(void)state;
	assert_string_equal(html("<a href=\"https://e.jp/?q={{a}}\">", P({ "a", "x:y&z" })),
	    "<a href=\"https://e.jp/?q=x:y&amp;z\">");
	assert_string_equal(
	    html("<a href=\"{{a}}{{b}}\">", P({ "a", "" }, { "b", "javascript:x" })),
	    "<a href=\"#\">");
	assert_string_equal(
	    html("<a href=\"{{a}}{{b}}\">", P({ "a", "javascript" }, { "b", ":x" })),
	    "<a href=\"javascript#\">");
	assert_string_equal(html("<a href=\"{{#if b}}https://e.jp/{{else}}{{a}}{{/if}}\">",
				P({ "a", "javascript:x" })),
	    "<a href=\"#\">");
	assert_string_equal(
	    html("<a href=\"{{#if b}}https://e.jp/{{/if}}{{a}}\">", P({ "a", "javascript:x" })),
	    "<a href=\"#\">");
	assert_refused(html("<a href=\"{{a}}://e.jp/\">", NULL));
	assert_string_equal(last_err.msg,
	    "line 1, column 15: a field must not choose the scheme of a link: \"://e.jp/\">\"");
	assert_refused(html("<a href=\"{{#if a}}java{{/if}}{{b}}:x\">", NULL));
	assert_refused(html("<a href=\"javascript:f('{{a}}')\">", NULL));
	assert_refused(html("<a {{#if x}}hr{{/if}}ef=\"{{a}}\">", NULL));
	assert_refused(html("<a {{#if x}}href{{else}}title{{/if}}=\"{{a}}\">", NULL));
	assert_refused(html("<a {{#if x}}href={{else}}title={{/if}}\"{{a}}\">", NULL));
	assert_refused(html("<a {{#if x}}href{{/if}} =\"{{a}}\">", NULL));
}

static void
test_html_places(void **state)
{
	static const char *const refused[] = { "<script>{{a}}</script>", "<p onclick=\"{{a}}\">",
		"<p ONLOAD='{{a}}'>", "<p {{a}}>", "<{{a}}>", "<p a{{a}}>", "<p a={{a}}>",
		"<p a=x{{a}}>", "<iframe srcdoc=\"{{a}}\">", "<!doctype {{a}}>", "</{{a}}>",
		"<script>'</style>'{{a}}</script>", "{{#if b}}<a{{/if}} x>",
		"{{#if b}}<!--{{/if}} {{a}}", "<p title=\"{{#if b}}\"{{/if}}\">",
		"{{#if b}}<script>{{/if}}" };
	static const char *const taken[] = { "<td{{#if b}} class=\"x\"{{/if}}>{{a}}",
		"<td {{#if b}}nowrap{{/if}}>{{a}}", "<td {{#if b}}nowrap{{/if}} title=\"{{a}}\">",
		"{{#if b}}<a href=\"x\">{{/if}}{{a}}{{#if b}}</a>{{/if}}",
		"<script>{{{a}}}</script>", "<p title=\"{{#if b}}x{{else}}{{a}}{{/if}}\">",
		"<script>x</script>{{a}}", "<!doctype html>{{a}}", "<p a=b>{{a}}", "<br/>{{a}}",
		"{{#if b}}<p>{{else}}<div><table>{{/if}}{{a}}" };

	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		const char *got = html(refused[i], P({ "a", "x" }));

		if (got != NULL)
			fail_msg("taken: %s", refused[i]);
		assert_true(last_err.msg[0] != '\0');
	}
	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
		if (html(taken[i], P({ "a", "x" })) == NULL)
			fail_msg("refused: %s: %s", taken[i], last_err.msg);
	}
}

static void
test_html_style(void **state)
{
	(void)state;
	assert_string_equal(html("<p style=\"color:{{a}}\">", P({ "a", "#ff0;x:url(/y)" })),
	    "<p style=\"color:#ff0_x_url__y_\">");
	assert_string_equal(html("<style>p{color:{{a}}}</style>", P({ "a", "red</style>" })),
	    "<style>p{color:red__style_}</style>");
}

static void
test_shared_fields(void **state)
{
	static const struct slice builtins[] = { { "link", 4 } };
	struct arena arena;
	struct template_fields fields;
	struct template a, b;
	struct template_value values[] = { { SLICE("1"), true }, { SLICE("2"), true } },
			      link = { SLICE("L"), true };
	struct template_values v = { values, 2, &link, 1 };
	struct template_result result;
	struct buf out;
	struct err err;

	(void)state;
	arena_init(&arena, 1 << 20);
	buf_init(&out, 1000);
	assert_true(template_fields_init(&fields, builtins, 1, &arena));
	assert_int_equal(
	    template_compile(&a, SLICE("{{x}}{{y}}"), TEMPLATE_TEXT, &fields, &err), 0);
	assert_int_equal(fields.builtins_used, 0);
	assert_int_equal(
	    template_compile(&b, SLICE("{{y}}{{link}}{{{x}}}"), TEMPLATE_HTML, &fields, &err), 0);
	assert_int_equal(fields.count, 2);
	assert_int_equal(fields.builtins_used, 1);
	assert_int_equal(b.raw_count, 1);
	assert_false(template_is_static(&b));
	assert_int_equal(template_render(&a, &v, &out, &result), TEMPLATE_OK);
	assert_int_equal(template_render(&b, &v, &out, &result), TEMPLATE_OK);
	assert_string_equal(buf_str(&out), "122L1");
	/* a value past the caller's count is missing */
	v.count = 1;
	assert_int_equal(template_render(&a, &v, &out, &result), TEMPLATE_MISSING_FIELD);
	assert_string_equal(buf_str(&out), "122L1");
	buf_release(&out);
	arena_release(&arena);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_values_are_not_templates),
		cmocka_unit_test(test_default),
		cmocka_unit_test(test_conditions),
		cmocka_unit_test(test_comments_and_lines),
		cmocka_unit_test(test_missing),
		cmocka_unit_test(test_bad_data),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_limits_of_counts),
		cmocka_unit_test(test_error_positions),
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_html_text),
		cmocka_unit_test(test_html_links),
		cmocka_unit_test(test_html_link_parts),
		cmocka_unit_test(test_html_places),
		cmocka_unit_test(test_html_style),
		cmocka_unit_test(test_shared_fields),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
