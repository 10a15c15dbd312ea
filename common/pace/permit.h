/* SPDX-License-Identifier: Apache-2.0 */
/*
 * permit: how reserve.lua writes the permits that it gives: one string, PERMIT_BYTES for each, a
 * little-endian double of place * 2^20 + microseconds from now (with a fraction, at most 1 s). One
 * string costs Redis a tenth of what a number for each costs. Pure.
 */
#ifndef KAIRAN_PERMIT_H
#define KAIRAN_PERMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define PERMIT_BYTES 8
#define PERMIT_PLACE 1048576.0
#define PERMIT_MAX 9007199254740992.0 /* integers below are exact */

/* place: of the lane in what was asked; offset_us: from the time of the call, rounded down. False:
 * those bytes are no permit. */
static inline bool
permit_read(const char bytes[PERMIT_BYTES], size_t *place, uint64_t *offset_us)
{
	uint64_t bits = 0;
	double value;

	for (int i = PERMIT_BYTES; i-- > 0;)
		bits = bits << 8 | (unsigned char)bytes[i];
	memcpy(&value, &bits, sizeof(value));
	if (!(value >= 0 && value < PERMIT_MAX))
		return false;
	*place = (size_t)(value / PERMIT_PLACE);
	*offset_us = (uint64_t)(value - (double)*place * PERMIT_PLACE);
	return true;
}

/* As the script does. */
static inline void
permit_write(char bytes[PERMIT_BYTES], size_t place, double offset_us)
{
	double value = (double)place * PERMIT_PLACE + offset_us;
	uint64_t bits;

	memcpy(&bits, &value, sizeof(bits));
	for (int i = 0; i < PERMIT_BYTES; i++, bits >>= 8)
		bytes[i] = (char)(bits & 0xff);
}

#endif
