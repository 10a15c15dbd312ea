/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_dkim: common/mail/dkim.c: the published vectors of RFC 6376 3.4.5 and RFC 8463 appendix A,
 * what is covered, folding, bad keys and messages. With KAIRAN_DKIM_DIR=DIRECTORY it leaves signed
 * samples of many shapes there, NAME.eml, and the DNS records, for verifiers that are not ours
 * (tests/integration/dkim.sh).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <openssl/evp.h>

#include "dkim.h"

/* RFC 8463 appendix A.2: the RSA key of selector test, as published */
static const char rsa_pem[] = "-----BEGIN RSA PRIVATE KEY-----\n"
			      "MIICXQIBAAKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQi\n"
			      "Y/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqM\n"
			      "KrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB\n"
			      "AoGAH0cxOhFZDgzXWhDhnAJDw5s4roOXN4OhjiXa8W7Y3rhX3FJqmJSPuC8N9vQm\n"
			      "6SVbaLAE4SG5mLMueHlh4KXffEpuLEiNp9Ss3O4YfLiQpbRqE7Tm5SxKjvvQoZZe\n"
			      "zHorimOaChRL2it47iuWxzxSiRMv4c+j70GiWdxXnxe4UoECQQDzJB/0U58W7RZy\n"
			      "6enGVj2kWF732CoWFZWzi1FicudrBFoy63QwcowpoCazKtvZGMNlPWnC7x/6o8Gc\n"
			      "uSe0ga2xAkEA8C7PipPm1/1fTRQvj1o/dDmZp243044ZNyxjg+/OPN0oWCbXIGxy\n"
			      "WvmZbXriOWoSALJTjExEgraHEgnXssuk7QJBALl5ICsYMu6hMxO73gnfNayNgPxd\n"
			      "WFV6Z7ULnKyV7HSVYF0hgYOHjeYe9gaMtiJYoo0zGN+L3AAtNP9huqkWlzECQE1a\n"
			      "licIeVlo1e+qJ6Mgqr0Q7Aa7falZ448ccbSFYEPD6oFxiOl9Y9se9iYHZKKfIcst\n"
			      "o7DUw1/hz2Ck4N5JrgUCQQCyKveNvjzkkd8HjYs0SwM0fPjK16//5qDZ2UiDGnOe\n"
			      "uEzxBDAr518Z8VFbR41in3W4Y3yCDgQlLlcETrS+zYcL\n"
			      "-----END RSA PRIVATE KEY-----\n";
#define RSA_P                                                                                      \
	"MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bd"         \
	"OKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4h"         \
	"stT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB"
/* appendix A.2: the Ed25519 seed of selector brisbane (RFC 8032 7.1, test 1), in PKCS#8 */
static const char ed_pem[] = "-----BEGIN PRIVATE KEY-----\n"
			     "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
			     "-----END PRIVATE KEY-----\n";
#define ED_P "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="

/* appendix A.3: the message and the fields as published, with b= taken out */
static const char *const rfc_fields[] = { "From: Joe SixPack <joe@football.example.com>",
	"To: Suzie Q <suzie@shopping.example.net>", "Subject: Is dinner ready?",
	"Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)",
	"Message-ID: <20030712040037.46341.5F8J@football.example.com>" };
static const char rfc_body[] = "Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n";
static const char rfc_bh[] = "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=";
static const char rfc_ed[] = "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n"
			     " d=football.example.com; i=@football.example.com;\r\n"
			     " q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n"
			     " subject : date : message-id : from : subject : date;\r\n"
			     " bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n b=";
static const char rfc_rsa[] = "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;\r\n"
			      " d=football.example.com; i=@football.example.com;\r\n"
			      " q=dns/txt; s=test; t=1528637909; h=from : to : subject :\r\n"
			      " date : message-id : from : subject : date;\r\n"
			      " bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n b=";

#define DOMAIN SLICE("football.example.com")

static struct dkim_key *
parse(const char *pem, const char *selector, const char *identity)
{
	struct dkim_key *key = NULL;
	struct err err = { 0 };

	if (dkim_key_parse(
		&key, slice_str(pem), DOMAIN, slice_str(selector), slice_str(identity), &err) != 0)
		fail_msg("%s", err.msg);
	return key;
}

