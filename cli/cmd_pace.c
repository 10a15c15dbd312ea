/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_pace: `kairan pace show|set`: what paces sending now, and changing it while it runs. */
#include "cli.h"

#include <endian.h>
#include <hiredis/hiredis.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "brake_text.h"
#include "campaign_pace.h"
#include "embed.h"
#include "keys.h"
#include "pace_limits.h"
#include "pool.h"
#include "rate.h"
#include "rds.h"
#include "settings.h"
#include "source_limits.h"
#include "warmup.h"

#define WARMUP "warmup"
#define CALENDAR_ROW 24	  /* bytes: from, till, interval, each a double of eight */
#define AS_FILE "default" /* what takes a setting back */

/* ---------------------------------------------------------------- show */

struct showing {
	struct cli *cli;
	struct db db;
	struct policy *policy;
	json_t *out;
};

/* Of eight bytes, the least first. */
static double
read_double(const char *bytes)
{
	uint64_t bits;
	double value;

	memcpy(&bits, bytes, sizeof(bits));
	bits = le64toh(bits);
	memcpy(&value, &bits, sizeof(value));
	return value;
}

/* The row of a calendar (packed as plan.lua does) that holds now: messages a second, 0 closed;
 * *until: its end, us. */
static double
rate_now(struct slice calendar, double now, double *until)
{
	const char *mark = calendar.len > 0 ? memchr(calendar.ptr, '=', calendar.len) : NULL;
	size_t at = mark != NULL ? (size_t)(mark - calendar.ptr) + 1 : calendar.len;

	*until = 0;
	for (; calendar.len - at >= CALENDAR_ROW; at += CALENDAR_ROW) {
		double from = read_double(calendar.ptr + at);
		double till = read_double(calendar.ptr + at + 8);
		double interval = read_double(calendar.ptr + at + 16);

		if (till > now) {
			*until = from > now ? from : till;
			return from > now || interval <= 0 ? 0 : 1e6 / interval;
		}
	}
	return 0;
}

/* Run, stream, and lane behind the field of a list: "l:12.3". */
static void
name_list(const json_t *names, const char *field, json_t *o)
{
	const json_t *n = json_object_get(names, field);
	const char *dot = strchr(field, '.');

	if (n != NULL)
		(void)json_object_set_new(o, "list", json_copy((json_t *)(uintptr_t)n));
	else if (strncmp(field, "l:", 2) == 0 && dot != NULL)
		(void)json_object_set_new(o, "list",
		    json_pack("{s:i, s:s}", "run", atoi(field + 2), "lane",
			strcmp(dot, ".0") == 0 ? "all others" : dot + 1));
}

static int
compare_fields(const void *a, const void *b)
{
	const redisReply *const *x = a, *const *y = b;

	return strcmp((*x)->str, (*y)->str);
}

/* Calendars in force. Redis keeps them by field; a name of a list means more. */
static void
add_calendars(struct showing *s, const redisReply *reply, const json_t *names, double now)
{
	json_t *list = json_array();
	size_t n = reply->elements / 2;
	redisReply **pairs = calloc(n + 1, 2 * sizeof(*pairs));

	for (size_t i = 0; pairs != NULL && i < 2 * n; i++)
		pairs[i] = reply->element[i];
	if (pairs != NULL)
		qsort(pairs, n, 2 * sizeof(*pairs), compare_fields);
	for (size_t i = 0; pairs != NULL && i < n; i++) {
		const char *field = pairs[2 * i]->str;
		const redisReply *value = pairs[2 * i + 1];
		double until, per_s;
		json_t *o;

		if (strcmp(field, "#") == 0) {
			(void)json_object_set_new(
			    s->out, "generation", json_integer(atoll(value->str)));
			continue;
		}
		per_s = rate_now(slice_make(value->str, value->len), now, &until);
		o = json_pack("{s:s, s:f, s:f}", "name", field, "per_s", round(per_s * 1e3) / 1e3,
		    "for_s", until > now ? round((until - now) / 1e5) / 10 : 0.0);
		name_list(names, field, o);
		(void)json_array_append_new(list, o);
	}
	free(pairs);
	(void)json_object_set_new(s->out, "calendars", list);
}

