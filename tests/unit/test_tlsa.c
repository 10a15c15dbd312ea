/* SPDX-License-Identifier: Apache-2.0 */
/* test_tlsa: common/tlsa.c, TLSA records in common/dns_answer.c, and what tls.c makes of them: both ends
 * of a connection in memory, certificates made here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tls.h"
#include "tlsa.h"

#define HOST "mx.example"

/* ---- records ---- */

static struct slice
data_of(char *dst, unsigned usage, unsigned selector, unsigned matching, size_t length)
{
	memset(dst, 'x', length + 3);
	dst[0] = (char)usage;
	dst[1] = (char)selector;
	dst[2] = (char)matching;
	return slice_make(dst, length + 3);
}

static void
test_usable(void **state)
{
	static const struct {
		unsigned usage, selector, matching;
		size_t length;
		bool usable;
	} cases[] = { { 3, 1, 1, 32, true }, { 3, 0, 1, 32, true }, { 3, 1, 2, 64, true },
		{ 2, 0, 0, 700, true }, { 2, 1, 0, 1, true }, { 2, 0, 2, 64, true },
		/* RFC 7672 3.1.3: usages of the public authorities do not count */
		{ 0, 0, 1, 32, false }, { 1, 1, 1, 32, false }, { 4, 1, 1, 32, false },
		{ 255, 1, 1, 32, false }, { 3, 2, 1, 32, false }, { 3, 1, 3, 48, false },
		{ 3, 1, 1, 31, false }, { 3, 1, 1, 33, false }, { 3, 1, 1, 64, false },
		{ 3, 1, 2, 32, false }, { 3, 1, 0, 0, false } };
	char bytes[1024];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct tlsa_record r;
		struct slice data = data_of(
		    bytes, cases[i].usage, cases[i].selector, cases[i].matching, cases[i].length);

		if (tlsa_read(data, &r) != cases[i].usable)
			fail_msg("case %zu", i);
		if (cases[i].usable) {
			assert_int_equal(r.usage, cases[i].usage);
			assert_int_equal(r.selector, cases[i].selector);
			assert_int_equal(r.matching, cases[i].matching);
			assert_int_equal(r.data.len, cases[i].length);
		}
		for (size_t n = 0; n <= 3; n++)
			assert_false(tlsa_read(slice_make(data.ptr, n), &r));
	}
}

static void
test_verdict(void **state)
{
	static const struct {
		enum dns_status status;
		bool authenticated;
		unsigned usages[2];
		enum tlsa_verdict verdict;
	} cases[] = { { DNS_FAILED, false, { 0 }, TLSA_LATER },
		{ DNS_FAILED, true, { 0 }, TLSA_LATER }, { DNS_NONE, true, { 0 }, TLSA_NONE },
		{ DNS_NONE, false, { 0 }, TLSA_NONE }, { DNS_FOUND, false, { 3, 3 }, TLSA_NONE },
		{ DNS_FOUND, true, { 3, 3 }, TLSA_VERIFY },
		{ DNS_FOUND, true, { 1, 3 }, TLSA_VERIFY },
		{ DNS_FOUND, true, { 2, 0 }, TLSA_VERIFY },
		{ DNS_FOUND, true, { 0, 1 }, TLSA_ENCRYPT } };
	char bytes[2][64];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct dns_record records[2];
		struct dns_answer a = { .status = cases[i].status,
			.records = records,
			.count = cases[i].status == DNS_FOUND ? 2 : 0,
			.authenticated = cases[i].authenticated };

		for (size_t k = 0; k < 2; k++)
			records[k].text = data_of(bytes[k], cases[i].usages[k], 1, 1, 32);
		if (tlsa_judge(&a) != cases[i].verdict)
			fail_msg("case %zu", i);
	}
}

static void
test_copy(void **state)
{
	enum { COUNT = TLSA_RECORDS_MAX + 8 };
	struct dns_record records[COUNT];
	static char bytes[COUNT][64];
	struct dns_answer a = { .status = DNS_FOUND, .records = records, .count = COUNT };
	struct tlsa *t;

	(void)state;
	for (size_t i = 0; i < COUNT; i++) {
		records[i].text = data_of(bytes[i], i == 0 ? 1 : 3, 1, 1, 32);
		bytes[i][3] = (char)i;
	}
	t = tlsa_new(&a, "base.example", "host.example");
	memset(bytes, 0, sizeof(bytes));
	assert_int_equal(t->count, TLSA_RECORDS_MAX);
	assert_string_equal(t->base, "base.example");
	assert_string_equal(t->host, "host.example");
	for (size_t i = 0; i < t->count; i++)
		assert_int_equal(t->records[i].data.ptr[0], i + 1);
	free(t);
}

