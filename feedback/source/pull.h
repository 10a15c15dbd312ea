/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pull: a source that asks: a thread of its own calls `round` again and again. A round fetches,
 * turns what it got into units, has them committed by pull_commit(), and only then deletes,
 * flags or notes its place. It may block; it must look at pull_is_stopping() at least once a
 * second (aws_client.stop gives libcurl the same).
 *
 *   a round says   then
 *   PULL_MORE      the next round at once
 *   PULL_NOTHING   the next round after poll_ms
 *   PULL_FAILED    the error is logged and kept in the health; the next round after a wait that
 *                  doubles from 1 s to 60 s
 */
#ifndef KAIRAN_FEEDBACK_PULL_H
#define KAIRAN_FEEDBACK_PULL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <uv.h>

#include "arena.h"
#include "err.h"
#include "event.h"
#include "intake.h"
#include "source.h"

enum pull_verdict { PULL_MORE, PULL_NOTHING, PULL_FAILED };

enum unit_result {
	UNIT_OPEN,	/* events wait to be committed */
	UNIT_COMMITTED, /* may be acknowledged */
	UNIT_LEFT,	/* not acceptable as it is: leave it where it is; why says why */
	UNIT_AGAIN	/* not now: leave it, it comes again */
};

/* One notice. unit_init() before its use and unit_release() after it. */
struct unit {
	struct arena arena;
	struct feedback_events events;
	enum unit_result result;
	bool is_understood; /* false: a person should look at it */
	size_t notices;	    /* that the health counts for it; 0 means 1 */
	struct err why;

	/* of pull */
	struct intake_item item;
	struct pull *pull;
};

void unit_init(struct unit *unit);
/* Ready for the next notice; keeps the memory. */
void unit_reset(struct unit *unit);
void unit_release(struct unit *unit);

struct pull;

struct pull_config {
	const char *name; /* static, of the source */
	void *ctx;
	enum pull_verdict (*round)(void *ctx, struct pull *pull, struct err *err);
	/* Called by the thread every beat_ms while pull_commit() waits; may be NULL. */
	void (*beat)(void *ctx);
	/* After the thread has ended; frees ctx. */
	void (*release)(void *ctx);
	long poll_ms, beat_ms;
	struct intake *intake;
};

/* Makes the source; the thread begins at once. NULL with err: ctx has been released then. */
struct source *pull_new(uv_loop_t *loop, const struct pull_config *config, struct err *err);

/*
 * From a round: hands all units that are UNIT_OPEN to the intake and returns when each is
 * UNIT_COMMITTED or UNIT_AGAIN. Waits as long as the database is away, unless it is stopping.
 */
void pull_commit(struct pull *pull, struct unit *units, size_t count);

bool pull_is_stopping(const struct pull *pull);
const atomic_bool *pull_stop_flag(const struct pull *pull);
struct source *pull_source(struct pull *pull);

#endif