/* "l:RUN.LANE" -> names, for lists of runs under way. */
static json_t *
read_names(struct showing *s)
{
	PGresult *r = db_query(&s->db,
	    "SELECT coalesce(json_object_agg('l:' || l.run_id || '.' || l.lane, "
	    "json_build_object('run', l.run_id, 'lane', l.name)), '{}') FROM kairan.run_lane l "
	    "JOIN kairan.run r ON r.id = l.run_id AND r.state = 'running' WHERE l.paced",
	    0, NULL);
	json_t *names = r != NULL ? json_loads(db_text(r, 0, 0), 0, NULL) : NULL;

	PQclear(r);
	return names;
}

static int
show_redis(struct showing *s)
{
	struct rds_address address;
	struct err err = { 0 };
	redisContext *redis;
	redisReply *reply = NULL;
	json_t *names;
	double now;

	if (rds_address_parse(&address, s->cli->config.redis_url, &err) < 0)
		return cli_fail(s->cli, EXIT_USAGE, "%s", err.msg);
	redis = rds_open(&address, &err);
	if (redis != NULL)
		reply = redisCommand(redis, "HGETALL " KEY_PACE, POLICY_POOL);
	if (reply != NULL && rds_time(redis, &now, &err) < 0) {
		(void)json_object_set_new(s->out, "redis", json_string(err.msg));
	} else if (reply == NULL || reply->type != REDIS_REPLY_ARRAY) {
		(void)json_object_set_new(
		    s->out, "redis", json_string(redis != NULL ? redis->errstr : err.msg));
	} else {
		names = read_names(s);
		add_calendars(s, reply, names, now);
		json_decref(names);
	}
	freeReplyObject(reply);
	if (redis != NULL)
		redisFree(redis);
	return EXIT_DONE;
}

/* A query with one JSON value, as a member. */
static int
add_query(struct showing *s, const char *name, const char *sql)
{
	PGresult *r = db_query(&s->db, sql, 0, NULL);

	if (r == NULL)
		return cli_db_failed(s->cli, &s->db, "reading the pace");
	(void)json_object_set_new(
	    s->out, name, json_loads(db_text(r, 0, 0), JSON_DECODE_ANY, NULL));
	PQclear(r);
	return EXIT_DONE;
}

static int
show_database(struct showing *s)
{
	const char *const queries[][2] = {
		{ "streams",
		    "SELECT json_agg(json_build_object('stream', name, 'kind', kind, 'rate_per_s', "
		    "rate_per_s) "
		    "ORDER BY "
		    "name) FROM kairan.stream" },
		{ "set",
		    "SELECT coalesce(json_agg(json_build_object('name', name, 'value', value, "
		    "'by', set_by, "
		    "'at', set_at) ORDER BY name), '[]') FROM kairan.pace_setting" },
		{ "warmup",
		    "SELECT coalesce((SELECT json_build_object('schedule', schedule, 'day', day, "
		    "'day_began', day_began, 'held', held) FROM kairan.warmup), 'null')" },
		{ "leader",
		    "SELECT coalesce((SELECT json_build_object('holder', holder, 'epoch', epoch, "
		    "'valid', "
		    "expires_at > now()) FROM kairan.lease WHERE name = 'producer'), 'null')" },
		{ "brakes", brake_text_sql },
		{ "lanes_paused", lane_text_sql },
		/* a minute of tally is whole when it is over */
		{ "attempts_last_minute",
		    "SELECT coalesce(sum(attempts), 0)::text FROM kairan.tally WHERE owner > 0 AND "
		    "minute = "
		    "date_trunc('minute', now()) - interval '1 minute'" },
	};
	int code = EXIT_DONE;

	for (size_t i = 0; code == EXIT_DONE && i < sizeof(queries) / sizeof(queries[0]); i++)
		code = add_query(s, queries[i][0], queries[i][1]);
	return code;
}

