/* SPDX-License-Identifier: Apache-2.0 */
/* route: see route.h. */
#include "route.h"

#include <stdlib.h>
#include <string.h>

#include "auth.h"
#include "brakes.h"
#include "log.h"
#include "mark.h"
#include "metric.h"
#include "mx_route.h"
#include "ready.h"
#include "relay.h"
#include "ses_route.h"
#include "session.h"
#include "settle.h"
#include "signer.h"
#include "tls.h"

#define RELEASE_AFTER_MS 3000 /* held for longer: give the claims back */
#define AGAIN_MS 10	      /* no connection could be begun: wait */
#define SIZE_WAIT_S 60	      /* for a relay that takes a message so large */
#define OPENING_MAX 4	      /* connections being made at once */
#define RESENDS_MAX 5	      /* sessions that may end under a flight before it is deferred */
#define FULL_MS 1000	      /* no room for another connection: wait */
#define FULL_TOLD_MS 60000    /* between two words of it */
#define CLEAR_MS 600000	      /* without TLS after its handshake failed, when it is optional */
/* Of a configuration set's name (SES API v2, ConfigurationSetName). */
#define SES_NAME "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"

struct lookup {
	uv_getaddrinfo_t request;
	struct route *route;
	struct relay *relay;
};

struct route {
	struct dispatcher *d;
	struct session_host host; /* this route, as its sessions see it */
	struct ready ready;
	struct ready large; /* what not every relay takes */
	struct relay relays[RELAYS_MAX];
	size_t relay_count;
	struct lookup lookups[RELAYS_MAX]; /* of each relay */
	struct session **sessions;
	size_t session_count, session_room;
	/* in place of sessions to smart hosts; one of them, or none */
	struct ses_route *ses;
	struct mx_route *mx;
	uv_timer_t timer;
	uint64_t held_since_ms; /* 0: not held */
	uint64_t full_until_ms, full_told_ms;
	bool stopping;
	enum smtp_tls tls;
	struct auth auth;
	struct sockaddr_storage from;
	char trouble[OUTCOME_TEXT_MAX]; /* why it is held */
};

static struct flight *take(void *ctx, struct relay *relay);
static void give_back(void *ctx, struct relay *relay, struct flight *f, const struct outcome *why);
static void unwell(void *ctx, struct relay *relay, const struct outcome *why);
static void works(void *ctx, struct relay *relay);
static void ended(void *ctx, struct session *session);
static void open_sessions(struct route *r);
static void set_timer(struct route *r);

/* ---- what [relay] says ---- */

static int
read_tls(struct route *r, struct err *err)
{
	static const struct {
		const char *name;
		enum smtp_tls tls;
	} modes[] = { { "off", SMTP_TLS_OFF }, { "opportunistic", SMTP_TLS_OPPORTUNISTIC },
		{ "required", SMTP_TLS_REQUIRED }, { "implicit", SMTP_TLS_ALREADY } };
	const char *name = r->d->config->relay_tls;

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (strcmp(name, modes[i].name) != 0)
			continue;
		r->tls = modes[i].tls;
		return 0;
	}
	return err_set(
	    err, "relay.tls must be off, opportunistic, required or implicit, not '%s'", name);
}

static struct tls_context *
make_tls(const struct route *r, struct err *err)
{
	const struct config *c = r->d->config;
	struct tls_settings settings = {
		/* without a policy a certificate proves nothing (RFC 7435) */
		.verify = r->tls != SMTP_TLS_OPPORTUNISTIC,
		.only_1_3 = c->relay_tls_only_1_3,
		.ca_file = c->relay_tls_ca_file,
		.cert_file = c->relay_tls_cert_file,
		.key_file = c->relay_tls_key_file,
	};

	return tls_context_new(&settings, err);
}

