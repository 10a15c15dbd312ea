/* SPDX-License-Identifier: Apache-2.0 */
/* rehearsal: see rehearsal.h. The clock: who is next, and the beginning and end of all. */
#include "rehearsal_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "keys.h"

#define LEAD_IN_US 2e6	     /* the pool is there before the first run */
#define PATIENCE_US 172800e6 /* without a message: it will not go on */
#define DAYS_MAX 90
#define PROGRESS_EVERY (1u << 14)

double
sim_random(struct sim *m)
{
	uint64_t x = (m->random += 0x9e3779b97f4a7c15u);

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	x ^= x >> 31;
	return (double)(x >> 11) / 9007199254740992.0;
}

/* ---- beginning ---- */

/* A provider group, or a site by its lane's name; a tail lane is a destination as well. */
static size_t
destination_of(struct sim *m, const struct scenario_lane *l, int group, int unknown)
{
	const char *name =
	    group == unknown ? l->name : providers_group(policy_providers(m->policy), group)->name;
	struct sim_destination *d;
	size_t i = 0;

	while (i < m->destination_count && strcmp(m->destinations[i].name, name) != 0)
		i++;
	if (i < m->destination_count)
		return i;
	d = &m->destinations[m->destination_count++];
	(void)snprintf(d->name, sizeof(d->name), "%s", name);
	d->group = group;
	d->provider.manners.latency_us = m->s->latency_us;
	for (size_t k = 0; k < m->s->provider_count; k++)
		if (strcmp(m->s->providers[k].name, name) == 0)
			d->provider.manners = m->s->providers[k].manners;
	return i;
}

static int
take_moods(struct sim *m, struct sim_destination *d)
{
	d->moods = calloc(m->s->mood_count + 1, sizeof(*d->moods));
	if (d->moods == NULL)
		return err_set(m->err, "no memory");
	d->provider.moods = d->moods;
	for (size_t i = 0; i < m->s->mood_count; i++) {
		const struct scenario_mood *mood = &m->s->moods[i];
		struct sim_mood *to = &d->moods[d->provider.mood_count];

		if (strcmp(mood->name, "*") != 0 && strcmp(mood->name, d->name) != 0)
			continue;
		*to = mood->mood;
		to->from += m->start;
		to->till += m->start;
		d->provider.mood_count++;
	}
	return 0;
}

static int
begin_list(struct sim *m, struct sim_run *run, int number, uint64_t room, uint64_t fresh)
{
	struct sim_list *l = &run->lists[number];
	char name[40];

	*l = (struct sim_list){ .run = run,
		.number = number,
		.place = m->list_count,
		.fresh = fresh,
		.destination = number > 0 ? run->lanes[number - 1].destination : REFEREE_ANY };
	(void)snprintf(name, sizeof(name), KEY_LANE_NAME, run->id, number);
	l->admission = admission_text_lane(m->pool, name);
	m->lists[m->list_count++] = l;
	return l->admission >= 0 && heap_init(&l->later, room) ? 0 : err_set(m->err, "no memory");
}

/* All but the canary of a run, which is each lane's share of it. */
static void
hold_back(struct sim_run *run, uint64_t all)
{
	if (run->def->canary == 0 || run->def->canary >= all)
		return;
	for (size_t i = 0; i < run->def->lane_count; i++) {
		struct sim_lane *l = &run->lanes[i];
		uint64_t first =
		    (uint64_t)ceil((double)l->def->count * (double)run->def->canary / (double)all);

		l->held = l->def->count - first;
		run->canary += first;
	}
	run->canary_until = INFINITY;
}

