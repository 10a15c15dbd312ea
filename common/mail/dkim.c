/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dkim: see dkim.h. Keys, then the relaxed forms, then the signature field. Everything that
 * OpenSSL would look up by name at each use is fetched once, when a key or a signer is made: the
 * look-ups take a lock that all threads share.
 */
#include "dkim.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_BYTES 253 /* of a domain */
#define ED25519_BYTES 32
#define COLUMNS 76	/* of a signature field's lines */
#define FIELD_MAX 16384 /* ceiling of one signature field */
#define SCRATCH_MAX ((size_t)4 << 20)
#define RSA_BITS_MIN 1024 /* RFC 8301 3.2 */
#define RSA_BITS_MAX 4096

/* ---- keys ---- */

struct dkim_key {
	EVP_PKEY *pkey;
	EVP_PKEY_CTX *rsa;   /* ready to sign; copied for each signature */
	EVP_MD_CTX *ed25519; /* the same */
	enum dkim_algorithm algorithm;
	char domain[NAME_MAX_BYTES + 1], selector[NAME_MAX_BYTES + 1];
	char identity[NAME_MAX_BYTES + 70]; /* may be empty */
};

const char *
dkim_algorithm_name(enum dkim_algorithm algorithm)
{
	return algorithm == DKIM_RSA ? "rsa" : "ed25519";
}

static bool
is_label_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	    c == '-' || c == '_';
}

/* Labels with dots between them. */
static bool
is_name(struct slice s)
{
	if (s.len == 0 || s.len > NAME_MAX_BYTES)
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (!is_label_char(s.ptr[i]) &&
		    (s.ptr[i] != '.' || i == 0 || i + 1 == s.len || s.ptr[i - 1] == '.'))
			return false;
	return true;
}

/* [local]@domain where domain is d= or below it (RFC 6376 3.5). */
static bool
is_identity(struct slice s, struct slice domain)
{
	const char *at = s.len > 0 ? memchr(s.ptr, '@', s.len) : NULL;
	size_t local = at != NULL ? (size_t)(at - s.ptr) : 0;
	struct slice host, tail;

	if (at == NULL || local > 64)
		return false;
	for (size_t i = 0; i < local; i++)
		if (!is_label_char(s.ptr[i]) && s.ptr[i] != '.' && s.ptr[i] != '+')
			return false;
	host = slice_make(at + 1, s.len - local - 1);
	if (!is_name(host) || host.len < domain.len)
		return false;
	tail = slice_make(host.ptr + (host.len - domain.len), domain.len);
	return slice_equal_nocase(tail, domain) && (host.len == domain.len || tail.ptr[-1] == '.');
}

static void
copy_lower(char *dst, struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		dst[i] = s.ptr[i] >= 'A' && s.ptr[i] <= 'Z' ? (char)(s.ptr[i] + 32) : s.ptr[i];
	dst[s.len] = '\0';
}

/* A passphrase is never asked for: nobody sits before a daemon. */
static int
no_passphrase(char *dst, int size, int writing, void *user)
{
	(void)dst;
	(void)size;
	(void)writing;
	(void)user;
	return 0;
}

static int
set_algorithm(struct dkim_key *key, struct err *err)
{
	int bits = EVP_PKEY_get_bits(key->pkey);
	const EVP_MD *md = EVP_sha256();

	if (EVP_PKEY_is_a(key->pkey, "ED25519")) {
		key->algorithm = DKIM_ED25519;
		key->ed25519 = EVP_MD_CTX_new();
		if (key->ed25519 == NULL ||
		    EVP_DigestSignInit(key->ed25519, NULL, NULL, NULL, key->pkey) != 1)
			return err_set(err, "OpenSSL cannot sign with this key");
		return 0;
	}
	if (!EVP_PKEY_is_a(key->pkey, "RSA"))
		return err_set(err, "neither an RSA nor an Ed25519 key");
	if (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX)
		return err_set(err, "an RSA key of %d bits; %d to %d are allowed", bits,
		    RSA_BITS_MIN, RSA_BITS_MAX);
	key->algorithm = DKIM_RSA;
	key->rsa = EVP_PKEY_CTX_new_from_pkey(NULL, key->pkey, NULL);
	if (key->rsa == NULL || EVP_PKEY_sign_init(key->rsa) != 1 ||
	    EVP_PKEY_CTX_set_rsa_padding(key->rsa, RSA_PKCS1_PADDING) != 1 ||
	    EVP_PKEY_CTX_set_signature_md(key->rsa, md) != 1)
		return err_set(err, "OpenSSL cannot sign with this key");
	return 0;
}

