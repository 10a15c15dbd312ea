/* SPDX-License-Identifier: Apache-2.0 */
/*
 * campaign_size: whether the mail of a campaign is larger than every way out takes: the SIZE that the relays of
 * relay.host state to EHLO (RFC 1870), or what Amazon SES takes. What is not known is no reason to refuse; the
 * dispatcher looks again.
 */
#ifndef KAIRAN_CAMPAIGN_SIZE_H
#define KAIRAN_CAMPAIGN_SIZE_H

#include <stddef.h>
#include <stdint.h>

#include "config.h"
#include "err.h"
#include "relay.h"

/* Every server must take as much (RFC 5321 4.5.3.1.7): for less nobody is asked. */
#define CAMPAIGN_SIZE_ALWAYS 65536

/* What a relay states: 0 with *size, 0 without limit; -1: it cannot be asked. */
typedef int campaign_size_ask(void *ctx, const struct relay *relay, uint64_t *size);

/* True with err, which says who takes how much, when a mail of so many bytes is too large for all of them. Pure but
 * for `ask`, which is called until one is found that may take it. */
bool campaign_size_exceeds(const struct config *config, size_t bytes, campaign_size_ask *ask,
    void *ctx, struct err *err) MUST_CHECK;

/* The same by asking the relays, each within a few seconds. */
bool campaign_size_is_too_large(
    const struct config *config, size_t bytes, struct err *err) MUST_CHECK;

#endif
