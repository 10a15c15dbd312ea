/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sandbox: keeps kairan.ses_sandbox for the region of an account at Amazon SES: its verified
 * identities while the account is in the sandbox, no row otherwise.
 */
#ifndef KAIRAN_SANDBOX_H
#define KAIRAN_SANDBOX_H

#include <stdbool.h>

#include "aws_call.h"
#include "db.h"
#include "err.h"

/* Asks SES for the identities when is_on, a page a second (other actions than sending are limited to
 * that). 0, or -1 with err; the row then stays as it was. */
int sandbox_keep(
    struct db *db, const struct aws_client *client, bool is_on, struct err *err) MUST_CHECK;

#endif
