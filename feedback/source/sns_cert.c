/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sns_cert: fetches, checks and keeps the certificates that sign SNS documents. Owns the cache
 * and the trust store. Promises: https only, no redirect, no proxy, public addresses only, a
 * bounded body, time and number of fetches; a certificate is judged before it is kept.
 *
 * SNS serves the leaf alone. Without ca_file a chain that lacks only its intermediate is
 * accepted when the certificate came by TLS from the pinned host name; with ca_file (which may
 * hold intermediates) the chain must be complete, wherever the certificate came from.
 */
#include "sns_cert.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CHAIN_MAX 8
#define FETCHES_MAX 10 /* within SNS_CERT_NEGATIVE_S */

struct entry {
	char url[512 + 1];   /* empty: free */
	struct sns_key *key; /* owned; NULL in the list of failures */
	int64_t at_s;
	int64_t from_s, until_s; /* the certificate's own life, seconds since 1970 */
	int64_t tried_s;	 /* of a good one: the last renewal that failed, 0: none */
	enum sns_cert_result result;
};

struct sns_cert_cache {
	const struct sns_cert_config *config;
	X509_STORE *store;
	struct entry good[SNS_CERT_CACHE_MAX];
	struct entry bad[SNS_CERT_CACHE_MAX];
	int64_t window_s; /* start of the window in which fetches are counted */
	unsigned fetches;
};

struct sns_cert_cache *
sns_cert_cache_new(const struct sns_cert_config *config, struct err *err)
{
	struct sns_cert_cache *cache = calloc(1, sizeof(*cache));
	int ok;

	if (cache == NULL || (cache->store = X509_STORE_new()) == NULL) {
		free(cache);
		(void)err_set(err, "no memory for the certificate cache");
		return NULL;
	}
	cache->config = config;
	if (config->ca_file != NULL)
		ok = X509_STORE_load_file(cache->store, config->ca_file);
	else
		ok = X509_STORE_set_default_paths(cache->store);
	if (ok == 1 && config->ca_file != NULL)
		ok = X509_STORE_set_flags(cache->store, X509_V_FLAG_PARTIAL_CHAIN);
	if (ok != 1) {
		(void)err_set(err, "cannot read certificates from %s",
		    config->ca_file != NULL ? config->ca_file : "the system's default store");
		sns_cert_cache_free(cache);
		return NULL;
	}
	return cache;
}

static void
entry_clear(struct entry *entry)
{
	sns_key_free(entry->key);
	memset(entry, 0, sizeof(*entry));
}

void
sns_cert_cache_free(struct sns_cert_cache *cache)
{
	if (cache == NULL)
		return;
	for (size_t i = 0; i < SNS_CERT_CACHE_MAX; i++)
		entry_clear(&cache->good[i]);
	X509_STORE_free(cache->store);
	free(cache);
}

static bool
is_public_v4(uint32_t a)
{
	static const struct {
		uint32_t net, mask;
	} closed[] = {
		{ 0x00000000, 0xFF000000 }, { 0x0A000000, 0xFF000000 }, /* this host, private */
		{ 0x64400000, 0xFFC00000 }, { 0x7F000000, 0xFF000000 }, /* carrier, loopback */
		{ 0xA9FE0000, 0xFFFF0000 }, { 0xAC100000, 0xFFF00000 }, /* link-local, private */
		{ 0xC0000000, 0xFFFFFF00 }, { 0xC0000200, 0xFFFFFF00 }, /* protocols, examples */
		{ 0xC0A80000, 0xFFFF0000 }, { 0xC6120000, 0xFFFE0000 }, /* private, benchmarks */
		{ 0xC6336400, 0xFFFFFF00 }, { 0xCB007100, 0xFFFFFF00 }, /* examples */
		{ 0xE0000000, 0xE0000000 },				/* multicast, reserved */
	};

	for (size_t i = 0; i < sizeof(closed) / sizeof(closed[0]); i++)
		if ((a & closed[i].mask) == closed[i].net)
			return false;
	return true;
}

