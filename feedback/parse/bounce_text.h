/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bounce_text: the prose of a bounce without delivery-status part: which addresses failed, and
 * what is said about each. Pure, linear in the size of the notice. It knows no vendor by name,
 * only the ways in which all of them write an address and its reason:
 *
 *   <a@b>: text | a@b alone in its line, text below | a@b: text | label: a@b
 *   550 <a@b>... text | RCPT TO:<a@b> | a sentence "… delivered to a@b …"
 *
 * The best way found counts for the whole notice. Addresses of help desks, senders and of the
 * returned original are left out.
 */
#ifndef KAIRAN_BOUNCE_TEXT_H
#define KAIRAN_BOUNCE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "arena.h"
#include "err.h"
#include "slice.h"

#define BOUNCE_TEXT_MAX (32 * 1024) /* of a notice that is read */
#define BOUNCE_TEXT_RECIPIENTS_MAX 100

/* How an address was found; what is at least SURE is no guess. */
enum bounce_text_rank {
	BOUNCE_TEXT_NONE,
	BOUNCE_TEXT_MENTIONED, /* in a line with words of failure, or behind "To:" */
	BOUNCE_TEXT_COMMAND,   /* RCPT TO:<a@b> */
	BOUNCE_TEXT_SENTENCE,  /* "could not be delivered to a@b" */
	BOUNCE_TEXT_REPLY,     /* 550 <a@b>... */
	BOUNCE_TEXT_LABEL,     /* "Recipient address: a@b", "a@b: text" */
	BOUNCE_TEXT_LINE       /* <a@b>: at the start of a line, or alone in it */
};

struct bounce_text_recipient {
	struct slice address; /* that was written to */
	struct slice final;   /* that failed: another one behind an alias */
	struct slice text;    /* what is said about it; may be several lines; may be empty */
};

struct bounce_text {
	struct slice notice;   /* before the returned original */
	struct slice original; /* behind the line that announces it; may be empty */
	struct bounce_text_recipient *recipients;
	size_t count;
	enum bounce_text_rank rank; /* of all of them */
	struct slice lone; /* the only address in the notice that may have failed; a guess */
};

/* Where the returned original begins in text: fills notice and original. */
void bounce_text_split(struct slice text, struct slice *notice, struct slice *original);

/* Reads a text (UTF-8, LF). own: an address that cannot have failed (to whom the notice was
 * sent), or empty. 0, or -1 without memory. */
int bounce_text_read(
    struct bounce_text *out, struct slice text, struct slice own, struct arena *arena) MUST_CHECK;

/* The next mail address in s, from *at on; *at moves behind it. False at the end. */
bool bounce_text_address(struct slice s, size_t *at, struct slice *address);

#endif
