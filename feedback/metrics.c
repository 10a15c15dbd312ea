/* SPDX-License-Identifier: Apache-2.0 */
/* metrics: see metrics.h. libmicrohttpd's thread reads a copy under the lock. */
#include "metrics.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http.h"
#include "log.h"

#define TEXT_MAX ((size_t)64 * 1024)
#define CONNECTIONS_MAX 32
#define TIMEOUT_S 5

struct metrics {
	struct MHD_Daemon *daemon;
	const struct sources *sources;
	pthread_mutex_t lock;
	struct metrics_state state;
};

/* ---- Prometheus ------------------------------------------------------------------------- */

static void
family(struct buf *out, const char *name, const char *type, const char *help)
{
	buf_printf(out, "# HELP kairan_feedback_%s %s\n# TYPE kairan_feedback_%s %s\n", name, help,
	    name, type);
}

enum column { UP, RECEIVED, COMMITTED, LEFT, ERRORS, LAST_MESSAGE, LAST_ERROR };

static double
value_of(const struct source_health *h, enum column column)
{
	switch (column) {
	case UP:
		return h->is_up ? 1 : 0;
	case RECEIVED:
		return (double)h->received;
	case COMMITTED:
		return (double)h->committed;
	case LEFT:
		return (double)h->left;
	case ERRORS:
		return (double)h->errors;
	case LAST_MESSAGE:
		return (double)h->last_message_us / 1e6;
	case LAST_ERROR:
	default:
		return (double)h->last_error_us / 1e6;
	}
}

static void
put_sources(struct buf *out, const struct sources *sources)
{
	static const struct {
		enum column column;
		const char *name, *type, *help;
	} columns[] = {
		{ UP, "source_up", "gauge", "1 when it listens, or its last look succeeded" },
		{ RECEIVED, "source_received_total", "counter", "Notices read" },
		{ COMMITTED, "source_committed_total", "counter", "Notices committed" },
		{ LEFT, "source_left_total", "counter",
		    "Notices not acceptable, left where they were or refused" },
		{ ERRORS, "source_errors_total", "counter", "Looks that failed" },
		{ LAST_MESSAGE, "source_last_message_timestamp_seconds", "gauge",
		    "Time of the last commit, 0 when there was none" },
		{ LAST_ERROR, "source_last_error_timestamp_seconds", "gauge",
		    "Time of the last error, 0 when there was none" },
	};

	for (size_t c = 0; c < sizeof(columns) / sizeof(columns[0]); c++) {
		family(out, columns[c].name, columns[c].type, columns[c].help);
		for (size_t i = 0; i < sources->count; i++) {
			struct source_health h = source_health(sources->items[i]);

			buf_printf(out, "kairan_feedback_%s{source=\"%s\"} %.15g\n",
			    columns[c].name, sources->items[i]->name,
			    value_of(&h, columns[c].column));
		}
	}
}

void
metrics_text(struct buf *out, const struct sources *sources, const struct metrics_state *s)
{
	const struct {
		const char *name, *type, *help;
		uint64_t value;
	} rows[] = {
		{ "ready", "gauge", "1 when PostgreSQL is connected and there is room",
		    s->is_ready },
		{ "waiting", "gauge", "Notices that wait for their commit", s->waiting },
		{ "items_total", "counter", "Notices committed", s->counts.items },
		{ "events_total", "counter", "Events committed", s->counts.events },
		{ "fresh_total", "counter", "Events that had not been heard before",
		    s->counts.fresh },
		{ "batches_total", "counter", "Batches committed", s->counts.batches },
		{ "again_total", "counter", "Batches submitted again", s->counts.again },
		{ "quarantined_total", "counter", "Notices that the database refused, kept aside",
		    s->counts.quarantined },
		{ "failed_total", "counter", "Notices whose sender was told to try again",
		    s->counts.failed },
		{ "turned_away_total", "counter", "Notices not taken for want of room",
		    s->counts.turned_away },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		family(out, rows[i].name, rows[i].type, rows[i].help);
		buf_printf(out, "kairan_feedback_%s %" PRIu64 "\n", rows[i].name, rows[i].value);
	}
	put_sources(out, sources);
}

/* ---- JSON ------------------------------------------------------------------------------- */

