/* SPDX-License-Identifier: Apache-2.0 */
/* publication: see publication.h. */
#include "publication.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "keys.h"
#include "log.h"
#include "rate.h"

#define BACK_US 60e6 /* what was owed before counts on for so long */
#define AHEAD_US (PUBLICATION_AHEAD_S * 1e6)
#define FLOOR 0.002	     /* of a run: what a lane counts at least, for its retries */
#define SETTLE_US 1e6	     /* permits that were given may be leaving for so long */
#define SPREAD_LEAST_US 10e6 /* the rest of a spread run leaves without spreading */
#define DAY_MINUTES 1440
#define QUOTA_KEPT 20	  /* a twentieth of a quota is kept for urgent mail */
#define CLOSED_PER_S 1e-7 /* a rate that stands for none at all */
#define URGENT_ACCOUNT "au"
#define URGENT_STREAM "su:"
#define ROUTE_LIMITER "r:"
#define TEXT_MAX ((size_t)32 << 20)
#define PLAN_NOISE 0.05 /* of a rate: what plans of one minute and the next differ by anyway */

struct publishing {
	const struct publication_request *r;
	struct publication_past *past;
	struct publication *out;
	struct share_run *share; /* of each run */
	struct share_pool pool;
	struct publication_rate *rates; /* of this publication, as past->rates */
	size_t rate_count, rate_room;
};

/* ---- arguments of plan.lua ---- */

/* Ends the argument that was written into text. */
static void
end_arg(struct publication *p)
{
	if (p->args == p->room) {
		size_t room = p->room > 0 ? 2 * p->room : 256;
		size_t *ends = realloc(p->ends, room * sizeof(*ends));

		if (ends == NULL) {
			p->failed = true;
			return;
		}
		p->ends = ends;
		p->room = room;
	}
	buf_append_char(&p->text, '\0');
	p->ends[p->args++] = p->text.len;
}

static void
put_row(struct publishing *b, double from, double till, double interval)
{
	buf_printf(&b->out->text, "%.17g,%.17g,%.17g;", from, till, interval);
}

/* One rate, which was `before` until now. What grows waits until the permits of the others that
 * shrink have left. 0: closed. With a brake its rate is what `brake` leaves of it, 0: that of the
 * brake alone. */
static void
put_limiter(struct publishing *b, const char *kind, const char *name, double per_s, double before,
    const struct brake *brake)
{
	double from = b->r->now - BACK_US, till = b->r->now + AHEAD_US;
	struct admission_row row;

	buf_printf(&b->out->text, "%s%s", kind, name);
	end_arg(b->out);
	buf_append_char(&b->out->text, '|');
	if (brake != NULL) {
		if (brake_rows(brake, per_s, from, till, &row) > 0)
			put_row(b, row.from, row.till, row.interval);
		end_arg(b->out);
		return;
	}
	if (per_s > before * (1 + 1e-9)) {
		if (before > 0)
			put_row(b, from, b->r->now + SETTLE_US, 1e6 / before);
		from = b->r->now + SETTLE_US;
	}
	if (per_s > 0)
		put_row(b, from, till, 1e6 / per_s);
	end_arg(b->out);
}

/* The urgent part of a limit in the last publication; the present one takes its place. */
static double
part_before(struct publication_past *p, const char *kind, const char *name, double urgent)
{
	char full[sizeof(p->parts[0].name)];
	double before = urgent;
	size_t i;

	(void)snprintf(full, sizeof(full), "%s%s", kind, name);
	for (i = 0; i < p->part_count && strcmp(p->parts[i].name, full) != 0; i++)
		;
	if (i == p->part_count && i == PUBLICATION_PARTS_MAX)
		return before;
	if (i == p->part_count)
		(void)snprintf(p->parts[p->part_count++].name, sizeof(full), "%s", full);
	else
		before = p->parts[i].urgent;
	p->parts[i].urgent = urgent;
	return before;
}

/* A limit in two: for urgent runs, when there are any now and then, and for the others. */
static void
put_divided(struct publishing *b, const char *kind, const char *urgent_kind, const char *name,
    double per_s, double urgent)
{
	double before = part_before(b->past, kind, name, urgent);

	put_limiter(b, kind, name, per_s * (1 - urgent), per_s * (1 - before), NULL);
	if (urgent > 0 || before > 0)
		put_limiter(b, urgent_kind, name, per_s * urgent, per_s * before, NULL);
}

