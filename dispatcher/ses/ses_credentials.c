/* SPDX-License-Identifier: Apache-2.0 */
/* ses_credentials: see ses_credentials.h. The thread writes `fetched` and what is beside it, and nobody
 * reads them before it is done. */
#include "ses_credentials.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "aws_chain.h"
#include "log.h"
#include "ses_compose.h"
#include "sigv4.h"

#define AGAIN_MS 10000 /* between two tries */
#define SKEW_MIN_S 60  /* a signature is not refused for less */

struct ses_credentials {
	struct dispatcher *d;
	const struct aws_endpoint *endpoint;
	const struct ses_credentials_user *user;
	void *ctx;

	struct aws_credentials used;
	struct sigv4_signer signer;
	struct aws_headers headers;
	struct buf head;
	int64_t skew_s; /* their clock minus ours */
	bool are_there;
	bool refused; /* SES does not take them */

	uv_work_t work;
	struct aws_credentials fetched;
	struct err err;
	const char *source;
	int result;
	bool fetching;
	uint64_t fetched_ms; /* 0: never */
	bool stopped;
};

/* ---- fetching ---- */

static void
fetch(uv_work_t *work)
{
	struct ses_credentials *c = work->data;
	struct aws_chain chain = { .region = c->endpoint->region,
		.ca_file = c->d->config->ses_ca_file,
		.timeout_s = c->d->config->ses_connect_timeout_s };

	c->result = aws_chain_fetch(&chain, &c->fetched, &c->source, &c->err);
}

/* Those that SES refused are no others: wait, and try again after the hold. */
static void
use(struct ses_credentials *c, struct outcome *why)
{
	bool same = strcmp(c->used.access_key, c->fetched.access_key) == 0 &&
	    strcmp(c->used.session_token, c->fetched.session_token) == 0;
	struct err err;

	if (c->refused && same) {
		why->text = SLICE("SES refuses the credentials, and there are no others");
		c->user->unwell(c->ctx, why);
	}
	c->refused = false;
	c->used = c->fetched;
	sigv4_release(&c->signer);
	c->are_there = sigv4_init(&c->signer, &c->used, c->endpoint->region,
			   c->endpoint->signing_name, &err) == 0;
	if (!same)
		log_info("credentials from=%s temporary=%s", c->source,
		    c->used.session_token[0] != '\0' ? "yes" : "no");
}

static void
on_fetched(uv_work_t *work, int status)
{
	struct ses_credentials *c = work->data;
	struct outcome why = { .phase = OUTCOME_PHASE_AUTH,
		.cls = OUTCOME_CONFIG,
		.scope = OUTCOME_SCOPE_ROUTE,
		.reason = "auth" };

	c->fetching = false;
	c->fetched_ms = dispatcher_now_us() / 1000;
	if (c->stopped) {
		aws_credentials_wipe(&c->fetched);
		return;
	}
	if (status == 0 && c->result == 0) {
		use(c, &why);
	} else if (!c->are_there) {
		why.text = slice_str(c->err.msg);
		c->user->unwell(c->ctx, &why);
	} else {
		log_warn("credentials not refreshed error=\"%s\"", c->err.msg);
	}
	aws_credentials_wipe(&c->fetched);
	c->user->changed(c->ctx);
}

static void
begin_fetch(struct ses_credentials *c)
{
	if (c->fetching || c->stopped)
		return;
	c->work.data = c;
	c->err.msg[0] = '\0';
	c->fetching = uv_queue_work(&c->d->loop, &c->work, fetch, on_fetched) == 0;
}

void
ses_credentials_tick(struct ses_credentials *c)
{
	int64_t left = c->used.expires_s - (int64_t)time(NULL) - c->skew_s;
	bool end = c->used.expires_s > 0 && left < AWS_REFRESH_BEFORE_S;

	if ((!c->are_there || end) &&
	    (c->fetched_ms == 0 || dispatcher_now_us() / 1000 - c->fetched_ms >= AGAIN_MS))
		begin_fetch(c);
}

void
ses_credentials_refused(struct ses_credentials *c)
{
	c->are_there = false;
	c->refused = true;
	begin_fetch(c);
}

/* ---- use ---- */

bool
ses_credentials_are_there(const struct ses_credentials *c)
{
	return c->are_there;
}

struct slice
ses_credentials_sign(struct ses_credentials *c, const struct aws_request *request)
{
	buf_reset(&c->head);
	if (aws_headers_sign(&c->headers, &c->signer, c->endpoint, &c->used, request,
		(time_t)(time(NULL) + c->skew_s)) != NULL)
		aws_headers_put(&c->headers, c->endpoint, request, &c->head);
	return buf_failed(&c->head) ? slice_make(NULL, 0) : buf_slice(&c->head);
}

bool
ses_credentials_take_clock(struct ses_credentials *c, const char *date)
{
	time_t at = date[0] != '\0' ? curl_getdate(date, NULL) : -1;
	int64_t skew = at > 0 ? (int64_t)at - (int64_t)time(NULL) : c->skew_s;

	if (skew - c->skew_s < SKEW_MIN_S && c->skew_s - skew < SKEW_MIN_S)
		return false;
	log_warn("clock of this host differs from the service's by %lld s; signing by theirs",
	    (long long)skew);
	c->skew_s = skew;
	return true;
}

/* ---- life ---- */

struct ses_credentials *
ses_credentials_new(struct dispatcher *d, const struct aws_endpoint *endpoint,
    const struct ses_credentials_user *user, void *ctx)
{
	struct ses_credentials *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->d = d;
	c->endpoint = endpoint;
	c->user = user;
	c->ctx = ctx;
	aws_headers_init(&c->headers);
	buf_init(&c->head, SES_HEAD_ROOM);
	return c;
}

void
ses_credentials_stop(struct ses_credentials *c)
{
	c->stopped = true;
}

void
ses_credentials_free(struct ses_credentials *c)
{
	if (c == NULL)
		return;
	aws_credentials_wipe(&c->used);
	sigv4_release(&c->signer);
	aws_headers_release(&c->headers);
	buf_release(&c->head);
	free(c);
}
