/* SPDX-License-Identifier: Apache-2.0 */
/* evenness: see evenness.h. */
#include "evenness.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "admission.h"
#include "calendar.h"

/* Minutes of the hour: those that are open wherever the guard's edges were shifted to, and those
 * around the hour that are judged by them. */
#define OPEN_FROM 21
#define OPEN_TILL 49
#define JUDGED_FROM 50
#define JUDGED_TILL 20
#define OTHERS_TILL 10 /* all are open again */
#define OPEN_LEAST 15  /* minutes that make a measure */
#define OFF_LINE 1.5   /* messages of a lane, at both ends of what is counted */

struct minutes {
	uint64_t count; /* of the present minute */
	double sum, n;	/* of open minutes */
	double measure; /* a minute; below 0: none */
};

struct evenness {
	struct evenness_terms t;
	struct minutes *minutes; /* by destination */
	double minute_at;	 /* the present one began */
	double calm_from;
	uint64_t who;
};

struct evenness *
evenness_new(const struct evenness_terms *t)
{
	struct evenness *e = calloc(1, sizeof(*e));

	if (e == NULL || (e->minutes = calloc(t->count + 1, sizeof(*e->minutes))) == NULL) {
		free(e);
		return NULL;
	}
	e->t = *t;
	e->minute_at = floor(t->start / MINUTE_US) * MINUTE_US;
	evenness_disturb(e, t->start);
	return e;
}

void
evenness_free(struct evenness *e)
{
	if (e == NULL)
		return;
	free(e->minutes);
	free(e);
}

void
evenness_disturb(struct evenness *e, double now)
{
	e->calm_from = now + EVENNESS_SETTLE_US;
	for (size_t i = 0; i < e->t.count; i++) {
		e->minutes[i].sum = e->minutes[i].n = 0;
		e->minutes[i].measure = -1;
	}
}

/* Whose hours matter to a destination: its own, or those of the first that closes. NULL: nobody's. */
static const struct evenness_destination *
clock_of(const struct evenness *e, size_t destination)
{
	if (e->t.destinations[destination].closes)
		return &e->t.destinations[destination];
	for (size_t i = 0; i < e->t.count; i++)
		if (e->t.destinations[i].closes)
			return &e->t.destinations[i];
	return NULL;
}

static int
minute_of_hour(const struct zone *zone, double at)
{
	int64_t time = (int64_t)floor(at / 1e6) + ADMISSION_EPOCH_S;
	int64_t past = (time + zone_offset(zone, time)) % 3600;

	return (int)((past + 3600) % 3600 / 60);
}

static void
judge(struct evenness *e, size_t i)
{
	const struct evenness_destination *d = &e->t.destinations[i];
	struct minutes *m = &e->minutes[i];
	struct evenness_finding f = { .destination = i,
		.at = e->minute_at + MINUTE_US,
		.got = (double)m->count,
		.most = m->measure * EVENNESS_RISE + OFF_LINE * d->lanes,
		.closes = d->closes };

	e->t.judge(e->t.ctx, &f);
}

static void
end_minute_of(struct evenness *e, size_t i)
{
	const struct evenness_destination *clock = clock_of(e, i);
	struct minutes *m = &e->minutes[i];
	int minute = clock != NULL ? minute_of_hour(clock->zone, e->minute_at) : 0;
	int till = e->t.destinations[i].closes ? JUDGED_TILL : OTHERS_TILL;

	if (clock == NULL || e->minute_at < e->calm_from)
		return;
	if (minute >= OPEN_FROM && minute < OPEN_TILL) {
		m->sum += (double)m->count;
		m->n++;
	} else if (minute == OPEN_TILL) {
		m->measure = m->n >= OPEN_LEAST && m->sum > 0 ? m->sum / m->n : -1;
		m->sum = m->n = 0;
	} else if (m->measure >= 0 && (minute >= JUDGED_FROM || minute <= till)) {
		judge(e, i);
	}
}

static void
end_minute(struct evenness *e)
{
	uint64_t who = e->t.who(e->t.ctx);

	if (who != e->who)
		evenness_disturb(e, e->minute_at + MINUTE_US);
	e->who = who;
	for (size_t i = 0; i < e->t.count; i++) {
		end_minute_of(e, i);
		e->minutes[i].count = 0;
	}
	e->minute_at += MINUTE_US;
}

void
evenness_leave(struct evenness *e, size_t destination, double now)
{
	while (now >= e->minute_at + MINUTE_US)
		end_minute(e);
	e->minutes[destination].count++;
}
