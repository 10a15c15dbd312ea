/* SPDX-License-Identifier: Apache-2.0 */
/*
 * words: finds phrases in text that a stranger wrote. Pure, linear: no backtracking.
 *
 * A list of phrases is one string: "user unknown|no such user|mailbox * is full". Phrases are in
 * lower case, with single blanks; '*' stands for up to WORDS_GAP_MAX bytes of anything, '^' at
 * the front of a phrase for the beginning of the text. Behind "||" stand only phrases with letters
 * beyond ASCII: words_find() passes over them in a text that has none. Text must be normalised
 * first.
 */
#ifndef KAIRAN_WORDS_H
#define KAIRAN_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slice.h"

#define WORDS_GAP_MAX 80

/* Letters in lower case (ASCII, Latin-1, Latin Extended-A, Cyrillic), blanks and control bytes as
 * single spaces, none at the ends; typographic apostrophes as "'". dst holds text.len bytes. With drop_addresses mail addresses are taken out:
 * a local part such as "spam" or "no-such-user" is nobody's opinion. */
struct slice words_normalise(struct slice text, char *dst, bool drop_addresses);

/* Normalised text with the set of its byte pairs, for many lists on one short text. */
struct words {
	struct slice text;
	uint64_t pairs[64];
	bool is_ascii;
};

void words_index(struct words *words, struct slice text);

/* As words_match(); a phrase whose first pairs are not in the text costs nothing. */
bool words_find(const struct words *words, const char *phrases);

/* One of the phrases stands in the normalised text. */
bool words_match(struct slice text, const char *phrases);

#endif
