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

/* True when s is valid UTF-8 without a NUL. */
bool utf8_ok(struct slice s);

/* Writes a code point; its length, or 0 when it is none. */
size_t utf8_put(char dst[4], uint32_t c);

#endif
