/* SPDX-License-Identifier: Apache-2.0 */
/* sigv4: see sigv4.h. */
#include "sigv4.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "sha256.h"

#define CANONICAL_MAX ((size_t)64 << 10)

struct param {
	struct slice name, value;
};

static bool
is_word(const char *text, size_t max)
{
	size_t n = strlen(text);

	return n > 0 && n <= max && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == n;
}

int
sigv4_init(struct sigv4_signer *s, const struct aws_credentials *credentials, const char *region,
    const char *service, struct err *err)
{
	*s = (struct sigv4_signer){ 0 };
	if (!is_word(region, SIGV4_REGION_MAX))
		return err_set(err, "'%.40s' is no region of Amazon; e.g. ap-northeast-1", region);
	if (!is_word(service, SIGV4_SERVICE_MAX))
		return err_set(err, "'%.40s' is no service name", service);
	(void)snprintf(s->region, sizeof(s->region), "%s", region);
	(void)snprintf(s->service, sizeof(s->service), "%s", service);
	(void)snprintf(s->access_key, sizeof(s->access_key), "%s", credentials->access_key);
	(void)snprintf(s->secret, sizeof(s->secret), "%s", credentials->secret_key);
	buf_init(&s->text, CANONICAL_MAX);
	return 0;
}

void
sigv4_release(struct sigv4_signer *s)
{
	buf_release(&s->text);
	OPENSSL_cleanse(s, sizeof(*s));
}

void
sigv4_date(time_t at, char dst[SIGV4_DATE_BYTES])
{
	struct tm tm;

	(void)gmtime_r(&at, &tm);
	if (strftime(dst, SIGV4_DATE_BYTES, "%Y%m%dT%H%M%SZ", &tm) == 0)
		dst[0] = '\0'; /* a year of five digits: no service will take it */
}

static void
hex(const uint8_t *bytes, size_t n, char *dst)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		dst[2 * i] = digits[bytes[i] >> 4];
		dst[2 * i + 1] = digits[bytes[i] & 15];
	}
	dst[2 * n] = '\0';
}

void
sigv4_hash(struct slice bytes, char dst[SIGV4_HASH_BYTES])
{
	uint8_t sum[SHA256_BYTES];

	sha256(bytes, sum);
	hex(sum, sizeof(sum), dst);
}

/* Secret -> day -> region -> service -> "aws4_request". */
static void
derive_key(struct sigv4_signer *s, const char *date)
{
	char first[4 + sizeof(s->secret)];
	uint8_t key[SHA256_BYTES];

	if (memcmp(s->day, date, 8) == 0)
		return;
	memcpy(s->day, date, 8);
	s->day[8] = '\0';
	(void)snprintf(first, sizeof(first), "AWS4%s", s->secret);
	sha256_hmac(first, strlen(first), slice_str(s->day), key);
	sha256_hmac(key, sizeof(key), slice_str(s->region), key);
	sha256_hmac(key, sizeof(key), slice_str(s->service), key);
	sha256_hmac(key, sizeof(key), slice_str("aws4_request"), key);
	sha256_key_make(&s->key, key, sizeof(key));
	OPENSSL_cleanse(first, sizeof(first));
	OPENSSL_cleanse(key, sizeof(key));
}

static bool
is_plain(unsigned char c, bool keep_slash)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	    c == '-' || c == '.' || c == '_' || c == '~' || (keep_slash && c == '/');
}

void
sigv4_encode(struct buf *out, struct slice text, bool keep_slash)
{
	static const char digits[] = "0123456789ABCDEF";
	size_t from = 0;

	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];
		char code[3] = { '%', digits[c >> 4], digits[c & 15] };

		if (is_plain(c, keep_slash))
			continue;
		buf_append(out, text.ptr + from, i - from);
		buf_append(out, code, sizeof(code));
		from = i + 1;
	}
	if (text.len > from)
		buf_append(out, text.ptr + from, text.len - from);
}

