/* SPDX-License-Identifier: Apache-2.0 */
/* resolver: see resolver.h. */
#include "resolver.h"

#include <ares.h>
#include <arpa/nameser.h>
#include <stdlib.h>
#include <sys/select.h>

#define TIMEOUT_MS 2000
#define TRIES 2

struct resolver {
	struct dns dns;
	ares_channel channel;
};

struct question {
	struct arena *arena;
	enum dns_type type;
	struct dns_answer *answer;
	bool done;
};

static void
on_answer(void *arg, int status, int timeouts, unsigned char *bytes, int n)
{
	struct question *q = arg;

	(void)status;
	(void)timeouts;
	q->done = true;
	dns_read_answer(q->arena, q->type, bytes, n > 0 ? (size_t)n : 0, q->answer);
}

static void
run(struct resolver *r, const struct question *q)
{
	while (!q->done) {
		fd_set readable, writable;
		struct timeval longest = { TIMEOUT_MS / 1000, 0 }, wait;
		int n;

		FD_ZERO(&readable);
		FD_ZERO(&writable);
		n = ares_fds(r->channel, &readable, &writable);
		if (n == 0)
			return;
		(void)select(
		    n, &readable, &writable, NULL, ares_timeout(r->channel, &longest, &wait));
		ares_process(r->channel, &readable, &writable);
	}
}

static void
resolver_ask(
    void *ctx, struct arena *arena, const char *name, enum dns_type type, struct dns_answer *answer)
{
	struct resolver *r = ctx;
	struct question q = { .arena = arena, .type = type, .answer = answer };

	*answer = (struct dns_answer){ .status = DNS_FAILED };
	ares_query(r->channel, name, ns_c_in, dns_type_number(type), on_answer, &q);
	run(r, &q);
	if (!q.done)
		ares_cancel(r->channel); /* q is on this stack */
}

struct resolver *
resolver_new(const char *server, struct err *err)
{
	struct ares_options options = { .timeout = TIMEOUT_MS, .tries = TRIES };
	struct resolver *r = calloc(1, sizeof(*r));
	int status;

	if (r == NULL || ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS) {
		free(r);
		(void)err_set(err, "no memory");
		return NULL;
	}
	status = ares_init_options(&r->channel, &options, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES);
	if (status == ARES_SUCCESS && server != NULL) {
		status = ares_set_servers_ports_csv(r->channel, server);
		if (status != ARES_SUCCESS)
			ares_destroy(r->channel);
	}
	if (status != ARES_SUCCESS) {
		ares_library_cleanup();
		free(r);
		(void)err_set(err, "DNS cannot be asked%s%s: %s", server != NULL ? " at " : "",
		    server != NULL ? server : "", ares_strerror(status));
		return NULL;
	}
	r->dns = (struct dns){ .ctx = r, .ask = resolver_ask };
	return r;
}

void
resolver_free(struct resolver *r)
{
	if (r == NULL)
		return;
	ares_destroy(r->channel);
	ares_library_cleanup();
	free(r);
}

const struct dns *
resolver_dns(const struct resolver *r)
{
	return &r->dns;
}
