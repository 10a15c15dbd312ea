/* SPDX-License-Identifier: Apache-2.0 */
/* mx: see mx.h. */
#include "mx.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEEP_MIN_S 60
#define KEEP_MAX_S 3600
#define KEEP_NONE_MIN_S 300 /* of "there is none" */
#define KEEP_NONE_MAX_S 900

/* ---- the list ---- */

/* Lower case into dst; false when it is no host name: strange characters, an address, too long. */
static bool
take_name(char dst[DNS_NAME_MAX + 1], struct slice name)
{
	bool letter = false;

	if (name.len > 0 && name.ptr[name.len - 1] == '.')
		name.len--;
	if (name.len == 0 || name.len > DNS_NAME_MAX - 2)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i];

		if (c >= 'A' && c <= 'Z')
			c = (char)(c + 32);
		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
			c == '.') ||
		    (c == '.' && (i == 0 || name.ptr[i - 1] == '.')))
			return false;
		letter = letter || (c >= 'a' && c <= 'z');
		dst[i] = c;
	}
	dst[name.len] = '\0';
	return letter; /* else an address */
}

static int
compare(const void *a, const void *b)
{
	const struct mx_host *x = a, *y = b;

	if (x->preference != y->preference)
		return x->preference < y->preference ? -1 : 1;
	return strcmp(x->name, y->name);
}

/* 0, 1, 1, 2 in place of 5, 10, 10, 90. */
static void
close_gaps(struct mx_plan *plan)
{
	unsigned rank = 0, before = 0;

	for (size_t i = 0; i < plan->count; i++) {
		rank += i > 0 && plan->hosts[i].preference != before;
		before = plan->hosts[i].preference;
		plan->hosts[i].preference = rank;
	}
}

static bool
has_name(const struct mx_plan *plan, const char *name)
{
	for (size_t i = 0; i < plan->count; i++)
		if (strcmp(plan->hosts[i].name, name) == 0)
			return true;
	return false;
}

static bool
is_own(const char *name, const char *const *own, size_t own_count)
{
	for (size_t i = 0; i < own_count; i++)
		if (slice_equal_nocase(slice_str(name), slice_str(own[i])))
			return true;
	return false;
}

/* Ourselves, and what is not before us, would be a loop (RFC 5321 5.1). */
static bool
drop_own(struct mx_plan *plan, const char *const *own, size_t own_count)
{
	for (size_t i = 0; i < plan->count; i++) {
		if (!is_own(plan->hosts[i].name, own, own_count))
			continue;
		while (i > 0 && plan->hosts[i - 1].preference == plan->hosts[i].preference)
			i--;
		plan->count = i;
		return true;
	}
	return false;
}

/* The records come by preference. */
static void
take_hosts(struct mx_plan *plan, const struct dns_answer *answer)
{
	for (size_t i = 0; i < answer->count && plan->count < MX_HOSTS_MAX; i++) {
		struct mx_host *host = &plan->hosts[plan->count];

		if (!take_name(host->name, answer->records[i].text) || has_name(plan, host->name))
			continue;
		host->preference = answer->records[i].preference;
		plan->count++;
	}
	qsort(plan->hosts, plan->count, sizeof(plan->hosts[0]), compare);
}

void
mx_decide(struct mx_plan *plan, const char *domain, const struct dns_answer *answer,
    const char *const *own, size_t own_count)
{
	plan->verdict = MX_HOSTS;
	plan->implicit = false;
	plan->count = 0;
	if (answer->status == DNS_FAILED) {
		plan->verdict = MX_LATER;
	} else if (answer->status == DNS_NONE && answer->no_such_name) {
		plan->verdict = MX_NO_DOMAIN;
	} else if (answer->status == DNS_NONE) {
		plan->implicit = true;
		plan->hosts[0].preference = 0;
		plan->count = take_name(plan->hosts[0].name, slice_str(domain));
	} else if (answer->count == 1 &&
	    (answer->records[0].text.len == 0 ||
		slice_equal(answer->records[0].text, SLICE(".")))) {
		plan->verdict = MX_NULL;
	} else {
		take_hosts(plan, answer);
	}
	if (plan->verdict == MX_HOSTS && drop_own(plan, own, own_count) && plan->count == 0)
		plan->verdict = MX_LOOP;
	else if (plan->verdict == MX_HOSTS && plan->count == 0)
		plan->verdict = MX_BROKEN;
	close_gaps(plan);
}

void
mx_filter(struct mx_plan *plan, bool (*keep)(const void *ctx, const char *host), const void *ctx)
{
	size_t kept = 0;

	for (size_t i = 0; i < plan->count; i++)
		if (keep(ctx, plan->hosts[i].name))
			plan->hosts[kept++] = plan->hosts[i];
	plan->count = kept;
	close_gaps(plan);
}

void
mx_key(const struct mx_plan *plan, bool secure, char key[MX_KEY_MAX])
{
	size_t n = (size_t)snprintf(key, MX_KEY_MAX, "%s", secure ? "s" : "o");

	for (size_t i = 0; i < plan->count && n < MX_KEY_MAX; i++)
		n += (size_t)snprintf(key + n, MX_KEY_MAX - n, " %u%s", plan->hosts[i].preference,
		    plan->hosts[i].name);
}

