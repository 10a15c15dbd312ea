/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jis: ISO-2022-JP (RFC 1468) for domains whose readers ask for it. The table is made once from
 * iconv; writing is pure and may be done by many threads.
 *
 * What has a place: ASCII without controls (but TAB, CR and LF) and JIS X 0208. Six characters
 * that Windows maps to other code points than iconv (〜 ‖ − ¢ £ ¬ written as ～ ∥ － ￠ ￡ ￢)
 * share their places. What has none: emoji, half-width katakana (RFC 1468 forbids them, and
 * full-width ones would be other text), vendor characters such as ① and 髙, and "¥" U+00A5.
 * A text with such a character is not converted at all: the message goes out in UTF-8.
 */
#ifndef KAIRAN_JIS_H
#define KAIRAN_JIS_H

#include <stdbool.h>
#include <stddef.h>

#include "arena.h"
#include "slice.h"

#define JIS_NO_PLACE ((size_t)-1)
/* Bytes that n bytes of UTF-8 can become: "a" and "漢" by turns make 9 of 4. */
#define JIS_WORST(n) (3 * (n) + 8)

struct jis;

/* The table, owned by the arena; NULL without memory or when iconv does not know the charset. */
const struct jis *jis_new(struct arena *arena);

/* Bytes of valid UTF-8 text in ISO-2022-JP, which begins and ends in ASCII; JIS_NO_PLACE when a
 * character has none. */
size_t jis_size(const struct jis *jis, struct slice text);

/* Writes what jis_size counts; dst holds JIS_WORST(text.len). Every line ends in ASCII. */
size_t jis_encode(const struct jis *jis, struct slice text, char *dst);

#endif
