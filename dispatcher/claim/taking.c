/* SPDX-License-Identifier: Apache-2.0 */
/* taking: see taking.h. */
#include "taking.h"

#include <stdlib.h>
#include <string.h>

#include "crash.h"
#include "db.h"
#include "embed.h"
#include "journal.h"
#include "log.h"
#include "pgarray.h"
#include "route.h"
#include "settle.h"
#include "stats.h"

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

struct taking *
taking_new(struct claimer *c, struct live_run *run, size_t room, struct taking *next)
{
	struct taking *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	*t = (struct taking){ .next = next, .c = c, .run = run, .room = room };
	buf_init(&t->ids, (size_t)1 << 20);
	t->entries = calloc(t->room + 1, sizeof(*t->entries));
	if (t->entries == NULL) {
		free(t);
		return NULL;
	}
	c->takings++;
	run->flights++;
	return t;
}

bool
taking_add(struct taking *t, const struct entry *entry)
{
	if (t->count == t->room)
		return false;
	t->entries[t->count++] = *entry;
	return true;
}

struct taking *
taking_next(const struct taking *t)
{
	return t->next;
}

const struct live_run *
taking_run(const struct taking *t)
{
	return t->run;
}

size_t
taking_count(const struct taking *t)
{
	return t->count;
}

static void
free_handle(uv_handle_t *handle)
{
	free(handle);
}

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

/* ---- the usual way ---- */

static int
compare_entries(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

/* A row with the permit that its id was popped for; one that stood in the wrong list has none. */
static void
send_off(struct taking *t, struct flight *f, int lane)
{
	struct entry key = { .id = f->id };
	const struct entry *e =
	    bsearch(&key, t->entries, t->count, sizeof(*t->entries), compare_entries);

	f->list = claimer_list_of(t->run, lane);
	if (e == NULL || e->lane != f->list) {
		claim_late(t->c, f);
		return;
	}
	claimer_set_due(f, e->due_us, e->late_us);
	route_add(t->c->d->route, f);
}

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
	claim_size_count(&t->c->size, (uint64_t)count);
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

void
taking_claim(struct taking *t)
{
	struct dispatcher *d = t->c->d;
	const char *params[] = { d->owner_text, t->run->id_text, NULL, t->run->scopes, t->claim_seq,
		d->lock_id, d->config->dispatcher_route };

	for (size_t i = 0; i < t->count; i++)
		pgarray_int(&t->ids, t->entries[i].id);
	params[2] = pgarray_end(&t->ids);
	(void)snprintf(t->claim_seq, sizeof(t->claim_seq), "%llu",
	    (unsigned long long)journal_claim_seq(d->journal));
	CRASH_POINT("before_claim");
	if (params[2] == NULL ||
	    !pgloop_submit(
		d->claims, t->run->claim.name, t->run->claim.sql, 7, params, on_claimed, t))
		taking_end(t, TROUBLE_MS);
	CRASH_POINT("claim_sent");
}
