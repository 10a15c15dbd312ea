/* SPDX-License-Identifier: Apache-2.0 */
/* settings: what `kairan pace set` has put into the table pace_setting, read into a policy. */
#ifndef KAIRAN_SETTINGS_H
#define KAIRAN_SETTINGS_H

#include "db.h"
#include "policy.h"

/* 1 when the policy differs from the last time, 0 when not, -1 with db->error (the policy is as it
 * was). A row that means nothing here, such as a group of another host's provider table, is left out
 * with a warning in the log whenever something changes. */
int settings_read(struct db *db, struct policy *policy) MUST_CHECK;

#endif
