/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_campaign_run: start, schedule, pause, resume, cancel, retry. Every change of state goes
 * through the functions of the schema, which move a run only from the states named here; what
 * a second command or a daemon did in between shows as "nothing to do", never as damage.
 */
#include "cmd_campaign.h"

#include "campaign_fit.h"
#include "campaign_pace.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define POLL_MS 300
#define LONELY_POLLS 20 /* of POLL_MS without a change, before saying who is missing */
#define RECONNECTS 20	/* of RECONNECT_MS, before --wait gives up */
#define RECONNECT_MS 1500
#define CANCEL_POLLS 50 /* of CANCEL_MS: sessions close, claims come back */
#define CANCEL_MS 200
#define DEADLOCK_TRIES 5

static void
sleep_ms(int64_t ms)
{
	struct timespec t = { ms / 1000, (long)(ms % 1000) * 1000000 };

	while (nanosleep(&t, &t) != 0)
		continue;
}

static int64_t
now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* One argument, the name. EXIT_DONE, or an exit code after printing. */
static int
take_name(
    struct cli *cli, const struct cli_option *options, int argc, char **argv, const char *words)
{
	argc = cli_options(cli, options, argc, argv);
	if (argc < 0)
		return EXIT_USAGE;
	if (argc != 1)
		return cli_fail(cli, EXIT_USAGE, "%s needs the name of one campaign", words);
	return EXIT_DONE;
}

static int
check_time(struct cli *cli, const char *option, const char *text)
{
	struct err err = { 0 };

	if (text == NULL || campaign_time_ok(slice_str(text), &err) == 0)
		return EXIT_DONE;
	return cli_fail(cli, EXIT_USAGE, "%s %s", option, err.msg);
}

/* ---------------------------------------------------------------- waiting */

static int64_t
settled(const json_t *p)
{
	return campaign_count(p, "sent") + campaign_count(p, "failed") +
	    campaign_count(p, "in_doubt") + campaign_count(p, "skipped") +
	    campaign_count(p, "cancelled") + campaign_count(p, "expired");
}

/* The exit code of a run in this state; -1 while it is under way. */
static int
code_of(const json_t *p)
{
	const char *state = campaign_word(p, "state");

	if (strcmp(state, "finished") == 0)
		return campaign_count(p, "in_doubt") > 0 ? EXIT_DOUBT : EXIT_DONE;
	if (strcmp(state, "paused") == 0)
		return EXIT_PAUSED;
	if (strcmp(state, "missed") == 0)
		return EXIT_MISSED;
	if (strcmp(state, "failed") == 0 || strcmp(state, "cancelled") == 0)
		return EXIT_FAILED;
	return -1;
}

struct waiting {
	struct cli *cli;
	struct db *db;
	int64_t run;
	struct cli_progress bar;
	int64_t since_ms, sent_before; /* for the rate */
	int unchanged;		       /* polls */
	int64_t last_settled;
	char last_state[16];
	bool said_lonely, said_canary;
};

/* Somebody must do the work: says so once when nobody seems to. */
static void
say_if_lonely(struct waiting *w, const json_t *p)
{
	static const char sql[] =
	    "SELECT EXISTS (SELECT FROM kairan.lease WHERE expires_at > now()), "
	    "EXISTS (SELECT FROM kairan.dispatcher WHERE stopped_at IS NULL AND fenced_at IS NULL "
	    "AND heartbeat_at > now() - interval '1 minute'), "
	    "(SELECT min(trouble) FROM kairan.dispatcher WHERE stopped_at IS NULL AND trouble <> "
	    "'' "
	    "AND heartbeat_at > now() - interval '1 minute'), "
	    "(SELECT min(CASE WHEN route = '' THEN 'without a route' ELSE 'for route ' || route "
	    "END) FROM kairan.route_idle)";
	PGresult *r;

	if (w->said_lonely || w->cli->quiet || w->unchanged < LONELY_POLLS)
		return;
	w->said_lonely = true;
	r = db_query(w->db, sql, 0, NULL);
	if (r == NULL)
		return;
	if (db_text(r, 0, 0)[0] != 't')
		fputs("\nkairan: no kairan-producer is running; the run waits for one\n", stderr);
	else if (db_text(r, 0, 1)[0] != 't' && strcmp(campaign_word(p, "state"), "running") == 0)
		fputs("\nkairan: no kairan-dispatcher is running; the run waits for one\n", stderr);
	else if (!PQgetisnull(r, 0, 2)) {
		fputs("\nkairan: the dispatcher is not sending: ", stderr);
		cli_put_text(stderr, db_text(r, 0, 2));
		fputc('\n', stderr);
	} else if (!PQgetisnull(r, 0, 3))
		fprintf(stderr,
		    "\nkairan: no kairan-dispatcher %s is running; its recipients wait for one\n",
		    db_text(r, 0, 3));
	PQclear(r);
}

