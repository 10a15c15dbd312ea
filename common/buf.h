/* SPDX-License-Identifier: Apache-2.0 */
/*
 * buf: a growing byte buffer with a ceiling fixed at init. Overflow (the ceiling, or no
 * memory) is sticky: every later append does nothing, and buf_failed() tells once at the end.
 * The bytes are always followed by a NUL that is not counted in len.
 */
#ifndef KAIRAN_BUF_H
#define KAIRAN_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "slice.h"

struct buf {
	char *data; /* owned; NULL until the first byte */
	size_t len;
	size_t capacity;
	size_t max;
	bool failed;
	bool
	    starved; /* it has failed for want of memory, not at the ceiling; cleared by the owner */
};

/* max_bytes: the ceiling. No memory is taken before the first append. */
void buf_init(struct buf *b, size_t max_bytes);

/* Frees the contents; the struct may be init'ed again. */
void buf_release(struct buf *b);

/* Empties, keeps the capacity, clears a failure. */
void buf_reset(struct buf *b);

/* Makes room for n more bytes; false (and failed) past the ceiling. Then data + len may be
 * written for n bytes and buf_commit() called. */
bool buf_reserve(struct buf *b, size_t n);
void buf_commit(struct buf *b, size_t n);

void buf_append(struct buf *b, const void *bytes, size_t n);
void buf_append_slice(struct buf *b, struct slice s);
void buf_append_str(struct buf *b, const char *str);
void buf_append_char(struct buf *b, char c);
void buf_append_uint(struct buf *b, uint64_t value);
void buf_printf(struct buf *b, const char *format, ...) PRINTF_LIKE(2, 3);

/* Drops the first n bytes (n <= len) by moving the rest. */
void buf_consume(struct buf *b, size_t n);

static inline bool
buf_failed(const struct buf *b)
{
	return b->failed;
}

/* Borrowed until the next change of b. */
static inline struct slice
buf_slice(const struct buf *b)
{
	return (struct slice){ b->data, b->len };
}

/* The contents as a C string; "" when empty. Borrowed until the next change of b. */
static inline const char *
buf_str(const struct buf *b)
{
	return b->data != NULL ? b->data : "";
}

#endif
