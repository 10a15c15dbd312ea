/* SPDX-License-Identifier: Apache-2.0 */
/* jsondoc: see jsondoc.h. Owns nothing; every step looks at the end of the text first. */
#include "jsondoc.h"

#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "digit.h"
#include "plain.h"
#include "utf8.h"

#define COMPARED_MAX 16 /* keys of an object that are compared one by one */

struct reader {
	const char *start, *at, *end;
	unsigned depth_left;
	size_t values_left;
	struct arena *arena;
	const char *fault; /* why it was refused; NULL: bad syntax */
};

static bool read_value(struct reader *r, struct jsondoc *value);

static void
skip_blanks(struct reader *r)
{
	while (
	    r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\t' || *r->at == '\r'))
		r->at++;
}

static bool
take(struct reader *r, char c)
{
	if (r->at == r->end || *r->at != c)
		return false;
	r->at++;
	return true;
}

static bool
take_word(struct reader *r, const char *word)
{
	size_t n = strlen(word);

	if ((size_t)(r->end - r->at) < n || memcmp(r->at, word, n) != 0)
		return false;
	r->at += n;
	return true;
}

static bool
refuse(struct reader *r, const char *fault)
{
	r->fault = fault;
	return false;
}

/* ---- strings ---- */

static bool
read_hex4(struct reader *r, uint32_t *c)
{
	*c = 0;
	if (r->end - r->at < 4)
		return false;
	for (int i = 0; i < 4; i++, r->at++) {
		int digit = digit_hex(*r->at);

		if (digit < 0)
			return false;
		*c = *c * 16 + (uint32_t)digit;
	}
	return true;
}

/* Behind "\u". A surrogate must come with its other half. */
static bool
read_unicode(struct reader *r, char out[4], size_t *n)
{
	uint32_t c, low;

	if (!read_hex4(r, &c))
		return false;
	if (c >= 0xD800 && c < 0xDC00) {
		if (!take_word(r, "\\u") || !read_hex4(r, &low) || low < 0xDC00 || low > 0xDFFF)
			return false;
		c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
	} else if (c >= 0xDC00 && c <= 0xDFFF) {
		return false;
	}
	*n = utf8_put(out, c);
	return true;
}

/* Behind the backslash. */
static bool
read_escape(struct reader *r, char *out, size_t *n)
{
	static const char meant[UCHAR_MAX + 1] = { ['"'] = '"',
		['\\'] = '\\',
		['/'] = '/',
		['b'] = '\b',
		['f'] = '\f',
		['n'] = '\n',
		['r'] = '\r',
		['t'] = '\t' };

	if (r->at == r->end)
		return false;
	if (take(r, 'u'))
		return read_unicode(r, out, n);
	*out = meant[(unsigned char)*r->at];
	if (*out == '\0')
		return false;
	r->at++;
	*n = 1;
	return true;
}

/* The end of the string that begins at r->at, behind its quote; NULL when there is none. */
static const char *
find_quote(const struct reader *r)
{
	const char *quote = r->at, *p;

	while (quote < r->end && (quote = memchr(quote, '"', (size_t)(r->end - quote))) != NULL) {
		for (p = quote; p > r->at && p[-1] == '\\'; p--)
			;
		if ((quote - p) % 2 == 0)
			return quote;
		quote++;
	}
	return NULL;
}

/* Copies what has escapes. It never gets longer. */
static bool
read_escaped(struct reader *r, const char *begin, struct slice *text)
{
	const char *quote = find_quote(r);
	size_t n = (size_t)(r->at - begin), length;
	char *out;

	if (quote == NULL)
		return false;
	out = arena_alloc(r->arena, (size_t)(quote - begin) + 4);
	if (out == NULL)
		return refuse(r, "the document needs more memory than its arena has");
	memcpy(out, begin, n);
	while (r->at < quote) {
		length = plain_length(r->at, quote);
		memcpy(out + n, r->at, length);
		r->at += length;
		if (r->at == quote) {
			n += length;
			break;
		}
		n += length;
		if (take(r, '\\')) {
			if (!read_escape(r, out + n, &length))
				return false;
		} else {
			length = (unsigned char)*r->at < 0x20
			    ? 0
			    : utf8_char(r->at, (size_t)(quote - r->at));
			if (length == 0)
				return false;
			memcpy(out + n, r->at, length);
			r->at += length;
		}
		n += length;
	}
	if (r->at != quote)
		return false; /* an escape went past it */
	r->at++;
	*text = slice_make(out, n);
	return true;
}

static bool
read_string(struct reader *r, struct slice *text)
{
	const char *begin;

	if (!take(r, '"'))
		return false;
	begin = r->at;
	while (r->at < r->end) {
		size_t length;

		r->at += plain_length(r->at, r->end);
		if (r->at == r->end || (unsigned char)*r->at < 0x20)
			return false;
		if (*r->at == '"') {
			*text = slice_make(begin, (size_t)(r->at - begin));
			r->at++;
			return true;
		}
		if (*r->at == '\\')
			return read_escaped(r, begin, text);
		length = utf8_char(r->at, (size_t)(r->end - r->at));
		if (length == 0)
			return false;
		r->at += length;
	}
	return false;
}

/* ---- numbers ---- */

static bool
take_digits(struct reader *r)
{
	const char *begin = r->at;

	while (r->at < r->end && *r->at >= '0' && *r->at <= '9')
		r->at++;
	return r->at > begin;
}

static bool
read_number(struct reader *r, struct slice *text)
{
	const char *begin = r->at;

	(void)take(r, '-');
	if (!take(r, '0') && !take_digits(r))
		return false;
	if (take(r, '.') && !take_digits(r))
		return false;
	if (take(r, 'e') || take(r, 'E')) {
		if (!take(r, '+'))
			(void)take(r, '-');
		if (!take_digits(r))
			return false;
	}
	*text = slice_make(begin, (size_t)(r->at - begin));
	return true;
}

/* ---- arrays and objects ---- */

static int
by_key(const void *a, const void *b)
{
	const struct jsondoc *x = *(const struct jsondoc *const *)a,
			     *y = *(const struct jsondoc *const *)b;

	if (x->key.len != y->key.len)
		return x->key.len < y->key.len ? -1 : 1;
	return x->key.len > 0 ? memcmp(x->key.ptr, y->key.ptr, x->key.len) : 0;
}

/* Of many keys, sorted; so that no document takes time by the square of its size. */
static bool
has_twin(struct reader *r, const struct jsondoc *object)
{
	const struct jsondoc **list;
	size_t n = 0;

	if (object->count <= COMPARED_MAX) {
		for (const struct jsondoc *a = object->first; a != NULL; a = a->next)
			for (const struct jsondoc *b = a->next; b != NULL; b = b->next)
				if (by_key(&a, &b) == 0)
					return !refuse(r, "a key is there twice");
		return false;
	}
	list = arena_array(r->arena, object->count, sizeof(*list));
	if (list == NULL)
		return !refuse(r, "the document needs more memory than its arena has");
	for (const struct jsondoc *m = object->first; m != NULL; m = m->next)
		list[n++] = m;
	qsort(list, n, sizeof(*list), by_key);
	for (size_t i = 1; i < n; i++)
		if (by_key(&list[i - 1], &list[i]) == 0)
			return !refuse(r, "a key is there twice");
	return false;
}

static bool
read_key(struct reader *r, struct slice *key)
{
	skip_blanks(r);
	if (!read_string(r, key))
		return false;
	skip_blanks(r);
	return take(r, ':');
}

/* Behind the opening bracket. */
static bool
read_members(struct reader *r, struct jsondoc *value, char close)
{
	const struct jsondoc **last = &value->first;

	if (r->depth_left == 0)
		return refuse(r, "it is nested too deeply");
	r->depth_left--;
	skip_blanks(r);
	if (!take(r, close)) {
		do {
			struct jsondoc *item;

			if (r->values_left-- == 0)
				return refuse(r, "it has too many values");
			item = arena_alloc(r->arena, sizeof(*item));
			if (item == NULL)
				return refuse(r, "it needs more memory than its arena has");
			if (close == '}' && !read_key(r, &item->key))
				return false;
			if (!read_value(r, item))
				return false;
			*last = item;
			last = &item->next;
			value->count++;
			skip_blanks(r);
		} while (take(r, ','));
		if (!take(r, close))
			return false;
	}
	r->depth_left++;
	return close != '}' || !has_twin(r, value);
}

static bool
read_value(struct reader *r, struct jsondoc *value)
{
	static const struct {
		const char *word;
		enum jsondoc_type type;
	} words[] = { { "null", JSONDOC_NULL }, { "false", JSONDOC_FALSE },
		{ "true", JSONDOC_TRUE } };

	skip_blanks(r);
	if (r->at == r->end)
		return false;
	switch (*r->at) {
	case '"':
		value->type = JSONDOC_STRING;
		return read_string(r, &value->text);
	case '{':
		r->at++;
		value->type = JSONDOC_OBJECT;
		return read_members(r, value, '}');
	case '[':
		r->at++;
		value->type = JSONDOC_ARRAY;
		return read_members(r, value, ']');
	default:
		break;
	}
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (take_word(r, words[i].word)) {
			value->type = words[i].type;
			return true;
		}
	}
	value->type = JSONDOC_NUMBER;
	return read_number(r, &value->text);
}

