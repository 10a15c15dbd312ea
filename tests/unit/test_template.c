/* SPDX-License-Identifier: Apache-2.0 */
/* template: the language, the escapes by place, the limits, bad input by its names, and where
 * errors are reported. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
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
		{ "{{a b}}",
		    "line 1, column 3: not a field name (letters, digits, _ - and . make one; the "
		    "only helper is default): \"a b\"",
		    2 },
		{ "x\ny\n  {{ a$ }}",
		    "line 3, column 6: not a field name (letters, digits, _ - and . make one; the "
		    "only helper is default): \"a$\"",
		    9 },
		{ "日本{{}}", "line 1, column 5: a field name is missing: \"}}\"", 8 },
		{ "a\n{{name",
		    "line 2, column 1: the tag is not closed: write }} (or }}}) behind it: "
		    "\"{{name\"",
		    2 },
		{ "{{{a}}",
		    "line 1, column 1: the tag is not closed: write }} (or }}}) behind it: "
		    "\"{{{a}}\"",
		    0 },
		{ "{{!-- a }}",
		    "line 1, column 1: the tag is not closed: write }} (or }}}) behind it: "
		    "\"{{!-- a }}\"",
		    0 },
		{ "\n\n{{#if a}}\n", "line 3, column 1: #if is not closed: write {{/if}}: \"a\"",
		    2 },
		{ "{{#each a}}{{#if b}}{{/if}}",
		    "line 1, column 1: #each is not closed: write {{/each}}: \"a\"", 0 },
		{ "{{else}}",
		    "line 1, column 1: else without #if: open a block before it: \"else\"", 0 },
		{ "{{/if}}",
		    "line 1, column 1: nothing is open here: take it away or open the block: "
		    "\"/if\"",
		    0 },
		{ "{{#if a}}{{/unless}}", "line 1, column 10: /if is expected here: \"/unless\"",
		    9 },
		{ "{{#if a}}{{else}}{{else}}{{/if}}",
		    "line 1, column 18: a second else in the same block: take one away: \"else\"",
		    17 },
		{ "{{#eq a}}",
		    "line 1, column 3: unknown tag; there are #if, #unless, #each, #with, "
		    "#*inline, else and the same with / at the end: \"#eq a\"",
		    2 },
		{ "x {{> part}}",
		    "line 1, column 3: there is no such partial: define it with {{#*inline}} or "
		    "put its file beside the template: \"part\"",
		    2 },
		{ "{{#*inline \"a\"}}{{> a}}{{/inline}}\n{{> a}}",
		    "line 1, column 17: this partial holds itself: \"a\"", 16 },
		{ "{{#*inline \"a\"}}{{$}}{{/inline}}\n{{> a}}",
		    "line 1, column 19: not a field name (letters, digits, _ - and . make one; "
		    "the only helper is default): \"$\"",
		    18 },
		{ "ab\n{{#each l as x}}{{/each}}",
		    "line 2, column 11: only as |name|, with #each also as |name key|, may stand "
		    "behind what the block is about: \"as x\"",
		    13 },
		{ "{{#each l as |x y z|}}{{/each}}",
		    "line 1, column 11: only as |name|, with #each also as |name key|, may stand "
		    "behind what the block is about: \"as |x y z|\"",
		    10 },
		{ "{{#each l as |a.b|}}{{/each}}",
		    "line 1, column 15: this name is given to something: no dot, and not this: "
		    "\"a.b\"",
		    14 },
		{ "{{#each l as |x x|}}{{/each}}",
		    "line 1, column 17: the same name twice: rename one: \"x\"", 16 },
		{ "{{#with o as |x y|}}{{/with}}", "line 1, column 17: #with gives one name: \"y\"",
		    16 },
		{ "{{#*inline \"p\"}}{{/inline}}\n{{> p customer}}",
		    "line 2, column 7: behind the name of a partial stands key=field or "
		    "key=\"text\": \"customer\"",
		    34 },
		{ "{{#*inline \"p\"}}{{/inline}}{{> p a=\"x}}",
		    "line 1, column 28: the tag is not closed: write }} (or }}}) behind it: "
		    "\"{{> p a=\"x}}\"",
		    27 },
		{ "{{#*inline \"p\"}}{{/inline}}{{> p a=1 a=2}}",
		    "line 1, column 38: this parameter is given twice: take one away: \"a\"", 37 },
		{ "{{#*inline \"p\"}}{{/inline}}{{> p a=$}}",
		    "line 1, column 36: not a field name (letters, digits, _ - and . make one; the "
		    "only helper is default): \"$\"",
		    35 },
		{ "{{#*inline \"p\"}}{{a.b}}{{/inline}}{{> p a=\"x\"}}",
		    "line 1, column 19: this parameter is a text and has no members: \"a\"", 18 },
		{ "{{#*inline \"p\"}}{{#each a}}{{/each}}{{/inline}}{{> p a=\"x\"}}",
		    "line 1, column 25: this is never a list or an object: \"a\"", 24 },
		{ "{{this}}",
		    "line 1, column 3: this stands only inside #each or #with: name a field: "
		    "\"this\"",
		    2 },
		{ "{{#each a}}{{../../b}}{{/each}}",
		    "line 1, column 14: ../ leads out of every #each and #with: take it away: "
		    "\"../../b\"",
		    13 },
		{ "{{@index}}", "line 1, column 3: this stands only inside #each: \"@index\"", 2 },
		{ "{{#if}}", "line 1, column 3: a field name is missing: \"#if}}\"", 2 },
		{ "ok \xff",
		    "line 1, column 4: not valid UTF-8, or a NUL: save the file as UTF-8: \"\"",
		    3 },
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
	assert_string_equal(html("<!-- {{a}} -->", P({ "a", "-->" })), "<!-- &#45;&#45;&gt; -->");
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
	    "line 1, column 15: a field must not choose the scheme of a link: write https:// "
	    "before it, or put the whole link into the field: \"://e.jp/\">\"");
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
		"{{#if b}}<script>{{/if}}", "<script>{{{a}}}</script>", "<p onclick=\"{{{a}}}\">",
		"<style>{{{a}}}</style>", "<p style=\"{{{a}}}\">", "<!-- {{{a}}} -->",
		"<!-- -{{a}} -->", "<!--{{a}}-->", "<meta content=\"{{a}}\">",
		"<img srcset=\"{{a}} 2x\">", "<animate to=\"{{a}}\">", "<a href=\"&#106;{{a}}\">",
		"<a href=\"{{a}}&#58;x\">", "<a href=\"&#106;avascript:{{a}}\">",
		"<a href=\"data:text/html,{{a}}\">", "{{#each l}}<a{{/each}} x>",
		"{{#each l}}<script>{{/each}}" };
	static const char *const taken[] = { "<td{{#if b}} class=\"x\"{{/if}}>{{a}}",
		"<td {{#if b}}nowrap{{/if}}>{{a}}", "<td {{#if b}}nowrap{{/if}} title=\"{{a}}\">",
		"{{#if b}}<a href=\"x\">{{/if}}{{a}}{{#if b}}</a>{{/if}}", "<p title=\"{{{a}}}\">",
		"<p title=\"{{#if b}}x{{else}}{{a}}{{/if}}\">", "<script>x</script>{{a}}",
		"<!doctype html>{{a}}", "<p a=b>{{a}}", "<br/>{{a}}",
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
	struct template_values v = { values, 2, &link, 1, false };
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

static void
test_lists(void **state)
{
	static const struct pair items[] = { { "items",
						 "[{\"name\":\"Tea\",\"price\":\"3.50\"},"
						 " {\"name\":\"Cup\",\"price\":12,\"n\":null}]" },
		{ "name", "Aki" }, { "none", "[ ]" }, { "null", "null" }, { NULL, NULL } };

	(void)state;
	assert_string_equal(
	    text("{{#each items}}{{name}} {{this.price}};{{/each}}", items), "Tea 3.50;Cup 12;");
	assert_string_equal(text("{{#each items}}{{@index}}{{@first}}{{@last}} {{/each}}", items),
	    "0truefalse 1falsetrue ");
	assert_string_equal(
	    text("{{#each items}}{{this.name}}{{#unless @last}}, {{/unless}}{{/each}}", items),
	    "Tea, Cup");
	assert_string_equal(
	    text("{{#each items}}{{../name}}{{@root.name}} {{/each}}", items), "AkiAki AkiAki ");
	assert_string_equal(
	    text("{{#each items}}{{default n \"-\"}}{{#if n}}x{{else}}y{{/if}}{{/each}}", items),
	    "-y-y");
	assert_string_equal(text("{{#each none}}x{{else}}nothing{{/each}}", items), "nothing");
	assert_string_equal(text("{{#each none}}x{{/each}}.", items), ".");
	assert_string_equal(text("{{#each absent}}x{{else}}nothing{{/each}}", items), "nothing");
	assert_string_equal(text("{{#each null}}x{{else}}nothing{{/each}}", items), "nothing");
	assert_string_equal(
	    text("{{#if none}}x{{else}}y{{/if}}{{#each none}}{{/each}}", items), "y");
	assert_string_equal(
	    text("{{#if items}}{{#each items}}{{name}}{{/each}}{{/if}}", items), "TeaCup");
	assert_string_equal(
	    text("<ul>\n{{#each items}}\n  <li>{{name}}</li>\n{{/each}}\n</ul>", items),
	    "<ul>\n  <li>Tea</li>\n  <li>Cup</li>\n</ul>");
	/* a missing field of a value is told by its whole name */
	assert_null(text("{{#each items}}{{colour}}{{/each}}", items));
	assert_int_equal(last_status, TEMPLATE_MISSING_FIELD);
	assert_string_equal(last_field, "items[].colour");
	assert_null(text("{{#each items}}{{n}}{{/each}}", items));
	assert_string_equal(last_field, "items[].n");
	/* so is a missing list, but not a condition on it */
	assert_null(text("{{#each absent}}x{{/each}}", items));
	assert_int_equal(last_status, TEMPLATE_MISSING_FIELD);
	assert_string_equal(last_field, "absent");
	assert_string_equal(text("{{#if absent}}{{#each absent}}x{{/each}}{{/if}}.", items), ".");
}