static struct dkim *
make(bool rsa, bool ed)
{
	struct dkim *dkim = dkim_new();
	struct err err;

	assert_non_null(dkim);
	if (rsa)
		assert_int_equal(dkim_add(dkim, parse(rsa_pem, "test", ""), &err), 0);
	if (ed)
		assert_int_equal(dkim_add(dkim, parse(ed_pem, "brisbane", ""), &err), 0);
	return dkim;
}

/* ---- published vectors ---- */

static void
assert_body(const char *body, const char *expected)
{
	struct dkim *dkim = make(false, true);
	unsigned char hash[DKIM_HASH_BYTES], want[DKIM_HASH_BYTES];

	assert_true(dkim_hash_body(dkim, slice_str(body), hash));
	assert_int_equal(EVP_Digest(expected, strlen(expected), want, NULL, EVP_sha256(), NULL), 1);
	assert_memory_equal(hash, want, sizeof(hash));
	dkim_free(dkim);
}

/* RFC 6376 3.4.5 and 3.4.4, then every edge of the rule. */
static void
test_relaxed_body(void **state)
{
	static const struct {
		const char *body, *relaxed;
	} cases[] = {
		{ " C \r\nD \t E\r\n\r\n\r\n", " C\r\nD E\r\n" },
		{ "", "" },
		{ "\r\n", "" },
		{ "\r\n\r\n\r\n", "" },
		{ " \t\r\n \r\n", "" },
		{ " \t", "" },
		{ "a", "a\r\n" },
		{ "a ", "a\r\n" },
		{ "a\r\n \t", "a\r\n" },
		{ "a\r\n\r\n\r\nb", "a\r\n\r\n\r\nb\r\n" },
		{ "\r\n\r\na\r\n", "\r\n\r\na\r\n" },
		{ "a\r\n\t \r\nb\r\n", "a\r\n\r\nb\r\n" },
		{ "a\tb\r\n", "a b\r\n" },
		{ "\ta\r\n", " a\r\n" },
		{ "a  b   c\t\td\r\n  \r\n", "a b c d\r\n" },
		{ "a\rb\r\nc\r\n", "a\rb\r\nc\r\n" },
		{ "a\r", "a\r\r\n" },
		{ "one\r\ntwo\r\nthree \r\nfour\r\nfive\r\n",
		    "one\r\ntwo\r\nthree\r\nfour\r\nfive\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_body(cases[i].body, cases[i].relaxed);
}

static void
assert_field(const char *field, const char *expected)
{
	struct buf out;

	buf_init(&out, 4096);
	dkim_put_relaxed(&out, slice_str(field));
	assert_string_equal(buf_str(&out), expected);
	buf_release(&out);
}

/* RFC 6376 3.4.5, then folding. */
static void
test_relaxed_header(void **state)
{
	(void)state;
	assert_field("A: X", "a:X");
	assert_field("B : Y\t\r\n\tZ  ", "b:Y Z");
	assert_field("SubJect \t:\r\n  a \t b\r\n\t \r\n c ", "subject:a b c");
	assert_field("Empty:", "empty:");
	assert_field("Empty: \r\n ", "empty:");
	assert_field("X: a:b", "x:a:b");
}

static void
hash_rfc(const char *signature_field, unsigned char hash[DKIM_HASH_BYTES])
{
	static const int order[] = { 0, 1, 2, 3, 4 };
	struct buf text;

	buf_init(&text, 8192);
	for (size_t i = 0; i < 5; i++) {
		dkim_put_relaxed(&text, slice_str(rfc_fields[order[i]]));
		buf_append_str(&text, "\r\n");
	}
	dkim_put_relaxed(&text, slice_str(signature_field));
	assert_false(buf_failed(&text));
	assert_int_equal(EVP_Digest(text.data, text.len, hash, NULL, EVP_sha256(), NULL), 1);
	buf_release(&text);
}

static void
assert_rfc_signature(
    const char *pem, const char *selector, const char *field, const char *published)
{
	unsigned char hash[DKIM_HASH_BYTES], signature[DKIM_SIGNATURE_MAX], text[1024];
	struct dkim_key *key = parse(pem, selector, "@football.example.com");
	size_t n;

	hash_rfc(field, hash);
	n = dkim_key_sign(key, hash, signature);
	assert_true(n > 0);
	(void)EVP_EncodeBlock(text, signature, (int)n);
	assert_string_equal((char *)text, published);
	dkim_key_free(key);
}

static void
test_rfc8463(void **state)
{
	struct dkim *dkim = make(true, true);
	unsigned char hash[DKIM_HASH_BYTES], text[64];

	(void)state;
	assert_true(dkim_hash_body(dkim, slice_str(rfc_body), hash));
	(void)EVP_EncodeBlock(text, hash, sizeof(hash));
	assert_string_equal((char *)text, rfc_bh);
	dkim_free(dkim);
	assert_rfc_signature(ed_pem, "brisbane", rfc_ed,
	    "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1"
	    "Dw==");
	assert_rfc_signature(rsa_pem, "test", rfc_rsa,
	    "F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3DhCVlUrSjV4BwcVcOF6+FF3Zo9Rp"
	    "o1tFOeS9mPYQTnGdaSGsgeefOsk2JzdA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FAD"
	    "Y+8=");
}

static void
test_record(void **state)
{
	struct dkim_key *rsa = parse(rsa_pem, "test", ""), *ed = parse(ed_pem, "brisbane", "");
	struct buf out;

	(void)state;
	buf_init(&out, 4096);
	assert_true(dkim_key_put_record(rsa, &out));
	assert_string_equal(buf_str(&out), "v=DKIM1; k=rsa; p=" RSA_P);
	buf_reset(&out);
	assert_true(dkim_key_put_record(ed, &out));
	assert_string_equal(buf_str(&out), "v=DKIM1; k=ed25519; p=" ED_P);
	assert_int_equal(dkim_key_bits(rsa), 1024);
	assert_int_equal(dkim_key_algorithm(ed), DKIM_ED25519);
	buf_release(&out);
	dkim_key_free(rsa);
	dkim_key_free(ed);
}

/* ---- the field ---- */

static const char plain[] =
    "X-Kairan-Id: aeaaaabkaahueqiaaorba4ij5u6b2rmnda\r\n"
    "Date: Sat, 21 Nov 2026 10:11:12 +0900\r\n"
    "From: =?UTF-8?B?5Zue6Kan?= <news@football.example.com>\r\n"
    "To: taro@example.jp\r\n"
    "Subject: =?UTF-8?B?5aSP44Gu44K744O844Or44Gu44GU5qGI5YaF?=\r\n"
    "Message-ID: <abc@football.example.com>\r\n"
    "List-Unsubscribe: <https://u.example.jp/u/abcdefghijklmnopqrstuvwxyz234567>,\r\n"
    " <mailto:u+abc@bounce.example.jp>\r\n"
    "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    "MIME-Version: 1.0\r\n"
    "Content-Type: text/plain; charset=UTF-8\r\n"
    "Content-Transfer-Encoding: quoted-printable\r\n"
    "\r\n"
    "Dear Taro,\r\n\r\nthe sale begins.\r\n";

static const struct dkim_options options = { .now_s = 1795300000, .lifetime_s = 604800 };

static void
sign_text(const struct dkim *dkim, const struct dkim_options *o, const char *text, struct buf *out)
{
	struct err err = { 0 };

	buf_init(out, 1 << 20);
	buf_append_str(out, text);
	if (dkim_sign(dkim, o, out, &err) != 0)
		fail_msg("%s", err.msg);
}

/* The tag's value without blanks, of the n-th signature field. */
static void
get_tag(const struct buf *message, unsigned n, const char *tag, char *dst, size_t size)
{
	const char *p = message->data;
	char needle[16];
	size_t len = 0;

	for (; n > 0; n--)
		p = strstr(p + 1, "DKIM-Signature:");
	(void)snprintf(needle, sizeof(needle), " %s=", tag);
	p = strstr(p, needle);
	assert_non_null(p);
	for (p += strlen(needle); *p != ';' && !(p[0] == '\r' && p[2] != ' '); p++)
		if (strchr(" \t\r\n", *p) == NULL && len + 1 < size)
			dst[len++] = *p;
	dst[len] = '\0';
}

static void
test_field(void **state)
{
	struct dkim *dkim = make(true, true);
	const char *line, *next;
	struct buf out;
	char value[2048];

	(void)state;
	sign_text(dkim, &options, plain, &out);
	assert_memory_equal(out.data, "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;", 53);
	/* the message itself is untouched, behind the fields */
	assert_string_equal(out.data + out.len - strlen(plain), plain);
	get_tag(&out, 0, "t", value, sizeof(value));
	assert_string_equal(value, "1795300000");
	get_tag(&out, 0, "x", value, sizeof(value));
	assert_string_equal(value, "1795904800");
	get_tag(&out, 0, "h", value, sizeof(value));
	assert_string_equal(value,
	    "from:from:sender:to:to:cc:reply-to:subject:subject:date:date:message-id:message-id:"
	    "mime-version:mime-version:content-type:content-type:content-transfer-encoding:"
	    "content-transfer-encoding:list-unsubscribe:list-unsubscribe:list-unsubscribe-post:"
	    "list-unsubscribe-post:list-id:feedback-id:cfbl-address:cfbl-feedback-id:x-kairan-id");
	get_tag(&out, 1, "a", value, sizeof(value));
	assert_string_equal(value, "ed25519-sha256");
	get_tag(&out, 1, "s", value, sizeof(value));
	assert_string_equal(value, "brisbane");
	assert_null(strstr(buf_str(&out), " l="));
	for (line = out.data; line < out.data + out.len - strlen(plain); line = next) {
		next = strstr(line, "\r\n") + 2;
		assert_true(next - line <= 78);
		assert_true(*line == ' ' || memcmp(line, "DKIM-", 5) == 0);
	}
	buf_release(&out);
	dkim_free(dkim);
}

static void
test_ses_leaves_out_what_is_rewritten(void **state)
{
	struct dkim *dkim = make(true, true);
	struct dkim_options ses = { .now_s = 1795300000, .ses = true };
	struct buf out;
	char value[2048];

	(void)state;
	sign_text(dkim, &ses, plain, &out);
	get_tag(&out, 0, "h", value, sizeof(value));
	assert_null(strstr(value, "date:"));
	assert_null(strstr(value, "message-id"));
	assert_non_null(strstr(value, "list-unsubscribe-post:list-unsubscribe-post"));
	assert_null(strstr(out.data + 1, "DKIM-Signature"));
	assert_null(strstr(buf_str(&out), " x="));
	buf_release(&out);
	dkim_free(dkim);
}

static void
test_identity(void **state)
{
	static const char *const bad[] = { "football.example.com", "@example.com",
		"@xfootball.example.com", "@mail;football.example.com",
		"a b@football.example.com" };
	struct dkim_key *key = parse(ed_pem, "brisbane", "news@mail.football.example.com");
	struct dkim *dkim = dkim_new();
	struct err err = { 0 };
	struct buf out;
	char value[200];

	(void)state;
	assert_int_equal(dkim_add(dkim, key, &err), 0);
	sign_text(dkim, &options, plain, &out);
	get_tag(&out, 0, "i", value, sizeof(value));
	assert_string_equal(value, "news@mail.football.example.com");
	buf_release(&out);
	dkim_free(dkim);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(dkim_key_parse(&key, slice_str(ed_pem), DOMAIN, SLICE("s"),
				     slice_str(bad[i]), &err),
		    -1);
}

/* What a forger adds to a signed message changes what h= says is there. */
static void
test_every_repeat_is_named(void **state)
{
	static const char text[] = "From: a@football.example.com\r\nSubject: one\r\n"
				   "Subject: two\r\n\r\nx\r\n";
	struct dkim *dkim = make(false, true);
	struct buf out;
	char value[2048];

	(void)state;
	sign_text(dkim, &options, text, &out);
	get_tag(&out, 0, "h", value, sizeof(value));
	assert_non_null(strstr(value, ":subject:subject:subject:"));
	buf_release(&out);
	dkim_free(dkim);
}

/* ---- what is refused ---- */

static void
test_bad_keys(void **state)
{
	static const char ec[] =
	    "-----BEGIN PRIVATE KEY-----\n"
	    "MC4CAQAwBQYDK2VuBCIEIHcHbQpzGKV9PBbBclGyZkXfTC+H68CZKrF3+6UduSwq\n"
	    "-----END PRIVATE KEY-----\n"; /* X25519 */
	static const struct {
		struct slice pem, domain, selector;
	} bad[] = {
		{ SLICE("no key"), DOMAIN, SLICE("s") },
		{ SLICE(""), DOMAIN, SLICE("s") },
		{ { ec, sizeof(ec) - 1 }, DOMAIN, SLICE("s") },
		{ { ed_pem, sizeof(ed_pem) - 1 }, SLICE("example"), SLICE("s") },
		{ { ed_pem, sizeof(ed_pem) - 1 }, SLICE("b\xc3\xbc.example"), SLICE("s") },
		{ { ed_pem, sizeof(ed_pem) - 1 }, SLICE("a..example"), SLICE("s") },
		{ { ed_pem, sizeof(ed_pem) - 1 }, SLICE("../example.jp"), SLICE("s") },
		{ { ed_pem, sizeof(ed_pem) - 1 }, DOMAIN, SLICE("") },
		{ { ed_pem, sizeof(ed_pem) - 1 }, DOMAIN, SLICE("s;x=1") },
		{ { ed_pem, sizeof(ed_pem) - 1 }, DOMAIN, SLICE("a/b") },
	};
	struct buf pem;
	struct err err;
	struct dkim_key *key;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		err.msg[0] = '\0';
		assert_int_equal(dkim_key_parse(&key, bad[i].pem, bad[i].domain, bad[i].selector,
				     SLICE(""), &err),
		    -1);
		assert_null(key);
		assert_true(err.msg[0] != '\0');
	}
	/* a key of ours is read back, and tells its size */
	buf_init(&pem, DKIM_PEM_MAX);
	assert_int_equal(dkim_key_generate(DKIM_RSA, &pem, &err), 0);
	assert_int_equal(
	    dkim_key_parse(&key, buf_slice(&pem), DOMAIN, SLICE("a.b"), SLICE(""), &err), 0);
	assert_int_equal(dkim_key_bits(key), DKIM_RSA_BITS);
	dkim_key_free(key);
	buf_release(&pem);
}

static void
test_bad_messages(void **state)
{
	static const char *const bad[] = { "", "\r\n", "\r\nFrom: a@b.c\r\n", "Subject: x\r\n\r\nx",
		"From a@b.c\r\n\r\n", "From: a@b.c", "From: a@b.c\nTo: x\n\n", ": x\r\n\r\n" };
	struct dkim *dkim = make(true, true);
	struct err err;
	struct buf out;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		buf_init(&out, 4096);
		buf_append_str(&out, bad[i]);
		assert_int_equal(dkim_sign(dkim, &options, &out, &err), -1);
		assert_string_equal(buf_str(&out), bad[i]);
		buf_release(&out);
	}
	buf_init(&out, 1 << 20);
	for (int i = 0; i <= DKIM_FIELDS_MAX; i++)
		buf_append_str(&out, "From: a@b.c\r\n");
	assert_int_equal(dkim_sign(dkim, &options, &out, &err), -1);
	buf_release(&out);
	/* a message that leaves no room for the field stays as it is */
	buf_init(&out, sizeof(plain) + 100);
	buf_append_str(&out, plain);
	assert_int_equal(dkim_sign(dkim, &options, &out, &err), -1);
	assert_string_equal(buf_str(&out), plain);
	assert_false(buf_failed(&out));
	buf_release(&out);
	dkim_free(dkim);
}

