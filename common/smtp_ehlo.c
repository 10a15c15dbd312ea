/* SPDX-License-Identifier: Apache-2.0 */
/* smtp_ehlo: see smtp_ehlo.h. */
#include "smtp_ehlo.h"

#include <string.h>

/* The next word of a line, up to a blank; the historical "AUTH=LOGIN" and "SIZE=5" end a keyword
 * at '='. Empty at the end of the line. */
static struct slice
take_word(struct slice *line, bool keyword)
{
	struct slice word;
	size_t n = 0;

	*line = slice_trim(*line);
	while (n < line->len && line->ptr[n] != ' ' && line->ptr[n] != '\t' &&
	    !(keyword && line->ptr[n] == '='))
		n++;
	word = slice_make(line->ptr, n);
	n += keyword && n < line->len && line->ptr[n] == '=';
	*line = slice_make(line->ptr + n, line->len - n);
	return word;
}

/* A number of digits alone, up to 19 of them; false for anything else. */
static bool
read_number(struct slice text, uint64_t *number)
{
	uint64_t n = 0;

	if (text.len == 0 || text.len > 19)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] < '0' || text.ptr[i] > '9')
			return false;
		n = n * 10 + (uint64_t)(text.ptr[i] - '0');
	}
	*number = n;
	return true;
}

/* NAME=1..999999 without leading zero (RFC 9422 3); entries that are not are ignored alone. */
static void
read_limits(struct smtp_features *f, struct slice line)
{
	static const struct slice names[] = { { "MAILMAX=", 8 }, { "RCPTDOMAINMAX=", 14 } };
	struct slice word;

	while ((word = take_word(&line, false)).len > 0) {
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
			size_t n = names[i].len;
			uint64_t limit;

			if (!slice_starts_nocase(word, names[i]) || word.len > n + 6)
				continue;
			if (!read_number(slice_make(word.ptr + n, word.len - n), &limit) ||
			    word.ptr[n] == '0')
				continue;
			if (f->messages_max == 0 || limit < f->messages_max)
				f->messages_max = (unsigned)limit;
		}
	}
}

static void
read_mechanisms(struct smtp_features *f, struct slice line)
{
	struct slice word;

	while ((word = take_word(&line, false)).len > 0)
		f->mechanisms |= auth_mechanism_of(word);
}

static void
read_line(struct smtp_features *f, struct slice line)
{
	static const struct {
		struct slice keyword;
		unsigned bit;
	} known[] = {
		{ { "PIPELINING", 10 }, SMTP_EXT_PIPELINING },
		{ { "SIZE", 4 }, SMTP_EXT_SIZE },
		{ { "8BITMIME", 8 }, SMTP_EXT_8BITMIME },
		{ { "DSN", 3 }, SMTP_EXT_DSN },
		{ { "ENHANCEDSTATUSCODES", 19 }, SMTP_EXT_ENHANCED },
		{ { "STARTTLS", 8 }, SMTP_EXT_STARTTLS },
		{ { "AUTH", 4 }, SMTP_EXT_AUTH },
		{ { "CHUNKING", 8 }, SMTP_EXT_CHUNKING },
		{ { "SMTPUTF8", 8 }, SMTP_EXT_UTF8 },
		{ { "LIMITS", 6 }, SMTP_EXT_LIMITS },
	};
	struct slice keyword = take_word(&line, true);
	unsigned bit = 0;

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (slice_equal_nocase(keyword, known[i].keyword))
			bit = known[i].bit;
	f->extensions |= bit;
	if (bit == SMTP_EXT_SIZE && !read_number(take_word(&line, false), &f->size_max))
		f->size_max = 0;
	if (bit == SMTP_EXT_AUTH)
		read_mechanisms(f, line);
	if (bit == SMTP_EXT_LIMITS)
		read_limits(f, line);
}

struct smtp_features
smtp_ehlo_parse(struct slice text)
{
	struct smtp_features f = { 0 };

	for (bool first = true; text.len > 0; first = false) {
		const char *lf = memchr(text.ptr, '\n', text.len);
		size_t len = lf != NULL ? (size_t)(lf - text.ptr) : text.len;
		size_t used = lf != NULL ? len + 1 : len;

		if (!first)
			read_line(&f, slice_make(text.ptr, len));
		text = slice_make(text.ptr + used, text.len - used);
	}
	return f;
}
