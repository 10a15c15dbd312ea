/* SPDX-License-Identifier: Apache-2.0 */
/*
 * origins: where the customers of a run come from (campaign.origin_field), told apart by number. Values
 * that cannot be a name of many (too long, an address, control characters), and those past
 * ORIGINS_MAX, are "other"; who has none is "none".
 */
#ifndef KAIRAN_ORIGINS_H
#define KAIRAN_ORIGINS_H

#include <stdint.h>

#include "db.h"
#include "slice.h"
#include "strmap.h"

#define ORIGINS_MAX 200
#define ORIGINS_NAME_MAX 64

/* Zeroed it is empty. */
struct origins {
	struct strmap numbers;	      /* name -> its place in names */
	char *names[ORIGINS_MAX + 2]; /* owned; number n is names[n - 1] */
	int count;
};

/* The number of a value as COPY wrote it, from 1; -1 without memory. */
int origins_number(struct origins *o, struct slice value) MUST_CHECK;

/* Writes run_origin. -1 with err. */
int origins_save(const struct origins *o, struct db *db, int run, struct err *err) MUST_CHECK;

void origins_release(struct origins *o);

#endif
