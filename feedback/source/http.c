/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http: see http.h. Owns the daemon of libmicrohttpd, the worker threads and every request.
 *
 * A request is held by two sides: libmicrohttpd (until its connection is done with it) and the
 * work (worker, then the intake). It is freed when both have let go, so that an answer given too
 * late, or a client that left, frees nothing that is still used. All is of the loop's thread but
 * the two lists that http->lock guards, and a request while a worker has it.
 */
#include "http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "http_head.h"
#include "listen_address.h"
#include "log.h"

#define CONNECTIONS_MAX 6500 /* more than a crowd that says nothing holds for FIRST_BYTE_S */
#define FILES_RESERVED 200   /* descriptors for everything else */
#define CONNECTIONS_PER_PEER_MAX 100 /* not for loopback: a proxy comes from one address */
#define CONNECTION_POOL_BYTES ((size_t)16 * 1024) /* bounds the header, too */
#define FIRST_BYTE_S 5				  /* and between any two */
#define TOTAL_MS 10000 /* from the connection, or the answer before it, to the answer */
#define GONE_MS 15000  /* SNS has given up by then */
#define SWEEP_MS 500
#define BODIES_MAX ((size_t)64 * 1024 * 1024) /* of all requests together */
#define SPARES_MAX 256			      /* requests kept for the next ones, with memory of: */
#define SPARE_BYTES_MAX ((size_t)32 * 1024)   /* arena and body each, at most */
#define WORKERS_MAX 8
#define FETCHERS 2     /* threads that wait for S3, each with a mail of up to 30 MB */
#define FETCHES_MAX 64 /* notices that wait for one of them; with more S3 is too slow */
#define BACKLOG 4096
#define TYPE_MAX 64

static const struct {
	unsigned status;
	const char *text;
} answers[] = {
	{ 200, "recorded\n" },
	{ 400, "bad request\n" },
	{ 401, "not signed\n" },
	{ 403, "not accepted\n" },
	{ 404, "no such page\n" },
	{ 405, "only POST\n" },
	{ 413, "larger than is taken here; do not send it again\n" },
	{ 429, "too many, slower\n" },
	{ 503, "try again later\n" },
};
#define ANSWERS (sizeof(answers) / sizeof(answers[0]))

struct connection;

struct request {
	struct request *previous, *next; /* in http->requests */
	struct request *next_job;
	struct http *http;
	struct connection *connection; /* NULL when it has left */
	struct MHD_Connection *mhd;
	struct buf body;
	size_t counted; /* of body in http->bodies */
	size_t dropped; /* bytes of a body that is not wanted */
	char type[TYPE_MAX];
	bool is_framed; /* one Content-Length: what follows the body is the next request */
	bool is_hook;
	struct webhook_head hook; /* in the arena */
	struct arena arena;
	struct feedback_events events;
	struct intake_item item;
	bool is_page;
	struct web_job job;
	int verdict;	  /* of the worker, a status */
	const char *word; /* why */
	bool needs_fetch; /* msg is believed and its mail is in S3: for a fetcher */
	struct sns_message msg;
	int64_t handed_ms;	/* when its body was whole */
	unsigned status;	/* of the answer; 0 until it is decided */
	const char *why;	/* a reason of http_answer_row() */
	struct web_answer page; /* of status */
	bool is_suspended;	/* waits for the work */
	bool mhd_holds, work_holds;
};

struct connection {
	struct connection *previous, *next;
	int fd;
	int64_t started_ms; /* of the request, of the wait for it or of the connection */
	bool is_kept;
	struct request *request; /* or NULL */
};

struct jobs {
	struct request *first, **last;
};

struct worker {
	struct http *http;
	struct sns_cert_cache *cache;
	pthread_t thread;
	bool is_started;
	bool is_fetcher;
};

struct http {
	struct http_config config;
	struct MHD_Daemon *daemon;
	struct MHD_Response *responses[ANSWERS]; /* each ends its connection */
	struct MHD_Response *recorded;		 /* 200, and the next request may come */
	uv_poll_t *poll;			 /* something to do for libmicrohttpd; */
	uv_timer_t *due;			 /* or it is time to, */
	bool has_woken;				 /* or a connection was woken */
	uv_timer_t *sweep;
	uv_async_t *async; /* workers have done something */
	size_t bodies;
	struct jobs taken; /* in this turn */
	bool is_stopping;  /* no further requests on the connections there are */
	struct request *requests, *spare;
	size_t spares;
	struct connection *connections;
	size_t working; /* requests held by the work */
	struct http_counts counts;

	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_cond_t wake_fetcher;
	struct jobs todo;    /* for workers */
	struct jobs fetches; /* for fetchers, of the workers */
	size_t fetch_count;
	struct jobs ready; /* for the loop */
	bool is_ending;	   /* no further work */
	struct worker workers[WORKERS_MAX + FETCHERS];
};

