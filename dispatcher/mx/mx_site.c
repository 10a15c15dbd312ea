/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mx_site: see mx_site.h. A peer is one mail server of a site; its struct relay is what its sessions
 * know of it. When a peer cannot be spoken to, it rests and the next one is tried; when all do, the
 * site rests, longer each time, and what waits for it is postponed. Nothing is freed but in the sweep.
 */
#include "mx_site.h"

#include <assert.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "brakes.h"
#include "crash.h"
#include "log.h"
#include "mark.h"
#include "mx_host.h"
#include "relay.h"
#include "settle.h"

#define OPENING_MAX 2	    /* connections of one site being made at once */
#define RESENDS_MAX 5	    /* sessions that may end under a flight before it takes a step */
#define PEER_REST_MS 300000 /* while another one works */
#define CLEAR_MS 600000	    /* without TLS after its handshake failed */
#define FEWER_MS 600000	    /* fewer connections after one was refused beside those that work */
#define LATER_MIN_MS 5000   /* postponed for want of room: at least, at most */
#define LATER_MAX_MS 900000
#define ADDRESSES_MIN_MS 60000 /* how long addresses are kept */
#define ADDRESSES_MAX_MS 3600000
#define FIRST_GUESS_MS 100 /* a mail takes, before anything is known */
#define WARN_MS 60000	   /* between two words of our own limit */
#define AGAIN_MS 1000 /* who is late asks for another permit if it would be served within that */

struct peer {
	struct relay relay; /* first: sessions hand it back */
	struct mx_site *site;
	unsigned preference;
	uint64_t rest_until_ms;
	uint64_t known_until_ms; /* its addresses and TLSA records */
	enum tlsa_verdict dane;
	struct tlsa *tlsa; /* of relay; the last that were told, until others are */
};

struct mx_site {
	struct mx_sites *all;
	struct mx_site *next; /* in the list of active ones */
	bool active;
	bool secure, implicit;
	char key[MX_KEY_MAX];
	unsigned domains;
	int group; /* of the provider table; PROVIDERS_NONE */
	struct peer *peers;
	size_t peer_count;
	struct ready waiting;
	struct session **sessions; /* room for mx.connections_per_destination */
	size_t session_count, working;
	size_t
	    fresh; /* sessions that have just been opened: each may take one that is late by it */
	size_t limit; /* of our sessions, until fewer_until_ms */
	struct mx_lease lease;
	uint64_t fewer_until_ms;
	uint64_t rest_until_ms, rest_ms;
	uint64_t later_ms; /* the next flight without room is expected to find some */
	uint64_t taken_ms; /* the last one was taken */
	uint64_t mail_ms;  /* from one to the next, smoothed */
	unsigned next_source;
	struct outcome why; /* of the present trouble */
	char why_text[OUTCOME_TEXT_MAX], why_remote[RELAY_NAME_MAX + 1];
};

static void site_kick(struct mx_site *site);
static void site_wish(struct mx_site *site);
static size_t session_limit(struct mx_site *site);
static void on_turn(uv_timer_t *timer);

static uint64_t
now_of(const struct mx_sites *all)
{
	return dispatcher_now_ms(all->d);
}

static struct mx_site *
site_of(const struct relay *relay)
{
	return ((const struct peer *)(const void *)relay)->site;
}

/* ---- flights ---- */

void
mx_postpone(struct mx_sites *all, struct flight *f, const struct outcome *why, uint64_t wait_ms)
{
	if (all->stopping || !flight_run(f)->running)
		settle_release(all->d->settler, f);
	else
		settle_postpone(all->d->settler, f, why, (long)(wait_ms / 1000 + 1));
}

static struct flight *
site_pop(struct mx_site *site)
{
	struct flight *f = ready_pop(&site->waiting);

	site->all->waiting -= f != NULL;
	return f;
}

/* Everything that waits is put off until the site has rested, not all to the same second. */
static void
site_flush(struct mx_site *site)
{
	uint64_t now = now_of(site->all), left;
	struct flight *f;

	left = site->rest_until_ms > now ? site->rest_until_ms - now : 0;
	while ((f = site_pop(site)) != NULL)
		mx_postpone(
		    site->all, f, &site->why, left + arc4random_uniform(1000 + (uint32_t)left / 8));
}

/* When a place is expected to be free: behind all that were put off before. */
static void
put_off(struct mx_site *site, struct flight *f)
{
	static const struct outcome full = { .kind = OUTCOME_DEFERRED,
		.cls = OUTCOME_SOFT,
		.scope = OUTCOME_SCOPE_HOST,
		.enhanced = { 4, 4, 5 },
		.reason = "rate",
		.text = { "waits for its turn at this destination", 38 } };
	uint64_t now = now_of(site->all), at = now + site->waiting.count * site->mail_ms;

	at = site->later_ms > at ? site->later_ms : at;
	at = at < now + LATER_MIN_MS ? now + LATER_MIN_MS : at;
	at = at > now + LATER_MAX_MS ? now + LATER_MAX_MS : at;
	site->later_ms = at + site->mail_ms;
	mx_postpone(site->all, f, &full, at - now);
}

