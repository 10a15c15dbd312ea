/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mx_route: see mx_route.h. Owns what is known of domains: while DNS is asked, their flights wait here.
 * When one domain after the other cannot be reached, it is our own resolver or network: then the
 * relay that stands for it rests, and nothing is claimed meanwhile.
 */
#include "mx_route.h"

#include <stdlib.h>
#include <string.h>

#include "crash.h"
#include "db.h"
#include "log.h"
#include "mx_lookup.h"
#include "mx_site.h"
#include "settle.h"

#define DOMAINS_MAX 50000 /* kept; above, those without flights go early */
#define SWEEP_MS 1000
#define DEAD_AFTER 10 /* domains or destinations in a row that could not be reached */

struct domain {
	char name[DNS_NAME_MAX + 1];
	struct mx_route *r;
	struct ready waiting; /* while DNS is asked */
	bool asking;
	bool forbidden;
	enum mx_verdict verdict;
	struct mx_site *site; /* of MX_HOSTS */
	uint64_t until_ms;    /* it is known */
	uint64_t rest_ms;     /* of questions that are not answered */
};

struct mx_route {
	struct dispatcher *d;
	const struct session_host *host;
	struct relay *relay;
	struct dnsloop *dns;
	struct mx_lookup *lookup;
	struct mx_sites sites;
	struct strmap domains;
	const char *own[MX_SOURCES_MAX + 1];
	size_t own_count;
	struct tls_context *open, *secure;
	uv_timer_t timer;
	size_t waiting;			   /* flights of domains being asked for */
	unsigned lost_domains, lost_sites; /* in a row */
	bool taking;
};

/* ---- our own trouble ---- */

static void
note_lost(struct mx_route *r, unsigned *count, const struct outcome *why)
{
	struct outcome o = *why;

	if (++*count < DEAD_AFTER)
		return;
	*count = 0;
	o.scope = OUTCOME_SCOPE_ROUTE;
	r->host->unwell(r->host->ctx, r->relay, &o);
}

static void
on_reached(void *ctx, const struct outcome *why)
{
	struct mx_route *r = ctx;

	if (why != NULL && why->phase == OUTCOME_PHASE_CONNECT) {
		note_lost(r, &r->lost_sites, why);
		return;
	}
	r->lost_sites = 0;
	if (why == NULL)
		r->host->works(r->host->ctx, r->relay);
}

/* ---- domains ---- */

/* The flight's domain in lower case; false when there is none that DNS could be asked for. */
static bool
domain_name(const struct flight *f, char name[DNS_NAME_MAX + 1])
{
	const char *at = strrchr(db_text(f->batch->rows, f->row, CLAIM_ADDRESS), '@');
	size_t n = at != NULL ? strlen(at + 1) : 0;

	if (n == 0 || n > DNS_NAME_MAX - 2)
		return false;
	for (size_t i = 0; i <= n; i++)
		name[i] = at[1 + i] >= 'A' && at[1 + i] <= 'Z' ? (char)(at[1 + i] + 32) : at[1 + i];
	return true;
}

static struct domain *
domain_of(struct mx_route *r, const char *name)
{
	struct domain *m = strmap_get(&r->domains, name);

	if (m != NULL)
		return m;
	m = calloc(1, sizeof(*m));
	if (m == NULL)
		return NULL;
	m->r = r;
	m->verdict = MX_LATER;
	(void)snprintf(m->name, sizeof(m->name), "%s", name);
	if (!strmap_add(&r->domains, m->name, m)) {
		free(m);
		return NULL;
	}
	return m;
}

static void
domain_free(struct domain *m)
{
	if (m->site != NULL)
		mx_site_leave(m->site);
	ready_release(&m->waiting);
	free(m);
}

static struct outcome
forbidden_by_policy(void)
{
	return (struct outcome){ .kind = OUTCOME_DEFERRED,
		.cls = OUTCOME_SOFT,
		.scope = OUTCOME_SCOPE_DOMAIN,
		.phase = OUTCOME_PHASE_CONNECT,
		.enhanced = { 4, 7, 5 },
		.reason = "auth",
		.text = SLICE("no mail server of the domain is in its MTA-STS policy") };
}

/* What DNS said is known. Takes the flight. */
static void
hand_over(struct domain *m, struct flight *f)
{
	struct mx_route *r = m->r;
	uint64_t now = dispatcher_now_ms(r->d);
	struct outcome o =
	    m->forbidden ? forbidden_by_policy() : mx_refusal(m->verdict, f->tries > 0);

	if (r->sites.stopping || !flight_run(f)->running)
		settle_release(r->d->settler, f);
	else if (m->site != NULL)
		mx_site_add(m->site, f);
	else if (m->verdict == MX_LATER)
		mx_postpone(&r->sites, f, &o, m->until_ms > now ? m->until_ms - now : 1000);
	else
		settle_outcome(r->d->settler, f, &o);
}

