/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kairan-producer: plans due runs and hands their recipients over to the dispatchers. Any
 * number may run; one of them, by lease, does the work.
 *
 * Threads, each with a connection of its own: the main one hands over, the planner plans one run
 * after the other, the third calls hooks, one asks Amazon SES when mail goes by it, and with
 * producer.metrics_listen another reads figures for /metrics. They share the configuration, which does not change, and what is atomic.
 */
#include <curl/curl.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "account.h"
#include "config.h"
#include "contain.h"
#include "crash.h"
#include "db.h"
#include "exit.h"
#include "figures.h"
#include "handover.h"
#include "hook.h"
#include "lease.h"
#include "log.h"
#include "metric.h"
#include "metrics_server.h"
#include "planner.h"
#include "policy.h"
#include "settings.h"
#include "wake.h"
#include "warm.h"

#define AGAIN_MS 1000 /* between attempts to reach PostgreSQL */
#define ROLE "kairan_producer"
#define FIGURES_MS 5000	  /* between two looks at the figures for /metrics */
#define DOUBT_EVERY_S 5	  /* looks at recipients in doubt and at what is too late */
#define EXPIRE_GRACE_S 55 /* with DOUBT_EVERY_S a minute at most */
#define POLICY_EVERY_S 60
#define LOOK_MS 100	/* between two looks for what should not wait, within a longer poll_ms */
#define JOIN_MAX "1000" /* waiting events looked for in one round */
#define DROP_MAX "20"	/* runs dropped in one round of retention */
#define FOLD_MAX "5000" /* rows of tally summed in one look */

static atomic_bool stop_asked; /* set by the signal handler, read by all threads */

struct producer {
	struct config config;
	struct policy *policy;	       /* of the main thread; settings lie over it */
	struct policy *planner_policy; /* the same for the planner */
	struct rds_address redis;
	atomic_bool leading;	/* we hold the lease: the other threads may work */
	atomic_llong epoch;	/* of the lease */
	struct account account; /* asked by a thread of its own, read by two others */
	atomic_bool planning;	/* the planner has a run in hand */
	struct wake planned;	/* the main thread: a run can be handed over */
	struct wake due;	/* the planner: a run can be planned */
	bool once;
	time_t doubt_looked;  /* last look at who is to be sent to again, or too late */
	time_t policy_looked; /* ... at rests and provisional bounces */
	atomic_ullong rounds, failed_rounds;
	struct metrics_server *metrics; /* NULL: off */
	int64_t worked;			/* runs seen due or running since the start */
};

static void
on_signal(int number)
{
	(void)number;
	atomic_store(&stop_asked, true);
}

static void
nap_ms(long ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

	if (!atomic_load(&stop_asked))
		(void)nanosleep(&t, NULL);
}

/* Makes sure there is a connection with the right schema; says once why not. */
static bool
have_db(struct db *db, const struct config *config, const char *name, bool *complained)
{
	struct err err;

	if (db->conn != NULL && !db_is_lost(db))
		return true;
	db_close(db);
	if (db_open(db, config->database_url, ROLE, name, &err) == 0 &&
	    db_check_schema(db, &err) == 0) {
		if (*complained && strcmp(name, "kairan-producer") == 0)
			log_info("PostgreSQL is back");
		*complained = false;
		return true;
	}
	db_close(db);
	if (!*complained)
		log_warn("%s; trying again", err.msg);
	*complained = true;
	nap_ms(AGAIN_MS);
	return false;
}

/* The next run to be planned: one that was begun, else one that is due; 0: none. Late ones are
 * missed, not sent. */
