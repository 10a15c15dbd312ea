/* SPDX-License-Identifier: Apache-2.0 */
/*
 * message: whole messages, checked as bytes and lines; and what is refused. With the variable
 * KAIRAN_EML_DIR set, samples and their expected values are written there for
 * tests/integration/message_roundtrip.py.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "addr.h"
#include "message.h"

static struct arena arena;
static struct buf out;
static struct message_result result;
static struct err last_err;

static struct message_source
base_source(void)
{
	return (struct message_source){ .from_name = SLICE("Example"),
		.from_addr = SLICE("news@example.jp"),
		.subject = SLICE("Hello {{name}}"),
		.text = SLICE("Dear {{name}}\n"),
		.message_id_domain = SLICE("mail.example.jp"),
		.zone_minutes = 540 };
}

static struct message_recipient
base_recipient(const struct template_value *values, size_t count)
{
	return (struct message_recipient){ .to_addr = SLICE("a@b.jp"),
		.values = values,
		.value_count = count,
		.message_id_left = SLICE("left"),
		.id_token = SLICE("idtoken"),
		.unsubscribe_token = SLICE("untoken"),
		.date = 1751328307,
		.run = 7,
		.campaign = SLICE("July") };
}

static bool utf8_recipient;

/* No line above its limit, none begins with ".", CRLF everywhere, 7-bit, ends in CRLF. */
static void
check_wire(struct slice m)
{
	size_t from = 0;

	assert_true(m.len > 2 && m.ptr[m.len - 1] == '\n');
	for (size_t i = 0; i < m.len; i++) {
		/* but for an address in To */
		assert_true((m.ptr[i] > 0 && (unsigned char)m.ptr[i] < 0x7f) ||
		    (m.ptr[i] < 0 && i < result.body_offset && utf8_recipient));
		assert_true(m.ptr[i] != 0x1b || (result.is_jis && i > result.body_offset));
		assert_true(m.ptr[i] != '\r' || (i + 1 < m.len && m.ptr[i + 1] == '\n'));
		if (m.ptr[i] != '\n')
			continue;
		assert_true(i > 0 && m.ptr[i - 1] == '\r');
		assert_true(i - 1 - from <= (from < result.body_offset ? 998 : 78));
		assert_true(m.ptr[from] != '.');
		assert_true(i - from < 5 || memcmp(m.ptr + from, "From ", 5) != 0);
		from = i + 1;
	}
	assert_int_equal(from, m.len);
	assert_memory_equal(m.ptr + result.body_offset - 4, "\r\n\r\n", 4);
	assert_ptr_equal(memmem(m.ptr, m.len, "\r\n\r\n", 4), m.ptr + result.body_offset - 4);
}

/* Compiles, renders for one recipient with values by name order; "" when refused. */
static const char *
compose_to(const struct message_source *source, const struct message_recipient *to)
{
	struct message_plan *plan;

	arena_reset(&arena);
	utf8_recipient = addr_needs_utf8(to->to_addr);
	buf_reset(&out);
	last_err = (struct err){ 0 };
	if (message_compile(source, &arena, &plan, &last_err) != 0) {
		assert_null(plan);
		assert_true(last_err.msg[0] != '\0');
		return "";
	}
	if (message_render(plan, to, &out, &result) != TEMPLATE_OK)
		assert_int_equal(out.len, 0);
	else
		check_wire(buf_slice(&out));
	return buf_str(&out);
}

static const char *
compose(const struct message_source *source, const char *value)
{
	struct template_value v = { slice_str(value), value != NULL };
	struct message_recipient to = base_recipient(&v, 1);

	return compose_to(source, &to);
}

#define assert_has(text, part) assert_non_null(strstr(text, part))
#define assert_has_not(text, part) assert_null(strstr(text, part))

static void
test_text_only(void **state)
{
	struct message_source s = base_source();

	(void)state;
	assert_string_equal(compose(&s, "Aki"),
	    "X-Kairan-Id: idtoken\r\n"
	    "Date: Tue, 01 Jul 2025 09:05:07 +0900\r\n"
	    "From: Example <news@example.jp>\r\n"
	    "To: a@b.jp\r\n"
	    "Subject: Hello Aki\r\n"
	    "Message-ID: <left@mail.example.jp>\r\n"
	    "X-Kairan-Campaign: 7; July\r\n"
	    "MIME-Version: 1.0\r\n"
	    "Content-Type: text/plain; charset=UTF-8\r\n"
	    "Content-Transfer-Encoding: quoted-printable\r\n"
	    "\r\n"
	    "Dear=20Aki\r\n");
	assert_int_equal(result.cleaned, 0);
}