int
dkim_key_parse(struct dkim_key **out, struct slice pem, struct slice domain, struct slice selector,
    struct slice identity, struct err *err)
{
	struct dkim_key *key;
	BIO *bio;

	*out = NULL;
	if (!is_name(domain) || memchr(domain.ptr, '.', domain.len) == NULL)
		return err_set(err, "'%.*s' is not a domain", SLICE_ARG(domain));
	if (!is_name(selector) || selector.len + domain.len + 12 > NAME_MAX_BYTES)
		return err_set(err, "'%.*s' is not a selector", SLICE_ARG(selector));
	if (identity.len > 0 && !is_identity(identity, domain))
		return err_set(err, "'%.*s' is not an identity in %.*s", SLICE_ARG(identity),
		    SLICE_ARG(domain));
	if (pem.len == 0 || pem.len > DKIM_PEM_MAX)
		return err_set(err, "not a key of at most %d bytes", DKIM_PEM_MAX);
	key = calloc(1, sizeof(*key));
	bio = BIO_new_mem_buf(pem.ptr, (int)pem.len);
	if (key == NULL || bio == NULL) {
		free(key);
		BIO_free(bio);
		return err_set(err, "no memory");
	}
	copy_lower(key->domain, domain);
	copy_lower(key->selector, selector);
	copy_lower(key->identity, identity);
	key->pkey = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
	BIO_free(bio);
	ERR_clear_error();
	if (key->pkey == NULL)
		(void)err_set(err, "not a private key in PEM form without passphrase");
	else if (set_algorithm(key, err) == 0)
		*out = key;
	if (*out == NULL)
		dkim_key_free(key);
	return *out != NULL ? 0 : -1;
}

void
dkim_key_free(struct dkim_key *key)
{
	if (key == NULL)
		return;
	EVP_PKEY_CTX_free(key->rsa);
	EVP_MD_CTX_free(key->ed25519);
	EVP_PKEY_free(key->pkey);
	free(key);
}

int
dkim_key_generate(enum dkim_algorithm algorithm, struct buf *pem, struct err *err)
{
	EVP_PKEY *pkey = algorithm == DKIM_RSA
	    ? EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)DKIM_RSA_BITS)
	    : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	BIO *bio = BIO_new(BIO_s_mem());
	char *text;
	long n = 0;

	if (pkey != NULL && bio != NULL &&
	    PEM_write_bio_PKCS8PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL) == 1)
		n = BIO_get_mem_data(bio, &text);
	if (n > 0)
		buf_append(pem, text, (size_t)n);
	BIO_free(bio);
	EVP_PKEY_free(pkey);
	ERR_clear_error();
	return n > 0 && !buf_failed(pem) ? 0 : err_set(err, "OpenSSL cannot make a key");
}

enum dkim_algorithm
dkim_key_algorithm(const struct dkim_key *key)
{
	return key->algorithm;
}

unsigned
dkim_key_bits(const struct dkim_key *key)
{
	return (unsigned)EVP_PKEY_get_bits(key->pkey);
}

const char *
dkim_key_domain(const struct dkim_key *key)
{
	return key->domain;
}

const char *
dkim_key_selector(const struct dkim_key *key)
{
	return key->selector;
}

