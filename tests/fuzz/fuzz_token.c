/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_token: no text but what was made verifies, and what verifies is what is made of it. */
#include <assert.h>
#include <stdint.h>

#include "token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
make_from(const uint8_t *data, size_t size)
{
	struct token_keys keys = { .count = 1, .id = { data[0] } };
	struct token t = { (uint32_t)(data[1] << 8 | data[2]), (uint32_t)(data[3] << 8 | data[4]),
		(uint16_t)(data[5] << 8 | data[6]) };
	struct token back = { 0 };
	char text[TOKEN_CHARS + 1];
	size_t at;

	memset(keys.key[0], data[7], TOKEN_KEY_BYTES);
	token_make(&keys, TOKEN_BOUNCE, t, text);
	assert(token_verify(&keys, TOKEN_BOUNCE, slice_str(text), &back));
	assert(back.run == t.run && back.send == t.send && back.attempt == t.attempt);
	assert(!token_verify(&keys, TOKEN_UNSUBSCRIBE, slice_str(text), &back));
	at = size > 9 ? data[8] % TOKEN_CHARS : 0;
	if (size > 9 && data[9] != '\0' && (data[9] | 0x20) != (text[at] | 0x20)) {
		text[at] = (char)data[9];
		assert(!token_verify(&keys, TOKEN_BOUNCE, slice_str(text), &back));
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct token_keys keys = { .count = 1 };
	struct token t;

	/* 80 bits of MAC: a guess is not found here */
	assert(!token_verify(&keys, TOKEN_BOUNCE, slice_make((const char *)data, size), &t) ||
	    size == TOKEN_CHARS);
	if (size >= 8)
		make_from(data, size);
	return 0;
}
