/* SPDX-License-Identifier: Apache-2.0 */
/*
 * err: why something a person or a peer gave us was refused. Filled by parsers, printed only
 * by mains. The message is one plain sentence that says what to do, without a final newline.
 */
#ifndef KAIRAN_ERR_H
#define KAIRAN_ERR_H

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))

struct err {
	size_t offset; /* byte in the input, or line where the parser says so */
	char msg[400];
};

/* Sets the message and returns -1, so that a parser can say `return err_set(...)`. */
static inline int PRINTF_LIKE(2, 3) err_set(struct err *err, const char *format, ...)
{
	va_list args;

	if (err == NULL)
		return -1;
	va_start(args, format);
	(void)vsnprintf(err->msg, sizeof(err->msg), format, args);
	va_end(args);
	return -1;
}

#endif