static void
test_too_many_keys(void **state)
{
	struct dkim *dkim = dkim_new();
	struct err err;

	(void)state;
	for (int i = 0; i < DKIM_KEYS_MAX; i++)
		assert_int_equal(dkim_add(dkim, parse(ed_pem, "s", ""), &err), 0);
	assert_int_equal(dkim_add(dkim, parse(ed_pem, "s", ""), &err), -1);
	assert_int_equal(dkim_count(dkim), DKIM_KEYS_MAX);
	dkim_free(dkim);
}

/* ---- samples for others ---- */

static void
write_file(const char *folder, const char *name, const void *bytes, size_t n)
{
	char path[4096];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "we");
	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, n, file), n);
	assert_int_equal(fclose(file), 0);
}

struct shape {
	const char *name;
	const char *subject;
	const char *extra; /* fields */
	const char *body;
};

static const struct shape shapes[] = {
	{ "plain", "Hello", "", "Hello\r\n" },
	{ "no-body", "Empty", "", "" },
	{ "empty-lines", "Only empty lines", "", "\r\n\r\n\r\n" },
	{ "trailing-empty", "Trailing", "", "Hello\r\n\r\n\r\n\r\n" },
	{ "trailing-blanks", "Blanks", "", "Hello \t \r\n \t\r\nthere  \t you\r\n \r\n" },
	{ "no-end", "No line end", "", "Hello\r\nthere" },
	{ "leading-empty", "Leading", "", "\r\n\r\nHello\r\n" },
	{ "dots", "Dots", "", ".\r\n..\r\n.hidden\r\n" },
	{ "quoted", "Quoted-printable", "Content-Transfer-Encoding: quoted-printable\r\n",
	    "caf=C3=A9 =\r\n=E2=82=AC 5\r\nend=20\r\n" },
	{ "base64", "Base64", "Content-Transfer-Encoding: base64\r\n",
	    "5aSP44Gu44K744O844Or44GvNuaciOabnOaXpeOBi+OCieWni+OBvuOCiuOBvuOBmeOAggo=\r\n" },
	{ "japanese",
	    "=?UTF-8?B?5aSP44Gu44K744O844Or44GuIOOBlOahiOWGheOBp+OBmQ==?=\r\n"
	    " =?UTF-8?B?44CC44G544Gy44GE44KJ44Gj44GX44KD44GE?=",
	    "", "x\r\n" },
	{ "folded",
	    "a very long subject that has been folded\r\n\t over  several   lines, with\r\n"
	    "   blanks of   every\tkind in it, and at its end  ",
	    "X-Long: 01234567890123456789012345678901234567890123456789\r\n 0123456789\r\n",
	    "x\r\n" },
	{ "list", "List",
	    "List-Unsubscribe: <https://u.example.jp/u/abc>,\r\n <mailto:u+abc@b.example.jp>\r\n"
	    "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nList-Id: <news.example.jp>\r\n"
	    "Feedback-ID: a:b:c:kairan\r\nReply-To: help@football.example.com\r\n",
	    "x\r\n" },
	{ "repeated", "First", "Subject: Second\r\nReceived: by a\r\nReceived: by b\r\n", "x\r\n" },
	{ "empty-subject", "", "", "x\r\n" },
	{ "multipart", "Parts", "Content-Type: multipart/alternative;\r\n boundary=\"=_k0123\"\r\n",
	    "--=_k0123\r\nContent-Type: text/plain\r\n\r\nx\r\n--=_k0123\r\n"
	    "Content-Type: text/html\r\n\r\n<p>x</p>\r\n--=_k0123--\r\n" },
};

