/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mx_lease: this dispatcher's part of the connections to a destination that all dispatchers share
 * (common/pace/connections.h), asked for in Redis. A sign of life every MX_LEASE_EVERY_MS keeps all
 * leases; how many dispatchers there are is asked of PostgreSQL. Without Redis a destination may have
 * the limit divided by that number, and nothing before the first answer.
 */
#ifndef KAIRAN_MX_LEASE_H
#define KAIRAN_MX_LEASE_H

#include "connections.h"
#include "dispatcher.h"
#include "keys.h"
#include "slice.h"

#define MX_LEASE_EVERY_MS 2000
#define MX_LEASE_COUNT_MS 5000 /* between two looks at the number of dispatchers */
#define MX_LEASE_AGAIN_MS 1000 /* who was granted less than he wants asks again */

struct mx_lease_call;
struct mx_leases;

/* Of one destination; part of it. */
struct mx_lease {
	struct mx_leases *all;
	struct mx_lease *next, **link; /* of all leases */
	void *ctx;		       /* the caller's */
	char key[KEY_MAX];
	unsigned limit, have, want; /* as wished last */
	unsigned granted;
	bool told;		    /* Redis knows these */
	struct mx_lease_call *call; /* under way */
	uint64_t asked_ms;
};

/* granted: a lease has grown. NULL without memory. */
struct mx_leases *mx_leases_new(
    struct dispatcher *d, void (*granted)(void *ctx, struct mx_lease *lease), void *ctx);
/* Nothing is asked any more; leases may still be ended. */
void mx_leases_stop(struct mx_leases *all);
void mx_leases_free(struct mx_leases *all); /* after mx_leases_stop(), when the loop has ended */

void mx_lease_begin(
    struct mx_lease *lease, struct mx_leases *all, struct slice destination, void *ctx);
void mx_lease_end(struct mx_lease *lease); /* calls under way are not waited for */

/* Most connections to it that may be open now, of a limit that all share. */
unsigned mx_lease_allows(const struct mx_lease *lease, unsigned limit);

/* So many are open, so many would be of use. Asks when that is news, or less than that was granted. */
void mx_lease_wish(struct mx_lease *lease, unsigned limit, unsigned have, unsigned want);

#endif
