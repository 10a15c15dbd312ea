/* SPDX-License-Identifier: Apache-2.0 */
/* simulation: see simulation.h. Events are calls, not messages: a call hands out up to ASK_MAX. */
#include "simulation.h"

#include <math.h>
#include <stdlib.h>

#include "interleave.h"

#define HORIZON_US 1e6
#define ASK_MAX 4096
#define QUEUE_MAX (4 * ASK_MAX)
#define AGAIN 0.1      /* of the horizon before a queue runs dry, a dispatcher asks */
#define LEAD_IN_US 2e6 /* the pool is there before the run */
#define PUBLISH_US 60e6
#define CALENDAR_US 900e6
#define PROGRESS_EVERY (1u << 18)
#define PATIENCE_US 86400e6 /* behind the last calendar row */

struct dispatcher {
	struct admission_permit *queue; /* owned */
	size_t head, count;
	double ask_at;
};

struct simulation {
	const struct scenario *s;
	const struct simulation_hooks *hooks;
	struct plan_lane *plans;
	struct gauge *g;
	struct simulation_result *result;
	struct shape *shapes;
	struct admission *a;
	struct dispatcher *dispatchers;
	struct admission_want *wants;
	uint64_t *left; /* messages not reserved, by lane */
	uint64_t random, generation;
	double publish_at, planner_down_until, till;
	bool fault_done[SCENARIO_FAULTS_MAX];
	size_t *publish_row; /* first row of each lane that still matters */
	struct interleave *domains;
};

static double
random_part(struct simulation *m)
{
	uint64_t x = (m->random += 0x9e3779b97f4a7c15u);

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	x ^= x >> 31;
	return (double)(x >> 11) / 9007199254740992.0;
}

/* ---------------------------------------------------------------- plan */

/* Guard, hours of the day, and the start: behind the guard, and softly when it was moved. */
static int
make_shape(const struct scenario *s, const struct scenario_lane *l, double till, struct shape *out)
{
	struct shape guard = { 0 }, start = { 0 };
	uint64_t seed = hash_name(s->name, l->group);
	double begin =
	    l->guard == GUARD_SOFT ? guard_start(GUARD_SOFT, l->zone, seed, s->start) : s->start;
	int failed;

	shape_guard(&guard, l->guard, l->zone, seed, s->lead_us, s->soft_factor, s->start, till);
	shape_start(&start, s->start, begin, s->start, till);
	shape_multiply(out, &guard, &start);
	failed = guard.failed || start.failed || out->failed ? -1 : 0;
	if (failed == 0 && l->hours != NULL && s->quiet_open != s->quiet_close)
		failed = shape_quiet(out, l->hours, s->quiet_close, s->quiet_open, true);
	shape_release(&guard);
	shape_release(&start);
	return failed;
}

/* Lanes that share a group's limit share its rate by their size. */
static double
cap_of(const struct scenario *s, size_t lane)
{
	const struct scenario_lane *l = &s->lanes[lane];
	uint64_t all = 0;

	if (l->limiter < 0)
		return 0;
	for (size_t i = 0; i < s->lane_count; i++)
		if (s->lanes[i].limiter == l->limiter)
			all += s->lanes[i].count;
	return l->cap_per_s * (double)l->count / (double)all;
}

static int
make_plan(struct simulation *m, struct err *err)
{
	const struct scenario *s = m->s;
	struct plan_request r = { .mode = s->mode,
		.start = s->start,
		.deadline = s->start + s->window_s * 1e6,
		.account_per_s = s->account_per_s };
	double day = 86400e6;
	int result = 1;

	if (s->quota > 0 && s->messages + s->quota_used > s->quota) {
		double pace = (double)s->quota / 86400;

		r.account_per_s = r.account_per_s > 0 ? fmin(r.account_per_s, pace) : pace;
	}
	for (double days = 1; result == 1 && days <= PLAN_DAYS_MAX; days *= 2) {
		r.till = s->start + days * day;
		for (size_t i = 0; i < s->lane_count; i++) {
			m->plans[i].shape = &m->shapes[i];
			m->plans[i].count = (double)s->lanes[i].count;
			m->plans[i].cap_per_s = cap_of(s, i);
			m->shapes[i].count = 0;
			if (make_shape(s, &s->lanes[i], r.till, &m->shapes[i]) < 0)
				return err_set(err, "no memory");
		}
		result = plan_make(&r, m->plans, s->lane_count, err);
	}
	if (result == 1)
		return err_set(err,
		    "this would take more than %d days; raise the limits or open longer",
		    PLAN_DAYS_MAX);
	m->till = r.till;
	for (size_t i = 0; i < s->lane_count; i++)
		if (m->plans[i].end > m->result->planned_finish)
			m->result->planned_finish = m->plans[i].end;
	return result;
}

