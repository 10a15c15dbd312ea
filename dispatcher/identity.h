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
};

/* Takes the lock. 0, or -1 with err: folder missing, or another dispatcher runs here. */
int identity_lock(struct identity *id, const struct config *config, struct err *err) MUST_CHECK;
void identity_unlock(struct identity *id);

/* Makes the row; the number of this life, or -1 with err. */
int identity_register(const struct identity *id, const struct config *config, struct db *db,
    struct err *err) MUST_CHECK;

#endif
