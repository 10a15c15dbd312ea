/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kairan-dispatcher: claims recipients of running campaigns, composes their mail, sends it to
 * the relay, records what became of it. Any number may run, on any number of hosts.
 *
 * SIGTERM or SIGINT: nothing new is begun, what is under way is finished and written down, what
 * was not sent is given back; no recipient is left in doubt by it. A second signal ends at once.
 * SIGHUP: the configuration, credentials and certificates are read again. Under systemd (Type=notify)
 * it tells when it is ready, reloading and stopping, and that its loop turns (WatchdogSec=).
 */
#include <curl/curl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "brakes.h"
#include "claim.h"
#include "contain.h"
#include "crash.h"
#include "db.h"
#include "dispatcher.h"
#include "exit.h"
#include "identity.h"
#include "journal.h"
#include "log.h"
#include "metric.h"
#include "metrics_server.h"
#include "notify.h"
#include "recover.h"
#include "reload.h"
#include "route.h"
#include "routes.h"
#include "runs.h"
#include "settle.h"
#include "signer.h"
#include "stats.h"
#include "stats_text.h"

#define ROLE "kairan_dispatcher"
#define AGAIN_S 1 /* between attempts to reach PostgreSQL at the start */
#define DRAIN_POLL_MS 20
#define DESCRIPTORS_SPARE 32  /* besides one for each connection that carries mail, */
#define DESCRIPTORS_MX 32     /* for questions to DNS and servers of policies */
#define STOPPING_WORD_MS 5000 /* "still stopping", so often */
#define STOPPING_WORD "EXTEND_TIMEOUT_USEC=20000000"
#define STOPPING_SPARE_S 30 /* to write outcomes down, behind the last answer */
#define PUBLISH_MS 1000	    /* /metrics */

struct program {
	struct dispatcher d;
	struct config config;
	struct rds_address redis;
	struct identity identity;
	uv_signal_t term, interrupt, hangup;
	uv_timer_t drain, publish;
	struct stats stats;
	struct memory memory;
	struct metrics_server *metrics; /* NULL: off */
	bool closing;
	bool adopt; /* --adopt */
	int status;
	const char *path;	   /* of the configuration, or NULL */
	unsigned long watchdog_ms; /* 0: nobody watches */
	uint64_t told_ms;	   /* loop clock: last word to the service manager */
	uint64_t patient_until_ms; /* while stopping */
};

static void
usage(FILE *out)
{
	fputs("usage: kairan-dispatcher [--config FILE] [--adopt]\n"
	      "Sends the recipients of running campaigns through the relay.\n\n"
	      "  --config FILE  configuration (default: KAIRAN_CONFIG or " CONFIG_DEFAULT_FILE ")\n"
	      "  --adopt        send from a copied database, or one that has lost commits, after "
	      "putting\n"
	      "                 right what the journal knows; see kairan-dispatcher(8)\n"
	      "  --version      print the version\n\n"
	      "Example, a second one on the same host:\n"
	      "  KAIRAN_DISPATCHER_NAME=second kairan-dispatcher\n",
	    out);
}

/* ---- the end ---- */

