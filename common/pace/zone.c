/* SPDX-License-Identifier: Apache-2.0 */
/* zone: see zone.h. Of the footer (POSIX TZ) the form Mm.w.d is read, which is what tzdata has. */
#include "zone.h"

#include <ctype.h>
#include <string.h>

#define HEADER 44
#define DAY_S 86400

struct counts {
	uint32_t isut, isstd, leap, time, type, chars;
};

static int64_t
big_endian(const unsigned char *p, size_t n)
{
	uint64_t v = (p[0] & 0x80) != 0 ? UINT64_MAX : 0;

	for (size_t i = 0; i < n; i++)
		v = v << 8 | p[i];
	return (int64_t)v;
}

static bool
header(const unsigned char *p, size_t len, struct counts *c)
{
	uint32_t *field[] = { &c->isut, &c->isstd, &c->leap, &c->time, &c->type, &c->chars };

	if (len < HEADER || memcmp(p, "TZif", 4) != 0)
		return false;
	for (size_t i = 0; i < 6; i++) {
		*field[i] = (uint32_t)big_endian(p + 20 + 4 * i, 4);
		if (*field[i] > ZONE_FILE_MAX)
			return false;
	}
	return c->type > 0;
}

static size_t
body_size(const struct counts *c, size_t width)
{
	return c->time * (width + 1) + (size_t)c->type * 6 + c->chars + c->leap * (width + 4) +
	    c->isstd + c->isut;
}

static int
take_body(struct zone *z, const unsigned char *p, const struct counts *c, size_t width)
{
	const unsigned char *index = p + c->time * width, *types = index + c->time;

	if (c->time > ZONE_TRANSITIONS_MAX)
		return -1;
	z->first = (int32_t)big_endian(types, 4);
	z->count = c->time;
	if (z->first > DAY_S * 2 || z->first < -DAY_S * 2)
		return -1;
	for (uint32_t i = 0; i < c->time; i++) {
		if (index[i] >= c->type)
			return -1;
		z->at[i] = big_endian(p + i * width, width);
		z->offset[i] = (int32_t)big_endian(types + (size_t)index[i] * 6, 4);
		if ((i > 0 && z->at[i] <= z->at[i - 1]) || z->offset[i] > DAY_S * 2 ||
		    z->offset[i] < -DAY_S * 2)
			return -1;
	}
	return 0;
}

/* ---------------------------------------------------------------- footer */

static bool
skip_name(struct slice *s)
{
	size_t n = 0;

	if (s->len > 0 && s->ptr[0] == '<') {
		while (n < s->len && s->ptr[n] != '>')
			n++;
		n++;
	} else {
		while (n < s->len && isalpha((unsigned char)s->ptr[n]))
			n++;
	}
	if (n < 3 || n > s->len)
		return false;
	*s = slice_make(s->ptr + n, s->len - n);
	return true;
}

static bool
number(struct slice *s, int max, int *value)
{
	size_t n = 0;

	while (n < s->len && n < 4 && isdigit((unsigned char)s->ptr[n]))
		n++;
	return n > 0 && slice_take_digits(s, n, value) && *value <= max;
}

/* [+-]hh[:mm[:ss]] */
static bool
clock_time(struct slice *s, int32_t *seconds)
{
	int sign = 1, h = 0, m = 0, sec = 0;

	if (s->len > 0 && (s->ptr[0] == '-' || s->ptr[0] == '+')) {
		sign = s->ptr[0] == '-' ? -1 : 1;
		*s = slice_make(s->ptr + 1, s->len - 1);
	}
	if (!number(s, 167, &h))
		return false;
	if (slice_take_char(s, ":") && !number(s, 59, &m))
		return false;
	if (m != 0 && slice_take_char(s, ":") && !number(s, 59, &sec))
		return false;
	*seconds = sign * (h * 3600 + m * 60 + sec);
	return true;
}

/* ,Mm.w.d[/time] */
static bool
rule_day(struct slice *s, struct zone_day *d)
{
	int32_t second = 7200;

	if (!slice_take_char(s, ",") || !slice_take_char(s, "M") || !number(s, 12, &d->month) ||
	    !slice_take_char(s, ".") || !number(s, 5, &d->week) || !slice_take_char(s, ".") ||
	    !number(s, 6, &d->weekday) || d->month < 1 || d->week < 1)
		return false;
	if (slice_take_char(s, "/") && !clock_time(s, &second))
		return false;
	d->second = second;
	return true;
}