/* Another one may wait. While memory is at hand a site takes what comes; then by the limit of the
 * site, and of all, but never fewer than its connections. */
static bool
has_room(const struct mx_site *site)
{
	const struct config *c = site->all->d->config;

	return site->waiting.count < (size_t)c->mx_connections_per_destination ||
	    site->all->waiting < (size_t)c->mx_waiting / 2 ||
	    (site->waiting.count < (size_t)c->mx_waiting_per_destination &&
		site->all->waiting < (size_t)c->mx_waiting);
}

void
mx_site_add(struct mx_site *site, struct flight *f)
{
	struct mx_sites *all = site->all;
	uint64_t now = now_of(all);

	if (brakes_keep(all->d->brakes, f, site->peers[0].relay.name))
		return;
	if (now < site->rest_until_ms) {
		mx_postpone(
		    all, f, &site->why, site->rest_until_ms - now + arc4random_uniform(1000));
		return;
	}
	if (!has_room(site)) {
		put_off(site, f);
		return;
	}
	if (ready_add(&site->waiting, f) < 0) {
		settle_release(all->d->settler, f);
		return;
	}
	all->waiting++;
	if (site->active)
		return;
	site->active = true;
	site->next = NULL;
	*all->active_end = site;
	all->active_end = &site->next;
}

/* ---- trouble ---- */

/* The policy that demands TLS of this server; NULL: none. */
static const char *
policy_of(const struct peer *p)
{
	if (p->dane != TLSA_NONE)
		return "DANE";
	return p->site->secure ? "MTA-STS" : NULL;
}

static void
keep_why(struct mx_site *site, const struct relay *relay, const struct outcome *why)
{
	const char *policy = why->phase == OUTCOME_PHASE_TLS
	    ? policy_of((const struct peer *)(const void *)relay)
	    : NULL;
	char text[OUTCOME_TEXT_MAX];
	int n = snprintf(text, sizeof(text), "%s%s%.*s", policy != NULL ? policy : "",
	    policy != NULL ? ": " : "", SLICE_ARG(why->text));

	memcpy(site->why_text, text, sizeof(text));
	(void)snprintf(site->why_remote, sizeof(site->why_remote), "%s", relay->name);
	site->why = *why;
	site->why.kind = OUTCOME_DEFERRED;
	/* what ends before MAIL is nobody's address; listings and the like speak of our own */
	site->why.scope =
	    strcmp(why->reason, "reputation") == 0 ? OUTCOME_SCOPE_ROUTE : OUTCOME_SCOPE_HOST;
	if (why->cls != OUTCOME_BLOCK)
		site->why.cls = OUTCOME_SOFT;
	site->why.text =
	    slice_make(site->why_text, n < (int)sizeof(text) ? (size_t)n : sizeof(text) - 1);
	site->why.remote = slice_str(site->why_remote);
	if (policy != NULL) {
		site->why.reason = "auth";
		memcpy(site->why.enhanced, (uint16_t[]){ 4, 7, 5 }, sizeof(site->why.enhanced));
	} else if (site->why.code == 0 && site->why.enhanced[0] == 0)
		memcpy(site->why.enhanced, (uint16_t[]){ 4, 4, 1 }, sizeof(site->why.enhanced));
}

static void
site_rest(struct mx_site *site)
{
	uint64_t now = now_of(site->all);
	const struct config *c = site->all->d->config;
	uint64_t rest = mx_rest_ms(&site->rest_ms, (uint64_t)c->mx_rest_s * 1000,
	    (uint64_t)c->mx_longest_rest_s * 1000, arc4random());

	site->rest_until_ms = now + rest;
	log_warn(
	    "destination unwell host=%s phase=%s code=%d text=\"%.*s\" waiting=%zu rest_s=%llu",
	    site->why_remote, outcome_phase_name(site->why.phase), site->why.code,
	    SLICE_ARG(site->why.text), site->waiting.count, (unsigned long long)(rest / 1000));
	for (size_t i = 0; i < site->peer_count; i++)
		site->peers[i].rest_until_ms = 0; /* all are tried again then */
	site_flush(site);
}

/* A domain without MX whose name has no address either takes no mail; believed the second time. */
static void
refuse_all(struct mx_site *site)
{
	struct flight *f;

	while ((f = site_pop(site)) != NULL) {
		struct outcome o = mx_refusal(MX_NO_DOMAIN, f->tries > 0);

		o.text = SLICE("the domain has neither MX nor address");
		settle_outcome(site->all->d->settler, f, &o);
	}
}

