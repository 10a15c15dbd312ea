/* SPDX-License-Identifier: Apache-2.0 */
/* lint: each rule with a campaign that breaks it and one that does not, and where it points to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lint.h"
#include "lint_html.h"

#define HEAD "<!doctype html><html><head><title>t</title></head><body>"
#define PREHEADER "<div style=\"display:none\">New tea</div>"
#define WORDS                                                                                      \
	"<p>Dear {{default name \"you\"}}, thank you for being with us. Here is what is new in "   \
	"November, and there is more of it than ever before in our shop.</p>"
#define FOOT                                                                                       \
	"<p>Aoba Store K.K., 1-1 Aoba-ku, Sendai 980-0000<br><a "                                  \
	"href=\"{{unsubscribe_url}}\">Unsubscribe</a></p>"
#define END "</body></html>"
#define HTML(inside) HEAD PREHEADER WORDS inside FOOT END
#define TEXT                                                                                       \
	"Hello,\n\nhttps://aoba.example/\n\nAoba Store K.K., 1-1 Aoba-ku, Sendai 980-0000\n"       \
	"Unsubscribe: {{unsubscribe_url}}\n"

#define UNKNOWN (-1)

/* A campaign; NULL members are those of the clean one. */
struct sample {
	const char *subject, *from, *reply_to, *list, *missing, *html, *text;
	int unsubscribe; /* 0: HTTPS; UNKNOWN; or one of the others */
	bool count;	 /* every field is absent in 3 of 10 customers */
	const char *not_asked;
	const char *too_large;
	size_t pad;	 /* bytes put behind the rendered mail */
	size_t line_pad; /* the same, in one line */
	enum ses_content content;
};

struct run {
	struct campaign_source source;
	struct campaign_templates templates;
	struct campaign_mail mail;
	struct lint_report report;
	struct arena arena;
};

static const char *
or_else(const char *value, const char *other)
{
	return value != NULL ? value : other;
}

static char file_text[2000];

static void
make(struct run *r, const struct sample *s)
{
	static char folder[] = "";
	struct config config = { .message_id_domain = folder,
		.feedback_domain = folder,
		.dkim_dir = folder,
		.dkim_also = folder };
	struct err err = { 0 };

	*r = (struct run){ 0 };
	arena_init(&r->source.arena, (size_t)16 << 20);
	r->source.unsubscribe_base = r->source.return_path_domain = "";
	(void)snprintf(file_text, sizeof(file_text),
	    "[campaign]\nname = test\nstream = marketing\nsubject = %s\nfrom = %s\n%s%s\n%s%s\n"
	    "html = x.html\ntext = x.txt\nsegment = everyone\nmissing_field = %s\n",
	    or_else(s->subject, "News of November"),
	    or_else(s->from, "Aoba Store <n@aoba.example>"),
	    or_else(s->reply_to, "reply_to = help@aoba.example")[0] != '\0' ? "" : "# none",
	    or_else(s->reply_to, "reply_to = help@aoba.example"),
	    or_else(s->list, "list = news")[0] != '\0' ? "" : "# none",
	    or_else(s->list, "list = news"), or_else(s->missing, "skip"));
	if (campaign_file_parse(&r->source.file, slice_str(file_text), &r->source.arena, &err) != 0)
		fail_msg("%s", err.msg);
	r->source.path = "x.campaign";
	r->source.ses_content = s->content;
	r->source.html = slice_str(or_else(s->html, HTML("")));
	r->source.text = slice_str(or_else(s->text, TEXT));
	if (campaign_templates(&r->templates, &r->source, &err) != 0 ||
	    campaign_compose(&r->mail, &r->source, &config, SLICE(""), NULL, NULL, &err) != 0)
		fail_msg("%s", err.msg);
}

