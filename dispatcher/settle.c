/* SPDX-License-Identifier: Apache-2.0 */
/*
 * settle: see settle.h. A sheet holds the outcomes of one run as the arrays of one RECORD (or
 * RELEASE); it lives until PostgreSQL has answered, and is sent again when the answer is lost.
 */
#include "settle.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "crash.h"
#include "db.h"
#include "embed.h"
#include "journal.h"
#include "ladder.h"
#include "ledger.h"
#include "log.h"
#include "pgarray.h"
#include "stats.h"

#define SHEET_WAIT_MS 50	    /* longest wait for a sheet to fill */
#define TROUBLE_MS 500		    /* wait after a refusal */
#define NO_MEMORY_WAIT_S 5	    /* before what could not be composed is tried again */
#define ARRAY_MAX ((size_t)8 << 20) /* bytes of one array */
#define BEHIND 8		    /* this many batches waiting: claim no more */

enum sheet_kind {
	SHEET_RECORD,
	SHEET_LATE_RECORD,
	SHEET_RELEASE,
	SHEET_LATE_RELEASE,
	SHEET_LEDGER,
	SHEET_RECHECK
};

enum sheet_column {
	COLUMN_ID,
	COLUMN_ATTEMPT,
	COLUMN_STATE,
	COLUMN_CODE,
	COLUMN_ENHANCED,
	COLUMN_CLASS,
	COLUMN_REASON,
	COLUMN_REPLY,
	COLUMN_REMOTE,
	COLUMN_REMOTE_ID,
	COLUMN_WAIT,
	COLUMNS
};

struct sheet {
	struct sheet *next;
	struct settler *s;
	struct live_run *run;
	enum sheet_kind kind;
	int count;
	bool sent;
	uint64_t begun_us; /* loop clock: first submitted */
	struct buf columns[COLUMNS];
	struct ledger_batch ledger; /* SHEET_LEDGER */
	struct flight **flights;    /* SHEET_RECHECK, owned */
	int *slots;		    /* of the journal, to be set free by the commit; owned */
	int slot_count, slot_capacity;
	uv_timer_t *again; /* waits after a refusal; freed by its close callback */
};

struct settler {
	struct dispatcher *d;
	struct sheet *open; /* still being filled */
	unsigned sent;	    /* waiting for an answer */
	uv_timer_t timer;
	struct ladder ladder;
	bool stopped;
};

static void submit(struct sheet *sheet);

static void
on_timer(uv_timer_t *timer)
{
	settle_flush(timer->data);
}

struct settler *
settler_new(struct dispatcher *d, struct err *err)
{
	struct settler *s = calloc(1, sizeof(*s));

	if (s == NULL) {
		(void)err_set(err, "no memory");
		return NULL;
	}
	s->d = d;
	if (ladder_parse(&s->ladder, d->config->dispatcher_retry_ladder, err) < 0) {
		free(s);
		return NULL;
	}
	(void)uv_timer_init(&d->loop, &s->timer);
	s->timer.data = s;
	return s;
}

void
settle_reload(struct settler *s, const struct ladder *ladder)
{
	s->ladder = *ladder;
}

void
settler_free(struct settler *s)
{
	free(s);
}

static void
flight_done(struct settler *s, struct flight *f)
{
	struct batch *batch = f->batch;

	s->d->stats->in_hand--;
	batch->run->flights--;
	if (--batch->flights == 0) {
		PQclear(batch->rows);
		free(batch);
	}
	if (f->message != NULL) /* made ahead, and not sent */
		buf_release(f->message);
	free(f->message);
	free(f);
}

/* ---- sheets ---- */

static void
free_handle(uv_handle_t *handle)
{
	free(handle);
}

static void
sheet_free(struct sheet *sheet)
{
	for (int i = 0; i < COLUMNS; i++)
		buf_release(&sheet->columns[i]);
	if (sheet->kind == SHEET_LEDGER)
		ledger_release(&sheet->ledger);
	if (sheet->again != NULL)
		uv_close((uv_handle_t *)sheet->again, free_handle);
	free(sheet->flights);
	free(sheet->slots);
	sheet->run->flights--;
	free(sheet);
}