static void
peer_failed(struct peer *p, const struct outcome *why)
{
	struct mx_site *site = p->site;

	p->rest_until_ms = now_of(site->all) + PEER_REST_MS;
	p->known_until_ms = 0;
	keep_why(site, &p->relay, why);
}

/* ---- what sessions say ---- */

/* A connection that was opened for a flight takes time to open: one each may be so late, as long as
 * that is not late for the hour guard. */
static bool
may_go(struct mx_site *site, const struct flight *f)
{
	uint64_t now_us = dispatcher_now_us();
	uint64_t lead_us = (uint64_t)site->all->d->config->pace_guard_lead_s * 1000000;

	if (!flight_is_late(f, now_us))
		return true;
	if (site->fresh == 0 || now_us - f->due_us > lead_us / 2)
		return false;
	site->fresh--;
	return true;
}

/* Takes the next one, which the server had no time for while its permit held. What it can take within a
 * second asks for another one. The others are put off: they would use up what destinations that are faster
 * could use. */
static struct flight *
punctual(struct mx_site *site)
{
	struct dispatcher *d = site->all->d;
	uint64_t late_ms = 0;
	struct flight *f;

	while ((f = ready_next(&site->waiting, dispatcher_now_us(), NULL)) != NULL) {
		site->all->waiting--;
		if (may_go(site, f))
			return f;
		if (late_ms < AGAIN_MS)
			d->news->late(d, f);
		else
			put_off(site, f);
		late_ms += site->mail_ms;
	}
	site->fresh = 0;
	return NULL;
}

/* One was taken. A single stall counts as a doubling: it says little of what comes. */
static void
note_pace(struct mx_site *site, uint64_t now, bool queued)
{
	uint64_t took = site->taken_ms > 0 && queued ? now - site->taken_ms : site->mail_ms;
	uint64_t most = 8 * (site->mail_ms + 10);

	most = most < 60000 ? most : 60000;
	site->mail_ms = (7 * site->mail_ms + (took < most ? took : most)) / 8;
	site->taken_ms = now;
}

/* Nothing is taken before a source's rate lets it pass; by then the sites are asked again. */
static void
wait_for_turn(struct mx_sites *all)
{
	uint64_t least = UINT64_MAX;

	for (size_t i = 0; i < all->source_count; i++) {
		uint64_t wait = mx_allowance_wait_us(&all->sources[i].allowance);

		if (wait > 0 && wait < least)
			least = wait;
	}
	if (least < UINT64_MAX && !all->stopping)
		(void)uv_timer_start(&all->turn, on_turn, least / 1000 + 1, 0);
}

/* A session asks; after this it goes idle when there is nothing. */
static struct flight *
take(void *ctx, struct relay *relay)
{
	struct mx_source *source = ctx;
	struct mx_sites *all = source->all;
	struct mx_site *site = site_of(relay);
	uint64_t now = now_of(all);
	bool queued = site->waiting.count > 1;
	struct flight *f;

	if (site->session_count > session_limit(site))
		return NULL; /* one too many: it goes idle, and is closed */
	if (!mx_allowance_may_send(&source->allowance)) {
		wait_for_turn(all);
		return NULL;
	}
	while (!all->stopping && now >= site->rest_until_ms && (f = punctual(site)) != NULL) {
		if (now - f->checked_ms >= (uint64_t)all->d->config->dispatcher_recheck_s * 1000) {
			settle_recheck(all->d->settler, f); /* comes back by the front door */
			continue;
		}
		if (brakes_keep(all->d->brakes, f, relay->name))
			continue;
		note_pace(site, now, queued);
		mx_allowance_sent(&source->allowance);
		all->d->news->room(all->d);
		return f;
	}
	return NULL;
}

/* The reply is about our pace, or the server wants to be left alone. */
static bool
is_throttled(const struct outcome *why)
{
	return why->code == 421 ||
	    (why->kind == OUTCOME_DEFERRED && relay_is_to_blame(why) && why->code < 500);
}

static void
give_back(void *ctx, struct relay *relay, struct flight *f, const struct outcome *why)
{
	struct mx_sites *all = ((struct mx_source *)ctx)->all;
	struct mx_site *site = site_of(relay);
	struct outcome o = *why;

	f->resends++;
	/* the first 421 may be the end of a connection that has carried enough */
	if (is_throttled(why) && (why->code != 421 || f->resends > 1) && !all->stopping &&
	    now_of(all) >= site->rest_until_ms) {
		keep_why(site, relay, why);
		site_rest(site);
	}
	if (all->stopping || !mark_may(all->d, f)) {
		settle_release(all->d->settler, f);
	} else if (why->kind != OUTCOME_RELEASED && !is_throttled(why)) {
		/* too large for this server; or it wants a login, which nobody has at an MX */
		settle_outcome(all->d->settler, f, &o);
	} else if (f->resends > RESENDS_MAX) {
		o.kind = OUTCOME_DEFERRED;
		settle_outcome(all->d->settler, f, &o);
	} else {
		mx_site_add(site, f);
	}
}

