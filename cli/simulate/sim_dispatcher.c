/* SPDX-License-Identifier: Apache-2.0 */
/* sim_dispatcher: see rehearsal_parts.h. Permits, connections, replies, and what is heard of them, as
 * dispatcher/claim/claim.c, mx_site.c, brakes.c and settle.c do it. */
#include "rehearsal_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECONNECT_US 5e6 /* behind a connection that was refused */
#define HOST_RUN 0
#define SIM_LINK_US 5e3 /* to Redis, and back */

/* ---- permits ---- */

/* When its host's clock shows the time of a permit that was asked for now. */
static double
due_of(struct sim *m, struct sim_dispatcher *d, double permit)
{
	double off = m->s->clock_off_us[d->number], there, back, shown;

	if (off == 0)
		return permit;
	there = sim_random(m) * SIM_LINK_US;
	back = sim_random(m) * SIM_LINK_US;
	shown = (double)redis_time_ours(&d->clock, (uint64_t)(m->now - there + off),
		    (int64_t)m->now, (uint64_t)(m->now + back + off)) +
	    permit - m->now;
	return (m->s->omit & OMIT_CLOCK ? permit : shown) - off;
}

static void
fly(struct sim *m, struct sim_dispatcher *d, struct sim_list *list, uint32_t recipient,
    double permit)
{
	uint32_t place = d->free_flights[--d->free_count];

	d->flights[place] = (struct sim_flight){
		.permit = permit, .recipient = recipient, .list = list, .used = true
	};
	heap_push(&d->due, due_of(m, d, permit), place);
}

static struct sim_flight
land(struct sim_dispatcher *d, uint32_t place)
{
	struct sim_flight f = d->flights[place];

	d->flights[place].used = false;
	d->free_flights[d->free_count++] = place;
	return f;
}

static bool
is_urgent(const struct sim_list *l)
{
	return l->run->def->class == SHARE_URGENT;
}

/* Permits for what waits, and ids for the permits. */
void
sim_dispatcher_ask(struct sim *m, struct sim_dispatcher *d, bool urgent)
{
	static struct admission_permit permits[ADMISSION_PERMITS_MAX];
	struct admission_want *wants = calloc(m->list_count + 1, sizeof(*wants));
	struct sim_list **asked = calloc(m->list_count + 1, sizeof(*asked));
	struct admission_ask ask = { .now = m->now,
		.horizon = ADMISSION_HORIZON_MAX_US,
		.wants = wants,
		.max =
		    (uint32_t)fmin((double)m->s->config.dispatcher_batch, (double)d->free_count) };
	bool full = d->free_count < (size_t)m->s->config.dispatcher_batch;
	uint64_t unused = 0;
	double wake = m->now + SIM_LOOK_US;
	size_t n = 0;

	for (size_t i = 0; wants != NULL && asked != NULL && i < m->list_count; i++) {
		struct sim_list *l = m->lists[i];
		uint64_t length = l->run->is_on && !l->run->paused ? sim_list_length(l) : 0;

		if (l->run->is_on && (length == 0 || full) && !urgent)
			referee_unused(m->referee, i, m->now);
		if (length == 0 || (urgent && !is_urgent(l)))
			continue;
		asked[ask.want_count] = l;
		wants[ask.want_count++] = (struct admission_want){ .lane = (uint32_t)l->admission,
			.count = length < ask.max ? (uint32_t)length : ask.max };
	}
	if (ask.want_count > 0 && ask.max > 0) {
		m->result->calls++;
		n = admission_reserve(admission_text_pool(m->pool), &ask, permits, &wake);
		if (!urgent)
			referee_call(m->referee, n, m->now);
	}
	for (size_t i = 0; i < n; i++) {
		struct sim_list *list = NULL;
		uint32_t recipient;

		for (size_t k = 0; k < ask.want_count; k++)
			if (asked[k]->admission == (int)permits[i].lane)
				list = asked[k];
		if (list != NULL && sim_list_pop(m, list, &recipient))
			fly(m, d, list, recipient, permits[i].at);
		else
			unused++;
		if (list != NULL && sim_list_length(list) == 0)
			referee_unused(m->referee, list->place, m->now);
	}
	admission_return_quota(admission_text_pool(m->pool), unused, m->now);
	if (urgent)
		d->urgent_at = INFINITY;
	else if (ask.want_count == 0)
		d->ask_at = INFINITY; /* the producer's next round wakes it */
	else
		d->ask_at = wake + sim_random(m) * 0.5 * (wake - m->now);
	free(wants);
	free(asked);
}

