/* SPDX-License-Identifier: Apache-2.0 */
/* buf: see buf.h. Growth doubles, so appending n bytes is O(n) in all. */
#include "buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void
buf_init(struct buf *b, size_t max_bytes)
{
	*b = (struct buf){ .max = max_bytes };
}

void
buf_release(struct buf *b)
{
	free(b->data);
	*b = (struct buf){ .max = b->max };
}

void
buf_reset(struct buf *b)
{
	b->len = 0;
	b->failed = false;
	if (b->data != NULL)
		b->data[0] = '\0';
}

bool
buf_reserve(struct buf *b, size_t n)
{
	size_t capacity = b->capacity;
	char *data;

	if (b->failed)
		return false;
	if (n > b->max || b->len > b->max - n) {
		b->failed = true;
		return false;
	}
	if (b->len + n < capacity)
		return true;
	if (capacity == 0)
		capacity = 256;
	while (capacity < b->len + n + 1)
		capacity *= 2;
	data = realloc(b->data, capacity);
	if (data == NULL) {
		b->failed = b->starved = true;
		return false;
	}
	b->data = data;
	b->capacity = capacity;
	return true;
}

void
buf_commit(struct buf *b, size_t n)
{
	assert(b->len + n < b->capacity);
	b->len += n;
	b->data[b->len] = '\0';
}

void
buf_append(struct buf *b, const void *bytes, size_t n)
{
	if (n == 0 || !buf_reserve(b, n))
		return;
	memcpy(b->data + b->len, bytes, n);
	buf_commit(b, n);
}

void
buf_append_slice(struct buf *b, struct slice s)
{
	buf_append(b, s.ptr, s.len);
}

void
buf_append_str(struct buf *b, const char *str)
{
	buf_append(b, str, strlen(str));
}

void
buf_append_char(struct buf *b, char c)
{
	buf_append(b, &c, 1);
}

void
buf_append_uint(struct buf *b, uint64_t value)
{
	char digits[20];
	size_t n = sizeof(digits);

	do {
		digits[--n] = (char)('0' + value % 10);
		value /= 10;
	} while (value > 0);
	buf_append(b, digits + n, sizeof(digits) - n);
}

void
buf_printf(struct buf *b, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (n < 0 || !buf_reserve(b, (size_t)n + 1)) {
		b->failed = true;
		return;
	}
	va_start(args, format);
	(void)vsnprintf(b->data + b->len, (size_t)n + 1, format, args);
	va_end(args);
	buf_commit(b, (size_t)n);
}

void
buf_consume(struct buf *b, size_t n)
{
	assert(n <= b->len);
	if (n == 0)
		return;
	memmove(b->data, b->data + n, b->len - n);
	b->len -= n;
	b->data[b->len] = '\0';
}
