/* SPDX-License-Identifier: Apache-2.0 */
/* arena: see arena.h. Blocks of 16 kB or more; a reset keeps the largest one. */
#include "arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>

#define BLOCK_BYTES ((size_t)16 * 1024)

struct arena_block {
	struct arena_block *next;
	size_t capacity;
	size_t used;
	alignas(max_align_t) char data[];
};

void
arena_init(struct arena *a, size_t max_bytes)
{
	*a = (struct arena){ .max = max_bytes };
}

void
arena_release(struct arena *a)
{
	struct arena_block *b, *next;

	for (b = a->blocks; b != NULL; b = next) {
		next = b->next;
		free(b);
	}
	*a = (struct arena){ .max = a->max };
}

void
arena_reset(struct arena *a)
{
	struct arena_block *b, *next, *keep = NULL;

	for (b = a->blocks; b != NULL; b = b->next)
		if (keep == NULL || b->capacity > keep->capacity)
			keep = b;
	for (b = a->blocks; b != NULL; b = next) {
		next = b->next;
		if (b != keep)
			free(b);
	}
	a->blocks = keep;
	a->used_total = 0;
	a->failed = false;
	if (keep != NULL) {
		keep->next = NULL;
		keep->used = 0;
	}
}

static void *
no_room(struct arena *a)
{
	a->failed = true;
	return NULL;
}

void *
arena_alloc(struct arena *a, size_t size)
{
	struct arena_block *b = a->blocks;
	size_t align = alignof(max_align_t), capacity;
	void *p;

	if (size > SIZE_MAX / 2)
		return no_room(a);
	size = (size + align - 1) / align * align;
	if (size > a->max || a->used_total > a->max - size)
		return no_room(a);
	if (b == NULL || b->capacity - b->used < size) {
		capacity = size > BLOCK_BYTES ? size : BLOCK_BYTES;
		b = malloc(sizeof(*b) + capacity);
		if (b == NULL)
			return no_room(a);
		b->next = a->blocks;
		b->capacity = capacity;
		b->used = 0;
		a->blocks = b;
	}
	p = b->data + b->used;
	b->used += size;
	a->used_total += size;
	memset(p, 0, size);
	return p;
}

void *
arena_array(struct arena *a, size_t count, size_t size)
{
	if (size != 0 && count > SIZE_MAX / size)
		return no_room(a);
	return arena_alloc(a, count * size);
}

struct slice
arena_copy(struct arena *a, struct slice s)
{
	char *p = arena_alloc(a, s.len + 1);

	if (p == NULL)
		return (struct slice){ NULL, 0 };
	if (s.len > 0)
		memcpy(p, s.ptr, s.len);
	return (struct slice){ p, s.len };
}

char *
arena_str(struct arena *a, const char *str)
{
	size_t n = strlen(str);
	char *p = arena_alloc(a, n + 1);

	if (p != NULL)
		memcpy(p, str, n + 1);
	return p;
}
