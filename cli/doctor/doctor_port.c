/* SPDX-License-Identifier: Apache-2.0 */
/* doctor_port: see doctor_port.h. */
#include "doctor_port.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "relay.h"
#include "tls.h"

#define CONNECT_MS 5000
#define GREETING 3 /* bytes of it that count */

/* ---- one connection ---- */

static int64_t
now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool
wait_for(int fd, short events, int64_t end)
{
	struct pollfd p = { .fd = fd, .events = events };
	int64_t left = end - now_ms();

	return left > 0 && poll(&p, 1, (int)left) > 0;
}

static int
judge_greeting(const char greeting[GREETING + 1], struct err *err)
{
	return strcmp(greeting, "220") == 0 ? 0 : err_set(err, "it answers %s", greeting);
}

static int
await_greeting(int fd, int64_t end, struct err *err)
{
	char greeting[GREETING + 1] = "";

	if (!wait_for(fd, POLLIN, end) || recv(fd, greeting, GREETING, 0) != GREETING)
		return err_set(err, "connected, but nobody greets");
	(void)send(fd, "QUIT\r\n", 6, MSG_NOSIGNAL);
	return judge_greeting(greeting, err);
}

/* As await_greeting(), within TLS. */
static int
await_secure_greeting(int fd, struct tls *t, int64_t end, struct err *err)
{
	char greeting[GREETING + 1] = "", bytes[4096];
	size_t got = 0;
	ssize_t n = 1;

	while (got < GREETING && n > 0 && tls_state(t) != TLS_FAILED) {
		struct slice out = tls_output(t);

		n = out.len > 0			? send(fd, out.ptr, out.len, MSG_NOSIGNAL)
		    : wait_for(fd, POLLIN, end) ? recv(fd, bytes, sizeof(bytes), 0)
						: 0;
		if (out.len > 0 && n < 0 && errno == EAGAIN && wait_for(fd, POLLOUT, end))
			n = 1;
		else if (out.len > 0 && n > 0)
			tls_wrote(t, (size_t)n);
		else if (n > 0)
			tls_input(t, bytes, (size_t)n);
		got += tls_read(t, greeting + got, GREETING - got);
	}
	if (tls_state(t) == TLS_FAILED)
		return err_set(err, "TLS: %s", tls_failure(t));
	if (got < GREETING)
		return err_set(err, "connected, but nobody greets within TLS");
	return judge_greeting(greeting, err);
}

/* tls NULL: in clear. */
static int
try_address(const struct sockaddr *address, socklen_t size, struct tls *tls, struct err *err)
{
	int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int64_t end = now_ms() + CONNECT_MS;
	int error = 0, result = -1;
	socklen_t error_size = sizeof(error);

	if (fd < 0)
		return err_set(err, "%s", strerror(errno));
	if (connect(fd, address, size) < 0 && errno != EINPROGRESS)
		(void)err_set(err, "%s", strerror(errno));
	else if (!wait_for(fd, POLLOUT, end))
		(void)err_set(err, "no answer within %d s", CONNECT_MS / 1000);
	else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_size) < 0 || error != 0)
		(void)err_set(err, "%s", strerror(error != 0 ? error : errno));
	else if (tls != NULL)
		result = await_secure_greeting(fd, tls, end, err);
	else
		result = await_greeting(fd, end, err);
	(void)close(fd);
	return result;
}

/* A connection of TLS serves once. */
static int
try_with_tls(const struct sockaddr *address, socklen_t size, struct tls_context *context,
    const char *name, struct err *err)
{
	struct tls *tls = context != NULL ? tls_new(context, name, NULL) : NULL;
	int result;

	if (context != NULL && tls == NULL)
		return err_set(err, "no memory for TLS");
	result = try_address(address, size, tls, err);
	tls_free(tls);
	return result;
}

static int
try_host(
    const char *host, unsigned port, struct tls_context *context, const char *name, struct err *err)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list = NULL;
	char service[8];
	int status, result = -1;

	(void)snprintf(service, sizeof(service), "%u", port % 100000);
	status = getaddrinfo(host, service, &hints, &list);
	if (status != 0)
		return err_set(err, "%s", gai_strerror(status));
	for (struct addrinfo *a = list; a != NULL && result < 0; a = a->ai_next)
		result = try_with_tls(a->ai_addr, a->ai_addrlen, context, name, err);
	freeaddrinfo(list);
	return result;
}

static int
try_socket(const char *path, struct tls_context *context, const char *name, struct err *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(address.sun_path))
		return err_set(err, "the path of a socket has at most %zu bytes",
		    sizeof(address.sun_path) - 1);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	return try_with_tls((const struct sockaddr *)&address, sizeof(address), context, name, err);
}

