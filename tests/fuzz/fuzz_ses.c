/* SPDX-License-Identifier: Apache-2.0 */
/* A notice of SES: must end, in bounds, with clean text, and never link without a token. */
#include <stdint.h>
#include <stdlib.h>

#include "ses.h"
#include "tests/support/events_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct token_keys keys = { 1, { 1 }, { { 7 } } };
	struct ses_input in = { { (const char *)data, size }, &keys, { NULL, 0 } };
	struct feedback_events events = { NULL, 0, 0 };
	struct arena arena;
	struct err err;

	arena_init(&arena, SES_ARENA_MAX);
	if (ses_parse(&in, &arena, &events, &err) == 0) {
		events_check(&events);
	}
	arena_release(&arena);
	return 0;
}
