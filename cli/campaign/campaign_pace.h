/* SPDX-License-Identifier: Apache-2.0 */
/* campaign_pace: which providers of a run, or of any, the hour guard keeps waiting at a time. */
#ifndef KAIRAN_CAMPAIGN_PACE_H
#define KAIRAN_CAMPAIGN_PACE_H

#include <stdint.h>
#include <time.h>

#include "cli.h"

/*
 * An array of {"provider", "opens"}, the first to open first; opens is a time as text in UTC, null
 * when pace.guard_lead_s leaves no minute open. run 0, or one that is not planned yet: all
 * providers of the table that are guarded. Owned; NULL after err was set (the configuration) or
 * db->error (db_is_lost).
 */
json_t *campaign_waits(
    struct cli *cli, struct db *db, int64_t run, time_t at, struct err *err) MUST_CHECK;

/* "docomo until TIME, …" behind a label; nothing when nobody waits. */
void campaign_print_waits(const char *label, const json_t *waits);

#endif