void
metrics_json(struct buf *out, const struct sources *sources, const struct metrics_state *s)
{
	json_t *list = json_array();
	json_t *root = json_pack("{s:b, s:I, s:o}", "ready", s->is_ready, "waiting",
	    (json_int_t)s->waiting, "sources", list);
	char *text;

	for (size_t i = 0; i < sources->count; i++) {
		struct source_health h = source_health(sources->items[i]);

		(void)json_array_append_new(list,
		    json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "name",
			sources->items[i]->name, "up", h.is_up, "received", (json_int_t)h.received,
			"committed", (json_int_t)h.committed, "left", (json_int_t)h.left, "errors",
			(json_int_t)h.errors, "last_message_s",
			(json_int_t)(h.last_message_us / 1000000), "last_error_s",
			(json_int_t)(h.last_error_us / 1000000), "last_error", h.last_error));
	}
	text = json_dumps(root, JSON_COMPACT);
	buf_append_str(out, text != NULL ? text : "{}");
	free(text);
	json_decref(root);
}

/* ---- the listener ----------------------------------------------------------------------- */

static enum MHD_Result
answer(struct MHD_Connection *connection, unsigned status, const char *type, const char *text)
{
	struct MHD_Response *r = MHD_create_response_from_buffer(
	    strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
	enum MHD_Result result;

	if (r == NULL)
		return MHD_NO;
	(void)MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	(void)MHD_add_response_header(r, MHD_HTTP_HEADER_CONNECTION, "close");
	result = MHD_queue_response(connection, status, r);
	MHD_destroy_response(r);
	return result;
}

static enum MHD_Result
on_request(void *context, struct MHD_Connection *connection, const char *url, const char *method,
    const char *version, const char *upload, size_t *upload_size, void **state)
{
	struct metrics *m = context;
	bool is_text = strcmp(url, "/metrics") == 0;
	struct metrics_state copy;
	enum MHD_Result result;
	struct buf out;

	(void)version;
	(void)upload;
	(void)upload_size;
	(void)state;
	if (strcmp(method, "GET") != 0)
		return answer(connection, 405, "text/plain", "only GET\n");
	if (!is_text && strcmp(url, "/health") != 0)
		return answer(connection, 404, "text/plain", "no such page\n");
	(void)pthread_mutex_lock(&m->lock);
	copy = m->state;
	(void)pthread_mutex_unlock(&m->lock);
	buf_init(&out, TEXT_MAX);
	if (is_text)
		metrics_text(&out, m->sources, &copy);
	else
		metrics_json(&out, m->sources, &copy);
	result = buf_failed(&out)
	    ? answer(connection, 500, "text/plain", "no memory\n")
	    : answer(connection, 200,
		  is_text ? "text/plain; version=0.0.4; charset=utf-8" : "application/json",
		  buf_str(&out));
	buf_release(&out);
	return result;
}

static bool
is_loopback(const struct sockaddr_storage *a)
{
	if (a->ss_family == AF_INET6)
		return IN6_IS_ADDR_LOOPBACK(
		    &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
	return ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr) >> 24 == 127;
}

struct metrics *
metrics_new(const char *listen, const struct sources *sources, struct err *err)
{
	struct metrics *m;
	struct sockaddr_storage address;

	if (http_address_parse(listen, "feedback.metrics_listen", &address, err) < 0)
		return NULL;
	if (!is_loopback(&address)) {
		(void)err_set(err,
		    "feedback.metrics_listen must be on the loopback, like "
		    "127.0.0.1:9630");
		return NULL;
	}
	m = calloc(1, sizeof(*m));
	if (m == NULL) {
		(void)err_set(err, "no memory");
		return NULL;
	}
	m->sources = sources;
	(void)pthread_mutex_init(&m->lock, NULL);
	m->daemon = MHD_start_daemon(
	    MHD_USE_INTERNAL_POLLING_THREAD | (address.ss_family == AF_INET6 ? MHD_USE_IPv6 : 0), 0,
	    NULL, NULL, on_request, m, MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&address,
	    MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
	    (unsigned)TIMEOUT_S, MHD_OPTION_END);
	if (m->daemon == NULL) {
		(void)err_set(err, "cannot listen on feedback.metrics_listen %s: %s", listen,
		    strerror(errno));
		metrics_free(m);
		return NULL;
	}
	log_info("metrics listens address=%s", listen);
	return m;
}

void
metrics_free(struct metrics *m)
{
	if (m == NULL)
		return;
	if (m->daemon != NULL)
		MHD_stop_daemon(m->daemon);
	(void)pthread_mutex_destroy(&m->lock);
	free(m);
}

void
metrics_publish(struct metrics *m, const struct metrics_state *state)
{
	if (m == NULL)
		return;
	(void)pthread_mutex_lock(&m->lock);
	m->state = *state;
	(void)pthread_mutex_unlock(&m->lock);
}
