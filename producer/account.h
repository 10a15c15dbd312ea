/* SPDX-License-Identifier: Apache-2.0 */
/*
 * account: the limits of the account at Amazon SES, asked for once a minute by the producer that
 * leads (GetAccount) and shared with everybody through Redis. Used by two threads.
 */
#ifndef KAIRAN_ACCOUNT_H
#define KAIRAN_ACCOUNT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "config.h"
#include "db.h"
#include "rds_quota.h"

#define ACCOUNT_EVERY_S 60
#define ACCOUNT_SHARE 0.9 /* of MaxSendRate: sustained excess is refused */

struct account {
	pthread_mutex_t lock;
	struct rds_account figures; /* at 0: not known */
	bool fresh;		    /* not written to Redis yet */
};

void account_init(struct account *a);

/* Whether this installation sends through SES. */
bool account_is_ses(const struct config *config);

/* Asks, and keeps what is to be known of a sandbox (sandbox.h) in the database, unless db is NULL.
 * Blocks for as long as ses.connect_timeout_s for each request; 0, or -1 with err. */
int account_ask(struct account *a, const struct config *config, struct db *db,
    const atomic_bool *stop, struct err *err) MUST_CHECK;

/* What is known. take: true when it is new since the last call of take. */
void account_peek(struct account *a, struct rds_account *figures);
bool account_take(struct account *a, struct rds_account *figures);

#endif
