/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hits: see hits.h. Owns the entries, a table of their places, and one batch under way. A batch that
 * the database refuses is dropped with a line in the log; one whose fate is unknown is tried once more,
 * which may count a hit twice but never a recipient.
 */
#include "hits.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log.h"
#include "pgarray.h"
#include "hash.h"

#define TABLE_SIZE (HITS_MAX * 2)
#define TICK_MS 500
#define WINDOW_MAX 200 /* hits of one recipient looked at together */
#define COLUMNS 10
#define COLUMN_MAX ((size_t)4 << 20)
#define SQL                                                                                        \
	"SELECT kairan.track_add($1::int[],$2::int[],$3::int[],$4::text[],$5::text[],$6::text[],"  \
	"$7::text[],$8::timestamptz[],$9::timestamptz[],$10::int[],$11::float8)"

struct hits {
	struct pgloop *pg;
	const struct machine_rules *rules;
	uv_timer_t *timer; /* freed by its close callback */
	bool is_stopping;
	size_t count;
	uint64_t dropped, told;
	struct buf columns[COLUMNS]; /* of the batch under way */
	const char *params[COLUMNS + 1];
	char soon[16];
	size_t under_way;
	bool is_second;		    /* try */
	uint16_t table[TABLE_SIZE]; /* place + 1; 0: free */
	struct hits_entry entries[HITS_MAX];
};

static uint64_t
hash(const struct hit *h)
{
	uint64_t n = HASH_START;
	const uint32_t numbers[] = { h->token.run, h->token.send,
		(uint32_t)h->is_click << 8 | (uint32_t)h->verdict.who };

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		n = hash_step(n, numbers[i]);
	n = hash_slice(n, slice_str(h->link));
	return n ^ n >> 32;
}

static bool
same(const struct hit *a, const struct hit *b)
{
	return a->token.run == b->token.run && a->token.send == b->token.send &&
	    a->is_click == b->is_click && a->verdict.who == b->verdict.who &&
	    strcmp(a->link, b->link) == 0;
}

static void
put_in_table(struct hits *hits, size_t place)
{
	size_t i = (size_t)(hash(&hits->entries[place].hit) % TABLE_SIZE);

	while (hits->table[i] != 0)
		i = (i + 1) % TABLE_SIZE;
	hits->table[i] = (uint16_t)(place + 1);
}

void
hits_add(struct hits *hits, const struct hit *hit)
{
	size_t i = (size_t)(hash(hit) % TABLE_SIZE);

	for (; hits->table[i] != 0; i = (i + 1) % TABLE_SIZE) {
		struct hits_entry *e = &hits->entries[hits->table[i] - 1];

		if (!same(&e->hit, hit))
			continue;
		e->last_us = hit->at_us;
		e->count += e->count < INT32_MAX;
		return;
	}
	if (hits->count == HITS_MAX) {
		hits->dropped++;
		return;
	}
	hits->entries[hits->count] = (struct hits_entry){ *hit, hit->at_us, 1 };
	hits->table[i] = (uint16_t)(++hits->count);
}

/* ---- bursts ----------------------------------------------------------------------------- */

static int
by_recipient_and_time(const void *a, const void *b)
{
	const struct hit *x = &((const struct hits_entry *)a)->hit;
	const struct hit *y = &((const struct hits_entry *)b)->hit;

	if (x->token.run != y->token.run)
		return x->token.run < y->token.run ? -1 : 1;
	if (x->token.send != y->token.send)
		return x->token.send < y->token.send ? -1 : 1;
	if (x->is_click != y->is_click)
		return x->is_click ? -1 : 1;
	return x->at_us < y->at_us ? -1 : x->at_us > y->at_us;
}

/* The entries from `first` on that are clicks of its recipient within the rules' seconds; links that
 * are there twice (by different programs) count once. */
static size_t
burst_at(const struct hits_entry *e, size_t count, const struct machine_rules *rules, size_t *links)
{
	size_t n = 0;

	*links = 0;
	while (n < count && n < WINDOW_MAX && e[n].hit.is_click &&
	    e[n].hit.token.run == e->hit.token.run && e[n].hit.token.send == e->hit.token.send &&
	    e[n].hit.at_us - e->hit.at_us <= (int64_t)rules->burst_s * 1000000) {
		bool seen = false;

		for (size_t i = n > 2 * (size_t)WHO_COUNT * rules->burst_links
			 ? n - 2 * (size_t)WHO_COUNT * rules->burst_links
			 : 0;
		     i < n && !seen; i++)
			seen = strcmp(e[i].hit.link, e[n].hit.link) == 0;
		*links += !seen;
		n++;
	}
	return n;
}

void
hits_judge_bursts(struct hits_entry *entries, size_t count, const struct machine_rules *rules)
{
	if (rules->burst_links == 0 || count == 0)
		return;
	qsort(entries, count, sizeof(*entries), by_recipient_and_time);
	for (size_t i = 0; i < count; i++) {
		size_t links,
		    n = entries[i].hit.is_click ? burst_at(entries + i, count - i, rules, &links)
						: 0;

		if (n == 0 || links < rules->burst_links)
			continue;
		for (size_t k = i; k < i + n; k++)
			if (entries[k].hit.verdict.who != WHO_MACHINE)
				entries[k].hit.verdict =
				    (struct machine_verdict){ WHO_MACHINE, "burst" };
	}
}

