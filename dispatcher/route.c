/* SPDX-License-Identifier: Apache-2.0 */
/* route: see route.h. */
#include "route.h"

#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "ready.h"
#include "ses_route.h"
#include "session.h"
#include "settle.h"
#include "signer.h"

#define FIRST_HOLD_MS 500
#define LONGEST_HOLD_MS 60000
#define RELEASE_AFTER_MS 3000 /* held for longer: give the claims back */
#define AGAIN_MS 10	      /* no connection could be begun: wait */
#define OPENING_MAX 4	      /* connections being made at once */
#define RESENDS_MAX 5	      /* sessions that may end under a flight before it is deferred */

struct route {
	struct dispatcher *d;
	struct session_host host; /* this route, as its sessions see it */
	struct ready ready;
	struct session **sessions;
	size_t session_count;
	struct ses_route *ses; /* in place of sessions; NULL: the relay */
	uv_timer_t timer;
	uint64_t held_until_ms;
	uint64_t held_since_ms; /* 0: not held */
	unsigned hold_ms;
	uint64_t open_after_ms; /* no new connection before: the last one failed, others work */
	struct sockaddr_storage address;
	bool resolved, resolving;
	uv_getaddrinfo_t lookup;
	bool stopping;
	char trouble[OUTCOME_TEXT_MAX]; /* why it is held */
};

static struct flight *take(void *ctx);
static void give_back(void *ctx, struct flight *f, const struct outcome *why);
static void unwell(void *ctx, const struct outcome *why);
static void works(void *ctx);
static void ended(void *ctx, struct session *session);
static void open_sessions(struct route *r);
static void set_timer(struct route *r);

struct route *
route_new(struct dispatcher *d, struct err *err)
{
	struct route *r = calloc(1, sizeof(*r));

	(void)err_set(err, "no memory");
	if (r == NULL)
		return NULL;
	r->d = d;
	r->host = (struct session_host){ .ctx = r,
		.take = take,
		.give_back = give_back,
		.unwell = unwell,
		.works = works,
		.ended = ended };
	r->hold_ms = FIRST_HOLD_MS;
	r->sessions = calloc((size_t)d->config->relay_connections, sizeof(struct session *));
	if (r->sessions != NULL && strcmp(d->config->dispatcher_transport, "ses") == 0)
		r->ses = ses_route_new(d, &r->host, err);
	if (r->sessions == NULL ||
	    (r->ses == NULL && strcmp(d->config->dispatcher_transport, "ses") == 0)) {
		free(r->sessions);
		free(r);
		return NULL;
	}
	(void)uv_timer_init(&d->loop, &r->timer);
	r->timer.data = r;
	return r;
}

void
route_free(struct route *r)
{
	if (r == NULL)
		return;
	ready_release(&r->ready);
	ses_route_free(r->ses);
	free(r->sessions);
	free(r);
}

/* ---- ready flights ---- */

void
route_add(struct route *r, struct flight *f)
{
	if (ready_add(&r->ready, f) < 0)
		settle_release(r->d->settler, f);
	else
		flight_run(f)->ready++;
}

static void
release(void *ctx, struct flight *f)
{
	struct route *r = ctx;

	flight_run(f)->ready--;
	if (!signer_drop(f))
		settle_release(r->d->settler, f);
}

void
route_release_run(struct route *r, struct live_run *run)
{
	ready_remove_run(&r->ready, run, release, r);
}

bool
route_is_held(const struct route *r)
{
	return r->held_since_ms != 0;
}

/* A session asks; after this it goes idle when there is nothing. */
static struct flight *
take(void *ctx)
{
	struct route *r = ctx;

	while (!r->stopping && r->held_since_ms == 0 && r->ready.count > 0 &&
	    r->ready.heap[0]->due_us <= dispatcher_now_us()) {
		struct flight *f;

		if (!signer_has(r->ready.heap[0])) {
			signer_ahead(r->d->signer, &r->ready);
			return NULL; /* dispatcher_news.prepared kicks */
		}
		f = ready_pop(&r->ready);
		flight_run(f)->ready--;
		r->d->news->room(r->d);
		if (dispatcher_now_ms(r->d) - f->checked_ms <
		    (uint64_t)r->d->config->dispatcher_recheck_s * 1000)
			return f;
		settle_recheck(r->d->settler, f); /* comes back by route_add, or is skipped */
	}
	if (!r->stopping)
		set_timer(r); /* whoever asked goes idle now */
	return NULL;
}