static int
next_run(struct db *db)
{
	PGresult *r;
	int run = 0;

	r = db_query(db,
	    "SELECT count(kairan.run_move(id, '{scheduled}', 'missed', 'not started before its "
	    "latest time')) "
	    "FROM kairan.run WHERE state = 'scheduled' AND due_at <= now() AND not_after < now()",
	    0, NULL);
	if (r == NULL) {
		log_warn("looking for runs error=\"%s\"", db->error);
		return 0;
	}
	PQclear(r);
	r = db_query(db,
	    /* one that came in late since the statement above waits for the next round */
	    "SELECT id FROM kairan.run WHERE state = 'planning' OR (state = 'scheduled' AND due_at "
	    "<= now() AND (not_after IS NULL OR not_after >= now())) "
	    "ORDER BY state = 'planning' DESC, due_at, id LIMIT 1",
	    0, NULL);
	if (r != NULL)
		run = (int)db_int(r, 0);
	else
		log_warn("looking for runs error=\"%s\"", db->error);
	PQclear(r);
	return run;
}

/* What the account allows, before settings are read. */
static void
apply_account(struct producer *p, struct policy *policy)
{
	struct rds_account a;
	double rate;

	account_peek(&p->account, &a);
	if (a.at <= 0)
		return;
	rate = p->config.ses_rate > 0 ? (double)p->config.ses_rate : a.max_rate * ACCOUNT_SHARE;
	policy_set_account(policy, rate, a.max_24h > 0 ? (uint64_t)a.max_24h : 0);
}

static void
plan(struct producer *p, struct db *db, int run)
{
	char number[16], why[400];
	const char *params[] = { number, why };
	struct err err = { 0 };

	(void)snprintf(number, sizeof(number), "%d", run);
	CRASH_POINT("run_found");
	apply_account(p, p->planner_policy);
	if (settings_read(db, p->planner_policy) < 0) {
		log_warn("run waits run=%d error=\"%s\"", run, db->error);
		return;
	}
	if (db_run(db, "SELECT kairan.run_move($1, '{scheduled}', 'planning')", 1, params) < 0) {
		log_warn("run waits run=%d error=\"%s\"", run, db->error);
		return;
	}
	switch (planner_run(
	    db, &p->config, p->planner_policy, run, atomic_load(&p->epoch), &stop_asked, &err)) {
	case PLANNER_DONE:
		wake_up(&p->planned);
		break;
	case PLANNER_AGAIN:
		log_warn("planning interrupted run=%d why=\"%s\"", run, err.msg);
		nap_ms(AGAIN_MS);
		break;
	case PLANNER_FAILED:
		/* when another producer took over meanwhile, the fault may be that it did */
		if (!atomic_load(&p->leading))
			break;
		log_error("planning failed run=%d why=\"%s\"", run, err.msg);
		(void)snprintf(why, sizeof(why), "%s", err.msg);
		if (db_run(db, "SELECT kairan.run_move($1, '{planning}', 'failed', $2)", 2,
			params) < 0)
			log_warn("not noted error=\"%s\"", db->error);
		break;
	}
	/* failed, or cancelled meanwhile: does nothing to a run that is sent or goes on */
	if (db_run(db, "SELECT kairan.plan_discard($1)", 1, params) < 0)
		log_warn("working tables stay run=%d error=\"%s\"", run, db->error);
}

/* Runs are sealed without statistics of their rows; gathering them would keep the first ones waiting. */
static void
gather_statistics(struct db *db)
{
	PGresult *r = db_query(db, "SELECT kairan.plan_analyze()", 0, NULL);

	if (r == NULL)
		log_warn("statistics wait error=\"%s\"", db->error);
	else if (db_int(r, 0) > 0)
		log_debug("statistics gathered run=%s", db_text(r, 0, 0));
	PQclear(r);
}

static void *
planner_thread(void *context)
{
	struct producer *p = context;
	struct db db = { 0 };
	bool complained = true; /* the main thread says it */
	int run;

	while (!atomic_load(&stop_asked)) {
		if (!atomic_load(&p->leading) ||
		    !have_db(&db, &p->config, "kairan-producer planner", &complained)) {
			(void)wake_wait(&p->due, p->config.producer_poll_ms);
			continue;
		}
		run = next_run(&db);
		if (run == 0) {
			if (!wake_wait(&p->due, p->config.producer_poll_ms))
				gather_statistics(&db);
			continue;
		}
		atomic_store(&p->planning, true);
		plan(p, &db, run);
		atomic_store(&p->planning, false);
	}
	db_close(&db);
	return NULL;
}

