/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arena: a bump allocator. It owns every byte of one message or one batch; arena_reset()
 * frees them all at once and keeps the memory for the next. A ceiling bounds it.
 */
#ifndef KAIRAN_ARENA_H
#define KAIRAN_ARENA_H

#include <stdbool.h>
#include <stddef.h>

#include "slice.h"

struct arena_block;

struct arena {
	struct arena_block *blocks; /* owned; newest first */
	size_t used_total;	    /* bytes in all blocks */
	size_t max;		    /* ceiling in bytes */
	bool failed;		    /* something had no room since the last reset */
};

void arena_init(struct arena *a, size_t max_bytes);
void arena_release(struct arena *a);

/* Forgets all allocations; keeps one block. */
void arena_reset(struct arena *a);

/* Zeroed memory aligned for any object, owned by the arena; NULL past the ceiling or
 * without memory. */
void *arena_alloc(struct arena *a, size_t size);

/* count * size, checked for overflow. */
void *arena_array(struct arena *a, size_t count, size_t size);

/* A copy with a NUL behind it that is not counted. {NULL, 0} when there is no room. */
struct slice arena_copy(struct arena *a, struct slice s);

/* A C string copy; NULL when there is no room. */
char *arena_str(struct arena *a, const char *str);

#endif