/* Whether all that is left waits in lanes or origins that the breaker has paused; says so, and how to go on. */
static bool
is_halted(struct waiting *w, const json_t *p)
{
	static const char sql[] =
	    "SELECT b.name, b.why, b.kind FROM (SELECT l.name, k.why, 'lane' AS kind "
	    "FROM kairan.lane_break k "
	    "JOIN kairan.run_lane l ON l.run_id = k.run_id AND l.lane = k.lane "
	    "WHERE k.run_id = $1 AND k.resumed_at IS NULL UNION ALL "
	    "SELECT o.name, k.why, 'origin' FROM kairan.origin_break k "
	    "JOIN kairan.run_origin o ON o.run_id = k.run_id AND o.origin = k.origin "
	    "WHERE k.run_id = $1 AND k.resumed_at IS NULL) AS b WHERE NOT EXISTS "
	    "(SELECT FROM kairan.retry WHERE run_id = $1 AND due_at < 'infinity') "
	    "ORDER BY b.kind, b.name";
	char run[24];
	const char *params[] = { run };
	PGresult *r;
	bool halted;

	if (w->unchanged < LONELY_POLLS || campaign_count(p, "deferred") == 0 ||
	    campaign_count(p, "queued") + campaign_count(p, "sending") > 0)
		return false;
	(void)snprintf(run, sizeof(run), "%lld", (long long)w->run);
	r = db_query(w->db, sql, 1, params);
	halted = r != NULL && PQntuples(r) > 0;
	for (int i = 0; halted && i < PQntuples(r); i++) {
		fputs("\nkairan: ", stderr);
		cli_put_text(stderr, db_text(r, i, 1));
		fprintf(stderr, "; the others are done. To go on: kairan campaign resume %s --%s ",
		    campaign_word(p, "campaign"), db_text(r, i, 2));
		cli_put_word(stderr, db_text(r, i, 0));
		fputc('\n', stderr);
	}
	PQclear(r);
	return halted;
}

/* Once: nothing will move for a while, and why. */
static void
say_canary(struct waiting *w, const json_t *canary)
{
	if (w->said_canary || w->cli->quiet)
		return;
	w->said_canary = true;
	fputs("\nkairan: the canary ", stderr);
	cli_put_text(stderr, campaign_word(canary, "words"));
	fputs("; the others follow if they fared well\n", stderr);
}

static void
show_progress(struct waiting *w, const json_t *p)
{
	const json_t *canary = json_object_get(p, "canary");
	bool waits = strcmp(campaign_word(canary, "phase"), "waiting") == 0;
	int64_t done = settled(p), sent = campaign_count(p, "sent"), now = now_ms();
	const char *state = campaign_word(p, "state");
	double seconds = (double)(now - w->since_ms) / 1000.0;
	char note[200], a[32], b[32];

	w->unchanged =
	    done == w->last_settled && strcmp(state, w->last_state) == 0 ? w->unchanged + 1 : 0;
	if (strcmp(state, "running") != 0 || w->last_settled < 0) {
		w->since_ms = now;
		w->sent_before = sent;
		seconds = 0;
	}
	w->last_settled = done;
	(void)snprintf(w->last_state, sizeof(w->last_state), "%s", state);
	if (waits)
		say_canary(w, canary);
	else
		say_if_lonely(w, p);
	w->bar.total = campaign_count(p, "planned");
	if (strcmp(state, "running") == 0 && waits)
		(void)snprintf(note, sizeof(note), "%s of %s sent, the canary %.100s",
		    cli_number(sent, a), cli_number(w->bar.total, b),
		    campaign_word(canary, "words"));
	else if (strcmp(state, "running") == 0)
		(void)snprintf(note, sizeof(note), "%s of %s sent, %.0f/s, %lld failed",
		    cli_number(sent, a), cli_number(w->bar.total, b),
		    seconds > 0.5 ? (double)(sent - w->sent_before) / seconds : 0.0,
		    (long long)campaign_count(p, "failed"));
	else
		(void)snprintf(note, sizeof(note), "%s", state);
	cli_progress_set(&w->bar, done, note);
}

