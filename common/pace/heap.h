/* SPDX-License-Identifier: Apache-2.0 */
/*
 * heap: numbers that wait by a key, least first; equal keys by number, so that the order is
 * total. The room is fixed at init. Inline, because orders and permits are made of nothing else.
 */
#ifndef KAIRAN_HEAP_H
#define KAIRAN_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

struct heap_entry {
	double key;
	uint32_t id;
};

struct heap {
	struct heap_entry *entries; /* owned; entries[0] is the least */
	size_t count;
};

static inline bool
heap_init(struct heap *h, size_t room)
{
	h->entries = calloc(room + 1, sizeof(*h->entries));
	h->count = 0;
	return h->entries != NULL;
}

static inline void
heap_release(struct heap *h)
{
	free(h->entries);
	h->entries = NULL;
	h->count = 0;
}

static inline bool
heap_before(const struct heap_entry *a, const struct heap_entry *b)
{
	return a->key < b->key || (a->key == b->key && a->id < b->id);
}

static inline double
heap_key(const struct heap *h)
{
	return h->entries[0].key;
}

static inline void
heap_push(struct heap *h, double key, uint32_t id)
{
	struct heap_entry e = { key, id };
	size_t i = h->count++;

	for (; i > 0 && heap_before(&e, &h->entries[(i - 1) / 2]); i = (i - 1) / 2)
		h->entries[i] = h->entries[(i - 1) / 2];
	h->entries[i] = e;
}

/* Puts another entry in the place of the least. */
static inline void
heap_replace(struct heap *h, double key, uint32_t id)
{
	struct heap_entry e = { key, id };
	size_t i = 0, child;

	for (; (child = 2 * i + 1) < h->count; i = child) {
		if (child + 1 < h->count && heap_before(&h->entries[child + 1], &h->entries[child]))
			child++;
		if (!heap_before(&h->entries[child], &e))
			break;
		h->entries[i] = h->entries[child];
	}
	h->entries[i] = e;
}

/* Removes the least; there must be one. */
static inline uint32_t
heap_pop(struct heap *h)
{
	uint32_t id = h->entries[0].id;
	struct heap_entry last = h->entries[--h->count];

	if (h->count > 0)
		heap_replace(h, last.key, last.id);
	return id;
}

#endif