bool
sns_cert_address_is_public(const struct sockaddr *address)
{
	if (address->sa_family == AF_INET) {
		struct sockaddr_in in;
		memcpy(&in, address, sizeof(in));
		return is_public_v4(ntohl(in.sin_addr.s_addr));
	}
	if (address->sa_family == AF_INET6) {
		struct sockaddr_in6 in6;
		const uint8_t *b = in6.sin6_addr.s6_addr;
		memcpy(&in6, address, sizeof(in6));
		if ((b[0] & 0xE0) != 0x20) /* only 2000::/3 is global unicast */
			return false;
		if (b[0] == 0x20 && b[1] == 0x02) /* 6to4 may hide a private IPv4 address */
			return false;
		/* 2001::/23 is for protocols (Teredo among them), 2001:db8::/32 for examples */
		return !(
		    b[0] == 0x20 && b[1] == 0x01 && (b[2] <= 1 || (b[2] == 0x0D && b[3] == 0xB8)));
	}
	return false;
}

static curl_socket_t
open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
	(void)context;
	if (purpose != CURLSOCKTYPE_IPCXN || !sns_cert_address_is_public(&address->addr))
		return CURL_SOCKET_BAD;
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static size_t
take_body(char *bytes, size_t size, size_t count, void *context)
{
	struct buf *body = context;

	buf_append(body, bytes, size * count);
	return buf_failed(body) ? 0 : size * count;
}

static int
fetch_by_curl(struct slice url, struct buf *body, struct err *err)
{
	char text[512 + 1];
	CURL *curl = curl_easy_init();
	CURLcode code = CURLE_OUT_OF_MEMORY;
	long status = 0;

	memcpy(text, url.ptr, url.len);
	text[url.len] = '\0';
	if (curl != NULL) {
		(void)curl_easy_setopt(curl, CURLOPT_URL, text);
		(void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
		(void)curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
		(void)curl_easy_setopt(curl, CURLOPT_PROXY, "");
		(void)curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
		(void)curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L);
		(void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
		(void)curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)SNS_CERT_TIMEOUT_S);
		(void)curl_easy_setopt(curl, CURLOPT_MAXFILESIZE, (long)SNS_CERT_SIZE_MAX);
		(void)curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, open_socket);
		(void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
		(void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
		code = curl_easy_perform(curl);
		if (code == CURLE_OK)
			(void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
		curl_easy_cleanup(curl);
	}
	if (code != CURLE_OK)
		return err_set(err, "cannot fetch the certificate: %s", curl_easy_strerror(code));
	if (status != 200)
		return err_set(err, "cannot fetch the certificate: HTTP status %ld", status);
	return 0;
}

/* The file in the directory named like the URL's last segment; false when there is none. */
static bool
read_from_directory(const char *directory, struct slice url, struct buf *body)
{
	char path[1024], chunk[4096];
	const char *name = memrchr(url.ptr, '/', url.len);
	FILE *file;
	size_t n;
	int len;

	if (directory == NULL || name == NULL)
		return false;
	len = snprintf(
	    path, sizeof(path), "%s%.*s", directory, (int)(url.ptr + url.len - name), name);
	if ((size_t)len >= sizeof(path) || (file = fopen(path, "re")) == NULL)
		return false;
	while ((n = fread(chunk, 1, sizeof(chunk), file)) > 0)
		buf_append(body, chunk, n);
	(void)fclose(file);
	return !buf_failed(body) && body->len > 0;
}

/* The first certificate of the text; those behind it to others. */
static X509 *
read_pem(BIO *bio, STACK_OF(X509) * others)
{
	X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL), *next;

	while (cert != NULL && sk_X509_num(others) < CHAIN_MAX &&
	    (next = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
		if (sk_X509_push(others, next) == 0) {
			X509_free(next);
			break;
		}
	}
	return cert;
}

static bool
is_name_accepted(const struct sns_cert_config *config, X509 *cert)
{
	static const char *const fallback[] = { "sns.amazonaws.com" };
	const char *const *names = config->names != NULL ? config->names : fallback;
	size_t count = config->names != NULL ? config->name_count : 1;

	for (size_t i = 0; i < count; i++)
		if (X509_check_host(cert, names[i], 0, X509_CHECK_FLAG_NO_WILDCARDS, NULL) == 1)
			return true;
	return false;
}

static enum sns_cert_result
no_memory(struct err *err)
{
	(void)err_set(err, "no memory to check the certificate");
	return SNS_CERT_TEMPORARY;
}

static enum sns_cert_result
check_chain(const struct sns_cert_cache *cache, X509 *cert, STACK_OF(X509) * others, int64_t now_s,
    bool by_tls, struct err *err)
{
	X509_STORE_CTX *context = X509_STORE_CTX_new();
	int ok, code;

	if (context == NULL || X509_STORE_CTX_init(context, cache->store, cert, others) != 1) {
		X509_STORE_CTX_free(context);
		return no_memory(err);
	}
	X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(context), (time_t)now_s);
	ok = X509_verify_cert(context);
	code = X509_STORE_CTX_get_error(context);
	X509_STORE_CTX_free(context);
	if (ok == 1)
		return SNS_CERT_OK;
	if (by_tls && cache->config->ca_file == NULL &&
	    code == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY)
		return SNS_CERT_OK;
	(void)err_set(
	    err, "the certificate is not acceptable: %s", X509_verify_cert_error_string(code));
	return SNS_CERT_REFUSED;
}