static void
test_lists_in_lists(void **state)
{
	static const struct pair orders[] = { { "orders",
						  "[{\"id\":1,\"lines\":[\"a\",\"b\"]},"
						  "{\"id\":2,\"lines\":[]},{\"id\":3,"
						  "\"lines\":[\"\\u3042\\ud83d\\ude00\\\"\"]}]" },
		{ NULL, NULL } };

	(void)state;
	assert_string_equal(
	    text("{{#each orders}}{{id}}:{{#each lines}}{{this}}{{../id}}{{@../index}}"
		 " {{else}}none {{/each}}{{/each}}",
		orders),
	    "1:a10 b10 2:none 3:あ😀\"32 ");
	assert_string_equal(text("{{#each orders}}{{lines.0}}|{{else}}{{/each}}",
				P({ "orders", "[{\"lines\":[7,8]}]" })),
	    "7|");
	assert_string_equal(text("{{#each o}}{{@key}}={{this}};{{/each}}",
				P({ "o", "{\"a\\\"b\":1,\"c\":[2,3],\"d\":{\"e\":true}}" })),
	    "a\"b=1;c=[2,3];d={\"e\":true};");
	assert_string_equal(text("{{#with o}}{{x.y}}{{#with x}}{{y}}{{../z}}{{/with}}{{/with}}",
				P({ "o", "{\"x\":{\"y\":1},\"z\":\"Z\"}" })),
	    "11Z");
	assert_string_equal(text("{{#with o}}x{{else}}no{{/with}}", NULL), "no");
	assert_null(text("{{#with o}}x{{/with}}", NULL));
	assert_int_equal(last_status, TEMPLATE_MISSING_FIELD);
}