/* ---- relays ---- */

static void
check_relay(struct doctor_checks *d, const struct relay *r, struct tls_context *context,
    const char *tls_name)
{
	char subject[RELAY_NAME_MAX + 20];
	const char *name = tls_name[0] != '\0' ? tls_name : r->name;
	struct err err = { 0 };
	int result;

	if (r->local)
		(void)snprintf(
		    subject, sizeof(subject), "unix:%.*s", (int)sizeof(r->name) - 1, r->name);
	else
		(void)snprintf(subject, sizeof(subject),
		    strchr(r->name, ':') != NULL ? "[%.*s]:%u" : "%.*s:%u",
		    (int)sizeof(r->name) - 1, r->name, r->port);
	result = r->local ? try_socket(r->name, context, name, &err)
			  : try_host(r->name, r->port, context, name, &err);
	if (result == 0)
		(void)doctor_add(d, "relay", DOCTOR_OK, subject, "", "the relay greets");
	else
		(void)doctor_add(d, "relay", DOCTOR_FAILED, subject,
		    "look at relay.host, relay.port and relay.tls", "the relay cannot be used: %s",
		    err.msg);
}

void
doctor_check_relays(struct doctor_checks *d, const struct config *config)
{
	const struct tls_settings settings = { .verify = true,
		.only_1_3 = config->relay_tls_only_1_3,
		.ca_file = config->relay_tls_ca_file,
		.cert_file = config->relay_tls_cert_file,
		.key_file = config->relay_tls_key_file };
	bool implicit = strcmp(config->relay_tls, "implicit") == 0;
	struct tls_context *context = NULL;
	struct relay relays[RELAYS_MAX];
	struct err err = { 0 };
	size_t count;

	if (strcmp(config->dispatcher_transport, "relay") != 0)
		return;
	if (relay_parse_list(relays, &count, config->relay_host, config->relay_port, &err) < 0 ||
	    (implicit && (context = tls_context_new(&settings, &err)) == NULL)) {
		(void)doctor_add(d, "relay", DOCTOR_FAILED, "relay.host",
		    "mend the section [relay]; dispatchers do not start with it", "%s", err.msg);
		return;
	}
	for (size_t i = 0; i < count; i++)
		check_relay(d, &relays[i], context, config->relay_tls_name);
	tls_context_free(context);
}

/* ---- port 25 ---- */

/* The host of "HOST", "HOST:PORT" or "[ADDRESS]:PORT", and the port behind it, 25 without one. */
static unsigned
split_probe(const char *probe, char host[DNS_NAME_MAX + 1], bool *has_port)
{
	const char *colon = strrchr(probe, ':');
	size_t n = strlen(probe);
	unsigned port = 25;

	*has_port = colon != NULL && (strchr(probe, ':') == colon || probe[0] == '[');
	if (*has_port) {
		port = (unsigned)strtoul(colon + 1, NULL, 10) % 65536;
		n = (size_t)(colon - probe);
	}
	if (probe[0] == '[' && n > 2)
		(void)snprintf(host, DNS_NAME_MAX + 1, "%.*s", (int)n - 2, probe + 1);
	else
		(void)snprintf(host, DNS_NAME_MAX + 1, "%.*s", (int)n, probe);
	return port;
}

void
doctor_check_port25(struct doctor_checks *d, const struct config *config, const char *probe)
{
	bool here = strcmp(config->dispatcher_transport, "mx") == 0, has_port;
	struct dns_answer answer = { .count = 0 };
	char host[DNS_NAME_MAX + 1], subject[DNS_NAME_MAX + 10];
	struct err err = { 0 };
	unsigned port = split_probe(probe, host, &has_port);

	if (!has_port)
		d->dns->ask(d->dns->ctx, &d->arena, host, DNS_MX, &answer);
	if (answer.count > 0 && answer.records[0].text.len > 0)
		(void)snprintf(host, sizeof(host), "%s", answer.records[0].text.ptr);
	(void)snprintf(subject, sizeof(subject), "%s:%u", host, port);
	if (try_host(host, port, NULL, host, &err) == 0)
		(void)doctor_add(
		    d, "port25", DOCTOR_OK, subject, "", "mail servers can be reached");
	else
		(void)doctor_add(d, "port25", here ? DOCTOR_FAILED : DOCTOR_WARNING, subject,
		    "ask your provider to open port 25, or send through a relay on another port",
		    "it cannot be reached: %s%s", err.msg,
		    here ? "" : "; this matters only to mail that leaves from this host");
}