static void
show_policy(struct showing *s)
{
	const struct providers *table = policy_providers(s->policy);
	json_t *groups = json_array();
	int strict = providers_find(table, SLICE("docomo"));

	for (size_t g = 0; g < providers_count(table); g++) {
		double cap = policy_cap_per_s(s->policy, (int)g);

		if (cap > 0)
			(void)json_array_append_new(groups,
			    json_pack("{s:s, s:f}", "provider",
				providers_group(table, (int)g)->name, "limit_per_s", cap));
		if (strict == PROVIDERS_NONE &&
		    providers_group(table, (int)g)->guard == GUARD_STRICT)
			strict = (int)g;
	}
	(void)json_object_set_new(
	    s->out, "account_per_s", json_real(policy_account_per_s(s->policy)));
	(void)json_object_set_new(s->out, "providers", groups);
	(void)json_object_set_new(s->out, "strict_guard",
	    json_boolean(strict != PROVIDERS_NONE && policy_guard(s->policy, strict) != GUARD_OFF));
}

/* What our own addresses may send, by this host's configuration. */
static void
add_sources(struct showing *s)
{
	const struct config *c = &s->cli->config;
	struct slice table = slice_str(embed_common_data_warmup_tsv);
	struct source_limits limits;
	struct err err = { 0 };
	json_t *list = json_array();

	if (source_limits_parse(&limits, c->mx_source_rates, table, &err) < 0) {
		fprintf(stderr, "kairan: %s\n", err.msg);
		limits.count = 0;
	}
	for (size_t i = 0; i < limits.count; i++) {
		double per_s = source_limit_rate(&limits.list[i], table, time(NULL));
		json_t *o = json_pack("{s:s}", "address", limits.list[i].address);

		if (per_s > 0)
			(void)json_object_set_new(o, "per_s", json_real(per_s));
		if (limits.list[i].schedule[0] != '\0')
			(void)json_object_set_new(
			    o, "schedule", json_string(limits.list[i].schedule));
		if (c->mx_connections_per_source > 0)
			(void)json_object_set_new(
			    o, "connections", json_integer(c->mx_connections_per_source));
		(void)json_array_append_new(list, o);
	}
	(void)json_object_set_new(s->out, "sources", list);
}

/* What is left of the quota, and what SES said. Without Redis nothing is known. */
static void
add_pool(struct showing *s)
{
	struct pool pool;
	struct err err = { 0 };

	if (pool_read(&pool, &s->cli->config, s->policy, &err) < 0)
		return;
	if (pool.quota.limit > 0)
		(void)json_object_set_new(s->out, "quota", pool_quota_json(&pool));
	if (pool.account.at > 0)
		(void)json_object_set_new(s->out, "ses",
		    json_pack("{s:f, s:f, s:f, s:f}", "max_rate", pool.account.max_rate, "max_24h",
			pool.account.max_24h, "sent_24h", pool.account.sent_24h, "at",
			pool.account.at));
}

/* How far the route is, what it may send to, and what comes next or holds it. */
static void
print_warmup(const json_t *w)
{
	struct slice table = slice_str(embed_common_data_warmup_tsv);
	const char *schedule = json_string_value(json_object_get(w, "schedule"));
	const char *held = json_string_value(json_object_get(w, "held"));
	int day = (int)json_integer_value(json_object_get(w, "day")), next;
	uint64_t limit;
	struct err err = { 0 };

	if (schedule == NULL)
		return;
	if (warmup_limit(table, schedule, day, &limit, &err) < 0) {
		printf("warm-up     %s: %s\n", schedule, err.msg);
		return;
	}
	printf("warm-up     %s, day %d: ", schedule, day);
	if (limit > 0)
		printf("%llu recipients in 24 hours", (unsigned long long)limit);
	else
		fputs("warm, no limit", stdout);
	next = warmup_next_day(table, schedule, day);
	if (held != NULL && held[0] != '\0')
		printf("; HELD: %s", held);
	else if (next > 0 && warmup_limit(table, schedule, next, &limit, &err) == 0)
		printf("; more on day %d", next);
	putchar('\n');
}

