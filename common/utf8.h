/* SPDX-License-Identifier: Apache-2.0 */
/* utf8: characters in UTF-8 (RFC 3629): overlong forms and surrogates are none. */
#ifndef KAIRAN_UTF8_H
#define KAIRAN_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slice.h"

/* Length of the character at p (1..4), 0 when there is none. n > 0 bytes are there. */
size_t utf8_char(const char *p, size_t n);

/* 3 when a bidirectional embedding, override or isolate (U+202A to U+202E, U+2066 to U+2069) is at p,
 * else 0. n > 0. They can make a text read as another one (CVE-2021-42574). */
static inline size_t
utf8_bidi(const char *s, size_t n)
{
	const unsigned char *p = (const unsigned char *)s;

	if (n < 3 || p[0] != 0xe2)
		return 0;
	return (p[1] == 0x80 && p[2] >= 0xaa && p[2] <= 0xae) ||
		(p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9)
	    ? 3
	    : 0;
}

/* True when s is valid UTF-8 without a NUL. */
bool utf8_ok(struct slice s);

/* Writes a code point; its length, or 0 when it is none. */
size_t utf8_put(char dst[4], uint32_t c);

#endif
