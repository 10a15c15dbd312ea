/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mail_intake: one mail, from wherever it came -> the events to commit. The same for LMTP,
 * Maildir and standard input. A mail that cannot be read becomes an event of kind "other",
 * reason "unreadable", so that it does not vanish.
 */
#ifndef KAIRAN_FEEDBACK_MAIL_INTAKE_H
#define KAIRAN_FEEDBACK_MAIL_INTAKE_H

#include "arena.h"
#include "err.h"
#include "event.h"
#include "inbound.h"

#define MAIL_INTAKE_ARENA_MAX ((size_t)INBOUND_ARENA_MAX + 64 * 1024)

/* 0 with at least one event in the arena, or -1 without memory. Nothing borrowed of in. */
int mail_intake_read(
    const struct inbound_input *in, struct arena *arena, struct feedback_events *events) MUST_CHECK;

#endif
