/* SPDX-License-Identifier: Apache-2.0 */
/*
 * route: the SMTP relay, or Amazon SES by its API (dispatcher.transport). Owns the flights that
 * are ready (a heap by release time) and the sessions; opens as many connections as the due
 * flights need, up to relay.connections, and holds everything back while the other side is unwell.
 * With SES its requests (ses_route.h) take the place of the sessions.
 */
#ifndef KAIRAN_ROUTE_H
#define KAIRAN_ROUTE_H

#include "dispatcher.h"
#include "flight.h"

/* Resolves nothing yet. NULL with err (no memory, no region of SES). */
struct route *route_new(struct dispatcher *d, struct err *err);
void route_free(struct route *r);

/* Takes the flight. */
void route_add(struct route *r, struct flight *f);

/* Gives due flights to sessions; opens sessions; sets the timer for the next release. */
void route_kick(struct route *r);

/* Releases the ready flights of a run (pause, cancel), or of all runs (run NULL). */
void route_release_run(struct route *r, struct live_run *run);

/* The relay cannot be used for now: nothing new should be claimed. */
bool route_is_held(const struct route *r);

/* What keeps the route from sending, "" when nothing does; borrowed until the next call. */
const char *route_trouble_text(const struct route *r);

/* Shutdown: sessions finish what they have in hand. */
void route_stop(struct route *r);
/* No sessions and no flights left. */
bool route_is_idle(const struct route *r);

#endif