static int64_t
now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void
jobs_init(struct jobs *jobs)
{
	*jobs = (struct jobs){ .last = &jobs->first };
}

static void
jobs_push(struct jobs *jobs, struct request *r)
{
	r->next_job = NULL;
	*jobs->last = r;
	jobs->last = &r->next_job;
}

static struct request *
jobs_pop(struct jobs *jobs)
{
	struct request *r = jobs->first;

	if (r != NULL && (jobs->first = r->next_job) == NULL)
		jobs->last = &jobs->first;
	return r;
}

static void on_due(uv_timer_t *timer);

/* ---- requests --------------------------------------------------------------------------- */

/* A new one, or a spare one with its memory: blocks of a worker's that are given back and asked for
 * again go to the system and come back as pages to be cleared. */
static struct request *
request_take(struct http *http)
{
	struct request *r = http->spare;
	struct arena arena;
	struct buf body;

	if (r == NULL) {
		r = calloc(1, sizeof(*r));
		if (r != NULL) {
			buf_init(&r->body, SNS_BODY_MAX);
			arena_init(&r->arena, SNS_INTAKE_ARENA_MAX);
		}
		return r;
	}
	http->spare = r->next;
	http->spares--;
	arena = r->arena;
	body = r->body;
	*r = (struct request){ .arena = arena, .body = body };
	return r;
}

static struct request *
request_new(struct http *http, struct MHD_Connection *mhd, struct connection *connection)
{
	struct request *r = request_take(http);

	if (r == NULL)
		return NULL;
	r->http = http;
	r->mhd = mhd;
	r->connection = connection;
	r->mhd_holds = true;
	r->next = http->requests;
	if (r->next != NULL)
		r->next->previous = r;
	http->requests = r;
	connection->request = r;
	if (connection->is_kept)
		connection->started_ms = now_ms();
	return r;
}

static void
drop_body(struct request *r)
{
	r->http->bodies -= r->counted;
	r->counted = 0;
	if (r->body.capacity > SPARE_BYTES_MAX)
		buf_release(&r->body);
	else
		buf_reset(&r->body);
}

static void
request_destroy(struct request *r)
{
	buf_release(&r->body);
	arena_release(&r->arena);
	free(r);
}

/* When nobody holds it any more. */
static void
request_free(struct request *r)
{
	struct http *http = r->http;

	if (r->previous != NULL)
		r->previous->next = r->next;
	else
		http->requests = r->next;
	if (r->next != NULL)
		r->next->previous = r->previous;
	drop_body(r);
	buf_release(&r->page.body);
	arena_release(&r->job.view_arena);
	if (http->spares == SPARES_MAX || r->arena.used_total > SPARE_BYTES_MAX) {
		request_destroy(r);
		return;
	}
	arena_reset(&r->arena);
	r->next = http->spare;
	http->spare = r;
	http->spares++;
}

struct http_answer_row
http_answer_row(size_t number)
{
	static const struct http_answer_row rows[HTTP_ANSWERS] = { { 200, "recorded" },
		{ 200, "quarantined" }, { 200, "health" }, { 200, "page" }, { 302, "page" },
		{ 303, "page" }, { 400, "request" }, { 400, "document" }, { 400, "page" },
		{ 401, "signature" }, { 403, "topic" }, { 403, "type_header" }, { 403, "version" },
		{ 403, "certificate_url" }, { 403, "certificate" }, { 403, "signature" },
		{ 404, "path" }, { 404, "page" }, { 405, "method" }, { 413, "size" },
		{ 429, "rate" }, { 503, "certificate" }, { 503, "mail" }, { 503, "memory" },
		{ 503, "busy" }, { 503, "database" }, { 503, "late" }, { 503, "page" },
		{ 0, "other" } };

	return rows[number];
}

static void
count_answer(struct http_counts *counts, unsigned status, const char *why)
{
	size_t i = 0;

	for (; i + 1 < HTTP_ANSWERS; i++) {
		struct http_answer_row row = http_answer_row(i);

		if (row.status == status && why != NULL && strcmp(row.reason, why) == 0)
			break;
	}
	counts->answers[i]++;
}

/* Unless it is decided. */
static void
decide(struct request *r, unsigned status, const char *why)
{
	if (r->status != 0)
		return;
	r->status = status;
	r->why = why;
}

