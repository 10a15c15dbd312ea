/* SPDX-License-Identifier: Apache-2.0 */
/* pipeline: see pipeline.h. */
#include "pipeline.h"

#include <stdlib.h>
#include <string.h>

#include "crash.h"
#include "keys.h"
#include "log.h"
#include "permit.h"
#include "policy.h"
#include "rds_read.h"
#include "route.h"
#include "runs.h"
#include "stats.h"
#include "taking.h"

#define LEAD_US 50000	       /* behind its time leaves what has a limit: time to pop and claim */
#define HORIZON_US "950000"    /* at most a second ahead, LEAD_US included */
#define IDLE_MIN_MS 20	       /* first wait when all lists are empty, doubled up to poll_ms */
#define RESERVE_HEAD 6	       /* arguments of reserve.lua before the lanes */
#define LATE_MIN_US 5000       /* later than that, or than the next one of its clock: */
#define LATE_SINGLE_US 2000000 /* the only one of its clock within the horizon */

/* Permits of one clock, in order of time. */
struct sequence {
	struct permit *last;
};

/* A list of a run, in one pipeline. */
struct want {
	struct pipeline *p;
	struct live_run *run;
	int lane;
	long length; /* in Redis */
	long late;   /* flights that wait for another permit */
	long missed; /* of these, whose lost permit is told now */
	long asked;
	long granted, used; /* permits */
	struct sequence permits;
	char key[KEY_MAX], name[32], number[24], lost[24];
};

struct permit {
	size_t want;
	uint64_t due_us, late_us;
};

struct pipeline {
	struct claimer *c;
	struct want *wants;
	size_t want_count;
	size_t *places; /* of the lanes in the script's arguments: numbers of wants */
	size_t place_count;
	struct permit *permits;
	size_t permit_count;
	unsigned waiting;  /* answers still to come */
	uint64_t asked_us; /* for permits */
	uint64_t wait_ms;  /* before the next one */
	bool urgent;	   /* of urgent runs alone: the others wait for theirs */
	struct taking *takings;
};

/* Late flights of this list that permits were given for go back to the route. */
static void
serve_late(struct claimer *c, struct want *w)
{
	struct pipeline *p = w->p;
	size_t i = 0;

	for (struct flight **link = &c->late, *f; (f = *link) != NULL && w->used < w->granted;) {
		if (flight_run(f) != w->run || f->list != w->lane) {
			link = &f->next;
			continue;
		}
		while (&p->wants[p->permits[i].want] != w)
			i++;
		*link = f->next;
		f->next = NULL;
		claimer_set_due(f, p->permits[i].due_us, p->permits[i].late_us);
		p->permits[i].late_us = 0; /* used */
		i++;
		w->used++;
		route_add(c->d->route, f);
	}
}

static void
ignore(void *ctx, const redisReply *reply)
{
	(void)ctx;
	(void)reply; /* lost hints are found again by the producer */
}

/* Permits for which there was no id, since another dispatcher had it, do not count as sent. */
static void
return_permits(struct pipeline *p)
{
	size_t used = 0, unused = p->c->missed;
	char key[KEY_MAX], number[24];
	const char *argv[] = { key, number };

	for (size_t i = 0; i < p->want_count; i++)
		used += (size_t)p->wants[i].used;
	for (const struct taking *t = p->takings; t != NULL; t = taking_next(t))
		used += taking_count(t);
	unused += p->permit_count > used ? p->permit_count - used : 0;
	p->c->missed = 0;
	if (unused == 0)
		return;
	(void)snprintf(key, sizeof(key), KEY_QUOTA, POLICY_POOL);
	(void)snprintf(number, sizeof(number), "%zu", unused);
	rdsloop_script_run(p->c->d->redis, &p->c->give_back, ignore, NULL, 1, 2, argv);
}

