/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notice: golden mails, one of each family, written for this test. What comes out is one line:
 * kind, feedback type, then "address status smtp class reason" of each recipient.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "buf.h"
#include "inbound.h"
#include "notice_ses.h"

static struct arena arena;
static struct buf line;

static const char *
classify_bytes(struct slice raw)
{
	struct notice n;

	arena_reset(&arena);
	buf_reset(&line);
	assert_int_equal(notice_classify(&n, raw, &arena), 0);
	buf_append_str(&line, notice_kind_name(n.kind));
	if (n.feedback_type.len > 0)
		buf_printf(&line, " %.*s", SLICE_ARG(n.feedback_type));
	for (size_t i = 0; i < n.count; i++) {
		const struct notice_recipient *r = &n.recipients[i];
		struct outcome o = { .code = r->code };
		char status[12];

		memcpy(o.enhanced, r->enhanced, sizeof(o.enhanced));
		buf_printf(&line, "; %.*s %s %d %s %s", SLICE_ARG(r->address),
		    outcome_enhanced_str(&o, status), r->code, outcome_class_name(r->cls),
		    r->reason);
	}
	return buf_str(&line);
}

struct row {
	const char *mail, *expected;
};

static void
check(const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const char *got = classify_bytes(slice_str(rows[i].mail));
		if (strcmp(got, rows[i].expected) != 0)
			print_message("# row %zu: %.60s\n", i, rows[i].mail);
		assert_string_equal(got, rows[i].expected);
	}
}

#define FROM_DAEMON "Return-Path: <>\nFrom: MAILER-DAEMON@mx.test\nTo: news@our.test\n"
#define REPORT(prose, fields)                                                                      \
	FROM_DAEMON "Subject: Undelivered Mail Returned to Sender\nMIME-Version: 1.0\n"            \
		    "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n"  \
		    "--b\n\n" prose                                                                \
		    "\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.test"  \
		    "\n\n" fields "\n--b\nContent-Type: message/rfc822\n\nTo: a@one.test\n\nhi\n"  \
		    "--b--\n"

static void
test_reports(void **state)
{
	static const struct row rows[] = {
		{ REPORT("Sorry.",
		      "Final-Recipient: rfc822; a@one.test\nAction: failed\nStatus: 5.1.1\n"
		      "Diagnostic-Code: smtp; 550 5.1.1 no such user\n"),
		    "bounce; a@one.test 5.1.1 550 hard user_unknown" },
		/* two fates; the diagnostic's code wins over a generic status */
		{ REPORT("Sorry.",
		      "Original-Recipient: rfc822;b@two.test\nFinal-Recipient: rfc822; "
		      "x@in.two.test"
		      "\nAction: failed\nStatus: 5.0.0\n"
		      "Diagnostic-Code: smtp; 552 5.2.2 over quota\n\n"
		      "Final-Recipient: rfc822; c@three.test\nAction: delayed\nStatus: 4.4.1\n"),
		    "bounce; b@two.test 5.2.2 552 soft mailbox_full; c@three.test 4.4.1 0 soft "
		    "network" },
		/* no diagnostic: the prose knows */
		{ REPORT("<a@one.test>: The mailbox is full.",
		      "Final-Recipient: rfc822; a@one.test\nAction: failed\nStatus: 5.0.0\n"),
		    "bounce; a@one.test 5.0.0 0 soft mailbox_full" },
		{ REPORT("Arrived.",
		      "Final-Recipient: rfc822; a@one.test\nAction: delivered\nStatus: 2.0.0\n"),
		    "delivered; a@one.test 2.0.0 0  delivered" },
		{ REPORT("Later.",
		      "Final-Recipient: rfc822; a@one.test\nAction: delayed\nStatus: 4.2.0\n"
		      "Diagnostic-Code: smtp; 550 5.1.1 user unknown\n"),
		    "delayed; a@one.test 5.1.1 550 soft user_unknown" },
		/* refused at MAIL FROM: not about the address */
		{ REPORT("Sorry.",
		      "Final-Recipient: rfc822; a@one.test\nAction: failed\nStatus: 5.1.8\n"
		      "Diagnostic-Code: smtp; 550 unknown user (in reply to MAIL FROM command)\n"),
		    "bounce; a@one.test 5.1.8 550 config config" },
		/* policy is never about the address */
		{ REPORT("Sorry.",
		      "Final-Recipient: rfc822; a@one.test\nAction: failed\nStatus: 5.7.1\n"
		      "Diagnostic-Code: smtp; 550 5.7.1 Message refused\n"),
		    "bounce; a@one.test 5.7.1 550 block policy" },
		/* the fields as plain text */
		{ FROM_DAEMON
		    "Subject: failed\n\nIt failed.\n\nFinal-Recipient: rfc822; a@one.test\n"
		    "Action: failed\nStatus: 5.1.2\n",
		    "bounce; a@one.test 5.1.2 0 hard domain_unknown" },
		/* an exit status is no reply code */
		{ REPORT("x",
		      "Final-Recipient: rfc822; a@one.test\nAction: failed\nStatus: 5.3.0\n"
		      "Diagnostic-Code: x-unix; 255\n"),
		    "bounce; a@one.test 5.3.0 0 soft system" },
	};

	(void)state;
	check(rows, sizeof(rows) / sizeof(rows[0]));
}

