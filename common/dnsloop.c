/* SPDX-License-Identifier: Apache-2.0 */
/* dnsloop: see dnsloop.h. c-ares says which sockets to watch; a timer lets it look at its own
 * deadlines while questions are under way. */
#include "dnsloop.h"

#include <ares.h>
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TICK_MS 250
#define AD_BIT 0x20		       /* of byte 3 of the header (RFC 4035 3.1.6) */
#define ANSWER_BYTES ((size_t)1 << 20) /* of the records of one answer */

struct dnsloop {
	uv_loop_t *loop;
	ares_channel channel;
	uv_timer_t timer;
	struct watch *watches;
	unsigned asked; /* under way */
	bool proof;	/* asked for */
	bool stopped;
};

struct watch {
	uv_poll_t poll;
	ares_socket_t socket;
	struct dnsloop *l;
	struct watch *next;
};

struct question {
	struct dnsloop *l;
	enum dns_type type;
	dnsloop_done done;
	void *ctx;
};

static void
on_poll(uv_poll_t *poll, int status, int events)
{
	struct watch *w = poll->data;
	bool in = status < 0 || (events & UV_READABLE) != 0, out = (events & UV_WRITABLE) != 0;

	ares_process_fd(
	    w->l->channel, in ? w->socket : ARES_SOCKET_BAD, out ? w->socket : ARES_SOCKET_BAD);
}

