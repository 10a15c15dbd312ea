/* SPDX-License-Identifier: Apache-2.0 */
/* plain: how far text goes on that neither JSON nor PostgreSQL's array literals treat specially:
 * printable ASCII without '"' and '\'. Eight bytes at a time. Pure. */
#ifndef KAIRAN_PLAIN_H
#define KAIRAN_PLAIN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define PLAIN_ONES UINT64_C(0x0101010101010101)
#define PLAIN_HIGH (PLAIN_ONES * 0x80)

/* Not 0 when a byte of w is c. */
static inline uint64_t
plain_has(uint64_t w, unsigned char c)
{
	w ^= PLAIN_ONES * c;
	return (w - PLAIN_ONES) & ~w & PLAIN_HIGH;
}

/* Bytes of at before the first one that is not plain, or before end. */
static inline size_t
plain_length(const char *at, const char *end)
{
	const char *p = at;
	uint64_t w;

	for (; end - p >= 8; p += 8) {
		memcpy(&w, p, 8);
		w = (((w - PLAIN_ONES * 0x20) | w) & PLAIN_HIGH) | plain_has(w, '"') |
		    plain_has(w, '\\');
		if (w == 0)
			continue;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
		/* borrows reach bytes behind the first one that is not plain alone */
		return (size_t)(p - at) + (size_t)__builtin_ctzll(w) / 8;
#else
		break;
#endif
	}
	while (p < end && (unsigned char)*p >= 0x20 && (unsigned char)*p < 0x80 && *p != '"' &&
	    *p != '\\')
		p++;
	return (size_t)(p - at);
}

#endif