#define BOUNCE(subject, text) FROM_DAEMON "Subject: " subject "\n\n" text

static void
test_prose(void **state)
{
	static const struct row rows[] = {
		{ BOUNCE("failure notice",
		      "Hi. This is the qmail-send program at mx.test.\nI'm afraid I wasn't able to "
		      "deliver your message.\n\n<a@one.test>:\nno mailbox here. (#5.1.1)\n\n"
		      "<b@two.test>:\n192.0.2.1 failed after I sent the message.\nRemote host said:"
		      " 554 5.7.1 looks like spam\n\n--- Below this line is a copy of the "
		      "message.\n"
		      "\nTo: c@three.test\n"),
		    "bounce; a@one.test 5.1.1 0 hard user_unknown; b@two.test 5.7.1 554 message "
		    "content" },
		{ BOUNCE("Mail delivery failed: returning message to sender",
		      "This message was created automatically by mail delivery software.\n\n"
		      "  a@one.test\n    SMTP error from remote mail server after RCPT "
		      "TO:<a@one.test>:\n    host mx.one.test [192.0.2.9]: 550 Unknown user\n\n"
		      "------ This is a copy of the message ------\nTo: z@z.test\n"),
		    "bounce; a@one.test  550 hard user_unknown" },
		{ BOUNCE("Warning: message 1x-2 delayed 24 hours",
		      "This message was created automatically by mail delivery software.\n"
		      "A message that you sent has not yet been delivered to:\n\n  a@one.test\n"
		      "    Delay reason: Connection timed out\n\nNo action is required on your "
		      "part."
		      "\n"),
		    "delayed; a@one.test  0 soft network" },
		{ BOUNCE("Returned mail: User unknown",
		      "   ----- Transcript of session follows -----\n>>> RCPT To:<a@one.test>\n"
		      "<<< 550 <a@one.test>... User unknown\n550 <a@one.test>... User unknown\n"
		      "   ----- Unsent message follows -----\nTo: x@y.test\n"),
		    "bounce; a@one.test  550 hard user_unknown" },
		/* a code of the returned mail, or an address of a help desk, is none of the bounce's */
		{ BOUNCE("Delivery failure",
		      "Message from one.test.\nUnable to deliver message to the following "
		      "address(es).\n\n<a@one.test>:\nThis account has been disabled.\n\n"
		      "For help contact <desk@one.test>.\n\n--- Original message follows.\n"
		      "550 5.7.1 <q@q.test>\n"),
		    "bounce; a@one.test  0 hard mailbox_disabled" },
		/* m-FILTER's manner, ISO-2022-JP: このメールは送信できませんでした。 */
		{ FROM_DAEMON "Subject: failure notice\nContent-Type: text/plain; "
			      "charset=ISO-2022-JP\n\n"
			      "\x1b$B$3$N%a!<%k$OAw?.$G$-$^$;$s$G$7$?!#\x1b(B\na@one.test\n"
			      "-------server message\n550 5.1.1 <a@one.test>: User unknown\n"
			      "-------original message\nTo: x@y.test\n",
		    "bounce; a@one.test 5.1.1 550 hard user_unknown" },
		/* an HTML body alone */
		{ FROM_DAEMON
		    "Subject: Undeliverable: news\nContent-Type: text/html\n\n"
		    "<p>Your message couldn't be delivered to <a href=\"mailto:a@one.test\">"
		    "a@one.test</a></p><p>Remote server returned '550 5.1.10 "
		    "RESOLVER.ADR.RecipientNotFound'</p>",
		    "bounce; a@one.test 5.1.10 550 hard user_unknown" },
		/* a body without header */
		{ "This is the mail system at host mx.test.\n\n<a@one.test>: host mx.one.test"
		  "[192.0.2.1]\n    said: 450 4.2.2 mailbox full (in reply to RCPT TO command)\n",
		    "bounce; a@one.test 4.2.2 450 soft mailbox_full" },
		/* no boundary is closed, and it is written in other case */
		{ FROM_DAEMON
		    "Subject: failed\nContent-Type: multipart/report; boundary=\"AbC\"\n\n"
		    "--aBc\n\nx\n--aBc\nContent-Type: message/delivery-status\n\n\n"
		    "Final-Recipient: rfc822;a@one.test\nAction: failed\nStatus: 5.4.4\n",
		    "bounce; a@one.test 5.4.4 0 hard domain_unknown" },
	};

	(void)state;
	check(rows, sizeof(rows) / sizeof(rows[0]));
}

