/* SPDX-License-Identifier: Apache-2.0 */
/* sparkline: a row of numbers as a row of small bars. Pure. */
#ifndef KAIRAN_SPARKLINE_H
#define KAIRAN_SPARKLINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SPARKLINE_MAX 120

/* One character for each of count (<= SPARKLINE_MAX) values: the greatest fills the line's height, 0 is
 * a dot, and what is above 0 is always a bar. ascii: the characters .-=# instead of blocks. dst: at least
 * 3 * count + 1 bytes. Returns dst. */
const char *sparkline(char *dst, const int64_t *values, size_t count, bool ascii);

#endif