/* A restart of PostgreSQL does not end the wait. */
static json_t *
poll_progress(struct waiting *w)
{
	json_t *p = campaign_progress(w->db, w->run);
	struct err err = { 0 };

	for (int i = 0; p == NULL && db_is_lost(w->db) && i < RECONNECTS; i++) {
		sleep_ms(RECONNECT_MS);
		db_close(w->db);
		if (db_open(
			w->db, w->cli->config.database_url, "kairan_operator", "kairan", &err) == 0)
			p = campaign_progress(w->db, w->run);
	}
	return p;
}

static void
print_ended(struct cli *cli, json_t *p, bool is_new)
{
	char n[4][32];
	const char *reason = campaign_word(p, "reason");

	if (cli->json) {
		(void)json_object_set_new(p, "already", json_boolean(!is_new));
		cli_print_json(json_incref(p));
		return;
	}
	printf("run %s of %s is %s: %s of %s sent, %s failed, %s in doubt",
	    campaign_word(p, "run_key"), campaign_word(p, "campaign"), campaign_word(p, "state"),
	    cli_number(campaign_count(p, "sent"), n[0]),
	    cli_number(campaign_count(p, "planned"), n[1]),
	    cli_number(campaign_count(p, "failed"), n[2]),
	    cli_number(campaign_count(p, "in_doubt"), n[3]));
	if (reason[0] != '\0') {
		fputs(" (", stdout);
		cli_put_text(stdout, reason);
		putchar(')');
	}
	putchar('\n');
	if (campaign_count(p, "in_doubt") > 0)
		puts("who may or may not have got it: kairan send doubt list");
}

static int
wait_for_run(struct cli *cli, struct db *db, int64_t run, bool is_new)
{
	struct waiting w = {
		.cli = cli, .db = db, .run = run, .last_settled = -1, .since_ms = now_ms()
	};
	int code = -1;

	cli_progress_start(&w.bar, cli, "sending", 0);
	while (code < 0) {
		json_t *p = poll_progress(&w);

		if (p == NULL) {
			cli_progress_end(&w.bar, NULL);
			return cli_db_failed(
			    cli, db, "waiting for the run, which goes on without this command");
		}
		show_progress(&w, p);
		code = code_of(p);
		if (code < 0 && is_halted(&w, p))
			code = EXIT_PAUSED;
		if (code >= 0) {
			cli_progress_end(&w.bar, NULL);
			print_ended(cli, p, is_new);
		}
		json_decref(p);
		if (code < 0)
			sleep_ms(POLL_MS);
	}
	return code;
}

/* ---------------------------------------------------------------- start */

struct start {
	const char *name, *key, *not_after;
	bool wait;
	int64_t run;
	bool is_new;
	char made_key[40];
};

static int
make_run(struct cli *cli, struct db *db, struct start *s)
{
	static const char sql[] =
	    "SELECT run_id, is_new FROM kairan.run_make($1, coalesce($2, "
	    "to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')), now(), $3)";
	static const char late_sql[] =
	    "SELECT coalesce($3::timestamptz, CASE WHEN c.window_s IS NULL THEN c.not_after END) "
	    "<= now(), "
	    "EXISTS (SELECT FROM kairan.run r WHERE r.campaign_id = c.id AND r.run_key = $2) "
	    "FROM kairan.campaign c WHERE c.name = $1";
	const char *params[] = { s->name, s->key, s->not_after };
	PGresult *r = db_query(db, late_sql, 3, params);
	int code = EXIT_DONE;
	bool exists;

	if (r == NULL && !db_is_lost(db) && s->not_after != NULL)
		return cli_fail(cli, EXIT_USAGE, "--not-after: %s", db->error);
	if (r == NULL)
		return cli_db_failed(cli, db, "reading the campaign");
	if (PQntuples(r) == 0) {
		PQclear(r);
		return cli_fail(cli, EXIT_USAGE,
		    "there is no campaign \"%s\"; kairan campaign list shows all", s->name);
	}
	exists = db_text(r, 0, 1)[0] == 't';
	if (!exists && db_text(r, 0, 0)[0] == 't')
		code = cli_fail(cli, EXIT_MISSED,
		    "not_after has passed: nothing was started; give a later one with --not-after");
	PQclear(r);
	if (!exists && code == EXIT_DONE)
		code = campaign_fit(cli, db, s->name);
	if (code != EXIT_DONE)
		return code;
	r = db_query(db, sql, 3, params);
	if (r == NULL)
		return cli_db_failed(cli, db, "starting the run");
	s->run = db_number(r, 0, 0);
	s->is_new = db_text(r, 0, 1)[0] == 't';
	PQclear(r);
	return EXIT_DONE;
}

