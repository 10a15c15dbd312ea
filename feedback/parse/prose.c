/* SPDX-License-Identifier: Apache-2.0 */
/* prose: see prose.h. Owns nothing. */
#include "prose.h"

#include <stdbool.h>
#include <string.h>

#include "marks.h"
#include "words.h"

#define BANNER_FRONT 2000 /* bytes of a text in which a gateway sets its warning */
#define BANNER_MAX 600	  /* bytes of a warning */
#define DOUBLED_MIN 6	  /* lines that make one believe that all are doubled */

/* Characters of three bytes at most that mean a plain one, or nothing. */
static const struct {
	char bytes[4];
	char plain; /* '\0': nothing */
} characters[] = {
	{ "\xC2\xA0", ' ' },	  /* no-break space */
	{ "\xC2\xAD", '\0' },	  /* soft hyphen */
	{ "\xE2\x80\x87", ' ' },  /* figure space */
	{ "\xE2\x80\xAF", ' ' },  /* narrow no-break space */
	{ "\xE3\x80\x80", ' ' },  /* ideographic space */
	{ "\xE2\x80\x8B", '\0' }, /* zero width space */
	{ "\xE2\x80\x8E", '\0' }, /* left-to-right mark */
	{ "\xE2\x80\x8F", '\0' }, /* right-to-left mark */
	{ "\xE2\x81\xA0", '\0' }, /* word joiner */
	{ "\xEF\xBB\xBF", '\0' }, /* zero width no-break space */
	{ "\xE2\x80\x98", '\'' }, /* single quotes */
	{ "\xE2\x80\x99", '\'' },
	{ "\xE2\x80\x9C", '"' }, /* double quotes */
	{ "\xE2\x80\x9D", '"' },
};

static struct slice
take_line(struct slice *rest)
{
	const char *end = memchr(rest->ptr, '\n', rest->len);
	size_t len = end != NULL ? (size_t)(end - rest->ptr) + 1 : rest->len;
	struct slice line = slice_make(rest->ptr, len);

	*rest = slice_make(rest->ptr + len, rest->len - len);
	return line;
}

/* The bytes that the character at the front takes when it is one of these; 0 for another. */
static size_t
take_character(struct slice text, char *plain)
{
	unsigned char lead = (unsigned char)text.ptr[0];

	if (lead != 0xC2 && lead != 0xE2 && lead != 0xE3 && lead != 0xEF)
		return 0;
	for (size_t i = 0; i < sizeof(characters) / sizeof(*characters); i++) {
		size_t len = lead == 0xC2 ? 2 : 3;

		if (text.len >= len && memcmp(text.ptr, characters[i].bytes, len) == 0) {
			*plain = characters[i].plain;
			return len;
		}
	}
	return 0;
}

static size_t
plain_characters(struct slice text, char *dst)
{
	size_t n = 0;

	for (size_t i = 0; i < text.len;) {
		char plain;
		size_t used = take_character(slice_make(text.ptr + i, text.len - i), &plain);

		if (used == 0)
			dst[n++] = text.ptr[i++];
		else if (plain != '\0')
			dst[n++] = plain;
		i += used;
	}
	return n;
}

/* Behind every line stands a blank one, and more than one where the writer set one: as HTML of
 * paragraphs and line ends converted twice look. */
static bool
is_doubled(struct slice text)
{
	size_t lines = 0, blanks = 0;
	bool has_wide = false;

	while (text.len > 0) {
		if (slice_trim(take_line(&text)).len == 0) {
			has_wide =
			    has_wide || (++blanks > 1 && lines > 0 && slice_trim(text).len > 0);
			continue;
		}
		if (lines > 0 && blanks == 0)
			return false;
		lines++;
		blanks = 0;
	}
	return has_wide && lines >= DOUBLED_MIN;
}

/* Takes one blank line out of each run of them. */
static size_t
undouble(struct slice text, char *dst)
{
	size_t n = 0;
	bool was_blank = true;

	while (text.len > 0) {
		struct slice line = take_line(&text);
		bool is_blank = slice_trim(line).len == 0;

		if (!is_blank || was_blank) {
			memmove(dst + n, line.ptr, line.len);
			n += line.len;
		}
		was_blank = is_blank;
	}
	return n;
}

/* A warning of a mail from outside, which says nothing of a failure. */
static bool
is_banner(struct slice text)
{
	char bytes[BANNER_MAX];
	struct phrases_found found;

	text = slice_trim(text);
	if (text.len == 0 || text.len > sizeof(bytes))
		return false;
	marks_find(words_normalise(text, bytes, false), &found);
	return phrases_has(&found, MARK_BANNER) && !phrases_has(&found, MARK_FRAME) &&
	    !phrases_has(&found, MARK_FAILURE);
}

/* The lines up to the next blank one. */
static struct slice
take_paragraph(struct slice *rest)
{
	const char *start = rest->ptr;

	while (rest->len > 0 && slice_trim(take_line(rest)).len > 0)
		;
	return slice_make(start, (size_t)(rest->ptr - start));
}

/* Takes out a paragraph that warns of a mail from outside; only the lines that do where it names
 * an address, for then it says more. */
static size_t
without_banner(struct slice text, char *dst)
{
	const char *start = text.ptr;
	size_t n = 0;

	while (text.len > 0) {
		struct slice paragraph, line;
		bool is_front = text.ptr < start + BANNER_FRONT, has_address;

		paragraph = take_paragraph(&text);
		has_address = memchr(paragraph.ptr, '@', paragraph.len) != NULL;
		if (is_front && !has_address && is_banner(paragraph))
			continue;
		while (paragraph.len > 0) {
			line = take_line(&paragraph);
			if (is_front && has_address && memchr(line.ptr, '@', line.len) == NULL &&
			    is_banner(line))
				continue;
			if (slice_trim(line).len == 0) /* nothing but blanks */
				line = slice_make(line.ptr + line.len - 1, 1);
			memmove(dst + n, line.ptr, line.len);
			n += line.len;
		}
	}
	return n;
}

struct slice
prose_restore(struct slice text, struct arena *arena)
{
	char *bytes = text.len > 0 ? arena_alloc(arena, text.len + 1) : NULL;
	size_t n;

	if (bytes == NULL)
		return text;
	n = plain_characters(text, bytes);
	if (is_doubled(slice_make(bytes, n)))
		n = undouble(slice_make(bytes, n), bytes);
	n = without_banner(slice_make(bytes, n), bytes);
	return slice_make(bytes, n);
}
