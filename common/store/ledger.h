/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ledger: the one way from events to rows. Collects events as the array parameters of
 * kairan.ingest() and submits them; that function puts them into the inbox, lets the new ones
 * act, and does nothing for what it has heard before, so a batch may be submitted again.
 *
 * An event changes a row through its verified token. One without is kept with its address key;
 * when it comes from our own account at SES, the message id that SES gave may join it later to
 * the row (kairan.feedback_join()).
 */
#ifndef KAIRAN_LEDGER_H
#define KAIRAN_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"
#include "event.h"
#include "outcome.h"
#include "pgloop.h"
#include "slice.h"

#define LEDGER_COLUMNS 16
#define LEDGER_KEPT_COLUMNS 8
#define LEDGER_PARAMS_MAX (LEDGER_COLUMNS + LEDGER_KEPT_COLUMNS)
#define LEDGER_COLUMN_MAX ((size_t)64 * 1024 * 1024) /* bytes of one array literal */

/* One row per event with LEDGER_COLUMNS parameters: the number of events that were new. */
#define LEDGER_SQL                                                                                 \
	"SELECT kairan.ingest($1::text[],$2::text[],$3::text[],$4::timestamptz[],$5::int[],"       \
	"$6::int[],$7::int[],$8::text[],$9::text[],$10::text[],$11::int[],$12::text[],"            \
	"$13::text[],$14::text[],$15::text[],$16::text[])"

struct ledger_batch {
	struct buf columns[LEDGER_PARAMS_MAX]; /* array literals, still without the closing brace */
	size_t count;
	size_t kept; /* of them come with a whole notice */
};

void ledger_init(struct ledger_batch *batch);
void ledger_release(struct ledger_batch *batch);

/* Empties; keeps the memory. */
void ledger_reset(struct ledger_batch *batch);

/* Copies one event into the batch. False without memory or past LEDGER_COLUMN_MAX: the batch
 * is useless then until ledger_reset(). */
bool ledger_add(struct ledger_batch *batch, const struct feedback_event *event) MUST_CHECK;

/*
 * The same for what the dispatcher was told in the transaction: kind bounced, source "smtp",
 * linked to its row without a token, key "smtp|run|send|attempt". now_us: microseconds since
 * 1970 UTC.
 */
bool ledger_add_smtp(struct ledger_batch *batch, uint32_t run, uint32_t send, unsigned attempt,
    struct slice address, const struct outcome *outcome, int64_t now_us) MUST_CHECK;

/* Bytes of all columns. */
size_t ledger_bytes(const struct ledger_batch *batch);

/* Closes the literals: nothing can be added then before ledger_reset(), until which params point
 * into the batch. False without memory. */
bool ledger_params(struct ledger_batch *batch, const char *params[LEDGER_COLUMNS]) MUST_CHECK;

/* The same for a batch with events that come with a whole notice: its statement, with *count parameters. NULL
 * without memory. */
const char *ledger_statement(
    struct ledger_batch *batch, const char *params[LEDGER_PARAMS_MAX], int *count) MUST_CHECK;

/* Queues the batch on pg, which copies it: reset the batch then. False without memory; done is
 * not called in that case. */
bool ledger_submit(
    struct ledger_batch *batch, struct pgloop *pg, pgloop_done *done, void *ctx) MUST_CHECK;

#endif