static void
close_handle(uv_handle_t *handle, void *ctx)
{
	(void)ctx;
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

static void
finish(struct program *p)
{
	struct dispatcher *d = &p->d;

	p->closing = true;
	runs_stop(d->runs);
	claim_stop(d->claimer);
	settle_stop(d->settler);
	signer_stop(d->signer);
	brakes_stop(d->brakes);
	pgloop_free(d->claims);
	pgloop_free(d->records);
	rdsloop_free(d->redis);
	d->claims = d->records = NULL;
	d->redis = NULL;
	close_handle((uv_handle_t *)&p->drain, NULL);
	close_handle((uv_handle_t *)&p->publish, NULL);
	close_handle((uv_handle_t *)&p->term, NULL);
	close_handle((uv_handle_t *)&p->interrupt, NULL);
	close_handle((uv_handle_t *)&p->hangup, NULL);
}

/* The loop turns; and an end that waits for the relay's answers is no hang. */
static void
tell_manager(struct program *p)
{
	uint64_t now = dispatcher_now_ms(&p->d);

	if (p->watchdog_ms > 0 && now - p->told_ms >= p->watchdog_ms)
		notify_service("WATCHDOG=1");
	else if (!p->d.stopping || now - p->told_ms < STOPPING_WORD_MS)
		return;
	if (p->d.stopping && now < p->patient_until_ms)
		notify_service(STOPPING_WORD);
	p->told_ms = now;
}

static void
on_drain(uv_timer_t *timer)
{
	struct program *p = timer->data;
	struct dispatcher *d = &p->d;

	tell_manager(p);
	if (d->fenced && !d->stopping) {
		p->status = EXIT_FAILED;
		d->stopping = true;
		route_stop(d->route);
	}
	if (!d->stopping)
		return;
	claim_release_late(d->claimer, NULL);
	settle_flush(d->settler);
	if (route_is_idle(d->route) && signer_is_idle(d->signer) && claim_is_idle(d->claimer) &&
	    settle_is_idle(d->settler))
		finish(p);
	else if (route_is_idle(d->route) == false)
		route_release_run(d->route, NULL); /* a claim may have come in late */
}

static void
on_signal(uv_signal_t *handle, int number)
{
	struct program *p = handle->data;

	(void)number;
	if (p->d.stopping) {
		log_error("second signal: ending at once; what is under way will be in doubt");
		_exit(EXIT_FAILED);
	}
	log_info("stopping: finishing what is under way");
	notify_service("STOPPING=1\n" STOPPING_WORD);
	CRASH_POINT("stopping");
	p->patient_until_ms = dispatcher_now_ms(&p->d) +
	    (uint64_t)(p->config.relay_dot_timeout_s + STOPPING_SPARE_S) * 1000;
	p->d.stopping = true;
	route_stop(p->d.route);
}

static void
on_hangup(uv_signal_t *handle, int number)
{
	struct program *p = handle->data;

	(void)number;
	if (p->d.stopping)
		return;
	notify_reloading();
	reload_config(&p->d, &p->config, p->path);
	notify_service("READY=1");
}

/* ---- /metrics ---- */

static void
on_publish(uv_timer_t *timer)
{
	struct program *p = timer->data;
	struct buf text;

	if (p->closing)
		return;
	buf_init(&text, METRIC_TEXT_MAX);
	stats_text(&p->d, &text);
	metrics_server_publish(p->metrics, &text);
	buf_release(&text);
}

static void
start_metrics(struct program *p)
{
	static const struct metrics_page pages[] = { { "/metrics", METRICS_SERVER_TYPE, NULL },
		{ NULL, NULL, NULL } };
	const char *listen = p->config.dispatcher_metrics_listen;
	struct err err = { 0 };

	(void)uv_timer_init(&p->d.loop, &p->publish);
	p->publish.data = p;
	if (listen[0] == '\0')
		return;
	p->metrics = metrics_server_new(listen, "dispatcher.metrics_listen", pages, NULL, &err);
	if (p->metrics == NULL)
		fatal(EXIT_USAGE, "%s", err.msg);
	(void)uv_timer_start(&p->publish, on_publish, 0, PUBLISH_MS);
}

/* ---- the beginning ---- */

static volatile sig_atomic_t early_stop;

static void
on_early_signal(int number)
{
	(void)number;
	early_stop = 1;
}

static struct journal *
open_journal(const struct program *p, struct err *err)
{
	char path[4096];
	struct journal *j;

	(void)snprintf(path, sizeof(path), "%s/dispatcher-%s.journal",
	    p->config.dispatcher_state_dir, p->config.dispatcher_name);
	j = journal_open(
	    path, p->identity.lock_id, (uint32_t)p->config.dispatcher_journal_slots, err);
	if (j != NULL && p->identity.is_new)
		journal_is_first(j);
	if (j != NULL && journal_was_damaged(j)[0] != '\0')
		log_error("the journal was not usable (%s) and is kept beside as "
			  "%s.damaged-*; what earlier lives held will be in doubt",
		    journal_was_damaged(j), path);
	return j;
}

/* Waits for PostgreSQL, settles earlier lives, registers; exits when a person has to decide. */
static struct identity_life
begin_life(struct program *p)
{
	struct sigaction action = { .sa_handler = on_early_signal };
	bool complained = false;
	struct err err = { 0 };

	(void)sigaction(SIGTERM, &action, NULL);
	(void)sigaction(SIGINT, &action, NULL);
	while (!early_stop) {
		enum recover_result result = RECOVER_AGAIN;
		struct identity_life life;
		struct db db;

		if (db_open(&db, p->config.database_url, ROLE, "kairan-dispatcher", &err) == 0 &&
		    db_check_schema(&db, &err) == 0)
			result = recover_begin(
			    &p->identity, &p->config, p->d.journal, &db, p->adopt, &life, &err);
		db_close(&db);
		if (result == RECOVER_DONE)
			return life;
		if (result == RECOVER_REFUSED)
			fatal(EXIT_FAILED, "%s", err.msg);
		if (!complained)
			log_warn("%s; trying again", err.msg);
		complained = true;
		(void)sleep(AGAIN_S);
	}
	exit(EXIT_DONE);
}

static void
check_rights(const struct config *config)
{
	struct err err;
	struct db db;
	PGresult *r;

	if (db_open(&db, config->database_url, ROLE, "kairan-dispatcher", &err) < 0)
		return;
	r = db_query(&db,
	    "SELECT rolsuper OR pg_has_role(c.relowner, 'MEMBER') FROM pg_roles, pg_class c "
	    "WHERE rolname = current_user AND c.oid = 'kairan.send'::regclass",
	    0, NULL);
	if (r != NULL && db_text(r, 0, 0)[0] == 't')
		log_warn("this database user owns the tables; give the dispatcher its own: "
			 "kairan_dispatcher");
	PQclear(r);
	db_close(&db);
}

/* As many descriptors as the limits of this process allow; a word when that is few. */
static void
raise_descriptors(const struct config *config)
{
	long carriers = config->relay_connections > config->ses_connections
	    ? config->relay_connections
	    : config->ses_connections;
	struct rlimit limit;
	rlim_t needed;

	if (strcmp(config->dispatcher_transport, "mx") == 0)
		carriers = config->mx_connections + DESCRIPTORS_MX;
	needed = (rlim_t)carriers + DESCRIPTORS_SPARE;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= needed)
		return;
	limit.rlim_cur = limit.rlim_max < needed ? limit.rlim_max : needed;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur < needed)
		log_warn("only %llu descriptors are allowed, %llu may be needed; raise "
			 "LimitNOFILE or ulimit -n",
		    (unsigned long long)limit.rlim_cur, (unsigned long long)needed);
}