static int
read_login(struct route *r, struct err *err)
{
	const char *path = r->d->config->relay_auth_file;

	if (path[0] == '\0')
		return 0;
	if (r->tls != SMTP_TLS_REQUIRED && r->tls != SMTP_TLS_ALREADY)
		return err_set(err,
		    "relay.auth_file needs relay.tls = required or implicit: a login is never "
		    "sent in clear");
	if (auth_load(&r->auth, path, err) < 0)
		return -1;
	r->host.auth = &r->auth;
	return 0;
}

static int
read_config(struct route *r, struct err *err)
{
	const struct config *c = r->d->config;

	if (relay_parse_list(r->relays, &r->relay_count, c->relay_host, c->relay_port, err) < 0)
		return -1;
	for (size_t i = 0; i < r->relay_count; i++)
		if (c->relay_tls_name[0] != '\0')
			r->relays[i].tls_name = c->relay_tls_name;
	for (const char *p = c->relay_ses_configuration_set; *p != '\0'; p++)
		if (strchr(SES_NAME, *p) == NULL || p - c->relay_ses_configuration_set >= 64)
			return err_set(err,
			    "relay.ses_configuration_set: at most 64 letters, digits, - and _");
	r->host.is_relay = true;
	r->host.lmtp = strcmp(c->relay_protocol, "lmtp") == 0;
	if (!r->host.lmtp && strcmp(c->relay_protocol, "smtp") != 0)
		return err_set(
		    err, "relay.protocol must be smtp or lmtp, not '%s'", c->relay_protocol);
	if (c->relay_source[0] != '\0') {
		if (uv_ip4_addr(c->relay_source, 0, (struct sockaddr_in *)&r->from) != 0 &&
		    uv_ip6_addr(c->relay_source, 0, (struct sockaddr_in6 *)&r->from) != 0)
			return err_set(err,
			    "relay.source must be an address of this host, not '%s'",
			    c->relay_source);
		r->host.from = (const struct sockaddr *)&r->from;
	}
	if (read_tls(r, err) < 0 || read_login(r, err) < 0)
		return -1;
	if (r->tls != SMTP_TLS_OFF && (r->host.tls = make_tls(r, err)) == NULL)
		return -1;
	return 0;
}

/* The endpoint of SES, or DNS and the network as a whole for MX, stand in the list as the only relay:
 * they rest like one. */
static int
begin_other(struct route *r, struct err *err)
{
	r->relays[0] = (struct relay){ .local = true, .weight = 1 };
	relay_works(&r->relays[0]);
	r->relay_count = 1;
	if (strcmp(r->d->config->dispatcher_transport, "mx") == 0) {
		(void)snprintf(r->relays[0].name, sizeof(r->relays[0].name), "network");
		r->mx = mx_route_new(r->d, &r->host, &r->relays[0], err);
		return r->mx != NULL ? 0 : -1;
	}
	r->ses = ses_route_new(r->d, &r->host, &r->relays[0], err);
	if (r->ses == NULL)
		return -1;
	(void)snprintf(r->relays[0].name, sizeof(r->relays[0].name), "%s", ses_route_name(r->ses));
	return 0;
}

