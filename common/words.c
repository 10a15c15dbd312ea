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

/* A letter of two bytes in small: Latin-1, Latin Extended-A, Greek, Cyrillic. False for any other. */
static bool
take_letter(struct slice text, size_t at, char out[2])
{
	unsigned lead = (unsigned char)text.ptr[at], c;

	if (lead < 0xC3 || lead > 0xD0 || (lead > 0xC5 && lead < 0xCE) || at + 1 >= text.len ||
	    ((unsigned char)text.ptr[at + 1] & 0xC0) != 0x80)
		return false;
	c = (lead & 0x1F) << 6 | ((unsigned char)text.ptr[at + 1] & 0x3F);
	if ((c >= 0xC0 && c <= 0xDE && c != 0xD7) || (c >= 0x410 && c <= 0x42F))
		c += 32;
	else if (c >= 0x391 && c <= 0x3A9)
		c += 32;
	else if (c == 0x386)
		c += 38;
	else if (c >= 0x388 && c <= 0x38A)
		c += 37;
	else if (c >= 0x38C && c <= 0x38F && c != 0x38D)
		c += c == 0x38C ? 64 : 63;
	else if (c >= 0x400 && c <= 0x40F)
		c += 80;
	else if (((c >= 0x100 && c <= 0x137 && c != 0x130) || (c >= 0x14A && c <= 0x177)) &&
	    c % 2 == 0)
		c++;
	else if (((c >= 0x139 && c <= 0x148) || (c >= 0x179 && c <= 0x17E)) && c % 2 == 1)
		c++;
	out[0] = (char)(0xC0 | c >> 6);
	out[1] = (char)(0x80 | (c & 0x3F));
	return true;
}

struct slice
words_normalise(struct slice text, char *dst, bool drop_addresses)
{
	size_t len = 0, token = 0, used;
	bool address = false;

	for (size_t i = 0; i < text.len; i += used) {
		char c;

		if (take_letter(text, i, dst + len)) {
			len += 2;
			used = 2;
			continue;
		}
		c = take_byte(text, i, &used);
		if (drop_addresses && ends_token(c)) {
			if (address)
				len = token;
			address = false;
		}
		if (c == ' ' && (len == 0 || dst[len - 1] == ' '))
			continue;
		dst[len++] = c;
		if (ends_token(c))
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

/* The parts of one phrase in order, with short gaps between them. */
static bool
match_rest(struct slice text, const char *phrase, size_t n)
{
	while (n > 0) {
		const char *star = memchr(phrase, '*', n);
		size_t len = star != NULL ? (size_t)(star - phrase) : n;
		size_t hit_len;
		const char *hit = find_part(text, phrase, len, &hit_len);

		if (hit == NULL)
			return false;
		text = behind(text, hit, hit_len);
		phrase += star != NULL ? len + 1 : len;
		n -= star != NULL ? len + 1 : len;
	}
	return true;
}

bool
words_continue(struct slice text, struct slice phrase, size_t first)
{
	return first == phrase.len ||
	    match_rest(
		behind(text, text.ptr, first), phrase.ptr + first + 1, phrase.len - first - 1);
}

static bool
match_phrase(struct slice text, const char *phrase, size_t n)
{
	const char *star;
	size_t first;
	bool at_front = n > 0 && phrase[0] == '^';

	phrase += at_front;
	n -= at_front;
	star = memchr(phrase, '*', n);
	first = star != NULL ? (size_t)(star - phrase) : n;
	if (n == 0 || first == 0)
		return false;
	while (text.len >= first) {
		const char *hit = at_front
		    ? (memcmp(text.ptr, phrase, first) == 0 ? text.ptr : NULL)
		    : memmem(text.ptr, text.len, phrase, first);

		if (hit == NULL)
			return false;
		text = behind(text, hit, first);
		if (star == NULL || match_rest(text, star + 1, n - first - 1))
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