static void
test_lists_of_bad_data(void **state)
{
	static const char *const bad[] = { "[", "[1,]", "{\"a\":}", "[1] 2", "{a:1}", "\"\\ud800\"",
		"[\"\\u0000\"]", "[\"\x01\"]", "tru", "01", "5", "\"text\"",
		"[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]" };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_null(text("{{#each a}}x{{/each}}", P({ "a", bad[i] })));
		assert_int_equal(last_status, TEMPLATE_BAD_DATA);
		assert_string_equal(last_field, "a");
	}
	assert_non_null(
	    text("{{#each a}}x{{/each}}", P({ "a", "[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]" })));
}

/* Nested walks over a long list end by the work they make, whatever they print. */
static void
test_lists_have_a_limit_of_work(void **state)
{
	struct buf list;

	(void)state;
	buf_init(&list, TEMPLATE_VALUE_MAX + 10);
	buf_append_str(&list, "[0");
	while (list.len < TEMPLATE_VALUE_MAX - 10)
		buf_append_str(&list, ",0");
	buf_append_str(&list, "]");
	assert_non_null(text("{{#each a}}{{this}}{{/each}}", P({ "a", buf_str(&list) })));
	assert_null(text("{{#each a}}{{#each @root.a}}{{#each @root.a}}{{/each}}{{/each}}{{/each}}",
	    P({ "a", buf_str(&list) })));
	assert_int_equal(last_status, TEMPLATE_TOO_LARGE);
	buf_release(&list);
}