/* ---- shares of runs ---- */

/* What replies have made of our account; NULL: nothing. */
static const struct brake *
account_brake(const struct publishing *b)
{
	return b->r->find_brake != NULL ? b->r->find_brake(b->r->brakes, BRAKE_ACCOUNT) : NULL;
}

/* 0: no limit. While the account is silent the rate does not matter. */
static double
account_per_s(const struct publishing *b)
{
	const struct brake *brake = account_brake(b);
	double limit = policy_account_per_s(b->r->policy);

	if (brake == NULL)
		return limit;
	if (brake->mode == BRAKE_RATE)
		return limit > 0 ? fmin(limit, brake->rate) : brake->rate;
	return limit > 0 ? limit : 1;
}

static bool
is_urgent(const struct publishing *b, const struct pacer_run *run)
{
	return b->share[run - b->r->runs].class == SHARE_URGENT;
}

static bool
is_spread(const struct publishing *b, const struct pacer_run *run)
{
	return run->until > b->r->now + SPREAD_LEAST_US && !is_urgent(b, run);
}

/* A day's limit of a warm-up is spread over the hours in which its runs are open: what its quota
 * leaves free would go in the first. INFINITY: no warm-up. */
static double
warmup_most(const struct publishing *b)
{
	double limit = (double)policy_warmup(b->r->policy);
	int open = 0;

	for (size_t i = 0; i < b->r->count; i++) {
		const struct pacer_run *run = &b->r->runs[i];
		int minutes = (run->quiet_from - run->quiet_till + DAY_MINUTES) % DAY_MINUTES;

		if (!is_urgent(b, run) && pacer_run_is_active(run))
			open = minutes == 0 ? DAY_MINUTES : minutes > open ? minutes : open;
	}
	return limit > 0 ? limit / (60.0 * (open > 0 ? open : DAY_MINUTES)) : INFINITY;
}

static bool
divide(struct publishing *b)
{
	double part = policy_urgent_part(b->r->policy), messages = 0;

	b->pool = (struct share_pool){ .account_per_s = account_per_s(b),
		.part = part,
		.reserve = part > 0 && policy_urgent_in_use(b->r->policy) };
	for (size_t i = 0; i < b->r->count; i++) {
		const struct pacer_run *run = &b->r->runs[i];

		b->share[i] = (struct share_run){ .stream = run->stream,
			.stream_per_s = run->per_s,
			.class =
			    run->class == SHARE_URGENT && part <= 0 ? SHARE_TRIGGERED : run->class,
			.weight = run->weight,
			.reserve = part > 0 && run->reserve };
		for (size_t k = 0; k < run->lane_count; k++)
			b->share[i].backlog += run->lanes[k].remaining;
		if (is_spread(b, run)) /* more than twice that it will not take */
			b->share[i].most =
			    2 * fmax(b->share[i].backlog, 1) / (run->until - b->r->now) * 1e6;
		if (b->share[i].class != SHARE_URGENT)
			messages += b->share[i].backlog;
	}
	b->pool.others_most =
	    fmax(quota_pace(b->r->quota, messages,
		     b->pool.reserve ? b->r->quota->limit / QUOTA_KEPT : 0, b->r->quota_now),
		CLOSED_PER_S);
	b->pool.others_most = fmin(b->pool.others_most, warmup_most(b));
	return share_out(&b->pool, b->share, b->r->count);
}

/* ---- soft guards: nothing rises around :00 and :30 ---- */

static int
compare_rates(const void *a, const void *b)
{
	const struct publication_rate *x = a, *y = b;

	return (x->name > y->name) - (x->name < y->name);
}

/* In the last publication; -1: it was not there. */
static double
rate_before(const struct publishing *b, uint64_t name)
{
	const struct publication_rate key = { .name = name }, *found = NULL;

	if (b->past->rate_count > 0)
		found =
		    bsearch(&key, b->past->rates, b->past->rate_count, sizeof(key), compare_rates);
	return found != NULL ? found->per_s : -1;
}

