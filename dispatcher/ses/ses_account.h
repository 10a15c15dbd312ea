/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ses_account: what the account at Amazon SES may do, looked at each minute. The producer that leads asks
 * SES for all and leaves the answer in Redis; without a producer each dispatcher asks itself.
 */
#ifndef KAIRAN_SES_ACCOUNT_H
#define KAIRAN_SES_ACCOUNT_H

#include <stdbool.h>

#include "dispatcher.h"
#include "ses_credentials.h"
#include "ses_link.h"

struct ses_account_look;

/* changed: something was learned, or that nothing can be. place and credentials outlive it. NULL without
 * memory. */
struct ses_account_look *ses_account_look_new(struct dispatcher *d, struct ses_link_place *place,
    struct ses_credentials *credentials, void (*changed)(void *ctx), void *ctx);
void ses_account_look_free(struct ses_account_look *a);

/* Each second, and whenever somebody waits for it: looks when it is time. */
void ses_account_look_tick(struct ses_account_look *a);

/* Looks with the next tick, whenever it did. */
void ses_account_look_again(struct ses_account_look *a);

/* Messages a second that we allow ourselves, 0: not known. */
double ses_account_look_rate(const struct ses_account_look *a);

/* It is known, or sending goes on without, and tells more. */
bool ses_account_look_is_done(const struct ses_account_look *a);

/* Nothing is asked and nothing told any more. */
void ses_account_look_stop(struct ses_account_look *a);

#endif
