/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ses_content and template_slots: what SES is given comes out as what we would have sent ourselves.
 * The service's part, simple substitution of {{name}} by values as they are, is played here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "ses_content.h"

static struct arena arena;
static struct err last_err;

static struct message_source
base_source(void)
{
	return (struct message_source){ .from_name = SLICE("Example"),
		.from_addr = SLICE("news@example.jp"),
		.subject = SLICE("Hello {{name}}"),
		.text = SLICE("Dear {{name}}\n"),
		.message_id_domain = SLICE("mail.example.jp") };
}

static struct message_plan *
compile(struct message_source *source, bool slots)
{
	struct message_plan *plan;

	source->slots = slots;
	last_err = (struct err){ 0 };
	if (message_compile(source, &arena, &plan, &last_err) != 0)
		print_message("# %s\n", last_err.msg);
	assert_non_null(plan);
	return plan;
}

static struct slice
as_json(const json_t *value)
{
	char *text = json_dumps(value, JSON_ENCODE_ANY);
	struct slice copy = arena_copy(&arena, slice_str(text));

	free(text);
	return copy;
}

/* Values by the names that the templates ask for, from a JSON object. */
static void
render(const struct message_plan *plan, json_t *values, struct buf *out,
    struct message_pieces *pieces, enum template_status wanted)
{
	struct template_value v[20] = { 0 };
	struct message_result result;
	struct message_recipient to = { .to_addr = SLICE("a@b.jp"),
		.to_name = SLICE("\xE6\x97\xA5"),
		.values = v,
		.message_id_left = SLICE("left"),
		.id_token = SLICE("idtoken"),
		.unsubscribe_token = SLICE("untoken"),
		.date = 1751328307,
		.run = 7,
		.campaign = SLICE("July") };
	const struct slice *names = message_fields(plan, &to.value_count);

	assert_true(to.value_count <= 20);
	for (size_t i = 0; i < to.value_count; i++) {
		char name[100];
		json_t *value;

		(void)snprintf(name, sizeof(name), "%.*s", SLICE_ARG(names[i]));
		value = json_object_get(values, name);
		if (json_is_string(value) && !message_field_is_json(plan, i))
			v[i] = (struct template_value){ slice_str(json_string_value(value)), true };
		else if (value != NULL)
			v[i] = (struct template_value){ as_json(value), true };
	}
	assert_int_equal(message_render_pieces(plan, &to, out, pieces, &result), wanted);
}

/* What SES does. */
static void
substitute(const char *text, json_t *data, struct buf *out)
{
	while (*text != '\0') {
		const char *open = strstr(text, "{{"), *close;
		char name[20];

		if (open == NULL) {
			buf_append_str(out, text);
			return;
		}
		assert_true(open[2] != '{' && (open == text || open[-1] != '\\'));
		buf_append(out, text, (size_t)(open - text));
		close = strstr(open, "}}");
		assert_non_null(close);
		assert_true(close[2] != '}');
		(void)snprintf(name, sizeof(name), "%.*s", (int)(close - open - 2), open + 2);
		assert_true(json_is_string(json_object_get(data, name)));
		buf_append_str(out, json_string_value(json_object_get(data, name)));
		text = close + 2;
	}
}