/* Lets libmicrohttpd go on with it, in its next turn. */
static void
wake(struct request *r)
{
	struct http *http = r->http;

	if (!r->is_suspended)
		return;
	MHD_resume_connection(r->mhd);
	r->is_suspended = false;
	if (!http->has_woken)
		(void)uv_timer_start(http->due, on_due, 0, 0);
	http->has_woken = true;
}

/* The work lets go of a request: decides its answer unless it is decided. page: taken when it is
 * the answer, or NULL. */
static void
answer_with(struct request *r, unsigned status, const char *why, struct web_answer *page)
{
	if (r->status == 0 && page != NULL) {
		r->page = *page;
		page->body = (struct buf){ 0 };
	}
	decide(r, status, why);
	wake(r);
	r->work_holds = false;
	r->http->working--;
	if (!r->mhd_holds)
		request_free(r);
}

static void
answer(struct request *r, unsigned status, const char *why)
{
	answer_with(r, status, why, NULL);
}

static void
on_page(struct web_job *job, struct web_answer *page)
{
	struct request *r = (struct request *)(void *)((char *)job - offsetof(struct request, job));

	answer_with(r, page->status, "page", page);
	buf_release(&page->body);
}

/* ---- workers ---------------------------------------------------------------------------- */

static const char *
hook_word(int status)
{
	return status == 400 ? "document"
	    : status == 429  ? "rate"
	    : status == 503  ? "memory"
			     : "signature";
}

/* Whether it is to be believed, and what it says unless that has to be fetched. */
static void
read_document(struct worker *worker, struct request *r, struct err *err)
{
	const struct sns_intake *sns = worker->http->config.sns;

	r->verdict = sns_intake_check(sns, worker->cache, buf_slice(&r->body), slice_str(r->type),
	    &r->arena, &r->msg, &r->word, err);
	if (r->verdict != 200)
		return;
	r->needs_fetch = sns_intake_fetches(sns, &r->msg, &r->arena);
	if (!r->needs_fetch)
		r->verdict = sns_intake_take(sns, &r->msg, &r->arena, &r->events, &r->word, err);
}

/* Not for a notice that was answered meanwhile: it comes again. */
static void
fetch(struct worker *worker, struct request *r, struct err *err)
{
	r->verdict = 503;
	r->word = "late";
	if (now_ms() - r->handed_ms < TOTAL_MS)
		r->verdict = sns_intake_take(
		    worker->http->config.sns, &r->msg, &r->arena, &r->events, &r->word, err);
}

static void
work(struct worker *worker, struct request *r)
{
	struct http *http = worker->http;
	struct err err = { 0 };

	if (worker->is_fetcher) {
		fetch(worker, r, &err);
	} else if (r->is_hook) {
		r->verdict = webhook_intake_read(http->config.webhook, &r->hook,
		    buf_slice(&r->body), &r->arena, &r->events, &err);
		r->word = hook_word(r->verdict);
	} else {
		read_document(worker, r, &err);
	}
	if (r->verdict != 200)
		log_debug("http request not taken status=%d error=\"%s\"", r->verdict, err.msg);
}

/* Under the lock: to a fetcher, or back to the loop. */
static void
pass_back(const struct worker *worker, struct request *r)
{
	struct http *http = worker->http;
	bool was_empty = http->ready.first == NULL;

	if (!worker->is_fetcher && r->needs_fetch && http->fetch_count < FETCHES_MAX) {
		http->fetch_count++;
		jobs_push(&http->fetches, r);
		(void)pthread_cond_signal(&http->wake_fetcher);
		return;
	}
	if (!worker->is_fetcher && r->needs_fetch) {
		r->verdict = 503;
		r->word = "mail";
	}
	jobs_push(&http->ready, r);
	if (was_empty)
		(void)uv_async_send(http->async);
}

static void *
worker_main(void *arg)
{
	struct worker *worker = arg;
	struct http *http = worker->http;
	struct jobs *jobs = worker->is_fetcher ? &http->fetches : &http->todo;
	pthread_cond_t *wake = worker->is_fetcher ? &http->wake_fetcher : &http->wake;
	struct request *r;

	(void)pthread_mutex_lock(&http->lock);
	for (;;) {
		while ((r = jobs_pop(jobs)) == NULL && !http->is_ending)
			(void)pthread_cond_wait(wake, &http->lock);
		if (r == NULL)
			break;
		http->fetch_count -= worker->is_fetcher;
		(void)pthread_mutex_unlock(&http->lock);
		work(worker, r);
		(void)pthread_mutex_lock(&http->lock);
		pass_back(worker, r);
	}
	(void)pthread_mutex_unlock(&http->lock);
	return NULL;
}