static void
test_all_headers(void **state)
{
	struct message_source s = base_source();
	const struct message_header extra[] = { { SLICE("Precedence"), SLICE("bulk") },
		{ SLICE("List-Help"), SLICE("<https://example.jp/help>") },
		{ SLICE("X-Note"), SLICE("日本") } };
	const char *m, *at = NULL;
	static const char *const order[] = { "X-Kairan-Id: idtoken\r\n",
		"\r\nDate: ", "\r\nFrom: ", "\r\nTo: ", "\r\nReply-To: reply@example.jp\r\n",
		"\r\nSubject: ", "\r\nMessage-ID: ",
		"\r\nList-Unsubscribe: <https://u.example.jp/u/untoken>,\r\n "
		"<mailto:u+untoken@bounce.example.jp>\r\n",
		"\r\nX-Kairan-Campaign: ",
		"\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n",
		"\r\nList-Id: \"Example, News\" <news.example.jp>\r\n",
		"\r\nFeedback-ID: 7:july:example\r\n", "\r\nAuto-Submitted: auto-generated\r\n",
		"\r\nPrecedence: bulk\r\n", "\r\nList-Help: <https://example.jp/help>\r\n",
		"\r\nX-Note: =?UTF-8?B?5pel5pys?=\r\n", "\r\nMIME-Version: 1.0\r\n" };

	(void)state;
	s.reply_to = SLICE("reply@example.jp");
	s.unsubscribe_url_base = SLICE("https://u.example.jp/u");
	s.unsubscribe_mailto_domain = SLICE("bounce.example.jp");
	s.list_id = SLICE("news.example.jp");
	s.list_name = SLICE("Example, News");
	s.feedback_id = SLICE("7:july:example");
	s.auto_submitted = true;
	s.headers = extra;
	s.header_count = 3;
	m = compose(&s, "Aki");
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		const char *p = strstr(m, order[i]);

		if (p == NULL || p < at)
			fail_msg("not there, or not in order: %s in %s", order[i], m);
		at = p;
	}
}

static void
test_unsubscribe(void **state)
{
	struct message_source s = base_source();
	const char *m;

	(void)state;
	s.text = SLICE("{{unsubscribe_url}} {{campaign}} {{name}}");
	s.unsubscribe_mailto_domain = SLICE("bounce.example.jp");
	m = compose(&s, "Aki");
	assert_has(m, "\r\nList-Unsubscribe: <mailto:u+untoken@bounce.example.jp>\r\n");
	assert_has_not(m, "List-Unsubscribe-Post");
	assert_has(m, "\r\nmailto:u+untoken@bounce.example.jp=20July=20Aki\r\n");
	s.unsubscribe_mailto_domain = SLICE("");
	s.unsubscribe_url_base = SLICE("http://127.0.0.1:8080/u?t=");
	m = compose(&s, "Aki");
	assert_has(m, "\r\nList-Unsubscribe: <http://127.0.0.1:8080/u?t=untoken>\r\n");
	assert_has_not(m, "List-Unsubscribe-Post");
	s.unsubscribe_url_base = SLICE("");
	assert_string_equal(compose(&s, "Aki"), "");
	assert_int_equal(result.status, TEMPLATE_MISSING_FIELD);
	assert_true(slice_equal(result.field, SLICE("unsubscribe_url")));
}

static void
test_alternative(void **state)
{
	struct message_source s = base_source();
	const char *m, *text, *html;

	(void)state;
	s.html = SLICE("<p>Dear {{name}}</p>");
	m = compose(&s, "A<i>\"");
	assert_has(m, "Content-Type: multipart/alternative;\r\n boundary=\"=_k");
	text = strstr(m, "Content-Type: text/plain; charset=UTF-8\r\n");
	html = strstr(m, "Content-Type: text/html; charset=UTF-8\r\n");
	assert_true(text != NULL && html != NULL && text < html);
	assert_has(text, "\r\n\r\nDear=20A<i>\"\r\n--=_k");
	assert_has(html, "\r\n\r\n<p>Dear=20A&lt;i&gt;&quot;</p>\r\n--=_k");
	assert_memory_equal(m + out.len - 4, "--\r\n", 4);
}

static void
test_japanese_is_base64(void **state)
{
	struct message_source s = base_source();
	const char *m;

	(void)state;
	s.text = SLICE("こんにちは、{{name}}様。\n");
	m = compose(&s, "山田");
	assert_has(m, "Content-Transfer-Encoding: base64\r\n");
	assert_has(m, "\r\n\r\n44GT44KT44Gr44Gh44Gv44CB5bGx55Sw5qeY44CCDQo=\r\n");
	/* the same text without a field is encoded beforehand */
	s.text = SLICE("こんにちは、山田様。\n");
	s.subject = SLICE("x");
	m = compose(&s, NULL);
	assert_has(m, "\r\n\r\n44GT44KT44Gr44Gh44Gv44CB5bGx55Sw5qeY44CCDQo=\r\n");
	/* the text's own letters decide, not the field's */
	s.text = SLICE("Dear {{name}}");
	m = compose(&s, "山");
	assert_has(m, "\r\n\r\nDear=20=E5=B1=B1\r\n");
}

static void
test_injection(void **state)
{
	static const char *const evil[] = { "x\r\nBcc: e@evil.jp", "x\nBcc: e@evil.jp",
		"x\rBcc: e@evil.jp",
		"x\xe2\x80\xa8"
		"Bcc: e@evil.jp",
		"x\xc2\x85"
		"Bcc: e@evil.jp",
		"x\xe2\x80\xa9"
		"Bcc: e@evil.jp",
		"x\r\n\r\nBcc: e@evil.jp",
		"x\x1b"
		"Bcc: e@evil.jp" };
	struct message_source s = base_source();

	(void)state;
	for (size_t i = 0; i < sizeof(evil) / sizeof(evil[0]); i++) {
		struct template_value v = { SLICE("ok"), true };
		struct message_recipient to = base_recipient(&v, 1);
		const char *m;

		v.text = slice_str(evil[i]);
		m = compose_to(&s, &to);
		assert_has(m, "\r\nSubject: Hello x Bcc: e@evil.jp\r\n");
		assert_int_equal(result.cleaned, 1);
		v.text = SLICE("ok");
		to.to_name = slice_str(evil[i]);
		m = compose_to(&s, &to);
		assert_has(m, "\r\nTo: \"x Bcc: e@evil.jp\" <a@b.jp>\r\n");
		assert_int_equal(result.cleaned, 1);
		to.to_name = SLICE("");
		to.campaign = slice_str(evil[i]);
		m = compose_to(&s, &to);
		assert_has(m, "\r\nX-Kairan-Campaign: 7; x Bcc: e@evil.jp\r\n");
		assert_int_equal(result.cleaned, 1);
		to.campaign = SLICE("July");
		to.to_addr = slice_str(evil[i]);
		assert_string_equal(compose_to(&s, &to), "");
		assert_int_equal(result.status, TEMPLATE_BAD_DATA);
		assert_true(slice_equal(result.field, SLICE("to_addr")));
	}
}

