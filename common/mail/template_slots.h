/* SPDX-License-Identifier: Apache-2.0 */
/*
 * template_slots: a compiled template as fixed texts and slots between them, for a service that
 * only puts values into places (templates of Amazon SES that come with a request). What is the
 * same for everybody is a text; each field, condition, list or row of them is one slot, whose
 * value for a recipient is made here, escaped as the template says:
 *
 *   text 0, slot 0, text 1, ... slot count - 1, text count
 */
#ifndef KAIRAN_TEMPLATE_SLOTS_H
#define KAIRAN_TEMPLATE_SLOTS_H

#include "template.h"

struct template_slots {
	const struct template *template; /* borrowed */
	const uint32_t *before;		 /* by op: slots before a fixed text; else inside one */
	size_t count;
};

/* What `before` holds for an op that is no fixed text. */
#define TEMPLATE_IN_SLOT UINT32_MAX

/* Lives in the arena; false without memory. */
bool template_slots_make(
    struct template_slots *slots, const struct template *t, struct arena *arena) MUST_CHECK;

/* Appends the count + 1 fixed texts, a NUL behind each. */
void template_slots_texts(const struct template_slots *slots, struct buf *out);

/* Appends the value of each slot and a NUL behind it: no value holds one. Values were checked
 * (template_values_check). What was appended before a failure stays there. */
enum template_status template_slots_run(const struct template_slots *slots,
    const struct template_values *values, struct buf *out, struct template_result *result);

#endif