/* ---- hearing ---- */

static void
ladder_later(struct sim *m, uint32_t recipient, double wait_s, bool step)
{
	struct sim_recipient *r = &m->recipients[recipient];
	double due = m->now + wait_s * 1e6, began = sim_run_of(m, recipient)->began;

	if (step && r->tries < UINT8_MAX)
		r->tries++;
	if (due > began + (double)m->s->config.dispatcher_expire_after_s * 1e6 &&
	    !(m->s->omit & OMIT_EXPIRY)) {
		sim_settle(m, recipient, REFEREE_EXPIRED);
		return;
	}
	sim_list_later(m, recipient, due);
}

/* As brakes.c spreads waits. */
static double
about_s(struct sim *m, double s)
{
	return s + floor(sim_random(m) * (s / 5 + 1));
}

static uint32_t
chance(struct sim *m)
{
	return (uint32_t)(sim_random(m) * UINT32_MAX);
}

static void
hear(struct sim *m, struct sim_dispatcher *d, const struct sim_answer *a,
    const struct provider_verdict *v, const struct brake_duty *duty, int code)
{
	struct sim_site *account = &d->sites[m->destination_count - 1];
	struct sim_site *site = &d->sites[a->destination];
	uint64_t ms = (uint64_t)(m->now / 1e3);
	bool rate = v->reaction == REACTION_RATE || v->reaction == REACTION_ACCOUNT_RATE;
	bool hold = v->reaction == REACTION_HOLD || v->reaction == REACTION_ACCOUNT_HOLD ||
	    v->reaction == REACTION_STOP;
	int run = (int)(m->lists[a->list]->run - m->runs) + 1;

	referee_answer(m->referee, duty->of_account ? m->destination_count - 1 : a->destination, v,
	    a->left, m->now);
	if (duty->is_answer) {
		const struct provider_verdict none = { .reaction = REACTION_NONE };

		brake_ear_answer(&site->ear);
		brake_ear_answer(&account->ear);
		referee_answer(m->referee, m->destination_count - 1, &none, a->left, m->now);
	}
	if (!duty->is_event || (rate && (m->s->omit & OMIT_CUT)) ||
	    (hold && (m->s->omit & OMIT_HOLD)))
		return;
	brake_ear_event(
	    duty->of_account ? &account->ear : &site->ear, v, code, run, ms, duty->alike);
}

/* ---- connections ---- */

static unsigned
lower(unsigned configured, unsigned told)
{
	return told > 0 && told < configured ? told : configured;
}

/* Of the table and the configuration, as the dispatcher's. */
static unsigned
window_of(const struct sim *m, size_t destination, unsigned told)
{
	return lower(
	    providers_connections(policy_providers(m->policy), m->destinations[destination].group,
		(unsigned)m->s->config.mx_connections_per_destination),
	    told);
}

static unsigned
batch_of(const struct sim *m, size_t destination, unsigned told)
{
	return lower(
	    providers_messages(policy_providers(m->policy), m->destinations[destination].group,
		(unsigned)m->s->config.mx_messages_per_connection),
	    told);
}

