/* SPDX-License-Identifier: Apache-2.0 */
/* sim_producer: see rehearsal_parts.h. The leading producer: arrivals, retries, brakes, quota, warm-up,
 * calendars, what is too old. */
#include "rehearsal_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "at_least.h"
#include "embed.h"
#include "forecast.h"
#include "keys.h"
#include "rate.h"
#include "warmup.h"

#define PUBLISH_US 60e6 /* PACER_EVERY_MS */
#define QUOTA_LOOK_US 5e6
#define SWEEP_US 5e6
#define SWEEP_GRACE_US 55e6
#define DAY_US 86400e6

/* ---- policy ---- */

static int
set_policy(struct sim *m)
{
	bool urgent = false;

	for (size_t i = 0; i < m->s->run_count; i++)
		urgent = urgent || m->s->runs[i].class == SHARE_URGENT;
	policy_begin_settings(m->policy);
	policy_set_urgent(m->policy, urgent && !(m->s->omit & OMIT_URGENT));
	if (m->s->warmup != NULL &&
	    policy_set_warmup(m->policy, m->s->warmup, m->warmup_day, m->err) < 0)
		return -1;
	if (policy_end_settings(m->policy))
		m->dirty = true;
	return 0;
}

static void
read_quota(struct sim *m)
{
	struct admission *a = admission_text_pool(m->pool);

	admission_set_quota(a, m->s->omit & OMIT_QUOTA ? 0 : policy_quota(m->policy), 0, m->now);
	m->quota = *admission_quota(a);
	m->quota_at = m->now;
}

static int
begin_day(struct sim *m)
{
	uint64_t limit;

	if (set_policy(m) < 0 ||
	    warmup_limit(slice_str(embed_common_data_warmup_tsv), m->s->warmup, m->warmup_day,
		&limit, m->err) < 0)
		return -1;
	read_quota(m);
	referee_warmup(m->referee, limit, m->now);
	return 0;
}

/* The day of a warm-up goes on when its day was good. */
static int
warm(struct sim *m)
{
	struct warmup_rates rates = { (double)m->tried_day, (double)m->hard_day,
		(double)m->tried_day, 0 };

	m->day_at += DAY_US;
	if (warmup_judge(0, WARMUP_DAY_S, &rates) == WARMUP_ADVANCE)
		m->warmup_day++;
	m->tried_day = m->hard_day = 0;
	return begin_day(m);
}

/* ---- brakes ---- */

void
sim_report(struct sim *m, const struct brake_report *r)
{
	if (m->report_count == m->report_room) {
		size_t room = m->report_room > 0 ? 2 * m->report_room : 64;
		struct brake_report *more = realloc(m->reports, room * sizeof(*more));

		if (more == NULL) {
			m->failed = true;
			return;
		}
		m->reports = more;
		m->report_room = room;
	}
	m->reports[m->report_count++] = *r;
}

static struct brake_terms
terms_of(const struct sim *m, const struct sim_destination *d)
{
	return brake_terms_of(m->policy, d->name,
	    (unsigned)m->s->config.mx_connections_per_destination,
	    (unsigned)m->s->config.mx_messages_per_connection);
}

static void
note_change(struct sim *m, const struct sim_destination *d)
{
	struct rehearsal *result = m->result;
	struct rehearsal_event *e;

	m->dirty = m->news = true;
	if (result->event_count == REHEARSAL_EVENTS_MAX) {
		result->events_left_out++;
		return;
	}
	e = &result->events[result->event_count++];
	*e = (struct rehearsal_event){ .at = m->now,
		.mode = brake_mode_name(d->brake.mode),
		.per_s = d->brake.mode == BRAKE_RATE ? d->brake.rate : 0,
		.connections = d->brake.window,
		.batch = d->brake.batch,
		.code = d->brake.code };
	(void)snprintf(e->name, sizeof(e->name), "%.*s", PROVIDERS_NAME_MAX - 1, d->name);
}

/* Lanes of a braked destination get lists of their own, as lanes_relist() gives them. */
static void
relist(struct sim *m, size_t destination)
{
	if (!brake_is_limiting(&m->destinations[destination].brake))
		return;
	for (size_t i = 0; i < m->s->run_count; i++)
		for (size_t k = 0; k < m->runs[i].def->lane_count; k++)
			if (m->runs[i].lanes[k].destination == destination)
				sim_lane_relist(m, &m->runs[i].lanes[k]);
}

static struct sim_destination *
destination_named(const struct sim *m, const char *name)
{
	for (size_t i = 0; i < m->destination_count; i++)
		if (strcmp(m->destinations[i].name, name) == 0)
			return &m->destinations[i];
	return NULL;
}