static void
lint(struct run *r, const struct sample *s)
{
	int64_t absent[TEMPLATE_FIELDS_MAX];
	struct err err = { 0 };
	struct lint_input in = { .source = &r->source,
		.templates = &r->templates,
		.mail = &r->mail,
		.unsubscribe = s->unsubscribe == 0 ? LINT_UNSUBSCRIBE_HTTPS
		    : s->unsubscribe == UNKNOWN	   ? LINT_UNSUBSCRIBE_UNKNOWN
						   : (enum lint_unsubscribe)s->unsubscribe,
		.customers = 10,
		.absent = s->count ? absent : NULL,
		.too_large = s->too_large,
		.not_asked = s->not_asked };

	for (size_t i = 0; i < TEMPLATE_FIELDS_MAX; i++)
		absent[i] = 3;
	for (size_t i = 0; i < s->pad; i++)
		buf_append_str(&r->mail.eml, i % 70 == 0 ? "\r\n" : "x");
	for (size_t i = 0; i < s->line_pad; i++)
		buf_append_char(&r->mail.eml, 'x');
	arena_init(&r->arena, LINT_ARENA_MAX);
	if (lint_run(&r->report, &in, &r->arena, &err) != 0)
		fail_msg("%s", err.msg);
}

static void
start(struct run *r, const struct sample *s)
{
	make(r, s);
	lint(r, s);
}

static void
end(struct run *r)
{
	campaign_mail_release(&r->mail);
	campaign_source_release(&r->source);
	arena_release(&r->arena);
}

static size_t
found(const struct run *r, const char *rule)
{
	size_t n = 0;

	for (size_t i = 0; i < r->report.count; i++)
		n += strcmp(r->report.findings[i].rule->id, rule) == 0;
	return n;
}

static void
print_findings(const struct run *r)
{
	for (size_t i = 0; i < r->report.count; i++)
		print_message("  %s:%zu:%zu: [%s] %s\n", r->report.findings[i].file,
		    r->report.findings[i].line, r->report.findings[i].column,
		    r->report.findings[i].rule->id, r->report.findings[i].text);
}

/* ---------------------------------------------------------------- each rule */

#define H(inside)                                                                                  \
	{                                                                                          \
		.html = HTML(inside)                                                               \
	}

