/* SPDX-License-Identifier: Apache-2.0 */
/* token: see token.h. No I/O but the key file. */
#include "token.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>

#include "digit.h"
#include "secret.h"
#include "sha256.h"

#define PAYLOAD_BYTES 11
#define MAC_BYTES 10
#define RAW_BYTES (PAYLOAD_BYTES + MAC_BYTES)
_Static_assert(TOKEN_CHARS * 5 / 8 == RAW_BYTES, "a token is its bytes in base32");
#define KEY_FILE_MAX 4096

static const char base32[32] = "abcdefghijklmnopqrstuvwxyz234567";

static int
parse_key_line(struct token_keys *keys, struct slice line, unsigned number, struct err *err)
{
	unsigned id = 0;
	size_t i = 0;
	struct slice hex;

	while (i < line.len && line.ptr[i] >= '0' && line.ptr[i] <= '9' && id < 256)
		id = id * 10 + (unsigned)(line.ptr[i++] - '0');
	hex = slice_trim(slice_make(line.ptr + i, line.len - i));
	if (i == 0 || id > 255 || hex.len != 2 * (size_t)TOKEN_KEY_BYTES)
		return err_set(
		    err, "line %u: expected 'ID HEX', ID 0..255 and 64 hexadecimal digits", number);
	if (keys->count == TOKEN_KEYS_MAX)
		return err_set(err, "line %u: more than %d keys", number, TOKEN_KEYS_MAX);
	for (unsigned k = 0; k < keys->count; k++)
		if (keys->id[k] == id)
			return err_set(err, "line %u: key %u is there twice", number, id);
	for (size_t k = 0; k < TOKEN_KEY_BYTES; k++) {
		int high = digit_hex(hex.ptr[2 * k]), low = digit_hex(hex.ptr[2 * k + 1]);
		if (high < 0 || low < 0)
			return err_set(err, "line %u: not a hexadecimal digit", number);
		keys->key[keys->count][k] = (unsigned char)(high * 16 + low);
	}
	keys->id[keys->count++] = (uint8_t)id;
	return 0;
}

static int
parse_keys(struct token_keys *keys, struct slice text, struct err *err)
{
	unsigned number = 0;

	while (text.len > 0) {
		const char *end = memchr(text.ptr, '\n', text.len);
		size_t n = end != NULL ? (size_t)(end - text.ptr) : text.len;
		struct slice line = slice_trim(slice_make(text.ptr, n));

		number++;
		if (line.len > 0 && line.ptr[0] != '#' &&
		    parse_key_line(keys, line, number, err) < 0)
			return -1;
		n += end != NULL;
		text.ptr += n;
		text.len -= n;
	}
	if (keys->count == 0)
		return err_set(err, "there is no key in it");
	return 0;
}

int
token_keys_load(struct token_keys *keys, const char *path, struct err *err)
{
	char text[KEY_FILE_MAX];
	struct err why = { 0 };
	size_t n = 0;
	int result = -1;

	*keys = (struct token_keys){ 0 };
	if (secret_read("key file", path, text, sizeof(text), &n, err) < 0)
		return -1;
	if (parse_keys(keys, slice_make(text, n), &why) < 0)
		(void)err_set(err, "key file %s: %s", path, why.msg);
	else
		result = 0;
	OPENSSL_cleanse(text, sizeof(text));
	if (result < 0)
		token_keys_release(keys);
	return result;
}

void
token_keys_release(struct token_keys *keys)
{
	OPENSSL_cleanse(keys, sizeof(*keys));
}

int
token_keys_add(struct token_keys *keys, unsigned at, struct err *err)
{
	unsigned char key[TOKEN_KEY_BYTES];
	uint8_t id = keys->count > 0 ? token_next_id(keys) : 1;

	if (keys->count == TOKEN_KEYS_MAX || at > keys->count)
		return err_set(err, "more than %d keys", TOKEN_KEYS_MAX);
	if (RAND_bytes(key, sizeof(key)) != 1)
		return err_set(err, "no random numbers from OpenSSL");
	memmove(&keys->id[at + 1], &keys->id[at], keys->count - at);
	memmove(keys->key[at + 1], keys->key[at], (keys->count - at) * (size_t)TOKEN_KEY_BYTES);
	keys->id[at] = id;
	memcpy(keys->key[at], key, sizeof(key));
	keys->count++;
	OPENSSL_cleanse(key, sizeof(key));
	return 0;
}

