/* SPDX-License-Identifier: Apache-2.0 */
/* spf: see spf.h. A table of mechanisms, each asked whether it matches. */
#include "spf.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define DEPTH_MAX 10 /* includes in includes; the lookups end it before */
#define MX_MAX 10    /* RFC 7208 4.6.4 */

struct check {
	const struct dns *dns;
	struct arena *arena;
	struct spf_answer *answer;
	int family; /* AF_INET, AF_INET6; 0: no address, nothing matches */
	unsigned char address[16];
	unsigned voids, depth;
	enum spf_result trouble; /* TEMPERROR, PERMERROR; NONE: none yet */
};

struct term {
	struct slice whole, name, value; /* value behind ':' or '=', without the prefix lengths */
	int bits4, bits6;		 /* -1: not given */
};

const char *
spf_result_name(enum spf_result result)
{
	static const char *const names[] = { "none", "neutral", "pass", "fail", "softfail",
		"temperror", "permerror" };

	return names[result];
}

static enum spf_result check_domain(struct check *c, const char *domain, struct slice *record);

static bool
give_up(struct check *c, enum spf_result trouble, const char *why, struct slice what)
{
	if (c->trouble == SPF_NONE) {
		c->trouble = trouble;
		(void)snprintf(c->answer->why, sizeof(c->answer->why), "%s%.*s", why,
		    (int)(what.len < 120 ? what.len : 120), what.len > 0 ? what.ptr : "");
	}
	return false;
}

/* Counts a term that asks DNS. */
static bool
count_lookup(struct check *c)
{
	if (++c->answer->lookups <= SPF_LOOKUPS_MAX)
		return true;
	return give_up(c, SPF_PERMERROR, "more than 10 terms that ask DNS", SLICE(""));
}

static void
ask(struct check *c, const char *name, enum dns_type type, struct dns_answer *answer)
{
	c->dns->ask(c->dns->ctx, c->arena, name, type, answer);
	if (answer->status == DNS_FAILED)
		(void)give_up(c, SPF_TEMPERROR, "DNS does not answer for ", slice_str(name));
	else if (answer->status == DNS_NONE && ++c->voids > SPF_VOIDS_MAX)
		(void)give_up(
		    c, SPF_PERMERROR, "more than 2 terms that find nothing, at ", slice_str(name));
}

static bool
same_bits(const unsigned char *a, const unsigned char *b, int bits)
{
	int whole = bits / 8, rest = bits % 8;

	return memcmp(a, b, (size_t)whole) == 0 &&
	    (rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0);
}

static bool
matches_text(const struct check *c, const struct term *t, struct slice text)
{
	unsigned char raw[16];
	char copy[64];
	int family = memchr(text.ptr, ':', text.len) != NULL ? AF_INET6 : AF_INET;
	int bits = family == AF_INET ? t->bits4 : t->bits6;

	if (text.len == 0 || text.len >= sizeof(copy) || family != c->family)
		return false;
	memcpy(copy, text.ptr, text.len);
	copy[text.len] = '\0';
	if (bits < 0 || bits > (family == AF_INET ? 32 : 128))
		bits = family == AF_INET ? 32 : 128;
	return inet_pton(family, copy, raw) == 1 && same_bits(raw, c->address, bits);
}

static bool
matches_host(struct check *c, const struct term *t, const char *host)
{
	struct dns_answer answer;

	ask(c, host, c->family == AF_INET6 ? DNS_AAAA : DNS_A, &answer);
	for (size_t i = 0; i < answer.count; i++)
		if (matches_text(c, t, answer.records[i].text))
			return true;
	return false;
}

/* The domain of a term: its value, else the present one. NULL when it cannot be followed. */
static const char *
target(struct check *c, const struct term *t, const char *domain)
{
	if (t->value.len == 0)
		return domain;
	if (memchr(t->value.ptr, '%', t->value.len) != NULL || t->value.len > DNS_NAME_MAX) {
		c->answer->not_followed = true;
		return NULL;
	}
	return arena_copy(c->arena, t->value).ptr;
}

static bool
on_all(struct check *c, const struct term *t, const char *domain)
{
	(void)c;
	(void)t;
	(void)domain;
	return true;
}

static bool
on_ip(struct check *c, const struct term *t, const char *domain)
{
	struct term one = *t;

	(void)domain;
	if (t->value.len == 0 || (slice_equal_nocase(t->name, SLICE("ip4")) && t->bits4 > 32))
		return give_up(c, SPF_PERMERROR, "cannot be read: ", t->whole);
	/* the prefix behind ip6 stands where that of IPv4 is looked for */
	if (slice_equal_nocase(t->name, SLICE("ip6")))
		one.bits6 = t->bits4;
	return matches_text(c, &one, t->value);
}