static bool
put_base64(struct buf *out, const unsigned char *bytes, size_t n)
{
	if (n > FIELD_MAX || !buf_reserve(out, (n + 2) / 3 * 4 + 1))
		return false;
	buf_commit(
	    out, (size_t)EVP_EncodeBlock((unsigned char *)out->data + out->len, bytes, (int)n));
	return true;
}

bool
dkim_key_put_public(const struct dkim_key *key, struct buf *out)
{
	unsigned char raw[ED25519_BYTES], *spki = NULL;
	size_t n = sizeof(raw);
	bool ok;
	int len;

	if (key->algorithm == DKIM_ED25519)
		return EVP_PKEY_get_raw_public_key(key->pkey, raw, &n) == 1 &&
		    put_base64(out, raw, n);
	len = i2d_PUBKEY(key->pkey, &spki);
	ok = len > 0 && put_base64(out, spki, (size_t)len);
	OPENSSL_free(spki);
	return ok;
}

bool
dkim_key_put_record(const struct dkim_key *key, struct buf *out)
{
	buf_printf(out, "v=DKIM1; k=%s; p=", dkim_algorithm_name(key->algorithm));
	return dkim_key_put_public(key, out) && !buf_failed(out);
}

size_t
dkim_key_sign(const struct dkim_key *key, const unsigned char hash[DKIM_HASH_BYTES],
    unsigned char signature[DKIM_SIGNATURE_MAX])
{
	size_t n = DKIM_SIGNATURE_MAX;
	bool ok;

	if (key->algorithm == DKIM_RSA) {
		EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_dup(key->rsa);

		ok = ctx != NULL && EVP_PKEY_sign(ctx, signature, &n, hash, DKIM_HASH_BYTES) == 1;
		EVP_PKEY_CTX_free(ctx);
	} else {
		/* PureEdDSA over the hash (RFC 8463 3) */
		EVP_MD_CTX *ctx = EVP_MD_CTX_new();

		ok = ctx != NULL && EVP_MD_CTX_copy_ex(ctx, key->ed25519) == 1 &&
		    EVP_DigestSign(ctx, signature, &n, hash, DKIM_HASH_BYTES) == 1;
		EVP_MD_CTX_free(ctx);
	}
	if (!ok)
		ERR_clear_error();
	return ok ? n : 0;
}

/* ---- a signer ---- */

struct dkim {
	EVP_MD *sha256;
	struct dkim_key *keys[DKIM_KEYS_MAX];
	size_t count;
};

struct dkim *
dkim_new(void)
{
	struct dkim *dkim = calloc(1, sizeof(*dkim));

	if (dkim == NULL)
		return NULL;
	dkim->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	if (dkim->sha256 == NULL) {
		free(dkim);
		return NULL;
	}
	return dkim;
}

void
dkim_free(struct dkim *dkim)
{
	if (dkim == NULL)
		return;
	for (size_t i = 0; i < dkim->count; i++)
		dkim_key_free(dkim->keys[i]);
	EVP_MD_free(dkim->sha256);
	free(dkim);
}

int
dkim_add(struct dkim *dkim, struct dkim_key *key, struct err *err)
{
	if (dkim->count == DKIM_KEYS_MAX) {
		dkim_key_free(key);
		return err_set(err, "more than %d keys sign at once", DKIM_KEYS_MAX);
	}
	dkim->keys[dkim->count++] = key;
	return 0;
}

size_t
dkim_count(const struct dkim *dkim)
{
	return dkim->count;
}

const struct dkim_key *
dkim_at(const struct dkim *dkim, size_t i)
{
	return dkim->keys[i];
}

/* ---- relaxed forms ---- */

/* Blanks and line ends that a field holds: RFC 5322 folding. */
static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

