/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sns_cert: the certificates that sign SNS documents. Owns a small cache; fetches by libcurl
 * (this blocks for up to SNS_CERT_TIMEOUT_S: call it from a worker). curl_global_init() must
 * have been called by main. Not thread-safe: one cache per thread, or a lock around it.
 *
 * A certificate is handed out only when it is valid now, chains to the configured authorities,
 * names one of the configured subjects, and has an RSA key of at least 2048 bits. SNS serves the
 * leaf alone: without ca_file a missing intermediate is forgiven when TLS vouches for the file.
 */
#ifndef KAIRAN_SNS_CERT_H
#define KAIRAN_SNS_CERT_H

#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"
#include "slice.h"
#include "sns.h"

#define SNS_CERT_CACHE_MAX 8
#define SNS_CERT_CACHE_S (24 * 3600)
#define SNS_CERT_NEGATIVE_S 60
#define SNS_CERT_SIZE_MAX (64 * 1024)
#define SNS_CERT_TIMEOUT_S 5

enum sns_cert_result {
	SNS_CERT_OK,
	SNS_CERT_TEMPORARY, /* could not be fetched now: answer 5xx, SNS tries again */
	SNS_CERT_REFUSED    /* fetched and not acceptable: answer 403 */
};

struct sns_cert_config {
	const char *directory;	  /* looked into first, by the last segment of the URL; or NULL */
	const char *ca_file;	  /* PEM; NULL: the system's default store */
	const char *const *names; /* accepted subjects; NULL: { "sns.amazonaws.com" } */
	size_t name_count;
	/* Replaces the fetch by libcurl (tests); 0 with the PEM in body, or -1 with err. */
	int (*fetch)(void *context, struct slice url, struct buf *body, struct err *err);
	void *fetch_context;
};

struct sns_cert_cache;
struct sockaddr;

/* False for loopback, private, link-local, multicast and reserved addresses. */
bool sns_cert_address_is_public(const struct sockaddr *address);

/* config is borrowed for the cache's life. NULL with err when ca_file cannot be read. */
struct sns_cert_cache *sns_cert_cache_new(const struct sns_cert_config *config, struct err *err);
void sns_cert_cache_free(struct sns_cert_cache *cache);

/* url must have passed sns_cert_url_check. now_s: seconds since 1970. The key of the certificate
 * is borrowed until the next call on the cache. */
enum sns_cert_result sns_cert_get(struct sns_cert_cache *cache, struct slice url, int64_t now_s,
    struct sns_key **key, struct err *err) MUST_CHECK;

#endif