/* bad breaks the rule `times` times; good is as near to it as it can be and does not. */
static const struct {
	const char *rule;
	size_t times;
	struct sample bad, good;
} cases[] = {
	{ "css-external", 2,
	    H("<link rel='stylesheet' href='https://aoba.example/a.css'><style>@import "
	      "'b.css';</style>"),
	    H("<link rel='icon' href='https://aoba.example/a.ico'><style>p{color:red}</style>") },
	{ "field-absent", 1, { .html = HTML("{{city}}"), .count = true },
	    { .html = HTML("{{default city \"x\"}}{{#if town}}{{town}}{{/if}}"), .count = true } },
	{ "field-no-default", 2, H("{{city}}{{#if town}}{{city}} {{land}}{{/if}}"),
	    H("{{default city \"x\"}}{{#if town}}{{town}}{{/if}}") },
	{ "field-no-default", 1, H("{{city}}"), { .html = HTML("{{city}}"), .missing = "blank" } },
	{ "field-raw", 2, H("{{{default_city}}} <p title=\"{{{x}}}\">x</p>"),
	    H("{{default_city}} <p title=\"{{x}}\">x</p>") },
	{ "from-free-mail", 1, { .from = "Aoba Store <aoba@yahoo.co.jp>" },
	    { .from = "Aoba Store <aoba@mail.yahoo.co.jp.aoba.example>" } },
	{ "html-unbalanced", 4, H("<b><table><tr><td>x</table></i>"),
	    H("<table><tr><td><ul><li>x<li>y</ul><br/><img src='cid:a' alt=''></td></tr></table>"
	      "{{#if a}}<b>{{else}}<b class=\"c\">{{/if}}x</b>{{#if a}}<i>{{/if}}{{#if a}}</i>"
	      "{{/if}}") },
	{ "image-only", 1,
	    { .html =
		    "<img src='https://aoba.example/a.png' alt='a' width='1' height='100'>" FOOT },
	    { .html = WORDS "<img src='https://aoba.example/a.png' alt='a'>" FOOT } },
	{ "image-without-alt", 1, H("<IMG src='https://aoba.example/a.png' width=9 height=9>"),
	    H("<img src='https://aoba.example/a.png' ALT=\"\" width=9 height=9>") },
	{ "image-without-size", 2,
	    H("<img src='https://aoba.example/a.png' alt='' width=9><img src='cid:a' alt=''>"),
	    H("<img src='https://aoba.example/a.png' alt='' width=9 style='height:9px'>") },
	{ "line-too-long", 1, { .line_pad = 1000 }, { .line_pad = 900 } },
	{ "link-not-https", 3,
	    { .html = HTML("<a href=' http://aoba.example/'>x</a><img src='HTTP://aoba.example/a' "
			   "alt=''>"),
		.text = TEXT "http://aoba.example/" },
	    H("<a href='https://aoba.example/?http://x'>x</a><a href='mailto:a@aoba.example'>y</a>"
	      "<a href='tel:+8112345'>z</a>") },
	{ "link-other-host", 3,
	    H("<a href='https://track.example/x'>https://aoba.example/x</a>"
	      "<a href='https://track.example/'><b>www.aoba.example</b></a>"
	      "<a href='https://aoba.example@track.example/'>aoba.example</a>"),
	    H("<a href='https://www.aoba.example/x'>aoba.example/x</a>"
	      "<a href='https://aoba.example/'>www.aoba.example</a>"
	      "<a href='https://track.example/'>Version 2.0</a>"
	      "<a href='https://track.example/'>e.g. Co.Ltd and more.</a>"
	      "<a href='{{unsubscribe_url}}'>https://aoba.example/</a> https://other.example") },
	{ "link-relative", 5,
	    H("<a href='/sale'>a</a><a href='#'>b</a><a href=''>c</a>"
	      "<img src='//aoba.example/x' alt=''><td background='x.png'></td>"),
	    H("<a href='#top'>a</a><a href='{{unsubscribe_url}}'>b</a><img src='cid:x' alt=''>"
	      "<a href='https://aoba.example/{{default a \"b\"}}'>c</a>") },
	{ "link-not-https", 2,
	    H("<a href='{{#if a}}https://aoba.example/{{else}}http://aoba.example/{{/if}}'>x</a>"
	      "<a {{#if a}}href='https://aoba.example/'{{else}}href='http://aoba.example/'{{/if}}>"
	      "y</a>"),
	    H("<a href='{{#if a}}https://aoba.example/{{else}}https://aoba.example/b{{/if}}'>x"
	      "</a>") },
	{ "no-contact", 1, { .reply_to = "" },
	    { .reply_to = "", .text = TEXT "お問い合わせ: https://aoba.example/help" } },
	{ "no-from-name", 1, { .from = "n@aoba.example" }, { 0 } },
	{ "no-list", 1, { .list = "" }, { 0 } },
	{ "no-list-unsubscribe", 1, { .unsubscribe = LINT_UNSUBSCRIBE_NONE },
	    { .unsubscribe = LINT_UNSUBSCRIBE_MAILTO } },
	{ "no-one-click", 1, { .unsubscribe = LINT_UNSUBSCRIBE_MAILTO }, { 0 } },
	{ "no-one-click", 1, { .unsubscribe = LINT_UNSUBSCRIBE_HTTP },
	    { .unsubscribe = LINT_UNSUBSCRIBE_NONE } },
	{ "no-optout-words", 1,
	    { .text = "Aoba Store K.K. 980-0000 https://aoba.example/ {{unsubscribe_url}}" },
	    { .text = "Aoba Store K.K. 980-0000 配信停止 {{unsubscribe_url}}" } },
	{ "no-postal-address", 1,
	    { .text = "Aoba Store, telephone 022-123-4567\nUnsubscribe: {{unsubscribe_url}}" },
	    { .text = "Aoba Store, 仙台市青葉区１丁目\nUnsubscribe: {{unsubscribe_url}}" } },
	{ "no-postal-address", 1,
	    { .text = "Aoba Store, Sendai\nUnsubscribe: {{unsubscribe_url}}" },
	    { .text = "Aoba 会社概要 https://a.example\nUnsubscribe: {{unsubscribe_url}}" } },
	{ "no-postal-address", 1,
	    { .text = "Aoba Store, 12 months\nUnsubscribe: {{unsubscribe_url}}" },
	    { .text = "Aoba Store, p.o. box 7\nUnsubscribe: {{unsubscribe_url}}" } },
	{ "no-preheader", 1, { .html = HEAD WORDS PREHEADER FOOT END }, { 0 } },
	{ "no-reply", 1, { .from = "Aoba Store <No-Reply@aoba.example>", .reply_to = "" },
	    { .from = "Aoba Store <No-Reply@aoba.example>" } },
	{ "no-reply", 1, { .reply_to = "reply_to = noreply@aoba.example" }, { 0 } },
	{ "no-sender-name", 1, { .from = "News! <n@aoba.example>", .text = "{{unsubscribe_url}}" },
	    { .from = "News! <n@aoba.example>", .text = "有限会社青葉 {{unsubscribe_url}}" } },
	{ "no-text-part", 1, { .text = "" }, { 0 } },
	{ "no-unsubscribe-link", 2,
	    { .html = HEAD PREHEADER WORDS "<a href='https://aoba.example/x'>Unsubscribe</a>" END,
		.text = "unsubscribe: https://aoba.example/x" },
	    { .html = HEAD PREHEADER WORDS "<a href='https://aoba.example/optout'>x</a>" END,
		.text = "{{amazonSESUnsubscribeUrl}}" } },
	{ "not-looked-up", 1, { .html = HTML("{{city}}"), .not_asked = "no database" },
	    { .not_asked = "no database" } },
	{ "not-looked-up", 1, { .unsubscribe = UNKNOWN, .not_asked = "no database" },
	    { .unsubscribe = UNKNOWN } },
	{ "over-3mb", 1, { .pad = 3000000 }, { .pad = 2900000 } },
	{ "over-102kb", 1, { .pad = 102 << 10 }, { .pad = 95 << 10 } },
	{ "over-size", 1, { .too_large = "the relay takes less" }, { 0 } },
	{ "ses-content", 1, { .html = HTML("{{name}}}"), .content = SES_CONTENT_BULK },
	    { .html = HTML("{{name}}}"), .content = SES_CONTENT_SIMPLE } },
	{ "ses-content", 1, { .text = TEXT "\\{{name}}", .content = SES_CONTENT_BULK },
	    { .content = SES_CONTENT_BULK } },
	{ "subject-encoding", 1, { .subject = "=?UTF-8?B?5pel?=" }, { .subject = "A & B = ?" } },
	{ "subject-encoding", 1, { .subject = "A &amp; B" }, { 0 } },
	{ "subject-long", 1,
	    { .subject = "十一月のお知らせ十一月のお知らせ十一月のお知らせ十一月のお知らせ十一月の"
			 "お知らせ" },
	    { .subject = "十一月のお知らせ十一月のお知らせ十一月のお知らせ十一月のお知らせ" } },
	{ "subject-long", 1, { .subject = "{{#unless x}}never here{{/unless}}" },
	    { .subject = "{{#if x}}here{{/if}}" } },
	{ "tag-unsupported", 8,
	    H("<script>1</script><form></form><iframe></iframe><object></object><embed>"
	      "<video></video><p onclick=\"x()\">x</p><a href='javascript:x'>y</a>"),
	    H("<p class='script'>&lt;script&gt; one</p><!-- <form> -->") },
	{ "tracking-words", 3,
	    { .html = HTML("<a href='https://aoba.example/?utm_source=x'>x</a><img "
			   "src='https://aoba.example/o' width='1' height='1' alt=''>"),
		.text = TEXT "HTTPS://aoba.example/{{default x \"a b\"}}?a=1&gclid=2" },
	    H("<img src='https://aoba.example/o' width='10' height='1' alt=''>") },
	{ "url-shortener", 2,
	    { .html = HTML("<a href='https://BIT.LY/x'>x</a>"), .text = TEXT "(https://t.co/x)" },
	    H("<a href='https://rabbit.ly/x'>x</a><a href='https://aoba.example/t.co'>y</a>") },
};