struct route *
route_new(struct dispatcher *d, struct err *err)
{
	struct route *r = calloc(1, sizeof(*r));

	if (r == NULL) {
		(void)err_set(err, "no memory");
		return NULL;
	}
	r->d = d;
	r->host = (struct session_host){ .ctx = r,
		.take = take,
		.give_back = give_back,
		.unwell = unwell,
		.works = works,
		.ended = ended };
	r->host.ehlo = d->config->relay_ehlo;
	r->host.max_messages = (unsigned)d->config->relay_messages_per_connection;
	r->host.idle_s = (unsigned)d->config->relay_idle_s;
	r->host.connect_timeout_s = (unsigned)d->config->relay_connect_timeout_s;
	if ((strcmp(d->config->dispatcher_transport, "relay") == 0 ? read_config(r, err)
								   : begin_other(r, err)) < 0) {
		tls_context_free(r->host.tls);
		auth_wipe(&r->auth);
		free(r);
		return NULL;
	}
	/* room for one more to each relay that is being looked whether it works again */
	r->session_room = (size_t)d->config->relay_connections + r->relay_count;
	r->sessions = calloc(r->session_room, sizeof(struct session *));
	if (r->sessions == NULL) {
		(void)err_set(err, "no memory");
		route_free(r);
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
	ready_release(&r->large);
	ses_route_free(r->ses);
	mx_route_free(r->mx);
	tls_context_free(r->host.tls);
	auth_wipe(&r->auth);
	free(r->sessions);
	free(r);
}

/* Mail goes another way than by sessions to smart hosts. */
static bool
has_other(const struct route *r)
{
	return r->ses != NULL || r->mx != NULL;
}

/* Credentials change in place: a session reads them once, at its login. */
static void
reload_login(struct route *r)
{
	struct auth fresh;
	struct err err = { 0 };

	if (r->host.auth == NULL)
		return;
	if (auth_load(&fresh, r->d->config->relay_auth_file, &err) == 0)
		r->auth = fresh;
	else
		log_warn("credentials not read again: %s", err.msg);
	auth_wipe(&fresh);
}

/* relay.connections may have grown; when it shrinks, sessions end as they are done. */
static void
make_room(struct route *r)
{
	size_t room = (size_t)r->d->config->relay_connections + r->relay_count;
	struct session **sessions;

	if (room <= r->session_room)
		return;
	sessions = realloc(r->sessions, room * sizeof(struct session *));
	if (sessions == NULL) {
		log_warn("no memory for more connections");
		return;
	}
	r->sessions = sessions;
	r->session_room = room;
}

void
route_reload(struct route *r)
{
	struct err err = { 0 };
	struct tls_context *fresh;

	make_room(r);
	reload_login(r);
	if (r->mx != NULL)
		mx_route_reload(r->mx);
	if (r->tls == SMTP_TLS_OFF || has_other(r))
		return;
	fresh = make_tls(r, &err);
	if (fresh == NULL) {
		log_warn("certificates not read again: %s", err.msg);
		return;
	}
	tls_context_free(r->host.tls);
	r->host.tls = fresh;
}

/* ---- ready flights ---- */

void
route_add(struct route *r, struct flight *f)
{
	if (ready_add(f->bytes > 0 ? &r->large : &r->ready, f) < 0)
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
	ready_remove_run(&r->large, run, release, r);
	if (r->mx != NULL)
		mx_route_release_run(r->mx, run);
}

bool
route_is_held(const struct route *r)
{
	return r->held_since_ms != 0;
}

/* Held: no relay can carry mail or be tried. */
static void
look_at_relays(struct route *r)
{
	uint64_t now = dispatcher_now_ms(r->d);

	for (size_t i = 0; i < r->relay_count; i++) {
		if (relay_is_usable(&r->relays[i], now)) {
			r->held_since_ms = 0;
			return;
		}
	}
	if (r->held_since_ms == 0)
		r->held_since_ms = now > 0 ? now : 1;
}

static struct flight *
taken(struct flight *f)
{
	f->taken_us = dispatcher_now_us();
	log_debug("leaves run=%d send=%d due_us=%llu late_us=%llu", flight_run(f)->id, f->id,
	    (unsigned long long)f->due_us, (unsigned long long)(f->taken_us - f->due_us));
	return f;
}

static bool
is_due(const struct ready *ready)
{
	return ready->count > 0 && ready->heap[0]->due_us <= dispatcher_now_us();
}

/* Where its next one is: first what others do not take. NULL: none is due. */
static struct ready *
due_for(struct route *r, const struct relay *relay)
{
	if (is_due(&r->large) && relay_takes(relay, r->large.heap[0]->bytes))
		return &r->large;
	return is_due(&r->ready) ? &r->ready : NULL;
}

/* A session asks; after this it goes idle when there is nothing. */
static struct flight *
take(void *ctx, struct relay *relay)
{
	struct route *r = ctx;
	uint64_t now = dispatcher_now_ms(r->d);
	struct ready *from;

	while (!r->stopping && relay_may_begin(relay, now) &&
	    (!has_other(r) || r->held_since_ms == 0) && (from = due_for(r, relay)) != NULL) {
		struct flight *f;

		if (!signer_has(from->heap[0])) {
			signer_ahead(r->d->signer, from);
			return NULL; /* dispatcher_news.prepared kicks */
		}
		f = from == &r->large ? ready_pop(from)
				      : ready_next(from, dispatcher_now_us(), signer_has);
		flight_run(f)->ready--;
		if (flight_is_late(f, dispatcher_now_us())) {
			r->d->news->late(r->d, f);
			continue;
		}
		if (brakes_keep(r->d->brakes, f, ""))
			continue;
		r->trouble[0] = '\0';
		relay_took(relay, now);
		r->d->news->room(r->d);
		if (now - f->checked_ms < (uint64_t)r->d->config->dispatcher_recheck_s * 1000)
			return taken(f);
		settle_recheck(r->d->settler, f); /* comes back by route_add, or is skipped */
	}
	if (!r->stopping)
		set_timer(r); /* whoever asked goes idle now */
	return NULL;
}

static const char *
way_name(const struct route *r)
{
	return r->ses != NULL ? "ses" : r->mx != NULL ? "mx" : "relay";
}

static void
note_trouble(struct route *r, const struct relay *relay, const struct outcome *why, uint64_t wait)
{
	log_warn("%s unwell host=%s port=%u phase=%s code=%d text=\"%.*s\" rest_ms=%llu",
	    way_name(r), relay->name, relay->port, outcome_phase_name(why->phase), why->code,
	    SLICE_ARG(why->text), (unsigned long long)wait);
	look_at_relays(r);
	if (r->held_since_ms == 0)
		return;
	if (relay->local)
		(void)snprintf(r->trouble, sizeof(r->trouble), "%s %s, %s: %.*s", way_name(r),
		    relay->name, outcome_phase_name(why->phase), SLICE_ARG(why->text));
	else
		(void)snprintf(r->trouble, sizeof(r->trouble), "relay %s:%u, %s: %.*s", relay->name,
		    relay->port, outcome_phase_name(why->phase), SLICE_ARG(why->text));
	if (wait >= RELEASE_AFTER_MS)
		route_release_run(r, NULL);
	set_timer(r);
}

/* The relay takes none so large: perhaps another one does. Only when all are known not to is it the
 * message's fault: before any was taken, that of the run. */
static void
pass_on(struct route *r, struct flight *f, const struct outcome *why)
{
	uint64_t now = dispatcher_now_ms(r->d);
	const struct relay *other = relay_choose_for(r->relays, r->relay_count, f->bytes, now);
	struct live_run *run = flight_run(f);
	struct outcome later = *why;

	later.kind = OUTCOME_DEFERRED;
	if (other == NULL && run->taken) {
		settle_outcome(r->d->settler, f, why);
	} else if (other == NULL) {
		settle_release(r->d->settler, f);
		r->d->news->refused(r->d, run, "the message is larger than the relay's SIZE");
	} else if (r->stopping || !mark_may(r->d, f)) {
		settle_release(r->d->settler, f);
	} else if (relay_is_usable(other, now)) {
		route_add(r, f);
		set_timer(r);
	} else {
		settle_postpone(r->d->settler, f, &later, SIZE_WAIT_S);
	}
}

/* What waits for a relay that has gone meanwhile; or that has said since that it takes no more than others:
 * then any of them may refuse it. */
static void
put_off_large(struct route *r)
{
	static const struct outcome later = { .kind = OUTCOME_DEFERRED,
		.cls = OUTCOME_SOFT,
		.scope = OUTCOME_SCOPE_ROUTE,
		.reason = "network",
		.text = { "waits for a relay that takes its size", 37 } };
	uint64_t now = dispatcher_now_ms(r->d);

	while (r->large.count > 0) {
		const struct relay *other =
		    relay_choose_for(r->relays, r->relay_count, r->large.heap[0]->bytes, now);
		struct flight *f;

		if (other != NULL && relay_is_usable(other, now))
			return;
		if (r->large.heap[0]->signing)
			return;
		f = ready_pop(&r->large);
		flight_run(f)->ready--;
		if (other != NULL) {
			settle_postpone(r->d->settler, f, &later, SIZE_WAIT_S);
			continue;
		}
		f->bytes = 0;
		route_add(r, f);
	}
}

/* After several ends of sessions it is deferred. What the relay itself is to blame for does not
 * count: the relay rests. */
static void
give_back(void *ctx, struct relay *relay, struct flight *f, const struct outcome *why)
{
	struct route *r = ctx;
	uint64_t now = dispatcher_now_ms(r->d);
	/* the SES route says by itself when it is unwell */
	bool blamed = !has_other(r) && relay_is_to_blame(why);

	f->resends += !blamed;
	if (smtp_is_too_large(why)) {
		pass_on(r, f, why);
	} else if (r->stopping || !mark_may(r->d, f)) {
		settle_release(r->d->settler, f);
	} else if (f->resends > RESENDS_MAX) {
		struct outcome o = *why;

		o.kind = OUTCOME_DEFERRED;
		settle_outcome(r->d->settler, f, &o);
	} else {
		route_add(r, f);
	}
	if (blamed && relay_throttled(relay, why, now, arc4random()))
		note_trouble(r, relay, why, relay->begin_after_ms - now);
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
	if (r->mx != NULL)
		return mx_route_is_free(r->mx);
	for (size_t i = 0; i < r->session_count; i++)
		if (session_is_free(r->sessions[i]) &&
		    relay_may_begin(session_relay(r->sessions[i]), dispatcher_now_ms(r->d)))
			return true;
	return false;
}

/* Who takes what is large and due: somebody free now, somebody busy comes by, or a connection must be made. */
static uint64_t
large_wait_ms(const struct route *r)
{
	uint64_t wait = AGAIN_MS;

	for (size_t i = 0; i < r->session_count; i++) {
		const struct relay *relay = session_relay(r->sessions[i]);

		if (!relay_takes(relay, r->large.heap[0]->bytes))
			continue;
		if (session_is_free(r->sessions[i]) &&
		    relay_may_begin(relay, dispatcher_now_ms(r->d)))
			return 0;
		wait = UINT64_MAX;
	}
	return wait;
}

/* The time until a resting relay may be used again; UINT64_MAX when none rests. */
static uint64_t
rest_left(const struct route *r)
{
	uint64_t now = dispatcher_now_ms(r->d), least = UINT64_MAX;

	for (size_t i = 0; i < r->relay_count; i++) {
		const struct relay *relay = &r->relays[i];
		uint64_t after = relay->begin_after_ms;

		if (relay->working == 0 && relay->open_after_ms > after)
			after = relay->open_after_ms;
		if (after > now && after - now < least)
			least = after - now;
	}
	return least;
}

/* When a flight is due that was not a moment ago, nobody else may come by to fetch it: sessions
 * that are busy or connecting do, idle ones do not. */
static void
set_timer(struct route *r)
{
	uint64_t now_us = dispatcher_now_us(), wait_ms = rest_left(r);

	if (r->ready.count > 0 && r->held_since_ms != 0) {
		uint64_t held_ms = dispatcher_now_ms(r->d) - r->held_since_ms;
		uint64_t left = held_ms < RELEASE_AFTER_MS ? RELEASE_AFTER_MS - held_ms : 0;

		wait_ms = left < wait_ms ? left : wait_ms;
	}
	if (r->ready.count > 0 && r->held_since_ms == 0) {
		uint64_t due_us = r->ready.heap[0]->due_us, next = UINT64_MAX;

		if (due_us > now_us)
			next = (due_us - now_us + 999) / 1000;
		else if (!signer_has(r->ready.heap[0])) /* dispatcher_news.prepared kicks */
			next = r->ready.heap[0]->signing ? UINT64_MAX : AGAIN_MS;
		else if (has_free_session(r))
			next = 0;
		else if (r->session_count == 0 && !has_other(r))
			next = AGAIN_MS;
		wait_ms = next < wait_ms ? next : wait_ms;
	}
	if (r->large.count > 0 && r->held_since_ms == 0) {
		uint64_t due_us = r->large.heap[0]->due_us;
		uint64_t next = due_us > now_us ? (due_us - now_us + 999) / 1000 : large_wait_ms(r);

		wait_ms = next < wait_ms ? next : wait_ms;
	}
	if (wait_ms != UINT64_MAX && !uv_is_closing((uv_handle_t *)&r->timer))
		(void)uv_timer_start(&r->timer, on_timer, wait_ms, 0);
}

void
route_kick(struct route *r)
{
	uint64_t now = dispatcher_now_ms(r->d);

	look_at_relays(r);
	if (r->held_since_ms != 0 && now - r->held_since_ms >= RELEASE_AFTER_MS)
		route_release_run(r, NULL);
	if (r->held_since_ms == 0 && !r->stopping) {
		signer_ahead(r->d->signer, &r->ready);
		signer_ahead(r->d->signer, &r->large);
		put_off_large(r);
	}
	if (r->held_since_ms == 0 && !r->stopping && r->ses != NULL) {
		ses_route_kick(r->ses);
	} else if (r->held_since_ms == 0 && !r->stopping && r->mx != NULL) {
		mx_route_kick(r->mx);
	} else if (r->held_since_ms == 0 && !r->stopping) {
		for (size_t i = 0; i < r->session_count; i++)
			if (session_is_free(r->sessions[i]))
				session_kick(r->sessions[i]);
		open_sessions(r);
	}
	set_timer(r);
}

/* Addresses of the family that we may speak from. */
static void
keep_addresses(const struct route *r, struct relay *relay, const struct addrinfo *list)
{
	relay->address_count = relay->at = 0;
	for (; list != NULL && relay->address_count < RELAY_ADDRESSES_MAX; list = list->ai_next) {
		if (list->ai_addrlen > sizeof(relay->addresses[0]) ||
		    (r->host.from != NULL && list->ai_family != r->host.from->sa_family))
			continue;
		memcpy(&relay->addresses[relay->address_count++], list->ai_addr, list->ai_addrlen);
	}
}

static void
on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *list)
{
	struct lookup *l = request->data;
	struct route *r = l->route;
	struct outcome why = {
		.phase = OUTCOME_PHASE_CONNECT, .scope = OUTCOME_SCOPE_ROUTE, .reason = "network"
	};

	l->relay->resolving = false;
	if (status == 0)
		keep_addresses(r, l->relay, list);
	uv_freeaddrinfo(list);
	if (l->relay->address_count == 0) {
		why.text = status != 0 ? slice_str(uv_strerror(status))
				       : SLICE("no address of the family of relay.source");
		unwell(r, l->relay, &why);
	}
	if (!r->stopping)
		route_kick(r);
}