static void
disconnect(struct sim *m, struct sim_dispatcher *d, size_t destination, size_t session)
{
	struct sim_site *site = &d->sites[destination];

	sim_provider_disconnect(&m->destinations[destination].provider);
	referee_disconnect(m->referee, destination);
	/* numbers of busy ones are in answers under way: the place stays until it is used again */
	site->sessions[session] = (struct sim_session){ .messages = UINT32_MAX };
	site->open--;
}

/* Connections to a destination of all dispatchers together. */
static unsigned
told_window(const struct sim *m, const struct sim_site *site, size_t destination)
{
	return window_of(m, destination, m->s->omit & OMIT_WINDOW ? 0 : site->told.window);
}

/* A free session, or a new one; -1: none now. */
static int
session_of(struct sim *m, struct sim_dispatcher *d, size_t destination)
{
	struct sim_site *site = &d->sites[destination];
	struct sim_destination *dest = &m->destinations[destination];
	const struct sim_reply *refusal;
	size_t place = site->room;

	for (size_t i = 0; i < site->room; i++) {
		if (site->sessions[i].messages == UINT32_MAX)
			place = i;
		else if (!site->sessions[i].busy)
			return (int)i;
	}
	if (m->now < site->connect_at ||
	    site->open >= sim_lease_allows(m, d, destination, told_window(m, site, destination)))
		return -1;
	refusal = sim_provider_connect(&dest->provider);
	if (refusal != NULL) {
		struct outcome o = sim_reply_outcome(refusal);
		struct provider_verdict v =
		    brake_verdict(policy_providers(m->policy), true, dest->group, &o);

		v.at_once = v.at_once || v.reaction == REACTION_CONN;
		site->connect_at = m->now + RECONNECT_US;
		if (v.reaction != REACTION_NONE)
			brake_ear_event(
			    &site->ear, &v, o.code, HOST_RUN, (uint64_t)(m->now / 1e3), false);
		return -1;
	}
	if (place == site->room) {
		size_t room = site->room > 0 ? 2 * site->room : 8;
		struct sim_session *more = realloc(site->sessions, room * sizeof(*more));

		if (more == NULL) {
			m->failed = true;
			return -1;
		}
		for (size_t i = site->room; i < room; i++)
			more[i] = (struct sim_session){ .messages = UINT32_MAX };
		site->sessions = more;
		site->room = room;
	}
	site->sessions[place] = (struct sim_session){ .idle_from = m->now };
	site->open++;
	m->result->connections++;
	referee_connect(
	    m->referee, destination, window_of(m, destination, site->told.window), m->now);
	return (int)place;
}

static uint32_t
new_answer(struct sim *m)
{
	if (m->free_answer_count == 0) {
		m->failed = true;
		return 0;
	}
	return m->free_answers[--m->free_answer_count];
}

/* The transaction begins. */
static void
send(struct sim *m, struct sim_dispatcher *d, size_t destination, const struct sim_flight *f,
    int session)
{
	struct sim_site *site = &d->sites[destination];
	struct sim_destination *dest = &m->destinations[destination];
	struct sim_recipient *r = &m->recipients[f->recipient];
	unsigned batch = batch_of(m, destination, site->told.batch);
	struct sim_try t = { .recipient = f->recipient, .first_at = r->first_at };
	struct sim_answer *a;
	uint32_t place = new_answer(m);

	if (m->failed)
		return;
	a = &m->answers[place];
	if (session >= 0) {
		t.in_connection = site->sessions[session].messages++;
		site->sessions[session].busy = true;
		referee_carry(m->referee, destination, t.in_connection + 1, batch, m->now);
	}
	*a = (struct sim_answer){ .at = m->now + dest->provider.manners.latency_us,
		.left = m->now,
		.recipient = f->recipient,
		.dispatcher = d->number,
		.destination = destination,
		.list = f->list->place,
		.session = session,
		.reply = sim_provider_answer(&dest->provider, &t, m->now, sim_random(m)) };
	a->closes = session >= 0 &&
	    (site->sessions[session].messages >= batch ||
		a->reply == &dest->provider.manners.enough);
	if (r->first_at < 0) {
		struct sim_run *run = sim_run_of(m, f->recipient);

		r->first_at = m->now;
		run->canary -= run->canary > 0;
	}
	m->result->tries++;
	heap_push(&m->answers_due, a->at, place);
}

