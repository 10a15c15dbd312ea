/* SPDX-License-Identifier: Apache-2.0 */
/* stats_text: see stats_text.h. */
#include "stats_text.h"

#include <sys/statvfs.h>

#include "brakes.h"
#include "journal.h"
#include "metric.h"
#include "route.h"
#include "runs.h"
#include "stats.h"

struct row {
	const char *name;
	enum metric_type type;
	const char *help;
	double value;
};

static void
put_rows(struct buf *out, const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++)
		metric_one(out, rows[i].name, rows[i].type, rows[i].help, rows[i].value);
}

/* One counter of all streams; at: its place in struct stats_stream. */
static void
put_streams(const struct stats *s, struct buf *out, const char *name, const char *help, size_t at)
{
	metric_family(out, name, METRIC_COUNTER, help);
	for (size_t i = 0; i <= STATS_STREAMS; i++) {
		const struct stats_stream *stream = &s->streams[i];
		struct metric_label label = { "stream", stream->name };

		if (stream->name[0] != '\0')
			metric_sample(out, name, &label, 1,
			    (double)*(const uint64_t *)(const void *)((const char *)stream + at));
	}
}

static void
put_failed(const struct stats *s, struct buf *out)
{
	static const char name[] = "kairan_messages_failed_total";

	metric_family(out, name, METRIC_COUNTER, "Recipients that failed, by whose fault it was");
	for (size_t i = 0; i <= STATS_STREAMS; i++) {
		const struct stats_stream *stream = &s->streams[i];

		for (int c = 0; c < STATS_CLASSES && stream->name[0] != '\0'; c++) {
			const char *class = outcome_class_name((enum outcome_class)c);
			struct metric_label labels[] = { { "stream", stream->name },
				{ "class", class[0] != '\0' ? class : "none" } };

			metric_sample(out, name, labels, 2, (double)stream->failed[c]);
		}
	}
}

static void
put_messages(const struct stats *s, struct buf *out)
{
	static const struct {
		const char *name, *help;
		size_t at;
	} columns[] = {
		{ "kairan_messages_claimed_total", "Recipients claimed",
		    offsetof(struct stats_stream, claimed) },
		{ "kairan_messages_sent_total", "Recipients that the remote took",
		    offsetof(struct stats_stream, sent) },
		{ "kairan_messages_deferred_total", "Tries that were put off",
		    offsetof(struct stats_stream, deferred) },
		{ "kairan_messages_in_doubt_total", "Recipients put in doubt",
		    offsetof(struct stats_stream, in_doubt) },
		{ "kairan_messages_skipped_total", "Recipients left out after their claim",
		    offsetof(struct stats_stream, skipped) },
		{ "kairan_messages_released_total", "Claims given back unsent",
		    offsetof(struct stats_stream, released) },
	};

	for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++)
		put_streams(s, out, columns[i].name, columns[i].help, columns[i].at);
	put_failed(s, out);
}

static void
put_latencies(const struct stats *s, struct buf *out)
{
	const struct {
		const char *name, *help;
		const struct metric_histogram *h;
	} rows[] = {
		{ "kairan_claim_seconds", "From a claim to its answer by PostgreSQL", &s->claim },
		{ "kairan_send_seconds",
		    "From a message's turn on a connection or request to its outcome", &s->send },
		{ "kairan_record_seconds", "From a batch of outcomes to its commit", &s->record },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		metric_family(out, rows[i].name, METRIC_HISTOGRAM, rows[i].help);
		metric_histogram(out, rows[i].name, NULL, 0, rows[i].h);
	}
}

static void
put_journal(const struct dispatcher *d, struct buf *out)
{
	struct journal_use use = journal_use(d->journal);
	struct statvfs fs;
	const struct row rows[] = {
		{ "kairan_journal_slots", METRIC_GAUGE, "Slots of the journal", use.slots },
		{ "kairan_journal_slots_busy", METRIC_GAUGE,
		    "Slots that wait for the commit of their outcome", use.busy },
		{ "kairan_journal_marks_total", METRIC_COUNTER,
		    "Marks ever written to this journal", (double)use.marks },
	};

	put_rows(out, rows, sizeof(rows) / sizeof(rows[0]));
	if (statvfs(d->config->dispatcher_state_dir, &fs) != 0)
		return;
	metric_one(out, "kairan_state_free_bytes", METRIC_GAUGE,
	    "Free bytes of the file system with the journal",
	    (double)fs.f_bavail * (double)fs.f_frsize);
	metric_one(out, "kairan_state_size_bytes", METRIC_GAUGE,
	    "Size of the file system with the journal", (double)fs.f_blocks * (double)fs.f_frsize);
}

void
stats_text(const struct dispatcher *d, struct buf *out)
{
	const struct stats *s = d->stats;
	unsigned running = 0;

	for (const struct live_run *run = runs_first(d->runs); run != NULL; run = run->next)
		running += run->running;
	const struct row rows[] = {
		{ "kairan_dispatcher_stopping", METRIC_GAUGE,
		    "1 when it finishes what it has and claims nothing", d->stopping },
		{ "kairan_dispatcher_fenced", METRIC_GAUGE,
		    "1 when it was declared dead, or PostgreSQL has lost commits", d->fenced },
		{ "kairan_dispatcher_trouble", METRIC_GAUGE,
		    "1 when something keeps mail from leaving; kairan status says what",
		    d->news->trouble(d)[0] != '\0' },
		{ "kairan_dispatcher_postgresql_up", METRIC_GAUGE, "1 when it can claim and record",
		    pgloop_is_ready(d->claims) && pgloop_is_ready(d->records) },
		{ "kairan_dispatcher_redis_up", METRIC_GAUGE, "1 when Redis answers",
		    rdsloop_is_ready(d->redis) },
		{ "kairan_dispatcher_runs", METRIC_GAUGE, "Running runs that it knows", running },
		{ "kairan_dispatcher_in_hand", METRIC_GAUGE,
		    "Claimed recipients without an outcome yet", (double)s->in_hand },
		{ "kairan_dispatcher_unrecorded", METRIC_GAUGE,
		    "Outcomes that wait for their commit", (double)s->unrecorded },
		{ "kairan_permit_calls_total", METRIC_COUNTER, "Calls for permits",
		    (double)s->permit_calls },
		{ "kairan_permits_total", METRIC_COUNTER, "Permits to send at a time",
		    (double)s->permits },
		{ "kairan_permits_missed_total", METRIC_COUNTER,
		    "Permits whose time passed unused: no connection was free, or the host was "
		    "too slow",
		    (double)s->permits_missed },
		{ "kairan_claims_total", METRIC_COUNTER, "Claims answered", (double)s->claims },
		{ "kairan_claims_refused_total", METRIC_COUNTER, "Claims that PostgreSQL refused",
		    (double)s->refused_claims },
		{ "kairan_claims_unknown_total", METRIC_COUNTER,
		    "Claims whose commit was unknown; what they took was released",
		    (double)s->unknown_claims },
		{ "kairan_records_total", METRIC_COUNTER, "Batches of outcomes committed",
		    (double)s->records },
		{ "kairan_records_refused_total", METRIC_COUNTER,
		    "Batches of outcomes that PostgreSQL refused, tried again",
		    (double)s->refused_records },
	};

	metric_process(out, "kairan-dispatcher");
	put_rows(out, rows, sizeof(rows) / sizeof(rows[0]));
	put_messages(s, out);
	put_latencies(s, out);
	route_metrics(d->route, out);
	brakes_metrics(d->brakes, out);
	put_journal(d, out);
}
