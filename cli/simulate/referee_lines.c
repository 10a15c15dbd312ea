/* SPDX-License-Identifier: Apache-2.0 */
/* referee_lines: see referee_parts.h. Rules 6, 7, 8 and 20: how even it is, and what that costs. */
#include "referee_parts.h"

#include <math.h>
#include <stdlib.h>

#include "admission.h"
#include "calendar.h"
#include "hash.h"
#include "plan.h"
#include "rate.h"

#define OFF_LINE 1	/* message, */
#define OFF_LINE_S 0.02 /* as many as leave in it, or until the account's next moment, */
#define OFF_LINE_PART                                                                              \
	1e-3 /* and of all since: a rate that is a small multiple of another's locks on to it */
#define FULL 0.98	    /* of a limit: whoever shares it waits for others */
#define CHANGED 0.02	    /* of a rate */
#define PLAN_GAP_US 90e6    /* a planner that was away */
#define CALLS_PER_S 2	    /* of a dispatcher; */
#define CALLS_BLIND_PER_S 4 /* where no calendar is known yet; */
#define CALLS_PART 0.05	    /* and of the messages */
/* Who waited makes up for a minute of it by what plans leave of the account. */
#define CATCH_UP_US (ADMISSION_HORIZON_MAX_US + ADMISSION_LAG_US / (1 - PLAN_FILL))

/* ---- 6, 7: around the hour ---- */

/* Which runs and destinations have first tries left. */
static uint64_t
who(void *ctx)
{
	const struct referee *f = ctx;
	uint64_t h = HASH_START;

	for (size_t i = 0; i < f->t.runs; i++)
		if (f->t.run[i].class != SHARE_URGENT)
			h = hash_step(h, f->t.waiting[i] > 0);
	for (size_t i = 0; i < f->t.destinations; i++)
		h = hash_step(h, f->t.waiting_at[i] > 0);
	return h;
}

static void
judge(void *ctx, const struct evenness_finding *x)
{
	struct referee *f = ctx;

	referee_check(f, x->closes ? 6 : 7, x->got <= x->most,
	    "%s: %.0f in the minute before second %.0f, more than %.1f",
	    f->t.destination[x->destination].name, x->got, referee_at_s(f, x->at), x->most);
}

static int
begin_evenness(struct referee *f)
{
	struct evenness_terms t = { .count = f->t.destinations,
		.start = f->t.start,
		.who = who,
		.judge = judge,
		.ctx = f };

	f->evenly = calloc(f->t.destinations + 1, sizeof(*f->evenly));
	if (f->evenly == NULL)
		return -1;
	for (size_t i = 0; i < f->t.destinations; i++) {
		const struct referee_destination *d = &f->t.destination[i];

		f->evenly[i] = (struct evenness_destination){
			.closes = d->guard == GUARD_STRICT, .zone = d->zone, .lanes = d->lanes
		};
	}
	t.destinations = f->evenly;
	f->evenness = evenness_new(&t);
	return f->evenness != NULL ? 0 : -1;
}

/* ---- 8: lines ---- */

static void
pause_line(struct referee *f, size_t list, double till)
{
	planned_line_pause(&f->lists[list].line, till);
}

void
lines_disturb(struct referee *f, size_t destination, double now)
{
	for (size_t i = 0; i < f->list_count; i++)
		if (destination == REFEREE_ANY || f->lists[i].destination == destination ||
		    f->lists[i].destination == REFEREE_ANY)
			pause_line(f, i, now + CATCH_UP_US);
	if (f->evenness != NULL)
		evenness_disturb(f->evenness, now);
}

void
referee_unused(struct referee *f, size_t list, double now)
{
	pause_line(f, list, now + CATCH_UP_US);
}

void
referee_forget(struct referee *f, double now)
{
	for (size_t i = 0; i < f->list_count; i++)
		pause_line(f, i, now + ADMISSION_HORIZON_MAX_US);
}

static void
set_line(struct referee *f, size_t list, const struct admission_row *rows, size_t count, double now)
{
	if (planned_line_set(&f->lists[list].line, rows, count, now) < 0)
		referee_check(f, 8, false, "no memory for a line");
}

void
referee_calendar(struct referee *f, size_t list, size_t destination,
    const struct admission_row *rows, size_t count, double now)
{
	struct list *l = &f->lists[list];
	double before = planned_line_rate(&l->line, now), after;

	l->named = true;
	l->destination = destination;
	l->planned = 0;
	for (size_t i = 0; i < count && rows[i].from < now + MINUTE_US; i++)
		if (rows[i].till > now)
			l->planned = fmax(l->planned, S_US / rows[i].interval);
	set_line(f, list, rows, count, now);
	after = planned_line_rate(&l->line, now);
	/* what was reserved leaves at the rate of before */
	if (before > 0 && fabs(after - before) > CHANGED * before)
		pause_line(f, list, now + CATCH_UP_US);
}

