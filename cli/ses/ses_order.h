/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ses_order: the requests SendEmail and SendBulkEmail of the Amazon SES API v2 (service model
 * 2019-09-27), read for the imitation of SES. Pure. A template comes with its request: none is kept.
 */
#ifndef KAIRAN_SES_ORDER_H
#define KAIRAN_SES_ORDER_H

#include <jansson.h>

#include "arena.h"
#include "err.h"
#include "ses_request.h"
#include "slice.h"

/* One accepted mail. Slices point into the request and the arena. */
struct ses_order {
	struct slice from, to, configuration_set;
	struct slice missing; /* what its template asks for and its data lacks; empty: nothing */
	json_t *tags;	      /* name -> [value]; owned */
};

/* Reads SendEmail with one recipient. -1 with err: what BadRequestException would say. Release
 * either way. */
MUST_CHECK int ses_order_read(
    struct ses_order *order, struct slice json, struct arena *arena, struct err *err);
void ses_order_release(struct ses_order *order);

/* One of BulkEmailEntries, and what BulkEmailEntryResults say of it. */
struct ses_bulk_order_entry {
	struct ses_order order;
	const char *status; /* SUCCESS, or another one of the service model; static */
	const char *error;  /* static; NULL: none */
};

struct ses_bulk_order {
	struct ses_bulk_order_entry entry[SES_BULK_RECIPIENTS_MAX];
	size_t count;
};

/* Reads SendBulkEmail with one recipient in each entry. -1 with err when the request is refused as a
 * whole. Release either way. */
MUST_CHECK int ses_bulk_order_read(
    struct ses_bulk_order *bulk, struct slice json, struct arena *arena, struct err *err);
void ses_bulk_order_release(struct ses_bulk_order *bulk);

#endif