/* Seconds since 1970; false for what is no time. */
static bool
seconds_of(const ASN1_TIME *time, int64_t *seconds)
{
	struct tm tm;

	if (ASN1_TIME_to_tm(time, &tm) != 1)
		return false;
	*seconds = (int64_t)timegm(&tm);
	return true;
}

/* As X509_verify_cert counts: from the first second on (RFC 5280 4.1.2.5), until the last. */
static bool
is_valid_at(const struct entry *entry, int64_t now_s)
{
	return entry->from_s <= now_s && now_s < entry->until_s;
}

/* Fills the life of entry. */
static enum sns_cert_result
check_cert(const struct sns_cert_cache *cache, X509 *cert, STACK_OF(X509) * others, int64_t now_s,
    bool by_tls, struct entry *entry, struct err *err)
{
	const char *why = NULL;

	if (cert == NULL)
		why = "the certificate is not PEM";
	else if (!seconds_of(X509_get0_notBefore(cert), &entry->from_s) ||
	    !seconds_of(X509_get0_notAfter(cert), &entry->until_s) || !is_valid_at(entry, now_s))
		why = "the certificate is expired or not yet valid";
	else if (!is_name_accepted(cache->config, cert))
		why = "the certificate names another subject";
	if (why != NULL) {
		(void)err_set(err, "%s", why);
		return SNS_CERT_REFUSED;
	}
	if (!sns_key_check(cert, err))
		return SNS_CERT_REFUSED;
	return check_chain(cache, cert, others, now_s, by_tls, err);
}

/* Fills key and life of entry, or leaves its key NULL with err. */
static enum sns_cert_result
judge(const struct sns_cert_cache *cache, const struct buf *body, int64_t now_s, bool by_tls,
    struct entry *entry, struct err *err)
{
	STACK_OF(X509) *others = sk_X509_new_null();
	BIO *bio = BIO_new_mem_buf(buf_str(body), (int)body->len);
	enum sns_cert_result result = SNS_CERT_TEMPORARY;
	X509 *cert = NULL;

	if (others == NULL || bio == NULL) {
		(void)no_memory(err);
	} else {
		cert = read_pem(bio, others);
		result = check_cert(cache, cert, others, now_s, by_tls, entry, err);
	}
	if (result == SNS_CERT_OK && (entry->key = sns_key_new(cert, err)) == NULL)
		result = SNS_CERT_TEMPORARY;
	sk_X509_pop_free(others, X509_free);
	X509_free(cert);
	(void)BIO_free(bio);
	return result;
}

/* Of any age: its place was earned by a certificate. */
static struct entry *
find_known(struct sns_cert_cache *cache, struct slice url)
{
	for (size_t i = 0; i < SNS_CERT_CACHE_MAX; i++)
		if (cache->good[i].url[0] != '\0' &&
		    slice_equal(slice_str(cache->good[i].url), url))
			return &cache->good[i];
	return NULL;
}

