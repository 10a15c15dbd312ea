/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inbound: whole mails in, events out. The mails are written for this test; tokens in them are
 * those of placeholders.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "inbound.h"
#include "placeholders.h"

static struct arena arena;
static char *mail; /* the last one built */

/* Text with the placeholders filled in. */
static struct slice
fill(const char *text)
{
	free(mail);
	mail = malloc(strlen(text) * 20 + 1);
	return placeholders_fill(text, mail);
}

static struct feedback_events
parse_raw(struct slice raw, const char *rcpt)
{
	struct feedback_events events = { NULL, 0, 0 };
	char address[200];
	struct slice rcpts[1];
	struct inbound_input in = { raw, rcpts, rcpt != NULL ? 1 : 0, &placeholder_keys,
		SLICE("bounce.test"), NULL, NULL };
	struct err err = { 0, "" };
	char token[TOKEN_CHARS + 1] = "";

	if (rcpt != NULL && rcpt[0] == '%') { /* "%Bb@bounce.test": token of B behind "b+" */
		placeholder_token(rcpt[1], token);
		(void)snprintf(address, sizeof(address), "%c+%s%s", rcpt[2], token, rcpt + 3);
		rcpts[0] = slice_str(address);
	} else if (rcpt != NULL) {
		rcpts[0] = slice_str(rcpt);
	}
	arena_release(&arena);
	arena_init(&arena, INBOUND_ARENA_MAX);
	assert_int_equal(inbound_parse(&in, &arena, &events, &err), 0);
	assert_true(events.count >= 1);
	for (size_t i = 0; i < events.count; i++) {
		assert_true(events.items[i].key.len > 0);
		assert_true(events.items[i].detail.len > 1);
		if (!events.items[i].linked)
			assert_int_equal(events.items[i].token.send, 0);
	}
	return events;
}

static struct feedback_events
parse(const char *text, const char *rcpt)
{
	return parse_raw(fill(text), rcpt);
}

static void
assert_event(const struct feedback_event *e, enum outcome_kind kind, enum outcome_class cls,
    const char *reason, bool linked)
{
	assert_string_equal(outcome_kind_name(e->kind), outcome_kind_name(kind));
	assert_string_equal(outcome_class_name(e->cls), outcome_class_name(cls));
	if (reason != NULL)
		assert_string_equal(e->reason, reason);
	assert_int_equal(e->linked, linked);
	if (linked) {
		assert_int_equal(e->token.run, 7);
		assert_int_equal(e->token.send, 42);
		assert_int_equal(e->token.attempt, 3);
	}
}

#define VERP "%Bb@bounce.test"
#define UNSUB "%Uu@bounce.test"

#define DSN_TOP                                                                                    \
	"Return-Path: <>\nDate: Sat, 21 Nov 2026 17:05:42 +0000 (UTC)\n"                           \
	"From: MAILER-DAEMON@mta.test (Mail Delivery System)\n"                                    \
	"Subject: Undelivered Mail Returned to Sender\nAuto-Submitted: auto-replied\n"             \
	"MIME-Version: 1.0\n"                                                                      \
	"Content-Type: multipart/report; "                                                         \
	"report-type=delivery-status;\n\tboundary=\"AAA/mta.test\"\n"                              \
	"Message-Id: <2026.AAA@mta.test>\n\n"                                                      \
	"This is a MIME-encapsulated message.\n\n--AAA/mta.test\n"                                 \
	"Content-Description: Notification\nContent-Type: text/plain; charset=us-ascii\n\n"        \
	"This is the mail system at host mta.test.\n\n"

#define DSN_STATUS(group)                                                                          \
	"--AAA/mta.test\nContent-Description: Delivery report\nContent-Type: "                     \
	"message/delivery-status\n\n"                                                              \
	"Reporting-MTA: dns; mta.test\nX-Postfix-Queue-ID: 3FD0\n"                                 \
	"Arrival-Date: Sat, 21 Nov 2026 17:05:40 +0000 (UTC)\n\n" group "\n"

#define DSN_HEADERS                                                                                \
	"--AAA/mta.test\nContent-Description: Undelivered Message Headers\n"                       \
	"Content-Type: text/rfc822-headers\n\n"                                                    \
	"Return-Path: <b+%B@bounce.test>\nSubject: news\n\n--AAA/mta.test--\n"

#define HARD                                                                                       \
	"Final-Recipient: rfc822; u@hard.test\nOriginal-Recipient: rfc822;u@hard.test\n"           \
	"Action: failed\nStatus: 5.1.1\nRemote-MTA: dns; mx.hard.test\n"                           \
	"Diagnostic-Code: smtp; 550 5.1.1 <u@hard.test>: Recipient\n    address rejected: User "   \
	"unknown\n"