static struct sheet *
sheet_of(struct settler *s, struct live_run *run, enum sheet_kind kind)
{
	struct sheet *sheet;

	for (sheet = s->open; sheet != NULL; sheet = sheet->next)
		if (sheet->run == run && sheet->kind == kind)
			return sheet;
	sheet = calloc(1, sizeof(*sheet));
	if (sheet == NULL)
		abort(); /* an outcome must not be lost: our rows become in doubt, none is sent twice */
	*sheet = (struct sheet){ .s = s, .run = run, .kind = kind, .next = s->open };
	for (int i = 0; i < COLUMNS; i++)
		buf_init(&sheet->columns[i], ARRAY_MAX);
	if (kind == SHEET_LEDGER)
		ledger_init(&sheet->ledger);
	run->flights++;
	s->open = sheet;
	return sheet;
}

/* The slot is set free when this sheet is committed. */
static void
keep_slot(struct sheet *sheet, int slot)
{
	if (slot < 0)
		return;
	if (sheet->slot_count == sheet->slot_capacity) {
		int capacity = sheet->slot_capacity > 0 ? 2 * sheet->slot_capacity : 64;
		int *slots = realloc(sheet->slots, (size_t)capacity * sizeof(*slots));

		if (slots == NULL)
			return; /* it stays taken for this life: no harm */
		sheet->slots = slots;
		sheet->slot_capacity = capacity;
	}
	sheet->slots[sheet->slot_count++] = slot;
}

/* Sends full sheets at once, others when the timer fires. */
static void
sheet_grown(struct settler *s, struct sheet *sheet)
{
	sheet->count++;
	if (sheet->count >= dispatcher_batch_max(s->d))
		settle_flush(s);
	else if (!uv_is_active((uv_handle_t *)&s->timer) && !s->stopped)
		(void)uv_timer_start(&s->timer, on_timer, SHEET_WAIT_MS, 0);
}

static void
on_again(uv_timer_t *timer)
{
	struct sheet *sheet = timer->data;

	submit(sheet);
}

static void
submit_later(struct sheet *sheet)
{
	if (sheet->again == NULL) {
		sheet->again = malloc(sizeof(*sheet->again));
		if (sheet->again == NULL)
			abort();
		(void)uv_timer_init(&sheet->s->d->loop, sheet->again);
		sheet->again->data = sheet;
	}
	(void)uv_timer_start(sheet->again, on_again, TROUBLE_MS, 0);
}

static void
give_back(struct sheet *sheet, const PGresult *result)
{
	int n = PQntuples(result);
	int *ids, *lanes;

	CRASH_POINT("release_committed");
	ids = calloc(2 * (size_t)n + 1, sizeof(*ids));
	if (ids == NULL)
		return; /* the producer finds them */
	lanes = ids + n;
	for (int i = 0; i < n; i++) {
		ids[i] = (int)db_number(result, i, 0);
		lanes[i] = (int)db_number(result, i, 1);
	}
	sheet->s->d->news->released(sheet->s->d, sheet->run, ids, lanes, (size_t)n);
	free(ids);
}

static void
after_recheck(struct sheet *sheet, const PGresult *result)
{
	struct settler *s = sheet->s;

	for (int i = 0; i < sheet->count; i++) {
		struct flight *f = sheet->flights[i];
		bool suppressed = false;

		for (int k = 0; k < PQntuples(result) && !suppressed; k++)
			suppressed = db_number(result, k, 0) == f->id;
		f->checked_ms = dispatcher_now_ms(s->d);
		if (suppressed)
			settle_skip(s, f, "suppressed", slice_make(NULL, 0));
		else if (s->d->stopping || !flight_run(f)->running)
			settle_release(s, f);
		else
			s->d->news->checked(s->d, f);
	}
}

static void
count_commit(const struct sheet *sheet)
{
	struct stats *stats = sheet->s->d->stats;

	if (sheet->kind != SHEET_RECORD && sheet->kind != SHEET_LATE_RECORD)
		return;
	stats->records++;
	stats->unrecorded -= (uint64_t)sheet->count;
	metric_observe(&stats->record, (double)(dispatcher_now_us() - sheet->begun_us) / 1e6);
}