static bool
on_a(struct check *c, const struct term *t, const char *domain)
{
	const char *host = target(c, t, domain);

	return count_lookup(c) && host != NULL && matches_host(c, t, host);
}

static bool
on_mx(struct check *c, const struct term *t, const char *domain)
{
	const char *name = target(c, t, domain);
	struct dns_answer answer;

	if (!count_lookup(c) || name == NULL)
		return false;
	ask(c, name, DNS_MX, &answer);
	if (answer.count > MX_MAX)
		return give_up(c, SPF_PERMERROR, "more than 10 MX hosts at ", slice_str(name));
	for (size_t i = 0; i < answer.count && c->trouble == SPF_NONE; i++)
		if (matches_host(c, t, answer.records[i].text.ptr))
			return true;
	return false;
}

static bool
on_exists(struct check *c, const struct term *t, const char *domain)
{
	const char *name = target(c, t, domain);
	struct dns_answer answer;

	if (!count_lookup(c) || name == NULL || c->family == 0)
		return false;
	ask(c, name, DNS_A, &answer);
	return answer.status == DNS_FOUND;
}

static bool
on_ptr(struct check *c, const struct term *t, const char *domain)
{
	(void)t;
	(void)domain;
	c->answer->not_followed = true;
	return count_lookup(c) && false;
}

static bool
on_include(struct check *c, const struct term *t, const char *domain)
{
	const char *name = target(c, t, domain);
	enum spf_result result;
	struct slice record;

	if (t->value.len == 0)
		return give_up(c, SPF_PERMERROR, "cannot be read: ", t->whole);
	if (!count_lookup(c) || name == NULL)
		return false;
	result = check_domain(c, name, &record);
	if (result == SPF_NONE)
		return give_up(c, SPF_PERMERROR, "no SPF record at ", t->value);
	return result == SPF_PASS;
}

static const struct mechanism {
	const char *name;
	bool (*matches)(struct check *c, const struct term *t, const char *domain);
} mechanisms[] = {
	{ "all", on_all },
	{ "include", on_include },
	{ "a", on_a },
	{ "mx", on_mx },
	{ "ptr", on_ptr },
	{ "ip4", on_ip },
	{ "ip6", on_ip },
	{ "exists", on_exists },
};

/* Digits at the end behind '/', taken off; -1 when there are none, -2 when they are wrong. */
static int
take_bits(struct slice *s, int most)
{
	size_t n = s->len;
	int bits = 0;

	while (n > 0 && s->ptr[n - 1] >= '0' && s->ptr[n - 1] <= '9')
		n--;
	if (n == 0 || s->ptr[n - 1] != '/')
		return -1;
	if (n == s->len || s->len - n > 3)
		return -2;
	for (size_t i = n; i < s->len; i++)
		bits = bits * 10 + (s->ptr[i] - '0');
	s->len = n - 1;
	return bits <= most ? bits : -2;
}

/* name[:value][/bits[//bits6]], name=value */
static bool
read_term(struct slice whole, struct term *t)
{
	size_t n = 0;

	*t = (struct term){ .whole = whole, .bits4 = -1, .bits6 = -1 };
	while (n < whole.len && memchr(":=/", whole.ptr[n], 3) == NULL)
		n++;
	t->name = slice_make(whole.ptr, n);
	t->value = slice_make(whole.ptr + n, whole.len - n);
	if (t->value.len > 0 && t->value.ptr[0] == '=')
		return n > 0; /* a modifier: its value as it is, with '=' before it */
	t->bits4 = take_bits(&t->value, 128);
	if (t->value.len > 0 && t->value.ptr[t->value.len - 1] == '/') { /* …//bits6 */
		t->bits6 = t->bits4;
		t->value.len--;
		t->bits4 = take_bits(&t->value, 32);
	}
	if (t->value.len > 0 && t->value.ptr[0] == ':')
		t->value = slice_make(t->value.ptr + 1, t->value.len - 1);
	return n > 0 && t->bits4 > -2 && t->bits6 > -2;
}

static struct slice
next_word(struct slice *rest)
{
	size_t n = 0;
	struct slice word;

	while (rest->len > 0 && rest->ptr[0] == ' ')
		*rest = slice_make(rest->ptr + 1, rest->len - 1);
	while (n < rest->len && rest->ptr[n] != ' ')
		n++;
	word = slice_make(rest->ptr, n);
	*rest = slice_make(rest->ptr + n, rest->len - n);
	return word;
}