#define ARF(type)                                                                                  \
	"From: fbl@isp.test\nContent-Type: multipart/report; report-type=feedback-report; "        \
	"boundary=f\n\n--f\n\nA complaint.\n--f\nContent-Type: message/feedback-report\n\n"        \
	"Feedback-Type: " type "\nUser-Agent: T/1\nVersion: 1\nOriginal-Rcpt-To: a@one.test\n"     \
	"\n--f\nContent-Type: message/rfc822\n\nTo: z@z.test\n\nhi\n--f--\n"

static void
test_complaints(void **state)
{
	static const struct row rows[] = {
		{ ARF("abuse"), "complaint abuse; a@one.test  0  abuse" },
		{ ARF("not-spam"), "complaint not-spam; a@one.test  0  not-spam" },
		{ ARF("Opt-Out"), "complaint opt-out; a@one.test  0  other" },
		{ ARF("auth-failure"), "complaint auth-failure; a@one.test  0  auth-failure" },
		/* a loop without report */
		{ "From: staff@isp.test\nSubject: complaint about message from 192.0.2.1\n"
		  "Content-Type: multipart/mixed; boundary=m\n\n--m\nContent-Type: "
		  "message/rfc822\n\n"
		  "X-HmXmrOriginalRecipient: a@one.test\nTo: x@y.test\n\nhi\n--m--\n",
		    "complaint abuse; a@one.test  0  abuse" },
	};

	(void)state;
	check(rows, sizeof(rows) / sizeof(rows[0]));
}

static void
test_auto_replies(void **state)
{
	static const struct row rows[] = {
		{ "Return-Path: <>\nAuto-Submitted: auto-replied\nSubject: Re: news\n\nI am away, "
		  "mail to me could not be delivered before Monday.\n",
		    "auto_reply" },
		{ "From: a@one.test\nSubject: Automatic reply: news\n\nBack soon.\n",
		    "auto_reply" },
		{ "From: a@one.test\nSubject: Abwesenheitsnotiz: news\n\nx\n", "auto_reply" },
		{ "From: a@one.test\nSubject: =?UTF-8?B?5LiN5Zyo44Gu44GK55+l44KJ44Gb?=\n\nx\n",
		    "auto_reply" },
		{ "From: a@one.test\nX-Autoreply: yes\nSubject: thanks\n\nx\n", "auto_reply" },
	};

	(void)state;
	check(rows, sizeof(rows) / sizeof(rows[0]));
}

