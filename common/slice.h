/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slice: a borrowed view of bytes. It never owns and is never freed; it lives as long as
 * the memory it points into. Bytes may be anything, NUL included.
 */
#ifndef KAIRAN_SLICE_H
#define KAIRAN_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct slice {
	const char *ptr; /* may be NULL when len is 0 */
	size_t len;
};

/* For printf: printf("%.*s", SLICE_ARG(s)). */
#define SLICE_ARG(s) (int)(s).len, (s).len ? (s).ptr : ""

/* A slice of a string literal. */
#define SLICE(literal) ((struct slice){ (literal), sizeof(literal) - 1 })

static inline struct slice
slice_make(const char *ptr, size_t len)
{
	return (struct slice){ ptr, len };
}

/* A slice of a C string; NULL gives the empty slice. */
static inline struct slice
slice_str(const char *str)
{
	return (struct slice){ str, str != NULL ? strlen(str) : 0 };
}

/* The first max bytes at most. */
static inline struct slice
slice_cut(struct slice s, size_t max)
{
	return slice_make(s.ptr, s.len < max ? s.len : max);
}

static inline bool
slice_equal(struct slice a, struct slice b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* ASCII case folding only, whatever the locale. */
static inline bool
slice_equal_nocase(struct slice a, struct slice b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++) {
		unsigned char x = (unsigned char)a.ptr[i], y = (unsigned char)b.ptr[i];
		if (x >= 'A' && x <= 'Z')
			x = (unsigned char)(x + 32);
		if (y >= 'A' && y <= 'Z')
			y = (unsigned char)(y + 32);
		if (x != y)
			return false;
	}
	return true;
}

static inline bool
slice_starts_nocase(struct slice s, struct slice prefix)
{
	return s.len >= prefix.len && slice_equal_nocase(slice_make(s.ptr, prefix.len), prefix);
}

static inline bool
slice_is_ascii(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.ptr[i] >= 0x80)
			return false;
	return true;
}

/* Without leading and trailing SP, TAB, CR and LF. */
static inline struct slice
slice_trim(struct slice s)
{
	while (s.len > 0 &&
	    (s.ptr[0] == ' ' || s.ptr[0] == '\t' || s.ptr[0] == '\r' || s.ptr[0] == '\n')) {
		s.ptr++;
		s.len--;
	}
	while (s.len > 0 &&
	    (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t' || s.ptr[s.len - 1] == '\r' ||
		s.ptr[s.len - 1] == '\n'))
		s.len--;
	return s;
}

/* Parsers' steps. Takes exactly n digits off the front as a number; false, and the slice as it
 * was, when one is none. n <= 9. */
static inline bool
slice_take_digits(struct slice *s, size_t n, int *value)
{
	int v = 0;

	if (s->len < n)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (s->ptr[i] < '0' || s->ptr[i] > '9')
			return false;
		v = v * 10 + (s->ptr[i] - '0');
	}
	s->ptr += n;
	s->len -= n;
	*value = v;
	return true;
}

/* Takes one character off the front when it is one of `any`. */
static inline bool
slice_take_char(struct slice *s, const char *any)
{
	if (s->len == 0 || s->ptr[0] == '\0' || strchr(any, s->ptr[0]) == NULL)
		return false;
	s->ptr++;
	s->len--;
	return true;
}

#endif