static void
test_clean(void **state)
{
	struct run r;

	(void)state;
	start(&r, &(struct sample){ 0 });
	print_findings(&r);
	assert_int_equal(r.report.count, 0);
	end(&r);
}

/* The findings of the rule, which are told when they are not as many as they should be. */
static bool
finds(size_t i, const struct sample *sample, size_t times)
{
	struct run r;
	bool ok;

	start(&r, sample);
	ok = found(&r, cases[i].rule) == times;
	if (!ok) {
		print_message("case %zu: %s found %zu times, not %zu\n", i, cases[i].rule,
		    found(&r, cases[i].rule), times);
		print_findings(&r);
	}
	end(&r);
	return ok;
}

static void
test_each_rule(void **state)
{
	bool ok = true;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ok &= finds(i, &cases[i].bad, cases[i].times);
		ok &= finds(i, &cases[i].good, 0);
	}
	assert_true(ok);
}

static void
test_each_rule_has_a_case(void **state)
{
	size_t count;
	const struct lint_rule *rules = lint_rules(&count);

	(void)state;
	for (size_t i = 0; i < count; i++) {
		size_t n = 0;

		for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++)
			n += strcmp(cases[k].rule, rules[i].id) == 0;
		if (n == 0)
			fail_msg("no case for %s", rules[i].id);
		assert_ptr_equal(lint_rule_by_id(rules[i].id), &rules[i]);
		assert_true(strlen(rules[i].advice) > 10 && rules[i].example[0] != '\0');
		assert_true(i == 0 || strcmp(rules[i - 1].id, rules[i].id) < 0 ||
		    strncmp(rules[i].id, "over-", 5) == 0);
	}
	assert_null(lint_rule_by_id("none"));
}

