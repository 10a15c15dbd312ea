/* SPDX-License-Identifier: Apache-2.0 */
/* pgarray: PostgreSQL array literals for parameters, built element by element in a buf. */
#ifndef KAIRAN_PGARRAY_H
#define KAIRAN_PGARRAY_H

#include <stdint.h>

#include "buf.h"
#include "slice.h"

/* Each adds one element; the first one opens the literal. */
void pgarray_int(struct buf *b, int64_t value);
void pgarray_null(struct buf *b);
/* NUL and bytes that are no UTF-8 become '?', since the server would refuse them. */
void pgarray_text(struct buf *b, struct slice text);
/* The empty text is NULL. */
void pgarray_optional(struct buf *b, struct slice text);

/* Closes the literal and returns it, "{}" when nothing was added; borrowed from b. Nothing may
 * be added afterwards. NULL when the buffer failed. */
const char *pgarray_end(struct buf *b);

#endif
