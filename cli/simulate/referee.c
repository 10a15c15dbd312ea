/* SPDX-License-Identifier: Apache-2.0 */
/* referee: see referee.h. */
#include "referee.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admission.h"
#include "calendar.h"
#include "referee_parts.h"
#include "zone.h"

#define ROUNDING_US 0.01
#define DAY_MINUTES 1440
#define STRICT_US (4 * MINUTE_US)
#define SILENCE_US (15 * MINUTE_US + ADMISSION_HORIZON_MAX_US)
#define FEEDBACK_US 2e6 /* from a reply to its effect */
#define HOLD_US 1e6
#define LOOK_S 30 /* rates before and behind a cut */
#define NOISE_US 300e6
#define CUT_LEFT 0.85 /* of a rate behind a cut of 0.7, measured */
#define CUT_SPARE 3   /* messages */
#define CUT_EVERY_US 60e6
#define ACCOUNT_CUT_EVERY_US 10e6
#define HOLD_SPREAD 0.8 /* the shortest of what was asked for */
#define HOLD_STANDARD_S 1800
#define HOLD_LONGEST_S (12 * 3600)
#define PROBE_EVERY_US 119e6
#define BLOCK 1000 /* messages over which shares hold */
#define SHARE_OFF 0.02
#define BULK_WINDOW_US (10 * MINUTE_US)
#define URGENT_MOST 0.5
#define RETRY_PART 0.2
#define RETRY_FREE 10
#define GRACE_US 60e6
#define FIRST_HOUR_SPARE 0.05
#define FORECAST_OFF 0.05

static const char *const names[REFEREE_RULES + 1] = { "", "each recipient ends once",
	"no window above a limit", "connections and messages within their limits",
	"no day above the quota", "nothing for strict groups around the hour",
	"no rush behind the guard", "open lanes do not rise while others are closed",
	"every lane near its line", "the order of the input changes nothing",
	"urgent mail waits for nobody", "shares by weight", "warm-up within its day",
	"a complaint about the rate slows down", "a hold is silent, then one probe",
	"retries keep budget and time", "no calendar, no mail", "the forecast holds",
	"both backends grant the same", "memory", "no polling",
	"nobody behind a canary that has not fared well" };

const char *
referee_rule_name(int number)
{
	return names[number];
}

static struct referee_rule *
rule_of(struct referee *f, int number)
{
	return &f->rules[number - 1];
}

const struct referee_rule *
referee_rule(const struct referee *f, int number)
{
	return &f->rules[number - 1];
}

void
referee_check(struct referee *f, int number, bool good, const char *format, ...)
{
	struct referee_rule *r = rule_of(f, number);
	va_list args;

	r->checked++;
	if (good || r->broken++ > 0)
		return;
	va_start(args, format);
	(void)vsnprintf(r->first, sizeof(r->first), format, args);
	va_end(args);
}

double
referee_at_s(const struct referee *f, double at)
{
	return (at - f->t.start) / S_US;
}

/* Minutes up to a time; the oldest ones leave. */
static void
roll_day(struct referee *f, double at)
{
	int64_t minute = (int64_t)floor(at / MINUTE_US);

	if (f->minute == 0)
		f->minute = minute;
	for (; f->minute < minute; f->minute++) {
		uint32_t *next = &f->minutes[(f->minute + 1) % (DAY_MINUTES + 1)];

		f->day_sum -= *next; /* of the same minute a day and a minute ago */
		*next = 0;
	}
}

struct referee *
referee_new(const struct referee_terms *t, size_t lists)
{
	struct referee *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return NULL;
	f->t = *t;
	f->destinations = calloc(t->destinations + 1, sizeof(*f->destinations));
	f->open = calloc(t->destinations + 1, sizeof(*f->open));
	f->ended = calloc((size_t)t->recipients + 1, 1);
	f->lists = calloc(lists + 1, sizeof(*f->lists));
	f->list_count = lists;
	f->minutes = calloc(DAY_MINUTES + 2, sizeof(*f->minutes));
	f->block = calloc(t->runs + 1, sizeof(*f->block));
	if (f->destinations == NULL || f->open == NULL || f->ended == NULL || f->lists == NULL ||
	    f->minutes == NULL || f->block == NULL || lines_begin(f) < 0 || canary_begin(f) < 0) {
		referee_free(f);
		return NULL;
	}
	f->published_at = t->start;
	f->block_good = f->bulk_good = true;
	f->bulk_at = t->start;
	f->warmup_at = -1;
	roll_day(f, t->start);
	f->minutes[f->minute % (DAY_MINUTES + 1)] = (uint32_t)t->quota_used;
	f->day_sum = t->quota_used;
	for (size_t i = 0; i < t->destinations; i++)
		f->destinations[i].limit = -1;
	return f;
}

