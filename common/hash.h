/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hash: FNV-1a in 64 bits, for tables and signatures in memory. Pure. The same on every machine.
 * Not for hostile input where a collision would matter: whoever chooses the bytes can make one.
 */
#ifndef KAIRAN_HASH_H
#define KAIRAN_HASH_H

#include <stdint.h>

#include "slice.h"

#define HASH_START UINT64_C(14695981039346656037)

/* One more octet, or one more word of a signature. */
static inline uint64_t
hash_step(uint64_t h, uint64_t value)
{
	return (h ^ value) * UINT64_C(1099511628211);
}

static inline uint64_t
hash_slice(uint64_t h, struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		h = hash_step(h, (unsigned char)s.ptr[i]);
	return h;
}

/* Spreads short names over all bits. */
static inline uint64_t
hash_spread(uint64_t h)
{
	h ^= h >> 33;
	h *= UINT64_C(0xff51afd7ed558ccd);
	return h ^ h >> 33;
}

#endif