static void
on_room(struct dispatcher *d)
{
	claim_kick(d->claimer);
}

static void
on_halted(struct dispatcher *d, struct live_run *run)
{
	route_release_run(d->route, run);
	claim_release_late(d->claimer, run);
}

static void
on_prepared(struct dispatcher *d)
{
	route_kick(d->route);
}

static void
on_run_refused(struct dispatcher *d, struct live_run *run, const char *why)
{
	runs_refuse(d->runs, run, why);
}

static void
on_checked(struct dispatcher *d, struct flight *f)
{
	route_add(d->route, f);
	route_kick(d->route);
}

static void
on_late(struct dispatcher *d, struct flight *f)
{
	claim_late(d->claimer, f);
}

static void
on_released(struct dispatcher *d, const struct live_run *run, const int *ids, const int *lanes,
    size_t count)
{
	claim_give_back(d->claimer, run, ids, lanes, count);
}

static const char *
trouble(const struct dispatcher *d)
{
	return d->quarantine[0] != '\0' ? d->quarantine : route_trouble_text(d->route);
}

static const struct dispatcher_news news = {
	.room = on_room,
	.halted = on_halted,
	.prepared = on_prepared,
	.refused = on_run_refused,
	.checked = on_checked,
	.late = on_late,
	.released = on_released,
	.trouble = trouble,
};

