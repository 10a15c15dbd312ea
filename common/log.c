/* SPDX-License-Identifier: Apache-2.0 */
/* log: see log.h. One write() a line, so that lines of several processes do not mix. */
#include "log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 1024

static const char *const level_names[] = { "error", "warn", "info", "debug" };

static const char *log_program = "kairan";
static enum log_level log_limit = LOG_LEVEL_INFO;

bool
log_open(const char *program, const char *level)
{
	log_program = program;
	for (unsigned i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
		if (strcmp(level, level_names[i]) == 0) {
			log_limit = (enum log_level)i;
			return true;
		}
	}
	return false;
}

bool
log_is_on(enum log_level level)
{
	return level <= log_limit;
}

static void PRINTF_LIKE(2, 0) write_line(enum log_level level, const char *format, va_list args)
{
	char line[LINE_MAX_BYTES];
	struct timespec now;
	struct tm tm;
	size_t n;
	int m;

	if (level > log_limit)
		return;
	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)gmtime_r(&now.tv_sec, &tm);
	n = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &tm);
	m = snprintf(line + n, sizeof(line) - n, ".%03ldZ %s %s: ", now.tv_nsec / 1000000,
	    level_names[level], log_program);
	n += m > 0 ? (size_t)m : 0;
	m = vsnprintf(line + n, sizeof(line) - n - 1, format, args);
	if (m > 0) {
		size_t end = n + (size_t)m;

		if (end > sizeof(line) - 2)
			end = sizeof(line) - 2;
		for (size_t i = n; i < end; i++)
			if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
				line[i] = ' ';
		n = end;
	}
	line[n++] = '\n';
	(void)!write(STDERR_FILENO, line, n);
}

#define DEFINE_LEVEL(name, level)                                                                  \
	void name(const char *format, ...)                                                         \
	{                                                                                          \
		va_list args;                                                                      \
		va_start(args, format);                                                            \
		write_line(level, format, args);                                                   \
		va_end(args);                                                                      \
	}

DEFINE_LEVEL(log_error, LOG_LEVEL_ERROR)
DEFINE_LEVEL(log_warn, LOG_LEVEL_WARN)
DEFINE_LEVEL(log_info, LOG_LEVEL_INFO)
DEFINE_LEVEL(log_debug, LOG_LEVEL_DEBUG)

void
fatal(int status, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "%s: ", log_program);
	va_start(args, format);
	(void)vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(status);
}
