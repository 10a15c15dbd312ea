/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mx: where the mail of a domain goes (RFC 5321 5.1, RFC 7505): from an answer of DNS to the list of
 * hosts or to the reason why there is none; which host the next connection goes to; how long a
 * destination rests after trouble. Pure: clock and chance are given, mx_route asks and connects.
 */
#ifndef KAIRAN_MX_H
#define KAIRAN_MX_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "dns.h"
#include "outcome.h"

#define MX_HOSTS_MAX 10 /* those of the lowest preferences are kept */
#define MX_KEY_MAX ((DNS_NAME_MAX + 4) * MX_HOSTS_MAX + 4)

enum mx_verdict {
	MX_HOSTS,     /* there are hosts */
	MX_NULL,      /* "0 .": the domain takes no mail (RFC 7505) */
	MX_NO_DOMAIN, /* no such domain */
	MX_LOOP,      /* the first host is ourselves */
	MX_BROKEN,    /* records, but none names a host */
	MX_LATER      /* DNS did not answer */
};

struct mx_host {
	char name[DNS_NAME_MAX + 1]; /* lower case, without the last dot */
	unsigned preference;	     /* 0 for the first, the same for equals, without gaps */
};

struct mx_plan {
	enum mx_verdict verdict;
	bool implicit; /* no MX record: the domain itself (RFC 5321 5.1) */
	size_t count;
	struct mx_host hosts[MX_HOSTS_MAX]; /* by preference, equals by name */
};

/* What the answer to the question for MX says. own: names of ours (EHLO): such a host is left out,
 * with all that are not before it. */
void mx_decide(struct mx_plan *plan, const char *domain, const struct dns_answer *answer,
    const char *const *own, size_t own_count);

/* Removes hosts that `keep` refuses; gaps in the preferences are closed. */
void mx_filter(
    struct mx_plan *plan, bool (*keep)(const void *ctx, const char *host), const void *ctx);

/* The same for all domains with the same hosts in the same order: such domains share connections.
 * At most MX_KEY_MAX bytes with the NUL. secure: only over verified TLS (MTA-STS). */
void mx_key(const struct mx_plan *plan, bool secure, char key[MX_KEY_MAX]);

/* Why mail for a domain without hosts cannot leave: FAILED or DEFERRED with class, reason, code and
 * text; all static. tried: it was put off before: no such domain is believed the second time. */
struct outcome mx_refusal(enum mx_verdict verdict, bool tried);

/* How long to keep what DNS said. */
unsigned mx_keep_s(const struct dns_answer *answer);

/* One host of a destination, as far as the choice goes. */
struct mx_choice {
	unsigned preference, connections;
	bool usable;
};

/* The host of the next connection: the first preference that has a usable one; among equals the
 * one with the fewest connections, then by chance. -1: none. */
int mx_choose(const struct mx_choice *hosts, size_t count, unsigned chance);

/* False for loopback, private, link-local, shared, multicast and reserved addresses: no mail server
 * of the public Internet has one, and DNS of strangers must not lead into our own networks. */
bool mx_is_public(const struct sockaddr *address);

/* The rest of a destination after trouble: first_ms, doubled up to longest_ms, and of this
 * 75 to 125 % of it. *rest_ms is 0 while all is well. */
uint64_t mx_rest_ms(uint64_t *rest_ms, uint64_t first_ms, uint64_t longest_ms, unsigned chance);

#endif
