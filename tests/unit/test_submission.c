/* SPDX-License-Identifier: Apache-2.0 */
/* submission: what is added, taken out, encoded and refused; recipients of every list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "submission.h"

struct result {
	struct arena arena;
	struct buf out;
	struct submission s;
	struct err err;
	int code;
};

static struct result
make(const char *text, const char *to)
{
	struct result r = { 0 };
	struct slice word = slice_str(to);
	struct submission_input in = { .bytes = slice_str(text),
		.take_recipients = to == NULL,
		.to = &word,
		.to_count = to != NULL,
		.default_from = SLICE("cron@example.org"),
		.id_left = SLICE("abc"),
		.date = 86400 };

	arena_init(&r.arena, (size_t)16 << 20);
	buf_init(&r.out, (size_t)16 << 20);
	r.code = submission_make(&in, &r.arena, &r.out, &r.s, &r.err);
	return r;
}

static void
done(struct result *r)
{
	buf_release(&r->out);
	arena_release(&r->arena);
}

static void
expect(const char *text, const char *to, const char *mail)
{
	struct result r = make(text, to);

	if (r.code != 0)
		fail_msg("refused: %s", r.err.msg);
	assert_string_equal(buf_str(&r.out), mail);
	done(&r);
}

static void
expect_refused(const char *text, const char *why)
{
	struct result r = make(text, NULL);

	assert_int_equal(r.code, -1);
	if (strstr(r.err.msg, why) == NULL)
		fail_msg("said: %s", r.err.msg);
	done(&r);
}

static void
a_bare_text_becomes_a_mail(void **state)
{
	(void)state;
	expect("disk full\n", "a@b.example",
	    "From: cron@example.org\r\nDate: Fri, 02 Jan 1970 00:00:00 +0000\r\n"
	    "Message-ID: <abc@example.org>\r\n\r\ndisk full\r\n");
	expect("", "a@b.example",
	    "From: cron@example.org\r\nDate: Fri, 02 Jan 1970 00:00:00 +0000\r\n"
	    "Message-ID: <abc@example.org>\r\n\r\n");
}

static void
what_is_fit_passes_unchanged(void **state)
{
	static const char mail[] = "from: A <a@b.example>\r\nTo: x@y.example,\r\n z@y.example\r\n"
				   "DATE: yesterday\r\nMessage-Id: <1@2>\r\nSubject:\ttab\r\n\r\n"
				   ".\r\n{{name}}\r\n";

	(void)state;
	expect(mail, NULL, mail);
	/* line ends of every kind, a line of mbox, a last line without an end */
	expect("From someone\nFrom: a@b.example\rDate: x\r\nMessage-ID: <1@2>\n\nx\ry",
	    "c@d.example", "From: a@b.example\r\nDate: x\r\nMessage-ID: <1@2>\r\n\r\nx\r\ny\r\n");
}

static void
what_may_not_go_on_is_taken_out(void **state)
{
	(void)state;
	expect("Return-Path: <x@y>\nBcc: h@i.example,\n j@k.example\nX-Kairan-Id: "
	       "f\nX-SES-SOURCE-ARN: f\n"
	       "From: a@b.example\nDate: x\nMessage-ID: <1@2>\n\n",
	    NULL, "From: a@b.example\r\nDate: x\r\nMessage-ID: <1@2>\r\n\r\n");
}

static void
recipients_of_every_list_once(void **state)
{
	static const char *const wanted[] = { "one@x.example", "two@x.example", "three@x.example",
		"four@x.example", "Five@x.example", "six@xn--bcher-kva.example" };
	struct result r =
	    make("From: a@b.example\n"
		 "To: \"a, b; <c>\" <one@x.example>, (no@x.example) two@x.example\n"
		 "Cc: group: three@x.example, \"T \\\" (x\" <four@x.example> (a \\) b);,,\n"
		 "Bcc: ONE@x.example, Five@x.example, six@b\xc3\xbc"
		 "cher.example\n\n",
		NULL);

	(void)state;
	if (r.code != 0)
		fail_msg("refused: %s", r.err.msg);
	assert_int_equal(r.s.recipient_count, 6);
	for (size_t i = 0; i < 6; i++)
		assert_string_equal(r.s.recipients[i].text, wanted[i]);
	done(&r);
}