/* U+202E turns what follows around: "gro.live@a" would read as another address. */
static void
test_bidi_names(void **state)
{
	struct template_value v = { SLICE("ok"), true };
	struct message_recipient to = base_recipient(&v, 1);
	struct message_source s = base_source();
	const char *m;

	(void)state;
	to.to_name = SLICE("Ta\xe2\x80\xae"
			   "ro\xe2\x81\xa9");
	to.campaign = SLICE("\xe2\x81\xa6July");
	m = compose_to(&s, &to);
	assert_has(m, "\r\nTo: Taro <a@b.jp>\r\n");
	assert_has(m, "\r\nX-Kairan-Campaign: 7; July\r\n");
	assert_int_equal(result.cleaned, 3);
}

static void
test_bad_recipients(void **state)
{
	struct message_source s = base_source();
	static const struct slice bad[] = { { "", 0 }, { "a b", 3 }, { "a>", 2 }, { "a\r\n", 3 },
		{ "a\0", 2 }, { "\xe3\x81\x82", 3 }, { "a@b", 3 } };
	struct template_value v = { SLICE("a\0b"), true };
	struct message_recipient to = base_recipient(&v, 1);

	(void)state;
	assert_string_equal(compose_to(&s, &to), "");
	assert_int_equal(result.status, TEMPLATE_BAD_DATA);
	assert_true(slice_equal(result.field, SLICE("name")));
	v.text = SLICE("ok");
	to.to_name = SLICE("a\0b");
	assert_string_equal(compose_to(&s, &to), "");
	assert_true(slice_equal(result.field, SLICE("to_name")));
	to.to_name = SLICE("\xff");
	assert_string_equal(compose_to(&s, &to), "");
	assert_int_equal(result.status, TEMPLATE_BAD_DATA);
	to.to_name = SLICE("");
	s.unsubscribe_url_base = SLICE("https://e.jp/");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		to = base_recipient(&v, 1);
		to.id_token = bad[i];
		assert_string_equal(compose_to(&s, &to), "");
		assert_true(slice_equal(result.field, SLICE("id_token")));
		to = base_recipient(&v, 1);
		to.message_id_left = bad[i];
		assert_string_equal(compose_to(&s, &to), "");
		assert_true(slice_equal(result.field, SLICE("message_id_left")));
		to = base_recipient(&v, 1);
		to.unsubscribe_token = bad[i];
		assert_string_equal(compose_to(&s, &to), "");
		assert_true(slice_equal(result.field, SLICE("unsubscribe_token")));
	}
	assert_string_equal(compose(&s, NULL), "");
	assert_int_equal(result.status, TEMPLATE_MISSING_FIELD);
	assert_true(slice_equal(result.field, SLICE("name")));
}

static void
test_failure_keeps_the_front(void **state)
{
	struct message_source s = base_source();
	struct template_value v = { SLICE("x"), true };
	struct message_recipient to = base_recipient(&v, 1);
	struct message_plan *plan;

	(void)state;
	arena_reset(&arena);
	buf_reset(&out);
	assert_int_equal(message_compile(&s, &arena, &plan, &last_err), 0);
	buf_append_str(&out, "front");
	assert_int_equal(message_render(plan, &to, &out, &result), TEMPLATE_OK);
	assert_memory_equal(out.data, "frontX-Kairan-Id: ", 18);
	assert_memory_equal(out.data + 5 + result.body_offset, "Dear", 4);
	out.len = 5;
	v.present = false;
	assert_int_equal(message_render(plan, &to, &out, &result), TEMPLATE_MISSING_FIELD);
	assert_string_equal(buf_str(&out), "front");
}

static void
test_full_buffer(void **state)
{
	struct message_source s = base_source();
	struct template_value v = { SLICE("山田"), true };
	struct message_recipient to = base_recipient(&v, 1);
	struct message_plan *plan;
	struct buf small;

	(void)state;
	s.text = SLICE("こんにちは、{{name}}様。{{name}}\n");
	s.html =
	    SLICE("<p>Hello {{name}}, this is a line of some length, so that it is folded</p>");
	arena_reset(&arena);
	assert_int_equal(message_compile(&s, &arena, &plan, &last_err), 0);
	for (size_t max = 0; max < 4096; max += 7) {
		buf_init(&small, max);
		if (message_render(plan, &to, &small, &result) == TEMPLATE_TOO_LARGE)
			assert_int_equal(small.len, 0);
		else
			assert_true(max > 500 || small.len > 500);
		buf_release(&small);
	}
}