static void
test_else_if(void **state)
{
	static const char source[] =
	    "{{#if a}}A{{else if b}}B{{else unless c}}notC{{else}}C{{/if}}.";

	(void)state;
	assert_string_equal(text(source, P({ "a", "1" })), "A.");
	assert_string_equal(text(source, P({ "b", "1" })), "B.");
	assert_string_equal(text(source, NULL), "notC.");
	assert_string_equal(text(source, P({ "c", "1" })), "C.");
	assert_string_equal(
	    text("{{#each a}}{{this}}{{else if b}}B{{/each}}", P({ "b", "1" })), "B");
	assert_string_equal(text("{{#if a}}A{{^}}no{{/if}}", NULL), "no");
	assert_string_equal(text("{{#if n}}A{{/if}}", P({ "n", "0.00" })), "");
	assert_refused(text("{{#if a}}{{else when b}}{{/if}}", NULL));
	assert_refused(text("{{#if a}}{{else if b}}{{/unless}}", NULL));
}

static void
test_partials(void **state)
{
	struct buf b;

	(void)state;
	assert_string_equal(text("{{#* inline \"full\"}}{{first}}{{#if last}} {{last}}{{/if}}"
				 "{{/inline~}}\nHello {{> full}}!",
				P({ "first", "Anaya" }, { "last", "Iyengar" })),
	    "Hello Anaya Iyengar!");
	/* in any order, and in each other */
	assert_string_equal(
	    text("{{> a}}{{#*inline 'a'}}<{{> b}}>{{/inline}}{{#*inline \"b\"}}{{x}}"
		 "{{/inline}}",
		P({ "x", "1" })),
	    "<1>");
	assert_string_equal(
	    text("a\n  {{> p}}\nb\n{{#*inline \"p\"}}\nline\n{{/inline}}\n", NULL), "a\nline\nb\n");
	/* read in the scope of the place of use */
	assert_string_equal(
	    text("{{#each l}}{{> p}}{{/each}}{{#*inline \"p\"}}[{{this}}]{{/inline}}",
		P({ "l", "[1,2]" })),
	    "[1][2]");
	/* escaped by the place of use */
	assert_string_equal(
	    html("<a href=\"{{> p}}\">{{> p}}</a>{{#*inline \"p\"}}{{x}}{{/inline}}",
		P({ "x", "javascript:<" })),
	    "<a href=\"#\">javascript:&lt;</a>");
	assert_refused(html("<script>{{> p}}</script>{{#*inline \"p\"}}{{x}}{{/inline}}", NULL));
	assert_refused(text("{{#*inline \"p\"}}{{#if a}}{{/inline}}{{> p}}{{/if}}", NULL));
	assert_refused(text("{{#if a}}{{> p}}{{/if}}{{#*inline \"p\"}}{{/if}}{{/inline}}", NULL));
	assert_refused(text("{{#*inline \"p\"}}x", NULL));
	assert_refused(text("{{#*inline p}}x{{/inline}}", NULL));
	assert_refused(text("{{#*inline \"p\"}}x{{/inline}}{{#*inline \"p\"}}x{{/inline}}", NULL));
	/* twice the one before, 2^15 times the first: ended by the count of tags */
	buf_init(&b, 1 << 20);
	buf_append_str(&b, "{{> p15}}{{#*inline \"p0\"}}{{x}}{{/inline}}");
	for (int i = 1; i <= 15; i++)
		buf_printf(
		    &b, "{{#*inline \"p%d\"}}{{> p%d}}{{> p%d}}{{/inline}}", i, i - 1, i - 1);
	assert_refused(text(buf_str(&b), P({ "x", "" })));
	assert_non_null(strstr(last_err.msg, "more than 20000 tags"));
	buf_reset(&b);
	buf_append_str(&b, "{{> p17}}{{#*inline \"p0\"}}x{{/inline}}");
	for (int i = 1; i <= 17; i++)
		buf_printf(&b, "{{#*inline \"p%d\"}}{{> p%d}}{{/inline}}", i, i - 1);
	assert_refused(text(buf_str(&b), NULL));
	assert_non_null(strstr(last_err.msg, "more than 16 partials inside each other"));
	buf_release(&b);
}

