/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flood: what a stranger may do to the HTTP endpoint while SNS goes on. On 127.0.0.1:
 *
 *   flood PORT SECONDS SLOW FORGED_PER_S TRUE_PER_S DOCUMENTS
 *
 * SLOW connections send half a header and nothing more, and are opened anew when they are ended;
 * FORGED_PER_S posts carry a signature that does not fit; TRUE_PER_S the lines of the file. Prints
 * seconds, slow connections open at once, how often one was ended, forged posts answered 403 and
 * 503, true ones posted and answered 200 and 503, the 99th of a hundred waits of the true ones in ms.
 * Connections come from 127.0.1.1 to 127.0.1.50, so that ports do not run out.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BUSY_MAX 400 /* posts of a kind under way */
#define EVENTS_MAX 512
#define SOURCES 50

enum kind { SLOW, FORGED, TRUE, KINDS };

struct client {
	struct client *next; /* free ones */
	enum kind kind;
	int fd;
	double started;
	size_t sent, total, got;
	char reply[16];
	char *bytes;
};

struct flood {
	struct sockaddr_in to;
	int epoll;
	unsigned source;
	struct client *free;
	FILE *documents;
	char *forged;
	double per_s[KINDS];
	size_t started[KINDS], busy[KINDS], ok[KINDS], later[KINDS], refused[KINDS], ended[KINDS];
	size_t slow_most, wait_count, wait_max;
	float *waits_ms;
};

_Noreturn static void
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

/* Owned by the caller. */
static char *
request_of(const char *body)
{
	size_t size = strlen(body) + 256;
	char *text = malloc(size);

	if (text == NULL)
		die("malloc");
	(void)snprintf(text, size,
	    "POST /sns HTTP/1.1\r\nHost: localhost\r\nx-amz-sns-message-type: Notification\r\n"
	    "Content-Length: %zu\r\n\r\n%s",
	    strlen(body), body);
	return text;
}

static char *
next_document(struct flood *f)
{
	char *line = NULL, *text;
	size_t size = 0;

	if (getline(&line, &size, f->documents) <= 0) {
		free(line);
		return NULL;
	}
	line[strcspn(line, "\n")] = '\0';
	text = request_of(line);
	free(line);
	return text;
}

/* The document with two characters of its signature changed. */
static char *
forge(const char *line)
{
	char *text = request_of(line), *at = strstr(text, "\"Signature\"");

	if (at == NULL || (at = strchr(at + 11, ':')) == NULL || (at = strchr(at, '"')) == NULL)
		die("no Signature in the documents");
	at[20] = at[20] == 'A' ? 'B' : 'A';
	at[21] = at[21] == 'A' ? 'B' : 'A';
	return text;
}

static void
start(struct flood *f, enum kind kind)
{
	struct client *c = f->free;
	struct sockaddr_in from = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(0x7f000101 + f->source++ % SOURCES) };
	struct epoll_event event = { .events = EPOLLOUT | EPOLLIN };
	static const int one = 1;

	if (c == NULL)
		return;
	c->kind = kind;
	c->bytes = kind == FORGED ? f->forged
	    : kind == SLOW	  ? (char *)(uintptr_t) "POST /sns HTTP/1.1\r\nHost: local"
				  : next_document(f);
	if (c->bytes == NULL)
		return;
	f->free = c->next;
	event.data.ptr = c;
	c->total = strlen(c->bytes);
	c->sent = c->got = 0;
	c->started = now_s();
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		die("socket");
	(void)setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
	if (bind(c->fd, (struct sockaddr *)&from, sizeof(from)) < 0)
		die("bind");
	if (connect(c->fd, (struct sockaddr *)&f->to, sizeof(f->to)) < 0 && errno != EINPROGRESS)
		die("connect");
	if (epoll_ctl(f->epoll, EPOLL_CTL_ADD, c->fd, &event) < 0)
		die("epoll_ctl");
	f->started[kind]++;
	f->busy[kind]++;
	if (f->busy[SLOW] > f->slow_most)
		f->slow_most = f->busy[SLOW];
}

static void
end(struct flood *f, struct client *c)
{
	const char *status = c->got >= 12 ? c->reply + 9 : "";

	f->ended[c->kind]++;
	f->busy[c->kind]--;
	f->ok[c->kind] += memcmp(status, "200", 3) == 0;
	f->later[c->kind] += memcmp(status, "503", 3) == 0;
	f->refused[c->kind] += memcmp(status, "403", 3) == 0;
	if (c->kind == TRUE) {
		if (f->wait_count < f->wait_max)
			f->waits_ms[f->wait_count++] = (float)((now_s() - c->started) * 1000);
		free(c->bytes);
	}
	(void)close(c->fd);
	c->next = f->free;
	f->free = c;
}