const struct jsondoc *
jsondoc_parse(
    struct slice text, size_t max, unsigned depth_max, struct arena *arena, struct err *err)
{
	const char *start = text.len > 0 ? text.ptr : "";
	struct reader r = { start, start, start + text.len, depth_max, JSONDOC_VALUES_MAX, arena,
		NULL };
	struct jsondoc *root;

	if (text.len > max) {
		(void)err_set(err, "the document is larger than %zu bytes", max);
		return NULL;
	}
	root = arena_alloc(arena, sizeof(*root));
	if (root == NULL) {
		(void)err_set(err, "the document needs more memory than its arena has");
		return NULL;
	}
	if (read_value(&r, root)) {
		skip_blanks(&r);
		if (r.at == r.end && root->type == JSONDOC_OBJECT)
			return root;
		if (r.at == r.end)
			r.fault = "it is not an object";
	}
	if (err != NULL)
		err->offset = (size_t)(r.at - r.start);
	(void)err_set(err, "not a JSON document for us: %s at byte %zu",
	    r.fault != NULL ? r.fault : "error", (size_t)(r.at - r.start));
	return NULL;
}

const struct jsondoc *
jsondoc_get(const struct jsondoc *value, const char *key)
{
	size_t n = strlen(key);

	if (!jsondoc_is(value, JSONDOC_OBJECT))
		return NULL;
	for (const struct jsondoc *m = value->first; m != NULL; m = m->next)
		if (m->key.len == n && memcmp(m->key.ptr, key, n) == 0)
			return m;
	return NULL;
}

const struct jsondoc *
jsondoc_at(const struct jsondoc *value, size_t i)
{
	const struct jsondoc *item = jsondoc_is(value, JSONDOC_ARRAY) ? value->first : NULL;

	for (; item != NULL && i > 0; i--)
		item = item->next;
	return item;
}