/* It ended before any message. */
static void
unwell(void *ctx, struct relay *relay, const struct outcome *why)
{
	struct mx_sites *all = ((struct mx_source *)ctx)->all;
	struct peer *p = (struct peer *)(void *)relay;
	struct mx_site *site = p->site;
	uint64_t now = now_of(all);

	if (all->stopping)
		return;
	if (why->phase == OUTCOME_PHASE_TLS && policy_of(p) == NULL &&
	    now >= relay->clear_until_ms) {
		log_warn("%s offers TLS that does not work (%.*s); going on without", relay->name,
		    SLICE_ARG(why->text)); /* RFC 7435 */
		relay->clear_until_ms = now + CLEAR_MS;
		return;
	}
	if (why->phase == OUTCOME_PHASE_CONNECT && ++relay->failed < relay->address_count) {
		relay->at = (relay->at + 1) % relay->address_count;
		return;
	}
	relay->failed = 0;
	brakes_hear_host(all->d->brakes, relay->name, why);
	if (relay->working > 0) { /* it wants fewer connections */
		site->limit = site->working;
		site->fewer_until_ms = now + FEWER_MS;
		log_info("destination host=%s takes no more than %zu connections: %d %.*s",
		    relay->name, site->limit, why->code, SLICE_ARG(why->text));
		return;
	}
	peer_failed(p, why);
}

static void
works(void *ctx, struct relay *relay)
{
	struct mx_sites *all = ((struct mx_source *)ctx)->all;
	struct peer *p = (struct peer *)(void *)relay;

	relay->failed = 0;
	relay->working++;
	p->rest_until_ms = 0;
	p->site->working++;
	p->site->fresh++;
	p->site->rest_ms = 0;
	all->reached(all->ctx, NULL);
	site_kick(p->site);
}

static void
ended(void *ctx, struct session *session)
{
	struct mx_source *source = ctx;
	struct mx_sites *all = source->all;
	struct relay *relay = session_relay(session);
	struct mx_site *site = site_of(relay);

	for (size_t i = 0; i < site->session_count; i++) {
		if (site->sessions[i] == session) {
			site->sessions[i] = site->sessions[--site->session_count];
			break;
		}
	}
	all->connections--;
	source->allowance.open--;
	mx_allowance_wish(&source->allowance, all->waiting > 0);
	relay->connections--;
	relay->working -= session_has_worked(session);
	site->working -= session_has_worked(session);
	site_wish(site);
	if (all->stopping && all->connections == 0)
		mx_leases_stop(all->leases);
	mx_sites_kick(all); /* perhaps another site waited for the place */
}

/* ---- addresses of peers ---- */

static bool
is_own_address(const struct mx_sites *all, const struct sockaddr_storage *a)
{
	for (size_t i = 0; i < all->source_count; i++) {
		const struct sockaddr_storage *s = &all->sources[i].from;

		if (s->ss_family != a->ss_family)
			continue;
		if (a->ss_family == AF_INET &&
		    memcmp(&((const struct sockaddr_in *)a)->sin_addr,
			&((const struct sockaddr_in *)s)->sin_addr, sizeof(struct in_addr)) == 0)
			return true;
		if (a->ss_family == AF_INET6 &&
		    memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr,
			&((const struct sockaddr_in6 *)s)->sin6_addr, sizeof(struct in6_addr)) == 0)
			return true;
	}
	return false;
}

static bool
has_family(const struct mx_sites *all, int family)
{
	for (size_t i = 0; i < all->source_count; i++)
		if (all->sources[i].from.ss_family == family ||
		    all->sources[i].from.ss_family == AF_UNSPEC)
			return true;
	return false;
}

/* What may be connected to; *own: one of them is ours. */
static void
keep_addresses(struct peer *p, const struct dns_addresses *found, bool *own)
{
	const struct mx_sites *all = p->site->all;

	p->relay.address_count = p->relay.at = p->relay.failed = 0;
	for (size_t i = 0; i < found->count && p->relay.address_count < RELAY_ADDRESSES_MAX; i++) {
		const struct sockaddr_storage *a = &found->list[i];

		*own = *own || is_own_address(all, a);
		if (has_family(all, a->ss_family) &&
		    (all->d->config->mx_private || mx_is_public((const struct sockaddr *)a)))
			p->relay.addresses[p->relay.address_count++] = *a;
	}
}

