/* SPDX-License-Identifier: Apache-2.0 */
/*
 * phrases: many lists of phrases, compiled once, looked for in one pass over a text. Pure. Phrases
 * and texts are those of words.h; what words_match() finds for each list by itself, this finds for
 * all of them: at each place the next twelve bytes (four and two for shorter phrases) choose the few
 * that may begin there.
 *
 * Phrases are written with their accents; what is looked for is without them, as normalised texts
 * are, and also with "ae", "oe", "ue" for "ä", "ö", "ü", as who has no such keys writes German.
 */
#ifndef KAIRAN_PHRASES_H
#define KAIRAN_PHRASES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slice.h"

#define PHRASES_LISTS_MAX 128
#define PHRASES_MAX 4096
#define PHRASES_BYTES (16 * 1024) /* of the phrases that have accents */
#define PHRASES_LONGEST_BITS 13
#define PHRASES_LONG_BITS 12
#define PHRASES_SHORT_BITS 10

struct phrase {
	const char *text; /* behind '^' */
	uint16_t len;
	uint16_t first; /* bytes before its first '*' or '%' */
	uint16_t next;	/* in its bucket, 1 + number; 0 ends it */
	uint8_t list;
	bool at_front;
};

/* Of static life; written by phrases_compile() alone. */
struct phrases {
	struct phrase items[PHRASES_MAX];
	size_t count;
	/* 1 + number of the first of a chain: by twelve bytes, by four and by two for what is shorter */
	uint16_t longests[1 << PHRASES_LONGEST_BITS];
	uint16_t longs[1 << PHRASES_LONG_BITS];
	uint16_t shorts[1 << PHRASES_SHORT_BITS];
	char folded[PHRASES_BYTES];
	size_t folded_len;
};

struct phrases_found {
	uint64_t lists[PHRASES_LISTS_MAX / 64];
};

/* list: its number, below PHRASES_LISTS_MAX; a NULL list is nothing. p starts as zeroes. The
 * phrases must live as long. False when there are too many, or one of one byte: a mistake of the
 * program. */
bool phrases_add(struct phrases *p, size_t list, const char *phrases);

/* Which lists have a phrase in the normalised text. */
void phrases_find(const struct phrases *p, struct slice text, struct phrases_found *found);

static inline bool
phrases_has(const struct phrases_found *found, size_t list)
{
	return (found->lists[list / 64] >> (list % 64) & 1) != 0;
}

#endif
