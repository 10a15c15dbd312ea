/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mail_parser: the processes behind mail_worker.h: the nursery, and the parser that it makes.
 * mail_worker.c talks to them.
 */
#ifndef KAIRAN_FEEDBACK_MAIL_PARSER_H
#define KAIRAN_FEEDBACK_MAIL_PARSER_H

#include <stdbool.h>
#include <stddef.h>

#include "slice.h"

/* To the nursery, one byte: make a parser. The answer: one byte and the parser's socket. */
#define NURSERY_CONTAINED 'c'
#define NURSERY_OPEN 'o'

/* The nursery: makes parsers until its socket ends. */
_Noreturn void nursery_run(int control);

/* All of it, within timeout_ms of silence; 0, or -1 when the other side is gone, silent or slow. For
 * both ends of the socket between daemon and parser. timeout_ms < 0: none. */
int frame_send(int fd, struct slice bytes, int timeout_ms);
int frame_receive(int fd, void *dst, size_t n, int timeout_ms);

#endif
