/* SPDX-License-Identifier: Apache-2.0 */
/* warm: moves the warm-up of a route on by a day, or holds it. */
#ifndef KAIRAN_WARM_H
#define KAIRAN_WARM_H

#include "db.h"
#include "err.h"

/* Of the leader, now and then. 0, or -1 with db->error. */
int warm_round(struct db *db) MUST_CHECK;

#endif