static void
on_timer(uv_timer_t *timer)
{
	struct dnsloop *l = timer->data;

	ares_process_fd(l->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	if (l->asked == 0)
		(void)uv_timer_stop(timer);
}

static void
free_watch(uv_handle_t *handle)
{
	free(handle->data);
}

static void
drop_watch(struct watch **at)
{
	struct watch *w = *at;

	*at = w->next;
	(void)uv_poll_stop(&w->poll);
	uv_close((uv_handle_t *)&w->poll, free_watch);
}

/* c-ares tells what to wait for at a socket; neither: it is about to be closed. */
static void
on_socket(void *data, ares_socket_t socket, int readable, int writable)
{
	struct dnsloop *l = data;
	struct watch **at = &l->watches, *w;

	while (*at != NULL && (*at)->socket != socket)
		at = &(*at)->next;
	w = *at;
	if (!readable && !writable) {
		if (w != NULL)
			drop_watch(at);
		return;
	}
	if (w == NULL) {
		w = calloc(1, sizeof(*w));
		if (w == NULL || uv_poll_init_socket(l->loop, &w->poll, socket) != 0) {
			free(w); /* the question ends by its deadline */
			return;
		}
		w->socket = socket;
		w->l = l;
		w->poll.data = w;
		w->next = l->watches;
		l->watches = w;
	}
	(void)uv_poll_start(
	    &w->poll, (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0), on_poll);
}

struct dnsloop *
dnsloop_new(uv_loop_t *loop, const char *server, struct err *err)
{
	struct dnsloop *l = calloc(1, sizeof(*l));
	struct ares_options options = { .timeout = DNSLOOP_TIMEOUT_MS,
		.tries = DNSLOOP_TRIES,
		.sock_state_cb = on_socket,
		.sock_state_cb_data = l };
	int status;

	if (l == NULL || ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS) {
		free(l);
		(void)err_set(err, "no memory");
		return NULL;
	}
	l->loop = loop;
	status = ares_init_options(
	    &l->channel, &options, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB);
	if (status == ARES_SUCCESS && server[0] != '\0') {
		status = ares_set_servers_ports_csv(l->channel, server);
		if (status != ARES_SUCCESS)
			ares_destroy(l->channel);
	}
	if (status != ARES_SUCCESS) {
		ares_library_cleanup();
		free(l);
		(void)err_set(err, "DNS cannot be asked%s%s: %s", server[0] != '\0' ? " at " : "",
		    server, ares_strerror(status));
		return NULL;
	}
	(void)uv_timer_init(loop, &l->timer);
	l->timer.data = l;
	return l;
}

static bool
is_loopback(const struct ares_addr_port_node *server)
{
	if (server->family == AF_INET6)
		return IN6_IS_ADDR_LOOPBACK((const struct in6_addr *)(const void *)&server->addr);
	return server->family == AF_INET && ntohl(server->addr.addr4.s_addr) >> 24 == 127;
}

bool
dnsloop_ask_for_proof(struct dnsloop *l)
{
	struct ares_addr_port_node *servers = NULL;
	bool near;

	l->proof = true;
	near = ares_get_servers_ports(l->channel, &servers) == ARES_SUCCESS && servers != NULL;
	for (struct ares_addr_port_node *s = servers; s != NULL; s = s->next)
		near = near && is_loopback(s);
	ares_free_data(servers);
	return near;
}

static void
on_answer(void *arg, int status, int timeouts, unsigned char *bytes, int n)
{
	struct question *q = arg;
	struct dnsloop *l = q->l;
	struct question asked = *q;
	struct dns_answer answer;
	struct arena arena;

	(void)status;
	(void)timeouts;
	free(q);
	l->asked--;
	arena_init(&arena, ANSWER_BYTES);
	dns_read_answer(&arena, asked.type, bytes, n > 0 ? (size_t)n : 0, &answer);
	asked.done(asked.ctx, &answer);
	arena_release(&arena);
}

/* c-ares does not set AD in a question, so that one is made here. */
static void
ask_for_proof(struct dnsloop *l, const char *name, int type, struct question *q)
{
	unsigned char *query = NULL;
	int length = 0;
	int status = ares_create_query(
	    name, ns_c_in, type, (unsigned short)arc4random(), 1, &query, &length, 0);

	if (status != ARES_SUCCESS) {
		on_answer(q, status, 0, NULL, 0);
		return;
	}
	query[3] |= AD_BIT;
	ares_send(l->channel, query, length, on_answer, q);
	ares_free_string(query);
}

void
dnsloop_ask(struct dnsloop *l, const char *name, enum dns_type type, dnsloop_done done, void *ctx)
{
	struct question *q = calloc(1, sizeof(*q));
	const struct dns_answer failed = { .status = DNS_FAILED };

	if (q == NULL || l->stopped) {
		free(q);
		done(ctx, &failed);
		return;
	}
	*q = (struct question){ l, type, done, ctx };
	l->asked++;
	if (!uv_is_active((uv_handle_t *)&l->timer))
		(void)uv_timer_start(&l->timer, on_timer, TICK_MS, TICK_MS);
	if (l->proof)
		ask_for_proof(l, name, dns_type_number(type), q);
	else
		ares_query(l->channel, name, ns_c_in, dns_type_number(type), on_answer, q);
}

/* ---- addresses ---- */

struct place {
	struct dns_addresses found;
	char name[DNS_NAME_MAX + 1];
	unsigned port, waiting;
	dnsloop_found done;
	void *ctx;
};

static void
add_address(struct place *p, const char *text)
{
	struct sockaddr_storage *to = &p->found.list[p->found.count];

	if (p->found.count < DNS_ADDRESSES_MAX &&
	    (uv_ip4_addr(text, (int)p->port, (struct sockaddr_in *)to) == 0 ||
		uv_ip6_addr(text, (int)p->port, (struct sockaddr_in6 *)to) == 0))
		p->found.count++;
}

/* How this half of the addresses was reached. */
static void
note_proof(struct place *p, const struct dns_answer *answer)
{
	struct slice canonical = slice_str(answer->canonical);

	p->found.authenticated = p->found.authenticated && answer->authenticated;
	if (canonical.len > 0 && canonical.len <= DNS_NAME_MAX &&
	    !slice_equal_nocase(canonical, slice_str(p->name)))
		(void)snprintf(p->found.canonical, sizeof(p->found.canonical), "%s", canonical.ptr);
}

static void
on_addresses(struct place *p, const struct dns_answer *answer, bool in_front)
{
	size_t before = p->found.count;

	for (size_t i = 0; i < answer->count; i++)
		add_address(p, answer->records[i].text.ptr);
	for (size_t i = 0; in_front && before > 0 && i < p->found.count - before; i++) {
		struct sockaddr_storage moved = p->found.list[before + i];

		memmove(&p->found.list[i + 1], &p->found.list[i], before * sizeof(moved));
		p->found.list[i] = moved;
	}
	if (answer->status == DNS_FAILED)
		p->found.status = DNS_FAILED;
	if (answer->count > 0)
		note_proof(p, answer);
	if (answer->count > 0 && (p->found.ttl_s == 0 || answer->ttl_s < p->found.ttl_s))
		p->found.ttl_s = answer->ttl_s;
	if (--p->waiting > 0)
		return;
	if (p->found.count > 0)
		p->found.status = DNS_FOUND;
	else
		p->found.authenticated = false;
	p->done(p->ctx, &p->found);
	free(p);
}

static void
on_v4(void *ctx, const struct dns_answer *answer)
{
	on_addresses(ctx, answer, true);
}

static void
on_v6(void *ctx, const struct dns_answer *answer)
{
	on_addresses(ctx, answer, false);
}

void
dnsloop_ask_addresses(
    struct dnsloop *l, const char *name, unsigned port, dnsloop_found found, void *ctx)
{
	struct place *p = calloc(1, sizeof(*p));
	const struct dns_addresses failed = { .status = DNS_FAILED };

	if (p == NULL) {
		found(ctx, &failed);
		return;
	}
	*p = (struct place){ .found = { .status = DNS_NONE, .authenticated = true },
		.port = port,
		.waiting = 2,
		.done = found,
		.ctx = ctx };
	(void)snprintf(p->name, sizeof(p->name), "%s", name);
	dnsloop_ask(l, name, DNS_A, on_v4, p);
	dnsloop_ask(l, name, DNS_AAAA, on_v6, p);
}

void
dnsloop_stop(struct dnsloop *l)
{
	if (l == NULL || l->stopped)
		return;
	l->stopped = true;
	ares_cancel(l->channel);
	while (l->watches != NULL)
		drop_watch(&l->watches);
	(void)uv_timer_stop(&l->timer);
	uv_close((uv_handle_t *)&l->timer, NULL);
}

void
dnsloop_free(struct dnsloop *l)
{
	if (l == NULL)
		return;
	ares_destroy(l->channel);
	ares_library_cleanup();
	free(l);
}
