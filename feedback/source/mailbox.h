/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mailbox: a mailbox by IMAP or POP3 (mailbox.url). Every look opens one session, reads what is
 * there without marking it (BODY.PEEK[]), has it committed, and only then deletes or flags it.
 *
 * What was not understood (a human's reply, a broken report) is recorded as an event of kind
 * other and stays in the mailbox untouched, for a person; it is read once a life of the program.
 * Of IMAP, deleting means \Deleted and UID EXPUNGE of just that mail; without UIDPLUS the flag
 * alone. Of POP3 nothing is gone before QUIT was answered.
 */
#ifndef KAIRAN_FEEDBACK_MAILBOX_H
#define KAIRAN_FEEDBACK_MAILBOX_H

#include "config.h"
#include "pull.h"
#include "token.h"

struct mail_worker;

/* NULL with err when the configuration is wrong. */
struct source *mailbox_new(uv_loop_t *loop, const struct config *config,
    const struct token_keys *keys, struct intake *intake, struct mail_worker *worker,
    struct err *err);

#endif
