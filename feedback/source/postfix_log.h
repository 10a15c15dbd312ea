/* SPDX-License-Identifier: Apache-2.0 */
/*
 * postfix_log: follows the log of the relay on this host: what Postfix delivered, deferred or
 * gave up. It settles doubt (a line about our mail proves that the relay took it) and knows of
 * deliveries, which no mail tells.
 *
 * A delivery is ours when the queue id's sender (qmgr's from=<b+TOKEN@…>) or its Message-ID
 * carries a token that verifies; everything else in the log is passed over unread. Its place
 * (device, inode, offset) is kept in a file after each commit. Renamed, truncated and replaced logs
 * are followed to their end; a log that was compressed while nobody followed is lost, and said.
 */
#ifndef KAIRAN_FEEDBACK_POSTFIX_LOG_H
#define KAIRAN_FEEDBACK_POSTFIX_LOG_H

#include "config.h"
#include "pull.h"
#include "token.h"

/* NULL with err when the place cannot be kept. A log that is not there yet is waited for. */
struct source *postfix_log_new(uv_loop_t *loop, const struct config *config,
    const struct token_keys *keys, struct intake *intake, struct err *err);

#endif
