/* SPDX-License-Identifier: Apache-2.0 */
/* links: what is rewritten and what is left alone, destinations, the pixel's place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "links.h"

#define TOKEN "{{kairan.token}}"
#define PIXEL                                                                                      \
	"<img src=\"https://w.jp/o/" TOKEN                                                         \
	"\" width=\"1\" height=\"1\" alt=\"\" style=\"border:0\">"

static struct arena arena;
static struct links links;

static const char *
rewrite_with(const char *html, struct links_options o)
{
	struct slice out;
	struct err err = { 0 };
	char *text;

	o.base = SLICE("https://w.jp/");
	assert_int_equal(links_rewrite(slice_str(html), &o, &arena, &links, &out, &err), 0);
	text = arena_alloc(&arena, out.len + 1);
	assert_non_null(text);
	if (out.len > 0)
		memcpy(text, out.ptr, out.len);
	text[out.len] = '\0';
	return text;
}

static const char *
clicks(const char *html)
{
	return rewrite_with(html,
	    (struct links_options){ .clicks = true, .leave = { SLICE("https://shop.jp/stop") } });
}

static const char *
counted(const char *before, size_t i, const char *after)
{
	char text[600];

	assert_true(i < links.count);
	(void)snprintf(text, sizeof(text), "%shttps://w.jp/k/" TOKEN "/%s%s", before,
	    links.items[i].id, after);
	return arena_str(&arena, text);
}

static void
is_left(const char *html)
{
	assert_string_equal(clicks(html), html);
	assert_int_equal(links.count, 0);
}

static void
rewritten(void **state)
{
	const char *out;

	(void)state;
	out = clicks("<p><a class=x href=\"https://a.jp/?b=1&amp;c=2\" id='y'>A &amp; B</a>");
	assert_string_equal(out, counted("<p><a class=x href=\"", 0, "\" id='y'>A &amp; B</a>"));
	assert_string_equal(links.items[0].url.ptr, "https://a.jp/?b=1&c=2");
	assert_true(links_id_ok(slice_str(links.items[0].id)));
	out = clicks("<A HREF = 'HTTP://a.jp' >x</A>");
	assert_string_equal(out, counted("<A HREF = '", 0, "' >x</A>"));
	out = clicks("<a href=https://a.jp/x>x</a>");
	assert_string_equal(out, counted("<a href=\"", 0, "\">x</a>"));
	out = clicks("{{#if x}}<a href=\"https://a.jp\">{{/if}}<area href=\"https://a.jp\">");
	assert_int_equal(links.count, 1); /* each destination once */
	out = clicks("<!--[if mso]><v:roundrect href=\"https://a.jp\"></v:roundrect><![endif]-->");
	assert_string_equal(
	    out, counted("<!--[if mso]><v:roundrect href=\"", 0, "\"></v:roundrect><![endif]-->"));
	out = clicks("{{> x}}{{#*inline \"x\"}}<a href='https://a.jp'>y</a>{{/inline}}");
	assert_string_equal(
	    out, counted("{{> x}}{{#*inline \"x\"}}<a href='", 0, "'>y</a>{{/inline}}"));
}

static void
left_alone(void **state)
{
	(void)state;
	is_left("<a href=\"https://a.jp/{{id}}\">x</a>");
	is_left("<a href=\"{{unsubscribe_url}}\">x</a>");
	is_left("<a href=\"https://shop.jp/stop/now\">x</a>");
	is_left("<a href=\"mailto:a@a.jp\">x</a><a href='tel:1'>x</a><a href='/x'>x</a>");
	is_left(
	    "<a href=\"//a.jp\">x</a><a href=\"https:a.jp\">x</a><a href=\"https:///a.jp\">x</a>");
	is_left("<a href=\"https://a.jp\\x\">x</a><a href=\"https://a@b.jp/\">x</a>");
	is_left("<a href=\"javascript:alert(1)\">x</a><a href=\"https://a.jp/a b\">x</a>");
	is_left("<a {{#if x}}href=\"https://a.jp\"{{/if}}>x</a>");
	is_left("<a href=\"https://a.jp\" href=\"https://b.jp\">x</a>");
	is_left("<link href=\"https://a.jp/style.css\"><img src=\"https://a.jp/i.png\">");
	is_left("<!-- <a href=\"https://a.jp\">x</a> --><style>a{}</style>");
	is_left("<style><a href=\"https://a.jp\"></style>");
	is_left("{{!-- <a href=\"https://a.jp\"> --}}");
	is_left("<a href=\"https://a.jp/?a&nbsp;b\">x</a><a href=\"https://a.jp/&#8203;\">x</a>");
	is_left("<a href=\"https://a.jp");
	is_left("<a href=\"https://a.jp/{{x");
}

