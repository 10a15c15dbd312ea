/* SPDX-License-Identifier: Apache-2.0 */
/*
 * claim: see claim.h. A struct pipeline lives from the measuring to the last pop; a struct taking
 * for each run that something was popped of, until the answer of its CLAIM.
 */
#include "claim.h"

#include <stdlib.h>
#include <string.h>

#include "crash.h"
#include "db.h"
#include "embed.h"
#include "journal.h"
#include "keys.h"
#include "log.h"
#include "pgarray.h"
#include "policy.h"
#include "route.h"
#include "runs.h"
#include "settle.h"
#include "stats.h"

#define HORIZON_US "1000000" /* bulk reserves at most a second ahead */
#define IDLE_MIN_MS 20	     /* first wait when all lists are empty, doubled up to poll_ms */
#define TROUBLE_MS 1000	     /* wait after a refusal */
#define GIVE_BACK_CHUNK 500
#define RESERVE_HEAD 6	       /* arguments of reserve.lua before the lanes */
#define LATE_MIN_US 100000     /* later than that, or than the time between two of its list: */
#define LATE_SINGLE_US 2000000 /* the only one of its list within the horizon */
#define LATE_RELEASE_MS 3000   /* without a permit for so long: give the claim back */
#define MISSED_MAX 3	       /* permits missed: then leave, or it would wait for ever */
#define AHEAD_US 60000000      /* urgent mail goes before what has been due for less */

/* A list of a run, in one pipeline. */
struct want {
	struct pipeline *p;
	struct live_run *run;
	int lane;
	long length; /* in Redis */
	long late;   /* flights that wait for another permit */
	long asked;
	long granted, used; /* permits */
	char key[KEY_MAX], name[32], number[24];
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
	unsigned waiting; /* answers still to come */
	uint64_t wait_ms; /* before the next one */
	bool urgent;	  /* of urgent runs alone: the others wait for theirs */
	struct taking *takings;
};

/* An id that was popped, and its permit. */
struct entry {
	int id, lane;
	uint64_t due_us, late_us;
};

/* Ids of one run on the way to CLAIM. */
struct taking {
	struct taking *next;
	struct claimer *c;
	struct live_run *run;
	struct entry *entries;
	size_t count, room;
	uint64_t asked_us; /* CLAIM was submitted */
	struct buf ids;	   /* array literal */
	uv_timer_t
	    *again; /* waits before a lost claim is asked about; freed by its close callback */
	char claim_seq[24];
};

struct claimer {
	struct dispatcher *d;
	uv_timer_t timer;
	struct rdsloop_script reserve, give_back;
	struct pipeline *pipeline; /* NULL: none is under way */
	unsigned takings;
	uint64_t again_ms;   /* no permits before */
	struct flight *late; /* waiting for another permit */
	size_t missed;	     /* permits that passed unused since the last pipeline */
};

struct claimer *
claimer_new(struct dispatcher *d)
{
	struct claimer *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->d = d;
	rdsloop_script_init(&c->reserve, embed_common_lua_reserve_lua);
	rdsloop_script_init(&c->give_back, embed_common_lua_quota_return_lua);
	(void)uv_timer_init(&d->loop, &c->timer);
	c->timer.data = c;
	return c;
}

void
claimer_free(struct claimer *c)
{
	free(c);
}

void
claim_stop(struct claimer *c)
{
	(void)uv_timer_stop(&c->timer);
	if (!uv_is_closing((uv_handle_t *)&c->timer))
		uv_close((uv_handle_t *)&c->timer, NULL);
}

bool
claim_is_idle(const struct claimer *c)
{
	return c->pipeline == NULL && c->takings == 0 && c->late == NULL;
}

static void
on_timer(uv_timer_t *timer)
{
	claim_kick(timer->data);
}

static void
free_handle(uv_handle_t *handle)
{
	free(handle);
}

/* The list of a run that a row's recipient belongs to. */
static int
list_of(const struct live_run *run, int lane)
{
	size_t low = 0, high = run->lane_count;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (run->lanes[mid] == lane)
			return lane;
		if (run->lanes[mid] < lane)
			low = mid + 1;
		else
			high = mid;
	}
	return 0;
}

/* ---- CLAIM ---- */

static void
taking_end(struct taking *t, uint64_t wait_ms)
{
	struct claimer *c = t->c;

	if (wait_ms > 0)
		t->run->again_ms = dispatcher_now_ms(c->d) + wait_ms;
	t->run->flights--;
	c->takings--;
	buf_release(&t->ids);
	if (t->again != NULL)
		uv_close((uv_handle_t *)t->again, free_handle);
	free(t->entries);
	free(t);
	claim_kick(c);
}