static void *
hook_thread(void *context)
{
	struct producer *p = context;
	struct db db = { 0 };
	bool complained = true;

	while (!atomic_load(&stop_asked)) {
		if (atomic_load(&p->leading) &&
		    have_db(&db, &p->config, "kairan-producer hooks", &complained) &&
		    hook_round(&db, &p->config) < 0)
			log_warn("hooks wait error=\"%s\"", db.error);
		nap_ms(p->config.producer_poll_ms);
	}
	db_close(&db);
	return NULL;
}

/* Only the leader asks; without credentials of its own it goes without. */
static void *
account_thread(void *context)
{
	struct producer *p = context;
	struct db db = { 0 };
	bool complained = false, lost = true;

	while (!atomic_load(&stop_asked)) {
		struct err err = { 0 };
		int asked = 1;

		if (atomic_load(&p->leading))
			asked = account_ask(&p->account, &p->config,
			    have_db(&db, &p->config, "kairan-producer account", &lost) ? &db : NULL,
			    &stop_asked, &err);
		if (asked < 0 && !complained)
			log_warn("account at Amazon SES not known error=\"%s\"", err.msg);
		complained = asked < 0 || (asked > 0 && complained);
		for (int ms = asked > 0 ? 1000 : ACCOUNT_EVERY_S * 1000;
		     ms > 0 && !atomic_load(&stop_asked); ms -= 100)
			nap_ms(100);
	}
	db_close(&db);
	return NULL;
}

static void
publish_figures(struct producer *p, struct db *db)
{
	const struct figures_own own = { .is_leading = atomic_load(&p->leading),
		.is_planning = atomic_load(&p->planning),
		.rounds = atomic_load(&p->rounds),
		.failed_rounds = atomic_load(&p->failed_rounds) };
	struct buf text;

	buf_init(&text, METRIC_TEXT_MAX);
	figures_text(&text, db, &own);
	metrics_server_publish(p->metrics, &text);
	buf_release(&text);
}

static void *
figures_thread(void *context)
{
	struct producer *p = context;
	struct db db = { 0 };
	bool complained = true;

	while (!atomic_load(&stop_asked)) {
		(void)have_db(&db, &p->config, "kairan-producer figures", &complained);
		publish_figures(p, &db);
		for (int ms = 0; ms < FIGURES_MS && !atomic_load(&stop_asked); ms += 100)
			nap_ms(100);
	}
	db_close(&db);
	return NULL;
}

/* Dispatchers that are silent for too long: what they held is in doubt. */
static int
bury_dead(struct db *db, const struct config *config)
{
	char silence[32];
	const char *params[] = { silence };
	PGresult *r;

	(void)snprintf(silence, sizeof(silence), "%ld s", config->producer_dead_after_s);
	r = db_query(db,
	    "SELECT id, name, kairan.dispatcher_bury(id) FROM kairan.dispatcher "
	    "WHERE stopped_at IS NULL AND heartbeat_at < now() - $1::interval",
	    1, params);
	if (r == NULL)
		return -1;
	for (int i = 0; i < PQntuples(r); i++)
		log_error("dispatcher lost id=%s name=%s in_doubt=%s", db_text(r, i, 0),
		    db_text(r, i, 1), db_text(r, i, 2));
	PQclear(r);
	return 0;
}

/* on_doubt = resend: whoever is in doubt for longer than evidence takes gets it once more. */
static int
resend_doubtful(struct db *db, const struct config *config)
{
	char patience[32];
	const char *params[] = { patience };
	PGresult *r;

	(void)snprintf(patience, sizeof(patience), "%ld s", config->producer_resend_after_s);
	r = db_query(db, "SELECT kairan.doubt_policy($1::interval)", 1, params);
	if (r == NULL)
		return -1;
	if (db_int(r, 0) > 0)
		log_warn("in doubt and sent again, as their campaigns ask: recipients=%s",
		    db_text(r, 0, 0));
	PQclear(r);
	return 0;
}