static void
test_postfix(void **state)
{
	struct feedback_events events = parse(DSN_TOP DSN_STATUS(HARD) DSN_HEADERS, VERP);
	const struct feedback_event *e = events.items;

	(void)state;
	assert_int_equal(events.count, 1);
	assert_event(e, OUTCOME_BOUNCED, OUTCOME_HARD, "user_unknown", true);
	assert_int_equal(e->code, 550);
	assert_int_equal(e->enhanced[1], 1);
	assert_string_equal(e->source, "dsn");
	assert_string_equal(e->address.ptr, "u@hard.test");
	assert_string_equal(e->remote.ptr, "mx.hard.test");
	assert_string_equal(
	    e->text.ptr, "550 5.1.1 <u@hard.test>: Recipient address rejected: User unknown");
	assert_int_equal(e->occurred_at_us, 1795280742000000);
	assert_string_equal(e->key.ptr, "dsn|7.42.3|failed|5.1.1|<2026.AAA@mta.test>");
	assert_non_null(strstr(e->detail.ptr, "\"action\":\"failed\""));
	events = parse(DSN_TOP DSN_STATUS(HARD) "--AAA/mta.test--\n", "postmaster@bounce.test");
	assert_false(events.items->linked);
	assert_string_equal(events.items->key.ptr,
	    "dsn|a8bccd35c59446d58d3710378fd746d8|failed|5.1.1|<2026.AAA@mta.test>");
}

/* The same facts, however the mail was bent on its way. */
static void
test_postfix_bent(void **state)
{
	struct slice whole = fill(DSN_TOP DSN_STATUS(HARD) DSN_HEADERS);
	char *bent = malloc(whole.len * 2 + 1);
	struct feedback_events events;
	size_t n;

	(void)state;
	for (int way = 0; way < 4; way++) {
		n = 0;
		for (size_t i = 0; i < whole.len; i++) {
			char c = whole.ptr[i];
			if (c == '\n' && way == 0)
				bent[n++] = '\r';
			if (c == '\n' && way == 1) {
				bent[n++] = '\r';
				bent[n++] = '\r';
			}
			if (c == '\n' && way == 2)
				c = '\r';
			if (way == 3 && c == ' ' && i > 900)
				c = '\0';
			bent[n++] = c;
		}
		events = parse_raw(slice_make(bent, n), VERP);
		assert_int_equal(events.count, 1);
		assert_event(events.items, OUTCOME_BOUNCED, OUTCOME_HARD, "user_unknown", true);
	}
	free(bent);
	/* out of a mailbox file */
	events = parse("From MAILER-DAEMON Sat Nov 21 17:05:42 2026\n" DSN_TOP DSN_STATUS(HARD)
			   DSN_HEADERS,
	    VERP);
	assert_event(events.items, OUTCOME_BOUNCED, OUTCOME_HARD, "user_unknown", true);
}

static void
test_actions(void **state)
{
	struct feedback_events events;

	(void)state;
	events = parse(DSN_TOP DSN_STATUS(
			   "Final-Recipient: rfc822; a@soft.test\nAction: failed\n"
			   "Status: 4.2.2\nDiagnostic-Code: X-Postfix; mailbox full\n") DSN_HEADERS,
	    VERP);
	assert_event(events.items, OUTCOME_BOUNCED, OUTCOME_SOFT, "mailbox_full", true);
	events = parse(DSN_TOP DSN_STATUS("Final-Recipient: rfc822; a@soft.test\nAction: delayed\n"
					  "Status: 4.4.1\nWill-Retry-Until: x\n") DSN_HEADERS,
	    VERP);
	assert_event(events.items, OUTCOME_DELAYED, OUTCOME_SOFT, "delayed", true);
	events = parse(DSN_TOP DSN_STATUS("Final-Recipient: rfc822; a@ok.test\nAction: delivered\n"
					  "Status: 2.0.0\n") DSN_HEADERS,
	    VERP);
	assert_event(events.items, OUTCOME_DELIVERED, OUTCOME_CLASS_NONE, "delivered", true);
	events = parse(DSN_TOP DSN_STATUS("Final-Recipient: rfc822; a@ok.test\nAction: relayed\n"
					  "Status: 2.0.0\n") DSN_HEADERS,
	    VERP);
	assert_event(events.items, OUTCOME_OTHER, OUTCOME_CLASS_NONE, "relayed", true);
	events = parse(DSN_TOP DSN_STATUS("X-Nothing: here\n") DSN_HEADERS, VERP);
	assert_event(events.items, OUTCOME_OTHER, OUTCOME_CLASS_NONE, "report_unreadable", true);
}

