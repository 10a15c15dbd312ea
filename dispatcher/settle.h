/* SPDX-License-Identifier: Apache-2.0 */
/*
 * settle: from outcomes to rows. Collects them per run and writes them with RECORD and RELEASE
 * in batches; nothing is forgotten before PostgreSQL has committed it. It also decides when a
 * temporary failure is tried again, and passes refused addresses on to the ledger, so that they
 * are suppressed by the same rule as a bounce.
 */
#ifndef KAIRAN_SETTLE_H
#define KAIRAN_SETTLE_H

#include "compose.h"
#include "dispatcher.h"
#include "flight.h"
#include "outcome.h"

/* err: what is wrong with dispatcher.retry_ladder. */
struct ladder;

struct settler *settler_new(struct dispatcher *d, struct err *err);

/* Waits of tries to come; copied. */
void settle_reload(struct settler *s, const struct ladder *ladder);
void settler_free(struct settler *s);

/* Each takes the flight (and frees it). */
void settle_outcome(struct settler *s, struct flight *f, const struct outcome *o);
/* The recipient could not be tried, and not for his own sake: tried again after wait_s (> 0) without a
 * step of the retry ladder, unless the run is too old for it. o: why, OUTCOME_DEFERRED. */
void settle_postpone(struct settler *s, struct flight *f, const struct outcome *o, long wait_s);
/* A step of the ladder, but not before at_least_s. o: OUTCOME_DEFERRED. */
void settle_later(struct settler *s, struct flight *f, const struct outcome *o, long at_least_s);
/* The first wait of the ladder. */
long settle_first_wait_s(const struct settler *s);
void settle_skip(struct settler *s, struct flight *f, const char *reason, struct slice text);
void settle_release(struct settler *s, struct flight *f);

/* No message could be composed: skips or fails the recipient. Takes the flight. */
void settle_refusal(struct settler *s, struct flight *f, const struct compose_refusal *why);

/* A row without a flight. */
void settle_release_row(struct settler *s, struct live_run *run, int id, int attempt);

/* Takes the flight, asks whether its address is suppressed by now, and gives it back
 * (dispatcher_news.checked) or skips it. */
void settle_recheck(struct settler *s, struct flight *f);

/* Too much waits to be written: claim no more. */
bool settle_is_behind(const struct settler *s);
/* Everything is written. */
bool settle_is_idle(const struct settler *s);

/* Writes what has come together, without waiting for more. */
void settle_flush(struct settler *s);
void settle_stop(struct settler *s);

#endif
