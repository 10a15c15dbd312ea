/* SPDX-License-Identifier: Apache-2.0 */
/* doctor: see doctor.h. */
#include "doctor.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "spf.h"

#define ARENA_MAX ((size_t)32 << 20)
#define TEXT_MAX 3000

const char *
doctor_verdict_name(enum doctor_verdict verdict)
{
	static const char *const names[] = { "ok", "warning", "failed", "skipped" };

	return names[verdict];
}

void
doctor_checks_init(struct doctor_checks *d)
{
	d->count = 0;
	d->dns = NULL;
	d->resolver = NULL;
	arena_init(&d->arena, ARENA_MAX);
}

void
doctor_checks_release(struct doctor_checks *d)
{
	resolver_free(d->resolver);
	arena_release(&d->arena);
}

int
doctor_open(struct doctor_checks *d, const char *server, struct err *err)
{
	d->resolver = resolver_new(server, err);
	if (d->resolver == NULL)
		return -1;
	d->dns = resolver_dns(d->resolver);
	return 0;
}

static const char *
keep(struct doctor_checks *d, const char *text)
{
	const char *copy = arena_str(&d->arena, text);

	return copy != NULL ? copy : "";
}

const struct doctor_check *
doctor_add(struct doctor_checks *d, const char *id, enum doctor_verdict verdict,
    const char *subject, const char *advice, const char *found, ...)
{
	struct doctor_check *c =
	    &d->list[d->count < DOCTOR_CHECKS_MAX ? d->count++ : DOCTOR_CHECKS_MAX - 1];
	char text[TEXT_MAX];
	va_list args;

	va_start(args, found);
	(void)vsnprintf(text, sizeof(text), found, args);
	va_end(args);
	*c = (struct doctor_check){ .id = id,
		.verdict = verdict,
		.subject = keep(d, subject),
		.found = keep(d, text),
		.advice = keep(d, advice) };
	return c;
}

static void
ask(struct doctor_checks *d, const char *name, enum dns_type type, struct dns_answer *answer)
{
	d->dns->ask(d->dns->ctx, &d->arena, name, type, answer);
}

/* ---- DKIM ---- */

/* base64 may hold folding white space (RFC 6376 3.6.1). */
static bool
same_key(struct slice published, struct slice ours)
{
	size_t at = 0;

	for (size_t i = 0; i < published.len; i++) {
		char c = published.ptr[i];

		if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
			continue;
		if (at == ours.len || c != ours.ptr[at++])
			return false;
	}
	return at == ours.len;
}

static bool
has_word(struct slice list, struct slice word)
{
	while (list.len > 0) {
		const char *end = memchr(list.ptr, ':', list.len);
		size_t n = end != NULL ? (size_t)(end - list.ptr) : list.len;

		if (slice_equal(slice_trim(slice_make(list.ptr, n)), word))
			return true;
		n += end != NULL;
		list = slice_make(list.ptr + n, list.len - n);
	}
	return false;
}

static const struct doctor_check *
compare_key(struct doctor_checks *d, const struct dkim_key *key, const char *name,
    struct slice record, struct slice public, const char *publish)
{
	struct slice value, algorithm = slice_str(dkim_algorithm_name(dkim_key_algorithm(key)));

	if (dns_tag(record, SLICE("v"), &value) && !slice_equal(value, SLICE("DKIM1")))
		return doctor_add(
		    d, "dkim", DOCTOR_FAILED, name, publish, "the record is not of version DKIM1");
	if (!dns_tag(record, SLICE("p"), &value))
		return doctor_add(
		    d, "dkim", DOCTOR_FAILED, name, publish, "the record has no key (p=)");
	if (value.len == 0)
		return doctor_add(
		    d, "dkim", DOCTOR_FAILED, name, publish, "the record revokes the key");
	if (!same_key(value, public))
		return doctor_add(
		    d, "dkim", DOCTOR_FAILED, name, publish, "the record has another key");
	if (!dns_tag(record, SLICE("k"), &value))
		value = SLICE("rsa");
	if (!slice_equal(value, algorithm))
		return doctor_add(d, "dkim", DOCTOR_FAILED, name, publish,
		    "the record says k=%.*s, the key is %s", (int)(value.len < 40 ? value.len : 40),
		    value.ptr, algorithm.ptr);
	if (dns_tag(record, SLICE("h"), &value) && !has_word(value, SLICE("sha256")))
		return doctor_add(
		    d, "dkim", DOCTOR_FAILED, name, publish, "the record does not allow sha256");
	if (dns_tag(record, SLICE("t"), &value) && has_word(value, SLICE("y")))
		return doctor_add(d, "dkim", DOCTOR_WARNING, name, publish,
		    "the record says that signatures are being tried out (t=y)");
	if (dkim_key_algorithm(key) == DKIM_RSA && dkim_key_bits(key) < DKIM_RSA_BITS)
		return doctor_add(d, "dkim", DOCTOR_WARNING, name,
		    "make a key of 2048 bits: kairan dkim new", "the key has only %u bits",
		    dkim_key_bits(key));
	return doctor_add(
	    d, "dkim", DOCTOR_OK, name, "", "the record has the %s key that signs", algorithm.ptr);
}

