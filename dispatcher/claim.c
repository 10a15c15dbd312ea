/* SPDX-License-Identifier: Apache-2.0 */
/* claim: see claim.h. One struct pipeline lives from the measuring to the answer of CLAIM. */
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
#include "route.h"
#include "runs.h"
#include "settle.h"
#include "stats.h"

#define HORIZON_US 1000000 /* bulk reserves at most a second ahead */
#define IDLE_MIN_MS 20	   /* first wait when a queue is empty, doubled up to dispatcher.poll_ms */
#define TROUBLE_MS 1000	   /* wait after a refusal */
#define GIVE_BACK_CHUNK 500

struct claimer {
	struct dispatcher *d;
	uv_timer_t timer;
	struct rdsloop_script reserve;
	unsigned pipelines;
};

struct pipeline {
	struct claimer *c;
	struct live_run *run;
	long wanted;
	uint64_t first_us; /* loop clock */
	double interval_us;
	uint64_t asked_us; /* CLAIM was submitted */
	struct buf ids;	   /* array literal */
	uv_timer_t
	    *again; /* waits before a lost claim is asked about; freed by its close callback */
	char number[24];
	char claim_seq[24];
};

struct claimer *
claimer_new(struct dispatcher *d)
{
	struct claimer *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->d = d;
	rdsloop_script_init(&c->reserve, embed_dispatcher_lua_reserve_lua);
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
	return c->pipelines == 0;
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

/* Ends a pipeline; the run is asked again after wait_ms. */
static void
finish(struct pipeline *p, uint64_t wait_ms)
{
	struct claimer *c = p->c;
	struct live_run *run = p->run;

	run->claiming = false;
	run->flights--;
	run->again_ms = dispatcher_now_ms(c->d) + wait_ms;
	c->pipelines--;
	buf_release(&p->ids);
	if (p->again != NULL)
		uv_close((uv_handle_t *)p->again, free_handle);
	free(p);
	claim_kick(c);
}

/* ---- a claim whose commit is unknown ---- */

static void on_fenced(void *ctx, struct pgloop_answer *answer);
static void on_lost_claim(void *ctx, struct pgloop_answer *answer);

static void fence_claims(struct pipeline *p);

static void
on_again(uv_timer_t *timer)
{
	fence_claims(timer->data);
}

/* Asked until there is an answer: nobody else would release those rows while we live. */
static void
fence_later(struct pipeline *p)
{
	if (p->again == NULL) {
		p->again = malloc(sizeof(*p->again));
		if (p->again == NULL)
			abort(); /* the next life settles them */
		(void)uv_timer_init(&p->c->d->loop, p->again);
		p->again->data = p;
	}
	(void)uv_timer_start(p->again, on_again, TROUBLE_MS, 0);
}

static void
fence_claims(struct pipeline *p)
{
	const char *params[] = { p->c->d->owner_text };

	if (!pgloop_submit(p->c->d->claims, "fence_claims", embed_dispatcher_sql_fence_claims_sql,
		1, params, on_fenced, p))
		fence_later(p);
}

static void
on_fenced(void *ctx, struct pgloop_answer *answer)
{
	struct pipeline *p = ctx;
	const char *known = p->run->claimed_at[0] != '\0' ? p->run->claimed_at : "-infinity";
	const char *params[] = { p->run->id_text, p->c->d->owner_text, buf_str(&p->ids), known };

	if (answer->verdict == PGLOOP_UNKNOWN) {
		fence_claims(p);
		return;
	}
	if (answer->verdict == PGLOOP_DONE && PQntuples(answer->result) == 1)
		journal_claimed(p->c->d->journal, (uint64_t)db_number(answer->result, 0, 0));
	if (answer->verdict != PGLOOP_DONE ||
	    !pgloop_submit(p->c->d->claims, "lost_claim", embed_dispatcher_sql_lost_claim_sql, 4,
		params, on_lost_claim, p))
		fence_later(p);
}

/* What was claimed although we could not know it was not sent: release it. */
static void
on_lost_claim(void *ctx, struct pgloop_answer *answer)
{
	struct pipeline *p = ctx;

	if (answer->verdict != PGLOOP_DONE) {
		fence_later(p);
		return;
	}
	for (int i = 0; i < PQntuples(answer->result); i++)
		settle_release_row(p->c->d->settler, p->run, (int)db_number(answer->result, i, 0),
		    (int)db_number(answer->result, i, 1));
	finish(p, TROUBLE_MS);
}

/* ---- the usual way ---- */

static bool
hand_over(struct pipeline *p, PGresult *rows)
{
	struct dispatcher *d = p->c->d;
	struct batch *batch = calloc(1, sizeof(*batch));
	double due = (double)p->first_us;
	int count = PQntuples(rows);

	for (int i = 0; batch == NULL && i < count; i++)
		settle_release_row(d->settler, p->run, (int)db_number(rows, i, CLAIM_ID),
		    (int)db_number(rows, i, CLAIM_ATTEMPT));
	if (batch == NULL)
		return false;
	*batch = (struct batch){ .run = p->run, .rows = rows };
	(void)snprintf(
	    p->run->claimed_at, sizeof(p->run->claimed_at), "%s", db_text(rows, 0, CLAIM_AT));
	for (int i = 0; i < count; i++, due += p->interval_us) {
		struct flight *f = calloc(1, sizeof(*f));

		if (f == NULL) {
			settle_release_row(d->settler, p->run, (int)db_number(rows, i, CLAIM_ID),
			    (int)db_number(rows, i, CLAIM_ATTEMPT));
			continue;
		}
		*f = (struct flight){ .batch = batch,
			.row = i,
			.id = (int)db_number(rows, i, CLAIM_ID),
			.attempt = (int)db_number(rows, i, CLAIM_ATTEMPT),
			.tries = (int)db_number(rows, i, CLAIM_TRIES),
			.due_us = (uint64_t)due,
			.checked_ms = dispatcher_now_ms(d),
			.slot = -1 };
		batch->flights++;
		p->run->flights++;
		d->stats->in_hand++;
		route_add(d->route, f);
	}
	stats_claimed(d->stats, p->run, (size_t)count);
	if (batch->flights == 0) {
		PQclear(rows);
		free(batch);
	}
	return true;
}

static void
on_claimed(void *ctx, struct pgloop_answer *answer)
{
	struct pipeline *p = ctx;
	struct dispatcher *d = p->c->d;

	CRASH_POINT("claim_answered");
	if (answer->verdict == PGLOOP_UNKNOWN) {
		d->stats->unknown_claims++;
		log_warn("commit of a claim unknown run=%d; what it took is released", p->run->id);
		fence_claims(p);
		return;
	}
	if (answer->verdict == PGLOOP_REFUSED) {
		d->stats->refused_claims++;
		log_warn("claim refused run=%d sqlstate=%s error=\"%s\"", p->run->id,
		    answer->sqlstate, answer->error);
		finish(p, TROUBLE_MS); /* the ids are popped; the producer finds them again */
		return;
	}
	d->stats->claims++;
	metric_observe(&d->stats->claim, (double)(dispatcher_now_us() - p->asked_us) / 1e6);
	if (PQntuples(answer->result) > 0)
		journal_claimed(d->journal, (uint64_t)db_number(answer->result, 0, CLAIM_SEQ));
	if (PQntuples(answer->result) > 0 && hand_over(p, answer->result))
		answer->result = NULL; /* the batch owns it */
	CRASH_POINT("claim_handed_over");
	finish(p, 0);
	route_kick(d->route);
}

static void
on_popped(void *ctx, const redisReply *reply)
{
	struct pipeline *p = ctx;
	struct dispatcher *d = p->c->d;
	const char *params[5];

	CRASH_POINT("popped");
	if (reply != NULL && reply->type == REDIS_REPLY_ERROR) {
		log_warn("jobs refused run=%d error=\"%s\"", p->run->id, reply->str);
		finish(p, TROUBLE_MS);
		return;
	}
	if (reply == NULL || reply->type != REDIS_REPLY_ARRAY || reply->elements == 0) {
		finish(p, IDLE_MIN_MS);
		return;
	}
	for (size_t i = 0; i < reply->elements; i++) {
		const redisReply *e = reply->element[i];
		char *end;
		long id;

		/* whatever stands in Redis is only a hint: anything but a number is ignored */
		if (e->type != REDIS_REPLY_STRING)
			continue;
		id = strtol(e->str, &end, 10);
		if (*end == '\0' && id > 0 && id <= INT32_MAX)
			pgarray_int(&p->ids, id);
	}
	params[0] = d->owner_text;
	params[1] = p->run->id_text;
	params[2] = pgarray_end(&p->ids);
	params[3] = p->run->scopes;
	(void)snprintf(p->claim_seq, sizeof(p->claim_seq), "%llu",
	    (unsigned long long)journal_claim_seq(d->journal));
	params[4] = p->claim_seq;
	p->asked_us = dispatcher_now_us();
	CRASH_POINT("before_claim");
	if (params[2] == NULL ||
	    !pgloop_submit(
		d->claims, p->run->claim_name, p->run->claim_sql, 5, params, on_claimed, p))
		finish(p, TROUBLE_MS);
	CRASH_POINT("claim_sent");
}

static void
on_reserved(void *ctx, const redisReply *reply)
{
	struct pipeline *p = ctx;
	char key[KEY_MAX];
	const char *argv[] = { "LPOP", key, p->number };
	long n;
	int64_t ahead;

	if (reply == NULL || reply->type != REDIS_REPLY_ARRAY || reply->elements != 5) {
		if (reply != NULL && reply->type == REDIS_REPLY_ERROR)
			log_warn("pace refused run=%d error=\"%s\"", p->run->id, reply->str);
		finish(p, TROUBLE_MS);
		return;
	}
	CRASH_POINT("reserved");
	n = (long)reply->element[0]->integer;
	if (n <= 0) {
		finish(p, (uint64_t)reply->element[4]->integer / 1000 + 1);
		return;
	}
	ahead =
	    strtoll(reply->element[1]->str, NULL, 10) - strtoll(reply->element[3]->str, NULL, 10);
	p->first_us = dispatcher_now_us() + (uint64_t)(ahead > 0 ? ahead : 0);
	p->interval_us = strtod(reply->element[2]->str, NULL);
	(void)snprintf(key, sizeof(key), KEY_QUEUE, p->run->id, KEY_LANE_ALL);
	(void)snprintf(p->number, sizeof(p->number), "%ld", n < p->wanted ? n : p->wanted);
	rdsloop_command(p->c->d->redis, on_popped, p, 3, argv);
}

static void
on_measured(void *ctx, const redisReply *reply)
{
	struct pipeline *p = ctx;
	char calendar[KEY_MAX], arrival[KEY_MAX], horizon[24];
	const char *argv[] = { calendar, arrival, KEY_LANE_ALL, p->number, horizon };
	uint64_t wait_ms;

	if (reply == NULL || reply->type != REDIS_REPLY_INTEGER || reply->integer <= 0) {
		wait_ms = (uint64_t)IDLE_MIN_MS << (p->run->empty < 10 ? p->run->empty : 10);
		p->run->empty++;
		finish(p,
		    wait_ms < (uint64_t)p->c->d->config->dispatcher_poll_ms
			? wait_ms
			: (uint64_t)p->c->d->config->dispatcher_poll_ms);
		return;
	}
	p->run->empty = 0;
	if (reply->integer < p->wanted)
		p->wanted = (long)reply->integer;
	(void)snprintf(calendar, sizeof(calendar), KEY_CALENDAR, p->run->stream);
	(void)snprintf(arrival, sizeof(arrival), KEY_ARRIVAL, p->run->stream);
	(void)snprintf(p->number, sizeof(p->number), "%ld", p->wanted);
	(void)snprintf(horizon, sizeof(horizon), "%d", HORIZON_US);
	rdsloop_script_run(p->c->d->redis, &p->c->reserve, on_reserved, p, 2, 5, argv);
}

static void
start(struct claimer *c, struct live_run *run)
{
	struct pipeline *p = calloc(1, sizeof(*p));
	char key[KEY_MAX];
	const char *argv[] = { "LLEN", key };

	if (p == NULL)
		return;
	*p = (struct pipeline){ .c = c, .run = run, .wanted = c->d->config->dispatcher_batch };
	buf_init(&p->ids, (size_t)1 << 20);
	run->claiming = true;
	run->flights++;
	c->pipelines++;
	(void)snprintf(key, sizeof(key), KEY_QUEUE, run->id, KEY_LANE_ALL);
	rdsloop_command(c->d->redis, on_measured, p, 2, argv);
}

void
claim_kick(struct claimer *c)
{
	struct dispatcher *d = c->d;
	uint64_t now = dispatcher_now_ms(d), next = UINT64_MAX;

	if (d->stopping || d->fenced || !pgloop_is_ready(d->claims) ||
	    !rdsloop_is_ready(d->redis) || route_is_held(d->route) || settle_is_behind(d->settler))
		return; /* the periodic look at the runs kicks again */
	for (struct live_run *run = runs_first(d->runs); run != NULL; run = run->next) {
		if (!run->running || !run->loaded || run->claiming ||
		    run->ready >= (unsigned)d->config->dispatcher_batch)
			continue;
		if (run->again_ms <= now)
			start(c, run);
		else if (run->again_ms < next)
			next = run->again_ms;
	}
	if (next != UINT64_MAX && !uv_is_closing((uv_handle_t *)&c->timer))
		(void)uv_timer_start(&c->timer, on_timer, next - now, 0);
}

static void
ignore(void *ctx, const redisReply *reply)
{
	(void)ctx;
	(void)reply; /* lost hints are found again by the producer */
}

void
claim_give_back(struct claimer *c, const struct live_run *run, const int *ids, size_t count)
{
	char key[KEY_MAX], text[GIVE_BACK_CHUNK][12];
	const char *argv[GIVE_BACK_CHUNK + 2] = { "LPUSH", key };

	(void)snprintf(key, sizeof(key), KEY_QUEUE, run->id, KEY_LANE_ALL);
	while (count > 0) {
		size_t n = count < GIVE_BACK_CHUNK ? count : GIVE_BACK_CHUNK;

		for (size_t i = 0; i < n; i++) {
			(void)snprintf(text[i], sizeof(text[i]), "%d", ids[count - 1 - i]);
			argv[i + 2] = text[i];
		}
		rdsloop_command(c->d->redis, ignore, NULL, (int)n + 2, argv);
		count -= n;
	}
}