/* What dispatchers gave back or put off after a run was cancelled; whoever cancelled has had some
 * seconds to do it himself. */
static int
sweep_cancelled(struct db *db)
{
	return db_run(db,
	    "SELECT kairan.send_move_all(run_id, '{queued,deferred}', 'cancelled', 'cancelled') "
	    "FROM kairan.campaign_progress WHERE state = 'cancelled' AND planned > 0 "
	    "AND finished_at > now() - interval '1 day' AND finished_at < now() - interval '3 s' "
	    "AND (queued > 0 OR deferred > 0)",
	    0, NULL);
}

/* Recipients whose time is over, whether or not anybody works on them. Dispatchers end those that they
 * have in hand at that age themselves: they come first. */
static int
expire(struct db *db, const struct config *config)
{
	char age[32], unsent[32];
	const char *params[] = { age, config->producer_expire_unsent_s > 0 ? unsent : NULL };
	PGresult *r;

	(void)snprintf(
	    age, sizeof(age), "%ld s", config->dispatcher_expire_after_s + EXPIRE_GRACE_S);
	(void)snprintf(unsent, sizeof(unsent), "%ld s", config->producer_expire_unsent_s);
	r = db_query(db,
	    "SELECT run_id, recipients FROM kairan.send_expire($1::interval, $2::interval)", 2,
	    params);
	if (r == NULL)
		return -1;
	for (int i = 0; i < PQntuples(r); i++)
		log_warn(
		    "recipients expired run=%s recipients=%s", db_text(r, i, 0), db_text(r, i, 1));
	PQclear(r);
	return 0;
}

/* Origins, lanes and runs that bounce or are complained about too much are paused before a provider does it. */
static int
check_breaker(struct db *db)
{
	PGresult *r =
	    db_query(db, "SELECT run_id, lane, why, origin FROM kairan.breaker_check()", 0, NULL);

	if (r == NULL)
		return -1;
	for (int i = 0; i < PQntuples(r); i++)
		if (!PQgetisnull(r, i, 3))
			log_error("origin paused run=%s origin=\"%s\" why=\"%s\"", db_text(r, i, 0),
			    db_text(r, i, 3), db_text(r, i, 2));
		else if (PQgetisnull(r, i, 1))
			log_error(
			    "run paused run=%s why=\"%s\"", db_text(r, i, 0), db_text(r, i, 2));
		else
			log_error("lane paused run=%s lane=%s why=\"%s\"", db_text(r, i, 0),
			    db_text(r, i, 1), db_text(r, i, 2));
	PQclear(r);
	return 0;
}

/* Canaries that were sent wait, those that have waited are judged. */
static int
check_canaries(struct db *db)
{
	PGresult *r = db_query(db, "SELECT run_id, phase, why FROM kairan.canary_check()", 0, NULL);

	if (r == NULL)
		return -1;
	for (int i = 0; i < PQntuples(r); i++)
		if (PQgetisnull(r, i, 2))
			log_info("canary run=%s phase=%s", db_text(r, i, 0), db_text(r, i, 1));
		else
			log_error(
			    "run paused run=%s why=\"%s\"", db_text(r, i, 0), db_text(r, i, 2));
	PQclear(r);
	return 0;
}

/* Events whose row was not known when they came. */
static int
join_events(struct db *db)
{
	PGresult *r = db_query(db, "SELECT kairan.feedback_join(" JOIN_MAX ")", 0, NULL);

	if (r == NULL)
		return -1;
	if (db_int(r, 0) > 0)
		log_info("events joined to their rows later: %s", db_text(r, 0, 0));
	PQclear(r);
	return 0;
}

