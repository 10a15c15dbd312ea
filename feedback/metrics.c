/* SPDX-License-Identifier: Apache-2.0 */
/* metrics: see metrics.h. libmicrohttpd's thread reads a copy under the lock. */
#include "metrics.h"

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "metric.h"
#include "metrics_server.h"

struct metrics {
	struct metrics_server *server;
	const struct sources *sources;
	pthread_mutex_t lock;
	struct metrics_state state;
};

/* ---- Prometheus ------------------------------------------------------------------------- */

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
		const char *name;
		enum metric_type type;
		const char *help;
	} columns[] = {
		{ UP, "kairan_feedback_source_up", METRIC_GAUGE,
		    "1 when it listens, or its last look succeeded" },
		{ RECEIVED, "kairan_feedback_source_received_total", METRIC_COUNTER,
		    "Notices read" },
		{ COMMITTED, "kairan_feedback_source_committed_total", METRIC_COUNTER,
		    "Notices committed" },
		{ LEFT, "kairan_feedback_source_left_total", METRIC_COUNTER,
		    "Notices not acceptable, left where they were or refused" },
		{ ERRORS, "kairan_feedback_source_errors_total", METRIC_COUNTER,
		    "Looks that failed" },
		{ LAST_MESSAGE, "kairan_feedback_source_last_message_timestamp_seconds",
		    METRIC_GAUGE, "Time of the last commit, 0 when there was none" },
		{ LAST_ERROR, "kairan_feedback_source_last_error_timestamp_seconds", METRIC_GAUGE,
		    "Time of the last error, 0 when there was none" },
	};

	for (size_t c = 0; c < sizeof(columns) / sizeof(columns[0]) && sources->count > 0; c++) {
		metric_family(out, columns[c].name, columns[c].type, columns[c].help);
		for (size_t i = 0; i < sources->count; i++) {
			struct source_health h = source_health(sources->items[i]);
			struct metric_label label = { "source", sources->items[i]->name };

			metric_sample(
			    out, columns[c].name, &label, 1, value_of(&h, columns[c].column));
		}
	}
}

static double
lag_s(const struct source_health *h)
{
	struct timespec now;
	double age;

	if (h->oldest_us <= 0)
		return (double)h->oldest_us;
	(void)clock_gettime(CLOCK_REALTIME, &now);
	age = (double)now.tv_sec + (double)now.tv_nsec / 1e9 - (double)h->oldest_us / 1e6;
	return age > 0 ? age : 0;
}

/* Of the sources of which it is known. */
static void
put_lag(struct buf *out, const struct sources *sources)
{
	static const char *const families[][2] = {
		{ "kairan_feedback_source_waiting",
		    "Notices that wait at the source, of a Maildir up to 1,000" },
		{ "kairan_feedback_source_lag_seconds",
		    "Since when the oldest of them waits, 0 when none does" },
		{ "kairan_feedback_source_behind_bytes", "Bytes of the log that are not read" },
	};

	for (size_t f = 0; f < sizeof(families) / sizeof(families[0]) && sources->count > 0; f++) {
		metric_family(out, families[f][0], METRIC_GAUGE, families[f][1]);
		for (size_t i = 0; i < sources->count; i++) {
			struct source_health h = source_health(sources->items[i]);
			struct metric_label label = { "source", sources->items[i]->name };
			double value = f == 0 ? (double)h.waiting
			    : f == 1	      ? lag_s(&h)
					      : (double)h.behind_bytes;

			if (value >= 0)
				metric_sample(out, families[f][0], &label, 1, value);
		}
	}
}

static void
put_http(struct buf *out, const struct metrics_state *s)
{
	static const char name[] = "kairan_feedback_http_answers_total";

	metric_family(
	    out, name, METRIC_COUNTER, "Answers of the HTTP listener by status and reason");
	for (size_t i = 0; i < HTTP_ANSWERS && s->has_http; i++) {
		struct http_answer_row row = http_answer_row(i);
		char status[16] = "other";

		if (row.status != 0)
			(void)snprintf(status, sizeof(status), "%u", row.status);
		metric_sample(out, name,
		    (struct metric_label[]){ { "status", status }, { "reason", row.reason } }, 2,
		    (double)s->http.answers[i]);
	}
}

/* Every pair from the beginning on: of a counter that begins at 1 nobody sees the increase. */
static void
put_kept(struct buf *out, const struct sources *sources)
{
	static const char name[] = "kairan_feedback_quarantined_total";

	if (sources->count == 0)
		return;
	metric_family(out, name, METRIC_COUNTER,
	    "Notices that could not be read or were refused, kept aside");
	for (size_t i = 0; i < sources->count; i++) {
		struct source_health h = source_health(sources->items[i]);

		for (size_t k = 0; k < SOURCE_KEPT_REASONS; k++)
			metric_sample(out, name,
			    (struct metric_label[]){ { "source", sources->items[i]->name },
				{ "reason", source_kept_reason(k) } },
			    2, (double)h.kept[k]);
	}
}

