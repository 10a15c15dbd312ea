/* SPDX-License-Identifier: Apache-2.0 */
/*
 * intake: see intake.h. Owns the queue, one batch under way and its timer; items belong to
 * their sources. The queue's order is the order of arrival; a batch that must run again goes
 * back to the front.
 */
#include "intake.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "crash.h"
#include "ledger.h"
#include "log.h"

#define WAIT_FIRST_MS 100
#define WAIT_LONGEST_MS 5000
#define BATCH_BYTES_MAX ((size_t)16 * 1024 * 1024)
#define EVIDENCE_MAX 2000
#define QUARANTINE_ARENA_MAX ((size_t)256 * 1024)

struct queue {
	struct intake_item *first, **last;
	size_t count;
};

struct intake {
	uv_loop_t *loop;
	struct pgloop *pg;
	uv_timer_t *timer;
	size_t batch_events;
	uint64_t batch_ms;
	uint64_t wait_ms; /* before a refused batch runs again */
	bool is_ready;
	bool is_busy;	 /* a batch is under way */
	bool is_waiting; /* for the end of wait_ms */
	size_t last;	 /* items in waiting behind which their source waits */
	size_t events;	 /* in waiting */
	size_t bytes;	 /* of all items here */
	struct queue waiting, running;
	struct ledger_batch ledger;
	struct arena arena; /* of the event under quarantine, one at a time */
	struct feedback_event *replacement;
	struct intake_counts counts;
};

static void consider(struct intake *in);

static void
queue_init(struct queue *q)
{
	*q = (struct queue){ .last = &q->first };
}

static void
queue_push(struct queue *q, struct intake_item *item)
{
	item->next = NULL;
	*q->last = item;
	q->last = &item->next;
	q->count++;
}

static void
queue_push_front(struct queue *q, struct intake_item *item)
{
	item->next = q->first;
	q->first = item;
	if (item->next == NULL)
		q->last = &item->next;
	q->count++;
}

static size_t
remaining(const struct intake_item *item)
{
	return item->count - item->heard;
}

static struct intake_item *
queue_pop(struct queue *q)
{
	struct intake_item *item = q->first;

	q->first = item->next;
	if (q->first == NULL)
		q->last = &q->first;
	q->count--;
	return item;
}

static void
on_timer(uv_timer_t *timer)
{
	struct intake *in = timer->data;

	in->is_waiting = false;
	consider(in);
}

struct intake *
intake_new(uv_loop_t *loop, struct pgloop *pg, long batch, long batch_ms)
{
	struct intake *in = calloc(1, sizeof(*in));

	if (in == NULL)
		return NULL;
	in->timer = malloc(sizeof(*in->timer));
	if (in->timer == NULL || uv_timer_init(loop, in->timer) != 0) {
		free(in->timer);
		free(in);
		return NULL;
	}
	in->timer->data = in;
	in->loop = loop;
	in->pg = pg;
	in->batch_events = (size_t)batch;
	in->batch_ms = (uint64_t)batch_ms;
	in->wait_ms = WAIT_FIRST_MS;
	queue_init(&in->waiting);
	queue_init(&in->running);
	ledger_init(&in->ledger);
	arena_init(&in->arena, QUARANTINE_ARENA_MAX);
	return in;
}

static void
free_handle(uv_handle_t *handle)
{
	free(handle);
}

void
intake_free(struct intake *in)
{
	if (in == NULL)
		return;
	uv_close((uv_handle_t *)in->timer, free_handle);
	ledger_release(&in->ledger);
	arena_release(&in->arena);
	free(in);
}

bool
intake_is_open(const struct intake *in)
{
	return in->is_ready && pgloop_is_ready(in->pg) && !in->is_waiting &&
	    in->waiting.count + in->running.count < INTAKE_ITEMS_MAX &&
	    in->bytes < INTAKE_BYTES_MAX;
}

void
intake_set_ready(struct intake *in, bool is_ready)
{
	in->is_ready = is_ready;
	consider(in);
}

size_t
intake_waiting(const struct intake *in)
{
	return in->waiting.count + in->running.count;
}

