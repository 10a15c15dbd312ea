/* SPDX-License-Identifier: Apache-2.0 */
/*
 * retry_budget: how many retries may go to the front of a list that first tries wait in: a share
 * of what left it, so that they do not crowd out the first tries. Pure.
 */
#ifndef KAIRAN_RETRY_BUDGET_H
#define KAIRAN_RETRY_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#define RETRY_SHARE 0.2 /* of what leaves a list */
#define RETRY_FIRST 10	/* whatever left it; and most that is saved up, with a share of */
#define RETRY_SAVED 1000

/* Zeroed it has RETRY_FIRST. */
struct retry_budget {
	double earned; /* less what was taken */
};

/* So many have left the list; below 0: some came back. */
static inline void
retry_budget_earn(struct retry_budget *b, int64_t left)
{
	if (left > 0)
		b->earned += RETRY_SHARE * (double)left;
	if (b->earned > RETRY_SHARE * RETRY_SAVED)
		b->earned = RETRY_SHARE * RETRY_SAVED;
}

static inline int64_t
retry_budget_left(const struct retry_budget *b)
{
	double left = b->earned + RETRY_FIRST;

	return left >= 1 ? (int64_t)left : 0;
}

/* One more may go: false when the share is used up. */
static inline bool
retry_budget_take(struct retry_budget *b)
{
	if (retry_budget_left(b) == 0)
		return false;
	b->earned -= 1;
	return true;
}

#endif