static void
print_calendars(const json_t *calendars)
{
	size_t i;
	json_t *x;

	json_array_foreach(calendars, i, x)
	{
		const json_t *list = json_object_get(x, "list");
		double per_s = json_number_value(json_object_get(x, "per_s"));

		printf("%-12s%s", i == 0 ? "in force" : "",
		    json_string_value(json_object_get(x, "name")));
		if (list != NULL)
			printf(" (run %lld, %s)",
			    (long long)json_integer_value(json_object_get(list, "run")),
			    json_string_value(json_object_get(list, "lane")));
		if (per_s >= RATE_MAX)
			fputs(" open", stdout);
		else if (per_s > 0)
			printf(" %g/s", per_s);
		else
			fputs(" closed", stdout);
		printf(", for %g s\n", json_number_value(json_object_get(x, "for_s")));
	}
}

/* What streams and providers are limited to. */
static void
print_limits(const json_t *o)
{
	size_t i;
	json_t *x;

	json_array_foreach(json_object_get(o, "streams"), i, x)
	{
		const json_t *rate = json_object_get(x, "rate_per_s");

		printf("stream      %s, %s, ", json_string_value(json_object_get(x, "stream")),
		    json_string_value(json_object_get(x, "kind")));
		if (json_is_number(rate))
			printf("%g/s\n", json_number_value(rate));
		else
			puts("no limit");
	}
	json_array_foreach(json_object_get(o, "providers"), i, x)
	    printf("limit       %s %g/s\n", json_string_value(json_object_get(x, "provider")),
		json_number_value(json_object_get(x, "limit_per_s")));
}

static void
print_sources(const json_t *sources)
{
	size_t i;
	json_t *x;

	json_array_foreach(sources, i, x)
	{
		const json_t *rate = json_object_get(x, "per_s");
		const char *schedule = json_string_value(json_object_get(x, "schedule"));

		printf("source      %s ", json_string_value(json_object_get(x, "address")));
		if (json_is_number(rate))
			printf("%g/s", json_number_value(rate));
		else
			printf("no rate");
		if (schedule != NULL)
			printf(", warm-up %s", schedule);
		if (json_object_get(x, "connections") != NULL)
			printf(", at most %lld connections",
			    (long long)json_integer_value(json_object_get(x, "connections")));
		puts("");
	}
}

static void
print_show(const json_t *o)
{
	const json_t *leader = json_object_get(o, "leader");
	double account = json_number_value(json_object_get(o, "account_per_s"));
	size_t i;
	json_t *x;

	if (json_is_object(leader))
		printf("leader      %s, epoch %lld%s\n",
		    json_string_value(json_object_get(leader, "holder")),
		    (long long)json_integer_value(json_object_get(leader, "epoch")),
		    json_is_true(json_object_get(leader, "valid")) ? "" : ": NOT VALID ANY MORE");
	else
		puts("leader      none: no producer has run");
	if (json_object_get(o, "redis") != NULL)
		printf("calendars   unknown, Redis: %s\n",
		    json_string_value(json_object_get(o, "redis")));
	else if (json_object_get(o, "generation") != NULL)
		printf("calendars   of epoch %lld\n",
		    (long long)json_integer_value(json_object_get(o, "generation")));
	else
		puts("calendars   none");
	printf("last minute %lld attempts\n",
	    (long long)json_integer_value(json_object_get(o, "attempts_last_minute")));
	printf("guard       %s\n",
	    json_is_true(json_object_get(o, "strict_guard")) ? "on for strict providers" : "off");
	if (account > 0)
		printf("account     %g/s\n", account);
	else
		puts("account     no limit");
	print_warmup(json_object_get(o, "warmup"));
	pool_print_quota("quota       ", json_object_get(o, "quota"));
	print_limits(o);
	print_sources(json_object_get(o, "sources"));
	json_array_foreach(json_object_get(o, "brakes"), i, x)
	{
		printf("braked      %s: ", json_string_value(json_object_get(x, "name")));
		brake_text_print(x);
	}
	json_array_foreach(json_object_get(o, "lanes_paused"), i, x)
	{
		const char *kind = lane_text_kind(x);

		printf("paused      %s", strcmp(kind, "origin") == 0 ? "origin " : "");
		cli_put_text(stdout, json_string_value(json_object_get(x, kind)));
		lane_text_print(x, "            ");
	}
	json_array_foreach(json_object_get(o, "set"), i, x) printf(
	    "set         %s = %s by %s at %.19s\n", json_string_value(json_object_get(x, "name")),
	    json_string_value(json_object_get(x, "value")),
	    json_string_value(json_object_get(x, "by")),
	    json_string_value(json_object_get(x, "at")));
	campaign_print_waits("waits       ", json_object_get(o, "waits"));
	print_calendars(json_object_get(o, "calendars"));
}

