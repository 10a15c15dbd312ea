/* SPDX-License-Identifier: Apache-2.0 */
/*
 * daemon: see daemon.h. Owns the order in which things are made and unmade: the connection ends
 * before the sources, so that no answer of it meets what is gone.
 */
#include "daemon.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "contain.h"
#include "db.h"
#include "exit.h"
#include "intake.h"
#include "log.h"
#include "metrics.h"
#include "pgloop.h"
#include "schema.h"
#include "sns_intake.h"
#include "sources.h"
#include "web.h"

#define CHECK_AGAIN_MS 5000
#define REPORT_MS 60000
#define PUBLISH_MS 1000
#define FORGET_MS (3600 * 1000)
#define DRAIN_LOOK_MS 20

struct feedback_daemon {
	const struct config *config;
	const struct token_keys *keys;
	uv_loop_t loop;
	struct pgloop *pg;
	struct intake *intake;
	struct sns_intake sns;
	struct keep keep;
	struct web *web;
	struct mail_worker *worker; /* borrowed */
	struct sources sources;
	struct metrics *metrics;
	uv_signal_t on_term, on_int;
	uv_timer_t check, report, publish, drain, forget;
	uint64_t drain_until_ms;
	bool is_stopping;
	bool is_over;
	struct intake_counts reported;
};

/* ---- once an hour, and at the beginning ------------------------------------------------- */

static void
on_forgotten(void *ctx, struct pgloop_answer *answer)
{
	const char *n = answer->verdict == PGLOOP_DONE ? PQgetvalue(answer->result, 0, 0) : "0";

	(void)ctx;
	if (strcmp(n, "0") != 0)
		log_info(
		    "what was kept aside longer than retention.kept_days is dropped notices=%s", n);
	else if (answer->verdict == PGLOOP_REFUSED)
		log_error("what was kept aside cannot be dropped error=\"%s\"", answer->error);
}

static void
on_forget(uv_timer_t *timer)
{
	struct feedback_daemon *d = timer->data;
	char days[16];
	const char *params[] = { days };

	(void)snprintf(days, sizeof(days), "%ld", d->config->retention_kept_days);
	(void)pgloop_submit(d->pg, "notice_forget", "SELECT kairan.notice_forget($1::int)", 1,
	    params, on_forgotten, d);
}

/* ---- the schema, once connected --------------------------------------------------------- */

static void check_schema(uv_timer_t *timer);

static void
on_schema(void *ctx, struct pgloop_answer *answer)
{
	struct feedback_daemon *d = ctx;
	long there = 0;

	if (answer->verdict == PGLOOP_DONE) {
		if (PQntuples(answer->result) == 1 && !PQgetisnull(answer->result, 0, 0))
			there = strtol(PQgetvalue(answer->result, 0, 0), NULL, 10);
		if (there == SCHEMA_VERSION) {
			log_info("ready schema=%ld", there);
			intake_set_ready(d->intake, true);
			(void)uv_timer_start(&d->forget, on_forget, 0, FORGET_MS);
			return;
		}
		log_error("the schema is version %ld, this program needs %d; %s", there,
		    SCHEMA_VERSION,
		    there < SCHEMA_VERSION ? "run: kairan init" : "install the newer kairan");
	} else if (answer->verdict == PGLOOP_REFUSED) {
		log_error("cannot read the schema's version, run: kairan init error=\"%s\"",
		    answer->error);
	}
	(void)uv_timer_start(
	    &d->check, check_schema, answer->verdict == PGLOOP_UNKNOWN ? 0 : CHECK_AGAIN_MS, 0);
}

static void
check_schema(uv_timer_t *timer)
{
	struct feedback_daemon *d = timer->data;

	if (!pgloop_submit(d->pg, "schema_version", "SELECT max(version) FROM kairan.migration", 0,
		NULL, on_schema, d))
		(void)uv_timer_start(&d->check, check_schema, CHECK_AGAIN_MS, 0);
}

/* ---- once a minute ---------------------------------------------------------------------- */