static void
take_reports(struct sim *m)
{
	for (size_t i = 0; i < m->report_count; i++) {
		const struct brake_report *r = &m->reports[i];
		struct sim_destination *d = destination_named(m, r->name);
		struct brake_terms terms;
		enum brake_act act;
		bool changed;

		if (d == NULL)
			continue;
		terms = terms_of(m, d);
		act = brake_report_take(r, &d->brake, &terms, m->now, sim_random(m), &changed);
		if (changed) {
			note_change(m, d);
			relist(m, (size_t)(d - m->destinations));
		}
		if ((act == BRAKE_STOPPED || act == BRAKE_PAUSE_RUN) && r->run > 0) {
			m->runs[r->run - 1].paused = true;
			m->dirty = true;
		}
	}
	m->report_count = 0;
}

static void
tick(struct sim *m)
{
	for (size_t i = 0; i < m->destination_count; i++) {
		struct sim_destination *d = &m->destinations[i];
		struct brake_terms terms;

		if (d->brake.mode == BRAKE_FREE && d->brake.window == 0 && d->brake.batch == 0)
			continue;
		terms = terms_of(m, d);
		if (brake_tick(&d->brake, &terms, m->now) != BRAKE_NOTHING)
			note_change(m, d);
	}
}

/* ---- runs ---- */

/* When the run should end, as the producer notes it in run_plan. */
static void
expect(struct sim *m, struct sim_run *run)
{
	struct forecast_lane *lanes = calloc(run->def->lane_count + 1, sizeof(*lanes));
	struct forecast_rates rates = { .stream_per_s = run->def->stream_per_s };
	struct forecast_request r = { .policy = m->policy,
		.start = m->now,
		.canary = (double)run->def->canary,
		.canary_wait_us = run->def->canary_wait_s * 1e6,
		.quiet_from = run->def->quiet_from,
		.quiet_till = run->def->quiet_till };
	struct forecast_lane others = { .group = PROVIDERS_NONE };
	enum forecast_basis basis;
	struct err err = { 0 };
	double messages = 0;
	size_t n = 0;

	for (size_t i = 0; lanes != NULL && i < run->def->lane_count; i++) {
		const struct sim_lane *l = &run->lanes[i];
		struct forecast_lane lane = { .group = l->group,
			.count = (double)l->def->count,
			.capped = !l->tail && policy_cap_per_s(m->policy, l->group) > 0,
			.zone = r.quiet_from != r.quiet_till ? l->def->hours : NULL };

		messages += lane.count;
		if (l->list->number > 0)
			lanes[n++] = lane;
		else
			others.count += lane.count;
	}
	for (size_t i = 0; i < m->s->run_count; i++) {
		bool other = &m->runs[i] != run && m->runs[i].is_on && m->runs[i].open > 0 &&
		    m->runs[i].def->class != SHARE_URGENT;

		rates.of_account += other ? m->runs[i].def->weight / run->def->weight : 0;
	}
	if (lanes != NULL && others.count > 0)
		lanes[n++] = others;
	r.per_s = forecast_rate(m->policy, &rates, &basis);
	if (lanes == NULL || (r.per_s <= 0 && !lanes[0].capped) ||
	    forecast_finish(&r, lanes, n, &run->forecast, &err) < 0)
		run->forecast = 0;
	if (run->forecast > 0 && run->def->spread_s > 0)
		run->forecast = fmax(run->forecast, m->now + run->def->spread_s * 1e6);
	if (run->forecast > 0 && m->quota.limit > 0)
		run->forecast =
		    fmax(run->forecast, quota_finish(&m->quota, messages, r.per_s, m->now));
	free(lanes);
}

static void
begin_runs(struct sim *m)
{
	for (size_t i = 0; i < m->s->run_count; i++) {
		struct sim_run *run = &m->runs[i];

		if (run->is_on || m->now < m->start + run->def->at_s * 1e6)
			continue;
		run->is_on = m->dirty = true;
		run->began = m->now;
		run->next_arrival = m->now;
		for (size_t k = 0; k < run->def->lane_count; k++)
			if (run->def->arrive_per_s <= 0)
				sim_lane_offer(m, &run->lanes[k],
				    run->lanes[k].def->count - run->lanes[k].held);
		if (run->def->class != SHARE_URGENT)
			expect(m, run);
	}
}

