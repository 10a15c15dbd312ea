/* SPDX-License-Identifier: Apache-2.0 */
/*
 * signer: composes and signs (DKIM) ahead of time, on a pool of threads. An RSA signature takes
 * longer than everything else that is done for a recipient together, so it must not hold up the
 * loop. Flights of runs without a key never come here: they are composed when a session takes them.
 *
 * A flight stays where it is, in the ready heap of the route, while a thread makes its message;
 * so the order and the times of leaving do not depend on which thread is done first. The route
 * lets the first flight go when its message is made; until then everybody waits for it. The first
 * few of the heap (a window, bounded in number and bytes) are made ahead.
 *
 * Threads touch only the message, token, return path and refusal of flights handed to them, and
 * read what never changes: the claimed rows, the run's plan and keys. All else happens on the loop.
 */
#ifndef KAIRAN_SIGNER_H
#define KAIRAN_SIGNER_H

#include "dispatcher.h"
#include "flight.h"
#include "ready.h"

/* No thread runs before the first flight that is to be signed. NULL without memory. */
struct signer *signer_new(struct dispatcher *d);
void signer_free(struct signer *s);

/* May leave as far as signing goes. */
static inline bool
signer_has(const struct flight *f)
{
	return flight_run(f)->dkim == NULL || (f->message != NULL && !f->signing);
}

/* Hands those of the window that are not made to the threads; when one is done,
 * dispatcher_news.prepared is called. Cheap when nothing is to be signed. */
void signer_ahead(struct signer *s, const struct ready *ready);

/* The route has removed this flight from the heap without letting it go. True: a thread has it, and
 * the signer releases it (settle_release) when it comes back; false: the caller has it. */
bool signer_drop(struct flight *f);

/* No thread has a flight. */
bool signer_is_idle(const struct signer *s);

/* Ends the threads; only when idle. */
void signer_stop(struct signer *s);

#endif
