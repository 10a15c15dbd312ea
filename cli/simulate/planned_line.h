/* SPDX-License-Identifier: Apache-2.0 */
/*
 * planned_line: how far the messages of a list are from the line that was published for it, one
 * calendar taking the place of the other. It is drawn anew from the first message behind each pause.
 * Pure; times are us since 2026.
 */
#ifndef KAIRAN_PLANNED_LINE_H
#define KAIRAN_PLANNED_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "admission.h"
#include "err.h"

/* Zeroed there is no line. */
struct planned_line {
	struct admission_row *rows; /* owned */
	size_t count, row;
	double at, passed;   /* messages of the calendars up to there */
	double paused_till;  /* us */
	double first, since; /* `passed` at the first message; messages since then */
	bool drawn;
	uint64_t draws; /* how often */
};

/* From now on; rows are copied. -1 without memory. */
int planned_line_set(
    struct planned_line *l, const struct admission_row *rows, size_t count, double now) MUST_CHECK;
/* Messages a second at a time that has not passed; 0: closed. */
double planned_line_rate(const struct planned_line *l, double at);
void planned_line_release(struct planned_line *l);

/* Nothing before a time says how close it is. */
void planned_line_pause(struct planned_line *l, double till);

struct planned_line_place {
	double off;   /* messages behind the line; below 0: before it */
	double since; /* messages since it was drawn */
	double per_s; /* the line's rate */
};

/* A message, in order of time. False: it was the first, or within a pause. */
bool planned_line_take(struct planned_line *l, double at, struct planned_line_place *place);

#endif
