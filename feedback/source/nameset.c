/* SPDX-License-Identifier: Apache-2.0 */
/* nameset: see nameset.h. FNV-1a, linear probing. */
#include "nameset.h"

#include <string.h>

#include "hash.h"

static uint64_t
hash_of(struct slice name)
{
	uint64_t h = hash_slice(HASH_START, name);

	return h != 0 ? h : 1;
}

static size_t
slot_of(const struct nameset *set, uint64_t hash)
{
	size_t i = hash & (NAMESET_SLOTS - 1);

	while (set->slots[i] != 0 && set->slots[i] != hash)
		i = (i + 1) & (NAMESET_SLOTS - 1);
	return i;
}

bool
nameset_has(const struct nameset *set, struct slice name)
{
	return set->slots[slot_of(set, hash_of(name))] != 0;
}

void
nameset_add(struct nameset *set, struct slice name)
{
	uint64_t hash = hash_of(name);
	size_t i;

	if (set->count >= NAMESET_SLOTS / 4 * 3)
		nameset_clear(set);
	i = slot_of(set, hash);
	if (set->slots[i] == 0)
		set->count++;
	set->slots[i] = hash;
}

void
nameset_clear(struct nameset *set)
{
	memset(set, 0, sizeof(*set));
}