static void
test_blanks_taken_away(void **state)
{
	(void)state;
	assert_string_equal(text("a \n {{~x~}} \n b", P({ "x", "1" })), "a1b");
	assert_string_equal(text("a {{~#if x~}} b {{~/if~}} c", P({ "x", "1" })), "abc");
	assert_string_equal(text("a {{~! b ~}} c {{~!-- d --~}} e", NULL), "ace");
	assert_string_equal(text("a {{~{x}~}} b", P({ "x", "<" })), "a<b");
	assert_string_equal(html("{{&x}}", P({ "x", "<" })), "<");
}

/* A second turn of a loop begins where the first one ended. */
static void
test_html_loops(void **state)
{
	static const struct pair bad[] = { { "l", "[\"javascript:x\",\"javascript:y\"]" },
		{ NULL, NULL } };

	(void)state;
	assert_string_equal(
	    html("<a href=\"/{{#each l}}{{this}}\"></a><a href=\"{{/each}}\">", bad),
	    "<a href=\"/#\"></a><a href=\"#\"></a><a href=\"\">");
	assert_string_equal(html("<a href=\"{{#each l}}{{this}}{{/each}}\">",
				P({ "l", "[\"java\",\"script:x\"]" })),
	    "<a href=\"java#\">");
	assert_string_equal(html("{{#each l}}<p title=\"{{this}}\">{{this}}</p>{{/each}}",
				P({ "l", "[\"<\",\"\\\"\"]" })),
	    "<p title=\"&lt;\">&lt;</p><p title=\"&quot;\">&quot;</p>");
	assert_refused(html("<a href=\"{{#each l}}{{this}}:{{/each}}\">", bad));
	assert_refused(html("<p title=\"{{#each l}}{{this}}\" onclick=\"{{/each}}\">", bad));
}

static void
test_raw_in_attributes(void **state)
{
	(void)state;
	assert_string_equal(html("<a href=\"{{{a}}}\">", P({ "a", "https://e.jp/?a=1&amp;b=\"" })),
	    "<a href=\"https://e.jp/?a=1&amp;b=&quot;\">");
	assert_string_equal(
	    html("<a href=\"{{{a}}}\">", P({ "a", "javascript:x" })), "<a href=\"#\">");
	assert_string_equal(
	    html("<a href=\"{{{a}}}\">", P({ "a", "&#106;avascript:x" })), "<a href=\"#\">");
	assert_string_equal(
	    html("<a href=\"{{{a}}}\">", P({ "a", "javascript&colon;x" })), "<a href=\"#\">");
	assert_string_equal(html("<p title='{{{a}}}'>", P({ "a", "'><b>&amp;" })),
	    "<p title='&#39;&gt;&lt;b&gt;&amp;'>");
}

/* --- bad input, by name --- */

static void
test_bad_input_crlf(void **state)
{
	(void)state;
	assert_string_equal(header("{{a}}", P({ "a", "x\r\nBcc: y" })), "x Bcc: y");
	assert_string_equal(
	    header("{{#each l}}{{this}}{{/each}}", P({ "l", "[\"a\\r\\nBcc: b\"]" })), "a Bcc: b");
	assert_int_equal(last_cleaned, 1);
	assert_string_equal(text("{{a}}", P({ "a", "x\r\ny" })), "x\r\ny");
}