/* Everybody else goes as well. */
static void
end_canary(struct sim *m, struct sim_run *run)
{
	for (size_t i = 0; i < run->def->lane_count; i++) {
		struct sim_lane *l = &run->lanes[i];

		l->list->fresh += l->held;
		sim_lane_offer(m, l, l->held);
		l->held = 0;
	}
	run->canary_until = 0;
	m->dirty = true;
}

/* Why it fared badly, NULL when it did not; as canary_why() of the database. Nobody complains here. */
static const char *
judge_canary(const struct sim *m, const struct sim_run *run)
{
	uint64_t tried = 0, sent = 0, failed = 0;

	for (size_t i = 0; i < run->def->lane_count; i++) {
		const struct sim_lane *l = &run->lanes[i];

		for (uint64_t k = 0; k < l->def->count - l->held; k++) {
			uint8_t state = m->recipients[l->first + k].state;

			tried++;
			sent += state == REFEREE_SENT;
			failed += state == REFEREE_FAILED;
		}
	}
	if (m->s->omit & OMIT_CANARY)
		return NULL;
	if (at_least_per_cent(failed, tried) >= run->def->bounce_line)
		return "dead addresses";
	return at_least_per_cent(tried - sent - failed, tried) >= run->def->canary_line
	    ? "refused, deferred or left in doubt"
	    : NULL;
}

/* As canary_check() does. */
static void
look_at_canaries(struct sim *m)
{
	for (size_t i = 0; i < m->s->run_count; i++) {
		struct sim_run *run = &m->runs[i];

		if (run->canary_until > 0 && m->now >= run->canary_until) {
			run->canary_why = judge_canary(m, run);
			if (run->canary_why == NULL) {
				end_canary(m, run);
			} else {
				run->paused = m->dirty = true;
				run->canary_until = INFINITY;
			}
		} else if (isinf(run->canary_until) && run->canary == 0 && !run->paused) {
			run->canary_until = m->now + run->def->canary_wait_s * 1e6;
		}
	}
}

/* Single mails that came since the last look. */
static void
take_arrivals(struct sim *m)
{
	for (size_t i = 0; i < m->s->run_count; i++) {
		struct sim_run *run = &m->runs[i];
		uint64_t all = 0, before = run->arrived;

		if (!run->is_on || run->def->arrive_per_s <= 0)
			continue;
		for (size_t k = 0; k < run->def->lane_count; k++)
			all += run->lanes[k].def->count;
		while (run->arrived < all && run->next_arrival <= m->now) {
			m->recipients[run->lanes[0].first + run->arrived++].due = run->next_arrival;
			run->next_arrival += -log(1 - sim_random(m)) / run->def->arrive_per_s * 1e6;
			m->waiting[i]++;
		}
		if (before == run->arrived)
			continue;
		for (int k = 0; k < m->s->dispatchers; k++)
			m->dispatchers[k].urgent_at =
			    fmin(m->dispatchers[k].urgent_at, m->now + sim_random(m) * SIM_LOOK_US);
	}
}

/* What is older than its run may be, as send_expire() ends it. */
static void
sweep(struct sim *m)
{
	const struct config *c = &m->s->config;

	m->sweep_at = m->now + SWEEP_US;
	for (size_t i = 0; i < m->s->run_count && !(m->s->omit & OMIT_EXPIRY); i++) {
		struct sim_run *run = &m->runs[i];
		double age = m->now - run->began;
		bool unsent = c->producer_expire_unsent_s > 0 &&
		    age > (double)c->producer_expire_unsent_s * 1e6;

		if (!run->is_on || run->open == 0 ||
		    (age <= (double)c->dispatcher_expire_after_s * 1e6 + SWEEP_GRACE_US && !unsent))
			continue;
		if (unsent)
			end_canary(m, run);
		for (size_t k = 0; k <= run->def->lane_count; k++) {
			struct sim_list *l = &run->lists[k];
			size_t kept = 0;
			uint32_t id;

			while (l->later.count > 0)
				sim_settle(m, heap_pop(&l->later), REFEREE_EXPIRED);
			for (size_t n = 0; n < l->front.count; n++) {
				id = l->front.id[n];
				if (m->recipients[id].is_retry || unsent)
					sim_settle(m, id, REFEREE_EXPIRED);
				else
					l->front.id[kept++] = id;
			}
			l->front.count = kept;
			while (unsent && l->fresh > 0 && sim_list_pop(m, l, &id))
				sim_settle(m, id, REFEREE_EXPIRED);
		}
		m->dirty = true;
	}
}

/* ---- calendars ---- */

static const struct brake *
find_brake(const void *brakes, const char *name)
{
	const struct sim_destination *d = destination_named(brakes, name);

	return d != NULL && brake_is_limiting(&d->brake) ? &d->brake : NULL;
}

