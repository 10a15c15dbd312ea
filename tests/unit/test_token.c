/* SPDX-License-Identifier: Apache-2.0 */
/* test_token: common/token.c: signing, every way of forging, key files, and one fixed vector
 * that later versions must keep. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "token.h"

static void
make_keys(struct token_keys *keys, uint8_t id, unsigned char fill)
{
	*keys = (struct token_keys){ .count = 1, .id = { id } };
	memset(keys->key[0], fill, TOKEN_KEY_BYTES);
}

static void
test_round_trip(void **state)
{
	static const struct token all[] = { { 0, 0, 0 }, { 1, 2, 3 },
		{ UINT32_MAX, UINT32_MAX, UINT16_MAX }, { 0x80000000, 0x7fffffff, 0x8000 } };
	struct token_keys keys;

	(void)state;
	make_keys(&keys, 7, 0x5a);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		char text[TOKEN_CHARS + 1];
		struct token t = { 0 };

		token_make(&keys, TOKEN_BOUNCE, all[i], text);
		assert_int_equal(strlen(text), TOKEN_CHARS);
		assert_int_equal(strspn(text, "abcdefghijklmnopqrstuvwxyz234567"), TOKEN_CHARS);
		assert_true(token_verify(&keys, TOKEN_BOUNCE, slice_str(text), &t));
		assert_memory_equal(&t, &all[i], sizeof(t));
		for (char *p = text; *p != '\0'; p++)
			if (*p >= 'a' && *p <= 'z')
				*p = (char)(*p - 32);
		assert_true(token_verify(&keys, TOKEN_BOUNCE, slice_str(text), &t));
	}
}

/* Computed apart: base32(payload | HMAC-SHA-256(32 x 0x01, "b" | payload)[:10]). */
static void
test_fixed_vector(void **state)
{
	struct token_keys keys;
	char text[TOKEN_CHARS + 1];

	(void)state;
	make_keys(&keys, 1, 0x01);
	token_make(&keys, TOKEN_BOUNCE, (struct token){ 42, 1000001, 3 }, text);
	assert_string_equal(text, "aeaaaabkaahueqiaaorba4ij5u6b2rmnda");
}

static void
test_purpose_counts(void **state)
{
	struct token_keys keys;
	char text[TOKEN_CHARS + 1];
	struct token t;

	(void)state;
	make_keys(&keys, 1, 2);
	token_make(&keys, TOKEN_BOUNCE, (struct token){ 1, 2, 3 }, text);
	assert_false(token_verify(&keys, TOKEN_UNSUBSCRIBE, slice_str(text), &t));
	assert_false(token_verify(&keys, TOKEN_MESSAGE, slice_str(text), &t));
}

static void
test_every_change_is_seen(void **state)
{
	static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
	struct token_keys keys;
	char text[TOKEN_CHARS + 1];
	struct token t;

	(void)state;
	make_keys(&keys, 1, 3);
	token_make(&keys, TOKEN_BOUNCE, (struct token){ 9, 8, 7 }, text);
	for (int i = 0; i < TOKEN_CHARS; i++) {
		char old = text[i];

		for (int k = 0; k < 32; k++) {
			text[i] = alphabet[k];
			assert_int_equal(token_verify(&keys, TOKEN_BOUNCE, slice_str(text), &t),
			    alphabet[k] == old);
		}
		text[i] = old;
	}
	assert_false(token_verify(&keys, TOKEN_BOUNCE, slice_make(text, TOKEN_CHARS - 1), &t));
	assert_false(token_verify(&keys, TOKEN_BOUNCE, slice_make(text, 0), &t));
	for (const char *p = "1890@[`{ -\x7f"; *p != '\0'; p++) {
		text[0] = *p;
		assert_false(token_verify(&keys, TOKEN_BOUNCE, slice_str(text), &t));
	}
}

static void
test_other_key(void **state)
{
	struct token_keys keys, other;
	char text[TOKEN_CHARS + 1];
	struct token t;

	(void)state;
	make_keys(&keys, 1, 4);
	token_make(&keys, TOKEN_BOUNCE, (struct token){ 1, 1, 1 }, text);
	make_keys(&other, 1, 5);
	assert_false(token_verify(&other, TOKEN_BOUNCE, slice_str(text), &t));
	make_keys(&other, 2, 4);
	assert_false(token_verify(&other, TOKEN_BOUNCE, slice_str(text), &t));
	/* an old key still verifies behind the new one */
	make_keys(&other, 2, 6);
	other.count = 2;
	other.id[1] = 1;
	memset(other.key[1], 4, TOKEN_KEY_BYTES);
	assert_true(token_verify(&other, TOKEN_BOUNCE, slice_str(text), &t));
}

