/* SPDX-License-Identifier: Apache-2.0 */
/*
 * With however little memory, a mail is made whole or not at all: never cut, never unsigned, never another
 * one. Each maker runs in arenas and buffers of every size up to what it needs, and with each call of the
 * allocator and of OpenSSL failing in turn.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "campaign_file.h"
#include "dkim.h"
#include "embed.h"
#include "failing.h"
#include "message.h"
#include "providers.h"
#include "ses.h"
#include "submission.h"
#include "webhook.h"

#define PLENTY ((size_t)16 << 20)

/* Makes its text in out, in an arena that is empty. False: refused, and said why in err. */
typedef bool maker(struct arena *arena, struct buf *out, struct err *err);

static bool
run(maker *make, size_t arena_room, size_t out_room, struct buf *out)
{
	struct err err = { 0 };
	struct arena arena;
	bool made;

	arena_init(&arena, arena_room);
	buf_init(out, out_room);
	failing_begin();
	made = make(&arena, out, &err);
	failing_end();
	arena_release(&arena);
	assert_true(made || err.msg[0] != '\0');
	return made && !buf_failed(out);
}

/* Of what was made in scarcity. */
static void
compare(const struct buf *out, const struct buf *whole, const char *where, size_t room)
{
	if (out->len != whole->len || memcmp(out->data, whole->data, whole->len) != 0)
		fail_msg("%s %zu: another text of %zu bytes instead of %zu", where, room, out->len,
		    whole->len);
}

static void
check(maker *make, size_t step, bool each_call)
{
	struct buf whole, out;
	size_t refused = 0;
	bool made = false;

	(void)failing_from(UINT32_MAX);
	if (!run(make, PLENTY, PLENTY, &whole))
		fail_msg("refused with plenty of memory");
	for (size_t room = 0; !made; room += step) {
		made = run(make, room, PLENTY, &out);
		if (made)
			compare(&out, &whole, "arena of", room);
		refused += !made;
		buf_release(&out);
	}
	assert_true(refused > 1);
	made = false;
	/* some encode at the end of what they have, and need more than the whole */
	for (size_t room = 0; !made; room += step) {
		made = run(make, PLENTY, room, &out);
		if (made)
			compare(&out, &whole, "buffer of", room);
		buf_release(&out);
	}
	for (unsigned n = 1; each_call && failing_from(n); n++) {
		if (run(make, PLENTY, PLENTY, &out))
			compare(&out, &whole, failing_name(), n);
		buf_release(&out);
	}
	buf_release(&whole);
}

/* ---- makers ---- */

static bool
make_message(struct arena *arena, struct buf *out, struct err *err)
{
	static const struct attach files[] = { { SLICE("logo.png"), SLICE("image/png"),
						   SLICE("logo@x"), SLICE("PNG") },
		{ SLICE("案内.pdf"), SLICE("application/pdf"), SLICE(""), SLICE("PDF") } };
	static const struct message_header extra[] = { { SLICE("X-Note"), SLICE("日本") } };
	static const struct slice domains[] = { { "b.jp", 4 } };
	struct template_value values[8];
	struct message_source s = { .from_name = SLICE("回覧"),
		.from_addr = SLICE("news@example.jp"),
		.sender_addr = SLICE("desk@example.jp"),
		.reply_to = SLICE("help@example.jp"),
		.subject = SLICE("{{name}}様"),
		.html = SLICE("<p>{{name}} <a href=\"https://example.jp/?a={{name}}\">x</a>"
			      "<img src=\"cid:logo@x\">{{#if name}}y{{else}}z{{/if}}"
			      "{{#each list}}<b>{{this}}</b>{{/each}}</p>"),
		.text =
		    SLICE("{{name}}様\n{{#each list}}* {{this}}\n{{/each}}{{unsubscribe_url}}\n"),
		.list_name = SLICE("お知らせ"),
		.list_id = SLICE("news.example.jp"),
		.unsubscribe_url_base = SLICE("https://u.example.jp/"),
		.unsubscribe_mailto_domain = SLICE("bounce.example.jp"),
		.message_id_domain = SLICE("mail.example.jp"),
		.feedback_id = SLICE("7:news:kairan"),
		.web_base = SLICE("https://w.example.jp/"),
		.track_opens = true,
		.track_clicks = true,
		.ses_tags = true,
		.headers = extra,
		.header_count = 1,
		.files = files,
		.file_count = 2,
		.jis_domains = domains,
		.jis_domain_count = 1 };
	struct message_recipient to = { .to_addr = SLICE("a@b.jp"),
		.to_name = SLICE("愛子"),
		.values = values,
		.message_id_left = SLICE("left"),
		.id_token = SLICE("idtoken"),
		.unsubscribe_token = SLICE("untoken"),
		.view_token = SLICE("viewtoken"),
		.track_token = SLICE("tracktoken"),
		.date = 1751328307,
		.run = 7,
		.campaign = SLICE("July") };
	const struct slice *names;
	struct message_result result;
	struct message_plan *plan;

	if (message_compile(&s, arena, &plan, err) < 0)
		return false;
	names = message_fields(plan, &to.value_count);
	for (size_t i = 0; i < to.value_count; i++)
		values[i] = (struct template_value){ slice_equal(names[i], SLICE("list"))
			    ? SLICE("[\"一\",\"二\"]")
			    : SLICE("愛子"),
			true };
	if (message_render(plan, &to, out, &result) == TEMPLATE_OK)
		return true;
	assert_int_equal(out->len, 0); /* not a piece of it */
	(void)err_set(err, "status %d", (int)result.status);
	return false;
}

