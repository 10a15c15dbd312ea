/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nameset: names that are left alone, by hash, in fixed memory. When three quarters of it are
 * used all are forgotten; what is met again then does no harm.
 */
#ifndef KAIRAN_FEEDBACK_NAMESET_H
#define KAIRAN_FEEDBACK_NAMESET_H

#include <stdbool.h>
#include <stdint.h>

#include "slice.h"

#define NAMESET_SLOTS 65536 /* a power of two */

struct nameset {
	uint64_t slots[NAMESET_SLOTS]; /* 0: free */
	size_t count;
};

bool nameset_has(const struct nameset *set, struct slice name);
void nameset_add(struct nameset *set, struct slice name);
void nameset_clear(struct nameset *set);

#endif
