/* SPDX-License-Identifier: Apache-2.0 */
/*
 * campaign_fit: whether a campaign can go out the way its stream asks for (stream.ses_content), and is not larger than
 * each way out takes (campaign_size.h), said before it is written or started; the dispatcher would pause its run for
 * the same reasons.
 */
#ifndef KAIRAN_CAMPAIGN_FIT_H
#define KAIRAN_CAMPAIGN_FIT_H

#include "campaign_compose.h"
#include "cli.h"
#include "db.h"

/* EXIT_DONE, or EXIT_USAGE after printing, behind `where` ("path: " or ""), why not. */
int campaign_fit_mail(
    struct cli *cli, const struct campaign_mail *mail, const char *where) MUST_CHECK;

/* The same for a campaign of the database; one that is not there fits. EXIT_DONE, or an exit code
 * after printing. */
int campaign_fit(struct cli *cli, struct db *db, const char *name) MUST_CHECK;

#endif
