/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ses_link: see ses_link.h. A handle with CURLOPT_CONNECT_ONLY stays in libcurl's multi as long as
 * its connection: to take it out closes the socket, so our watch ends before.
 */
#include "ses_link.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "crash.h"
#include "err.h"
#include "ses_answer.h"

#define CONNECTING_FDS 4 /* that a new connection needs for a moment */
#define STALE_US 1000000 /* idle for longer: look before writing whether it was closed */

enum state {
	CLOSED,
	CONNECTING,
	IDLE,
	SENDING,  /* not all is written */
	ANSWERING /* all is written */
};

struct watch {
	uv_poll_t poll;
	struct ses_link *l;
};

struct ses_link {
	struct ses_link_place *place;
	const struct ses_link_user *user;
	void *ctx;
	CURL *easy;
	SSL *ssl; /* of the connection; NULL: none, or not known */
	struct watch *watch;
	int events; /* watched for */
	enum state state;
	struct slice request;
	size_t sent;
	bool agreed; /* may_leave() did: it is whole from here on */
	bool ours;   /* there was no room for a connection */
	struct http_answer answer;
	uint64_t since_us; /* request: begun; idle: last used */
};

static void send_on(struct ses_link *l);

static uint64_t
now_us(void)
{
	return uv_hrtime() / 1000;
}

static uint64_t
age_us(const struct ses_link *l)
{
	return now_us() - l->since_us;
}

/* ---- the connection ---- */

