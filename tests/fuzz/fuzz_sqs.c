/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of Amazon SQS: messages, batches, refusals. Texts of errors are clean. */
#include <stdint.h>
#include <stdlib.h>

#include "sqs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
clean(const struct err *err)
{
	for (const char *c = err->msg; *c != '\0'; c++)
		if (*c < ' ' || *c > '~')
			abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice all = slice_make((const char *)data, size), region;
	struct sqs_message messages[SQS_BATCH_MAX];
	struct err err = { 0 };
	struct arena arena;
	bool failed[3];
	size_t count;

	arena_init(&arena, SQS_ANSWER_MAX + 65536);
	if (sqs_received(all, &arena, messages, &count, &err) == 0 && count > SQS_BATCH_MAX)
		abort();
	for (size_t i = 0; i < count; i++)
		if (messages[i].receipt.len == 0 || messages[i].receipt.len > SQS_HANDLE_MAX)
			abort();
	if (sqs_batch_answer(all, failed, 3, &err) == 0)
		clean(&err);
	sqs_refusal(400, all, &err);
	clean(&err);
	if (sqs_url_check(all, &region, &err) == 0 && region.len > SQS_URL_MAX)
		abort();
	arena_release(&arena);
	return 0;
}