/* After several ends of sessions it is deferred. */
static void
give_back(void *ctx, struct flight *f, const struct outcome *why)
{
	struct route *r = ctx;

	f->resends++;
	if (r->stopping || !flight_run(f)->running) {
		settle_release(r->d->settler, f);
	} else if (f->resends > RESENDS_MAX) {
		struct outcome o = *why;

		o.kind = OUTCOME_DEFERRED;
		settle_outcome(r->d->settler, f, &o);
	} else {
		route_add(r, f);
	}
}

/* ---- sessions ---- */

static void
on_timer(uv_timer_t *timer)
{
	route_kick(timer->data);
}

static bool
has_free_session(const struct route *r)
{
	if (r->ses != NULL)
		return ses_route_is_free(r->ses);
	for (size_t i = 0; i < r->session_count; i++)
		if (session_is_free(r->sessions[i]))
			return true;
	return false;
}

/* When a flight is due that was not a moment ago, nobody else may come by to fetch it: sessions
 * that are busy or connecting do, idle ones do not. */
static void
set_timer(struct route *r)
{
	uint64_t now_us = dispatcher_now_us(), wait_ms = UINT64_MAX;
	uint64_t now = dispatcher_now_ms(r->d);

	if (r->held_since_ms != 0)
		wait_ms = r->held_until_ms > now ? r->held_until_ms - now : 1;
	else if (r->ready.count == 0)
		return;
	else if (r->session_count == 0 && r->open_after_ms > now)
		wait_ms = r->open_after_ms - now;
	else if (r->ready.heap[0]->due_us > now_us)
		wait_ms = (r->ready.heap[0]->due_us - now_us + 999) / 1000;
	else if (!signer_has(r->ready.heap[0])) /* signing: dispatcher_news.prepared kicks */
		wait_ms = r->ready.heap[0]->signing ? UINT64_MAX : AGAIN_MS;
	else if (has_free_session(r))
		wait_ms = 0;
	else if (r->session_count == 0 && !r->resolving && r->ses == NULL)
		wait_ms = AGAIN_MS;
	if (wait_ms != UINT64_MAX && !uv_is_closing((uv_handle_t *)&r->timer))
		(void)uv_timer_start(&r->timer, on_timer, wait_ms, 0);
}

void
route_kick(struct route *r)
{
	uint64_t now = dispatcher_now_ms(r->d);

	if (r->held_since_ms != 0) {
		if (now >= r->held_until_ms) {
			r->held_since_ms = 0;
		} else if (now - r->held_since_ms >= RELEASE_AFTER_MS) {
			route_release_run(r, NULL);
		}
	}
	if (r->held_since_ms == 0 && !r->stopping)
		signer_ahead(r->d->signer, &r->ready);
	if (r->held_since_ms == 0 && !r->stopping && r->ses != NULL) {
		ses_route_kick(r->ses);
	} else if (r->held_since_ms == 0 && !r->stopping) {
		for (size_t i = 0; i < r->session_count; i++)
			if (session_is_free(r->sessions[i]))
				session_kick(r->sessions[i]);
		open_sessions(r);
	}
	set_timer(r);
}

static void
on_resolved(uv_getaddrinfo_t *lookup, int status, struct addrinfo *list)
{
	struct route *r = lookup->data;
	struct outcome why = {
		.phase = OUTCOME_PHASE_CONNECT, .scope = OUTCOME_SCOPE_ROUTE, .reason = "network"
	};

	r->resolving = false;
	if (status == 0 && list != NULL && list->ai_addrlen <= sizeof(r->address)) {
		memcpy(&r->address, list->ai_addr, list->ai_addrlen);
		r->resolved = true;
	} else {
		why.text = slice_str(uv_strerror(status));
		unwell(r, &why);
	}
	uv_freeaddrinfo(list);
	route_kick(r);
}

static void
resolve(struct route *r)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	char port[8];

	if (r->resolving)
		return;
	(void)snprintf(port, sizeof(port), "%ld", r->d->config->relay_port);
	r->lookup.data = r;
	r->resolving = uv_getaddrinfo(&r->d->loop, &r->lookup, on_resolved,
			   r->d->config->relay_host, port, &hints) == 0;
}