static bool
take_footer(struct zone *z, struct slice s)
{
	int32_t west;

	if (s.len == 0)
		return true;
	if (!skip_name(&s) || !clock_time(&s, &west))
		return false;
	z->standard = -west;
	z->has_rule = true;
	if (s.len == 0)
		return true;
	if (!skip_name(&s))
		return false;
	z->summer = z->standard + 3600;
	if (s.len > 0 && s.ptr[0] != ',') {
		if (!clock_time(&s, &west))
			return false;
		z->summer = -west;
	}
	z->has_summer = true;
	return rule_day(&s, &z->to_summer) && rule_day(&s, &z->to_standard) && s.len == 0;
}

void
zone_utc(struct zone *z)
{
	z->count = 0;
	z->first = 0;
	z->has_rule = z->has_summer = false;
}

int
zone_parse(struct zone *z, struct slice bytes, struct err *err)
{
	const unsigned char *p = (const unsigned char *)bytes.ptr;
	struct counts c = { 0 };
	size_t width = 4, left = bytes.len;

	zone_utc(z);
	if (left > ZONE_FILE_MAX || !header(p, left, &c))
		return err_set(err, "this is no time zone file (TZif)");
	if (p[4] >= '2') { /* the 64-bit data follow the 32-bit ones */
		size_t skip = HEADER + body_size(&c, 4);

		if (skip > left || !header(p + skip, left - skip, &c))
			return err_set(err, "the time zone file is damaged");
		p += skip;
		left -= skip;
		width = 8;
	}
	p += HEADER;
	left -= HEADER;
	if (body_size(&c, width) > left || take_body(z, p, &c, width) < 0)
		return err_set(err, "the time zone file is damaged");
	p += body_size(&c, width);
	left -= body_size(&c, width);
	if (width == 8) {
		const unsigned char *end = left > 1 ? memchr(p + 1, '\n', left - 1) : NULL;

		if (left == 0 || *p != '\n' || end == NULL ||
		    !take_footer(z, slice_make((const char *)p + 1, (size_t)(end - p - 1))))
			return err_set(
			    err, "the rule at the end of the time zone file is not known");
	}
	return 0;
}

/* ---------------------------------------------------------------- use */

/* Days since 1970 of a date; proleptic Gregorian. */
static int64_t
days_of(int64_t year, int month, int day)
{
	int64_t y = month <= 2 ? year - 1 : year, era = (y >= 0 ? y : y - 399) / 400, yoe, doy;

	yoe = y - era * 400;
	doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static int64_t
year_of(int64_t time)
{
	int64_t days = time / DAY_S - (time % DAY_S < 0), year = 1970 + days / 366;

	while (days_of(year + 1, 1, 1) <= days)
		year++;
	while (days_of(year, 1, 1) > days)
		year--;
	return year;
}

static int64_t
change_of(const struct zone_day *d, int64_t year, int32_t offset)
{
	int64_t first = days_of(year, d->month, 1), day;
	int64_t next = d->month == 12 ? days_of(year + 1, 1, 1) : days_of(year, d->month + 1, 1);
	int weekday = (int)(((first + 4) % 7 + 7) % 7); /* 1970-01-01 was a Thursday */

	day = first + (d->weekday - weekday + 7) % 7 + 7 * (d->week - 1);
	while (day >= next)
		day -= 7;
	return day * DAY_S + d->second - offset;
}

static int32_t
offset_by_rule(const struct zone *z, int64_t time)
{
	int64_t year = year_of(time + z->standard), on, off;

	if (!z->has_summer)
		return z->standard;
	on = change_of(&z->to_summer, year, z->standard);
	off = change_of(&z->to_standard, year, z->summer);
	if (on < off)
		return time >= on && time < off ? z->summer : z->standard;
	return time >= on || time < off ? z->summer : z->standard;
}

int32_t
zone_offset(const struct zone *z, int64_t time)
{
	size_t low = 0, high = z->count;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (z->at[mid] <= time)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == z->count && z->has_rule)
		return offset_by_rule(z, time);
	return low > 0 ? z->offset[low - 1] : z->first;
}

int64_t
zone_next_change(const struct zone *z, int64_t time)
{
	int32_t now = zone_offset(z, time);
	int64_t low = time, high = time;

	/* offsets hold for days at least: coarse steps, then bisection */
	for (int day = 0; day < 366; day++) {
		high += DAY_S;
		if (zone_offset(z, high) != now)
			break;
		low = high;
		if (day == 365)
			return INT64_MAX;
	}
	if (low == high)
		return INT64_MAX;
	while (high - low > 1) {
		int64_t mid = low + (high - low) / 2;

		if (zone_offset(z, mid) == now)
			low = mid;
		else
			high = mid;
	}
	return high;
}
