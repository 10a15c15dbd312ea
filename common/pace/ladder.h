/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ladder: how long a temporary failure waits for its next try, by what it is and the tries that its recipient has
 * had. Who is greylisted is let in soon, a full mailbox is not emptied within minutes, and DNS that
 * does not answer mostly does a little later.
 */
#ifndef KAIRAN_LADDER_H
#define KAIRAN_LADDER_H

#include <stdint.h>

#include "err.h"
#include "outcome.h"

#define LADDER_MAX 32

enum ladder_kind { LADDER_ANY, LADDER_GREYLISTED, LADDER_MAILBOX_FULL, LADDER_DNS, LADDER_KINDS };

struct ladder {
	struct ladder_steps {
		long wait_s[LADDER_MAX];
		int count; /* 0, but of LADDER_ANY: as that */
	} of[LADDER_KINDS];
};

/* "7m,17m,300 | greylisted 6m,17m": s, m or h behind a number; behind a bar the name of a kind (greylisted,
 * mailbox_full, dns) and its own waits. 0, or -1 with err, which names the key. */
int ladder_parse(struct ladder *ladder, const char *text, struct err *err) MUST_CHECK;

#define LADDER_CLEAR_S 300 /* a wait ends at least so far from a multiple of an hour */

/* By reason and enhanced code. NULL: nothing in particular. */
enum ladder_kind ladder_kind_of(const struct outcome *o);

/* Seconds to wait after so many tries; the last step repeats. o: why, as of ladder_kind_of(). chance: any number;
 * spreads it by up to 15 % both ways, but a wait of half an hour or more never ends in the minutes of the
 * hour in which it began: who is turned away because everybody sends at the full hour must not come back
 * at the next one. */
long ladder_wait_s(
    const struct ladder *ladder, const struct outcome *o, int tries, uint32_t chance);

#endif
