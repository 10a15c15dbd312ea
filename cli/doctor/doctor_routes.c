/* SPDX-License-Identifier: Apache-2.0 */
/* doctor_routes: see doctor_routes.h. */
#include "doctor_routes.h"

#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "db.h"
#include "routes.h"

#define LIST_MAX ((size_t)ROUTES_MAX * (ROUTES_NAME_MAX + 1))

void
doctor_judge_route(struct doctor_checks *d, const char *route, bool is_served, long runs)
{
	const char *subject = route[0] != '\0' ? route : "without a route";
	char advice[200];

	if (is_served) {
		(void)doctor_add(d, "route", DOCTOR_OK, subject, "", "a dispatcher serves it");
		return;
	}
	if (route[0] != '\0')
		(void)snprintf(advice, sizeof(advice),
		    "start a dispatcher with dispatcher.route = %s; to plan no more mail for it, "
		    "take "
		    "it out of pace.routes and restart the producer",
		    route);
	else
		(void)snprintf(
		    advice, sizeof(advice), "start a dispatcher without dispatcher.route");
	if (runs > 0)
		(void)doctor_add(d, "route", DOCTOR_FAILED, subject, advice,
		    "no dispatcher serves it, and %ld running run%s with mail for it wait%s", runs,
		    runs == 1 ? "" : "s", runs == 1 ? "s" : "");
	else
		(void)doctor_add(d, "route", DOCTOR_WARNING, subject, advice,
		    "no dispatcher serves it: mail of the next run would wait");
}

/* Each route of the configuration, and those that something waits for. */
static void
ask(struct doctor_checks *d, struct db *db, const struct routes *routes)
{
	const char *params[1];
	struct buf names;
	PGresult *r = NULL;

	buf_init(&names, LIST_MAX);
	for (size_t i = 0; i < routes->way_count; i++) {
		buf_append_str(&names, i > 0 ? " " : "");
		buf_append_str(&names, routes->ways[i].name);
	}
	params[0] = buf_str(&names);
	if (!buf_failed(&names))
		r = db_query(db,
		    "SELECT route, EXISTS (SELECT FROM kairan.dispatcher d WHERE d.route = w.route "
		    "AND "
		    "stopped_at IS NULL AND fenced_at IS NULL AND heartbeat_at > now() - interval "
		    "'1 minute'), coalesce(i.runs, 0) FROM (SELECT unnest(string_to_array($1, ' "
		    "')) "
		    "AS route UNION SELECT route FROM kairan.route_idle) AS w LEFT JOIN "
		    "kairan.route_idle i USING (route) ORDER BY route LIMIT 100",
		    1, params);
	if (r == NULL)
		(void)doctor_add(d, "route", DOCTOR_SKIPPED, "pace.routes", "",
		    "PostgreSQL cannot be asked for dispatchers: %s",
		    buf_failed(&names) ? "no memory" : db->error);
	for (int i = 0; r != NULL && i < PQntuples(r); i++)
		doctor_judge_route(d, db_text(r, i, 0), db_text(r, i, 1)[0] == 't',
		    strtol(db_text(r, i, 2), NULL, 10));
	PQclear(r);
	buf_release(&names);
}

void
doctor_check_routes(struct doctor_checks *d, const struct config *config)
{
	struct routes routes;
	struct err err = { 0 };
	struct db db;

	if (routes_parse(&routes, config->pace_routes, config->pace_route_rates, &err) < 0) {
		(void)doctor_add(
		    d, "route", DOCTOR_FAILED, "pace.routes", "correct it", "%s", err.msg);
		return;
	}
	if (db_open(&db, config->database_url, "kairan_operator", "kairan", &err) < 0) {
		if (routes.way_count > 0)
			(void)doctor_add(d, "route", DOCTOR_SKIPPED, "pace.routes",
			    "look at database.url",
			    "PostgreSQL cannot be asked for dispatchers: %s", err.msg);
		return;
	}
	ask(d, &db, &routes);
	db_close(&db);
}
