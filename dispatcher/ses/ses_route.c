/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ses_route: see ses_route.h. Owns the calls: those that are idle, the one that gathers recipients for
 * SendBulkEmail, and those under way; and decides by what is heard of the account whether they may go.
 */
#include "ses_route.h"

#include <stdlib.h>
#include <string.h>

#include "aws_chain.h"
#include "brakes.h"
#include "curlloop.h"
#include "log.h"
#include "ses_account.h"
#include "ses_call.h"
#include "ses_credentials.h"
#include "ses_link.h"
#include "ses_pace.h"
#include "settle.h"

#define TICK_MS 1000
#define GATHER_US 500000 /* the first of a bulk request waits no longer for others */
#define AGAIN_US 10000	 /* a call could not be begun: wait */
#define ROOM_US 10000000 /* there was no room for so many connections: try one more */
#define TOLD_US 60000000 /* between two words of it */
#define SPARE_CALLS 2	 /* one that gathers, one that is begun when that has waited enough */

struct ses_route {
	struct dispatcher *d;
	const struct session_host *host;
	struct relay *relay; /* this endpoint, as the route knows it */
	struct aws_endpoint endpoint;
	struct ses_credentials *credentials;
	struct ses_link_place place;
	struct ses_call_host call_host;
	struct ses_account_look *account;
	struct ses_pace pace;

	struct ses_call *calls;
	size_t call_count; /* spare ones too */
	struct ses_call **idle;
	size_t idle_count, busy;
	struct ses_call *gathering; /* bulk, not begun; NULL: none */
	size_t room; /* requests at once that there was room for; 0: as many as wanted */
	uint64_t room_us, told_us; /* of it: try one more, say it again */

	unsigned epoch; /* counts the times it became unwell; calls of before say nothing new */
	bool probing;	/* one request shows whether it is over */
	bool kicking;	/* flights are being taken: who ends meanwhile need not ask for more */
	bool hindered;	/* a call ended while it was begun: the next after a moment */
	uv_timer_t timer, tick;
	bool stopping, stopped;
};

static void stop_if_idle(struct ses_route *r);

/* ---- what is heard of the account ---- */

/* epoch: when what says so began; what began before the last trouble says nothing new. */
static void
unwell(struct ses_route *r, unsigned epoch, const struct outcome *why)
{
	if (epoch != r->epoch)
		return;
	r->epoch++;
	r->probing = true;
	r->host->unwell(r->host->ctx, r->relay, why);
}

/* The route is held as long as the account is refused; each action says how. */
static void
react(struct ses_route *r, unsigned epoch, const struct ses_answer *a, const char *date)
{
	switch (a->action) {
	case SES_SLOW:
		brakes_hear_account(r->d->brakes, REACTION_ACCOUNT_RATE, a->outcome.code);
		if (epoch == r->epoch)
			ses_pace_slower(&r->pace);
		unwell(r, epoch, &a->outcome);
		break;
	case SES_QUOTA:
		brakes_hear_account(r->d->brakes, REACTION_ACCOUNT_HOLD, a->outcome.code);
		ses_account_look_again(r->account);
		unwell(r, epoch, &a->outcome);
		break;
	case SES_REFRESH:
		/* several may be refused for the same credentials; once is enough */
		if (epoch == r->epoch) {
			r->epoch++;
			ses_credentials_refused(r->credentials);
		}
		break;
	case SES_CLOCK:
		if (ses_credentials_take_clock(r->credentials, date))
			r->epoch++; /* others that are under way have the old time */
		else
			unwell(r, epoch, &a->outcome);
		break;
	case SES_HOLD:
		unwell(r, epoch, &a->outcome);
		break;
	case SES_SETTLE:
		brakes_hear_account(r->d->brakes, REACTION_NONE, 0);
		break;
	}
}

static void
on_heard(void *ctx, const struct ses_call *call, const struct ses_answer *a, const char *date)
{
	struct ses_route *r = ctx;

	if (r->probing && call->epoch == r->epoch &&
	    (a->outcome.kind == OUTCOME_SENT || a->outcome.kind == OUTCOME_FAILED)) {
		r->probing = false;
		r->host->works(r->host->ctx, r->relay);
	}
	react(r, call->epoch, a, date);
}

