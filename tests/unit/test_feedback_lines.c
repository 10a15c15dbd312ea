/* SPDX-License-Identifier: Apache-2.0 */
/* postfix_line, imap, mbox, sqs: what is read, and what is not taken for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "imap.h"
#include "mbox.h"
#include "postfix_line.h"
#include "sqs.h"

#define HEAD "Nov 21 23:02:33 mta postfix/"

static void
assert_slice(struct slice s, const char *text)
{
	assert_int_equal(s.len, strlen(text));
	assert_memory_equal(s.ptr, text, s.len);
}

static void
test_postfix(void **state)
{
	struct postfix_line p;

	(void)state;
	assert_true(postfix_line_parse(&p,
	    SLICE(HEAD "smtp[9]: 4dD3Wv2l4Kz9: to=<a@b.example>, orig_to=<x@y>, "
		       "relay=mx.b.example[192.0.2.1]:25, delay=1.2, delays=0/0/1/0, dsn=5.1.1, "
		       "status=bounced (host mx.b.example[192.0.2.1] said: 550 5.1.1 <a@b>: no, "
		       "status=sent (250 ok) (in reply to RCPT TO command))")));
	assert_int_equal(p.kind, POSTFIX_STATUS);
	assert_int_equal(p.status, POSTFIX_BOUNCED);
	assert_int_equal(p.code, 550);
	assert_int_equal(p.enhanced[0], 5);
	assert_slice(p.queue_id, "4dD3Wv2l4Kz9");
	assert_slice(p.address, "a@b.example");
	assert_slice(p.relay, "mx.b.example[192.0.2.1]:25");
	assert_slice(p.time, "Nov 21 23:02:33");
	assert_true(postfix_line_parse(&p,
	    SLICE("2026-11-21T23:02:33.5+09:00 mta postfix-out/relay/smtp[9]: ABCDEF0123: "
		  "to=<a@b>, relay=x[1.2.3.4]:25, dsn=2.0.0, status=sent (250 2.0.0 Ok)")));
	assert_int_equal(p.status, POSTFIX_SENT);
	assert_int_equal(p.code, 250);
	assert_true(postfix_line_parse(
	    &p, SLICE(HEAD "qmgr[9]: ABCDEF0123: from=<b+x@y>, size=4, nrcpt=1 (queue active)")));
	assert_int_equal(p.kind, POSTFIX_FROM);
	assert_slice(p.address, "b+x@y");
	assert_true(postfix_line_parse(&p,
	    SLICE(HEAD "qmgr[9]: ABCDEF0123: from=<b+x@y>, status=expired, returned to sender")));
	assert_int_equal(p.status, POSTFIX_EXPIRED);
	assert_true(postfix_line_parse(&p, SLICE(HEAD "cleanup[9]: ABCDEF0123: message-id=<m@x>")));
	assert_slice(p.message_id, "m@x");
}

static void
test_postfix_other(void **state)
{
	static const char *const lines[] = { "", "Nov 21", HEAD,
		HEAD "smtp[9]: ", HEAD "smtp[9]: connect to x[1.2.3.4]:25: Connection refused",
		HEAD "smtp[9]: ABCDEF0123: to=<a@b>, relay=x (status=sent (250 ok))",
		HEAD "smtp[9]: ABCDEF0123: to=<a@b, status=sent (250 ok)",
		HEAD "smtp[9]: ABCDEF0123: from=<a@b>, size=1",
		HEAD "smtpd[9]: ABCDEF0123: client=x[1.2.3.4]",
		"Nov 21 23:02:33 mta sshd[9]: ABCDEF0123: to=<a@b>, dsn=2.0.0, status=sent (x)",
		"Nov 21 23:02:33 mta evil x: postfix/smtp[9]: ABCDEF0123: to=<a@b>, status=sent "
		"(x)",
		HEAD "verify[9]: ABCDEF0123: to=<a@b>, dsn=2.0.0, status=deliverable (x)" };
	struct postfix_line p;

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		assert_false(postfix_line_parse(&p, slice_str(lines[i])));
}

static void
test_postfix_time(void **state)
{
	int64_t now = 1798761600; /* 2027-01-01T00:00:00Z */

	(void)state;
	assert_int_equal(setenv("TZ", "UTC", 1), 0);
	tzset();
	assert_int_equal(postfix_line_time(SLICE("Dec 31 23:59:59"), now), 1798761599000000);
	assert_int_equal(postfix_line_time(SLICE("Jan  1 12:00:00"), now), 1798804800000000);
	assert_int_equal(postfix_line_time(SLICE("Jan  3 00:00:00"), now), 1767398400000000);
	assert_int_equal(postfix_line_time(SLICE("Feb 29 00:00:00"), now), 1709164800000000);
	assert_int_equal(postfix_line_time(SLICE("Foo 29 00:00:00"), now), 0);
	assert_int_equal(postfix_line_time(SLICE("Dec 32 00:00:00"), now), 0);
	assert_int_equal(
	    postfix_line_time(SLICE("2027-01-01T09:00:00.25+09:00"), now), 1798761600250000);
}