void
metrics_text(struct buf *out, const struct sources *sources, const struct metrics_state *s)
{
	const struct {
		const char *name;
		enum metric_type type;
		const char *help;
		uint64_t value;
	} rows[] = {
		{ "kairan_feedback_ready", METRIC_GAUGE,
		    "1 when PostgreSQL is connected and there is room", s->is_ready },
		{ "kairan_feedback_waiting", METRIC_GAUGE, "Notices that wait for their commit",
		    s->waiting },
		{ "kairan_feedback_items_total", METRIC_COUNTER, "Notices committed",
		    s->counts.items },
		{ "kairan_feedback_events_total", METRIC_COUNTER, "Events committed",
		    s->counts.events },
		{ "kairan_feedback_fresh_total", METRIC_COUNTER,
		    "Events that had not been heard before", s->counts.fresh },
		{ "kairan_feedback_batches_total", METRIC_COUNTER, "Batches committed",
		    s->counts.batches },
		{ "kairan_feedback_again_total", METRIC_COUNTER, "Batches submitted again",
		    s->counts.again },
		{ "kairan_feedback_failed_total", METRIC_COUNTER,
		    "Notices whose sender was told to try again", s->counts.failed },
		{ "kairan_feedback_turned_away_total", METRIC_COUNTER,
		    "Notices not taken for want of room", s->counts.turned_away },
	};

	metric_process(out, "kairan-feedback");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		metric_one(out, rows[i].name, rows[i].type, rows[i].help, (double)rows[i].value);
	metric_one(out, "kairan_feedback_lag_seconds", METRIC_GAUGE,
	    "Since when the oldest notice waits for its commit", (double)s->lag_ms / 1e3);
	put_sources(out, sources);
	put_http(out, s);
	put_lag(out, sources);
	put_kept(out, sources);
}

/* ---- JSON ------------------------------------------------------------------------------- */

void
metrics_json(struct buf *out, const struct sources *sources, const struct metrics_state *s)
{
	json_t *list = json_array();
	json_t *root = json_pack("{s:b, s:I, s:I, s:o}", "ready", s->is_ready, "waiting",
	    (json_int_t)s->waiting, "lag_s", (json_int_t)(s->lag_ms / 1000), "sources", list);
	char *text;

	for (size_t i = 0; i < sources->count; i++) {
		struct source_health h = source_health(sources->items[i]);
		uint64_t kept = 0;

		for (size_t k = 0; k < SOURCE_KEPT_REASONS; k++)
			kept += h.kept[k];
		(void)json_array_append_new(list,
		    json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s}",
			"name", sources->items[i]->name, "up", h.is_up, "received",
			(json_int_t)h.received, "committed", (json_int_t)h.committed, "left",
			(json_int_t)h.left, "kept", (json_int_t)kept, "waiting",
			(json_int_t)h.waiting, "lag_s", (json_int_t)lag_s(&h), "behind_bytes",
			(json_int_t)h.behind_bytes, "errors", (json_int_t)h.errors,
			"last_message_s", (json_int_t)(h.last_message_us / 1000000), "last_error_s",
			(json_int_t)(h.last_error_us / 1000000), "last_error", h.last_error));
	}
	text = json_dumps(root, JSON_COMPACT);
	buf_append_str(out, text != NULL ? text : "{}");
	free(text);
	json_decref(root);
}

/* ---- the listener ----------------------------------------------------------------------- */

static struct metrics_state
state_of(struct metrics *m)
{
	struct metrics_state copy;

	(void)pthread_mutex_lock(&m->lock);
	copy = m->state;
	(void)pthread_mutex_unlock(&m->lock);
	return copy;
}

static void
render_text(void *ctx, struct buf *out)
{
	struct metrics *m = ctx;
	struct metrics_state state = state_of(m);

	metrics_text(out, m->sources, &state);
}

static void
render_json(void *ctx, struct buf *out)
{
	struct metrics *m = ctx;
	struct metrics_state state = state_of(m);

	metrics_json(out, m->sources, &state);
}

static const struct metrics_page pages[] = { { "/metrics", METRICS_SERVER_TYPE, render_text },
	{ "/health", "application/json", render_json }, { NULL, NULL, NULL } };

struct metrics *
metrics_new(const char *listen, const struct sources *sources, struct err *err)
{
	struct metrics *m = calloc(1, sizeof(*m));

	if (m == NULL) {
		(void)err_set(err, "no memory");
		return NULL;
	}
	m->sources = sources;
	(void)pthread_mutex_init(&m->lock, NULL);
	m->server = metrics_server_new(listen, "feedback.metrics_listen", pages, m, err);
	if (m->server != NULL)
		return m;
	metrics_free(m);
	return NULL;
}

void
metrics_free(struct metrics *m)
{
	if (m == NULL)
		return;
	metrics_server_free(m->server);
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
