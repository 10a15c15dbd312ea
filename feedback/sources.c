/* SPDX-License-Identifier: Apache-2.0 */
/* sources: see sources.h. */
#include "sources.h"

#include <stdlib.h>
#include <unistd.h>

#include "forward.h"
#include "http.h"
#include "lmtp_server.h"
#include "log.h"
#include "mailbox.h"
#include "maildir.h"
#include "mbox_spool.h"
#include "postfix_log.h"
#include "smtp_server.h"
#include "sns_intake.h"
#include "sqs_source.h"
#include "webhook_intake.h"

/* ---- HTTP as a source ------------------------------------------------------------------- */

struct http_source {
	struct source source;
	struct http *http;
	struct source hook_source; /* the webhook's health; it lives and ends with the server */
	struct webhook_intake hook;
	bool has_hook;
};

static void
http_source_stop(void *self)
{
	http_stop(((struct http_source *)self)->http);
}

static bool
http_source_is_idle(void *self)
{
	return http_is_idle(((struct http_source *)self)->http);
}

static void
http_source_free(void *self)
{
	struct http_source *h = self;

	http_free(h->http);
	if (h->has_hook) {
		webhook_intake_release(&h->hook);
		source_release(&h->hook_source);
	}
	source_release(&h->source);
	free(h);
}

static void
http_source_report(void *self)
{
	static const unsigned statuses[] = { 200, 400, 403, 413, 503 };
	struct http_counts counts = http_counts(((struct http_source *)self)->http);
	unsigned long long totals[6] = { 0 };

	for (size_t i = 0; i < HTTP_ANSWERS; i++) {
		unsigned status = http_answer_row(i).status, k = 0;

		if (status == 302 || status == 303)
			status = 200;
		while (k < 5 && statuses[k] != status)
			k++;
		totals[k] += counts.answers[i];
	}
	log_info("totals http_200=%llu http_400=%llu http_403=%llu http_413=%llu http_503=%llu "
		 "http_other=%llu",
	    totals[0], totals[1], totals[2], totals[3], totals[4], totals[5]);
}

static const struct source_kind http_kind = { http_source_stop, http_source_is_idle,
	http_source_free, http_source_report };

static void
hook_stop(void *self)
{
	(void)self;
}

static bool
hook_is_idle(void *self)
{
	(void)self;
	return true;
}

static const struct source_kind hook_kind = { hook_stop, hook_is_idle, hook_stop, NULL };

static int
start_hook(struct http_source *h, const struct sources_config *c, struct err *err)
{
	if (c->config->webhook_path[0] == '\0')
		return 0;
	if (webhook_intake_init(&h->hook, c->config, c->keys, err) < 0)
		return -1;
	source_init(&h->hook_source, "webhook", &hook_kind, h);
	source_up(&h->hook_source, true);
	h->has_hook = true;
	return 0;
}

static unsigned
worker_count(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	return cpus < 2 ? 2 : cpus > 8 ? 8 : (unsigned)cpus;
}

static struct source *
start_http(const struct sources_config *c, struct err *err)
{
	struct http_source *h = calloc(1, sizeof(*h));

	if (h == NULL) {
		(void)err_set(err, "no memory");
		return NULL;
	}
	source_init(&h->source, "http", &http_kind, h);
	if (start_hook(h, c, err) < 0) {
		http_source_free(h);
		return NULL;
	}
	h->http = http_new(c->loop,
	    &(struct http_config){ .listen = c->config->feedback_http_listen,
		.path = c->config->feedback_http_path,
		.sns = c->sns,
		.intake = c->intake,
		.web = c->web,
		.source = &h->source,
		.webhook = h->has_hook ? &h->hook : NULL,
		.webhook_source = &h->hook_source,
		.workers = worker_count() },
	    err);
	if (h->http == NULL) {
		http_source_free(h);
		return NULL;
	}
	if (c->sns->policy.topic_count == 0)
		log_warn("feedback.sns_topics is empty: every document of SNS is refused");
	source_up(&h->source, true);
	return &h->source;
}

/* ---- the others ------------------------------------------------------------------------- */

static struct mail_intake
mail_of(const struct sources_config *c)
{
	return (struct mail_intake){ .keys = c->keys,
		.bounce_domain = slice_str(c->config->feedback_domain),
		.keep = c->keep,
		.worker = c->worker };
}

