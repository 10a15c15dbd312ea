/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stamp_sink: an SMTP server that takes everything, delivers nothing and writes down when it came:
 *
 *     stamp_sink ADDRESS PORT LOG
 *
 * A line of the log for each mail whose final dot came: when its MAIL command and when the end of
 * its text arrived (microseconds since 1970), and the recipient. The times are the kernel's, of the
 * arrival of the bytes (SO_TIMESTAMPNS), so a sink that waits for a processor stamps no later.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS_MAX 1024
#define LINE_SIZE 4096
#define TO_SIZE 320

struct client {
	int fd;
	bool in_text;
	char line[LINE_SIZE], to[TO_SIZE];
	size_t length;
	int64_t mail_us;
};

static volatile sig_atomic_t stopping;

static void
on_signal(int number)
{
	(void)number;
	stopping = 1;
}

static int64_t
microseconds(const struct timespec *t)
{
	return (int64_t)t->tv_sec * 1000000 + t->tv_nsec / 1000;
}

static void
say(const struct client *c, const char *text)
{
	if (send(c->fd, text, strlen(text), MSG_NOSIGNAL) < 0 && errno != EPIPE &&
	    errno != ECONNRESET)
		perror("stamp_sink: send");
}

static void
command(struct client *c, int64_t at)
{
	if (strncasecmp(c->line, "EHLO", 4) == 0) {
		say(c,
		    "250-sink.example\r\n250-PIPELINING\r\n250-ENHANCEDSTATUSCODES\r\n"
		    "250 8BITMIME\r\n");
	} else if (strncasecmp(c->line, "DATA", 4) == 0) {
		c->in_text = true;
		say(c, "354 go on\r\n");
	} else if (strncasecmp(c->line, "QUIT", 4) == 0) {
		say(c, "221 2.0.0 bye\r\n");
	} else {
		if (strncasecmp(c->line, "MAIL", 4) == 0)
			c->mail_us = at;
		else if (sscanf(c->line, "%*[^<]<%319[^>]", c->to) != 1)
			c->to[0] = '\0';
		say(c, "250 2.0.0 fine\r\n");
	}
}

/* A line without its end. */
static void
take_line(struct client *c, int64_t at, FILE *log)
{
	if (!c->in_text) {
		command(c, at);
	} else if (strcmp(c->line, ".") == 0) {
		fprintf(log, "%lld %lld %s\n", (long long)c->mail_us, (long long)at, c->to);
		c->in_text = false;
		say(c, "250 2.0.0 taken\r\n");
	}
}

static void
take_bytes(struct client *c, const char *bytes, size_t length, int64_t at, FILE *log)
{
	for (size_t i = 0; i < length; i++) {
		if (bytes[i] != '\n') {
			if (c->length < LINE_SIZE - 1)
				c->line[c->length++] = bytes[i];
			continue;
		}
		if (c->length > 0 && c->line[c->length - 1] == '\r')
			c->length--;
		c->line[c->length] = '\0';
		c->length = 0;
		take_line(c, at, log);
	}
}

/* False at the end of the connection. */
static bool
receive(struct client *c, FILE *log)
{
	char bytes[65536], control[CMSG_SPACE(sizeof(struct timespec))];
	struct iovec part = { bytes, sizeof(bytes) };
	struct msghdr message = { .msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(c->fd, &message, 0);
	struct timespec at;

	if (n <= 0)
		return n < 0 && errno == EINTR;
	(void)clock_gettime(CLOCK_REALTIME, &at);
	for (struct cmsghdr *h = CMSG_FIRSTHDR(&message); h != NULL; h = CMSG_NXTHDR(&message, h))
		if (h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_TIMESTAMPNS)
			memcpy(&at, CMSG_DATA(h), sizeof(at));
	take_bytes(c, bytes, (size_t)n, microseconds(&at), log);
	return true;
}

static int
listen_at(const char *address, const char *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)strtoul(port, NULL, 10)) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	if (fd < 0 || inet_pton(AF_INET, address, &a.sin_addr) != 1 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 256) < 0) {
		perror("stamp_sink");
		exit(1);
	}
	return fd;
}

static void
meet(int epoll, int listener)
{
	struct client *c = calloc(1, sizeof(*c));
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };
	int on = 1;

	if (c == NULL)
		abort();
	c->fd = accept(listener, NULL, NULL);
	if (c->fd < 0) {
		free(c);
		return;
	}
	(void)setsockopt(c->fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on));
	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event);
	say(c, "220 sink.example ESMTP, delivers nothing\r\n");
}

int
main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_signal };
	struct epoll_event events[64], own = { .events = EPOLLIN };
	FILE *log = argc == 4 ? fopen(argv[3], "a") : NULL;
	int epoll = epoll_create1(0), listener;

	if (log == NULL || epoll < 0) {
		fprintf(stderr, "usage: stamp_sink ADDRESS PORT LOG\n");
		return 2;
	}
	listener = listen_at(argv[1], argv[2]);
	(void)sigaction(SIGTERM, &action, NULL);
	(void)epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &own);
	while (!stopping) {
		int n = epoll_wait(epoll, events, 64, 500);

		for (int i = 0; i < n; i++) {
			struct client *c = events[i].data.ptr;

			if (c == NULL) {
				meet(epoll, listener);
			} else if (!receive(c, log)) {
				(void)close(c->fd);
				free(c);
			}
		}
		(void)fflush(log);
	}
	return fclose(log) == 0 ? 0 : 1;
}
