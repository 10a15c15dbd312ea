/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compose: from a claimed row to the message and its envelope: values of the template's fields,
 * tokens, return path. No I/O; what becomes of a recipient that cannot be composed for is the
 * caller's to write down.
 */
#ifndef KAIRAN_COMPOSE_H
#define KAIRAN_COMPOSE_H

#include <stdbool.h>

#include "flight.h"
#include "slice.h"
#include "token.h"

/* Writes f->message (the caller's buffer, empty), f->token and f->return_path. False when the
 * recipient cannot be sent to; then *why says why and the buffer holds rubbish. Any thread may
 * call it: it touches nothing but that flight. */
bool compose_flight(const struct token_keys *keys, struct flight *f, struct compose_refusal *why);

/* The same in pieces, which are in the buffer. Not for single mails. */
bool compose_pieces(const struct token_keys *keys, struct flight *f, struct message_pieces *pieces,
    struct compose_refusal *why);

#endif
