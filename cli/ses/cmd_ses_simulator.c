/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_ses_simulator: `kairan ses simulator DIR`: SendEmail, SendBulkEmail and GetAccount over HTTP on
 * the loopback, answered by ses_simulator; its documents are posted to kairan-feedback, tried again
 * until it takes them. A thread of libmicrohttpd answers, this one posts. Runs until SIGTERM
 * or SIGINT; what was not posted by then is lost, as all of this is for trying.
 */
#include <microhttpd.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "aws_call.h"
#include "cli.h"
#include "listen_address.h"
#include "ses_request.h"
#include "ses_simulator.h"

#define REQUEST_MAX ((size_t)56 << 20)
#define DOCUMENT_MAX ((size_t)64 << 10)
#define WAITING_MAX 100000 /* documents; more are dropped */
#define CONNECTIONS_MAX 256
#define TIMEOUT_S 60
#define LOOK_MS 200
#define AGAIN_MS 500

struct document {
	struct document *next;
	struct buf text;
};

struct simulator {
	struct ses_simulator_key key;
	pthread_mutex_t lock;
	pthread_cond_t news;
	struct document *first, **last; /* under the lock, as is: */
	size_t waiting, sent, dropped;
};

/* One request on its way in. */
struct request {
	struct buf body;
};

static volatile sig_atomic_t stopping;

static void
on_signal(int number)
{
	(void)number;
	stopping = 1;
}

/* ---- documents ---- */

static void
queue(struct simulator *s, const json_t *event, time_t now)
{
	struct document *d = calloc(1, sizeof(*d));

	if (d == NULL)
		return;
	buf_init(&d->text, DOCUMENT_MAX);
	(void)pthread_mutex_lock(&s->lock);
	if (s->waiting < WAITING_MAX && ses_simulator_document(&s->key, event, now, &d->text)) {
		*s->last = d;
		s->last = &d->next;
		s->waiting++;
		(void)pthread_cond_signal(&s->news);
		d = NULL;
	} else {
		s->dropped++;
	}
	(void)pthread_mutex_unlock(&s->lock);
	if (d != NULL)
		buf_release(&d->text);
	free(d);
}

/* The oldest, or NULL after a while without one. */
static struct document *
next_document(struct simulator *s)
{
	struct document *d;
	struct timespec until;

	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += LOOK_MS * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	(void)pthread_mutex_lock(&s->lock);
	if (s->first == NULL)
		(void)pthread_cond_timedwait(&s->news, &s->lock, &until);
	d = s->first;
	if (d != NULL) {
		s->first = d->next;
		s->waiting--;
		if (s->first == NULL)
			s->last = &s->first;
	}
	(void)pthread_mutex_unlock(&s->lock);
	return d;
}

/* False: not taken now. Refused for good counts as taken, and is told. */
static bool
post(const struct document *d, const char *feedback)
{
	struct aws_http http = {
		.url = feedback, .no_proxy = true, .connect_timeout_ms = 2000, .timeout_ms = 15000
	};
	struct aws_reply reply;
	struct err err = { 0 };
	bool taken;

	aws_reply_init(&reply);
	taken = aws_http(&http, "POST", buf_slice(&d->text), &reply, &err) == 0 &&
	    reply.status < 500 && reply.status != 429;
	if (taken && reply.status != 200)
		fprintf(stderr, "kairan-feedback refuses a notice: HTTP status %d\n", reply.status);
	aws_reply_release(&reply);
	return taken;
}

/* ---- requests ---- */

static enum MHD_Result
answer(struct MHD_Connection *connection, unsigned status, const char *error, const char *text)
{
	struct MHD_Response *r = MHD_create_response_from_buffer(
	    strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
	enum MHD_Result result;

	if (r == NULL)
		return MHD_NO;
	(void)MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, "application/json");
	if (error != NULL)
		(void)MHD_add_response_header(r, "x-amzn-ErrorType", error);
	result = MHD_queue_response(connection, status, r);
	MHD_destroy_response(r);
	return result;
}

/* Owns value. */
static enum MHD_Result
answer_value(struct MHD_Connection *connection, unsigned status, const char *error, json_t *value)
{
	char *text = json_dumps(value, JSON_COMPACT);
	enum MHD_Result result = answer(connection, status, error, text != NULL ? text : "{}");

	free(text);
	json_decref(value);
	return result;
}

static enum MHD_Result
refuse(struct MHD_Connection *connection, unsigned status, const char *error, const char *why)
{
	return answer_value(connection, status, error, json_pack("{s:s}", "message", why));
}

