/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a template of Amazon SES: refused with a reason, or parts that end in a NUL. */
#include <assert.h>
#include <stdint.h>

#include "ses_template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ses_template t;
	struct arena arena;
	struct err err = { 0 };

	arena_init(&arena, 1 << 20);
	if (ses_template_parse(&t, slice_make((const char *)data, size), &arena, &err) == 0) {
		const struct slice parts[] = { t.subject, t.html, t.text };

		for (size_t i = 0; i < 3; i++)
			assert(parts[i].len == 0 || parts[i].ptr[parts[i].len] == '\0');
	} else {
		assert(err.msg[0] != '\0');
	}
	arena_release(&arena);
	return 0;
}
