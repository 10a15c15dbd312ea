/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tlsa: what the TLSA records of a mail server ask of its certificate (RFC 6698, RFC 7671), with the
 * choices of RFC 7672 for SMTP: usages DANE-TA(2) and DANE-EE(3) only. Pure: the records come from
 * DNS (dns.h), and OpenSSL matches them (tls.h).
 */
#ifndef KAIRAN_TLSA_H
#define KAIRAN_TLSA_H

#include <stdint.h>

#include "dns.h"

#define TLSA_RECORDS_MAX 32 /* of one server; of more the first are taken */

struct tlsa_record {
	uint8_t usage, selector, matching;
	struct slice data; /* a certificate, a public key (DER), or a digest of either */
};

struct tlsa {
	char base[DNS_NAME_MAX + 1]; /* the TLSA base domain (RFC 7672 2.2.3) */
	char host[DNS_NAME_MAX + 1]; /* as MX names the server; the same unless that is an alias */
	size_t count;
	struct tlsa_record records[TLSA_RECORDS_MAX];
	char bytes[]; /* their data */
};

enum tlsa_verdict {
	TLSA_NONE,    /* nothing that DNSSEC vouches for: DANE asks nothing */
	TLSA_ENCRYPT, /* records, none usable: TLS, whatever the certificate (RFC 7672 2.2) */
	TLSA_VERIFY,  /* usable ones: TLS, and the certificate matches one of them */
	TLSA_LATER    /* no answer, or a forged one: no mail to this server now (RFC 7672 2.1.2) */
};

/* What the answer to the question for TLSA says. Its `authenticated` must come from a resolver that
 * validates, over a path that nobody can change. */
enum tlsa_verdict tlsa_judge(const struct dns_answer *answer);

/* The usable records of an answer of TLSA_VERIFY, copied; NULL without memory. Owned: free(). */
struct tlsa *tlsa_new(const struct dns_answer *answer, const char *base, const char *host);

/* Reads the data of one record (RFC 6698 2.1); rest is borrowed. False when it is not usable:
 * another usage, an unknown selector or matching type, a digest of the wrong length, no data. */
bool tlsa_read(struct slice data, struct tlsa_record *record);

#endif