/* Why a server without usable addresses, or with unknown TLSA records, cannot be connected to. */
static struct slice
why_unreachable(const struct mx_host_found *found)
{
	if (found->addresses.status == DNS_NONE)
		return SLICE("the mail server has no address");
	if (found->addresses.status == DNS_FOUND && found->verdict == TLSA_LATER)
		return SLICE(
		    "DANE: DNS does not answer for the TLSA records of the mail server, or "
		    "they are forged");
	if (found->addresses.status == DNS_FOUND)
		return SLICE(
		    "no address of the mail server may be used: private, or of another family");
	return mx_refusal(MX_LATER, false).text;
}

static void
keep_host(struct peer *p, const struct mx_host_found *found, bool *own)
{
	uint64_t keep = (uint64_t)found->ttl_s * 1000;

	keep_addresses(p, &found->addresses, own);
	keep = keep < ADDRESSES_MIN_MS ? ADDRESSES_MIN_MS : keep;
	p->known_until_ms =
	    now_of(p->site->all) + (keep < ADDRESSES_MAX_MS ? keep : ADDRESSES_MAX_MS);
	if (found->verdict == TLSA_LATER) {
		p->relay.address_count = 0;
		p->dane = TLSA_LATER;
	}
	if (found->verdict == TLSA_LATER || found->addresses.count == 0)
		return; /* a session that is being opened keeps to the records that were known */
	p->dane = found->verdict;
	free(p->tlsa);
	p->relay.tlsa = p->tlsa = found->tlsa;
}

static void
on_peer_found(void *ctx, struct mx_host_found *found)
{
	struct peer *p = ctx;
	struct mx_site *site = p->site;
	struct outcome why = mx_refusal(MX_LATER, false);
	bool own = false;

	p->relay.resolving = false;
	keep_host(p, found, &own);
	if (site->all->stopping)
		return;
	if (found->addresses.status == DNS_NONE && site->implicit) {
		p->known_until_ms = 0;
		refuse_all(site);
		return;
	}
	if (own) { /* RFC 5321 5.1: neither this one nor those behind it */
		why = mx_refusal(MX_LOOP, false);
		for (size_t i = 0; i < site->peer_count; i++)
			if (site->peers[i].preference >= p->preference)
				peer_failed(&site->peers[i], &why);
	} else if (p->relay.address_count == 0) {
		why.text = why_unreachable(found);
		peer_failed(p, &why);
	}
	site_kick(site);
}

/* ---- connections ---- */

static size_t
count_connecting(const struct mx_site *site)
{
	size_t n = 0;

	for (size_t i = 0; i < site->session_count; i++)
		n += session_is_connecting(site->sessions[i]);
	return n;
}

static bool
is_resolving(const struct mx_site *site)
{
	for (size_t i = 0; i < site->peer_count; i++)
		if (site->peers[i].relay.resolving)
			return true;
	return false;
}

static struct peer *
choose_peer(struct mx_site *site)
{
	struct mx_choice hosts[MX_HOSTS_MAX];
	uint64_t now = now_of(site->all);
	int best;

	for (size_t i = 0; i < site->peer_count; i++)
		hosts[i] = (struct mx_choice){ .preference = site->peers[i].preference,
			.connections = site->peers[i].relay.connections,
			.usable = now >= site->peers[i].rest_until_ms &&
			    !relay_needs_proof(&site->peers[i].relay) };
	best = mx_choose(hosts, site->peer_count, arc4random());
	return best >= 0 ? &site->peers[best] : NULL;
}

/* The sources of the family take turns, as far as they may; NULL: none may now. */
static struct mx_source *
choose_source(struct mx_site *site, int family)
{
	struct mx_sites *all = site->all;

	for (size_t i = 0; i < all->source_count; i++) {
		struct mx_source *s = &all->sources[site->next_source++ % all->source_count];

		if (s->from.ss_family != family && s->from.ss_family != AF_UNSPEC)
			continue;
		mx_allowance_wish(&s->allowance, all->waiting > 0);
		if (mx_allowance_may_open(&s->allowance))
			return s;
	}
	wait_for_turn(all);
	return NULL;
}

/* An idle connection of another site makes room. */
static void
close_idle(struct mx_sites *all)
{
	for (size_t i = 0; i < all->by_key.room; i++) {
		struct mx_site *site = all->by_key.entries[i].value;

		for (size_t k = 0; site != NULL && k < site->session_count; k++) {
			if (site->waiting.count == 0 && session_is_free(site->sessions[k]) &&
			    session_is_idle(site->sessions[k])) {
				session_quit(site->sessions[k]);
				return;
			}
		}
	}
}

