/* SPDX-License-Identifier: Apache-2.0 */
/* doctor_routes: does a dispatcher serve each route (pace.routes, dispatcher.route)? */
#ifndef KAIRAN_DOCTOR_ROUTES_H
#define KAIRAN_DOCTOR_ROUTES_H

#include "config.h"
#include "doctor.h"

/* route: "" is what has none. runs: of those that run, how many have mail for it. A failure when they wait, a warning
 * when the next ones will. */
void doctor_judge_route(struct doctor_checks *d, const char *route, bool is_served, long runs);

/* The routes of pace.routes, and those that running runs wait for, as PostgreSQL knows dispatchers. Says nothing
 * where there are none. */
void doctor_check_routes(struct doctor_checks *d, const struct config *config);

#endif