static int
run_show(struct cli *cli, int argc, char **argv)
{
	struct showing s = { .cli = cli };
	struct err err = { 0 };
	json_t *waits;
	int code;

	argc = cli_options(cli, NULL, argc, argv);
	if (argc != 0)
		return argc < 0 ? EXIT_USAGE
				: cli_fail(cli, EXIT_USAGE, "pace show takes no argument");
	code = cli_open_db(cli, &s.db);
	if (code != EXIT_DONE)
		return code;
	s.out = json_object();
	s.policy = policy_new(&cli->config, &err);
	if (s.policy == NULL)
		code = cli_fail(cli, EXIT_USAGE, "%s", err.msg);
	else if (settings_read(&s.db, s.policy) < 0)
		code = cli_db_failed(cli, &s.db, "reading what was set");
	else if ((code = show_database(&s)) == EXIT_DONE && (code = show_redis(&s)) == EXIT_DONE) {
		add_pool(&s);
		add_sources(&s);
		show_policy(&s);
		waits = campaign_waits(cli, &s.db, &(struct campaign_moment){ 0 }, &err);
		if (waits != NULL)
			(void)json_object_set_new(s.out, "waits", waits);
		if (!cli->json)
			print_show(s.out);
		else
			cli_print_json(json_incref(s.out));
	}
	json_decref(s.out);
	policy_free(s.policy);
	db_close(&s.db);
	return code;
}

/* ---------------------------------------------------------------- set */

struct change {
	const char *name;	   /* of pace_setting; of a stream when `stream` */
	const char *value;	   /* AS_FILE: taken back */
	const char *stream_column; /* NULL: a setting */
	bool restart;		   /* of a warm-up that is under way */
};

/* A setting that is in force is taken back even when its group has left the table. */
static bool
is_stored(struct db *db, const char *name)
{
	PGresult *r = db_query(db, "SELECT FROM kairan.pace_setting WHERE name = $1", 1, &name);
	bool found = r != NULL && PQntuples(r) > 0;

	PQclear(r);
	return found;
}

/* A warm-up under way would begin again at its first day, with the route's quota of that day. */
static int
check_warmup(struct cli *cli, struct db *db, const struct change *c)
{
	struct err err = { 0 };
	int code = EXIT_DONE;
	uint64_t limit;
	PGresult *r;

	if (strcmp(c->value, "off") == 0)
		return EXIT_DONE;
	if (warmup_limit(slice_str(embed_common_data_warmup_tsv), c->value, 0, &limit, &err) < 0)
		return cli_fail(cli, EXIT_USAGE, "%s", err.msg);
	r = db_query(db, "SELECT schedule, day FROM kairan.warmup", 0, NULL);
	if (r == NULL)
		return cli_db_failed(cli, db, "looking at the warm-up");
	if (PQntuples(r) > 0 && !c->restart)
		code = cli_fail(cli, EXIT_USAGE,
		    "the warm-up %s is under way, day %s; --restart begins one at its first day",
		    db_text(r, 0, 0), db_text(r, 0, 1));
	PQclear(r);
	return code;
}