const struct doctor_check *
doctor_check_key(struct doctor_checks *d, const struct dkim_key *key)
{
	char name[2 * DNS_NAME_MAX];
	const struct doctor_check *c;
	struct dns_answer answer;
	struct buf record, public, publish;

	(void)snprintf(
	    name, sizeof(name), "%s._domainkey.%s", dkim_key_selector(key), dkim_key_domain(key));
	buf_init(&record, 4096);
	buf_init(&public, 4096);
	buf_init(&publish, 8192);
	if (!dkim_key_put_record(key, &record) || !dkim_key_put_public(key, &public)) {
		c = doctor_add(d, "dkim", DOCTOR_SKIPPED, name, "", "no memory");
	} else {
		buf_append_str(&publish, "publish: ");
		dns_zone_put_txt(&publish, slice_str(name), 3600, buf_slice(&record));
		if (publish.len > 0 && publish.data[publish.len - 1] == '\n')
			publish.data[publish.len - 1] = '\0';
		ask(d, name, DNS_TXT, &answer);
		if (answer.status == DNS_FAILED)
			c = doctor_add(d, "dkim", DOCTOR_SKIPPED, name, "", "DNS does not answer");
		else if (answer.count == 0)
			c = doctor_add(d, "dkim", DOCTOR_FAILED, name, buf_str(&publish),
			    "there is no record, so its signatures count for nothing");
		else if (answer.count > 1)
			c = doctor_add(d, "dkim", DOCTOR_FAILED, name, "leave only one of them",
			    "there are %zu records", answer.count);
		else
			c = compare_key(d, key, name, answer.records[0].text, buf_slice(&public),
			    buf_str(&publish));
	}
	buf_release(&record);
	buf_release(&public);
	buf_release(&publish);
	return c;
}

/* ---- SPF ---- */

static const char *
ip_term(const char *address)
{
	return strchr(address, ':') != NULL ? "ip6" : "ip4";
}

/* The present record with the address let in before what decides about the rest. */
static void
spf_advice(char *dst, size_t size, const char *domain, struct slice record, const char *address)
{
	size_t cut = record.len;

	if (record.len == 0) {
		(void)snprintf(dst, size, "publish: %s. 3600 IN TXT \"v=spf1 %s%s%s ~all\"", domain,
		    address != NULL ? ip_term(address) : "mx", address != NULL ? ":" : "",
		    address != NULL ? address : "");
		return;
	}
	for (size_t i = 6; i + 3 < record.len; i++)
		if (record.ptr[i] == ' ' &&
		    (memmem(record.ptr + i, record.len - i < 6 ? record.len - i : 6, "all", 3) !=
			    NULL ||
			strncmp(record.ptr + i, " redirect=", 10) == 0)) {
			cut = i;
			break;
		}
	(void)snprintf(dst, size, "publish: %s. 3600 IN TXT \"%.*s %s:%s%.*s\"", domain, (int)cut,
	    record.ptr, ip_term(address), address, (int)(record.len - cut), record.ptr + cut);
}

void
doctor_check_spf(struct doctor_checks *d, const char *domain, const char *address)
{
	struct spf_answer a;
	char advice[TEXT_MAX];

	spf_check(d->dns, &d->arena, address, domain, &a);
	if (a.result == SPF_TEMPERROR) {
		(void)doctor_add(d, "spf", DOCTOR_SKIPPED, domain, "", "%s", a.why);
		return;
	}
	if (a.result == SPF_NONE || (address != NULL && a.result != SPF_PERMERROR))
		spf_advice(advice, sizeof(advice), domain, a.record, address);
	if (a.result == SPF_NONE)
		(void)doctor_add(d, "spf", DOCTOR_FAILED, domain, advice, "there is no SPF record");
	else if (a.result == SPF_PERMERROR)
		(void)doctor_add(d, "spf", DOCTOR_FAILED, domain,
		    "mend the record; receivers ignore it as it is", "%s", a.why);
	else if (address == NULL)
		(void)doctor_add(d, "spf", DOCTOR_OK, domain, "",
		    "there is a record (%u of %d look-ups); --ip ADDRESS says whether it lets you "
		    "in",
		    a.lookups, SPF_LOOKUPS_MAX);
	else if (a.result == SPF_PASS)
		(void)doctor_add(d, "spf", DOCTOR_OK, domain, "",
		    "%s may send: %s (%u of %d look-ups)", address, a.why, a.lookups,
		    SPF_LOOKUPS_MAX);
	else if (a.not_followed)
		(void)doctor_add(d, "spf", DOCTOR_WARNING, domain, advice,
		    "%s, but a term with a macro or ptr was not followed",
		    spf_result_name(a.result));
	else
		(void)doctor_add(d, "spf", DOCTOR_FAILED, domain, advice, "%s may not send: %s%s%s",
		    address, spf_result_name(a.result), a.why[0] != '\0' ? " by " : "", a.why);
}