static int
say_already(struct cli *cli, json_t *p, bool ended)
{
	const char *state = campaign_word(p, "state");
	const char *when = campaign_word(p, ended ? "finished_at" : "due_at");

	if (cli->json)
		cli_print_json(json_pack("{s:i, s:b, s:s, s:s, s:s, s:s, s:O}", "sent", 0,
		    "already", 1, "campaign", campaign_word(p, "campaign"), "run_key",
		    campaign_word(p, "run_key"), "state", state, ended ? "ended_at" : "due_at",
		    when, "run", p));
	else if (strcmp(state, "finished") == 0)
		printf("run %s of %s was sent before (%.16s): nothing sent\n",
		    campaign_word(p, "run_key"), campaign_word(p, "campaign"), when);
	else
		printf("run %s of %s is already %s (%.16s): nothing sent\n",
		    campaign_word(p, "run_key"), campaign_word(p, "campaign"), state, when);
	return EXIT_NOTHING;
}

/* Whom the hour guard keeps waiting at a time, as far as it can be said before the run is planned.
 * NULL: nobody can say; the warning is printed. */
static json_t *
look_at_waits(struct cli *cli, struct db *db, const struct campaign_moment *moment)
{
	struct err err = { 0 };
	json_t *waits = campaign_waits(cli, db, moment, &err);

	if (waits == NULL)
		fprintf(stderr, "kairan: the hour guard is not known: %s\n", err.msg);
	return waits;
}

static int
start_found(struct cli *cli, struct db *db, const struct start *s)
{
	json_t *p = campaign_progress(db, s->run);
	const char *state = campaign_word(p, "state");
	int code = EXIT_DONE;
	bool ended;

	if (p == NULL)
		return cli_db_failed(cli, db, "reading the run");
	ended = code_of(p) >= 0 && strcmp(state, "paused") != 0;
	if (!s->is_new && (ended || !s->wait)) {
		code = say_already(cli, p, ended);
	} else if (s->wait) {
		if (!cli->quiet)
			fprintf(stderr, "run %s of %s %s\n", campaign_word(p, "run_key"), s->name,
			    s->is_new ? "started" : "is under way already; waiting for it");
		code = wait_for_run(cli, db, s->run, s->is_new);
	} else {
		struct campaign_moment now = { .run = s->run };
		json_t *waits = look_at_waits(cli, db, &now);

		(void)json_object_set_new(p, "already", json_false());
		(void)json_object_set_new(p, "waits", waits != NULL ? waits : json_null());
		if (cli->json) {
			cli_print_json(json_incref(p));
		} else {
			printf(
			    "run %s of %s started; kairan campaign status %s shows how far it is\n",
			    campaign_word(p, "run_key"), s->name, s->name);
			campaign_print_waits("hour guard: nothing to ", waits);
		}
	}
	json_decref(p);
	return code;
}

int
campaign_start(struct cli *cli, int argc, char **argv)
{
	struct start s = { 0 };
	const struct cli_option options[] = {
		{ .name = "run-key", .value_name = "KEY", .value = &s.key },
		{ .name = "not-after", .value_name = "TIME", .value = &s.not_after },
		{ .name = "wait", .flag = &s.wait },
		{ 0 },
	};
	struct db db;
	int code = take_name(cli, options, argc, argv, "campaign start");

	if (code == EXIT_DONE)
		code = check_time(cli, "--not-after", s.not_after);
	if (code != EXIT_DONE)
		return code;
	if (s.key != NULL && (s.key[0] == '\0' || strlen(s.key) > 200))
		return cli_fail(cli, EXIT_USAGE, "--run-key has 1 to 200 characters");
	s.name = argv[0];
	code = cli_open_db(cli, &db);
	if (code != EXIT_DONE)
		return code;
	code = make_run(cli, &db, &s);
	if (code == EXIT_DONE) {
		if (s.is_new)
			cli_audit(&db, "campaign start", s.name, s.key);
		code = start_found(cli, &db, &s);
	}
	db_close(&db);
	return code;
}

/* ---------------------------------------------------------------- schedule */

struct schedule {
	const char *at, *not_after, *window, *repeat;
	bool never;
};

