/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_status: `kairan status`: services, daemons, runs and reputation at a glance, once or
 * again and again. A service that is absent is part of the answer, not an end of the command;
 * the exit code is then EXIT_TEMPORARY. Nothing is changed anywhere.
 */
#include <curl/curl.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "brake_text.h"
#include "cli.h"
#include "rds.h"
#include "route_text.h"
#include "sparkline.h"

#define WATCH_DEFAULT_S 2
#define REPUTATION_EVERY_S 30 /* it counts every recipient of a week */
#define REPUTATION_TIMEOUT "3s"
#define BAR_CELLS 20
#define LAG_TOLD_S 5 /* of notices that wait for their commit */
#define MINUTES "60" /* of the rate that is drawn, at most SPARKLINE_MAX */
#define STYLE_BOLD "1"
#define STYLE_RED "31"
#define STYLE_GREEN "32"
#define STYLE_YELLOW "33"

static volatile sig_atomic_t stop;

struct status {
	struct cli *cli;
	struct db db;
	bool db_open;
	redisContext *redis;
	json_t *reputation; /* owned; kept between redraws */
	time_t reputation_at;
};

static void
on_signal(int number)
{
	(void)number;
	stop = 1;
}

static int run_status(struct cli *cli, int argc, char **argv);

const struct cli_command cli_status_commands[] = {
	{ "status", "[--watch [SECONDS]]", "services, daemons, runs and reputation at a glance",
	    "Options:\n"
	    "  --watch [SECONDS]   draw it again every 2 (or so many) seconds; Control-C ends "
	    "it\n\n"
	    "Exit code 75 when PostgreSQL or Redis is absent.\n\n"
	    "Example:\n"
	    "  kairan status --watch\n",
	    true, run_status },
	{ 0 },
};

/* ---------------------------------------------------------------- asking */

static json_t *
down(const char *reason)
{
	return json_pack("{s:b, s:s}", "ok", 0, "error", reason);
}

static json_t *
ask_postgresql(struct status *s)
{
	struct err err = { 0 };
	json_t *answer;
	PGresult *r;

	if (s->db_open && db_is_lost(&s->db)) {
		db_close(&s->db);
		s->db_open = false;
	}
	if (!s->db_open) {
		if (db_open(&s->db, s->cli->config.database_url, "kairan_operator", "kairan status",
			&err) != 0)
			return down(err.msg);
		s->db_open = true;
		if (db_check_schema(&s->db, &err) != 0) {
			answer = down(err.msg);
			db_close(&s->db);
			s->db_open = false;
			return answer;
		}
	}
	r = db_query(&s->db,
	    "SELECT json_build_object('ok', true, 'version', current_setting('server_version'), "
	    "'database', "
	    "current_database(), 'bytes', pg_database_size(current_database()))",
	    0, NULL);
	if (r == NULL)
		return down(s->db.error);
	answer = json_loads(db_text(r, 0, 0), 0, NULL);
	PQclear(r);
	return answer;
}

/* The number or word behind "\nname:" in an INFO answer. */
static void
info_value(const char *info, const char *name, char *dst, size_t size)
{
	size_t len = strlen(name);

	dst[0] = '\0';
	while (info != NULL && *info != '\0') {
		if (strncmp(info, name, len) == 0 && info[len] == ':') {
			(void)snprintf(dst, size, "%.*s", (int)strcspn(info + len + 1, "\r\n"),
			    info + len + 1);
			return;
		}
		info = strchr(info, '\n');
		info = info != NULL ? info + 1 : NULL;
	}
}

static void
forget_redis(struct status *s)
{
	if (s->redis != NULL)
		redisFree(s->redis);
	s->redis = NULL;
}