static void
open_sessions(struct route *r)
{
	/* after a failure one connection shows whether it is over */
	size_t connecting = 0, due = 0, most = r->hold_ms > FIRST_HOLD_MS ? 1 : OPENING_MAX;
	uint64_t now_us = dispatcher_now_us();

	for (size_t i = 0; i < r->ready.count && i < OPENING_MAX; i++)
		due +=
		    r->ready.heap[i]->due_us <= now_us; /* the first few of the heap are enough */
	if (due == 0 || dispatcher_now_ms(r->d) < r->open_after_ms)
		return;
	if (!r->resolved) {
		resolve(r);
		return;
	}
	for (size_t i = 0; i < r->session_count; i++)
		connecting += session_is_connecting(r->sessions[i]);
	while (connecting < due && connecting < most &&
	    r->session_count < (size_t)r->d->config->relay_connections) {
		struct session *s =
		    session_open(r->d, &r->host, (const struct sockaddr *)&r->address);

		if (s == NULL)
			return;
		r->sessions[r->session_count++] = s;
		connecting++;
	}
}

static void
ended(void *ctx, struct session *session)
{
	struct route *r = ctx;

	for (size_t i = 0; i < r->session_count; i++) {
		if (r->sessions[i] == session) {
			r->sessions[i] = r->sessions[--r->session_count];
			break;
		}
	}
	route_kick(r);
}

static bool
has_ready_session(const struct route *r)
{
	for (size_t i = 0; i < r->session_count; i++)
		if (session_is_ready(r->sessions[i]))
			return true;
	return false;
}

/* Wait, longer each time. */
static void
unwell(void *ctx, const struct outcome *why)
{
	struct route *r = ctx;
	uint64_t now = dispatcher_now_ms(r->d);

	if (now < r->held_until_ms || now < r->open_after_ms)
		return; /* several were being opened: one failure, told once */
	log_warn("%s unwell phase=%s text=\"%.*s\" hold_ms=%u", r->ses != NULL ? "ses" : "relay",
	    outcome_phase_name(why->phase), SLICE_ARG(why->text), r->hold_ms);
	if (has_ready_session(r)) {
		/* it has enough of us, not of our mail */
		r->open_after_ms = now + r->hold_ms;
	} else {
		r->held_since_ms = now > 0 ? now : 1;
		r->held_until_ms = now + r->hold_ms;
		if (r->ses != NULL)
			(void)snprintf(r->trouble, sizeof(r->trouble), "ses %s, %s: %.*s",
			    ses_route_name(r->ses), outcome_phase_name(why->phase),
			    SLICE_ARG(why->text));
		else
			(void)snprintf(r->trouble, sizeof(r->trouble), "relay %s:%ld, %s: %.*s",
			    r->d->config->relay_host, r->d->config->relay_port,
			    outcome_phase_name(why->phase), SLICE_ARG(why->text));
		if (r->hold_ms >= RELEASE_AFTER_MS)
			route_release_run(r, NULL);
	}
	r->hold_ms = r->hold_ms * 2 < LONGEST_HOLD_MS ? r->hold_ms * 2 : LONGEST_HOLD_MS;
	r->resolved = false; /* the name may point elsewhere by then */
	set_timer(r);
}

const char *
route_trouble_text(const struct route *r)
{
	return r->trouble;
}

static void
works(void *ctx)
{
	struct route *r = ctx;

	r->hold_ms = FIRST_HOLD_MS;
	r->held_since_ms = r->held_until_ms = r->open_after_ms = 0;
	r->trouble[0] = '\0';
}

void
route_stop(struct route *r)
{
	r->stopping = true;
	route_release_run(r, NULL);
	if (r->ses != NULL)
		ses_route_stop(r->ses);
	for (size_t i = r->session_count; i-- > 0;)
		session_quit(r->sessions[i]);
	(void)uv_timer_stop(&r->timer);
	if (!uv_is_closing((uv_handle_t *)&r->timer))
		uv_close((uv_handle_t *)&r->timer, NULL);
}

bool
route_is_idle(const struct route *r)
{
	return r->ready.count == 0 && r->session_count == 0 &&
	    (r->ses == NULL || ses_route_is_idle(r->ses));
}
