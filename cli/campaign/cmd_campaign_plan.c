/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_campaign_plan: `campaign plan`: how a run would go. Reads, counts, plays, prints. */
#include "cmd_campaign.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "campaign_count.h"
#include "cmd_ses.h"
#include "pace_limits.h"
#include "pool.h"
#include "route_text.h"
#include "run_forecast.h"
#include "settings.h"

#define TAIL "small sites"
#define CHART_CELLS 50
#define CHART_ROWS 96
#define PROVIDERS_SHOWN 20
#define OVERRUN_MIN 5 /* earlier runs that say how far forecasts are off */

/* What goes to one provider, or to one large site. */
struct share {
	char *name; /* owned */
	int group;
	uint64_t count, by_mx; /* those whose domain was found by its mail servers */
	bool paced, tail;
	const char *time_zone; /* borrowed; "": no quiet hours */
};

struct planning {
	struct cli *cli;
	struct db db;
	struct policy *policy;
	struct campaign_source source;
	struct campaign_run run; /* id 0: one that is not made yet */
	const char *start;	 /* as text for PostgreSQL, NULL: now */
	bool in_file;		 /* source was read from a file */
	int64_t audience, recipients;
	json_t *excluded; /* by rule */
	json_t *routes;	  /* how many by which; empty: no provider has a route of its own */
	struct share *shares;
	size_t share_count, share_room;
	struct run_forecast forecast;
	struct campaign_count count;
	struct pool pool;
	bool has_account;
	struct ses_account account;
};

/* ---------------------------------------------------------------- what to plan */

static const char *
text_of(struct planning *p, const PGresult *r, int row, int column)
{
	const char *text = arena_str(&p->source.arena, db_text(r, row, column));

	return text != NULL ? text : "";
}

/* Texts with \x1f between them. */
static void
split_names(struct planning *p, struct campaign_names *names, const char *text)
{
	size_t room = 1;

	*names = (struct campaign_names){ 0 };
	if (text[0] == '\0')
		return;
	for (const char *c = text; *c != '\0'; c++)
		room += *c == '\x1f';
	names->name = arena_alloc(&p->source.arena, room * sizeof(*names->name));
	while (names->name != NULL) {
		const char *end = strchrnul(text, '\x1f');
		char *name = arena_alloc(&p->source.arena, (size_t)(end - text) + 1);

		if (name == NULL)
			break;
		memcpy(name, text, (size_t)(end - text));
		name[end - text] = '\0';
		names->name[names->count++] = name;
		if (*end == '\0')
			break;
		text = end + 1;
	}
}

/* Who it is for, of a campaign in the database. */
static int
fetch_campaign(struct planning *p, const char *name)
{
	struct campaign_file *f = &p->source.file;
	PGresult *r = db_query(&p->db,
	    "SELECT c.name, s.name, c.list, c.segment, array_to_string(c.exclude_campaigns, "
	    "E'\\x1f'), "
	    "array_to_string(c.exclude_segments, E'\\x1f'), "
	    "CASE WHEN c.start_at > now() THEN c.start_at::text ELSE '' END, coalesce(c.spread_s, "
	    "0), coalesce(c.canary, 0), coalesce(c.canary_wait_s, 0), coalesce(c.quiet_from, 0), "
	    "coalesce(c.quiet_till, 0), c.time_zone, c.zone_field "
	    "FROM kairan.campaign c JOIN kairan.stream s ON s.id = c.stream_id WHERE c.name = $1",
	    1, &name);

	if (r == NULL)
		return cli_db_failed(p->cli, &p->db, "reading the campaign");
	if (PQntuples(r) == 0) {
		PQclear(r);
		return cli_fail(
		    p->cli, EXIT_USAGE, "there is no file and no campaign \"%s\"", name);
	}
	arena_init(&p->source.arena, (size_t)1 << 22);
	f->name = text_of(p, r, 0, 0);
	f->stream = text_of(p, r, 0, 1);
	f->list = text_of(p, r, 0, 2);
	f->segment = text_of(p, r, 0, 3);
	split_names(p, &f->exclude_campaigns, text_of(p, r, 0, 4));
	split_names(p, &f->exclude_segments, text_of(p, r, 0, 5));
	f->start = text_of(p, r, 0, 6);
	f->spread_s = (int32_t)db_number(r, 0, 7);
	f->canary = (int32_t)db_number(r, 0, 8);
	f->canary_wait_s = (int32_t)db_number(r, 0, 9);
	f->quiet_from = (int32_t)db_number(r, 0, 10);
	f->quiet_till = (int32_t)db_number(r, 0, 11);
	f->time_zone = text_of(p, r, 0, 12);
	f->zone_field = text_of(p, r, 0, 13);
	PQclear(r);
	return EXIT_DONE;
}