static void
test_bad_input_nul(void **state)
{
	(void)state; /* a NUL byte in a value: test_bad_data */
	assert_null(text("{{#each l}}{{this}}{{/each}}", P({ "l", "[\"a\\u0000b\"]" })));
	assert_int_equal(last_status, TEMPLATE_BAD_DATA);
}

static void
test_bad_input_invalid_utf8(void **state)
{
	(void)state;
	assert_null(text("{{#each l}}{{this}}{{/each}}", P({ "l", "[\"\xff\"]" })));
	assert_int_equal(last_status, TEMPLATE_BAD_DATA);
	assert_null(text("{{#each l}}{{this}}{{/each}}", P({ "l", "[\"\\udc00\\ud800\"]" })));
	assert_int_equal(last_status, TEMPLATE_BAD_DATA);
}

static void
test_bad_input_1_mb_of_text(void **state)
{
	size_t n = (size_t)1 << 20;
	char *big = malloc(n + 1);

	(void)state;
	memset(big, 'x', n);
	big[n] = '\0';
	assert_null(text("{{a}}", P({ "a", big })));
	assert_int_equal(last_status, TEMPLATE_TOO_LARGE);
	assert_string_equal(last_field, "a");
	big[0] = big[n - 1] = '"';
	assert_null(text("{{#each a}}{{/each}}", P({ "a", big })));
	assert_int_equal(last_status, TEMPLATE_TOO_LARGE);
	free(big);
}

static void
test_bad_input_right_to_left_overrides(void **state)
{
	static const struct pair a[] = { { "a", "x\u202egnp.exe\u202c\u2066y\u2069\u200f\u2026" },
		{ NULL, NULL } };

	(void)state;
	assert_string_equal(text("{{a}}", a), "xgnp.exey\u200f\u2026");
	assert_string_equal(html("<p>{{a}}</p>", a), "<p>xgnp.exey\u200f\u2026</p>");
	assert_string_equal(header("{{a}}", a), "xgnp.exey\u200f\u2026");
	assert_true(last_cleaned > 0);
	assert_string_equal(html("{{{a}}}", a), a[0].value);
	assert_string_equal(
	    html("<a href=\"{{a}}\">", P({ "a", "java\u202escript:x" })), "<a href=\"#\">");
	assert_string_equal(text("{{a}}", P({ "a", "\u202e" })), "");
	assert_string_equal(text("{{a}}",
				P({ "a",
				    "\xe2\x81\xa6"
				    "\xe2\x81\xa5" })),
	    "\xe2\x81\xa5");
}

static void
test_bad_input_emoji_of_each_length(void **state)
{
	char value[4 * 80 + 1] = "", list[4 * 80 + 5];

	(void)state;
	for (size_t n = 1; n <= 80; n++) {
		memcpy(value + 4 * (n - 1), "\xf0\x9f\x8d\xb5", 5);
		assert_string_equal(header("{{a}}", P({ "a", value })), value);
		(void)snprintf(list, sizeof(list), "[\"%s\"]", value);
		assert_string_equal(html("{{#each a}}{{this}}{{/each}}", P({ "a", list })), value);
	}
}

static void
test_bad_input_braces(void **state)
{
	(void)state;
	assert_string_equal(text("{{#each l}}{{this}}{{/each}}{{a}}",
				P({ "l", "[\"{{a}}\",\"{{/each}}\"]" }, { "a", "}}" })),
	    "{{a}}{{/each}}}}");
}

static void
test_blank_missing(void **state)
{
	struct arena arena;
	struct template_fields fields;
	struct template t;
	struct template_values v = { .blank_missing = true };
	struct template_result result;
	struct buf out;
	struct err err;

	(void)state;
	arena_init(&arena, 1 << 20);
	buf_init(&out, 1000);
	assert_true(template_fields_init(&fields, NULL, 0, &arena));
	assert_int_equal(template_compile(&t,
			     SLICE("a{{x}}b{{default y \"d\"}}{{#if x}}1{{else}}0{{/if}}"
				   "{{#each l}}{{this}}{{/each}}{{#with w}}{{z}}{{/with}}"),
			     TEMPLATE_TEXT, &fields, &err),
	    0);
	assert_int_equal(template_render(&t, &v, &out, &result), TEMPLATE_OK);
	assert_string_equal(buf_str(&out), "abd0");
	buf_release(&out);
	arena_release(&arena);
}