static void
resolve(struct route *r, struct relay *relay)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct lookup *l = &r->lookups[relay - r->relays];
	char port[8];

	(void)snprintf(port, sizeof(port), "%u", relay->port);
	*l = (struct lookup){ .route = r, .relay = relay };
	l->request.data = l;
	relay->resolving =
	    uv_getaddrinfo(&r->d->loop, &l->request, on_resolved, relay->name, port, &hints) == 0;
}

/* Descriptors or ports have run out: the limit is ours, lower than relay.connections. Those that are open carry
 * the mail; without any the relay rests. */
static bool
is_full(struct route *r, int error)
{
	uint64_t now = dispatcher_now_ms(r->d);

	if (r->session_count == 0 ||
	    (error != UV_EMFILE && error != UV_ENFILE && error != UV_EADDRNOTAVAIL))
		return false;
	if (now >= r->full_told_ms) {
		log_warn("no %s for another connection connections=%zu: lower relay.connections "
			 "or raise %s",
		    error == UV_EADDRNOTAVAIL ? "local port" : "descriptor", r->session_count,
		    error == UV_EADDRNOTAVAIL ? "net.ipv4.ip_local_port_range" : "LimitNOFILE");
		r->full_told_ms = now + FULL_TOLD_MS;
	}
	r->full_until_ms = now + FULL_MS;
	return true;
}

