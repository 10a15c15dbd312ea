/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls: see tls.h. Two memory BIOs stand for the network. OpenSSL keeps its errors per thread: the
 * queue is emptied before each call that may fill it, so that no failure is taken for another's.
 */
#include "tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "secret.h"

#define VERSION_MAX 80

struct tls_context {
	SSL_CTX *ctx;
	bool verify;
};

struct tls {
	SSL *ssl;
	BIO *in, *out; /* of ssl */
	enum tls_state state;
	char name[256];
	char failure[512];
	char version[VERSION_MAX];
};

/* The first thing that OpenSSL has to say. */
static const char *
reason(void)
{
	const char *text = ERR_reason_error_string(ERR_peek_error());

	return text != NULL ? text : "no reason given";
}

/* ---- context ---- */

static int
use_certificate(SSL_CTX *ctx, const struct tls_settings *s, struct err *err)
{
	struct stat st;

	if (s->cert_file[0] == '\0' && s->key_file[0] == '\0' && !s->is_server)
		return 0;
	if (s->cert_file[0] == '\0' || s->key_file[0] == '\0')
		return err_set(err, "a certificate needs both its file and its key");
	if (stat(s->key_file, &st) < 0)
		return err_set(err, "cannot open key %s: %s", s->key_file, strerror(errno));
	if (!secret_is_private(s->key_file, st.st_mode))
		return err_set(err, "key %s can be read by others; run: chmod 600 %s", s->key_file,
		    s->key_file);
	if (SSL_CTX_use_certificate_chain_file(ctx, s->cert_file) != 1)
		return err_set(err, "certificate %s: %s", s->cert_file, reason());
	if (SSL_CTX_use_PrivateKey_file(ctx, s->key_file, SSL_FILETYPE_PEM) != 1)
		return err_set(err, "key %s: %s", s->key_file, reason());
	if (SSL_CTX_check_private_key(ctx) != 1)
		return err_set(
		    err, "key %s is not that of certificate %s", s->key_file, s->cert_file);
	return 0;
}

