/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mx_lease: see mx_lease.h. One call of a destination is under way at a time, so that what it has
 * open never grows past what was granted last. Calls own themselves: a lease may end before its answer.
 */
#include "mx_lease.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crash.h"
#include "db.h"
#include "embed.h"
#include "hash.h"
#include "log.h"
#include "policy.h"

#define FIRST_MS 200 /* until it is known how many dispatchers there are */

struct mx_lease_call {
	struct mx_leases *all;
	struct mx_lease *lease; /* NULL: a sign of life, or it has ended */
	uint64_t asked_us;
	unsigned limit, have, want;
};

struct mx_leases {
	struct dispatcher *d;
	void (*granted)(void *ctx, struct mx_lease *lease);
	void *ctx;
	struct rdsloop_script script;
	struct connections_hold hold;
	struct mx_lease *first;
	char opens[32]; /* of the last answer */
	long long here; /* likewise */
	unsigned calls; /* under way */
	uint64_t here_ms, counted_ms;
	bool counting, stopped, fallen_back;
	uv_timer_t timer;
};

static void ask(struct mx_leases *all, struct mx_lease *lease);

/* All is told again: Redis has forgotten it, or took us for dead, or somebody came or went. */
static void
tell_all(struct mx_leases *all)
{
	for (struct mx_lease *l = all->first; l != NULL; l = l->next)
		if (l->have + l->want + l->granted > 0) {
			l->told = false;
			ask(all, l);
		}
}

static void
take_grant(struct mx_lease *l, const struct mx_lease_call *call, unsigned granted)
{
	bool more = granted > l->granted;

	CRASH_POINT("mx_leased");
	l->granted = granted;
	l->told = l->limit == call->limit && l->have == call->have && l->want == call->want;
	if (!l->told)
		ask(l->all, l);
	if (more)
		l->all->granted(l->all->ctx, l);
}

static void
on_answer(void *ctx, const redisReply *reply)
{
	struct mx_lease_call *call = ctx;
	struct mx_leases *all = call->all;
	struct mx_lease *l = call->lease;
	bool anew;

	if (l != NULL)
		l->call = NULL;
	if (!all->stopped && reply != NULL && reply->type == REDIS_REPLY_ARRAY &&
	    reply->elements == 4 && reply->element[2]->type == REDIS_REPLY_STRING) {
		anew = all->hold.ever &&
		    (reply->element[1]->integer == 0 || reply->element[3]->integer != all->here ||
			strcmp(all->opens, reply->element[2]->str) != 0);
		all->here = reply->element[3]->integer;
		(void)snprintf(all->opens, sizeof(all->opens), "%s", reply->element[2]->str);
		connections_answered(&all->hold, (double)call->asked_us);
		if (l != NULL)
			take_grant(l, call,
			    reply->element[0]->integer > 0 ? (unsigned)reply->element[0]->integer
							   : 0);
		if (anew)
			tell_all(all);
	} else if (reply != NULL && reply->type == REDIS_REPLY_ERROR) {
		log_warn("connections not leased error=\"%s\"", reply->str);
	}
	all->calls--;
	free(call);
}

static void
ask(struct mx_leases *all, struct mx_lease *lease)
{
	char here[KEY_MAX], known[16], life[24], limit[16], have[16], want[16];
	const char *argv[] = { here, lease != NULL ? lease->key : all->d->owner_text,
		lease != NULL ? all->d->owner_text : known, lease != NULL ? known : life,
		lease != NULL ? life : "-", "-", limit, have, want };
	struct mx_lease_call *call;

	if (all->stopped || all->hold.known == 0 || all->d->redis == NULL ||
	    !rdsloop_is_ready(all->d->redis) || (lease != NULL && lease->call != NULL))
		return;
	call = calloc(1, sizeof(*call));
	if (call == NULL)
		return;
	*call =
	    (struct mx_lease_call){ .all = all, .lease = lease, .asked_us = dispatcher_now_us() };
	(void)snprintf(here, sizeof(here), KEY_HERE, POLICY_POOL);
	(void)snprintf(known, sizeof(known), "%u", all->hold.known);
	(void)snprintf(life, sizeof(life), "%.0f", CONNECTIONS_LIFE_US);
	if (lease != NULL) {
		call->limit = lease->limit;
		call->have = lease->have;
		call->want = lease->want;
		lease->call = call;
		lease->asked_ms = dispatcher_now_ms(all->d);
		(void)snprintf(limit, sizeof(limit), "%u", lease->limit);
		(void)snprintf(have, sizeof(have), "%u", lease->have);
		(void)snprintf(want, sizeof(want), "%u", lease->want);
	}
	all->calls++;
	rdsloop_script_run(all->d->redis, &all->script, on_answer, call, lease != NULL ? 2 : 1,
	    lease != NULL ? 9 : 5, argv);
}