/* 0, or EXIT_USAGE after printing. Writes nothing. */
static int
check_change(struct cli *cli, struct db *db, struct policy *policy, const struct change *c)
{
	struct err err = { 0 };
	PGresult *r;
	double per_s;
	int rows;

	if (c->stream_column == NULL && strcmp(c->name, WARMUP) == 0)
		return check_warmup(cli, db, c);
	if (c->stream_column == NULL) {
		/* a group is looked up even when its rate is taken back */
		const char *probe = strcmp(c->name, POLICY_SET_GUARD) == 0 ? "off" : "1/s";
		bool back = strcmp(c->value, AS_FILE) == 0;

		if (policy_set(policy, c->name, back ? probe : c->value, &err) < 0 &&
		    !(back && is_stored(db, c->name)))
			return cli_fail(cli, EXIT_USAGE, "%s", err.msg);
		return EXIT_DONE;
	}
	if (strcmp(c->stream_column, "kind") == 0 && strcmp(c->value, "transactional") != 0 &&
	    strcmp(c->value, "triggered") != 0 && strcmp(c->value, "bulk") != 0)
		return cli_fail(cli, EXIT_USAGE,
		    "a stream is transactional, triggered or bulk, not '%s'", c->value);
	if (strcmp(c->stream_column, "kind") != 0 && strcmp(c->value, "none") != 0 &&
	    rate_parse(&per_s, slice_str(c->value), &err) < 0)
		return cli_fail(cli, EXIT_USAGE, "%s", err.msg);
	r = db_query(db, "SELECT FROM kairan.stream WHERE name = $1", 1, &c->name);
	if (r == NULL)
		return cli_db_failed(cli, db, "looking for the stream");
	rows = PQntuples(r);
	PQclear(r);
	return rows == 1 ? EXIT_DONE
			 : cli_fail(cli, EXIT_USAGE,
			       "there is no stream \"%s\"; kairan pace show lists them", c->name);
}

static int
write_change(struct db *db, const struct change *c)
{
	const char *params[] = { c->name, c->value };
	char rate[40];
	double per_s = 0;

	if (c->stream_column != NULL && strcmp(c->stream_column, "kind") == 0)
		return db_run(db, "UPDATE kairan.stream SET kind = $2 WHERE name = $1", 2, params);
	if (c->stream_column == NULL && strcmp(c->name, WARMUP) == 0)
		return strcmp(c->value, "off") == 0
		    ? db_run(db, "DELETE FROM kairan.warmup", 0, NULL)
		    : db_run(db,
			  "INSERT INTO kairan.warmup (schedule) VALUES ($1) ON CONFLICT (pool) DO "
			  "UPDATE SET schedule = excluded.schedule, day = 0, day_began = now(), "
			  "held = '', started_at = now(), started_by = session_user",
			  1, params + 1);
	if (c->stream_column == NULL && strcmp(c->value, AS_FILE) == 0)
		return db_run(db, "DELETE FROM kairan.pace_setting WHERE name = $1", 1, params);
	if (c->stream_column == NULL)
		return db_run(db,
		    "INSERT INTO kairan.pace_setting (name, value) VALUES ($1, $2) ON CONFLICT "
		    "(name) "
		    "DO UPDATE SET value = excluded.value, set_at = now(), set_by = session_user",
		    2, params);
	if (rate_parse(&per_s, slice_str(c->value), NULL) < 0)
		params[1] = NULL;
	(void)snprintf(rate, sizeof(rate), "%.17g", per_s);
	if (params[1] != NULL)
		params[1] = rate;
	return db_run(
	    db, "UPDATE kairan.stream SET rate_per_s = $2::float8 WHERE name = $1", 2, params);
}

/* Only what was asked for is weighed: rates. */
static bool
is_rate(const struct change *c)
{
	if (c->stream_column != NULL)
		return strcmp(c->stream_column, "rate_per_s") == 0;
	return strcmp(c->name, WARMUP) != 0 && strcmp(c->name, POLICY_SET_GUARD) != 0;
}

/* After a change of rates: a provider's limit that the account's rate, or that of all streams together,
 * keeps from being reached. What cannot be looked at is not told. */
