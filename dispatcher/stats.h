/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stats: what this dispatcher has counted since its start, for /metrics. Plain counters of the
 * loop's thread; the modules on the way of a flight call here, nothing is decided by it.
 */
#ifndef KAIRAN_STATS_H
#define KAIRAN_STATS_H

#include "dispatcher.h"
#include "flight.h"
#include "metric.h"
#include "outcome.h"

#define STATS_STREAMS 32 /* further ones are counted as "other" */
#define STATS_CLASSES (OUTCOME_CONFIG + 1)

struct stats_stream {
	char name[64]; /* stream names are at most 63 characters */
	uint64_t claimed, sent, deferred, in_doubt, skipped, released;
	uint64_t failed[STATS_CLASSES]; /* by enum outcome_class */
};

struct stats {
	struct stats_stream streams[STATS_STREAMS + 1]; /* the last: other */
	size_t stream_count;
	struct metric_histogram claim;	/* CLAIM until its answer */
	struct metric_histogram send;	/* a session or request has it until its outcome */
	struct metric_histogram record; /* RECORD until its commit */
	uint64_t permit_calls, permits, permits_missed;
	uint64_t claims, refused_claims, unknown_claims;
	uint64_t records, refused_records;
	uint64_t in_hand;    /* claimed rows whose outcome was not noted yet */
	uint64_t unrecorded; /* outcomes that wait for their commit */
};

/* One claimed row, or n, of this run. */
void stats_claimed(struct stats *s, const struct live_run *run, size_t n);

/* One outcome: SENT, DEFERRED, FAILED, IN_DOUBT, RELEASED, or OTHER for a skipped recipient. */
void stats_outcome(
    struct stats *s, const struct live_run *run, enum outcome_kind kind, enum outcome_class cls);

#endif
