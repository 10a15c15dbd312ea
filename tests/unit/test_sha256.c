/* SPDX-License-Identifier: Apache-2.0 */
/* sha256: against OpenSSL's functions for one call, and the vectors of FIPS 180 and RFC 4231. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "sha256.h"

#define KEY_MAX 130 /* longer than a block, too */

static void
test_vectors(void **state)
{
	static const uint8_t abc[] = { 0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea };
	static const uint8_t jefe[] = { 0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e };
	uint8_t sum[SHA256_BYTES];

	(void)state;
	sha256(SLICE("abc"), sum);
	assert_memory_equal(sum, abc, sizeof(abc));
	/* RFC 4231, test case 2 */
	sha256_hmac("Jefe", 4, SLICE("what do ya want for nothing?"), sum);
	assert_memory_equal(sum, jefe, sizeof(jefe));
	/* the key may be overwritten by its sum, as chains of keys are made */
	memcpy(sum, "Jefe", 4);
	sha256_hmac(sum, 4, SLICE("what do ya want for nothing?"), sum);
	assert_memory_equal(sum, jefe, sizeof(jefe));
}

static void
test_like_openssl(void **state)
{
	unsigned char bytes[300], key[KEY_MAX], theirs[EVP_MAX_MD_SIZE];
	uint8_t sum[SHA256_BYTES];
	struct sha256_key made;
	unsigned n;

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)(i * 7);
	memcpy(key, bytes + 100, sizeof(key));
	for (size_t len = 0; len < sizeof(bytes); len++) {
		struct slice s = { (const char *)bytes, len };
		size_t key_bytes = len % (KEY_MAX + 1);

		sha256(s, sum);
		assert_int_equal(EVP_Digest(bytes, len, theirs, &n, EVP_sha256(), NULL), 1);
		assert_memory_equal(sum, theirs, sizeof(sum));
		sha256_hmac(key, key_bytes, s, sum);
		assert_non_null(HMAC(EVP_sha256(), key, (int)key_bytes, bytes, len, theirs, &n));
		assert_memory_equal(sum, theirs, sizeof(sum));
		sha256_key_make(&made, key, key_bytes);
		for (int again = 0; again < 2; again++) { /* it is not used up */
			sha256_key_hmac(&made, s, sum);
			assert_memory_equal(sum, theirs, sizeof(sum));
		}
	}
	sha256((struct slice){ NULL, 0 }, sum);
	assert_int_equal(EVP_Digest("", 0, theirs, &n, EVP_sha256(), NULL), 1);
	assert_memory_equal(sum, theirs, sizeof(sum));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_like_openssl),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
