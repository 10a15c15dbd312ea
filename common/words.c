/* SPDX-License-Identifier: Apache-2.0 */
/* words: see words.h. Owns nothing. */
#include "words.h"

#include <string.h>

static bool
ends_token(char c)
{
	return c == ' ' || c == '<' || c == '>' || c == '(' || c == ')' || c == '"' || c == ',' ||
	    c == ';' || c == '\'';
}

/* The next byte in its normal form, and how many bytes it took. */
static char
take_byte(struct slice text, size_t at, size_t *used)
{
	char c = text.ptr[at];

	*used = 1;
	if (c >= 'A' && c <= 'Z')
		return (char)(c + 32);
	if ((unsigned char)c <= ' ' || c == 0x7f)
		return ' ';
	/* U+2018, U+2019, U+00B4 and U+00A0 */
	if (c == '\xE2' && text.len - at >= 3 && text.ptr[at + 1] == '\x80' &&
	    (text.ptr[at + 2] == '\x98' || text.ptr[at + 2] == '\x99')) {
		*used = 3;
		return '\'';
	}
	if (c == '\xC2' && text.len - at >= 2 &&
	    (text.ptr[at + 1] == '\xB4' || text.ptr[at + 1] == '\xA0')) {
		*used = 2;
		return text.ptr[at + 1] == '\xB4' ? '\'' : ' ';
	}
	return c;
}

/* U+00C0 to U+017F in small and without their marks; a blank is nothing. */
static const char latin[] = "a a a a a a aec e e e e i i i i d n o o o o o x o u u u u y thss"
			    "a a a a a a aec e e e e i i i i d n o o o o o : o u u u u y thy "
			    "a a a a a a c c c c c c c c d d d d e e e e e e e e e e g g g g "
			    "g g g g h h h h i i i i i i i i i i ijijj j k k k l l l l l l l "
			    "l l l n n n n n n n n n o o o o o o oeoer r r r r r s s s s s s "
			    "s s t t t t t t u u u u u u u u u u u u w w y y y z z z z z z s ";

/* Greek and Cyrillic in small, without the marks that are left out in capitals or by habit; anything
 * else as it is. */
static unsigned
small_letter(unsigned c)
{
	static const struct {
		unsigned c, plain;
	} marked[] = { { 0x386, 0x3B1 }, { 0x388, 0x3B5 }, { 0x389, 0x3B7 }, { 0x38A, 0x3B9 },
		{ 0x38C, 0x3BF }, { 0x38E, 0x3C5 }, { 0x38F, 0x3C9 }, { 0x3AC, 0x3B1 },
		{ 0x3AD, 0x3B5 }, { 0x3AE, 0x3B7 }, { 0x3AF, 0x3B9 }, { 0x3C2, 0x3C3 },
		{ 0x3CC, 0x3BF }, { 0x3CD, 0x3C5 }, { 0x3CE, 0x3C9 }, { 0x401, 0x435 },
		{ 0x451, 0x435 } };

	if (c < 0x370 || c > 0x45F)
		return c;
	for (size_t i = 0; i < sizeof(marked) / sizeof(*marked); i++)
		if (marked[i].c == c)
			return marked[i].plain;
	if ((c >= 0x391 && c <= 0x3A9) || (c >= 0x410 && c <= 0x42F))
		return c + 32;
	return c >= 0x400 && c <= 0x40F ? c + 80 : c;
}

/* A letter of two bytes, in small and without marks, or a mark by itself (U+0300 to U+036F), which
 * is nothing: writes len bytes of at most two. False for anything else. */
static bool
take_letter(struct slice text, size_t at, char out[2], size_t *len)
{
	unsigned lead = (unsigned char)text.ptr[at], c;

	if (lead < 0xC3 || lead > 0xD1 || at + 1 >= text.len ||
	    ((unsigned char)text.ptr[at + 1] & 0xC0) != 0x80)
		return false;
	c = (lead & 0x1F) << 6 | ((unsigned char)text.ptr[at + 1] & 0x3F);
	if (c >= 0xC0 && c <= 0x17F) {
		memcpy(out, latin + (size_t)(c - 0xC0) * 2, 2);
		*len = out[1] == ' ' ? 1 : 2;
		return true;
	}
	*len = c >= 0x300 && c <= 0x36F ? 0 : 2;
	if (c >= 0x218 && c <= 0x21B) { /* Romanian */
		out[0] = c < 0x21A ? 's' : 't';
		*len = 1;
	} else if (*len == 2) {
		c = small_letter(c);
		out[0] = (char)(0xC0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3F));
	}
	return true;
}

size_t
words_fold(struct slice text, char *dst)
{
	size_t n = 0, len;

	for (size_t i = 0; i < text.len; i++) {
		if (take_letter(text, i, dst + n, &len)) {
			n += len;
			i++;
		} else {
			dst[n++] = text.ptr[i];
		}
	}
	return n;
}