uint64_t
intake_lag_ms(const struct intake *in)
{
	const struct intake_item *first = in->running.first, *next = in->waiting.first;

	/* what was cut or put back is in front, whatever its age */
	if (first == NULL || (next != NULL && next->arrived_ms < first->arrived_ms))
		first = next;
	return first != NULL ? uv_now(in->loop) - first->arrived_ms : 0;
}

const struct intake_counts *
intake_counts(const struct intake *in)
{
	return &in->counts;
}

bool
intake_add(struct intake *in, struct intake_item *item)
{
	if (intake_waiting(in) >= INTAKE_ITEMS_MAX || in->bytes + item->bytes > INTAKE_BYTES_MAX) {
		in->counts.turned_away++;
		return false;
	}
	item->ends_batch = item->is_quarantined = false;
	item->heard = item->taken = item->limit = 0;
	item->arrived_ms = uv_now(in->loop);
	queue_push(&in->waiting, item);
	in->events += item->count;
	in->last += item->is_last;
	in->bytes += item->bytes;
	consider(in);
	return true;
}

static void
settle(struct intake *in, struct intake_item *item, enum intake_result result)
{
	in->bytes -= item->bytes;
	if (result == INTAKE_COMMITTED) {
		in->counts.items++;
		in->counts.events += item->count;
		source_committed(item->source, item->notices > 0 ? item->notices : 1);
	} else {
		in->counts.failed++;
		source_left(item->source);
	}
	item->done(item, result);
}

static void
log_events(const struct intake_item *item)
{
	for (size_t i = 0; i < item->count && log_is_on(LOG_LEVEL_DEBUG); i++) {
		const struct feedback_event *e = &item->events[i];

		log_debug("event source=%s kind=%s reason=%s linked=%d run=%u send=%u attempt=%u",
		    e->source, outcome_kind_name(e->kind), e->reason, e->linked, e->token.run,
		    e->token.send, e->token.attempt);
	}
}

/* What was in the batch of it is committed. False: there is more of it. */
static bool
item_is_done(struct intake *in, struct intake_item *item)
{
	for (size_t i = item->heard; i < item->heard + item->taken; i++)
		if (item->is_quarantined || item->events[i].kept != NULL) {
			in->counts.quarantined++;
			source_kept(item->source,
			    item->is_quarantined ? "refused" : item->events[i].reason);
		}
	item->heard += item->taken;
	if (!item->is_quarantined)
		item->limit *= 2; /* as far as the next bad one, in few statements */
	item->is_quarantined = false;
	return remaining(item) == 0;
}

static void
on_committed(struct intake *in, const PGresult *result)
{
	const char *fresh = PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "0";
	struct queue done = in->running;

	if (done.count == 0)
		done.last = &done.first;
	queue_init(&in->running);
	in->counts.batches++;
	in->counts.fresh += strtoull(fresh, NULL, 10);
	in->wait_ms = WAIT_FIRST_MS;
	while (done.count > 0) {
		struct intake_item *item = queue_pop(&done);

		if (!item_is_done(in, item)) { /* it was alone */
			queue_push_front(&in->waiting, item);
			in->events += remaining(item);
			in->last += item->is_last;
			continue;
		}
		log_events(item);
		settle(in, item, INTAKE_COMMITTED);
	}
}

/* The batch under way becomes the front of the queue again. */
static void
put_back(struct intake *in)
{
	if (in->running.count == 0)
		return;
	*in->running.last = in->waiting.first;
	if (in->waiting.first == NULL)
		in->waiting.last = in->running.last;
	in->waiting.first = in->running.first;
	in->waiting.count += in->running.count;
	for (struct intake_item *i = in->running.first; in->running.count > 0;
	     i = i->next, in->running.count--) {
		in->events += remaining(i);
		in->last += i->is_last;
	}
	queue_init(&in->running);
	in->counts.again++;
}

static void
wait_then_consider(struct intake *in)
{
	in->is_waiting = true;
	(void)uv_timer_start(in->timer, on_timer, in->wait_ms, 0);
	in->wait_ms = in->wait_ms * 2 < WAIT_LONGEST_MS ? in->wait_ms * 2 : WAIT_LONGEST_MS;
}