static int
compare(struct slice a, struct slice b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int order = n > 0 ? memcmp(a.ptr, b.ptr, n) : 0;

	return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static int
compare_params(const void *a, const void *b)
{
	const struct param *x = a, *y = b;
	int order = compare(x->name, y->name);

	return order != 0 ? order : compare(x->value, y->value);
}

static int
append_query(struct buf *out, struct slice query)
{
	struct param params[SIGV4_PARAMS_MAX];
	size_t count = 0;

	while (query.len > 0) {
		const char *end = memchr(query.ptr, '&', query.len);
		size_t n = end != NULL ? (size_t)(end - query.ptr) : query.len;
		const char *equals = memchr(query.ptr, '=', n);
		size_t name = equals != NULL ? (size_t)(equals - query.ptr) : n;

		if (n > 0 && count == SIGV4_PARAMS_MAX)
			return -1;
		if (n > 0) {
			params[count].name = slice_make(query.ptr, name);
			params[count].value = equals != NULL ? slice_make(equals + 1, n - name - 1)
							     : slice_make(query.ptr, 0);
			count++;
		}
		query.ptr += n + (end != NULL);
		query.len -= n + (end != NULL);
	}
	qsort(params, count, sizeof(params[0]), compare_params);
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			buf_append_char(out, '&');
		buf_append_slice(out, params[i].name);
		buf_append_char(out, '=');
		buf_append_slice(out, params[i].value);
	}
	return 0;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Blanks at the ends go, runs of them inside become one. */
static void
append_trimmed(struct buf *out, struct slice value)
{
	size_t from = 0;

	value = slice_trim(value);
	for (size_t i = 0; i < value.len; i++) {
		if (!is_blank(value.ptr[i]) || (value.ptr[i] == ' ' && !is_blank(value.ptr[i + 1])))
			continue;
		buf_append(out, value.ptr + from, i - from);
		buf_append_char(out, ' ');
		while (is_blank(value.ptr[i + 1]))
			i++;
		from = i + 1;
	}
	if (value.len > from)
		buf_append(out, value.ptr + from, value.len - from);
}

/* Sorted by name; 0 headers or too many: -1. */
static int
sort_headers(const struct sigv4_request *request, const struct sigv4_header **sorted)
{
	if (request->header_count == 0 || request->header_count > SIGV4_HEADERS_MAX)
		return -1;
	for (size_t i = 0; i < request->header_count; i++) {
		size_t at = i;

		for (; at > 0 && strcmp(sorted[at - 1]->name, request->headers[i].name) > 0; at--)
			sorted[at] = sorted[at - 1];
		sorted[at] = &request->headers[i];
	}
	return 0;
}

static void
append_names(struct buf *out, const struct sigv4_header *const *sorted, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			buf_append_char(out, ';');
		buf_append_str(out, sorted[i]->name);
	}
}

static int
canonical(
    const struct sigv4_request *request, const struct sigv4_header *const *sorted, struct buf *out)
{
	buf_append_str(out, request->method);
	buf_append_char(out, '\n');
	if (request->path.len == 0)
		buf_append_char(out, '/');
	if (request->path_is_final)
		buf_append_slice(out, request->path);
	else
		sigv4_encode(out, request->path, true);
	buf_append_char(out, '\n');
	if (append_query(out, request->query) < 0)
		return -1;
	buf_append_char(out, '\n');
	for (size_t i = 0; i < request->header_count; i++) {
		buf_append_str(out, sorted[i]->name);
		buf_append_char(out, ':');
		append_trimmed(out, sorted[i]->value);
		buf_append_char(out, '\n');
	}
	buf_append_char(out, '\n');
	append_names(out, sorted, request->header_count);
	buf_append_char(out, '\n');
	buf_append_str(out, request->body_hash);
	return buf_failed(out) ? -1 : 0;
}

int
sigv4_canonical(const struct sigv4_request *request, struct buf *out)
{
	const struct sigv4_header *sorted[SIGV4_HEADERS_MAX];

	return sort_headers(request, sorted) < 0 ? -1 : canonical(request, sorted, out);
}

static void
append_all(struct buf *out, const char *a, const char *b, const char *c)
{
	buf_append_str(out, a);
	buf_append_str(out, b);
	buf_append_str(out, c);
}

static void
append_scope(struct buf *out, const struct sigv4_signer *s)
{
	append_all(out, s->day, "/", s->region);
	append_all(out, "/", s->service, "/aws4_request");
}

int
sigv4_sign(
    struct sigv4_signer *s, const struct sigv4_request *request, const char *date, struct buf *out)
{
	const struct sigv4_header *sorted[SIGV4_HEADERS_MAX];
	char hash[SIGV4_HASH_BYTES], signature[SIGV4_HASH_BYTES];
	uint8_t sum[SHA256_BYTES];

	buf_reset(&s->text);
	if (strlen(date) != SIGV4_DATE_BYTES - 1 || sort_headers(request, sorted) < 0 ||
	    canonical(request, sorted, &s->text) < 0)
		return -1;
	sigv4_hash(buf_slice(&s->text), hash);
	derive_key(s, date);
	buf_reset(&s->text);
	append_all(&s->text, "AWS4-HMAC-SHA256\n", date, "\n");
	append_scope(&s->text, s);
	append_all(&s->text, "\n", hash, "");
	if (buf_failed(&s->text))
		return -1;
	sha256_key_hmac(&s->key, buf_slice(&s->text), sum);
	hex(sum, sizeof(sum), signature);
	append_all(out, "AWS4-HMAC-SHA256 Credential=", s->access_key, "/");
	append_scope(out, s);
	buf_append_str(out, ", SignedHeaders=");
	append_names(out, sorted, request->header_count);
	append_all(out, ", Signature=", signature, "");
	return buf_failed(out) ? -1 : 0;
}
