/* SPDX-License-Identifier: Apache-2.0 */
/*
 * intake: the one queue between all sources of feedback and the database. Sources hand over
 * items (the events of one notice and whom to tell); they are committed in batches, and only
 * then is the source told, so that nothing is acknowledged that could be lost.
 *
 *   batch    when feedback.batch events wait, or the first has waited feedback.batch_ms, or a
 *            source that waits for its commit has handed over its last, and no other batch is
 *            under way
 *   done     every item of the batch is told INTAKE_COMMITTED
 *   refused  for a reason of the database's own (no rights, disk full, deadlock, going down):
 *            the same batch again after a growing wait. For a reason in the data: the batch is
 *            cut in two again and again until the bad item stands alone, and that item until
 *            its bad event does (2 log n statements); what is good of it is committed piece by
 *            piece. The bad event is replaced by a plain one of kind "other", reason "refused",
 *            which keeps the server's word and, whole, what was refused; if even that is refused
 *            the source is told INTAKE_REFUSED and answers with a temporary failure.
 *   unknown  the connection died: the same batch again, which does nothing twice
 *
 * All calls from the loop's thread.
 */
#ifndef KAIRAN_FEEDBACK_INTAKE_H
#define KAIRAN_FEEDBACK_INTAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "err.h"
#include "event.h"
#include "pgloop.h"
#include "source.h"

#define INTAKE_ITEMS_MAX 5000
#define INTAKE_BYTES_MAX ((size_t)64 * 1024 * 1024)

enum intake_result { INTAKE_COMMITTED, INTAKE_REFUSED };

/* Made by a source, usually inside its own struct. It and what its events point to must stay
 * until done is called, which is exactly once, from the loop, never from intake_add(). */
struct intake_item {
	const struct feedback_event *events;
	size_t count; /* at least 1 */
	size_t bytes; /* memory that it holds, for the ceiling */
	void (*done)(struct intake_item *item, enum intake_result result);
	struct source *source; /* whose health counts the commit; may be NULL */
	size_t notices;	       /* that it counts there; 0 means 1 */
	bool is_last;	       /* its source waits: no use to wait for more */

	/* of the intake */
	struct intake_item *next;
	uint64_t arrived_ms;
	bool ends_batch;
	size_t heard;	     /* of its events are committed */
	size_t taken;	     /* behind them are in the batch under way */
	size_t limit;	     /* it goes alone, so many events at a time; 0: not cut */
	bool is_quarantined; /* the next event goes alone, replaced */
};

struct intake_counts {
	uint64_t items;	      /* committed */
	uint64_t events;      /* in them */
	uint64_t fresh;	      /* that had not been heard before */
	uint64_t batches;     /* committed */
	uint64_t again;	      /* batches submitted again */
	uint64_t quarantined; /* notices kept aside */
	uint64_t failed;      /* items told INTAKE_REFUSED */
	uint64_t turned_away; /* items not taken for want of room */
};

struct intake;

/* batch: events; batch_ms: longest wait of the first. NULL without memory. pg is borrowed. */
struct intake *intake_new(uv_loop_t *loop, struct pgloop *pg, long batch, long batch_ms);

/* Drops what waits without a call: free the sources first. The loop must run on until the
 * handles are closed; pg must be freed before that. */
void intake_free(struct intake *intake);

/* False when there is no room (INTAKE_ITEMS_MAX, INTAKE_BYTES_MAX): say "try again". */
bool intake_add(struct intake *intake, struct intake_item *item) MUST_CHECK;

/* The database answers and there is room. Sources that can, wait until it is. */
bool intake_is_open(const struct intake *intake);

/* Nothing is taken, and no batch made, before this was called with true (schema checked). */
void intake_set_ready(struct intake *intake, bool is_ready);

/* Items waiting or under way. */
size_t intake_waiting(const struct intake *intake);

/* Since when the oldest of them does. */
uint64_t intake_lag_ms(const struct intake *intake);

const struct intake_counts *intake_counts(const struct intake *intake);

/* An event of kind other that keeps what cannot be kept otherwise: refused by the database, or
 * a notice that cannot be read. evidence becomes its detail, made ASCII and cut. All in the arena; NULL when it is
 * full. For sources, too. */
struct feedback_event *intake_quarantine_event(struct arena *arena, const char *source,
    const char *reason, struct slice key, const char *why, struct slice evidence);

/* Gives e a copy of kept, which is committed with it; without room e stands alone. */
void intake_keep_whole(
    struct arena *arena, struct feedback_event *e, const struct feedback_kept *kept);

/* The same for an event that the database refused with why; whole is the event, which intake_refused_params() reads. */
struct feedback_event *intake_refused_event(
    struct arena *arena, const struct feedback_event *event, const char *why);

/* What ingest() takes, of an event that was refused: LEDGER_COLUMNS parameters in the arena. False: it is none. */
bool intake_refused_params(
    struct slice content, struct arena *arena, const char **params) MUST_CHECK;

/* Did a statement fail because of what is in it? Everything else will be put right by a person
 * or by time. */
bool intake_is_fault_of_data(const char *sqlstate);

#endif
