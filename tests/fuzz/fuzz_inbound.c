/* SPDX-License-Identifier: Apache-2.0 */
/* A mail from anywhere: must end, in bounds, and must not link without a token. The first byte
 * chooses where the recipient comes from. */
#include <stdint.h>
#include <stdlib.h>

#include "inbound.h"
#include "tests/support/events_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct token_keys keys = { 1, { 1 }, { { 7 } } };
	struct slice rcpt = SLICE("bounces@bounce.test");
	struct feedback_events events = { NULL, 0, 0 };
	struct inbound_input in = { { NULL, 0 }, &rcpt, 0, &keys, { NULL, 0 }, NULL, NULL };
	struct arena arena;
	struct err err;

	if (size == 0)
		return 0;
	in.rcpt_count = data[0] & 1;
	in.raw = slice_make((const char *)data + 1, size - 1);
	arena_init(&arena, INBOUND_ARENA_MAX);
	if (inbound_parse(&in, &arena, &events, &err) == 0) {
		if (events.count == 0)
			abort();
		events_check(&events);
	} else if (in.raw.len <= INBOUND_SIZE_MAX) {
		abort(); /* the arena is large enough for every mail */
	}
	arena_release(&arena);
	return 0;
}
