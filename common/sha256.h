/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sha256: SHA-256 and its HMAC (RFC 2104) for what is made once or more for every message. OpenSSL's
 * functions for one call look the algorithm up by name each time, which takes several times as
 * long as hashing a token.
 */
#ifndef KAIRAN_SHA256_H
#define KAIRAN_SHA256_H

#include <openssl/sha.h>
#include <stddef.h>
#include <stdint.h>

#include "slice.h"

#define SHA256_BYTES 32

void sha256(struct slice bytes, uint8_t sum[SHA256_BYTES]);

/* A key made ready, for many texts: half the work of a short one. Wipe it with OPENSSL_cleanse. */
struct sha256_key {
	SHA256_CTX inner, outer;
};
void sha256_key_make(struct sha256_key *made, const void *key, size_t key_bytes);
void sha256_key_hmac(const struct sha256_key *made, struct slice bytes, uint8_t sum[SHA256_BYTES]);

/* The same for one text. key may be `sum` itself. */
void sha256_hmac(const void *key, size_t key_bytes, struct slice bytes, uint8_t sum[SHA256_BYTES]);

#endif
