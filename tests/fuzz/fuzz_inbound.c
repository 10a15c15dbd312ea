/* SPDX-License-Identifier: Apache-2.0 */
/* A mail from anywhere: must end, in bounds, and must not link without a token. The first byte
 * chooses where the recipient comes from. */
#include <gmime/gmime.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "inbound.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
is_clean(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.ptr[i] < 0x20 || s.ptr[i] == 0x7F)
			return false;
	return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct token_keys keys = { 1, { 1 }, { { 7 } } };
	static bool is_ready;
	struct slice rcpt = SLICE("bounces@bounce.test");
	struct feedback_events events = { NULL, 0, 0 };
	struct inbound_input in = { { NULL, 0 }, &rcpt, 0, &keys, { NULL, 0 } };
	struct arena arena;
	struct err err;

	if (!is_ready) {
		g_mime_init();
		is_ready = true;
	}
	if (size == 0)
		return 0;
	in.rcpt_count = data[0] & 1;
	in.raw = slice_make((const char *)data + 1, size - 1);
	arena_init(&arena, INBOUND_ARENA_MAX);
	if (inbound_parse(&in, &arena, &events, &err) == 0) {
		if (events.count == 0)
			abort();
		for (size_t i = 0; i < events.count; i++) {
			const struct feedback_event *e = &events.items[i];
			if (!is_clean(e->text) || !is_clean(e->address) || !is_clean(e->detail) ||
			    !is_clean(e->key) || e->key.len == 0 || e->reason == NULL ||
			    (!e->linked && e->token.send != 0))
				abort();
		}
	} else if (in.raw.len <= INBOUND_SIZE_MAX) {
		abort(); /* the arena is large enough for every mail */
	}
	arena_release(&arena);
	return 0;
}
