/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metric: writes the text format of Prometheus (version 0.0.4) into a buf. Every program's
 * /metrics goes through here, so that all follow the same rules: names are kairan_… (or
 * process_… for the process itself), base units (seconds, bytes, ratios), counters end in _total, a
 * family is announced once before its samples. Labels name streams, relays, states and sources,
 * never an address; whoever writes bounds how many there are. No I/O, no clock but metric_process().
 */
#ifndef KAIRAN_METRIC_H
#define KAIRAN_METRIC_H

#include <stddef.h>
#include <stdint.h>

#include "buf.h"

/* Ceiling of a whole document. */
#define METRIC_TEXT_MAX ((size_t)1 << 20)

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

/* One label; value may hold any bytes, it is escaped, and cut at 100. */
struct metric_label {
	const char *name;
	const char *value;
};

/* Once per name, before its samples. help: one line. */
void metric_family(struct buf *out, const char *name, enum metric_type type, const char *help);

/* One sample. labels may be NULL when count is 0. */
void metric_sample(struct buf *out, const char *name, const struct metric_label *labels,
    size_t count, double value);

/* A family of one sample without labels. */
void metric_one(
    struct buf *out, const char *name, enum metric_type type, const char *help, double value);

/* Latencies from 0.5 ms to 60 s, in seconds; zeroed it is empty. */
#define METRIC_BUCKETS 15
struct metric_histogram {
	uint64_t buckets[METRIC_BUCKETS]; /* not cumulative; the last: longer than all bounds */
	double sum_s;
};

void metric_observe(struct metric_histogram *h, double seconds);

/* Buckets, sum and count of one histogram; the family was announced. */
void metric_histogram(struct buf *out, const char *name, const struct metric_label *labels,
    size_t count, const struct metric_histogram *h);

/* kairan_build_info and process_* of this process, read from /proc; what cannot be read is
 * left out. */
void metric_process(struct buf *out, const char *program);

#endif
