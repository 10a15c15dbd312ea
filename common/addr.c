/* SPDX-License-Identifier: Apache-2.0 */
/* addr: see addr.h. Pure; libidn2 converts domains, libunistring normalises local parts. */
#include "addr.h"

#include <idn2.h>
#include <stdlib.h>
#include <uninorm.h>
#include <unistr.h>

#include "utf8.h"

#define LOCAL_MAX 64   /* RFC 5321 4.5.3.1.1 */
#define DOMAIN_MAX 253 /* RFC 5321 4.5.3.1.2 says 255; DNS text form without the root: 253 */
#define LABEL_MAX 63
#define LOCAL_BEFORE_NFC 256 /* composing makes four octets of a kana and its mark three */

/* c is no NUL. */
static bool
is_atext(unsigned char c)
{
	if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
		return true;
	return strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL;
}

static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

/* Characters that nobody sees, or that are none: controls, marks of direction, variation selectors,
 * blanks that NFKC keeps, private use, noncharacters, U+FFFD of a broken conversion. The zero width
 * joiners, which some scripts need, are not among them. The same list is in address_key(). */
static bool
is_invisible(ucs4_t c)
{
	static const struct {
		ucs4_t first, last;
	} ranges[] = { { 0x80, 0x9f }, { 0xad, 0xad }, { 0x34f, 0x34f }, { 0x61c, 0x61c },
		{ 0x115f, 0x1160 }, { 0x1680, 0x1680 }, { 0x17b4, 0x17b5 }, { 0x180b, 0x180f },
		{ 0x200b, 0x200b }, { 0x200e, 0x200f }, { 0x2028, 0x202e }, { 0x2060, 0x206f },
		{ 0xe000, 0xf8ff }, { 0xfdd0, 0xfdef }, { 0xfe00, 0xfe0f }, { 0xfeff, 0xfeff },
		{ 0xfff0, 0xffff }, { 0xe0000, 0x10ffff } };

	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
		if (c >= ranges[i].first && c <= ranges[i].last)
			return true;
	return false;
}

static int
check_visible(struct slice local, struct err *err)
{
	const uint8_t *p = (const uint8_t *)local.ptr;
	size_t left = local.len;

	while (left > 0) {
		ucs4_t c;
		int n = u8_mbtouc(&c, p, left);

		if (is_invisible(c))
			return err_set(
			    err, "an invisible character (U+%04X) before the @", (unsigned)c);
		p += n;
		left -= (size_t)n;
	}
	return 0;
}

/* *local in NFC, in dst, when it is not ASCII. */
static int
to_nfc(struct slice *local, uint8_t dst[LOCAL_MAX], struct err *err)
{
	uint8_t compatible[LOCAL_BEFORE_NFC];
	size_t n = LOCAL_MAX, m = sizeof(compatible);
	const uint8_t *source = (const uint8_t *)local->ptr;
	uint8_t *nfc, *nfkc;
	bool same, fits;

	if (!utf8_ok(*local))
		return err_set(err, "not UTF-8 before the @");
	if (local->len > LOCAL_BEFORE_NFC)
		return err_set(err, "more than %d octets before the @", LOCAL_MAX);
	nfc = u8_normalize(UNINORM_NFC, source, local->len, dst, &n);
	nfkc = u8_normalize(UNINORM_NFKC, source, local->len, compatible, &m);
	fits = nfc == dst;
	same = nfc != NULL && nfkc != NULL && n == m && memcmp(nfc, nfkc, n) == 0;
	if (nfc != dst)
		free(nfc);
	if (nfkc != compatible)
		free(nfkc);
	if (!same)
		return err_set(err,
		    "a full-width or other compatibility character before the @ (write it "
		    "plainly)");
	if (!fits)
		return err_set(err, "more than %d octets before the @", LOCAL_MAX);
	*local = slice_make((const char *)dst, n);
	return check_visible(*local, err);
}

static int
check_local(struct slice local, struct err *err)
{
	if (local.len == 0)
		return err_set(err, "nothing before the @");
	if (local.len > LOCAL_MAX)
		return err_set(err, "more than %d octets before the @", LOCAL_MAX);
	if (local.ptr[0] == '"')
		return err_set(err, "quoted local parts are not supported");
	if (local.ptr[0] == '-')
		return err_set(err, "begins with '-'");
	for (size_t i = 0; i < local.len; i++) {
		unsigned char c = (unsigned char)local.ptr[i];

		if (c >= 0x80)
			continue;
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

/* Host name of at most DOMAIN_MAX: LDH labels, at least two, the last one not all digits. */
static int
check_domain(struct slice domain, struct err *err)
{
	size_t labels = 0, start = 0;
	bool digits_only = true;

	if (domain.len == 0)
		return err_set(err, "nothing after the @");
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

/* Writes the lower-case A-label form to dst (DOMAIN_MAX + 1 bytes). */
static int
to_a_labels(struct slice domain, char *dst, size_t *len, struct err *err)
{
	if (domain.len > DOMAIN_MAX)
		return err_set(err, "domain longer than %d characters", DOMAIN_MAX);
	if (slice_is_ascii(domain)) {
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
		if (*len > DOMAIN_MAX) { /* LCOV_EXCL_BR_LINE: libidn2 refuses what is longer */
			idn2_free(out);
			return err_set(err, "domain longer than %d characters", DOMAIN_MAX);
		}
		memcpy(dst, out, *len);
		idn2_free(out);
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
	uint8_t nfc[LOCAL_MAX];
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
	if (!slice_is_ascii(local) && to_nfc(&local, nfc, err) < 0)
		return -1;
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

bool
addr_needs_utf8(struct slice address)
{
	return !slice_is_ascii(address);
}

int
addr_parse_sender(struct addr *a, struct slice input, struct err *err)
{
	if (addr_parse(a, input, err) < 0)
		return -1;
	if (!addr_needs_utf8(slice_make(a->text, a->len)))
		return 0;
	return err_set(
	    err, "a sender needs an address in ASCII: few hosts take another (SMTPUTF8)");
}
