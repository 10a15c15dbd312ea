/* SPDX-License-Identifier: Apache-2.0 */
/*
 * referee_parts: what the parts of the referee share: referee.c (recipients, limits, replies,
 * shares, retries), referee_lines.c (guards, lines, calls) and referee_canary.c.
 */
#ifndef KAIRAN_REFEREE_PARTS_H
#define KAIRAN_REFEREE_PARTS_H

#include "evenness.h"
#include "planned_line.h"
#include "referee.h"

#define S_US 1e6
#define RING_S 128
#define REACTIONS (REACTION_ACCOUNT_HOLD + 1)

struct destination {
	double tat;
	uint32_t ring[RING_S]; /* leaves by second */
	int64_t second;	       /* the last one counted */
	double first_at;
	double heard_at[REACTIONS];
	double limit;	/* as published; below 0: never */
	double fell_at; /* the last fall of the limit */
	double cut_due; /* by when the limit must have fallen; 0: nothing is due */
	double look_from, look_most;
	uint64_t look;
	double silent_from, silent_till, hold_s; /* of a hold */
	bool stopped, probing, probe_out;
	double probe_at;
	double planned; /* of all lists, by the last publication */
};

struct canary;

struct list {
	uint64_t left, crowded; /* all; retries while first tries waited */
	struct planned_line line;
	size_t destination;
	double planned; /* a second, at most in the next minute */
	bool named;	/* by the present publication */
	uint64_t retries;
};

/* A lane beside the line of its list. */
struct lane_line {
	uint64_t draws, retries; /* of the list, when it began */
	double base, taken;	 /* the line then; messages since */
	double worst;		 /* below 0: nothing was looked at */
};

struct referee {
	struct referee_terms t;
	struct referee_rule rules[REFEREE_RULES];
	struct destination *destinations;
	unsigned *open; /* connections by destination */
	uint8_t *ended; /* by recipient */
	struct list *lists;
	size_t list_count;
	struct lane_line *lanes;
	struct evenness *evenness; /* NULL: not judged */
	struct evenness_destination *evenly;
	double calls_at; /* a minute began */
	uint64_t calls, permits;
	double tat; /* of the account */
	double published_at;
	uint32_t *minutes; /* ring of a day and an hour */
	int64_t minute;
	uint64_t day_sum, others_waiting;
	double warmup_at; /* the present day began */
	uint64_t warmup_hour, warmup_day;
	struct canary *canaries; /* by run; NULL: no run has one */
	uint16_t *canary_run;	 /* by recipient, as the next */
	uint8_t *canary_place;
	float *waits;
	size_t wait_count, wait_room;
	uint64_t *block; /* by run */
	uint64_t block_count;
	bool block_good;
	double bulk_at;
	uint64_t bulk;
	bool bulk_good, held;
};

/* A look at a rule; the text says how it was broken. */
void referee_check(struct referee *f, int number, bool good, const char *format, ...)
    PRINTF_LIKE(4, 5);

/* -1 without memory. */
int canary_begin(struct referee *f) MUST_CHECK;
void canary_release(struct referee *f);
void canary_leave(struct referee *f, const struct referee_leave *l);
void canary_settle(struct referee *f, uint32_t recipient, enum referee_end end);

/* Seconds behind the start, for a reader. */
double referee_at_s(const struct referee *f, double at);

/* -1 without memory. */
int lines_begin(struct referee *f) MUST_CHECK;
void lines_release(struct referee *f);

void lines_publish(struct referee *f, double now);
void lines_leave(struct referee *f, const struct referee_leave *l);
/* Rates of a destination (or REFEREE_ANY) are not the planned ones. */
void lines_disturb(struct referee *f, size_t destination, double now);

#endif
