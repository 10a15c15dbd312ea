/* SPDX-License-Identifier: Apache-2.0 */
/* rehearsal_report: what a rehearsal tells, as JSON and for readers. */
#ifndef KAIRAN_REHEARSAL_REPORT_H
#define KAIRAN_REHEARSAL_REPORT_H

#include <jansson.h>

#include "rehearsal.h"

/* A time of a scenario in its zone; dst. */
const char *rehearsal_time(const struct scenario *s, double at, char *dst, size_t size);

/* Six digits behind the point are enough for a reader, and the same everywhere. */
json_t *rehearsal_real(double value);

/* Rules that were broken. */
int rehearsal_broken(const struct rehearsal *r);

json_t *rehearsal_json(
    const struct scenario *s, const struct rehearsal *r, double cpu_s, long rss_mb);
void rehearsal_print(const struct scenario *s, const struct rehearsal *r, double cpu_s);

#endif