/* ---------------------------------------------------------------- planner */

static int
publish_limits(struct simulation *m, double now, struct err *err)
{
	const struct scenario *s = m->s;
	struct admission_row row = { now - PUBLISH_US, now + CALENDAR_US, 0 };

	if (s->account_per_s > 0) {
		row.interval = 1e6 / s->account_per_s;
		if (admission_plan_limiter(m->a, m->generation, -1, &row, 1, err) < 0)
			return -1;
	}
	for (size_t i = 0; i < s->lane_count; i++) {
		if (s->lanes[i].limiter < 0)
			continue;
		row.interval = 1e6 / s->lanes[i].cap_per_s;
		if (admission_plan_limiter(m->a, m->generation, s->lanes[i].limiter, &row, 1, err) <
		    0)
			return -1;
	}
	return 0;
}

/* 15 minutes of every lane's plan, and the last minute, so that what is owed counts on. */
static int
publish(struct simulation *m, double now, struct err *err)
{
	struct admission_row rows[ADMISSION_ROWS_MAX];

	m->generation++;
	for (size_t i = 0; i < m->s->lane_count; i++) {
		const struct plan_lane *p = &m->plans[i];
		size_t n = 0;

		while (m->publish_row[i] < p->row_count &&
		    p->rows[m->publish_row[i]].till <= now - PUBLISH_US)
			m->publish_row[i]++;
		for (size_t k = m->publish_row[i]; k < p->row_count && n < ADMISSION_ROWS_MAX &&
		     p->rows[k].from < now + CALENDAR_US;
		     k++) {
			rows[n] = p->rows[k];
			rows[n].till = fmin(rows[n].till, now + CALENDAR_US);
			n++;
		}
		if (admission_plan_lane(m->a, m->generation, (int)i, rows, n, err) < 0)
			return -1;
	}
	return publish_limits(m, now, err);
}

static int
make_pool(struct simulation *m, struct err *err)
{
	int limiters = 0;

	m->a = admission_new();
	if (m->a == NULL)
		return err_set(err, "no memory");
	for (size_t i = 0; i < m->s->lane_count; i++)
		if (m->s->lanes[i].limiter >= limiters)
			limiters = m->s->lanes[i].limiter + 1;
	for (int i = 0; i < limiters; i++)
		if (admission_add_limiter(m->a) < 0)
			return err_set(err, "no memory");
	for (size_t i = 0; i < m->s->lane_count; i++)
		if (admission_add_lane(m->a, &m->s->lanes[i].limiter, m->s->lanes[i].limiter >= 0) <
		    0)
			return err_set(err, "no memory");
	admission_set_quota(m->a, m->s->quota, 0, m->s->start);
	admission_put_quota(
	    m->a, (int64_t)floor(m->s->start / MINUTE_US), m->s->quota_used, m->s->start);
	return 0;
}

/* ---------------------------------------------------------------- dispatchers */

static void
dispatcher_ask(struct simulation *m, struct dispatcher *d, double now)
{
	struct admission_ask ask = {
		.now = now, .horizon = HORIZON_US, .wants = m->wants, .max = ASK_MAX
	};
	size_t n;
	double wake, dry;

	if (d->head > 0) {
		for (size_t i = 0; i < d->count; i++)
			d->queue[i] = d->queue[d->head + i];
		d->head = 0;
	}
	if (d->count + ASK_MAX > QUEUE_MAX) {
		d->ask_at = now + HORIZON_US * AGAIN;
		return;
	}
	for (size_t i = 0; i < m->s->lane_count; i++)
		if (m->left[i] > 0)
			m->wants[ask.want_count++] = (struct admission_want){ .lane = (uint32_t)i,
				.count =
				    m->left[i] < UINT32_MAX ? (uint32_t)m->left[i] : UINT32_MAX };
	m->result->calls++;
	n = admission_reserve(m->a, &ask, d->queue + d->count, &wake);
	for (size_t i = 0; i < n; i++)
		m->left[d->queue[d->count + i].lane]--;
	d->count += n;
	dry = d->count > 0 ? d->queue[d->count - 1].at - HORIZON_US * AGAIN : now;
	d->ask_at = fmax(wake, dry);
}