static void
refused(const struct message_source *s, const char *msg)
{
	assert_string_equal(compose(s, "x"), "");
	if (strstr(last_err.msg, msg) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", msg, last_err.msg);
}

static void
test_tracking(void **state)
{
	struct template_value v = { SLICE("ok"), true };
	struct message_recipient to = base_recipient(&v, 1);
	struct message_source s = base_source();
	const char *m;

	(void)state;
	s.html = SLICE("<a href=\"https://a.jp/\">x</a> {{view_url}}");
	s.text = SLICE("");
	to.view_token = SLICE("vvv");
	to.track_token = SLICE("ttt");
	m = compose_to(&s, &to);
	assert_int_equal(result.status, TEMPLATE_MISSING_FIELD); /* no web_base */
	assert_true(slice_equal(result.field, SLICE("view_url")));
	s.web_base = SLICE("https://w.jp");
	m = compose_to(&s, &to);
	assert_has(m, "https://w.jp/v/vvv");
	assert_null(strstr(m, "ttt"));
	s.track_clicks = true;
	m = compose_to(&s, &to);
	assert_has(m, "href=3D\"https://w.jp/k/ttt/");
	assert_has(m, "https://a.jp/"); /* the text made from it keeps its links */
	s.track_opens = true;
	s.html = SLICE("x");
	m = compose_to(&s, &to);
	assert_has(m, "x<img src=3D\"https://w.jp/o/ttt");
	to.track_token = SLICE("t t");
	(void)compose_to(&s, &to);
	assert_int_equal(result.status, TEMPLATE_BAD_DATA);
	s.web_base = SLICE("");
	refused(&s, "web.base: ");
	s.web_base = SLICE("ftp://x");
	refused(&s, "web.base: ");
}

static void
test_compile_errors(void **state)
{
	struct message_source s = base_source();

	(void)state;
	s.html = SLICE("<p>\n{{#if a}}");
	refused(&s, "html: line 2, column 1: #if is not closed: write {{/if}}: \"a\"");
	s.text = SLICE("");
	refused(&s, "html: line 2, column 1: #if is not closed: write {{/if}}: \"a\"");
	s = base_source();
	s.subject = SLICE("{{a b}}");
	refused(&s, "subject: line 1, column 3: ");
	s = base_source();
	s.text = SLICE("\n\n{{/if}}");
	refused(&s, "text: line 3, column 1: ");
	s = base_source();
	s.text = SLICE("");
	refused(&s, "html or text is needed");
	s = base_source();
	s.from_addr = SLICE("news@example.jp\r\nBcc: x");
	refused(&s, "from: ");
	s.from_addr = SLICE("news");
	refused(&s, "from: ");
	s = base_source();
	s.from_name = SLICE("a\nb");
	refused(&s, "from: ");
	s = base_source();
	s.reply_to = SLICE("a@b.jp, c@d.jp");
	refused(&s, "reply_to: ");
	s = base_source();
	s.message_id_domain = SLICE("a b");
	refused(&s, "message_id_domain: ");
	s = base_source();
	s.unsubscribe_url_base = SLICE("ftp://x/");
	refused(&s, "unsubscribe_url_base: ");
	s.unsubscribe_url_base = SLICE("https://x/>,<y");
	refused(&s, "unsubscribe_url_base: ");
	s = base_source();
	s.list_id = SLICE("a>b");
	refused(&s, "list_id: ");
	s = base_source();
	s.feedback_id = SLICE("a\r\nb");
	refused(&s, "feedback_id: ");
}

static void
test_extra_headers(void **state)
{
	static const char *const bad[] = { "From", "bcc", "Content-Type", "X-Kairan-Id",
		"DKIM-Signature", "A B", "", "X:", "Return-Path", "Subject", "Received" };
	struct message_header h[2] = { { SLICE("X-A"), SLICE("b") }, { SLICE("x-a"), SLICE("c") } };
	struct message_source s = base_source();

	(void)state;
	s.headers = h;
	s.header_count = 2;
	refused(&s, "given twice");
	s.header_count = 1;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		h[0].name = slice_str(bad[i]);
		refused(&s, "extra header");
	}
	h[0].name = SLICE("X-A");
	h[0].value = SLICE("b\r\nBcc: x");
	refused(&s, "extra header X-A: ");
}

static void
test_plan_facts(void **state)
{
	struct message_source s = base_source();
	struct message_plan *plan;
	const struct slice *names;
	size_t count;

	(void)state;
	arena_reset(&arena);
	s.html = SLICE("{{b}}{{{a}}}<a href=\"{{unsubscribe_url}}\">x</a>{{campaign}}");
	assert_int_equal(message_compile(&s, &arena, &plan, &last_err), 0);
	names = message_fields(plan, &count);
	assert_int_equal(count, 3);
	assert_true(slice_equal(names[0], SLICE("name")));
	assert_true(slice_equal(names[1], SLICE("b")));
	assert_true(slice_equal(names[2], SLICE("a")));
	assert_int_equal(message_raw_fields(plan), 1);
}

static void
test_text_from_html(void **state)
{
	struct message_source s = base_source();
	struct message_plan *plan;

	(void)state;
	s.text = SLICE("");
	s.html = SLICE("<p>Hi {{name}}</p><ul><li>{{{a}}}</ul>");
	assert_int_equal(message_compile(&s, &arena, &plan, &last_err), 0);
	assert_true(slice_equal(message_text_source(plan), SLICE("Hi {{name}}\n\n- {{{a}}}\n")));
}

