/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as the table of warm-up schedules: refused with a reason, or limits of rising days. */
#include <assert.h>
#include <stdint.h>

#include "warmup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = { "a", "cautious", "" };
	struct slice table = slice_make((const char *)data, size);

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		for (int day = -1, steps = 0; steps < 100; steps++) {
			struct err err = { 0 };
			uint64_t limit;
			int next = warmup_next_day(table, names[i], day);

			if (warmup_limit(table, names[i], day, &limit, &err) < 0)
				assert(err.msg[0] != '\0');
			if (next < 0)
				break;
			assert(next > day);
			day = next;
		}
	}
	return 0;
}
