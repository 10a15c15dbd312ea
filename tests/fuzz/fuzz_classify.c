/* SPDX-License-Identifier: Apache-2.0 */
/* Anything as a notice (mail, body, JSON of SES): must end, in bounds, with clean text, within
 * the arena, and hard only where something failed for good. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "inbound.h"
#include "notice_ses.h"
#include "tests/support/events_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice raw = slice_make((const char *)data, size);
	struct notice notice;
	struct arena arena;

	arena_init(&arena, INBOUND_ARENA_MAX);
	if (notice_classify(&notice, raw, &arena) < 0)
		abort(); /* the arena is large enough for everything */
	if (notice.reason == NULL || notice.source == NULL ||
	    notice.count > NOTICE_RECIPIENTS_MAX ||
	    (notice.kind == NOTICE_BOUNCE && notice.count == 0 &&
		strcmp(notice.source, "text") != 0))
		abort();
	for (size_t i = 0; i < notice.count; i++) {
		const struct notice_recipient *r = &notice.recipients[i];

		if (!text_is_clean(r->text) || !text_is_clean(r->address) || r->reason == NULL ||
		    r->text.len > OUTCOME_TEXT_MAX ||
		    (r->cls == OUTCOME_HARD && (r->action != DSN_FAILED || r->enhanced[0] == 4)))
			abort();
	}
	arena_release(&arena);
	return 0;
}