static int
load_campaign(struct planning *p, const char *what)
{
	struct stat st;
	struct err err = { 0 };

	p->in_file =
	    (stat(what, &st) == 0 && S_ISREG(st.st_mode)) || !campaign_name_ok(slice_str(what));
	if (!p->in_file)
		return fetch_campaign(p, what);
	if (campaign_source_read(&p->source, what, &err) < 0)
		return cli_fail(p->cli, EXIT_USAGE, "%s", err.msg);
	return EXIT_DONE;
}

/* ---------------------------------------------------------------- who gets it */

/* paced: but for quiet hours, which give every lane a list. */
static int
add_share(struct planning *p, const char *name, int group, uint64_t count, uint64_t by_mx,
    bool paced, const char *time_zone)
{
	bool tail = strcmp(name, TAIL) == 0;

	if (p->share_count == p->share_room) {
		size_t room = p->share_room > 0 ? 2 * p->share_room : 64;
		struct share *shares = realloc(p->shares, room * sizeof(*shares));

		if (shares == NULL)
			return cli_fail(p->cli, EXIT_FAILED, "no memory");
		p->shares = shares;
		p->share_room = room;
	}
	p->shares[p->share_count] = (struct share){ strdup(name), group, count, by_mx,
		paced || time_zone[0] != '\0', tail, time_zone };
	return p->shares[p->share_count++].name != NULL
	    ? EXIT_DONE
	    : cli_fail(p->cli, EXIT_FAILED, "no memory");
}

/* A domain of the lane of a site; all are of the first time zone. */
static int
add_to_site(struct planning *p, const struct count_domain *d, const char *time_zone)
{
	int unknown = providers_unknown(policy_providers(p->policy));

	for (size_t i = 0; i < p->share_count; i++)
		if (strcmp(p->shares[i].name, d->site) == 0) {
			p->shares[i].count += d->recipients;
			p->shares[i].by_mx += d->recipients;
			return EXIT_DONE;
		}
	return add_share(p, d->site, unknown, d->recipients, d->recipients,
	    policy_is_paced(p->policy, unknown, false), time_zone);
}

/* Lanes as the producer makes them, of one time zone (the first: also of those without quiet hours);
 * the tail in one, since its parts share a list. */
static int
make_shares(struct planning *p, const struct campaign_count *c, int zone)
{
	const struct providers *table = policy_providers(p->policy);
	int unknown = providers_unknown(table), code = EXIT_DONE;
	uint64_t own = policy_site_min((uint64_t)c->kept), of_group[PROVIDERS_GROUPS_MAX] = { 0 };
	uint64_t by_mx[PROVIDERS_GROUPS_MAX] = { 0 }, tail = 0;
	const char *name = c->zone_count > 0 ? c->zones[zone].name : "";

	for (size_t i = 0; code == EXIT_DONE && i < c->domains.room; i++) {
		const struct count_domain *d =
		    c->domains.entries[i].key != NULL ? c->domains.entries[i].value : NULL;

		if (d == NULL || d->zone != zone)
			continue;
		if (d->group != PROVIDERS_NONE) {
			of_group[d->group] += d->recipients;
			by_mx[d->group] += d->by_mx ? d->recipients : 0;
		} else if (d->site != NULL)
			code = add_to_site(p, d, name);
		else if (zone > 0 || d->recipients < own)
			tail += d->recipients;
		else
			code = add_share(p, d->name, unknown, d->recipients, 0,
			    policy_is_paced(p->policy, unknown, false), name);
	}
	for (size_t g = 0; code == EXIT_DONE && g < providers_count(table); g++)
		if (of_group[g] > 0)
			code = add_share(p, providers_group(table, (int)g)->name, (int)g,
			    of_group[g], by_mx[g], policy_is_paced(p->policy, (int)g, false), name);
	if (code == EXIT_DONE && tail > 0)
		code = add_share(
		    p, TAIL, unknown, tail, 0, policy_is_paced(p->policy, unknown, true), name);
	return code;
}