uint8_t
token_next_id(const struct token_keys *keys)
{
	return (uint8_t)(keys->id[0] + 1);
}

size_t
token_keys_print(const struct token_keys *keys, char dst[TOKEN_FILE_MAX])
{
	static const char digits[] = "0123456789abcdef";
	size_t n = 0;

	for (unsigned i = 0; i < keys->count; i++) {
		n += (size_t)snprintf(dst + n, TOKEN_FILE_MAX - n, "%u ", keys->id[i]);
		for (size_t k = 0; k < TOKEN_KEY_BYTES; k++) {
			dst[n++] = digits[keys->key[i][k] >> 4];
			dst[n++] = digits[keys->key[i][k] & 15];
		}
		dst[n++] = '\n';
	}
	dst[n] = '\0';
	return n;
}

static void
put_uint(unsigned char *dst, uint32_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		dst[i] = (unsigned char)(value >> (8 * (bytes - 1 - i)));
}

static uint32_t
get_uint(const unsigned char *src, unsigned bytes)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < bytes; i++)
		value = value << 8 | src[i];
	return value;
}

static void
make_mac(const unsigned char *key, enum token_purpose purpose, const unsigned char *payload,
    unsigned char mac[MAC_BYTES])
{
	unsigned char input[1 + PAYLOAD_BYTES];
	uint8_t full[SHA256_BYTES];

	input[0] = (unsigned char)purpose;
	memcpy(input + 1, payload, PAYLOAD_BYTES);
	sha256_hmac(key, TOKEN_KEY_BYTES, slice_make((const char *)input, sizeof(input)), full);
	memcpy(mac, full, MAC_BYTES);
}

void
token_make(const struct token_keys *keys, enum token_purpose purpose, struct token t,
    char dst[TOKEN_CHARS + 1])
{
	unsigned char raw[RAW_BYTES + 1] = { 0 };
	size_t bit = 0;

	raw[0] = keys->id[0];
	put_uint(raw + 1, t.run, 4);
	put_uint(raw + 5, t.send, 4);
	put_uint(raw + 9, t.attempt, 2);
	make_mac(keys->key[0], purpose, raw, raw + PAYLOAD_BYTES);
	for (size_t i = 0; i < TOKEN_CHARS; i++, bit += 5) {
		unsigned pair = (unsigned)(raw[bit / 8] << 8 | raw[bit / 8 + 1]);
		dst[i] = base32[pair >> (11 - bit % 8) & 31];
	}
	dst[TOKEN_CHARS] = '\0';
}

static bool
decode(struct slice text, unsigned char raw[RAW_BYTES])
{
	unsigned accumulator = 0, bits = 0;
	size_t n = 0;

	if (text.len != TOKEN_CHARS)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		unsigned value;

		if (c >= 'a' && c <= 'z')
			value = (unsigned)(c - 'a');
		else if (c >= 'A' && c <= 'Z')
			value = (unsigned)(c - 'A');
		else if (c >= '2' && c <= '7')
			value = (unsigned)(c - '2') + 26;
		else
			return false;
		accumulator = (accumulator << 5 | value) & 0xffff;
		bits += 5;
		if (bits >= 8) {
			bits -= 8;
			raw[n++] = (unsigned char)(accumulator >> bits);
		}
	}
	return (accumulator & ((1u << bits) - 1)) == 0;
}

bool
token_verify(
    const struct token_keys *keys, enum token_purpose purpose, struct slice text, struct token *t)
{
	unsigned char raw[RAW_BYTES + 1], mac[MAC_BYTES];

	if (!decode(text, raw))
		return false;
	for (unsigned i = 0; i < keys->count; i++) {
		if (keys->id[i] != raw[0])
			continue;
		make_mac(keys->key[i], purpose, raw, mac);
		if (CRYPTO_memcmp(mac, raw + PAYLOAD_BYTES, MAC_BYTES) != 0)
			continue;
		t->run = get_uint(raw + 1, 4);
		t->send = get_uint(raw + 5, 4);
		t->attempt = (uint16_t)get_uint(raw + 9, 2);
		return true;
	}
	return false;
}
