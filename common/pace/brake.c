/* SPDX-License-Identifier: Apache-2.0 */
/* brake: see brake.h. */
#include "brake.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MINUTE_US 60e6
#define HOUR_US 3600e6

const char *
brake_mode_name(enum brake_mode mode)
{
	static const char *const names[] = { "free", "rate", "hold", "probe", "stop" };

	return names[mode];
}

static void
enter(struct brake *b, enum brake_mode mode, double now)
{
	b->mode = mode;
	b->since = now;
}

/* ---- traffic ---- */

/* Ends the present piece of time when it is over. */
static void
roll(struct brake *b, double now)
{
	double length = now - b->piece_at;

	if (b->piece_at > 0 && length < BRAKE_STEP_US)
		return;
	b->seen_per_s = b->piece_at > 0 ? b->piece / (length / 1e6) : 0;
	b->piece = 0;
	b->piece_at = now;
}

/* What was had lately: the piece before, or the present one where that is faster. */
static double
traffic(const struct brake *b, double now)
{
	return fmax(b->seen_per_s, b->piece / fmax((now - b->piece_at) / 1e6, 1));
}

enum brake_act
brake_count(struct brake *b, double now, unsigned count)
{
	roll(b, now);
	b->piece += count;
	if (b->mode != BRAKE_PROBE || count == 0)
		return BRAKE_NOTHING;
	b->good = b->rate;
	b->rate = b->rate * BRAKE_RESUME;
	b->hold_end = b->step_at = b->heard_at = now;
	b->above = 0;
	b->until = 0;
	enter(b, BRAKE_RATE, now);
	return BRAKE_CHANGED;
}

/* ---- cuts ---- */

/* The rate that a brake begins from: what was had, within the limit. */
static double
base_rate(const struct brake *b, const struct brake_terms *terms, double now)
{
	double seen = traffic(b, now);

	/* it is refused by the second, which a quiet piece of time does not show */
	if (terms->is_account && seen > 0)
		seen = fmax(seen, terms->start_per_s);
	if (b->mode == BRAKE_RATE) /* one that nothing came near says little */
		return seen > 0 ? fmin(b->rate, 1.25 * seen) : b->rate;
	if (seen <= 0)
		return terms->cap_per_s > 0 ? terms->cap_per_s : terms->start_per_s;
	return terms->cap_per_s > 0 ? fmin(seen, terms->cap_per_s) : seen;
}

static void
note_base(struct brake *b, const struct brake_terms *terms, double now)
{
	double base = base_rate(b, terms, now);

	if (b->mode == BRAKE_FREE || b->ceiling <= 0)
		b->ceiling = terms->cap_per_s > 0 ? terms->cap_per_s : base * BRAKE_CEILING;
	b->rate = base;
}

static enum brake_act
cut(struct brake *b, const struct brake_terms *terms, int minutes, double now)
{
	double every = terms->is_account ? BRAKE_ACCOUNT_CUT_EVERY_US : BRAKE_CUT_EVERY_US;
	double least;

	if (b->mode != BRAKE_FREE && b->mode != BRAKE_RATE)
		return BRAKE_NOTHING;
	if (b->cut_at > 0 && now - b->cut_at < every)
		return BRAKE_NOTHING;
	note_base(b, terms, now);
	least = fmax(BRAKE_FLOOR * b->ceiling, BRAKE_FLOOR_PER_S);
	b->good = b->rate;
	b->rate = fmax(least, b->rate * (terms->is_account ? BRAKE_ACCOUNT_CUT : BRAKE_CUT));
	b->cut_at = b->step_at = now;
	b->above = 0;
	b->until = now + minutes * MINUTE_US;
	enter(b, BRAKE_RATE, now);
	return BRAKE_CHANGED;
}

static enum brake_act
hold(struct brake *b, const struct brake_terms *terms, int minutes, double now, double chance)
{
	double length = minutes > 0 ? minutes * 60.0 : BRAKE_HOLD_S;

	if (b->mode == BRAKE_HOLD || b->mode == BRAKE_STOP)
		return BRAKE_NOTHING;
	if (b->mode != BRAKE_PROBE)
		note_base(b, terms, now);
	/* a probe that failed, or the second one within some hours */
	if (b->mode == BRAKE_PROBE || (b->hold_end > 0 && now - b->hold_end < BRAKE_AGAIN_US))
		length = fmax(length, 2 * b->hold_s);
	b->hold_s = fmin(length, BRAKE_HOLD_LONGEST_S);
	b->until = now + b->hold_s * 1e6 * (0.8 + 0.4 * chance);
	enter(b, BRAKE_HOLD, now);
	return BRAKE_CHANGED;
}

