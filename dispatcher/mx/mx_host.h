/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mx_host: asks where one mail server is, and, with mx.dane, what its TLSA records ask of its TLS
 * (RFC 7672 2.2). Records of DNS that nobody vouches for are as good as none; an answer that is
 * missing or forged is TLSA_LATER, never less.
 */
#ifndef KAIRAN_MX_HOST_H
#define KAIRAN_MX_HOST_H

#include "dnsloop.h"
#include "tlsa.h"

struct mx_host_found {
	struct dns_addresses addresses;
	enum tlsa_verdict verdict;
	struct tlsa *tlsa; /* with TLSA_VERIFY; the callee's, to be freed */
	unsigned ttl_s;	   /* of all of it; 0: not said */
};

/* Borrowed for the call, but for tlsa. */
typedef void (*mx_host_done)(void *ctx, struct mx_host_found *found);

/* dane: its TLSA records are asked for, too; dns then asks for proof (dnsloop.h). `done` is called
 * once, perhaps before this returns. */
void mx_host_ask(
    struct dnsloop *dns, const char *name, unsigned port, bool dane, mx_host_done done, void *ctx);

#endif
