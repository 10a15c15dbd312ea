/* SPDX-License-Identifier: Apache-2.0 */
/*
 * route: the SMTP relay. Owns the flights that are ready (a heap by release time) and the
 * sessions; opens as many connections as the due flights need, up to relay.connections, and
 * holds everything back while the relay is unwell.
 */
#ifndef KAIRAN_ROUTE_H
#define KAIRAN_ROUTE_H

#include "dispatcher.h"
#include "flight.h"
#include "outcome.h"

/* Resolves nothing yet. NULL without memory. */
struct route *route_new(struct dispatcher *d);
void route_free(struct route *r);

/* Takes the flight. */
void route_add(struct route *r, struct flight *f);

/* Gives due flights to sessions; opens sessions; sets the timer for the next release. */
void route_kick(struct route *r);

/* Next flight that may leave now, NULL when none is due or the route is held. The caller (a
 * session) has it then. */
struct flight *route_take(struct route *r);

/* Back from a session that ended before its turn. After several such ends it is deferred. */
void route_return(struct route *r, struct flight *f, const struct outcome *why);

/* Releases the ready flights of a run (pause, cancel), or of all runs (run NULL). */
void route_release_run(struct route *r, struct live_run *run);

/* The relay cannot be used for now: nothing new should be claimed. */
bool route_is_held(const struct route *r);

/* A session ended badly before any message (connect, greeting, EHLO): wait, longer each time. */
void route_trouble(struct route *r, const struct outcome *why);
/* What keeps the route from sending, "" when nothing does; borrowed until the next call. */
const char *route_trouble_text(const struct route *r);
/* A session got through its EHLO. */
void route_works(struct route *r);
/* A session's memory may go. */
void route_forget_session(struct route *r, void *session);

/* Shutdown: sessions finish what they have in hand. */
void route_stop(struct route *r);
/* No sessions and no flights left. */
bool route_is_idle(const struct route *r);

#endif