/* To the destination: not while it is held. */
static bool
keep(struct sim *m, struct sim_dispatcher *d, size_t destination, const struct sim_flight *f)
{
	const struct brake *told = &d->sites[destination].told;
	const struct brake *account = &d->sites[m->destination_count - 1].told;

	if (account->mode != BRAKE_HOLD && brake_lets_leave(told, m->now, f->list->number > 0))
		return false;
	referee_unused(m->referee, f->list->place, m->now);
	if (account->mode == BRAKE_HOLD || f->list->number > 0)
		sim_list_return(m, f->recipient);
	else
		ladder_later(
		    m, f->recipient, about_s(m, fmax(60, (told->until - m->now) / 1e6)), false);
	return true;
}

/* Flights that wait for a connection, as far as there are any. */
static void
start(struct sim *m, struct sim_dispatcher *d, size_t destination)
{
	struct sim_site *site = &d->sites[destination];

	while (site->queue_head < site->queue.count && !m->failed) {
		const struct sim_flight *waits = &d->flights[site->queue.id[site->queue_head]];
		int session = -1;

		if (!keep(m, d, destination, waits)) {
			if (!m->s->is_relay && (session = session_of(m, d, destination)) < 0) {
				m->bound = m->bound || m->now - waits->permit > SIM_BOUND_US;
				return;
			}
			send(m, d, destination, waits, session);
		}
		(void)land(d, site->queue.id[site->queue_head++]);
	}
	site->queue.count = site->queue_head = 0;
}

static void
tell_referee(struct sim *m, const struct sim_flight *f, size_t destination)
{
	const struct sim_recipient *r = &m->recipients[f->recipient];
	bool arrives = f->list->run->def->arrive_per_s > 0;

	referee_leave(m->referee,
	    &(struct referee_leave){ .now = m->now,
		.permit = f->permit,
		.recipient = f->recipient,
		.run = (size_t)(f->list->run - m->runs),
		.destination = destination,
		.list = f->list->place,
		.lane = r->lane,
		.share = sim_lane_of(m, f->recipient)->share,
		.is_retry = r->is_retry,
		.others_wait = f->list->fresh > 0,
		.due = r->is_retry ? r->due : 0,
		.arrived = arrives && !r->is_retry ? r->due : 0,
		.began = f->list->run->began });
	m->result->retries += r->is_retry;
	lane_figures_take(&m->figures, r->lane, f->permit);
	if (m->trace != NULL)
		fprintf(m->trace, "%.0f %s %s %d\n", f->permit + ADMISSION_EPOCH_S * 1e6,
		    m->s->lanes[r->lane].name, f->list->run->def->name, r->tries);
	m->tried_day++;
}

/* Without a plan that knows of it. */
static bool
waits_for_guard(struct sim *m, struct sim_dispatcher *d, size_t destination, uint32_t flight)
{
	const struct referee_destination *to = &m->referee_destinations[destination];
	double opens = to->guard == GUARD_STRICT && (m->s->omit & OMIT_GUARD_PLAN)
	    ? guard_start(GUARD_STRICT, to->zone, 0, m->now)
	    : m->now;

	if (opens <= m->now)
		return false;
	heap_push(&d->due, opens, flight);
	return true;
}

void
sim_dispatcher_leave(struct sim *m, struct sim_dispatcher *d)
{
	uint32_t place = heap_pop(&d->due);
	struct sim_flight *f = &d->flights[place];
	size_t destination = sim_lane_of(m, f->recipient)->destination;

	if (waits_for_guard(m, d, destination, place))
		return;
	if (f->list->run->paused) {
		referee_unused(m->referee, f->list->place, m->now);
		sim_list_return(m, f->recipient);
		(void)land(d, place);
		return;
	}
	if (keep(m, d, destination, f)) {
		(void)land(d, place);
		return;
	}
	tell_referee(m, f, destination);
	sim_ids_push(m, &d->sites[destination].queue, place);
	start(m, d, destination);
}