/* What a turn of libmicrohttpd has taken goes to the workers, or to the pages. */
static void
pass_on(struct http *http)
{
	struct jobs pages;
	struct request *r;

	if (http->taken.first == NULL)
		return;
	jobs_init(&pages);
	(void)pthread_mutex_lock(&http->lock);
	while ((r = jobs_pop(&http->taken)) != NULL)
		jobs_push(r->is_page ? &pages : &http->todo, r);
	if (http->todo.first != NULL)
		(void)pthread_cond_broadcast(&http->wake);
	(void)pthread_mutex_unlock(&http->lock);
	while ((r = jobs_pop(&pages)) != NULL) {
		r->job.in.body = buf_slice(&r->body);
		r->job.arena = &r->arena;
		r->job.done = on_page;
		web_begin(http->config.web, &r->job);
	}
}

/* ---- between worker and intake ---------------------------------------------------------- */

static void
on_done(struct intake_item *item, enum intake_result result)
{
	struct request *r =
	    (struct request *)(void *)((char *)item - offsetof(struct request, item));

	if (result == INTAKE_COMMITTED)
		answer(r, 200, item->events[0].kept != NULL ? "quarantined" : "recorded");
	else
		answer(r, 503, "database");
}

static void
take_back(struct request *r)
{
	struct http *http = r->http;
	struct source *source = r->is_hook ? http->config.webhook_source : http->config.source;

	drop_body(r);
	if (r->verdict != 200) {
		if (r->verdict != 503)
			source_left(source);
		answer(r, (unsigned)r->verdict, r->word);
		return;
	}
	r->item = (struct intake_item){ .events = r->events.items,
		.count = r->events.count,
		.bytes = r->arena.used_total + sizeof(*r),
		.done = on_done,
		.source = source };
	source_received(source, 1);
	if (!intake_add(http->config.intake, &r->item))
		answer(r, 503, "busy");
}

static void
on_ready(uv_async_t *async)
{
	struct http *http = async->data;
	struct jobs ready;
	struct request *r;

	(void)pthread_mutex_lock(&http->lock);
	ready = http->ready;
	jobs_init(&http->ready);
	(void)pthread_mutex_unlock(&http->lock);
	while ((r = jobs_pop(&ready)) != NULL)
		take_back(r);
}

/* Ends what takes too long. */
static void
on_sweep(uv_timer_t *timer)
{
	struct http *http = timer->data;
	int64_t now = now_ms();

	for (struct connection *c = http->connections; c != NULL; c = c->next) {
		struct request *r = c->request;
		int64_t age = now - c->started_ms;

		if (age < TOTAL_MS)
			continue;
		if (r != NULL && r->is_suspended) {
			decide(r, 503, "late");
			wake(r);
		} else if (age >= GONE_MS || r == NULL || r->status == 0) {
			(void)shutdown(c->fd, SHUT_RDWR);
		}
	}
}

/* ---- libmicrohttpd's side --------------------------------------------------------------- */

static void
on_connection(
    void *ctx, struct MHD_Connection *mhd, void **context, enum MHD_ConnectionNotificationCode code)
{
	struct http *http = ctx;
	struct connection *c;

	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		const union MHD_ConnectionInfo *info =
		    MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);

		c = calloc(1, sizeof(*c));
		*context = c;
		if (c == NULL || info == NULL)
			return; /* the request is refused for want of a connection */
		c->fd = info->connect_fd;
		c->started_ms = now_ms();
		c->next = http->connections;
		if (c->next != NULL)
			c->next->previous = c;
		http->connections = c;
		return;
	}
	c = *context;
	*context = NULL;
	if (c == NULL)
		return;
	/* the descriptor is closed after this call */
	if (c->previous != NULL)
		c->previous->next = c->next;
	else if (http->connections == c)
		http->connections = c->next;
	if (c->next != NULL)
		c->next->previous = c->previous;
	if (c->request != NULL)
		c->request->connection = NULL;
	free(c);
}

static void
on_completed(
    void *ctx, struct MHD_Connection *mhd, void **context, enum MHD_RequestTerminationCode code)
{
	struct request *r = *context;

	(void)ctx;
	(void)mhd;
	(void)code;
	if (r == NULL)
		return;
	*context = NULL;
	if (r->connection != NULL) {
		r->connection->request = NULL;
		r->connection->is_kept = true;
		r->connection->started_ms = now_ms();
	}
	r->connection = NULL;
	r->mhd_holds = false;
	if (!r->work_holds)
		request_free(r);
}

