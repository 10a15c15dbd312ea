/* SPDX-License-Identifier: Apache-2.0 */
/*
 * figures: the document of kairan-producer's /metrics: what this process does, and what
 * kairan.figures() says of the database (queues, runs, rates, doubt, dispatchers). Every producer
 * asks, leading or not, so that the figures are there when nobody leads.
 */
#ifndef KAIRAN_FIGURES_H
#define KAIRAN_FIGURES_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "db.h"

/* What the process itself knows. */
struct figures_own {
	bool is_leading;
	bool is_planning;
	uint64_t rounds, failed_rounds; /* of the single jobs and the handing over */
};

/* Appends the document. db->conn NULL (not connected) or a failed question: without the figures of
 * the database, and kairan_producer_postgresql_up is 0. */
void figures_text(struct buf *out, struct db *db, const struct figures_own *own);

#endif
