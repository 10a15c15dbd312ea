/* SPDX-License-Identifier: Apache-2.0 */
/*
 * daemon: kairan-feedback as a service: the loop, the connection, the intake and the configured
 * sources. It starts without PostgreSQL and says "try again" until it is there and its schema
 * is the right one. SIGTERM and SIGINT: no new work, commit what is in flight, answer, end.
 */
#ifndef KAIRAN_FEEDBACK_DAEMON_H
#define KAIRAN_FEEDBACK_DAEMON_H

#include "config.h"
#include "err.h"
#include "token.h"

#define DAEMON_DRAIN_MS 4000 /* with SNS_CERT_TIMEOUT_S less than 10 s */

/* Returns an exit_code when it was asked to stop, or with err when it cannot start. */
struct mail_worker;
int daemon_run(const struct config *config, const struct token_keys *keys,
    struct mail_worker *worker, struct err *err);

#endif
