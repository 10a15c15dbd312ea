/* SPDX-License-Identifier: Apache-2.0 */
/*
 * marks: the phrases by which notices are told apart, as data. All are phrases of words.h, and
 * marks.c says where each group comes from. None of them names a reason: those are the rules of
 * classify.c. They are compiled when first asked for, by any thread, and never change.
 */
#ifndef KAIRAN_MARKS_H
#define KAIRAN_MARKS_H

#include "phrases.h"

enum mark {
	/* The notice itself. */
	MARK_FRAME,   /* only an MTA's failure notice says so */
	MARK_DELAY,   /* still being tried */
	MARK_FINAL,   /* nobody tries any more */
	MARK_FAILURE, /* words of failure anywhere in a line */
	MARK_SUCCESS, /* a confirmation of delivery */
	MARK_FOOTER,  /* a line that any mail may carry: it tells no reason */
	MARK_BANNER,  /* a gateway's warning of a mail from outside */

	/* Where in the SMTP session a refusal came: it tells who is meant. */
	MARK_AT_SESSION,
	MARK_AT_MAIL,
	MARK_AT_DATA,

	/* The outer header. */
	MARK_DAEMON,	     /* From of mail systems */
	MARK_DAEMON_ADDRESS, /* the address, not the name, in From of mail systems */
	MARK_DAEMON_PATH,    /* Return-Path of mail systems */
	MARK_BOUNCE_SUBJECT, /* Subject of bounces */
	MARK_DELAY_SUBJECT,
	MARK_REPLY_SUBJECT,	/* Re:, Fwd: and their sisters */
	MARK_AUTO_SUBJECT,	/* out of office, vacation */
	MARK_COMPLAINT_SUBJECT, /* feedback loops without ARF */
	MARK_CHALLENGE,		/* "confirm that you are a person" */

	/* The returned original begins behind such a line. */
	MARK_ORIGINAL,
	MARK_ORIGINAL_FRAMED, /* between dashes */

	/* What stands before or behind an address. */
	MARK_LABEL,
	MARK_COMMAND,
	MARK_SENTENCE,
	MARK_NOT_FAILED,
	MARK_CONTACT, /* the heading over the address of a help desk or sender */
	MARK_REMARK,
	MARKS
};

/* Which marks stand in the normalised text; ask phrases_has(). */
void marks_find(struct slice text, struct phrases_found *found);

/* For one question about a text. */
bool marks_match(struct slice text, enum mark mark);

#endif
