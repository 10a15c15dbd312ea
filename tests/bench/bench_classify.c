/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_classify: how many notices one core classifies, from raw bytes to class and reason per
 * recipient. One JSON line per case, each with its yardstick from the same run:
 *
 *   classify_dsn       a Postfix bounce of 3.5 kB; yardstick: GMime parses the same mail
 *   classify_ses_json  an SES bounce as SNS posts it; yardstick: jansson parses the document once
 *
 * Argument: seconds per case.
 */
#include <gmime/gmime.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "buf.h"
#include "inbound.h"
#include "notice_ses.h"

typedef bool (*step)(struct slice input, struct arena *arena);

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool
is_hard_bounce(const struct notice *n)
{
	return n->kind == NOTICE_BOUNCE && n->count == 1 && n->recipients[0].cls == OUTCOME_HARD &&
	    strcmp(n->recipients[0].reason, "user_unknown") == 0;
}

static bool
run_classifier(struct slice input, struct arena *arena)
{
	struct notice notice;

	arena_reset(arena);
	return notice_classify(&notice, input, arena) == 0 && is_hard_bounce(&notice);
}

static bool
run_gmime(struct slice input, struct arena *arena)
{
	GMimeStream *stream = g_mime_stream_mem_new_with_buffer(input.ptr, input.len);
	GMimeParser *parser = g_mime_parser_new_with_stream(stream);
	GMimeMessage *message = g_mime_parser_construct_message(parser, NULL);
	bool good = message != NULL;

	(void)arena;
	if (message != NULL)
		g_object_unref(message);
	g_object_unref(parser);
	g_object_unref(stream);
	return good;
}

static bool
run_jansson(struct slice input, struct arena *arena)
{
	json_t *root = json_loadb(input.ptr, input.len, 0, NULL);
	bool good = root != NULL;

	(void)arena;
	json_decref(root);
	return good;
}

/* Times per second; 0 when a step fails. */
static double
rate(step run, struct slice input, double seconds)
{
	struct arena arena;
	double start = now(), spent;
	size_t done = 0;
	bool good = true;

	arena_init(&arena, INBOUND_ARENA_MAX);
	do {
		for (int i = 0; i < 500; i++)
			good = run(input, &arena) && good;
		done += 500;
		spent = now() - start;
	} while (spent < seconds);
	arena_release(&arena);
	return good ? (double)done / spent : 0;
}

static int
bench(const char *name, struct slice input, step yardstick, const char *label, double seconds)
{
	double ours = rate(run_classifier, input, seconds),
	       theirs = rate(yardstick, input, seconds);

	if (ours == 0 || theirs == 0) {
		fprintf(stderr, "bench_classify: %s: a wrong verdict\n", name);
		return 1;
	}
	printf("{\"bench\":\"%s\",\"value\":%.0f,\"unit\":\"notices/s per core\","
	       "\"input_bytes\":%zu,\"yardstick\":%.0f,\"yardstick_is\":\"%s\"}\n",
	    name, ours, input.len, theirs, label);
	return 0;
}

static void
make_dsn(struct buf *b)
{
	buf_append_str(b,
	    "Return-Path: <>\nDelivered-To: b+token@bounce.test\n"
	    "Received: by mx.our.test (Postfix)\n\tid 4F0A21; Sat, 21 Nov 2026 17:05:42 +0000\n"
	    "Date: Sat, 21 Nov 2026 17:05:42 +0000 (UTC)\n"
	    "From: MAILER-DAEMON@mta.test (Mail Delivery System)\n"
	    "Subject: Undelivered Mail Returned to Sender\nTo: b+token@bounce.test\n"
	    "Auto-Submitted: auto-replied\nMIME-Version: 1.0\n"
	    "Content-Type: multipart/report; report-type=delivery-status;\n"
	    "\tboundary=\"4F0A21.1795280742/mta.test\"\nMessage-Id: <2026.4F0A21@mta.test>\n\n"
	    "This is a MIME-encapsulated message.\n\n--4F0A21.1795280742/mta.test\n"
	    "Content-Description: Notification\nContent-Type: text/plain; charset=us-ascii\n\n"
	    "This is the mail system at host mta.test.\n\nSorry, your mail was not taken.\n\n"
	    "<gone@example.test>: host mx.example.test[192.0.2.10] said: 550 5.1.1\n"
	    "    <gone@example.test>: Recipient address rejected: User unknown in virtual\n"
	    "    mailbox table (in reply to RCPT TO command)\n\n"
	    "--4F0A21.1795280742/mta.test\nContent-Description: Delivery report\n"
	    "Content-Type: message/delivery-status\n\nReporting-MTA: dns; mta.test\n"
	    "X-Postfix-Queue-ID: 4F0A21\nX-Postfix-Sender: rfc822; b+token@bounce.test\n"
	    "Arrival-Date: Sat, 21 Nov 2026 17:05:40 +0000 (UTC)\n\n"
	    "Final-Recipient: rfc822; gone@example.test\n"
	    "Original-Recipient: rfc822;gone@example.test\nAction: failed\nStatus: 5.1.1\n"
	    "Remote-MTA: dns; mx.example.test\n"
	    "Diagnostic-Code: smtp; 550 5.1.1 <gone@example.test>: Recipient address\n"
	    "    rejected: User unknown in virtual mailbox table\n\n"
	    "--4F0A21.1795280742/mta.test\nContent-Description: Undelivered Message\n"
	    "Content-Type: message/rfc822\n\nReturn-Path: <b+token@bounce.test>\n"
	    "From: News <news@our.test>\nTo: gone@example.test\nSubject: November\n"
	    "X-Kairan-Id: token\nMIME-Version: 1.0\nContent-Type: text/plain\n\n");
	while (b->len < 3500)
		buf_append_str(b, "A line of the newsletter that nobody got to read.\n");
	buf_append_str(b, "\n--4F0A21.1795280742/mta.test--\n");
}

