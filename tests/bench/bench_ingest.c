/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_ingest: SNS notifications per second that kairan-feedback commits.
 *
 *   bench_ingest                              runs tests/bench/ingest.sh, which starts all and
 *                                             prints one JSON line
 *   bench_ingest post PORT CONNECTIONS FILE   posts every line of FILE to /sns on 127.0.0.1
 *                                             over CONNECTIONS that are kept, as a TLS proxy
 *                                             does; prints seconds, the count of 200, that of
 *                                             all, the 99th of a hundred waits from request to
 *                                             answer in ms, and its own microseconds of CPU
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "slice.h"

#define CONNECTIONS_MAX 1000
#define EVENTS_MAX 256
#define HEAD_MAX 512

struct client {
	int fd;
	uint32_t watched;
	double started;
	size_t sent, total;
	size_t got;
	char reply[512];
	char *bytes; /* head and body; grows */
	size_t capacity;
};

struct poster {
	struct slice rest; /* lines not yet posted */
	struct sockaddr_in address;
	int epoll;
	size_t busy;
	size_t posted, good;
	float *waits_ms;
	size_t waits_max;
};

static void
die(const char *what)
{
	perror(what);
	exit(1);
}

static double
now_s(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct slice
next_line(struct poster *p)
{
	const char *end = memchr(p->rest.ptr, '\n', p->rest.len);
	size_t n = end != NULL ? (size_t)(end - p->rest.ptr) : p->rest.len;
	struct slice line = slice_make(p->rest.ptr, n);

	n += end != NULL ? 1 : 0;
	p->rest = slice_make(p->rest.ptr + n, p->rest.len - n);
	return line;
}

static void
client_connect(struct poster *p, struct client *c)
{
	struct epoll_event event = { .events = EPOLLOUT | EPOLLIN, .data.ptr = c };

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		die("socket");
	if (connect(c->fd, (struct sockaddr *)&p->address, sizeof(p->address)) < 0 &&
	    errno != EINPROGRESS)
		die("connect");
	if (epoll_ctl(p->epoll, EPOLL_CTL_ADD, c->fd, &event) < 0)
		die("epoll_ctl");
	c->watched = event.events;
}

static void
wait_for(struct poster *p, struct client *c, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = c };

	if (c->watched == events)
		return;
	if (epoll_ctl(p->epoll, EPOLL_CTL_MOD, c->fd, &event) < 0)
		die("epoll_ctl");
	c->watched = events;
}

/* Writes what there is room for. */
static bool
client_write(struct poster *p, struct client *c)
{
	ssize_t n = send(c->fd, c->bytes + c->sent, c->total - c->sent, MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN && errno != EINTR && errno != ENOTCONN)
		return false;
	c->sent += n > 0 ? (size_t)n : 0;
	wait_for(p, c, c->sent < c->total ? EPOLLIN | EPOLLOUT : EPOLLIN);
	return true;
}

/* The next line, over the connection there is or a new one. */
static void
client_start(struct poster *p, struct client *c)
{
	struct slice line = next_line(p);
	bool is_new = c->fd < 0;
	int n;

	if (c->capacity < line.len + HEAD_MAX) {
		c->capacity = line.len + HEAD_MAX;
		c->bytes = realloc(c->bytes, c->capacity);
		if (c->bytes == NULL)
			die("realloc");
	}
	n = snprintf(c->bytes, HEAD_MAX,
	    "POST /sns HTTP/1.1\r\nHost: localhost\r\nx-amz-sns-message-type: Notification\r\n"
	    "Content-Type: text/plain; charset=UTF-8\r\n"
	    "User-Agent: Amazon Simple Notification Service Agent\r\nContent-Length: %zu\r\n\r\n",
	    line.len);
	memcpy(c->bytes + n, line.ptr, line.len);
	c->total = (size_t)n + line.len;
	c->sent = c->got = 0;
	c->started = now_s();
	p->busy++;
	if (is_new)
		client_connect(p, c);
	else if (!client_write(p, c))
		die("send on a connection that was kept");
}

