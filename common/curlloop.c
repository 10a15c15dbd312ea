/* SPDX-License-Identifier: Apache-2.0 */
/* curlloop: see curlloop.h. libcurl says which sockets and which time to wait for; libuv waits. */
#include "curlloop.h"

#include <stdlib.h>

struct curlloop {
	uv_loop_t *loop;
	CURLM *multi;
	uv_timer_t timer;
	curlloop_done done;
	void *ctx;
};

struct watch {
	uv_poll_t poll;
	curl_socket_t socket;
	struct curlloop *l;
};

static void
collect(struct curlloop *l)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(l->multi, &left)) != NULL) {
		CURL *easy = message->easy_handle;
		CURLcode code = message->data.result;
		void *priv = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		(void)curl_easy_getinfo(easy, CURLINFO_PRIVATE, &priv);
		l->done(l->ctx, priv, code);
	}
}

static void
on_poll(uv_poll_t *poll, int status, int events)
{
	struct watch *w = poll->data;
	struct curlloop *l = w->l;
	int flags = 0, running;

	if (status < 0)
		flags = CURL_CSELECT_ERR;
	if ((events & UV_READABLE) != 0)
		flags |= CURL_CSELECT_IN;
	if ((events & UV_WRITABLE) != 0)
		flags |= CURL_CSELECT_OUT;
	(void)curl_multi_socket_action(l->multi, w->socket, flags, &running);
	collect(l);
}

static void
on_timer(uv_timer_t *timer)
{
	struct curlloop *l = timer->data;
	int running;

	(void)curl_multi_socket_action(l->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	collect(l);
}

static int
set_timer(CURLM *multi, long timeout_ms, void *ctx)
{
	struct curlloop *l = ctx;

	(void)multi;
	if (timeout_ms < 0)
		(void)uv_timer_stop(&l->timer);
	else
		(void)uv_timer_start(&l->timer, on_timer, (uint64_t)timeout_ms, 0);
	return 0;
}

static void
free_watch(uv_handle_t *handle)
{
	free(handle->data);
}

static int
set_socket(CURL *easy, curl_socket_t socket, int what, void *ctx, void *socket_ctx)
{
	struct curlloop *l = ctx;
	struct watch *w = socket_ctx;
	int events = 0;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (w != NULL) {
			(void)uv_poll_stop(&w->poll);
			uv_close((uv_handle_t *)&w->poll, free_watch);
			(void)curl_multi_assign(l->multi, socket, NULL);
		}
		return 0;
	}
	if (w == NULL) {
		w = calloc(1, sizeof(*w));
		if (w == NULL || uv_poll_init_socket(l->loop, &w->poll, socket) < 0) {
			free(w);
			return -1;
		}
		w->l = l;
		w->socket = socket;
		w->poll.data = w;
		(void)curl_multi_assign(l->multi, socket, w);
	}
	if (what != CURL_POLL_OUT)
		events |= UV_READABLE;
	if (what != CURL_POLL_IN)
		events |= UV_WRITABLE;
	return uv_poll_start(&w->poll, events, on_poll) < 0 ? -1 : 0;
}

struct curlloop *
curlloop_new(uv_loop_t *loop, curlloop_done done, void *ctx)
{
	struct curlloop *l = calloc(1, sizeof(*l));

	if (l == NULL || (l->multi = curl_multi_init()) == NULL) {
		free(l);
		return NULL;
	}
	l->loop = loop;
	l->done = done;
	l->ctx = ctx;
	(void)uv_timer_init(loop, &l->timer);
	l->timer.data = l;
	(void)curl_multi_setopt(l->multi, CURLMOPT_SOCKETFUNCTION, set_socket);
	(void)curl_multi_setopt(l->multi, CURLMOPT_SOCKETDATA, l);
	(void)curl_multi_setopt(l->multi, CURLMOPT_TIMERFUNCTION, set_timer);
	(void)curl_multi_setopt(l->multi, CURLMOPT_TIMERDATA, l);
	(void)curl_multi_setopt(l->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
	return l;
}

CURLM *
curlloop_multi(struct curlloop *l)
{
	return l->multi;
}

void
curlloop_stop(struct curlloop *l)
{
	/* connections are closed by curlloop_free, when the loop is no more */
	(void)curl_multi_setopt(l->multi, CURLMOPT_SOCKETFUNCTION, NULL);
	(void)curl_multi_setopt(l->multi, CURLMOPT_TIMERFUNCTION, NULL);
	(void)uv_timer_stop(&l->timer);
	if (!uv_is_closing((uv_handle_t *)&l->timer))
		uv_close((uv_handle_t *)&l->timer, NULL);
}

void
curlloop_free(struct curlloop *l)
{
	if (l == NULL)
		return;
	(void)curl_multi_cleanup(l->multi);
	free(l);
}