static void
trace(struct simulation *m, uint32_t lane, double at)
{
	uint32_t domain, which;
	const char *name = "-";

	if (m->domains != NULL && interleave_next_of(m->domains, lane, &domain, &which))
		name = m->s->domains[domain].name;
	if (m->g->sent % m->hooks->trace_every == 0)
		fprintf(m->hooks->trace, "%.0f %s %s\n", at + ADMISSION_EPOCH_S * 1e6,
		    m->s->lanes[lane].name, name);
}

static void
release_one(struct simulation *m, struct dispatcher *d)
{
	const struct admission_permit *p = &d->queue[d->head];
	double released = p->at;

	if (m->s->jitter_us > 0)
		released =
		    fmax(released + random_part(m) * m->s->jitter_us, m->g->lanes[p->lane].last);
	if (m->hooks->trace != NULL)
		trace(m, p->lane, released);
	gauge_take(m->g, p->lane, p->at, released);
	if (m->hooks->progress != NULL && m->g->sent % PROGRESS_EVERY == 0)
		m->hooks->progress(m->hooks->ctx, m->g->sent);
	d->head++;
	d->count--;
}

/* Everything that is due before a time, in order of time over all dispatchers. */
static void
release_until(struct simulation *m, double till)
{
	for (;;) {
		struct dispatcher *first = NULL;
		double second = till;

		for (int i = 0; i < m->s->dispatchers; i++) {
			struct dispatcher *d = &m->dispatchers[i];

			if (d->count == 0)
				continue;
			if (first == NULL || d->queue[d->head].at < first->queue[first->head].at) {
				if (first != NULL)
					second = fmin(second, first->queue[first->head].at);
				first = d;
			} else {
				second = fmin(second, d->queue[d->head].at);
			}
		}
		if (first == NULL || first->queue[first->head].at >= till)
			return;
		do
			release_one(m, first);
		while (first->count > 0 && first->queue[first->head].at <= second &&
		    first->queue[first->head].at < till);
	}
}

/* ---------------------------------------------------------------- events */

static void
fault(struct simulation *m, const struct scenario_fault *f, double now)
{
	struct dispatcher *d = &m->dispatchers[f->dispatcher];

	switch (f->kind) {
	case FAULT_DISPATCHER_CRASH: /* unreleased messages go back, their permits are lost */
		for (size_t i = 0; i < d->count; i++)
			m->left[d->queue[d->head + i].lane]++;
		m->result->lost_permits += d->count;
		d->count = d->head = 0;
		d->ask_at = now + f->for_s * 1e6;
		break;
	case FAULT_PLANNER_DOWN:
		m->planner_down_until = now + f->for_s * 1e6;
		break;
	case FAULT_REDIS_LOST:
		admission_forget(m->a);
		break;
	case FAULT_OLD_PLANNER: /* of rehearsals */
	case FAULT_GROUP_GONE:
		break;
	}
}

/* The next event's time; *what: -1 the planner, a dispatcher's number, or 1000 + a fault's. */
static double
next_event(const struct simulation *m, int *what)
{
	double at = m->publish_at;

	*what = -1;
	for (size_t i = 0; i < m->s->fault_count; i++) {
		double when = m->s->start + m->s->faults[i].at_s * 1e6;

		if (!m->fault_done[i] && when <= at) {
			at = when;
			*what = 1000 + (int)i;
		}
	}
	for (int i = 0; i < m->s->dispatchers; i++)
		if (m->dispatchers[i].ask_at < at) {
			at = m->dispatchers[i].ask_at;
			*what = i;
		}
	return at;
}

static int
play(struct simulation *m, struct err *err)
{
	while (m->g->sent < m->s->messages) {
		int what;
		double at = next_event(m, &what);

		if (at > m->till + PATIENCE_US)
			break;
		release_until(m, at);
		if (what >= 1000) {
			m->fault_done[what - 1000] = true;
			fault(m, &m->s->faults[what - 1000], at);
		} else if (what >= 0) {
			dispatcher_ask(m, &m->dispatchers[what], at);
		} else {
			if (at >= m->planner_down_until && publish(m, at, err) < 0)
				return -1;
			m->publish_at = at + PUBLISH_US;
		}
	}
	m->result->unsent = m->s->messages - m->g->sent;
	return 0;
}

