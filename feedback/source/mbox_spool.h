/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mbox_spool: an mbox file into which an MDA delivers, such as /var/mail/bounces. Its mails are read and
 * committed, and when all are, the file is emptied under the locks that MDAs use: FILE.lock, then fcntl().
 * What is appended meanwhile is found by the size under the lock, read first, and never cut off.
 *
 * The locks are held for a look and a truncation, never while mails are read or committed: no delivery
 * waits for a large spool or a slow database. Where deliveries come without a pause, the unread end (1 MB at
 * most) is moved to the front instead. A crash anywhere means that mails are read again, which does
 * nothing. Of a mail past 32 MB the beginning is read.
 *
 * Nobody but MDAs may change the file; when its beginning or what stood before the place is another than
 * what was read, it is read anew. A file that does not begin with "From " is left alone and told of.
 */
#ifndef KAIRAN_FEEDBACK_MBOX_SPOOL_H
#define KAIRAN_FEEDBACK_MBOX_SPOOL_H

#include "config.h"
#include "mail_intake.h"
#include "pull.h"

/* NULL with err when what people write could not be kept: the file is emptied. A file that is not there yet
 * is waited for. */
struct source *mbox_spool_new(uv_loop_t *loop, const struct config *config,
    const struct mail_intake *mail, struct intake *intake, struct err *err);

#endif