static void
note_rate(struct publishing *b, uint64_t name, double per_s)
{
	if (b->rate_count == b->rate_room) {
		size_t room = b->rate_room > 0 ? 2 * b->rate_room : 64;
		struct publication_rate *more = realloc(b->rates, room * sizeof(*more));

		if (more == NULL) {
			b->out->failed = true;
			return;
		}
		b->rates = more;
		b->rate_room = room;
	}
	b->rates[b->rate_count++] = (struct publication_rate){ name, per_s };
}

/* What rows let pass just before a time. */
static double
rate_at(const struct admission_row *rows, size_t count, double at)
{
	for (size_t i = 0; i < count; i++)
		if (rows[i].from < at && at <= rows[i].till)
			return 1e6 / rows[i].interval;
	return 0;
}

/* Copies rows; what begins in the time of a group's soft guard gets no higher rate than there was when that time
 * began, however much the plan has grown (margin: by more than each plan differs from the last), nor, without a
 * margin, than there was since. The number of rows. */
static size_t
hold_rows(struct publishing *b, int group, const char *field, double margin,
    const struct admission_row *rows, size_t count, struct admission_row *held)
{
	uint64_t name = hash_name(POLICY_POOL, field);
	double now = b->r->now, before = rate_before(b, name);
	bool inside = policy_soft_until(b->r->policy, group, now) > now;
	size_t n = 0;

	for (size_t i = 0; i < count && n + 2 <= ADMISSION_ROWS_MAX; i++) {
		struct admission_row row = rows[i];
		double at = fmax(row.from, now), until = policy_soft_until(b->r->policy, group, at);
		double began = until - GUARD_SOFT_BEFORE_US - GUARD_SOFT_AFTER_US;
		double most = began <= now ? before : rate_at(held, n, began);

		if (until > at && most >= 0 && 1e6 / row.interval > most * (1 + margin)) {
			if (most > 0)
				held[n++] = (struct admission_row){ row.from, fmin(row.till, until),
					1e6 / most };
			row.from = until;
		}
		if (row.till > row.from)
			held[n++] = row;
	}
	note_rate(
	    b, name, inside && before >= 0 && margin > 0 ? before : rate_at(held, n, now + 1));
	return n;
}

static bool
is_soft(const struct publishing *b, const struct pacer_lane *l)
{
	return l->group != PROVIDERS_NONE && policy_guard(b->r->policy, l->group) == GUARD_SOFT;
}

/* ---- lanes of a run ---- */

static bool
same_limiter(const struct publishing *b, const struct pacer_lane *x, const struct pacer_lane *y)
{
	int unknown = providers_unknown(policy_providers(b->r->policy));

	return x->group == y->group && (x->group != unknown || strcmp(x->name, y->name) == 0);
}

/* Lanes of a group may be several, by time zone: they share its limit. */
static const char *
limiter_name(const struct publishing *b, const struct pacer_lane *l)
{
	const struct providers *table = policy_providers(b->r->policy);

	return l->group == providers_unknown(table) ? l->name
						    : providers_group(table, l->group)->name;
}

/* Tail lanes hold many sites: the rate of one of them is no limit for all. */
static double
cap_of(const struct publishing *b, const struct pacer_lane *l)
{
	int unknown = providers_unknown(policy_providers(b->r->policy));

	if (l->group == PROVIDERS_NONE ||
	    (l->group == unknown && strncmp(l->name, "tail-", 5) == 0))
		return 0;
	return policy_cap_per_s(b->r->policy, l->group);
}

/* The limit of the lane's route; NULL: none. */
static const struct routes_way *
way_of(const struct publishing *b, const struct pacer_lane *l)
{
	const struct routes_way *way =
	    l->route != NULL ? routes_named(policy_ways(b->r->policy), l->route) : NULL;

	return way != NULL && way->per_s > 0 ? way : NULL;
}

/* What replies have made of it; NULL: nothing. */
static const struct brake *
brake_of(const struct publishing *b, const struct pacer_lane *l)
{
	return b->r->find_brake != NULL && l->group != PROVIDERS_NONE
	    ? b->r->find_brake(b->r->brakes, limiter_name(b, l))
	    : NULL;
}

static double
weight_of(const struct pacer_run *run, const struct pacer_lane *l)
{
	double all = 0;

	for (size_t i = 0; i < run->lane_count; i++)
		all += run->lanes[i].remaining;
	return fmax(l->remaining, fmax(all * FLOOR, 1));
}