static struct interleave *
make_domains(const struct scenario *s)
{
	struct interleave_domain *d = calloc(s->domain_count + 1, sizeof(*d));
	struct interleave *v = NULL;

	for (size_t i = 0; d != NULL && i < s->domain_count; i++)
		d[i] = (struct interleave_domain){ s->domains[i].lane, s->domains[i].count,
			s->domains[i].name };
	if (d != NULL)
		v = interleave_new(d, s->domain_count, s->lane_count);
	free(d);
	return v;
}

static int
prepare(struct simulation *m, struct err *err)
{
	const struct scenario *s = m->s;
	size_t n = s->lane_count;

	m->shapes = calloc(n + 1, sizeof(*m->shapes));
	m->dispatchers = calloc((size_t)s->dispatchers + 1, sizeof(*m->dispatchers));
	m->wants = calloc(n + 1, sizeof(*m->wants));
	m->left = calloc(n + 1, sizeof(*m->left));
	m->publish_row = calloc(n + 1, sizeof(*m->publish_row));
	if (m->shapes == NULL || m->dispatchers == NULL || m->wants == NULL || m->left == NULL ||
	    m->publish_row == NULL)
		return err_set(err, "no memory");
	for (int i = 0; i < s->dispatchers; i++) {
		m->dispatchers[i].queue = calloc(QUEUE_MAX, sizeof(*m->dispatchers[i].queue));
		m->dispatchers[i].ask_at = s->start - LEAD_IN_US + i * 1000;
		if (m->dispatchers[i].queue == NULL)
			return err_set(err, "no memory");
	}
	for (size_t i = 0; i < n; i++)
		m->left[i] = s->lanes[i].count;
	m->publish_at = s->start - LEAD_IN_US;
	m->random = s->seed;
	if (m->hooks->trace != NULL && s->domain_count > 0 &&
	    (m->domains = make_domains(s)) == NULL)
		return err_set(err, "no memory");
	return make_plan(m, err);
}

int
simulation_run(const struct scenario *s, const struct simulation_hooks *hooks,
    struct plan_lane *plans, struct gauge *g, struct simulation_result *result, struct err *err)
{
	struct simulation m = { .s = s, .hooks = hooks, .plans = plans, .g = g, .result = result };
	int failed = -1;

	*result = (struct simulation_result){ 0 };
	if (prepare(&m, err) == 0 && make_pool(&m, err) == 0 && gauge_init(g, s, plans, err) == 0) {
		failed = play(&m, err);
		gauge_end(g);
		result->finish = g->finish;
		g->calls = result->calls;
	}
	admission_free(m.a);
	interleave_free(m.domains);
	for (int i = 0; m.dispatchers != NULL && i < s->dispatchers; i++)
		free(m.dispatchers[i].queue);
	for (size_t i = 0; i < s->lane_count; i++) {
		if (m.shapes != NULL)
			shape_release(&m.shapes[i]);
		plans[i].shape = NULL;
	}
	free(m.shapes);
	free(m.dispatchers);
	free(m.wants);
	free(m.left);
	free(m.publish_row);
	return failed;
}

int
simulation_order(
    const struct scenario *s, FILE *out, uint64_t every, double *worst, struct err *err)
{
	uint64_t *counts = calloc(s->lane_count + 1, sizeof(*counts)), n = 0;
	struct lane_order *order = NULL;
	struct interleave *domains = NULL;
	int lane, result = -1;

	for (size_t i = 0; counts != NULL && i < s->lane_count; i++)
		counts[i] = s->lanes[i].count;
	if (counts != NULL)
		order = lane_order_new(counts, s->lane_count);
	if (out != NULL && s->domain_count > 0)
		domains = make_domains(s);
	if (order == NULL || (out != NULL && s->domain_count > 0 && domains == NULL)) {
		(void)err_set(err, "no memory");
		goto done;
	}
	for (; (lane = lane_order_next(order)) >= 0; n++) {
		const char *name = "-";
		uint32_t domain, which;

		if (out == NULL)
			continue;
		if (domains != NULL && interleave_next_of(domains, (uint32_t)lane, &domain, &which))
			name = s->domains[domain].name;
		if (n % every == 0)
			fprintf(out, "%llu %s %s\n", (unsigned long long)n + 1, s->lanes[lane].name,
			    name);
	}
	for (size_t i = 0; i < s->lane_count; i++)
		worst[i] = lane_order_deviation(order, i);
	result = 0;
done:
	lane_order_free(order);
	interleave_free(domains);
	free(counts);
	return result;
}