/* Descriptors have run out: the limit is ours, lower than mx.connections. Room is made for others as at
 * that one; without any connection that could end it is our trouble. */
static void
out_of_descriptors(struct mx_sites *all, const struct outcome *why)
{
	uint64_t now = now_of(all);

	if (now >= all->warn_again_ms) {
		log_warn("no descriptor for another connection connections=%u: lower "
			 "mx.connections or raise LimitNOFILE",
		    all->connections);
		all->warn_again_ms = now + WARN_MS;
	}
	if (all->connections == 0)
		all->reached(all->ctx, why);
	else
		close_idle(all);
}

/* False: no more now. */
static bool
open_session(struct mx_site *site, struct peer *p)
{
	struct mx_sites *all = site->all;
	uint64_t now = now_of(all);
	struct mx_source *source;
	enum smtp_tls tls = SMTP_TLS_REQUIRED;
	struct session *s;
	int error = 0;

	if (p->relay.resolving)
		return false;
	if (p->relay.address_count == 0 || now >= p->known_until_ms) {
		p->relay.resolving = true;
		mx_host_ask(all->dns, p->relay.name, p->relay.port, all->dane, on_peer_found, p);
		return false;
	}
	if (policy_of(p) == NULL)
		tls = all->tls && now >= p->relay.clear_until_ms ? SMTP_TLS_OPPORTUNISTIC
								 : SMTP_TLS_OFF;
	source = choose_source(site, p->relay.addresses[p->relay.at].ss_family);
	if (source == NULL)
		return false;
	s = session_open(
	    all->d, site->secure ? &source->secure : &source->open, &p->relay, tls, &error);
	if (s == NULL) {
		struct outcome why = { .phase = OUTCOME_PHASE_CONNECT,
			.scope = OUTCOME_SCOPE_ROUTE,
			.reason = "network",
			.text = slice_str(uv_strerror(error)) };

		if (error == UV_EMFILE || error == UV_ENFILE) {
			out_of_descriptors(all, &why);
			return false;
		}
		unwell(source, &p->relay, &why);
		return true; /* another address, another peer */
	}
	CRASH_POINT("mx_opened");
	p->relay.connections++;
	all->connections++;
	source->allowance.open++;
	mx_allowance_wish(&source->allowance, true);
	site->sessions[site->session_count++] = s;
	return true;
}

/* What all dispatchers may have together. */
static unsigned
shared_limit(const struct mx_site *site)
{
	const struct dispatcher *d = site->all->d;

	return brakes_connections(d->brakes, site->peers[0].relay.name,
	    providers_connections(policy_providers(site->all->policy), site->group,
		(unsigned)d->config->mx_connections_per_destination));
}

/* What this one would take of it. */
static size_t
own_limit(struct mx_site *site)
{
	size_t shared = shared_limit(site);

	if (now_of(site->all) >= site->fewer_until_ms)
		site->limit = (size_t)site->all->d->config->mx_connections_per_destination;
	return site->limit < shared ? site->limit : shared;
}

static size_t
session_limit(struct mx_site *site)
{
	size_t own = own_limit(site), leased = mx_lease_allows(&site->lease, shared_limit(site));

	return own < leased ? own : leased;
}

/* Says what is open and what would be of use; no more than the common limit has room for. */
static void
site_wish(struct mx_site *site)
{
	const struct mx_sites *all = site->all;
	size_t most = (size_t)all->d->config->mx_connections, want = site->session_count;
	size_t room = most > all->connections ? most - all->connections : 0;

	if (room == 0 && site->session_count == 0)
		room = 1; /* an idle one of another site makes it */
	if (!all->stopping && now_of(all) >= site->rest_until_ms)
		want += site->waiting.count < room ? site->waiting.count : room;
	if (want > own_limit(site))
		want = own_limit(site);
	mx_lease_wish(
	    &site->lease, shared_limit(site), (unsigned)site->session_count, (unsigned)want);
}

/* Closes idle ones that may not be open any more. */
static void
site_shed(struct mx_site *site)
{
	for (size_t i = site->session_count; i-- > 0;)
		if (i < site->session_count && site->session_count > session_limit(site) &&
		    session_is_free(site->sessions[i]) && session_is_idle(site->sessions[i]))
			session_quit(site->sessions[i]);
}

/* Another number of connections is allowed. */
static void
on_granted(void *ctx, struct mx_lease *lease)
{
	struct mx_site *site = lease->ctx;

	if (site == NULL) { /* of an address */
		mx_sites_kick(ctx);
		return;
	}
	site_shed(site);
	site_kick(site);
}

