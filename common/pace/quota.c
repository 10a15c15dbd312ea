/* SPDX-License-Identifier: Apache-2.0 */
/* quota: see quota.h. */
#include "quota.h"

#include <math.h>

#define YEAR_MINUTES (366 * QUOTA_DAY)
#define AHEAD_MINUTES 60

static int64_t
minute_of(double at)
{
	return (int64_t)floor(at / QUOTA_MINUTE_US);
}

static uint64_t *
bucket(struct quota *q, int64_t minute)
{
	int64_t at = minute % QUOTA_RING;

	return &q->minutes[at < 0 ? at + QUOTA_RING : at]; /* a clock may stand before 2026 */
}

uint64_t
quota_left(struct quota *q, double now)
{
	int64_t keep = minute_of(now) - QUOTA_DAY;

	if (q->limit == 0)
		return UINT64_MAX;
	if (q->sum == 0)
		q->tail = keep;
	for (int steps = 0; q->tail < keep && steps < QUOTA_RING; q->tail++, steps++) {
		q->sum -= *bucket(q, q->tail);
		*bucket(q, q->tail) = 0;
	}
	if (q->tail < keep)
		q->tail = keep;
	return q->sum < q->limit ? q->limit - q->sum : 0;
}

void
quota_add(struct quota *q, double at, uint64_t n)
{
	if (q->limit == 0)
		return;
	if (q->sum == 0)
		q->tail = minute_of(at) - QUOTA_DAY;
	*bucket(q, minute_of(at)) += n;
	q->sum += n;
}

void
quota_put(struct quota *q, int64_t minute, uint64_t n, double now)
{
	(void)quota_left(q, now);
	if (minute < q->tail || minute > minute_of(now) + 1 || *bucket(q, minute) >= n)
		return;
	q->sum += n - *bucket(q, minute);
	*bucket(q, minute) = n;
}

void
quota_return(struct quota *q, uint64_t n, double now)
{
	if (q->limit == 0)
		return;
	for (int64_t minute = minute_of(now) + 1; minute >= minute_of(now) - 1; minute--) {
		uint64_t *b = bucket(q, minute), part = *b < n ? *b : n;

		*b -= part;
		q->sum -= part;
		n -= part;
	}
}

void
quota_counted(struct quota *q, uint64_t used, double now)
{
	uint64_t own;

	(void)quota_left(q, now);
	own = q->sum - q->others;
	q->others = q->limit > 0 && used > own ? used - own : 0;
	q->sum = own + q->others;
}

double
quota_opens(const struct quota *q, uint64_t n, double now)
{
	struct quota copy = *q;

	if (quota_left(&copy, now) >= n)
		return now;
	for (int64_t m = minute_of(now) + 1; m <= minute_of(now) + QUOTA_DAY + 2; m++)
		if (quota_left(&copy, (double)m * QUOTA_MINUTE_US) >= n)
			return (double)m * QUOTA_MINUTE_US;
	return INFINITY;
}

double
quota_finish(const struct quota *q, double n, double per_s, double now)
{
	struct quota copy = *q;
	double at = now, part = 0;

	if (q->limit == 0)
		return n > 0 && per_s > 0 ? now + n / per_s * 1e6 : now;
	for (int minutes = 0; minutes < YEAR_MINUTES; minutes++) {
		double end = (double)(minute_of(at) + 1) * QUOTA_MINUTE_US;
		double room = (double)quota_left(&copy, at);
		double most = per_s > 0 ? per_s * (end - at) / 1e6 : room;
		double sent = fmin(fmin(room, most), n);

		if (sent >= n)
			return per_s > 0 ? at + n / per_s * 1e6 : at;
		n -= sent;
		part += sent; /* less than one a minute */
		quota_add(&copy, at, (uint64_t)part);
		part -= floor(part);
		at = end;
	}
	return INFINITY;
}

double
quota_pace(const struct quota *q, double n, uint64_t kept, double now)
{
	struct quota copy = *q;
	uint64_t left = quota_left(&copy, now);
	uint64_t soon = quota_left(&copy, now + AHEAD_MINUTES * QUOTA_MINUTE_US);

	if (q->limit == 0 || (left >= kept && n <= (double)(left - kept)))
		return INFINITY;
	if (left <= kept)
		return 0;
	return (double)(soon - kept) / (AHEAD_MINUTES * 60);
}
