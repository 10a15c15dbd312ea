/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sts_fetch: gets the policy file of MTA-STS (RFC 8461 3.3) of a domain: DNS for mta-sts.DOMAIN, then
 * HTTPS with a verified certificate, without redirects, at most 64 kB and a minute.
 */
#ifndef KAIRAN_STS_FETCH_H
#define KAIRAN_STS_FETCH_H

#include "dispatcher.h"
#include "dnsloop.h"
#include "mta_sts.h"

struct sts_fetch;

/* policy NULL: there is none to be had now. Borrowed for the call. */
typedef void (*sts_fetch_done)(void *ctx, const struct mta_sts_policy *policy);

/* dns outlives it. NULL without memory. */
struct sts_fetch *sts_fetch_new(struct dispatcher *d, struct dnsloop *dns);

/* `done` is called once, perhaps before this returns. */
void sts_fetch_get(struct sts_fetch *s, const char *domain, sts_fetch_done done, void *ctx);

/* Ends what is under way (no policy) and takes its handles off the loop. */
void sts_fetch_stop(struct sts_fetch *s);
/* After sts_fetch_stop and the end of the loop. */
void sts_fetch_free(struct sts_fetch *s);

#endif
