/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics: how kairan-feedback is, for machines: GET /metrics (Prometheus text format 0.0.4) and
 * GET /health (JSON, what `kairan status` shows). A listener of its own, on the loopback
 * only, so that nothing of it can be seen through the proxy in front of the SNS endpoint.
 */
#ifndef KAIRAN_FEEDBACK_METRICS_H
#define KAIRAN_FEEDBACK_METRICS_H

#include "buf.h"
#include "err.h"
#include "intake.h"
#include "sources.h"

/* What only the loop's thread may read, copied from there. */
struct metrics_state {
	struct intake_counts counts;
	size_t waiting;	 /* items at the intake */
	uint64_t lag_ms; /* of the oldest of them */
	struct http_counts http;
	bool has_http;
	bool is_ready; /* PostgreSQL is connected, and there is room */
};

struct metrics;

/* listen: "127.0.0.1:9630"; sources are borrowed and must outlive it. NULL with err. */
struct metrics *metrics_new(const char *listen, const struct sources *sources, struct err *err);
void metrics_free(struct metrics *metrics);

/* From the loop, every second or so. metrics may be NULL. */
void metrics_publish(struct metrics *metrics, const struct metrics_state *state);

/* The two documents. */
void metrics_text(
    struct buf *out, const struct sources *sources, const struct metrics_state *state);
void metrics_json(
    struct buf *out, const struct sources *sources, const struct metrics_state *state);

#endif
