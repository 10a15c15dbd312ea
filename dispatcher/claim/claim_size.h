/* SPDX-License-Identifier: Apache-2.0 */
/*
 * claim_size: how many rows one CLAIM takes. A statement costs PostgreSQL as much as sixty rows in
 * it, so it takes what leaves within an eighth of a second, between two bounds: slow dispatchers
 * hold few rows, fast ones pay for few statements. No clock: times are the caller's, in ms.
 */
#ifndef KAIRAN_CLAIM_SIZE_H
#define KAIRAN_CLAIM_SIZE_H

#include <stdint.h>

struct claim_size {
	long rows; /* of the next statement; read-only for others */
	long least, most;
	uint64_t left, since_ms; /* rows that left since then */
};

/* Begins with `least`, which is at least 1 and at most `most`. */
void claim_size_init(struct claim_size *s, long least, long most, uint64_t now_ms);

/* So many rows left. */
void claim_size_count(struct claim_size *s, uint64_t rows);

/* Sets the rows of the next statement, four times a second at most. */
void claim_size_adapt(struct claim_size *s, uint64_t now_ms);

#endif