static int
use_settings(SSL_CTX *ctx, const struct tls_settings *s, struct err *err)
{
	if (SSL_CTX_set_min_proto_version(ctx, s->only_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION) != 1)
		return err_set(err, "OpenSSL refuses the TLS version: %s", reason());
	(void)SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
	(void)SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
	if (s->is_server) { /* no sessions are kept: a stranger costs no memory when he has left */
		(void)SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
		(void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
		return use_certificate(ctx, s, err);
	}
	if (SSL_CTX_dane_enable(ctx) != 1)
		return err_set(err, "OpenSSL refuses DANE: %s", reason());
	SSL_CTX_set_verify(ctx, s->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
	if (!s->verify)
		return use_certificate(ctx, s, err);
	if (s->ca_file[0] == '\0') {
		if (SSL_CTX_set_default_verify_paths(ctx) != 1)
			return err_set(err, "the system's certificate authorities: %s", reason());
	} else if (SSL_CTX_load_verify_locations(ctx, s->ca_file, NULL) != 1) {
		return err_set(err, "certificate authorities %s: %s", s->ca_file, reason());
	}
	return use_certificate(ctx, s, err);
}

struct tls_context *
tls_context_new(const struct tls_settings *settings, struct err *err)
{
	struct tls_context *c = calloc(1, sizeof(*c));

	ERR_clear_error();
	if (c != NULL)
		c->ctx =
		    SSL_CTX_new(settings->is_server ? TLS_server_method() : TLS_client_method());
	if (c == NULL || c->ctx == NULL) {
		(void)err_set(err, "no memory for TLS");
		free(c);
		return NULL;
	}
	c->verify = settings->verify;
	if (use_settings(c->ctx, settings, err) == 0)
		return c;
	tls_context_free(c);
	return NULL;
}

void
tls_context_free(struct tls_context *c)
{
	if (c == NULL)
		return;
	SSL_CTX_free(c->ctx);
	free(c);
}

/* ---- one connection ---- */

/* An address is verified as such and not sent as SNI (RFC 6066 3). */
static bool
use_name(struct tls *t, bool verify)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(t->ssl);
	unsigned char address[16];

	if (inet_pton(AF_INET, t->name, address) == 1 || inet_pton(AF_INET6, t->name, address) == 1)
		return !verify || X509_VERIFY_PARAM_set1_ip_asc(param, t->name) == 1;
	if (SSL_set_tlsext_host_name(t->ssl, t->name) != 1)
		return false;
	X509_VERIFY_PARAM_set_hostflags(
	    param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
	return !verify || X509_VERIFY_PARAM_set1_host(param, t->name, 0) == 1;
}

/* RFC 7672 3: a certificate by DANE-EE is as good as its record, whatever its names and dates; one
 * below DANE-TA carries the base or the name that MX gives. *used: records that OpenSSL takes. */
static bool
use_tlsa(struct tls *t, const struct tlsa *tlsa, size_t *used)
{
	if (SSL_dane_enable(t->ssl, tlsa->base) != 1)
		return false;
	(void)SSL_dane_set_flags(t->ssl, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
	SSL_set_hostflags(t->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (strcmp(tlsa->host, tlsa->base) != 0 && SSL_add1_host(t->ssl, tlsa->host) != 1)
		return false;
	for (size_t i = 0; i < tlsa->count; i++) {
		const struct tlsa_record *r = &tlsa->records[i];

		*used += SSL_dane_tlsa_add(t->ssl, r->usage, r->selector, r->matching,
			     (const unsigned char *)r->data.ptr, r->data.len) == 1;
	}
	if (*used > 0)
		SSL_set_verify(t->ssl, SSL_VERIFY_PEER, NULL);
	return true;
}

static void
set_failure(struct tls *t, const char *text)
{
	t->state = TLS_FAILED;
	(void)snprintf(t->failure, sizeof(t->failure), "%s", text);
}

/* The handshake, or reading, ended badly. */
static void
fail(struct tls *t)
{
	long verdict = SSL_get_verify_result(t->ssl);
	unsigned long e = ERR_peek_error();

	t->state = TLS_FAILED;
	if (ERR_GET_LIB(e) != ERR_LIB_SSL || ERR_GET_REASON(e) != SSL_R_CERTIFICATE_VERIFY_FAILED)
		(void)snprintf(t->failure, sizeof(t->failure), "TLS: %s", reason());
	else if (verdict == X509_V_ERR_HOSTNAME_MISMATCH ||
	    verdict == X509_V_ERR_IP_ADDRESS_MISMATCH)
		(void)snprintf(
		    t->failure, sizeof(t->failure), "certificate is not for %s", t->name);
	else
		(void)snprintf(t->failure, sizeof(t->failure), "certificate of %s: %s", t->name,
		    X509_verify_cert_error_string(verdict));
}

/* What an SSL_* call that did not succeed means for the connection. */
static void
look(struct tls *t, int result)
{
	switch (SSL_get_error(t->ssl, result)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		break;
	case SSL_ERROR_ZERO_RETURN:
		t->state = TLS_ENDED;
		break;
	default:
		fail(t);
		break;
	}
}

static void
step(struct tls *t)
{
	int result;

	if (t->state != TLS_HANDSHAKE)
		return;
	ERR_clear_error();
	result = SSL_do_handshake(t->ssl);
	if (result == 1) {
		t->state = TLS_OPEN;
		(void)snprintf(t->version, sizeof(t->version), "%s %s%s", SSL_get_version(t->ssl),
		    SSL_get_cipher_name(t->ssl),
		    SSL_get0_dane_authority(t->ssl, NULL, NULL) >= 0 ? ", verified by DANE" : "");
	} else {
		look(t, result);
		if (t->state == TLS_ENDED)
			set_failure(t, "TLS: the peer closed during the handshake");
	}
}

static struct tls *
connection_new(struct tls_context *c)
{
	struct tls *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	ERR_clear_error();
	t->ssl = SSL_new(c->ctx);
	t->in = BIO_new(BIO_s_mem());
	t->out = BIO_new(BIO_s_mem());
	if (t->ssl != NULL && t->in != NULL && t->out != NULL) {
		SSL_set_bio(t->ssl, t->in, t->out);
		return t;
	}
	BIO_free(t->in);
	BIO_free(t->out);
	SSL_free(t->ssl);
	free(t);
	return NULL;
}

struct tls *
tls_new(struct tls_context *c, const char *name, const struct tlsa *tlsa)
{
	struct tls *t = connection_new(c);
	size_t used = 0;

	if (t == NULL)
		return NULL;
	(void)snprintf(t->name, sizeof(t->name), "%s", name);
	if ((tlsa != NULL && !use_tlsa(t, tlsa, &used)) || (used == 0 && !use_name(t, c->verify))) {
		tls_free(t);
		return NULL;
	}
	SSL_set_connect_state(t->ssl);
	step(t);
	return t;
}

struct tls *
tls_accept(struct tls_context *c)
{
	struct tls *t = connection_new(c);

	if (t != NULL)
		SSL_set_accept_state(t->ssl);
	return t;
}

void
tls_free(struct tls *t)
{
	if (t == NULL)
		return;
	SSL_free(t->ssl);
	free(t);
}

void
tls_input(struct tls *t, const char *bytes, size_t n)
{
	size_t taken;

	if (t->state == TLS_FAILED || n == 0)
		return;
	ERR_clear_error();
	if (BIO_write_ex(t->in, bytes, n, &taken) != 1 || taken != n)
		set_failure(t, "TLS: no memory");
	else
		step(t);
}

size_t
tls_read(struct tls *t, char *dst, size_t n)
{
	size_t got = 0;
	int result;

	if (t->state != TLS_OPEN)
		return 0;
	ERR_clear_error();
	result = SSL_read_ex(t->ssl, dst, n, &got);
	if (result != 1) {
		look(t, result);
		return 0;
	}
	return got;
}

bool
tls_write(struct tls *t, struct slice text)
{
	size_t written;

	if (t->state != TLS_OPEN || text.len == 0)
		return t->state == TLS_OPEN;
	ERR_clear_error();
	/* into memory: all or nothing */
	if (SSL_write_ex(t->ssl, text.ptr, text.len, &written) == 1 && written == text.len)
		return true;
	fail(t);
	return false;
}

struct slice
tls_output(struct tls *t)
{
	char *bytes = NULL;
	long n = BIO_get_mem_data(t->out, &bytes);

	return slice_make(bytes, n > 0 ? (size_t)n : 0);
}

void
tls_wrote(struct tls *t, size_t n)
{
	char dropped[4096];

	if (n == tls_output(t).len) {
		(void)BIO_reset(t->out);
		return;
	}
	while (n > 0) {
		int got =
		    BIO_read(t->out, dropped, (int)(n < sizeof(dropped) ? n : sizeof(dropped)));

		if (got <= 0)
			return;
		n -= (size_t)got;
	}
}

void
tls_close(struct tls *t)
{
	ERR_clear_error();
	if (t->state == TLS_OPEN || t->state == TLS_ENDED)
		(void)SSL_shutdown(t->ssl);
}

enum tls_state
tls_state(const struct tls *t)
{
	return t->state;
}

const char *
tls_failure(const struct tls *t)
{
	return t->failure;
}

const char *
tls_version(const struct tls *t)
{
	return t->version;
}