static void
test_mixed_recipients(void **state)
{
	struct feedback_events events = parse(
	    DSN_TOP DSN_STATUS(HARD
		"\nFinal-Recipient: rfc822; b@x.test\nAction: delivered\nStatus: 2.0.0\n"
		"\nFinal-Recipient: rfc822; c@x.test\nAction: delayed\nStatus: 4.4.1\n"
		"\nFinal-Recipient: rfc822; d@x.test\nAction: failed\nStatus: 5.1.1\n") DSN_HEADERS,
	    VERP);

	(void)state;
	/* the fourth says about our row what the first said */
	assert_int_equal(events.count, 3);
	assert_event(&events.items[0], OUTCOME_BOUNCED, OUTCOME_HARD, NULL, true);
	assert_event(&events.items[1], OUTCOME_DELIVERED, OUTCOME_CLASS_NONE, NULL, true);
	assert_event(&events.items[2], OUTCOME_DELAYED, OUTCOME_SOFT, NULL, true);
	assert_string_equal(events.items[1].address.ptr, "b@x.test");
}

/* A VERP recipient that does not verify, one of another purpose, none at all. */
static void
test_forged(void **state)
{
	static const char *const rcpts[] = { "%Fb@bounce.test", "%Ub@bounce.test",
		"%Bu@bounce.test", "%Bb@other.test", "%Bb@bounce.test.evil.test", "b+@bounce.test",
		"b+short@bounce.test", "postmaster@bounce.test", "" };
	static const char forged[] = DSN_TOP DSN_STATUS(
	    HARD) "--AAA/mta.test\nContent-Type: text/rfc822-headers\n\n"
		  "Return-Path: <b+%F@bounce.test>\nX-Kairan-Id: %F\nX-Kairan-Id: %U\n\n"
		  "--AAA/mta.test--\n";

	(void)state;
	for (size_t i = 0; i < sizeof(rcpts) / sizeof(rcpts[0]); i++) {
		struct feedback_events events = parse(forged, rcpts[i]);
		assert_int_equal(events.count, 1);
		assert_event(events.items, OUTCOME_BOUNCED, OUTCOME_HARD, "user_unknown", false);
		assert_string_equal(events.items[0].address.ptr, "u@hard.test");
	}
}

/* Case is folded by mailers; the token still verifies. */
static void
test_folded_case(void **state)
{
	char address[100], token[TOKEN_CHARS + 1];
	struct feedback_events events;

	(void)state;
	placeholder_token('B', token);
	for (char *p = token; *p != '\0'; p++)
		if (*p >= 'a' && *p <= 'z')
			*p = (char)(*p - 32);
	(void)snprintf(address, sizeof(address), "B+%s@BOUNCE.test", token);
	events = parse(DSN_TOP DSN_STATUS(HARD), address);
	assert_event(events.items, OUTCOME_BOUNCED, OUTCOME_HARD, "user_unknown", true);
}

static void
test_link_inside(void **state)
{
	static const char *const parts[] = {
		"Content-Type: text/rfc822-headers\n\nReturn-Path: <b+%B@bounce.test>\n",
		"Content-Type: text/rfc822-headers\n\nSubject: x\nX-Kairan-Id:\n  %B\n",
		"Content-Type: message/rfc822\n\nX-Kairan-Id: %B\nTo: a@b\n\nbody\n",
		"Content-Type: message/global-headers\n\nX-Kairan-Id: %B\n",
		"Content-Type: message/rfc822\n\nReturn-Path: <b+%B@bounce.test>\nContent-Type: "
		"multipart/mixed; boundary=zz\n\n--zz\n\nx\n--zz--\n",
	};
	struct feedback_events events;

	(void)state;
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		char text[4000];
		(void)snprintf(text, sizeof(text), "%s%s\n--AAA/mta.test--\n",
		    DSN_TOP DSN_STATUS(HARD) "--AAA/mta.test\n", parts[i]);
		events = parse(text, "bounces@bounce.test");
		assert_event(events.items, OUTCOME_BOUNCED, OUTCOME_HARD, "user_unknown", true);
	}
	/* by the envelope id alone; nothing but part 2 */
	events = parse(DSN_TOP "--AAA/mta.test\nContent-Type: message/delivery-status\n\n"
			       "Reporting-MTA: dns; m\nOriginal-Envelope-Id: %B\n\n" HARD,
	    "bounces@bounce.test");
	assert_event(events.items, OUTCOME_BOUNCED, OUTCOME_HARD, "user_unknown", true);
}

