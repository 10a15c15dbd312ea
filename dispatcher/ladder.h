/* SPDX-License-Identifier: Apache-2.0 */
/* ladder: how long a temporary failure waits for its next try, by the tries it has had. */
#ifndef KAIRAN_LADDER_H
#define KAIRAN_LADDER_H

#include "err.h"

#define LADDER_MAX 32

struct ladder {
	long wait_s[LADDER_MAX];
	int steps;
};

/* "7m,17m,300": s, m or h behind a number. 0, or -1 with err, which names the key. */
int ladder_parse(struct ladder *ladder, const char *text, struct err *err) MUST_CHECK;

/* Seconds to wait after so many tries; the last step repeats. */
long ladder_wait_s(const struct ladder *ladder, int tries);

#endif