/* ---- a claim whose commit is unknown ---- */

static void on_fenced(void *ctx, struct pgloop_answer *answer);
static void on_lost_claim(void *ctx, struct pgloop_answer *answer);

static void fence_claims(struct taking *t);

static void
on_again(uv_timer_t *timer)
{
	fence_claims(timer->data);
}

/* Asked until there is an answer: nobody else would release those rows while we live. */
static void
fence_later(struct taking *t)
{
	if (t->again == NULL) {
		t->again = malloc(sizeof(*t->again));
		if (t->again == NULL)
			abort(); /* the next life settles them */
		(void)uv_timer_init(&t->c->d->loop, t->again);
		t->again->data = t;
	}
	(void)uv_timer_start(t->again, on_again, TROUBLE_MS, 0);
}

static void
fence_claims(struct taking *t)
{
	char known[24];
	const char *params[] = { t->c->d->owner_text, known };

	(void)snprintf(
	    known, sizeof(known), "%llu", (unsigned long long)journal_claim_seq(t->c->d->journal));
	if (!pgloop_submit(t->c->d->claims, "fence_claims", embed_dispatcher_sql_fence_claims_sql,
		2, params, on_fenced, t))
		fence_later(t);
}

static void
on_fenced(void *ctx, struct pgloop_answer *answer)
{
	struct taking *t = ctx;
	const char *known = t->run->claimed_at[0] != '\0' ? t->run->claimed_at : "-infinity";
	const char *params[] = { t->run->id_text, t->c->d->owner_text, buf_str(&t->ids), known };

	if (answer->verdict == PGLOOP_UNKNOWN) {
		fence_claims(t);
		return;
	}
	if (answer->verdict == PGLOOP_DONE && PQntuples(answer->result) == 1)
		journal_claimed(t->c->d->journal, (uint64_t)db_number(answer->result, 0, 0));
	if (answer->verdict != PGLOOP_DONE ||
	    !pgloop_submit(t->c->d->claims, "lost_claim", embed_dispatcher_sql_lost_claim_sql, 4,
		params, on_lost_claim, t))
		fence_later(t);
}

/* What was claimed although we could not know it was not sent: release it. */
static void
on_lost_claim(void *ctx, struct pgloop_answer *answer)
{
	struct taking *t = ctx;

	if (answer->verdict != PGLOOP_DONE) {
		fence_later(t);
		return;
	}
	for (int i = 0; i < PQntuples(answer->result); i++)
		settle_release_row(t->c->d->settler, t->run, (int)db_number(answer->result, i, 0),
		    (int)db_number(answer->result, i, 1));
	taking_end(t, TROUBLE_MS);
}