static int
write_schedule(
    struct cli *cli, struct db *db, const char *name, const struct schedule *s, int window_s)
{
	static const char sql[] =
	    "UPDATE kairan.campaign SET start_at = $2::timestamptz, not_after = $3::timestamptz, "
	    "window_s = $4, recurrence = coalesce($5, ''), updated_at = now() "
	    "WHERE name = $1 AND ($2::timestamptz IS NULL OR $2::timestamptz > now()) "
	    "AND ($3::timestamptz IS NULL OR $3::timestamptz > $2::timestamptz) "
	    "RETURNING to_char(start_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI \"UTC\"'), "
	    "recurrence, extract(epoch FROM start_at)::bigint";
	struct campaign_moment then = { .campaign = name };
	char window[16];
	json_t *waits = NULL;
	const char *params[] = { name, s->at, s->not_after, window_s > 0 ? window : NULL,
		s->repeat };
	PGresult *r;

	(void)snprintf(window, sizeof(window), "%d", window_s);
	r = db_query(db, sql, 5, params);
	if (r == NULL && !db_is_lost(db) && strncmp(db->sqlstate, "22", 2) == 0)
		return cli_fail(cli, EXIT_USAGE, "%s", db->error);
	if (r == NULL)
		return cli_db_failed(cli, db, "writing the schedule");
	if (PQntuples(r) == 0) {
		struct campaign_run run;
		int code;

		PQclear(r);
		code = campaign_find_run_quietly(cli, db, name, NULL, NULL, &run);
		if (code != EXIT_DONE && code != EXIT_NOTHING)
			return code;
		return cli_fail(cli, EXIT_USAGE,
		    "--at must be in the future, and --not-after later than --at: nothing was "
		    "scheduled");
	}
	cli_audit(db, "campaign schedule", name, s->never ? "never" : s->at);
	then.at = (time_t)db_number(r, 0, 2);
	if (!s->never)
		waits = look_at_waits(cli, db, &then);
	if (cli->json)
		cli_print_json(json_pack("{s:s, s:s, s:s, s:O?}", "campaign", name, "next",
		    db_text(r, 0, 0), "repeat", db_text(r, 0, 1), "waits", waits));
	else if (s->never)
		printf("%s is not scheduled any more\n", name);
	else
		printf("%s starts at %s%s%s\n", name, db_text(r, 0, 0),
		    db_text(r, 0, 1)[0] != '\0' ? ", " : "", db_text(r, 0, 1));
	if (!cli->json)
		campaign_print_waits("hour guard: nothing to ", waits);
	json_decref(waits);
	PQclear(r);
	return EXIT_DONE;
}

int
campaign_schedule(struct cli *cli, int argc, char **argv)
{
	struct schedule s = { 0 };
	const struct cli_option options[] = {
		{ .name = "at", .value_name = "TIME", .value = &s.at },
		{ .name = "not-after", .value_name = "TIME", .value = &s.not_after },
		{ .name = "window", .value_name = "DURATION", .value = &s.window },
		{ .name = "repeat", .value_name = "HOW", .value = &s.repeat },
		{ .name = "never", .flag = &s.never },
		{ 0 },
	};
	struct arena arena;
	struct db db;
	int window_s = 0, code = take_name(cli, options, argc, argv, "campaign schedule");

	if (code == EXIT_DONE)
		code = check_time(cli, "--at", s.at);
	if (code == EXIT_DONE)
		code = check_time(cli, "--not-after", s.not_after);
	if (code != EXIT_DONE)
		return code;
	if ((s.at != NULL) == s.never || (s.never && (s.not_after || s.window || s.repeat)))
		return cli_fail(
		    cli, EXIT_USAGE, "campaign schedule needs --at TIME, or --never alone");
	if (s.window != NULL && (window_s = campaign_duration(slice_str(s.window))) < 0)
		return cli_fail(
		    cli, EXIT_USAGE, "--window is a time like 90s, 15m, 2h or 3d, at most 366d");
	arena_init(&arena, 4096);
	if (s.repeat != NULL && (s.repeat = campaign_repeat(slice_str(s.repeat), &arena)) == NULL)
		code = cli_fail(
		    cli, EXIT_USAGE, "--repeat is daily, weekly, monthly, or like: every 2 days");
	if (code == EXIT_DONE && (code = cli_open_db(cli, &db)) == EXIT_DONE) {
		code = s.never ? EXIT_DONE : campaign_fit(cli, &db, argv[0]);
		if (code == EXIT_DONE)
			code = write_schedule(cli, &db, argv[0], &s, window_s);
		db_close(&db);
	}
	arena_release(&arena);
	return code;
}

/* ---------------------------------------------------------------- moves */

