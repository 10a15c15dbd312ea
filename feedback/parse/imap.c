/* SPDX-License-Identifier: Apache-2.0 */
/* imap: see imap.h. */
#include "imap.h"

#include <string.h>

static bool
take_word(struct slice *s, struct slice *word)
{
	size_t n = 0;

	while (s->len > 0 && s->ptr[0] == ' ')
		*s = slice_make(s->ptr + 1, s->len - 1);
	while (n < s->len && s->ptr[n] != ' ')
		n++;
	*word = slice_make(s->ptr, n);
	*s = slice_make(n > 0 ? s->ptr + n : s->ptr, s->len - n);
	return n > 0;
}

/* 1 .. UINT32_MAX; false for anything else. */
static bool
number_of(struct slice word, uint32_t *number)
{
	uint64_t value = 0;

	if (word.len == 0 || word.len > 10)
		return false;
	for (size_t i = 0; i < word.len; i++) {
		if (word.ptr[i] < '0' || word.ptr[i] > '9')
			return false;
		value = value * 10 + (uint64_t)(word.ptr[i] - '0');
	}
	*number = (uint32_t)value;
	return value > 0 && value <= UINT32_MAX;
}

enum imap_answer
imap_answer(struct slice line, struct slice tag)
{
	struct slice word;

	if (!take_word(&line, &word))
		return IMAP_UNTAGGED;
	if (slice_equal(word, SLICE("*")))
		return take_word(&line, &word) && slice_equal_nocase(word, SLICE("BYE"))
		    ? IMAP_REFUSED
		    : IMAP_UNTAGGED;
	if (!slice_equal(word, tag))
		return IMAP_UNTAGGED;
	return take_word(&line, &word) && slice_equal_nocase(word, SLICE("OK")) ? IMAP_OK
										: IMAP_REFUSED;
}

bool
imap_literal(struct slice line, size_t *size)
{
	size_t begin = line.len, value = 0;

	if (line.len < 3 || line.ptr[line.len - 1] != '}')
		return false;
	while (begin > 0 && line.ptr[begin - 1] != '{')
		begin--;
	if (begin == 0 || begin == line.len - 1)
		return false;
	for (size_t i = begin; i < line.len - 1; i++) {
		if (line.ptr[i] < '0' || line.ptr[i] > '9')
			return false;
		value = value * 10 + (size_t)(line.ptr[i] - '0');
		if (value > IMAP_LITERAL_MAX)
			value = IMAP_LITERAL_MAX + 1;
	}
	*size = value;
	return true;
}

size_t
imap_search(struct slice line, uint32_t *uids, size_t max)
{
	struct slice word;
	size_t count = 0;

	if (!take_word(&line, &word) || !slice_equal(word, SLICE("*")) ||
	    !take_word(&line, &word) || !slice_equal_nocase(word, SLICE("SEARCH")))
		return 0;
	while (count < max && take_word(&line, &word) && number_of(word, &uids[count]))
		count++;
	return count;
}

uint32_t
imap_uidvalidity(struct slice line)
{
	const struct slice begin = SLICE("* OK [UIDVALIDITY ");
	uint32_t value = 0;
	const char *end;

	if (!slice_starts_nocase(line, begin))
		return 0;
	line = slice_make(line.ptr + begin.len, line.len - begin.len);
	end = line.len > 0 ? memchr(line.ptr, ']', line.len) : NULL;
	if (end == NULL || !number_of(slice_make(line.ptr, (size_t)(end - line.ptr)), &value))
		return 0;
	return value;
}

bool
imap_has_capability(struct slice line, struct slice name)
{
	struct slice word;

	if (!slice_starts_nocase(line, SLICE("* CAPABILITY ")))
		return false;
	while (take_word(&line, &word))
		if (slice_equal_nocase(word, name))
			return true;
	return false;
}

bool
imap_is_fetch(struct slice line)
{
	struct slice word;
	uint32_t number;

	return take_word(&line, &word) && slice_equal(word, SLICE("*")) &&
	    take_word(&line, &word) && number_of(word, &number) && take_word(&line, &word) &&
	    slice_equal_nocase(word, SLICE("FETCH")) &&
	    memmem(line.ptr, line.len, "BODY[]", 6) != NULL;
}

bool
pop3_is_ok(struct slice line)
{
	return line.len >= 3 && memcmp(line.ptr, "+OK", 3) == 0 &&
	    (line.len == 3 || line.ptr[3] == ' ');
}

bool
pop3_uidl(struct slice line, uint32_t *number, struct slice *id)
{
	struct slice word;

	if (!take_word(&line, &word) || !number_of(word, number) || !take_word(&line, id) ||
	    id->len > 70)
		return false;
	for (size_t i = 0; i < id->len; i++)
		if (id->ptr[i] < '!' || id->ptr[i] > '~')
			return false;
	return true;
}
