/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keep: mails that a person should see, in a Maildir (reply.maildir) that any mail program reads,
 * and from which they may be forwarded (forward.h). On the disk when keep_mail() returns, so it
 * is called before anything is acknowledged. The same mail again is the same file.
 *
 * May block for the disk. Read-only once made: any thread may keep.
 */
#ifndef KAIRAN_FEEDBACK_KEEP_H
#define KAIRAN_FEEDBACK_KEEP_H

#include <limits.h>

#include "err.h"
#include "slice.h"

#define KEEP_FREE_MIN ((size_t)64 << 20) /* bytes of the disk that strangers cannot fill */

struct keep {
	char path[PATH_MAX - 300];
};

/* Makes the folder with its new/, cur/ and tmp/ when they are missing, mode 700. 0, or -1 with
 * err. */
int keep_init(struct keep *keep, const char *path, struct err *err) MUST_CHECK;

/* Writes trace (header fields, CRLF) and raw as one file of new/, mode 600. 0, also when it is
 * there already; -1 with err: the disk, or less than KEEP_FREE_MIN left on it. */
int keep_mail(
    const struct keep *keep, struct slice trace, struct slice raw, struct err *err) MUST_CHECK;

/* Moves new/NAME to cur/ as seen, where keep_mail() finds it again. 0, or -1 with err. */
int keep_done(const struct keep *keep, const char *name, struct err *err) MUST_CHECK;

#endif
