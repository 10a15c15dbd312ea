/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_ses: the road of the Amazon SES API without a database: compose, base64 and JSON, sign, POST over
 * kept connections on one loop, read the answer, as the dispatcher does. Every message has fields of its own.
 *   bench_ses ORIGIN CA_FILE CONNECTIONS MESSAGES BYTES      prints messages per second, CPU us each, bytes of
 *                                                            the last request's body
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "aws_call.h"
#include "dispatcher/ses/ses_compose.h"
#include "dispatcher/ses/ses_link.h"
#include "message.h"
#include "ses_request.h"

#define CONNECTIONS_MAX 1000
#define FIELDS 3
#define TOKEN "abcdefghijklmnopqrstuvwxyz234567ab"

struct bench;

struct call {
	struct bench *b;
	struct ses_link *link;
	struct ses_body body;
	bool busy;
};

struct bench {
	uv_loop_t loop;
	struct config config;
	struct ses_link_place place;
	struct aws_endpoint endpoint;
	struct aws_credentials credentials;
	struct sigv4_signer signer;
	struct aws_headers headers;
	struct buf head;
	struct message_plan *plan;
	struct call calls[CONNECTIONS_MAX];
	size_t connections, open;
	size_t offered, wanted, sent, bytes;
};

static void
die(const char *what)
{
	fprintf(stderr, "bench_ses: %s\n", what);
	exit(1);
}

