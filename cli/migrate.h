/* SPDX-License-Identifier: Apache-2.0 */
/*
 * migrate: brings a database to the schema of this program, and makes the secret key file.
 *
 * The files schema/NNN_*.sql are built in. Each is applied in one transaction with its row in
 * kairan.migration; an advisory lock makes two runs at once take turns. Forward only: a schema
 * newer than the program, or a file that differs from what was applied, is refused.
 */
#ifndef KAIRAN_MIGRATE_H
#define KAIRAN_MIGRATE_H

#include <stdbool.h>

#include "db.h"
#include "err.h"

#define MIGRATE_MAX 999

struct migrate_report {
	int before; /* version found; 0: none */
	int after;
	int applied[MIGRATE_MAX]; /* versions applied now, in order */
	int applied_count;
};

/* Applies what is missing, as the owner, on a connection outside a transaction. 0, or -1 with
 * err; report says how far it came either way. */
int migrate_apply(struct db *db, struct migrate_report *report, struct err *err) MUST_CHECK;

/* Opens the feedback partitions of this month and the next. 0, or -1 with err. */
int migrate_open_months(struct db *db, struct err *err) MUST_CHECK;

/* Gives every program's role that has none a random password; each is printed once, as a line
 * for a .pgpass file, by the callback. 0, or -1 with err. */
int migrate_role_passwords(struct db *db,
    void (*tell)(void *ctx, const char *role, const char *password), void *ctx,
    struct err *err) MUST_CHECK;

enum migrate_key { MIGRATE_KEY_MADE, MIGRATE_KEY_THERE, MIGRATE_KEY_NO_FOLDER };

/* Makes the key file of token.h with one random key, mode 600, when it is missing and its
 * folder can be written. *what says which; MIGRATE_KEY_NO_FOLDER is no error. -1 with err when
 * writing failed or a file that is there cannot be used. */
int migrate_key_file(const char *path, enum migrate_key *what, struct err *err) MUST_CHECK;

#endif