static int
compare_entries(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

/* Urgent mail that is due goes before what the relay has not had time for. */
static void
set_due(struct flight *f, uint64_t due_us, uint64_t late_us)
{
	f->due_us = due_us;
	f->late_us = late_us;
	f->ahead_us = flight_run(f)->urgent && due_us <= dispatcher_now_us() ? AHEAD_US : 0;
}

/* A row with the permit that its id was popped for; one that stood in the wrong list has none. */
static void
send_off(struct taking *t, struct flight *f, int lane)
{
	struct entry key = { .id = f->id };
	const struct entry *e =
	    bsearch(&key, t->entries, t->count, sizeof(*t->entries), compare_entries);

	f->list = list_of(t->run, lane);
	if (e == NULL || e->lane != f->list) {
		claim_late(t->c, f);
		return;
	}
	set_due(f, e->due_us, e->late_us);
	route_add(t->c->d->route, f);
}

/* ---- the usual way ---- */

static bool
hand_over(struct taking *t, PGresult *rows)
{
	struct dispatcher *d = t->c->d;
	struct batch *batch = calloc(1, sizeof(*batch));
	int count = PQntuples(rows);

	for (int i = 0; batch == NULL && i < count; i++)
		settle_release_row(d->settler, t->run, (int)db_number(rows, i, CLAIM_ID),
		    (int)db_number(rows, i, CLAIM_ATTEMPT));
	if (batch == NULL)
		return false;
	*batch = (struct batch){ .run = t->run, .rows = rows, .flights = 1 };
	(void)snprintf(
	    t->run->claimed_at, sizeof(t->run->claimed_at), "%s", db_text(rows, 0, CLAIM_AT));
	qsort(t->entries, t->count, sizeof(*t->entries), compare_entries);
	for (int i = 0; i < count; i++) {
		struct flight *f = calloc(1, sizeof(*f));

		if (f == NULL) {
			settle_release_row(d->settler, t->run, (int)db_number(rows, i, CLAIM_ID),
			    (int)db_number(rows, i, CLAIM_ATTEMPT));
			continue;
		}
		*f = (struct flight){ .batch = batch,
			.row = i,
			.id = (int)db_number(rows, i, CLAIM_ID),
			.attempt = (int)db_number(rows, i, CLAIM_ATTEMPT),
			.tries = (int)db_number(rows, i, CLAIM_TRIES),
			.checked_ms = dispatcher_now_ms(d),
			.slot = -1 };
		batch->flights++;
		t->run->flights++;
		d->stats->in_hand++;
		send_off(t, f, (int)db_number(rows, i, CLAIM_LANE));
	}
	stats_claimed(d->stats, t->run, (size_t)count);
	if (--batch->flights == 0) {
		PQclear(rows);
		free(batch);
	}
	return true;
}

static void
on_claimed(void *ctx, struct pgloop_answer *answer)
{
	struct taking *t = ctx;
	struct dispatcher *d = t->c->d;

	CRASH_POINT("claim_answered");
	if (answer->verdict == PGLOOP_UNKNOWN) {
		d->stats->unknown_claims++;
		log_warn("commit of a claim unknown run=%d; what it took is released", t->run->id);
		fence_claims(t);
		return;
	}
	if (answer->verdict == PGLOOP_REFUSED) {
		d->stats->refused_claims++;
		log_warn("claim refused run=%d sqlstate=%s error=\"%s\"", t->run->id,
		    answer->sqlstate, answer->error);
		taking_end(t, TROUBLE_MS); /* the ids are popped; the producer finds them again */
		return;
	}
	d->stats->claims++;
	metric_observe(&d->stats->claim, (double)(dispatcher_now_us() - t->asked_us) / 1e6);
	if (PQntuples(answer->result) > 0)
		journal_claimed(d->journal, (uint64_t)db_number(answer->result, 0, CLAIM_SEQ));
	if (PQntuples(answer->result) > 0 && hand_over(t, answer->result))
		answer->result = NULL; /* the batch owns it */
	CRASH_POINT("claim_handed_over");
	taking_end(t, 0);
	route_kick(d->route);
}

static void
claim(struct taking *t)
{
	struct dispatcher *d = t->c->d;
	const char *params[] = { d->owner_text, t->run->id_text, NULL, t->run->scopes,
		t->claim_seq };

	for (size_t i = 0; i < t->count; i++)
		pgarray_int(&t->ids, t->entries[i].id);
	params[2] = pgarray_end(&t->ids);
	(void)snprintf(t->claim_seq, sizeof(t->claim_seq), "%llu",
	    (unsigned long long)journal_claim_seq(d->journal));
	CRASH_POINT("before_claim");
	if (params[2] == NULL ||
	    !pgloop_submit(
		d->claims, t->run->claim_name, t->run->claim_sql, 5, params, on_claimed, t))
		taking_end(t, TROUBLE_MS);
	CRASH_POINT("claim_sent");
}

/* ---- late flights ---- */

void
claim_late(struct claimer *c, struct flight *f)
{
	if (c->d->stopping || !flight_run(f)->running) {
		settle_release(c->d->settler, f);
		return;
	}
	f->missed++;
	c->missed++;
	f->missed_ms = dispatcher_now_ms(c->d);
	f->next = c->late;
	c->late = f;
	claim_kick(c);
}

static void
release_late(struct claimer *c, const struct live_run *run, uint64_t age_ms)
{
	uint64_t now = dispatcher_now_ms(c->d);

	for (struct flight **link = &c->late, *f; (f = *link) != NULL;) {
		if ((run != NULL && flight_run(f) != run) || now - f->missed_ms < age_ms) {
			link = &f->next;
			continue;
		}
		*link = f->next;
		f->next = NULL;
		settle_release(c->d->settler, f);
	}
}

void
claim_release_late(struct claimer *c, const struct live_run *run)
{
	release_late(c, run, 0);
}

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
		set_due(f, p->permits[i].due_us,
		    f->missed < MISSED_MAX ? p->permits[i].late_us : UINT64_MAX);
		p->permits[i].late_us = 0; /* used */
		i++;
		w->used++;
		route_add(c->d->route, f);
	}
}