/* False when no connection was begun, perhaps only because the name must be resolved first. */
static bool
open_session(struct route *r, struct relay *relay)
{
	uint64_t now = dispatcher_now_ms(r->d);
	enum smtp_tls tls = r->tls;
	struct session *s;
	int error = 0;

	if (now < r->full_until_ms)
		return false;
	if (!relay->local && relay->address_count == 0) {
		resolve(r, relay);
		return false;
	}
	if (tls == SMTP_TLS_OPPORTUNISTIC && now < relay->clear_until_ms)
		tls = SMTP_TLS_OFF;
	s = session_open(r->d, &r->host, relay, tls, &error);
	if (s == NULL && is_full(r, error))
		return false;
	if (s == NULL) {
		struct outcome why = { .phase = OUTCOME_PHASE_CONNECT,
			.scope = OUTCOME_SCOPE_ROUTE,
			.reason = "network",
			.text = slice_str(uv_strerror(error)) };

		unwell(r, relay, &why);
		return false;
	}
	relay->connections++;
	r->sessions[r->session_count++] = s;
	return true;
}

/* While a backup carries the mail, the others are looked at as soon as they may. */
static void
try_primaries(struct route *r)
{
	uint64_t now = dispatcher_now_ms(r->d);
	bool backup = false;

	for (size_t i = 0; i < r->relay_count; i++)
		backup = backup || (r->relays[i].backup && r->relays[i].connections > 0);
	for (size_t i = 0; backup && i < r->relay_count; i++) {
		struct relay *relay = &r->relays[i];

		if (!relay->backup && relay->connections == 0 && !relay->resolving &&
		    now >= relay->open_after_ms && r->session_count < r->session_room)
			(void)open_session(r, relay);
	}
}