/* --- structure --- */

static size_t
at(const char *m, const char *part)
{
	const char *p = strstr(m, part);

	if (p == NULL)
		fail_msg("\"%s\" is not in:\n%s", part, m);
	return (size_t)(p - m);
}

/* mixed( alternative( text, related( html, image ) ), attachment ), with the boundaries closed
 * from the inside out */
static void
test_structure(void **state)
{
	static const struct attach files[] = { { SLICE("logo.png"), SLICE("image/png"),
						   SLICE("logo@x"), SLICE("P") },
		{ SLICE("a.pdf"), SLICE("application/pdf"), SLICE(""), SLICE("D") } };
	static const char *const order[] = { "MIME-Version: 1.0\r\nContent-Type: multipart/mixed;",
		"Content-Type: multipart/alternative;", "Content-Type: text/plain;",
		"Content-Type: multipart/related; type=\"text/html\";", "Content-Type: text/html;",
		"Content-ID: <logo@x>", "--=_kr", "--=_ka", "Content-Type: application/pdf" };
	struct message_source s = base_source();
	const char *m;
	size_t last = 0;

	(void)state;
	s.html = SLICE("<img src=\"cid:logo@x\">{{name}}");
	s.files = files;
	s.file_count = 2;
	m = compose(&s, "Aki");
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
		last += at(m + last, order[i]) + 1;
	assert_has(m, "--\r\n--=_km");
	s.file_count = 1;
	assert_has_not(compose(&s, "Aki"), "multipart/mixed");
	s.files = files + 1;
	assert_has_not(compose(&s, "Aki"), "multipart/related");
	s.html = SLICE("");
	m = compose(&s, "Aki");
	assert_has_not(m, "multipart/alternative");
	assert_true(at(m, "multipart/mixed") < at(m, "text/plain"));
	assert_true(at(m, "text/plain") < at(m, "application/pdf"));
}

static void
test_bad_files(void **state)
{
	struct attach files[ATTACH_COUNT_MAX + 1];
	struct message_source s = base_source();
	char *large = malloc(ATTACH_BYTES_MAX);

	(void)state;
	assert_non_null(large);
	memset(large, 'x', ATTACH_BYTES_MAX);
	for (size_t i = 0; i <= ATTACH_COUNT_MAX; i++)
		files[i] = (struct attach){ SLICE("a.pdf"), SLICE("application/pdf"), SLICE(""),
			SLICE("x") };
	s.files = files;
	s.file_count = ATTACH_COUNT_MAX + 1;
	refused(&s, "more than 20 files");
	s.file_count = 2;
	files[0].bytes = slice_make(large, ATTACH_BYTES_MAX);
	refused(&s, "larger than 10 MB");
	files[0].bytes = SLICE("x");
	files[1].name = SLICE("a\r\nBcc: x");
	refused(&s, "file ");
	files[1] = (struct attach){ SLICE("a.png"), SLICE("image/png"), SLICE("a@x"), SLICE("x") };
	refused(&s, "no html");
	free(large);
}

static void
test_sender_and_reply_to(void **state)
{
	struct message_source s = base_source();
	const char *m;

	(void)state;
	s.sender_name = SLICE("事務局");
	s.sender_addr = SLICE("office@example.jp");
	s.reply_to_name = SLICE("Desk, \"A\"");
	s.reply_to = SLICE("desk@example.jp");
	m = compose(&s, "Aki");
	assert_has(m, "\r\nSender: =?UTF-8?B?5LqL5YuZ5bGA?= <office@example.jp>\r\n");
	assert_has(m, "\r\nReply-To: \"Desk, \\\"A\\\"\" <desk@example.jp>\r\n");
	s.sender_addr = SLICE("NEWS@example.jp");
	assert_has_not(compose(&s, "Aki"), "Sender:");
	s.sender_addr = SLICE("a@b.jp, c@d.jp");
	refused(&s, "sender: ");
}

/* --- ISO-2022-JP --- */

static struct message_source
jis_source(void)
{
	static const struct slice domains[] = { { "b.jp", 4 } };
	struct message_source s = base_source();

	s.from_name = SLICE("回覧");
	s.subject = SLICE("{{name}}様");
	s.jis_domains = domains;
	s.jis_domain_count = 1;
	return s;
}

static void
test_jis_message(void **state)
{
	struct message_source s = jis_source();
	const char *m = compose(&s, "漢字");

	(void)state;
	assert_true(result.is_jis);
	assert_false(result.jis_failed);
	assert_has(m, "\r\nFrom: =?ISO-2022-JP?B?GyRCMnNNdxsoQg==?= <news@example.jp>\r\n");
	assert_has(m, "\r\nSubject: =?ISO-2022-JP?B?GyRCNEE7ek1NGyhC?=\r\n");
	assert_has(m,
	    "charset=ISO-2022-JP\r\nContent-Transfer-Encoding: 7bit\r\n\r\n"
	    "Dear \x1b$B4A;z\x1b(B\r\n");
	assert_has_not(m, "UTF-8");
}

