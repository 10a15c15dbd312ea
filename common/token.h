/* SPDX-License-Identifier: Apache-2.0 */
/*
 * token: the signed name of one attempt to one recipient of one run. It travels in the return
 * path (VERP), in the X-Kairan-Id header, in SES tags and in unsubscribe links, and is the only
 * thing from outside that may point at a send row.
 *
 *   payload = key id (1) | run (4) | send id (4) | attempt (2)           big-endian
 *   token   = base32 lower-case, without padding (RFC 4648 section 6),
 *             of payload | first 10 bytes of HMAC-SHA-256(key, purpose | payload)
 *
 * 34 characters of a-z 2-7: case-insensitive (mailers fold case), short enough for a local
 * part (64 octets), legal in SES tags. The purpose byte keeps a bounce token from being used
 * to unsubscribe.
 */
#ifndef KAIRAN_TOKEN_H
#define KAIRAN_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "slice.h"

#define TOKEN_CHARS 34
#define TOKEN_KEY_BYTES 32
#define TOKEN_KEYS_MAX 4
#define TOKEN_FILE_MAX 512 /* bytes of a key file as token_keys_print writes it */

enum token_purpose {
	TOKEN_BOUNCE = 'b',	 /* return path b+TOKEN@…, X-Kairan-Id, SES tag */
	TOKEN_UNSUBSCRIBE = 'u', /* u+TOKEN@… and links */
	TOKEN_MESSAGE = 'm',	 /* Message-ID, attempt 0 */
	TOKEN_CONFIRM = 'c',	 /* links that confirm an address or consent */
	TOKEN_TRACK = 't',	 /* the pixel and the links that are counted */
	TOKEN_VIEW = 'v'	 /* the mail in a browser */
};

struct token_keys {
	unsigned count;		    /* 1 .. TOKEN_KEYS_MAX */
	uint8_t id[TOKEN_KEYS_MAX]; /* the first one signs, all verify */
	unsigned char key[TOKEN_KEYS_MAX][TOKEN_KEY_BYTES];
};

struct token {
	uint32_t run;
	uint32_t send;
	uint16_t attempt;
};

/*
 * Reads a key file: lines of "ID HEX" (ID 0..255, HEX 64 digits), first line signs; empty
 * lines and # comments are skipped. Refuses a file that others can read (mode & 077).
 * 0, or -1 with err.
 */
int token_keys_load(struct token_keys *keys, const char *path, struct err *err) MUST_CHECK;

/*
 * Ids count up: the key after the one that signs has the next number (255 is followed by 0). So a
 * file tells by itself what a key below the first one is: with this id a new key that does not sign
 * yet, else one that has signed before.
 */
uint8_t token_next_id(const struct token_keys *keys);

/* Adds a random key with the next id at place `at` (0: it signs from now on). The caller has made
 * sure that no key with that id is there. 0, or -1 with err. */
int token_keys_add(struct token_keys *keys, unsigned at, struct err *err) MUST_CHECK;

/* The text of the key file: secret. Returns its length. */
size_t token_keys_print(const struct token_keys *keys, char dst[TOKEN_FILE_MAX]);

/* Forgets the secrets. */
void token_keys_release(struct token_keys *keys);

/* Writes TOKEN_CHARS characters and a NUL. */
void token_make(const struct token_keys *keys, enum token_purpose purpose, struct token t,
    char dst[TOKEN_CHARS + 1]);

/* True when text is exactly one token, made for this purpose by one of the keys; compared in
 * constant time. */
bool token_verify(const struct token_keys *keys, enum token_purpose purpose, struct slice text,
    struct token *t) MUST_CHECK;

#endif