void
referee_free(struct referee *f)
{
	if (f == NULL)
		return;
	lines_release(f);
	canary_release(f);
	free(f->destinations);
	free(f->open);
	free(f->ended);
	free(f->lists);
	free(f->minutes);
	free(f->block);
	free(f->waits);
	free(f);
}

/* ---- 12: warm-up ---- */

static void
end_warmup_day(struct referee *f)
{
	double part = fmin(1, HOUR_US / (f->t.active_s * S_US)) + FIRST_HOUR_SPARE;

	if (f->warmup_at < 0 || f->warmup_day < BLOCK / 10)
		return;
	/* a whole day's limit was there to be spread */
	referee_check(f, 12, (double)f->warmup_hour <= part * (double)f->t.warmup + 1,
	    "%llu of a day's %llu left in its first hour", (unsigned long long)f->warmup_hour,
	    (unsigned long long)f->t.warmup);
}

void
referee_warmup(struct referee *f, uint64_t limit, double now)
{
	end_warmup_day(f);
	f->t.warmup = limit;
	f->warmup_at = limit > 0 ? now : -1;
	f->warmup_hour = f->warmup_day = 0;
}

/* ---- 4, 12: days ---- */

static void
count_day(struct referee *f, double at)
{
	roll_day(f, at);
	f->minutes[f->minute % (DAY_MINUTES + 1)]++;
	f->day_sum++;
	if (f->t.quota > 0)
		referee_check(f, 4, f->day_sum <= f->t.quota,
		    "%llu in the 24 hours before second %.0f, above %llu",
		    (unsigned long long)f->day_sum, referee_at_s(f, at),
		    (unsigned long long)f->t.quota);
	if (f->warmup_at < 0)
		return;
	f->warmup_day++;
	f->warmup_hour += at < f->warmup_at + HOUR_US;
	referee_check(f, 12, f->day_sum <= f->t.warmup,
	    "%llu in the 24 hours before second %.0f, above the warm-up's %llu",
	    (unsigned long long)f->day_sum, referee_at_s(f, at), (unsigned long long)f->t.warmup);
}

/* ---- 2, 5, 16: limits and hours ---- */

/* At most W x rate + 1 + spare in every window W. */
static bool
keeps_rate(double *tat, double at, double per_s, double spare)
{
	bool good = at >= *tat - spare * S_US / per_s - ROUNDING_US;

	*tat = fmax(*tat, at) + S_US / per_s;
	return good;
}

static void
check_limits(struct referee *f, const struct referee_leave *l)
{
	const struct referee_destination *d = &f->t.destination[l->destination];

	/* with an urgent part there are two clocks for one limit */
	if (f->t.account_per_s > 0)
		referee_check(f, 2,
		    keeps_rate(&f->tat, l->permit, f->t.account_per_s, f->t.urgent_part > 0),
		    "account: too early at second %.3f", referee_at_s(f, l->permit));
	if (d->cap_per_s > 0)
		referee_check(f, 2,
		    keeps_rate(&f->destinations[l->destination].tat, l->permit, d->cap_per_s, 0),
		    "%s: too early at second %.3f", d->name, referee_at_s(f, l->permit));
}

/* us between a time and the nearest full hour of a zone. */
static double
from_hour(const struct zone *zone, double at)
{
	int64_t time = (int64_t)floor(at / S_US) + ADMISSION_EPOCH_S;
	double local = at + (double)zone_offset(zone, time) * S_US;
	double past = local - floor(local / HOUR_US) * HOUR_US;

	return fmin(past, HOUR_US - past);
}

