/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ses_compose: from flights to the body of a request to Amazon SES: SendEmail for one recipient, with
 * a whole mail or its pieces, or an entry of SendBulkEmail. No I/O but the messages made ahead by the
 * signer, which it frees.
 */
#ifndef KAIRAN_SES_COMPOSE_H
#define KAIRAN_SES_COMPOSE_H

#include <stdbool.h>

#include "aws_credentials.h"
#include "dispatcher.h"
#include "flight.h"

#define SES_HEAD_ROOM ((size_t)AWS_TOKEN_MAX + 4096) /* for the head of a signed request */

/* A request's body, and what is made on the way to it for one recipient. */
struct ses_body {
	struct buf json; /* behind SES_HEAD_ROOM bytes, so that head and body leave as one */
	struct buf message, text, data;
};

void ses_body_init(struct ses_body *b);
void ses_body_release(struct ses_body *b);

/* An empty JSON behind the room for a head. */
void ses_body_begin(struct ses_body *b);

/* Empties it; gives large buffers back. */
void ses_body_trim(struct ses_body *b);

/* The request for one recipient, as his run asks: whole or Simple. False: f->refusal says why there is
 * none. */
bool ses_compose_one(struct dispatcher *d, struct ses_body *b, struct flight *f) MUST_CHECK;

/* Appends one recipient to a request for several, or begins one in an empty body. False, with the body as it
 * was: f->refused, with f->refusal, or there is no room beside the others. */
bool ses_compose_entry(struct dispatcher *d, struct ses_body *b, struct flight *f) MUST_CHECK;

/* Behind the last one. */
void ses_compose_end(struct ses_body *b);

/* The JSON. */
struct slice ses_body_json(const struct ses_body *b);

/* The whole request: puts its head, at most SES_HEAD_ROOM, in front. Borrowed as long as the body stays. */
struct slice ses_body_request(struct ses_body *b, struct slice head);

#endif
