/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mx_host: see mx_host.h. Addresses first: servers of unsigned zones may not know how to answer a
 * question for TLSA, and are not asked it (RFC 7672 2.2.2). An alias is followed to its end when all
 * of it is signed; its own name comes second, or alone when only its first step is (2.1.3).
 */
#include "mx_host.h"

#include <stdio.h>
#include <stdlib.h>

struct look {
	struct dnsloop *dns;
	char name[DNS_NAME_MAX + 1];
	const char *base; /* whose TLSA records are asked for: name, or what it is an alias of */
	unsigned port;
	bool dane;
	struct mx_host_found found;
	mx_host_done done;
	void *ctx;
};

static void ask_tlsa(struct look *k, const char *base);

static void
finish(struct look *k, enum tlsa_verdict verdict)
{
	k->found.verdict = verdict;
	k->done(k->ctx, &k->found);
	free(k);
}

static void
keep_shorter(struct look *k, unsigned ttl_s)
{
	if (ttl_s > 0 && (k->found.ttl_s == 0 || ttl_s < k->found.ttl_s))
		k->found.ttl_s = ttl_s;
}

static void
on_tlsa(void *ctx, const struct dns_answer *answer)
{
	struct look *k = ctx;
	enum tlsa_verdict verdict = tlsa_judge(answer);

	if (verdict == TLSA_NONE && k->base != k->name) {
		ask_tlsa(k, k->name);
		return;
	}
	keep_shorter(k, answer->ttl_s);
	if (verdict == TLSA_VERIFY && (k->found.tlsa = tlsa_new(answer, k->base, k->name)) == NULL)
		verdict = TLSA_LATER; /* no memory */
	finish(k, verdict);
}

static void
ask_tlsa(struct look *k, const char *base)
{
	char name[DNS_NAME_MAX + 16];

	k->base = base;
	(void)snprintf(name, sizeof(name), "_%u._tcp.%s", k->port, base);
	dnsloop_ask(k->dns, name, DNS_TLSA, on_tlsa, k);
}

/* The addresses are not signed all the way; is the alias? */
static void
on_alias(void *ctx, const struct dns_answer *answer)
{
	struct look *k = ctx;

	if (answer->status == DNS_FAILED)
		finish(k, TLSA_LATER);
	else if (answer->status == DNS_FOUND && answer->authenticated)
		ask_tlsa(k, k->name);
	else
		finish(k, TLSA_NONE);
}

static void
on_addresses(void *ctx, const struct dns_addresses *addresses)
{
	struct look *k = ctx;
	bool alias = addresses->canonical[0] != '\0';

	k->found.addresses = *addresses;
	k->found.ttl_s = addresses->ttl_s;
	if (!k->dane || addresses->count == 0)
		finish(k, TLSA_NONE);
	else if (addresses->authenticated)
		ask_tlsa(k, alias ? k->found.addresses.canonical : k->name);
	else if (alias)
		dnsloop_ask(k->dns, k->name, DNS_CNAME, on_alias, k);
	else
		finish(k, TLSA_NONE);
}

void
mx_host_ask(
    struct dnsloop *dns, const char *name, unsigned port, bool dane, mx_host_done done, void *ctx)
{
	struct look *k = calloc(1, sizeof(*k));

	if (k == NULL) {
		struct mx_host_found failed = { .addresses = { .status = DNS_FAILED } };

		done(ctx, &failed);
		return;
	}
	*k = (struct look){ .dns = dns, .port = port, .dane = dane, .done = done, .ctx = ctx };
	(void)snprintf(k->name, sizeof(k->name), "%s", name);
	dnsloop_ask_addresses(dns, name, port, on_addresses, k);
}
