/* SPDX-License-Identifier: Apache-2.0 */
/* ready: see ready.h. */
#include "ready.h"

#include <stdlib.h>

#define WAITED_US 5000 /* a first one without a limit has stood in line */

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
	r->limited += f->late_us != UINT64_MAX;
	up(r, r->count - 1);
	return 0;
}

static struct flight *
remove_at(struct ready *r, size_t i)
{
	struct flight *f = r->heap[i];

	r->limited -= f->late_us != UINT64_MAX;
	r->count--;
	if (i < r->count) {
		r->heap[i] = r->heap[r->count];
		up(r, i);
		down(r, i);
	}
	return f;
}

struct flight *
ready_pop(struct ready *r)
{
	return r->count > 0 ? remove_at(r, 0) : NULL;
}

/* Of those with a limit that can leave now, the one that would be late first; r->count: none. */
static size_t
find_punctual(const struct ready *r, uint64_t now_us, bool (*may)(const struct flight *f))
{
	size_t best = r->count;

	for (size_t i = 0; i < r->count; i++) {
		const struct flight *f = r->heap[i];

		if (f->late_us == UINT64_MAX || f->due_us > now_us || flight_is_late(f, now_us) ||
		    (may != NULL && !may(f)))
			continue;
		if (best == r->count ||
		    f->due_us + f->late_us < r->heap[best]->due_us + r->heap[best]->late_us)
			best = i;
	}
	return best;
}

struct flight *
ready_next(struct ready *r, uint64_t now_us, bool (*may)(const struct flight *f))
{
	const struct flight *first = r->count > 0 ? r->heap[0] : NULL;
	size_t i = r->count;

	if (first == NULL || first->late_us != UINT64_MAX)
		return ready_pop(r);
	if (r->limited > 0 && !r->passed && first->ahead_us == 0 &&
	    first->due_us + WAITED_US < now_us)
		i = find_punctual(r, now_us, may);
	r->passed = i < r->count;
	return r->passed ? remove_at(r, i) : ready_pop(r);
}

void
ready_remove_run(struct ready *r, const struct live_run *run,
    void (*give)(void *ctx, struct flight *f), void *ctx)
{
	size_t kept = 0;

	for (size_t i = 0; i < r->count; i++) {
		struct flight *f = r->heap[i];

		if (run == NULL || flight_run(f) == run) {
			r->limited -= f->late_us != UINT64_MAX;
			give(ctx, f);
		} else {
			r->heap[kept++] = f;
		}
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
