/* SPDX-License-Identifier: Apache-2.0 */
/*
 * maildir: watches new/ of a Maildir (notices by the kernel, and a look every 10 s). Each file
 * is read once, handed to the intake, and moved to cur/ with ":2,S" when its events are
 * committed, whether it was understood or not. Never reads tmp/.
 *
 * A file that cannot be read (or moved) stays where it is and is logged once. Only regular
 * files; links are not followed. Of a file past INBOUND_SIZE_MAX the first bytes are read. It
 * waits while the intake is not open.
 */
#ifndef KAIRAN_FEEDBACK_MAILDIR_H
#define KAIRAN_FEEDBACK_MAILDIR_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "err.h"
#include "intake.h"
#include "mail_intake.h"

#define MAILDIR_TOGETHER_MAX 64 /* files at the intake */
#define MAILDIR_RESCAN_S 10

struct maildir_config {
	const char *path; /* borrowed, like all here, until maildir_free() */
	struct mail_intake mail;
	struct intake *intake;
};

/* NULL with err when path has no new/ and cur/. */
struct source *maildir_new(uv_loop_t *loop, const struct maildir_config *config, struct err *err);

#endif
