/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connections: a limit of connections to a destination that several dispatchers share exactly. Each
 * says how many it has open and would like to have, and is told how many it may have; what it was
 * granted counts for as long as it shows signs of life. This is what common/lua/connections.lua does
 * in Redis, in memory, for tests and models of it: given the same input both grant the same.
 *
 * The rules. Nobody is granted what another one holds. Whoever holds more than his share (limit by
 * dispatchers) gives back what others want of theirs. A dispatcher that is known (to PostgreSQL) and
 * not here may use its share, so that much is kept for it: it may have lost Redis alone. When all was
 * forgotten, nothing new is granted for the life of a lease: what others hold will have been told
 * again by then, or its holder is dead.
 *
 * The holder's side: without an answer for half the life of its lease it has its share at most, of what
 * it was granted; after one life and a half its share whatever it was granted, since the others have
 * missed it by then and given back. Nothing when it never had an answer. Pure: the clock is given.
 */
#ifndef KAIRAN_CONNECTIONS_H
#define KAIRAN_CONNECTIONS_H

#include <stdbool.h>
#include <stddef.h>

#define CONNECTIONS_LIFE_US 10e6 /* of a lease without a sign of life */

struct connections_ask {
	const char *dispatcher;
	unsigned known;		 /* dispatchers, at least 1 */
	double now;		 /* us since 2026 */
	double life;		 /* us */
	const char *destination; /* NULL: only a sign of life; the rest is not looked at */
	unsigned limit, have, want;
};

struct connections_answer {
	unsigned granted; /* below `have`: close some */
	bool before;	  /* it was here: its leases at other destinations hold */
	double opens;	  /* changes when all was forgotten */
	unsigned here;	  /* dispatchers; with another number than before the grants are others */
};

struct connections;

/* NULL without memory. */
struct connections *connections_new(void);
void connections_free(struct connections *c);

/* False without memory. */
bool connections_ask(
    struct connections *c, const struct connections_ask *ask, struct connections_answer *answer);

/* Everything is lost. */
void connections_forget(struct connections *c);

/* What the holder knows: when it asked and was answered last, by its own clock, and what it heard. */
struct connections_hold {
	unsigned known;	 /* dispatchers; 0: not known yet */
	unsigned most;	 /* of them since the last answer: the others reckon with no fewer */
	bool ever;	 /* it had an answer */
	double asked_us; /* when what was answered last was asked */
};

void connections_count(struct connections_hold *h, unsigned known);
void connections_answered(struct connections_hold *h, double asked_us);

/* Whether leases hold. */
bool connections_valid(const struct connections_hold *h, double now_us);

/* Most connections it may have open; granted: at this destination. */
unsigned connections_allowed(
    const struct connections_hold *h, double now_us, unsigned limit, unsigned granted);

#endif
