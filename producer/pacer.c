/* SPDX-License-Identifier: Apache-2.0 */
/* pacer: see pacer.h. */
#include "pacer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "braker.h"
#include "buf.h"
#include "embed.h"
#include "keys.h"
#include "log.h"
#include "rate.h"
#include "rds.h"
#include "hash.h"

#define BACK_US 60e6 /* what was owed before counts on for so long */
#define AHEAD_US (PACER_AHEAD_S * 1e6)
#define FLOOR 0.002 /* of a run: what a lane counts at least, for its retries */
#define KNOWN (-1)
#define SETTLE_US 1e6 /* permits that were given may be leaving for so long */
#define PARTS_MAX 256
#define SPREAD_LEAST_US 10e6 /* the rest of a spread run leaves without spreading */
#define QUOTA_KEPT 20	     /* a twentieth of a quota is kept for urgent mail */
#define CLOSED_PER_S 1e-7    /* a rate that stands for none at all */
#define URGENT_ACCOUNT "au"
#define URGENT_STREAM "su:"
#define ARGS_MAX ((size_t)32 << 20)

/* The part of a limit that urgent runs had in the last publication. */
struct part {
	char name[72];
	double urgent;
};

struct pacer {
	const struct policy *policy;
	const struct braker *brakes; /* NULL: none */
	struct quota quota;	     /* as of quota_now */
	double quota_now;
	struct part parts[PARTS_MAX];
	size_t part_count;
	int late_run; /* that it cannot be spread was said of this one */
	uint64_t signature;
	long takeover_s;
	int64_t planned_ms; /* 0: never */
	int64_t refused_ms; /* since when; 0: not */
};

/* One publication. */
struct publication {
	struct pacer *p;
	double now;
	const struct pacer_run *runs;
	size_t count;
	struct share_run *share; /* of each run */
	struct share_pool pool;
	struct buf text;
	size_t *ends; /* of each argument in text */
	size_t args, room;
	bool failed;
};

struct pacer *
pacer_new(const struct policy *policy, const struct braker *brakes, long takeover_s)
{
	struct pacer *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->policy = policy;
	p->brakes = brakes;
	p->takeover_s = takeover_s;
	return p;
}

void
pacer_set_quota(struct pacer *p, const struct quota *quota, double now)
{
	p->quota = *quota;
	p->quota_now = now;
}

void
pacer_free(struct pacer *p)
{
	free(p);
}

static int64_t
now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool
is_active(const struct pacer_run *run)
{
	for (size_t i = 0; i < run->lane_count; i++)
		if (run->lanes[i].remaining > 0)
			return true;
	return false;
}

/* Changes when the plan must. */
static uint64_t
signature_of(const struct pacer *p, const struct pacer_run *runs, size_t count)
{
	uint64_t h = HASH_START + policy_version(p->policy);

	h = hash_step(h, p->brakes != NULL ? braker_version(p->brakes) : 0);
	for (size_t i = 0; i < count; i++) {
		uint64_t rate;

		memcpy(&rate, &runs[i].per_s, sizeof(rate));
		h = hash_step(h, (uint64_t)runs[i].id);
		h = hash_step(h, rate ^ rate >> 32);
		h = hash_step(h, is_active(&runs[i]));
		h = hash_step(h, runs[i].lane_count);
		h = hash_step(h, (uint64_t)runs[i].class + 4 * (uint64_t)runs[i].weight);
		h = hash_step(h, runs[i].reserve);
		h = hash_step(h, (uint64_t)(runs[i].until / 1e6));
		h = hash_step(h, (uint64_t)(runs[i].quiet_from * 1440 + runs[i].quiet_till));
	}
	return h;
}

/* ---- arguments of plan.lua ---- */

/* Ends the argument that was written into text. */
static void
end_arg(struct publication *b)
{
	if (b->args == b->room) {
		size_t room = b->room > 0 ? 2 * b->room : 256;
		size_t *ends = realloc(b->ends, room * sizeof(*ends));

		if (ends == NULL) {
			b->failed = true;
			return;
		}
		b->ends = ends;
		b->room = room;
	}
	buf_append_char(&b->text, '\0');
	b->ends[b->args++] = b->text.len;
}

