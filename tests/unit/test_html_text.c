/* SPDX-License-Identifier: Apache-2.0 */
/* html_text: HTML in, text out, case by case. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "html_text.h"

static void
test_cases(void **state)
{
	static const struct {
		const char *html, *text;
	} cases[] = {
		{ "<p>One</p><p>Two</p>", "One\n\nTwo\n" },
		{ "a<br>b<br/>c", "a\nb\nc\n" },
		{ "<head><title>x</title><style>p{}</style></head><body>  a\n  b </body>",
		    "a b\n" },
		{ "a<script>if(a<b){}</script>b<!-- c -->d", "abd\n" },
		{ "&lt;a&gt; &amp;amp; &#12354;&#x3042; &nbsp; x &copy; &bogus; &",
		    "<a> &amp; ああ x © &bogus; &\n" },
		{ "<a href=\"https://e.jp/?a=1&amp;b=2\">Here</a>.",
		    "Here (https://e.jp/?a=1&b=2).\n" },
		{ "<a href='https://e.jp/'>https://e.jp/</a>", "https://e.jp/\n" },
		{ "<a href=\"mailto:a@e.jp\">a@e.jp</a>", "a@e.jp\n" },
		{ "<a href=\"#top\">Up</a>", "Up\n" },
		{ "<a href=\"https://e.jp/\"><img src=\"x\" alt=\"Shop\"></a>",
		    "Shop (https://e.jp/)\n" },
		{ "<a href=\"https://e.jp/\"><img src=\"x\"></a>", "https://e.jp/\n" },
		{ "<a class=\"b\" href=\"{{url}}\">{{name}}</a>", "{{name}} ({{url}})\n" },
		{ "<ul><li>a</li><li>b</li></ul>c", "- a\n- b\n\nc\n" },
		{ "<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc\n" },
		{ "<p>Hi</p>{{#if a}}<p>A {{a}}</p>{{else}}<p>B</p>{{/if}}<p>C</p>",
		    "Hi\n\n{{#if a}}A {{a}}\n\n{{else}}B\n\n{{/if}}C\n" },
		{ "<td {{#if a}}class=\"x\"{{/if}}>a", "a\n" },
		{ "x {{! note }}y{{!-- z --}}", "x y\n" },
		{ "1 < 2 and a<b", "1 < 2 and a\n" },
		{ "<p title=\"a>b\">x", "x\n" },
		{ "&#123;{x}}", "&#123;{x}}\n" },
		{ "<h1>T</h1>text<hr>end", "T\n\ntext\n----------\nend\n" },
		{ "<ol><li>a</li><li>b<ul><li>c<li>d</ul></li><li>e</ol>f",
		    "1. a\n2. b\n  - c\n  - d\n3. e\n\nf\n" },
		{ "<ol>{{#each x}}<li>{{y}}</li>{{/each}}</ol>",
		    "{{#each x}}- {{y}}\n{{/each}}\n" },
		{ "<table><tr><th>Item<th>Price</tr><tr><td>Tea</td><td>{{p}}</td></tr></table>",
		    "Item | Price\nTea | {{p}}\n" },
		{ "<table><tr><td><table><tr><td>a<td>b</table></td></tr></table>c", "a b\n\nc\n" },
		{ "a<pre>x  y\n  z</pre>b", "a\n\nx  y\n  z\n\nb\n" },
		{ "caf&eacute; &Auml;&szlig; &frac12; &hellip;&rarr;", "café Äß ½ …→\n" },
		{ "a&shy;b&zwnj;c&#8203;d&nbsp;&thinsp;e&#160;f", "abcd e f\n" },
		{ "&amp &eacute &; &#; &#x; &#0; &#1114112; &#xd800;",
		    "&amp &eacute &; &#; &#x; &#0; &#1114112; &#xd800;\n" },
		{ "</ul></ol></pre></a></table>x", "x\n" },
		{ "<a href=https://e.jp/?q={{q}}&amp;r=1>go</a>",
		    "go (https://e.jp/?q={{q}}&r=1)\n" },
		{ "", "\n" },
	};
	struct buf out;

	(void)state;
	buf_init(&out, 100000);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		buf_reset(&out);
		html_text(&out, slice_str(cases[i].html));
		if (strcmp(buf_str(&out), cases[i].text) != 0)
			fail_msg("%s\n gives\n%s", cases[i].html, buf_str(&out));
	}
	buf_release(&out);
}

/* A megabyte of what makes careless parsers look back or ahead again and again. */
static void
test_linear(void **state)
{
	static const char *const units[] = { "<table>", "<ol>", "<ul><li>", "<a href=\"x\">", "<a",
		"&#0000", "{{", "<!--", "<script>", "</", "<td>", "<pre>\n", "&eacute",
		"<p title='" };

	(void)state;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		struct buf in, out;
		clock_t began;

		buf_init(&in, 1 << 20);
		buf_init(&out, (size_t)64 << 20);
		while (in.len + 20 < 1 << 20)
			buf_append_str(&in, units[i]);
		began = clock();
		html_text(&out, buf_slice(&in));
		assert_false(buf_failed(&out));
		/* some milliseconds; looking back would take minutes */
		if (clock() - began > 5 * CLOCKS_PER_SEC)
			fail_msg("%s takes too long", units[i]);
		buf_release(&in);
		buf_release(&out);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_linear),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