static void
pipeline_end(struct pipeline *p)
{
	struct claimer *c = p->c;
	struct taking *takings = p->takings;

	return_permits(p);
	for (size_t i = 0; i < p->want_count; i++)
		if (i == 0 || p->wants[i].run != p->wants[i - 1].run) {
			struct live_run *run = p->wants[i].run;

			run->flights--;
			if (p->urgent && run->again_ms < dispatcher_now_ms(c->d) + p->wait_ms)
				run->again_ms = dispatcher_now_ms(c->d) + p->wait_ms;
		}
	if (!p->urgent)
		c->again_ms = dispatcher_now_ms(c->d) + p->wait_ms;
	c->pipeline = NULL;
	free(p->wants);
	free(p->places);
	free(p->permits);
	free(p);
	while (takings != NULL) {
		struct taking *t = takings;

		takings = taking_next(t);
		taking_claim(t);
	}
	claim_kick(c);
	route_kick(c->d->route);
}

/* One answer less to wait for. */
static void
answered(struct pipeline *p, void (*then)(struct pipeline *p))
{
	if (--p->waiting == 0)
		then(p);
}

/* The taking of a run; NULL without memory. */
static struct taking *
taking_of(struct pipeline *p, struct live_run *run)
{
	struct taking *t = p->takings;

	while (t != NULL && taking_run(t) != run)
		t = taking_next(t);
	if (t != NULL)
		return t;
	t = taking_new(p->c, run, p->permit_count, p->takings);
	if (t != NULL)
		p->takings = t;
	return t;
}

static void
on_popped(void *ctx, const redisReply *reply)
{
	struct want *w = ctx;
	struct pipeline *p = w->p;
	struct taking *t;
	size_t k = 0;

	CRASH_POINT("popped");
	if (reply != NULL && reply->type == REDIS_REPLY_ERROR) {
		log_warn("jobs refused run=%d error=\"%s\"", w->run->id, reply->str);
		w->run->again_ms = dispatcher_now_ms(p->c->d) + TROUBLE_MS;
	}
	if (reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements > 0 &&
	    (t = taking_of(p, w->run)) != NULL) {
		for (size_t i = 0; i < reply->elements; i++) {
			/* whatever stands in Redis is only a hint: anything but an id is ignored */
			int id = rds_read_id(reply->element[i]);

			if (id == 0)
				continue;
			while (k < p->permit_count &&
			    (&p->wants[p->permits[k].want] != w || p->permits[k].late_us == 0))
				k++;
			if (k == p->permit_count ||
			    !taking_add(t,
				&(struct entry){
				    id, w->lane, p->permits[k].due_us, p->permits[k].late_us }))
				break;
			k++;
		}
	}
	answered(p, pipeline_end);
}

static bool
is_limited(const struct want *w)
{
	return w->run->limited || w->lane != 0;
}

/* A permit may be late until the next one of its clock, so that never more than one is. The last
 * one as the one before it. */
static void
follow(struct sequence *s, struct permit *permit)
{
	permit->late_us = LATE_SINGLE_US;
	if (s->last != NULL) {
		uint64_t gap = permit->due_us - s->last->due_us;

		permit->late_us = s->last->late_us = gap > LATE_MIN_US ? gap : LATE_MIN_US;
	}
	s->last = permit;
}

/* How late a flight may leave. Lists of runs with a rate that all their lists share have one clock
 * together, others one each; without a limit it does not matter. */
static void
set_lateness(struct pipeline *p)
{
	struct sequence shared = { NULL };

	for (size_t i = 0; i < p->permit_count; i++) {
		struct permit *permit = &p->permits[i];
		struct want *w = &p->wants[permit->want];

		if (!is_limited(w))
			permit->late_us = UINT64_MAX;
		else
			follow(w->run->limited ? &shared : &w->permits, permit);
	}
}

static void
pop(struct pipeline *p)
{
	p->waiting = 1;
	for (size_t i = 0; i < p->want_count; i++) {
		struct want *w = &p->wants[i];
		const char *argv[] = { "LPOP", w->key, w->number };

		serve_late(p->c, w);
		if (w->granted <= w->used)
			continue;
		(void)snprintf(w->number, sizeof(w->number), "%ld", w->granted - w->used);
		p->waiting++;
		rdsloop_command(p->c->d->redis, on_popped, w, 3, argv);
	}
	answered(p, pipeline_end);
}