/* The template of SES with the data of a recipient, beside our own rendering. */
static void
compare(struct message_source *source, const char *values_text)
{
	static const char *const names[] = { "Subject", "Text", "Html" };
	json_t *values = json_loads(values_text, 0, NULL), *content, *data;
	struct message_plan *plan = compile(source, false), *slots = compile(source, true);
	struct message_pieces pieces, in_slots;
	struct buf out, slot_out, text, result;

	assert_non_null(values);
	buf_init(&out, 1 << 20);
	buf_init(&slot_out, 1 << 20);
	buf_init(&text, 1 << 20);
	buf_init(&result, 1 << 20);
	render(plan, values, &out, &pieces, TEMPLATE_OK);
	render(slots, values, &slot_out, &in_slots, TEMPLATE_OK);
	if (ses_content_check(slots, SES_CONTENT_BULK, false, "s", &last_err) != 0)
		print_message("# %s\n", last_err.msg);
	assert_int_equal(ses_content_check(slots, SES_CONTENT_BULK, false, "s", &last_err), 0);
	ses_content_template(slots, &text);
	content = json_loads(buf_str(&text), JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(content);
	buf_reset(&text);
	ses_content_data(&in_slots, &text);
	data = json_loads(buf_str(&text), JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(data);
	for (int i = 0; i < MESSAGE_PIECES; i++) {
		const char *template = json_string_value(json_object_get(content, names[i]));

		assert_true((template != NULL) == (pieces.piece[i].len > 0));
		buf_reset(&result);
		if (template != NULL)
			substitute(template, data, &result);
		assert_true(slice_equal(buf_slice(&result), pieces.piece[i]) ||
		    (result.len == 0 && pieces.piece[i].len == 0));
	}
	json_decref(values);
	json_decref(content);
	json_decref(data);
	buf_release(&out);
	buf_release(&slot_out);
	buf_release(&text);
	buf_release(&result);
}

static void
test_same_as_ours(void **state)
{
	static const char *const htmls[] = {
		"<p>fixed, {{! a comment }}for everybody</p>",
		"{{name}}",
		"{{name}}{{plan}}<b>x</b>",
		"<p>{{name}}</p><a href=\"{{link}}\" title=\"{{name}}\">{{{plan}}}</a>",
		"<p>{{default nobody \"some\\\"body\"}}</p>",
		"<p>{{#if plan}}gold {{name}}{{else}}none{{/if}} end</p>",
		"<p>{{#if nobody}}gold{{else if plan}}silver{{else}}none{{/if}}</p>{{plan}}",
		"<ul>{{#each items}}<li>{{@index}} {{title}} "
		"{{../name}}</li>{{else}}-{{/each}}</ul>z",
		"<p>{{#with one}}{{title}} <i>it</i>{{/with}} after {{name}}</p>",
		"{{#*inline \"part\"}}<em>{{name}}</em>{{/inline}}<p>{{> part}} and {{> part}}</p>",
		"<p style=\"color: {{plan}} ;\">{{#unless nobody}}{{/unless}}x</p>",
		"<p>{ {{name}} } \\ {{name}}</p>",
	};
	static const char values[] =
	    "{\"name\":\"A<b>&\\\"\\\\ \xE6\x97\xA5 {{plan}}\",\"plan\":\"gold\",\"link\":"
	    "\"javascript:x\",\"items\":[{\"title\":\"t&1\"},{\"title\":\"t2\"}],"
	    "\"one\":{\"title\":\"only\"}}";

	(void)state;
	for (size_t i = 0; i < sizeof(htmls) / sizeof(htmls[0]); i++) {
		struct message_source s = base_source();

		print_message("# %s\n", htmls[i]);
		arena_init(&arena, (size_t)64 << 20);
		s.html = slice_str(htmls[i]);
		s.text = i % 2 == 0 ? SLICE("") : SLICE("T {{#if plan}}{{plan}}{{/if}}\r\n");
		compare(&s, values);
		s.html = SLICE("");
		s.text = SLICE("line {{name}}\r\n\ttab {{plan}}\r\n");
		compare(&s, values);
		arena_release(&arena);
	}
}

static void
test_missing_field(void **state)
{
	struct message_source s = base_source();
	json_t *values = json_object();
	struct message_pieces pieces;
	struct buf out;

	(void)state;
	arena_init(&arena, (size_t)64 << 20);
	buf_init(&out, 1 << 20);
	buf_append_str(&out, "before");
	render(compile(&s, true), values, &out, &pieces, TEMPLATE_MISSING_FIELD);
	assert_string_equal(buf_str(&out), "before");
	json_decref(values);
	buf_release(&out);
	arena_release(&arena);
}

static void
test_fields(void **state)
{
	const struct message_header extra[] = { { SLICE("X-Note"), SLICE("日本") } };
	static const char *const wanted[] = { "X-Kairan-Id=idtoken",
		"List-Unsubscribe=<https://u.example.jp/u/untoken>, "
		"<mailto:u+untoken@b.example.jp>",
		"X-Kairan-Campaign=7; July", "List-Unsubscribe-Post=List-Unsubscribe=One-Click",
		"List-Id=<news.example.jp>", "X-Note==?UTF-8?B?5pel5pys?=" };
	struct message_source s = base_source();
	json_t *values = json_pack("{s:s}", "name", "A");
	struct message_pieces pieces;
	struct ses_fields f;
	struct buf out, text;

	(void)state;
	arena_init(&arena, (size_t)64 << 20);
	buf_init(&out, 1 << 20);
	buf_init(&text, 1 << 20);
	s.reply_to = SLICE("reply@example.jp");
	s.unsubscribe_url_base = SLICE("https://u.example.jp/u");
	s.unsubscribe_mailto_domain = SLICE("b.example.jp");
	s.list_id = SLICE("news.example.jp");
	s.headers = extra;
	s.header_count = 1;
	render(compile(&s, false), values, &out, &pieces, TEMPLATE_OK);
	assert_int_equal(ses_fields_read(&f, pieces.head, &text, &last_err), 0);
	assert_true(slice_equal(f.from, SLICE("Example <news@example.jp>")));
	assert_true(slice_equal(f.to, SLICE("=?UTF-8?B?5pel?= <a@b.jp>")));
	assert_true(slice_equal(f.reply_to, SLICE("reply@example.jp")));
	assert_int_equal(f.count, sizeof(wanted) / sizeof(wanted[0]));
	for (size_t i = 0; i < f.count; i++) {
		char line[200];

		(void)snprintf(line, sizeof(line), "%.*s=%.*s", SLICE_ARG(f.field[i].name),
		    SLICE_ARG(f.field[i].value));
		assert_string_equal(line, wanted[i]);
	}
	json_decref(values);
	buf_release(&out);
	buf_release(&text);
	arena_release(&arena);
}

static int
check(struct message_source *s, enum ses_content content, bool is_signed)
{
	last_err = (struct err){ 0 };
	return ses_content_check(
	    compile(s, content == SES_CONTENT_BULK), content, is_signed, "news", &last_err);
}

/* What stands in the way is said before anybody is written to. */
static void
refused(struct message_source *s, enum ses_content content, const char *why)
{
	assert_int_equal(check(s, content, false), -1);
	if (strstr(last_err.msg, why) == NULL)
		print_message("# %s\n", last_err.msg);
	assert_non_null(strstr(last_err.msg, why));
	assert_int_equal(check(s, SES_CONTENT_RAW, false), 0);
}

static void
test_refused(void **state)
{
	static const struct attach file = {
		.name = { "a.txt", 5 }, .type = { "text/plain", 10 }, .bytes = { "x", 1 }
	};
	static const struct slice jis = { "docomo.ne.jp", 12 };
	struct message_header extra[SES_HEADERS_MAX + 1];
	char names[SES_HEADERS_MAX + 1][8], long_value[1100];
	struct message_source s = base_source();
	static const struct {
		const char *html, *why;
	} texts[] = { { "<p>{{name}}}</p>", "html: } right behind a field" },
		{ "<p>\\{{name}}</p>", "html: \\ right before a field" } };

	(void)state;
	arena_init(&arena, (size_t)64 << 20);
	assert_int_equal(check(&s, SES_CONTENT_SIMPLE, false), 0);
	assert_int_equal(check(&s, SES_CONTENT_RAW, true), 0);
	assert_int_equal(check(&s, SES_CONTENT_SIMPLE, true), -1);
	assert_string_equal(last_err.msg,
	    "ses_content = simple of the stream \"news\" cannot carry this campaign: mail signed "
	    "by "
	    "our own DKIM key goes whole only; with ses_content = raw it can");
	s.files = &file;
	s.file_count = 1;
	refused(&s, SES_CONTENT_SIMPLE, "attachments");
	refused(&s, SES_CONTENT_BULK, "attachments");
	s = base_source();
	s.jis_domains = &jis;
	s.jis_domain_count = 1;
	refused(&s, SES_CONTENT_SIMPLE, "iso_2022_jp");
	s = base_source();
	s.sender_addr = SLICE("other@example.jp");
	refused(&s, SES_CONTENT_SIMPLE, "sender");
	s = base_source();
	for (size_t i = 0; i <= SES_HEADERS_MAX; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "X-%zu", i);
		extra[i] = (struct message_header){ slice_str(names[i]), SLICE("v") };
	}
	s.headers = extra;
	s.header_count = SES_HEADERS_MAX - 2; /* X-Kairan-Id and -Campaign are ours */
	assert_int_equal(check(&s, SES_CONTENT_SIMPLE, false), 0);
	s.header_count++;
	refused(&s, SES_CONTENT_SIMPLE, "leave some out");
	s.header_count = 1;
	extra[0].name = SLICE("X-SES-Message-Tags");
	refused(&s, SES_CONTENT_SIMPLE, "whole mails only");
	memset(long_value, 'x', sizeof(long_value) - 1);
	for (size_t i = 70; i < sizeof(long_value) - 1; i += 70)
		long_value[i] = ' ';
	long_value[sizeof(long_value) - 1] = '\0';
	extra[0] = (struct message_header){ SLICE("X-Long"), slice_str(long_value) };
	refused(&s, SES_CONTENT_BULK, "longer than");
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		s = base_source();
		s.html = slice_str(texts[i].html);
		refused(&s, SES_CONTENT_BULK, texts[i].why);
		assert_int_equal(check(&s, SES_CONTENT_SIMPLE, false), 0);
	}
	arena_release(&arena);
}

static void
test_names(void **state)
{
	(void)state;
	assert_int_equal(ses_content_of("raw"), SES_CONTENT_RAW);
	assert_int_equal(ses_content_of("simple"), SES_CONTENT_SIMPLE);
	assert_int_equal(ses_content_of("bulk"), SES_CONTENT_BULK);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_as_ours),
		cmocka_unit_test(test_missing_field),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