static int
begin_run(struct sim *m, struct sim_run *run, uint32_t *recipient)
{
	const struct scenario_run *def = run->def;
	int unknown = providers_unknown(policy_providers(m->policy));
	bool quiet = def->quiet_from != def->quiet_till;
	uint64_t *common = calloc(def->lane_count + 1, sizeof(*common)), all = 0, fresh = 0;
	int result = 0;

	run->lanes = calloc(def->lane_count + 1, sizeof(*run->lanes));
	run->lists = calloc(def->lane_count + 1, sizeof(*run->lists));
	if (common == NULL || run->lanes == NULL || run->lists == NULL) {
		free(common);
		return err_set(m->err, "no memory");
	}
	for (size_t i = 0; i < def->lane_count; i++) {
		struct sim_lane *l = &run->lanes[i];

		l->def = &m->s->lanes[def->first_lane + i];
		l->run = run;
		l->group = providers_find(policy_providers(m->policy), slice_str(l->def->group));
		l->tail = l->group == unknown && strncmp(l->def->name, "tail-", 5) == 0;
		l->destination = destination_of(m, l->def, l->group, unknown);
		l->first = *recipient;
		for (uint64_t k = 0; k < l->def->count; k++)
			m->recipients[(*recipient)++] =
			    (struct sim_recipient){ .lane = (uint32_t)(def->first_lane + i),
				    .first_at = -1 };
		all += l->def->count;
		l->list =
		    &run->lists[quiet || policy_is_paced(m->policy, l->group, l->tail) ? i + 1 : 0];
	}
	run->open = all;
	hold_back(run, all);
	for (size_t i = 0; i < def->lane_count; i++)
		if (run->lanes[i].list == run->lists) {
			common[i] = run->lanes[i].def->count;
			fresh += run->lanes[i].def->count - run->lanes[i].held;
		}
	result = begin_list(m, run, 0, all, fresh);
	for (size_t i = 0; result == 0 && i < def->lane_count; i++)
		result = begin_list(m, run, (int)i + 1, run->lanes[i].def->count,
		    run->lanes[i].list == run->lists
			? 0
			: run->lanes[i].def->count - run->lanes[i].held);
	run->lists[0].order = fresh > 0 ? lane_order_new(common, def->lane_count) : NULL;
	if (fresh > 0 && run->lists[0].order == NULL)
		result = err_set(m->err, "no memory");
	free(common);
	sim_run_shares(run);
	return result;
}

static unsigned
lanes_to(const struct sim *m, size_t destination)
{
	unsigned n = 0;

	for (size_t i = 0; i < m->s->run_count; i++)
		for (size_t k = 0; k < m->runs[i].def->lane_count; k++)
			n += m->runs[i].lanes[k].destination == destination;
	return n;
}

/* Runs, and what they say of the terms. */
static void
take_runs(const struct sim *m, struct referee_run *runs, struct referee_terms *t)
{
	int open = 0;

	for (size_t i = 0; i < m->s->run_count; i++) {
		const struct scenario_run *run = &m->s->runs[i];
		int minutes = (run->quiet_from - run->quiet_till + 1440) % 1440;

		runs[i] = (struct referee_run){ run->class, run->weight,
			run->spread_s <= 0 && run->stream_per_s <= 0, m->runs[i].canary,
			run->canary_wait_s * 1e6, run->bounce_line, run->canary_line };
		t->busy = t->busy && minutes == 0;
		t->even = t->even && minutes == 0;
		t->lines = t->lines && run->stream_per_s <= 0;
		if (run->class == SHARE_URGENT)
			t->urgent_part = policy_urgent_part(m->policy);
		else
			open = minutes == 0 ? 1440 : minutes > open ? minutes : open;
	}
	t->active_s = open * 60.0;
}

static int
begin_referee(struct sim *m)
{
	const struct scenario *s = m->s;
	struct referee_run *runs = calloc(s->run_count + 1, sizeof(*runs));
	struct referee_destination *d = calloc(m->destination_count + 1, sizeof(*d));
	struct referee_terms t = { .start = m->start,
		.account_per_s = policy_account_per_s(m->policy),
		.quota = policy_quota(m->policy),
		.expire_us = (double)s->config.dispatcher_expire_after_s * 1e6,
		.expire_unsent_us = (double)s->config.producer_expire_unsent_s * 1e6,
		.recipients = (uint32_t)s->messages,
		.runs = s->run_count,
		.lanes = s->lane_count,
		.destinations = m->destination_count,
		.dispatchers = (size_t)s->dispatchers,
		.run = runs,
		.destination = d,
		.waiting = m->waiting,
		.waiting_at = m->waiting_at,
		.quota_used = s->quota_used,
		.even = s->quota == 0 && s->warmup == NULL,
		.lines = s->quota == 0 && s->warmup == NULL,
		.busy = s->mood_count == 0 && s->provider_count == 0 && s->quota == 0 &&
		    s->warmup == NULL };

	if (runs == NULL || d == NULL)
		return err_set(m->err, "no memory");
	take_runs(m, runs, &t);
	for (size_t i = 0; i < m->destination_count; i++) {
		const struct sim_destination *to = &m->destinations[i];
		const struct provider_group *g =
		    providers_group(policy_providers(m->policy), to->group);
		bool account = i + 1 == m->destination_count;
		bool tail = strncmp(to->name, "tail-", 5) == 0;

		d[i] = (struct referee_destination){
			.name = to->name, .is_account = account, .lanes = lanes_to(m, i)
		};
		if (account)
			continue;
		d[i].cap_per_s = tail ? 0 : policy_cap_per_s(m->policy, to->group);
		d[i].guard = s->guard_off ? GUARD_OFF : g->guard;
		d[i].zone = policy_zone(m->policy, to->group);
		t.busy = t.busy && d[i].guard != GUARD_STRICT;
	}
	m->lines = t.lines;
	m->referee_runs = runs;
	m->referee_destinations = d;
	m->referee = referee_new(&t, m->list_count);
	return m->referee != NULL ? 0 : err_set(m->err, "no memory");
}

