/* SPDX-License-Identifier: Apache-2.0 */
/* pgarray: see pgarray.h. */
#include "pgarray.h"

#include "plain.h"
#include "utf8.h"

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

void
pgarray_text(struct buf *b, struct slice text)
{
	size_t from = 0, i = 0;

	begin(b);
	buf_append_char(b, '"');
	while (i < text.len) {
		char c;
		size_t n;

		i += plain_length(text.ptr + i, text.ptr + text.len);
		if (i == text.len)
			break;
		c = text.ptr[i];
		n = c != '\0' ? utf8_char(text.ptr + i, text.len - i) : 0;
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