/* What not every relay takes needs a connection to one that does. */
static void
open_for_large(struct route *r)
{
	struct relay *relay;

	if (!is_due(&r->large))
		return;
	relay = relay_choose_for(
	    r->relays, r->relay_count, r->large.heap[0]->bytes, dispatcher_now_ms(r->d));
	if (relay != NULL && relay->connections == 0 && !relay->resolving &&
	    relay_is_usable(relay, dispatcher_now_ms(r->d)) && r->session_count < r->session_room)
		(void)open_session(r, relay);
}

static void
open_sessions(struct route *r)
{
	size_t connecting = 0, due = 0;
	uint64_t now_us = dispatcher_now_us();

	try_primaries(r);
	open_for_large(r);
	for (size_t i = 0; i < r->ready.count && i < OPENING_MAX; i++)
		due +=
		    r->ready.heap[i]->due_us <= now_us; /* the first few of the heap are enough */
	for (size_t i = 0; i < r->session_count; i++)
		connecting += session_is_connecting(r->sessions[i]);
	while (connecting < due && connecting < OPENING_MAX &&
	    r->session_count < (size_t)r->d->config->relay_connections &&
	    dispatcher_now_ms(r->d) >= r->full_until_ms) {
		struct relay *relay =
		    relay_choose(r->relays, r->relay_count, dispatcher_now_ms(r->d));

		if (relay == NULL)
			return;
		connecting += open_session(r, relay); /* else it rests, or is being resolved */
	}
}