static enum spf_result
result_of(char qualifier)
{
	return qualifier == '-' ? SPF_FAIL
	    : qualifier == '~'	? SPF_SOFTFAIL
	    : qualifier == '?'	? SPF_NEUTRAL
				: SPF_PASS;
}

/* True when the word decides. */
static bool
try_word(struct check *c, struct slice word, const char *domain, struct slice *redirect,
    enum spf_result *result)
{
	char qualifier = '+';
	struct slice whole = word;
	struct term t;

	if (memchr("+-~?", word.ptr[0], 4) != NULL) {
		qualifier = word.ptr[0];
		word = slice_make(word.ptr + 1, word.len - 1);
	}
	if (!read_term(word, &t))
		return give_up(c, SPF_PERMERROR, "cannot be read: ", whole);
	if (t.value.len > 0 && t.value.ptr[0] == '=') {
		if (slice_equal_nocase(t.name, SLICE("redirect")))
			*redirect = slice_make(t.value.ptr + 1, t.value.len - 1);
		return false;
	}
	for (size_t i = 0; i < sizeof(mechanisms) / sizeof(mechanisms[0]); i++) {
		if (!slice_equal_nocase(t.name, slice_str(mechanisms[i].name)))
			continue;
		if (!mechanisms[i].matches(c, &t, domain) || c->trouble != SPF_NONE)
			return false;
		*result = result_of(qualifier);
		if (c->depth == 1)
			(void)snprintf(c->answer->why, sizeof(c->answer->why), "%.*s",
			    (int)(whole.len < 150 ? whole.len : 150), whole.ptr);
		return true;
	}
	return give_up(c, SPF_PERMERROR, "unknown term: ", whole);
}

static enum spf_result
check_record(struct check *c, struct slice record, const char *domain)
{
	struct slice rest = slice_make(record.ptr + 6, record.len - 6), word, redirect = SLICE("");
	enum spf_result result = SPF_NEUTRAL;
	struct term t = { .whole = redirect };
	const char *name;

	while ((word = next_word(&rest)).len > 0 && c->trouble == SPF_NONE)
		if (try_word(c, word, domain, &redirect, &result))
			return result;
	if (c->trouble != SPF_NONE || redirect.len == 0)
		return SPF_NEUTRAL;
	t.value = redirect;
	name = target(c, &t, domain);
	if (!count_lookup(c) || name == NULL)
		return SPF_NEUTRAL;
	result = check_domain(c, name, &word);
	if (result == SPF_NONE)
		(void)give_up(c, SPF_PERMERROR, "no SPF record at ", redirect);
	return result;
}

/* NONE when there is no record; the trouble is in c. */
static enum spf_result
check_domain(struct check *c, const char *domain, struct slice *record)
{
	struct dns_answer answer;
	enum spf_result result;
	size_t found = 0;

	*record = SLICE("");
	if (c->depth >= DEPTH_MAX) {
		(void)give_up(c, SPF_PERMERROR, "includes itself: ", slice_str(domain));
		return SPF_NEUTRAL;
	}
	ask(c, domain, DNS_TXT, &answer);
	for (size_t i = 0; i < answer.count; i++) {
		struct slice text = answer.records[i].text;

		if (!slice_starts_nocase(text, SLICE("v=spf1")) ||
		    (text.len > 6 && text.ptr[6] != ' '))
			continue;
		*record = text;
		found++;
	}
	if (found > 1)
		(void)give_up(c, SPF_PERMERROR, "more than one SPF record at ", slice_str(domain));
	if (c->trouble != SPF_NONE)
		return SPF_NEUTRAL;
	if (found == 0)
		return SPF_NONE;
	c->depth++;
	result = check_record(c, *record, domain);
	c->depth--;
	return result;
}

void
spf_check(const struct dns *dns, struct arena *arena, const char *address, const char *domain,
    struct spf_answer *answer)
{
	struct check c = { .dns = dns, .arena = arena, .answer = answer };

	*answer = (struct spf_answer){ .record = SLICE("") };
	if (address != NULL && inet_pton(AF_INET, address, c.address) == 1)
		c.family = AF_INET;
	else if (address != NULL && inet_pton(AF_INET6, address, c.address) == 1)
		c.family = AF_INET6;
	answer->result = check_domain(&c, domain, &answer->record);
	if (c.trouble != SPF_NONE)
		answer->result = c.trouble;
}