/* 1 moved, 0 not in one of the states any more, -1 with db->error. */
static int
move_run(struct db *db, int64_t run, const char *from, const char *to, const char *why)
{
	char id[24];
	const char *params[] = { id, from, to, why };
	PGresult *r;
	int moved;

	(void)snprintf(id, sizeof(id), "%lld", (long long)run);
	r = db_query(db, "SELECT kairan.run_move($1, $2, $3, $4)", 4, params);
	if (r == NULL)
		return -1;
	moved = db_text(r, 0, 0)[0] == 't';
	PQclear(r);
	return moved;
}

static const char *
by_whom(const char *what, char *dst, size_t size)
{
	const struct passwd *pw = getpwuid(getuid());

	(void)snprintf(dst, size, "%s by %s", what, pw != NULL ? pw->pw_name : "?");
	return dst;
}

static void
print_moved(struct cli *cli, const char *name, const struct campaign_run *run, const char *state,
    const char *tail)
{
	if (cli->json)
		cli_print_json(json_pack(
		    "{s:s, s:s, s:s}", "campaign", name, "run_key", run->key, "state", state));
	else
		printf("run %s of %s %s%s\n", run->key, name, state, tail);
}

/* Goes on with a lane or an origin that the breaker has paused in a run that is under way. */
static int
resume_part(struct cli *cli, struct db *db, const char *name, const char *key, bool is_origin,
    const char *part)
{
	const char *params[2] = { NULL, part }, *kind = is_origin ? "origin" : "lane";
	struct campaign_run run;
	char id[24];
	PGresult *r;
	int code = campaign_find_run(cli, db, name, key, "{running,paused}", &run);

	if (code != EXIT_DONE)
		return code;
	(void)snprintf(id, sizeof(id), "%lld", (long long)run.id);
	params[0] = id;
	r = db_query(db,
	    is_origin ? "SELECT kairan.origin_resume($1, $2)" : "SELECT kairan.lane_resume($1, $2)",
	    2, params);
	if (r == NULL)
		return cli_db_failed(
		    cli, db, is_origin ? "resuming the origin" : "resuming the lane");
	if (PQgetisnull(r, 0, 0))
		code = cli_fail(cli, EXIT_NOTHING,
		    "%s %s of run %s is not paused: see kairan status for those that are", kind,
		    part, run.key);
	else {
		cli_audit(db, is_origin ? "campaign resume --origin" : "campaign resume --lane",
		    name, part);
		if (cli->json)
			cli_print_json(
			    json_pack("{s:s, s:s, s:s, s:I}", "campaign", name, "run_key", run.key,
				kind, part, "recipients", (json_int_t)db_int(r, 0)));
		else
			printf("%s %s of run %s goes on, %s recipients waited\n", kind, part,
			    run.key, db_text(r, 0, 0));
	}
	PQclear(r);
	return code;
}

/* The others go without a judgement of the canary; a paused run goes on. */
static int
end_canary(struct cli *cli, struct db *db, const char *name, const char *key)
{
	struct campaign_run run;
	char id[24];
	const char *params[] = { id };
	PGresult *r;
	int code = campaign_find_run(cli, db, name, key, "{running,paused}", &run);

	if (code != EXIT_DONE)
		return code;
	(void)snprintf(id, sizeof(id), "%lld", (long long)run.id);
	r = db_query(db, "SELECT kairan.canary_end($1)", 1, params);
	if (r == NULL)
		return cli_db_failed(cli, db, "ending the canary");
	if (db_text(r, 0, 0)[0] != 't')
		code = cli_fail(cli, EXIT_NOTHING,
		    "no canary holds back run %s of %s; kairan campaign status tells of it",
		    run.key, name);
	PQclear(r);
	if (code != EXIT_DONE)
		return code;
	if (strcmp(run.state, "paused") == 0 && move_run(db, run.id, "{paused}", "running", "") < 0)
		return cli_db_failed(cli, db, "changing the run");
	cli_audit(db, "campaign resume --end-canary", name, run.key);
	print_moved(cli, name, &run, "running", " without its canary");
	return EXIT_DONE;
}

/* The shape that pause and resume share. */
static int
move_command(
    struct cli *cli, int argc, char **argv, const char *words, const char *states, bool resume)
{
	const char *key = NULL, *lane = NULL, *origin = NULL;
	bool without_canary = false;
	const struct cli_option options[] = {
		{ .name = "run-key", .value_name = "KEY", .value = &key },
		{ .name = resume ? "lane" : NULL, .value_name = "NAME", .value = &lane },
		{ .name = resume ? "origin" : NULL, .value_name = "NAME", .value = &origin },
		{ .name = resume ? "end-canary" : NULL, .flag = &without_canary },
		{ 0 },
	};
	struct campaign_run run;
	const char *to = "paused";
	char why[100];
	struct db db;
	int moved, code = take_name(cli, options, argc, argv, words);

