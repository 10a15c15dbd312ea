/* SPDX-License-Identifier: Apache-2.0 */
/* A request of the webhook, "TIMESTAMP LF SIGNATURE LF body": without the key nothing verifies,
 * and any body must end, in bounds, with clean text, and never link without a token. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/events_check.h"
#include "webhook.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct slice
take_line(struct slice *rest)
{
	const char *end = rest->len > 0 ? memchr(rest->ptr, '\n', rest->len) : NULL;
	size_t n = end != NULL ? (size_t)(end - rest->ptr) : rest->len;
	struct slice line = slice_make(rest->ptr, n);

	n += end != NULL;
	*rest = slice_make(rest->ptr + n, rest->len - n);
	return line;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct token_keys keys = { 1, { 1 }, { { 7 } } };
	struct slice rest = slice_make((const char *)data, size);
	struct webhook_head head;
	struct feedback_events events = { NULL, 0, 0 };
	struct webhook_input in = { .keys = &keys };
	struct arena arena;
	struct err err;
	int status;

	head.timestamp = take_line(&rest);
	head.signature = take_line(&rest);
	if (webhook_verify(&keys, &head, rest, 1763719200, 300, &status, &err) == 0)
		abort();
	in.json = rest;
	arena_init(&arena, WEBHOOK_ARENA_MAX);
	if (webhook_parse(&in, &arena, &events, &err) == 0) {
		events_check(&events);
	}
	arena_release(&arena);
	return 0;
}
