/* SPDX-License-Identifier: Apache-2.0 */
/* addr: see addr.h. Pure; the only library call is libidn2's conversion. */
#include "addr.h"

#include <idn2.h>
#include <stdbool.h>

#define LOCAL_MAX 64   /* RFC 5321 4.5.3.1.1 */
#define DOMAIN_MAX 253 /* RFC 5321 4.5.3.1.2 says 255; DNS text form without the root: 253 */
#define LABEL_MAX 63

static bool
is_atext(unsigned char c)
{
	if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
		return true;
	return c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL;
}

static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static int
check_local(struct slice local, struct err *err)
{
	if (local.len == 0)
		return err_set(err, "nothing before the @");
	if (local.len > LOCAL_MAX)
		return err_set(err, "more than %d characters before the @", LOCAL_MAX);
	if (local.ptr[0] == '"')
		return err_set(err, "quoted local parts are not supported");
	if (local.ptr[0] == '-')
		return err_set(err, "begins with '-'");
	for (size_t i = 0; i < local.len; i++) {
		unsigned char c = (unsigned char)local.ptr[i];

		if (c >= 0x80)
			return err_set(err, "non-ASCII characters before the @ (needs SMTPUTF8)");
		if (c < 0x20 || c == 0x7f)
			return err_set(err, "control character");
		if (c == '.') {
			if (i == 0 || i + 1 == local.len || local.ptr[i - 1] == '.')
				return err_set(err, "misplaced dot before the @");
		} else if (!is_atext(c)) {
			return err_set(err, "character '%c' is not allowed before the @", c);
		}
	}
	return 0;
}

/* Host name: LDH labels, at least two, the last one not all digits. */
static int
check_domain(struct slice domain, struct err *err)
{
	size_t labels = 0, start = 0;
	bool digits_only = true;

	if (domain.len == 0)
		return err_set(err, "nothing after the @");
	if (domain.len > DOMAIN_MAX)
		return err_set(err, "domain longer than %d characters", DOMAIN_MAX);
	for (size_t i = 0; i <= domain.len; i++) {
		char c = i < domain.len ? domain.ptr[i] : '.';

		if (c == '.') {
			if (i == start || i - start > LABEL_MAX)
				return err_set(err, "empty or over-long label in the domain");
			if (domain.ptr[start] == '-' || domain.ptr[i - 1] == '-')
				return err_set(err, "label of the domain begins or ends with '-'");
			labels++;
			if (i < domain.len)
				digits_only = true;
			start = i + 1;
		} else if (c >= '0' && c <= '9') {
			continue;
		} else if ((c >= 'a' && c <= 'z') || c == '-') {
			digits_only = false;
		} else if ((unsigned char)c < 0x20 || c == 0x7f) {
			return err_set(err, "control character");
		} else {
			return err_set(err, "character '%c' is not allowed in a domain", c);
		}
	}
	if (labels < 2)
		return err_set(err, "domain without a dot");
	if (digits_only)
		return err_set(err, "top-level domain is a number");
	return 0;
}

static bool
is_ascii(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.ptr[i] >= 0x80)
			return false;
	return true;
}

/* Writes the lower-case A-label form to dst (DOMAIN_MAX + 1 bytes). */
static int
to_a_labels(struct slice domain, char *dst, size_t *len, struct err *err)
{
	if (domain.len > DOMAIN_MAX)
		return err_set(err, "domain longer than %d characters", DOMAIN_MAX);
	if (is_ascii(domain)) {
		for (size_t i = 0; i < domain.len; i++)
			dst[i] = lower(domain.ptr[i]);
		*len = domain.len;
	} else {
		char text[DOMAIN_MAX + 1];
		uint8_t *out = NULL;

		if (memchr(domain.ptr, '\0', domain.len) != NULL)
			return err_set(err, "control character");
		memcpy(text, domain.ptr, domain.len);
		text[domain.len] = '\0';
		if (idn2_lookup_u8((const uint8_t *)text, &out,
			IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) != IDN2_OK)
			return err_set(err, "not a valid internationalised domain");
		*len = strlen((const char *)out);
		if (*len <= DOMAIN_MAX)
			memcpy(dst, out, *len);
		idn2_free(out);
		if (*len > DOMAIN_MAX)
			return err_set(err, "domain longer than %d characters", DOMAIN_MAX);
	}
	dst[*len] = '\0';
	return check_domain(slice_make(dst, *len), err);
}

int
addr_parse(struct addr *a, struct slice input, struct err *err)
{
	const char *at;
	struct slice local, domain;
	char ascii[DOMAIN_MAX + 1];
	size_t domain_len = 0;

	if (input.len == 0)
		return err_set(err, "empty address");
	at = memchr(input.ptr, '@', input.len);
	if (at == NULL)
		return err_set(err, "no @ in the address");
	local = slice_make(input.ptr, (size_t)(at - input.ptr));
	domain = slice_make(at + 1, input.len - local.len - 1);
	if (domain.len > 0 && memchr(domain.ptr, '@', domain.len) != NULL)
		return err_set(err, "more than one @ in the address");
	if (domain.len > 0 && domain.ptr[0] == '[')
		return err_set(err, "address literals are not supported");
	if (check_local(local, err) < 0 || to_a_labels(domain, ascii, &domain_len, err) < 0)
		return -1;
	if (local.len + 1 + domain_len > ADDR_MAX)
		return err_set(err, "address longer than %d characters", ADDR_MAX);
	a->domain_at = local.len + 1;
	a->len = local.len + 1 + domain_len;
	memcpy(a->text, local.ptr, local.len);
	a->text[local.len] = '@';
	memcpy(a->text + a->domain_at, ascii, domain_len + 1);
	for (size_t i = 0; i <= a->len; i++)
		a->key[i] = lower(a->text[i]);
	return 0;
}

struct slice
addr_domain(const struct addr *a)
{
	return slice_make(a->text + a->domain_at, a->len - a->domain_at);
}
