/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mx_lookup: see mx_lookup.h. One struct look lives from the question for MX to the answer. A policy stays
 * until its age is over, even when record or file vanish meanwhile (RFC 8461 5.1): who can make them
 * vanish could otherwise switch it off.
 */
#include "mx_lookup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log.h"
#include "strmap.h"
#include "sts_cache.h"
#include "sts_fetch.h"

#define POLICIES_MAX 4096
#define SAVE_MS 2000	/* after the first of several new ones they are written */
#define AGAIN_MS 300000 /* a policy that could not be had is asked for again after (RFC 8461 3.3) */

struct policy {
	char domain[DNS_NAME_MAX + 1];
	char id[MTA_STS_ID_MAX + 1];
	uint64_t until_ms; /* it holds; 0: there is none */
	uint64_t again_ms; /* not fetched before */
	struct mta_sts_policy p;
};

struct mx_lookup {
	struct dispatcher *d;
	struct dnsloop *dns;
	struct sts_fetch *fetch;
	const char *const *own;
	size_t own_count;
	struct strmap policies;
	uv_timer_t save; /* under way: some are not in the file yet */
	char path[4096]; /* of the file */
};

struct look {
	struct mx_lookup *l;
	char domain[DNS_NAME_MAX + 1];
	char id[MTA_STS_ID_MAX + 1];
	struct mx_found found;
	mx_lookup_done done;
	void *ctx;
};

static void
finish(struct look *k)
{
	k->done(k->ctx, &k->found);
	free(k);
}

/* ---- the policies ---- */

/* Makes room: the one that ends first goes. */
static void
drop_oldest(struct mx_lookup *l)
{
	struct policy *oldest = NULL;

	for (size_t i = 0; i < l->policies.room; i++) {
		struct policy *p = l->policies.entries[i].value;

		if (p != NULL && (oldest == NULL || p->until_ms < oldest->until_ms))
			oldest = p;
	}
	if (oldest != NULL)
		strmap_remove(&l->policies, oldest->domain);
	free(oldest);
}

static struct policy *
policy_of(struct mx_lookup *l, const char *domain)
{
	struct policy *p = strmap_get(&l->policies, domain);

	if (p != NULL)
		return p;
	if (l->policies.count >= POLICIES_MAX)
		drop_oldest(l);
	p = calloc(1, sizeof(*p));
	if (p == NULL)
		return NULL;
	(void)snprintf(p->domain, sizeof(p->domain), "%s", domain);
	if (!strmap_add(&l->policies, p->domain, p)) {
		free(p);
		return NULL;
	}
	return p;
}

/* ---- over restarts ---- */

static void
on_cached(void *ctx, const struct sts_cached *c)
{
	struct mx_lookup *l = ctx;
	struct policy *p = policy_of(l, c->domain);

	if (p == NULL)
		return;
	p->p = c->policy;
	(void)snprintf(p->id, sizeof(p->id), "%s", c->id);
	p->until_ms = dispatcher_now_ms(l->d) + (uint64_t)(c->until_s - time(NULL)) * 1000;
}

static void
load_policies(struct mx_lookup *l)
{
	const struct config *config = l->d->config;
	struct err err = { 0 };

	(void)snprintf(l->path, sizeof(l->path), "%s/dispatcher-%s.mta-sts",
	    config->dispatcher_state_dir, config->dispatcher_name);
	if (sts_cache_load(l->path, time(NULL), on_cached, l, &err) < 0)
		log_warn("MTA-STS: policies of before are not known: %s: %s", l->path, err.msg);
}

static void
save_policies(struct mx_lookup *l)
{
	uint64_t now = dispatcher_now_ms(l->d);
	struct sts_cached c;
	struct err err = { 0 };
	struct buf text;

	buf_init(&text, STS_CACHE_BYTES_MAX);
	for (size_t i = 0; i < l->policies.room; i++) {
		const struct policy *p = l->policies.entries[i].value;

		if (p == NULL || now >= p->until_ms || p->p.mode == MTA_STS_NONE)
			continue;
		(void)snprintf(c.domain, sizeof(c.domain), "%s", p->domain);
		(void)snprintf(c.id, sizeof(c.id), "%s", p->id);
		c.until_s = time(NULL) + (int64_t)((p->until_ms - now) / 1000);
		c.policy = p->p;
		sts_cache_put_line(&text, &c);
	}
	if (buf_failed(&text))
		log_warn("MTA-STS: policies are not kept over a restart: there are too many");
	else if (sts_cache_save(l->path, buf_slice(&text), &err) < 0)
		log_warn("MTA-STS: policies are not kept over a restart: %s: %s", l->path, err.msg);
	buf_release(&text);
}

static void
on_save(uv_timer_t *timer)
{
	save_policies(timer->data);
}