/* What people and other programs write is never a bounce. */
static void
test_unrelated(void **state)
{
	static const struct row rows[] = {
		{ "", "other" },
		{ "\n\n\n", "other" },
		{ "just words", "other" },
		{ "{\"no\":\"notice\"}", "other" },
		{ "From: a@one.test\nSubject: Re: delivery failed?\nIn-Reply-To: <1@x>\n\n"
		  "Hi, my mail came back:\n> <b@two.test>: 550 5.1.1 User unknown\nWhy?\n",
		    "other" },
		{ "From: list@lists.test\nSubject: Returned goods\nList-Id: <l.lists.test>\n"
		  "Precedence: bulk\n\nThe user unknown to us sent 550 boxes.\n",
		    "other" },
		{ "From: shop@one.test\nSubject: Your parcel\n\nYour parcel could not be "
		  "delivered. "
		  "Call us: help@one.test\n",
		    "other" },
		{ "From: x@one.test\nSubject: fwd\nContent-Type: multipart/mixed; "
		  "boundary=m\n\n--m\n"
		  "\nSee below.\n--m\nContent-Type: message/rfc822\n\nContent-Type: "
		  "multipart/report; boundary=q\n\n--q\nContent-Type: message/delivery-status\n\n"
		  "Final-Recipient: rfc822;a@one.test\nAction: failed\nStatus: "
		  "5.1.1\n--q--\n--m--\n",
		    "other" },
		{ "Content-Type: multipart/report; report-type=disposition-notification; "
		  "boundary=x\n"
		  "\n--x\n\nread\n--x\nContent-Type: message/disposition-notification\n\n"
		  "Final-Recipient: rfc822;a@one.test\nDisposition: manual-action/x; displayed\n\n",
		    "other" },
	};

	(void)state;
	check(rows, sizeof(rows) / sizeof(rows[0]));
}

#define SES_BOUNCE                                                                                 \
	"{\"notificationType\":\"Bounce\",\"bounce\":{\"bounceType\":\"Permanent\","               \
	"\"bounceSubType\":\"General\",\"timestamp\":\"2026-11-21T00:00:00.000Z\","                \
	"\"feedbackId\":\"f1\",\"bouncedRecipients\":[{\"emailAddress\":\"a@one.test\","           \
	"\"action\":\"failed\",\"status\":\"5.1.1\",\"diagnosticCode\":\"smtp; 550 5.1.1 no such " \
	"user\"}]},\"mail\":{\"messageId\":\"m1\",\"destination\":[\"a@one.test\"]}}"

static void
test_ses(void **state)
{
	static const char escaped[] =
	    "{\"Type\":\"Notification\",\"Message\":\"{\\\"eventType\\\":\\\"Complaint\\\","
	    "\\\"complaint\\\":{\\\"complaintFeedbackType\\\":\\\"abuse\\\","
	    "\\\"complainedRecipients"
	    "\\\":[{\\\"emailAddress\\\":\\\"a@one.test\\\"}]},\\\"mail\\\":{\\\"messageId\\\":"
	    "\\\"m1\\\"}}\"}";
	static const struct row rows[] = {
		{ SES_BOUNCE, "bounce; a@one.test 5.1.1 550 hard user_unknown" },
		{ escaped, "complaint abuse; a@one.test  0  abuse" },
		{ "From: no-reply@sns.test\nSubject: AWS Notification Message\n\n" SES_BOUNCE
		  "\n\n--\nTo stop these mails, ...\n",
		    "bounce; a@one.test 5.1.1 550 hard user_unknown" },
		{ "{\"eventType\":\"Open\",\"open\":{},\"mail\":{\"messageId\":\"m1\"}}", "other" },
	};

	(void)state;
	check(rows, sizeof(rows) / sizeof(rows[0]));
}

/* A prefix of any length gives a verdict, and never a hard one that the whole does not. */
static void
test_cut(void **state)
{
	static const char mail[] = REPORT("The mailbox of <a@one.test> is full.",
	    "Final-Recipient: rfc822; a@one.test\nAction: failed\nStatus: 5.2.2\n"
	    "Diagnostic-Code: smtp; 552 5.2.2 over quota\n");

	(void)state;
	for (size_t n = 0; n < sizeof(mail); n++)
		assert_null(strstr(classify_bytes(slice_make(mail, n)), "hard"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reports),
		cmocka_unit_test(test_prose),
		cmocka_unit_test(test_complaints),
		cmocka_unit_test(test_auto_replies),
		cmocka_unit_test(test_unrelated),
		cmocka_unit_test(test_ses),
		cmocka_unit_test(test_cut),
	};
	int failed;

	arena_init(&arena, INBOUND_ARENA_MAX);
	buf_init(&line, 100000);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	arena_release(&arena);
	buf_release(&line);
	return failed;
}