static const char ed_pem[] = "-----BEGIN PRIVATE KEY-----\n"
			     "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
			     "-----END PRIVATE KEY-----\n";

static bool
make_signature(struct arena *arena, struct buf *out, struct err *err)
{
	static const char mail[] = "From: a@example.jp\r\nTo: b@example.jp\r\nSubject: x\r\n"
				   "Date: Fri, 11 Jul 2003 21:00:37 -0700\r\n\r\nhi \r\n\r\n";
	struct dkim_options options = { .now_s = 1751328307, .lifetime_s = 86400 };
	struct dkim_key *key = NULL;
	struct dkim *dkim = dkim_new();
	int result = -1;

	(void)arena;
	buf_append_str(out, mail);
	if (dkim == NULL)
		(void)err_set(err, "no memory");
	else if (dkim_key_parse(
		     &key, SLICE(ed_pem), SLICE("example.jp"), SLICE("s1"), SLICE(""), err) == 0 &&
	    dkim_add(dkim, key, err) == 0 && !buf_failed(out)) {
		size_t before = out->len;

		result = dkim_sign(dkim, &options, out, err);
		if (result < 0)
			assert_true(out->len == before && memcmp(out->data, mail, before) == 0);
	} else if (buf_failed(out))
		(void)err_set(err, "no room");
	dkim_free(dkim);
	return result == 0;
}

static bool
make_submission(struct arena *arena, struct buf *out, struct err *err)
{
	static const struct slice to = { "aiko@shop.example", 17 };
	struct submission_input in = {
		.bytes = SLICE("To: a@x.example, \"B\" <b@x.example>\nBcc: c@x.example\n"
			       "Subject: 日本\nContent-Type: multipart/mixed; boundary=b\n\n--b\n"
			       "Content-Type: text/plain; charset=utf-8\n\nこんにちは\n--b--\n"),
		.take_recipients = true,
		.to = &to,
		.to_count = 1,
		.default_from = SLICE("cron@example.org"),
		.full_name = SLICE("時計"),
		.id_left = SLICE("abc"),
		.date = 86400
	};
	struct submission s;

	if (submission_make(&in, arena, out, &s, err) < 0)
		return false;
	assert_int_equal(s.recipient_count, 4);
	return true;
}

static bool
make_campaign_file(struct arena *arena, struct buf *out, struct err *err)
{
	static const char text[] =
	    "[campaign]\nname = n\nstream = s\nsubject = \"日本\"\nfrom = 回覧 <a@x.example>\n"
	    "reply_to = \"Desk, A\" <d@x.example>\nhtml = a.html\ntext = a.txt\nattachments = "
	    "a.pdf, b.pdf\n"
	    "inline = logo.png\niso_2022_jp = docomo.ne.jp\nsegment = everyone\n"
	    "[exclude]\ncampaigns = x, y\nsegments = staff\n[schedule]\n"
	    "start = 2026-12-01 10:00 Asia/Tokyo\nwindow = 2h\nrepeat = monthly\n"
	    "[headers]\nX-A = b\nX-C = 日本\n";
	struct campaign_file f;

	if (campaign_file_parse(&f, SLICE(text), arena, err) < 0)
		return false;
	buf_append_str(out, f.sender_address != NULL ? f.sender_address : "");
	buf_append_str(out, f.reply_to);
	for (size_t i = 0; i < f.attachments.count; i++)
		buf_append_str(out, f.attachments.name[i]);
	for (size_t i = 0; i < f.inline_images.count; i++)
		buf_append_str(out, f.inline_images.name[i]);
	return true;
}

/* ---- what is heard: all of it, or nothing, so that it comes again ---- */

static void
put_events(struct buf *out, const struct feedback_events *events)
{
	for (size_t i = 0; i < events->count; i++) {
		const struct feedback_event *e = &events->items[i];
		const struct slice parts[] = { e->text, e->remote, e->address, e->message_id,
			e->key, e->detail };

		buf_printf(out, "%d %d %s %d %d", (int)e->kind, (int)e->cls, e->reason, e->code,
		    e->linked);
		for (size_t k = 0; k < sizeof(parts) / sizeof(parts[0]); k++)
			buf_printf(out, "|%.*s", SLICE_ARG(parts[k]));
	}
}

