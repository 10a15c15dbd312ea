/* SPDX-License-Identifier: Apache-2.0 */
/* ready: see ready.h. */
#include "ready.h"

#include <stdlib.h>

static bool
is_before(const struct flight *a, const struct flight *b)
{
	uint64_t x = a->due_us + b->ahead_us, y = b->due_us + a->ahead_us;

	return x != y ? x < y : a->order < b->order;
}

static void
up(struct ready *r, size_t i)
{
	struct flight *f = r->heap[i];

	while (i > 0 && is_before(f, r->heap[(i - 1) / 2])) {
		r->heap[i] = r->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	r->heap[i] = f;
}

static void
down(struct ready *r, size_t i)
{
	struct flight *f = r->heap[i];

	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= r->count)
			break;
		if (child + 1 < r->count && is_before(r->heap[child + 1], r->heap[child]))
			child++;
		if (!is_before(r->heap[child], f))
			break;
		r->heap[i] = r->heap[child];
		i = child;
	}
	r->heap[i] = f;
}

int
ready_add(struct ready *r, struct flight *f)
{
	if (r->count == r->room) {
		size_t room = r->room > 0 ? 2 * r->room : 1024;
		struct flight **heap = realloc(r->heap, room * sizeof(struct flight *));

		if (heap == NULL)
			return -1;
		r->heap = heap;
		r->room = room;
	}
	if (f->order == 0)
		f->order = ++r->orders;
	r->heap[r->count++] = f;
	up(r, r->count - 1);
	return 0;
}

struct flight *
ready_pop(struct ready *r)
{
	struct flight *f;

	if (r->count == 0)
		return NULL;
	f = r->heap[0];
	r->count--;
	if (r->count > 0) {
		r->heap[0] = r->heap[r->count];
		down(r, 0);
	}
	return f;
}

void
ready_remove_run(struct ready *r, const struct live_run *run,
    void (*give)(void *ctx, struct flight *f), void *ctx)
{
	size_t kept = 0;

	for (size_t i = 0; i < r->count; i++) {
		struct flight *f = r->heap[i];

		if (run == NULL || flight_run(f) == run)
			give(ctx, f);
		else
			r->heap[kept++] = f;
	}
	r->count = kept;
	for (size_t i = kept / 2; i-- > 0;)
		down(r, i);
}

void
ready_release(struct ready *r)
{
	free(r->heap);
	*r = (struct ready){ 0 };
}