static struct entry *
find(struct entry *list, struct slice url, int64_t now_s, int64_t age_max_s)
{
	for (size_t i = 0; i < SNS_CERT_CACHE_MAX; i++) {
		if (list[i].url[0] == '\0' || !slice_equal(slice_str(list[i].url), url))
			continue;
		if (now_s >= list[i].at_s && now_s - list[i].at_s < age_max_s)
			return &list[i];
		entry_clear(&list[i]);
	}
	return NULL;
}

/* A free place, or that of the oldest. */
static struct entry *
place(struct entry *list, struct slice url, int64_t now_s)
{
	struct entry *entry = &list[0];

	for (size_t i = 0; i < SNS_CERT_CACHE_MAX; i++) {
		if (list[i].url[0] == '\0') {
			entry = &list[i];
			break;
		}
		if (list[i].at_s < entry->at_s)
			entry = &list[i];
	}
	entry_clear(entry);
	memcpy(entry->url, url.ptr, url.len);
	entry->url[url.len] = '\0';
	entry->at_s = now_s;
	return entry;
}

static bool
may_fetch(struct sns_cert_cache *cache, int64_t now_s)
{
	if (now_s < cache->window_s || now_s - cache->window_s >= SNS_CERT_NEGATIVE_S) {
		cache->window_s = now_s;
		cache->fetches = 0;
	}
	return cache->fetches++ < FETCHES_MAX;
}

/* Directory, then network; fills key and life of entry on success. What is known is fetched again whatever names
 * strangers make up: it has the time of its last failure instead of a share in the budget. */
static enum sns_cert_result
obtain(struct sns_cert_cache *cache, struct slice url, int64_t now_s, bool is_known,
    struct entry *entry, struct err *err)
{
	const struct sns_cert_config *config = cache->config;
	struct buf body;
	bool by_tls = false;
	enum sns_cert_result result = SNS_CERT_TEMPORARY;

	buf_init(&body, SNS_CERT_SIZE_MAX);
	if (!read_from_directory(config->directory, url, &body)) {
		buf_reset(&body);
		by_tls = true;
		if (!is_known && !may_fetch(cache, now_s)) {
			(void)err_set(err, "too many certificates were fetched in a short time");
			goto out;
		}
		if ((config->fetch != NULL ? config->fetch(config->fetch_context, url, &body, err)
					   : fetch_by_curl(url, &body, err)) < 0)
			goto out;
	}
	result = judge(cache, &body, now_s, by_tls, entry, err);
out:
	buf_release(&body);
	return result;
}

static bool
was_tried(const struct entry *known, int64_t now_s)
{
	return known->tried_s != 0 && now_s >= known->tried_s &&
	    now_s - known->tried_s < SNS_CERT_NEGATIVE_S;
}

enum sns_cert_result
sns_cert_get(struct sns_cert_cache *cache, struct slice url, int64_t now_s, struct sns_key **key,
    struct err *err)
{
	struct entry *entry, *known, fresh = { 0 };
	enum sns_cert_result result;

	*key = NULL;
	if (url.len == 0 || url.len >= sizeof(entry->url) ||
	    memchr(url.ptr, '\0', url.len) != NULL) {
		(void)err_set(err, "the address of the certificate is too long");
		return SNS_CERT_REFUSED;
	}
	known = find_known(cache, url);
	if (known != NULL && now_s >= known->at_s && now_s - known->at_s < SNS_CERT_CACHE_S &&
	    is_valid_at(known, now_s)) {
		*key = known->key;
		return SNS_CERT_OK;
	}
	entry = find(cache->bad, url, now_s, SNS_CERT_NEGATIVE_S);
	if (entry != NULL || (known != NULL && was_tried(known, now_s))) {
		(void)err_set(err, "the certificate could not be had a moment ago");
		return entry != NULL ? entry->result : SNS_CERT_TEMPORARY;
	}
	result = obtain(cache, url, now_s, known != NULL, &fresh, err);
	if (known != NULL && result == SNS_CERT_TEMPORARY) {
		known->tried_s = now_s;
		return result;
	}
	if (known != NULL)
		entry_clear(known);
	entry = place(result == SNS_CERT_OK ? cache->good : cache->bad, url, now_s);
	entry->result = result;
	entry->key = *key = fresh.key;
	entry->from_s = fresh.from_s;
	entry->until_s = fresh.until_s;
	return result;
}