/* What provider groups have of pace.routes, as for those already planned. */
static json_t *
routes_json(const struct planning *p, const struct campaign_count *c)
{
	const struct routes *ways = policy_ways(p->policy);
	json_t *list = json_array();
	int64_t others = c->kept;

	for (size_t i = 0; i < ways->way_count; i++) {
		others -= (int64_t)c->routed[i];
		(void)json_array_append_new(list,
		    json_pack("{s:s, s:I}", "route", ways->ways[i].name, "recipients",
			(json_int_t)c->routed[i]));
	}
	if (ways->way_count > 0)
		(void)json_array_append_new(
		    list, json_pack("{s:s, s:I}", "route", "", "recipients", (json_int_t)others));
	return list;
}

static int
count_audience(struct planning *p)
{
	struct campaign_count *c = &p->count;
	struct err err = { 0 };
	int code = EXIT_DONE;

	if (campaign_count_read(c, &p->db, &p->source.file, p->policy, &p->cli->config, &err) < 0)
		code = cli_fail(p->cli, db_is_lost(&p->db) ? EXIT_TEMPORARY : EXIT_FAILED,
		    "counting the audience: %s", err.msg);
	p->audience = c->audience;
	p->recipients = c->kept;
	p->routes = routes_json(p, c);
	for (int i = 0; i < COUNT_RULES; i++)
		if (c->excluded[i] > 0)
			(void)json_object_set_new(p->excluded, count_rule_name((enum count_rule)i),
			    json_integer(c->excluded[i]));
	for (int zone = 0; code == EXIT_DONE && (zone == 0 || zone < c->zone_count); zone++)
		code = make_shares(p, c, zone);
	return code;
}

/* What is left of a run that the producer has planned. */
static int
count_run(struct planning *p)
{
	char id[24];
	const char *params[] = { id };
	PGresult *r;
	int code = EXIT_DONE, unknown = providers_unknown(policy_providers(p->policy));

	(void)snprintf(id, sizeof(id), "%lld", (long long)p->run.id);
	r = db_query(&p->db,
	    "SELECT r.audience, r.excluded, l.name, l.provider, l.n, l.paced, l.time_zone, "
	    "l.by_mx, coalesce((SELECT json_agg(json_build_object('route', t.route, "
	    "'recipients', t.n) ORDER BY t.route = '', t.route) FROM (SELECT route, "
	    "sum(recipients)::bigint AS n FROM kairan.run_lane WHERE run_id = $1 GROUP BY 1) AS t "
	    "HAVING bool_or(t.route <> '')), '[]') "
	    "FROM "
	    "kairan.run r "
	    /* the routes of a group share its limit, so they are one here */
	    "LEFT JOIN (SELECT l.run_id, CASE WHEN l.name LIKE 'tail-%' THEN '" TAIL "' "
	    "WHEN l.route <> '' AND right(l.name, length(l.route) + 1) = ' ' || l.route THEN "
	    "left(l.name, -length(l.route) - 1) ELSE l.name END AS name, l.provider, l.paced, "
	    "l.time_zone, sum(q.n)::bigint AS n, "
	    "sum(least(l.by_mx, q.n))::bigint AS by_mx FROM kairan.run_lane l "
	    "JOIN (SELECT lane, count(*) AS n FROM kairan.send WHERE run_id = $1 AND state IN "
	    "('queued', 'sending', 'deferred') GROUP BY 1) AS q ON q.lane = l.lane WHERE l.run_id "
	    "= "
	    "$1 GROUP BY 1, 2, 3, 4, 5) AS l ON l.run_id = r.id WHERE r.id = $1",
	    1, params);
	if (r == NULL)
		return cli_db_failed(p->cli, &p->db, "reading the run");
	p->audience = db_number(r, 0, 0);
	json_decref(p->excluded);
	p->excluded = json_loads(db_text(r, 0, 1), 0, NULL);
	p->routes = json_loads(db_text(r, 0, 8), 0, NULL);
	for (int i = 0; code == EXIT_DONE && i < PQntuples(r); i++) {
		int group =
		    providers_find(policy_providers(p->policy), slice_str(db_text(r, i, 3)));

		if (db_number(r, i, 4) == 0)
			continue;
		p->recipients += db_number(r, i, 4);
		code = add_share(p, db_text(r, i, 2), group != PROVIDERS_NONE ? group : unknown,
		    (uint64_t)db_number(r, i, 4), (uint64_t)db_number(r, i, 7),
		    db_text(r, i, 5)[0] == 't', text_of(p, r, i, 6));
	}
	PQclear(r);
	return code;
}

