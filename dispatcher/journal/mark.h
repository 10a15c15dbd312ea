/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mark: the journal as a transport uses it, SMTP or API. The order of journal.h: mark_before()
 * before the last byte that makes a mail can leave, mark_answer() before anything else is done
 * with the outcome.
 */
#ifndef KAIRAN_MARK_H
#define KAIRAN_MARK_H

#include <stdbool.h>

#include "dispatcher.h"
#include "flight.h"
#include "outcome.h"

/* Whether this flight may go out at all: its run is running, and nobody has declared us dead. What may
 * not goes back (settle_release), however often its sessions have ended. */
bool mark_may(const struct dispatcher *d, const struct flight *f);

/* The point of no return: from here on a dispatcher that dies leaves this flight in doubt. False:
 * no slot of the journal is free, and nothing more may leave. */
bool mark_before(struct dispatcher *d, struct flight *f);

/* Notes what was decided of a flight; what is in doubt stays what a mark without answer says. */
void mark_answer(struct dispatcher *d, const struct flight *f, const struct outcome *o);

#endif
