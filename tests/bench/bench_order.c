/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_order: 10 million recipients in 500,000 domains and 60 lanes, sorted by domain, put into
 * interleaved order: ids grouped by domain (counting sort), then one pass of common/pace/
 * interleave.h. The yardstick is a flat sort by (j + phase) / n, the order of the producer.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "interleave.h"

#define RECIPIENTS 10000000u
#define DOMAINS 500000u
#define LANES 60u

struct keyed {
	double key;
	uint32_t id, lane;
};

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int
by_key(const void *a, const void *b)
{
	const struct keyed *x = a, *y = b;

	return x->key != y->key ? (x->key < y->key ? -1 : 1) : (x->id > y->id) - (x->id < y->id);
}

static void
make_domains(struct interleave_domain *d, char (*names)[12])
{
	uint32_t left = RECIPIENTS;

	for (uint32_t i = 0; i < DOMAINS; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "d%06u.jp", i * 7919 % DOMAINS);
		/* 44 lanes of one large domain each, the rest in 16 tail lanes */
		d[i] = (struct interleave_domain){ i < 44 ? i : 44 + i % 16,
			i < 44 ? 2500000 / (i + 2) : 1, names[i] };
		left -= d[i].count;
	}
	d[0].count += left;
}

/* The largest deviation of a lane in the flat order, as the producer has it. */
static double
flat(const struct interleave_domain *d, double *seconds)
{
	struct keyed *all = malloc(RECIPIENTS * sizeof(*all));
	double totals[LANES] = { 0 }, given[LANES] = { 0 }, worst = 0, start = now();
	size_t n = 0;

	if (all == NULL)
		return -1;
	for (uint32_t i = 0; i < DOMAINS; i++) {
		double turns = (double)i * 0.6180339887498949, phase = turns - floor(turns);

		for (uint32_t j = 0; j < d[i].count; j++, n++)
			all[n] = (struct keyed){ (j + phase) / d[i].count, (uint32_t)n, d[i].lane };
		totals[d[i].lane] += d[i].count;
	}
	qsort(all, n, sizeof(*all), by_key);
	*seconds = now() - start;
	for (size_t t = 0; t < n; t++) {
		uint32_t lane = all[t].lane;
		double ideal = totals[lane] / RECIPIENTS;

		worst = fmax(worst, fabs(given[lane] - (double)t * ideal));
		given[lane]++;
		worst = fmax(worst, fabs(given[lane] - (double)(t + 1) * ideal));
	}
	free(all);
	return worst;
}

int
main(void)
{
	struct interleave_domain *d = calloc(DOMAINS, sizeof(*d));
	char(*names)[12] = calloc(DOMAINS, sizeof(*names));
	uint32_t *domain_of = malloc(RECIPIENTS * 4), *ids = malloc(RECIPIENTS * 4);
	uint32_t *first = calloc(DOMAINS + 1, 4), lane, domain, which;
	double start, spent, sorted_s = 0, worst, totals[LANES] = { 0 }, given[LANES] = { 0 },
			     dev = 0;
	struct interleave *v;
	struct rusage usage;
	size_t n = 0;

	if (d == NULL || names == NULL || domain_of == NULL || ids == NULL || first == NULL)
		return 1;
	make_domains(d, names);
	for (uint32_t i = 0; i < DOMAINS; i++) {
		totals[d[i].lane] += d[i].count;
		for (uint32_t j = 0; j < d[i].count; j++)
			domain_of[n++] = i;
	}
	start = now();
	for (uint32_t i = 0; i < RECIPIENTS; i++)
		first[domain_of[i] + 1]++;
	for (uint32_t i = 0; i < DOMAINS; i++)
		first[i + 1] += first[i];
	for (uint32_t i = RECIPIENTS; i-- > 0;)
		ids[--first[domain_of[i] + 1]] = i; /* first[i + 1] ends as the start of i */
	v = interleave_new(d, DOMAINS, LANES);
	for (n = 0; v != NULL && interleave_next(v, &lane, &domain, &which); n++)
		domain_of[n] = ids[first[domain + 1] + which]; /* the order, in place */
	spent = now() - start;
	(void)getrusage(RUSAGE_SELF, &usage);
	interleave_free(v);
	for (size_t t = 0; t < n; t++) { /* the lane of an id, by its domain's range */
		uint32_t low = 0, high = DOMAINS;

		while (high - low > 1) {
			uint32_t mid = (low + high) / 2;

			if (first[mid + 1] <= domain_of[t])
				low = mid;
			else
				high = mid;
		}
		lane = d[low].lane;
		dev = fmax(dev, fabs(given[lane] - (double)t * totals[lane] / RECIPIENTS));
		given[lane]++;
		dev = fmax(dev, fabs(given[lane] - (double)(t + 1) * totals[lane] / RECIPIENTS));
	}
	free(ids);
	worst = flat(d, &sorted_s);
	printf("{\"bench\":\"order_10m\",\"value\":%.2f,\"unit\":\"s\",\"rss_mb\":%ld,"
	       "\"deviation\":%.4f,\"yardstick\":\"flat sort by golden-ratio keys\","
	       "\"yardstick_value\":%.2f,\"yardstick_deviation\":%.1f,\"target\":60}\n",
	    spent, usage.ru_maxrss / 1024, dev, sorted_s, worst);
	free(d);
	free(names);
	free(domain_of);
	free(first);
	return n == RECIPIENTS ? 0 : 1;
}