static void
client_end(struct poster *p, struct client *c, bool is_kept)
{
	if (p->posted < p->waits_max)
		p->waits_ms[p->posted] = (float)((now_s() - c->started) * 1000);
	p->posted++;
	if (c->got >= 12 && memcmp(c->reply + 9, "200", 3) == 0)
		p->good++;
	if (!is_kept) {
		(void)close(c->fd);
		c->fd = -1;
	}
	p->busy--;
	if (p->rest.len > 0)
		client_start(p, c);
}

/* Whether head and body of the answer are there, and the connection goes on. */
static bool
is_whole(struct client *c)
{
	const char *end, *length;

	c->reply[c->got] = '\0';
	end = strstr(c->reply, "\r\n\r\n");
	length = strstr(c->reply, "Content-Length: ");
	return end != NULL && length != NULL && length < end &&
	    strstr(c->reply, "Connection: close") == NULL &&
	    c->got >= (size_t)(end + 4 - c->reply) + strtoul(length + 16, NULL, 10);
}

static void
client_step(struct poster *p, struct client *c)
{
	ssize_t n;

	if (c->sent < c->total) {
		if (!client_write(p, c))
			client_end(p, c, false);
		return;
	}
	n = recv(c->fd, c->reply + c->got, sizeof(c->reply) - 1 - c->got, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		client_end(p, c, false);
		return;
	}
	c->got += (size_t)n;
	if (is_whole(c))
		client_end(p, c, true);
}

static int
by_value(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

static double
wait_of_99_ms(struct poster *p)
{
	size_t n = p->posted < p->waits_max ? p->posted : p->waits_max;

	qsort(p->waits_ms, n, sizeof(p->waits_ms[0]), by_value);
	return n > 0 ? (double)p->waits_ms[(n - 1) * 99 / 100] : 0;
}

static long
cpu_us(void)
{
	struct rusage u;

	(void)getrusage(RUSAGE_SELF, &u);
	return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000L + u.ru_utime.tv_usec +
	    u.ru_stime.tv_usec;
}

static int
post(int port, size_t connections, const char *path)
{
	static struct client clients[CONNECTIONS_MAX];
	struct poster p = { .address = { .sin_family = AF_INET,
				.sin_port = htons((uint16_t)port),
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK) } };
	struct epoll_event events[EVENTS_MAX];
	struct stat st;
	double start, end;
	long cpu;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) < 0)
		die(path);
	p.rest.len = (size_t)st.st_size;
	p.rest.ptr = mmap(NULL, p.rest.len, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
	p.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (p.rest.ptr == MAP_FAILED || p.epoll < 0)
		die(path);
	for (const char *at = p.rest.ptr, *last = at + p.rest.len;
	     at < last && (at = memchr(at, '\n', (size_t)(last - at))) != NULL; at++)
		p.waits_max++;
	p.waits_ms = calloc(p.waits_max + 1, sizeof(p.waits_ms[0]));
	if (p.waits_ms == NULL)
		die("calloc");
	cpu = cpu_us();
	start = now_s();
	for (size_t i = 0; i < connections && p.rest.len > 0; i++) {
		clients[i].fd = -1;
		client_start(&p, &clients[i]);
	}
	while (p.busy > 0) {
		int n = epoll_wait(p.epoll, events, EVENTS_MAX, 20000);

		if (n <= 0)
			die("no answer within 20 s");
		for (int i = 0; i < n; i++)
			client_step(&p, events[i].data.ptr);
	}
	end = now_s();
	cpu = cpu_us() - cpu;
	(void)printf(
	    "%.3f %zu %zu %.0f %ld\n", end - start, p.good, p.posted, wait_of_99_ms(&p), cpu);
	free(p.waits_ms);
	return p.good == p.posted ? 0 : 1;
}

int
main(int argc, char **argv)
{
	if (argc == 1) {
		if (setenv("BENCH_INGEST", argv[0], 1) == 0)
			(void)execl("/bin/bash", "bash", "tests/bench/ingest.sh", (char *)NULL);
		die("tests/bench/ingest.sh");
	}
	if (argc == 5 && strcmp(argv[1], "post") == 0) {
		long port = strtol(argv[2], NULL, 10), count = strtol(argv[3], NULL, 10);

		if (port > 0 && port < 65536 && count > 0 && count <= CONNECTIONS_MAX)
			return post((int)port, (size_t)count, argv[4]);
	}
	(void)fprintf(stderr, "usage: bench_ingest [post PORT CONNECTIONS FILE]\n");
	return 2;
}
