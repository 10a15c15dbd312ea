/* SPDX-License-Identifier: Apache-2.0 */
/*
 * campaign_lookup: what a campaign file names that only the database knows: its stream, its
 * segment, the columns of a customer. A failed statement leaves its reason in db->error.
 */
#ifndef KAIRAN_CAMPAIGN_LOOKUP_H
#define KAIRAN_CAMPAIGN_LOOKUP_H

#include <stdbool.h>

#include "arena.h"
#include "campaign_source.h"
#include "db.h"
#include "err.h"

/* Fills unsubscribe_base and return_path_domain of the source. 1 when there is such a stream, 0
 * when there is none, -1 with db->error. */
int campaign_lookup_stream(struct db *db, struct campaign_source *source) MUST_CHECK;

/* The names of kairan.customer's columns, each but the last with a newline behind it, as
 * customer_field_sql() takes them. The arena's; NULL with db->error. */
const char *campaign_lookup_columns(struct db *db, struct arena *arena) MUST_CHECK;

/* The condition behind a named segment, or the text itself. NULL without memory. */
const char *campaign_segment_condition(
    struct db *db, struct arena *arena, const char *segment, bool *named) MUST_CHECK;

/* Begins a transaction with the rights that a segment will have: it reads customers, and every
 * statement ends after `timeout` ("10s"). The caller rolls it back. 0, or -1 with db->error. */
int campaign_segment_begin(struct db *db, const char *timeout) MUST_CHECK;

/* "start FROM kairan.customer c WHERE (condition)" as one statement: the extended protocol takes
 * no second one. NULL with db->error. */
PGresult *campaign_segment_run(struct db *db, const char *start, const char *condition) MUST_CHECK;

#endif
