/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_providers: any table is taken or refused with a reason; one that is taken answers. */
#include <assert.h>
#include <stdint.h>

#include "providers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = slice_make((const char *)data, size);
	struct err err = { 0 };
	struct providers *p = providers_new(text, slice_make(NULL, 0), &err);
	int group;

	if (p == NULL) {
		assert(err.msg[0] != '\0');
		return 0;
	}
	group = providers_of_domain(p, text);
	assert(group < (int)providers_count(p));
	assert(providers_of_mx(p, &text, 1) < (int)providers_count(p));
	(void)providers_reaction(p, group, 421, text, text);
	providers_free(p);
	/* over itself it changes nothing, and is not two rows for one name */
	p = providers_new(text, text, &err);
	assert(p != NULL);
	providers_free(p);
	return 0;
}