/* A source may send again: each time another site is asked first. */
static void
on_turn(uv_timer_t *timer)
{
	struct mx_sites *all = timer->data;
	struct mx_site *first = all->active;

	if (first != NULL && first->next != NULL && !all->kicking) {
		all->active = first->next;
		first->next = NULL;
		*all->active_end = first;
		all->active_end = &first->next;
	}
	mx_sites_kick(all);
}

static void
open_sessions(struct mx_site *site)
{
	struct mx_sites *all = site->all;
	size_t connecting = count_connecting(site);

	site_wish(site);
	while (site->waiting.count > connecting && connecting < OPENING_MAX &&
	    site->session_count < session_limit(site)) {
		struct peer *p;

		if (site->working == 0 && connecting > 0)
			return; /* one shows whether it works */
		if (all->connections >= (unsigned)all->d->config->mx_connections) {
			close_idle(all);
			return;
		}
		p = choose_peer(site);
		if (p == NULL && site->session_count == 0 && !is_resolving(site)) {
			bool fresh = site->rest_ms == 0;

			site_rest(site);
			if (fresh) /* those known to be dead say nothing about us */
				all->reached(all->ctx, &site->why);
		}
		if (p == NULL || !open_session(site, p))
			return;
		connecting = count_connecting(site);
	}
}

static void
site_kick(struct mx_site *site)
{
	if (site->all->stopping || site->waiting.count == 0 ||
	    now_of(site->all) < site->rest_until_ms)
		return;
	for (size_t i = site->session_count; i-- > 0;)
		if (i < site->session_count && session_is_free(site->sessions[i]))
			session_kick(site->sessions[i]);
	open_sessions(site);
}

/* Sites whose queue is empty leave the list. */
static void
drop_inactive(struct mx_sites *all)
{
	struct mx_site **at = &all->active, *site;

	while ((site = *at) != NULL) {
		if (site->waiting.count > 0) {
			at = &site->next;
			continue;
		}
		*at = site->next;
		site->active = false;
		ready_release(&site->waiting);
	}
	all->active_end = at;
}

void
mx_sites_kick(struct mx_sites *all)
{
	if (all->kicking)
		return; /* a session that ended meanwhile: the caller is at it */
	all->kicking = true;
	/* those without any connection first: the others would take each one that becomes free */
	for (struct mx_site *site = all->active; site != NULL; site = site->next)
		if (site->session_count == 0)
			site_kick(site);
	for (struct mx_site *site = all->active; site != NULL; site = site->next)
		site_kick(site);
	drop_inactive(all);
	all->kicking = false;
}

/* ---- life ---- */

static bool
add_peers(struct mx_site *site, const struct mx_plan *plan)
{
	const struct config *c = site->all->d->config;

	site->peers = calloc(plan->count, sizeof(*site->peers));
	site->sessions =
	    calloc((size_t)c->mx_connections_per_destination, sizeof(struct session *));
	if (site->peers == NULL || site->sessions == NULL)
		return false;
	for (size_t i = 0; i < plan->count; i++) {
		struct peer *p = &site->peers[i];

		p->site = site;
		p->preference = plan->hosts[i].preference;
		(void)snprintf(p->relay.name, sizeof(p->relay.name), "%s", plan->hosts[i].name);
		p->relay.tls_name = p->relay.name;
		p->relay.port = (unsigned)c->mx_port;
	}
	site->peer_count = plan->count;
	return true;
}

static void
site_free(struct mx_site *site)
{
	mx_lease_end(&site->lease);
	ready_release(&site->waiting);
	free(site->sessions);
	for (size_t i = 0; site->peers != NULL && i < site->peer_count; i++)
		free(site->peers[i].tlsa);
	free(site->peers);
	free(site);
}

/* Whose limits hold: the provider of the first host, or of the domain. */
static void
find_group(struct mx_site *site, const char *domain)
{
	const struct mx_sites *all = site->all;
	const struct providers *table = policy_providers(all->policy);
	unsigned most = (unsigned)all->d->config->mx_messages_per_connection;
	struct slice host = slice_str(site->peers[0].relay.name);

	if (site->group != PROVIDERS_NONE)
		return;
	site->group = providers_of_mx(table, &host, 1);
	if (site->group == PROVIDERS_NONE)
		site->group = providers_of_domain(table, slice_str(domain));
	for (size_t i = 0; i < site->peer_count; i++)
		site->peers[i].relay.most_messages = providers_messages(table, site->group, most);
}