static bool
make_ses_events(struct arena *arena, struct buf *out, struct err *err)
{
	static const char notice[] =
	    "{\"eventType\":\"Bounce\",\"bounce\":{\"bounceType\":\"Permanent\",\"bounceSubType\":"
	    "\"General\","
	    "\"bouncedRecipients\":[{\"emailAddress\":\"a@x.example\",\"status\":\"5.1.1\","
	    "\"diagnosticCode\":\"smtp; 550 5.1.1 no such user "
	    "here\"},{\"emailAddress\":\"b@x.example\"}],"
	    "\"timestamp\":\"2026-11-21T17:05:42.123Z\",\"feedbackId\":\"f\",\"reportingMTA\":"
	    "\"dns; "
	    "mx.x.example\"},\"mail\":{\"timestamp\":\"2026-11-21T17:05:42.123Z\",\"messageId\":"
	    "\"m\","
	    "\"destination\":[\"a@x.example\",\"b@x.example\"]}}";
	static const struct token_keys keys = { 1, { 1 }, { { 7 } } };
	struct ses_input in = { .json = SLICE(notice), .keys = &keys };
	struct feedback_events events = { 0 };

	if (ses_parse(&in, arena, &events, err) < 0)
		return false;
	assert_int_equal(events.count, 2);
	put_events(out, &events);
	return true;
}

static bool
make_webhook_events(struct arena *arena, struct buf *out, struct err *err)
{
	static const char text[] =
	    "{\"version\":1,\"events\":[{\"id\":\"1\",\"event\":\"bounced\",\"address\":\"a@x."
	    "example\","
	    "\"status\":\"5.1.1\",\"diagnostic\":\"550 user "
	    "unknown\",\"message_id\":\"<m@x.example>\"},"
	    "{\"id\":\"2\",\"event\":\"complained\",\"address\":\"b@x.example\"}]}";
	static const struct token_keys keys = { 1, { 1 }, { { 7 } } };
	struct webhook_input in = { .json = SLICE(text), .keys = &keys };
	struct feedback_events events = { 0 };

	if (webhook_parse(&in, arena, &events, err) < 0)
		return false;
	put_events(out, &events);
	return true;
}

/* ---- tests ---- */

static void
test_events_are_all_heard_or_none(void **state)
{
	(void)state;
	check(make_ses_events, 64, true);
	check(make_webhook_events, 64, true);
}

static void
test_a_message_is_whole_or_refused(void **state)
{
	(void)state;
	check(make_message, 512, true);
}

static void
test_what_cannot_be_signed_is_as_it_was(void **state)
{
	struct buf whole, out;
	bool made = false;

	(void)state;
	(void)failing_from(UINT32_MAX);
	assert_true(run(make_signature, 0, PLENTY, &whole));
	for (size_t room = 0; room <= whole.len + 2; room++) {
		made = run(make_signature, 0, room, &out);
		if (made)
			compare(&out, &whole, "buffer of", room);
		buf_release(&out);
	}
	assert_true(made);
	for (unsigned n = 1; failing_from(n); n++) {
		if (run(make_signature, 0, PLENTY, &out))
			compare(&out, &whole, failing_name(), n);
		buf_release(&out);
	}
	buf_release(&whole);
}

static void
test_a_mail_handed_in_is_whole_or_refused(void **state)
{
	(void)state;
	check(make_submission, 64, true);
}

static void
test_a_campaign_file_is_read_whole_or_refused(void **state)
{
	(void)state;
	check(make_campaign_file, 16, true);
}

/* A table without its last rows would lift limits. */
static void
test_a_provider_table_is_whole_or_refused(void **state)
{
	struct slice text = slice_str(embed_common_data_providers_tsv);
	struct err err;
	struct providers *p = providers_new(text, slice_make(NULL, 0), &err);
	size_t count = providers_count(p), refused = 0;

	(void)state;
	providers_free(p);
	for (unsigned n = 1; failing_from(n); n++) {
		err = (struct err){ 0 };
		failing_begin();
		p = providers_new(text, slice_make(NULL, 0), &err);
		failing_end();
		if (p == NULL)
			assert_int_not_equal(err.msg[0], '\0');
		else
			assert_int_equal(providers_count(p), count);
		refused += p == NULL;
		providers_free(p);
	}
	assert_true(refused > 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_message_is_whole_or_refused),
		cmocka_unit_test(test_what_cannot_be_signed_is_as_it_was),
		cmocka_unit_test(test_a_mail_handed_in_is_whole_or_refused),
		cmocka_unit_test(test_a_campaign_file_is_read_whole_or_refused),
		cmocka_unit_test(test_events_are_all_heard_or_none),
		cmocka_unit_test(test_a_provider_table_is_whole_or_refused),
	};

	return cmocka_run_group_tests_name("scarce", tests, NULL, NULL);
}
