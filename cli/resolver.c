/* SPDX-License-Identifier: Apache-2.0 */
/* resolver: see resolver.h. c-ares reads what comes from the network; here it is only copied. */
#include "resolver.h"

#include <ares.h>
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
add(struct question *q, struct slice text, unsigned preference)
{
	struct dns_answer *a = q->answer;
	struct dns_record record = { arena_copy(q->arena, text), preference };
	size_t at = a->count;

	if (record.text.ptr == NULL || a->count == DNS_RECORDS_MAX)
		return;
	while (at > 0 && a->records[at - 1].preference > preference)
		at--;
	memmove(&a->records[at + 1], &a->records[at], (a->count - at) * sizeof(*a->records));
	a->records[at] = record;
	a->count++;
}

static int
take_addresses(struct question *q, const unsigned char *bytes, int n)
{
	struct ares_addrttl v4[DNS_RECORDS_MAX];
	struct ares_addr6ttl v6[DNS_RECORDS_MAX];
	int count = DNS_RECORDS_MAX, status;
	char text[64];

	if (q->type == DNS_A)
		status = ares_parse_a_reply(bytes, n, NULL, v4, &count);
	else
		status = ares_parse_aaaa_reply(bytes, n, NULL, v6, &count);
	for (int i = 0; status == ARES_SUCCESS && i < count; i++)
		if (inet_ntop(q->type == DNS_A ? AF_INET : AF_INET6,
			q->type == DNS_A ? (void *)&v4[i].ipaddr : (void *)&v6[i].ip6addr, text,
			sizeof(text)) != NULL)
			add(q, slice_str(text), 0);
	return status;
}

static int
take_mx(struct question *q, const unsigned char *bytes, int n)
{
	struct ares_mx_reply *list = NULL;
	int status = ares_parse_mx_reply(bytes, n, &list);

	for (struct ares_mx_reply *m = list; status == ARES_SUCCESS && m != NULL; m = m->next)
		add(q, slice_str(m->host), m->priority);
	ares_free_data(list);
	return status;
}

/* Strings of one record are joined; record_start tells where the next one begins. */
static int
take_txt(struct question *q, const unsigned char *bytes, int n)
{
	struct ares_txt_ext *list = NULL;
	int status = ares_parse_txt_reply_ext(bytes, n, &list);
	struct buf text;

	buf_init(&text, DNS_TEXT_MAX);
	for (struct ares_txt_ext *t = list; status == ARES_SUCCESS && t != NULL; t = t->next) {
		size_t room = DNS_TEXT_MAX - text.len;

		buf_append(&text, t->txt, t->length < room ? t->length : room);
		if (t->next == NULL || t->next->record_start) {
			add(q, buf_slice(&text), 0);
			buf_reset(&text);
		}
	}
	buf_release(&text);
	ares_free_data(list);
	return status;
}

static int
take_ptr(struct question *q, const unsigned char *bytes, int n)
{
	static const unsigned char
	    any[4]; /* only compared with what is asked for, by callers of it */
	struct hostent *host = NULL;
	int status = ares_parse_ptr_reply(bytes, n, any, sizeof(any), AF_INET, &host);

	if (status != ARES_SUCCESS)
		return status;
	for (char **alias = host->h_aliases; *alias != NULL; alias++)
		add(q, slice_str(*alias), 0);
	if (q->answer->count == 0 && host->h_name != NULL)
		add(q, slice_str(host->h_name), 0);
	ares_free_hostent(host);
	return status;
}

static void
on_answer(void *arg, int status, int timeouts, unsigned char *bytes, int n)
{
	struct question *q = arg;

	(void)timeouts;
	q->done = true;
	if (status == ARES_SUCCESS)
		status = q->type == DNS_MX ? take_mx(q, bytes, n)
		    : q->type == DNS_TXT   ? take_txt(q, bytes, n)
		    : q->type == DNS_PTR   ? take_ptr(q, bytes, n)
					   : take_addresses(q, bytes, n);
	q->answer->status = q->answer->count > 0 ? DNS_FOUND
	    : status == ARES_SUCCESS || status == ARES_ENODATA || status == ARES_ENOTFOUND
	    ? DNS_NONE
	    : DNS_FAILED;
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
	static const int types[] = { ns_t_a, ns_t_aaaa, ns_t_mx, ns_t_txt, ns_t_ptr };
	struct resolver *r = ctx;
	struct question q = { .arena = arena, .type = type, .answer = answer };

	*answer = (struct dns_answer){ .status = DNS_FAILED,
		.records = arena_array(arena, DNS_RECORDS_MAX + 1, sizeof(struct dns_record)) };
	if (answer->records == NULL)
		return;
	ares_query(r->channel, name, ns_c_in, types[type], on_answer, &q);
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