/* ---- answers ---- */

static void
act(struct sim *m, const struct sim_answer *a, const struct outcome *o,
    const struct provider_verdict *v, const struct brake_duty *duty)
{
	int tries = m->recipients[a->recipient].tries;
	double wait_s = (double)ladder_wait_s(&m->ladder, o, tries, chance(m));

	if (duty->of_account || o->kind == OUTCOME_RELEASED)
		sim_list_return(m, a->recipient);
	else if (o->kind == OUTCOME_SENT)
		sim_settle(m, a->recipient, REFEREE_SENT);
	else if (o->kind == OUTCOME_FAILED)
		sim_settle(m, a->recipient, REFEREE_FAILED);
	else if (duty->way == BRAKES_POSTPONE)
		ladder_later(m, a->recipient,
		    about_s(m, (double)ladder_wait_s(&m->ladder, NULL, 0, chance(m))), false);
	else
		ladder_later(m, a->recipient,
		    duty->way == BRAKES_LATER ? fmax(wait_s, about_s(m, v->minutes * 60)) : wait_s,
		    true);
}

void
sim_answer_arrives(struct sim *m, uint32_t place)
{
	struct sim_answer a = m->answers[place];
	struct sim_dispatcher *d;
	struct sim_destination *dest = &m->destinations[a.destination];
	struct outcome o = sim_reply_outcome(a.reply);
	struct provider_verdict v = { .reaction = REACTION_NONE };
	struct brake_duty duty;

	m->free_answers[m->free_answer_count++] = place;
	if (a.dispatcher < 0)
		return;
	d = &m->dispatchers[a.dispatcher];
	if (a.reply == &dest->provider.manners.enough)
		o.kind = OUTCOME_RELEASED;
	if (o.kind != OUTCOME_SENT)
		v = brake_verdict(policy_providers(m->policy), !m->s->is_relay, dest->group, &o);
	duty = brake_duty_of(&v, &o);
	m->hard_day += o.kind == OUTCOME_FAILED;
	hear(m, d, &a, &v, &duty, o.code);
	act(m, &a, &o, &v, &duty);
	if (a.session < 0)
		return;
	d->sites[a.destination].sessions[a.session].busy = false;
	d->sites[a.destination].sessions[a.session].idle_from = m->now;
	if (a.closes ||
	    d->sites[a.destination].open >
		sim_lease_allows(m, d, a.destination,
		    window_of(m, a.destination, d->sites[a.destination].told.window)))
		disconnect(m, d, a.destination, (size_t)a.session);
	start(m, d, a.destination);
}

/* ---- brakes, told and heard ---- */

/* Those that nothing came for, and those that the others want. */
static void
close_idle(struct sim *m, struct sim_dispatcher *d, size_t destination)
{
	struct sim_site *site = &d->sites[destination];
	unsigned most = site->open > 0
	    ? sim_lease_allows(m, d, destination, told_window(m, site, destination))
	    : 0;

	for (size_t k = 0; k < site->room; k++)
		if (site->sessions[k].messages != UINT32_MAX && !site->sessions[k].busy &&
		    (site->open > most || m->now - site->sessions[k].idle_from > SIM_IDLE_US))
			disconnect(m, d, destination, k);
	if (site->told_have != site->open)
		(void)sim_lease_allows(m, d, destination, told_window(m, site, destination));
}