	if (code == EXIT_DONE)
		code = cli_open_db(cli, &db);
	if (code != EXIT_DONE)
		return code;
	if (lane != NULL || origin != NULL || without_canary) {
		code = lane != NULL || origin != NULL
		    ? resume_part(
			  cli, &db, argv[0], key, lane == NULL, lane != NULL ? lane : origin)
		    : end_canary(cli, &db, argv[0], key);
		db_close(&db);
		return code;
	}
	code = campaign_find_run(cli, &db, argv[0], key, states, &run);
	if (code == EXIT_DONE) {
		/* a run whose planning was interrupted is planned anew */
		if (resume)
			to = run.sealed ? "running" : "scheduled";
		moved = move_run(
		    &db, run.id, states, to, resume ? "" : by_whom("paused", why, sizeof(why)));
		if (moved < 0)
			code = cli_db_failed(cli, &db, "changing the run");
		else if (moved == 0)
			code = cli_fail(cli, EXIT_NOTHING, "run %s of %s is %s: nothing to %s",
			    run.key, argv[0], run.state, resume ? "resume" : "pause");
		else {
			cli_audit(&db, words, argv[0], run.key);
			print_moved(cli, argv[0], &run, to,
			    resume ? "" : "; kairan campaign resume goes on");
		}
	}
	db_close(&db);
	return code;
}

int
campaign_pause(struct cli *cli, int argc, char **argv)
{
	return move_command(
	    cli, argc, argv, "campaign pause", "{scheduled,planning,running}", false);
}

int
campaign_resume(struct cli *cli, int argc, char **argv)
{
	return move_command(cli, argc, argv, "campaign resume", "{paused}", true);
}

/* ---------------------------------------------------------------- cancel */

/* Rows of a run that may no more be sent; -1 with db->error. A deadlock with a dispatcher's
 * claim ends one of both; ours is tried again. */
static int64_t
cancel_rows(struct db *db, int64_t run, const char *why)
{
	char id[24];
	const char *params[] = { id, why };
	int64_t n = -1;

	(void)snprintf(id, sizeof(id), "%lld", (long long)run);
	for (int i = 0; i < DEADLOCK_TRIES && n < 0; i++) {
		PGresult *r = db_query(db,
		    "SELECT kairan.send_move_all($1, '{queued,deferred}', 'cancelled', $2)", 2,
		    params);

		if (r == NULL && strcmp(db->sqlstate, "40P01") != 0)
			return -1;
		if (r != NULL)
			n = db_int(r, 0);
		PQclear(r);
	}
	return n;
}

/* What dispatchers hold comes back as queued or ends; so look again until nobody holds any. */
static int64_t
cancel_all(struct db *db, int64_t run, const char *why, int64_t *held)
{
	int64_t total = 0;

	*held = 0;
	for (int i = 0; i < CANCEL_POLLS; i++) {
		int64_t n = cancel_rows(db, run, why);
		json_t *p = n < 0 ? NULL : campaign_progress(db, run);

		if (p == NULL)
			return -1;
		total += n;
		*held = campaign_count(p, "sending");
		n = campaign_count(p, "queued") + campaign_count(p, "deferred");
		json_decref(p);
		if (*held == 0 && n == 0)
			break;
		sleep_ms(CANCEL_MS);
	}
	return total;
}

static int
cancel_run(struct cli *cli, struct db *db, const char *name, const struct campaign_run *run,
    const char *states)
{
	char why[100], a[32];
	int64_t n, held = 0;
	int moved;

	(void)by_whom("cancelled", why, sizeof(why));
	moved = move_run(db, run->id, states, "cancelled", why);
	if (moved < 0)
		return cli_db_failed(cli, db, "cancelling the run");
	if (moved == 0)
		return cli_fail(cli, EXIT_NOTHING, "run %s of %s is %s: nothing to cancel",
		    run->key, name, run->state);
	cli_audit(db, "campaign cancel", name, run->key);
	n = cancel_all(db, run->id, why, &held);
	if (n < 0)
		return cli_db_failed(
		    cli, db, "cancelling recipients (the run itself is cancelled)");
	if (cli->json)
		cli_print_json(json_pack("{s:s, s:s, s:s, s:I, s:I}", "campaign", name, "run_key",
		    run->key, "state", "cancelled", "recipients", (json_int_t)n, "still_held",
		    (json_int_t)held));
	else {
		printf("run %s of %s cancelled: %s recipients will not be sent to\n", run->key,
		    name, cli_number(n, a));
		if (held > 0)
			printf("%s are in the hands of a dispatcher and end as sent, cancelled or "
			       "in doubt\n",
			    cli_number(held, a));
	}
	return EXIT_DONE;
}