/* ---- DMARC ---- */

static bool
is_below(const char *name, const char *domain)
{
	size_t n = strlen(name), m = strlen(domain);

	return n >= m && strcasecmp(name + (n - m), domain) == 0 &&
	    (n == m || name[n - m - 1] == '.');
}

/* The nearest record going up (RFC 9989, without its bounds for very long names). */
static bool
find_dmarc(struct doctor_checks *d, const char *domain, struct slice *record, const char **at,
    bool *failed)
{
	*failed = false;
	for (; strchr(domain, '.') != NULL; domain = strchr(domain, '.') + 1) {
		char name[DNS_NAME_MAX + 10];
		struct dns_answer answer;

		(void)snprintf(name, sizeof(name), "_dmarc.%s", domain);
		ask(d, name, DNS_TXT, &answer);
		*failed = *failed || answer.status == DNS_FAILED;
		for (size_t i = 0; i < answer.count; i++) {
			struct slice v;

			if (!dns_tag(answer.records[i].text, SLICE("v"), &v) ||
			    !slice_equal(v, SLICE("DMARC1")))
				continue;
			*record = answer.records[i].text;
			*at = domain;
			return true;
		}
	}
	return false;
}

/* Strict: the same name. Relaxed: under one roof, the domain with the policy. */
static bool
is_aligned(
    struct slice record, const char *tag, const char *from, const char *other, const char *at)
{
	struct slice mode;

	if (dns_tag(record, slice_str(tag), &mode) && slice_equal(mode, SLICE("s")))
		return strcasecmp(from, other) == 0;
	return is_below(other, at) || is_below(other, from) || is_below(from, other);
}

static void
check_alignment(struct doctor_checks *d, const char *from, const char *path,
    const struct dkim *dkim, struct slice record, const char *at)
{
	bool spf = path[0] != '\0' && is_aligned(record, "aspf", from, path, at), signs = false;
	const char *words = spf ? "the return path" : "";
	char text[2 * DNS_NAME_MAX];

	for (size_t i = 0; dkim != NULL && i < dkim_count(dkim); i++)
		signs = signs ||
		    is_aligned(record, "adkim", from, dkim_key_domain(dkim_at(dkim, i)), at);
	(void)snprintf(text, sizeof(text), "%s%s%s", words, spf && signs ? " and " : "",
	    signs ? "the signature" : "");
	if (spf && signs)
		(void)doctor_add(
		    d, "alignment", DOCTOR_OK, from, "", "%s agree with the From domain", text);
	else if (spf || signs)
		(void)doctor_add(d, "alignment", DOCTOR_WARNING, from,
		    signs ? "put feedback.domain below the From domain"
			  : "sign with its own keys: kairan dkim new",
		    "only %s agrees with the From domain; large receivers ask for both SPF and "
		    "DKIM",
		    text);
	else
		(void)doctor_add(d, "alignment", DOCTOR_FAILED, from,
		    "sign with a key of the From domain (kairan dkim new) and put feedback.domain "
		    "below it",
		    "neither the return path nor a signature agrees with the From domain");
}