static void
ended(void *ctx, struct session *session)
{
	struct route *r = ctx;
	struct relay *relay = session_relay(session);

	for (size_t i = 0; i < r->session_count; i++) {
		if (r->sessions[i] == session) {
			r->sessions[i] = r->sessions[--r->session_count];
			break;
		}
	}
	relay->connections--;
	relay->working -= session_has_worked(session);
	route_kick(r);
}

/* Wait, longer each time; those of its connections that work go on. */
static void
unwell(void *ctx, struct relay *relay, const struct outcome *why)
{
	struct route *r = ctx;
	uint64_t now = dispatcher_now_ms(r->d);

	if (why->phase == OUTCOME_PHASE_TLS && r->tls == SMTP_TLS_OPPORTUNISTIC &&
	    now >= relay->clear_until_ms) {
		/* RFC 7435: in clear is what it would be without the offer */
		log_warn("relay %s offers TLS that does not work (%.*s); going on without",
		    relay->name, SLICE_ARG(why->text));
		relay->clear_until_ms = now + CLEAR_MS;
		return;
	}
	if (why->phase == OUTCOME_PHASE_AUTH)
		reload_login(r); /* perhaps they were renewed meanwhile */
	if (relay_unwell(relay, why, now, arc4random()))
		note_trouble(r, relay, why, relay->open_after_ms - now);
}

