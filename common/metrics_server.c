/* SPDX-License-Identifier: Apache-2.0 */
/* metrics_server: see metrics_server.h. */
#include "metrics_server.h"

#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "listen_address.h"
#include "log.h"
#include "metric.h"

#define CONNECTIONS_MAX 32
#define TIMEOUT_S 5

struct metrics_server {
	struct MHD_Daemon *daemon;
	const struct metrics_page *pages;
	void *ctx;
	pthread_mutex_t lock;
	struct buf text; /* under the lock */
};

/* ---- answers ---- */

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
	if (status == 405)
		(void)MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, "GET");
	result = MHD_queue_response(connection, status, r);
	MHD_destroy_response(r);
	return result;
}

static enum MHD_Result
on_request(void *context, struct MHD_Connection *connection, const char *url, const char *method,
    const char *version, const char *upload, size_t *upload_size, void **state)
{
	struct metrics_server *s = context;
	const struct metrics_page *page = s->pages;
	enum MHD_Result result;
	struct buf out;

	(void)version;
	(void)upload;
	(void)upload_size;
	(void)state;
	if (strcmp(method, "GET") != 0)
		return answer(connection, 405, "text/plain", "only GET\n");
	while (page->path != NULL && strcmp(url, page->path) != 0)
		page++;
	if (page->path == NULL)
		return answer(connection, 404, "text/plain", "no such page\n");
	buf_init(&out, METRIC_TEXT_MAX);
	if (page->render != NULL) {
		page->render(s->ctx, &out);
	} else {
		(void)pthread_mutex_lock(&s->lock);
		buf_append_slice(&out, buf_slice(&s->text));
		(void)pthread_mutex_unlock(&s->lock);
	}
	if (buf_failed(&out))
		result = answer(connection, 500, "text/plain", "no memory\n");
	else if (out.len == 0)
		result = answer(connection, 503, "text/plain", "nothing is known yet\n");
	else
		result = answer(connection, 200, page->type, buf_str(&out));
	buf_release(&out);
	return result;
}

/* ---- life ---- */

struct metrics_server *
metrics_server_new(const char *listen, const char *key, const struct metrics_page *pages, void *ctx,
    struct err *err)
{
	struct sockaddr_storage address;
	struct metrics_server *s;

	if (listen_address_parse(listen, key, &address, err) < 0)
		return NULL;
	if (!listen_address_is_loopback(&address)) {
		(void)err_set(err, "%s must be on the loopback, like 127.0.0.1:9630", key);
		return NULL;
	}
	s = calloc(1, sizeof(*s));
	if (s == NULL) {
		(void)err_set(err, "no memory");
		return NULL;
	}
	s->pages = pages;
	s->ctx = ctx;
	buf_init(&s->text, METRIC_TEXT_MAX);
	(void)pthread_mutex_init(&s->lock, NULL);
	s->daemon = MHD_start_daemon(
	    MHD_USE_INTERNAL_POLLING_THREAD | (address.ss_family == AF_INET6 ? MHD_USE_IPv6 : 0), 0,
	    NULL, NULL, on_request, s, MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&address,
	    MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
	    (unsigned)TIMEOUT_S, MHD_OPTION_END);
	if (s->daemon == NULL) {
		(void)err_set(err, "cannot listen on %s %s: %s", key, listen, strerror(errno));
		metrics_server_free(s);
		return NULL;
	}
	log_info("metrics listens address=%s", listen);
	return s;
}

void
metrics_server_free(struct metrics_server *s)
{
	if (s == NULL)
		return;
	if (s->daemon != NULL)
		MHD_stop_daemon(s->daemon);
	(void)pthread_mutex_destroy(&s->lock);
	buf_release(&s->text);
	free(s);
}

void
metrics_server_publish(struct metrics_server *s, const struct buf *text)
{
	if (s == NULL || buf_failed(text))
		return;
	(void)pthread_mutex_lock(&s->lock);
	buf_reset(&s->text);
	buf_append_slice(&s->text, buf_slice(text));
	(void)pthread_mutex_unlock(&s->lock);
}