void
doctor_check_dmarc(struct doctor_checks *d, const char *from_domain, const char *path_domain,
    const struct dkim *dkim)
{
	struct slice record = SLICE(""), policy;
	const char *at = from_domain;
	char publish[DNS_NAME_MAX + 100];
	bool failed;

	(void)snprintf(publish, sizeof(publish),
	    "publish: _dmarc.%s. 3600 IN TXT \"v=DMARC1; p=none; rua=mailto:dmarc@%s\"",
	    from_domain, from_domain);
	if (!find_dmarc(d, from_domain, &record, &at, &failed))
		(void)doctor_add(d, "dmarc", failed ? DOCTOR_SKIPPED : DOCTOR_FAILED, from_domain,
		    failed ? "" : publish,
		    failed ? "DNS does not answer"
			   : "there is no DMARC policy; Gmail, Yahoo and Microsoft ask for one");
	else if (!dns_tag(record, SLICE("p"), &policy) ||
	    (!slice_equal_nocase(policy, SLICE("none")) &&
		!slice_equal_nocase(policy, SLICE("quarantine")) &&
		!slice_equal_nocase(policy, SLICE("reject"))))
		(void)doctor_add(d, "dmarc", DOCTOR_FAILED, from_domain, publish,
		    "the policy at _dmarc.%s has no p= of none, quarantine or reject", at);
	else
		(void)doctor_add(d, "dmarc", DOCTOR_OK, from_domain, "", "policy %.*s at _dmarc.%s",
		    (int)policy.len, policy.ptr, at);
	check_alignment(d, from_domain, path_domain, dkim, record, at);
}

/* ---- MX, PTR ---- */

static bool
has_address(struct doctor_checks *d, const char *host, const char *address)
{
	struct dns_answer answer;
	unsigned char want[16], raw[16];
	bool v6 = address != NULL && strchr(address, ':') != NULL;

	for (int type = DNS_A; type <= DNS_AAAA; type++) {
		if (address != NULL && (type == DNS_AAAA) != v6)
			continue;
		ask(d, host, (enum dns_type)type, &answer);
		if (address == NULL && answer.count > 0)
			return true;
		for (size_t i = 0; address != NULL && i < answer.count; i++)
			if (inet_pton(v6 ? AF_INET6 : AF_INET, address, want) == 1 &&
			    inet_pton(v6 ? AF_INET6 : AF_INET, answer.records[i].text.ptr, raw) ==
				1 &&
			    memcmp(want, raw, v6 ? 16 : 4) == 0)
				return true;
	}
	return false;
}

void
doctor_check_mx(struct doctor_checks *d, const char *domain)
{
	char advice[2 * DNS_NAME_MAX + 100];
	struct dns_answer answer;

	(void)snprintf(advice, sizeof(advice),
	    "publish: %s. 3600 IN MX 10 HOST, the host whose mail reaches kairan-feedback", domain);
	ask(d, domain, DNS_MX, &answer);
	if (answer.status == DNS_FAILED) {
		(void)doctor_add(d, "mx", DOCTOR_SKIPPED, domain, "", "DNS does not answer");
		return;
	}
	if (answer.count == 0) {
		(void)doctor_add(d, "mx",
		    has_address(d, domain, NULL) ? DOCTOR_WARNING : DOCTOR_FAILED, domain, advice,
		    "the return path's domain has no MX: bounces do not come back");
		return;
	}
	for (size_t i = 0; i < answer.count; i++) {
		if (answer.records[i].text.len > 0 &&
		    has_address(d, answer.records[i].text.ptr, NULL))
			continue;
		(void)doctor_add(d, "mx", DOCTOR_FAILED, domain,
		    "give that host an address, or name another", "the MX host %s has no address",
		    answer.records[i].text.len > 0 ? answer.records[i].text.ptr : "'.'");
		return;
	}
	(void)doctor_add(
	    d, "mx", DOCTOR_OK, domain, "", "bounces go to %s", answer.records[0].text.ptr);
}

void
doctor_check_ptr(struct doctor_checks *d, const char *address)
{
	char name[DNS_NAME_MAX + 1];
	struct dns_answer answer;

	if (!dns_reverse_name(address, name)) {
		(void)doctor_add(d, "ptr", DOCTOR_SKIPPED, address, "", "this is not an address");
		return;
	}
	ask(d, name, DNS_PTR, &answer);
	if (answer.status == DNS_FAILED) {
		(void)doctor_add(d, "ptr", DOCTOR_SKIPPED, address, "", "DNS does not answer");
		return;
	}
	if (answer.count == 0) {
		(void)doctor_add(d, "ptr", DOCTOR_FAILED, address,
		    "ask the provider of the address for a PTR to the sending host's name",
		    "the address has no name (PTR); many receivers refuse it");
		return;
	}
	for (size_t i = 0; i < answer.count; i++) {
		if (!has_address(d, answer.records[i].text.ptr, address))
			continue;
		(void)doctor_add(d, "ptr", DOCTOR_OK, address, "", "its name is %s, and back",
		    answer.records[i].text.ptr);
		return;
	}
	(void)doctor_add(d, "ptr", DOCTOR_FAILED, address,
	    "give that name this address, or have the PTR changed", "its name %s leads elsewhere",
	    answer.records[0].text.ptr);
}
