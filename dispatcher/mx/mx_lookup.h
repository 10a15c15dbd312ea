/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mx_lookup: asks where the mail of a domain goes: DNS for its MX, then, with mx.mta_sts, for its policy
 * (RFC 8461), which is kept as long as it says. The caller keeps the answer.
 */
#ifndef KAIRAN_MX_LOOKUP_H
#define KAIRAN_MX_LOOKUP_H

#include "dispatcher.h"
#include "dnsloop.h"
#include "mx.h"

struct mx_lookup;

struct mx_found {
	struct mx_plan plan;
	bool secure;	 /* only over verified TLS; plan holds none but the hosts of the policy */
	bool forbidden;	 /* none of its hosts is in its policy: temporary (RFC 8461 5) */
	unsigned keep_s; /* ask again after */
};

/* Borrowed for the call. */
typedef void (*mx_lookup_done)(void *ctx, const struct mx_found *found);

/* own: our names, borrowed; dns outlives it. NULL without memory. */
struct mx_lookup *mx_lookup_new(
    struct dispatcher *d, struct dnsloop *dns, const char *const *own, size_t own_count);

/* `done` is called once, perhaps before this returns. */
void mx_lookup_ask(struct mx_lookup *l, const char *domain, mx_lookup_done done, void *ctx);

/* Ends what is under way (MX_LATER) and takes its handles off the loop; dns is stopped by then. */
void mx_lookup_stop(struct mx_lookup *l);
/* After mx_lookup_stop and the end of the loop. */
void mx_lookup_free(struct mx_lookup *l);

#endif
