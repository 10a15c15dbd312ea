/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_provider_figures: days are in order and counts not below 0, or there is a reason. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "cli/provider_figures.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct provider_figures *f = malloc(sizeof(*f));
	struct err err = { 0 };

	if (f == NULL)
		return 0;
	if (provider_figures_read(f, slice_make((const char *)data, size), &err) < 0) {
		assert(err.msg[0] != '\0');
	} else {
		assert(f->count <= PROVIDER_DAYS_MAX);
		for (size_t i = 0; i < f->count; i++) {
			assert(i == 0 || f->days[i - 1].day < f->days[i].day);
			for (int c = 0; c < PROVIDER_COLUMNS; c++)
				assert(f->days[i].counts[c] >= 0);
		}
	}
	free(f);
	return 0;
}
