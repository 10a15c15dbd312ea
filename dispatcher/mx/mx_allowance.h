/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mx_allowance: what one of our addresses may do now: so many connections (mx.connections_per_source) and
 * messages (mx.source_rates), of all dispatchers that send from it together. Both are leased as
 * connections to a destination are (mx_lease.h): of a rate in SOURCE_LIMITS_PARTS, and whoever has some
 * keeps a clock of its own at that part of the rate. So in any window it passes at most the rate
 * and one for each dispatcher. Without Redis each has its share of both.
 */
#ifndef KAIRAN_MX_ALLOWANCE_H
#define KAIRAN_MX_ALLOWANCE_H

#include "mx_lease.h"
#include "source_limits.h"

struct mx_allowance {
	struct dispatcher *d;
	unsigned most;			  /* connections; 0: no limit */
	const struct source_limit *limit; /* NULL: none */
	double per_s;			  /* today; 0: no limit */
	struct mx_lease connections, rate;
	unsigned open; /* connections */
	struct source_clock clock;
};

/* limit outlives it; may be NULL. */
void mx_allowance_begin(struct mx_allowance *a, struct mx_leases *leases, struct dispatcher *d,
    const char *address, unsigned most, const struct source_limit *limit);

/* Whether another connection is allowed, and of use within a second. */
bool mx_allowance_may_open(struct mx_allowance *a);

/* Whether a message may begin on a connection that is open; mx_allowance_sent() when it does. */
bool mx_allowance_may_send(struct mx_allowance *a);
void mx_allowance_sent(struct mx_allowance *a);

/* Until its rate lets another message pass; 0: it does. UINT64_MAX: not before a lease grows. */
uint64_t mx_allowance_wait_us(struct mx_allowance *a);

/* Says what is open and, when something waits, what would be of use. Often: at least once a second. */
void mx_allowance_wish(struct mx_allowance *a, bool waiting);

#endif