static int
compare_permits(const void *a, const void *b)
{
	const struct permit *x = a, *y = b;

	return (x->due_us > y->due_us) - (x->due_us < y->due_us);
}

/* { now, wake, permits }, see permit.h */
static bool
read_permits(struct pipeline *p, const redisReply *reply)
{
	const redisReply *permits = reply->element[2];
	uint64_t now_us = redis_time_ours(&p->c->redis_time, p->asked_us,
	    strtoll(reply->element[0]->str, NULL, 10), dispatcher_now_us());
	size_t n = permits->len / PERMIT_BYTES;

	p->permits = calloc(n + 1, sizeof(*p->permits));
	if (p->permits == NULL)
		return false;
	for (size_t i = 0, place; i < n; i++) {
		uint64_t offset;
		struct want *w;

		if (!permit_read(permits->str + i * PERMIT_BYTES, &place, &offset) ||
		    place >= p->place_count)
			continue;
		w = &p->wants[p->places[place]];
		p->permits[p->permit_count++] = (struct permit){ .want = p->places[place],
			.due_us = now_us + offset + (is_limited(w) ? LEAD_US : 0) };
		w->granted++;
	}
	qsort(p->permits, p->permit_count, sizeof(*p->permits), compare_permits);
	p->c->d->stats->permits += p->permit_count;
	return true;
}

static bool
is_grant(const redisReply *reply)
{
	return reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements == 3 &&
	    reply->element[0]->type == REDIS_REPLY_STRING &&
	    reply->element[1]->type == REDIS_REPLY_INTEGER &&
	    reply->element[2]->type == REDIS_REPLY_STRING;
}

static void
on_reserved(void *ctx, const redisReply *reply)
{
	struct pipeline *p = ctx;
	bool hungry = false;

	if (!is_grant(reply) || !read_permits(p, reply)) {
		if (reply != NULL && reply->type == REDIS_REPLY_ERROR)
			log_warn("pace refused error=\"%s\"", reply->str);
		p->wait_ms = TROUBLE_MS;
		pipeline_end(p);
		return;
	}
	CRASH_POINT("reserved");
	for (size_t i = 0; i < p->want_count; i++)
		hungry = hungry || p->wants[i].granted < p->wants[i].asked;
	/* enough was given: the next time as soon as there is room */
	if (hungry && p->permit_count < (size_t)p->c->size.rows) {
		p->wait_ms = (uint64_t)reply->element[1]->integer / 1000 + 1;
		/* half a horizon is left then: time for another dispatcher to be first */
		p->wait_ms += arc4random_uniform((uint32_t)p->wait_ms / 2 + 1);
	}
	set_lateness(p);
	pop(p);
}

static long
batch_of(const struct claimer *c, const struct live_run *run)
{
	return run->is_mail && c->size.rows > FLIGHT_MAILS_MAX ? FLIGHT_MAILS_MAX : c->size.rows;
}

static void
reserve(struct pipeline *p)
{
	struct dispatcher *d = p->c->d;
	char pace[KEY_MAX], next[KEY_MAX], quota[KEY_MAX], most[24];
	const char **argv = calloc(RESERVE_HEAD + 3 * p->want_count, sizeof(*argv));
	int n = RESERVE_HEAD;

	p->places = calloc(p->want_count + 1, sizeof(*p->places));
	for (size_t i = 0; argv != NULL && p->places != NULL && i < p->want_count; i++) {
		struct want *w = &p->wants[i];

		w->asked = w->length < batch_of(p->c, w->run) ? w->length : batch_of(p->c, w->run);
		w->asked += w->late;
		if (w->asked <= 0)
			continue;
		(void)snprintf(w->name, sizeof(w->name), "%d.%d", w->run->id, w->lane);
		(void)snprintf(w->number, sizeof(w->number), "%ld", w->asked);
		(void)snprintf(w->lost, sizeof(w->lost), "%ld", w->missed);
		argv[n++] = w->name;
		argv[n++] = w->number;
		argv[n++] = w->lost;
		p->places[p->place_count++] = i;
	}
	if (p->place_count == 0) {
		free(argv);
		pipeline_end(p);
		return;
	}
	(void)snprintf(pace, sizeof(pace), KEY_PACE, POLICY_POOL);
	(void)snprintf(next, sizeof(next), KEY_NEXT, POLICY_POOL);
	(void)snprintf(quota, sizeof(quota), KEY_QUOTA, POLICY_POOL);
	(void)snprintf(most, sizeof(most), "%ld", p->c->size.rows);
	argv[0] = pace;
	argv[1] = next;
	argv[2] = quota;
	argv[3] = HORIZON_US;
	argv[4] = most;
	argv[5] = "-";
	p->asked_us = dispatcher_now_us();
	d->stats->permit_calls++;
	rdsloop_script_run(d->redis, &p->c->reserve, on_reserved, p, 3, n, argv);
	free(argv);
}

