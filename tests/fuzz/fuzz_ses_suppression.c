/* SPDX-License-Identifier: Apache-2.0 */
/* A page of a suppression list of any bytes: entries have addresses, and are as many as may be. */
#include <stdint.h>
#include <stdlib.h>

#include "ses_suppression.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ses_suppressed_page page;
	struct arena arena;
	struct err err;

	arena_init(&arena, (size_t)4 << 20);
	if (ses_suppressed_parse(slice_make((const char *)data, size), &arena, &page, &err) == 0) {
		if (page.count > SES_SUPPRESSED_PAGE)
			abort();
		for (size_t i = 0; i < page.count; i++)
			if (page.items[i].address.len == 0 || page.items[i].updated_s < 0)
				abort();
	}
	arena_release(&arena);
	return 0;
}