static void
make_sns(struct buf *b)
{
	static const char notice[] =
	    "{'notificationType':'Bounce','bounce':{'feedbackId':'0100015-f00d-000000',"
	    "'bounceType':'Permanent','bounceSubType':'General','bouncedRecipients':[{"
	    "'emailAddress':'gone@example.test','action':'failed','status':'5.1.1',"
	    "'diagnosticCode':'smtp; 550 5.1.1 user unknown'}],"
	    "'timestamp':'2026-11-21T00:41:02.669Z','remoteMtaIp':'192.0.2.10',"
	    "'reportingMTA':'dsn; a8-31.smtp-out.test'},'mail':{"
	    "'timestamp':'2026-11-21T00:40:02.012Z','source':'b+token@bounce.test',"
	    "'sourceArn':'arn:aws:ses:us-east-1:123456789012:identity/our.test',"
	    "'sourceIp':'192.0.2.1','sendingAccountId':'123456789012',"
	    "'messageId':'0100015-cafe-000000','destination':['gone@example.test'],"
	    "'headersTruncated':false,'headers':[{'name':'From','value':'news@our.test'},"
	    "{'name':'To','value':'gone@example.test'},{'name':'Subject','value':'November'},"
	    "{'name':'X-Kairan-Id','value':'token'}],'commonHeaders':{'from':['news@our.test'],"
	    "'to':['gone@example.test'],'subject':'November'}}}";

	buf_append_str(b,
	    "{\n  \"Type\" : \"Notification\",\n"
	    "  \"MessageId\" : \"da41e39f-ea4d-435a-b922-c6aae3915ebe\",\n"
	    "  \"TopicArn\" : \"arn:aws:sns:us-east-1:123456789012:ses\",\n  \"Message\" : \"");
	for (const char *p = notice; *p != '\0'; p++)
		buf_append_str(b, *p == '\'' ? "\\\"" : (char[]){ *p, '\0' });
	buf_append_str(b,
	    "\",\n  \"Timestamp\" : \"2026-11-21T00:41:03.000Z\",\n"
	    "  \"SignatureVersion\" : \"1\",\n  \"Signature\" : \"");
	for (int i = 0; i < 86; i++)
		buf_append_str(b, "AbC4");
	buf_append_str(b,
	    "\",\n  \"SigningCertURL\" : \"https://sns.us-east-1.amazonaws.com/"
	    "SimpleNotificationService-0123456789abcdef.pem\",\n  \"UnsubscribeURL\" : "
	    "\"https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe\"\n}");
}

int
main(int argc, char **argv)
{
	double seconds = argc > 1 ? strtod(argv[1], NULL) : 2.0;
	struct buf dsn, sns;
	int failed;

	g_mime_init();
	buf_init(&dsn, 1 << 20);
	buf_init(&sns, 1 << 20);
	make_dsn(&dsn);
	make_sns(&sns);
	failed =
	    bench("classify_dsn", buf_slice(&dsn), run_gmime, "GMime bare parse", seconds) != 0 ||
	    bench("classify_ses_json", buf_slice(&sns), run_jansson,
		"jansson bare parse of the document", seconds) != 0;
	buf_release(&dsn);
	buf_release(&sns);
	g_mime_shutdown();
	return failed;
}
