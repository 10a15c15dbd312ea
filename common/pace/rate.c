/* SPDX-License-Identifier: Apache-2.0 */
/* rate: see rate.h. */
#include "rate.h"

#include <math.h>
#include <stdlib.h>

#define TEXT_MAX 31

int
rate_parse(double *per_s, struct slice text, struct err *err)
{
	static const struct {
		const char *name;
		double seconds;
	} units[] = { { "s", 1 }, { "sec", 1 }, { "second", 1 }, { "min", 60 }, { "minute", 60 },
		{ "h", 3600 }, { "hour", 3600 }, { "d", 86400 }, { "day", 86400 } };
	char number[TEXT_MAX + 1], *end;
	const char *slash = text.len > 0 ? memchr(text.ptr, '/', text.len) : NULL;
	size_t n = slash != NULL ? (size_t)(slash - text.ptr) : 0;
	double value;

	if (n == 0 || n > TEXT_MAX || strchr("0123456789.", text.ptr[0]) == NULL)
		return err_set(
		    err, "a rate is written as 20/s, 16/min, 10000/h or 400/d, not otherwise");
	memcpy(number, text.ptr, n);
	number[n] = '\0';
	value = strtod(number, &end);
	if (*end != '\0' || strpbrk(number, "xXpPnN") != NULL || !isfinite(value) || value <= 0)
		return err_set(err, "a rate needs a number above 0 in front of the '/'");
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (slice_equal(
			slice_make(slash + 1, text.len - n - 1), slice_str(units[i].name))) {
			*per_s = value / units[i].seconds;
			if (*per_s > RATE_MAX)
				return err_set(
				    err, "a rate above %.0f/s is not believed", RATE_MAX);
			if (*per_s < 1e-9)
				return err_set(
				    err, "a rate that low never ends; write 0.1/d or more");
			return 0;
		}
	return err_set(err, "the unit of a rate is s, min, h or d");
}