static void
test_imap(void **state)
{
	uint32_t uids[3];
	struct slice id;
	uint32_t n;
	size_t size;

	(void)state;
	assert_int_equal(imap_answer(SLICE("k1 OK done"), SLICE("k1")), IMAP_OK);
	assert_int_equal(imap_answer(SLICE("k1 NO no"), SLICE("k1")), IMAP_REFUSED);
	assert_int_equal(imap_answer(SLICE("k10 OK"), SLICE("k1")), IMAP_UNTAGGED);
	assert_int_equal(imap_answer(SLICE("* BYE gone"), SLICE("k1")), IMAP_REFUSED);
	assert_int_equal(imap_search(SLICE("* SEARCH 4 8 15 16"), uids, 3), 3);
	assert_int_equal(uids[2], 15);
	assert_int_equal(imap_search(SLICE("* SEARCH"), uids, 3), 0);
	assert_int_equal(imap_search(SLICE("* SEARCH 0 x"), uids, 3), 0);
	assert_true(imap_literal(SLICE("* 1 FETCH (UID 3 BODY[]<0> {42}"), &size));
	assert_int_equal(size, 42);
	assert_true(imap_literal(SLICE("{99999999999999999999}"), &size));
	assert_int_equal(size, IMAP_LITERAL_MAX + 1);
	assert_false(imap_literal(SLICE("{}"), &size));
	assert_false(imap_literal(SLICE("{-1}"), &size));
	assert_int_equal(imap_uidvalidity(SLICE("* OK [UIDVALIDITY 3857529045] UIDs")), 3857529045);
	assert_true(imap_has_capability(SLICE("* CAPABILITY IMAP4rev1 UIDPLUS"), SLICE("uidplus")));
	assert_false(imap_has_capability(SLICE("* CAPABILITY NOUIDPLUS"), SLICE("UIDPLUS")));
	assert_true(pop3_uidl(SLICE("12 abc"), &n, &id));
	assert_int_equal(n, 12);
	assert_false(pop3_uidl(SLICE("12"), &n, &id));
	assert_false(pop3_is_ok(SLICE("-ERR +OK")));
}

static void
test_mbox(void **state)
{
	struct slice rest = SLICE("From a\nA: 1\n\nbody\nFrom here on\n\nFrom b\n\n\nFrom c\nC: 3");
	struct slice mail;

	(void)state;
	assert_true(mbox_next(&rest, &mail));
	assert_slice(mail, "A: 1\n\nbody\nFrom here on\n");
	assert_true(mbox_next(&rest, &mail));
	assert_int_equal(mail.len, 0);
	assert_true(mbox_next(&rest, &mail));
	assert_slice(mail, "C: 3");
	assert_false(mbox_next(&rest, &mail));
	rest = SLICE("Subject: no mbox\n");
	assert_false(mbox_next(&rest, &mail));
}

