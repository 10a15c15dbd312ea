/* SPDX-License-Identifier: Apache-2.0 */
/* wire: see wire.h. */
#include "wire.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "curl_transfer.h"

#define CONNECT_S 30L
#define LOOK_MS 500
#define CHUNK ((size_t)16 * 1024)

int
wire_open(struct wire *w, const struct wire_config *c, struct err *err)
{
	CURLcode code;

	*w = (struct wire){ .curl = curl_easy_init(), .stop = c->stop };
	buf_init(&w->in, WIRE_LINE_MAX + CHUNK);
	if (w->curl == NULL)
		return err_set(err, "no memory");
	(void)curl_easy_setopt(w->curl, CURLOPT_URL, c->url);
	(void)curl_easy_setopt(w->curl, CURLOPT_PROTOCOLS_STR, "imap,imaps,pop3,pop3s");
	(void)curl_easy_setopt(w->curl, CURLOPT_CONNECT_ONLY, 1L);
	(void)curl_easy_setopt(w->curl, CURLOPT_USERNAME, c->user);
	(void)curl_easy_setopt(w->curl, CURLOPT_PASSWORD, c->password);
	(void)curl_easy_setopt(
	    w->curl, CURLOPT_USE_SSL, (long)(c->needs_tls ? CURLUSESSL_ALL : CURLUSESSL_TRY));
	if (c->ca_file[0] != '\0')
		(void)curl_easy_setopt(w->curl, CURLOPT_CAINFO, c->ca_file);
	(void)curl_easy_setopt(w->curl, CURLOPT_CONNECTTIMEOUT, CONNECT_S);
	(void)curl_easy_setopt(w->curl, CURLOPT_TIMEOUT, CONNECT_S);
	(void)curl_easy_setopt(w->curl, CURLOPT_NOSIGNAL, 1L);
	curl_transfer_stops(w->curl, c->stop);
	code = curl_easy_perform(w->curl);
	return code == CURLE_OK ? 0
				: err_set(err, "mailbox: no login: %s", curl_easy_strerror(code));
}

void
wire_close(struct wire *w)
{
	curl_easy_cleanup(w->curl);
	buf_release(&w->in);
	*w = (struct wire){ 0 };
}

/* Until the socket can be read from or written to. */
static int
wait_for(struct wire *w, short events, struct err *err)
{
	curl_socket_t socket = CURL_SOCKET_BAD;

	(void)curl_easy_getinfo(w->curl, CURLINFO_ACTIVESOCKET, &socket);
	if (socket == CURL_SOCKET_BAD)
		return err_set(err, "mailbox: the connection is gone");
	for (int ms = 0; ms < WIRE_SILENCE_S * 1000; ms += LOOK_MS) {
		struct pollfd fd = { .fd = socket, .events = events };

		if (atomic_load(w->stop))
			return err_set(err, "mailbox: stopping");
		if (poll(&fd, 1, LOOK_MS) > 0)
			return 0;
	}
	return err_set(err, "mailbox: silent for %d s", WIRE_SILENCE_S);
}

int
wire_send(struct wire *w, struct slice line, struct err *err)
{
	struct buf out;
	int result = 0;

	buf_init(&out, line.len + 2);
	buf_append_slice(&out, line);
	buf_append(&out, "\r\n", 2);
	if (buf_failed(&out))
		result = err_set(err, "no memory");
	while (result == 0 && out.len > 0) {
		size_t n = 0;
		CURLcode code = curl_easy_send(w->curl, out.data, out.len, &n);

		if (code == CURLE_AGAIN)
			result = wait_for(w, POLLOUT, err);
		else if (code != CURLE_OK)
			result = err_set(err, "mailbox: %s", curl_easy_strerror(code));
		else
			buf_consume(&out, n);
	}
	buf_release(&out);
	return result;
}

/* At least one more byte into w->in. */
static int
fill(struct wire *w, struct err *err)
{
	for (;;) {
		size_t n = 0;
		CURLcode code;

		if (!buf_reserve(&w->in, CHUNK))
			return err_set(err, "mailbox: a line is too long");
		code = curl_easy_recv(w->curl, w->in.data + w->in.len, CHUNK, &n);
		if (code == CURLE_OK && n > 0) {
			buf_commit(&w->in, n);
			return 0;
		}
		if (code == CURLE_OK)
			return err_set(err, "mailbox: the server has closed the connection");
		if (code != CURLE_AGAIN)
			return err_set(err, "mailbox: %s", curl_easy_strerror(code));
		if (wait_for(w, POLLIN, err) < 0)
			return -1;
	}
}

static void
drop_taken(struct wire *w)
{
	buf_consume(&w->in, w->taken);
	w->taken = 0;
}

int
wire_line(struct wire *w, struct slice *line, struct err *err)
{
	const char *end;
	size_t seen = 0;

	drop_taken(w);
	while ((end = w->in.len > seen ? memchr(w->in.data + seen, '\n', w->in.len - seen)
				       : NULL) == NULL) {
		seen = w->in.len;
		if (seen > WIRE_LINE_MAX)
			return err_set(err, "mailbox: a line is too long");
		if (fill(w, err) < 0)
			return -1;
	}
	w->taken = (size_t)(end - w->in.data) + 1;
	*line = slice_make(w->in.data, w->taken - 1);
	if (line->len > 0 && line->ptr[line->len - 1] == '\r')
		line->len--;
	return 0;
}

int
wire_bytes(struct wire *w, size_t n, struct buf *out, struct err *err)
{
	drop_taken(w);
	while (n > 0) {
		size_t here = w->in.len < n ? w->in.len : n;
		size_t room = out->max > out->len ? out->max - out->len : 0;

		buf_append(out, w->in.data, here < room ? here : room);
		buf_consume(&w->in, here);
		n -= here;
		if (n > 0 && fill(w, err) < 0)
			return -1;
	}
	return 0;
}
