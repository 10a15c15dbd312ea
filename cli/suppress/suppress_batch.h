/* SPDX-License-Identifier: Apache-2.0 */
/*
 * suppress_batch: entries for the suppression list, merged in one transaction: all that are good, or
 * none. Within a batch the last entry of an address, scope and reason counts; what is there is never
 * made weaker: the later end stays.
 */
#ifndef KAIRAN_SUPPRESS_BATCH_H
#define KAIRAN_SUPPRESS_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "cli.h"
#include "db.h"
#include "err.h"
#include "slice.h"

#define SUPPRESS_REJECTS_SHOWN 20 /* by line; then they are counted only */

/* One entry to be. Empty: the default. */
struct suppress_entry {
	struct slice address, reason, scope, note, expires, created;
};

/* cli, db and source by the caller, the rest 0. */
struct suppress_batch {
	struct cli *cli;
	struct db *db;
	const char *source; /* of the entries: "person", "import" */
	struct buf out;
	int64_t read, rejected;		 /* counted by the caller; by suppress_batch_refuse() */
	int64_t added, changed, already; /* after suppress_batch_end() */
};

/* The reason as it is stored, or NULL: no reason that a person may give. Static. */
const char *suppress_reason(struct slice s);

/* all, stream:NAME or list:NAME. */
bool suppress_is_scope(struct slice s);

/* Looks like a date, or a date and time (ISO 8601); the server judges. */
bool suppress_is_time(struct slice s);

/* Begins the transaction. 0, or an exit code after printing; then release b->out, as after any failure
 * before suppress_batch_end(). */
int suppress_batch_begin(struct suppress_batch *b) MUST_CHECK;

/* Checks an entry and adds it to what is sent. NULL, or why not: static, or in err. */
const char *suppress_batch_add(
    struct suppress_batch *b, uint64_t line, const struct suppress_entry *e, struct err *err);

/* Says on standard error why a line was left out, for the first SUPPRESS_REJECTS_SHOWN. */
void suppress_batch_refuse(struct suppress_batch *b, uint64_t line, const char *why);

/* Sends what was added when it is so many bytes. 0, or an exit code after printing. */
int suppress_batch_flush(struct suppress_batch *b, size_t at_least) MUST_CHECK;

/* Merges and commits, with a line of audit. 0, or an exit code after printing. */
int suppress_batch_end(struct suppress_batch *b, const char *action, const char *object) MUST_CHECK;

/* The counts, for people or as JSON. */
void suppress_batch_print(const struct suppress_batch *b);

#endif