/* ---- batches ---------------------------------------------------------------------------- */

static void
put_time(struct buf *column, int64_t us)
{
	time_t seconds = (time_t)(us / 1000000);
	struct tm tm;
	char text[48];
	size_t n;

	(void)gmtime_r(&seconds, &tm);
	n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	n += (size_t)snprintf(text + n, sizeof(text) - n, ".%06dZ", (int)(us % 1000000));
	pgarray_text(column, slice_make(text, n));
}

static void
put_entry(struct hits *hits, const struct hits_entry *e)
{
	struct buf *c = hits->columns;

	pgarray_int(&c[0], (int32_t)e->hit.token.run);
	pgarray_int(&c[1], (int32_t)e->hit.token.send);
	pgarray_int(&c[2], e->hit.token.attempt);
	pgarray_text(&c[3], e->hit.is_click ? SLICE("click") : SLICE("open"));
	pgarray_text(&c[4], slice_str(e->hit.link));
	pgarray_text(&c[5], slice_str(machine_who_name(e->hit.verdict.who)));
	pgarray_text(&c[6], slice_str(e->hit.verdict.why));
	put_time(&c[7], e->hit.at_us);
	put_time(&c[8], e->last_us);
	pgarray_int(&c[9], e->count);
}

static void submit(struct hits *hits);

static void
on_added(void *ctx, struct pgloop_answer *answer)
{
	struct hits *hits = ctx;

	if (answer->verdict == PGLOOP_UNKNOWN && !hits->is_second) {
		hits->is_second = true;
		submit(hits);
		return;
	}
	if (answer->verdict != PGLOOP_DONE)
		log_warn(
		    "opens and clicks lost count=%zu error=\"%s\"", hits->under_way, answer->error);
	hits->under_way = 0;
}

static void
submit(struct hits *hits)
{
	if (pgloop_submit(hits->pg, "track_add", SQL, COLUMNS + 1, hits->params, on_added, hits))
		return;
	log_warn("opens and clicks lost count=%zu error=\"no memory\"", hits->under_way);
	hits->under_way = 0;
}

/* Those whose time has come go; the others close up. */
static void
take_due(struct hits *hits, int64_t now_us)
{
	int64_t due = now_us - (int64_t)hits->rules->burst_s * 1000000;
	size_t kept = 0;

	hits_judge_bursts(hits->entries, hits->count, hits->rules);
	for (size_t i = 0; i < COLUMNS; i++)
		buf_reset(&hits->columns[i]);
	for (size_t i = 0; i < hits->count; i++) {
		const struct hits_entry *e = &hits->entries[i];

		if (!hits->is_stopping && e->hit.at_us > due) {
			hits->entries[kept++] = *e;
			continue;
		}
		put_entry(hits, e);
		hits->under_way++;
	}
	hits->count = kept;
	memset(hits->table, 0, sizeof(hits->table));
	for (size_t i = 0; i < kept; i++)
		put_in_table(hits, i);
}

static void
on_tick(uv_timer_t *timer)
{
	struct hits *hits = timer->data;
	struct timespec now;

	if (hits->dropped > hits->told) {
		log_warn("too many opens and clicks at once: some not counted dropped=%llu",
		    (unsigned long long)(hits->dropped - hits->told));
		hits->told = hits->dropped;
	}
	if (hits->count == 0 || hits->under_way > 0 || !pgloop_is_ready(hits->pg))
		return;
	(void)clock_gettime(CLOCK_REALTIME, &now);
	take_due(hits, (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
	if (hits->under_way == 0)
		return;
	hits->is_second = false;
	for (size_t i = 0; i < COLUMNS; i++) {
		hits->params[i] = pgarray_end(&hits->columns[i]);
		if (hits->params[i] == NULL) {
			log_warn(
			    "opens and clicks lost count=%zu error=\"no memory\"", hits->under_way);
			hits->under_way = 0;
			return;
		}
	}
	submit(hits);
}

/* ---- life ------------------------------------------------------------------------------- */

struct hits *
hits_new(uv_loop_t *loop, struct pgloop *pg, const struct machine_rules *rules)
{
	struct hits *hits = calloc(1, sizeof(*hits));

	if (hits == NULL || (hits->timer = calloc(1, sizeof(*hits->timer))) == NULL) {
		free(hits);
		return NULL;
	}
	hits->pg = pg;
	hits->rules = rules;
	(void)snprintf(hits->soon, sizeof(hits->soon), "%u", rules->soon_s);
	hits->params[COLUMNS] = hits->soon;
	for (size_t i = 0; i < COLUMNS; i++)
		buf_init(&hits->columns[i], COLUMN_MAX);
	(void)uv_timer_init(loop, hits->timer);
	hits->timer->data = hits;
	(void)uv_timer_start(hits->timer, on_tick, TICK_MS, TICK_MS);
	return hits;
}

static void
free_handle(uv_handle_t *handle)
{
	free(handle);
}

void
hits_free(struct hits *hits)
{
	if (hits == NULL)
		return;
	uv_close((uv_handle_t *)hits->timer, free_handle);
	for (size_t i = 0; i < COLUMNS; i++)
		buf_release(&hits->columns[i]);
	free(hits);
}

void
hits_stop(struct hits *hits)
{
	hits->is_stopping = true;
	on_tick(hits->timer);
}

size_t
hits_waiting(const struct hits *hits)
{
	return hits->count + hits->under_way;
}