static double
seconds_of(clockid_t clock)
{
	struct timespec t;

	(void)clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- a message ---- */

static void
compile(struct bench *b, size_t bytes, struct arena *arena)
{
	struct buf html, text;
	struct err err;

	buf_init(&html, 1 << 20);
	buf_init(&text, 1 << 20);
	buf_append_str(&html,
	    "<p>Dear {{name}}, you have {{points}} points on your {{plan}} plan this month.</p>");
	buf_append_str(&text, "Dear {{name}}, you have {{points}} points on your {{plan}} plan.");
	while (html.len + text.len + 1200 < bytes) {
		buf_append_str(&html,
		    "\n<p>The shop is open every day from nine to seven; come and see what is new "
		    "in autumn.</p>");
		buf_append_str(&text, "\nThe shop is open every day from nine to seven.");
	}
	if (message_compile(&(struct message_source){ .from_name = SLICE("Example Shop"),
				.from_addr = SLICE("news@example.jp"),
				.subject = SLICE("{{name}}, your {{points}} points"),
				.html = buf_slice(&html),
				.text = buf_slice(&text),
				.list_id = SLICE("news.example.jp"),
				.unsubscribe_url_base = SLICE("https://u.example.jp/u/"),
				.unsubscribe_mailto_domain = SLICE("bounce.example.jp"),
				.message_id_domain = SLICE("mail.example.jp") },
		arena, &b->plan, &err) != 0)
		die(err.msg);
	buf_release(&html);
	buf_release(&text);
}

static void
compose(struct bench *b, struct ses_body *body, size_t n)
{
	char name[40], points[20], to[64];
	struct template_value values[FIELDS];
	struct message_result result;
	struct ses_tag tag = { SLICE("kairan"), SLICE(TOKEN) };
	struct ses_common common = {
		.configuration_set = SLICE("bench"), .tags = &tag, .tag_count = 1
	};
	struct message_recipient recipient = { .to_name = SLICE("Jane Appleseed"),
		.values = values,
		.value_count = FIELDS,
		.message_id_left = SLICE(TOKEN),
		.id_token = SLICE(TOKEN),
		.unsubscribe_token = SLICE(TOKEN),
		.date = 1751328000,
		.run = 7,
		.campaign = SLICE("July") };

	(void)snprintf(name, sizeof(name), "Customer %zu", n);
	(void)snprintf(points, sizeof(points), "%zu", n * 7 % 100000);
	(void)snprintf(to, sizeof(to), "u%zu@d%zu.example", n, n % 1000);
	values[0] = (struct template_value){ slice_str(name), true };
	values[1] = (struct template_value){ slice_str(points), true };
	values[2] = (struct template_value){ SLICE("gold"), true };
	recipient.to_addr = slice_str(to);
	ses_body_begin(body);
	buf_reset(&body->message);
	if (message_render(b->plan, &recipient, &body->message, &result) != TEMPLATE_OK)
		die("not rendered");
	ses_send_raw(&body->json, &common, recipient.to_addr, buf_slice(&body->message));
}

/* ---- a request ---- */

static void
next(struct call *c)
{
	struct bench *b = c->b;
	struct aws_request request = {
		.method = "POST", .path = SLICE(SES_SEND_PATH), .content_type = "application/json"
	};

	compose(b, &c->body, b->offered++);
	request.body = ses_body_json(&c->body);
	b->bytes = request.body.len;
	buf_reset(&b->head);
	if (aws_headers_sign(&b->headers, &b->signer, &b->endpoint, &b->credentials, &request,
		time(NULL)) == NULL)
		die("not signed");
	aws_headers_put(&b->headers, &b->endpoint, &request, &b->head);
	if (!ses_link_send(c->link, ses_body_request(&c->body, buf_slice(&b->head))))
		die("no memory");
}

static bool
may_leave(void *ctx)
{
	(void)ctx;
	return true;
}

static void
on_ended(void *ctx, const struct ses_link_report *report)
{
	struct call *c = ctx;
	struct bench *b = c->b;

	if (report->end != SES_LINK_WHOLE || report->answer->status != 200)
		die(report->end == SES_LINK_WHOLE ? "an answer other than 200" : "no whole answer");
	b->sent++;
	if (b->offered < b->wanted) {
		next(c);
		return;
	}
	ses_link_close(c->link);
	if (--b->open == 0)
		curlloop_stop(b->place.curl);
}

static void
set_up(struct bench *b, const char *origin, const char *ca_file)
{
	struct err err;

	(void)snprintf(b->credentials.access_key, sizeof(b->credentials.access_key), "AKIDEXAMPLE");
	(void)snprintf(b->credentials.secret_key, sizeof(b->credentials.secret_key), "bench");
	b->config.ses_connect_timeout_s = b->config.ses_timeout_s = b->config.ses_idle_s = 60;
	(void)uv_loop_init(&b->loop);
	if (aws_endpoint_make(&b->endpoint, AWS_SESV2, origin, "ap-northeast-1", &err) != 0 ||
	    sigv4_init(&b->signer, &b->credentials, b->endpoint.region, b->endpoint.signing_name,
		&err) != 0)
		die(err.msg);
	b->place = (struct ses_link_place){ .loop = &b->loop,
		.curl = curlloop_new(&b->loop, ses_link_connected, NULL),
		.url = b->endpoint.origin,
		.ca_file = ca_file,
		.config = &b->config };
	aws_headers_init(&b->headers);
	buf_init(&b->head, SES_HEAD_ROOM);
}

int
main(int argc, char **argv)
{
	static const struct ses_link_user user = { may_leave, on_ended };
	static struct bench b;
	struct arena arena;
	double start, cpu;

	if (argc != 6)
		die("usage: bench_ses ORIGIN CA_FILE CONNECTIONS MESSAGES BYTES");
	b.connections = strtoul(argv[3], NULL, 10);
	b.wanted = strtoul(argv[4], NULL, 10);
	if (b.connections == 0 || b.connections > CONNECTIONS_MAX || b.wanted < b.connections)
		die("CONNECTIONS or MESSAGES out of range");
	arena_init(&arena, (size_t)64 << 20);
	compile(&b, strtoul(argv[5], NULL, 10), &arena);
	set_up(&b, argv[1], argv[2]);
	start = seconds_of(CLOCK_MONOTONIC);
	cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
	for (size_t i = 0; i < b.connections; i++) {
		struct call *c = &b.calls[i];

		c->b = &b;
		ses_body_init(&c->body);
		if ((c->link = ses_link_new(&b.place, &user, c)) == NULL)
			die("no memory");
		b.open++;
		next(c);
	}
	(void)uv_run(&b.loop, UV_RUN_DEFAULT);
	if (b.sent != b.wanted)
		die("not all were answered");
	printf("%.0f %.1f %zu\n", (double)b.sent / (seconds_of(CLOCK_MONOTONIC) - start),
	    (seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu) * 1e6 / (double)b.sent, b.bytes);
	for (size_t i = 0; i < b.connections; i++) {
		ses_link_free(b.calls[i].link);
		ses_body_release(&b.calls[i].body);
	}
	curlloop_free(b.place.curl);
	arena_release(&arena);
	return 0;
}
