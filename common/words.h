/* SPDX-License-Identifier: Apache-2.0 */
/*
 * words: finds phrases in text that a stranger wrote. Pure, linear: no backtracking.
 *
 * A list of phrases is one string: "user unknown|no such user|mailbox * is full". Phrases are in
 * lower case, with single blanks; '*' stands for up to WORDS_GAP_MAX bytes of anything, '^' at
 * the front of a phrase for the beginning of the text. '%' stands for one name, in quotes or
 * brackets or with a digit or dot within: "user % unknown". Behind either there may be alternatives: "account * closed~ locked". Text must be normalised first, phrases with accents folded. For long
 * lists there is phrases.h, which does that.
 */
#ifndef KAIRAN_WORDS_H
#define KAIRAN_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slice.h"

#define WORDS_GAP_MAX 80
#define WORDS_WORD_MAX 64

/* Letters in lower case and without accents (ASCII, Latin-1, Latin Extended-A, Greek, Cyrillic; "ß" is
 * "ss"), blanks and control bytes as single spaces, none at the ends; typographic apostrophes as
 * "'". dst holds text.len bytes. With drop_addresses mail addresses are taken out: a local part such
 * as "spam" or "no-such-user" is nobody's opinion. */
struct slice words_normalise(struct slice text, char *dst, bool drop_addresses);

/* A phrase as words_normalise() would leave its letters; blanks stay. dst holds text.len bytes and
 * may be text itself; the length is returned. */
size_t words_fold(struct slice text, char *dst);

/* One of the phrases stands in the normalised text. */
bool words_match(struct slice text, const char *phrases);

/* For phrases.c: where the first '*' or '%' stands, else the length. */
size_t words_gap_at(struct slice phrase);

/* For phrases.c: text begins with the first part of a phrase, which is `first` bytes long; do the
 * others follow? */
bool words_continue(struct slice text, struct slice phrase, size_t first);

#endif