/* ---- how many dispatchers there are ---- */

static void
on_counted(void *ctx, struct pgloop_answer *answer)
{
	struct mx_leases *all = ctx;
	unsigned known;

	all->counting = false;
	if (answer->verdict != PGLOOP_DONE)
		return;
	known = (unsigned)db_int(answer->result, 0);
	if (known == all->hold.known || known == 0)
		return;
	log_info("connections are shared dispatchers=%u", known);
	connections_count(&all->hold, known);
	tell_all(all);
}

static void
count(struct mx_leases *all)
{
	static const char sql[] = "SELECT kairan.dispatchers_connecting($1::int)";
	const char *params[] = { all->d->owner_text };
	uint64_t now = dispatcher_now_ms(all->d);

	if (all->counting || !pgloop_is_ready(all->d->claims) ||
	    (all->hold.known > 0 && now - all->counted_ms < MX_LEASE_COUNT_MS))
		return;
	all->counted_ms = now;
	all->counting = pgloop_submit(
	    all->d->claims, "dispatchers_connecting", sql, 1, params, on_counted, all);
}

/* ---- life ---- */

static void
on_timer(uv_timer_t *timer)
{
	struct mx_leases *all = timer->data;
	uint64_t now = dispatcher_now_ms(all->d);
	bool valid = connections_valid(&all->hold, (double)dispatcher_now_us());

	if (valid == all->fallen_back && all->hold.ever) {
		all->fallen_back = !valid;
		if (valid)
			log_info("connections are leased again");
		else
			log_warn("connections cannot be leased in redis, each dispatcher has its "
				 "share dispatchers=%u",
			    all->hold.known);
		for (struct mx_lease *l = all->first; l != NULL; l = l->next)
			all->granted(all->ctx, l); /* what is allowed has changed */
	}
	count(all);
	if (now - all->here_ms >= MX_LEASE_EVERY_MS) {
		all->here_ms = now;
		ask(all, NULL);
	}
}

struct mx_leases *
mx_leases_new(struct dispatcher *d, void (*granted)(void *ctx, struct mx_lease *lease), void *ctx)
{
	struct mx_leases *all = calloc(1, sizeof(*all));

	if (all == NULL)
		return NULL;
	all->d = d;
	all->granted = granted;
	all->ctx = ctx;
	rdsloop_script_init(&all->script, embed_common_lua_connections_lua);
	(void)uv_timer_init(&d->loop, &all->timer);
	all->timer.data = all;
	(void)uv_timer_start(&all->timer, on_timer, 0, FIRST_MS);
	return all;
}

void
mx_leases_stop(struct mx_leases *all)
{
	if (all->stopped)
		return;
	all->stopped = true;
	uv_close((uv_handle_t *)&all->timer, NULL);
}

void
mx_leases_free(struct mx_leases *all)
{
	if (all == NULL)
		return;
	while (all->first != NULL)
		mx_lease_end(all->first);
	free(all);
}

void
mx_lease_begin(struct mx_lease *lease, struct mx_leases *all, struct slice destination, void *ctx)
{
	*lease = (struct mx_lease){
		.all = all, .next = all->first, .link = &all->first, .ctx = ctx, .told = true
	};
	(void)snprintf(lease->key, sizeof(lease->key), KEY_CONNECTIONS, POLICY_POOL,
	    (unsigned long long)hash_spread(hash_slice(HASH_START, destination)));
	if (all->first != NULL)
		all->first->link = &lease->next;
	all->first = lease;
}

void
mx_lease_end(struct mx_lease *lease)
{
	if (lease->all == NULL)
		return;
	if (lease->call != NULL)
		lease->call->lease = NULL;
	*lease->link = lease->next;
	if (lease->next != NULL)
		lease->next->link = lease->link;
	lease->all = NULL;
}

unsigned
mx_lease_allows(const struct mx_lease *lease, unsigned limit)
{
	return connections_allowed(
	    &lease->all->hold, (double)dispatcher_now_us(), limit, lease->granted);
}

void
mx_lease_wish(struct mx_lease *lease, unsigned limit, unsigned have, unsigned want)
{
	bool same = lease->have == have && lease->want == want &&
	    (lease->limit == limit || have + want == 0);

	lease->limit = limit;
	lease->have = have;
	lease->want = want;
	lease->told = lease->told && same;
	if (!lease->told ||
	    (lease->granted < want &&
		dispatcher_now_ms(lease->all->d) - lease->asked_ms >= MX_LEASE_AGAIN_MS))
		ask(lease->all, lease);
}