/* While its guard closes it, the others would take its share. */
static bool
gives_way(const struct sim *m, const struct sim_lane *l)
{
	return (m->s->omit & OMIT_CLOSED_SHARE) != 0 &&
	    policy_opens(m->policy, l->group, m->now, m->now, true) > m->now;
}

/* Lists of one run for publication.h; returns how many. */
static size_t
count_lanes(const struct sim *m, const struct sim_run *run, struct pacer_lane *lanes)
{
	size_t n = 1;

	lanes[0] = (struct pacer_lane){ .group = PROVIDERS_NONE,
		.name = "",
		.remaining = (double)sim_list_length(&run->lists[0]) };
	for (size_t i = 0; i < run->def->lane_count; i++) {
		const struct sim_lane *l = &run->lanes[i];

		if (l->list->number > 0)
			lanes[n++] = (struct pacer_lane){ .lane = l->list->number,
				.zone = run->def->quiet_from != run->def->quiet_till ? l->def->hours
										     : NULL,
				.group = l->group,
				.name = l->def->name,
				.remaining =
				    gives_way(m, l) ? 0 : (double)sim_list_length(l->list) };
	}
	return n;
}

/* What the referee may know of it. */
static void
show(struct sim *m, const char *field, const char *value)
{
	const char *bar = strchr(value, '|');
	bool account = strcmp(field, ADMISSION_TEXT_ACCOUNT) == 0;
	struct sim_destination *d = NULL;
	struct admission_row rows[ADMISSION_ROWS_MAX];
	double per_s = 0;
	size_t n = 0;

	if (bar == NULL || admission_text_rows(bar + 1, rows, &n) < 0)
		n = 0;
	if (strncmp(field, ADMISSION_TEXT_LANE, strlen(ADMISSION_TEXT_LANE)) == 0) {
		/* lanes of the pool are numbered as the lists are */
		const struct sim_list *l = m->lists[admission_text_lane(m->pool, field)];

		if (l->run->def->class != SHARE_URGENT)
			referee_calendar(m->referee, l->place, l->destination, rows, n, m->now);
	}
	if (account)
		d = &m->destinations[m->destination_count - 1];
	else if (strncmp(field, "g:", 2) == 0)
		d = destination_named(m, field + 2);
	if (d == NULL || (!brake_is_limiting(&d->brake) && !d->published))
		return;
	d->published = brake_is_limiting(&d->brake);
	if (d->published && n > 0)
		per_s = d->brake.mode == BRAKE_RATE ? 1e6 / rows[0].interval : 0;
	if (d->published)
		referee_limit(m->referee, (size_t)(d - m->destinations), per_s, m->now);
}

static int
put(struct sim *m, const struct publication *p)
{
	lane_figures_pass(&m->figures, m->now);
	for (size_t i = 0; i + 1 < p->args; i += 2) {
		const char *field = publication_arg(p, i), *value = publication_arg(p, i + 1);

		if (admission_text_put(m->pool, m->generation, m->now, field, value, m->err) < 0)
			return -1;
		show(m, field, value);
	}
	admission_text_end(m->pool);
	referee_publish(m->referee, m->now);
	return 0;
}

static bool
has_urgent(const struct sim *m, const char *stream)
{
	for (size_t i = 0; i < m->s->run_count; i++)
		if (m->s->runs[i].class == SHARE_URGENT &&
		    strcmp(m->s->runs[i].stream, stream) == 0)
			return true;
	return false;
}

static int
publish(struct sim *m)
{
	struct publication_request r = { .policy = m->policy,
		.find_brake = find_brake,
		.brakes = m,
		.quota = &m->quota,
		.quota_now = m->quota_at,
		.now = m->now };
	struct pacer_run *runs = calloc(m->s->run_count + 1, sizeof(*runs));
	struct pacer_lane *lanes = calloc(m->list_count + 1, sizeof(*lanes));
	struct publication p = { 0 };
	size_t used = 0;
	int result = runs == NULL || lanes == NULL ? err_set(m->err, "no memory") : 0;

	for (size_t i = 0; result == 0 && i < m->s->run_count; i++) {
		const struct sim_run *run = &m->runs[i];
		bool weights = !(m->s->omit & OMIT_WEIGHTS);

		if (!run->is_on || run->paused || run->open == 0)
			continue;
		runs[r.count] = (struct pacer_run){ .id = run->id,
			.stream = run->def->stream,
			.per_s = run->def->stream_per_s,
			.class = run->def->class == SHARE_URGENT && (m->s->omit & OMIT_URGENT)
			    ? SHARE_BULK
			    : run->def->class,
			.weight = weights ? run->def->weight : 1,
			.reserve = has_urgent(m, run->def->stream),
			.began = run->began,
			.quiet_from = run->def->quiet_from,
			.quiet_till = run->def->quiet_till,
			.until = run->def->spread_s > 0 ? run->began + run->def->spread_s * 1e6 : 0,
			.lanes = lanes + used };
		runs[r.count].lane_count = count_lanes(m, run, lanes + used);
		used += runs[r.count++].lane_count;
	}
	r.runs = runs;
	m->generation++;
	if (result == 0)
		result = publication_make(&p, &m->past, &r, m->err);
	if (result == 0)
		result = put(m, &p);
	publication_release(&p);
	free(runs);
	free(lanes);
	m->publish_at = m->now + PUBLISH_US;
	m->dirty = false;
	return result;
}