static void
take_answer(struct domain *m, const struct mx_found *found)
{
	struct mx_route *r = m->r;
	const struct config *c = r->d->config;
	uint64_t keep_ms = (uint64_t)found->keep_s * 1000;
	struct mx_site *before = m->site;

	m->verdict = found->plan.verdict;
	m->forbidden = found->forbidden;
	m->site = NULL;
	if (m->verdict == MX_HOSTS && !m->forbidden &&
	    (m->site = mx_site_join(&r->sites, &found->plan, found->secure, m->name)) == NULL)
		m->verdict = MX_LATER; /* no memory */
	if (before != NULL)
		mx_site_leave(before);
	if (m->verdict == MX_LATER)
		keep_ms = mx_rest_ms(&m->rest_ms, (uint64_t)c->mx_rest_s * 1000,
		    (uint64_t)c->mx_longest_rest_s * 1000, arc4random());
	else
		m->rest_ms = 0;
	m->until_ms = dispatcher_now_ms(r->d) + keep_ms;
}

static void
on_found(void *ctx, const struct mx_found *found)
{
	struct domain *m = ctx;
	struct mx_route *r = m->r;
	bool fresh = m->rest_ms == 0;
	struct flight *f;

	CRASH_POINT("mx_found");
	m->asking = false;
	take_answer(m, found);
	while ((f = ready_pop(&m->waiting)) != NULL) {
		r->waiting--;
		hand_over(m, f);
	}
	ready_release(&m->waiting);
	if (r->sites.stopping)
		return;
	if (m->verdict == MX_LATER) {
		const struct outcome why = mx_refusal(MX_LATER, false);

		log_info("domain=%s not resolved: DNS does not answer", m->name);
		if (fresh)
			note_lost(r, &r->lost_domains, &why);
	} else {
		r->lost_domains = 0;
	}
	mx_route_kick(r);
}

/* Takes the flight. */
static void
place(struct mx_route *r, struct flight *f)
{
	char name[DNS_NAME_MAX + 1];
	struct domain *m = domain_name(f, name) ? domain_of(r, name) : NULL;

	if (m == NULL) {
		settle_release(r->d->settler, f);
		return;
	}
	if (!m->asking && dispatcher_now_ms(r->d) < m->until_ms) {
		hand_over(m, f);
		return;
	}
	if (ready_add(&m->waiting, f) < 0) {
		settle_release(r->d->settler, f);
		return;
	}
	r->waiting++;
	if (m->asking)
		return;
	m->asking = true;
	mx_lookup_ask(r->lookup, m->name, on_found, m);
	CRASH_POINT("mx_asked");
}

/* ---- the route's side ---- */

bool
mx_route_is_free(const struct mx_route *r)
{
	/* each destination may hold a few above the common limit, so that none is shut out */
	return !r->sites.stopping &&
	    r->waiting + r->sites.waiting < 2 * (size_t)r->d->config->mx_waiting;
}

void
mx_route_kick(struct mx_route *r)
{
	struct flight *f;

	if (r->taking)
		return; /* an answer came at once */
	r->taking = true;
	while (mx_route_is_free(r) && (f = r->host->take(r->host->ctx, r->relay)) != NULL)
		place(r, f);
	r->taking = false;
	if (!r->sites.stopping)
		mx_sites_kick(&r->sites);
}

static void
drop_domains(struct mx_route *r)
{
	uint64_t now = dispatcher_now_ms(r->d);

	for (size_t i = 0; i < r->domains.room; i++) {
		struct domain *m = r->domains.entries[i].value;

		if (m == NULL || m->asking ||
		    (now < m->until_ms && r->domains.count <= DOMAINS_MAX) ||
		    (m->verdict == MX_LATER && now < m->until_ms + m->rest_ms))
			continue;
		strmap_remove(&r->domains, m->name);
		domain_free(m);
	}
}

static void
on_timer(uv_timer_t *timer)
{
	struct mx_route *r = timer->data;

	drop_domains(r);
	mx_sites_sweep(&r->sites);
	mx_route_kick(r);
}

static void
release(void *ctx, struct flight *f)
{
	struct mx_route *r = ctx;

	r->waiting--;
	settle_release(r->d->settler, f);
}

void
mx_route_release_run(struct mx_route *r, struct live_run *run)
{
	for (size_t i = 0; i < r->domains.room; i++) {
		struct domain *m = r->domains.entries[i].value;

		if (m != NULL)
			ready_remove_run(&m->waiting, run, release, r);
	}
	mx_sites_release_run(&r->sites, run);
}

static struct tls_context *
make_tls(const struct mx_route *r, bool verify, struct err *err)
{
	const struct tls_settings settings = {
		.verify = verify,
		.ca_file = r->d->config->mx_ca_file,
		.cert_file = "",
		.key_file = "",
	};

	return tls_context_new(&settings, err);
}

/* Both, or as it was. */
static int
read_tls(struct mx_route *r, struct err *err)
{
	struct tls_context *open = make_tls(r, false, err);
	struct tls_context *secure = open != NULL ? make_tls(r, true, err) : NULL;

	if (secure == NULL) {
		tls_context_free(open);
		return -1;
	}
	tls_context_free(r->open);
	tls_context_free(r->secure);
	r->open = open;
	r->secure = secure;
	for (size_t i = 0; i < r->sites.source_count; i++) {
		r->sites.sources[i].open.tls = open;
		r->sites.sources[i].secure.tls = secure;
	}
	return 0;
}