/* Out of a mailbox: the recipient is in a header. */
static void
test_link_header(void **state)
{
	static const char *const headers[] = { "Delivered-To: b+%B@bounce.test\n",
		"X-Original-To: b+%B@bounce.test\n", "To: <b+%B@bounce.test>\n",
		"To: x@y, \"b\" <b+%B@bounce.test>,\n z@y\n" };
	struct feedback_events events;
	char text[4000];

	(void)state;
	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
		(void)snprintf(text, sizeof(text), "%s%s", headers[i], DSN_TOP DSN_STATUS(HARD));
		events = parse(text, NULL);
		assert_event(events.items, OUTCOME_BOUNCED, OUTCOME_HARD, "user_unknown", true);
		/* with an envelope the header is not asked */
		events = parse(text, "bounces@bounce.test");
		assert_event(events.items, OUTCOME_BOUNCED, OUTCOME_HARD, "user_unknown", false);
	}
	events = parse("To: xb+%B@bounce.test\n" DSN_TOP DSN_STATUS(HARD), NULL);
	assert_event(events.items, OUTCOME_BOUNCED, OUTCOME_HARD, "user_unknown", false);
}

static void
test_exchange(void **state)
{
	struct feedback_events events = parse(
	    "From: <postmaster@corp.test>\nSubject: Undeliverable: news\n"
	    "Content-Type: Multipart/Report; Report-Type=\"Delivery-Status\"; boundary=\"_out_\"\n"
	    "Content-Language: de-DE\nMessage-ID: <x@corp.test>\n\n"
	    "--_out_\nContent-Type: multipart/alternative; differences=Content-Type;\n"
	    " boundary=\"_in_\"\n\n--_in_\nContent-Type: text/plain; charset=\"utf-8\"\n"
	    "Content-Transfer-Encoding: base64\n\nSGVsbG8=\n--_in_\n"
	    "Content-Type: text/html; charset=\"utf-8\"\n\n<html></html>\n--_in_--\n"
	    "--_out_\nContent-Type: image/png; name=logo.png\nContent-Transfer-Encoding: base64\n\n"
	    "iVBORw0KGgo=\n"
	    "--_out_\nContent-Type: message/delivery-status\n\n"
	    "Reporting-MTA: dns;ex1.corp.test\nReceived-From-MTA: dns;out.test\n"
	    "Arrival-Date: Sat, 21 Nov 2026 17:05:40 +0000\n\n"
	    "Final-Recipient: rfc822;gone@corp.test\nAction: failed\nStatus: 5.1.10\n"
	    "Diagnostic-Code: smtp;550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found\n"
	    "X-Display-Name: Gone\n\n"
	    "--_out_\nContent-Type: message/rfc822\n\nX-Kairan-Id: %B\nSubject: news\n\nhi\n"
	    "--_out_--\n",
	    "bounces@bounce.test");

	(void)state;
	assert_int_equal(events.count, 1);
	assert_event(events.items, OUTCOME_BOUNCED, OUTCOME_HARD, NULL, true);
	assert_string_equal(events.items[0].address.ptr, "gone@corp.test");
	assert_string_equal(events.items[0].remote.ptr, "ex1.corp.test");
	assert_int_equal(events.items[0].enhanced[2], 10);
}

static void
test_smtputf8(void **state)
{
	struct feedback_events events = parse(
	    "Content-Type: multipart/report; report-type=delivery-status; boundary=x\n\n--x\n\n"
	    "hello\n--x\nContent-Type: message/global-delivery-status\n"
	    "Content-Transfer-Encoding: base64\n\n"
	    /* Reporting-MTA: dns; m / Final-Recipient: utf-8; あ@x.test / failed / 5.1.1 */
	    "UmVwb3J0aW5nLU1UQTogZG5zOyBtCgpGaW5hbC1SZWNpcGllbnQ6IHV0Zi04OyDjgYJAeC50ZXN0\n"
	    "CkFjdGlvbjogZmFpbGVkClN0YXR1czogNS4xLjEK\n--x--\n",
	    VERP);

	(void)state;
	assert_event(events.items, OUTCOME_BOUNCED, OUTCOME_HARD, NULL, true);
	assert_string_equal(events.items[0].address.ptr, "\xE3\x81\x82@x.test");
}

#define ARF(type, fields, original)                                                                \
	"From: feedback@isp.test\nDate: Sat, 21 Nov 2026 17:05:42 +0000\nMessage-ID: "             \
	"<r1@isp.test>\n"                                                                          \
	"Content-Type: multipart/report; report-type=feedback-report; boundary=ff\n\n"             \
	"--ff\nContent-Type: text/plain\n\nThis is a complaint.\n"                                 \
	"--ff\nContent-Type: message/feedback-report\n\nFeedback-Type: " type                      \
	"\nUser-Agent: T/1\nVersion: 1\n" fields "\n--ff\n" original "\n--ff--\n"

