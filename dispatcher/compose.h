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

/* Why there is no message. */
struct compose_refusal {
	bool skip;	    /* the run's policy leaves such recipients out; else it is a failure */
	const char *reason; /* customer_gone, missing_field, too_large, bad_data */
	struct slice text;  /* the field; borrowed from the run's plan */
};

/* Writes f->message (the caller's buffer, empty), f->token and f->return_path. False when the
 * recipient cannot be sent to; then *why says why and the buffer holds rubbish. */
bool compose_flight(const struct token_keys *keys, struct flight *f, struct compose_refusal *why);

#endif