/* ---------------------------------------------------------------- places */

static const struct lint_finding *
first(const struct run *r, const char *rule)
{
	for (size_t i = 0; i < r->report.count; i++)
		if (strcmp(r->report.findings[i].rule->id, rule) == 0)
			return &r->report.findings[i];
	fail_msg("no finding of %s", rule);
	return NULL;
}

static void
test_places(void **state)
{
	const struct sample s = { .subject = "=?UTF-8?B?5pel?=",
		.html =
		    "<p>日本</p>\n{{#if a}}<td {{else}}<td {{/if}}bgcolor=\"{{default c \"x>\"}}\" "
		    "background='日/x.png'></td>\n 日<script>" };
	const struct lint_finding *f;
	struct run r;

	(void)state;
	start(&r, &s);
	f = first(&r, "link-relative");
	assert_string_equal(f->file, "html");
	assert_int_equal(f->line, 2);
	assert_int_equal(f->column, 74);
	f = first(&r, "tag-unsupported");
	assert_int_equal(f->line, 3);
	assert_int_equal(f->column, 4);
	f = first(&r, "subject-encoding");
	assert_string_equal(f->file, "x.campaign");
	assert_int_equal(f->line, 4);
	assert_int_equal(f->column, 0);
	r.source.file.template = "t.json";
	r.source.file.template_line = 6;
	arena_release(&r.arena);
	lint(&r, &s);
	f = first(&r, "subject-encoding");
	assert_string_equal(f->file, "x.campaign");
	assert_int_equal(f->line, 6);
	/* errors come first */
	assert_int_equal(r.report.findings[0].rule->severity, LINT_ERROR);
	assert_int_equal(r.report.by_severity[LINT_ERROR] + r.report.by_severity[LINT_WARNING] +
		r.report.by_severity[LINT_NOTE],
	    r.report.count);
	end(&r);
}