static json_t *
ask_redis(struct status *s)
{
	struct rds_address address;
	struct err err = { 0 };
	char version[40] = "", bytes[40] = "";
	redisReply *reply;

	if (s->redis == NULL) {
		if (rds_address_parse(&address, s->cli->config.redis_url, &err) != 0)
			return down(err.msg);
		s->redis = rds_open(&address, &err);
		if (s->redis == NULL)
			return down(err.msg);
	}
	reply = redisCommand(s->redis, "INFO");
	if (reply == NULL) {
		(void)err_set(&err, "Redis does not answer: %s", s->redis->errstr);
		forget_redis(s);
		return down(err.msg);
	}
	if (reply->type == REDIS_REPLY_STRING) {
		info_value(reply->str, "redis_version", version, sizeof(version));
		info_value(reply->str, "used_memory", bytes, sizeof(bytes));
	}
	freeReplyObject(reply);
	return json_pack("{s:b, s:s, s:I}", "ok", 1, "version", version, "bytes",
	    (json_int_t)strtoll(bytes, NULL, 10));
}

/* One JSON value from a query; an empty array when it fails. */
static json_t *
ask(struct status *s, const char *sql)
{
	PGresult *r = s->db_open ? db_query(&s->db, sql, 0, NULL) : NULL;
	json_t *answer = NULL;

	if (r != NULL)
		answer = json_loads(db_text(r, 0, 0), JSON_DECODE_ANY, NULL);
	PQclear(r);
	return answer != NULL ? answer : json_array();
}

static json_t *
ask_reputation(struct status *s)
{
	static const char sql[] =
	    "SELECT coalesce(json_agg(r ORDER BY stream), '[]') FROM kairan.reputation r";
	bool timeout;

	if (!s->db_open)
		return json_array();
	if (s->reputation != NULL && time(NULL) - s->reputation_at < REPUTATION_EVERY_S)
		return json_incref(s->reputation);
	json_decref(s->reputation);
	s->reputation = NULL;
	s->reputation_at = time(NULL);
	if (db_run(&s->db, "BEGIN READ ONLY", 0, NULL) != 0 ||
	    db_run(&s->db, "SET LOCAL statement_timeout = '" REPUTATION_TIMEOUT "'", 0, NULL) != 0)
		return json_array();
	s->reputation = ask(s, sql);
	timeout = strcmp(s->db.sqlstate, "57014") == 0;
	if (timeout) {
		json_decref(s->reputation);
		s->reputation = json_null();
	}
	if (db_run(&s->db, "ROLLBACK", 0, NULL) != 0)
		s->db.error[0] = '\0';
	return json_incref(s->reputation);
}

#define ANSWER_MAX ((size_t)256 * 1024)
#define ANSWER_TIMEOUT_MS 2000L

static size_t
on_body(char *data, size_t size, size_t count, void *context)
{
	struct buf *body = context;

	(void)size;
	buf_append(body, data, count);
	return buf_failed(body) ? 0 : count;
}

