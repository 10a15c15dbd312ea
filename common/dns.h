/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dns: what programs ask of DNS and what they tell people to publish. Asking is behind one function
 * for commands, so that the checks are tested against a table, and run against c-ares
 * (cli/doctor/resolver.h); daemons ask on their loop (dnsloop.h). Everything in an answer comes from
 * strangers: bounded here, never trusted.
 */
#ifndef KAIRAN_DNS_H
#define KAIRAN_DNS_H

#include <stdbool.h>
#include <stddef.h>

#include "arena.h"
#include "buf.h"
#include "slice.h"

#define DNS_NAME_MAX 255
#define DNS_RECORDS_MAX 100 /* of one answer; the rest is dropped */
#define DNS_TEXT_MAX 4096   /* of one TXT record; longer ones are cut */

enum dns_type { DNS_A, DNS_AAAA, DNS_MX, DNS_TXT, DNS_PTR, DNS_CNAME, DNS_TLSA };

enum dns_status {
	DNS_FOUND,
	DNS_NONE,  /* no such name, or no record of this type */
	DNS_FAILED /* no answer, or one that says SERVFAIL or the like */
};

struct dns_record {
	struct slice
	    text; /* TXT: strings joined; MX, PTR: a name; A, AAAA: an address, printed; CNAME,
				TLSA: the data as it came. A NUL follows. */
	unsigned preference; /* MX */
};

struct dns_answer {
	enum dns_status status;
	struct dns_record *records; /* MX by preference */
	size_t count;
	bool no_such_name;  /* DNS_NONE: the name itself does not exist (NXDOMAIN) */
	unsigned ttl_s;	    /* how long it may be kept (RFC 2308 5 for DNS_NONE); 0: not said */
	bool authenticated; /* the server says that it was validated (AD, RFC 4035 3.2.3) */
	const char
	    *canonical; /* A, AAAA: the name they stand under, behind aliases; NULL: not said */
};

/* Its number in DNS (RFC 1035 3.2.2 and others). */
int dns_type_number(enum dns_type type);

struct dns {
	void *ctx;
	/* The answer is in the arena. */
	void (*ask)(void *ctx, struct arena *arena, const char *name, enum dns_type type,
	    struct dns_answer *answer);
};

/* Reads an answer as it came (RFC 1035 4.1); n 0: none came. The records are in the arena; without
 * memory there are none, and the status is DNS_FAILED. The question is not compared: c-ares has. */
void dns_read_answer(struct arena *arena, enum dns_type type, const unsigned char *bytes, size_t n,
    struct dns_answer *answer);

/* Appends a TXT record as a line of a zone file (RFC 1035 5.1), its text cut into strings of at
 * most 255 octets and quoted. */
void dns_zone_put_txt(struct buf *out, struct slice name, unsigned ttl_s, struct slice text);

/* 192.0.2.1 -> 1.2.0.192.in-addr.arpa, and so for IPv6. false when it is no address. */
bool dns_reverse_name(const char *address, char dst[DNS_NAME_MAX + 1]);

/* The value of a tag in a list of tag=value; (RFC 6376 3.2, also DMARC); names are compared as they
 * are. false when it is not there. */
bool dns_tag(struct slice record, struct slice tag, struct slice *value);

#endif