static void
test_partial_stands_where_it_is_used(void **state)
{
	const struct sample s = { .html =
				      HTML("{{> open}}x{{> row}}{{> row}}{{> shut}}"
					   "{{#*inline \"open\"}}<table>{{/inline}}"
					   "{{#*inline \"row\"}}<tr><td><b>x</td></tr>{{/inline}}"
					   "{{#*inline \"shut\"}}</table>{{/inline}}") };
	struct run r;

	(void)state;
	start(&r, &s);
	assert_int_equal(found(&r, "html-unbalanced"), 1); /* <b>, told once */
	end(&r);
}

static void
test_many_findings_are_cut(void **state)
{
	struct sample s = { 0 };
	struct run r;
	struct buf html;

	(void)state;
	buf_init(&html, 1 << 20);
	for (int i = 0; i < 1000; i++)
		buf_append_str(&html, "<script></script>\x01\n");
	s.html = buf_str(&html);
	start(&r, &s);
	assert_int_equal(found(&r, "tag-unsupported"), LINT_RULE_FINDINGS_MAX);
	for (size_t i = 0; i < r.report.count; i++)
		assert_null(strpbrk(r.report.findings[i].text, "\x01\r\n"));
	end(&r);
	buf_release(&html);
}

static void
test_transactional_needs_no_link(void **state)
{
	struct sample s = { .html = HEAD PREHEADER WORDS END, .text = "Aoba Store: paid" };
	struct run r;

	(void)state;
	make(&r, &s);
	r.source.file.stream = "transactional";
	lint(&r, &s);
	assert_int_equal(found(&r, "no-unsubscribe-link") + found(&r, "no-optout-words") +
		found(&r, "no-postal-address"),
	    0);
	end(&r);
}

static void
test_html_walk(void **state)
{
	static const enum lint_node_kind kinds[] = { LINT_TEXT, LINT_OPEN, LINT_TEXT, LINT_FIELD,
		LINT_CLOSE, LINT_IF, LINT_OPEN, LINT_ELSE, LINT_OPEN, LINT_END, LINT_OPEN,
		LINT_STYLE, LINT_CLOSE, LINT_TEXT };
	struct lint_html html;
	struct arena arena;
	struct err err;

	(void)state;
	arena_init(&arena, 1 << 20);
	assert_int_equal(lint_html_read(&html,
			     SLICE("a < b<p CLASS = x id='y'>1{{{f}}}</p>{{#if x}}<br/>"
				   "{{else}}<br>{{/if}}{{! <i> }}<!-- <i> --><style>a</b>c"
				   "</style>z"),
			     &arena, &err),
	    0);
	/* the end of another tag cuts a style in two */
	assert_int_equal(html.count, sizeof(kinds) / sizeof(kinds[0]) + 1);
	for (size_t i = 0; i < 12; i++)
		assert_int_equal(html.nodes[i].kind, kinds[i]);
	assert_memory_equal(html.nodes[1].text.ptr, "p", html.nodes[1].text.len);
	assert_memory_equal(lint_attr(&html.nodes[1], "class")->ptr, "x", 1);
	assert_int_equal(lint_attr(&html.nodes[1], "id")->len, 1);
	assert_null(lint_attr(&html.nodes[1], "i"));
	assert_true(html.nodes[6].self_closed);
	assert_false(html.nodes[8].self_closed);
	arena_release(&arena);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clean),
		cmocka_unit_test(test_each_rule),
		cmocka_unit_test(test_each_rule_has_a_case),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_partial_stands_where_it_is_used),
		cmocka_unit_test(test_many_findings_are_cut),
		cmocka_unit_test(test_transactional_needs_no_link),
		cmocka_unit_test(test_html_walk),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
