/* SPDX-License-Identifier: Apache-2.0 */
/*
 * smtp_server: bounces straight from the internet (smtp.listen). Who may connect: smtp.allow and
 * smtp.deny (cidr.h). What is taken: smtp.rules_file (rules.h), else tokens that verify, and
 * postmaster, abuse and fbl of feedback.domain, which are kept for a person. There is no AUTH and
 * no relaying. A message is answered 250 when it is committed.
 *
 * The certificate is read again when its file has changed, so a renewal needs no restart.
 */
#ifndef KAIRAN_FEEDBACK_SMTP_SERVER_H
#define KAIRAN_FEEDBACK_SMTP_SERVER_H

#include <uv.h>

#include "config.h"
#include "err.h"
#include "intake.h"
#include "mail_intake.h"
#include "source.h"

/* config and what mail points to are borrowed until the source is freed. NULL with err. */
struct source *smtp_server_new(uv_loop_t *loop, const struct config *config,
    const struct mail_intake *mail, struct intake *intake, struct err *err);

#endif
