/* SPDX-License-Identifier: Apache-2.0 */
/* planned_line: see planned_line.h. */
#include "planned_line.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Lets time pass by the calendar. */
static void
go_to(struct planned_line *l, double at)
{
	for (; l->row < l->count && l->rows[l->row].from < at; l->row++) {
		const struct admission_row *row = &l->rows[l->row];
		double from = fmax(row->from, l->at), till = fmin(row->till, at);

		if (till > from)
			l->passed += (till - from) / row->interval;
		if (row->till > at)
			break;
	}
	l->at = fmax(l->at, at);
}

int
planned_line_set(struct planned_line *l, const struct admission_row *rows, size_t count, double now)
{
	struct admission_row *copy = malloc((count + 1) * sizeof(*copy));

	if (copy == NULL)
		return -1;
	if (count > 0)
		memcpy(copy, rows, count * sizeof(*copy));
	go_to(l, now);
	free(l->rows);
	l->rows = copy;
	l->count = count;
	l->row = 0;
	return 0;
}

double
planned_line_rate(const struct planned_line *l, double at)
{
	size_t row = l->row;

	while (row < l->count && l->rows[row].till <= at)
		row++;
	return row < l->count && l->rows[row].from <= at ? 1e6 / l->rows[row].interval : 0;
}

void
planned_line_release(struct planned_line *l)
{
	free(l->rows);
	*l = (struct planned_line){ 0 };
}

void
planned_line_pause(struct planned_line *l, double till)
{
	l->paused_till = fmax(l->paused_till, till);
	l->drawn = false;
}

bool
planned_line_take(struct planned_line *l, double at, struct planned_line_place *place)
{
	go_to(l, at);
	if (l->row >= l->count || at < l->paused_till)
		return false;
	if (!l->drawn) {
		l->drawn = true;
		l->draws++;
		l->first = l->passed;
		l->since = 0;
		return false;
	}
	l->since++;
	*place = (struct planned_line_place){ .off = l->passed - l->first - l->since,
		.since = l->since,
		.per_s = 1e6 / l->rows[l->row].interval };
	return true;
}
