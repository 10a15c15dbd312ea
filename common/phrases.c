/* SPDX-License-Identifier: Apache-2.0 */
/* phrases: see phrases.h. Owns nothing. */
#include "phrases.h"

#include <string.h>

#include "words.h"

/* Many phrases begin with the same word: "mailbox ", "recipient ". */
#define LONGEST 12

static size_t
longest_bucket_of(const char *p)
{
	uint64_t key;
	uint32_t rest;

	memcpy(&key, p, sizeof(key));
	memcpy(&rest, p + sizeof(key), sizeof(rest));
	key = (key ^ (uint64_t)rest << 21) * UINT64_C(0x9E3779B97F4A7C15);
	return key >> (64 - PHRASES_LONGEST_BITS);
}

static size_t
bucket_of(const char *p)
{
	uint32_t key;

	memcpy(&key, p, sizeof(key));
	return key * UINT32_C(2654435761) >> (32 - PHRASES_LONG_BITS);
}

static size_t
short_bucket_of(const char *p)
{
	uint16_t key;

	memcpy(&key, p, sizeof(key));
	return (uint32_t)(key * UINT32_C(2654435761)) >> (32 - PHRASES_SHORT_BITS);
}

static bool
add_phrase(struct phrases *p, size_t list, const char *text, size_t len)
{
	struct phrase *item = &p->items[p->count];
	uint16_t *bucket;

	if (p->count == PHRASES_MAX || len > UINT16_MAX)
		return false;
	item->at_front = text[0] == '^';
	text += item->at_front;
	len -= item->at_front;
	item->text = text;
	item->len = (uint16_t)len;
	item->first = (uint16_t)words_gap_at(slice_make(text, len));
	item->list = (uint8_t)list;
	if (item->first < sizeof(uint16_t))
		return false;
	bucket = item->first >= LONGEST	      ? &p->longests[longest_bucket_of(text)]
	    : item->first >= sizeof(uint32_t) ? &p->longs[bucket_of(text)]
					      : &p->shorts[short_bucket_of(text)];
	item->next = *bucket;
	*bucket = (uint16_t)++p->count;
	return true;
}

/* The phrase with "ae" for "ä" and so on, in dst, which holds len bytes; false when it has none. */
static bool
spell_umlauts(const char *text, size_t len, char *dst)
{
	static const struct {
		char umlaut[3], spelled[3];
	} pairs[] = { { "ä", "ae" }, { "ö", "oe" }, { "ü", "ue" } };
	bool found = false;

	memcpy(dst, text, len);
	for (size_t i = 0; i + 1 < len; i++)
		for (size_t k = 0; k < sizeof(pairs) / sizeof(*pairs); k++)
			if (memcmp(dst + i, pairs[k].umlaut, 2) == 0) {
				memcpy(dst + i, pairs[k].spelled, 2);
				found = true;
			}
	return found;
}

/* The character that begins here, or of which this is a later byte, is of a script that sets no blanks
 * or hangs particles on its words: Thai (E0), Kana, Han, Hangul, full-width forms (E3 to EF). */
static bool
is_unspaced(const char *text, size_t at)
{
	unsigned char lead;

	while (at > 0 && ((unsigned char)text[at] & 0xC0) == 0x80)
		at--;
	lead = (unsigned char)text[at];
	return lead == 0xE0 || (lead >= 0xE3 && lead <= 0xEF);
}

/* Takes out the blank between '*' or '~' and such a script: "宛先 * 不明" finds "宛先が不明". The
 * new length. */
static size_t
close_gaps(char *text, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		bool ends = i > 0 && i + 1 < len && text[i] == ' ' && text[i + 1] == '*' &&
		    is_unspaced(text, n - 1);
		bool begins = i > 0 && i + 1 < len && text[i] == ' ' && n > 0 &&
		    (text[n - 1] == '*' || text[n - 1] == '~') && is_unspaced(text, i + 1);

		if (!ends && !begins)
			text[n++] = text[i];
	}
	return n;
}

/* A phrase as it stands in normalised texts, a copy when that is another; and as it is written
 * without umlauts. */
static bool
add_spellings(struct phrases *p, size_t list, const char *text, size_t len)
{
	char *dst = p->folded + p->folded_len;
	size_t n;

	if (sizeof(p->folded) - p->folded_len < len * 2)
		return false;
	n = close_gaps(dst, words_fold(slice_make(text, len), dst));
	if (n == len && memcmp(dst, text, len) == 0)
		return add_phrase(p, list, text, len);
	p->folded_len += n;
	if (!add_phrase(p, list, dst, n))
		return false;
	dst += n;
	if (!spell_umlauts(text, len, dst))
		return true;
	n = words_fold(slice_make(dst, len), dst);
	p->folded_len += n;
	return add_phrase(p, list, dst, n);
}

bool
phrases_add(struct phrases *p, size_t list, const char *phrases)
{
	if (phrases == NULL)
		return true;
	if (list >= PHRASES_LISTS_MAX)
		return false;
	for (;;) {
		const char *end = strchrnul(phrases, '|');

		if (end > phrases && !add_spellings(p, list, phrases, (size_t)(end - phrases)))
			return false;
		if (*end == '\0')
			return true;
		phrases = end + 1;
	}
}

/* The phrases of a chain that stand at this place of the text. Their first bytes are mostly alike,
 * so the last is looked at before all are compared. */
static void
try_chain(const struct phrases *p, uint16_t number, struct slice text, size_t at,
    struct phrases_found *found)
{
	struct slice rest = slice_make(text.ptr + at, text.len - at);

	while (number != 0) {
		const struct phrase *item = &p->items[number - 1];

		number = item->next;
		if (!phrases_has(found, item->list) && !(item->at_front && at > 0) &&
		    item->first <= rest.len &&
		    rest.ptr[item->first - 1] == item->text[item->first - 1] &&
		    memcmp(rest.ptr, item->text, item->first) == 0 &&
		    words_continue(rest, slice_make(item->text, item->len), item->first))
			found->lists[item->list / 64] |= (uint64_t)1 << (item->list % 64);
	}
}

void
phrases_find(const struct phrases *p, struct slice text, struct phrases_found *found)
{
	memset(found, 0, sizeof(*found));
	for (size_t i = 0; i + sizeof(uint16_t) <= text.len; i++) {
		uint16_t number = p->shorts[short_bucket_of(text.ptr + i)];

		if (number != 0)
			try_chain(p, number, text, i, found);
		number = i + sizeof(uint32_t) <= text.len ? p->longs[bucket_of(text.ptr + i)] : 0;
		if (number != 0)
			try_chain(p, number, text, i, found);
		number = i + LONGEST <= text.len ? p->longests[longest_bucket_of(text.ptr + i)] : 0;
		if (number != 0)
			try_chain(p, number, text, i, found);
	}
}
