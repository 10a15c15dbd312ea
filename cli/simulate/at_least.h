/* SPDX-License-Identifier: Apache-2.0 */
/* at_least: what a rate is with certainty (99 of 100), as at_least_per_cent() of the database. */
#ifndef KAIRAN_AT_LEAST_H
#define KAIRAN_AT_LEAST_H

#include <math.h>
#include <stdint.h>

static inline double
at_least_per_cent(uint64_t part, uint64_t whole)
{
	double n = (double)whole, p = whole > 0 ? (double)part / n : 0, z = 2.326;

	if (whole == 0)
		return 0;
	return 100 *
	    fmax(0,
		(p + z * z / (2 * n) - z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))) /
		    (1 + z * z / n));
}

#endif