/* ---- the pipeline ---- */

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
	for (const struct taking *t = p->takings; t != NULL; t = t->next)
		used += t->count;
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

		takings = t->next;
		claim(t);
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

static struct taking *
taking_of(struct pipeline *p, struct live_run *run)
{
	struct taking *t = p->takings;

	while (t != NULL && t->run != run)
		t = t->next;
	if (t != NULL)
		return t;
	t = calloc(1, sizeof(*t));
	if (t == NULL)
		return NULL;
	*t = (struct taking){ .next = p->takings, .c = p->c, .run = run };
	buf_init(&t->ids, (size_t)1 << 20);
	t->room = p->permit_count;
	t->entries = calloc(t->room + 1, sizeof(*t->entries));
	if (t->entries == NULL) {
		free(t);
		return NULL;
	}
	p->takings = t;
	p->c->takings++;
	run->flights++;
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
		for (size_t i = 0; i < reply->elements && t->count < t->room; i++) {
			const redisReply *e = reply->element[i];
			char *end;
			long id;

			/* whatever stands in Redis is only a hint: anything but a number is ignored */
			if (e->type != REDIS_REPLY_STRING)
				continue;
			id = strtol(e->str, &end, 10);
			if (*end != '\0' || id <= 0 || id > INT32_MAX)
				continue;
			while (k < p->permit_count &&
			    (&p->wants[p->permits[k].want] != w || p->permits[k].late_us == 0))
				k++;
			if (k == p->permit_count)
				break;
			t->entries[t->count++] = (struct entry){ (int)id, w->lane,
				p->permits[k].due_us, p->permits[k].late_us };
			k++;
		}
	}
	answered(p, pipeline_end);
}

/* How late a flight may leave: by the time to the next one of its list at most. Without a limit it
 * does not matter. */