static void
put_text(struct publication *b, const char *text)
{
	buf_append_str(&b->text, text);
	end_arg(b);
}

static void
put_row(struct publication *b, double from, double till, double interval)
{
	buf_printf(&b->text, "%.17g,%.17g,%.17g;", from, till, interval);
}

/* One rate, which was `before` until now. What grows waits until the permits of the others that
 * shrink have left. 0: closed. With a brake its rate is what `brake` leaves of it, 0: that of the
 * brake alone. */
static void
put_limiter(struct publication *b, const char *kind, const char *name, double per_s, double before,
    const struct brake *brake)
{
	double from = b->now - BACK_US, till = b->now + AHEAD_US;
	struct admission_row row;

	buf_printf(&b->text, "%s%s", kind, name);
	end_arg(b);
	buf_append_char(&b->text, '|');
	if (brake != NULL) {
		if (brake_rows(brake, per_s, from, till, &row) > 0)
			put_row(b, row.from, row.till, row.interval);
		end_arg(b);
		return;
	}
	if (per_s > before * (1 + 1e-9)) {
		if (before > 0)
			put_row(b, from, b->now + SETTLE_US, 1e6 / before);
		from = b->now + SETTLE_US;
	}
	if (per_s > 0)
		put_row(b, from, till, 1e6 / per_s);
	end_arg(b);
}