const char *
route_trouble_text(const struct route *r)
{
	return r->trouble;
}

static void
put_relay(struct buf *out, const char *name, const struct relay *relay, double value)
{
	char where[RELAY_NAME_MAX + 8];

	(void)snprintf(
	    where, sizeof(where), relay->local ? "%s" : "%s:%u", relay->name, relay->port);
	metric_sample(out, name, &(struct metric_label){ "relay", where }, 1, value);
}

void
route_metrics(const struct route *r, struct buf *out)
{
	static const char up[] = "kairan_relay_up", open[] = "kairan_relay_connections";
	uint64_t now = dispatcher_now_ms(r->d);

	metric_one(out, "kairan_dispatcher_ready", METRIC_GAUGE,
	    "Claimed recipients that wait for their turn",
	    (double)(r->ready.count + r->large.count));
	metric_one(out, "kairan_dispatcher_held", METRIC_GAUGE,
	    "1 when no relay can be used, and nothing is claimed", r->held_since_ms != 0);
	metric_family(out, up, METRIC_GAUGE, "1 when the relay or the SES endpoint may be used");
	for (size_t i = 0; i < r->relay_count; i++)
		put_relay(out, up, &r->relays[i], relay_is_usable(&r->relays[i], now));
	metric_family(
	    out, open, METRIC_GAUGE, "Connections to the relay, or requests to SES under way");
	for (size_t i = 0; i < r->relay_count; i++)
		put_relay(out, open, &r->relays[i],
		    r->ses != NULL ? (double)ses_route_requests(r->ses)
				   : (double)r->relays[i].connections);
}

static void
works(void *ctx, struct relay *relay)
{
	struct route *r = ctx;

	relay_works(relay);
	if (has_other(r)) {
		r->trouble[0] = '\0';
		look_at_relays(r);
		return;
	}
	relay->working++;
	look_at_relays(r);
	for (size_t i = r->session_count; !relay->backup && i-- > 0;)
		if (session_relay(r->sessions[i])->backup)
			session_quit(r->sessions[i]);
}

void
route_stop(struct route *r)
{
	r->stopping = true;
	route_release_run(r, NULL);
	if (r->ses != NULL)
		ses_route_stop(r->ses);
	if (r->mx != NULL)
		mx_route_stop(r->mx);
	for (size_t i = r->session_count; i-- > 0;)
		session_quit(r->sessions[i]);
	(void)uv_timer_stop(&r->timer);
	if (!uv_is_closing((uv_handle_t *)&r->timer))
		uv_close((uv_handle_t *)&r->timer, NULL);
}

bool
route_is_idle(const struct route *r)
{
	return r->ready.count == 0 && r->large.count == 0 && r->session_count == 0 &&
	    (r->ses == NULL || ses_route_is_idle(r->ses)) &&
	    (r->mx == NULL || mx_route_is_idle(r->mx));
}