static void
warn_limits(struct cli *cli, struct db *db)
{
	struct err err = { 0 };
	struct policy *policy = policy_new(&cli->config, &err);
	struct pace_limits limits = { .policy = policy, .stream = "all streams together" };
	struct pool pool;
	PGresult *r = NULL;

	if (policy != NULL && settings_read(db, policy) >= 0)
		r = db_query(db,
		    "SELECT CASE WHEN bool_and(rate_per_s IS NOT NULL) THEN sum(rate_per_s) ELSE 0 "
		    "END FROM kairan.stream",
		    0, NULL);
	if (r != NULL) {
		if (pool_read(&pool, &cli->config, policy, &err) < 0)
			err.msg[0] = '\0'; /* what SES allows is not known, then */
		limits.stream_per_s = strtod(db_text(r, 0, 0), NULL);
		pace_limits_warn(&limits);
	}
	PQclear(r);
	policy_free(policy);
}

/* All or none. */
static int
make_changes(struct cli *cli, struct db *db, const struct change *changes, size_t n)
{
	struct err err = { 0 };
	struct policy *policy = policy_new(&cli->config, &err);
	int code = policy != NULL ? EXIT_DONE : cli_fail(cli, EXIT_USAGE, "%s", err.msg);
	bool rates = false;

	for (size_t i = 0; code == EXIT_DONE && i < n; i++)
		code = check_change(cli, db, policy, &changes[i]);
	policy_free(policy);
	if (code != EXIT_DONE)
		return code;
	if (db_run(db, "BEGIN", 0, NULL) < 0)
		return cli_db_failed(cli, db, "setting the pace");
	for (size_t i = 0; i < n; i++)
		if (write_change(db, &changes[i]) < 0)
			return cli_db_failed(cli, db, "setting the pace");
	if (db_run(db, "COMMIT", 0, NULL) < 0)
		return cli_db_failed(cli, db, "setting the pace");
	for (size_t i = 0; i < n; i++) {
		cli_audit(db, "pace set", changes[i].name, changes[i].value);
		rates |= is_rate(&changes[i]);
	}
	if (rates)
		warn_limits(cli, db);
	return EXIT_DONE;
}

static int
run_set(struct cli *cli, int argc, char **argv)
{
	const char *stream = NULL, *rate = NULL, *account = NULL, *group = NULL, *limit = NULL,
		   *guard = NULL, *kind = NULL, *warmup = NULL;
	bool restart = false;
	const struct cli_option options[] = {
		{ .name = "stream", .value_name = "NAME", .value = &stream },
		{ .name = "rate", .value_name = "RATE", .value = &rate },
		{ .name = "kind", .value_name = "KIND", .value = &kind },
		{ .name = "account-rate", .value_name = "RATE", .value = &account },
		{ .name = "provider", .value_name = "NAME", .value = &group },
		{ .name = "limit", .value_name = "RATE", .value = &limit },
		{ .name = "guard", .value_name = "HOW", .value = &guard },
		{ .name = "warmup", .value_name = "SCHEDULE", .value = &warmup },
		{ .name = "restart", .flag = &restart },
		{ 0 },
	};
	char name[sizeof(POLICY_SET_GROUP) + PROVIDERS_NAME_MAX];
	struct change changes[6];
	struct db db;
	size_t n = 0;
	int code;

	argc = cli_options(cli, options, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc != 0 || (stream == NULL) != (rate == NULL && kind == NULL) ||
	    (group == NULL) != (limit == NULL) || (restart && warmup == NULL) ||
	    (stream == NULL && account == NULL && group == NULL && guard == NULL && warmup == NULL))
		return cli_fail(cli, EXIT_USAGE,
		    "say what: --stream NAME --rate RATE or --kind KIND, --account-rate RATE, "
		    "--provider NAME "
		    "--limit RATE, --guard strict|all|off, --warmup SCHEDULE|off [--restart]");
	if (group != NULL && strlen(group) >= PROVIDERS_NAME_MAX)
		return cli_fail(cli, EXIT_USAGE, "no provider has a name that long");
	(void)snprintf(name, sizeof(name), POLICY_SET_GROUP "%s", group != NULL ? group : "");
	if (rate != NULL)
		changes[n++] = (struct change){ stream, rate, "rate_per_s", false };
	if (kind != NULL)
		changes[n++] = (struct change){ stream, kind, "kind", false };
	if (account != NULL)
		changes[n++] = (struct change){ POLICY_SET_ACCOUNT, account, NULL, false };
	if (group != NULL)
		changes[n++] = (struct change){ name, limit, NULL, false };
	if (guard != NULL)
		changes[n++] = (struct change){ POLICY_SET_GUARD, guard, NULL, false };
	if (warmup != NULL)
		changes[n++] = (struct change){ WARMUP, warmup, NULL, restart };
	code = cli_open_db(cli, &db);
	if (code != EXIT_DONE)
		return code;
	code = make_changes(cli, &db, changes, n);
	db_close(&db);
	if (code == EXIT_DONE && cli->json)
		cli_print_json(json_pack("{s:I}", "set", (json_int_t)n));
	return code;
}