/* What a lane may have of the limit that it shares with others. */
static double
cap_share(const struct publishing *b, const struct pacer_run *run, const struct pacer_lane *l)
{
	double cap = cap_of(b, l), all = 0;

	if (cap <= 0)
		return 0;
	for (size_t i = 0; i < b->r->count; i++)
		for (size_t k = 0; k < b->r->runs[i].lane_count; k++)
			if (same_limiter(b, &b->r->runs[i].lanes[k], l))
				all += weight_of(&b->r->runs[i], &b->r->runs[i].lanes[k]);
	return cap * weight_of(run, l) / all;
}

static int
shape_lane(const struct publishing *b, const struct pacer_run *run, const struct pacer_lane *l,
    double till, bool steps, struct shape *out)
{
	bool quiet = l->zone != NULL && run->quiet_from != run->quiet_till && !is_urgent(b, run);

	out->count = 0;
	if (l->group == PROVIDERS_NONE || is_urgent(b, run))
		shape_add(out, b->r->now, till, 1);
	else if (policy_shape(b->r->policy, l->group, run->began, b->r->now, till, steps, out) < 0)
		return -1;
	if (out->failed)
		return -1;
	return quiet ? shape_quiet(out, l->zone, run->quiet_from, run->quiet_till, steps) : 0;
}

/* "LIMITERS|rows" of a lane. */
static void
put_lane(struct publishing *b, const struct pacer_run *run, const struct pacer_lane *l,
    const struct admission_row *rows, size_t count)
{
	struct admission_row held[ADMISSION_ROWS_MAX];
	const char *comma = "";
	double end = b->r->now + AHEAD_US;
	char field[32];

	(void)snprintf(field, sizeof(field), KEY_LANE_NAME, run->id, l->lane);
	buf_append_str(&b->out->text, field);
	end_arg(b->out);
	if (is_soft(b, l) && !is_urgent(b, run)) {
		count = hold_rows(b, l->group, field, PLAN_NOISE, rows, count, held);
		rows = held;
	}
	if (is_urgent(b, run))
		buf_append_str(
		    &b->out->text, b->pool.account_per_s > 0 ? "!" URGENT_ACCOUNT "," : "!");
	if (run->per_s > 0) {
		buf_printf(
		    &b->out->text, "%s%s", is_urgent(b, run) ? URGENT_STREAM : "s:", run->stream);
		comma = ",";
	}
	if (cap_of(b, l) > 0 || brake_of(b, l) != NULL) {
		buf_printf(&b->out->text, "%sg:%s", comma, limiter_name(b, l));
		comma = ",";
	}
	if (way_of(b, l) != NULL)
		buf_printf(&b->out->text, "%s" ROUTE_LIMITER "%s", comma, way_of(b, l)->name);
	buf_append_char(&b->out->text, '|');
	for (size_t i = 0; i < count && i < ADMISSION_ROWS_MAX && rows[i].from < end; i++)
		put_row(b, rows[i].from <= b->r->now ? b->r->now - BACK_US : rows[i].from,
		    fmin(rows[i].till, end), rows[i].interval);
	end_arg(b->out);
}

/* Each lane by itself: as fast as its own limit lets it, or without any. */
static int
put_lane_alone(struct publishing *b, const struct pacer_run *run, const struct pacer_lane *l,
    double per_s, struct err *err)
{
	struct admission_row rows[ADMISSION_ROWS_MAX];
	struct shape shape = { 0 };
	size_t n;

	if (shape_lane(b, run, l, b->r->now + AHEAD_US, per_s > 0, &shape) < 0) {
		shape_release(&shape);
		return err_set(err, "no memory");
	}
	n = shape_rows(&shape, per_s > 0 ? per_s : RATE_MAX, b->r->now, b->r->now + AHEAD_US, rows,
	    ADMISSION_ROWS_MAX);
	put_lane(b, run, l, rows, n);
	shape_release(&shape);
	return 0;
}

/* plan_make() over as many days as it takes. 0; 1: it takes too long; -1 with err. */
static int
plan_lanes(struct publishing *b, const struct pacer_run *run, enum plan_mode mode, double per_s,
    struct shape *shapes, struct plan_lane *plans, struct err *err)
{
	struct plan_request r = {
		.mode = mode, .start = b->r->now, .deadline = run->until, .account_per_s = per_s
	};
	int result = 1;