struct mx_site *
mx_site_join(struct mx_sites *all, const struct mx_plan *plan, bool secure, const char *domain)
{
	char key[MX_KEY_MAX];
	struct mx_site *site;

	mx_key(plan, secure, key);
	site = strmap_get(&all->by_key, key);
	if (site == NULL) {
		site = calloc(1, sizeof(*site));
		if (site == NULL)
			return NULL;
		site->all = all;
		site->secure = secure;
		site->implicit = plan->implicit;
		site->group = PROVIDERS_NONE;
		site->mail_ms = FIRST_GUESS_MS;
		memcpy(site->key, key, sizeof(key));
		mx_lease_begin(&site->lease, all->leases, slice_str(key), site);
		if (!add_peers(site, plan) || !strmap_add(&all->by_key, site->key, site)) {
			site_free(site);
			return NULL;
		}
	}
	/* a name that is the MX of others as well must not fail for want of an address */
	site->implicit = site->implicit && plan->implicit;
	find_group(site, domain);
	site->domains++;
	return site;
}

void
mx_site_leave(struct mx_site *site)
{
	assert(site->domains > 0);
	site->domains--;
}

/* Those that waited too long without a turn are put off. */
static void
site_lose_patience(struct mx_site *site)
{
	uint64_t patience_us = (uint64_t)site->all->d->config->mx_patience_s * 1000000;

	while (site->waiting.count > 0 &&
	    site->waiting.heap[0]->due_us + patience_us < dispatcher_now_us())
		put_off(site, site_pop(site));
}

void
mx_sites_sweep(struct mx_sites *all)
{
	for (struct mx_site *site = all->active; site != NULL; site = site->next)
		site_lose_patience(site);
	for (size_t i = 0; i < all->source_count; i++)
		mx_allowance_wish(&all->sources[i].allowance, all->waiting > 0);
	for (size_t i = 0; i < all->by_key.room; i++) {
		struct mx_site *site = all->by_key.entries[i].value;

		if (site == NULL)
			continue;
		site_shed(site);
		site_wish(site);
		if (site->domains > 0 || site->session_count > 0 || site->waiting.count > 0 ||
		    site->active || is_resolving(site) || site->lease.granted > 0)
			continue;
		strmap_remove(&all->by_key, site->key);
		site_free(site);
	}
	mx_sites_kick(all);
}

static void
release(void *ctx, struct flight *f)
{
	struct mx_sites *all = ctx;

	all->waiting--;
	settle_release(all->d->settler, f);
}

void
mx_sites_release_run(struct mx_sites *all, struct live_run *run)
{
	for (size_t i = 0; i < all->by_key.room; i++) {
		struct mx_site *site = all->by_key.entries[i].value;

		if (site != NULL)
			ready_remove_run(&site->waiting, run, release, all);
	}
}

static void
source_begin(struct mx_sites *all, struct mx_source *s)
{
	const struct config *c = all->d->config;
	struct session_host *hosts[] = { &s->open, &s->secure };
	char address[SOURCE_LIMITS_ADDRESS];

	s->all = all;
	mx_source_address(s, address);
	mx_allowance_begin(&s->allowance, all->leases, all->d, address,
	    (unsigned)c->mx_connections_per_source, source_limits_find(&all->limits, address));
	for (size_t k = 0; k < 2; k++) {
		struct tls_context *tls = hosts[k]->tls;

		*hosts[k] = (struct session_host){ .ctx = s,
			.tls = tls,
			.ehlo = s->ehlo,
			.max_messages = (unsigned)c->mx_messages_per_connection,
			.idle_s = (unsigned)c->mx_idle_s,
			.connect_timeout_s = (unsigned)c->mx_connect_timeout_s,
			.from = s->from.ss_family != AF_UNSPEC ? (const struct sockaddr *)&s->from
							       : NULL,
			.take = take,
			.give_back = give_back,
			.unwell = unwell,
			.works = works,
			.ended = ended };
	}
}

bool
mx_sites_begin(struct mx_sites *all)
{
	all->leases = mx_leases_new(all->d, on_granted, all);
	if (all->leases == NULL)
		return false;
	all->active_end = &all->active;
	(void)uv_timer_init(&all->d->loop, &all->turn);
	all->turn.data = all;
	for (size_t i = 0; i < all->source_count; i++)
		source_begin(all, &all->sources[i]);
	return true;
}

void
mx_sites_stop(struct mx_sites *all)
{
	all->stopping = true;
	uv_close((uv_handle_t *)&all->turn, NULL);
	mx_sites_release_run(all, NULL);
	for (size_t i = 0; i < all->by_key.room; i++) {
		struct mx_site *site = all->by_key.entries[i].value;

		for (size_t k = site != NULL ? site->session_count : 0; k-- > 0;)
			if (k < site->session_count)
				session_quit(site->sessions[k]);
	}
	if (all->connections == 0)
		mx_leases_stop(all->leases);
}

void
mx_sites_release(struct mx_sites *all)
{
	for (size_t i = 0; i < all->by_key.room; i++)
		if (all->by_key.entries[i].value != NULL)
			site_free(all->by_key.entries[i].value);
	strmap_release(&all->by_key);
	mx_leases_free(all->leases);
}
