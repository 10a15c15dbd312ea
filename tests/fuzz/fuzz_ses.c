/* SPDX-License-Identifier: Apache-2.0 */
/* A notice of SES: must end, in bounds, with clean text, and never link without a token. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "ses.h"

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
	struct ses_input in = { { (const char *)data, size }, &keys, { NULL, 0 } };
	struct feedback_events events = { NULL, 0, 0 };
	struct arena arena;
	struct err err;

	arena_init(&arena, SES_ARENA_MAX);
	if (ses_parse(&in, &arena, &events, &err) == 0) {
		for (size_t i = 0; i < events.count; i++) {
			const struct feedback_event *e = &events.items[i];
			if (!is_clean(e->text) || !is_clean(e->address) || !is_clean(e->detail) ||
			    !is_clean(e->key) || e->key.len == 0 || e->reason == NULL ||
			    (!e->linked && e->token.send != 0))
				abort();
		}
	}
	arena_release(&arena);
	return 0;
}