static void
check_hour(struct referee *f, size_t destination, bool urgent, double at, const char *what)
{
	const struct referee_destination *d = &f->t.destination[destination];

	if (d->guard == GUARD_STRICT && !urgent)
		referee_check(f, 5, from_hour(d->zone, at) >= STRICT_US,
		    "%s: a %s %.0f s from the hour, at second %.0f", d->name, what,
		    from_hour(d->zone, at) / S_US, referee_at_s(f, at));
}

void
referee_publish(struct referee *f, double now)
{
	lines_publish(f, now);
	f->published_at = now;
}

/* ---- 13, 14: replies ---- */

static void
count_second(struct destination *d, double at)
{
	int64_t second = (int64_t)floor(at / S_US);

	if (d->first_at <= 0)
		d->first_at = at;
	if (second - d->second >= RING_S || d->second == 0) {
		memset(d->ring, 0, sizeof(d->ring));
		d->second = second;
	}
	for (; d->second < second; d->second++)
		d->ring[(d->second + 1) % RING_S] = 0;
	if (d->second - second < RING_S)
		d->ring[second % RING_S]++;
}

/* Leaves of the seconds before a time. */
static uint64_t
seen_before(const struct destination *d, double at, int seconds)
{
	int64_t second = (int64_t)floor(at / S_US);
	uint64_t n = 0;

	for (int64_t s = second - seconds; s < second; s++)
		if (s <= d->second && s > d->second - RING_S && s > 0)
			n += d->ring[s % RING_S];
	return n;
}

/* The second of its kind within a while, or one that counts by itself. */
static bool
is_meant(struct destination *d, const struct provider_verdict *v, double now)
{
	double before = d->heard_at[v->reaction];

	d->heard_at[v->reaction] = now;
	return v->at_once || (before > 0 && now - before <= NOISE_US);
}

static void
expect_cut(struct referee *f, struct destination *d, bool is_account, double now)
{
	double every = is_account ? ACCOUNT_CUT_EVERY_US : CUT_EVERY_US;
	uint64_t before = seen_before(d, now, LOOK_S);

	if (d->cut_due > 0 || d->probing || d->stopped ||
	    (d->fell_at > 0 && now - d->fell_at < every))
		return;
	rule_of(f, 13)->checked++;
	d->cut_due = now + FEEDBACK_US;
	/* a run that just began tells no rate */
	d->look_from = is_account || now - d->first_at < 2 * LOOK_S * S_US ? 0 : d->cut_due;
	d->look_most = CUT_LEFT * (double)before + CUT_SPARE;
	d->look = 0;
}

static void
check_cut(struct referee *f, size_t i, double at)
{
	struct destination *d = &f->destinations[i];

	if (d->cut_due > 0 && at > d->cut_due) {
		referee_check(f, 13, false,
		    "%s: no slower %.0f s behind a complaint, at second %.0f",
		    f->t.destination[i].name, FEEDBACK_US / S_US, referee_at_s(f, at));
		d->cut_due = 0;
	}
	if (d->look_from <= 0 || at < d->look_from)
		return;
	if (at < d->look_from + LOOK_S * S_US) {
		d->look++;
		return;
	}
	referee_check(f, 13, (double)d->look <= d->look_most,
	    "%s: %llu messages in %d s behind a complaint, more than %.0f, at second %.0f",
	    f->t.destination[i].name, (unsigned long long)d->look, LOOK_S, d->look_most,
	    referee_at_s(f, at));
	d->look_from = 0;
}