struct ses_link *
ses_link_new(struct ses_link_place *place, const struct ses_link_user *user, void *ctx)
{
	struct ses_link *l = calloc(1, sizeof(*l));

	if (l == NULL || (l->easy = curl_easy_init()) == NULL) {
		free(l);
		return NULL;
	}
	l->place = place;
	l->user = user;
	l->ctx = ctx;
	http_answer_init(&l->answer, SES_ANSWER_MAX);
	(void)curl_easy_setopt(l->easy, CURLOPT_PRIVATE, l);
	(void)curl_easy_setopt(l->easy, CURLOPT_URL, place->url);
	(void)curl_easy_setopt(l->easy, CURLOPT_PROTOCOLS_STR, "https,http");
	(void)curl_easy_setopt(l->easy, CURLOPT_CONNECT_ONLY, 1L);
	(void)curl_easy_setopt(
	    l->easy, CURLOPT_HTTPPROXYTUNNEL, 1L); /* what we say is for the server */
	(void)curl_easy_setopt(l->easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
	(void)curl_easy_setopt(l->easy, CURLOPT_NOSIGNAL, 1L);
	if (place->ca_file != NULL)
		(void)curl_easy_setopt(l->easy, CURLOPT_CAINFO, place->ca_file);
	return l;
}

void
ses_link_free(struct ses_link *l)
{
	if (l == NULL)
		return;
	ses_link_close(l);
	curl_easy_cleanup(l->easy);
	http_answer_release(&l->answer);
	free(l);
}

static void
free_watch(uv_handle_t *handle)
{
	free(handle->data);
}

void
ses_link_close(struct ses_link *l)
{
	if (l->watch != NULL) {
		(void)uv_poll_stop(&l->watch->poll);
		uv_close((uv_handle_t *)&l->watch->poll, free_watch);
	}
	l->watch = NULL;
	l->ssl = NULL;
	if (l->state != CLOSED)
		(void)curl_multi_remove_handle(curlloop_multi(l->place->curl), l->easy);
	l->state = CLOSED;
}

static bool
open_link(struct ses_link *l)
{
	const struct config *config = l->place->config;

	(void)curl_easy_setopt(
	    l->easy, CURLOPT_CONNECTTIMEOUT_MS, config->ses_connect_timeout_s * 1000);
	if (curl_multi_add_handle(curlloop_multi(l->place->curl), l->easy) != CURLM_OK)
		return false;
	l->state = CONNECTING;
	return true;
}

/* ---- the end of a request ---- */

static void
end(struct ses_link *l, enum ses_link_end how, const char *text, bool keeps)
{
	struct ses_link_report report = { .end = how,
		.answer = &l->answer,
		.text = text,
		.begun = l->sent > 0 || l->agreed,
		.ours = l->ours };

	/* what was not written whole leaves nothing to go on with */
	if (keeps && (l->state == ANSWERING || l->sent == 0))
		l->state = IDLE;
	else
		ses_link_close(l);
	l->since_us = now_us();
	l->user->ended(l->ctx, &report);
}

/* Nothing more comes. closed: by the server, in order. */
static void
end_early(struct ses_link *l, const char *text, bool closed)
{
	switch (http_answer_end(&l->answer, closed)) {
	case HTTP_ANSWER_WHOLE:
		end(l, SES_LINK_WHOLE, "", false);
		break;
	case HTTP_ANSWER_CUT:
		end(l, SES_LINK_CUT, "", false);
		break;
	case HTTP_ANSWER_BAD:
	case HTTP_ANSWER_MORE:
		end(l, SES_LINK_SILENT, text, false);
		break;
	}
}

/* ---- reading ---- */

/* What libssl holds that the socket does not show any more. */
static bool
has_pending(const struct ses_link *l)
{
	return l->ssl != NULL && SSL_has_pending(l->ssl) == 1;
}

static void
receive(struct ses_link *l, const char *error)
{
	enum http_answer_result result;
	size_t n, used;

	do {
		CURLcode code = curl_easy_recv(l->easy, l->place->in, sizeof(l->place->in), &n);

		if (code == CURLE_AGAIN && error == NULL)
			return;
		if (code != CURLE_OK || n == 0) {
			bool closed = code == CURLE_OK;

			end_early(l,
			    closed		      ? "the server has closed the connection"
				: code == CURLE_AGAIN ? error
						      : curl_easy_strerror(code),
			    closed);
			return;
		}
		CRASH_POINT("ses_answer_read");
		result = http_answer_feed(&l->answer, l->place->in, n, &used);
	} while (result == HTTP_ANSWER_MORE);
	if (result == HTTP_ANSWER_WHOLE)
		end(l, SES_LINK_WHOLE, "", l->answer.keeps && used == n && !has_pending(l));
	else if (result == HTTP_ANSWER_CUT)
		end(l, SES_LINK_CUT, "", false);
	else
		end(l, SES_LINK_SILENT, l->answer.why, false);
}

/* Nobody has asked anything: tickets of TLS may come, anything else ends it. */
static bool
is_still_open(struct ses_link *l)
{
	size_t n;

	return curl_easy_recv(l->easy, l->place->in, sizeof(l->place->in), &n) == CURLE_AGAIN;
}

static void
on_poll(uv_poll_t *poll, int status, int events)
{
	struct ses_link *l = ((struct watch *)poll->data)->l;
	/* libuv has ended the watch: what was still sent can be read, then it is over */
	const char *error = status < 0 ? "the connection is broken" : NULL;

	if (l->state == IDLE) {
		if (error != NULL || !is_still_open(l))
			ses_link_close(l);
		return;
	}
	/* an answer before all is written makes the rest needless */
	if (error != NULL || (events & UV_READABLE) != 0)
		receive(l, error);
	if (l->watch != NULL && poll == &l->watch->poll && l->state == SENDING &&
	    (events & UV_WRITABLE) != 0)
		send_on(l);
}

/* ---- writing ---- */

static bool
watch_for(struct ses_link *l, int events)
{
	if (l->events == events)
		return true;
	l->events = events;
	return uv_poll_start(&l->watch->poll, events, on_poll) == 0;
}

/* All before the last piece, or that. */
static size_t
next_piece(const struct ses_link *l)
{
	size_t left = l->request.len - l->sent;
	size_t last = (l->request.len - 1) % SES_LINK_PIECE + 1;

	return left > last ? left - last : left;
}

/* Writes as much as goes. A piece that does not go is tried again from the same place on, as TLS
 * wants it. */
static void
send_on(struct ses_link *l)
{
	while (l->sent < l->request.len) {
		size_t n = next_piece(l), written;
		CURLcode code;

		if (l->sent + n == l->request.len && !l->agreed) {
			if (!l->user->may_leave(l->ctx)) {
				end(l, SES_LINK_REFUSED, "", true);
				return;
			}
			l->agreed = true;
			CRASH_POINT("ses_agreed");
		}
		code = curl_easy_send(l->easy, l->request.ptr + l->sent, n, &written);
		if (code == CURLE_AGAIN) {
			if (!watch_for(l, UV_READABLE | UV_WRITABLE))
				end_early(l, "the connection cannot be watched", false);
			return;
		}
		if (code != CURLE_OK) {
			/* perhaps it has said why */
			receive(l, curl_easy_strerror(code));
			return;
		}
		l->sent += written;
	}
	CRASH_POINT("ses_written");
	l->state = ANSWERING;
	if (!watch_for(l, UV_READABLE))
		end_early(l, "the connection cannot be watched", false);
}

/* ---- requests ---- */

bool
ses_link_send(struct ses_link *l, struct slice request)
{
	l->request = request;
	l->sent = 0;
	l->agreed = false;
	l->ours = false;
	http_answer_reset(&l->answer);
	if (l->state == IDLE && age_us(l) > STALE_US &&
	    (age_us(l) > (uint64_t)l->place->config->ses_idle_s * 1000000 || !is_still_open(l)))
		ses_link_close(l);
	l->since_us = now_us();
	if (l->state == CLOSED)
		return open_link(l);
	l->state = SENDING;
	send_on(l);
	return true;
}

/* One read from the socket for an answer, not one for the length of its record and another; and the
 * buffers of 16 kB stay, which libcurl would have allocated anew for each record. */
static void
tune_tls(struct ses_link *l)
{
	struct curl_tlssessioninfo *tls = NULL;

	if (curl_easy_getinfo(l->easy, CURLINFO_TLS_SSL_PTR, &tls) == CURLE_OK && tls != NULL &&
	    tls->backend == CURLSSLBACKEND_OPENSSL && tls->internals != NULL) {
		l->ssl = tls->internals;
		SSL_set_read_ahead(l->ssl, 1);
		(void)SSL_clear_mode(l->ssl, SSL_MODE_RELEASE_BUFFERS);
	}
}

static bool
watch(struct ses_link *l)
{
	curl_socket_t socket = CURL_SOCKET_BAD;
	struct watch *w;

	(void)curl_easy_getinfo(l->easy, CURLINFO_ACTIVESOCKET, &socket);
	if (socket == CURL_SOCKET_BAD || (w = calloc(1, sizeof(*w))) == NULL)
		return false;
	if (uv_poll_init_socket(l->place->loop, &w->poll, socket) != 0) {
		free(w);
		return false;
	}
	w->l = l;
	w->poll.data = w;
	l->watch = w;
	l->events = 0;
	return watch_for(l, UV_READABLE);
}

/* libcurl does not say that it had no descriptor for a socket, the resolver or a file of certificates. */
static bool
is_ours(const struct ses_link *l, CURLcode code)
{
	int fds[CONNECTING_FDS];
	bool none = false;
	long error = 0;

	(void)curl_easy_getinfo(l->easy, CURLINFO_OS_ERRNO, &error);
	if (code == CURLE_COULDNT_CONNECT && error == EADDRNOTAVAIL)
		return true;
	for (size_t i = 0; i < CONNECTING_FDS; i++) {
		fds[i] = none ? -1 : socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		none = none || (fds[i] < 0 && (errno == EMFILE || errno == ENFILE));
	}
	for (size_t i = 0; i < CONNECTING_FDS; i++)
		if (fds[i] >= 0)
			(void)close(fds[i]);
	return none;
}

void
ses_link_connected(void *ctx, void *link, CURLcode code)
{
	struct ses_link *l = link;

	(void)ctx;
	if (code != CURLE_OK) {
		l->ours = is_ours(l, code);
		end(l, SES_LINK_SILENT, curl_easy_strerror(code), false);
		return;
	}
	/* the first call takes the connection out of libcurl's hands: else it may be closed as one that
	 * nobody uses, when another is made */
	if (!is_still_open(l) || !watch(l)) {
		end(l, SES_LINK_SILENT, "the connection was closed", false);
		return;
	}
	CRASH_POINT("ses_connected");
	tune_tls(l);
	l->state = SENDING;
	send_on(l);
}

void
ses_link_tick(struct ses_link *l)
{
	uint64_t limit_s = (uint64_t)(l->state == IDLE ? l->place->config->ses_idle_s
						       : l->place->config->ses_timeout_s);

	if (l->state == CLOSED || age_us(l) < limit_s * 1000000)
		return;
	if (l->state == IDLE)
		ses_link_close(l);
	else
		end_early(l, curl_easy_strerror(CURLE_OPERATION_TIMEDOUT), false);
}