/* As Postfix and sendmail have it: who got it first does not get it again. */
static void
a_resent_mail_goes_to_the_new_recipients(void **state)
{
	struct result r =
	    make("Resent-To: new@x.example\nResent-Cc: cc@x.example\n"
		 "Resent-Bcc: hidden@x.example\nFrom: a@b.example\nTo: old@x.example\n"
		 "Cc: older@x.example\nBcc: oldest@x.example\nDate: x\n"
		 "Message-ID: <1@2>\n\n",
		NULL);

	(void)state;
	assert_int_equal(r.code, 0);
	assert_int_equal(r.s.recipient_count, 3);
	assert_string_equal(r.s.recipients[0].text, "new@x.example");
	assert_string_equal(r.s.recipients[1].text, "cc@x.example");
	assert_string_equal(r.s.recipients[2].text, "hidden@x.example");
	assert_string_equal(buf_str(&r.out),
	    "Resent-To: new@x.example\r\nResent-Cc: cc@x.example\r\nFrom: a@b.example\r\n"
	    "To: old@x.example\r\nCc: older@x.example\r\nDate: x\r\nMessage-ID: <1@2>\r\n\r\n");
	done(&r);
}

static void
eight_bit_is_encoded(void **state)
{
	(void)state;
	expect(
	    "From: a@b.example\nDate: x\nMessage-ID: <1@2>\n\ncaf\xc3\xa9 and much more of ASCII\n",
	    "c@d.example",
	    "From: a@b.example\r\nDate: x\r\nMessage-ID: <1@2>\r\nMIME-Version: 1.0\r\n"
	    "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: "
	    "quoted-printable\r\n\r\n"
	    "caf=C3=A9 and much more of ASCII\r\n");
	expect("From: a@b.example\nDate: x\nMessage-ID: <1@2>\n\n\xe9\n", "c@d.example",
	    "From: a@b.example\r\nDate: x\r\nMessage-ID: <1@2>\r\nMIME-Version: 1.0\r\n"
	    "Content-Type: text/plain; charset=unknown-8bit\r\nContent-Transfer-Encoding: "
	    "base64\r\n\r\n6Q0K\r\n");
	/* parts that are fit stay; the others say how they are encoded now */
	expect("From: a@b.example\nDate: x\nMessage-ID: <1@2>\nMIME-Version: 1.0\n"
	       "Content-Type: multipart/mixed; charset=x; "
	       "boundary=\"--b\"\nContent-Transfer-Encoding: 8bit\n\n"
	       "lost\n----b\nContent-Type: text/plain\n\nplain\n----b\n"
	       "Content-Type: application/x\nContent-Transfer-Encoding: "
	       "binary\n\n\xff\n----b--\nlost\n",
	    "c@d.example",
	    "From: a@b.example\r\nDate: x\r\nMessage-ID: <1@2>\r\nMIME-Version: 1.0\r\n"
	    "Content-Type: multipart/mixed; charset=x; boundary=\"--b\"\r\n\r\n"
	    "----b\r\nContent-Type: text/plain\r\n\r\nplain\r\n----b\r\n"
	    "Content-Type: application/x\r\nContent-Transfer-Encoding: "
	    "base64\r\n\r\n/w==\r\n----b--\r\n");
	expect("From: a@b.example\nDate: x\nMessage-ID: <1@2>\nContent-Type: message/rfc822\n\n"
	       "Subject: caf\xc3\xa9\n\nx\n",
	    "c@d.example",
	    "From: a@b.example\r\nDate: x\r\nMessage-ID: <1@2>\r\nContent-Type: "
	    "message/rfc822\r\n\r\n"
	    "Subject: =?UTF-8?B?Y2Fmw6k=?=\r\n\r\nx\r\n");
}

static void
names_in_utf8_become_encoded_words(void **state)
{
	(void)state;
	expect("From: \xc3\x89t\xc3\xa9 <a@b.example>\nTo: c@d.example, \"\xc3\xa9, x\" "
	       "<e@f.example>\n"
	       "Date: x\nMessage-ID: <1@2>\n\n",
	    NULL,
	    "From: =?UTF-8?B?w4l0w6k=?= <a@b.example>\r\n"
	    "To: c@d.example,\r\n =?UTF-8?B?w6ksIHg=?= <e@f.example>\r\n"
	    "Date: x\r\nMessage-ID: <1@2>\r\n\r\n");
}