void
referee_limit(struct referee *f, size_t destination, double per_s, double now)
{
	const struct referee_destination *t = &f->t.destination[destination];
	struct destination *d = &f->destinations[destination];
	double every = t->is_account ? ACCOUNT_CUT_EVERY_US : CUT_EVERY_US;
	bool falls = d->limit < 0 ? per_s > 0 : per_s > 0 && per_s < d->limit * (1 - 1e-9);

	f->held = f->held || per_s <= 0 || falls;
	lines_disturb(f, t->is_account ? REFEREE_ANY : destination, now);
	if (t->cap_per_s > 0)
		referee_check(f, 13, per_s <= t->cap_per_s * (1 + 1e-9),
		    "%s: %.3f/s is above its limit, at second %.0f", t->name, per_s,
		    referee_at_s(f, now));
	if (falls) {
		referee_check(f, 13, d->fell_at <= 0 || now - d->fell_at >= every - S_US,
		    "%s: two cuts within %.0f s, at second %.0f", t->name,
		    (now - d->fell_at) / S_US, referee_at_s(f, now));
		d->fell_at = now;
		d->cut_due = 0;
	}
	if (per_s <= 0)
		d->cut_due = 0;
	d->limit = per_s > 0 || d->limit >= 0 ? per_s : -1;
}

static void
expect_hold(struct referee *f, struct destination *d, int minutes, double now)
{
	double asked = minutes > 0 ? minutes * 60.0 : HOLD_STANDARD_S;

	if (d->silent_from > 0 && !d->probe_out)
		return; /* it is silent */
	if (d->probe_out)
		asked = fmax(asked, 2 * d->hold_s);
	rule_of(f, 14)->checked++;
	d->hold_s = fmin(asked, HOLD_LONGEST_S);
	d->silent_from = now + HOLD_US;
	d->silent_till = now + HOLD_SPREAD * d->hold_s * S_US - S_US;
	d->probing = true;
	d->probe_out = false;
	d->cut_due = d->look_from = 0;
	f->held = true;
}

static void
check_hold(struct referee *f, size_t i, double at)
{
	struct destination *d = &f->destinations[i];
	const char *name = f->t.destination[i].name;

	if (d->stopped)
		referee_check(f, 14, at <= d->silent_from,
		    "%s: sent to at second %.0f, behind a stop", name, referee_at_s(f, at));
	if (!d->probing || at <= d->silent_from)
		return;
	if (at < d->silent_till) {
		referee_check(f, 14, false, "%s: sent to at second %.1f, %.1f s into a hold", name,
		    referee_at_s(f, at), (at - d->silent_from) / S_US);
		return;
	}
	referee_check(f, 14, !d->probe_out || at - d->probe_at >= PROBE_EVERY_US,
	    "%s: more than one probe, at second %.1f", name, referee_at_s(f, at));
	d->probe_out = true;
	d->probe_at = at;
}

void
referee_answer(struct referee *f, size_t destination, const struct provider_verdict *v, double left,
    double now)
{
	struct destination *d = &f->destinations[destination];
	bool is_account = f->t.destination[destination].is_account;
	bool of_probe = d->probing && d->probe_out && left >= d->probe_at;
	bool bad = v->reaction == REACTION_CONN || v->reaction == REACTION_RATE ||
	    v->reaction == REACTION_HOLD || v->reaction == REACTION_ACCOUNT_RATE ||
	    v->reaction == REACTION_ACCOUNT_HOLD;

	if (v->reaction != REACTION_NONE && v->reaction != REACTION_RCPT &&
	    v->reaction != REACTION_DROP)
		lines_disturb(f, is_account ? REFEREE_ANY : destination, now);
	if (of_probe && bad) {
		expect_hold(f, d, v->reaction == REACTION_HOLD ? v->minutes : 0, now);
		return;
	}
	if (of_probe) {
		d->probing = d->probe_out = false;
		d->silent_from = d->limit = 0;
	}
	if (v->reaction == REACTION_NONE || !is_meant(d, v, now))
		return;
	if (v->reaction == REACTION_RATE || v->reaction == REACTION_ACCOUNT_RATE)
		expect_cut(f, d, is_account, now);
	if (v->reaction == REACTION_HOLD || v->reaction == REACTION_ACCOUNT_HOLD)
		expect_hold(f, d, v->minutes, now);
	if (v->reaction == REACTION_STOP && !d->stopped) {
		rule_of(f, 14)->checked++;
		d->stopped = true;
		d->silent_from = now + HOLD_US;
		d->cut_due = d->look_from = 0;
	}
}

/* ---- 3: connections ---- */