/* Class 22 data, 23 constraint, 54 limits, P0 raised by a function, 21 cardinality. */
bool
intake_is_fault_of_data(const char *sqlstate)
{
	static const char *const classes[] = { "21", "22", "23", "54", "P0" };

	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
		if (strncmp(sqlstate, classes[i], 2) == 0)
			return true;
	return false;
}

/* One event that the database refuses. */
static void
quarantine(struct intake *in, const struct pgloop_answer *answer)
{
	struct intake_item *item = in->running.first;
	const struct feedback_event *e = &item->events[item->heard];

	if (!item->is_quarantined) {
		arena_reset(&in->arena);
		in->replacement = intake_refused_event(&in->arena, e, answer->error);
	}
	if (item->is_quarantined || in->replacement == NULL) {
		log_error("event refused, source told to try again source=%s kind=%s sqlstate=%s "
			  "error=\"%s\"",
		    e->source, outcome_kind_name(e->kind), answer->sqlstate, answer->error);
		queue_init(&in->running);
		settle(in, item, INTAKE_REFUSED);
		return;
	}
	log_error("event refused and kept aside source=%s kind=%s sqlstate=%s error=\"%s\"",
	    e->source, outcome_kind_name(e->kind), answer->sqlstate, answer->error);
	item->is_quarantined = true;
	item->limit = 1;
	put_back(in);
}

static void
on_refused(struct intake *in, const struct pgloop_answer *answer)
{
	size_t half = in->running.count / 2;
	struct intake_item *item = in->running.first;

	if (!intake_is_fault_of_data(answer->sqlstate)) {
		log_error("feedback is not taken by the database, trying again wait_ms=%llu "
			  "sqlstate=%s error=\"%s\"",
		    (unsigned long long)in->wait_ms, answer->sqlstate, answer->error);
		put_back(in);
		wait_then_consider(in);
	} else if (in->running.count == 1 && item->taken > 1) {
		item->limit = item->taken / 2;
		put_back(in);
	} else if (in->running.count == 1) {
		quarantine(in, answer);
	} else {
		for (size_t i = 1; item->next != NULL; i++, item = item->next)
			if (i == half)
				item->ends_batch = true;
		item->ends_batch = true;
		put_back(in);
	}
}

static void
on_answer(void *ctx, struct pgloop_answer *answer)
{
	struct intake *in = ctx;

	switch (answer->verdict) {
	case PGLOOP_DONE:
		CRASH_POINT("events_committed");
		on_committed(in, answer->result);
		break;
	case PGLOOP_REFUSED:
		on_refused(in, answer);
		break;
	case PGLOOP_UNKNOWN:
		put_back(in);
		break;
	}
	in->is_busy = false; /* not earlier: a source told may hand over its next item at once */
	consider(in);
}

/* The next events of the item into the ledger. */
static bool
gather_item(struct intake *in, struct intake_item *item)
{
	const struct feedback_event *next = &item->events[item->heard];
	bool good = true;

	item->taken = remaining(item);
	if (item->limit > 0 && item->taken > item->limit)
		item->taken = item->limit;
	if (item->is_quarantined) {
		item->taken = 1;
		return ledger_add(&in->ledger, in->replacement);
	}
	for (size_t i = 0; i < item->taken; i++)
		good = good && ledger_add(&in->ledger, &next[i]);
	return good;
}

/* Moves items from waiting to running and their events into the ledger. */
static bool
gather(struct intake *in)
{
	size_t events = 0;
	bool good = true, is_last = false;

	ledger_reset(&in->ledger);
	while (in->waiting.count > 0 && events < in->batch_events && !is_last &&
	    ledger_bytes(&in->ledger) < BATCH_BYTES_MAX) {
		struct intake_item *item = in->waiting.first;

		/* a big item does not make a batch bigger than asked for */
		if (events > 0 && (item->limit > 0 || events + remaining(item) > in->batch_events))
			break;
		(void)queue_pop(&in->waiting);
		queue_push(&in->running, item);
		in->events -= remaining(item);
		in->last -= item->is_last;
		good = gather_item(in, item) && good;
		events += item->taken;
		is_last = item->ends_batch || item->limit > 0;
		item->ends_batch = false;
	}
	return good;
}

