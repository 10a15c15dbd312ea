/* SPDX-License-Identifier: Apache-2.0 */
/* events_check: what must hold of every list of events, whatever the input: for fuzz targets. */
#ifndef KAIRAN_TESTS_EVENTS_CHECK_H
#define KAIRAN_TESTS_EVENTS_CHECK_H

#include <stdbool.h>
#include <stdlib.h>

#include "event.h"

/* No control characters: fit for terminals and text columns. */
static inline bool
text_is_clean(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.ptr[i] < 0x20 || s.ptr[i] == 0x7F)
			return false;
	return true;
}

static inline void
events_check(const struct feedback_events *events)
{
	for (size_t i = 0; i < events->count; i++) {
		const struct feedback_event *e = &events->items[i];

		if (!text_is_clean(e->text) || !text_is_clean(e->address) ||
		    !text_is_clean(e->detail) || !text_is_clean(e->key) || e->key.len == 0 ||
		    e->reason == NULL || (!e->linked && e->token.send != 0))
			abort();
	}
}

#endif