void
referee_connect(struct referee *f, size_t destination, unsigned window, double now)
{
	unsigned *open = &f->open[destination];

	++*open;
	referee_check(f, 3, *open <= window, "%s: %u connections of %u, at second %.1f",
	    f->t.destination[destination].name, *open, window, referee_at_s(f, now));
	check_hour(f, destination, false, now, "connection");
}

void
referee_disconnect(struct referee *f, size_t destination)
{
	f->open[destination]--;
}

void
referee_carry(struct referee *f, size_t destination, unsigned n, unsigned most, double now)
{
	referee_check(f, 3, n <= most, "%s: message %u of a connection for %u, at second %.1f",
	    f->t.destination[destination].name, n, most, referee_at_s(f, now));
}

/* ---- 10, 11: shares ---- */

static void
note_wait(struct referee *f, double wait)
{
	if (f->wait_count == f->wait_room) {
		size_t room = f->wait_room > 0 ? 2 * f->wait_room : 1024;
		float *more = realloc(f->waits, room * sizeof(*more));

		if (more == NULL)
			return;
		f->waits = more;
		f->wait_room = room;
	}
	f->waits[f->wait_count++] = (float)wait;
}

/* What bulk has in ten minutes in which it could take everything. */
static void
check_bulk(struct referee *f, double now, bool bulk, bool waits)
{
	double least =
	    (1 - f->t.urgent_part - URGENT_MOST) * f->t.account_per_s * BULK_WINDOW_US / S_US;

	if (!f->t.busy || f->t.account_per_s <= 0 || f->t.urgent_part <= 0)
		return;
	if (now >= f->bulk_at + BULK_WINDOW_US) {
		if (f->bulk_good && now < f->bulk_at + 2 * BULK_WINDOW_US)
			referee_check(f, 10, (double)f->bulk >= least,
			    "bulk had %llu in 10 minutes, less than %.0f, at second %.0f",
			    (unsigned long long)f->bulk, least, referee_at_s(f, now));
		f->bulk = 0;
		f->bulk_good = true;
		f->bulk_at = now;
	}
	f->bulk += bulk;
	f->bulk_good = f->bulk_good && waits;
}

static bool
is_bulk(const struct referee *f, size_t run)
{
	return f->t.run[run].class == SHARE_BULK && f->t.run[run].plain;
}

static void
end_block(struct referee *f, double now)
{
	double weights = 0;
	size_t runs = 0;

	for (size_t i = 0; i < f->t.runs; i++)
		if (is_bulk(f, i)) {
			weights += f->block[i] > 0 ? f->t.run[i].weight : 0;
			runs += f->block[i] > 0;
		}
	for (size_t i = 0; f->block_good && runs > 1 && i < f->t.runs; i++) {
		double got = (double)f->block[i] / BLOCK, want = f->t.run[i].weight / weights;

		if (is_bulk(f, i) && f->block[i] > 0)
			referee_check(f, 11, fabs(got - want) <= SHARE_OFF,
			    "run %zu has %.1f %% of %d messages, not %.1f %%, at second %.0f",
			    i + 1, got * 100, BLOCK, want * 100, referee_at_s(f, now));
	}
	memset(f->block, 0, f->t.runs * sizeof(*f->block));
	f->block_count = 0;
	f->block_good = true;
}

static void
count_shares(struct referee *f, const struct referee_leave *l)
{
	bool urgent = f->t.run[l->run].class == SHARE_URGENT, waits = true;
	uint64_t waiting = 0;

	for (size_t i = 0; i < f->t.runs; i++) {
		if (!is_bulk(f, i))
			continue;
		waiting += f->t.waiting[i];
		/* one that begins or drains within the block decides about it */
		waits = waits && (f->t.waiting[i] >= BLOCK || f->t.waiting[i] == 0);
		waits = waits && (f->t.waiting[i] > 0 || f->block[i] == 0);
		waits = waits &&
		    (f->t.waiting[i] == 0 || f->block[i] > 0 || f->block_count < BLOCK / 10);
	}
	check_bulk(f, l->now, !urgent, (double)waiting > f->t.account_per_s * 60);
	if (urgent && l->arrived > 0)
		note_wait(f, l->permit - l->arrived);
	if (!f->t.busy || !is_bulk(f, l->run))
		return;
	f->block[l->run]++;
	f->block_good = f->block_good && waits;
	if (++f->block_count == BLOCK)
		end_block(f, l->now);
}