static void
start(struct program *p)
{
	struct dispatcher *d = &p->d;
	struct err err = { 0 };
	char *conninfo = db_conninfo(p->config.database_url, ROLE, "kairan-dispatcher", &err);

	if (conninfo == NULL)
		fatal(EXIT_USAGE, "%s", err.msg);
	d->claims = pgloop_new(
	    &d->loop, conninfo, p->config.database_prepared, p->config.database_timeout_s);
	d->records = pgloop_new(
	    &d->loop, conninfo, p->config.database_prepared, p->config.database_timeout_s);
	free(conninfo);
	d->redis = rdsloop_new(&d->loop, &p->redis);
	d->news = &news;
	d->stats = &p->stats;
	d->settler = settler_new(d, &err);
	if (d->settler == NULL)
		fatal(EXIT_USAGE, "%s", err.msg);
	if (brakes_new(&d->brakes, d, &err) < 0)
		fatal(EXIT_USAGE, "%s", err.msg);
	d->signer = signer_new(d);
	d->route = route_new(d, &err);
	if (d->route == NULL)
		fatal(EXIT_USAGE, "%s", err.msg);
	d->claimer = claimer_new(d);
	d->runs = runs_new(d);
	if (d->claims == NULL || d->records == NULL || d->redis == NULL || d->signer == NULL ||
	    d->claimer == NULL || d->runs == NULL)
		fatal(EXIT_FAILED, "no memory");
	runs_start(d->runs);
	(void)uv_signal_init(&d->loop, &p->term);
	(void)uv_signal_init(&d->loop, &p->interrupt);
	(void)uv_signal_init(&d->loop, &p->hangup);
	(void)uv_timer_init(&d->loop, &p->drain);
	p->term.data = p->interrupt.data = p->hangup.data = p->drain.data = p;
	(void)uv_signal_start(&p->term, on_signal, SIGTERM);
	(void)uv_signal_start(&p->interrupt, on_signal, SIGINT);
	(void)uv_signal_start(&p->hangup, on_hangup, SIGHUP);
	if (early_stop) /* since the life began, nobody has looked */
		(void)raise(SIGTERM);
	(void)uv_timer_start(&p->drain, on_drain, DRAIN_POLL_MS, DRAIN_POLL_MS);
	start_metrics(p);
}

/* Not while rows say that we hold them: PostgreSQL has lost outcomes that it had acknowledged (a
 * fail-over). They are in the journal, and the next life settles them. */
#define GOODBYE                                                                                    \
	"UPDATE kairan.dispatcher SET stopped_at = now() WHERE id = $1 AND lock_id = $2 "          \
	"AND stopped_at IS NULL "                                                                  \
	"AND NOT EXISTS (SELECT FROM kairan.tally WHERE owner = $1 GROUP BY run_id "               \
	"HAVING sum(claimed) > 0)"

static void
say_goodbye(struct program *p)
{
	const char *params[] = { p->d.owner_text, p->identity.lock_id };
	struct err err;
	struct db db;

	if (db_open(&db, p->config.database_url, ROLE, "kairan-dispatcher", &err) == 0 &&
	    db_run(&db, GOODBYE, 2, params) < 0)
		log_warn("goodbye not noted error=\"%s\"", db.error);
	db_close(&db);
}

