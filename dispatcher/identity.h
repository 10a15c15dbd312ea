/* SPDX-License-Identifier: Apache-2.0 */
/*
 * identity: who this dispatcher is. A lock file in the state folder belongs to one process at a
 * time (the kernel gives the lock free only when the process is dead); its first line names the
 * lock. Registering makes a new life in kairan.dispatcher; earlier lives with the same lock are
 * dead for certain (recover.h settles what they held).
 */
#ifndef KAIRAN_IDENTITY_H
#define KAIRAN_IDENTITY_H

#include "config.h"
#include "db.h"
#include "err.h"

struct identity {
	int lock_fd; /* -1: not held */
	char lock_id[33];
	bool is_new; /* named just now: no life has ever had it */
};

/* Takes the lock. 0, or -1 with err: folder missing, or another dispatcher runs here. */
int identity_lock(struct identity *id, const struct config *config, struct err *err) MUST_CHECK;
void identity_unlock(struct identity *id);

/* What a life is told when it registers. */
struct identity_life {
	int id;		  /* dispatcher.id */
	uint64_t wait_ms; /* before it may claim: standbys shall know of it (dispatcher.join_s) */
};

/* What the journal can say for the earlier lives of this lock. */
struct identity_word {
	int timeline; /* of PostgreSQL, on which it was compared with the rows */
	int life;     /* the first one that it knows of, 0: none */
	bool whole;   /* it has no holes */
};

/* Makes the row. 0, or -1 with err, also when PostgreSQL is on another timeline by now. */
int identity_register(const struct identity *id, const struct config *config, struct db *db,
    const struct identity_word *word, struct identity_life *life, struct err *err) MUST_CHECK;

#endif