static void
report(struct feedback_daemon *d)
{
	const struct intake_counts *now = intake_counts(d->intake), *then = &d->reported;

	log_info("counts items=%llu events=%llu fresh=%llu batches=%llu again=%llu "
		 "quarantined=%llu failed=%llu turned_away=%llu waiting=%zu",
	    (unsigned long long)(now->items - then->items),
	    (unsigned long long)(now->events - then->events),
	    (unsigned long long)(now->fresh - then->fresh),
	    (unsigned long long)(now->batches - then->batches),
	    (unsigned long long)(now->again - then->again), (unsigned long long)now->quarantined,
	    (unsigned long long)now->failed, (unsigned long long)now->turned_away,
	    intake_waiting(d->intake));
	for (size_t i = 0; i < d->sources.count; i++) {
		struct source *source = d->sources.items[i];
		struct source_health h = source_health(source);

		log_info("source name=%s up=%d received=%llu committed=%llu left=%llu errors=%llu",
		    source->name, h.is_up, (unsigned long long)h.received,
		    (unsigned long long)h.committed, (unsigned long long)h.left,
		    (unsigned long long)h.errors);
		if (source->kind->report != NULL)
			source->kind->report(source->self);
	}
	d->reported = *now;
}

static void
on_report(uv_timer_t *timer)
{
	report(timer->data);
}

static void
on_publish(uv_timer_t *timer)
{
	struct feedback_daemon *d = timer->data;

	metrics_publish(d->metrics,
	    &(struct metrics_state){ .counts = *intake_counts(d->intake),
		.waiting = intake_waiting(d->intake),
		.lag_ms = intake_lag_ms(d->intake),
		.http = sources_http_counts(&d->sources),
		.has_http = d->config->feedback_http_listen[0] != '\0',
		.is_ready = intake_is_open(d->intake) });
}

/* ---- the end ---------------------------------------------------------------------------- */

static void
on_drain(uv_timer_t *timer)
{
	struct feedback_daemon *d = timer->data;
	bool is_idle = sources_are_idle(&d->sources) && intake_waiting(d->intake) == 0 &&
	    web_waiting(d->web) == 0;

	if (!is_idle && uv_now(&d->loop) < d->drain_until_ms)
		return;
	if (!is_idle)
		log_warn("stopping with unanswered work, it will be sent again items=%zu",
		    intake_waiting(d->intake));
	d->is_over = true;
	uv_stop(&d->loop);
}

static void
on_signal(uv_signal_t *handle, int number)
{
	struct feedback_daemon *d = handle->data;

	if (d->is_stopping) {
		d->drain_until_ms = 0;
		return;
	}
	log_info("stopping signal=%d waiting=%zu", number, intake_waiting(d->intake));
	d->is_stopping = true;
	d->drain_until_ms = uv_now(&d->loop) + DAEMON_DRAIN_MS;
	sources_stop(&d->sources);
	web_stop(d->web);
	(void)uv_timer_start(&d->drain, on_drain, 0, DRAIN_LOOK_MS);
}

static void
stop_all(struct feedback_daemon *d)
{
	uv_handle_t *const handles[] = { (uv_handle_t *)&d->on_term, (uv_handle_t *)&d->on_int,
		(uv_handle_t *)&d->check, (uv_handle_t *)&d->report, (uv_handle_t *)&d->publish,
		(uv_handle_t *)&d->drain, (uv_handle_t *)&d->forget };

	pgloop_free(d->pg);
	metrics_free(d->metrics);
	ses_inbox_stop(d->sns.inbox);
	sources_free(&d->sources);
	web_free(d->web);
	intake_free(d->intake);
	sns_intake_release(&d->sns);
	for (size_t i = 0; i < sizeof(handles) / sizeof(handles[0]); i++)
		uv_close(handles[i], NULL);
	(void)uv_run(&d->loop, UV_RUN_DEFAULT);
	(void)uv_loop_close(&d->loop);
}

/* ---- the beginning ---------------------------------------------------------------------- */

