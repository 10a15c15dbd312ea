/* SPDX-License-Identifier: Apache-2.0 */
/* An answer of SendBulkEmail. Whatever it says: only SUCCESS with an id is sent, texts are clean, and
 * what is about the account settles nobody. */
#include <stdint.h>
#include <stdlib.h>

#include "ses_answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(struct slice s, size_t max)
{
	if (s.len > max)
		abort();
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.ptr[i] < 0x20 || s.ptr[i] == 0x7f)
			abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ses_bulk_answer list;
	struct ses_answer a;
	struct arena arena;

	arena_init(&arena, SES_ANSWER_ARENA_MAX);
	if (!ses_bulk_answer_parse(&list, slice_make((const char *)data, size), &arena))
		list.count = 0;
	for (size_t i = 0; i < list.count; i++) {
		const struct ses_bulk_result *r = &list.entry[i];

		ses_answer_bulk_entry(&a, r, SLICE("to@x.example"));
		check(a.outcome.text, OUTCOME_TEXT_MAX);
		check(a.outcome.remote_id, SES_ID_MAX);
		if (a.outcome.reason == NULL || a.outcome.cls == OUTCOME_HARD ||
		    (a.action == SES_SETTLE) == (a.outcome.kind == OUTCOME_RELEASED))
			abort();
		if ((a.outcome.kind == OUTCOME_SENT) !=
		    (slice_equal(r->status, SLICE("SUCCESS")) && r->id.len > 0))
			abort();
	}
	arena_release(&arena);
	return 0;
}