static bool
is_limited(const struct referee *f, const struct list *l, double all)
{
	double account = f->t.account_per_s * (1 - f->t.urgent_part);
	double cap = l->destination != REFEREE_ANY ? f->t.destination[l->destination].cap_per_s : 0;

	return l->planned >= RATE_MAX / 2 || (account > 0 && all > FULL * account) ||
	    (cap > 0 && f->destinations[l->destination].planned > FULL * cap);
}

void
lines_publish(struct referee *f, double now)
{
	double all = 0;

	if (now - f->published_at > PLAN_GAP_US)
		lines_disturb(f, REFEREE_ANY, now);
	for (size_t i = 0; i < f->t.destinations; i++)
		f->destinations[i].planned = 0;
	for (size_t i = 0; i < f->list_count; i++) {
		struct list *l = &f->lists[i];

		if (!l->named) { /* it has no calendar any more */
			l->planned = 0;
			set_line(f, i, NULL, 0, now);
			pause_line(f, i, now);
		}
		all += l->planned;
		if (l->destination != REFEREE_ANY)
			f->destinations[l->destination].planned += l->planned;
	}
	for (size_t i = 0; i < f->list_count; i++) {
		f->lists[i].named = false;
		if (is_limited(f, &f->lists[i], all))
			pause_line(f, i, now + CATCH_UP_US);
	}
}

/* A list of one lane has its line; of several each has its share of it, as long as none tries again. */
static void
note_lane(struct referee *f, const struct referee_leave *l, const struct planned_line_place *p)
{
	struct list *list = &f->lists[l->list];
	struct lane_line *x = &f->lanes[l->lane];
	double line = l->share * (p->since + p->off);

	list->retries += l->is_retry;
	if (l->share >= 1) {
		x->worst = fmax(x->worst, fabs(p->off));
	} else if (x->draws != list->line.draws || x->retries != list->retries) {
		x->draws = list->line.draws;
		x->retries = list->retries;
		x->base = line;
		x->taken = 0;
	} else {
		x->taken++;
		x->worst = fmax(x->worst, fabs(line - x->base - x->taken));
	}
}

double
referee_line_rate(const struct referee *f, size_t list, double at)
{
	return planned_line_rate(&f->lists[list].line, at);
}

double
referee_deviation(const struct referee *f, size_t lane)
{
	return f->lanes[lane].worst;
}

static void
check_line(struct referee *f, const struct referee_leave *l)
{
	double account = f->t.account_per_s * (1 - f->t.urgent_part);
	double turn_s = fmax(OFF_LINE_S, account > 0 ? 1 / account : 0);
	struct planned_line_place p;

	if (!f->t.lines || !planned_line_take(&f->lists[l->list].line, l->permit, &p))
		return;
	note_lane(f, l, &p);
	referee_check(f, 8, fabs(p.off) <= OFF_LINE + turn_s * p.per_s + OFF_LINE_PART * p.since,
	    "%s: %.2f messages off its line at %.3f/s, at second %.1f",
	    f->t.destination[l->destination].name, p.off, p.per_s, referee_at_s(f, l->permit));
}

void
lines_leave(struct referee *f, const struct referee_leave *l)
{
	if (f->t.run[l->run].class == SHARE_URGENT)
		return;
	check_line(f, l);
	if (f->evenness == NULL)
		return;
	if (l->is_retry) /* those that were put off come together */
		evenness_disturb(f->evenness, l->now);
	evenness_leave(f->evenness, l->destination, l->now);
}

/* ---- 20: calls ---- */

static void
end_minute(struct referee *f, double now)
{
	double each = f->published_at > f->calls_at - MINUTE_US ? CALLS_PER_S : CALLS_BLIND_PER_S;
	double most = each * (now - f->calls_at) / S_US * (double)f->t.dispatchers +
	    CALLS_PART * (double)f->permits;

	referee_check(f, 20, (double)f->calls <= most,
	    "%llu calls of admission for %llu permits in the minute before second %.0f, more than "
	    "%.0f",
	    (unsigned long long)f->calls, (unsigned long long)f->permits, referee_at_s(f, now),
	    most);
	f->calls = f->permits = 0;
	f->calls_at = now;
}

void
referee_call(struct referee *f, size_t permits, double now)
{
	if (now >= f->calls_at + MINUTE_US)
		end_minute(f, now);
	f->calls++;
	f->permits += permits;
}

/* ---- beginning and end ---- */

int
lines_begin(struct referee *f)
{
	f->calls_at = f->t.start;
	for (size_t i = 0; i < f->list_count; i++)
		f->lists[i].destination = REFEREE_ANY;
	f->lanes = calloc(f->t.lanes + 1, sizeof(*f->lanes));
	if (f->lanes == NULL)
		return -1;
	for (size_t i = 0; i < f->t.lanes; i++)
		f->lanes[i].worst = -1;
	return f->t.even ? begin_evenness(f) : 0;
}

void
lines_release(struct referee *f)
{
	for (size_t i = 0; f->lists != NULL && i < f->list_count; i++)
		planned_line_release(&f->lists[i].line);
	evenness_free(f->evenness);
	free(f->evenly);
	free(f->lanes);
}
