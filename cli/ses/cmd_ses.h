/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_ses: what Amazon SES says of the account. */
#ifndef KAIRAN_CMD_SES_H
#define KAIRAN_CMD_SES_H

#include "aws_endpoint.h"
#include "cli.h"
#include "ses_answer.h"

/* EXIT_DONE with both filled, or an exit code after printing the reason. */
int ses_ask_account(
    struct cli *cli, struct ses_account *account, struct aws_endpoint *endpoint) MUST_CHECK;

#endif