static void
on_left(void *ctx, const struct ses_call *call)
{
	struct ses_route *r = ctx;

	ses_pace_left(&r->pace, call->count, dispatcher_now_us());
}

static void
on_answered(void *ctx, double latency_s)
{
	struct ses_route *r = ctx;

	ses_pace_answered(&r->pace, latency_s);
}

static void
on_silent(void *ctx, const struct ses_call *call, const struct outcome *why)
{
	struct ses_route *r = ctx;

	unwell(r, call->epoch, why);
}

/* The limit is ours, lower than ses.connections: those that are open carry the mail. Without any SES is out of reach. */
static void
on_crowded(void *ctx, const struct ses_call *call, const struct outcome *why)
{
	struct ses_route *r = ctx;
	uint64_t now_us = dispatcher_now_us();

	if (r->busy <= 1) {
		unwell(r, call->epoch, why);
		return;
	}
	if (now_us >= r->told_us) {
		log_warn("no descriptor or local port for another connection: lower "
			 "ses.connections or raise LimitNOFILE");
		r->told_us = now_us + TOLD_US;
	}
	r->room = r->busy - 1;
	r->room_us = now_us + ROOM_US;
}

static void
try_room(struct ses_route *r)
{
	uint64_t now_us = dispatcher_now_us();

	if (r->room == 0 || now_us < r->room_us)
		return;
	r->room = r->room < r->call_count ? r->room + 1 : 0;
	r->room_us = now_us + ROOM_US;
}

/* ---- calls ---- */

static void
put_back(struct ses_route *r, struct ses_call *call)
{
	r->idle[r->idle_count++] = call;
}

static struct ses_call *
idle_call(struct ses_route *r, bool bulk)
{
	struct ses_call *call = r->idle[--r->idle_count];

	call->bulk = bulk;
	call->since_us = dispatcher_now_us();
	return call;
}

static void
begin(struct ses_route *r, struct ses_call *call)
{
	r->busy++;
	ses_call_begin(call, r->epoch);
}

static void
on_done(void *ctx, struct ses_call *call)
{
	struct ses_route *r = ctx;

	r->busy--;
	put_back(r, call);
	r->hindered = r->hindered || r->kicking;
	if (r->stopping)
		stop_if_idle(r);
	else if (!r->kicking)
		ses_route_kick(r);
}

static void
start(struct ses_route *r, struct flight *f)
{
	struct ses_call *call = idle_call(r, false);

	if (ses_compose_one(r->d, &call->body, f)) {
		call->flights[call->count++] = f;
		begin(r, call);
	} else {
		settle_refusal(r->d->settler, f, &f->refusal);
		put_back(r, call);
	}
}

/* ---- several recipients in one request ---- */

static void
begin_gathered(struct ses_route *r)
{
	struct ses_call *call = r->gathering;

	r->gathering = NULL;
	ses_compose_end(&call->body);
	begin(r, call);
}

/* Full, or nobody is left who could come along in time. */
static bool
gather_is_due(const struct ses_route *r)
{
	const struct ses_call *call = r->gathering;
	size_t most = r->probing ? 1 : ses_pace_recipients(&r->pace, SES_BULK_RECIPIENTS_MAX);

	return call->count >= most || call->flights[0]->alone ||
	    flight_run(call->flights[0])->ready == 0 ||
	    dispatcher_now_us() - call->since_us >= GATHER_US;
}

static void
gather(struct ses_route *r, struct flight *f)
{
	bool added;

	if (r->gathering != NULL &&
	    (f->alone || flight_run(r->gathering->flights[0]) != flight_run(f)))
		begin_gathered(r);
	do {
		if (r->gathering == NULL)
			r->gathering = idle_call(r, true);
		added = ses_compose_entry(r->d, &r->gathering->body, f);
		if (added) {
			r->gathering->flights[r->gathering->count++] = f;
		} else if (r->gathering->count == 0) {
			ses_body_trim(&r->gathering->body);
			put_back(r, r->gathering);
			r->gathering = NULL;
		} else if (!f->refused) {
			begin_gathered(r);
		}
	} while (!added && !f->refused);
	if (!added)
		settle_refusal(r->d->settler, f, &f->refusal);
	if (r->gathering != NULL && gather_is_due(r))
		begin_gathered(r);
}