static void
flush(struct intake *in)
{
	(void)uv_timer_stop(in->timer);
	in->is_busy = true;
	CRASH_POINT("before_events");
	if (!gather(in) || !ledger_submit(&in->ledger, in->pg, on_answer, in)) {
		log_error("no memory for a batch of feedback items=%zu", in->running.count);
		in->is_busy = false;
		put_back(in);
		wait_then_consider(in);
	}
}

/* Is it time for a batch? */
static void
consider(struct intake *in)
{
	const struct intake_item *first = in->waiting.first;
	uint64_t age_ms;

	if (!in->is_ready || in->is_busy || in->is_waiting || first == NULL)
		return;
	age_ms = uv_now(in->loop) - first->arrived_ms;
	if (in->events >= in->batch_events || in->last > 0 || age_ms >= in->batch_ms)
		flush(in);
	else if (uv_is_active((uv_handle_t *)in->timer) == 0)
		(void)uv_timer_start(in->timer, on_timer, in->batch_ms - age_ms, 0);
}

struct feedback_event *
intake_quarantine_event(struct arena *arena, const char *source, const char *reason,
    struct slice key, const char *why, struct slice evidence)
{
	struct feedback_events list = { 0 };
	struct feedback_event *e = feedback_event_add(&list, arena);
	size_t n = evidence.len < EVIDENCE_MAX ? evidence.len : EVIDENCE_MAX;
	char *ascii = arena_alloc(arena, n + 1);

	if (e == NULL || ascii == NULL)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		char c = evidence.ptr[i];

		ascii[i] = c >= ' ' && c <= '~' ? c : '?';
	}
	e->kind = OUTCOME_OTHER;
	e->source = source;
	e->reason = reason;
	e->key = key;
	e->text = feedback_text(arena, slice_str(why), OUTCOME_TEXT_MAX);
	e->detail = slice_make(ascii, n);
	return e;
}

void
intake_keep_whole(struct arena *arena, struct feedback_event *e, const struct feedback_kept *kept)
{
	struct feedback_kept *copy = arena_alloc(arena, sizeof(*copy));
	struct slice content = arena_copy(arena, kept->content);

	if (copy == NULL || content.ptr == NULL)
		return;
	*copy = *kept;
	copy->rcpts = arena_copy(arena, kept->rcpts);
	copy->content = content;
	e->kept = copy;
}

/* The parameters of ingest() for one event, as a JSON array of texts; owned. NULL without memory. */
static char *
params_text(const struct feedback_event *event)
{
	const char *params[LEDGER_COLUMNS];
	struct ledger_batch batch;
	json_t *list = json_array();
	char *text = NULL;

	ledger_init(&batch);
	if (ledger_add(&batch, event) && ledger_params(&batch, params)) {
		for (size_t i = 0; i < LEDGER_COLUMNS; i++)
			(void)json_array_append_new(list, json_string(params[i]));
		text = json_dumps(list, JSON_COMPACT);
	}
	ledger_release(&batch);
	json_decref(list);
	return text;
}

bool
intake_refused_params(struct slice content, struct arena *arena, const char **params)
{
	json_t *list = json_loadb(content.ptr, content.len, 0, NULL);
	bool good = json_array_size(list) == LEDGER_COLUMNS;

	for (size_t i = 0; good && i < LEDGER_COLUMNS; i++) {
		const char *text = json_string_value(json_array_get(list, i));

		params[i] = text != NULL ? arena_str(arena, text) : NULL;
		good = params[i] != NULL;
	}
	json_decref(list);
	return good;
}

struct feedback_event *
intake_refused_event(struct arena *arena, const struct feedback_event *event, const char *why)
{
	struct slice parts[] = { SLICE("refused"), feedback_digest(arena, event->key) };
	struct feedback_event *e =
	    intake_quarantine_event(arena, event->source, "refused", feedback_key(arena, parts, 2),
		why, event->detail.len > 0 ? event->detail : event->text);
	char *text = e != NULL ? params_text(event) : NULL;

	if (text != NULL)
		intake_keep_whole(arena, e,
		    &(struct feedback_kept){ .form = "event", .content = slice_str(text) });
	free(text);
	return e;
}
