/* SPDX-License-Identifier: Apache-2.0 */
/* interleave: see interleave.h. Memory: 24 bytes a domain, 72 a lane. */
#include "interleave.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "heap.h"

#define GOLDEN 0.6180339887498949

struct turn {
	uint64_t count, given;
	double stride; /* N / count: picks between two of its messages */
	double worst;
};

struct lane_order {
	struct turn *lanes;
	size_t count;
	uint64_t picked, total;
	double theta;
	struct heap waiting; /* by the first pick at which the next message may come */
	struct heap ready;   /* by the last */
};

struct lane_order *
lane_order_new(const uint64_t *counts, size_t lanes)
{
	struct lane_order *o = calloc(1, sizeof(*o));
	size_t live = 0;

	if (o == NULL)
		return NULL;
	o->lanes = calloc(lanes + 1, sizeof(*o->lanes));
	o->count = lanes;
	if (o->lanes == NULL || !heap_init(&o->waiting, lanes) || !heap_init(&o->ready, lanes)) {
		lane_order_free(o);
		return NULL;
	}
	for (size_t i = 0; i < lanes; i++) {
		o->total += counts[i];
		live += counts[i] > 0;
	}
	o->theta = live > 1 ? 1.0 / (2.0 * (double)live - 2.0) : 0;
	for (size_t i = 0; i < lanes; i++) {
		struct turn *l = &o->lanes[i];

		l->count = counts[i];
		if (counts[i] == 0)
			continue;
		l->stride = (double)o->total / (double)counts[i];
		heap_push(&o->waiting, o->theta * l->stride, (uint32_t)i);
	}
	return o;
}

void
lane_order_free(struct lane_order *o)
{
	if (o == NULL)
		return;
	heap_release(&o->waiting);
	heap_release(&o->ready);
	free(o->lanes);
	free(o);
}

static void
note(struct turn *l, double deviation)
{
	if (fabs(deviation) > l->worst)
		l->worst = fabs(deviation);
}

int
lane_order_next(struct lane_order *o)
{
	double t = (double)++o->picked;
	struct turn *l;
	uint32_t lane;

	while (o->waiting.count > 0 && heap_key(&o->waiting) <= t) {
		lane = heap_pop(&o->waiting);
		l = &o->lanes[lane];
		heap_push(&o->ready, ((double)l->given + 1 - o->theta) * l->stride, lane);
	}
	if (o->ready.count > 0)
		lane = heap_pop(&o->ready);
	else if (o->waiting.count > 0)
		lane = heap_pop(
		    &o->waiting); /* two lanes: start and deadline meet, rounding decides */
	else
		return -1;
	l = &o->lanes[lane];
	/* between two of its own messages a lane only falls behind: the extremes are at their edges */
	note(l, (double)l->given - (t - 1) / l->stride);
	l->given++;
	note(l, (double)l->given - t / l->stride);
	if (l->given < l->count)
		heap_push(&o->waiting, ((double)l->given + o->theta) * l->stride, lane);
	return (int)lane;
}

double
lane_order_deviation(const struct lane_order *o, size_t lane)
{
	return o->lanes[lane].worst;
}

/* ---------------------------------------------------------------- domains */

struct spread {
	double phase;
	uint32_t count, given;
};

struct interleave {
	struct spread *domains;
	size_t count, lanes;
	struct heap *heaps; /* one a lane, of domains by their next key */
	struct lane_order *order;
};

static int
compare_size(const void *a, const void *b, void *all)
{
	const struct interleave_domain *domains = all;
	const struct interleave_domain *x = &domains[*(const uint32_t *)a],
				       *y = &domains[*(const uint32_t *)b];

	if (x->count != y->count)
		return x->count > y->count ? -1 : 1;
	return strcmp(x->name, y->name);
}

static bool
set_phases(struct interleave *v, const struct interleave_domain *domains)
{
	uint32_t *rank = calloc(v->count + 1, sizeof(*rank));

	if (rank == NULL)
		return false;
	for (size_t i = 0; i < v->count; i++)
		rank[i] = (uint32_t)i;
	qsort_r(rank, v->count, sizeof(*rank), compare_size, (void *)(uintptr_t)domains);
	for (size_t i = 0; i < v->count; i++) {
		double turns = (double)i * GOLDEN;

		v->domains[rank[i]].phase = turns - floor(turns);
	}
	free(rank);
	return true;
}

static bool
fill_heaps(struct interleave *v, const struct interleave_domain *domains)
{
	size_t *sizes = calloc(v->lanes + 1, sizeof(*sizes));
	bool good = sizes != NULL;

	for (size_t i = 0; good && i < v->count; i++)
		sizes[domains[i].lane]++;
	for (size_t i = 0; good && i < v->lanes; i++)
		good = heap_init(&v->heaps[i], sizes[i]);
	for (size_t i = 0; good && i < v->count; i++) {
		struct spread *d = &v->domains[i];

		d->count = domains[i].count;
		if (d->count > 0)
			heap_push(&v->heaps[domains[i].lane], d->phase / d->count, (uint32_t)i);
	}
	free(sizes);
	return good;
}

struct interleave *
interleave_new(const struct interleave_domain *domains, size_t count, size_t lanes)
{
	struct interleave *v = calloc(1, sizeof(*v));
	uint64_t *counts = calloc(lanes + 1, sizeof(*counts));

	if (v == NULL || counts == NULL)
		goto failed;
	v->count = count;
	v->lanes = lanes;
	v->domains = calloc(count + 1, sizeof(*v->domains));
	v->heaps = calloc(lanes + 1, sizeof(*v->heaps));
	if (v->domains == NULL || v->heaps == NULL)
		goto failed;
	for (size_t i = 0; i < count; i++)
		counts[domains[i].lane] += domains[i].count;
	v->order = lane_order_new(counts, lanes);
	if (v->order == NULL || !set_phases(v, domains) || !fill_heaps(v, domains))
		goto failed;
	free(counts);
	return v;
failed:
	free(counts);
	interleave_free(v);
	return NULL;
}

void
interleave_free(struct interleave *v)
{
	if (v == NULL)
		return;
	lane_order_free(v->order);
	for (size_t i = 0; v->heaps != NULL && i < v->lanes; i++)
		heap_release(&v->heaps[i]);
	free(v->heaps);
	free(v->domains);
	free(v);
}

bool
interleave_next_of(struct interleave *v, uint32_t lane, uint32_t *domain, uint32_t *which)
{
	struct heap *h = &v->heaps[lane];
	struct spread *d;

	if (h->count == 0)
		return false;
	*domain = h->entries[0].id;
	d = &v->domains[*domain];
	*which = d->given++;
	if (d->given < d->count)
		heap_replace(h, ((double)d->given + d->phase) / d->count, *domain);
	else
		(void)heap_pop(h);
	return true;
}

bool
interleave_next(struct interleave *v, uint32_t *lane, uint32_t *domain, uint32_t *which)
{
	int next = lane_order_next(v->order);

	if (next < 0)
		return false;
	*lane = (uint32_t)next;
	return interleave_next_of(v, *lane, domain, which);
}