/* ---- sending ---- */

static bool
can_send(const struct ses_route *r)
{
	size_t most = r->call_count - SPARE_CALLS;

	if (r->room > 0 && r->room < most)
		most = r->room;
	return ses_credentials_are_there(r->credentials) && !r->stopping && r->idle_count > 0 &&
	    r->busy < (r->probing ? 1 : ses_pace_requests(&r->pace, most)) &&
	    ses_account_look_is_done(r->account) && !dispatcher_is_full(r->d);
}

bool
ses_route_is_free(const struct ses_route *r)
{
	return can_send(r) && r->pace.next_us <= dispatcher_now_us();
}

static void
on_timer(uv_timer_t *timer)
{
	ses_route_kick(timer->data);
}

/* Until the pace lets the next one go, or what was gathered has waited enough. */
static void
set_timer(struct ses_route *r)
{
	uint64_t now_us = dispatcher_now_us(), at_us = UINT64_MAX;

	if (r->pace.next_us > now_us && can_send(r))
		at_us = r->pace.next_us;
	if (r->gathering != NULL && r->gathering->since_us + GATHER_US < at_us)
		at_us = r->gathering->since_us + GATHER_US;
	if (r->hindered)
		at_us = now_us + AGAIN_US;
	if (at_us != UINT64_MAX && !r->stopped)
		(void)uv_timer_start(
		    &r->timer, on_timer, at_us > now_us ? (at_us - now_us + 999) / 1000 : 0, 0);
}

void
ses_route_kick(struct ses_route *r)
{
	if (r->kicking)
		return;
	r->kicking = true;
	r->hindered = false;
	if (!r->stopping && !ses_account_look_is_done(r->account))
		ses_account_look_tick(r->account); /* nothing leaves before: not at the next tick */
	while (can_send(r) && !r->hindered) {
		uint64_t now_us = dispatcher_now_us();
		struct flight *f;

		if (r->pace.next_us > now_us)
			break;
		f = r->host->take(r->host->ctx, r->relay);
		if (f == NULL)
			break;
		ses_pace_charge(&r->pace, now_us);
		if (flight_run(f)->content == SES_CONTENT_BULK)
			gather(r, f);
		else
			start(r, f);
	}
	if (r->gathering != NULL && gather_is_due(r))
		begin_gathered(r);
	r->kicking = false;
	set_timer(r);
}

/* The account or the credentials have news. */
static void
on_changed(void *ctx)
{
	struct ses_route *r = ctx;

	if (r->stopping)
		return;
	r->pace.rate = ses_account_look_rate(r->account);
	if (!ses_account_look_is_done(r->account))
		ses_account_look_tick(r->account);
	ses_route_kick(r);
}

static void
on_no_credentials(void *ctx, const struct outcome *why)
{
	struct ses_route *r = ctx;

	unwell(r, r->epoch, why);
}

/* Every second: credentials before they end, the account every minute, the pace up again. */
static void
on_tick(uv_timer_t *timer)
{
	struct ses_route *r = timer->data;

	ses_credentials_tick(r->credentials);
	ses_account_look_tick(r->account);
	for (size_t i = 0; i < r->call_count; i++)
		ses_link_tick(r->calls[i].link);
	ses_pace_faster(&r->pace);
	try_room(r);
	if (!r->stopping)
		ses_route_kick(r);
}

/* ---- life ---- */

static bool
make_calls(struct ses_route *r)
{
	bool good = true;

	r->call_count = (size_t)r->d->config->ses_connections + SPARE_CALLS;
	r->calls = calloc(r->call_count, sizeof(*r->calls));
	r->idle = calloc(r->call_count, sizeof(struct ses_call *));
	if (r->calls == NULL || r->idle == NULL)
		return false;
	for (size_t i = 0; i < r->call_count; i++) {
		good = ses_call_init(&r->calls[i], &r->call_host) && good;
		put_back(r, &r->calls[i]);
	}
	return good;
}

