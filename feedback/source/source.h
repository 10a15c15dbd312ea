/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source: what all sources of feedback have in common: a name, how to stop them, and how they
 * are. A source brings notices from outside. It acknowledges, deletes or moves one only after
 * the intake (intake.h) has told that its events are committed, so a crash anywhere means that
 * it is brought again.
 *
 * Two sorts: a source that is called (HTTP, LMTP) or watches files lives on the loop and hands
 * its items to the intake itself; a source that asks (SQS, mailboxes, log files) has a thread
 * of its own and blocks there, see pull.h.
 *
 * The health may be written and read from any thread. Its texts hold no address and no secret.
 */
#ifndef KAIRAN_FEEDBACK_SOURCE_H
#define KAIRAN_FEEDBACK_SOURCE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define SOURCE_ERROR_MAX 240

/* Why a notice is kept aside; source_kept_reason() names each, the last one is any other. */
#define SOURCE_KEPT_REASONS 7

struct source_health {
	bool is_up;			    /* it listens, or its last look succeeded */
	uint64_t received;		    /* notices read */
	uint64_t committed;		    /* of them */
	uint64_t left;			    /* not acceptable: left where they were, or refused */
	uint64_t errors;		    /* looks that failed */
	uint64_t kept[SOURCE_KEPT_REASONS]; /* aside, in kept_notice */
	int64_t waiting;	 /* notices that wait where they come from; -1: unknown */
	int64_t oldest_us;	 /* since when the oldest of them does; 0: none, -1: unknown */
	int64_t behind_bytes;	 /* of a log; -1: unknown */
	int64_t last_message_us; /* of the last commit, since 1970 UTC; 0: none yet */
	int64_t last_error_us;
	char last_error[SOURCE_ERROR_MAX + 1];
};

/* What the daemon does with every source alike. self is the source's own struct. */
struct source_kind {
	void (*stop)(void *self);    /* take nothing new; returns at once */
	bool (*is_idle)(void *self); /* nothing is under way any more */
	/* Ends it, whatever is under way. Items still at the intake are lost to it: the database
	 * connection is freed before, the intake after. */
	void (*free)(void *self);
	/* Logs, once a minute, what is in no health; may be NULL. */
	void (*report)(void *self);
};

struct source {
	const char *name; /* static: "http", "sqs", … */
	const struct source_kind *kind;
	void *self;
	pthread_mutex_t lock;
	struct source_health health;
};

void source_init(struct source *s, const char *name, const struct source_kind *kind, void *self);
void source_release(struct source *s);

/* A consistent copy. */
struct source_health source_health(struct source *s);

/* s may be NULL in all of these: then nothing is counted. */
void source_received(struct source *s, uint64_t count);
void source_committed(struct source *s, uint64_t count);
void source_left(struct source *s);
void source_kept(struct source *s, const char *reason);
void source_up(struct source *s, bool is_up);
/* How far it is behind, see source_health. */
void source_lag(struct source *s, int64_t waiting, int64_t oldest_us, int64_t behind_bytes);
/* Counts an error and keeps its text; is_up becomes false. */
void source_error(struct source *s, const char *text);

/* Of a number below SOURCE_KEPT_REASONS; static. */
const char *source_kept_reason(size_t number);

#endif