static void
write_samples(const char *folder)
{
	struct dkim *dkim = make(true, true);
	struct buf out, text;
	char name[100];

	buf_init(&text, 1 << 20);
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		const struct shape *s = &shapes[i];

		buf_reset(&text);
		buf_printf(&text,
		    "Date: Sat, 21 Nov 2026 10:11:12 +0900\r\nFrom: Joe "
		    "<joe@football.example.com>\r\n"
		    "To: taro@example.jp\r\nSubject: %s\r\nMessage-ID: "
		    "<abc@football.example.com>\r\n"
		    "MIME-Version: 1.0\r\n%s\r\n%s",
		    s->subject, s->extra, s->body);
		sign_text(dkim,
		    &(struct dkim_options){ .now_s = (int64_t)time(NULL), .lifetime_s = 604800 },
		    buf_str(&text), &out);
		(void)snprintf(name, sizeof(name), "%s.eml", s->name);
		write_file(folder, name, out.data, out.len);
		buf_release(&out);
	}
	/* one line a record: selector, then its text */
	buf_reset(&text);
	for (size_t i = 0; i < dkim_count(dkim); i++) {
		buf_printf(&text, "%s._domainkey.%s ", dkim_key_selector(dkim_at(dkim, i)),
		    dkim_key_domain(dkim_at(dkim, i)));
		assert_true(dkim_key_put_record(dkim_at(dkim, i), &text));
		buf_append_char(&text, '\n');
	}
	write_file(folder, "records", text.data, text.len);
	buf_release(&text);
	dkim_free(dkim);
}

static void
test_samples(void **state)
{
	const char *folder = getenv("KAIRAN_DKIM_DIR");

	(void)state;
	if (folder != NULL) /* tests/integration/dkim.sh asks for them */
		write_samples(folder);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_relaxed_body),
		cmocka_unit_test(test_relaxed_header),
		cmocka_unit_test(test_rfc8463),
		cmocka_unit_test(test_record),
		cmocka_unit_test(test_field),
		cmocka_unit_test(test_ses_leaves_out_what_is_rewritten),
		cmocka_unit_test(test_identity),
		cmocka_unit_test(test_every_repeat_is_named),
		cmocka_unit_test(test_bad_keys),
		cmocka_unit_test(test_bad_messages),
		cmocka_unit_test(test_too_many_keys),
		cmocka_unit_test(test_samples),
	};

	(void)cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