static int
start_sources(struct feedback_daemon *d, struct err *err)
{
	const char *listen = d->config->feedback_metrics_listen;

	ses_inbox_set_mail(
	    d->sns.inbox, d->worker, d->config->reply_maildir[0] != '\0' ? &d->keep : NULL);
	if (d->config->feedback_http_listen[0] != '\0') {
		d->web = web_new(&d->loop, d->config, d->keys, d->pg, d->intake, err);
		if (d->web == NULL)
			return -1;
	}
	if (sources_start(&d->sources,
		&(struct sources_config){ .loop = &d->loop,
		    .config = d->config,
		    .keys = d->keys,
		    .keep = d->config->reply_maildir[0] != '\0' ? &d->keep : NULL,
		    .sns = &d->sns,
		    .intake = d->intake,
		    .web = d->web,
		    .worker = d->worker },
		err) < 0)
		return -1;
	if (listen[0] == '\0')
		return 0;
	d->metrics = metrics_new(listen, &d->sources, err);
	return d->metrics != NULL ? 0 : -1;
}

static int
start_all(struct feedback_daemon *d, const char *conninfo, struct err *err)
{
	uv_timer_t *const timers[] = { &d->check, &d->report, &d->publish, &d->drain, &d->forget };

	for (size_t i = 0; i < sizeof(timers) / sizeof(timers[0]); i++) {
		(void)uv_timer_init(&d->loop, timers[i]);
		timers[i]->data = d;
	}
	(void)uv_signal_init(&d->loop, &d->on_term);
	(void)uv_signal_init(&d->loop, &d->on_int);
	d->on_term.data = d->on_int.data = d;
	if (uv_signal_start(&d->on_term, on_signal, SIGTERM) != 0 ||
	    uv_signal_start(&d->on_int, on_signal, SIGINT) != 0)
		return err_set(err, "cannot watch signals");
	if (sns_intake_init(&d->sns, d->config, d->keys, err) < 0)
		return -1;
	d->pg = pgloop_new(
	    &d->loop, conninfo, d->config->database_prepared, d->config->database_timeout_s);
	if (d->pg != NULL)
		d->intake = intake_new(
		    &d->loop, d->pg, d->config->feedback_batch, d->config->feedback_batch_ms);
	if (d->intake == NULL)
		return err_set(err, "no memory");
	if (start_sources(d, err) < 0)
		return -1;
	(void)uv_timer_start(&d->check, check_schema, 0, 0);
	(void)uv_timer_start(&d->report, on_report, REPORT_MS, REPORT_MS);
	(void)uv_timer_start(&d->publish, on_publish, 0, PUBLISH_MS);
	return 0;
}

int
daemon_run(const struct config *config, const struct token_keys *keys, struct mail_worker *worker,
    struct err *err)
{
	struct feedback_daemon d = { .config = config, .keys = keys, .worker = worker };
	char *conninfo;
	int status;

	if (config->database_url[0] == '\0') {
		(void)err_set(
		    err, "no database is configured; set KAIRAN_DATABASE_URL or database.url");
		return EXIT_USAGE;
	}
	/* contained it could make no folder */
	if (config->reply_maildir[0] != '\0' && keep_init(&d.keep, config->reply_maildir, err) < 0)
		return EXIT_USAGE;
	conninfo = db_conninfo(config->database_url, "kairan_feedback", "kairan-feedback", err);
	if (conninfo == NULL)
		return EXIT_USAGE;
	if (uv_loop_init(&d.loop) != 0) {
		free(conninfo);
		(void)err_set(err, "cannot make an event loop: too few file descriptors?");
		return EXIT_FAILED;
	}
	if (contain_begin(config, CONTAIN_FEEDBACK, err) < 0)
		status = EXIT_FAILED;
	else
		status = start_all(&d, conninfo, err) < 0 ? EXIT_USAGE : EXIT_DONE;
	explicit_bzero(conninfo, strlen(conninfo));
	free(conninfo);
	while (status == EXIT_DONE && !d.is_over)
		(void)uv_run(&d.loop, UV_RUN_DEFAULT);
	if (status == EXIT_DONE) {
		report(&d);
		log_info("stopped");
	}
	stop_all(&d);
	return status;
}