static struct source *
start_lmtp(const struct sources_config *c, struct err *err)
{
	return lmtp_server_new(c->loop,
	    &(struct lmtp_server_config){ .listen = c->config->feedback_lmtp_listen,
		.hostname = c->config->relay_ehlo,
		.mail = mail_of(c),
		.intake = c->intake },
	    err);
}

static struct source *
start_smtp(const struct sources_config *c, struct err *err)
{
	struct mail_intake mail = mail_of(c);

	return smtp_server_new(c->loop, c->config, &mail, c->intake, err);
}

static struct source *
start_maildir(const struct sources_config *c, struct err *err)
{
	return maildir_new(c->loop,
	    &(struct maildir_config){
		.path = c->config->feedback_maildir, .mail = mail_of(c), .intake = c->intake },
	    err);
}

static struct source *
start_mbox(const struct sources_config *c, struct err *err)
{
	struct mail_intake mail = mail_of(c);

	return mbox_spool_new(c->loop, c->config, &mail, c->intake, err);
}

static struct source *
start_forward(const struct sources_config *c, struct err *err)
{
	return forward_new(c->loop, c->config, c->keep, c->intake, err);
}

static struct source *
start_sqs(const struct sources_config *c, struct err *err)
{
	return sqs_source_new(c->loop, c->config, c->keys, c->worker, c->keep, c->intake, err);
}

static struct source *
start_postfix_log(const struct sources_config *c, struct err *err)
{
	return postfix_log_new(c->loop, c->config, c->keys, c->intake, err);
}

static struct source *
start_mailbox(const struct sources_config *c, struct err *err)
{
	return mailbox_new(c->loop, c->config, c->keys, c->intake, c->worker, err);
}

int
sources_start(struct sources *sources, const struct sources_config *c, struct err *err)
{
	const struct {
		const char *setting; /* empty: it is not wanted */
		struct source *(*start)(const struct sources_config *c, struct err *err);
	} rows[] = {
		{ c->config->feedback_http_listen, start_http }, /* first: the webhook is its */
		{ c->config->feedback_lmtp_listen, start_lmtp },
		{ c->config->smtp_listen, start_smtp },
		{ c->config->feedback_maildir, start_maildir },
		{ c->config->feedback_mbox, start_mbox },
		{ c->config->sqs_queue_url, start_sqs },
		{ c->config->postfix_log_file, start_postfix_log },
		{ c->config->mailbox_url, start_mailbox },
		{ c->config->reply_forward_to, start_forward },
	};

	_Static_assert(sizeof(rows) / sizeof(rows[0]) < SOURCES_MAX, "SOURCES_MAX");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct source *s;

		if (rows[i].setting[0] == '\0')
			continue;
		s = rows[i].start(c, err);
		if (s == NULL)
			return -1;
		sources->items[sources->count++] = s;
	}
	if (c->config->webhook_path[0] != '\0') {
		if (c->config->feedback_http_listen[0] == '\0')
			return err_set(err, "webhook.path needs feedback.http_listen");
		sources->items[sources->count++] =
		    &((struct http_source *)sources->items[0]->self)->hook_source;
	}
	if (sources->count > 0)
		return 0;
	return err_set(err,
	    "there is nothing to listen to; set feedback.http_listen, feedback.lmtp_listen, "
	    "smtp.listen, feedback.maildir, feedback.mbox, sqs.queue_url, postfix_log.file or "
	    "mailbox.url");
}

struct http_counts
sources_http_counts(const struct sources *sources)
{
	const struct source *first = sources->count > 0 ? sources->items[0] : NULL;

	if (first == NULL || first->kind != &http_kind)
		return (struct http_counts){ 0 };
	return http_counts(((const struct http_source *)first->self)->http);
}

void
sources_stop(struct sources *sources)
{
	for (size_t i = 0; i < sources->count; i++)
		sources->items[i]->kind->stop(sources->items[i]->self);
}

bool
sources_are_idle(const struct sources *sources)
{
	for (size_t i = 0; i < sources->count; i++)
		if (!sources->items[i]->kind->is_idle(sources->items[i]->self))
			return false;
	return true;
}

void
sources_free(struct sources *sources)
{
	while (sources->count > 0) {
		struct source *s = sources->items[--sources->count];

		s->kind->free(s->self);
	}
}