static enum brake_act
fewer_connections(struct brake *b, const struct brake_terms *terms, int minutes, double now)
{
	unsigned had = b->window > 0 ? b->window : terms->connections;
	double until = now + fmax(minutes * MINUTE_US, BRAKE_CLEAN_US);

	/* one refusal is heard by many: once in a step */
	if (b->window > 0 && now - b->window_step < BRAKE_STEP_US)
		return BRAKE_NOTHING;
	b->window = minutes > 0 || had < 2 ? 1 : had / 2;
	b->window_step = now;
	b->window_until = fmax(until, b->window_until);
	return BRAKE_CHANGED;
}

static enum brake_act
fewer_messages(struct brake *b, const struct brake_terms *terms, double now)
{
	unsigned had = b->batch > 0 ? b->batch : terms->batch;

	if (b->batch > 0 && now - (b->batch_until - BRAKE_BATCH_US) < BRAKE_STEP_US)
		return BRAKE_NOTHING;
	b->batch = had > 1 ? had / 2 : 1;
	b->batch_until = now + BRAKE_BATCH_US;
	return BRAKE_CHANGED;
}

/* A single reply of its kind says little: the second within a while counts. */
static bool
is_noise(struct brake *b, const struct brake_event *e, double now)
{
	double first = b->first_at[e->reaction];

	b->first_at[e->reaction] = now;
	return !e->at_once && e->count < 2 && (first <= 0 || now - first > BRAKE_NOISE_US);
}

static enum brake_act
apply(struct brake *b, const struct brake_terms *terms, const struct brake_event *e, double now,
    double chance)
{
	switch (e->reaction) {
	case REACTION_CONN:
		return fewer_connections(b, terms, e->minutes, now);
	case REACTION_MPC:
		return fewer_messages(b, terms, now);
	case REACTION_RATE:
	case REACTION_ACCOUNT_RATE:
		return cut(b, terms, e->minutes, now);
	case REACTION_HOLD:
	case REACTION_ACCOUNT_HOLD:
		return hold(b, terms, e->minutes, now, chance);
	case REACTION_STOP:
		if (b->mode == BRAKE_STOP)
			return BRAKE_NOTHING;
		if (b->mode == BRAKE_FREE || b->mode == BRAKE_RATE)
			note_base(b, terms, now);
		b->until = 0;
		enter(b, BRAKE_STOP, now);
		return BRAKE_STOPPED;
	case REACTION_PAUSE_CAMPAIGN:
		return BRAKE_PAUSE_RUN;
	case REACTION_NONE:
	case REACTION_RCPT:
	case REACTION_DROP:
		break;
	}
	return BRAKE_NOTHING;
}

enum brake_act
brake_hear(struct brake *b, const struct brake_terms *terms, const struct brake_event *e,
    double now, double chance)
{
	struct brake_event event = *e;
	enum brake_act act;
	bool answers_probe = b->mode == BRAKE_PROBE && e->reaction != REACTION_MPC &&
	    e->reaction != REACTION_STOP && e->reaction != REACTION_PAUSE_CAMPAIGN;

	roll(b, now);
	if (!answers_probe && is_noise(b, e, now))
		return BRAKE_NOTHING;
	if (answers_probe)
		event.reaction = REACTION_HOLD;
	act = apply(b, terms, &event, now, chance);
	b->heard_at = now;
	if (act == BRAKE_CHANGED || act == BRAKE_STOPPED) {
		b->reaction = e->reaction;
		b->code = e->code;
	}
	return act;
}

/* ---- time ---- */

/* The next step upwards; true when the rate is another one. */
static bool
rise(struct brake *b, const struct brake_terms *terms, double now)
{
	double minutes = (now - b->step_at) / MINUTE_US, step;

	if (now < b->until || now - b->heard_at < BRAKE_CLEAN_US) {
		b->step_at = now;
		return false;
	}
	if (now - b->step_at < BRAKE_STEP_US)
		return false;
	if (terms->cap_per_s > 0)
		b->ceiling = terms->cap_per_s;
	if (b->rate < BRAKE_NEAR * b->good)
		step = fmin(BRAKE_RISE * b->good * minutes, BRAKE_NEAR * b->good - b->rate);
	else if (b->rate < b->good)
		step = BRAKE_PLATEAU * b->ceiling * minutes;
	else
		step = (b->above > 0 && now - b->above > HOUR_US ? BRAKE_LATER : BRAKE_BEYOND) *
		    b->ceiling * minutes;
	/* what is added of a tiny difference must not vanish in the digits */
	b->rate += fmax(step, 1e-9 * b->good);
	b->step_at = now;
	if (b->rate >= b->good && b->above <= 0)
		b->above = now;
	if (b->rate >= b->ceiling) {
		b->rate = 0;
		enter(b, BRAKE_FREE, now);
	}
	return true;
}