static void
test_arf(void **state)
{
	static const struct {
		const char *text;
		enum outcome_kind kind;
		const char *reason;
		bool linked;
	} rows[] = {
		{ ARF("abuse", "Original-Mail-From: <b+%B@bounce.test>\n",
		      "Content-Type: message/rfc822\n\nSubject: x\n\nhi"),
		    OUTCOME_COMPLAINED, "abuse", true },
		/* everything redacted but our own field */
		{ ARF("abuse",
		      "Original-Mail-From: redacted\nOriginal-Rcpt-To: redacted@isp.test\n",
		      "Content-Type: text/rfc822-headers\n\nTo: redacted\nX-Kairan-Id: %B"),
		    OUTCOME_COMPLAINED, "abuse", true },
		{ ARF("fraud", "",
		      "Content-Type: message/rfc822\n\nReturn-Path: <b+%B@bounce.test>\n\nhi"),
		    OUTCOME_COMPLAINED, "fraud", true },
		{ ARF("not-spam", "Original-Mail-From: <b+%B@bounce.test>\n", "\nx"), OUTCOME_OTHER,
		    "not-spam", true },
		{ ARF("auth-failure", "Auth-Failure: dmarc\n",
		      "Content-Type: text/rfc822-headers\n\nX-Kairan-Id: %B"),
		    OUTCOME_OTHER, "auth-failure", true },
		/* forged: no token, a bad one, one of another purpose */
		{ ARF("abuse", "Original-Rcpt-To: victim@x.test\n", "\nx"), OUTCOME_COMPLAINED,
		    "abuse", false },
		{ ARF("abuse", "Original-Mail-From: <b+%F@bounce.test>\n",
		      "Content-Type: message/rfc822\n\nX-Kairan-Id: %F\n\nhi"),
		    OUTCOME_COMPLAINED, "abuse", false },
		{ ARF("abuse", "Original-Mail-From: <b+%U@bounce.test>\n",
		      "Content-Type: message/rfc822\n\nX-Kairan-Id: %U\n\nhi"),
		    OUTCOME_COMPLAINED, "abuse", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct feedback_events events = parse(rows[i].text, "fbl@bounce.test");
		assert_int_equal(events.count, 1);
		assert_event(
		    events.items, rows[i].kind, OUTCOME_CLASS_NONE, rows[i].reason, rows[i].linked);
		assert_string_equal(events.items[0].source, "arf");
		assert_int_equal(events.items[0].occurred_at_us, 1795280742000000);
	}
}

static void
test_others(void **state)
{
	static const struct {
		const char *text, *reason;
	} rows[] = {
		{ "Auto-Submitted: auto-replied; x=y\nSubject: away\n\nI am away.\n",
		    "auto_reply" },
		{ "Auto-Submitted: (c)\nX-Autoreply: yes\n\nx\n", "auto_reply" },
		{ "Precedence: BULK\n\nx\n", "auto_reply" },
		{ "X-Auto-Response-Suppress: All\n\nx\n", "auto_reply" },
		{ "Subject: Automatic reply: news\n\nx\n", "auto_reply" },
		/* 不在のお知らせ */
		{ "Subject: =?ISO-2022-JP?B?GyRCSVQ6XyROJCpDTiRpJDsbKEI=?=\n\nx\n", "auto_reply" },
		/* 【自動返信】 in UTF-8 */
		{ "Subject: =?UTF-8?B?44CQ6Ieq5YuV6L+U5L+h44CR44GK5ZWP44GE5ZCI44KP44Gb?=\n\nx\n",
		    "auto_reply" },
		{ "Content-Type: multipart/report; report-type=disposition-notification; "
		  "boundary=x\n"
		  "\n--x\n\nread\n--x\nContent-Type: message/disposition-notification\n\n"
		  "Disposition: manual-action/MDN-sent-manually; displayed\n\n--x--\n",
		    "read_receipt" },
		{ "Content-Type: multipart/report; report-type=tlsrpt; "
		  "boundary=x\n\n--x\n\nx\n--x\n"
		  "Content-Type: application/tlsrpt+gzip\n\nx\n--x--\n",
		    "tls_report" },
		{ "Auto-Submitted: no\nSubject: Re: news\n\nThank you!\n", "unrecognised" },
		{ "Subject: x\n\nFinal-Recipient: rfc822; u@hard.test\nAction: failed\nStatus: "
		  "5.1.1\n",
		    "unrecognised" },
		{ "", "unrecognised" },
		{ "\n\n", "unrecognised" },
		{ "no header at all", "unrecognised" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct feedback_events events = parse(rows[i].text, VERP);
		assert_int_equal(events.count, 1);
		assert_event(events.items, OUTCOME_OTHER, OUTCOME_CLASS_NONE, rows[i].reason, true);
	}
}

static void
test_unsubscribe(void **state)
{
	struct feedback_events events;

	(void)state;
	events = parse("From: a@b.test\nSubject: unsubscribe\nMessage-ID: <u1@b>\n\n", UNSUB);
	assert_int_equal(events.count, 1);
	assert_event(events.items, OUTCOME_UNSUBSCRIBED, OUTCOME_CLASS_NONE, NULL, true);
	events = parse("To: <u+%U@bounce.test>\nSubject: x\n\n", NULL);
	assert_event(events.items, OUTCOME_UNSUBSCRIBED, OUTCOME_CLASS_NONE, NULL, true);
	/* not by an auto-reply, a forged token, a bounce token, a report */
	events = parse("Auto-Submitted: auto-replied\nSubject: x\n\n", UNSUB);
	assert_event(events.items, OUTCOME_OTHER, OUTCOME_CLASS_NONE, "auto_reply", false);
	events = parse("Subject: unsubscribe\n\n", "%Fu@bounce.test");
	assert_event(events.items, OUTCOME_OTHER, OUTCOME_CLASS_NONE, "unrecognised", false);
	events = parse("Subject: unsubscribe\n\n", "%Bu@bounce.test");
	assert_event(events.items, OUTCOME_OTHER, OUTCOME_CLASS_NONE, "unrecognised", false);
	events = parse(DSN_TOP DSN_STATUS(HARD), UNSUB);
	assert_event(events.items, OUTCOME_BOUNCED, OUTCOME_HARD, NULL, false);
}

/* Nesting, parts, headers, hops, size: a verdict within a second each, never a crash. */
static void
test_bombs(void **state)
{
	size_t max = 1000 * 1000, n;
	char *text = malloc(max + 400);
	struct feedback_events events = { NULL, 0, 0 };
	struct inbound_input in = { { text, INBOUND_SIZE_MAX + 1 }, NULL, 0, &placeholder_keys,
		{ NULL, 0 }, NULL, NULL };
	struct err err;
	clock_t start = clock();

	(void)state;
	for (int bomb = 0; bomb < 9; bomb++) {
		const char *expected = "too_complex";
		n = 0;
		if (bomb >= 1)
			n = (size_t)snprintf(
			    text, 100, "Content-Type: multipart/mixed; boundary=x\n\n");
		for (int i = 0; n < max; i++) {
			size_t room = max + 400 - n;
			char *at = text + n;
			if (bomb == 0) /* multipart in multipart */
				n += (size_t)snprintf(at, room,
				    "Content-Type: multipart/mixed; boundary=x%d\n\n--x%d\n", i, i);
			else if (bomb == 1) /* parts */
				n += (size_t)snprintf(at, room, "--x\n\n");
			else if (bomb == 2) /* mails in mails */
				n += (size_t)snprintf(
				    at, room, "--x\nContent-Type: message/rfc822\n\n");
			else if (bomb == 3 && i < 11) /* one level too many */
				n += (size_t)snprintf(at, room,
				    "%sContent-Type: multipart/mixed; "
				    "boundary=\"xa%d\"\n\n--xa%d\n",
				    i == 0 ? "--x\n" : "", i, i);
			else if (bomb == 4) /* the same boundary again */
				n += (size_t)snprintf(
				    at, room, "--x\nContent-Type: multipart/mixed; boundary=x\n\n");
			else if (bomb == 5) /* header without end */
				n += (size_t)snprintf(at, room, "X-H%d: x\n", i);
			else if (bomb == 6) /* declared boundaries */
				n += (size_t)snprintf(at, room, "boundary=b%d\n", i);
			else
				n += (size_t)snprintf(at, room, "--\n");
		}
		if (bomb == 5)
			memcpy(text, "X-First: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n", 43);
		if (bomb >= 6) /* what no header declares is text */
			expected = "unrecognised";
		events = parse_raw(slice_make(text, n), VERP);
		assert_event(events.items, OUTCOME_OTHER, OUTCOME_CLASS_NONE, expected, true);
	}
	assert_true(clock() - start < 10 * CLOCKS_PER_SEC);
	assert_int_equal(inbound_parse(&in, &arena, &events, &err), -1);
	n = 0;
	for (int i = 0; i < INBOUND_HOPS_MAX + 1; i++)
		n += (size_t)snprintf(text + n, 100, "Received: from a by b; x\n");
	n += (size_t)snprintf(text + n, 100, "\nx\n");
	events = parse_raw(slice_make(text, n), VERP);
	assert_event(events.items, OUTCOME_OTHER, OUTCOME_CLASS_NONE, "mail_loop", true);
	free(text);
}

/* A report with 10 000 recipients and script in its text. */
static void
test_many_and_script(void **state)
{
	size_t n, room = 1 << 20;
	char *text = malloc(room);
	struct slice head;
	struct feedback_events events;

	(void)state;
	head = fill(DSN_TOP DSN_STATUS(""));
	memcpy(text, head.ptr, head.len);
	n = head.len;
	for (int i = 0; i < 10000; i++)
		n += (size_t)snprintf(text + n, room - n,
		    "Final-Recipient: rfc822; u%d@x.test\nAction: failed\nStatus: 5.1.%d\n\n", i,
		    i % 100);
	events = parse_raw(slice_make(text, n), "x@bounce.test");
	assert_int_equal(events.count, 100);
	events = parse_raw(slice_make(text, n), VERP);
	assert_true(events.count <= 100);
	free(text);
	events = parse(
	    DSN_TOP DSN_STATUS("Final-Recipient: rfc822; \"<script>\"@x.test\n"
			       "Action: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; "
			       "550 5.1.1 \x1B]0;pwn\x07 <script>alert(\"1\")</script> \\ \xFF\n"),
	    VERP);
	assert_null(strchr(events.items[0].text.ptr, 0x1B));
	assert_null(strchr(events.items[0].text.ptr, 0x07));
	assert_non_null(strstr(events.items[0].detail.ptr, "\\\"<script>\\\"@x.test"));
}

static int
teardown(void **state)
{
	(void)state;
	free(mail);
	arena_release(&arena);
	return 0;
}

/* Our Message-ID is signed: it links when nothing else does, and only for reports. */
static void
test_message_id(void **state)
{
#define REPORT(outer, inner)                                                                       \
	"From: <>\nTo: bounces@corp.test\n" outer                                                  \
	"Subject: Undeliverable\nContent-Type: multipart/report; "                                 \
	"report-type=delivery-status; boundary=x\n\n--x\n"                                         \
	"Content-Type: message/delivery-status\n\nReporting-MTA: dns; b.test\n\n"                  \
	"Final-Recipient: rfc822; c@b.test\nAction: failed\nStatus: 5.1.1\n\n--x\n"                \
	"Content-Type: message/rfc822\n\n" inner "Subject: News\n\nhi\n\n--x--\n"
	static const struct {
		const char *text;
		bool linked;
		unsigned attempt;
	} rows[] = {
		{ REPORT("", "Message-ID: <%M@corp.test>\n"), true, 0 },
		{ REPORT("", "Message-ID:\n <%M@corp.test>\n"), true, 0 },
		{ REPORT("In-Reply-To: <%M@corp.test>\n", ""), true, 0 },
		{ REPORT("References: <a@b> <%M@corp.test>\n <c@d>\n", ""), true, 0 },
		/* what names the attempt is asked first, wherever it stands */
		{ REPORT("", "Message-ID: <%M@corp.test>\nX-Kairan-Id: %B\n"), true, 3 },
		/* forged, of another purpose, cut, with something in front */
		{ REPORT("", "Message-ID: <%F@corp.test>\n"), false, 0 },
		{ REPORT("", "Message-ID: <%B@corp.test>\n"), false, 0 },
		{ REPORT("", "Message-ID: <x%M@corp.test>\n"), false, 0 },
		{ REPORT("", "Message-ID: <%M\n"), false, 0 },
		{ REPORT("", "X-Kairan-Id: %M\n"), false, 0 },
		{ REPORT("Message-ID: <%M@corp.test>\n", ""), false, 0 },
		/* a person who answers bounces nothing */
		{ "From: c@b.test\nSubject: Re: News\nIn-Reply-To: <%M@corp.test>\n\n"
		  "550 5.1.1 user unknown, ha\n",
		    false, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct feedback_events e = parse(rows[i].text, "bounces@corp.test");

		assert_int_equal(e.items[0].linked, rows[i].linked);
		assert_int_equal(e.items[0].token.attempt, rows[i].attempt);
		assert_int_equal(e.items[0].token.send, rows[i].linked ? 42 : 0);
	}
#undef REPORT
}

/* Feedback that Amazon SES forwards by mail instead of SNS: to the return path, else to the
 * address of ses.feedback_address. It has put its own return path and Message-ID in place of ours. */
static const char ses_bounce[] =
    "Return-Path: <>\nFrom: MAILER-DAEMON@eu-west-1.amazonses.com\nTo: feedback@corp.test\n"
    "Date: Fri, 20 Nov 2026 10:00:05 +0000 (UTC)\n"
    "Subject: Delivery Status Notification (Failure)\n"
    "Message-ID: <010201a1b2c3d4e5-000000@eu-west-1.amazonses.com>\nMIME-Version: 1.0\n"
    "Content-Type: multipart/report; report-type=delivery-status;\n boundary=\"part_ses\"\n\n"
    "--part_ses\nContent-Type: text/plain; charset=us-ascii\nContent-Description: Notification\n\n"
    "An error occurred while trying to deliver the mail to the following recipients:\n"
    "taro@b.test\n\n--part_ses\nContent-Type: message/delivery-status\n\n"
    "Reporting-MTA: dns; a4-9.smtp-out.eu-west-1.amazonses.com\n\n"
    "Final-Recipient: rfc822; taro@b.test\nAction: failed\nStatus: 5.1.1\n"
    "Diagnostic-Code: smtp; 550 5.1.1 <taro@b.test>: no such mailbox\n\n"
    "--part_ses\nContent-Type: message/rfc822\n\n"
    "Return-Path: <0102019a-bounce@eu-west-1.amazonses.com>\n%s"
    "Message-ID: <0102019a1111-2222@eu-west-1.amazonses.com>\nSubject: News\n"
    "X-SES-Outgoing: 2026.11.20-54.240.0.9\n\nhi\n\n--part_ses--\n";

static const char ses_complaint[] =
    "Return-Path: <>\nFrom: complaints@eu-west-1.email-abuse.amazonses.com\nTo: "
    "feedback@corp.test\n"
    "Date: Fri, 20 Nov 2026 11:00:00 +0000\n"
    "Subject: complaint about message from 54.240.0.9\nMIME-Version: 1.0\n"
    "Content-Type: multipart/report; report-type=feedback-report;\n boundary=\"part_arf\"\n\n"
    "--part_arf\nContent-Type: text/plain; charset=us-ascii\n\n"
    "This is an email abuse report for an email message from amazonses.com.\n\n"
    "--part_arf\nContent-Type: message/feedback-report\n\n"
    "Feedback-Type: abuse\nUser-Agent: Yahoo!-Mail-Feedback/2.0\nVersion: 0.1\n"
    "Original-Mail-From: <0102019a-bounce@eu-west-1.amazonses.com>\nSource-IP: 54.240.0.9\n"
    "Reported-Domain: corp.test\n\n--part_arf\nContent-Type: message/rfc822\n\n%s"
    "Message-ID: <0102019a1111-2222@eu-west-1.amazonses.com>\nSubject: "
    "News\n\nhi\n\n--part_arf--\n";

static void
test_ses_forwarding(void **state)
{
	static const struct {
		const char *field, *rcpt;
		bool linked;
	} rows[] = {
		{ "", "%Bb@bounce.test", true }, /* MAIL FROM was our return path */
		{ "X-Kairan-Id: %B\n", "feedback@corp.test", true },
		{ "Errors-To: <b+%B@bounce.test>\n", "feedback@corp.test", true },
		{ "Errors-To: b+%B@bounce.test\n", NULL, true },
		{ "X-Original-Return-Path: <b+%B@bounce.test>\n", "feedback@corp.test", true },
		{ "Errors-To: <b+%F@bounce.test>\n", "feedback@corp.test", false },
		{ "Errors-To: <b+%B@other.test>\n", "feedback@corp.test", false },
		{ "", "feedback@corp.test", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (size_t k = 0; k < 2; k++) {
			const char *text = k == 0 ? ses_bounce : ses_complaint;
			const char *at = strstr(text, "%s");
			struct feedback_events e;
			char *whole;

			assert_true(asprintf(&whole, "%.*s%s%s", (int)(at - text), text,
					rows[i].field, at + 2) > 0);
			e = parse(whole, rows[i].rcpt);
			free(whole);
			assert_int_equal(e.count, 1);
			if (k == 0)
				assert_event(&e.items[0], OUTCOME_BOUNCED, OUTCOME_HARD,
				    "user_unknown", rows[i].linked);
			else
				assert_event(&e.items[0], OUTCOME_COMPLAINED, OUTCOME_CLASS_NONE,
				    "abuse", rows[i].linked);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_postfix),
		cmocka_unit_test(test_postfix_bent),
		cmocka_unit_test(test_actions),
		cmocka_unit_test(test_mixed_recipients),
		cmocka_unit_test(test_forged),
		cmocka_unit_test(test_folded_case),
		cmocka_unit_test(test_link_inside),
		cmocka_unit_test(test_link_header),
		cmocka_unit_test(test_exchange),
		cmocka_unit_test(test_smtputf8),
		cmocka_unit_test(test_arf),
		cmocka_unit_test(test_others),
		cmocka_unit_test(test_unsubscribe),
		cmocka_unit_test(test_bombs),
		cmocka_unit_test(test_many_and_script),
		cmocka_unit_test(test_message_id),
		cmocka_unit_test(test_ses_forwarding),
	};

	arena_init(&arena, INBOUND_ARENA_MAX);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, teardown);
}