/* Who comes back on probation; bounces of a domain that calls everybody unknown. */
static int
suppression_policy(struct db *db)
{
	PGresult *r =
	    db_query(db, "SELECT domain, addresses FROM kairan.suppress_provisional()", 0, NULL);

	if (r == NULL)
		return -1;
	for (int i = 0; i < PQntuples(r); i++)
		log_warn("domain calls most recipients unknown, its bounces are provisional "
			 "domain=%s addresses=%s",
		    db_text(r, i, 0), db_text(r, i, 1));
	PQclear(r);
	r = db_query(db, "SELECT kairan.probation_begin()", 0, NULL);
	if (r == NULL)
		return -1;
	if (db_int(r, 0) > 0)
		log_info("addresses back on probation: %s", db_text(r, 0, 0));
	PQclear(r);
	return 0;
}

/* Minutes that are over go into the totals of their runs. */
static int
fold_tally(struct db *db)
{
	return db_run(db, "SELECT kairan.tally_fold(" FOLD_MAX ")", 0, NULL);
}

/* What is older than retention.* says. */
static int
drop_old(struct db *db, const struct config *config)
{
	char send_days[16], event_days[16];
	const char *params[] = { send_days, event_days };
	PGresult *r;

	if (config->retention_send_days == 0 && config->retention_event_days == 0)
		return 0;
	(void)snprintf(send_days, sizeof(send_days), "%ld", config->retention_send_days);
	(void)snprintf(event_days, sizeof(event_days), "%ld", config->retention_event_days);
	r = db_query(db,
	    "SELECT what, object, outcome FROM kairan.retention_apply($1::int, $2::int, "
	    "false, " DROP_MAX ")",
	    2, params);
	if (r == NULL)
		return -1;
	for (int i = 0; i < PQntuples(r); i++)
		log_info("retention %s=\"%s\" outcome=\"%s\"", db_text(r, i, 0), db_text(r, i, 1),
		    db_text(r, i, 2));
	PQclear(r);
	return 0;
}

static int
single_jobs(struct producer *p, struct db *db, time_t *daily)
{
	time_t now = time(NULL);
	char days[24];
	const char *params[] = { days };

	if (db_run(db, "SELECT kairan.schedule_due()", 0, NULL) < 0)
		return -1;
	if (bury_dead(db, &p->config) < 0 || sweep_cancelled(db) < 0 || check_breaker(db) < 0 ||
	    check_canaries(db) < 0 || join_events(db) < 0)
		return -1;
	if (now - p->policy_looked >= POLICY_EVERY_S) {
		p->policy_looked = now;
		if (suppression_policy(db) < 0 || warm_round(db) < 0)
			return -1;
	}
	if (now - p->doubt_looked >= DOUBT_EVERY_S) {
		p->doubt_looked = now;
		if (resend_doubtful(db, &p->config) < 0 || expire(db, &p->config) < 0 ||
		    fold_tally(db) < 0)
			return -1;
	}
	if (now - *daily < 3600)
		return 0;
	*daily = now;
	if (drop_old(db, &p->config) < 0)
		return -1;
	(void)snprintf(days, sizeof(days), "%ld", p->config.sendmail_keep_days);
	return db_run(db,
	    "SELECT kairan.feedback_month_open(current_date), "
	    "kairan.feedback_month_open((current_date + interval '1 month')::date), "
	    "kairan.mail_forget($1)",
	    1, params);
}

/* --once: runs that are due or under way, and hooks that wait. -1: PostgreSQL failed. */
static int64_t
work_left(struct db *db)
{
	PGresult *r = db_query(db,
	    "SELECT (SELECT count(*) FROM kairan.run WHERE state IN ('planning', 'running') "
	    "OR (state = 'scheduled' AND due_at <= now())) + "
	    "(SELECT count(*) FROM kairan.campaign WHERE start_at <= now()) + "
	    "(SELECT count(*) FROM kairan.run_event WHERE hooked_at IS NULL AND hook_tries = 0 "
	    "AND event IN ('finished', 'paused', 'failed'))",
	    0, NULL);
	int64_t n = r != NULL ? db_int(r, 0) : -1;

	PQclear(r);
	return n;
}

