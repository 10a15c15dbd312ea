/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bloom: a set of 64-bit hashes that may say "yes" wrongly, never "no" wrongly. Fixed memory
 * whatever the number of members; callers check every "yes" exactly elsewhere.
 */
#ifndef KAIRAN_BLOOM_H
#define KAIRAN_BLOOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bloom {
	uint64_t *words; /* owned */
	unsigned bits;	 /* 2^bits bits */
};

/* bits: 10 to 36; takes 2^bits / 8 bytes, of which only those that are touched become resident.
 * false without memory. */
bool bloom_init(struct bloom *b, unsigned bits);
void bloom_release(struct bloom *b);

bool bloom_has(const struct bloom *b, uint64_t hash);

/* Adds; true when it may have been there before. */
bool bloom_add(struct bloom *b, uint64_t hash);

#endif
