/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_engine: the SMTP engine alone: no database, no composing, one loop, as the dispatcher
 * drives it. Every message has a return path and a recipient of its own; the text is the same.
 *   bench_engine PORT CONNECTIONS MESSAGES BYTES         prints messages per second, CPU us each
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "dispatcher/smtp/smtp.h"

#define CONNECTIONS_MAX 1000
#define READ_BYTES 16384

struct bench;

struct client {
	struct bench *b;
	struct smtp *smtp;
	int fd;
	bool blocked;		     /* the socket takes no more: EPOLLOUT */
	char from[2][64], to[2][64]; /* of the message under way and the one behind its dot */
	unsigned turn;
};

struct bench {
	int epoll;
	struct client clients[CONNECTIONS_MAX];
	unsigned open;
	unsigned long offered, wanted, sent, other;
	struct slice data;
};

static void
die(const char *what)
{
	perror(what);
	exit(1);
}

static void
watch(struct client *c, int operation, uint32_t events)
{
	struct epoll_event e = { .events = events, .data.ptr = c };

	if (epoll_ctl(c->b->epoll, operation, c->fd, &e) < 0)
		die("epoll_ctl");
}

static void
offer(struct client *c)
{
	struct bench *b = c->b;

	while (b->offered < b->wanted && smtp_is_ready(c->smtp) && smtp_wants(c->smtp)) {
		unsigned i = c->turn++ % 2;

		b->offered++;
		(void)snprintf(
		    c->from[i], sizeof(c->from[i]), "b+%010lu@bounce.example", b->offered);
		(void)snprintf(
		    c->to[i], sizeof(c->to[i]), "u%lu@d%lu.example", b->offered, b->offered % 1000);
		smtp_offer(c->smtp,
		    &(struct smtp_envelope){ .ref = b->offered,
			.mail_from = slice_str(c->from[i]),
			.rcpt_to = slice_str(c->to[i]),
			.data = b->data });
	}
	if (b->offered == b->wanted && smtp_is_idle(c->smtp))
		smtp_quit(c->smtp);
}

static void
write_out(struct client *c)
{
	struct slice out;

	while ((out = smtp_output(c->smtp)).len > 0) {
		ssize_t n = send(c->fd, out.ptr, out.len, MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN) {
			smtp_abort(c->smtp, OUTCOME_PHASE_NONE, "cannot write");
			return;
		}
		if (n < (ssize_t)out.len) {
			smtp_wrote(c->smtp, n > 0 ? (size_t)n : 0);
			if (!c->blocked)
				watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
			c->blocked = true;
			return;
		}
		smtp_wrote(c->smtp, (size_t)n);
	}
	if (c->blocked)
		watch(c, EPOLL_CTL_MOD, EPOLLIN);
	c->blocked = false;
}

static void
turn(struct client *c)
{
	struct outcome o;
	uint64_t ref;

	do {
		while (smtp_next_outcome(c->smtp, &ref, &o)) {
			if (o.kind == OUTCOME_SENT)
				c->b->sent++;
			else if (c->b->other++ == 0)
				fprintf(stderr, "%s: %.*s\n", outcome_kind_name(o.kind),
				    SLICE_ARG(o.text));
		}
		offer(c);
		write_out(c);
	} while (smtp_has_outcome(c->smtp));
	if (!smtp_is_closed(c->smtp))
		return;
	(void)close(c->fd);
	c->b->open--;
}

static void
client_open(struct bench *b, struct client *c, in_port_t port)
{
	struct smtp_options options = {
		.ehlo_name = "bench.example", .pipelining = true, .next_behind_dot = true
	};
	struct sockaddr_in to = { .sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int on = 1;

	c->b = b;
	c->smtp = smtp_new(&options, "sink");
	c->fd = socket(AF_INET, SOCK_STREAM, 0);
	if (c->smtp == NULL || c->fd < 0 ||
	    connect(c->fd, (const struct sockaddr *)&to, sizeof(to)) < 0 ||
	    fcntl(c->fd, F_SETFL, O_NONBLOCK) < 0)
		die("connection");
	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	watch(c, EPOLL_CTL_ADD, EPOLLIN);
	b->open++;
}

static void
serve(struct bench *b)
{
	char input[READ_BYTES];
	struct epoll_event events[64];

	while (b->open > 0) {
		int n = epoll_wait(b->epoll, events, 64, 30000);

		if (n <= 0) {
			fputs("nothing happens any more\n", stderr);
			exit(1);
		}
		for (int i = 0; i < n; i++) {
			struct client *c = events[i].data.ptr;
			ssize_t got = recv(c->fd, input, sizeof(input), 0);

			if (got > 0)
				smtp_input(c->smtp, input, (size_t)got);
			else if (got == 0 || errno != EAGAIN)
				smtp_eof(c->smtp);
			turn(c);
		}
	}
}

/* Header and lines of 76 characters, about so many bytes. */
static void
make_text(struct buf *text, size_t bytes)
{
	buf_init(text, 1 << 26);
	buf_append_str(text, "From: a@b.example\r\nTo: c@d.example\r\nSubject: bench\r\n\r\n");
	while (text->len + 78 < bytes)
		buf_append_str(text,
		    "The shop is open every day from nine to seven; come and see "
		    "what is new today.\r\n");
}

int
main(int argc, char **argv)
{
	static struct bench b;
	struct timespec from, to;
	struct rusage usage;
	struct buf text;
	unsigned connections;
	double seconds, cpu;

	if (argc != 5) {
		fputs("usage: bench_engine PORT CONNECTIONS MESSAGES BYTES\n", stderr);
		return 2;
	}
	connections = (unsigned)atoi(argv[2]);
	b.wanted = strtoul(argv[3], NULL, 10);
	make_text(&text, strtoul(argv[4], NULL, 10));
	b.data = buf_slice(&text);
	b.epoll = epoll_create1(0);
	(void)clock_gettime(CLOCK_MONOTONIC, &from);
	for (unsigned i = 0; i < connections && i < CONNECTIONS_MAX; i++)
		client_open(&b, &b.clients[i], (in_port_t)atoi(argv[1]));
	serve(&b);
	(void)clock_gettime(CLOCK_MONOTONIC, &to);
	(void)getrusage(RUSAGE_SELF, &usage);
	for (unsigned i = 0; i < connections && i < CONNECTIONS_MAX; i++)
		smtp_free(b.clients[i].smtp);
	buf_release(&text);
	seconds = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
	cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
	    (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
	printf("%.0f %.1f\n", (double)b.sent / seconds, cpu / (double)b.wanted);
	return b.sent == b.wanted && b.other == 0 ? 0 : 1;
}
