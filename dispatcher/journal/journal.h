/* SPDX-License-Identifier: Apache-2.0 */
/*
 * journal: the file of one dispatcher that turns "who may have got it?" into a short list. A
 * preallocated ring of slots (journal_slot.h), mapped shared: its pages belong to the kernel, so
 * that kill -9 loses nothing of it. Nothing is erased on success; the oldest slot whose outcome
 * is durable in PostgreSQL is used again.
 *
 * Order, for each attempt: journal_dot() before any byte of the final dot can leave,
 * journal_answer() before anything else is done with the outcome, journal_settled() after the
 * commit of its RECORD or RELEASE.
 *
 * The file survives lives. A new life reads it (journal_find), settles what its predecessors
 * held, and only then begins its own (journal_begin_life).
 */
#ifndef KAIRAN_JOURNAL_H
#define KAIRAN_JOURNAL_H

#include "err.h"
#include "journal_slot.h"

struct journal;

/* What the file can tell about an earlier life. */
enum journal_evidence {
	JOURNAL_SAYS_NOTHING, /* another file was used, or none */
	JOURNAL_SAYS_MARKS,   /* marks are true, but some may be missing: the machine was
				 restarted since, or a slot is damaged */
	JOURNAL_SAYS_ALL      /* whatever has no mark was certainly not sent */
};

/*
 * Opens or makes the file and locks it. NULL with err, which says what to do: held by a living
 * process, not a plain file of our own with mode 600, on a network file system, disk full. A
 * damaged file is put aside under a name that err does not need: journal_was_damaged().
 * lock_id: JOURNAL_LOCK_ID characters; a file of another lock counts as damaged. slots: of a new
 * file; an existing one keeps its size.
 */
struct journal *journal_open(
    const char *path, const char *lock_id, uint32_t slots, struct err *err) MUST_CHECK;
void journal_close(struct journal *j);

/* Why the file found was put aside, "" when it was not. Borrowed. */
const char *journal_was_damaged(const struct journal *j);

/* As found, until journal_begin_life(). life is 0 in a new file. Borrowed. */
const struct journal_header *journal_header(const struct journal *j);

/* What the file can tell of a life (dispatcher.id) in a PostgreSQL cluster. */
enum journal_evidence journal_evidence(
    const struct journal *j, int32_t life, uint64_t system_id) MUST_CHECK;

/* Of a new file of a lock that no life has had before: it knows of all lives, none so far. */
void journal_is_first(struct journal *j);

/* No life that this file knows of (from journal_header()->first_life on, 0: none) has marks that
 * it lacks. */
bool journal_is_whole(const struct journal *j, uint64_t system_id) MUST_CHECK;

/* The newest mark of an attempt. False: there is none. */
bool journal_find(const struct journal *j, const struct journal_attempt *attempt,
    struct journal_mark *mark) MUST_CHECK;

/* Marks in the order of their attempts, the newest of each; index from 0, false behind the last. */
bool journal_each(const struct journal *j, size_t index, struct journal_mark *mark) MUST_CHECK;

/* From now on this life writes. Forgets the list that journal_find() reads; a file with holes tells nothing
 * of the lives before any more. */
void journal_begin_life(struct journal *j, int32_t life, uint64_t system_id);

/* Which life it is, to the disk, before it claims anything: a loss of power may take its marks, not the
 * knowledge that there are such. 0, or -1 with err. */
int journal_sync(const struct journal *j, struct err *err) MUST_CHECK;

/*
 * Marks an attempt. slot: the one that the same attempt had before (its answer was RELEASED),
 * else -1. Returns the slot, or -1 when all are waiting for their RECORD: then no dot may leave.
 */
int journal_dot(struct journal *j, int slot, const struct journal_attempt *attempt) MUST_CHECK;
void journal_answer(struct journal *j, int slot, const struct journal_answer *answer);

/* The outcome is durable in PostgreSQL: the slot may be used again when its turn comes. */
void journal_settled(struct journal *j, int slot);

/* How full it is. marks: ever written to this file. */
struct journal_use {
	uint32_t slots, busy;
	uint64_t marks;
};
struct journal_use journal_use(const struct journal *j);

/* Claims that PostgreSQL acknowledged; going back later means that it has lost commits. */
void journal_claimed(struct journal *j, uint64_t claim_seq);
#define UNKNOWN_CLAIM_STEP 1048576 /* what fence_claims.sql adds, and claim.sql looks for */
uint64_t journal_claim_seq(const struct journal *j);

#endif
