/* SPDX-License-Identifier: Apache-2.0 */
/* sha256: see sha256.h. The functions used are deprecated by OpenSSL 3 in favour of those that
 * look up; they are there as long as its major version is. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "sha256.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <string.h>

void
sha256(struct slice bytes, uint8_t sum[SHA256_BYTES])
{
	SHA256_CTX ctx;

	(void)SHA256_Init(&ctx);
	(void)SHA256_Update(&ctx, bytes.ptr, bytes.len);
	(void)SHA256_Final(sum, &ctx);
}

/* key_bytes: at most a block. */
static void
begin(SHA256_CTX *ctx, const void *key, size_t key_bytes, unsigned char pad)
{
	unsigned char block[SHA256_CBLOCK];

	memset(block, pad, sizeof(block));
	for (size_t i = 0; i < key_bytes; i++)
		block[i] ^= ((const unsigned char *)key)[i];
	(void)SHA256_Init(ctx);
	(void)SHA256_Update(ctx, block, sizeof(block));
	OPENSSL_cleanse(block, sizeof(block));
}

void
sha256_key_make(struct sha256_key *made, const void *key, size_t key_bytes)
{
	uint8_t hashed[SHA256_BYTES];

	if (key_bytes > SHA256_CBLOCK) {
		sha256(slice_make(key, key_bytes), hashed);
		key = hashed;
		key_bytes = sizeof(hashed);
	}
	begin(&made->inner, key, key_bytes, 0x36);
	begin(&made->outer, key, key_bytes, 0x5c);
	OPENSSL_cleanse(hashed, sizeof(hashed));
}

void
sha256_key_hmac(const struct sha256_key *made, struct slice bytes, uint8_t sum[SHA256_BYTES])
{
	SHA256_CTX ctx = made->inner;
	uint8_t middle[SHA256_BYTES];

	(void)SHA256_Update(&ctx, bytes.ptr, bytes.len);
	(void)SHA256_Final(middle, &ctx);
	ctx = made->outer;
	(void)SHA256_Update(&ctx, middle, sizeof(middle));
	(void)SHA256_Final(sum, &ctx);
}

void
sha256_hmac(const void *key, size_t key_bytes, struct slice bytes, uint8_t sum[SHA256_BYTES])
{
	struct sha256_key made;

	sha256_key_make(&made, key, key_bytes);
	sha256_key_hmac(&made, bytes, sum);
	OPENSSL_cleanse(&made, sizeof(made));
}