/* How far the canary of such a run is: what is left of it and its wait, or when the wait ends. */
static int
read_canary(struct planning *p)
{
	char id[24];
	const char *params[] = { id };
	struct run_forecast *f = &p->forecast;
	PGresult *r;

	(void)snprintf(id, sizeof(id), "%lld", (long long)p->run.id);
	r = db_query(&p->db,
	    "SELECT CASE WHEN k.phase = 'sending' THEN greatest(n.recipients - n.tried, 1) ELSE 0 "
	    "END, k.wait_s, coalesce(greatest(extract(epoch FROM k.waits_until - now()), 0), 0) "
	    "FROM kairan.canary k JOIN kairan.canary_progress n ON n.run_id = k.run_id "
	    "WHERE k.run_id = $1 AND kairan.canary_is_open(k.phase)",
	    1, params);
	if (r == NULL)
		return cli_db_failed(p->cli, &p->db, "reading the canary");
	if (PQntuples(r) == 1) {
		f->canary = (double)db_number(r, 0, 0);
		f->canary_wait_s = (double)db_number(r, 0, 1);
		f->start += strtod(db_text(r, 0, 2), NULL) * 1e6;
	}
	PQclear(r);
	return EXIT_DONE;
}

/* ---------------------------------------------------------------- forecast */

static double
number_of(const PGresult *r, int column)
{
	return strtod(db_text(r, 0, column), NULL);
}

/* The rate of the stream, when it starts, how well earlier forecasts did. */
static int
read_circumstances(struct planning *p)
{
	static const char sql[] =
	    "SELECT coalesce(f.rate_per_s, 0), f.of_stream, f.of_account, coalesce(f.seen_per_s, "
	    "0), "
	    "extract(epoch FROM greatest($2::timestamptz, now())), "
	    "(SELECT count(*) FROM kairan.dispatcher WHERE stopped_at IS NULL), o.runs, "
	    "coalesce(o.p90, 0) FROM kairan.plan_rates($1, $3::int) AS f, kairan.plan_overrun() AS "
	    "o";
	struct run_forecast *f = &p->forecast;
	char id[24];
	const char *params[] = { p->source.file.stream, p->start, p->run.id != 0 ? id : NULL };
	PGresult *r;

	(void)snprintf(id, sizeof(id), "%lld", (long long)p->run.id);
	r = db_query(&p->db, sql, 3, params);
	if (r == NULL)
		return cli_db_failed(p->cli, &p->db, "reading the rates");
	if (PQntuples(r) == 0) {
		PQclear(r);
		return cli_fail(
		    p->cli, EXIT_USAGE, "there is no stream \"%s\"", p->source.file.stream);
	}
	f->rates = (struct forecast_rates){ number_of(r, 0), number_of(r, 3), number_of(r, 1),
		number_of(r, 2) };
	f->start = (number_of(r, 4) - ADMISSION_EPOCH_S) * 1e6;
	f->dispatchers = (int)fmax(1, number_of(r, 5));
	f->overrun = number_of(r, 6) >= OVERRUN_MIN ? number_of(r, 7) : 0;
	f->policy = p->policy;
	PQclear(r);
	return EXIT_DONE;
}

/* NULL: no quiet hours, or a zone that this host does not know. */
static const struct zone *
zone_of(const struct planning *p, const struct share *s)
{
	struct err err = { 0 };

	return s->time_zone[0] != '\0' ? policy_zone_named(p->policy, s->time_zone, &err) : NULL;
}

