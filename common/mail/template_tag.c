/* SPDX-License-Identifier: Apache-2.0 */
/* template_tag: see template_tag.h. */
#include "template_tag.h"

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

static struct slice
behind(struct slice s, size_t n)
{
	return slice_make(s.ptr + n, s.len - n);
}

static struct slice
skip_blanks(struct slice s)
{
	while (s.len > 0 && is_blank(s.ptr[0]))
		s = behind(s, 1);
	return s;
}

/* Up to a blank or one of the two marks. */
static size_t
word_length(struct slice s, char mark, char other)
{
	size_t n = 0;

	while (n < s.len && !is_blank(s.ptr[n]) && s.ptr[n] != mark && s.ptr[n] != other)
		n++;
	return n;
}

/* What stands in the quotes at the start of s; false when they are not closed. */
static bool
take_quoted(struct slice s, struct slice *text, struct slice *rest)
{
	size_t n = 1;

	while (n < s.len && s.ptr[n] != s.ptr[0])
		n += s.ptr[n] == '\\' ? 2 : 1;
	if (n >= s.len)
		return false;
	*text = slice_make(s.ptr + 1, n - 1);
	*rest = behind(s, n + 1);
	return true;
}

static bool
is_quote(char c)
{
	return c == '"' || c == '\'';
}

bool
template_tag_partial(struct slice body, struct slice *name, struct slice *rest)
{
	struct slice s;
	size_t n;

	if (body.len == 0 || body.ptr[0] != '>')
		return false;
	s = skip_blanks(behind(body, 1));
	if (s.len > 0 && is_quote(s.ptr[0]) && take_quoted(s, name, rest) && name->len > 0) {
		*rest = slice_trim(*rest);
		return true;
	}
	n = word_length(s, '\0', '\0');
	*name = slice_make(s.ptr, n);
	*rest = slice_trim(behind(s, n));
	return true;
}

enum template_tag_result
template_tag_argument(struct slice *rest, struct template_tag_argument *argument)
{
	struct slice s = skip_blanks(*rest), value;
	size_t n = word_length(s, '=', '\0');

	*rest = s;
	if (s.len == 0)
		return TEMPLATE_TAG_END;
	if (n == 0 || n == s.len || s.ptr[n] != '=')
		return TEMPLATE_TAG_BAD;
	*argument = (struct template_tag_argument){ .key = slice_make(s.ptr, n) };
	value = behind(s, n + 1);
	if (value.len > 0 && is_quote(value.ptr[0])) {
		argument->quote = value.ptr[0];
		if (!take_quoted(value, &argument->value, &s) || (s.len > 0 && !is_blank(s.ptr[0])))
			return TEMPLATE_TAG_BAD;
	} else {
		n = word_length(value, '=', '"');
		argument->value = slice_make(value.ptr, n);
		s = behind(value, n);
		if (n == 0 || (s.len > 0 && !is_blank(s.ptr[0])))
			return TEMPLATE_TAG_BAD;
	}
	*rest = s;
	return TEMPLATE_TAG_FOUND;
}

bool
template_tag_names(struct slice body, struct slice *path, struct slice names[2])
{
	size_t n = word_length(body, '\0', '\0');
	struct slice s = skip_blanks(behind(body, n));

	names[0] = names[1] = slice_make(NULL, 0);
	*path = slice_make(body.ptr, n);
	if (s.len == 0)
		return true;
	*path = s;
	if (s.len < 3 || s.ptr[0] != 'a' || s.ptr[1] != 's' || !is_blank(s.ptr[2]))
		return false;
	s = slice_trim(behind(s, 2));
	if (s.len < 3 || s.ptr[0] != '|' || s.ptr[s.len - 1] != '|')
		return false;
	s = slice_trim(slice_make(s.ptr + 1, s.len - 2));
	for (size_t i = 0; i < 2 && s.len > 0; i++) {
		size_t length = word_length(s, '|', '|');

		names[i] = slice_make(s.ptr, length);
		s = skip_blanks(behind(s, length));
	}
	if (s.len > 0 || names[0].len == 0)
		return false;
	*path = slice_make(body.ptr, n);
	return true;
}
