/* SPDX-License-Identifier: Apache-2.0 */
/* jsontext: see jsontext.h. */
#include "jsontext.h"
#include "utf8.h"
#include "digit.h"

#include <stdint.h>

/* The longest name that is looked for; longer ones are never equal. */
#define NAME_MAX_BYTES 256

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static size_t
skip_blanks(struct slice s, size_t i)
{
	while (i < s.len && is_blank(s.ptr[i]))
		i++;
	return i;
}

/* --- checking --- */

/* Four hexadecimal digits at i; -1 when they are not there. */
static int32_t
hex4(struct slice s, size_t i)
{
	int32_t v = 0;

	if (s.len < 4 || i > s.len - 4)
		return -1;
	for (size_t end = i + 4; i < end; i++) {
		int digit = digit_hex(s.ptr[i]);

		if (digit < 0)
			return -1;
		v = v * 16 + digit;
	}
	return v;
}

/* Length of the escape at i (a backslash is there); 0 when it is none. *c: its character. */
static size_t
escape_at(struct slice s, size_t i, uint32_t *c)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *p;
	int32_t high, low;

	if (i + 1 >= s.len)
		return 0;
	if (s.ptr[i + 1] != 'u') {
		p = s.ptr[i + 1] != '\0' ? strchr(from, s.ptr[i + 1]) : NULL;
		*c = p != NULL ? (unsigned char)to[p - from] : 0;
		return p != NULL ? 2 : 0;
	}
	high = hex4(s, i + 2);
	if (high <= 0 || (high >= 0xdc00 && high <= 0xdfff))
		return 0;
	*c = (uint32_t)high;
	if (high < 0xd800 || high > 0xdfff)
		return 6;
	if (i + 7 >= s.len || s.ptr[i + 6] != '\\' || s.ptr[i + 7] != 'u')
		return 0;
	low = hex4(s, i + 8);
	if (low < 0xdc00 || low > 0xdfff)
		return 0;
	*c = 0x10000 + (((uint32_t)high - 0xd800) << 10) + ((uint32_t)low - 0xdc00);
	return 12;
}

/* The end of the string at i, 0 when it is none. */
static size_t
check_string(struct slice s, size_t i)
{
	uint32_t c;
	size_t n;

	if (i >= s.len || s.ptr[i] != '"')
		return 0;
	for (i++; i < s.len; i += n) {
		n = 1;
		if (s.ptr[i] == '"')
			return i + 1;
		if ((unsigned char)s.ptr[i] < 0x20)
			return 0;
		if (s.ptr[i] == '\\' && (n = escape_at(s, i, &c)) == 0)
			return 0;
	}
	return 0;
}

static size_t
check_digits(struct slice s, size_t i)
{
	size_t from = i;

	while (i < s.len && is_digit(s.ptr[i]))
		i++;
	return i > from ? i : 0;
}

static size_t
check_number(struct slice s, size_t i)
{
	if (i < s.len && s.ptr[i] == '-')
		i++;
	if (i < s.len && s.ptr[i] == '0')
		i++;
	else if ((i = check_digits(s, i)) == 0)
		return 0;
	if (i < s.len && s.ptr[i] == '.' && (i = check_digits(s, i + 1)) == 0)
		return 0;
	if (i < s.len && (s.ptr[i] | 32) == 'e') {
		i++;
		if (i < s.len && (s.ptr[i] == '+' || s.ptr[i] == '-'))
			i++;
		i = check_digits(s, i);
	}
	return i;
}

static size_t
check_scalar(struct slice s, size_t i)
{
	static const struct slice words[] = { { "null", 4 }, { "true", 4 }, { "false", 5 } };

	for (size_t w = 0; w < 3; w++)
		if (s.len - i >= words[w].len && memcmp(s.ptr + i, words[w].ptr, words[w].len) == 0)
			return i + words[w].len;
	return s.ptr[i] == '"' ? check_string(s, i) : check_number(s, i);
}

/* "key" and ":" at i; the start of the value behind them, or 0. */
static size_t
check_key(struct slice s, size_t i)
{
	i = check_string(s, i);
	if (i == 0)
		return 0;
	i = skip_blanks(s, i);
	return i < s.len && s.ptr[i] == ':' ? skip_blanks(s, i + 1) : 0;
}

bool
jsontext_check(struct slice s)
{
	char open[JSONTEXT_DEPTH_MAX];
	size_t depth = 0, i = skip_blanks(s, 0);

	for (;;) {
		/* a value */
		if (i >= s.len)
			return false;
		if (s.ptr[i] == '[' || s.ptr[i] == '{') {
			char c = s.ptr[i];

			if (depth == JSONTEXT_DEPTH_MAX)
				return false;
			open[depth++] = (char)(c + 2); /* "]" and "}" */
			i = skip_blanks(s, i + 1);
			if (i >= s.len || s.ptr[i] != c + 2) {
				if (c == '{' && (i = check_key(s, i)) == 0)
					return false;
				continue;
			}
		} else {
			i = check_scalar(s, i);
			if (i == 0)
				return false;
			i = skip_blanks(s, i);
		}
		/* what may stand behind one */
		while (depth > 0 && i < s.len && s.ptr[i] == open[depth - 1]) {
			depth--;
			i = skip_blanks(s, i + 1);
		}
		if (depth == 0)
			return i == s.len;
		if (i >= s.len || s.ptr[i] != ',')
			return false;
		i = skip_blanks(s, i + 1);
		if (open[depth - 1] == '}' && (i = check_key(s, i)) == 0)
			return false;
	}
}