void
mx_route_reload(struct mx_route *r)
{
	struct err err = { 0 };

	if (read_tls(r, &err) < 0)
		log_warn("certificates not read again: %s", err.msg);
}

/* The root is signed: a resolver that does not say so says nothing of others either. */
static void
on_root(void *ctx, const struct dns_answer *answer)
{
	const struct mx_route *r = ctx;

	if (!answer->authenticated && !r->sites.stopping)
		log_warn("mx.dane: the resolver does not say that it validated the root zone, so "
			 "TLSA records of most domains count for nothing");
}

static int
use_dane(struct mx_route *r, struct err *err)
{
	const char *dane = r->d->config->mx_dane;
	bool near;

	if (strcmp(dane, "no") == 0)
		return 0;
	if (strcmp(dane, "yes") != 0 && strcmp(dane, "trusted") != 0)
		return err_set(err, "mx.dane must be no, yes or trusted, not '%s'", dane);
	near = dnsloop_ask_for_proof(r->dns);
	if (!near && strcmp(dane, "yes") == 0)
		return err_set(err,
		    "mx.dane = yes believes a validating resolver on this host only; set "
		    "dispatcher.resolver to it, or mx.dane = trusted when nobody can come between "
		    "this host and its resolver");
	r->sites.dane = true;
	dnsloop_ask(r->dns, ".", DNS_TLSA, on_root, r);
	return 0;
}

static int
read_config(struct mx_route *r, struct err *err)
{
	const struct config *c = r->d->config;

	r->sites.tls = strcmp(c->mx_tls, "off") != 0;
	if (r->sites.tls && strcmp(c->mx_tls, "opportunistic") != 0)
		return err_set(err, "mx.tls must be off or opportunistic, not '%s'", c->mx_tls);
	if (mx_read_sources(
		r->sites.sources, &r->sites.source_count, c->mx_source, c->relay_ehlo, err) < 0 ||
	    mx_read_source_rates(&r->sites.limits, r->sites.sources, r->sites.source_count,
		c->mx_source_rates, err) < 0)
		return -1;
	if (c->mx_connections_per_source > 0 && c->mx_source[0] == '\0')
		return err_set(err,
		    "mx.connections_per_source limits addresses of mx.source, which names none");
	for (size_t i = 0; i < r->sites.source_count; i++)
		r->own[r->own_count++] = r->sites.sources[i].ehlo;
	r->own[r->own_count++] = c->relay_ehlo;
	return read_tls(r, err);
}

struct mx_route *
mx_route_new(
    struct dispatcher *d, const struct session_host *host, struct relay *relay, struct err *err)
{
	struct mx_route *r = calloc(1, sizeof(*r));

	if (r == NULL) {
		(void)err_set(err, "no memory");
		return NULL;
	}
	r->d = d;
	r->host = host;
	r->relay = relay;
	if (read_config(r, err) < 0 || (r->sites.policy = policy_new(d->config, err)) == NULL ||
	    (r->dns = dnsloop_new(&d->loop, d->config->dispatcher_resolver, err)) == NULL ||
	    use_dane(r, err) < 0) {
		mx_route_free(r);
		return NULL;
	}
	r->lookup = mx_lookup_new(d, r->dns, r->own, r->own_count);
	if (r->lookup == NULL) {
		(void)err_set(err, "no memory");
		mx_route_free(r);
		return NULL;
	}
	r->sites.d = d;
	r->sites.dns = r->dns;
	r->sites.ctx = r;
	r->sites.reached = on_reached;
	if (!mx_sites_begin(&r->sites)) {
		(void)err_set(err, "no memory");
		mx_route_free(r);
		return NULL;
	}
	(void)uv_timer_init(&d->loop, &r->timer);
	r->timer.data = r;
	(void)uv_timer_start(&r->timer, on_timer, SWEEP_MS, SWEEP_MS);
	return r;
}

void
mx_route_free(struct mx_route *r)
{
	if (r == NULL)
		return;
	for (size_t i = 0; i < r->domains.room; i++)
		if (r->domains.entries[i].value != NULL)
			domain_free(r->domains.entries[i].value);
	strmap_release(&r->domains);
	mx_sites_release(&r->sites);
	policy_free(r->sites.policy);
	mx_lookup_free(r->lookup);
	dnsloop_free(r->dns);
	tls_context_free(r->open);
	tls_context_free(r->secure);
	free(r);
}

void
mx_route_stop(struct mx_route *r)
{
	if (r->sites.stopping)
		return;
	mx_route_release_run(r, NULL);
	mx_sites_stop(&r->sites);
	dnsloop_stop(r->dns);
	mx_lookup_stop(r->lookup);
	(void)uv_timer_stop(&r->timer);
	uv_close((uv_handle_t *)&r->timer, NULL);
}

bool
mx_route_is_idle(const struct mx_route *r)
{
	return r->waiting == 0 && r->sites.waiting == 0 && r->sites.connections == 0;
}
