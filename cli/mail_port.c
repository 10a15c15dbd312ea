/* SPDX-License-Identifier: Apache-2.0 */
/* mail_port: see mail_port.h. */
#include "mail_port.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "smtp_reply.h"

struct visit {
	const struct mail_port *to;
	int fd;
	unsigned wait_ms;
	int64_t end_ms;	 /* of this address */
	struct tls *tls; /* NULL: in clear, so far */
	struct smtp_reply_parser parser;
	struct smtp_reply reply;
	struct err *err;
};

static int64_t
now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool
wait_for(const struct visit *v, short events)
{
	struct pollfd p = { .fd = v->fd, .events = events };
	int64_t left = v->end_ms - now_ms();

	return left > 0 && poll(&p, 1, (int)left) > 0;
}

/* ---- bytes ---- */

static bool
send_all(const struct visit *v, struct slice text)
{
	while (text.len > 0) {
		ssize_t n = send(v->fd, text.ptr, text.len, MSG_NOSIGNAL);

		if (n < 0 && (errno != EAGAIN || !wait_for(v, POLLOUT)))
			return false;
		if (n > 0)
			text = slice_make(text.ptr + n, text.len - (size_t)n);
	}
	return true;
}

static bool
send_tls(const struct visit *v)
{
	struct slice out;

	while ((out = tls_output(v->tls)).len > 0) {
		if (!send_all(v, out))
			return false;
		tls_wrote(v->tls, out.len);
	}
	return true;
}

/* Once from the network to TLS. */
static bool
take_tls(const struct visit *v)
{
	char bytes[4096];
	ssize_t n;

	if (!send_tls(v) || tls_state(v->tls) == TLS_FAILED || !wait_for(v, POLLIN))
		return false;
	n = recv(v->fd, bytes, sizeof(bytes), 0);
	if (n > 0)
		tls_input(v->tls, bytes, (size_t)n);
	return n > 0;
}

/* More of what it says; 0: it says no more. */
static size_t
read_some(const struct visit *v, char *dst, size_t size)
{
	size_t got = 0;
	ssize_t n;

	if (v->tls == NULL) {
		n = wait_for(v, POLLIN) ? recv(v->fd, dst, size, 0) : 0;
		return n > 0 ? (size_t)n : 0;
	}
	while ((got = tls_read(v->tls, dst, size)) == 0)
		if (!take_tls(v))
			return 0;
	return got;
}

/* ---- conversation ---- */

/* One reply, of that code; what follows it at once is no answer to anything we said. */
static int
await(struct visit *v, int code)
{
	char bytes[2048];
	size_t n, used = 0;

	smtp_reply_reset(&v->parser);
	for (;;) {
		n = read_some(v, bytes, sizeof(bytes));
		if (n == 0 && v->tls != NULL && tls_state(v->tls) == TLS_FAILED)
			return err_set(v->err, "TLS: %s", tls_failure(v->tls));
		if (n == 0)
			return err_set(v->err, "connected, but nobody %s%s",
			    code == 220 ? "greets" : "answers",
			    v->tls != NULL ? " within TLS" : "");
		switch (smtp_reply_feed(&v->parser, bytes, n, &used, &v->reply)) {
		case SMTP_REPLY_MORE:
			continue;
		case SMTP_REPLY_BAD:
			return err_set(v->err, "what it answers is not SMTP");
		case SMTP_REPLY_DONE:
			break;
		}
		if (used < n)
			return err_set(v->err, "it says more than it was asked");
		return v->reply.code == code ? 0 : err_set(v->err, "it answers %d", v->reply.code);
	}
}

static int
say(struct visit *v, const char *verb, const char *rest)
{
	char line[300];
	int n = snprintf(line, sizeof(line), "%s%s%s\r\n", verb, rest[0] != '\0' ? " " : "", rest);

	if (n < 0 || n >= (int)sizeof(line))
		return err_set(v->err, "relay.ehlo is too long");
	if (v->tls != NULL ? !tls_write(v->tls, slice_str(line)) || !send_tls(v)
			   : !send_all(v, slice_str(line)))
		return err_set(v->err, "the connection has ended");
	return 0;
}

