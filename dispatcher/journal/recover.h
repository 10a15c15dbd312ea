/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recover: settles what earlier lives of this dispatcher held, from their journal, before a new
 * one begins.
 *
 *   mark with an answer         its outcome is recorded
 *   mark without an answer      in doubt (reason crashed_after_dot)
 *   no mark                     queued again: certainly not sent; in doubt (owner_lost) when the
 *                               journal cannot know all marks (machine restarted, file damaged
 *                               or lost)
 *
 * Each step may be repeated, so a recovery that is killed is done again by the next life.
 */
#ifndef KAIRAN_RECOVER_H
#define KAIRAN_RECOVER_H

#include "config.h"
#include "db.h"
#include "err.h"
#include "identity.h"
#include "journal.h"

enum recover_result {
	RECOVER_DONE,
	RECOVER_AGAIN,	/* PostgreSQL did not do as asked: try again */
	RECOVER_REFUSED /* a person has to decide; err says what to do */
};

/*
 * Registers a new life, settles the earlier ones, and begins the new life in the journal. adopt:
 * accept a copied database, or one that has lost commits.
 */
enum recover_result recover_begin(const struct identity *id, const struct config *config,
    struct journal *journal, struct db *db, bool adopt, struct identity_life *life,
    struct err *err) MUST_CHECK;

#endif