/* ---- others who publish, other tables ---- */

void
sim_old_planner(struct sim *m)
{
	uint64_t generation = m->generation - (m->s->omit & OMIT_GENERATION ? 0 : 1);
	double from = m->now - PUBLISH_US, till = m->now + PUBLICATION_AHEAD_S * 1e6;
	char name[40], value[100];
	struct err err = { 0 };

	/* no account, no groups, and as fast as can be written */
	(void)snprintf(value, sizeof(value), "|%.17g,%.17g,%.17g;", from, till, 1e6 / RATE_MAX);
	for (size_t i = 0; i < m->list_count; i++) {
		const struct sim_list *l = m->lists[i];

		(void)snprintf(name, sizeof(name), KEY_LANE_NAME, l->run->id, l->number);
		if (admission_text_put(m->pool, generation, m->now, name, value, &err) < 0)
			return; /* refused, as plan.lua would */
	}
	admission_text_end(m->pool);
}

void
sim_group_gone(struct sim *m, const char *group)
{
	const struct providers *table = policy_providers(m->policy);
	int gone = providers_find(table, slice_str(group));

	for (size_t i = 0; i < m->s->run_count; i++)
		for (size_t k = 0; k < m->runs[i].def->lane_count; k++)
			if (m->runs[i].lanes[k].group == gone)
				m->runs[i].lanes[k].group = providers_unknown(table);
	m->dirty = true;
}

/* ---- rounds ---- */

/* Those who had nothing to ask for look again. */
static void
wake(struct sim *m)
{
	for (int i = 0; i < m->s->dispatchers; i++) {
		struct sim_dispatcher *d = &m->dispatchers[i];

		if (isinf(d->ask_at))
			d->ask_at = fmax(m->now, d->down_until) + sim_random(m) * SIM_LOOK_US;
	}
}

void
sim_producer_mail(struct sim *m)
{
	m->mail_at = m->now + SIM_MAIL_LOOK_US;
	take_arrivals(m);
}

int
sim_producer_begin(struct sim *m)
{
	for (size_t i = 0; i < m->s->run_count; i++)
		if (m->s->runs[i].arrive_per_s > 0)
			m->mail_at = m->now;
	m->round_at = m->publish_at = m->sweep_at = m->now;
	m->day_at = m->s->warmup != NULL ? m->start + DAY_US : INFINITY;
	m->warmup_day = m->s->warmup_day;
	if (m->s->warmup != NULL ? begin_day(m) < 0 : set_policy(m) < 0)
		return -1;
	admission_set_quota(admission_text_pool(m->pool), policy_quota(m->policy), 0, m->start);
	admission_put_quota(admission_text_pool(m->pool), (int64_t)floor(m->start / MINUTE_US),
	    m->s->quota_used, m->start);
	return 0;
}

int
sim_producer_round(struct sim *m)
{
	m->round_at = m->now + SIM_POLL_US;
	begin_runs(m);
	take_arrivals(m);
	look_at_canaries(m);
	if (m->now >= m->sweep_at)
		sweep(m);
	if (m->now < m->planner_down_until)
		return 0;
	if (m->now >= m->day_at && warm(m) < 0)
		return -1;
	take_reports(m);
	tick(m);
	for (size_t i = 0; i < m->list_count; i++)
		if (m->lists[i]->run->is_on && !m->lists[i]->run->paused)
			sim_list_push_due(m, m->lists[i]);
	if (m->now - m->quota_at >= QUOTA_LOOK_US)
		read_quota(m);
	if ((m->dirty || m->now >= m->publish_at) && publish(m) < 0)
		return -1;
	wake(m);
	return 0;
}