static void
test_answer(void **state)
{
	/* _25._tcp.mx IN CNAME t, t IN TLSA 3 1 1 with two bytes, and 2 0 0; AD is set */
	static const unsigned char found[] =
	    "\0\1\x81\xa0\0\1\0\3\0\0\0\0\3_25\4_tcp\2mx\0\0\x34\0\1"
	    "\xc0\xc\0\5\0\1\0\0\0\x78\0\3\1t\0"
	    "\1t\0\0\x34\0\1\0\0\0\x3c\0\5\3\1\1ab"
	    "\1t\0\0\x34\0\1\0\0\0\x50\0\4\2\0\0c";
	struct dns_answer a;
	struct arena arena;

	(void)state;
	arena_init(&arena, (size_t)1 << 20);
	dns_read_answer(&arena, DNS_TLSA, found, sizeof(found) - 1, &a);
	assert_int_equal(a.status, DNS_FOUND);
	assert_true(a.authenticated);
	assert_int_equal(a.count, 2);
	assert_int_equal(a.ttl_s, 60);
	assert_true(slice_equal(a.records[0].text, SLICE("\3\1\1ab")));
	assert_true(slice_equal(a.records[1].text, SLICE("\2\0\0c")));
	dns_read_answer(&arena, DNS_CNAME, found, sizeof(found) - 1, &a);
	assert_int_equal(a.count, 1);
	for (size_t n = 0; n < sizeof(found) - 1; n++) { /* half a set is none */
		dns_read_answer(&arena, DNS_TLSA, found, n, &a);
		assert_int_equal(a.status, DNS_FAILED);
		assert_int_equal(tlsa_judge(&a), TLSA_LATER);
	}
	arena_release(&arena);
}

static void
test_canonical(void **state)
{
	/* mx IN CNAME t, t IN A 192.0.2.1 */
	static const unsigned char alias[] = "\0\1\x81\xa0\0\1\0\2\0\0\0\0\2mx\0\0\1\0\1"
					     "\xc0\xc\0\5\0\1\0\0\0\x78\0\3\1t\0"
					     "\1t\0\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\1";
	struct dns_answer a;
	struct arena arena;

	(void)state;
	arena_init(&arena, (size_t)1 << 20);
	dns_read_answer(&arena, DNS_A, alias, sizeof(alias) - 1, &a);
	assert_int_equal(a.status, DNS_FOUND);
	assert_string_equal(a.records[0].text.ptr, "192.0.2.1");
	assert_string_equal(a.canonical, "t");
	arena_release(&arena);
}

/* ---- certificates ---- */

struct identity {
	EVP_PKEY *key;
	X509 *cert;
};

struct world {
	char dir[32], chain[64], key_file[64];
	struct identity ca, leaf;
	struct tls_context *server, *open, *strict;
};

/* from_s: when it begins to be valid, from now; it is so for a day. issuer NULL: itself. */
static struct identity
make_identity(const char *name, bool ca, long from_s, const struct identity *issuer)
{
	struct identity id = { EVP_EC_gen("P-256"), X509_new() };
	const struct identity *by = issuer != NULL ? issuer : &id;
	X509_NAME *subject = X509_get_subject_name(id.cert);
	char san[64];
	X509_EXTENSION *ext;

	assert_true(X509_set_version(id.cert, 2) && X509_set_pubkey(id.cert, id.key));
	(void)ASN1_INTEGER_set(X509_get_serialNumber(id.cert), from_s + 1000000);
	(void)X509_gmtime_adj(X509_getm_notBefore(id.cert), from_s);
	(void)X509_gmtime_adj(X509_getm_notAfter(id.cert), from_s + 86400);
	(void)X509_NAME_add_entry_by_txt(
	    subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
	(void)X509_set_issuer_name(id.cert, X509_get_subject_name(by->cert));
	(void)snprintf(san, sizeof(san), "DNS:%s", name);
	ext = ca ? X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE")
		 : X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, san);
	assert_non_null(ext);
	assert_true(X509_add_ext(id.cert, ext, -1));
	X509_EXTENSION_free(ext);
	assert_true(X509_sign(id.cert, by->key, EVP_sha256()) > 0);
	return id;
}

