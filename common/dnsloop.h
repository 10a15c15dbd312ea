/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dnsloop: DNS by c-ares on a libuv loop: any number of questions at once. It asks the servers of the
 * system, or a given one; a question ends after DNSLOOP_TIMEOUT_MS x tries at the latest.
 */
#ifndef KAIRAN_DNSLOOP_H
#define KAIRAN_DNSLOOP_H

#include <uv.h>

#include "dns.h"
#include "err.h"

#define DNSLOOP_TIMEOUT_MS 2000
#define DNSLOOP_TRIES 3

struct dnsloop;

/* The answer is borrowed for the call. */
typedef void (*dnsloop_done)(void *ctx, const struct dns_answer *answer);

/* server: "address", "address:port" or "[address]:port", several between commas; "": those of the
 * system. NULL with err. */
struct dnsloop *dnsloop_new(uv_loop_t *loop, const char *server, struct err *err) MUST_CHECK;

/* Its servers are asked to say what they validated (AD, RFC 6840 5.7). False when one of them is not
 * on the loopback, so that somebody between could say it. */
bool dnsloop_ask_for_proof(struct dnsloop *l);

/* Asks; `done` is called once, perhaps before this returns. */
void dnsloop_ask(
    struct dnsloop *l, const char *name, enum dns_type type, dnsloop_done done, void *ctx);

#define DNS_ADDRESSES_MAX 8

/* Where a host is: its addresses of both families, those of IPv4 first, with the port asked for. */
struct dns_addresses {
	enum dns_status status; /* DNS_FAILED: none, and one of the questions was not answered */
	unsigned ttl_s;		/* 0: not said */
	size_t count;
	struct sockaddr_storage list[DNS_ADDRESSES_MAX];
	bool authenticated;		  /* all of them, and the aliases that lead there */
	char canonical[DNS_NAME_MAX + 1]; /* where aliases lead; "": the name is none */
};

typedef void (*dnsloop_found)(void *ctx, const struct dns_addresses *addresses);

/* Asks for both; `found` is called once, perhaps before this returns. */
void dnsloop_ask_addresses(
    struct dnsloop *l, const char *name, unsigned port, dnsloop_found found, void *ctx);

/* Ends what is under way (answered DNS_FAILED) and takes its handles off the loop. */
void dnsloop_stop(struct dnsloop *l);

/* After dnsloop_stop and the end of the loop. */
void dnsloop_free(struct dnsloop *l);

#endif