static void
step(struct flood *f, struct client *c)
{
	char bytes[512];
	ssize_t n;

	if (c->sent < c->total) {
		struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };

		n = send(c->fd, c->bytes + c->sent, c->total - c->sent, MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN && errno != EINTR) {
			end(f, c);
			return;
		}
		c->sent += n > 0 ? (size_t)n : 0;
		if (c->sent == c->total && epoll_ctl(f->epoll, EPOLL_CTL_MOD, c->fd, &event) < 0)
			die("epoll_ctl");
		return;
	}
	n = recv(c->fd, bytes, sizeof(bytes), 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	for (ssize_t i = 0; i < n && c->got + 1 < sizeof(c->reply); i++)
		c->reply[c->got++] = bytes[i];
	if (n <= 0)
		end(f, c);
}

static void
keep_up(struct flood *f, size_t slow, double age_s)
{
	for (int i = 0; i < 200 && f->busy[SLOW] < slow; i++)
		start(f, SLOW);
	for (enum kind k = FORGED; k <= TRUE; k++)
		for (size_t due = (size_t)(age_s * f->per_s[k]);
		     f->started[k] < due && f->busy[k] < BUSY_MAX;) {
			size_t before = f->started[k];

			start(f, k);
			if (f->started[k] == before)
				break;
		}
}

static int
by_value(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

static void
run(struct flood *f, double seconds, size_t slow)
{
	struct epoll_event events[EVENTS_MAX];
	double began = now_s(), age = 0;

	/* at the end what is under way may finish */
	while (age < seconds + 15 && (age < seconds || f->busy[TRUE] > 0)) {
		int n = epoll_wait(f->epoll, events, EVENTS_MAX, 1);

		for (int i = 0; i < n; i++)
			step(f, events[i].data.ptr);
		age = now_s() - began;
		if (age < seconds)
			keep_up(f, slow, age);
	}
	qsort(f->waits_ms, f->wait_count, sizeof(f->waits_ms[0]), by_value);
	(void)printf("%.1f %zu %zu %zu %zu %zu %zu %zu %.0f\n", seconds, f->slow_most,
	    f->ended[SLOW], f->refused[FORGED], f->later[FORGED], f->started[TRUE], f->ok[TRUE],
	    f->later[TRUE],
	    f->wait_count > 0 ? (double)f->waits_ms[(f->wait_count - 1) * 99 / 100] : 0);
}

int
main(int argc, char **argv)
{
	struct flood f = { .to = {
			       .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) } };
	struct rlimit files;
	struct client *clients;
	size_t slow, count, size = 0;
	char *line = NULL;

	if (argc != 7) {
		(void)fprintf(
		    stderr, "usage: flood PORT SECONDS SLOW FORGED_PER_S TRUE_PER_S DOCUMENTS\n");
		return 2;
	}
	f.to.sin_port = htons((uint16_t)atoi(argv[1]));
	slow = (size_t)atol(argv[3]);
	f.per_s[FORGED] = atof(argv[4]);
	f.per_s[TRUE] = atof(argv[5]);
	count = slow + 2 * BUSY_MAX;
	if (getrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_max < count + 100) {
		(void)fprintf(stderr, "flood: needs %zu open files, allowed are %llu\n",
		    count + 100, (unsigned long long)files.rlim_max);
		return 3;
	}
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files) < 0)
		die("setrlimit");
	f.documents = fopen(argv[6], "r");
	f.epoll = epoll_create1(EPOLL_CLOEXEC);
	clients = calloc(count, sizeof(*clients));
	f.wait_max = 1000000;
	f.waits_ms = calloc(f.wait_max, sizeof(f.waits_ms[0]));
	if (f.documents == NULL || f.epoll < 0 || clients == NULL || f.waits_ms == NULL ||
	    getline(&line, &size, f.documents) <= 0)
		die(argv[6]);
	line[strcspn(line, "\n")] = '\0';
	f.forged = forge(line);
	for (size_t i = 0; i < count; i++) {
		clients[i].next = f.free;
		f.free = &clients[i];
	}
	run(&f, atof(argv[2]), slow);
	return 0;
}