static int
play(struct planning *p)
{
	struct run_forecast *f = &p->forecast;
	struct forecast_list others = { .name = FORECAST_OTHERS, .group = PROVIDERS_NONE };
	struct err err = { 0 };

	f->lists = calloc(p->share_count + 1, sizeof(*f->lists));
	if (f->lists == NULL)
		return cli_fail(p->cli, EXIT_FAILED, "no memory");
	for (size_t i = 0; i < p->share_count; i++) {
		const struct share *s = &p->shares[i];

		if (s->paced)
			f->lists[f->count++] = (struct forecast_list){ .name = s->name,
				.group = s->group,
				.count = s->count,
				.zone = zone_of(p, s),
				.capped = !s->tail && policy_cap_per_s(p->policy, s->group) > 0 };
		else
			others.count += s->count;
	}
	if (others.count > 0)
		f->lists[f->count++] = others;
	f->spread_s = p->source.file.spread_s;
	if (p->run.id == 0) {
		f->canary = p->source.file.canary;
		f->canary_wait_s = p->source.file.canary_wait_s;
	}
	f->quiet_from = p->source.file.quiet_from;
	f->quiet_till = p->source.file.quiet_till;
	if (run_forecast_make(f, &err) < 0)
		return cli_fail(p->cli, EXIT_FAILED, "%s", err.msg);
	return EXIT_DONE;
}

/* The list that a provider's recipients wait in. */
static const struct forecast_list *
list_of(const struct planning *p, const struct share *s)
{
	const struct run_forecast *f = &p->forecast;

	for (size_t i = 0; s->paced && i < f->count; i++)
		if (f->lists[i].name == s->name)
			return &f->lists[i];
	return &f->lists[f->count - 1]; /* all others */
}

/* A list's peak is divided as its recipients are. */
static double
peak_of(const struct planning *p, const struct share *s)
{
	const struct forecast_list *l = list_of(p, s);

	return l->count > 0 ? l->peak_per_min * (double)s->count / (double)l->count : 0;
}

/* ---------------------------------------------------------------- print */

static double
cost_usd(const struct planning *p)
{
	return (double)p->recipients / 1000 * strtod(p->cli->config.ses_price_per_1000, NULL);
}

static const char *
time_text(double at, char *dst, size_t size)
{
	time_t t = (time_t)(at / 1e6) + ADMISSION_EPOCH_S;
	struct tm utc;

	(void)gmtime_r(&t, &utc);
	(void)strftime(dst, size, "%Y-%m-%dT%H:%M:%SZ", &utc);
	return dst;
}

static const char *
p90_basis(const struct planning *p)
{
	return p->forecast.overrun > 0 ? "earlier runs" : "a dispatcher is away for 60 s";
}

static json_t *
share_json(const struct planning *p, const struct share *s)
{
	const struct run_forecast *f = &p->forecast;
	json_t *o = json_pack("{s:s, s:s, s:I, s:s, s:b, s:f}", "name", s->name, "provider",
	    providers_group(policy_providers(p->policy), s->group)->name, "recipients",
	    (json_int_t)s->count, "guard", guard_name(policy_guard(p->policy, s->group)),
	    "own_list", s->paced, "limit_per_s",
	    s->tail ? 0.0 : policy_cap_per_s(p->policy, s->group));
	char text[40];

	if (s->by_mx > 0)
		(void)json_object_set_new(o, "by_mx", json_integer((json_int_t)s->by_mx));
	if (s->time_zone[0] != '\0')
		(void)json_object_set_new(o, "time_zone", json_string(s->time_zone));
	if (!f->known)
		return o;
	(void)json_object_set_new(o, "peak_per_min", json_real(round(peak_of(p, s) * 10) / 10));
	(void)json_object_set_new(o, "binding", json_string(list_of(p, s)->binding));
	(void)json_object_set_new(
	    o, "finish", json_string(time_text(list_of(p, s)->end, text, sizeof(text))));
	return o;
}

/* Somebody is held back by it. */
static bool
has_canary(const struct planning *p)
{
	return p->forecast.canary > 0 && p->forecast.canary < (double)p->recipients;
}

static json_t *
chart_json(const struct run_forecast *f)
{
	json_t *chart = json_array();
	char text[40];

	for (size_t i = 0; i < f->bucket_count; i++)
		(void)json_array_append_new(chart,
		    json_pack("{s:s, s:I, s:f}", "at",
			time_text(f->buckets[i].at, text, sizeof(text)), "messages",
			(json_int_t)f->buckets[i].messages, "guard_closed_s",
			round(f->buckets[i].closed_s)));
	return chart;
}