static int
run_program(struct program *p)
{
	struct dispatcher *d = &p->d;
	struct identity_life life;
	struct err err = { 0 };

	if (identity_lock(&p->identity, &p->config, &err) < 0)
		fatal(EXIT_FAILED, "%s", err.msg);
	d->journal = open_journal(p, &err);
	if (d->journal == NULL)
		fatal(EXIT_FAILED, "%s", err.msg);
	if (memory_try_threads(&err) < 0)
		fatal(EXIT_FAILED, "%s", err.msg);
	memory_open(&p->memory, MEMORY_GROUPS, MEMORY_OWN_GROUP);
	d->memory = &p->memory;
	if (contain_begin(&p->config, CONTAIN_DISPATCHER, &err) < 0)
		fatal(EXIT_FAILED, "%s", err.msg);
	life = begin_life(p);
	d->owner = life.id;
	d->lock_id = p->identity.lock_id;
	(void)snprintf(d->owner_text, sizeof(d->owner_text), "%d", d->owner);
	check_rights(&p->config);
	if (uv_loop_init(&d->loop) != 0)
		fatal(EXIT_FAILED, "cannot make an event loop");
	d->claims_from_ms = dispatcher_now_ms(d) + life.wait_ms;
	if (life.wait_ms > 0)
		log_info("joining others: claims begin in %llu ms (dispatcher.join_s)",
		    (unsigned long long)life.wait_ms);
	start(p);
	if (strcmp(p->config.dispatcher_transport, "relay") != 0)
		log_info("dispatching id=%d name=%s transport=%s", d->owner,
		    p->config.dispatcher_name, p->config.dispatcher_transport);
	else
		log_info("dispatching id=%d name=%s relay=%s:%ld", d->owner,
		    p->config.dispatcher_name, p->config.relay_host, p->config.relay_port);
	notify_service("READY=1");
	p->watchdog_ms = notify_watchdog_ms();
	(void)uv_run(&d->loop, UV_RUN_DEFAULT);
	(void)uv_loop_close(&d->loop);
	metrics_server_free(p->metrics);
	CRASH_POINT("before_goodbye");
	if (!d->fenced)
		say_goodbye(p);
	runs_free(d->runs);
	claimer_free(d->claimer);
	route_free(d->route);
	signer_free(d->signer);
	brakes_free(d->brakes);
	settler_free(d->settler);
	journal_close(d->journal);
	identity_unlock(&p->identity);
	log_info("stopped");
	return p->status;
}

int
main(int argc, char **argv)
{
	static const struct option options[] = { { "config", required_argument, NULL, 'c' },
		{ "adopt", no_argument, NULL, 'a' }, { "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' }, { NULL, 0, NULL, 0 } };
	struct program *p = calloc(1, sizeof(*p));
	struct err err = { 0 };
	int option;

	(void)log_open("kairan-dispatcher", "info");
	if (p == NULL)
		fatal(EXIT_FAILED, "no memory");
	contain_process();
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			p->path = optarg;
			break;
		case 'a':
			p->adopt = true;
			break;
		case 'h':
			usage(stdout);
			return EXIT_DONE;
		case 'v':
			puts("kairan-dispatcher " KAIRAN_VERSION);
			return EXIT_DONE;
		default:
			usage(stderr);
			return EXIT_USAGE;
		}
	}
	if (optind < argc)
		fatal(EXIT_USAGE, "unexpected argument '%s'; see kairan-dispatcher --help",
		    argv[optind]);
	if (config_load(&p->config, p->path, &err) < 0 ||
	    rds_address_parse(&p->redis, p->config.redis_url, &err) < 0 ||
	    token_keys_load(&p->d.keys, p->config.keys_file, &err) < 0)
		fatal(EXIT_USAGE, "%s", err.msg);
	if (p->config.database_url[0] == '\0')
		fatal(EXIT_USAGE,
		    "no database is configured; set database.url or KAIRAN_DATABASE_URL");
	if (!log_open("kairan-dispatcher", p->config.log_level))
		fatal(EXIT_USAGE, "log.level must be error, warn, info or debug");
	if (strcmp(p->config.dispatcher_transport, "relay") != 0 &&
	    strcmp(p->config.dispatcher_transport, "ses") != 0 &&
	    strcmp(p->config.dispatcher_transport, "mx") != 0)
		fatal(EXIT_USAGE, "dispatcher.transport must be relay, mx or ses");
	if (p->config.dispatcher_route[0] != '\0' &&
	    !routes_name_is_good(slice_str(p->config.dispatcher_route)))
		fatal(EXIT_USAGE,
		    "dispatcher.route is a route of pace.routes: at most %d letters, digits, - and "
		    "_",
		    ROUTES_NAME_MAX);
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0)
		fatal(EXIT_FAILED, "cannot start libcurl");
	p->d.config = &p->config;
	raise_descriptors(&p->config);
	(void)signal(SIGPIPE, SIG_IGN);
	p->status = EXIT_DONE;
	option = run_program(p);
	token_keys_release(&p->d.keys);
	config_release(&p->config);
	curl_global_cleanup();
	free(p);
	return option;
}