static enum MHD_Result
look_at_header(void *ctx, enum MHD_ValueKind kind, const char *name, const char *value)
{
	(void)kind;
	http_framing_field(ctx, slice_str(name), slice_str(value));
	return MHD_YES;
}

static bool
is_hook(const struct http *http, const char *url)
{
	return http->config.webhook != NULL && strcmp(url, http->config.webhook->path) == 0;
}

static bool
is_open(const struct http *http)
{
	return !http->is_ending && intake_is_open(http->config.intake);
}

/* What can be said from the head alone; 0: read the body. */
static unsigned
judge_head(struct request *r, const char *url, const char *method, bool *is_at_once)
{
	const struct http *http = r->http;
	struct http_framing f = { 0 };
	struct http_places places = { .sns = slice_str(http->config.path),
		.hook = slice_str(http->config.webhook != NULL ? http->config.webhook->path : NULL),
		.has_pages = http->config.web != NULL,
		.is_open = is_open(http) };

	(void)MHD_get_connection_values(r->mhd, MHD_HEADER_KIND, look_at_header, &f);
	r->is_framed = http_framing_is_whole(&f);
	return http_head_judge(&f, slice_str(url), slice_str(method), &places, is_at_once);
}

/* Why the head alone decides. */
static const char *
head_word(unsigned status)
{
	switch (status) {
	case 200:
		return "health";
	case 400:
		return "request";
	case 404:
		return "path";
	case 405:
		return "method";
	case 413:
		return "size";
	default:
		return "busy";
	}
}

static struct slice
header_copy(struct request *r, enum MHD_ValueKind kind, const char *name)
{
	return arena_copy(&r->arena, slice_str(MHD_lookup_connection_value(r->mhd, kind, name)));
}

/* What a page is made from; bounded by CONNECTION_POOL_BYTES. */
static void
read_page_head(struct request *r, const char *url, const char *method)
{
	static const char *const purposes[] = { "Sec-Purpose", "Purpose", "X-Purpose", "X-Moz" };

	r->is_page = true;
	r->job.in = (struct web_request_input){ .path = arena_copy(&r->arena, slice_str(url)),
		.lang = header_copy(r, MHD_GET_ARGUMENT_KIND, "lang"),
		.content_type = header_copy(r, MHD_HEADER_KIND, "Content-Type"),
		.accept_language = header_copy(r, MHD_HEADER_KIND, "Accept-Language"),
		.is_post = strcmp(method, "POST") == 0,
		.is_head = strcmp(method, "HEAD") == 0 };
	r->job.agent = header_copy(r, MHD_HEADER_KIND, "User-Agent");
	for (size_t i = 0; i < sizeof(purposes) / sizeof(purposes[0]) && r->job.purpose.len == 0;
	     i++)
		r->job.purpose = header_copy(r, MHD_HEADER_KIND, purposes[i]);
}

/* The tokens in our addresses are for nobody else: no cache, no referrer, no frame. */
static struct MHD_Response *
page_response(const struct web_answer *page)
{
	const char *const fields[][2] = { { "Connection", "close" },
		{ "Content-Type", page->type != NULL ? page->type : "text/html; charset=utf-8" },
		{ "Content-Security-Policy", page->policy }, { "Cache-Control", "no-store" },
		{ "Referrer-Policy", "no-referrer" }, { "X-Content-Type-Options", "nosniff" },
		{ "X-Frame-Options", "DENY" }, { "X-Robots-Tag", "noindex, nofollow" },
		{ "Location", page->location } };
	struct MHD_Response *response =
	    MHD_create_response_from_buffer(page->body.len, page->body.data, MHD_RESPMEM_MUST_COPY);

	for (size_t i = 0; response != NULL && i < sizeof(fields) / sizeof(fields[0]); i++) {
		if (fields[i][1] != NULL &&
		    MHD_add_response_header(response, fields[i][0], fields[i][1]) != MHD_YES) {
			MHD_destroy_response(response);
			response = NULL;
		}
	}
	return response;
}

static enum MHD_Result
send_page(struct request *r)
{
	struct http *http = r->http;
	struct MHD_Response *response;
	enum MHD_Result result;

	count_answer(&http->counts, r->status, "page");
	response = page_response(&r->page);
	if (response == NULL)
		return MHD_NO;
	result = MHD_queue_response(r->mhd, r->page.status, response);
	MHD_destroy_response(response);
	return result;
}

