/* SPDX-License-Identifier: Apache-2.0 */
/* ladder: how long a temporary failure waits for its next try, by the tries it has had. */
#ifndef KAIRAN_LADDER_H
#define KAIRAN_LADDER_H

#include <stdint.h>

#include "err.h"

#define LADDER_MAX 32

struct ladder {
	long wait_s[LADDER_MAX];
	int steps;
};

/* "7m,17m,300": s, m or h behind a number. 0, or -1 with err, which names the key. */
int ladder_parse(struct ladder *ladder, const char *text, struct err *err) MUST_CHECK;

#define LADDER_CLEAR_S 300 /* a wait ends at least so far from a multiple of an hour */

/* Seconds to wait after so many tries; the last step repeats. chance: any number; spreads it by up to
 * 15 % both ways, but a wait of half an hour or more never ends in the minutes of the hour in which it began:
 * who is turned away because everybody sends at the full hour must not come back at the next one. */
long ladder_wait_s(const struct ladder *ladder, int tries, uint32_t chance);

#endif