/* ---- why there is none ---- */

struct outcome
mx_refusal(enum mx_verdict verdict, bool tried)
{
	struct outcome o = { .kind = OUTCOME_DEFERRED,
		.cls = OUTCOME_SOFT,
		.scope = OUTCOME_SCOPE_DOMAIN,
		.phase = OUTCOME_PHASE_CONNECT,
		.enhanced = { 4, 4, 3 },
		.reason = "network",
		.text = SLICE("DNS does not answer for this domain") };

	switch (verdict) {
	case MX_NULL:
		o.kind = OUTCOME_FAILED;
		o.cls = OUTCOME_HARD;
		o.code = 556;
		o.reason = "domain_unknown";
		o.enhanced[0] = 5, o.enhanced[1] = 1, o.enhanced[2] = 10;
		o.text = SLICE("the domain takes no mail (null MX)");
		break;
	case MX_NO_DOMAIN:
		o.kind = tried ? OUTCOME_FAILED : OUTCOME_DEFERRED;
		o.cls = tried ? OUTCOME_HARD : OUTCOME_SOFT;
		o.reason = "domain_unknown";
		o.enhanced[0] = tried ? 5 : 4, o.enhanced[1] = 1, o.enhanced[2] = 2;
		o.text = SLICE("the domain does not exist");
		break;
	case MX_LOOP:
		o.kind = OUTCOME_FAILED;
		o.cls = OUTCOME_CONFIG;
		o.reason = "config";
		o.enhanced[0] = 5, o.enhanced[1] = 4, o.enhanced[2] = 6;
		o.text = SLICE("mail for this domain is for this host itself");
		break;
	case MX_BROKEN:
		o.enhanced[2] = 4;
		o.text = SLICE("the MX records name no host that can be used");
		break;
	case MX_HOSTS:
	case MX_LATER:
		break;
	}
	return o;
}

unsigned
mx_keep_s(const struct dns_answer *answer)
{
	bool none = answer->status != DNS_FOUND;
	unsigned least = none ? KEEP_NONE_MIN_S : KEEP_MIN_S;
	unsigned most = none ? KEEP_NONE_MAX_S : KEEP_MAX_S;

	if (answer->status == DNS_FAILED || answer->ttl_s < least)
		return answer->status == DNS_FAILED ? KEEP_MIN_S : least;
	return answer->ttl_s < most ? answer->ttl_s : most;
}

/* ---- choice ---- */

int
mx_choose(const struct mx_choice *hosts, size_t count, unsigned chance)
{
	int best = -1;
	unsigned equals = 0;

	for (size_t i = 0; i < count; i++) {
		const struct mx_choice *h = &hosts[i], *b = best >= 0 ? &hosts[best] : NULL;

		if (!h->usable || (b != NULL && h->preference > b->preference))
			continue;
		if (b == NULL || h->preference < b->preference || h->connections < b->connections) {
			best = (int)i;
			equals = 1;
		} else if (h->connections == b->connections && chance % ++equals == 0) {
			best = (int)i; /* each of them alike */
		}
	}
	return best;
}

static bool
is_public_v4(uint32_t a)
{
	static const struct {
		uint32_t net;
		unsigned bits;
	} closed[] = { { 0x00000000, 8 }, { 0x0a000000, 8 }, { 0x64400000, 10 }, { 0x7f000000, 8 },
		{ 0xa9fe0000, 16 }, { 0xac100000, 12 }, { 0xc0000000, 24 }, { 0xc0a80000, 16 },
		{ 0xc6120000, 15 }, { 0xe0000000, 3 } };

	for (size_t i = 0; i < sizeof(closed) / sizeof(closed[0]); i++)
		if ((a ^ closed[i].net) >> (32 - closed[i].bits) == 0)
			return false;
	return true;
}

bool
mx_is_public(const struct sockaddr *address)
{
	const unsigned char *b;

	if (address->sa_family == AF_INET) {
		struct sockaddr_in v4;

		memcpy(&v4, address, sizeof(v4));
		return is_public_v4(ntohl(v4.sin_addr.s_addr));
	}
	b = ((const struct sockaddr_in6 *)(const void *)address)->sin6_addr.s6_addr;
	/* global unicast is 2000::/3 (RFC 4291 2.4); 2002::/16 and 64:ff9b::/96 hold addresses of IPv4 */
	return b[0] >> 5 == 1 && !(b[0] == 0x20 && b[1] == 0x02);
}

uint64_t
mx_rest_ms(uint64_t *rest_ms, uint64_t first_ms, uint64_t longest_ms, unsigned chance)
{
	uint64_t rest = *rest_ms == 0 ? first_ms : *rest_ms * 2;

	*rest_ms = rest < longest_ms ? rest : longest_ms;
	return *rest_ms * (75 + chance % 51) / 100;
}
