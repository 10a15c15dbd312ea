/* SPDX-License-Identifier: Apache-2.0 */
/*
 * runs: which runs are running, looked up in PostgreSQL every dispatcher.poll_ms together with
 * our sign of life, and what is needed to send them. A run that stops running has its unsent
 * flights released at once: that is how pause works.
 */
#ifndef KAIRAN_RUNS_H
#define KAIRAN_RUNS_H

#include "dispatcher.h"
#include "flight.h"

struct runs *runs_new(struct dispatcher *d);
void runs_free(struct runs *r);

/* Starts, ends the periodic look. */
void runs_start(struct runs *r);

/* dispatcher.poll_ms may have changed. */
void runs_reload(struct runs *r);
void runs_stop(struct runs *r);

/* Pauses the run with this reason, since nobody of it could be sent to. */
void runs_refuse(struct runs *r, struct live_run *run, const char *why);

/* Loaded and running runs, as a list; borrowed. */
struct live_run *runs_first(const struct runs *r);

#endif
