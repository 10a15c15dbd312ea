/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_maillog: whatever a log holds, what is taken from it lies within it and is well formed. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "maillog.h"
#include "token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct maillog_line line;

	if (size == 0 || !maillog_read(slice_make(text, size), &line))
		return 0;
	assert(size <= MAILLOG_LINE_MAX);
	assert(line.token.len == TOKEN_CHARS && line.queue_id.len > 0);
	assert(line.queue_id.ptr >= text && line.token.ptr > line.queue_id.ptr + line.queue_id.len);
	assert(line.token.ptr + line.token.len < text + size);
	assert(memmem(data, size, "(queue active)", 14) != NULL);
	return 0;
}
