/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mbox: where the mails of an mbox file (RFC 4155) begin and end. Pure. A mail begins behind a
 * line "From " at the beginning of the file or after an empty line. Quoted lines (">From ") stay
 * as they are.
 */
#ifndef KAIRAN_MBOX_H
#define KAIRAN_MBOX_H

#include <stdbool.h>

#include "slice.h"

/* Begins with "From ", so that it is an mbox and not a single mail. */
bool mbox_is(struct slice text);

/* The next mail of *rest, without its "From " line and the empty line behind it; *rest goes on
 * behind it. False at the end. */
bool mbox_next(struct slice *rest, struct slice *mail);

#endif
