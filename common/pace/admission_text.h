/* SPDX-License-Identifier: Apache-2.0 */
/*
 * admission_text: a pool of admission.h whose lanes and limiters have names, fed with what
 * publication.h makes. Twin of common/lua/plan.lua: after the same texts both grant the same
 * (tests/unit/test_admission.c). Pure.
 */
#ifndef KAIRAN_ADMISSION_TEXT_H
#define KAIRAN_ADMISSION_TEXT_H

#include "admission.h"

#define ADMISSION_TEXT_ACCOUNT "a"
#define ADMISSION_TEXT_LANE "l:" /* what names of lanes begin with */

struct admission_text;

struct admission_text *admission_text_new(void) MUST_CHECK;
void admission_text_free(struct admission_text *t);

struct admission *admission_text_pool(struct admission_text *t);

/* The number of a lane in the pool, made when it is new; -1 without memory. */
int admission_text_lane(struct admission_text *t, const char *name) MUST_CHECK;

/* One pair of a publication at a time; value "": the field goes. 0, or -1 with err: it is not
 * understood, an older generation, no memory. */
int admission_text_put(struct admission_text *t, uint64_t generation, double now, const char *field,
    const char *value, struct err *err) MUST_CHECK;

/* "from,till,interval;" and so on, what stands behind the bar of a value. -1 when it is none, or there
 * are too many. */
int admission_text_rows(
    const char *text, struct admission_row rows[ADMISSION_ROWS_MAX], size_t *count) MUST_CHECK;

/* Behind the last pair: fields that this publication did not name go. */
void admission_text_end(struct admission_text *t);

#endif