/* Gives it an id, and queues what there will be to tell. */
static void
take_order(struct simulator *s, const struct ses_order *order, char id[SES_SIMULATOR_ID])
{
	time_t now = time(NULL);
	json_t *events, *event;
	size_t i;

	ses_simulator_id(id, now);
	events = ses_simulator_events(order, id, now);
	json_array_foreach(events, i, event) queue(s, event, now);
	json_decref(events);
	s->sent++;
}

static enum MHD_Result
send_email(struct simulator *s, struct MHD_Connection *connection, struct slice body)
{
	char id[SES_SIMULATOR_ID];
	struct ses_order order;
	struct arena arena;
	struct err err = { 0 };
	enum MHD_Result result;

	arena_init(&arena, REQUEST_MAX);
	if (ses_order_read(&order, body, &arena, &err) < 0) {
		result = refuse(connection, 400, "BadRequestException", err.msg);
	} else {
		take_order(s, &order, id);
		result = answer_value(connection, 200, NULL, json_pack("{s:s}", "MessageId", id));
	}
	ses_order_release(&order);
	arena_release(&arena);
	return result;
}

/* An answer for each entry, in the order of the request. */
static json_t *
take_bulk(struct simulator *s, const struct ses_bulk_order *bulk)
{
	json_t *results = json_array();

	for (size_t i = 0; i < bulk->count; i++) {
		const struct ses_bulk_order_entry *e = &bulk->entry[i];
		char id[SES_SIMULATOR_ID] = "";

		if (e->error == NULL)
			take_order(s, &e->order, id);
		(void)json_array_append_new(results,
		    e->error == NULL
			? json_pack("{s:s, s:s}", "Status", e->status, "MessageId", id)
			: json_pack("{s:s, s:s}", "Status", e->status, "Error", e->error));
	}
	return json_pack("{s:o}", "BulkEmailEntryResults", results);
}

static enum MHD_Result
send_bulk(struct simulator *s, struct MHD_Connection *connection, struct slice body)
{
	struct ses_bulk_order bulk;
	struct arena arena;
	struct err err = { 0 };
	enum MHD_Result result;

	arena_init(&arena, REQUEST_MAX);
	result = ses_bulk_order_read(&bulk, body, &arena, &err) < 0
	    ? refuse(connection, 400, "BadRequestException", err.msg)
	    : answer_value(connection, 200, NULL, take_bulk(s, &bulk));
	ses_bulk_order_release(&bulk);
	arena_release(&arena);
	return result;
}

static enum MHD_Result
account(const struct simulator *s, struct MHD_Connection *connection)
{
	char text[400];

	(void)snprintf(text, sizeof(text),
	    "{\"SendQuota\":{\"Max24HourSend\":-1.0,\"MaxSendRate\":1000.0,\"SentLast24Hours\":%zu."
	    "0},"
	    "\"SendingEnabled\":true,\"ProductionAccessEnabled\":true,"
	    "\"EnforcementStatus\":\"HEALTHY\",\"SuppressionAttributes\":{\"SuppressedReasons\":[]}"
	    "}",
	    s->sent);
	return answer(connection, 200, NULL, text);
}

static enum MHD_Result
dispatch(struct simulator *s, struct MHD_Connection *connection, const char *method,
    const char *url, struct slice body)
{
	const char *signature =
	    MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION);

	if (signature == NULL || strncmp(signature, "AWS4-HMAC-SHA256 ", 17) != 0)
		return refuse(connection, 403, "MissingAuthenticationTokenException",
		    "the request is not signed (what the signature says is not looked at here)");
	if (strcmp(url, SES_SEND_PATH) == 0 && strcmp(method, "POST") == 0)
		return send_email(s, connection, body);
	if (strcmp(url, SES_BULK_PATH) == 0 && strcmp(method, "POST") == 0)
		return send_bulk(s, connection, body);
	if (strcmp(url, SES_ACCOUNT_PATH) == 0 && strcmp(method, "GET") == 0)
		return account(s, connection);
	return refuse(connection, 404, "NotFoundException", "this is not imitated");
}

static enum MHD_Result
on_request(void *context, struct MHD_Connection *connection, const char *url, const char *method,
    const char *version, const char *upload, size_t *upload_size, void **state)
{
	struct request *request = *state;

	(void)version;
	if (request == NULL) {
		request = calloc(1, sizeof(*request));
		if (request == NULL)
			return MHD_NO;
		buf_init(&request->body, REQUEST_MAX);
		*state = request;
		return MHD_YES;
	}
	if (*upload_size > 0) {
		buf_append(&request->body, upload, *upload_size);
		*upload_size = 0;
		return MHD_YES;
	}
	if (buf_failed(&request->body))
		return refuse(connection, 413, "RequestEntityTooLarge", "the mail is too large");
	return dispatch(context, connection, method, url, buf_slice(&request->body));
}