static void
print_json(const struct planning *p)
{
	const struct run_forecast *f = &p->forecast;
	char start[40], p50[40], p90[40];
	json_t *providers = json_array();
	json_t *o = json_pack("{s:s, s:s, s:I, s:I, s:O, s:s, s:f, s:b}", "campaign",
	    p->source.file.name, "start", time_text(f->start, start, sizeof(start)), "audience",
	    (json_int_t)p->audience, "recipients", (json_int_t)p->recipients, "excluded",
	    p->excluded, "rate_from", forecast_basis_name(f->basis), "rate_per_s", f->per_s,
	    "known", f->known);

	for (size_t i = 0; i < p->share_count; i++)
		(void)json_array_append_new(providers, share_json(p, &p->shares[i]));
	(void)json_object_set_new(o, "providers", providers);
	if (json_array_size(p->routes) > 0)
		(void)json_object_set(o, "routes", p->routes);
	if (p->run.id != 0)
		(void)json_object_set_new(o, "run_key", json_string(p->run.key));
	if (f->known) {
		json_t *more = json_pack("{s:s, s:s, s:s, s:f}", "finish_p50",
		    time_text(f->p50, p50, sizeof(p50)), "finish_p90",
		    time_text(f->p90, p90, sizeof(p90)), "p90_from", p90_basis(p), "peak_per_min",
		    f->peak_per_min);

		if (p->source.file.spread_s > 0)
			(void)json_object_set_new(o, "spread_s", json_real(f->spread_s));
		(void)json_object_update(o, more);
		json_decref(more);
		(void)json_object_set_new(o, "chart", chart_json(f));
	}
	if (has_canary(p))
		(void)json_object_set_new(o, "canary",
		    json_pack("{s:f, s:f, s:s*}", "recipients", f->canary, "wait_s",
			f->canary_wait_s, "others_begin",
			f->known ? time_text(f->others, start, sizeof(start)) : NULL));
	(void)json_object_set_new(o, "cost",
	    json_pack("{s:f, s:f, s:s}", "usd", cost_usd(p), "usd_per_1000",
		strtod(p->cli->config.ses_price_per_1000, NULL), "price_date",
		p->cli->config.ses_price_date));
	if (p->has_account)
		(void)json_object_set_new(o, "quota",
		    json_pack("{s:f, s:f, s:f}", "max_24h", p->account.max_24h, "sent_24h",
			p->account.sent_24h, "max_rate", p->account.max_rate));
	if (p->pool.quota.limit > 0)
		(void)json_object_set_new(o, "quota_24h", pool_quota_json(&p->pool));
	cli_print_json(o);
}

static int
by_count(const void *a, const void *b)
{
	const struct share *x = a, *y = b;

	return x->count != y->count ? (x->count < y->count) - (x->count > y->count)
				    : strcmp(x->name, y->name);
}

static void
print_providers(const struct planning *p)
{
	char n[32], peak[32];

	printf("\n%-24s %12s %-7s %9s %9s  %s\n", "provider", "recipients", "guard", "limit/s",
	    "peak/min", "held by");
	for (size_t i = 0; i < p->share_count && i < PROVIDERS_SHOWN; i++) {
		const struct share *s = &p->shares[i];
		double cap = s->tail ? 0 : policy_cap_per_s(p->policy, s->group);
		char limit[24] = "-", name[PROVIDERS_NAME_MAX + 256];

		if (cap > 0)
			(void)snprintf(limit, sizeof(limit), "%.2f", cap);
		(void)snprintf(
		    name, sizeof(name), "%s%s%s", s->name, *s->time_zone ? " " : "", s->time_zone);
		printf("%-24.24s %12s %-7s %9s %9s  %s", name, cli_number((int64_t)s->count, n),
		    guard_name(policy_guard(p->policy, s->group)), limit,
		    p->forecast.known ? cli_number((int64_t)ceil(peak_of(p, s)), peak) : "?",
		    p->forecast.known ? list_of(p, s)->binding : "?");
		if (s->by_mx > 0)
			printf(" (%s by MX)", cli_number((int64_t)s->by_mx, n));
		putchar('\n');
	}
	if (p->share_count > PROVIDERS_SHOWN)
		printf("and %zu more (--json has all)\n", p->share_count - PROVIDERS_SHOWN);
}