static void
on_answer(void *ctx, struct pgloop_answer *answer)
{
	struct sheet *sheet = ctx;
	struct settler *s = sheet->s;

	if (answer->verdict == PGLOOP_UNKNOWN) {
		submit(sheet); /* all of these do nothing the second time */
		return;
	}
	if (answer->verdict == PGLOOP_REFUSED) {
		s->d->stats->refused_records++;
		log_warn(
		    "outcomes not written run=%d count=%d sqlstate=%s error=\"%s\"; trying again",
		    sheet->run->id, sheet->count, answer->sqlstate, answer->error);
		submit_later(sheet);
		return;
	}
	if (sheet->kind == SHEET_RELEASE || sheet->kind == SHEET_LATE_RELEASE)
		give_back(sheet, answer->result);
	if (sheet->kind == SHEET_RECHECK)
		after_recheck(sheet, answer->result);
	/* somebody declared us dead meanwhile and put these rows in doubt: we know better */
	if (sheet->kind == SHEET_RECORD && db_int(answer->result, 0) < sheet->count) {
		sheet->kind = SHEET_LATE_RECORD;
		submit(sheet);
		return;
	}
	if (sheet->kind == SHEET_RELEASE && PQntuples(answer->result) < sheet->count) {
		sheet->kind = SHEET_LATE_RELEASE;
		submit(sheet);
		return;
	}
	CRASH_POINT("record_committed");
	for (int i = 0; i < sheet->slot_count; i++)
		journal_settled(s->d->journal, sheet->slots[i]);
	count_commit(sheet);
	s->sent--;
	sheet_free(sheet);
	s->d->news->room(s->d);
}

/* Parameters of the sheet's statement; the arrays stay closed once they are. */
static void
submit_arrays(struct sheet *sheet)
{
	struct dispatcher *d = sheet->s->d;
	const char *params[3 + COLUMNS] = { sheet->run->id_text, d->owner_text,
		sheet->kind == SHEET_LATE_RECORD ? "in_doubt" : "sending" };
	bool good = true, queued;

	for (int i = 0; i < COLUMNS; i++) {
		params[3 + i] =
		    sheet->sent ? buf_str(&sheet->columns[i]) : pgarray_end(&sheet->columns[i]);
		good = good && params[3 + i] != NULL;
	}
	sheet->sent = true;
	CRASH_POINT("before_record");
	if (!good)
		abort(); /* as in sheet_of */
	if (sheet->kind == SHEET_RELEASE) {
		const char *release[] = { params[0], params[1], params[3], params[4] };

		queued = pgloop_submit(d->records, sheet->run->release.name,
		    sheet->run->release.sql, 4, release, on_answer, sheet);
	} else if (sheet->kind == SHEET_LATE_RELEASE) {
		const char *release[] = { params[0], params[1], params[3], params[4] };

		queued = pgloop_submit(d->records, sheet->run->unsend.name, sheet->run->unsend.sql,
		    4, release, on_answer, sheet);
	} else if (sheet->kind == SHEET_RECHECK) {
		const char *recheck[] = { params[0], params[3], sheet->run->scopes };

		queued = pgloop_submit(d->records, sheet->run->recheck.name,
		    sheet->run->recheck.sql, 3, recheck, on_answer, sheet);
	} else {
		queued = pgloop_submit(d->records, sheet->run->record.name, sheet->run->record.sql,
		    3 + COLUMNS, params, on_answer, sheet);
	}
	if (!queued)
		submit_later(sheet);
}

static void
submit(struct sheet *sheet)
{
	const char *params[LEDGER_COLUMNS];

	if (sheet->kind != SHEET_LEDGER) {
		submit_arrays(sheet);
		return;
	}
	if (!sheet->sent && !ledger_params(&sheet->ledger, params))
		abort();
	for (int i = 0; sheet->sent && i < LEDGER_COLUMNS; i++)
		params[i] = buf_str(&sheet->ledger.columns[i]);
	sheet->sent = true;
	CRASH_POINT("before_ledger");
	if (!pgloop_submit(sheet->s->d->records, "ingest", LEDGER_SQL, LEDGER_COLUMNS, params,
		on_answer, sheet))
		submit_later(sheet);
}

