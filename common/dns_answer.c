/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dns_answer: from the bytes of an answer to records (dns_read_answer of dns.h). c-ares reads the
 * records of the type asked for; the header and the times to live, which it does not tell for all
 * types, are read here. An answer that c-ares refuses is DNS_FAILED.
 */
#include <ares.h>
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "dns.h"

#define HEADER_BYTES 12
#define RECORD_BYTES 10 /* type, class, ttl, length of the data */
#define TTL_MAX 604800	/* a week */
#define SOA_NUMBERS 20	/* five of 4 bytes; the last is MINIMUM */
#define TYPE_TLSA 52	/* RFC 6698 7.1 */

struct reading {
	struct arena *arena;
	enum dns_type type;
	struct dns_answer *answer;
};

static void
add(struct reading *q, struct slice text, unsigned preference)
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
take_addresses(struct reading *q, const unsigned char *bytes, int n)
{
	struct ares_addrttl v4[DNS_RECORDS_MAX];
	struct ares_addr6ttl v6[DNS_RECORDS_MAX];
	struct hostent *host = NULL;
	int count = DNS_RECORDS_MAX, status;
	char text[64];

	if (q->type == DNS_A)
		status = ares_parse_a_reply(bytes, n, &host, v4, &count);
	else
		status = ares_parse_aaaa_reply(bytes, n, &host, v6, &count);
	if (status == ARES_SUCCESS && host != NULL && host->h_name != NULL)
		q->answer->canonical = arena_str(q->arena, host->h_name);
	ares_free_hostent(host);
	for (int i = 0; status == ARES_SUCCESS && i < count; i++)
		if (inet_ntop(q->type == DNS_A ? AF_INET : AF_INET6,
			q->type == DNS_A ? (void *)&v4[i].ipaddr : (void *)&v6[i].ip6addr, text,
			sizeof(text)) != NULL)
			add(q, slice_str(text), 0);
	return status;
}

static int
take_mx(struct reading *q, const unsigned char *bytes, int n)
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
take_txt(struct reading *q, const unsigned char *bytes, int n)
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
take_ptr(struct reading *q, const unsigned char *bytes, int n)
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

static unsigned
get16(const unsigned char *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static unsigned
get32(const unsigned char *p)
{
	return get16(p) << 16 | get16(p + 2);
}

/* The bytes that a name takes at `at`, 0 when it is malformed. */
static size_t
skip_name(const unsigned char *bytes, size_t n, size_t at)
{
	long taken = 0;
	char *name = NULL;

	if (at >= n || ares_expand_name(bytes + at, bytes, (int)n, &name, &taken) != ARES_SUCCESS)
		return 0;
	ares_free_string(name);
	return taken > 0 ? (size_t)taken : 0;
}

/* Behind the questions; 0 when they are malformed. */
static size_t
skip_questions(const unsigned char *bytes, size_t n)
{
	size_t at = HEADER_BYTES;

	for (unsigned left = get16(bytes + 4); left > 0; left--) {
		size_t taken = skip_name(bytes, n, at);

		if (taken == 0)
			return 0;
		at += taken + 4;
	}
	return at;
}

struct place {
	unsigned type, ttl;
	size_t data, length; /* of its data */
};

/* The record at *at, which moves behind it; false when it is cut or malformed. */
static bool
next_record(const unsigned char *bytes, size_t n, size_t *at, struct place *record)
{
	size_t taken = skip_name(bytes, n, *at), head = *at + taken;

	if (taken == 0 || head + RECORD_BYTES > n)
		return false;
	*record = (struct place){ .type = get16(bytes + head),
		.ttl = get32(bytes + head + 4),
		.data = head + RECORD_BYTES,
		.length = get16(bytes + head + 8) };
	*at = record->data + record->length;
	return *at <= n;
}

/* The least time to live of the records of the answer; when there are none, that of the SOA in the
 * authority section, or its MINIMUM if that is less (RFC 2308 5). */
static unsigned
read_ttl(const unsigned char *bytes, size_t n)
{
	size_t at = skip_questions(bytes, n);
	unsigned answers = get16(bytes + 6), records = answers + get16(bytes + 8);
	unsigned least = TTL_MAX, seen = 0;
	struct place r;

	for (unsigned i = 0; at > 0 && i < records && (i < answers || answers == 0); i++) {
		if (!next_record(bytes, n, &at, &r))
			break;
		if (answers == 0 && r.type != ns_t_soa)
			continue;
		if (answers == 0 && r.length >= SOA_NUMBERS) {
			unsigned minimum = get32(bytes + r.data + r.length - 4);

			r.ttl = minimum < r.ttl ? minimum : r.ttl;
		}
		least = r.ttl < least ? r.ttl : least;
		seen++;
	}
	return seen > 0 ? least : 0;
}

/* What c-ares has no parser for: the data of each record of the type. All of a malformed answer is
 * refused: half of a set could be taken for the whole. */
static int
take_data(struct reading *q, const unsigned char *bytes, int n, unsigned type)
{
	size_t at = skip_questions(bytes, (size_t)n);
	struct place r;

	for (unsigned left = get16(bytes + 6); left > 0; left--) {
		if (at == 0 || !next_record(bytes, (size_t)n, &at, &r)) {
			q->answer->count = 0;
			return ARES_EBADRESP;
		}
		if (r.type == type)
			add(q, slice_make((const char *)bytes + r.data, r.length), 0);
	}
	return ARES_SUCCESS;
}

int
dns_type_number(enum dns_type type)
{
	static const int numbers[] = { ns_t_a, ns_t_aaaa, ns_t_mx, ns_t_txt, ns_t_ptr, ns_t_cname,
		TYPE_TLSA };

	return numbers[type];
}

static int
take_records(struct reading *q, const unsigned char *bytes, int n)
{
	switch (q->type) {
	case DNS_MX:
		return take_mx(q, bytes, n);
	case DNS_TXT:
		return take_txt(q, bytes, n);
	case DNS_PTR:
		return take_ptr(q, bytes, n);
	case DNS_CNAME:
	case DNS_TLSA:
		return take_data(q, bytes, n, (unsigned)dns_type_number(q->type));
	case DNS_A:
	case DNS_AAAA:
		break;
	}
	return take_addresses(q, bytes, n);
}

void
dns_read_answer(struct arena *arena, enum dns_type type, const unsigned char *bytes, size_t n,
    struct dns_answer *answer)
{
	struct reading q = { arena, type, answer };
	unsigned code;
	int status;

	*answer = (struct dns_answer){ .status = DNS_FAILED,
		.records = arena_array(arena, DNS_RECORDS_MAX + 1, sizeof(struct dns_record)) };
	if (answer->records == NULL || n < HEADER_BYTES || n > UINT16_MAX)
		return;
	code = bytes[3] & 15U;
	if (code != ns_r_noerror && code != ns_r_nxdomain)
		return;
	answer->authenticated = (bytes[3] & 0x20) != 0;
	answer->ttl_s = read_ttl(bytes, n);
	status = code == ns_r_noerror ? take_records(&q, bytes, (int)n) : ARES_ENOTFOUND;
	answer->no_such_name = code == ns_r_nxdomain;
	answer->status = answer->count > 0 ? DNS_FOUND
	    : status == ARES_SUCCESS || status == ARES_ENODATA || status == ARES_ENOTFOUND
	    ? DNS_NONE
	    : DNS_FAILED;
}
