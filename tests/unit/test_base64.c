/* SPDX-License-Identifier: Apache-2.0 */
/* base64: against OpenSSL's, for every length around those that are looked up in another way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base64.h"

static void
test_like_openssl(void **state)
{
	unsigned char theirs[512];

	(void)state;
	for (size_t n = 0; n < 300; n++) {
		/* exactly as long as they are, so that one byte too far is seen */
		unsigned char *bytes = malloc(n > 0 ? n : 1);
		char *ours = malloc(BASE64_SIZE(n) + 1);

		assert_non_null(bytes);
		assert_non_null(ours);
		for (size_t i = 0; i < n; i++)
			bytes[i] = (unsigned char)(i * 89 + n * 7 + (i * i >> 3));
		ours[BASE64_SIZE(n)] = '~';
		assert_ptr_equal(base64_put(ours, bytes, n), ours + BASE64_SIZE(n));
		assert_int_equal(EVP_EncodeBlock(theirs, bytes, (int)n), BASE64_SIZE(n));
		assert_memory_equal(ours, theirs, BASE64_SIZE(n));
		assert_int_equal(ours[BASE64_SIZE(n)], '~');
		free(bytes);
		free(ours);
	}
}

static void
test_every_digit(void **state)
{
	unsigned char bytes[3], theirs[8];
	char ours[4];

	(void)state;
	for (unsigned v = 0; v < 4096; v++) {
		bytes[0] = (unsigned char)(v >> 4);
		bytes[1] = (unsigned char)(v << 4 | v >> 8);
		bytes[2] = (unsigned char)v;
		(void)base64_put(ours, bytes, 3);
		(void)EVP_EncodeBlock(theirs, bytes, 3);
		assert_memory_equal(ours, theirs, 4);
	}
}

/* Every digit in every place of a long text. */
static void
test_every_place(void **state)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	unsigned char text[64], bytes[48];
	char ours[64];

	(void)state;
	for (size_t first = 0; first < 64; first++) {
		for (size_t i = 0; i < sizeof(text); i++)
			text[i] = (unsigned char)digits[(first + i) % 64];
		assert_int_equal(EVP_DecodeBlock(bytes, text, sizeof(text)), sizeof(bytes));
		(void)base64_put(ours, bytes, sizeof(bytes));
		assert_memory_equal(ours, text, sizeof(text));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_like_openssl),
		cmocka_unit_test(test_every_digit),
		cmocka_unit_test(test_every_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
