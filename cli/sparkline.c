/* SPDX-License-Identifier: Apache-2.0 */
/* sparkline: see sparkline.h. */
#include "sparkline.h"

#include <string.h>

#define LEVELS 8

static const char *const blocks[LEVELS + 1] = { ".", "\u2581", "\u2582", "\u2583", "\u2584",
	"\u2585", "\u2586", "\u2587", "\u2588" };
static const char *const signs[LEVELS + 1] = { ".", "_", "_", "-", "-", "=", "=", "#", "#" };

const char *
sparkline(char *dst, const int64_t *values, size_t count, bool ascii)
{
	int64_t most = 0;
	char *at = dst;

	for (size_t i = 0; i < count; i++)
		if (values[i] > most)
			most = values[i];
	for (size_t i = 0; i < count; i++) {
		int level = 0;
		const char *bar;

		if (values[i] > 0) /* rounded up: a little is not nothing */
			level = (int)((double)values[i] / (double)most * LEVELS + 0.999);
		bar = (ascii ? signs : blocks)[level > LEVELS ? LEVELS : level];
		memcpy(at, bar, strlen(bar));
		at += strlen(bar);
	}
	*at = '\0';
	return dst;
}
