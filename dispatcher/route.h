/* SPDX-License-Identifier: Apache-2.0 */
/*
 * route: the way out by smart hosts (SMTP or LMTP), or by the API of Amazon SES (ses_route.h), or to
 * the mail servers of each recipient's domain (mx_route.h), as dispatcher.transport says. The latter
 * two take the place of sessions; the only relay then stands for the endpoint, or the network. Owns the flights that are ready (a heap by
 * release time), the relays and the sessions; opens as many connections as the due flights need,
 * up to relay.connections, spreads them over the relays that are well, and holds everything back
 * while none is.
 */
#ifndef KAIRAN_ROUTE_H
#define KAIRAN_ROUTE_H

#include "dispatcher.h"
#include "flight.h"

/* Reads what [relay] names (hosts, credentials, certificates); resolves nothing yet. NULL with
 * err, which says what to mend. */
struct route *route_new(struct dispatcher *d, struct err *err);
void route_free(struct route *r);

/* Takes the flight. */
void route_add(struct route *r, struct flight *f);

/* Gives due flights to sessions; opens sessions; sets the timer for the next release. */
void route_kick(struct route *r);

/* Releases the ready flights of a run (pause, cancel), or of all runs (run NULL). */
void route_release_run(struct route *r, struct live_run *run);

/* No relay can be used for now: nothing new should be claimed. */
bool route_is_held(const struct route *r);

/* What keeps the route from sending, "" when nothing does; borrowed until the next call. */
const char *route_trouble_text(const struct route *r);

/* Its part of /metrics: what is ready, each relay. */
void route_metrics(const struct route *r, struct buf *out);

/* Reads credentials and certificates again, for new connections. Those of before stay when the new
 * ones cannot be used. */
void route_reload(struct route *r);

/* Shutdown: sessions finish what they have in hand. */
void route_stop(struct route *r);
/* No sessions and no flights left. */
bool route_is_idle(const struct route *r);

#endif