static int
round_of_leader(
    struct producer *p, struct db *db, time_t *daily, struct handover *handover, int64_t epoch)
{
	struct err err;
	int set;

	atomic_fetch_add(&p->rounds, 1);
	apply_account(p, p->policy);
	set = settings_read(db, p->policy);
	if (set > 0)
		log_info("pace set anew");
	if (set >= 0 && single_jobs(p, db, daily) == 0 &&
	    handover_round(handover, db, epoch, &err) == 0)
		return 0;
	atomic_fetch_add(&p->failed_rounds, 1);
	return -1;
}

/* Until the next round, or a run that was planned or a single mail, which should not wait so long. The
 * planner is told of runs that are due. */
static void
nap_until_work(struct producer *p, struct db *db)
{
	bool waits = false;

	for (long ms = p->config.producer_poll_ms; ms > 0 && !waits && !atomic_load(&stop_asked);
	     ms -= LOOK_MS) {
		PGresult *r;

		waits = wake_wait(&p->planned, ms < LOOK_MS ? ms : LOOK_MS);
		if (waits || ms <= LOOK_MS || !atomic_load(&p->leading))
			continue;
		r = db_query(db,
		    "SELECT kairan.mail_waits(), EXISTS (SELECT FROM kairan.run WHERE state = "
		    "'scheduled' AND due_at <= now())",
		    0, NULL);
		waits = r != NULL && db_text(r, 0, 0)[0] == 't';
		if (r != NULL && db_text(r, 0, 1)[0] == 't')
			wake_up(&p->due);
		PQclear(r);
	}
}

static int
lead(struct producer *p, struct db *db, struct lease *lease, struct handover *handover)
{
	bool complained = false;
	time_t daily = 0;
	int64_t left;
	int held;

	while (!atomic_load(&stop_asked)) {
		if (!have_db(db, &p->config, "kairan-producer", &complained)) {
			atomic_store(&p->leading, false);
			if (p->once)
				return EXIT_TEMPORARY;
			continue;
		}
		held = lease_hold(lease, db);
		if (held != (atomic_load(&p->leading) ? 1 : 0) && held >= 0)
			log_info(
			    held > 0 ? "leading epoch=%lld" : "another producer leads epoch=%lld",
			    (long long)lease->epoch);
		if (held > 0)
			atomic_store(&p->epoch, lease->epoch);
		atomic_store(&p->leading, held > 0);
		if (held > 0 && round_of_leader(p, db, &daily, handover, lease->epoch) < 0)
			log_warn("round failed error=\"%s\"", db->error);
		if (p->once && (left = work_left(db)) >= 0) {
			if (left == 0 && !atomic_load(&p->planning))
				return p->worked > 0 ? EXIT_DONE : EXIT_NOTHING;
			p->worked += left;
		}
		nap_until_work(p, db);
	}
	return EXIT_DONE;
}

static int
run_producer(struct producer *p)
{
	struct handover *handover = handover_new(&p->config, p->policy, &p->redis, &p->account);
	struct db db = { 0 };
	struct lease lease;
	pthread_t planner, hooks, figures, asking;
	bool is_ses = account_is_ses(&p->config);
	int status = EXIT_FAILED;

	lease_init(&lease, "producer");
	if (handover == NULL)
		fatal(EXIT_FAILED, "no memory");
	if (pthread_create(&planner, NULL, planner_thread, p) != 0 ||
	    pthread_create(&hooks, NULL, hook_thread, p) != 0 ||
	    (is_ses && pthread_create(&asking, NULL, account_thread, p) != 0))
		fatal(EXIT_FAILED, "cannot start a thread");
	if (p->metrics != NULL && pthread_create(&figures, NULL, figures_thread, p) != 0)
		fatal(EXIT_FAILED, "cannot start a thread");
	status = lead(p, &db, &lease, handover);
	atomic_store(&stop_asked, true);
	wake_up(&p->due);
	(void)pthread_join(planner, NULL);
	(void)pthread_join(hooks, NULL);
	if (is_ses)
		(void)pthread_join(asking, NULL);
	if (p->metrics != NULL)
		(void)pthread_join(figures, NULL);
	metrics_server_free(p->metrics);
	lease_drop(&lease, &db);
	db_close(&db);
	handover_free(handover);
	return status;
}

