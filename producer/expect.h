/* SPDX-License-Identifier: Apache-2.0 */
/* expect: when a run that was just planned should end, noted in run_plan for comparison. */
#ifndef KAIRAN_EXPECT_H
#define KAIRAN_EXPECT_H

#include "db.h"
#include "err.h"
#include "policy.h"

/* Notes it; nothing when there is no rate to reckon with. 0; -1 with err, which should not keep
 * the run from being sent. */
int expect_note(struct db *db, const struct config *config, struct policy *policy, const char *run,
    struct err *err) MUST_CHECK;

#endif