	for (size_t i = 0; i < run->lane_count; i++) {
		plans[i].shape = &shapes[i];
		plans[i].count = run->lanes[i].remaining;
		plans[i].least = weight_of(run, &run->lanes[i]);
		plans[i].cap_per_s = cap_share(b, run, &run->lanes[i]);
	}
	for (int days = 1; result == 1 && days <= PLAN_DAYS_MAX; days *= 2) {
		r.till = b->r->now + days * 24 * HOUR_US;
		for (size_t i = 0; i < run->lane_count; i++)
			if (shape_lane(b, run, &run->lanes[i], r.till, true, &shapes[i]) < 0)
				return err_set(err, "no memory");
		result = plan_make(&r, plans, run->lane_count, err);
	}
	return result;
}

/* As plan_lanes(), until the run's time; 1 when that is too early for its limits. */
static int
plan_spread(struct publishing *b, const struct pacer_run *run, double per_s, struct shape *shapes,
    struct plan_lane *plans)
{
	struct err err = { 0 };
	int result = plan_lanes(b, run, PLAN_WINDOW, per_s, shapes, plans, &err);

	if (result == 0)
		return 0;
	if (b->past->late_run != run->id)
		log_warn("run cannot be spread, it goes as fast as it may run=%d why=\"%s\"",
		    run->id, err.msg);
	b->past->late_run = run->id;
	return 1;
}

static int
put_run(struct publishing *b, const struct pacer_run *run, double per_s, struct err *err)
{
	struct shape *shapes = calloc(run->lane_count + 1, sizeof(*shapes));
	struct plan_lane *plans = calloc(run->lane_count + 1, sizeof(*plans));
	int result = shapes == NULL || plans == NULL ? err_set(err, "no memory") : 1;

	/* a single list has the run's share, and without a rate there is nothing to divide; urgent
	 * mail waits for its limits alone */
	if (result == 1 && is_spread(b, run))
		result = plan_spread(b, run, per_s, shapes, plans);
	if (result == 1 && per_s > 0 && run->lane_count > 1 && !is_urgent(b, run))
		result = plan_lanes(b, run, policy_mode(b->r->policy), per_s, shapes, plans, err);
	for (size_t i = 0; result >= 0 && i < run->lane_count; i++) {
		const struct pacer_lane *l = &run->lanes[i];
		double alone = run->lane_count > 1 ? cap_share(b, run, l) : per_s;

		if (result == 0)
			put_lane(b, run, l, plans[i].rows, plans[i].row_count);
		else if (put_lane_alone(b, run, l, is_urgent(b, run) ? 0 : alone, err) < 0)
			result = -1;
	}
	for (size_t i = 0; shapes != NULL && plans != NULL && i < run->lane_count; i++) {
		plan_lane_release(&plans[i]);
		shape_release(&shapes[i]);
	}
	free(shapes);
	free(plans);
	return result < 0 ? -1 : 0;
}

/* As put_divided(); what the quota leaves to the others may be less. */
static void
put_account(struct publishing *b)
{
	const struct brake *brake = account_brake(b);
	double urgent = b->pool.account_urgent, per_s = b->pool.account_per_s;
	double before = part_before(b->past, "a", "", urgent), most = b->pool.others_most;

	if (brake != NULL && brake->mode != BRAKE_RATE) { /* silence, but for a probe */
		put_limiter(b, "a", "", per_s, per_s, brake);
		put_limiter(b, URGENT_ACCOUNT, "", 0, 0, NULL);
		return;
	}
	if (per_s <= 0) {
		put_limiter(b, "a", "", most > CLOSED_PER_S ? most : 0, most, NULL);
		return;
	}
	most = fmin(per_s * (1 - urgent), most);
	put_limiter(b, "a", "", most > CLOSED_PER_S ? most : 0,
	    fmin(per_s * (1 - before), b->pool.others_most), NULL);
	if (urgent > 0 || before > 0)
		put_limiter(b, URGENT_ACCOUNT, "", per_s * urgent, per_s * before, NULL);
}

static bool
is_first_of_stream(const struct publishing *b, size_t run)
{
	for (size_t i = 0; i < run; i++)
		if (strcmp(b->r->runs[i].stream, b->r->runs[run].stream) == 0)
			return false;
	return true;
}

