/* SPDX-License-Identifier: Apache-2.0 */
/* mta_sts: see mta_sts.h. */
#include "mta_sts.h"

#include <string.h>

/* ---- the record ---- */

static bool
is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* "v=STSv1" and then ';' or nothing but blanks. */
static bool
is_record(struct slice text)
{
	if (text.len < 7 || memcmp(text.ptr, "v=STSv1", 7) != 0)
		return false;
	text = slice_trim(slice_make(text.ptr + 7, text.len - 7));
	return text.len == 0 || text.ptr[0] == ';';
}

bool
mta_sts_read_record(const struct dns_answer *answer, char id[MTA_STS_ID_MAX + 1])
{
	struct slice value = { NULL, 0 };
	const struct dns_record *found = NULL;

	id[0] = '\0';
	for (size_t i = 0; answer->status == DNS_FOUND && i < answer->count; i++) {
		if (!is_record(answer->records[i].text))
			continue;
		if (found != NULL)
			return false;
		found = &answer->records[i];
	}
	if (found == NULL || !dns_tag(found->text, SLICE("id"), &value) || value.len == 0 ||
	    value.len > MTA_STS_ID_MAX)
		return false;
	for (size_t i = 0; i < value.len; i++)
		if (!is_alnum(value.ptr[i]))
			return false;
	memcpy(id, value.ptr, value.len);
	id[value.len] = '\0';
	return true;
}

/* ---- the policy ---- */

static bool
add_host(struct mta_sts_policy *p, struct slice host)
{
	char *dst = p->hosts[p->host_count < MTA_STS_HOSTS_MAX ? p->host_count : 0];

	if (host.len > 0 && host.ptr[host.len - 1] == '.')
		host.len--;
	if (host.len == 0 || host.len > DNS_NAME_MAX || p->host_count == MTA_STS_HOSTS_MAX)
		return false;
	for (size_t i = 0; i < host.len; i++) {
		char c = host.ptr[i];

		if (!is_alnum(c) && c != '-' && c != '.' && c != '_' && !(c == '*' && i == 0))
			return false;
		dst[i] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
	}
	dst[host.len] = '\0';
	if (dst[0] == '*' && (dst[1] != '.' || dst[2] == '\0'))
		return false;
	p->host_count++;
	return true;
}

static bool
set_age(struct mta_sts_policy *p, struct slice value)
{
	int n;

	/* ten digits are allowed; what is more than a year is a year */
	if (value.len == 0 || value.len > 10)
		return false;
	for (size_t i = 0; i < value.len; i++)
		if (value.ptr[i] < '0' || value.ptr[i] > '9')
			return false;
	while (value.len > 1 && value.ptr[0] == '0')
		value = slice_make(value.ptr + 1, value.len - 1);
	if (value.len > 8 || !slice_take_digits(&value, value.len, &n) || n > MTA_STS_AGE_MAX_S)
		n = MTA_STS_AGE_MAX_S;
	p->max_age_s = (unsigned)n;
	return true;
}

struct seen {
	bool version, mode, age;
};

/* One "key: value"; unknown keys are passed over, of repeated ones the first counts (3.2). */
static bool
take_field(struct mta_sts_policy *p, struct seen *seen, struct slice key, struct slice value)
{
	if (slice_equal(key, SLICE("mx")))
		return add_host(p, value);
	if (slice_equal(key, SLICE("version")) && !seen->version) {
		seen->version = true;
		return slice_equal(value, SLICE("STSv1"));
	}
	if (slice_equal(key, SLICE("max_age")) && !seen->age) {
		seen->age = true;
		return set_age(p, value);
	}
	if (!slice_equal(key, SLICE("mode")) || seen->mode)
		return true;
	seen->mode = true;
	p->mode = slice_equal(value, SLICE("enforce")) ? MTA_STS_ENFORCE
	    : slice_equal(value, SLICE("testing"))     ? MTA_STS_TESTING
						       : MTA_STS_NONE;
	return p->mode != MTA_STS_NONE || slice_equal(value, SLICE("none"));
}

bool
mta_sts_read_policy(struct slice text, struct mta_sts_policy *p)
{
	struct seen seen = { 0 };

	*p = (struct mta_sts_policy){ 0 };
	if (text.len > MTA_STS_BYTES_MAX)
		return false;
	while (text.len > 0) {
		const char *end = memchr(text.ptr, '\n', text.len), *colon;
		size_t n = end != NULL ? (size_t)(end - text.ptr) : text.len;
		struct slice line = slice_trim(slice_make(text.ptr, n));

		n += end != NULL;
		text = slice_make(text.ptr + n, text.len - n);
		if (line.len == 0)
			continue;
		colon = memchr(line.ptr, ':', line.len);
		if (colon == NULL)
			return false;
		n = (size_t)(colon - line.ptr);
		if (!take_field(p, &seen, slice_trim(slice_make(line.ptr, n)),
			slice_trim(slice_make(colon + 1, line.len - n - 1))))
			return false;
	}
	return seen.version && seen.mode && seen.age &&
	    (p->mode == MTA_STS_NONE || p->host_count > 0);
}

bool
mta_sts_allows(const void *policy, const char *host)
{
	const struct mta_sts_policy *p = policy;

	for (size_t i = 0; i < p->host_count; i++) {
		const char *allowed = p->hosts[i], *rest = host;

		if (allowed[0] == '*') {
			rest = strchr(host, '.');
			if (rest == NULL || rest == host)
				continue;
			allowed++;
		}
		if (slice_equal_nocase(slice_str(rest), slice_str(allowed)))
			return true;
	}
	return false;
}