static void
usage(FILE *out)
{
	fputs("usage: kairan-producer [--config FILE] [--once]\n"
	      "Plans due campaigns and hands their recipients over to the dispatchers.\n\n"
	      "  --config FILE  configuration (default: KAIRAN_CONFIG or " CONFIG_DEFAULT_FILE ")\n"
	      "  --once         work until nothing is due or under way, then exit: 0 done,\n"
	      "                 6 nothing was due, 75 PostgreSQL cannot be reached\n"
	      "  --version      print the version\n\n"
	      "Example, from cron every five minutes:\n"
	      "  */5 * * * * kairan-producer --once\n",
	    out);
}

/* -1: go on; else the exit status. */
static int
read_options(struct producer *p, int argc, char **argv, const char **config)
{
	static const struct option options[] = { { "config", required_argument, NULL, 'c' },
		{ "once", no_argument, NULL, 'o' }, { "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' }, { NULL, 0, NULL, 0 } };
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			*config = optarg;
			break;
		case 'o':
			p->once = true;
			break;
		case 'h':
			usage(stdout);
			return EXIT_DONE;
		case 'v':
			puts("kairan-producer " KAIRAN_VERSION);
			return EXIT_DONE;
		default:
			usage(stderr);
			return EXIT_USAGE;
		}
	}
	if (optind < argc)
		fatal(EXIT_USAGE, "unexpected argument '%s'; see kairan-producer --help",
		    argv[optind]);
	return -1;
}

int
main(int argc, char **argv)
{
	static const struct metrics_page pages[] = { { "/metrics", METRICS_SERVER_TYPE, NULL },
		{ NULL, NULL, NULL } };
	struct sigaction action = { .sa_handler = on_signal };
	struct producer p = { 0 };
	const char *path = NULL;
	struct err err = { 0 };
	int status;

	(void)log_open("kairan-producer", "info");
	contain_process();
	if ((status = read_options(&p, argc, argv, &path)) >= 0)
		return status;
	if (config_load(&p.config, path, &err) < 0 ||
	    rds_address_parse(&p.redis, p.config.redis_url, &err) < 0)
		fatal(EXIT_USAGE, "%s", err.msg);
	if (p.config.database_url[0] == '\0')
		fatal(EXIT_USAGE,
		    "no database is configured; set database.url or KAIRAN_DATABASE_URL");
	account_init(&p.account);
	wake_init(&p.planned);
	wake_init(&p.due);
	if ((p.policy = policy_new(&p.config, &err)) == NULL ||
	    (p.planner_policy = policy_new(&p.config, &err)) == NULL)
		fatal(EXIT_USAGE, "%s", err.msg);
	if (!log_open("kairan-producer", p.config.log_level))
		fatal(EXIT_USAGE, "log.level must be error, warn, info or debug");
	(void)sigaction(SIGTERM, &action, NULL);
	(void)sigaction(SIGINT, &action, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)curl_global_init(CURL_GLOBAL_DEFAULT);
	if (p.config.producer_metrics_listen[0] != '\0') {
		p.metrics = metrics_server_new(
		    p.config.producer_metrics_listen, "producer.metrics_listen", pages, NULL, &err);
		if (p.metrics == NULL)
			fatal(EXIT_USAGE, "%s", err.msg);
	}
	if (contain_begin(&p.config, CONTAIN_PRODUCER, &err) < 0)
		fatal(EXIT_FAILED, "%s", err.msg);
	status = run_producer(&p);
	curl_global_cleanup();
	policy_free(p.policy);
	policy_free(p.planner_policy);
	config_release(&p.config);
	return status;
}
