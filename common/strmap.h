/* SPDX-License-Identifier: Apache-2.0 */
/*
 * strmap: from names to pointers, a hash table that grows. The names are borrowed: each lives as long
 * as its entry. Its order is seeded at random, since names may come from strangers.
 */
#ifndef KAIRAN_STRMAP_H
#define KAIRAN_STRMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct strmap_entry {
	const char *key; /* NULL: free */
	void *value;
};

/* Zeroed it is empty. Fields are read-only for others: entries[0 .. room). */
struct strmap {
	struct strmap_entry *entries;
	size_t room, count;
	uint64_t seed;
};

/* NULL when it is not there. */
void *strmap_get(const struct strmap *m, const char *key);

/* The key is not there yet. false without memory. */
bool strmap_add(struct strmap *m, const char *key, void *value) MUST_CHECK;

void strmap_remove(struct strmap *m, const char *key);
void strmap_release(struct strmap *m);

#endif
