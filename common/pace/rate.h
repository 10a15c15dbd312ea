/* SPDX-License-Identifier: Apache-2.0 */
/* rate: how fast, as people write it: 20/s, 16/min, 10000/h, 400/d. Pure. */
#ifndef KAIRAN_RATE_H
#define KAIRAN_RATE_H

#include "err.h"
#include "slice.h"

#define RATE_MAX 1e6 /* a second */

/* "N/s", "N/min", "N/h" or "N/d" (N may have a fraction) as messages per second. 0, or -1 with
 * err: zero, negative, above RATE_MAX, an unknown unit. */
int rate_parse(double *per_s, struct slice text, struct err *err) MUST_CHECK;

#endif
