/* SPDX-License-Identifier: Apache-2.0 */
/* campaign_pace: which providers of a run, or of any, the hour guard keeps waiting at a time. */
#ifndef KAIRAN_CAMPAIGN_PACE_H
#define KAIRAN_CAMPAIGN_PACE_H

#include <stdint.h>
#include <time.h>

#include "cli.h"

/* Whose mail, and when. Neither run nor campaign: that of runs which began long ago. */
struct campaign_moment {
	int64_t run;	      /* 0: none */
	const char *campaign; /* its next run, which begins then; NULL: none */
	time_t at;	      /* 0: now, by the clock of Redis, which lets go, while it answers */
};

/*
 * An array of {"provider", "opens"}, the first to open first; opens is a time as text in UTC, null
 * when pace.guard_lead_s leaves no minute open. Without a run, or with one that is not planned yet:
 * all providers of the table that are guarded. Owned; NULL with err.
 */
json_t *campaign_waits(struct cli *cli, struct db *db, const struct campaign_moment *moment,
    struct err *err) MUST_CHECK;

/* "docomo until TIME, …" behind a label; nothing when nobody waits. */
void campaign_print_waits(const char *label, const json_t *waits);

#endif