static void
set_lateness(struct pipeline *p)
{
	for (size_t w = 0; w < p->want_count; w++) {
		bool limited = p->wants[w].run->limited || p->wants[w].lane != 0;
		struct permit *before = NULL;
		uint64_t gap = LATE_SINGLE_US;

		for (size_t i = 0; p->wants[w].granted > 0 && i < p->permit_count; i++) {
			struct permit *permit = &p->permits[i];

			if (permit->want != w)
				continue;
			if (before != NULL) {
				gap = permit->due_us - before->due_us;
				before->late_us = gap > LATE_MIN_US ? gap : LATE_MIN_US;
			}
			permit->late_us = before != NULL && gap > LATE_MIN_US ? gap
			    : before != NULL				      ? LATE_MIN_US
									      : LATE_SINGLE_US;
			before = permit;
		}
		for (size_t i = 0; !limited && i < p->permit_count; i++)
			if (p->permits[i].want == w)
				p->permits[i].late_us = UINT64_MAX;
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

/* { now, wake, place, offset, place, offset, … } */
static bool
read_permits(struct pipeline *p, const redisReply *reply)
{
	uint64_t now_us = dispatcher_now_us();
	size_t n = (reply->elements - 2) / 2;

	p->permits = calloc(n + 1, sizeof(*p->permits));
	if (p->permits == NULL)
		return false;
	for (size_t i = 0; i < n; i++) {
		long long place = reply->element[2 + 2 * i]->integer;
		long long offset = reply->element[3 + 2 * i]->integer;

		if (place < 0 || (size_t)place >= p->place_count)
			continue;
		p->permits[p->permit_count++] = (struct permit){ .want = p->places[place],
			.due_us = now_us + (uint64_t)(offset > 0 ? offset : 0) };
		p->wants[p->places[place]].granted++;
	}
	return true;
}

static void
on_reserved(void *ctx, const redisReply *reply)
{
	struct pipeline *p = ctx;
	bool hungry = false;

	if (reply == NULL || reply->type != REDIS_REPLY_ARRAY || reply->elements < 2 ||
	    !read_permits(p, reply)) {
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
	if (hungry && p->permit_count < (size_t)p->c->d->config->dispatcher_batch) {
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
	long batch = c->d->config->dispatcher_batch;

	return run->is_mail && batch > FLIGHT_MAILS_MAX ? FLIGHT_MAILS_MAX : batch;
}

static void
reserve(struct pipeline *p)
{
	struct dispatcher *d = p->c->d;
	char pace[KEY_MAX], next[KEY_MAX], quota[KEY_MAX], most[24];
	const char **argv = calloc(RESERVE_HEAD + 2 * p->want_count, sizeof(*argv));
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
		argv[n++] = w->name;
		argv[n++] = w->number;
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
	(void)snprintf(most, sizeof(most), "%ld", d->config->dispatcher_batch);
	argv[0] = pace;
	argv[1] = next;
	argv[2] = quota;
	argv[3] = HORIZON_US;
	argv[4] = most;
	argv[5] = "-";
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

static bool
is_wanted(const struct claimer *c, const struct live_run *run, uint64_t now)
{
	return run->running && run->loaded && run->again_ms <= now &&
	    (run->urgent || c->again_ms <= now) && run->ready < (unsigned)batch_of(c, run);
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
		for (const struct flight *f = p->c->late; f != NULL; f = f->next)
			w->late += flight_run(f) == run && f->list == w->lane;
	}
	run->flights++;
}

static void
start(struct claimer *c)
{
	uint64_t now = dispatcher_now_ms(c->d);
	struct pipeline *p = calloc(1, sizeof(*p));
	size_t lists = 0;

	for (struct live_run *run = runs_first(c->d->runs); run != NULL; run = run->next)
		lists += is_wanted(c, run, now) ? run->lane_count : 0;
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
		if (is_wanted(c, run, now))
			add_wants(p, run);
	p->waiting = (unsigned)p->want_count + 1;
	for (size_t i = 0; i < p->want_count; i++) {
		const char *argv[] = { "LLEN", p->wants[i].key };

		rdsloop_command(c->d->redis, on_measured, &p->wants[i], 2, argv);
	}
	answered(p, measured);
}

void
claim_kick(struct claimer *c)
{
	struct dispatcher *d = c->d;
	uint64_t now = dispatcher_now_ms(d), next = UINT64_MAX;
	bool wanted = false;

	if (c->pipeline == NULL)
		release_late(c, NULL, LATE_RELEASE_MS);
	if (d->stopping || d->fenced || d->quarantine[0] != '\0' || now < d->claims_from_ms ||
	    c->pipeline != NULL || c->takings > 0 || !pgloop_is_ready(d->claims) ||
	    !rdsloop_is_ready(d->redis) || route_is_held(d->route) || settle_is_behind(d->settler))
		return; /* the periodic look at the runs kicks again */
	for (struct live_run *run = runs_first(d->runs); run != NULL; run = run->next) {
		uint64_t again =
		    run->urgent || run->again_ms > c->again_ms ? run->again_ms : c->again_ms;

		if (is_wanted(c, run, now))
			wanted = true;
		else if (run->running && run->loaded && again > now && again < next)
			next = again;
	}
	if (wanted)
		start(c);
	if (next != UINT64_MAX && !uv_is_closing((uv_handle_t *)&c->timer))
		(void)uv_timer_start(&c->timer, on_timer, next > now ? next - now : 0, 0);
}

/* ---- giving back ---- */

static void
give_back(struct claimer *c, const char *key, const int *ids, size_t count)
{
	char text[GIVE_BACK_CHUNK][12];
	const char *argv[GIVE_BACK_CHUNK + 2] = { "LPUSH", key };

	for (size_t i = 0; i < count; i++) {
		(void)snprintf(text[i], sizeof(text[i]), "%d", ids[i]);
		argv[i + 2] = text[i];
	}
	if (count > 0)
		rdsloop_command(c->d->redis, ignore, NULL, (int)count + 2, argv);
}

void
claim_give_back(
    struct claimer *c, const struct live_run *run, const int *ids, const int *lanes, size_t count)
{
	for (size_t k = 0; k < run->lane_count; k++) {
		int chunk[GIVE_BACK_CHUNK];
		char key[KEY_MAX];
		size_t n = 0;

		if (run->lanes[k] == 0)
			(void)snprintf(key, sizeof(key), KEY_QUEUE, run->id, KEY_LANE_ALL);
		else
			(void)snprintf(key, sizeof(key), KEY_QUEUE_LANE, run->id, run->lanes[k]);
		/* the last one first, so that the first stands at the left in the end */
		for (size_t i = count; i-- > 0;) {
			if (list_of(run, lanes[i]) != run->lanes[k])
				continue;
			chunk[n++] = ids[i];
			if (n == GIVE_BACK_CHUNK) {
				give_back(c, key, chunk, n);
				n = 0;
			}
		}
		give_back(c, key, chunk, n);
	}
}
