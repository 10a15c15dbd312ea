/* SPDX-License-Identifier: Apache-2.0 */
/* ses_account: see ses_account.h. */
#include "ses_account.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "keys.h"
#include "log.h"
#include "policy.h"
#include "rds_quota.h"
#include "ses_answer.h"
#include "ses_request.h"

#define EVERY_MS 60000 /* between two looks */
#define RATE_SHARE 0.9 /* of MaxSendRate: sustained excess is refused */
#define RATE_MAX 1e6   /* what is above is no answer of SES */

struct ses_account_look {
	struct dispatcher *d;
	struct ses_credentials *credentials;
	struct ses_link *link;
	struct buf request;
	void (*changed)(void *ctx);
	void *ctx;
	double rate;
	uint64_t looked_ms; /* loop clock, 0: to be looked at */
	bool looking;	    /* at Redis */
	bool asking;	    /* SES */
	bool done;
	bool paused;
	bool stopped;
};

static void
use(struct ses_account_look *a, const struct rds_account *account)
{
	double own = (double)a->d->config->ses_rate;
	double rate = own > 0 ? own : account->max_rate * RATE_SHARE;

	if (rate > a->rate * 1.001 || rate < a->rate * 0.999)
		log_info("account rate=%.2f/s of %.2f/s sent_24h=%.0f quota=%.0f", rate,
		    account->max_rate, account->sent_24h, account->max_24h);
	a->rate = rate;
	if (account->paused > 0 && !a->paused)
		log_warn("sending is disabled for this account and region at SES");
	a->paused = account->paused > 0;
}

/* ---- SES ---- */

static bool
may_leave(void *ctx)
{
	const struct ses_account_look *a = ctx;

	return !a->stopped;
}

static void
failed(struct ses_account_look *a, const struct ses_link_report *report, const char *why)
{
	const char *type = report->answer->error_type;
	bool is_clock = strstr(type, "Signature") != NULL || strstr(type, "RequestExpired") != NULL;

	if (is_clock && ses_credentials_take_clock(a->credentials, report->answer->date)) {
		a->done = false; /* once more, by their clock */
		a->looked_ms = 0;
	}
	log_warn("account not known status=%d type=%.60s error=\"%s\"", report->answer->status,
	    type, why);
}

static void
on_ended(void *ctx, const struct ses_link_report *report)
{
	struct ses_account_look *a = ctx;
	struct ses_account account;
	struct err err = { 0 };

	a->asking = false;
	a->done = true;
	if (report->end != SES_LINK_WHOLE || report->answer->status != 200)
		failed(a, report, report->end == SES_LINK_SILENT ? report->text : "");
	else if (ses_account_parse(&account, buf_slice(&report->answer->body), &err) < 0)
		failed(a, report, err.msg);
	else
		use(a,
		    &(struct rds_account){ .max_24h = account.max_24h,
			.max_rate = account.max_rate,
			.sent_24h = account.sent_24h,
			.paused = account.sending ? 0 : 1 });
	if (!a->stopped)
		a->changed(a->ctx);
}

static void
ask(struct ses_account_look *a)
{
	struct aws_request request = { .method = "GET", .path = SLICE(SES_ACCOUNT_PATH) };

	buf_reset(&a->request);
	buf_append_slice(&a->request, ses_credentials_sign(a->credentials, &request));
	a->asking = true; /* its end may come at once */
	if (a->request.len == 0 || !ses_link_send(a->link, buf_slice(&a->request)))
		a->asking = false;
}

/* ---- Redis ---- */

static void
on_looked(void *ctx, const redisReply *reply)
{
	struct ses_account_look *a = ctx;
	struct rds_account account;

	a->looking = false;
	if (a->stopped)
		return;
	if (reply == NULL) {
		a->looked_ms = 0; /* Redis is lost: when it is back */
		return;
	}
	rds_read_account(reply, &account);
	if (account.at > 0 && account.max_rate > 0 && account.max_rate < RATE_MAX &&
	    (double)time(NULL) - account.at < RDS_ACCOUNT_FRESH_S) {
		a->done = true;
		use(a, &account);
		a->changed(a->ctx);
	} else if (ses_credentials_are_there(a->credentials) && !a->asking) {
		ask(a);
	}
}

void
ses_account_look_tick(struct ses_account_look *a)
{
	uint64_t now = dispatcher_now_ms(a->d);
	char key[KEY_MAX];
	const char *argv[] = { "HMGET", key, RDS_ACCOUNT_FIELDS };

	if (a->stopped)
		return;
	ses_link_tick(a->link);
	if (!ses_credentials_are_there(a->credentials) || a->asking || a->looking ||
	    !rdsloop_is_ready(a->d->redis) || (a->looked_ms != 0 && now - a->looked_ms < EVERY_MS))
		return;
	a->looked_ms = now;
	a->looking = true;
	(void)snprintf(key, sizeof(key), KEY_ACCOUNT, POLICY_POOL);
	rdsloop_command(a->d->redis, on_looked, a, (int)(sizeof(argv) / sizeof(argv[0])), argv);
}

void
ses_account_look_again(struct ses_account_look *a)
{
	a->looked_ms = 0;
}

double
ses_account_look_rate(const struct ses_account_look *a)
{
	return a->rate;
}

bool
ses_account_look_is_done(const struct ses_account_look *a)
{
	return a->done || a->rate > 0;
}

/* ---- life ---- */

struct ses_account_look *
ses_account_look_new(struct dispatcher *d, struct ses_link_place *place,
    struct ses_credentials *credentials, void (*changed)(void *ctx), void *ctx)
{
	static const struct ses_link_user user = { may_leave, on_ended };
	struct ses_account_look *a = calloc(1, sizeof(*a));

	if (a == NULL || (a->link = ses_link_new(place, &user, a)) == NULL) {
		free(a);
		return NULL;
	}
	a->d = d;
	a->credentials = credentials;
	a->changed = changed;
	a->ctx = ctx;
	a->rate = (double)d->config->ses_rate;
	buf_init(&a->request, AWS_TOKEN_MAX + 4096);
	return a;
}

void
ses_account_look_stop(struct ses_account_look *a)
{
	a->stopped = true;
	ses_link_close(a->link);
}

void
ses_account_look_free(struct ses_account_look *a)
{
	if (a == NULL)
		return;
	ses_link_free(a->link);
	buf_release(&a->request);
	free(a);
}