static int
begin_answers(struct sim *m)
{
	m->answer_room = (size_t)m->s->dispatchers * SIM_FLIGHTS_MAX * 2;
	m->answers = calloc(m->answer_room, sizeof(*m->answers));
	m->free_answers = calloc(m->answer_room, sizeof(*m->free_answers));
	if (m->answers == NULL || m->free_answers == NULL ||
	    !heap_init(&m->answers_due, m->answer_room))
		return err_set(m->err, "no memory");
	for (size_t i = m->answer_room; i-- > 0;)
		m->free_answers[m->free_answer_count++] = (uint32_t)i;
	return 0;
}

/* What is planned for a lane that has first tries left, and is what comes. */
static double
lane_rate(void *ctx, uint32_t number, double at)
{
	const struct sim *m = ctx;
	const struct sim_run *run = m->runs;
	const struct sim_lane *l;

	while (number >= run->def->first_lane + run->def->lane_count)
		run++;
	l = &run->lanes[number - run->def->first_lane];
	return m->lines && run->is_on && !run->paused && l->list->fresh > 0 &&
		l->next < l->def->count
	    ? l->share * referee_line_rate(m->referee, l->list->place, at)
	    : 0;
}

static int
begin(struct sim *m)
{
	const struct scenario *s = m->s;
	uint32_t recipient = 0;
	int result = 0;

	m->policy = policy_new(&s->config, m->err);
	m->pool = admission_text_new();
	m->recipients = calloc(s->messages + 1, sizeof(*m->recipients));
	m->runs = calloc(s->run_count + 1, sizeof(*m->runs));
	m->lists = calloc(s->lane_count + s->run_count + 1, sizeof(*m->lists));
	m->destinations = calloc(s->lane_count + 2, sizeof(*m->destinations));
	m->waiting = calloc(s->run_count + 1, sizeof(*m->waiting));
	m->waiting_at = calloc(s->lane_count + 2, sizeof(*m->waiting_at));
	if (m->policy == NULL)
		return -1;
	if (m->pool == NULL || m->recipients == NULL || m->runs == NULL || m->lists == NULL ||
	    m->destinations == NULL || m->waiting == NULL || m->waiting_at == NULL)
		return err_set(m->err, "no memory");
	if (!lane_figures_init(&m->figures, s))
		return err_set(m->err, "no memory");
	m->figures.rate = lane_rate;
	m->figures.ctx = m;
	if (ladder_parse(&m->ladder, s->config.dispatcher_retry_ladder, m->err) < 0)
		return -1;
	for (size_t i = 0; result == 0 && i < s->run_count; i++) {
		m->runs[i].def = &s->runs[i];
		m->runs[i].id = (int)i + 1;
		result = begin_run(m, &m->runs[i], &recipient);
	}
	(void)snprintf(m->destinations[m->destination_count].name, sizeof(m->destinations[0].name),
	    BRAKE_ACCOUNT);
	m->destination_count++;
	for (size_t i = 0; result == 0 && i < m->destination_count; i++)
		result = take_moods(m, &m->destinations[i]);
	if (result == 0)
		result = begin_answers(m);
	if (result == 0)
		result = begin_referee(m);
	if (result == 0)
		result = sim_dispatchers_begin(m);
	return result == 0 ? sim_producer_begin(m) : result;
}

/* ---- the clock ---- */

static void
fault(struct sim *m, const struct scenario_fault *f)
{
	switch (f->kind) {
	case FAULT_DISPATCHER_CRASH:
		sim_dispatcher_die(m, &m->dispatchers[f->dispatcher], m->now + f->for_s * 1e6);
		break;
	case FAULT_PLANNER_DOWN:
		m->planner_down_until = m->now + f->for_s * 1e6;
		break;
	case FAULT_REDIS_LOST:
		admission_forget(admission_text_pool(m->pool));
		connections_forget(m->leases);
		referee_forget(m->referee, m->now);
		break;
	case FAULT_OLD_PLANNER:
		sim_old_planner(m);
		break;
	case FAULT_GROUP_GONE:
		sim_group_gone(m, f->group);
		break;
	}
}