static bool
widen(struct brake *b, const struct brake_terms *terms, double now)
{
	bool changed = false;

	if (b->window > 0 && now >= b->window_until && now - b->window_step >= MINUTE_US) {
		b->window_step = now;
		if (++b->window >= terms->connections)
			b->window = 0;
		changed = true;
	}
	if (b->batch > 0 && now >= b->batch_until) {
		b->batch = 0;
		changed = true;
	}
	return changed;
}

enum brake_act
brake_tick(struct brake *b, const struct brake_terms *terms, double now)
{
	bool changed = widen(b, terms, now);

	roll(b, now);
	if ((b->mode == BRAKE_HOLD || b->mode == BRAKE_PROBE) && now >= b->until) {
		b->until = now + BRAKE_PROBE_US;
		enter(b, BRAKE_PROBE, now);
		changed = true;
	} else if (b->mode == BRAKE_RATE) {
		changed = rise(b, terms, now) || changed;
	}
	return changed ? BRAKE_CHANGED : BRAKE_NOTHING;
}

void
brake_release(struct brake *b)
{
	struct brake fresh = {
		.piece_at = b->piece_at, .piece = b->piece, .seen_per_s = b->seen_per_s
	};

	*b = fresh;
}

bool
brake_is_limiting(const struct brake *b)
{
	return b->mode != BRAKE_FREE;
}

bool
brake_is_idle(const struct brake *b, double now)
{
	return b->mode == BRAKE_FREE && b->window == 0 && b->batch == 0 &&
	    (b->hold_end <= 0 || now - b->hold_end > BRAKE_AGAIN_US) &&
	    (b->cut_at <= 0 || now - b->cut_at > HOUR_US);
}

size_t
brake_rows(
    const struct brake *b, double cap_per_s, double from, double till, struct admission_row *row)
{
	double per_s =
	    b->mode == BRAKE_RATE && (cap_per_s <= 0 || b->rate < cap_per_s) ? b->rate : cap_per_s;

	*row = (struct admission_row){ from, till, per_s > 0 ? 1e6 / per_s : 0 };
	if (b->mode == BRAKE_HOLD || b->mode == BRAKE_STOP)
		return 0;
	/* an interval as long as the row: one message */
	if (b->mode == BRAKE_PROBE)
		*row = (struct admission_row){ b->since, b->until, b->until - b->since };
	return row->interval > 0;
}

/* ---- text ---- */

void
brake_print(const struct brake *b, char text[BRAKE_TEXT_MAX])
{
	(void)snprintf(text, BRAKE_TEXT_MAX,
	    "%s %.0f %.0f %.9g %.9g %.9g %.0f %.0f %.0f %.0f %.0f %.0f %u %.0f %.0f %u %.0f %s %d "
	    "%.9g",
	    brake_mode_name(b->mode), b->since, b->until, b->rate, b->good, b->ceiling, b->above,
	    b->cut_at, b->heard_at, b->step_at, b->hold_s, b->hold_end, b->window, b->window_until,
	    b->window_step, b->batch, b->batch_until, reaction_name(b->reaction), b->code,
	    b->seen_per_s);
}

static bool
is_sound(const struct brake *b)
{
	const double all[] = { b->since, b->until, b->rate, b->good, b->ceiling, b->above,
		b->cut_at, b->heard_at, b->step_at, b->hold_s, b->hold_end, b->window_until,
		b->window_step, b->batch_until, b->seen_per_s };

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (!isfinite(all[i]) || all[i] < 0 || all[i] > 1e17)
			return false;
	return b->hold_s <= BRAKE_HOLD_LONGEST_S && b->code >= 0 && b->code < 1000 &&
	    (b->mode != BRAKE_RATE || b->rate > 0);
}

bool
brake_parse(struct brake *b, const char *text)
{
	char mode[8], reaction[20];
	int at = 0;

	*b = (struct brake){ 0 };
	if (sscanf(text,
		"%7s %lf %lf %lf %lf %lf %lf %lf %lf %lf %lf %lf %u %lf %lf %u %lf %19s %d %lf%n",
		mode, &b->since, &b->until, &b->rate, &b->good, &b->ceiling, &b->above, &b->cut_at,
		&b->heard_at, &b->step_at, &b->hold_s, &b->hold_end, &b->window, &b->window_until,
		&b->window_step, &b->batch, &b->batch_until, reaction, &b->code, &b->seen_per_s,
		&at) != 20 ||
	    text[at] != '\0')
		return false;
	for (int m = BRAKE_FREE; m <= BRAKE_STOP; m++) {
		b->mode = (enum brake_mode)m;
		if (strcmp(mode, brake_mode_name(b->mode)) == 0)
			return reaction_parse(&b->reaction, slice_str(reaction)) && is_sound(b);
	}
	return false;
}
