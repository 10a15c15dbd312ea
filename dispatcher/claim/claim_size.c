/* SPDX-License-Identifier: Apache-2.0 */
/* claim_size: see claim_size.h. */
#include "claim_size.h"

#define MEASURE_MS 250
#define WITHIN 8 /* what leaves within this part of a second */

void
claim_size_init(struct claim_size *s, long least, long most, uint64_t now_ms)
{
	*s = (struct claim_size){ .rows = least, .least = least, .most = most, .since_ms = now_ms };
}

void
claim_size_count(struct claim_size *s, uint64_t rows)
{
	s->left += rows;
}

void
claim_size_adapt(struct claim_size *s, uint64_t now_ms)
{
	uint64_t took = now_ms - s->since_ms, rows;

	if (took < MEASURE_MS)
		return;
	rows = s->left * 1000 / took / WITHIN;
	s->rows = rows < (uint64_t)s->least ? s->least
	    : rows > (uint64_t)s->most	    ? s->most
					    : (long)rows;
	s->left = 0;
	s->since_ms = now_ms;
}
