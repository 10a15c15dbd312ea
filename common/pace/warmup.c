/* SPDX-License-Identifier: Apache-2.0 */
/* warmup: see warmup.h. */
#include "warmup.h"

#include <stdlib.h>
#include <string.h>

struct row {
	struct slice schedule;
	int day;
	uint64_t limit;
};

static bool
read_number(struct slice text, uint64_t *n)
{
	*n = 0;
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] < '0' || text.ptr[i] > '9' || i > 12)
			return false;
		*n = *n * 10 + (uint64_t)(text.ptr[i] - '0');
	}
	return text.len > 0;
}

static bool
read_row(struct slice line, struct row *row)
{
	const char *end = line.ptr + line.len;
	const char *tab = memchr(line.ptr, '\t', line.len);
	const char *next = tab != NULL ? memchr(tab + 1, '\t', (size_t)(end - tab - 1)) : NULL;
	struct slice limit;
	uint64_t day;

	if (next == NULL || tab == line.ptr || tab - line.ptr >= WARMUP_NAME_MAX)
		return false;
	row->schedule = slice_make(line.ptr, (size_t)(tab - line.ptr));
	limit = slice_make(next + 1, (size_t)(end - next - 1));
	if (!read_number(slice_make(tab + 1, (size_t)(next - tab - 1)), &day) || day > 10000)
		return false;
	row->day = (int)day;
	row->limit = 0;
	return slice_equal(limit, SLICE("-")) ||
	    (read_number(limit, &row->limit) && row->limit > 0);
}

/* Calls back for each row of the schedule, while it wants more. The number of the bad line, or 0. */
static size_t
each_row(struct slice table, const char *schedule, bool (*take)(void *ctx, const struct row *row),
    void *ctx)
{
	for (size_t number = 1; table.len > 0; number++) {
		const char *end = memchr(table.ptr, '\n', table.len);
		size_t n = end != NULL ? (size_t)(end - table.ptr) : table.len;
		struct slice line = slice_make(table.ptr, n);
		struct row row;

		n += end != NULL;
		table = slice_make(table.ptr + n, table.len - n);
		if (line.len == 0 || line.ptr[0] == '#')
			continue;
		if (!read_row(line, &row))
			return number;
		if (slice_equal(row.schedule, slice_str(schedule)) && !take(ctx, &row))
			return 0;
	}
	return 0;
}

struct search {
	int day, before, next;
	uint64_t limit;
	bool disorder;
};

static bool
take(void *ctx, const struct row *row)
{
	struct search *s = ctx;

	s->disorder = s->disorder || (s->before < 0 ? row->day != 0 : row->day <= s->before);
	s->before = row->day;
	if (row->day > s->day) {
		s->next = row->day;
		return false;
	}
	s->limit = row->limit;
	return true;
}

int
warmup_limit(struct slice table, const char *schedule, int day, uint64_t *limit, struct err *err)
{
	struct search s = { .day = day > 0 ? day : 0, .before = -1, .next = -1 };
	size_t bad = each_row(table, schedule, take, &s);

	if (bad > 0 || s.disorder)
		return err_set(err, "line %zu of the warm-up schedules is not understood", bad);
	if (s.before < 0)
		return err_set(err, "there is no warm-up schedule '%.40s'", schedule);
	*limit = s.limit;
	return 0;
}

int
warmup_next_day(struct slice table, const char *schedule, int day)
{
	struct search s = { .day = day > 0 ? day : 0, .before = -1, .next = -1 };

	return each_row(table, schedule, take, &s) == 0 ? s.next : -1;
}

enum warmup_verdict
warmup_judge(double day_began, double now, const struct warmup_rates *rates)
{
	if (now - day_began < WARMUP_DAY_S)
		return WARMUP_WAIT;
	if (rates->attempted >= WARMUP_CERTAIN &&
	    rates->hard * 100 > WARMUP_BOUNCE_LINE * rates->attempted)
		return WARMUP_BOUNCES;
	/* a single one of a few hundred says nothing */
	if (rates->sent >= WARMUP_CERTAIN && rates->complained > 1 &&
	    rates->complained * 100 > WARMUP_COMPLAINT_LINE * rates->sent)
		return WARMUP_COMPLAINTS;
	return WARMUP_ADVANCE;
}