static void
identity_release(struct identity *id)
{
	EVP_PKEY_free(id->key);
	X509_free(id->cert);
}

static void
write_files(const struct world *w)
{
	FILE *f = fopen(w->chain, "w");

	assert_non_null(f);
	assert_true(PEM_write_X509(f, w->leaf.cert) && PEM_write_X509(f, w->ca.cert));
	assert_int_equal(fclose(f), 0);
	f = fopen(w->key_file, "w");
	assert_non_null(f);
	assert_int_equal(fchmod(fileno(f), 0600), 0);
	assert_true(PEM_write_PrivateKey(f, w->leaf.key, NULL, NULL, 0, NULL, NULL));
	assert_int_equal(fclose(f), 0);
}

static struct tls_context *
make_context(const struct world *w, bool is_server, bool verify)
{
	const struct tls_settings settings = { .is_server = is_server,
		.verify = verify,
		.ca_file = "",
		.cert_file = is_server ? w->chain : "",
		.key_file = is_server ? w->key_file : "" };
	struct err err = { 0 };
	struct tls_context *c = tls_context_new(&settings, &err);

	if (c == NULL)
		fail_msg("%s", err.msg);
	return c;
}

/* A server whose certificate has this name and age, below an authority that nobody knows. */
static void
world_init(struct world *w, const char *name, long from_s)
{
	(void)snprintf(w->dir, sizeof(w->dir), "/tmp/test_tlsa.XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	(void)snprintf(w->chain, sizeof(w->chain), "%s/chain.pem", w->dir);
	(void)snprintf(w->key_file, sizeof(w->key_file), "%s/key.pem", w->dir);
	w->ca = make_identity("Authority", true, -3600, NULL);
	w->leaf = make_identity(name, false, from_s, &w->ca);
	write_files(w);
	w->server = make_context(w, true, false);
	w->open = make_context(w, false, false);
	w->strict = make_context(w, false, true);
}

static void
world_release(struct world *w)
{
	tls_context_free(w->server);
	tls_context_free(w->open);
	tls_context_free(w->strict);
	identity_release(&w->ca);
	identity_release(&w->leaf);
	(void)unlink(w->chain);
	(void)unlink(w->key_file);
	(void)rmdir(w->dir);
}

/* ---- handshakes ---- */

/* The record that matches the server: its authority by DANE-TA, itself by DANE-EE. */
static struct slice
matching_data(
    const struct world *w, unsigned usage, unsigned selector, unsigned matching, char *dst)
{
	const struct identity *id = usage == 2 ? &w->ca : &w->leaf;
	unsigned char *der = NULL;
	int n = selector == 0 ? i2d_X509(id->cert, &der) : i2d_PUBKEY(id->key, &der);
	unsigned length = 0;

	assert_true(n > 0 && n < 2000);
	(void)data_of(dst, usage, selector, matching, 0);
	if (matching == 0) {
		memcpy(dst + 3, der, (size_t)n);
		length = (unsigned)n;
	} else {
		assert_true(EVP_Digest(der, (size_t)n, (unsigned char *)dst + 3, &length,
		    matching == 1 ? EVP_sha256() : EVP_sha512(), NULL));
	}
	OPENSSL_free(der);
	return slice_make(dst, length + 3);
}

static void
carry(struct tls *from, struct tls *to)
{
	struct slice out = tls_output(from);

	if (out.len == 0)
		return;
	tls_input(to, out.ptr, out.len);
	tls_wrote(from, out.len);
}

/* The client's end of a handshake under one TLSA record; failure: its words, when it failed. */
static enum tls_state
shake(const struct world *w, struct tls_context *client, struct slice data, const char *base,
    char failure[512])
{
	struct dns_record record = { data, 0 };
	struct dns_answer a = {
		.status = DNS_FOUND, .records = &record, .count = 1, .authenticated = true
	};
	struct tlsa *tlsa = data.len > 0 ? tlsa_new(&a, base, HOST) : NULL;
	struct tls *c = tls_new(client, HOST, tlsa), *s = tls_accept(w->server);
	enum tls_state state;

	free(tlsa);
	assert_non_null(c);
	assert_non_null(s);
	for (int i = 0; i < 8; i++) {
		carry(c, s);
		carry(s, c);
	}
	state = tls_state(c);
	(void)snprintf(failure, 512, "%s", tls_failure(c));
	if (state == TLS_OPEN && client == w->strict)
		assert_non_null(strstr(tls_version(c), "verified by DANE"));
	tls_free(c);
	tls_free(s);
	return state;
}

static void
test_every_kind(void **state)
{
	struct world w;
	char bytes[2048], failure[512];

	(void)state;
	world_init(&w, HOST, -60);
	for (unsigned usage = 2; usage <= 3; usage++)
		for (unsigned selector = 0; selector <= 1; selector++)
			for (unsigned matching = 0; matching <= 2; matching++) {
				struct slice data =
				    matching_data(&w, usage, selector, matching, bytes);

				if (shake(&w, w.strict, data, HOST, failure) != TLS_OPEN)
					fail_msg(
					    "%u %u %u: %s", usage, selector, matching, failure);
				if (matching == 0)
					continue; /* a full one that is bent is no certificate */
				bytes[data.len - 1] = (char)(bytes[data.len - 1] ^ 1);
				assert_int_equal(
				    shake(&w, w.open, data, HOST, failure), TLS_FAILED);
				assert_non_null(strstr(failure, "TLSA"));
			}
	world_release(&w);
}

/* RFC 7672 3.1.1: of DANE-EE neither name nor dates count; of DANE-TA both do. */
static void
test_names_and_dates(void **state)
{
	struct world other, old;
	char bytes[2048], failure[512];

	(void)state;
	world_init(&other, "other.example", -60);
	assert_int_equal(
	    shake(&other, other.open, matching_data(&other, 3, 1, 1, bytes), HOST, failure),
	    TLS_OPEN);
	assert_int_equal(
	    shake(&other, other.open, matching_data(&other, 2, 0, 1, bytes), HOST, failure),
	    TLS_FAILED);
	assert_string_equal(failure, "certificate is not for " HOST);
	/* an alias: the name of the base is as good as that of MX */
	assert_int_equal(shake(&other, other.open, matching_data(&other, 2, 0, 1, bytes),
			     "other.example", failure),
	    TLS_OPEN);
	world_release(&other);

	world_init(&old, HOST, -864000);
	assert_int_equal(
	    shake(&old, old.open, matching_data(&old, 3, 1, 1, bytes), HOST, failure), TLS_OPEN);
	assert_int_equal(
	    shake(&old, old.open, matching_data(&old, 2, 0, 1, bytes), HOST, failure), TLS_FAILED);
	assert_non_null(strstr(failure, "expired"));
	/* ... and the name of MX behind another base */
	world_release(&old);
	world_init(&old, HOST, -60);
	assert_int_equal(
	    shake(&old, old.open, matching_data(&old, 2, 0, 1, bytes), "base.example", failure),
	    TLS_OPEN);
	world_release(&old);
}

/* A record that only OpenSSL finds unusable asks for nothing; the context decides. */
static void
test_unusable(void **state)
{
	struct world w;
	char bytes[64], failure[512];
	struct slice data = data_of(bytes, 3, 0, 0, 40);

	(void)state;
	world_init(&w, HOST, -60);
	assert_int_equal(shake(&w, w.open, data, HOST, failure), TLS_OPEN);
	assert_int_equal(shake(&w, w.strict, data, HOST, failure), TLS_FAILED);
	assert_int_equal(shake(&w, w.open, (struct slice){ NULL, 0 }, HOST, failure), TLS_OPEN);
	assert_int_equal(shake(&w, w.strict, (struct slice){ NULL, 0 }, HOST, failure), TLS_FAILED);
	world_release(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_usable),
		cmocka_unit_test(test_verdict),
		cmocka_unit_test(test_copy),
		cmocka_unit_test(test_answer),
		cmocka_unit_test(test_canonical),
		cmocka_unit_test(test_every_kind),
		cmocka_unit_test(test_names_and_dates),
		cmocka_unit_test(test_unusable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