static int
load(const char *text, mode_t mode, struct token_keys *keys, struct err *err)
{
	char path[] = "/tmp/kairan-test-token.XXXXXX";
	int fd = mkstemp(path), result;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
	result = token_keys_load(keys, path, err);
	unlink(path);
	return result;
}

#define HEX64 "00112233445566778899aabbccddeeffFFEEDDCCBBAA99887766554433221100"

static void
test_key_file(void **state)
{
	struct token_keys keys;
	struct err err = { 0 };

	(void)state;
	assert_int_equal(load("# old\n\n2 " HEX64 "\n1 " HEX64, 0600, &keys, &err), 0);
	assert_int_equal(keys.count, 2);
	assert_int_equal(keys.id[0], 2);
	assert_int_equal(keys.id[1], 1);
	assert_int_equal(keys.key[0][1], 0x11);
	assert_int_equal(keys.key[0][16], 0xff);
	token_keys_release(&keys);
	assert_int_equal(keys.count, 0);
	assert_int_equal(keys.key[0][1], 0);
}

static void
test_key_file_refused(void **state)
{
	static const char *const bad[] = { "-1 " HEX64 "\n", "1-" HEX64 "\n",
		"1 " HEX64 "\n1 " HEX64 "\n",
		"1 g0112233445566778899aabbccddeeffFFEEDDCCBBAA99887766554433221100\n", "",
		"# nothing\n", "1\n", "1 abcd\n", "256 " HEX64 "\n", "x " HEX64 "\n",
		"1 " HEX64 "0\n", HEX64 "\n",
		"1 0g112233445566778899aabbccddeeffFFEEDDCCBBAA99887766554433221100\n",
		"1 " HEX64 "\n2 " HEX64 "\n3 " HEX64 "\n4 " HEX64 "\n5 " HEX64 "\n" };
	struct token_keys keys;
	struct err err = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		err.msg[0] = '\0';
		assert_int_equal(load(bad[i], 0600, &keys, &err), -1);
		assert_true(err.msg[0] != '\0');
		assert_int_equal(keys.count, 0);
	}
	assert_int_equal(load("1 " HEX64 "\n", 0640, &keys, &err), -1);
	assert_non_null(strstr(err.msg, "chmod 600"));
	assert_int_equal(load("1 " HEX64 "\n", 0604, &keys, &err), -1);
	assert_int_equal(token_keys_load(&keys, "/nonexistent/key", &err), -1);
	assert_int_equal(token_keys_load(&keys, "/tmp", &err), -1);
}

/* Rotation: a key is added behind or before the one that signs; tokens of all verify. */
static void
test_rotation(void **state)
{
	char text[TOKEN_FILE_MAX], token[TOKEN_CHARS + 1], path[] = "/tmp/test_token.XXXXXX";
	struct token_keys keys = { 0 }, read = { 0 };
	struct err err = { 0 };
	struct token t;
	int fd;

	(void)state;
	assert_int_equal(token_keys_add(&keys, 1, &err), -1); /* there is no place 1 yet */
	assert_int_equal(token_keys_add(&keys, 0, &err), 0);
	assert_int_equal(keys.id[0], 1);
	token_make(&keys, TOKEN_BOUNCE, (struct token){ 1, 2, 3 }, token);
	assert_int_equal(token_keys_add(&keys, 1, &err), 0);
	assert_int_equal(keys.id[0], 1);
	assert_int_equal(keys.id[1], 2);
	keys.id[0] = 255;
	assert_int_equal(token_next_id(&keys), 0);
	keys.id[0] = 1;
	keys.id[1] = 200;
	assert_int_equal(token_keys_add(&keys, 0, &err), 0);
	assert_int_equal(keys.id[0], 2);
	assert_true(token_verify(&keys, TOKEN_BOUNCE, slice_str(token), &t));
	assert_int_equal(t.send, 2);
	/* what is written is what is read */
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_true(write(fd, text, token_keys_print(&keys, text)) > 0);
	close(fd);
	assert_int_equal(token_keys_load(&read, path, &err), 0);
	assert_memory_equal(&read, &keys, sizeof(keys));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(token_keys_add(&keys, 0, &err), 0);
	assert_int_equal(token_keys_add(&keys, 0, &err), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_fixed_vector),
		cmocka_unit_test(test_purpose_counts),
		cmocka_unit_test(test_every_change_is_seen),
		cmocka_unit_test(test_other_key),
		cmocka_unit_test(test_key_file),
		cmocka_unit_test(test_key_file_refused),
		cmocka_unit_test(test_rotation),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
