/* SPDX-License-Identifier: Apache-2.0 */
/* ses_pace: see ses_pace.h. */
#include "ses_pace.h"

#define BURST_US 50000 /* unused time that may be caught up with, where more than one leave in it */
#define SLOWER 0.7     /* factor of the rate after a refusal */
#define FASTER 1.02    /* a second without one */
#define SLOWEST 0.1

void
ses_pace_init(struct ses_pace *p, double rate)
{
	*p = (struct ses_pace){ .rate = rate, .factor = 1 };
}

/* Between one recipient and the next. */
static uint64_t
interval_us(const struct ses_pace *p)
{
	return (uint64_t)(1e6 / (p->rate * p->factor));
}

/* Nobody goes on from a time before this one. */
static uint64_t
earliest_us(const struct ses_pace *p, uint64_t now_us)
{
	uint64_t burst_us = interval_us(p) <= BURST_US ? BURST_US : 0;

	return now_us > burst_us ? now_us - burst_us : 0;
}

void
ses_pace_charge(struct ses_pace *p, uint64_t now_us)
{
	if (p->rate <= 0)
		return;
	if (p->next_us < earliest_us(p, now_us))
		p->next_us = earliest_us(p, now_us);
	p->next_us += interval_us(p);
}

void
ses_pace_left(struct ses_pace *p, size_t recipients, uint64_t now_us)
{
	uint64_t next_us;

	if (p->rate <= 0)
		return;
	next_us = earliest_us(p, now_us) + recipients * interval_us(p);
	if (p->next_us < next_us)
		p->next_us = next_us;
}

size_t
ses_pace_requests(const struct ses_pace *p, size_t most)
{
	/* half as much again for what varies */
	double wanted = p->rate * p->factor * p->latency_s * 1.5 + 2;

	return p->rate <= 0 || wanted >= (double)most ? most : (size_t)wanted;
}

size_t
ses_pace_recipients(const struct ses_pace *p, size_t most)
{
	double rate = p->rate * p->factor;

	if (p->rate <= 0 || rate >= (double)most)
		return most;
	return rate > 1 ? (size_t)rate : 1;
}

void
ses_pace_slower(struct ses_pace *p)
{
	p->factor = p->factor * SLOWER > SLOWEST ? p->factor * SLOWER : SLOWEST;
}

void
ses_pace_faster(struct ses_pace *p)
{
	p->factor = p->factor * FASTER < 1 ? p->factor * FASTER : 1;
}

void
ses_pace_answered(struct ses_pace *p, double latency_s)
{
	p->latency_s = p->latency_s > 0 ? p->latency_s * 0.95 + latency_s * 0.05 : latency_s;
}