static int
begin_tls(struct visit *v)
{
	v->tls = tls_new(v->to->tls, v->to->tls_name, NULL);
	if (v->tls == NULL)
		return err_set(v->err, "no memory for TLS");
	while (tls_state(v->tls) == TLS_HANDSHAKE && take_tls(v))
		;
	if (tls_state(v->tls) != TLS_OPEN)
		return err_set(v->err, "TLS: %s",
		    tls_state(v->tls) == TLS_FAILED ? tls_failure(v->tls)
						    : "the handshake does not end");
	return 0;
}

static int
ask_features(struct visit *v, struct smtp_features *features)
{
	const char *verb = v->to->lmtp ? "LHLO" : "EHLO";

	if (say(v, verb, v->to->ehlo) < 0 || await(v, 250) < 0)
		return -1;
	*features = smtp_ehlo_parse(v->reply.text);
	if (!v->to->starttls || v->to->tls == NULL || v->tls != NULL ||
	    (features->extensions & SMTP_EXT_STARTTLS) == 0)
		return 0;
	/* what was said in clear does not count any more (RFC 3207 4.2) */
	if (say(v, "STARTTLS", "") < 0 || await(v, 220) < 0 || begin_tls(v) < 0)
		return -1;
	return ask_features(v, features);
}

static int
converse(struct visit *v, struct smtp_features *features)
{
	if (v->to->tls != NULL && !v->to->starttls && begin_tls(v) < 0)
		return -1;
	if (await(v, 220) < 0 || (v->to->ehlo != NULL && ask_features(v, features) < 0))
		return -1;
	return say(v, "QUIT", "");
}

/* ---- connection ---- */

static int
connect_to(const struct visit *v, const struct sockaddr *address, socklen_t size)
{
	int error = 0;
	socklen_t error_size = sizeof(error);

	if (connect(v->fd, address, size) < 0 && errno != EINPROGRESS)
		return err_set(v->err, "%s", strerror(errno));
	if (!wait_for(v, POLLOUT))
		return err_set(v->err, "no answer in time");
	if (getsockopt(v->fd, SOL_SOCKET, SO_ERROR, &error, &error_size) < 0 || error != 0)
		return err_set(v->err, "%s", strerror(error != 0 ? error : errno));
	return 0;
}

static int
visit_address(
    struct visit *v, const struct sockaddr *address, socklen_t size, struct smtp_features *features)
{
	int result = -1;

	v->tls = NULL;
	v->end_ms = now_ms() + v->wait_ms;
	v->fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (v->fd < 0)
		return err_set(v->err, "%s", strerror(errno));
	if (connect_to(v, address, size) == 0)
		result = converse(v, features);
	tls_free(v->tls);
	(void)close(v->fd);
	return result;
}

static int
visit_host(struct visit *v, struct smtp_features *features)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list = NULL;
	char service[8];
	int status, result = -1;

	(void)snprintf(service, sizeof(service), "%u", v->to->port % 100000);
	status = getaddrinfo(v->to->host, service, &hints, &list);
	if (status != 0)
		return err_set(v->err, "%s", gai_strerror(status));
	for (struct addrinfo *a = list; a != NULL && result < 0; a = a->ai_next)
		result = visit_address(v, a->ai_addr, a->ai_addrlen, features);
	freeaddrinfo(list);
	return result;
}

static int
visit_socket(struct visit *v, struct smtp_features *features)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(v->to->host) >= sizeof(address.sun_path))
		return err_set(v->err, "the path of a socket has at most %zu bytes",
		    sizeof(address.sun_path) - 1);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", v->to->host);
	return visit_address(v, (const struct sockaddr *)&address, sizeof(address), features);
}

int
mail_port_visit(
    const struct mail_port *p, unsigned wait_ms, struct smtp_features *features, struct err *err)
{
	struct visit v = { .to = p, .fd = -1, .wait_ms = wait_ms, .err = err };
	int result;

	smtp_reply_init(&v.parser);
	result = p->local ? visit_socket(&v, features) : visit_host(&v, features);
	smtp_reply_release(&v.parser);
	return result;
}
