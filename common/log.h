/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log: one line per event on standard error, `time level program: event key=value …`, control
 * bytes escaped, at most 1 kB. No address and no secret goes into a log: name rows by run and
 * send id, domains by log_domain().
 *
 * The level and the program's name are the only global state of the programs beside the
 * signal flag.
 */
#ifndef KAIRAN_LOG_H
#define KAIRAN_LOG_H

#include <stdbool.h>

#include "err.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* program: static string. level: "error", "warn", "info" or "debug"; false when unknown. */
bool log_open(const char *program, const char *level);

bool log_is_on(enum log_level level);
void log_error(const char *format, ...) PRINTF_LIKE(1, 2);
void log_warn(const char *format, ...) PRINTF_LIKE(1, 2);
void log_info(const char *format, ...) PRINTF_LIKE(1, 2);
void log_debug(const char *format, ...) PRINTF_LIKE(1, 2);

/* For start-up and under main only: prints `program: sentence` and exits with status. */
_Noreturn void fatal(int status, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