/* What the policy leaves of the hosts. */
static void
apply(struct look *k)
{
	const struct policy *p = strmap_get(&k->l->policies, k->domain);
	struct mx_plan *plan = &k->found.plan;
	size_t before = plan->count;

	if (p == NULL || dispatcher_now_ms(k->l->d) >= p->until_ms || p->p.mode == MTA_STS_NONE) {
		finish(k);
		return;
	}
	if (p->p.mode == MTA_STS_TESTING) {
		for (size_t i = 0; i < plan->count; i++)
			if (!mta_sts_allows(&p->p, plan->hosts[i].name))
				log_info("MTA-STS in testing: %s is not in the policy of %s",
				    plan->hosts[i].name, k->domain);
		finish(k);
		return;
	}
	mx_filter(plan, mta_sts_allows, &p->p);
	if (plan->count < before)
		log_warn("MTA-STS: %zu of the %zu mail servers of %s are not in its policy",
		    before - plan->count, before, k->domain);
	k->found.secure = true;
	k->found.forbidden = plan->count == 0;
	finish(k);
}

static void
on_policy(void *ctx, const struct mta_sts_policy *fresh)
{
	struct look *k = ctx;
	struct policy *p = policy_of(k->l, k->domain);
	uint64_t now = dispatcher_now_ms(k->l->d);

	if (p != NULL && fresh == NULL) {
		p->again_ms = now + AGAIN_MS;
	} else if (p != NULL) {
		p->p = *fresh;
		(void)snprintf(p->id, sizeof(p->id), "%s", k->id);
		p->until_ms = now + (uint64_t)fresh->max_age_s * 1000;
		p->again_ms = 0;
		if (!uv_is_active((uv_handle_t *)&k->l->save) &&
		    !uv_is_closing((uv_handle_t *)&k->l->save))
			(void)uv_timer_start(&k->l->save, on_save, SAVE_MS, 0);
	}
	apply(k);
}

static void
on_record(void *ctx, const struct dns_answer *answer)
{
	struct look *k = ctx;
	const struct policy *p = strmap_get(&k->l->policies, k->domain);
	uint64_t now = dispatcher_now_ms(k->l->d);

	if (!mta_sts_read_record(answer, k->id) ||
	    (p != NULL && now < p->until_ms && strcmp(p->id, k->id) == 0) ||
	    (p != NULL && now < p->again_ms))
		apply(k);
	else
		sts_fetch_get(k->l->fetch, k->domain, on_policy, k);
}

/* ---- MX ---- */

static void
on_mx(void *ctx, const struct dns_answer *answer)
{
	struct look *k = ctx;
	struct mx_lookup *l = k->l;
	char name[DNS_NAME_MAX + 16];

	mx_decide(&k->found.plan, k->domain, answer, l->own, l->own_count);
	k->found.keep_s = mx_keep_s(answer);
	if (k->found.plan.verdict != MX_HOSTS || l->fetch == NULL) {
		finish(k);
		return;
	}
	(void)snprintf(name, sizeof(name), "_mta-sts.%s", k->domain);
	dnsloop_ask(l->dns, name, DNS_TXT, on_record, k);
}

struct mx_lookup *
mx_lookup_new(struct dispatcher *d, struct dnsloop *dns, const char *const *own, size_t own_count)
{
	struct mx_lookup *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return NULL;
	*l = (struct mx_lookup){ .d = d, .dns = dns, .own = own, .own_count = own_count };
	if (d->config->mx_mta_sts && (l->fetch = sts_fetch_new(d, dns)) == NULL) {
		free(l);
		return NULL;
	}
	(void)uv_timer_init(&d->loop, &l->save);
	l->save.data = l;
	if (l->fetch != NULL)
		load_policies(l);
	return l;
}

void
mx_lookup_ask(struct mx_lookup *l, const char *domain, mx_lookup_done done, void *ctx)
{
	struct look *k = calloc(1, sizeof(*k));

	if (k == NULL) {
		const struct mx_found later = { .plan = { .verdict = MX_LATER }, .keep_s = 1 };

		done(ctx, &later);
		return;
	}
	k->l = l;
	k->done = done;
	k->ctx = ctx;
	(void)snprintf(k->domain, sizeof(k->domain), "%s", domain);
	dnsloop_ask(l->dns, k->domain, DNS_MX, on_mx, k);
}

void
mx_lookup_stop(struct mx_lookup *l)
{
	if (l == NULL || uv_is_closing((uv_handle_t *)&l->save))
		return;
	sts_fetch_stop(l->fetch);
	if (uv_is_active((uv_handle_t *)&l->save))
		save_policies(l);
	uv_close((uv_handle_t *)&l->save, NULL);
}

void
mx_lookup_free(struct mx_lookup *l)
{
	if (l == NULL)
		return;
	for (size_t i = 0; i < l->policies.room; i++)
		free(l->policies.entries[i].value);
	strmap_release(&l->policies);
	sts_fetch_free(l->fetch);
	free(l);
}
