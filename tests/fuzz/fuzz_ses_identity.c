/* SPDX-License-Identifier: Apache-2.0 */
/* A page of identities of any bytes: names are there, and as many as may be. */
#include <stdint.h>
#include <stdlib.h>

#include "ses_identity.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ses_identity_page page;
	struct arena arena;
	struct err err;

	arena_init(&arena, (size_t)16 << 20);
	if (ses_identities_parse(slice_make((const char *)data, size), &arena, &page, &err) == 0) {
		if (page.count > SES_IDENTITY_PAGE)
			abort();
		for (size_t i = 0; i < page.count; i++)
			if (page.names[i].len == 0 || page.names[i].len > SES_IDENTITY_MAX)
				abort();
	}
	arena_release(&arena);
	return 0;
}