/* Only after what was recorded may the connection go on: a sender in error begins anew. */
static enum MHD_Result
send_answer(struct request *r, unsigned status)
{
	struct http *http = r->http;
	struct MHD_Response *response;
	size_t i = 0;

	while (i + 1 < ANSWERS && answers[i].status != status)
		i++;
	count_answer(&http->counts, answers[i].status, r->why);
	response = status == 200 && r->is_framed && !http->is_stopping ? http->recorded
								       : http->responses[i];
	return MHD_queue_response(r->mhd, answers[i].status, response);
}

static enum MHD_Result
take_bytes(struct request *r, const char *bytes, size_t n)
{
	struct http *http = r->http;
	size_t max = r->is_page ? WEB_BODY_MAX : r->is_hook ? WEBHOOK_BODY_MAX : SNS_BODY_MAX;

	if (r->status == 0 && (n > max || r->body.len > max - n)) {
		decide(r, 413, "size");
		drop_body(r);
	} else if (r->status == 0 && http->bodies + n > BODIES_MAX) {
		decide(r, 503, "busy");
		drop_body(r);
	}
	if (r->status != 0) {
		r->dropped += n;
		return r->dropped <= SNS_BODY_MAX ? MHD_YES : MHD_NO;
	}
	buf_append(&r->body, bytes, n);
	r->counted += n;
	http->bodies += n;
	return buf_failed(&r->body) ? MHD_NO : MHD_YES;
}

/* The whole body is there. False: nobody works any more. */
static bool
hand_over(struct request *r)
{
	struct http *http = r->http;

	if (http->is_ending)
		return false;
	MHD_suspend_connection(r->mhd);
	r->is_suspended = r->work_holds = true;
	r->handed_ms = now_ms();
	http->working++;
	jobs_push(&http->taken, r);
	return true;
}

static enum MHD_Result
on_request(void *ctx, struct MHD_Connection *mhd, const char *url, const char *method,
    const char *version, const char *bytes, size_t *size, void **context)
{
	struct http *http = ctx;
	struct request *r = *context;
	bool is_at_once;

	(void)version;
	if (r == NULL) {
		const union MHD_ConnectionInfo *info =
		    MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
		const char *type;

		if (info == NULL || info->socket_context == NULL ||
		    (r = request_new(http, mhd, info->socket_context)) == NULL)
			return MHD_NO;
		*context = r;
		r->status = judge_head(r, url, method, &is_at_once);
		r->why = head_word(r->status);
		if (is_at_once)
			return send_answer(r, r->status);
		if (http->config.web != NULL && web_request_page(slice_str(url)) != WEB_NO_PAGE)
			read_page_head(r, url, method);
		r->is_hook = is_hook(http, url);
		if (r->is_hook)
			r->hook = (struct webhook_head){
				.timestamp = header_copy(r, MHD_HEADER_KIND, "X-Kairan-Timestamp"),
				.signature = header_copy(r, MHD_HEADER_KIND, "X-Kairan-Signature")
			};
		type = MHD_lookup_connection_value(mhd, MHD_HEADER_KIND, "x-amz-sns-message-type");
		(void)snprintf(r->type, sizeof(r->type), "%s", type != NULL ? type : "");
		return MHD_YES;
	}
	if (*size > 0) {
		size_t n = *size;

		*size = 0;
		return take_bytes(r, bytes, n);
	}
	if (r->status == 0 && hand_over(r))
		return MHD_YES;
	if (r->page.policy != NULL)
		return send_page(r);
	decide(r, 503, "busy");
	return send_answer(r, r->status);
}

/* One turn of libmicrohttpd: what has arrived, what was woken, what is overdue. */
static void
turn(struct http *http)
{
	MHD_UNSIGNED_LONG_LONG wait_ms = 0;

	http->has_woken = false;
	(void)MHD_run(http->daemon);
	pass_on(http);
	if (http->has_woken || MHD_get_timeout(http->daemon, &wait_ms) == MHD_YES)
		(void)uv_timer_start(http->due, on_due, wait_ms, 0);
	else
		(void)uv_timer_stop(http->due);
}

static void
on_due(uv_timer_t *timer)
{
	turn(timer->data);
}

static void
on_poll(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	turn(poll->data);
}

static void PRINTF_LIKE(2, 0) on_log(void *ctx, const char *format, va_list args)
{
	char line[300];

	(void)ctx;
	(void)vsnprintf(line, sizeof(line), format, args);
	log_debug("libmicrohttpd: %s", line);
}

/* ---- start and end ---------------------------------------------------------------------- */

