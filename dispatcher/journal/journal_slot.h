/* SPDX-License-Identifier: Apache-2.0 */
/*
 * journal_slot: the bytes of the journal, without I/O. A slot of 128 bytes holds one attempt in
 * two halves that are made valid by one aligned 8-byte store each, after everything they cover:
 *
 *   dot     written before any byte of the final dot can leave: whose attempt, when
 *   answer  written before anything else is done with the outcome: what was decided
 *
 * A process may be killed between any two stores. What a reader finds then:
 *
 *   dot word            dot half      answer word    answer half   meaning
 *   empty, or writing   (anything)    (anything)     (anything)    NONE: no dot has left with it
 *   dot                 sum holds     empty          (anything)    MARK without an answer: doubt
 *   dot                 sum holds     answer         sum holds     MARK with its answer
 *   dot                 sum holds     anything else, or no sum     MARK without an answer
 *   dot                 sum fails     -              -             CORRUPT
 *   anything else       -             -              -             CORRUPT
 *
 * A kill never makes a slot CORRUPT; whoever finds one must take every attempt without a mark
 * for one that may have been sent. Host byte order: the file never leaves its host.
 */
#ifndef KAIRAN_JOURNAL_SLOT_H
#define KAIRAN_JOURNAL_SLOT_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "outcome.h"
#include "slice.h"

#define JOURNAL_SLOT_BYTES 128
#define JOURNAL_HEADER_BYTES 4096
#define JOURNAL_TEXT_MAX 60 /* an SES message id */
#define JOURNAL_LOCK_ID 32
#define JOURNAL_BOOT_ID 36
#define JOURNAL_SLOTS_MAX ((uint32_t)1 << 24)

/* Who is tried: the fence of a send row. */
struct journal_attempt {
	int32_t owner; /* dispatcher.id */
	int32_t run;
	int32_t send;
	int32_t attempt;
};

/* What was decided. kind: OUTCOME_SENT, OUTCOME_DEFERRED, OUTCOME_FAILED or OUTCOME_RELEASED. */
struct journal_answer {
	enum outcome_kind kind;
	enum outcome_class cls;
	int code;
	uint16_t enhanced[3];
	struct slice text; /* remote id when sent, else the reason; cut at JOURNAL_TEXT_MAX */
};

/* One slot as read. The text of the answer is borrowed from the slot's bytes. */
struct journal_mark {
	struct journal_attempt attempt;
	uint64_t generation; /* grows with every mark of a file */
	int64_t at_s;	     /* wall clock of the mark, for people only */
	bool answered;
	struct journal_answer answer;
};

enum journal_reading { JOURNAL_NONE, JOURNAL_MARK, JOURNAL_CORRUPT };

/* slot: JOURNAL_SLOT_BYTES, aligned to 8. */
void journal_slot_dot(
    void *slot, const struct journal_attempt *attempt, uint64_t generation, int64_t at_s);

/* Only behind journal_slot_dot() on the same slot. */
void journal_slot_answer(void *slot, const struct journal_answer *answer);

/* Any JOURNAL_SLOT_BYTES. *mark is filled for JOURNAL_MARK. */
enum journal_reading journal_slot_read(const void *slot, struct journal_mark *mark);

/* What a file says of itself. Two copies, written in turn, so that one is always whole. */
struct journal_header {
	uint64_t serial; /* the copy with the higher one counts */
	uint32_t slots;
	char lock_id[JOURNAL_LOCK_ID + 1];
	char boot_id[JOURNAL_BOOT_ID + 1]; /* kernel boot in which `life` began */
	uint64_t system_id;		   /* of the PostgreSQL cluster; 0: unknown */
	int32_t first_life;		   /* dispatcher.id for which the file was made */
	int32_t life;			   /* dispatcher.id of the last life that wrote marks */
	uint64_t first_generation;	   /* marks up to here belong to another database */
	uint64_t claim_seq;		   /* of `life`: claims that PostgreSQL acknowledged */
};

/* bytes: the whole file. 0; 1: a new file, no header was ever written; -1 with err: foreign,
 * damaged or cut off. */
int journal_header_read(
    const void *bytes, uint64_t len, struct journal_header *header, struct err *err) MUST_CHECK;

/* Writes the older copy with a higher serial. bytes: at least JOURNAL_HEADER_BYTES. */
void journal_header_write(void *bytes, struct journal_header *header);

/* claim_seq alone, kept beside the copies: one store and its complement. */
void journal_claim_seq_write(void *bytes, uint64_t claim_seq);

static inline uint64_t
journal_file_bytes(uint32_t slots)
{
	return JOURNAL_HEADER_BYTES + (uint64_t)slots * JOURNAL_SLOT_BYTES;
}

#endif