/* The ledger first: should we die in between, the address is suppressed and the row in doubt,
 * never the other way round. */
void
settle_flush(struct settler *s)
{
	struct sheet *list = s->open;

	s->open = NULL;
	for (int pass = 0; pass < 2; pass++) {
		struct sheet *sheet, *next, **rest = &list;

		for (sheet = list; sheet != NULL; sheet = next) {
			next = sheet->next;
			if ((sheet->kind == SHEET_LEDGER) == (pass == 0)) {
				*rest = next;
				s->sent++;
				sheet->begun_us = dispatcher_now_us();
				submit(sheet);
			} else {
				rest = &sheet->next;
			}
		}
	}
}

/* ---- what callers add ---- */

static void
put(struct settler *s, struct flight *f, const char *state, const struct outcome *o, long wait_s)
{
	struct sheet *sheet = sheet_of(s, flight_run(f), SHEET_RECORD);
	struct buf *c = sheet->columns;
	char enhanced[12];

	pgarray_int(&c[COLUMN_ID], f->id);
	pgarray_int(&c[COLUMN_ATTEMPT], f->attempt);
	pgarray_optional(&c[COLUMN_STATE], slice_str(state));
	if (o->code > 0)
		pgarray_int(&c[COLUMN_CODE], o->code);
	else
		pgarray_null(&c[COLUMN_CODE]);
	pgarray_optional(&c[COLUMN_ENHANCED], slice_str(outcome_enhanced_str(o, enhanced)));
	pgarray_optional(&c[COLUMN_CLASS], slice_str(outcome_class_name(o->cls)));
	pgarray_optional(&c[COLUMN_REASON], slice_str(o->kind == OUTCOME_SENT ? "" : o->reason));
	pgarray_optional(&c[COLUMN_REPLY], o->text);
	pgarray_optional(&c[COLUMN_REMOTE], o->remote);
	pgarray_optional(&c[COLUMN_REMOTE_ID], o->remote_id);
	pgarray_int(&c[COLUMN_WAIT], wait_s);
	keep_slot(sheet, f->slot);
	s->d->stats->unrecorded++;
	stats_outcome(s->d->stats, sheet->run, o->kind, o->cls);
	if (f->taken_us > 0)
		metric_observe(
		    &s->d->stats->send, (double)(dispatcher_now_us() - f->taken_us) / 1e6);
	flight_done(s, f);
	sheet_grown(s, sheet);
}