/* What happens next happens. -1 with err. */
static int
step(struct sim *m)
{
	enum { ROUND, MAIL, ANSWER, FAULT, ASK, URGENT, LEAVE, LOOK } what = ROUND;
	double at = m->round_at;
	size_t which = 0;

	if (m->mail_at < at) {
		at = m->mail_at;
		what = MAIL;
	}
	if (m->answers_due.count > 0 && heap_key(&m->answers_due) < at) {
		at = heap_key(&m->answers_due);
		what = ANSWER;
	}
	for (size_t i = 0; i < m->s->fault_count; i++)
		if (!m->fault_done[i] && m->start + m->s->faults[i].at_s * 1e6 < at) {
			at = m->start + m->s->faults[i].at_s * 1e6;
			what = FAULT;
			which = i;
		}
	for (int i = 0; i < m->s->dispatchers; i++) {
		const struct sim_dispatcher *d = &m->dispatchers[i];
		const double times[] = { d->ask_at, d->urgent_at,
			d->due.count > 0 ? heap_key(&d->due) : INFINITY, d->look_at };

		for (int k = 0; k < 4; k++)
			if (times[k] < at) {
				at = times[k];
				what = ASK + k;
				which = (size_t)i;
			}
	}
	m->now = fmax(m->now, at);
	switch (what) {
	case ROUND:
		return sim_producer_round(m);
	case MAIL:
		sim_producer_mail(m);
		break;
	case ANSWER:
		sim_answer_arrives(m, heap_pop(&m->answers_due));
		break;
	case FAULT:
		m->fault_done[which] = true;
		fault(m, &m->s->faults[which]);
		break;
	case ASK:
	case URGENT:
		sim_dispatcher_ask(m, &m->dispatchers[which], what == URGENT);
		break;
	case LEAVE:
		sim_dispatcher_leave(m, &m->dispatchers[which]);
		break;
	case LOOK:
		sim_dispatcher_look(m, &m->dispatchers[which]);
		break;
	}
	return m->failed ? err_set(m->err, "no memory") : 0;
}

static uint64_t
open_of(const struct sim *m)
{
	uint64_t open = 0;

	for (size_t i = 0; i < m->s->run_count; i++)
		open += m->runs[i].paused ? 0 : m->runs[i].open;
	return open;
}

static int
play(struct sim *m, const struct rehearsal_hooks *hooks)
{
	double moved_at = m->start, last_at = m->start;
	uint64_t tries = 0, told = 0;

	for (size_t i = 0; i < m->s->run_count; i++)
		last_at = fmax(last_at, m->start + m->s->runs[i].at_s * 1e6);
	while (open_of(m) > 0) {
		if (step(m) < 0)
			return -1;
		if (m->result->tries > tries) {
			tries = m->result->tries;
			moved_at = m->now;
		}
		if (m->now > fmax(moved_at, last_at) + PATIENCE_US ||
		    m->now > m->start + DAYS_MAX * 86400e6)
			break;
		if (hooks->progress != NULL && tries - told >= PROGRESS_EVERY)
			hooks->progress(hooks->ctx, told = tries);
	}
	while (m->answers_due.count > 0) { /* of paused runs */
		m->now = fmax(m->now, heap_key(&m->answers_due));
		sim_answer_arrives(m, heap_pop(&m->answers_due));
	}
	return m->failed ? err_set(m->err, "no memory") : 0;
}

/* ---- end ---- */

/* What became of its canary. */
static const char *
canary_word(const struct sim_run *run)
{
	if (run->canary_why != NULL)
		return run->canary_why;
	return run->def->canary == 0 || run->canary_until > 0 ? NULL : "fared well";
}