void
sim_dispatcher_look(struct sim *m, struct sim_dispatcher *d)
{
	struct brake_report reports[BRAKE_REACTIONS + 1];

	d->look_at = m->now + SIM_LOOK_US;
	sim_lease_look(m, d);
	for (size_t i = 0; i < m->destination_count; i++) {
		struct sim_site *site = &d->sites[i];
		size_t n = brake_ear_take(&site->ear, m->destinations[i].name, reports);

		for (size_t k = 0; k < n; k++)
			sim_report(m, &reports[k]);
		site->told = m->destinations[i].brake;
		if (m->s->omit & OMIT_HOLD)
			site->told.mode = BRAKE_FREE;
		close_idle(m, d, i);
		if (site->queue.count > 0)
			start(m, d, i);
	}
}

/* ---- death ---- */

/* What was under way is in doubt; the rest goes back, as its journal tells. */
void
sim_dispatcher_die(struct sim *m, struct sim_dispatcher *d, double back_at)
{
	for (uint32_t i = 0; i < SIM_FLIGHTS_MAX; i++) {
		if (!d->flights[i].used)
			continue;
		referee_unused(m->referee, d->flights[i].list->place, m->now);
		sim_list_return(m, land(d, i).recipient);
		m->result->lost_permits++;
	}
	d->due.count = 0;
	for (size_t i = 0; i < m->answers_due.count;) { /* those of the dead answer to nobody */
		struct sim_answer *a = &m->answers[m->answers_due.entries[i++].id];

		if (a->dispatcher != d->number)
			continue;
		a->dispatcher = -1;
		if (m->s->omit & OMIT_ONCE) {
			referee_settle(m->referee, a->recipient, REFEREE_SENT, m->now);
			sim_list_return(m, a->recipient);
		} else {
			sim_settle(m, a->recipient, REFEREE_DOUBT);
		}
	}
	for (size_t i = 0; i < m->destination_count; i++) {
		struct sim_site *site = &d->sites[i];

		for (size_t k = 0; k < site->room; k++)
			if (site->sessions[k].messages != UINT32_MAX)
				disconnect(m, d, i, k);
		site->queue.count = site->queue_head = 0;
		site->ear = (struct brake_ear){ 0 };
	}
	sim_lease_lost(d, m->destination_count);
	d->ask_at = d->look_at = d->down_until = back_at;
	d->urgent_at = INFINITY;
}

int
sim_dispatchers_begin(struct sim *m)
{
	m->dispatchers = calloc((size_t)m->s->dispatchers, sizeof(*m->dispatchers));
	for (int i = 0; m->dispatchers != NULL && i < m->s->dispatchers; i++) {
		struct sim_dispatcher *d = &m->dispatchers[i];

		d->number = i;
		d->flights = calloc(SIM_FLIGHTS_MAX, sizeof(*d->flights));
		d->free_flights = calloc(SIM_FLIGHTS_MAX, sizeof(*d->free_flights));
		d->sites = calloc(m->destination_count, sizeof(*d->sites));
		if (d->flights == NULL || d->free_flights == NULL || d->sites == NULL ||
		    !heap_init(&d->due, SIM_FLIGHTS_MAX))
			return err_set(m->err, "no memory");
		for (uint32_t k = 0; k < SIM_FLIGHTS_MAX; k++)
			d->free_flights[d->free_count++] = k;
		d->urgent_at = INFINITY;
		d->ask_at = m->now + sim_random(m) * SIM_LOOK_US;
		d->look_at = m->now + sim_random(m) * SIM_LOOK_US;
	}
	return m->dispatchers != NULL ? sim_leases_begin(m) : err_set(m->err, "no memory");
}

void
sim_dispatchers_free(struct sim *m)
{
	for (int i = 0; m->dispatchers != NULL && i < m->s->dispatchers; i++) {
		struct sim_dispatcher *d = &m->dispatchers[i];

		for (size_t k = 0; d->sites != NULL && k < m->destination_count; k++) {
			free(d->sites[k].sessions);
			free(d->sites[k].queue.id);
		}
		free(d->sites);
		free(d->flights);
		free(d->free_flights);
		heap_release(&d->due);
	}
	free(m->dispatchers);
	connections_free(m->leases);
}
