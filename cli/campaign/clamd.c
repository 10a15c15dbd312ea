/* SPDX-License-Identifier: Apache-2.0 */
/* clamd: see clamd.h. Blocking, with a limit on every wait; one connection for one question. */
#include "clamd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define CHUNK ((size_t)64 << 10)
#define WAIT_S 60
#define ANSWER_MAX 1000

static int
open_unix(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	(void)strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		int saved = errno;

		(void)close(fd);
		errno = saved;
		return -1;
	}
	return fd;
}

static int
open_address(const char *where)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };
	const char *colon = strrchr(where, ':');
	struct addrinfo *found = NULL;
	char host[100];
	size_t n = colon != NULL ? (size_t)(colon - where) : 0;
	int fd;

	if (n >= 2 && where[0] == '[' && where[n - 1] == ']') {
		where++;
		n -= 2;
	}
	if (n == 0 || n >= sizeof(host)) {
		errno = EINVAL;
		return -1;
	}
	memcpy(host, where, n);
	host[n] = '\0';
	if (getaddrinfo(host, colon + 1, &hints, &found) != 0) {
		errno = EINVAL;
		return -1;
	}
	fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) != 0) {
		int saved = errno;

		(void)close(fd);
		errno = saved;
		fd = -1;
	}
	freeaddrinfo(found);
	return fd;
}

static int
send_all(int fd, const void *bytes, size_t n)
{
	const char *p = bytes;

	while (n > 0) {
		ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return -1;
		p += sent;
		n -= (size_t)sent;
	}
	return 0;
}

static int
send_stream(int fd, struct slice bytes)
{
	uint32_t length = 0;

	if (send_all(fd, "zINSTREAM", 10) != 0)
		return -1;
	while (bytes.len > 0) {
		size_t n = bytes.len < CHUNK ? bytes.len : CHUNK;

		length = htonl((uint32_t)n);
		if (send_all(fd, &length, sizeof(length)) != 0 || send_all(fd, bytes.ptr, n) != 0)
			return -1;
		bytes = slice_make(bytes.ptr + n, bytes.len - n);
	}
	length = 0;
	return send_all(fd, &length, sizeof(length));
}

/* One answer, which ends with a NUL. */
static int
read_answer(int fd, char answer[ANSWER_MAX])
{
	size_t n = 0;

	for (;;) {
		ssize_t got = recv(fd, answer + n, ANSWER_MAX - 1 - n, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		n += (size_t)got;
		answer[n] = '\0';
		if (strlen(answer) < n)
			return 0;
		if (got == 0 || n == ANSWER_MAX - 1) {
			errno = EPROTO;
			return -1;
		}
	}
}

enum clamd_verdict
clamd_verdict(const char *answer, struct err *err)
{
	const char *text = strncmp(answer, "stream: ", 8) == 0 ? answer + 8 : answer;
	size_t n = strlen(text);

	if (strcmp(text, "OK") == 0)
		return CLAMD_CLEAN;
	if (n > 6 && strcmp(text + n - 6, " FOUND") == 0) {
		(void)err_set(err, "%.*s", n - 6 > 200 ? 200 : (int)(n - 6), text);
		return CLAMD_FOUND;
	}
	(void)err_set(err, "clamd answered: %.200s", text);
	return CLAMD_NO_VERDICT;
}

enum clamd_verdict
clamd_scan(const char *where, struct slice bytes, struct err *err)
{
	const struct timeval wait = { .tv_sec = WAIT_S };
	enum clamd_verdict verdict = CLAMD_NO_VERDICT;
	char answer[ANSWER_MAX] = "";
	int fd = strncmp(where, "unix:", 5) == 0 ? open_unix(where + 5) : open_address(where);

	if (fd < 0) {
		(void)err_set(err, "clamd at %.200s cannot be reached: %s", where, strerror(errno));
		return CLAMD_NO_VERDICT;
	}
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
	/* clamd may answer before it has read all, when that is more than it takes */
	if (send_stream(fd, bytes) != 0 && errno != EPIPE && errno != ECONNRESET)
		(void)err_set(err, "clamd at %.200s does not read: %s", where, strerror(errno));
	else if (read_answer(fd, answer) != 0)
		(void)err_set(err, "clamd at %.200s does not answer: %s", where, strerror(errno));
	else
		verdict = clamd_verdict(answer, err);
	(void)close(fd);
	return verdict;
}
