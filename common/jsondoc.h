/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jsondoc: a JSON document from outside as a tree in an arena (RFC 8259, strict). Pure. Made for
 * notices that come by the thousand: no hash tables, no reference counts, and a string without
 * escapes is not copied. All slices are valid UTF-8 and may hold a NUL.
 */
#ifndef KAIRAN_JSONDOC_H
#define KAIRAN_JSONDOC_H

#include <stdbool.h>
#include <stddef.h>

#include "arena.h"
#include "err.h"
#include "slice.h"

#define JSONDOC_VALUES_MAX 20000 /* values in a document; bounds its memory to about 2 MB */

enum jsondoc_type {
	JSONDOC_NULL,
	JSONDOC_FALSE,
	JSONDOC_TRUE,
	JSONDOC_NUMBER,
	JSONDOC_STRING,
	JSONDOC_ARRAY,
	JSONDOC_OBJECT
};

struct jsondoc {
	enum jsondoc_type type;
	size_t count;	   /* of an array or object */
	struct slice key;  /* in an object */
	struct slice text; /* of a string, unescaped; of a number, as written */
	const struct jsondoc *first, *next;
};

/*
 * Reads an object of at most max bytes and depth_max levels; the same key twice in one object is
 * refused, as is anything behind it. The tree points into text and the arena: both must stay.
 * NULL with err (and its offset).
 */
const struct jsondoc *jsondoc_parse(struct slice text, size_t max, unsigned depth_max,
    struct arena *arena, struct err *err) MUST_CHECK;

/* The member with this key, the item with this number. NULL: there is none, or value is NULL or
 * of another type. */
const struct jsondoc *jsondoc_get(const struct jsondoc *value, const char *key);
const struct jsondoc *jsondoc_at(const struct jsondoc *value, size_t i);

/* value may be NULL. */
static inline bool
jsondoc_is(const struct jsondoc *value, enum jsondoc_type type)
{
	return value != NULL && value->type == type;
}

/* Items of an array; 0 of anything else. */
static inline size_t
jsondoc_count(const struct jsondoc *value)
{
	return jsondoc_is(value, JSONDOC_ARRAY) ? value->count : 0;
}

#endif
