/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hook: tells the outside that a run finished, paused or failed: a program gets a JSON object on
 * standard input (no shell) and our environment but for KAIRAN_*, AWS_* and PG* (KAIRAN_CONFIG
 * stays), a web address gets it by POST. Called at least once for each event,
 * up to HOOK_TRIES times until it succeeds.
 */
#ifndef KAIRAN_HOOK_H
#define KAIRAN_HOOK_H

#include "config.h"
#include "db.h"
#include "err.h"

#define HOOK_TRIES 5

/* Calls the hooks of all events that wait. Blocks up to producer.hook_timeout_s each. 0, or -1
 * when PostgreSQL failed. */
int hook_round(struct db *db, const struct config *config) MUST_CHECK;

/* One call each; 0 when it succeeded (exit status 0; 2xx), else -1 with err. Exposed for tests. */
int hook_command(const char *command, const char *json, long timeout_s, struct err *err) MUST_CHECK;
int hook_post(const char *url, const char *json, long timeout_s, struct err *err) MUST_CHECK;

#endif