void
dkim_put_relaxed(struct buf *out, struct slice field)
{
	const char *colon = field.len > 0 ? memchr(field.ptr, ':', field.len) : NULL;
	size_t name = colon != NULL ? (size_t)(colon - field.ptr) : 0, i;
	char *dst;

	/* it never grows */
	if (colon == NULL || !buf_reserve(out, field.len + 1))
		return;
	dst = out->data + out->len;
	while (name > 0 && is_blank(field.ptr[name - 1]))
		name--;
	copy_lower(dst, slice_make(field.ptr, name));
	dst += name;
	*dst++ = ':';
	field = slice_trim(slice_make(colon + 1, field.len - (size_t)(colon + 1 - field.ptr)));
	for (i = 0; i < field.len;) {
		if (!is_blank(field.ptr[i])) {
			*dst++ = field.ptr[i++];
			continue;
		}
		while (is_blank(field.ptr[i])) /* it does not end in one */
			i++;
		*dst++ = ' ';
	}
	buf_commit(out, (size_t)(dst - (out->data + out->len)));
}

/* Feeds bytes in pieces; sticky. */
struct hasher {
	EVP_MD_CTX *ctx;
	bool failed;
};

static void
feed(struct hasher *h, const char *bytes, size_t n)
{
	if (n > 0 && !h->failed && EVP_DigestUpdate(h->ctx, bytes, n) != 1)
		h->failed = true;
}

/* Length of the run of blanks at p. */
static size_t
blanks(const char *p, const char *end)
{
	size_t n = 0;

	while (p + n < end && (p[n] == ' ' || p[n] == '\t'))
		n++;
	return n;
}