static int
listen_on(const struct http_config *config, bool *is_loopback, struct err *err)
{
	static const int one = 1;
	struct sockaddr_storage address;
	socklen_t length;
	int fd;

	if (listen_address_parse(config->listen, "feedback.http_listen", &address, err) < 0)
		return -1;
	length = address.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
					       : sizeof(struct sockaddr_in);
	*is_loopback = listen_address_is_loopback(&address);
	fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(fd, (struct sockaddr *)&address, length) < 0 || listen(fd, BACKLOG) < 0) {
		(void)err_set(err, "cannot listen on feedback.http_listen %s: %s", config->listen,
		    strerror(errno));
		if (fd >= 0)
			(void)close(fd);
		return -1;
	}
	return fd;
}

/* As many as there are descriptors for. */
static unsigned
connections_max(void)
{
	struct rlimit files;
	unsigned max = CONNECTIONS_MAX;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < max + FILES_RESERVED) {
		max = files.rlim_cur > 2 * FILES_RESERVED
		    ? (unsigned)files.rlim_cur - FILES_RESERVED
		    : FILES_RESERVED;
		log_warn("http takes %u connections, for want of descriptors: a limit of %u "
			 "(ulimit -n, LimitNOFILE) would allow %u",
		    max, CONNECTIONS_MAX + FILES_RESERVED, CONNECTIONS_MAX);
	}
	return max;
}

/* NULL without memory. */
static struct MHD_Response *
plain_response(const char *text)
{
	struct MHD_Response *r = MHD_create_response_from_buffer(
	    strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_PERSISTENT);

	if (r != NULL && MHD_add_response_header(r, "Content-Type", "text/plain") != MHD_YES) {
		MHD_destroy_response(r);
		r = NULL;
	}
	return r;
}

static int
make_responses(struct http *http, struct err *err)
{
	http->recorded = plain_response(answers[0].text);
	if (http->recorded == NULL)
		return err_set(err, "no memory");
	for (size_t i = 0; i < ANSWERS; i++) {
		struct MHD_Response *r = http->responses[i] = plain_response(answers[i].text);

		if (r == NULL || MHD_add_response_header(r, "Connection", "close") != MHD_YES)
			return err_set(err, "no memory");
		if (answers[i].status == 405)
			(void)MHD_add_response_header(r, "Allow", "POST");
		if (answers[i].status == 401)
			(void)MHD_add_response_header(r, "WWW-Authenticate", "Kairan-Signature");
		if (answers[i].status == 429)
			(void)MHD_add_response_header(r, "Retry-After", "1");
	}
	return 0;
}

static int
start_workers(struct http *http, struct err *err)
{
	unsigned count = http->config.workers < WORKERS_MAX ? http->config.workers : WORKERS_MAX;

	for (unsigned i = 0; i < count + FETCHERS; i++) {
		struct worker *w = &http->workers[i];

		w->http = http;
		w->is_fetcher = i >= count;
		if (!w->is_fetcher)
			w->cache = sns_cert_cache_new(&http->config.sns->cert, err);
		if (!w->is_fetcher && w->cache == NULL)
			return -1;
		if (pthread_create(&w->thread, NULL, worker_main, w) != 0)
			return err_set(err, "cannot start a thread");
		w->is_started = true;
	}
	return 0;
}