static void
test_jis_for_its_domains_only(void **state)
{
	struct message_source s = jis_source();
	struct template_value v = { SLICE("漢字"), true };
	struct message_recipient to = base_recipient(&v, 1);

	(void)state;
	to.to_addr = SLICE("a@other.jp");
	assert_has_not(compose_to(&s, &to), "ISO-2022-JP");
	to.to_addr = SLICE("a@sub.b.jp");
	assert_has_not(compose_to(&s, &to), "ISO-2022-JP");
	assert_false(result.jis_failed);
	to.to_addr = SLICE("a@B.JP");
	assert_has(compose_to(&s, &to), "ISO-2022-JP");
}

/* One character without a place, anywhere, and all of it is UTF-8. */
static void
test_jis_falls_back_whole(void **state)
{
	static const char *const none[] = { "😀", "ｶﾞ", "①", "髙", "¥", "é" };
	struct message_source s = jis_source();
	struct template_value v = { SLICE("漢字"), true };
	struct message_recipient to = base_recipient(&v, 1);

	(void)state;
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		assert_has(compose(&s, none[i]), "Subject: =?UTF-8?");
		assert_has_not(buf_str(&out), "ISO-2022-JP");
		assert_false(result.is_jis);
		assert_true(result.jis_failed);
	}
	to.to_name = SLICE("髙橋");
	assert_has_not(compose_to(&s, &to), "ISO-2022-JP");
	s.subject = SLICE("{{name}} 😀");
	assert_has_not(compose(&s, "漢字"), "ISO-2022-JP");
	s.subject = SLICE("fixed 😀");
	assert_has_not(compose(&s, "漢字"), "ISO-2022-JP");
	s = jis_source();
	s.from_name = SLICE("🛒 Shop");
	assert_has_not(compose(&s, "漢字"), "ISO-2022-JP");
	assert_true(result.jis_failed);
}

/* What could be taken for a boundary, a dot or more than a line is put into base64. */
static void
test_jis_fragile_lines(void **state)
{
	static const char *const fragile[] = { "--=_km0", ".", "From a", "x " };
	struct message_source s = jis_source();
	char longer[100];

	(void)state;
	s.text = SLICE("{{name}}\n");
	for (size_t i = 0; i < sizeof(fragile) / sizeof(fragile[0]); i++) {
		assert_has(compose(&s, fragile[i]), "Encoding: base64");
		assert_true(result.is_jis);
	}
	assert_has(compose(&s, "- item"), "Encoding: 7bit");
	memset(longer, 'x', sizeof(longer));
	longer[76] = '\0';
	assert_has(compose(&s, longer), "Encoding: 7bit");
	longer[76] = 'x';
	longer[77] = '\0';
	assert_has(compose(&s, longer), "Encoding: base64");
}

static void
test_jis_with_html_and_files(void **state)
{
	static const struct attach file = { SLICE("a.pdf"), SLICE("application/pdf"), SLICE(""),
		SLICE("D") };
	struct message_source s = jis_source();
	const char *m;

	(void)state;
	s.html = SLICE("<p>{{name}}</p>\n");
	s.files = &file;
	s.file_count = 1;
	m = compose(&s, "漢字");
	assert_true(at(m, "multipart/mixed") < at(m, "multipart/alternative"));
	assert_has(m, "Content-Type: text/html; charset=ISO-2022-JP\r\n");
	assert_has_not(m, "UTF-8");
}

/* --- bad input, by its number in the table of attacks --- */

static size_t
count_lines_with(const char *m, const char *start)
{
	size_t n = 0, len = strlen(start);

	for (const char *p = m; p != NULL; p = strstr(p, "\r\n"), p = p != NULL ? p + 2 : NULL)
		n += strncmp(p, start, len) == 0;
	return n;
}

static void
test_A24_nul_in_a_field(void **state)
{
	struct message_source s = base_source();
	struct template_value v = { slice_make("a\0b", 3), true };
	struct message_recipient to = base_recipient(&v, 1);

	(void)state;
	assert_string_equal(compose_to(&s, &to), "");
	assert_int_equal(result.status, TEMPLATE_BAD_DATA);
	v.text = SLICE("a");
	to.to_name = slice_make("a\0b", 3);
	assert_string_equal(compose_to(&s, &to), "");
	assert_true(slice_equal(result.field, SLICE("to_name")));
	to.to_name = SLICE("");
	to.to_addr = slice_make("a\0b@c.jp", 8);
	assert_string_equal(compose_to(&s, &to), "");
	assert_true(slice_equal(result.field, SLICE("to_addr")));
}

/* Every control character and line separator becomes one space and is counted; no field more. */
static void
test_A25_line_ends_in_header_fields(void **state)
{
	static const char *const breaks[] = { "\r\n", "\n", "\r", "\x0b", "\x0c", "\x7f",
		"\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9", "\r\n\r\n", "\x1b" };
	struct message_source s = jis_source();
	size_t fields = 0;

	(void)state;
	s.text = SLICE("x\n");
	for (size_t i = 0; i < sizeof(breaks) / sizeof(breaks[0]); i++) {
		struct template_value v = { .present = true };
		struct message_recipient to = base_recipient(&v, 1);
		char value[100];
		const char *m;
		size_t n = 0;

		(void)snprintf(value, sizeof(value), "a%sBcc: victim@x.jp", breaks[i]);
		v.text = to.to_name = to.campaign = slice_str(value);
		m = compose_to(&s, &to);
		assert_int_equal(result.cleaned, 3);
		assert_int_equal(count_lines_with(m, "Bcc"), 0);
		for (const char *p = m; p < m + result.body_offset; p = strstr(p, "\r\n") + 2)
			n += *p != ' ';
		assert_true(fields == 0 || n == fields);
		fields = n;
	}
}

