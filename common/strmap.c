/* SPDX-License-Identifier: Apache-2.0 */
/* strmap: see strmap.h. Open addressing with linear probing, at most half full; removal moves the
 * entries behind into the gap. */
#include "strmap.h"

#include <stdlib.h>
#include <string.h>

#include "hash.h"

#define ROOM_MIN 64

static uint64_t
hash(const struct strmap *m, const char *key)
{
	uint64_t h = HASH_START ^ m->seed;

	for (; *key != '\0'; key++)
		h = hash_step(h, (unsigned char)*key);
	return h ^ h >> 29;
}

/* The place of the key, or the free one where it would go. room > count. */
static size_t
find(const struct strmap *m, const char *key)
{
	size_t at = hash(m, key) & (m->room - 1);

	while (m->entries[at].key != NULL && strcmp(m->entries[at].key, key) != 0)
		at = (at + 1) & (m->room - 1);
	return at;
}

void *
strmap_get(const struct strmap *m, const char *key)
{
	return m->count > 0 ? m->entries[find(m, key)].value : NULL;
}

static bool
grow(struct strmap *m)
{
	struct strmap bigger = {
		.room = m->room > 0 ? 2 * m->room : ROOM_MIN, .count = m->count, .seed = m->seed
	};

	if (bigger.seed == 0)
		bigger.seed = (uint64_t)arc4random() << 32 | arc4random() | 1;
	bigger.entries = calloc(bigger.room, sizeof(*bigger.entries));
	if (bigger.entries == NULL)
		return false;
	for (size_t i = 0; i < m->room; i++)
		if (m->entries[i].key != NULL)
			bigger.entries[find(&bigger, m->entries[i].key)] = m->entries[i];
	free(m->entries);
	*m = bigger;
	return true;
}

bool
strmap_add(struct strmap *m, const char *key, void *value)
{
	if (2 * (m->count + 1) > m->room && !grow(m))
		return false;
	m->entries[find(m, key)] = (struct strmap_entry){ key, value };
	m->count++;
	return true;
}

void
strmap_remove(struct strmap *m, const char *key)
{
	size_t gap, at;

	if (m->count == 0)
		return;
	gap = at = find(m, key);
	if (m->entries[gap].key == NULL)
		return;
	m->count--;
	for (;;) {
		size_t home;

		m->entries[gap] = (struct strmap_entry){ NULL, NULL };
		do {
			at = (at + 1) & (m->room - 1);
			if (m->entries[at].key == NULL)
				return;
			home = hash(m, m->entries[at].key) & (m->room - 1);
			/* it may move back only to a place at or behind its home */
		} while (((at - home) & (m->room - 1)) < ((at - gap) & (m->room - 1)));
		m->entries[gap] = m->entries[at];
		gap = at;
	}
}

void
strmap_release(struct strmap *m)
{
	free(m->entries);
	*m = (struct strmap){ 0 };
}