static void
on_end(void *context, struct MHD_Connection *connection, void **state,
    enum MHD_RequestTerminationCode why)
{
	struct request *request = *state;

	(void)context;
	(void)connection;
	(void)why;
	if (request != NULL)
		buf_release(&request->body);
	free(request);
	*state = NULL;
}

/* ---- the command ---- */

static struct MHD_Daemon *
listen_on(struct simulator *s, const char *listen, struct err *err)
{
	struct sockaddr_storage address;
	struct MHD_Daemon *daemon;

	if (listen_address_parse(listen, "--listen", &address, err) < 0)
		return NULL;
	if (!listen_address_is_loopback(&address)) {
		(void)err_set(err, "--listen must be on the loopback, like 127.0.0.1:4579");
		return NULL;
	}
	daemon = MHD_start_daemon(
	    MHD_USE_INTERNAL_POLLING_THREAD | (address.ss_family == AF_INET6 ? MHD_USE_IPv6 : 0), 0,
	    NULL, NULL, on_request, s, MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&address,
	    MHD_OPTION_NOTIFY_COMPLETED, on_end, NULL, MHD_OPTION_CONNECTION_LIMIT,
	    (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)TIMEOUT_S,
	    MHD_OPTION_END);
	if (daemon == NULL)
		(void)err_set(err, "cannot listen on %s", listen);
	return daemon;
}

static void
free_document(struct document *d)
{
	buf_release(&d->text);
	free(d);
}

static void
post_all(struct simulator *s, const char *feedback)
{
	const struct timespec again = { 0, AGAIN_MS * 1000000L };

	while (!stopping) {
		struct document *d = next_document(s);

		if (d == NULL)
			continue;
		while (!stopping && !post(d, feedback))
			(void)nanosleep(&again, NULL);
		free_document(d);
	}
}

static int
run_simulator(struct cli *cli, int argc, char **argv)
{
	const char *listen = "127.0.0.1:4579", *feedback = "http://127.0.0.1:4580/sns";
	const struct cli_option options[] = { { "listen", "ADDRESS", "", &listen, NULL },
		{ "feedback", "URL", "", &feedback, NULL }, { 0 } };
	struct sigaction on = { .sa_handler = on_signal };
	struct simulator s = { .lock = PTHREAD_MUTEX_INITIALIZER,
		.news = PTHREAD_COND_INITIALIZER };
	struct MHD_Daemon *daemon = NULL;
	struct document *d;
	struct err err = { 0 };

	argc = cli_options(cli, options, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc != 1)
		return cli_fail(
		    cli, EXIT_USAGE, "name a folder for its key: kairan ses simulator DIR");
	s.last = &s.first;
	(void)sigaction(SIGTERM, &on, NULL);
	(void)sigaction(SIGINT, &on, NULL);
	(void)curl_global_init(CURL_GLOBAL_DEFAULT);
	if (ses_simulator_key_open(&s.key, argv[0], &err) < 0 ||
	    (daemon = listen_on(&s, listen, &err)) == NULL) {
		ses_simulator_key_close(&s.key);
		return cli_fail(cli, EXIT_FAILED, "%s", err.msg);
	}
	printf("imitates Amazon SES on http://%s; nothing is sent to anybody\n", listen);
	(void)fflush(stdout);
	post_all(&s, feedback);
	MHD_stop_daemon(daemon);
	while ((d = s.first) != NULL) {
		s.first = d->next;
		free_document(d);
	}
	if (s.dropped > 0)
		fprintf(stderr, "%zu notices were dropped: kairan-feedback took none\n", s.dropped);
	ses_simulator_key_close(&s.key);
	return EXIT_DONE;
}

const struct cli_command cli_ses_simulator_commands[] = {
	{ "ses simulator", "DIR", "imitate Amazon SES and its mailbox simulator, for trying",
	    "Takes mail as the API of Amazon SES does, sends it to nobody, and posts what SES "
	    "would\n"
	    "tell by SNS to kairan-feedback, signed by a key of its own in DIR. kairan local up\n"
	    "--simulator starts it and writes the configuration.\n"
	    "\n"
	    "  --listen ADDRESS   on the loopback; default 127.0.0.1:4579\n"
	    "  --feedback URL     /sns of kairan-feedback; default http://127.0.0.1:4580/sns\n"
	    "\n"
	    "Example:\n"
	    "  kairan ses simulator /var/tmp/trial/simulator\n",
	    false, run_simulator },
	{ 0 },
};
