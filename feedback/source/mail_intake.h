/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mail_intake: one mail, from wherever it came -> the events to commit. The same for SMTP, LMTP,
 * Maildir, mailboxes and standard input. A mail that cannot be read becomes an event of kind
 * "other", reason "unreadable", so that it does not vanish.
 *
 * What no rule understands may be a person's reply: it is kept whole for one (keep.h), before
 * anything is acknowledged, when `keep` is given. Without it the event keeps sender, subject and
 * the beginning of the text.
 */
#ifndef KAIRAN_FEEDBACK_MAIL_INTAKE_H
#define KAIRAN_FEEDBACK_MAIL_INTAKE_H

#include <stdbool.h>

#include "arena.h"
#include "err.h"
#include "event.h"
#include "inbound.h"
#include "keep.h"

#define MAIL_INTAKE_ARENA_MAX ((size_t)INBOUND_ARENA_MAX + 64 * 1024)

struct mail_worker;

/* How mail is read; all borrowed. */
struct mail_intake {
	const struct token_keys *keys;
	struct slice bounce_domain; /* of b+… and u+… addresses; empty: any */
	const struct keep *keep;    /* NULL: mail that is not understood is not kept whole */
	struct mail_worker *worker; /* parses; NULL: it is parsed here */
};

struct mail_intake_mail {
	struct slice raw; /* past INBOUND_SIZE_MAX only its beginning is read; kept is the whole */
	const struct slice *rcpts; /* of the envelope; 0: those of the mail */
	size_t rcpt_count;
	struct slice trace; /* fields to put in front of what is kept: Return-Path, Received */
	bool is_for_person; /* keep it in any case */
};

/* 0 with at least one event in the arena, or -1: not now (no memory, no process), or it could not be kept. Nothing
 * borrowed of mail. */
int mail_intake_read(const struct mail_intake *how, const struct mail_intake_mail *mail,
    struct arena *arena, struct feedback_events *events) MUST_CHECK;

/* What says something about a recipient, or is no business of a person. */
bool mail_intake_is_understood(const struct feedback_events *events);

#endif