static bool
make_parts(struct ses_route *r)
{
	static const struct ses_credentials_user user = { on_changed, on_no_credentials };

	r->place = (struct ses_link_place){ .loop = &r->d->loop,
		.url = r->endpoint.origin,
		.ca_file = aws_ca_file(r->d->config->ses_ca_file),
		.config = r->d->config,
		.curl = curlloop_new(&r->d->loop, ses_link_connected, NULL) };
	r->credentials = ses_credentials_new(r->d, &r->endpoint, &user, r);
	if (r->place.curl == NULL || r->credentials == NULL)
		return false;
	r->account = ses_account_look_new(r->d, &r->place, r->credentials, on_changed, r);
	r->call_host = (struct ses_call_host){ .d = r->d,
		.route = r->host,
		.relay = r->relay,
		.endpoint = &r->endpoint,
		.credentials = r->credentials,
		.place = &r->place,
		.ctx = r,
		.left = on_left,
		.answered = on_answered,
		.heard = on_heard,
		.silent = on_silent,
		.crowded = on_crowded,
		.done = on_done };
	return r->account != NULL && make_calls(r);
}

struct ses_route *
ses_route_new(
    struct dispatcher *d, const struct session_host *host, struct relay *relay, struct err *err)
{
	struct ses_route *r = calloc(1, sizeof(*r));
	char region[64];

	if (r == NULL) {
		(void)err_set(err, "no memory");
		return NULL;
	}
	r->d = d;
	r->host = host;
	r->relay = relay;
	ses_pace_init(&r->pace, (double)d->config->ses_rate);
	aws_chain_region(d->config->ses_region, region);
	if (aws_endpoint_make(&r->endpoint, AWS_SESV2, d->config->ses_endpoint, region, err) < 0) {
		free(r);
		return NULL;
	}
	if (!r->endpoint.is_tls)
		log_warn(
		    "endpoint %s is spoken to without TLS: for trials only", r->endpoint.origin);
	if (!make_parts(r)) {
		(void)err_set(err, "no memory");
		ses_route_free(r);
		return NULL;
	}
	(void)uv_timer_init(&d->loop, &r->timer);
	(void)uv_timer_init(&d->loop, &r->tick);
	r->timer.data = r->tick.data = r;
	(void)uv_timer_start(&r->tick, on_tick, TICK_MS, TICK_MS);
	ses_credentials_tick(r->credentials);
	return r;
}

void
ses_route_free(struct ses_route *r)
{
	if (r == NULL)
		return;
	for (size_t i = 0; i < r->call_count && r->calls != NULL; i++)
		ses_call_release(&r->calls[i]);
	ses_account_look_free(r->account);
	ses_credentials_free(r->credentials);
	curlloop_free(r->place.curl);
	free(r->calls);
	free(r->idle);
	free(r);
}

static void
stop_if_idle(struct ses_route *r)
{
	if (!r->stopping || r->stopped || !ses_route_is_idle(r))
		return;
	r->stopped = true;
	for (size_t i = 0; i < r->call_count; i++)
		ses_link_close(r->calls[i].link);
	curlloop_stop(r->place.curl);
	uv_close((uv_handle_t *)&r->timer, NULL);
	uv_close((uv_handle_t *)&r->tick, NULL);
}

void
ses_route_stop(struct ses_route *r)
{
	if (r->stopping)
		return;
	r->stopping = true;
	(void)uv_timer_stop(&r->timer);
	ses_credentials_stop(r->credentials);
	ses_account_look_stop(r->account);
	if (r->gathering != NULL)
		begin_gathered(r);
	stop_if_idle(r);
}

bool
ses_route_is_idle(const struct ses_route *r)
{
	return r->busy == 0 && r->gathering == NULL;
}

size_t
ses_route_requests(const struct ses_route *r)
{
	return r->busy;
}

const char *
ses_route_name(const struct ses_route *r)
{
	return r->endpoint.host;
}
