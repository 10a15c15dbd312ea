/* SPDX-License-Identifier: Apache-2.0 */
/*
 * once: `kairan-feedback --stdin`: one mail, or one document of SNS, from standard input into
 * the database, without the daemon. For a pipe of an MTA, procmail, or a script.
 */
#ifndef KAIRAN_FEEDBACK_ONCE_H
#define KAIRAN_FEEDBACK_ONCE_H

#include <stdbool.h>
#include <stddef.h>

#include "config.h"
#include "err.h"
#include "slice.h"
#include "token.h"

struct mail_worker;

struct once_input {
	int fd;
	bool is_sns;
	const struct slice *rcpts; /* envelope recipients of a mail; none: its header says */
	size_t rcpt_count;
	struct mail_worker *worker; /* that parses a mail */
};

/* EXIT_DONE when committed; EXIT_TEMPORARY or EXIT_FAILED (not a document of ours) with err. */
int once_run(const struct config *config, const struct token_keys *keys,
    const struct once_input *in, struct err *err);

#endif
