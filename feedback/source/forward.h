/* SPDX-License-Identifier: Apache-2.0 */
/*
 * forward: sends what keep.h keeps on to reply.forward_to by reply.relay, and moves it to cur/
 * when the relay has taken it. Not a source of feedback, but it lives like one: a thread, a
 * health, an end. The sender of the envelope is empty, so nothing ever answers to it. A mail that
 * the relay refuses for good is moved, too, and stays there for whoever reads the Maildir. A
 * crash between the two may forward a mail twice, never not at all.
 *
 * Line ends are made CR LF: what a stranger wrote must mean the same to the relay (smuggling).
 */
#ifndef KAIRAN_FEEDBACK_FORWARD_H
#define KAIRAN_FEEDBACK_FORWARD_H

#include <uv.h>

#include "buf.h"
#include "config.h"
#include "err.h"
#include "intake.h"
#include "keep.h"

#define FORWARD_MAIL_MAX ((size_t)64 * 1024 * 1024)

/* All borrowed until the source is freed. NULL with err: settings that cannot work. */
struct source *forward_new(uv_loop_t *loop, const struct config *config, const struct keep *keep,
    struct intake *intake, struct err *err);

/* Appends text with every CR LF, CR or LF as CR LF, and one at the end. */
void forward_lines(struct buf *out, struct slice text);

#endif