/* The urgent part of a limit in the last publication; the present one takes its place. */
static double
part_before(struct pacer *p, const char *kind, const char *name, double urgent)
{
	char full[sizeof(p->parts[0].name)];
	double before = urgent;
	size_t i;

	(void)snprintf(full, sizeof(full), "%s%s", kind, name);
	for (i = 0; i < p->part_count && strcmp(p->parts[i].name, full) != 0; i++)
		;
	if (i == p->part_count && i == PARTS_MAX)
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
put_divided(struct publication *b, const char *kind, const char *urgent_kind, const char *name,
    double per_s, double urgent)
{
	double before = part_before(b->p, kind, name, urgent);

	put_limiter(b, kind, name, per_s * (1 - urgent), per_s * (1 - before), NULL);
	if (urgent > 0 || before > 0)
		put_limiter(b, urgent_kind, name, per_s * urgent, per_s * before, NULL);
}

/* ---- shares of runs ---- */

/* What replies have made of our account; NULL: nothing. */
static const struct brake *
account_brake(const struct publication *b)
{
	return b->p->brakes != NULL ? braker_find(b->p->brakes, BRAKE_ACCOUNT) : NULL;
}

/* 0: no limit. While the account is silent the rate does not matter. */
static double
account_per_s(const struct publication *b)
{
	const struct brake *brake = account_brake(b);
	double limit = policy_account_per_s(b->p->policy);

	if (brake == NULL)
		return limit;
	if (brake->mode == BRAKE_RATE)
		return limit > 0 ? fmin(limit, brake->rate) : brake->rate;
	return limit > 0 ? limit : 1;
}

static bool
is_urgent(const struct publication *b, const struct pacer_run *run)
{
	return b->share[run - b->runs].class == SHARE_URGENT;
}

static bool
is_spread(const struct publication *b, const struct pacer_run *run)
{
	return run->until > b->now + SPREAD_LEAST_US && !is_urgent(b, run);
}

static bool
divide(struct publication *b)
{
	double part = policy_urgent_part(b->p->policy), messages = 0;

	b->pool = (struct share_pool){ .account_per_s = account_per_s(b),
		.part = part,
		.reserve = part > 0 && policy_urgent_in_use(b->p->policy) };
	for (size_t i = 0; i < b->count; i++) {
		const struct pacer_run *run = &b->runs[i];

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
			    2 * fmax(b->share[i].backlog, 1) / (run->until - b->now) * 1e6;
		if (b->share[i].class != SHARE_URGENT)
			messages += b->share[i].backlog;
	}
	b->pool.others_most =
	    fmax(quota_pace(&b->p->quota, messages,
		     b->pool.reserve ? b->p->quota.limit / QUOTA_KEPT : 0, b->p->quota_now),
		CLOSED_PER_S);
	return share_out(&b->pool, b->share, b->count);
}

/* ---- lanes of a run ---- */

static bool
same_limiter(const struct publication *b, const struct pacer_lane *x, const struct pacer_lane *y)
{
	int unknown = providers_find(policy_providers(b->p->policy), SLICE(POLICY_DEFAULT));

	return x->group == y->group && (x->group != unknown || strcmp(x->name, y->name) == 0);
}

/* Lanes of a group may be several, by time zone: they share its limit. */
static const char *
limiter_name(const struct publication *b, const struct pacer_lane *l)
{
	const struct providers *table = policy_providers(b->p->policy);

	return l->group == providers_find(table, SLICE(POLICY_DEFAULT))
	    ? l->name
	    : providers_group(table, l->group)->name;
}

/* Tail lanes hold many sites: the rate of one of them is no limit for all. */
static double
cap_of(const struct publication *b, const struct pacer_lane *l)
{
	int unknown = providers_find(policy_providers(b->p->policy), SLICE(POLICY_DEFAULT));

	if (l->group == PROVIDERS_NONE ||
	    (l->group == unknown && strncmp(l->name, "tail-", 5) == 0))
		return 0;
	return policy_cap_per_s(b->p->policy, l->group);
}

/* What replies have made of it; NULL: nothing. */
static const struct brake *
brake_of(const struct publication *b, const struct pacer_lane *l)
{
	return b->p->brakes != NULL && l->group != PROVIDERS_NONE
	    ? braker_find(b->p->brakes, limiter_name(b, l))
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
cap_share(const struct publication *b, const struct pacer_run *run, const struct pacer_lane *l)
{
	double cap = cap_of(b, l), all = 0;

	if (cap <= 0)
		return 0;
	for (size_t i = 0; i < b->count; i++)
		for (size_t k = 0; k < b->runs[i].lane_count; k++)
			if (same_limiter(b, &b->runs[i].lanes[k], l))
				all += weight_of(&b->runs[i], &b->runs[i].lanes[k]);
	return cap * weight_of(run, l) / all;
}

/* Closed in the quiet hours of the lane's zone; without steps ramps are closed, too. */
static int
keep_quiet(const struct publication *b, const struct pacer_run *run, const struct pacer_lane *l,
    double till, bool steps, struct shape *out)
{
	struct shape day = { 0 }, both = { 0 };

	shape_day(&day, l->zone, run->quiet_till, run->quiet_from, b->now, till);
	shape_multiply(&both, out, &day);
	for (size_t i = 0; !steps && i < both.count; i++)
		if (both.pieces[i].open < 1)
			both.pieces[i].open = 0;
	shape_release(&day);
	shape_release(out);
	*out = both;
	return out->failed ? -1 : 0;
}

static int
shape_lane(const struct publication *b, const struct pacer_run *run, const struct pacer_lane *l,
    double till, bool steps, struct shape *out)
{
	bool quiet = l->zone != NULL && run->quiet_from != run->quiet_till && !is_urgent(b, run);

	out->count = 0;
	if (l->group == PROVIDERS_NONE || is_urgent(b, run))
		shape_add(out, b->now, till, 1);
	else if (policy_shape(b->p->policy, l->group, run->began, b->now, till, steps, out) < 0)
		return -1;
	if (out->failed)
		return -1;
	return quiet ? keep_quiet(b, run, l, till, steps, out) : 0;
}

/* "LIMITERS|rows" of a lane. */
static void
put_lane(struct publication *b, const struct pacer_run *run, const struct pacer_lane *l,
    const struct admission_row *rows, size_t count)
{
	const char *comma = "";
	double end = b->now + AHEAD_US;

	buf_printf(&b->text, KEY_LANE_NAME, run->id, l->lane);
	end_arg(b);
	if (is_urgent(b, run))
		buf_append_str(&b->text, b->pool.account_per_s > 0 ? "!" URGENT_ACCOUNT "," : "!");
	if (run->per_s > 0) {
		buf_printf(&b->text, "%s%s", is_urgent(b, run) ? URGENT_STREAM : "s:", run->stream);
		comma = ",";
	}
	if (cap_of(b, l) > 0 || brake_of(b, l) != NULL)
		buf_printf(&b->text, "%sg:%s", comma, limiter_name(b, l));
	buf_append_char(&b->text, '|');
	for (size_t i = 0; i < count && i < ADMISSION_ROWS_MAX && rows[i].from < end; i++)
		put_row(b, rows[i].from <= b->now ? b->now - BACK_US : rows[i].from,
		    fmin(rows[i].till, end), rows[i].interval);
	end_arg(b);
}

/* Each lane by itself: as fast as its own limit lets it, or without any. */
static int
put_lane_alone(struct publication *b, const struct pacer_run *run, const struct pacer_lane *l,
    double per_s, struct err *err)
{
	struct admission_row rows[ADMISSION_ROWS_MAX];
	struct shape shape = { 0 };
	size_t n;

	if (shape_lane(b, run, l, b->now + AHEAD_US, per_s > 0, &shape) < 0) {
		shape_release(&shape);
		return err_set(err, "no memory");
	}
	n = shape_rows(&shape, per_s > 0 ? per_s : RATE_MAX, b->now, b->now + AHEAD_US, rows,
	    ADMISSION_ROWS_MAX);
	put_lane(b, run, l, rows, n);
	shape_release(&shape);
	return 0;
}

/* plan_make() over as many days as it takes. 0; 1: it takes too long; -1 with err. */
static int
plan_lanes(struct publication *b, const struct pacer_run *run, enum plan_mode mode, double per_s,
    struct shape *shapes, struct plan_lane *plans, struct err *err)
{
	struct plan_request r = {
		.mode = mode, .start = b->now, .deadline = run->until, .account_per_s = per_s
	};
	int result = 1;

	for (size_t i = 0; i < run->lane_count; i++) {
		plans[i].shape = &shapes[i];
		plans[i].count = weight_of(run, &run->lanes[i]);
		plans[i].cap_per_s = cap_share(b, run, &run->lanes[i]);
	}
	for (int days = 1; result == 1 && days <= PLAN_DAYS_MAX; days *= 2) {
		r.till = b->now + days * 24 * HOUR_US;
		for (size_t i = 0; i < run->lane_count; i++)
			if (shape_lane(b, run, &run->lanes[i], r.till, true, &shapes[i]) < 0)
				return err_set(err, "no memory");
		result = plan_make(&r, plans, run->lane_count, err);
	}
	return result;
}

/* As plan_lanes(), until the run's time; 1 when that is too early for its limits. */
static int
plan_spread(struct publication *b, const struct pacer_run *run, double per_s, struct shape *shapes,
    struct plan_lane *plans)
{
	struct err err = { 0 };
	int result = plan_lanes(b, run, PLAN_WINDOW, per_s, shapes, plans, &err);

	if (result == 0)
		return 0;
	if (b->p->late_run != run->id)
		log_warn("run cannot be spread, it goes as fast as it may run=%d why=\"%s\"",
		    run->id, err.msg);
	b->p->late_run = run->id;
	return 1;
}

static int
put_run(struct publication *b, const struct pacer_run *run, double per_s, struct err *err)
{
	struct shape *shapes = calloc(run->lane_count + 1, sizeof(*shapes));
	struct plan_lane *plans = calloc(run->lane_count + 1, sizeof(*plans));
	int result = shapes == NULL || plans == NULL ? err_set(err, "no memory") : 1;

	/* a single list has the run's share, and without a rate there is nothing to divide; urgent
	 * mail waits for its limits alone */
	if (result == 1 && is_spread(b, run))
		result = plan_spread(b, run, per_s, shapes, plans);
	if (result == 1 && per_s > 0 && run->lane_count > 1 && !is_urgent(b, run))
		result = plan_lanes(b, run, policy_mode(b->p->policy), per_s, shapes, plans, err);
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
put_account(struct publication *b)
{
	const struct brake *brake = account_brake(b);
	double urgent = b->pool.account_urgent, per_s = b->pool.account_per_s;
	double before = part_before(b->p, "a", "", urgent), most = b->pool.others_most;

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
is_first_of_stream(const struct publication *b, size_t run)
{
	for (size_t i = 0; i < run; i++)
		if (strcmp(b->runs[i].stream, b->runs[run].stream) == 0)
			return false;
	return true;
}

static void
put_limiters(struct publication *b)
{
	if (b->pool.account_per_s > 0 || b->pool.others_most < INFINITY)
		put_account(b);
	/* a group that is named twice is written twice, the same */
	for (size_t i = 0; i < b->count; i++) {
		if (b->runs[i].per_s > 0 && is_first_of_stream(b, i))
			put_divided(b, "s:", URGENT_STREAM, b->runs[i].stream, b->runs[i].per_s,
			    b->share[i].urgent_part);
		for (size_t k = 0; k < b->runs[i].lane_count; k++) {
			const struct pacer_lane *l = &b->runs[i].lanes[k];
			const struct brake *brake = brake_of(b, l);

			if (cap_of(b, l) > 0 || brake != NULL)
				put_limiter(
				    b, "g:", limiter_name(b, l), cap_of(b, l), cap_of(b, l), brake);
		}
	}
}

/* ---- Redis ---- */

static int
redis_failed(redisContext *redis, const redisReply *reply, const char *doing, struct err *err)
{
	return err_set(err, "%s: %s", doing,
	    reply != NULL && reply->type == REDIS_REPLY_ERROR ? reply->str : redis->errstr);
}

static int
compare_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Fields that this plan does not have any more are given an empty calendar. */
static int
put_stale(struct publication *b, redisContext *redis, struct err *err)
{
	redisReply *reply = redisCommand(redis, "HKEYS " KEY_PACE, POLICY_POOL);
	size_t fields = b->args / 2;
	const char **known = calloc(fields + 1, sizeof(*known));
	int result = 0;

	if (reply == NULL || reply->type != REDIS_REPLY_ARRAY)
		result = redis_failed(redis, reply, "reading the pace", err);
	else if (known == NULL)
		result = err_set(err, "no memory");
	for (size_t i = 0; result == 0 && i < fields; i++)
		known[i] = b->text.data + (i > 0 ? b->ends[2 * i - 1] : 0);
	if (result == 0)
		qsort(known, fields, sizeof(*known), compare_text);
	/* in two turns, since adding moves the text that `known` points into */
	for (size_t i = 0; result == 0 && i < reply->elements; i++) {
		const char *field = reply->element[i]->str;

		if (field == NULL || strcmp(field, "#") == 0 ||
		    bsearch(&field, known, fields, sizeof(*known), compare_text) != NULL)
			reply->element[i]->integer = KNOWN;
	}
	for (size_t i = 0; result == 0 && i < reply->elements; i++) {
		if (reply->element[i]->integer == KNOWN)
			continue;
		put_text(b, reply->element[i]->str);
		put_text(b, "");
	}
	free(known);
	freeReplyObject(reply);
	return result;
}

/* 1 when it is published, 0 when a newer generation has been. */
static int
publish(struct publication *b, redisContext *redis, int64_t generation, struct err *err)
{
	char pace[KEY_MAX], next[KEY_MAX], number[24];
	const char *head[] = { "EVAL", embed_common_lua_plan_lua, "2", pace, next, number, "-" };
	size_t fixed = sizeof(head) / sizeof(head[0]);
	const char **argv = calloc(fixed + b->args, sizeof(*argv));
	redisReply *reply = NULL;
	int result = -1;

	(void)snprintf(pace, sizeof(pace), KEY_PACE, POLICY_POOL);
	(void)snprintf(next, sizeof(next), KEY_NEXT, POLICY_POOL);
	(void)snprintf(number, sizeof(number), "%lld", (long long)generation);
	if (argv == NULL)
		return err_set(err, "no memory");
	memcpy(argv, head, sizeof(head));
	for (size_t i = 0; i < b->args; i++)
		argv[fixed + i] = b->text.data + (i > 0 ? b->ends[i - 1] : 0);
	reply = redisCommandArgv(redis, (int)(fixed + b->args), argv, NULL);
	if (reply == NULL || reply->type != REDIS_REPLY_INTEGER)
		result = redis_failed(redis, reply, "publishing the pace", err);
	else
		result = reply->integer == 1;
	freeReplyObject(reply);
	free(argv);
	return result;
}

/* While we hold the lease nobody can have a higher epoch, unless he read it in another database:
 * one that lost commits, or that uses this Redis as well. */
static int
yield(struct pacer *p, redisContext *redis, struct err *err)
{
	redisReply *reply;

	if (p->refused_ms == 0) {
		log_warn(
		    "a calendar of a newer producer is there; waiting %ld s for it", p->takeover_s);
		p->refused_ms = now_ms();
	}
	p->planned_ms = 0;
	if (now_ms() - p->refused_ms < p->takeover_s * 1000)
		return 0;
	log_error("the calendar in Redis is of a producer that our database does not know; taking "
		  "over. If another installation uses this Redis, give it a database of its own");
	p->refused_ms = 0;
	reply = redisCommand(redis, "HDEL " KEY_PACE " #", POLICY_POOL);
	if (reply == NULL)
		return redis_failed(redis, reply, "taking over the pace", err);
	freeReplyObject(reply);
	return 0;
}

static int
plan_and_publish(struct pacer *p, redisContext *redis, int64_t generation,
    const struct pacer_run *runs, size_t count, struct err *err)
{
	struct publication b = { .p = p, .runs = runs, .count = count };
	int result;

	buf_init(&b.text, ARGS_MAX);
	b.share = calloc(count + 1, sizeof(*b.share));
	result = b.share == NULL ? err_set(err, "no memory") : rds_time(redis, &b.now, err);
	if (result == 0 && !divide(&b))
		result = err_set(err, "no memory");
	for (size_t i = 0; result == 0 && i < count; i++)
		result = put_run(&b, &runs[i], b.share[i].per_s, err);
	if (result == 0) {
		put_limiters(&b);
		result = put_stale(&b, redis, err);
	}
	if (result == 0 && (b.failed || buf_failed(&b.text)))
		result = err_set(err, "no memory for the pace");
	if (result == 0)
		result = publish(&b, redis, generation, err);
	buf_release(&b.text);
	free(b.ends);
	free(b.share);
	if (result == 0)
		return yield(p, redis, err);
	if (result < 0)
		return -1;
	p->refused_ms = 0;
	p->planned_ms = now_ms();
	return 0;
}

int
pacer_round(struct pacer *p, redisContext *redis, int64_t generation, const struct pacer_run *runs,
    size_t count, struct err *err)
{
	uint64_t signature = signature_of(p, runs, count);
	redisReply *reply;
	bool there;

	if (count == 0)
		return 0;
	reply = redisCommand(redis, "EXISTS " KEY_PACE, POLICY_POOL);
	if (reply == NULL || reply->type != REDIS_REPLY_INTEGER) {
		int result = redis_failed(redis, reply, "looking at the pace", err);

		freeReplyObject(reply);
		return result;
	}
	there = reply->integer == 1;
	freeReplyObject(reply);
	if (there && signature == p->signature && p->planned_ms != 0 &&
	    now_ms() - p->planned_ms < PACER_EVERY_MS)
		return 0;
	p->signature = signature;
	return plan_and_publish(p, redis, generation, runs, count, err);
}