static void
what_cannot_be_fit_is_refused(void **state)
{
	static const char head[] = "From: a@b.example\nTo: c@d.example\n";
	char text[2000];

	(void)state;
	expect_refused("From: a@b.example\n\nx\n", "no recipient");
	expect_refused("From: a@b.example, c@d.example\nTo: c@d.example\n\n", "exactly one");
	expect_refused(
	    "From: a@b.example\nFrom: a@b.example\nTo: c@d.example\n\n", "more than one");
	expect_refused("From: a@b.example\nTo: \"open <c@d.example>\n\n", "not a list");
	expect_refused("From: a@b.example\nTo: nobody\n\n", "not understood");
	expect_refused("From: a@b.example\nTo: c@d.example\nSubject: \xe9\n\n", "Subject");
	/* addresses in UTF-8: never the sender's, and named to nobody whose hosts may not take them */
	expect_refused("From: \xc3\xa9@b.example\nTo: c@d.example\n\n", "in ASCII");
	expect_refused("From: a@b.example\nTo: \xc3\xa9@d.example, c@d.example\n\n", "SMTPUTF8");
	expect_refused("From: a@b.example\nTo: c@d.example\nSubject: a\x01z\n\n", "Subject");
	(void)snprintf(text, sizeof(text),
	    "%sContent-Type: multipart/signed; boundary=b\n\n--b\n\n\xc3\xa9\n--b--\n", head);
	expect_refused(text, "signed");
	(void)snprintf(
	    text, sizeof(text), "%sContent-Transfer-Encoding: Base64\n\n\xc3\xa9\n", head);
	expect_refused(text, "says it is");
	(void)snprintf(text, sizeof(text), "%sContent-Type: multipart/mixed\n\n\xc3\xa9\n", head);
	expect_refused(text, "boundary");
	(void)snprintf(
	    text, sizeof(text), "%sContent-Type: multipart/mixed; boundary=b\n\n\xc3\xa9\n", head);
	expect_refused(text, "without parts");
}

static void
limits_hold(void **state)
{
	struct buf text;
	struct result r;

	(void)state;
	buf_init(&text, (size_t)4 << 20);
	buf_append_str(&text, "From: a@b.example\nTo: ");
	for (int i = 0; i < SUBMISSION_RECIPIENTS_MAX + 1; i++)
		buf_printf(&text, "%sr%d@x.example", i > 0 ? ",\n " : "", i);
	buf_append_str(&text, "\n\n");
	expect_refused(buf_str(&text), "recipients");
	buf_reset(&text);
	for (int i = 0; i < SUBMISSION_HOPS_MAX + 1; i++)
		buf_append_str(&text, "Received: x\n");
	buf_append_str(&text, "From: a@b.example\nTo: c@d.example\n\n");
	expect_refused(buf_str(&text), "circles");
	buf_reset(&text);
	for (int i = 0; i < SUBMISSION_FIELDS_MAX + 1; i++)
		buf_append_str(&text, "X: y\n");
	expect_refused(buf_str(&text), "fields");
	buf_reset(&text);
	buf_append_str(&text, "From: a@b.example\nTo: c@d.example\nSubject: ");
	for (size_t i = 0; i < SUBMISSION_HEADER_MAX; i++)
		buf_append_char(&text, 'x');
	expect_refused(buf_str(&text), "larger than");
	buf_reset(&text);
	/* a line above 998 is no reason to refuse */
	buf_append_str(&text, "From: a@b.example\nTo: c@d.example\n\n");
	for (int i = 0; i < 1200; i++)
		buf_append_char(&text, 'x');
	r = make(buf_str(&text), NULL);
	assert_int_equal(r.code, 0);
	assert_true(r.s.encoded);
	assert_non_null(strstr(buf_str(&r.out), "quoted-printable"));
	done(&r);
	buf_reset(&text);
	buf_append_str(&text, "From: a@b.example\nTo: c@d.example\n");
	for (int i = 0; i < SUBMISSION_DEPTH_MAX + 1; i++)
		buf_append_str(&text, "Content-Type: message/rfc822\n\n");
	buf_append_str(&text, "\xc3\xa9\n");
	expect_refused(buf_str(&text), "one another");
	buf_release(&text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_bare_text_becomes_a_mail),
		cmocka_unit_test(what_is_fit_passes_unchanged),
		cmocka_unit_test(what_may_not_go_on_is_taken_out),
		cmocka_unit_test(recipients_of_every_list_once),
		cmocka_unit_test(a_resent_mail_goes_to_the_new_recipients),
		cmocka_unit_test(eight_bit_is_encoded),
		cmocka_unit_test(names_in_utf8_become_encoded_words),
		cmocka_unit_test(what_cannot_be_fit_is_refused),
		cmocka_unit_test(limits_hold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