static void
test_given_names(void **state)
{
	const struct pair *values = P({ "l", "[{\"a\":1,\"k\":[5,6]},{\"a\":2,\"k\":[]}]" },
	    { "o", "{\"p\":{\"q\":\"Q\"},\"r\":2}" }, { "x", "field" }, { "a", "root" });

	(void)state;
	assert_string_equal(
	    text("{{#each l as |x|}}{{x.a}}{{a}}{{/each}}{{x}}", values), "1122field");
	assert_string_equal(
	    text("{{#each l as |x i|}}{{i}}:{{x.a}} {{/each}}", values), "0:1 1:2 ");
	assert_string_equal(
	    text("{{#each o as |v k|}}{{k}}={{#if @last}}{{v}}{{/if}},{{/each}}", values),
	    "p=,r=2,");
	/* from the blocks inside; the innermost name counts */
	assert_string_equal(text("{{#each l as |x i|}}{{#each x.k as |y j|}}{{i}}{{j}}{{x.a}}{{y}} "
				 "{{/each}}{{/each}}",
				values),
	    "0015 0116 ");
	assert_string_equal(
	    text("{{#each l as |x|}}{{#each x.k as |x|}}{{x}}{{/each}}{{/each}}", values), "56");
	assert_string_equal(text("{{#with o as |w|}}{{w.p.q}}{{#with w.p as |v|}}{{v.q}}{{w.r}}"
				 "{{/with}}{{/with}}",
				values),
	    "QQ2");
	assert_string_equal(
	    text("{{#if z}}{{else each l as |x|}}{{x.a}}{{else}}none{{/if}}", values), "12");
	/* the field of that name is @root's; not seen in an else, nor behind the block */
	assert_string_equal(text("{{#each l as |x|}}{{@root.x}}{{/each}}", values), "fieldfield");
	assert_string_equal(
	    text("{{#each k as |x|}}{{else}}{{x}}{{/each}}{{x}}", values), "fieldfield");
	/* nor in a partial */
	assert_null(
	    text("{{#each l as |x|}}{{> p}}{{/each}}{{#*inline 'p'}}{{x.a}}{{/inline}}", values));
	assert_int_equal(last_status, TEMPLATE_MISSING_FIELD);
	assert_string_equal(last_field, "l[].x.a");
	assert_null(text("{{#each l as |x i|}}{{x.zz}}{{/each}}", values));
	assert_string_equal(last_field, "l[].zz");
	assert_string_equal(html("{{#each l as |x|}}<a href=\"{{x.a}}\">{{x.a}}</a>{{/each}}",
				P({ "l", "[{\"a\":\"javascript:x\"}]" })),
	    "<a href=\"#\">javascript:x</a>");
}

