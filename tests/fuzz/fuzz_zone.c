/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_zone: any bytes are refused or give offsets of at most two days. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "zone.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct zone *z = malloc(sizeof(*z));
	struct err err = { 0 };

	if (z == NULL)
		return 0;
	if (zone_parse(z, slice_make((const char *)data, size), &err) < 0) {
		assert(err.msg[0] != '\0');
	} else {
		for (int64_t t = -2000000000; t < 8000000000; t += 500000000) {
			assert(labs(zone_offset(z, t)) <= 8 * 86400);
			assert(zone_next_change(z, t) > t);
		}
	}
	free(z);
	return 0;
}