/* ---------------------------------------------------------------- release */

static int
run_release(struct cli *cli, int argc, char **argv)
{
	const char *params[1];
	struct db db;
	PGresult *r;
	int code, rows;

	argc = cli_options(cli, NULL, argc, argv);
	if (argc != 1)
		return argc < 0
		    ? EXIT_USAGE
		    : cli_fail(cli, EXIT_USAGE, "say which; kairan pace show lists what is braked");
	params[0] = argv[0];
	code = cli_open_db(cli, &db);
	if (code != EXIT_DONE)
		return code;
	r = db_query(&db,
	    "UPDATE kairan.brake SET release_by = session_user WHERE name = $1 RETURNING mode", 1,
	    params);
	rows = r != NULL ? PQntuples(r) : 0;
	if (r == NULL)
		code = cli_db_failed(cli, &db, "releasing");
	else if (rows == 0)
		code = cli_fail(cli, EXIT_NOTHING, "\"%s\" is not braked", argv[0]);
	else
		cli_audit(&db, "pace release", argv[0], db_text(r, 0, 0));
	if (code == EXIT_DONE && cli->json)
		cli_print_json(
		    json_pack("{s:s, s:s}", "released", argv[0], "was", db_text(r, 0, 0)));
	PQclear(r);
	db_close(&db);
	return code;
}

const struct cli_command cli_pace_commands[] = {
	{ "pace show", "", "limits, calendars in force, who waits, who leads",
	    "Example:\n"
	    "  kairan pace show\n",
	    true, run_show },
	{ "pace set", "OPTIONS", "change rates and the hour guard while runs go on",
	    "The producer that leads takes it up in its next round (producer.poll_ms), "
	    "dispatchers\n"
	    "within a second. Rates are written as 20/s, 600/min, 10000/h or 400/d.\n\n"
	    "Options:\n"
	    "  --stream NAME --rate RATE|none      the rate of a stream\n"
	    "  --stream NAME --kind KIND           transactional goes before triggered, that "
	    "before "
	    "bulk\n"
	    "  --account-rate RATE|default         of all streams together\n"
	    "  --provider NAME --limit RATE|default  of a provider, all streams together\n"
	    "  --guard strict|all|off|default      the hour guard\n"
	    "  --warmup growth|ip-30|ip-45|off     begin a warm-up of the route, from its first "
	    "day\n"
	    "  --restart                           when one is under way, too\n\n"
	    "default: as the configuration says.\n\n"
	    "Example:\n"
	    "  kairan pace set --provider softbank --limit 5/s\n",
	    true, run_set },
	{ "pace release", "NAME", "take off the brake of a provider, a site, or the account",
	    "What replies have slowed down, held or stopped goes at its full rate again when the\n"
	    "producer has taken it up (producer.poll_ms). Mend the cause first.\n\n"
	    "Exit code 6 when NAME is not braked.\n\n"
	    "Example:\n"
	    "  kairan pace release yahoo\n",
	    true, run_release },
	{ 0 },
};