/* U+560A and U+010A end in the byte of a line feed when they are cut to eight bits. */
static void
test_A25_characters_that_narrow_to_line_ends(void **state)
{
	struct message_source s = base_source();
	const char *m = compose(&s, "a嘊嘍ĊčBcc: x");

	(void)state;
	assert_has(m, "Subject: =?UTF-8?");
	assert_int_equal(result.cleaned, 0);
	assert_int_equal(count_lines_with(m, "Bcc"), 0);
}

static void
test_A27_body_lines(void **state)
{
	static const char *const bodies[] = { "a\r.\r\nb", "a\n.\nb", ".", "..", "\r.\r",
		"a\n.\r\nMAIL FROM", "\n\r\n\r", "From x", "a\nFrom x", "a \n b\t\n", "" };
	struct message_source s = base_source();

	(void)state;
	for (int japanese = 0; japanese < 2; japanese++) {
		s.text = japanese ? SLICE("こんにちは{{name}}") : SLICE("{{name}}");
		for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++)
			assert_true(compose(&s, bodies[i])[0] != '\0'); /* check_wire */
	}
}

static void
test_A27_line_of_100_kB(void **state)
{
	struct message_source s = base_source();
	struct buf text;

	(void)state;
	buf_init(&text, 200000);
	for (int i = 0; i < 100000; i++)
		buf_append_char(&text, "abc. "[i % 5]);
	s.text = buf_slice(&text);
	assert_true(compose(&s, "x")[0] != '\0');
	buf_release(&text);
}

static void
test_A28_addresses_that_are_more_than_one(void **state)
{
	static const char *const bad[] = { "\"a@evil.com x\"@good.com", "a@b.jp, c@d.jp",
		"a@b@c.jp", "a(x)@b.jp", "a@b(x)evil.jp", "g:a@b.jp;", "<a@b.jp>", "@r.jp:a@b.jp",
		"a b@c.jp", "a@b.jp\r\nBcc: x", "a@[127.0.0.1]", "", "a", "あ@b@c.jp",
		"あ b@c.jp" };
	struct message_source s = base_source();
	struct template_value v = { SLICE("x"), true };
	struct message_recipient to = base_recipient(&v, 1);

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		to.to_addr = slice_str(bad[i]);
		if (compose_to(&s, &to)[0] != '\0')
			fail_msg("%s went out", bad[i]);
		assert_true(slice_equal(result.field, SLICE("to_addr")));
	}
}

/* An address in UTF-8 is the one thing that is not 7-bit; never in ISO-2022-JP (RFC 6532 3.2). */
static void
test_recipient_in_utf8(void **state)
{
	static const struct slice jis = { "b.jp", 4 };
	struct message_source s = base_source();
	struct template_value v = { SLICE("Aki"), true };
	struct message_recipient to = base_recipient(&v, 1);
	const char *m;

	(void)state;
	s.jis_domains = &jis;
	s.jis_domain_count = 1;
	to.to_addr = SLICE("\xe5\xa4\xaa\xe9\x83\x8e@b.jp");
	m = compose_to(&s, &to);
	assert_has(m, "\r\nTo: \xe5\xa4\xaa\xe9\x83\x8e@b.jp\r\n");
	assert_false(result.is_jis);
	to.to_name = SLICE("\xe5\xa4\xaa, A");
	m = compose_to(&s, &to);
	assert_has(m, "?= <\xe5\xa4\xaa\xe9\x83\x8e@b.jp>\r\n");
	to.to_addr = SLICE("a\xc2\x85@b.jp");
	assert_string_equal(compose_to(&s, &to), "");
	to.to_addr = SLICE("a\xe3\x81@b.jp");
	assert_string_equal(compose_to(&s, &to), "");
	to.to_addr = SLICE("a@b.jp");
	s.from_addr = SLICE("\xe5\xa4\xaa@b.jp");
	assert_string_equal(compose_to(&s, &to), "");
	assert_has(last_err.msg, "from: ");
}

static void
test_A33_invalid_utf8_and_large_fields(void **state)
{
	static const char *const bad[] = { "\xff", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80",
		"a\xe3\x81", "\x80" };
	struct message_source s = base_source();
	struct template_value v = { .present = true };
	struct message_recipient to = base_recipient(&v, 1);
	char *large = malloc(1 << 20);

	(void)state;
	assert_non_null(large);
	memset(large, 'x', 1 << 20);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_string_equal(compose(&s, bad[i]), "");
		assert_int_equal(result.status, TEMPLATE_BAD_DATA);
	}
	v.text = slice_make(large, 1 << 20);
	assert_string_equal(compose_to(&s, &to), "");
	assert_int_equal(result.status, TEMPLATE_TOO_LARGE);
	v.text.len = TEMPLATE_VALUE_MAX;
	assert_true(compose_to(&s, &to)[0] != '\0');
	free(large);
}

/* Right-to-left overrides and joiners are text: they travel inside of encoded words. */
static void
test_A32_direction_marks_in_a_subject(void **state)
{
	struct message_source s = base_source();

	(void)state;
	assert_has(compose(&s,
		       "a\xe2\x80\xae"
		       "cba\xe2\x80\x8d"),
	    "Subject: =?UTF-8?");
}