/* A run whose lists are all empty is asked again later, and later each time. */
static void
measured(struct pipeline *p)
{
	const struct dispatcher *d = p->c->d;

	for (size_t i = 0; i < p->want_count;) {
		struct live_run *run = p->wants[i].run;
		long length = 0;
		uint64_t wait_ms = (uint64_t)IDLE_MIN_MS << (run->empty < 10 ? run->empty : 10);

		for (; i < p->want_count && p->wants[i].run == run; i++)
			length += p->wants[i].length;
		if (length > 0) {
			run->empty = 0;
			continue;
		}
		run->empty++;
		if (wait_ms > (uint64_t)d->config->dispatcher_poll_ms)
			wait_ms = (uint64_t)d->config->dispatcher_poll_ms;
		run->again_ms = dispatcher_now_ms(d) + wait_ms;
	}
	reserve(p);
}

static void
on_measured(void *ctx, const redisReply *reply)
{
	struct want *w = ctx;

	if (reply != NULL && reply->type == REDIS_REPLY_INTEGER && reply->integer > 0)
		w->length = (long)reply->integer;
	answered(w->p, measured);
}

bool
pipeline_is_wanted(const struct claimer *c, const struct live_run *run, uint64_t now_ms)
{
	return run->running && run->loaded && run->lane_count > 0 && run->again_ms <= now_ms &&
	    (run->urgent || c->again_ms <= now_ms) && run->ready < (unsigned)batch_of(c, run);
}

static void
add_wants(struct pipeline *p, struct live_run *run)
{
	for (size_t k = 0; k < run->lane_count; k++) {
		struct want *w = &p->wants[p->want_count++];

		*w = (struct want){ .p = p, .run = run, .lane = run->lanes[k] };
		if (w->lane == 0)
			(void)snprintf(w->key, sizeof(w->key), KEY_QUEUE, run->id, KEY_LANE_ALL);
		else
			(void)snprintf(w->key, sizeof(w->key), KEY_QUEUE_LANE, run->id, w->lane);
		for (struct flight *f = p->c->late; f != NULL; f = f->next) {
			if (flight_run(f) != run || f->list != w->lane)
				continue;
			w->late++;
			w->missed += !f->missed_told;
			f->missed_told = true;
		}
	}
	run->flights++;
}

void
pipeline_start(struct claimer *c)
{
	uint64_t now = dispatcher_now_ms(c->d);
	struct pipeline *p = calloc(1, sizeof(*p));
	size_t lists = 0;

	claim_size_adapt(&c->size, now);
	for (struct live_run *run = runs_first(c->d->runs); run != NULL; run = run->next)
		lists += pipeline_is_wanted(c, run, now) ? run->lane_count : 0;
	if (p != NULL)
		p->wants = calloc(lists + 1, sizeof(*p->wants));
	if (p == NULL || p->wants == NULL) {
		free(p);
		return;
	}
	p->c = c;
	p->urgent = c->again_ms > now;
	c->pipeline = p;
	for (struct live_run *run = runs_first(c->d->runs); run != NULL; run = run->next)
		if (pipeline_is_wanted(c, run, now))
			add_wants(p, run);
	p->waiting = (unsigned)p->want_count + 1;
	for (size_t i = 0; i < p->want_count; i++) {
		const char *argv[] = { "LLEN", p->wants[i].key };

		rdsloop_command(c->d->redis, on_measured, &p->wants[i], 2, argv);
	}
	answered(p, measured);
}