/* No run is under way: the next one is taken back, if there is one. */
static int
cancel_schedule(struct cli *cli, struct db *db, const char *name)
{
	PGresult *r = db_query(db,
	    "UPDATE kairan.campaign SET start_at = NULL, recurrence = '', updated_at = now() "
	    "WHERE name = $1 AND start_at IS NOT NULL RETURNING id",
	    1, &name);
	int rows;

	if (r == NULL)
		return cli_db_failed(cli, db, "taking the schedule back");
	rows = PQntuples(r);
	PQclear(r);
	if (rows == 0)
		return cli_fail(
		    cli, EXIT_NOTHING, "campaign %s has no run under way and no schedule", name);
	cli_audit(db, "campaign cancel", name, "schedule");
	if (cli->json)
		cli_print_json(json_pack("{s:s, s:b}", "campaign", name, "schedule", 0));
	else
		printf("%s is not scheduled any more\n", name);
	return EXIT_DONE;
}

int
campaign_cancel(struct cli *cli, int argc, char **argv)
{
	static const char states[] = "{scheduled,planning,running,paused}";
	const char *key = NULL;
	const struct cli_option options[] = {
		{ .name = "run-key", .value_name = "KEY", .value = &key },
		{ 0 },
	};
	struct campaign_run run;
	struct db db;
	int code = take_name(cli, options, argc, argv, "campaign cancel");

	if (code == EXIT_DONE)
		code = cli_open_db(cli, &db);
	if (code != EXIT_DONE)
		return code;
	code = campaign_find_run_quietly(cli, &db, argv[0], key, states, &run);
	if (code == EXIT_DONE)
		code = cancel_run(cli, &db, argv[0], &run, states);
	else if (code == EXIT_NOTHING)
		code = cancel_schedule(cli, &db, argv[0]);
	db_close(&db);
	return code;
}

/* ---------------------------------------------------------------- retry */

static int
retry_run(struct cli *cli, struct db *db, const char *name, const struct campaign_run *run)
{
	char id[24], a[32];
	const char *params[] = { id };
	PGresult *r;
	int64_t n;

	(void)snprintf(id, sizeof(id), "%lld", (long long)run->id);
	if (!run->sealed)
		return cli_fail(cli, EXIT_NOTHING,
		    "run %s of %s is %s and has no recipients to try again", run->key, name,
		    run->state);
	r = db_query(db, "SELECT kairan.run_retry_failed($1)", 1, params);
	if (r == NULL)
		return cli_db_failed(cli, db, "queueing failed recipients again");
	n = db_int(r, 0);
	PQclear(r);
	if (n > 0)
		cli_audit(db, "campaign retry", name, run->key);
	if (cli->json)
		cli_print_json(json_pack("{s:s, s:s, s:I}", "campaign", name, "run_key", run->key,
		    "queued", (json_int_t)n));
	else if (n == 0)
		printf("run %s of %s: nobody failed for a temporary reason\n", run->key, name);
	else
		printf("run %s of %s: %s recipients are tried again\n", run->key, name,
		    cli_number(n, a));
	return n > 0 ? EXIT_DONE : EXIT_NOTHING;
}

int
campaign_retry(struct cli *cli, int argc, char **argv)
{
	const char *key = NULL;
	bool failed = false;
	const struct cli_option options[] = {
		{ .name = "run-key", .value_name = "KEY", .value = &key },
		{ .name = "failed", .flag = &failed },
		{ 0 },
	};
	struct campaign_run run;
	struct db db;
	int code = take_name(cli, options, argc, argv, "campaign retry");

	if (code != EXIT_DONE)
		return code;
	if (!failed)
		return cli_fail(cli, EXIT_USAGE,
		    "campaign retry needs --failed: say what is to be tried again");
	code = cli_open_db(cli, &db);
	if (code != EXIT_DONE)
		return code;
	code = campaign_find_run(cli, &db, argv[0], key, NULL, &run);
	if (code == EXIT_DONE)
		code = retry_run(cli, &db, argv[0], &run);
	db_close(&db);
	return code;
}