static void
test_sqs(void **state)
{
	const struct slice receipts[] = { SLICE("a\"b"), SLICE("c") };
	struct sqs_message m[SQS_BATCH_MAX];
	struct slice region;
	struct arena arena;
	struct err err = { 0 };
	bool failed[2];
	struct buf out;
	size_t n;

	(void)state;
	arena_init(&arena, SQS_ANSWER_MAX);
	buf_init(&out, 4096);
	sqs_delete_body(&out, SLICE("https://q"), receipts, 2);
	assert_string_equal(buf_str(&out),
	    "{\"QueueUrl\":\"https://q\",\"Entries\":[{\"Id\":\"0\",\"ReceiptHandle\":\"a\\\"b\"},"
	    "{\"Id\":\"1\",\"ReceiptHandle\":\"c\"}]}");
	buf_release(&out);
	assert_int_equal(sqs_received(SLICE("{}"), &arena, m, &n, &err), 0);
	assert_int_equal(n, 0);
	/* MD5 of "hi" by md5sum(1) */
	assert_int_equal(
	    sqs_received(
		SLICE("{\"Messages\":[{\"MessageId\":\"i\",\"ReceiptHandle\":"
		      "\"r\",\"Body\":\"hi\",\"MD5OfBody\":"
		      "\"49f68a5c8493ec2c0bf489821c21fc3b\",\"Attributes\":"
		      "{\"ApproximateReceiveCount\":\"7\",\"SentTimestamp\":\"1763700000123\"}}]}"),
		&arena, m, &n, &err),
	    0);
	assert_int_equal(n, 1);
	assert_int_equal(m[0].receives, 7);
	assert_true(m[0].sent_us == INT64_C(1763700000123000));
	assert_true(m[0].is_intact);
	assert_slice(m[0].body, "hi");
	buf_init(&out, 2 * SQS_BODY_MAX);
	buf_append_str(
	    &out, "{\"Messages\":[{\"MessageId\":\"long\",\"ReceiptHandle\":\"r\",\"Body\":\"");
	for (size_t i = 0; i <= SQS_BODY_MAX; i++)
		buf_append_char(&out, 'x');
	buf_append_str(&out, "\"},{\"MessageId\":\"i\",\"ReceiptHandle\":\"r\",\"Body\":\"hi\"}]}");
	assert_int_equal(sqs_received(buf_slice(&out), &arena, m, &n, &err), 0);
	assert_int_equal(n, 2);
	assert_true(m[0].is_cut && !m[1].is_cut);
	assert_true(m[1].sent_us == 0);
	assert_int_equal(m[0].body.len, 0);
	buf_release(&out);
	assert_int_equal(sqs_received(SLICE("[]"), &arena, m, &n, &err), -1);
	assert_int_equal(sqs_received(SLICE("{\"Messages\":[{}]}"), &arena, m, &n, &err), -1);
	assert_int_equal(sqs_batch_answer(SLICE("{\"Failed\":[{\"Id\":\"1\",\"Code\":\"No\"},"
						"{\"Id\":\"9\",\"Code\":\"x\"}]}"),
			     failed, 2, &err),
	    0);
	assert_true(failed[1] && !failed[0]);
	assert_string_equal(err.msg, "No");
	sqs_refusal(
	    400, SLICE("{\"__type\":\"com.amazonaws.sqs#OverLimit\",\"message\":\"m\\n\"}"), &err);
	assert_string_equal(err.msg, "SQS answers 400 OverLimit: m?");
	assert_int_equal(
	    sqs_url_check(SLICE("https://sqs.eu-west-1.amazonaws.com/1/q"), &region, &err), 0);
	assert_slice(region, "eu-west-1");
	assert_int_equal(sqs_url_check(SLICE("https://sqs.x.evil.example/1/q"), &region, &err), 0);
	assert_int_equal(region.len, 0);
	assert_int_equal(sqs_url_check(SLICE("q"), &region, &err), -1);
	arena_release(&arena);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_postfix),
		cmocka_unit_test(test_postfix_other),
		cmocka_unit_test(test_postfix_time),
		cmocka_unit_test(test_imap),
		cmocka_unit_test(test_mbox),
		cmocka_unit_test(test_sqs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
