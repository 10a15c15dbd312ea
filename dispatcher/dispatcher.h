/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dispatcher: what the modules of one dispatcher process share. The way of a flight:
 *
 *   runs (which runs are running) -> claim (permits, pop ids, CLAIM) -> route (ready heap,
 *   sessions) -> session (compose, SMTP) -> settle (RECORD, RELEASE)
 *
 * Everything runs on one event loop; nothing blocks after the start. Only signatures are made on
 * threads (signer), ahead of the time at which a flight leaves the ready heap.
 */
#ifndef KAIRAN_DISPATCHER_H
#define KAIRAN_DISPATCHER_H

#include <stdbool.h>
#include <uv.h>

#include "config.h"
#include "memory.h"
#include "pgloop.h"
#include "rdsloop.h"
#include "token.h"

struct runs;
struct claimer;
struct brakes;
struct route;
struct settler;
struct signer;
struct dispatcher;
struct flight;
struct journal;
struct live_run;
struct stats;

/* What must be told against the way of a flight. main ties it together, so that no module knows
 * the ones before it. */
struct dispatcher_news {
	/* fewer flights are ready or unwritten, or a run began: look whether to claim */
	void (*room)(struct dispatcher *d);
	/* a run was paused or has ended: release its ready flights */
	void (*halted)(struct dispatcher *d, struct live_run *run);
	/* messages were made ahead: the first of the ready flights may be able to leave */
	void (*prepared)(struct dispatcher *d);
	/* its very first message cannot be sent, nor will the others: pause it */
	void (*refused)(struct dispatcher *d, struct live_run *run, const char *why);
	/* looked at again and still to be sent; takes the flight */
	void (*checked)(struct dispatcher *d, struct flight *f);
	/* its permit is too old: it needs another one before it may leave; takes the flight */
	void (*late)(struct dispatcher *d, struct flight *f);
	/* rows that were released: their ids go back to the run's lists, by their lanes */
	void (*released)(struct dispatcher *d, const struct live_run *run, const int *ids,
	    const int *lanes, size_t count);
	/* what keeps mail from leaving, "" when nothing does; borrowed until the next call */
	const char *(*trouble)(const struct dispatcher *d);
};

struct dispatcher {
	const struct config *config;
	struct token_keys keys;
	uv_loop_t loop;
	struct pgloop *claims;	/* claims, looks at runs */
	struct pgloop *records; /* records, releases */
	struct rdsloop *redis;
	struct journal *journal;
	int owner; /* dispatcher.id of this life */
	char owner_text[16];
	const char *lock_id; /* of the identity: behind a fail-over another may have our number */
	bool stopping;	     /* no new claims, no new transactions */
	bool fenced; /* declared dead, or PostgreSQL has lost commits: stop, exit with an error */
	uint64_t claims_from_ms; /* loop clock: nothing is claimed before (dispatcher.join_s) */
	char quarantine[200];	 /* who has to be heard on a new timeline; "": nobody */
	struct runs *runs;
	struct claimer *claimer;
	struct route *route;
	struct settler *settler;
	struct signer *signer;
	struct brakes *brakes; /* NULL: pace.adaptive is off */
	struct memory *memory; /* NULL: as if there were no limit */
	size_t leaving;	       /* flights that a session or a request has */
	const struct dispatcher_news *news;
	struct stats *stats;
};

/* Rows of one statement, at most. */
static inline long
dispatcher_batch_max(const struct dispatcher *d)
{
	return 4 * d->config->dispatcher_batch;
}

static inline uint64_t
dispatcher_now_ms(const struct dispatcher *d)
{
	return uv_now(&d->loop);
}

/* Memory is short, and will be less so when those that are leaving have left: nothing more is begun
 * meanwhile. Never true when nobody is, so that one after the other goes on under any limit. */
static inline bool
dispatcher_is_full(const struct dispatcher *d)
{
	return d->leaving > 0 && memory_is_short(d->memory, dispatcher_now_ms(d));
}

static inline uint64_t
dispatcher_now_us(void)
{
	return uv_hrtime() / 1000;
}

#endif
