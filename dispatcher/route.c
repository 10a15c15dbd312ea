/* SPDX-License-Identifier: Apache-2.0 */
/* route: see route.h. */
#include "route.h"

#include <stdlib.h>
#include <string.h>

#include "claim.h"
#include "log.h"
#include "session.h"
#include "settle.h"

#define FIRST_HOLD_MS 500
#define LONGEST_HOLD_MS 60000
#define RELEASE_AFTER_MS 3000 /* held for longer: give the claims back */
#define AGAIN_MS 10	      /* no connection could be begun: wait */
#define OPENING_MAX 4	      /* connections being made at once */
#define RESENDS_MAX 5	      /* sessions that may end under a flight before it is deferred */
#define RECHECK_MS 60000      /* claims older than this are checked again (suppression) */

struct route {
	struct dispatcher *d;
	struct flight **heap; /* by due_us */
	size_t count, room;
	struct session **sessions;
	size_t session_count;
	uv_timer_t timer;
	uint64_t held_until_ms;
	uint64_t held_since_ms; /* 0: not held */
	unsigned hold_ms;
	uint64_t open_after_ms; /* no new connection before: the last one failed, others work */
	struct sockaddr_storage address;
	bool resolved, resolving;
	uv_getaddrinfo_t lookup;
	uint64_t orders; /* flights numbered so far */
	bool stopping;
	char trouble[OUTCOME_TEXT_MAX]; /* why it is held */
};

static void open_sessions(struct route *r);

struct route *
route_new(struct dispatcher *d)
{
	struct route *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->d = d;
	r->hold_ms = FIRST_HOLD_MS;
	r->sessions = calloc((size_t)d->config->relay_connections, sizeof(struct session *));
	if (r->sessions == NULL) {
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
	free(r->heap);
	free(r->sessions);
	free(r);
}

/* ---- the heap of ready flights ---- */

/* Without the order, equal times would come out anyhow and the interleaving be lost. */
static bool
is_before(const struct flight *a, const struct flight *b)
{
	return a->due_us != b->due_us ? a->due_us < b->due_us : a->order < b->order;
}

static void
heap_up(struct route *r, size_t i)
{
	struct flight *f = r->heap[i];

	while (i > 0 && is_before(f, r->heap[(i - 1) / 2])) {
		r->heap[i] = r->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	r->heap[i] = f;
}

static void
heap_down(struct route *r, size_t i)
{
	struct flight *f = r->heap[i];

	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= r->count)
			break;
		if (child + 1 < r->count && is_before(r->heap[child + 1], r->heap[child]))
			child++;
		if (!is_before(r->heap[child], f))
			break;
		r->heap[i] = r->heap[child];
		i = child;
	}
	r->heap[i] = f;
}

static struct flight *
heap_pop(struct route *r)
{
	struct flight *f = r->heap[0];

	r->count--;
	if (r->count > 0) {
		r->heap[0] = r->heap[r->count];
		heap_down(r, 0);
	}
	flight_run(f)->ready--;
	return f;
}

void
route_add(struct route *r, struct flight *f)
{
	if (r->count == r->room) {
		size_t room = r->room > 0 ? 2 * r->room : 1024;
		struct flight **heap = realloc(r->heap, room * sizeof(*heap));

		if (heap == NULL) {
			settle_release(r->d->settler, f);
			return;
		}
		r->heap = heap;
		r->room = room;
	}
	if (f->order == 0)
		f->order = ++r->orders;
	flight_run(f)->ready++;
	r->heap[r->count++] = f;
	heap_up(r, r->count - 1);
}

void
route_release_run(struct route *r, struct live_run *run)
{
	size_t kept = 0;

	for (size_t i = 0; i < r->count; i++) {
		struct flight *f = r->heap[i];

		if (run == NULL || flight_run(f) == run) {
			flight_run(f)->ready--;
			settle_release(r->d->settler, f);
		} else {
			r->heap[kept++] = f;
		}
	}
	r->count = kept;
	for (size_t i = kept / 2; i-- > 0;)
		heap_down(r, i);
}

bool
route_is_held(const struct route *r)
{
	return r->held_since_ms != 0;
}

struct flight *
route_take(struct route *r)
{
	while (!r->stopping && r->held_since_ms == 0 && r->count > 0 &&
	    r->heap[0]->due_us <= dispatcher_now_us()) {
		struct flight *f = heap_pop(r);

		claim_kick(r->d->claimer);
		if (dispatcher_now_ms(r->d) - f->checked_ms < RECHECK_MS)
			return f;
		settle_recheck(r->d->settler, f); /* comes back by route_add, or is skipped */
	}
	return NULL;
}

void
route_return(struct route *r, struct flight *f, const struct outcome *why)
{
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
	else if (r->count == 0)
		return;
	else if (r->session_count == 0 && r->open_after_ms > now)
		wait_ms = r->open_after_ms - now;
	else if (r->heap[0]->due_us > now_us)
		wait_ms = (r->heap[0]->due_us - now_us + 999) / 1000;
	else if (has_free_session(r))
		wait_ms = 0;
	else if (r->session_count == 0 && !r->resolving)
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
	if (r->held_since_ms == 0 && !r->stopping) {
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
		route_trouble(r, &why);
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

	for (size_t i = 0; i < r->count && i < OPENING_MAX; i++)
		due += r->heap[i]->due_us <= now_us; /* the first few of the heap are enough */
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
		struct session *s = session_open(r->d, (const struct sockaddr *)&r->address);

		if (s == NULL)
			return;
		r->sessions[r->session_count++] = s;
		connecting++;
	}
}

void
route_forget_session(struct route *r, void *session)
{
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

void
route_trouble(struct route *r, const struct outcome *why)
{
	uint64_t now = dispatcher_now_ms(r->d);

	if (now < r->held_until_ms || now < r->open_after_ms)
		return; /* several were being opened: one failure, told once */
	log_warn("relay unwell phase=%s text=\"%.*s\" hold_ms=%u", outcome_phase_name(why->phase),
	    SLICE_ARG(why->text), r->hold_ms);
	if (has_ready_session(r)) {
		/* it has enough of us, not of our mail */
		r->open_after_ms = now + r->hold_ms;
	} else {
		r->held_since_ms = now > 0 ? now : 1;
		r->held_until_ms = now + r->hold_ms;
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

void
route_works(struct route *r)
{
	r->hold_ms = FIRST_HOLD_MS;
	r->held_since_ms = r->held_until_ms = r->open_after_ms = 0;
	r->trouble[0] = '\0';
}

void
route_stop(struct route *r)
{
	r->stopping = true;
	route_release_run(r, NULL);
	for (size_t i = r->session_count; i-- > 0;)
		session_quit(r->sessions[i]);
	(void)uv_timer_stop(&r->timer);
	if (!uv_is_closing((uv_handle_t *)&r->timer))
		uv_close((uv_handle_t *)&r->timer, NULL);
}

bool
route_is_idle(const struct route *r)
{
	return r->count == 0 && r->session_count == 0;
}