/* Messages in each quarter of an hour, and how long the guard closes it. */
static void
print_chart(const struct run_forecast *f)
{
	uint64_t peak = 1;
	char when[40], n[32];

	for (size_t i = 0; i < f->bucket_count; i++)
		peak = f->buckets[i].messages > peak ? f->buckets[i].messages : peak;
	puts("\nMessages in 15 minutes (UTC)");
	for (size_t i = 0; i < f->bucket_count && i < CHART_ROWS; i++) {
		const struct forecast_bucket *b = &f->buckets[i];
		int cells = (int)((double)b->messages / (double)peak * CHART_CELLS + 0.5);

		(void)time_text(b->at, when, sizeof(when));
		printf("  %.10s %.5s  ", when, when + 11);
		for (int c = 0; c < cells; c++)
			putchar('#');
		printf(" %s", cli_number((int64_t)b->messages, n));
		if (b->closed_s >= 1)
			printf("  (guard closed %.0f min)", ceil(b->closed_s / 60));
		putchar('\n');
	}
	if (f->bucket_count > CHART_ROWS)
		printf("and %zu more lines (--json has all)\n", f->bucket_count - CHART_ROWS);
}

static void
print_finish(const struct planning *p)
{
	const struct run_forecast *f = &p->forecast;
	char a[40], n[32];

	if (!f->known) {
		puts(
		    "finish      unknown: stream and account have no rate, and nothing was sent in "
		    "30 days\n            to learn from; set a rate with kairan pace set");
		return;
	}
	printf("finish      %s (P50)\n", time_text(f->p50, a, sizeof(a)));
	printf("            %s (P90: %s)\n", time_text(f->p90, a, sizeof(a)), p90_basis(p));
	if (f->spread_s > 0)
		printf("spread      evenly over %.0f minutes\n", f->spread_s / 60);
	else if (p->source.file.spread_s > 0)
		printf("spread      NOT POSSIBLE over %d minutes: its limits need longer\n",
		    (int)p->source.file.spread_s / 60);
	printf("peak        %s a minute\n", cli_number((int64_t)f->peak_per_min, n));
	switch (f->basis) {
	case FORECAST_STREAM:
		printf("rate        %.2f/s, of the stream\n", f->per_s);
		break;
	case FORECAST_ACCOUNT:
		printf("rate        %.2f/s, of the account\n", f->per_s);
		break;
	case FORECAST_SEEN:
		printf(
		    "rate        no limit; reckoned with %.2f/s, the fastest minute of 30 days\n",
		    f->per_s);
		break;
	case FORECAST_NONE:
		puts("rate        no limit but those of providers");
		break;
	}
	if (f->quiet_from != f->quiet_till)
		printf("quiet       %02d:%02d to %02d:%02d in the recipients' time zones\n",
		    f->quiet_from / 60, f->quiet_from % 60, f->quiet_till / 60, f->quiet_till % 60);
	if (f->rates.of_account > 0)
		printf("            shared with %.0f other runs under way\n", f->rates.of_account);
}

static void
print_canary(const struct planning *p)
{
	const struct run_forecast *f = &p->forecast;
	char a[40], n[32];

	if (!has_canary(p))
		return;
	printf("canary      %s recipients first, then %g minutes of waiting\n",
	    cli_number((int64_t)f->canary, n), f->canary_wait_s / 60);
	if (f->known)
		printf("            if they fare well the others begin at %s\n",
		    time_text(f->others, a, sizeof(a)));
}

static void
print_text(const struct planning *p)
{
	char a[40], n[32];
	const char *rule;
	json_t *count;

	printf("campaign    %s\n", p->source.file.name);
	if (p->run.id != 0) {
		fputs("run         ", stdout);
		cli_put_text(stdout, p->run.key);
		putchar('\n');
	}
	printf("start       %s\n", time_text(p->forecast.start, a, sizeof(a)));
	print_finish(p);
	print_canary(p);
	printf("cost        %.2f USD at %s USD for 1,000 (Amazon SES, %s)\n", cost_usd(p),
	    p->cli->config.ses_price_per_1000, p->cli->config.ses_price_date);
	if (p->has_account && p->account.max_24h >= 0)
		printf("quota       %.0f left of %.0f in 24 hours\n",
		    p->account.max_24h - p->account.sent_24h, p->account.max_24h);
	if (p->pool.quota.limit > 0) {
		json_t *quota = pool_quota_json(&p->pool);

		pool_print_quota("quota       ", quota);
		json_decref(quota);
	}
	printf("\n%15s  in the segment\n", cli_number(p->audience, n));
	json_object_foreach(p->excluded, rule, count)
	    printf("%15s  left out: %s\n", cli_number(json_integer_value(count), n), rule);
	printf("%15s  recipients%s\n", cli_number(p->recipients, n),
	    p->run.id != 0 ? " left to send to" : "");
	route_text_print("by route    ", p->routes);
	print_providers(p);
	if (p->forecast.known)
		print_chart(&p->forecast);
}