/* --- finding --- */

static size_t
string_end(struct slice s, size_t i)
{
	for (i++; i < s.len && s.ptr[i] != '"'; i++)
		if (s.ptr[i] == '\\')
			i++;
	return i < s.len ? i + 1 : s.len;
}

/* The end of the value at i. */
static size_t
value_end(struct slice s, size_t i)
{
	size_t depth = 0;

	while (i < s.len) {
		char c = s.ptr[i];

		if (c == '"') {
			i = string_end(s, i);
			if (depth == 0)
				return i;
		} else if (c == '[' || c == '{') {
			depth++;
			i++;
		} else if (c == ']' || c == '}') {
			if (depth <= 1)
				return depth == 0 ? i : i + 1;
			depth--;
			i++;
		} else if (depth == 0 && (c == ',' || is_blank(c))) {
			return i;
		} else {
			i++;
		}
	}
	return i;
}

struct slice
jsontext_value(struct slice text)
{
	size_t from = skip_blanks(text, 0);

	return slice_make(text.ptr + from, value_end(text, from) - from);
}

enum jsontext_kind
jsontext_kind(struct slice value)
{
	if (value.len == 0)
		return JSONTEXT_NONE;
	switch (value.ptr[0]) {
	case 'n':
		return JSONTEXT_NULL;
	case 'f':
		return JSONTEXT_FALSE;
	case 't':
		return JSONTEXT_TRUE;
	case '"':
		return JSONTEXT_STRING;
	case '[':
		return JSONTEXT_LIST;
	case '{':
		return JSONTEXT_OBJECT;
	default:
		return JSONTEXT_NUMBER;
	}
}

struct jsontext_walk
jsontext_walk(struct slice value)
{
	struct jsontext_walk w = { 0 };
	enum jsontext_kind kind = jsontext_kind(value);

	if (kind == JSONTEXT_LIST || kind == JSONTEXT_OBJECT)
		w.rest = slice_make(value.ptr + 1, value.len - 1);
	w.object = kind == JSONTEXT_OBJECT;
	return w;
}

bool
jsontext_next(struct jsontext_walk *w)
{
	struct slice s = w->rest;
	size_t i = skip_blanks(s, 0), end;

	if (i < s.len && s.ptr[i] == ',')
		i = skip_blanks(s, i + 1);
	if (i >= s.len || s.ptr[i] == ']' || s.ptr[i] == '}')
		return false;
	if (w->object) {
		end = string_end(s, i);
		w->key = slice_make(s.ptr + i + 1, end > i + 1 ? end - i - 2 : 0);
		i = skip_blanks(s, end);
		i = skip_blanks(s, i < s.len ? i + 1 : i);
	}
	end = value_end(s, i);
	w->value = slice_make(s.ptr + i, end - i);
	i = skip_blanks(s, end);
	w->rest = slice_make(s.ptr + i, s.len - i);
	w->last = i >= s.len || s.ptr[i] != ',';
	return true;
}

/* The name as a place in a list; -1 when it is none. */
static long
place_of(struct slice name)
{
	long place = 0;

	if (name.len == 0 || name.len > 6 || (name.len > 1 && name.ptr[0] == '0'))
		return -1;
	for (size_t i = 0; i < name.len; i++) {
		if (!is_digit(name.ptr[i]))
			return -1;
		place = place * 10 + (name.ptr[i] - '0');
	}
	return place;
}

static bool
key_is(struct slice key, struct slice name)
{
	char plain[NAME_MAX_BYTES * 6];

	if (key.len == 0 || memchr(key.ptr, '\\', key.len) == NULL)
		return slice_equal(key, name);
	return key.len <= sizeof(plain) &&
	    slice_equal(slice_make(plain, jsontext_decode(key, plain)), name);
}

struct slice
jsontext_member(struct slice value, struct slice name)
{
	struct jsontext_walk w = jsontext_walk(value);
	long place = w.object ? -1 : place_of(name);

	if (!w.object && place < 0)
		return slice_make(NULL, 0);
	while (jsontext_next(&w))
		if (w.object ? key_is(w.key, name) : place-- == 0)
			return w.value;
	return slice_make(NULL, 0);
}

struct slice
jsontext_inside(struct slice string)
{
	return string.len >= 2 ? slice_make(string.ptr + 1, string.len - 2) : slice_make(NULL, 0);
}

size_t
jsontext_decode(struct slice inside, char *dst)
{
	size_t out = 0, n;
	uint32_t c;

	for (size_t i = 0; i < inside.len; i += n) {
		n = inside.ptr[i] == '\\' ? escape_at(inside, i, &c) : 0;
		if (n > 0) {
			out += utf8_put(dst + out, c);
		} else {
			dst[out++] = inside.ptr[i];
			n = 1;
		}
	}
	return out;
}