static void
test_A34_fields_are_not_templates(void **state)
{
	struct message_source s = base_source();

	(void)state;
	assert_has(compose(&s, "{{name}} {{#each x}} %s%n {{env}}"),
	    "Dear=20{{name}} {{#each x}} %s%n {{env}}\r\n");
}

/* --- samples for the script --- */

static void
write_json_string(FILE *f, struct slice s)
{
	fputc('"', f);
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		if (c == '"' || c == '\\' || c < 0x20)
			fprintf(f, "\\u%04x", c);
		else
			fputc(c, f);
	}
	fputc('"', f);
}

static void
write_sample(
    const char *dir, unsigned number, struct slice subject, struct slice name, struct slice body)
{
	char path[512];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%04u.eml", dir, number);
	f = fopen(path, "wb");
	assert_non_null(f);
	assert_int_equal(fwrite(out.data, 1, out.len, f), out.len);
	assert_int_equal(fclose(f), 0);
	(void)snprintf(path, sizeof(path), "%s/%04u.json", dir, number);
	f = fopen(path, "wb");
	assert_non_null(f);
	fprintf(f, "{\"headers\":{\"Subject\":");
	write_json_string(f, subject);
	fprintf(f,
	    ",\"X-Kairan-Id\":\"idtoken\",\"Message-ID\":\"<left@mail.example.jp>\","
	    "\"Date\":\"Tue, 01 Jul 2025 09:05:07 +0900\",\"MIME-Version\":\"1.0\"},\"to\":[");
	write_json_string(f, name);
	fprintf(f, ",\"a@b.jp\"],\"text\":");
	write_json_string(f, body);
	fprintf(f, "}\n");
	assert_int_equal(fclose(f), 0);
}

/* Every subject of 1 to 80 units, in several scripts; names and bodies with the same text. */
static void
test_subjects(void **state)
{
	static const char *const units[] = { "a", "ab ", "あ", "😀", "é", "x😀", "a,b\"\\ ", "漢=?" };
	const char *dir = getenv("KAIRAN_EML_DIR");
	struct message_source s = base_source();
	unsigned number = 0;

	(void)state;
	s.subject = SLICE("{{name}}");
	s.text = SLICE("Dear {{name}}, good day.\n.\nFrom here {{name}}\n");
	s.html = SLICE("<p>Dear {{name}}</p>");
	for (size_t u = 0; u < sizeof(units) / sizeof(units[0]); u++) {
		for (size_t n = 1; n <= 80; n++) {
			struct buf value, body;
			struct template_value v = { .present = true };
			struct message_recipient to = base_recipient(&v, 1);

			buf_init(&value, 10000);
			buf_init(&body, 100000);
			for (size_t i = 0; i < n; i++)
				buf_append_str(&value, units[u]);
			v.text = slice_trim(buf_slice(&value));
			to.to_name = v.text;
			buf_printf(&body, "Dear %.*s, good day.\r\n.\r\nFrom here %.*s",
			    SLICE_ARG(v.text), SLICE_ARG(v.text));
			assert_true(compose_to(&s, &to)[0] != '\0');
			if (dir != NULL)
				write_sample(dir, ++number, v.text, v.text, buf_slice(&body));
			buf_release(&value);
			buf_release(&body);
		}
	}
}

static int
start(void **state)
{
	(void)state;
	arena_init(&arena, (size_t)64 << 20);
	buf_init(&out, MESSAGE_BUFFER_MAX);
	return 0;
}

static int
stop(void **state)
{
	(void)state;
	arena_release(&arena);
	buf_release(&out);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text_only),
		cmocka_unit_test(test_all_headers),
		cmocka_unit_test(test_unsubscribe),
		cmocka_unit_test(test_alternative),
		cmocka_unit_test(test_japanese_is_base64),
		cmocka_unit_test(test_injection),
		cmocka_unit_test(test_bidi_names),
		cmocka_unit_test(test_tracking),
		cmocka_unit_test(test_bad_recipients),
		cmocka_unit_test(test_failure_keeps_the_front),
		cmocka_unit_test(test_full_buffer),
		cmocka_unit_test(test_compile_errors),
		cmocka_unit_test(test_extra_headers),
		cmocka_unit_test(test_plan_facts),
		cmocka_unit_test(test_text_from_html),
		cmocka_unit_test(test_structure),
		cmocka_unit_test(test_bad_files),
		cmocka_unit_test(test_sender_and_reply_to),
		cmocka_unit_test(test_jis_message),
		cmocka_unit_test(test_jis_for_its_domains_only),
		cmocka_unit_test(test_jis_falls_back_whole),
		cmocka_unit_test(test_jis_fragile_lines),
		cmocka_unit_test(test_jis_with_html_and_files),
		cmocka_unit_test(test_A24_nul_in_a_field),
		cmocka_unit_test(test_A25_line_ends_in_header_fields),
		cmocka_unit_test(test_A25_characters_that_narrow_to_line_ends),
		cmocka_unit_test(test_A27_body_lines),
		cmocka_unit_test(test_A27_line_of_100_kB),
		cmocka_unit_test(test_A28_addresses_that_are_more_than_one),
		cmocka_unit_test(test_A32_direction_marks_in_a_subject),
		cmocka_unit_test(test_recipient_in_utf8),
		cmocka_unit_test(test_A33_invalid_utf8_and_large_fields),
		cmocka_unit_test(test_A34_fields_are_not_templates),
		cmocka_unit_test(test_subjects),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, start, stop);
}
