/* SPDX-License-Identifier: Apache-2.0 */
/* bloom: see bloom.h. Two positions per member, from the two halves of its hash, in one block of
 * 512 bits (one cache line), so that a look costs one miss. */
#include "bloom.h"

#include <stdlib.h>

#define BLOCK_BITS 9

bool
bloom_init(struct bloom *b, unsigned bits)
{
	b->bits = bits;
	b->words = calloc((size_t)1 << (bits - 6), sizeof(uint64_t));
	return b->words != NULL;
}

void
bloom_release(struct bloom *b)
{
	free(b->words);
	b->words = NULL;
}

struct place {
	uint64_t *first, *second;
	uint64_t first_bit, second_bit;
};

static struct place
place_of(const struct bloom *b, uint64_t hash)
{
	uint64_t *block = b->words + ((hash >> (64 - (b->bits - BLOCK_BITS))) << (BLOCK_BITS - 6));
	unsigned one = (unsigned)(hash & 511), two = (unsigned)((hash >> 9) & 511);

	return (struct place){ block + one / 64, block + two / 64, UINT64_C(1) << (one % 64),
		UINT64_C(1) << (two % 64) };
}

bool
bloom_has(const struct bloom *b, uint64_t hash)
{
	struct place p = place_of(b, hash);

	return (*p.first & p.first_bit) != 0 && (*p.second & p.second_bit) != 0;
}

bool
bloom_add(struct bloom *b, uint64_t hash)
{
	struct place p = place_of(b, hash);
	bool there = (*p.first & p.first_bit) != 0 && (*p.second & p.second_bit) != 0;

	*p.first |= p.first_bit;
	*p.second |= p.second_bit;
	return there;
}
