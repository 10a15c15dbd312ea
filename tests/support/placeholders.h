/* SPDX-License-Identifier: Apache-2.0 */
/*
 * placeholders: texts of tests with signed tokens in them. %B and %U stand for bounce and
 * unsubscribe tokens of run 7, send 42, attempt 3; %F for a forged one; %M for the
 * token in the Message-ID of that send, which names no attempt.
 */
#ifndef KAIRAN_TESTS_PLACEHOLDERS_H
#define KAIRAN_TESTS_PLACEHOLDERS_H

#include <string.h>

#include "slice.h"
#include "token.h"

static const struct token_keys placeholder_keys = { 1, { 9 }, { { 1, 2, 3, 4, 5 } } };

/* dst: TOKEN_CHARS + 1 bytes. */
static inline void
placeholder_token(char which, char *dst)
{
	token_make(&placeholder_keys,
	    which == 'U'       ? TOKEN_UNSUBSCRIBE
		: which == 'M' ? TOKEN_MESSAGE
			       : TOKEN_BOUNCE,
	    (struct token){ 7, 42, which == 'M' ? 0 : 3 }, dst);
	if (which == 'F')
		dst[20] = dst[20] == 'a' ? 'b' : 'a';
}

/* The text with its placeholders filled in; dst needs 20 times its length. */
static inline struct slice
placeholders_fill(const char *text, char *dst)
{
	char token[TOKEN_CHARS + 1];
	size_t n = 0;

	for (; *text != '\0'; text++) {
		if (text[0] == '%' && text[1] != '\0' && strchr("BUFM", text[1]) != NULL) {
			placeholder_token(text[1], token);
			memcpy(dst + n, token, TOKEN_CHARS);
			n += TOKEN_CHARS;
			text++;
		} else {
			dst[n++] = *text;
		}
	}
	dst[n] = '\0';
	return slice_make(dst, n);
}

#endif