struct slice
words_normalise(struct slice text, char *dst, bool drop_addresses)
{
	size_t len = 0, token = 0, used, letter;
	bool address = false;

	for (size_t i = 0; i < text.len; i += used) {
		bool is_end;
		char c;

		if (take_letter(text, i, dst + len, &letter)) {
			len += letter;
			used = 2;
			continue;
		}
		c = take_byte(text, i, &used);
		/* scripts without blanks write on behind an address */
		is_end = ends_token(c) || (c & 0x80) != 0;
		if (drop_addresses && is_end) {
			if (address)
				len = token;
			address = false;
		}
		/* "550 USER_UNKNOWN" */
		if (c == '_' && drop_addresses)
			c = ' ';
		if (c == ' ' && (len == 0 || dst[len - 1] == ' '))
			continue;
		dst[len++] = c;
		if (is_end)
			token = len;
		address = address || c == '@';
	}
	if (drop_addresses && address)
		len = token;
	while (len > 0 && dst[len - 1] == ' ')
		len--;
	return slice_make(dst, len);
}

/* The text behind a hit of len bytes. A blank that ends it may begin the next part as well:
 * "mailbox * full" finds "mailbox full". */
static struct slice
behind(struct slice text, const char *hit, size_t len)
{
	len -= len > 1 && hit[len - 1] == ' ';
	return slice_make(hit + len, (size_t)(text.ptr + text.len - hit) - len);
}

/* The first of the alternatives "a~b~c" that stands in text; hit_len is its length. */
static const char *
find_part(struct slice text, const char *part, size_t n, size_t *hit_len)
{
	for (;;) {
		const char *end = memchr(part, '~', n);
		size_t len = end != NULL ? (size_t)(end - part) : n;
		size_t window = len + WORDS_GAP_MAX;
		const char *hit =
		    memmem(text.ptr, text.len < window ? text.len : window, part, len);

		*hit_len = len;
		if (hit != NULL || end == NULL)
			return hit;
		part += len + 1;
		n -= len + 1;
	}
}

size_t
words_gap_at(struct slice phrase)
{
	size_t i = 0;

	while (i < phrase.len && phrase.ptr[i] != '*' && phrase.ptr[i] != '%')
		i++;
	return i;
}

/* In quotes or brackets, or with a digit or dot within: somebody's name, and no word of a language. */
static bool
is_name(struct slice word)
{
	if (word.len == 0 || word.len > WORDS_WORD_MAX)
		return false;
	for (size_t i = 0; i < word.len; i++)
		if (strchr("<>()[]'\"0123456789", word.ptr[i]) != NULL ||
		    (word.ptr[i] == '.' && i + 1 < word.len))
			return true;
	return false;
}

/* Behind exactly one name, the text begins with one of the alternatives: where, or NULL. */
static const char *
find_behind_name(struct slice text, const char *part, size_t n, size_t *hit_len)
{
	size_t i = 0, start;

	while (i < text.len && text.ptr[i] == ' ')
		i++;
	start = i;
	while (i < text.len && text.ptr[i] != ' ')
		i++;
	if (!is_name(slice_make(text.ptr + start, i - start)))
		return NULL;
	text = slice_make(text.ptr + i, text.len - i);
	for (;;) {
		const char *end = memchr(part, '~', n);
		size_t len = end != NULL ? (size_t)(end - part) : n;

		*hit_len = len;
		if (text.len >= len && memcmp(text.ptr, part, len) == 0)
			return text.ptr;
		if (end == NULL)
			return NULL;
		part += len + 1;
		n -= len + 1;
	}
}

/* The parts of one phrase in order, with the gaps between them that their marks allow. mark is the
 * one before phrase. */
static bool
match_rest(struct slice text, char mark, const char *phrase, size_t n)
{
	while (n > 0) {
		size_t len = words_gap_at(slice_make(phrase, n)), hit_len;
		const char *hit = mark == '%' ? find_behind_name(text, phrase, len, &hit_len)
					      : find_part(text, phrase, len, &hit_len);

		if (hit == NULL)
			return false;
		text = behind(text, hit, hit_len);
		if (len == n)
			break;
		mark = phrase[len];
		phrase += len + 1;
		n -= len + 1;
	}
	return true;
}

bool
words_continue(struct slice text, struct slice phrase, size_t first)
{
	return first == phrase.len ||
	    match_rest(behind(text, text.ptr, first), phrase.ptr[first], phrase.ptr + first + 1,
		phrase.len - first - 1);
}

static bool
match_phrase(struct slice text, const char *phrase, size_t n)
{
	size_t first;
	bool at_front = n > 0 && phrase[0] == '^';

	phrase += at_front;
	n -= at_front;
	first = words_gap_at(slice_make(phrase, n));
	if (n == 0 || first == 0)
		return false;
	while (text.len >= first) {
		const char *hit = at_front
		    ? (memcmp(text.ptr, phrase, first) == 0 ? text.ptr : NULL)
		    : memmem(text.ptr, text.len, phrase, first);

		if (hit == NULL)
			return false;
		text = behind(text, hit, first);
		if (first == n ||
		    match_rest(text, phrase[first], phrase + first + 1, n - first - 1))
			return true;
		if (at_front)
			return false;
	}
	return false;
}

bool
words_match(struct slice text, const char *phrases)
{
	for (;;) {
		const char *end = strchrnul(phrases, '|');

		if (text.len > 0 && match_phrase(text, phrases, (size_t)(end - phrases)))
			return true;
		if (*end == '\0')
			return false;
		phrases = end + 1;
	}
}