/* What kairan-feedback on this host says of its sources; null when it is not to be asked. */
static json_t *
ask_feedback(struct status *s)
{
	const char *listen = s->cli->config.feedback_metrics_listen;
	json_t *answer = NULL;
	CURLcode code = CURLE_OUT_OF_MEMORY;
	char url[256];
	struct buf body;
	CURL *curl;

	if (listen[0] == '\0')
		return json_null();
	(void)snprintf(url, sizeof(url), "http://%.200s/health", listen);
	buf_init(&body, ANSWER_MAX);
	curl = curl_easy_init();
	if (curl != NULL) {
		(void)curl_easy_setopt(curl, CURLOPT_URL, url);
		(void)curl_easy_setopt(curl, CURLOPT_PROXY, "");
		(void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, ANSWER_TIMEOUT_MS);
		(void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
		(void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
		(void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
		code = curl_easy_perform(curl);
	}
	curl_easy_cleanup(curl);
	if (code == CURLE_OK)
		answer = json_loadb(body.data != NULL ? body.data : "", body.len, 0, NULL);
	buf_release(&body);
	if (!json_is_object(answer)) {
		json_decref(answer);
		return down(code != CURLE_OK ? curl_easy_strerror(code) : "no JSON");
	}
	(void)json_object_set_new(answer, "ok", json_true());
	return answer;
}

static json_t *
collect(struct status *s)
{
	static const char producer[] =
	    "SELECT coalesce(json_agg(json_build_object('name', name, 'holder', holder, 'epoch', "
	    "epoch, "
	    "'alive', expires_at > now(), 'expires_at', expires_at) ORDER BY name), '[]') "
	    "FROM kairan.lease";
	static const char dispatchers[] =
	    "SELECT coalesce(json_agg(json_build_object('id', id, 'name', name, 'host', host, "
	    "'route', route, 'silent_s', round(extract(epoch FROM now() - heartbeat_at))::int, "
	    "'fenced', "
	    "fenced_at IS NOT NULL, 'alive', fenced_at IS NULL AND heartbeat_at > now() - "
	    "interval '1 minute', 'started_at', started_at, 'trouble', trouble) ORDER BY id), "
	    "'[]') "
	    "FROM kairan.dispatcher WHERE stopped_at IS NULL";
	static const char runs[] =
	    "SELECT coalesce(json_agg(p), '[]') FROM (SELECT g.*, (SELECT k FROM "
	    "kairan.canary_progress k WHERE k.run_id = g.run_id) AS canary "
	    "FROM kairan.campaign_progress g "
	    "WHERE state IN ('scheduled', 'planning', 'running', 'paused') "
	    "OR finished_at > now() - interval '1 day' "
	    "ORDER BY finished_at IS NOT NULL, run_id DESC LIMIT 20) p";
	static const char next[] =
	    "SELECT coalesce(json_agg(json_build_object('campaign', name, 'start_at', start_at, "
	    "'repeat', "
	    "recurrence)), '[]') FROM (SELECT * FROM kairan.campaign WHERE start_at IS NOT NULL "
	    "ORDER BY start_at LIMIT 5) c";
	/* outcomes of each of the last full minutes, oldest first */
	static const char minutes[] =
	    "SELECT json_agg(n ORDER BY m) FROM (SELECT m, coalesce(sum(t.attempts), 0) AS n FROM "
	    "generate_series(date_trunc('minute', now()) - interval '" MINUTES " minutes', "
	    "date_trunc('minute', now()) - interval '1 minute', interval '1 minute') AS m "
	    "LEFT JOIN kairan.tally t ON t.minute = m GROUP BY m) AS s";
	static const char idle[] = "SELECT coalesce(json_agg(json_build_object('route', route, "
				   "'runs', runs) ORDER BY route), "
				   "'[]') FROM kairan.route_idle";
	static const char routes[] =
	    "SELECT coalesce(json_agg(json_build_object('route', t.route, 'recipients', t.n) "
	    "ORDER BY t.route = '', t.route), '[]') FROM (SELECT l.route, "
	    "sum(l.recipients)::bigint AS n FROM kairan.run_lane l JOIN kairan.run r ON r.id = "
	    "l.run_id WHERE r.state = 'running' GROUP BY 1) AS t HAVING bool_or(t.route <> '')";
	json_t *o = json_object();

	(void)json_object_set_new(o, "postgresql", ask_postgresql(s));
	(void)json_object_set_new(o, "redis", ask_redis(s));
	(void)json_object_set_new(o, "producer", ask(s, producer));
	(void)json_object_set_new(o, "dispatchers", ask(s, dispatchers));
	(void)json_object_set_new(o, "routes_idle", ask(s, idle));
	(void)json_object_set_new(o, "routes", ask(s, routes));
	(void)json_object_set_new(o, "feedback", ask_feedback(s));
	(void)json_object_set_new(o, "runs", ask(s, runs));
	(void)json_object_set_new(o, "brakes", ask(s, brake_text_sql));
	(void)json_object_set_new(o, "lanes_paused", ask(s, lane_text_sql));
	(void)json_object_set_new(o, "minutes", ask(s, minutes));
	(void)json_object_set_new(o, "next", ask(s, next));
	(void)json_object_set_new(o, "reputation", ask_reputation(s));
	return o;
}

/* ---------------------------------------------------------------- drawing */

static const char *
word(const json_t *o, const char *name)
{
	const char *text = json_string_value(json_object_get(o, name));

	return text != NULL ? text : "";
}

static int64_t
count(const json_t *o, const char *name)
{
	return json_integer_value(json_object_get(o, name));
}

static double
number(const json_t *o, const char *name)
{
	return json_number_value(json_object_get(o, name));
}

static bool
yes(const json_t *o, const char *name)
{
	return json_is_true(json_object_get(o, name));
}

static void
styled(const struct cli *cli, const char *code, const char *text)
{
	if (cli->colour)
		printf("\033[%sm", code);
	cli_put_text(stdout, text);
	if (cli->colour)
		fputs("\033[0m", stdout);
}

static void
heading(const struct cli *cli, const char *text)
{
	putchar('\n');
	styled(cli, STYLE_BOLD, text);
	putchar('\n');
}

static void
draw_service(const struct cli *cli, const char *label, const json_t *o)
{
	printf("  %-12s", label);
	if (yes(o, "ok")) {
		styled(cli, STYLE_GREEN, "ok");
		printf("    %s, %.1f MB\n", word(o, "version"), (double)count(o, "bytes") / 1e6);
	} else {
		styled(cli, STYLE_RED, "absent");
		putchar(' ');
		cli_put_text(stdout, word(o, "error"));
		putchar('\n');
	}
}

static void
draw_daemons(const struct cli *cli, const json_t *status)
{
	const json_t *one;
	size_t i, alive = 0;

	json_array_foreach(json_object_get(status, "producer"), i, one)
	{
		printf("  %-12s", "producer");
		styled(cli, yes(one, "alive") ? STYLE_GREEN : STYLE_RED,
		    yes(one, "alive") ? "ok" : "absent");
		printf("    %s: ", word(one, "name"));
		cli_put_text(stdout, word(one, "holder"));
		putchar('\n');
	}
	if (json_array_size(json_object_get(status, "producer")) == 0)
		printf("  %-12snone has run yet\n", "producer");
	json_array_foreach(json_object_get(status, "dispatchers"), i, one)
	{
		printf("  %-12s", "dispatcher");
		styled(cli, yes(one, "alive") ? STYLE_GREEN : STYLE_RED,
		    yes(one, "alive") ? "ok    " : "silent");
		putchar(' ');
		cli_put_text(stdout, word(one, "name"));
		printf(" (%lld) on %s%s%s%s, heard %lld s ago\n", (long long)count(one, "id"),
		    word(one, "host"), word(one, "route")[0] != '\0' ? ", route " : "",
		    word(one, "route"), yes(one, "fenced") ? ", fenced" : "",
		    (long long)count(one, "silent_s"));
		if (word(one, "trouble")[0] != '\0') {
			printf("  %-12s", "");
			styled(cli, STYLE_RED, "not sending");
			printf(": ");
			cli_put_text(stdout, word(one, "trouble"));
			putchar('\n');
		}
		alive++;
	}
	if (alive == 0)
		printf("  %-12snone is running\n", "dispatcher");
	json_array_foreach(json_object_get(status, "routes_idle"), i, one)
	{
		if (alive == 0 && word(one, "route")[0] == '\0')
			continue; /* said above */
		printf("  %-12s", "dispatcher");
		styled(cli, STYLE_RED, "absent");
		printf(" %s%s, whose recipients wait\n",
		    word(one, "route")[0] != '\0' ? "for route " : "without a route",
		    word(one, "route"));
	}
	route_text_print("  by route    ", json_object_get(status, "routes"));
}

/* "12 s ago", "never" */
static const char *
ago(int64_t at_s, char *dst, size_t size)
{
	int64_t age = (int64_t)time(NULL) - at_s;

	if (at_s == 0)
		(void)snprintf(dst, size, "never");
	else if (age < 120)
		(void)snprintf(dst, size, "%lld s ago", (long long)(age < 0 ? 0 : age));
	else if (age < 7200)
		(void)snprintf(dst, size, "%lld min ago", (long long)age / 60);
	else
		(void)snprintf(dst, size, "%lld h ago", (long long)age / 3600);
	return dst;
}

static void
draw_feedback(const struct cli *cli, const json_t *feedback)
{
	const json_t *one;
	char when[40], n[2][32];
	size_t i;

	if (!json_is_object(feedback))
		return;
	heading(cli, "Feedback");
	if (!yes(feedback, "ok")) {
		fputs("  ", stdout);
		styled(cli, STYLE_RED, "absent");
		putchar(' ');
		cli_put_text(stdout, word(feedback, "error"));
		putchar('\n');
		return;
	}
	if (count(feedback, "lag_s") >= LAG_TOLD_S)
		printf("  %s notices wait for PostgreSQL, the oldest for %s s\n",
		    cli_number(count(feedback, "waiting"), n[0]),
		    cli_number(count(feedback, "lag_s"), n[1]));
	json_array_foreach(json_object_get(feedback, "sources"), i, one)
	{
		printf("  %-12s", word(one, "name"));
		styled(cli, yes(one, "up") ? STYLE_GREEN : STYLE_RED,
		    yes(one, "up") ? "ok    " : "failed");
		printf(" %s committed, last %s, %s left", cli_number(count(one, "committed"), n[0]),
		    ago(count(one, "last_message_s"), when, sizeof(when)),
		    cli_number(count(one, "left"), n[1]));
		if (count(one, "kept") > 0)
			printf(", %s kept aside", cli_number(count(one, "kept"), n[0]));
		if (count(one, "waiting") > 0)
			printf(", %s waiting", cli_number(count(one, "waiting"), n[0]));
		if (count(one, "lag_s") > 0)
			printf(", the oldest for %s s", cli_number(count(one, "lag_s"), n[0]));
		if (count(one, "behind_bytes") > 0)
			printf(", %s bytes behind", cli_number(count(one, "behind_bytes"), n[0]));
		putchar('\n');
		if (word(one, "last_error")[0] == '\0')
			continue;
		printf("  %-12slast error %s: ", "",
		    ago(count(one, "last_error_s"), when, sizeof(when)));
		cli_put_text(stdout, word(one, "last_error"));
		putchar('\n');
	}
}

static const char *
state_style(const char *state)
{
	if (strcmp(state, "running") == 0 || strcmp(state, "finished") == 0)
		return STYLE_GREEN;
	return strcmp(state, "failed") == 0 || strcmp(state, "missed") == 0 ? STYLE_RED
									    : STYLE_YELLOW;
}

static void
draw_run(const struct cli *cli, const json_t *run)
{
	int64_t planned = count(run, "planned");
	int64_t open = count(run, "queued") + count(run, "sending") + count(run, "deferred");
	int filled = planned > 0 ? (int)((planned - open) * BAR_CELLS / planned) : 0;
	const char *state = word(run, "state");
	char n[4][32];

	printf("  %s ", word(run, "campaign"));
	cli_put_text(stdout, word(run, "run_key"));
	fputs("\n    [", stdout);
	for (int i = 0; i < BAR_CELLS; i++)
		putchar(i < filled ? '#' : '.');
	fputs("] ", stdout);
	styled(cli, state_style(state), state);
	printf("  %s of %s sent, %s failed, %s in doubt", cli_number(count(run, "sent"), n[0]),
	    cli_number(planned, n[1]), cli_number(count(run, "failed"), n[2]),
	    cli_number(count(run, "in_doubt"), n[3]));
	if (strcmp(state, "running") == 0)
		printf(", %.1f/s", (double)count(run, "last_minute") / 60.0);
	if (word(run, "reason")[0] != '\0') {
		fputs(" (", stdout);
		cli_put_text(stdout, word(run, "reason"));
		putchar(')');
	}
	putchar('\n');
	if (json_is_object(json_object_get(run, "canary"))) {
		fputs("    canary: ", stdout);
		cli_put_text(stdout, word(json_object_get(run, "canary"), "words"));
		putchar('\n');
	}
}

/* locale(7): the first of these that is set counts. */
static bool
is_utf8_here(void)
{
	static const char *const names[] = { "LC_ALL", "LC_CTYPE", "LANG" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *value = getenv(names[i]);

		if (value != NULL && value[0] != '\0')
			return strcasestr(value, "UTF-8") != NULL ||
			    strcasestr(value, "utf8") != NULL;
	}
	return false;
}

/* The rate of the last hour; nothing when nothing was sent. */
static void
draw_minutes(const json_t *minutes)
{
	int64_t values[SPARKLINE_MAX], most = 0;
	size_t n = json_array_size(minutes);
	char line[3 * SPARKLINE_MAX + 1], text[2][32];

	n = n < SPARKLINE_MAX ? n : SPARKLINE_MAX;
	for (size_t i = 0; i < n; i++) {
		values[i] = json_integer_value(json_array_get(minutes, i));
		most = values[i] > most ? values[i] : most;
	}
	if (most == 0)
		return;
	printf("  per minute, last hour: %s  most %s, last %s\n",
	    sparkline(line, values, n, !is_utf8_here()), cli_number(most, text[0]),
	    cli_number(values[n - 1], text[1]));
}

/* Where a rate stands between 0 and the line at which SES stops an account: what is certain as #,
 * the rate itself as -, the line of review as |. */
static void
draw_gauge(double at_least, double rate, double review, double end)
{
	putchar('[');
	for (int i = 0; i < BAR_CELLS; i++) {
		double from = end * i / BAR_CELLS, to = end * (i + 1) / BAR_CELLS;

		if (at_least > from)
			putchar('#');
		else if (rate > from)
			putchar('-');
		else
			putchar(review >= from && review < to ? '|' : '.');
	}
	putchar(']');
}

static void
draw_reputation(const struct cli *cli, const json_t *reputation)
{
	const json_t *one;
	size_t i;
	char n[32];

	heading(cli, "Reputation, 7 days");
	if (json_is_null(reputation))
		puts("  not counted: it takes longer than " REPUTATION_TIMEOUT
		     "; see the view kairan.reputation");
	else if (json_array_size(reputation) == 0)
		puts("  nothing was sent");
	json_array_foreach(reputation, i, one)
	{
		const char *judgement = word(one, "judgement");

		printf("  %-16s", word(one, "stream"));
		styled(cli,
		    strcmp(judgement, "fine") == 0	 ? STYLE_GREEN
			: strcmp(judgement, "stop") == 0 ? STYLE_RED
							 : STYLE_YELLOW,
		    judgement);
		printf("  %s sent, bounces %.2f %% (review at 5, stop at 10), complaints %.3f %% "
		       "(0.1, 0.5)\n",
		    cli_number(count(one, "sent"), n), number(one, "bounce_per_cent"),
		    number(one, "complaint_per_cent"));
		fputs("    bounces    ", stdout);
		draw_gauge(
		    number(one, "bounce_at_least_per_cent"), number(one, "bounce_per_cent"), 5, 10);
		printf(
		    " certain: %.2f %%\n    complaints ", number(one, "bounce_at_least_per_cent"));
		draw_gauge(number(one, "complaint_at_least_per_cent"),
		    number(one, "complaint_per_cent"), 0.1, 0.5);
		printf(" certain: %.3f %%\n", number(one, "complaint_at_least_per_cent"));
	}
}

/* What the breaker holds back of runs that go on. */
static void
draw_lanes(const struct cli *cli, const json_t *lanes)
{
	const json_t *one;
	size_t i;

	json_array_foreach(lanes, i, one)
	{
		printf("  %s ", lane_text_kind(one));
		styled(cli, STYLE_YELLOW, word(one, lane_text_kind(one)));
		lane_text_print(one, "       ");
	}
}

static void
draw(const struct cli *cli, const json_t *status)
{
	const json_t *one;
	size_t i;

	styled(cli, STYLE_BOLD, "Services");
	putchar('\n');
	draw_service(cli, "PostgreSQL", json_object_get(status, "postgresql"));
	draw_service(cli, "Redis", json_object_get(status, "redis"));
	if (!yes(json_object_get(status, "postgresql"), "ok"))
		return;
	draw_daemons(cli, status);
	draw_feedback(cli, json_object_get(status, "feedback"));
	heading(cli, "Runs");
	json_array_foreach(json_object_get(status, "runs"), i, one) draw_run(cli, one);
	if (json_array_size(json_object_get(status, "runs")) == 0)
		puts("  none under way, none in the last day");
	json_array_foreach(json_object_get(status, "brakes"), i, one)
	{
		printf("  braked by replies: %s ", word(one, "name"));
		brake_text_print(one);
	}
	draw_lanes(cli, json_object_get(status, "lanes_paused"));
	draw_minutes(json_object_get(status, "minutes"));
	json_array_foreach(json_object_get(status, "next"), i, one)
	    printf("  next: %s at %.16s%s%s\n", word(one, "campaign"), word(one, "start_at"),
		word(one, "repeat")[0] != '\0' ? ", " : "", word(one, "repeat"));
	draw_reputation(cli, json_object_get(status, "reputation"));
}

/* ---------------------------------------------------------------- command */

/* Collects and shows once. The exit code. */
static int
show(struct status *s, bool redraw)
{
	json_t *status = collect(s);
	bool ok = yes(json_object_get(status, "postgresql"), "ok") &&
	    yes(json_object_get(status, "redis"), "ok");

	if (s->cli->json) {
		cli_print_json(status);
	} else {
		if (redraw)
			fputs("\033[H\033[2J", stdout);
		draw(s->cli, status);
		json_decref(status);
	}
	(void)fflush(stdout);
	return ok ? EXIT_DONE : EXIT_TEMPORARY;
}

static int
watch(struct status *s, int64_t seconds)
{
	struct sigaction action = { .sa_handler = on_signal };
	bool redraw = isatty(STDOUT_FILENO) != 0;

	stop = 0;
	(void)sigemptyset(&action.sa_mask);
	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
	while (!stop && !ferror(stdout)) {
		struct timespec t = { (time_t)seconds, 0 };

		(void)show(s, redraw);
		if (!stop)
			(void)nanosleep(&t, NULL);
	}
	if (redraw)
		putchar('\n');
	return EXIT_DONE;
}

static int
run_status(struct cli *cli, int argc, char **argv)
{
	bool again = false;
	const struct cli_option options[] = { { .name = "watch", .flag = &again }, { 0 } };
	struct status s = { .cli = cli };
	int64_t seconds = WATCH_DEFAULT_S;
	int code;

	argc = cli_options(cli, options, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc > (again ? 1 : 0))
		return cli_fail(
		    cli, EXIT_USAGE, "status takes no argument but the seconds of --watch");
	if (argc == 1 && (seconds = cli_parse_number(cli, "watch", argv[0], 1, 86400)) < 0)
		return EXIT_USAGE;
	code = again ? watch(&s, seconds) : show(&s, false);
	forget_redis(&s);
	json_decref(s.reputation);
	if (s.db_open)
		db_close(&s.db);
	return code;
}