static void
test_parameters(void **state)
{
	const struct pair *values = P({ "l", "[{\"a\":1},{\"a\":2}]" },
	    { "o", "{\"p\":{\"q\":\"Q\"}}" }, { "name", "Aki" }, { "order.total", "12" });

	(void)state;
#define PART(call, body) call "{{#*inline \"p\"}}" body "{{/inline}}"
	assert_string_equal(
	    text(PART("{{> p who=name to='it\\'s }} \"x\"' n=-1.5}}", "{{who}}|{{to}}|{{n}}"),
		values),
	    "Aki|it's }} \"x\"|-1.5");
	assert_string_equal(text(PART("{{> p a=order}}", "{{a.total}}"), values), "12");
	assert_string_equal(text(PART("{{> \"p\" a=o.p}}", "{{#with a}}{{q}}{{/with}}"),
				P({ "o.p", "{\"q\":\"Q\"}" })),
	    "Q");
	assert_string_equal(
	    text(PART("{{#each l as |x i|}}{{> p x=x n=i}}{{/each}}", "{{n}}{{x.a}}{{this.x.a}} "),
		values),
	    "011 122 ");
	assert_string_equal(
	    text(PART("{{#each l}}{{> p x=this i=@index}}{{/each}}", "{{i}}{{x.a}}"), values),
	    "0112");
	/* an #each of the partial is another place; ../ leads back */
	assert_string_equal(
	    text(PART("{{> p a=\"A\"}}", "{{#each l}}{{a}}{{../a}}{{/each}}"), values), "1A2A");
	/* over the name of a field, not behind the partial, and not for @root */
	assert_string_equal(
	    text(PART("{{> p name=\"P\"}}{{name}}", "{{name}}{{@root.name}}"), values), "PAkiAki");
	/* in partials that it uses, until they are given another */
	assert_string_equal(text(PART("{{> p a='1' b='2'}}{{#*inline 'q'}}{{a}}{{b}}{{/inline}}",
				     "{{> q}}{{> q a=b b=a}}"),
				values),
	    "1221");
	/* conditions and defaults of texts */
	assert_string_equal(
	    text(PART("{{> p a='x' b='' c=0 d=true}}",
		     "{{#if a}}1{{else}}2{{/if}}{{#if b}}1{{else}}2{{/if}}"
		     "{{#unless c}}1{{else}}2{{/unless}}{{#unless d}}1{{else}}2{{/unless}}"
		     "{{default a 'z'}}{{default b 'z'}}{{b}}"),
		values),
	    "1212xz");
	/* escaped by the place of use, as fields are */
	assert_string_equal(html(PART("{{> p u='javascript:x' t='<b>&' c='#fff;x'}}",
				     "<a href=\"{{u}}\" style=\"color:{{c}}\">{{t}}</a>{{{t}}}"),
				values),
	    "<a href=\"#\" style=\"color:#fff_x\">&lt;b&gt;&amp;</a><b>&");
	assert_refused(html(PART("{{> p t='x'}}", "<script>{{t}}</script>"), values));
	assert_refused(header(PART("{{> p t='x\ny'}}", "{{t}}"), values));
	/* what is missing is told by the name that it has outside */
	assert_null(text(PART("{{> p a=nobody}}", "{{a}}"), values));
	assert_string_equal(last_field, "nobody");
	assert_null(text(PART("{{#each l}}{{> p a=this}}{{/each}}", "{{a.zz}}"), values));
	assert_string_equal(last_field, "l[].zz");
#undef PART
}

static void
test_next_partial(void **state)
{
	static const char source[] =
	    "{{> a}}{{!-- {{> no}} --}}{{{x}}}{{#*inline \"b\"}}{{> c/d.html}}"
	    "{{/inline}}{{> b}}{{> 'e'}}";
	struct slice name;
	size_t at = 0;

	(void)state;
	assert_true(template_next_partial(slice_str(source), &at, &name));
	assert_true(slice_equal(name, SLICE("a")));
	assert_true(template_next_partial(slice_str(source), &at, &name));
	assert_true(slice_equal(name, SLICE("c/d.html")));
	assert_true(template_next_partial(slice_str(source), &at, &name));
	assert_true(slice_equal(name, SLICE("e")));
	assert_false(template_next_partial(slice_str(source), &at, &name));
	assert_int_equal(template_tag_len(SLICE("{{default a \"}}\"}} x")), 18);
	assert_int_equal(template_tag_len(SLICE("{{a")), 0);
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
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_lists_in_lists),
		cmocka_unit_test(test_lists_of_bad_data),
		cmocka_unit_test(test_lists_have_a_limit_of_work),
		cmocka_unit_test(test_else_if),
		cmocka_unit_test(test_partials),
		cmocka_unit_test(test_blanks_taken_away),
		cmocka_unit_test(test_html_loops),
		cmocka_unit_test(test_raw_in_attributes),
		cmocka_unit_test(test_bad_input_crlf),
		cmocka_unit_test(test_bad_input_nul),
		cmocka_unit_test(test_bad_input_invalid_utf8),
		cmocka_unit_test(test_bad_input_1_mb_of_text),
		cmocka_unit_test(test_bad_input_right_to_left_overrides),
		cmocka_unit_test(test_bad_input_emoji_of_each_length),
		cmocka_unit_test(test_bad_input_braces),
		cmocka_unit_test(test_blank_missing),
		cmocka_unit_test(test_given_names),
		cmocka_unit_test(test_parameters),
		cmocka_unit_test(test_next_partial),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
