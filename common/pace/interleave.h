/* SPDX-License-Identifier: Apache-2.0 */
/*
 * interleave: the order in which a run's recipients leave when nothing but the order matters.
 * Two levels, no I/O, one pass:
 *
 *   lanes    at every prefix of t messages each lane has had its share t * n / N to within one
 *            message: eligible earliest deadline (Tijdeman 1980, the chairman assignment problem;
 *            bound 1 - 1/(2L-2) for L lanes), O(log L) per message.
 *   domains  inside a lane the j-th recipient of a domain has the key (j + phase) / n, phase =
 *            frac(i * golden ratio) of the domain's rank i by size, so single-recipient domains
 *            do not meet in the middle; a heap over the lane's domains, O(log D).
 *
 * The order depends on lanes, sizes and names, not on how the input was sorted.
 */
#ifndef KAIRAN_INTERLEAVE_H
#define KAIRAN_INTERLEAVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

/* ---- lanes */

struct lane_order;

/* counts[i]: messages of lane i; lanes without messages are never given. Owned; NULL without
 * memory. */
struct lane_order *lane_order_new(const uint64_t *counts, size_t lanes) MUST_CHECK;
void lane_order_free(struct lane_order *o);

/* The lane of the next message; -1 when all are given. */
int lane_order_next(struct lane_order *o);

/* The largest distance from the proportional line that a lane has had, in messages. */
double lane_order_deviation(const struct lane_order *o, size_t lane);

/* ---- domains inside their lanes, and both together */

struct interleave_domain {
	uint32_t lane;
	uint32_t count; /* recipients */
	const char
	    *name; /* ties of size are broken by name; borrowed until interleave_new returns */
};

struct interleave;

/* Domains are named by their index here. Owned; NULL without memory. */
struct interleave *interleave_new(
    const struct interleave_domain *domains, size_t count, size_t lanes) MUST_CHECK;
void interleave_free(struct interleave *v);

/* The next message: its lane, its domain (index at interleave_new) and which of the domain's
 * recipients, from 0. False at the end. */
bool interleave_next(struct interleave *v, uint32_t *lane, uint32_t *domain, uint32_t *which);

/* The next domain of one lane, without the order of lanes (for a timed run, where the clock picks
 * the lane). False when the lane has no more. Do not mix with interleave_next. */
bool interleave_next_of(struct interleave *v, uint32_t lane, uint32_t *domain, uint32_t *which);

#endif