static int
start_handles(struct http *http, uv_loop_t *loop, struct err *err)
{
	http->async = calloc(1, sizeof(*http->async));
	http->sweep = calloc(1, sizeof(*http->sweep));
	http->due = calloc(1, sizeof(*http->due));
	if (http->async == NULL || http->sweep == NULL || http->due == NULL ||
	    uv_async_init(loop, http->async, on_ready) != 0) {
		free(http->async);
		free(http->sweep);
		free(http->due);
		http->async = NULL;
		return err_set(err, "no memory");
	}
	(void)uv_timer_init(loop, http->sweep);
	(void)uv_timer_init(loop, http->due);
	http->async->data = http->sweep->data = http->due->data = http;
	(void)uv_timer_start(http->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
	return 0;
}

/* libmicrohttpd waits with an epoll of its own, which the loop waits for. */
static int
watch_daemon(struct http *http, uv_loop_t *loop, struct err *err)
{
	const union MHD_DaemonInfo *info =
	    MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	uv_poll_t *poll = malloc(sizeof(*poll));

	if (info == NULL || poll == NULL || uv_poll_init(loop, poll, info->epoll_fd) != 0) {
		free(poll);
		return err_set(err, "no memory");
	}
	poll->data = http;
	http->poll = poll;
	(void)uv_poll_start(poll, UV_READABLE, on_poll);
	return 0;
}

struct http *
http_new(uv_loop_t *loop, const struct http_config *config, struct err *err)
{
	struct http *http = calloc(1, sizeof(*http));
	bool is_loopback;
	int fd;

	if (http == NULL) {
		(void)err_set(err, "no memory");
		return NULL;
	}
	http->config = *config;
	(void)pthread_mutex_init(&http->lock, NULL);
	(void)pthread_cond_init(&http->wake, NULL);
	(void)pthread_cond_init(&http->wake_fetcher, NULL);
	jobs_init(&http->fetches);
	jobs_init(&http->taken);
	jobs_init(&http->todo);
	jobs_init(&http->ready);
	if (start_handles(http, loop, err) < 0 || make_responses(http, err) < 0 ||
	    start_workers(http, err) < 0 || (fd = listen_on(config, &is_loopback, err)) < 0)
		goto fail;
	http->daemon = MHD_start_daemon(
	    MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request,
	    http, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
	    MHD_OPTION_CONNECTION_LIMIT, connections_max(), MHD_OPTION_PER_IP_CONNECTION_LIMIT,
	    is_loopback ? 0u : (unsigned)CONNECTIONS_PER_PEER_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
	    (unsigned)FIRST_BYTE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_POOL_BYTES,
	    MHD_OPTION_NOTIFY_COMPLETED, on_completed, http, MHD_OPTION_NOTIFY_CONNECTION,
	    on_connection, http, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
	if (http->daemon == NULL) {
		(void)close(fd);
		(void)err_set(err, "libmicrohttpd does not start: too few file descriptors?");
		goto fail;
	}
	if (watch_daemon(http, loop, err) < 0)
		goto fail;
	log_info("http listens address=%s path=%s", config->listen, config->path);
	return http;
fail:
	http_free(http);
	return NULL;
}

void
http_stop(struct http *http)
{
	MHD_socket fd;

	if (http == NULL || http->daemon == NULL)
		return;
	fd = MHD_quiesce_daemon(http->daemon);
	if (fd != MHD_INVALID_SOCKET)
		(void)close(fd);
	http->is_stopping = true;
	for (struct connection *c = http->connections; c != NULL; c = c->next)
		if (c->is_kept && c->request == NULL)
			(void)shutdown(c->fd, SHUT_RD);
}

bool
http_is_idle(const struct http *http)
{
	return http == NULL || http->working == 0;
}

struct http_counts
http_counts(const struct http *http)
{
	return http->counts;
}

static void
end_workers(struct http *http)
{
	(void)pthread_mutex_lock(&http->lock);
	http->is_ending = true;
	(void)pthread_cond_broadcast(&http->wake);
	(void)pthread_cond_broadcast(&http->wake_fetcher);
	(void)pthread_mutex_unlock(&http->lock);
	for (unsigned i = 0; i < WORKERS_MAX + FETCHERS; i++) {
		if (http->workers[i].is_started)
			(void)pthread_join(http->workers[i].thread, NULL);
		sns_cert_cache_free(http->workers[i].cache);
	}
}

static void
pause_ms(long ms)
{
	(void)nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000 }, NULL);
}

/* Answers what waits, and gives the answers half a second to leave. */
static void
end_daemon(struct http *http)
{
	for (struct request *r = http->requests; r != NULL; r = r->next) {
		if (r->is_suspended)
			decide(r, 503, "late");
		wake(r);
	}
	for (unsigned i = 0; i < 20 && http->connections != NULL; i++) {
		(void)MHD_run(http->daemon);
		pause_ms(25);
	}
	MHD_stop_daemon(http->daemon);
}

static void
free_handle(uv_handle_t *handle)
{
	free(handle);
}

void
http_free(struct http *http)
{
	if (http == NULL)
		return;
	http_stop(http);
	end_workers(http);
	if (http->poll != NULL)
		uv_close((uv_handle_t *)http->poll, free_handle);
	if (http->daemon != NULL)
		end_daemon(http);
	while (http->requests != NULL)
		request_free(http->requests);
	while (http->spare != NULL)
		request_destroy(request_take(http));
	for (size_t i = 0; i < ANSWERS; i++)
		if (http->responses[i] != NULL)
			MHD_destroy_response(http->responses[i]);
	if (http->recorded != NULL)
		MHD_destroy_response(http->recorded);
	if (http->async != NULL) {
		uv_close((uv_handle_t *)http->async, free_handle);
		uv_close((uv_handle_t *)http->sweep, free_handle);
		uv_close((uv_handle_t *)http->due, free_handle);
	}
	(void)pthread_cond_destroy(&http->wake);
	(void)pthread_cond_destroy(&http->wake_fetcher);
	(void)pthread_mutex_destroy(&http->lock);
	free(http);
}
