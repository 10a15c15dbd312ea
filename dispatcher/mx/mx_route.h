/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mx_route: flights to the mail servers of their recipients' domains (dispatcher.transport = mx), in
 * place of the sessions to a relay. The route owns the ready flights and their times, as for
 * ses_route; this side takes those that are due, finds their destination (mx_lookup) and hands them
 * to it (mx_site).
 */
#ifndef KAIRAN_MX_ROUTE_H
#define KAIRAN_MX_ROUTE_H

#include "dispatcher.h"
#include "session.h"

struct mx_route;

/* `host` and `relay`, which it hands back to them, outlive it; of host's functions take, unwell and
 * works are used. The relay stands for DNS and the network as a whole. NULL with err. */
struct mx_route *mx_route_new(
    struct dispatcher *d, const struct session_host *host, struct relay *relay, struct err *err);
void mx_route_free(struct mx_route *r);

/* Takes due flights, opens connections. Safe to call at any time. */
void mx_route_kick(struct mx_route *r);

/* True when it would take a flight now. */
bool mx_route_is_free(const struct mx_route *r);

/* Releases the flights of a run that wait here, or all (run NULL). */
void mx_route_release_run(struct mx_route *r, struct live_run *run);

/* Trusted certificates are read again, for new connections. */
void mx_route_reload(struct mx_route *r);

/* Nothing new; what is under way is finished. */
void mx_route_stop(struct mx_route *r);
/* No connections and no flights left. */
bool mx_route_is_idle(const struct mx_route *r);

#endif