/* One line without its end: runs of blanks as one space, none at the end. */
static void
feed_line(struct hasher *h, const char *p, const char *end)
{
	const char *run = p;

	while (end > p && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	while (p < end) {
		size_t n = blanks(p, end);

		if (n == 0 || (n == 1 && *p == ' ')) {
			p += n + (n == 0);
			continue;
		}
		feed(h, run, (size_t)(p - run));
		feed(h, " ", 1);
		p += n;
		run = p;
	}
	feed(h, run, (size_t)(p - run));
}

/* True when every line is its own relaxed form, but for empty ones at the end. Blocks of a fixed
 * size, so that the compiler makes vectors of them: this looks at every byte of every message. */
static bool
is_relaxed(struct slice body)
{
	enum { BLOCK = 64 };
	const char *p = body.ptr;
	size_t i = 0, last = body.len - 1;
	unsigned char odd = p[last] == ' ' || p[last] == '\t';

	for (; i + BLOCK < body.len && odd == 0; i += BLOCK)
		for (size_t k = 0; k < BLOCK; k++)
			odd |= (unsigned char)((p[i + k] == '\t') |
			    ((p[i + k] == ' ') & ((p[i + k + 1] == ' ') | (p[i + k + 1] == '\r'))));
	for (; i < last && odd == 0; i++)
		odd = p[i] == '\t' || (p[i] == ' ' && (p[i + 1] == ' ' || p[i + 1] == '\r'));
	return odd == 0;
}

/* Line by line; empty ones only when another follows. */
static void
feed_lines(struct hasher *h, struct slice body)
{
	const char *p = body.ptr, *end = body.ptr + body.len, *next;
	size_t empty = 0;

	for (; p < end; p = next) {
		const char *eol = memmem(p, (size_t)(end - p), "\r\n", 2);

		next = eol != NULL ? eol + 2 : end;
		if (eol == NULL)
			eol = end;
		if (blanks(p, eol) == (size_t)(eol - p)) {
			empty++;
			continue;
		}
		for (; empty > 0; empty--)
			feed(h, "\r\n", 2);
		feed_line(h, p, eol);
		feed(h, "\r\n", 2);
	}
}

static void
feed_body(struct hasher *h, struct slice body)
{
	if (!is_relaxed(body)) {
		feed_lines(h, body);
		return;
	}
	while (body.len >= 2 && memcmp(body.ptr + body.len - 2, "\r\n", 2) == 0)
		body.len -= 2;
	feed(h, body.ptr, body.len);
	if (body.len > 0)
		feed(h, "\r\n", 2);
}

bool
dkim_hash_body(const struct dkim *dkim, struct slice body, unsigned char hash[DKIM_HASH_BYTES])
{
	struct hasher h = { .ctx = EVP_MD_CTX_new() };

	h.failed = h.ctx == NULL || EVP_DigestInit_ex2(h.ctx, dkim->sha256, NULL) != 1;
	if (!h.failed && body.len > 0)
		feed_body(&h, body);
	h.failed = h.failed || EVP_DigestFinal_ex(h.ctx, hash, NULL) != 1;
	EVP_MD_CTX_free(h.ctx);
	return !h.failed;
}

/* ---- what is signed ---- */

/* In the order of h=. over: named once more than it is there, so that none can be added. */
static const struct covered {
	struct slice name;
	bool over;
	bool ses_rewrites;
} covered[] = {
	{ { "from", 4 }, true, false },
	{ { "sender", 6 }, true, false },
	{ { "to", 2 }, true, false },
	{ { "cc", 2 }, true, false },
	{ { "reply-to", 8 }, true, false },
	{ { "subject", 7 }, true, false },
	{ { "date", 4 }, true, true },
	{ { "message-id", 10 }, true, true },
	{ { "mime-version", 12 }, true, false },
	{ { "content-type", 12 }, true, false },
	{ { "content-transfer-encoding", 25 }, true, false },
	{ { "list-unsubscribe", 16 }, true, false },
	{ { "list-unsubscribe-post", 21 }, true, false },
	{ { "list-id", 7 }, true, false },
	{ { "feedback-id", 11 }, true, false },	 /* Gmail counts it only when it is signed */
	{ { "cfbl-address", 12 }, true, false }, /* RFC 9477 3.1.4 */
	{ { "cfbl-feedback-id", 16 }, true, false },
	{ { "list-help", 9 }, false, false },
	{ { "list-owner", 10 }, false, false },
	{ { "list-archive", 12 }, false, false },
	{ { "list-post", 9 }, false, false },
	{ { "list-subscribe", 14 }, false, false },
	{ { "in-reply-to", 11 }, false, false },
	{ { "references", 10 }, false, false },
	{ { "auto-submitted", 14 }, false, false },
	{ { "precedence", 10 }, false, false },
	{ { "x-kairan-id", 11 }, false, false },
	{ { "x-kairan-campaign", 17 }, false, false },
};
#define COVERED (sizeof(covered) / sizeof(covered[0]))

struct field {
	struct slice whole; /* without its last CRLF */
	struct slice name;
};

struct header {
	struct field fields[DKIM_FIELDS_MAX];
	size_t count;
	struct slice body;
};

/* Length of the field at p up to its CRLF that no blank follows; 0 when there is none. */
static size_t
field_len(const char *p, const char *end)
{
	const char *at = p;

	while ((at = memchr(at, '\r', (size_t)(end - at))) != NULL) {
		if (at + 1 < end && at[1] == '\n' &&
		    (at + 2 == end || (at[2] != ' ' && at[2] != '\t')))
			return (size_t)(at - p);
		at++;
	}
	return 0;
}

static int
read_header(struct slice message, struct header *h, struct err *err)
{
	const char *p = message.ptr, *end = message.ptr + message.len;

	h->count = 0;
	while (p < end && !(end - p >= 2 && p[0] == '\r' && p[1] == '\n')) {
		size_t n = field_len(p, end);
		const char *colon = n > 0 ? memchr(p, ':', n) : NULL;

		if (colon == NULL || colon == p || h->count == DKIM_FIELDS_MAX)
			return err_set(err, "not a message: header field %zu", h->count + 1);
		h->fields[h->count++] = (struct field){ slice_make(p, n),
			slice_trim(slice_make(p, (size_t)(colon - p))) };
		p += n + 2;
	}
	h->body = p < end ? slice_make(p + 2, (size_t)(end - p) - 2) : slice_make(NULL, 0);
	for (size_t i = 0; i < h->count; i++)
		if (slice_equal_nocase(h->fields[i].name, SLICE("from")))
			return 0;
	return err_set(err, "not a message: no From field");
}

/* Appends the relaxed fields to block and their names to h=, repeated ones from the bottom up
 * (RFC 6376 5.4.2). */
static void
cover(const struct header *h, bool ses, struct buf *block, struct buf *names)
{
	for (size_t c = 0; c < COVERED; c++) {
		if (ses && covered[c].ses_rewrites)
			continue;
		for (size_t i = h->count; i-- > 0;) {
			if (!slice_equal_nocase(h->fields[i].name, covered[c].name))
				continue;
			dkim_put_relaxed(block, h->fields[i].whole);
			buf_append_str(block, "\r\n");
			buf_append_slice(names, covered[c].name);
			buf_append_char(names, ':');
		}
		if (covered[c].over) {
			buf_append_slice(names, covered[c].name);
			buf_append_char(names, ':');
		}
	}
}

/* ---- the signature field ---- */

struct line {
	struct buf *out;
	size_t column;
};

/* A piece that stays whole, on a new line when this one is full. */
static void
put_piece(struct line *l, struct slice piece, bool blank)
{
	if (l->column + blank + piece.len > COLUMNS) {
		buf_append_str(l->out, "\r\n ");
		l->column = 1;
	} else if (blank) {
		buf_append_char(l->out, ' ');
		l->column++;
	}
	buf_append_slice(l->out, piece);
	l->column += piece.len;
}

static void
put_tag(struct line *l, const char *tag, const char *value)
{
	char text[NAME_MAX_BYTES + 90];
	int n = snprintf(text, sizeof(text), "%s=%s;", tag, value);

	put_piece(l, slice_make(text, (size_t)n), true);
}

static void
put_number_tag(struct line *l, const char *tag, int64_t value)
{
	char text[24];

	(void)snprintf(text, sizeof(text), "%lld", (long long)value);
	put_tag(l, tag, text);
}

/* h=: broken behind colons only. names ends in one. */
static void
put_names(struct line *l, struct slice names)
{
	put_piece(l, SLICE("h="), true);
	while (names.len > 0) {
		const char *colon = memchr(names.ptr, ':', names.len);
		size_t n = (size_t)(colon - names.ptr);
		bool last = n + 1 == names.len;

		put_piece(l, slice_make(names.ptr, last ? n : n + 1), false);
		names = slice_make(colon + 1, names.len - n - 1);
	}
	put_piece(l, SLICE(";"), false);
}

/* The whole field with an empty b= at its end, without CRLF. */
static void
put_unsigned(struct line *l, const struct dkim_key *key, const struct dkim_options *options,
    struct slice names, const char *body_hash)
{
	put_piece(l, SLICE("DKIM-Signature: v=1;"), false);
	put_tag(l, "a", key->algorithm == DKIM_RSA ? "rsa-sha256" : "ed25519-sha256");
	put_tag(l, "c", "relaxed/relaxed");
	put_tag(l, "d", key->domain);
	put_tag(l, "s", key->selector);
	if (key->identity[0] != '\0')
		put_tag(l, "i", key->identity);
	put_number_tag(l, "t", options->now_s);
	if (options->lifetime_s > 0)
		put_number_tag(l, "x", options->now_s + options->lifetime_s);
	put_names(l, names);
	put_tag(l, "bh", body_hash);
	put_piece(l, SLICE("b="), true);
}

/* Appends the signature in base64, folded. */
static void
put_signature(struct line *l, const unsigned char *signature, size_t n)
{
	unsigned char text[DKIM_SIGNATURE_MAX / 3 * 4 + 8];
	size_t len = (size_t)EVP_EncodeBlock(text, signature, (int)n), at = 0, fits;

	for (; at < len; at += fits) {
		if (l->column >= COLUMNS) {
			buf_append_str(l->out, "\r\n ");
			l->column = 1;
		}
		fits = COLUMNS - l->column < len - at ? COLUMNS - l->column : len - at;
		buf_append(l->out, text + at, fits);
		l->column += fits;
	}
	buf_append_str(l->out, "\r\n");
}

struct signing {
	const struct dkim *dkim;
	const struct dkim_options *options;
	EVP_MD_CTX *block; /* the covered fields are in it */
	EVP_MD_CTX *hash;
	struct buf out;	    /* the fields */
	struct buf names;   /* of h=, each with a colon */
	struct buf scratch; /* relaxed text */
	char body_hash[48]; /* base64 */
};

static bool
sign_with(struct signing *s, const struct dkim_key *key)
{
	unsigned char hash[DKIM_HASH_BYTES], signature[DKIM_SIGNATURE_MAX];
	struct line line = { .out = &s->out };
	size_t start = s->out.len, n;

	put_unsigned(&line, key, s->options, buf_slice(&s->names), s->body_hash);
	if (buf_failed(&s->out))
		return false;
	buf_reset(&s->scratch);
	dkim_put_relaxed(&s->scratch, slice_make(s->out.data + start, s->out.len - start));
	if (buf_failed(&s->scratch) || EVP_MD_CTX_copy_ex(s->hash, s->block) != 1 ||
	    EVP_DigestUpdate(s->hash, s->scratch.data, s->scratch.len) != 1 ||
	    EVP_DigestFinal_ex(s->hash, hash, NULL) != 1)
		return false;
	n = dkim_key_sign(key, hash, signature);
	if (n == 0)
		return false;
	put_signature(&line, signature, n);
	return true;
}

/* Hashes what all signatures share. */
static bool
prepare(struct signing *s, const struct header *h)
{
	unsigned char hash[DKIM_HASH_BYTES];

	cover(h, s->options->ses, &s->scratch, &s->names);
	if (buf_failed(&s->scratch) || buf_failed(&s->names) ||
	    !dkim_hash_body(s->dkim, h->body, hash))
		return false;
	(void)EVP_EncodeBlock((unsigned char *)s->body_hash, hash, sizeof(hash));
	return EVP_DigestInit_ex2(s->block, s->dkim->sha256, NULL) == 1 &&
	    EVP_DigestUpdate(s->block, s->scratch.data, s->scratch.len) == 1;
}

static bool
put_before(struct buf *message, struct slice text)
{
	if (!buf_reserve(message, text.len)) {
		message->failed = false; /* it is whole, only unsigned */
		return false;
	}
	memmove(message->data + text.len, message->data, message->len);
	memcpy(message->data, text.ptr, text.len);
	buf_commit(message, text.len);
	return true;
}

int
dkim_sign(const struct dkim *dkim, const struct dkim_options *options, struct buf *message,
    struct err *err)
{
	struct signing s = { .dkim = dkim, .options = options };
	size_t keys = options->ses && dkim->count > 1 ? 1 : dkim->count;
	struct header h;
	bool ok;

	if (buf_failed(message) || read_header(buf_slice(message), &h, err) < 0)
		return buf_failed(message) ? err_set(err, "no memory") : -1;
	buf_init(&s.out, DKIM_KEYS_MAX * FIELD_MAX);
	buf_init(&s.names, FIELD_MAX);
	buf_init(&s.scratch, SCRATCH_MAX);
	s.block = EVP_MD_CTX_new();
	s.hash = EVP_MD_CTX_new();
	ok = s.block != NULL && s.hash != NULL && prepare(&s, &h);
	for (size_t i = 0; ok && i < keys; i++)
		ok = sign_with(&s, dkim->keys[i]);
	ok =
	    ok && !buf_failed(&s.out) && (s.out.len == 0 || put_before(message, buf_slice(&s.out)));
	EVP_MD_CTX_free(s.block);
	EVP_MD_CTX_free(s.hash);
	buf_release(&s.out);
	buf_release(&s.names);
	buf_release(&s.scratch);
	return ok ? 0 : err_set(err, "no memory to sign, or the message is too large");
}