/* ---------------------------------------------------------------- command */

static void
planning_release(struct planning *p)
{
	run_forecast_release(&p->forecast);
	free(p->forecast.lists);
	for (size_t i = 0; i < p->share_count; i++)
		free(p->shares[i].name);
	free(p->shares);
	json_decref(p->excluded);
	json_decref(p->routes);
	campaign_count_release(&p->count);
	policy_free(p->policy);
	if (p->in_file)
		campaign_source_release(&p->source);
	else
		arena_release(&p->source.arena);
	db_close(&p->db);
}

/* Limits of providers in this plan that a lower one keeps from being reached. */
static void
warn_limits(const struct planning *p)
{
	bool groups[PROVIDERS_GROUPS_MAX] = { false };
	struct pace_limits limits = { .policy = p->policy,
		.groups = groups,
		.stream_per_s = p->forecast.rates.stream_per_s,
		.stream = "its stream" };

	for (size_t i = 0; i < p->share_count; i++)
		groups[p->shares[i].group] = true;
	pace_limits_warn(&limits);
}

static int
make_plan(struct planning *p, const char *what, const char *key, bool ask_ses)
{
	struct aws_endpoint endpoint;
	struct err err = { 0 };
	int code = load_campaign(p, what);

	if (code == EXIT_DONE && key != NULL)
		code = campaign_find_run(p->cli, &p->db, p->source.file.name, key, NULL, &p->run);
	if (code == EXIT_DONE && p->run.id != 0 && !p->run.sealed)
		code = cli_fail(p->cli, EXIT_NOTHING, "run \"%s\" is not planned yet", p->run.key);
	if (code != EXIT_DONE)
		return code;
	p->policy = policy_new(&p->cli->config, &err);
	if (p->policy == NULL)
		return cli_fail(p->cli, EXIT_USAGE, "%s", err.msg);
	if (pool_read(&p->pool, &p->cli->config, p->policy, &err) < 0)
		fprintf(stderr, "kairan: without the quota: %s\n", err.msg);
	p->forecast.quota = &p->pool.quota;
	if (settings_read(&p->db, p->policy) < 0)
		return cli_db_failed(p->cli, &p->db, "reading what was set");
	if (p->start == NULL && p->run.id == 0 && p->source.file.start != NULL &&
	    p->source.file.start[0] != '\0')
		p->start = p->source.file.start;
	code = read_circumstances(p);
	if (code == EXIT_DONE)
		code = p->run.id != 0 ? count_run(p) : count_audience(p);
	if (code == EXIT_DONE && p->run.id != 0)
		code = read_canary(p);
	if (code != EXIT_DONE)
		return code;
	if (p->share_count > 1)
		qsort(p->shares, p->share_count, sizeof(*p->shares), by_count);
	if (ask_ses && (code = ses_ask_account(p->cli, &p->account, &endpoint)) != EXIT_DONE)
		return code;
	p->has_account = ask_ses;
	warn_limits(p);
	return play(p);
}

int
campaign_plan(struct cli *cli, int argc, char **argv)
{
	const char *key = NULL, *at = NULL;
	bool ask_ses = false;
	const struct cli_option options[] = {
		{ .name = "run-key", .value_name = "KEY", .value = &key },
		{ .name = "at", .value_name = "TIME", .value = &at },
		{ .name = "ses", .flag = &ask_ses },
		{ 0 },
	};
	struct planning p = { .cli = cli };
	struct err err = { 0 };
	int code;

	argc = cli_options(cli, options, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc != 1)
		return cli_fail(cli, EXIT_USAGE, "campaign plan takes one file or one name");
	if (at != NULL && campaign_time_ok(slice_str(at), &err) < 0)
		return cli_fail(cli, EXIT_USAGE, "--at: %s", err.msg);
	code = cli_open_db(cli, &p.db);
	if (code != EXIT_DONE)
		return code;
	p.start = at;
	p.excluded = json_object();
	code = make_plan(&p, argv[0], key, ask_ses);
	if (code == EXIT_DONE && cli->json)
		print_json(&p);
	else if (code == EXIT_DONE)
		print_text(&p);
	planning_release(&p);
	return code;
}