static int
by_size(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

double
referee_urgent_wait_p99(const struct referee *f)
{
	return f->wait_count > 0 ? f->waits[(f->wait_count - 1) * 99 / 100] : 0;
}

/* ---- 15: retries ---- */

static void
check_retry(struct referee *f, const struct referee_leave *l)
{
	struct list *r = &f->lists[l->list];
	double most = l->is_retry ? f->t.expire_us : f->t.expire_unsent_us;

	r->left++;
	if (l->is_retry) {
		r->crowded += l->others_wait;
		referee_check(f, 15,
		    (double)r->crowded <= RETRY_PART * (double)r->left + RETRY_FREE + 1,
		    "%llu retries of %llu messages while first tries waited, at second %.0f",
		    (unsigned long long)r->crowded, (unsigned long long)r->left,
		    referee_at_s(f, l->now));
		referee_check(f, 15, l->now >= l->due, "a retry %.0f s too early, at second %.0f",
		    (l->due - l->now) / S_US, referee_at_s(f, l->now));
	}
	if (most > 0)
		referee_check(f, 15, l->now <= l->began + most + GRACE_US,
		    "a recipient sent to %.0f s behind his last moment",
		    (l->now - l->began - most) / S_US);
}

/* ---- messages ---- */

void
referee_leave(struct referee *f, const struct referee_leave *l)
{
	size_t account = f->t.destinations - 1;
	bool urgent = f->t.run[l->run].class == SHARE_URGENT;

	referee_check(f, 1, f->ended[l->recipient] == 0,
	    "a recipient sent to again, at second %.0f", referee_at_s(f, l->now));
	referee_check(f, 16, l->permit <= f->published_at + SILENCE_US,
	    "sent %.0f s behind the last calendar", (l->permit - f->published_at) / S_US);
	check_limits(f, l);
	check_hour(f, l->destination, urgent, l->now, "message");
	count_day(f, l->permit);
	check_hold(f, l->destination, l->now);
	check_hold(f, account, l->now);
	check_cut(f, l->destination, l->now);
	check_cut(f, account, l->now);
	count_second(&f->destinations[l->destination], l->now);
	count_second(&f->destinations[account], l->now);
	count_shares(f, l);
	lines_leave(f, l);
	canary_leave(f, l);
	check_retry(f, l);
}

void
referee_settle(struct referee *f, uint32_t recipient, enum referee_end end, double now)
{
	referee_check(f, 1, f->ended[recipient] == 0, "a recipient ended twice, at second %.0f",
	    referee_at_s(f, now));
	f->ended[recipient] = (uint8_t)end;
	canary_settle(f, recipient, end);
}

void
referee_finish(struct referee *f, uint64_t open, double finish, double forecast)
{
	double bound = ADMISSION_HORIZON_MAX_US +
	    (f->t.urgent_part > 0 && f->t.account_per_s > 0
		    ? 2 * S_US / (f->t.account_per_s * f->t.urgent_part)
		    : 0);
	uint64_t none = 0;

	end_warmup_day(f);
	for (uint32_t i = 0; i < f->t.recipients; i++)
		none += f->ended[i] == 0;
	referee_check(f, 1, none == open, "%llu recipients have no last state, not %llu",
	    (unsigned long long)none, (unsigned long long)open);
	if (f->wait_count > 0) {
		qsort(f->waits, f->wait_count, sizeof(*f->waits), by_size);
		referee_check(f, 10, referee_urgent_wait_p99(f) <= bound,
		    "urgent mail waited %.2f s (99 %%), more than %.2f",
		    referee_urgent_wait_p99(f) / S_US, bound / S_US);
	}
	if (forecast > 0 && !f->held)
		referee_check(f, 17,
		    fabs(finish - forecast) <= FORECAST_OFF * (forecast - f->t.start),
		    "it ended %.0f s behind the start, not %.0f", referee_at_s(f, finish),
		    referee_at_s(f, forecast));
}
