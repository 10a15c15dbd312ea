/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hits: opens and clicks on their way to the database. They are statistics: a request is answered
 * at once, and what waits here is lost when the program is killed (not when it is stopped).
 *
 * A hit waits for rules.burst_s, so that many links of one recipient at once are seen to be a
 * scanner's, then goes to kairan.track_add() with all others that are due. Against floods: the same
 * hit again only counts up, and past HITS_MAX different ones new ones are dropped and counted.
 * All calls from the loop's thread.
 */
#ifndef KAIRAN_FEEDBACK_HITS_H
#define KAIRAN_FEEDBACK_HITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "links.h"
#include "machine.h"
#include "pgloop.h"
#include "token.h"

#define HITS_MAX 16384

struct hit {
	struct token token;
	bool is_click;
	char link[LINK_ID_CHARS + 1];	/* empty: the pixel */
	struct machine_verdict verdict; /* why lives as long as hits */
	int64_t at_us;			/* microseconds since 1970 UTC */
};

struct hits;

/* pg and rules are borrowed until hits_free(). NULL without memory. */
struct hits *hits_new(uv_loop_t *loop, struct pgloop *pg, const struct machine_rules *rules);

/* Drops what waits. pg must be freed before; the loop must run on until the handle is closed. */
void hits_free(struct hits *hits);

void hits_add(struct hits *hits, const struct hit *hit);

/* Nothing waits any longer for others: what is there goes at once. */
void hits_stop(struct hits *hits);

/* Waiting or under way. */
size_t hits_waiting(const struct hits *hits);

/* Several links of one recipient within the rules' seconds become a machine's. For tests: pure. */
struct hits_entry {
	struct hit hit;
	int64_t last_us;
	unsigned count;
};
void hits_judge_bursts(struct hits_entry *entries, size_t count, const struct machine_rules *rules);

#endif
