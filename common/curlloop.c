/* SPDX-License-Identifier: Apache-2.0 */
/*
 * curlloop: see curlloop.h. libcurl says which sockets and which time to wait for; libuv waits.
 *
 * libcurl forgets the socket of a kept connection between two transfers and asks for it again
 * moments later. Taking it off the loop and putting it on again costs about seven system calls
 * and an allocation, so a socket that libcurl opened through us stays on the loop until it is
 * closed through us; what an unwanted one reports is passed over, and makes it quiet. Sockets that
 * libcurl makes otherwise (its resolver's) are taken off at once: nobody tells of their end.
 */
#include "curlloop.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct curlloop {
	uv_loop_t *loop;
	CURLM *multi;
	uv_timer_t timer;
	curlloop_done done;
	void *ctx;
	struct watch **kept; /* by socket; NULL: not one of ours */
	size_t kept_room;
	bool stopped;
};

struct watch {
	uv_poll_t poll;
	curl_socket_t socket;
	struct curlloop *l;
	int events;  /* that the loop waits for; 0: none */
	bool wanted; /* libcurl waits for them, too */
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
		(void)curl_multi_remove_handle(l->multi, easy);
		l->done(l->ctx, priv, code);
	}
}

static void
on_poll(uv_poll_t *poll, int status, int events)
{
	struct watch *w = poll->data;
	struct curlloop *l = w->l;
	int flags = 0, running;

	if (!w->wanted) {
		w->events = 0;
		(void)uv_poll_stop(poll);
		return;
	}
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

/* ---- sockets ---- */

static void
free_watch(uv_handle_t *handle)
{
	free(handle->data);
}

static struct watch *
watch_new(struct curlloop *l, curl_socket_t socket)
{
	struct watch *w = calloc(1, sizeof(*w));

	if (w == NULL || uv_poll_init_socket(l->loop, &w->poll, socket) < 0) {
		free(w);
		return NULL;
	}
	w->l = l;
	w->socket = socket;
	w->poll.data = w;
	return w;
}

static void
watch_free(struct watch *w)
{
	(void)uv_poll_stop(&w->poll);
	uv_close((uv_handle_t *)&w->poll, free_watch);
}

static struct watch *
kept_of(const struct curlloop *l, curl_socket_t socket)
{
	return (size_t)socket < l->kept_room ? l->kept[socket] : NULL;
}

/* Without memory it is watched as one that libcurl made itself. */
static void
keep(struct curlloop *l, curl_socket_t socket)
{
	size_t room = l->kept_room > 0 ? l->kept_room : 64;
	struct watch **longer;

	while (room <= (size_t)socket)
		room *= 2;
	if (room > l->kept_room) {
		longer = realloc(l->kept, room * sizeof(struct watch *));
		if (longer == NULL)
			return;
		memset(longer + l->kept_room, 0, (room - l->kept_room) * sizeof(struct watch *));
		l->kept = longer;
		l->kept_room = room;
	}
	l->kept[socket] = watch_new(l, socket);
}

static curl_socket_t
open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct curlloop *l = ctx;
	int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);

	(void)purpose;
	if (fd >= 0 && !l->stopped)
		keep(l, fd);
	return fd >= 0 ? fd : CURL_SOCKET_BAD;
}

static int
close_socket(void *ctx, curl_socket_t socket)
{
	struct curlloop *l = ctx;
	struct watch *w = kept_of(l, socket);

	if (w != NULL) {
		l->kept[socket] = NULL;
		watch_free(w);
	}
	return close(socket);
}

static void
forget_socket(struct curlloop *l, struct watch *w)
{
	if (w == NULL)
		return;
	(void)curl_multi_assign(l->multi, w->socket, NULL);
	if (kept_of(l, w->socket) == w)
		w->wanted = false;
	else
		watch_free(w);
}

static int
set_socket(CURL *easy, curl_socket_t socket, int what, void *ctx, void *socket_ctx)
{
	struct curlloop *l = ctx;
	struct watch *w = socket_ctx;
	int events = 0;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		forget_socket(l, w);
		return 0;
	}
	if (w == NULL) {
		w = kept_of(l, socket);
		if (w == NULL)
			w = watch_new(l, socket);
		if (w == NULL)
			return -1;
		(void)curl_multi_assign(l->multi, socket, w);
	}
	if (what != CURL_POLL_OUT)
		events |= UV_READABLE;
	if (what != CURL_POLL_IN)
		events |= UV_WRITABLE;
	w->wanted = true;
	if (events == w->events)
		return 0;
	w->events = events;
	return uv_poll_start(&w->poll, events, on_poll) < 0 ? -1 : 0;
}

/* ---- life ---- */

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

bool
curlloop_add(struct curlloop *l, CURL *easy)
{
	(void)curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	(void)curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, l);
	(void)curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
	(void)curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, l);
	return curl_multi_add_handle(l->multi, easy) == CURLM_OK;
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
	l->stopped = true;
	for (size_t i = 0; i < l->kept_room; i++) {
		if (l->kept[i] != NULL)
			watch_free(l->kept[i]);
		l->kept[i] = NULL;
	}
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
	free(l->kept);
	free(l);
}
