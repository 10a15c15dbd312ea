/* SPDX-License-Identifier: Apache-2.0 */
/* pgarray: see pgarray.h. */
#include "pgarray.h"

static void
begin(struct buf *b)
{
	buf_append_char(b, b->len == 0 ? '{' : ',');
}

void
pgarray_int(struct buf *b, int64_t value)
{
	begin(b);
	if (value < 0)
		buf_append_char(b, '-');
	buf_append_uint(b, value < 0 ? (uint64_t)(-(value + 1)) + 1 : (uint64_t)value);
}

void
pgarray_null(struct buf *b)
{
	begin(b);
	buf_append(b, "NULL", 4);
}

/* Bytes of the well-formed UTF-8 character at s, 0 when there is none (RFC 3629). */
static size_t
character(const unsigned char *s, size_t n)
{
	size_t length = s[0] < 0x80	   ? 1
	    : s[0] >= 0xc2 && s[0] <= 0xdf ? 2
	    : s[0] >= 0xe0 && s[0] <= 0xef ? 3
	    : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4
					   : 0;

	if (length == 0 || length > n || s[0] == '\0')
		return 0;
	for (size_t i = 1; i < length; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return length;
}

void
pgarray_text(struct buf *b, struct slice text)
{
	size_t from = 0, i = 0;

	begin(b);
	buf_append_char(b, '"');
	while (i < text.len) {
		char c = text.ptr[i];
		size_t n = character((const unsigned char *)text.ptr + i, text.len - i);

		if (n > 0 && c != '"' && c != '\\') {
			i += n;
			continue;
		}
		buf_append(b, text.ptr + from, i - from);
		buf_append_char(b, n > 0 ? '\\' : '?');
		from = n > 0 ? i : i + 1;
		i++;
	}
	buf_append(b, text.ptr + from, text.len - from);
	buf_append_char(b, '"');
}

void
pgarray_optional(struct buf *b, struct slice text)
{
	if (text.len == 0)
		pgarray_null(b);
	else
		pgarray_text(b, text);
}

const char *
pgarray_end(struct buf *b)
{
	if (b->len == 0)
		buf_append_char(b, '{');
	buf_append_char(b, '}');
	return buf_failed(b) ? NULL : buf_str(b);
}
