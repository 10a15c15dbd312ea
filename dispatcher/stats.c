/* SPDX-License-Identifier: Apache-2.0 */
/* stats: see stats.h. */
#include "stats.h"

#include <stdio.h>
#include <string.h>

#include "runs.h"

static struct stats_stream *
stream_of(struct stats *s, const struct live_run *run)
{
	struct stats_stream *other = &s->streams[STATS_STREAMS];

	for (size_t i = 0; i < s->stream_count; i++)
		if (strcmp(s->streams[i].name, run->stream) == 0)
			return &s->streams[i];
	if (s->stream_count == STATS_STREAMS || strlen(run->stream) >= sizeof(other->name)) {
		(void)snprintf(other->name, sizeof(other->name), "other");
		return other;
	}
	(void)snprintf(s->streams[s->stream_count].name, sizeof(other->name), "%s", run->stream);
	return &s->streams[s->stream_count++];
}

void
stats_claimed(struct stats *s, const struct live_run *run, size_t n)
{
	stream_of(s, run)->claimed += n;
}

void
stats_outcome(
    struct stats *s, const struct live_run *run, enum outcome_kind kind, enum outcome_class cls)
{
	struct stats_stream *stream = stream_of(s, run);

	if (kind == OUTCOME_SENT)
		stream->sent++;
	else if (kind == OUTCOME_DEFERRED)
		stream->deferred++;
	else if (kind == OUTCOME_FAILED)
		stream->failed[cls]++;
	else if (kind == OUTCOME_IN_DOUBT)
		stream->in_doubt++;
	else if (kind == OUTCOME_RELEASED)
		stream->released++;
	else
		stream->skipped++;
}