static void
sum_up(struct sim *m)
{
	struct rehearsal *r = m->result;
	double forecast = 0;
	bool foreseen;

	r->run_count = m->s->run_count;
	for (size_t i = 0; i < m->s->run_count; i++) {
		const struct sim_run *run = &m->runs[i];

		r->runs[i] = (struct rehearsal_run){ .name = run->def->name,
			.recipients =
			    run->open + run->sent + run->failed + run->expired + run->doubt,
			.sent = run->sent,
			.failed = run->failed,
			.expired = run->expired,
			.doubt = run->doubt,
			.open = run->open,
			.began = run->began,
			.finish = run->finish,
			.forecast = run->forecast,
			.canary = canary_word(run) };
		r->sent += run->sent;
		r->failed += run->failed;
		r->expired += run->expired;
		r->doubt += run->doubt;
		r->open += run->open;
		r->finish = fmax(r->finish, run->finish);
		forecast = run->forecast;
	}
	/* of several runs each one's depends on what the others will want; nobody foresees faults */
	foreseen = m->s->run_count == 1 && r->open == 0 && !m->bound && m->s->mood_count == 0 &&
	    m->s->provider_count == 0 && m->s->fault_count == 0;
	referee_finish(m->referee, r->open, r->finish, foreseen ? forecast : 0);
	for (int i = 1; i <= REFEREE_RULES; i++)
		r->rules[i - 1] = *referee_rule(m->referee, i);
	r->urgent_wait_p99 = referee_urgent_wait_p99(m->referee);
}

/* The order of each run without a clock: how far its lanes are from their share. */
static int
measure_order(struct sim *m, struct rehearsal_lane *lanes)
{
	uint64_t *counts = calloc(m->s->lane_count + 1, sizeof(*counts));

	for (size_t i = 0; counts != NULL && i < m->s->run_count; i++) {
		const struct scenario_run *run = &m->s->runs[i];
		struct lane_order *order;

		for (size_t k = 0; k < run->lane_count; k++)
			counts[k] = m->s->lanes[run->first_lane + k].count;
		order = lane_order_new(counts, run->lane_count);
		if (order == NULL) {
			free(counts);
			return -1;
		}
		while (lane_order_next(order) >= 0)
			;
		for (size_t k = 0; k < run->lane_count; k++)
			lanes[run->first_lane + k].order_deviation = lane_order_deviation(order, k);
		lane_order_free(order);
	}
	free(counts);
	return counts != NULL ? 0 : -1;
}

static int
measure_lanes(struct sim *m)
{
	struct rehearsal *r = m->result;
	size_t lanes = m->s->lane_count;

	r->lanes = calloc(lanes + 1, sizeof(*r->lanes));
	if (r->lanes == NULL || measure_order(m, r->lanes) < 0)
		return err_set(m->err, "no memory");
	for (size_t i = 0; i <= lanes; i++)
		r->lanes[i].figure = m->figures.lanes[i];
	r->lanes[lanes].deviation = -1;
	for (size_t i = 0; i < lanes; i++) {
		r->lanes[i].deviation = referee_deviation(m->referee, i);
		r->lanes[lanes].deviation = fmax(r->lanes[lanes].deviation, r->lanes[i].deviation);
		r->lanes[lanes].order_deviation =
		    fmax(r->lanes[lanes].order_deviation, r->lanes[i].order_deviation);
	}
	return 0;
}

static void
end(struct sim *m)
{
	sim_dispatchers_free(m);
	for (size_t i = 0; i < m->list_count; i++) {
		free(m->lists[i]->front.id);
		heap_release(&m->lists[i]->later);
		lane_order_free(m->lists[i]->order);
	}
	for (size_t i = 0; m->runs != NULL && i < m->s->run_count; i++) {
		free(m->runs[i].lanes);
		free(m->runs[i].lists);
	}
	for (size_t i = 0; m->destinations != NULL && i < m->destination_count; i++)
		free(m->destinations[i].moods);
	free(m->destinations);
	free(m->lists);
	free(m->runs);
	free(m->recipients);
	free(m->waiting);
	free(m->waiting_at);
	free(m->answers);
	free(m->free_answers);
	heap_release(&m->answers_due);
	free(m->reports);
	referee_free(m->referee);
	free(m->referee_runs);
	free(m->referee_destinations);
	admission_text_free(m->pool);
	publication_past_release(&m->past);
	policy_free(m->policy);
	lane_figures_release(&m->figures);
}

void
rehearsal_release(struct rehearsal *r)
{
	free(r->lanes);
	r->lanes = NULL;
}

int
rehearsal_play(const struct scenario *s, const struct rehearsal_hooks *hooks,
    struct rehearsal *result, struct err *err)
{
	struct sim m = { .s = s,
		.result = result,
		.start = s->start,
		.now = s->start - LEAD_IN_US,
		.random = s->seed,
		.quota_at = -INFINITY,
		.mail_at = INFINITY,
		.trace = hooks->trace,
		.err = err };
	int failed;

	*result = (struct rehearsal){ 0 };
	failed = begin(&m);
	if (failed == 0)
		failed = play(&m, hooks);
	if (failed == 0) {
		sum_up(&m);
		failed = measure_lanes(&m);
	}
	end(&m);
	return failed;
}