static void
no_track(void **state)
{
	const char *html = "<a kairan:no-track href=\"https://a.jp\" ses:no-track>x</a>";
	const char *valued = "<a href=\"https://a.jp\" KAIRAN:no-track=\"\" class=y>x</a>";

	(void)state;
	assert_string_equal(clicks(html), "<a href=\"https://a.jp\">x</a>");
	assert_int_equal(links.count, 0);
	assert_string_equal(
	    rewrite_with(html, (struct links_options){ 0 }), "<a href=\"https://a.jp\">x</a>");
	assert_string_equal(rewrite_with(html, (struct links_options){ .keep_ses = true }),
	    "<a href=\"https://a.jp\" ses:no-track>x</a>");
	assert_string_equal(clicks(valued), "<a href=\"https://a.jp\" class=y>x</a>");
	assert_string_equal(clicks("<a ses:no-track/>"), "<a/>");
}

static void
pixel(void **state)
{
	struct links_options o = { .opens = true };

	(void)state;
	assert_string_equal(
	    rewrite_with("<body>x</body></html>", o), "<body>x" PIXEL "</body></html>");
	assert_string_equal(rewrite_with("x", o), "x" PIXEL);
	/* not inside a condition, a partial or a comment */
	assert_string_equal(
	    rewrite_with("{{#if x}}</body>{{/if}}", o), "{{#if x}}</body>{{/if}}" PIXEL);
	assert_string_equal(rewrite_with("<!-- </body> -->", o), "<!-- </body> -->" PIXEL);
	assert_string_equal(rewrite_with("a</body>b</BODY >c", o), "a</body>b" PIXEL "</BODY >c");
	assert_string_equal(rewrite_with("<!-- open", o), "<!-- open");
	o.clicks = true;
	assert_non_null(strstr(
	    rewrite_with("<a href=\"https://a.jp\">x</a></body>", o), "</a>" PIXEL "</body>"));
}

static void
files(void **state)
{
	struct links_options o = { .files = true };

	(void)state;
	assert_string_equal(rewrite_with("<img src=\"cid:a.png\"><td background=cid:b>", o),
	    "<img src=\"https://w.jp/v/" TOKEN "/a.png\"><td background=\"https://w.jp/v/" TOKEN
	    "/b\">");
	assert_string_equal(rewrite_with("<img src=\"cid:{{x}}\">", o), "<img src=\"cid:{{x}}\">");
}

static void
destination_is(const char *value, const char *url)
{
	struct slice found = links_destination(slice_str(value), &arena);

	assert_int_equal(found.len, strlen(url));
	if (found.len > 0)
		assert_string_equal(found.ptr, url);
}

static void
destinations(void **state)
{
	char text[2100] = "https://a.jp/";

	(void)state;
	destination_is(
	    " https://a.jp/?x=1&#38;y=2&#x26;z&copy=3 ", "https://a.jp/?x=1&y=2&z&copy=3");
	destination_is("https://a.jp/é", "https://a.jp/%C3%A9");
	destination_is("https://é.jp/", "");
	destination_is("https://a.jp/\r\nSet-Cookie: x", "");
	destination_is("https://a.jp/&#13;&#10;x", "");
	destination_is("https://a.jp/&#0;", "");
	destination_is("https://a.jp/&#99999999999;", "");
	destination_is("ftp://a.jp/", "");
	destination_is("https://", "");
	destination_is("https://[::1]:80/x", "https://[::1]:80/x");
	memset(text + 13, 'a', 2050);
	destination_is(text, "");
	assert_false(links_id_ok(SLICE("aaaaaaaaaaaa1")));
	assert_false(links_id_ok(SLICE("aaaaaaaaaaaaaa")));
	assert_true(links_id_ok(SLICE("aaaaaaaaaaaa2")));
}

static int
setup(void **state)
{
	(void)state;
	arena_init(&arena, (size_t)64 << 20);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	arena_release(&arena);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(rewritten),
		cmocka_unit_test(left_alone), cmocka_unit_test(no_track), cmocka_unit_test(pixel),
		cmocka_unit_test(files), cmocka_unit_test(destinations) };

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, setup, teardown);
}