static void
suppress(struct settler *s, const struct flight *f, const struct outcome *o)
{
	struct sheet *sheet = sheet_of(s, flight_run(f), SHEET_LEDGER);
	const char *address = PQgetvalue(f->batch->rows, f->row, CLAIM_ADDRESS);
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	if (!ledger_add_smtp(&sheet->ledger, (uint32_t)flight_run(f)->id, (uint32_t)f->id,
		(unsigned)f->attempt, slice_str(address), o,
		(int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000))
		abort();
	sheet_grown(s, sheet);
}

/* step: the wait is one of the ladder's. */
static void
settle_after(struct settler *s, struct flight *f, const struct outcome *o, long wait_s, bool step)
{
	struct outcome expired;
	struct live_run *run = flight_run(f);

	if (log_is_on(LOG_LEVEL_DEBUG))
		log_debug("outcome run=%d send=%d attempt=%d kind=%s code=%d reason=%s phase=%s",
		    run->id, f->id, f->attempt, outcome_kind_name(o->kind), o->code, o->reason,
		    outcome_phase_name(o->phase));
	if (o->kind == OUTCOME_DEFERRED &&
	    time(NULL) + wait_s > run->started_s + s->d->config->dispatcher_expire_after_s) {
		expired = *o;
		expired.kind = OUTCOME_FAILED;
		expired.cls =
		    o->cls == OUTCOME_HARD || o->cls == OUTCOME_CLASS_NONE ? OUTCOME_SOFT : o->cls;
		o = &expired;
	}
	if (o->kind == OUTCOME_FAILED && o->cls == OUTCOME_HARD)
		suppress(s, f, o);
	put(s, f, outcome_kind_name(o->kind), o,
	    o->kind != OUTCOME_DEFERRED ? 0
		: step			? wait_s
					: -wait_s);
}

void
settle_outcome(struct settler *s, struct flight *f, const struct outcome *o)
{
	/* only who is tried again waits, and each random number is a system call */
	bool waits = o->kind == OUTCOME_DEFERRED;

	settle_after(
	    s, f, o, waits ? ladder_wait_s(&s->ladder, o, f->tries, arc4random()) : 0, true);
}

void
settle_postpone(struct settler *s, struct flight *f, const struct outcome *o, long wait_s)
{
	settle_after(s, f, o, wait_s, false);
}

void
settle_later(struct settler *s, struct flight *f, const struct outcome *o, long at_least_s)
{
	long wait_s = ladder_wait_s(&s->ladder, o, f->tries, arc4random());

	settle_after(s, f, o, wait_s > at_least_s ? wait_s : at_least_s, true);
}

long
settle_first_wait_s(const struct settler *s)
{
	return ladder_wait_s(&s->ladder, NULL, 0, arc4random());
}

void
settle_skip(struct settler *s, struct flight *f, const char *reason, struct slice text)
{
	struct outcome o = { .kind = OUTCOME_OTHER, .reason = reason, .text = text };

	put(s, f, "skipped", &o, 0);
}

void
settle_refusal(struct settler *s, struct flight *f, const struct compose_refusal *why)
{
	struct outcome o = { .kind = OUTCOME_FAILED,
		.cls = why->cls != OUTCOME_CLASS_NONE ? why->cls : OUTCOME_MESSAGE,
		.scope = OUTCOME_SCOPE_RECIPIENT,
		.reason = why->reason,
		.text = why->text };

	if (why->later) {
		o.kind = OUTCOME_DEFERRED;
		o.cls = OUTCOME_SOFT;
		o.reason = "system";
		o.text = SLICE("there was no memory to compose it");
		settle_postpone(s, f, &o, NO_MEMORY_WAIT_S);
	} else if (why->skip) {
		settle_skip(s, f, why->reason, why->text);
	} else {
		settle_outcome(s, f, &o);
	}
}

static void
release_row(struct settler *s, struct live_run *run, int id, int attempt, int slot)
{
	struct sheet *sheet = sheet_of(s, run, SHEET_RELEASE);

	stats_outcome(s->d->stats, run, OUTCOME_RELEASED, OUTCOME_CLASS_NONE);
	pgarray_int(&sheet->columns[COLUMN_ID], id);
	pgarray_int(&sheet->columns[COLUMN_ATTEMPT], attempt);
	keep_slot(sheet, slot);
	sheet_grown(s, sheet);
}

void
settle_release_row(struct settler *s, struct live_run *run, int id, int attempt)
{
	release_row(s, run, id, attempt, -1);
}

void
settle_release(struct settler *s, struct flight *f)
{
	struct live_run *run = flight_run(f);
	int id = f->id, attempt = f->attempt, slot = f->slot;

	flight_done(s, f);
	release_row(s, run, id, attempt, slot);
}

void
settle_recheck(struct settler *s, struct flight *f)
{
	struct sheet *sheet = sheet_of(s, flight_run(f), SHEET_RECHECK);

	if (sheet->flights == NULL)
		sheet->flights =
		    calloc((size_t)dispatcher_batch_max(s->d), sizeof(*sheet->flights));
	if (sheet->flights == NULL) {
		settle_release(s, f);
		return;
	}
	sheet->flights[sheet->count] = f;
	pgarray_int(&sheet->columns[COLUMN_ID], f->id);
	sheet_grown(s, sheet);
}

bool
settle_is_behind(const struct settler *s)
{
	return s->sent > BEHIND;
}

bool
settle_is_idle(const struct settler *s)
{
	return s->sent == 0 && s->open == NULL;
}

void
settle_stop(struct settler *s)
{
	s->stopped = true;
	(void)uv_timer_stop(&s->timer);
	if (!uv_is_closing((uv_handle_t *)&s->timer))
		uv_close((uv_handle_t *)&s->timer, NULL);
}