/* A group, or a large site, with its limit or what replies have left of it. */
static void
put_destination(struct publishing *b, const struct pacer_lane *l)
{
	struct admission_row row, held[ADMISSION_ROWS_MAX];
	const struct brake *brake = brake_of(b, l);
	double cap = cap_of(b, l), now = b->r->now;
	size_t n;

	if (brake == NULL || brake->mode != BRAKE_RATE || !is_soft(b, l)) {
		put_limiter(b, "g:", limiter_name(b, l), cap, cap, brake);
		if (brake != NULL && is_soft(b, l)) /* what a probe ends goes on behind the guard */
			note_rate(b, hash_name(POLICY_POOL, limiter_name(b, l)), 0);
		return;
	}
	buf_printf(&b->out->text, "g:%s", limiter_name(b, l));
	end_arg(b->out);
	buf_append_char(&b->out->text, '|');
	n = brake_rows(brake, cap, now - BACK_US, now + AHEAD_US, &row) > 0 ? 1 : 0;
	n = hold_rows(b, l->group, limiter_name(b, l), 0, &row, n, held);
	for (size_t i = 0; i < n; i++)
		put_row(b, held[i].from, held[i].till, held[i].interval);
	end_arg(b->out);
}

static void
put_limiters(struct publishing *b)
{
	if (b->pool.account_per_s > 0 || b->pool.others_most < INFINITY)
		put_account(b);
	/* what is named twice is written twice, the same */
	for (size_t i = 0; i < b->r->count; i++) {
		if (b->r->runs[i].per_s > 0 && is_first_of_stream(b, i))
			put_divided(b, "s:", URGENT_STREAM, b->r->runs[i].stream,
			    b->r->runs[i].per_s, b->share[i].urgent_part);
		for (size_t k = 0; k < b->r->runs[i].lane_count; k++) {
			const struct pacer_lane *l = &b->r->runs[i].lanes[k];
			const struct routes_way *way;

			if (cap_of(b, l) > 0 || brake_of(b, l) != NULL)
				put_destination(b, l);
			if ((way = way_of(b, l)) != NULL)
				put_limiter(
				    b, ROUTE_LIMITER, way->name, way->per_s, way->per_s, NULL);
		}
	}
}

/* ---- the whole ---- */

bool
pacer_run_is_active(const struct pacer_run *run)
{
	for (size_t i = 0; i < run->lane_count; i++)
		if (run->lanes[i].remaining > 0)
			return true;
	return false;
}

int
publication_make(struct publication *p, struct publication_past *past,
    const struct publication_request *r, struct err *err)
{
	struct publishing b = { .r = r, .past = past, .out = p };
	int result = 0;

	*p = (struct publication){ 0 };
	buf_init(&p->text, TEXT_MAX);
	b.share = calloc(r->count + 1, sizeof(*b.share));
	if (b.share == NULL || !divide(&b))
		result = err_set(err, "no memory");
	for (size_t i = 0; result == 0 && i < r->count; i++)
		result = put_run(&b, &r->runs[i], b.share[i].per_s, err);
	if (result == 0)
		put_limiters(&b);
	if (result == 0 && publication_failed(p))
		result = err_set(err, "no memory for the pace");
	free(b.share);
	if (result == 0) {
		if (b.rate_count > 0)
			qsort(b.rates, b.rate_count, sizeof(*b.rates), compare_rates);
		free(past->rates);
		past->rates = b.rates;
		past->rate_count = b.rate_count;
	} else {
		free(b.rates);
	}
	return result;
}

void
publication_past_release(struct publication_past *past)
{
	free(past->rates);
	past->rates = NULL;
	past->rate_count = 0;
}

void
publication_put(struct publication *p, const char *field, const char *value)
{
	buf_append_str(&p->text, field);
	end_arg(p);
	buf_append_str(&p->text, value);
	end_arg(p);
}

const char *
publication_arg(const struct publication *p, size_t i)
{
	return p->text.data + (i > 0 ? p->ends[i - 1] : 0);
}

bool
publication_failed(const struct publication *p)
{
	return p->failed || buf_failed(&p->text);
}

void
publication_release(struct publication *p)
{
	buf_release(&p->text);
	free(p->ends);
	*p = (struct publication){ 0 };
}
