/* SPDX-License-Identifier: Apache-2.0 */
/*
 * page: one page for recipients, from what is to be said to HTML. Pure. Whole in itself: no
 * script, no image, nothing from elsewhere; made for telephones first. Everything that comes
 * from outside is escaped, in text and in attributes.
 */
#ifndef KAIRAN_FEEDBACK_PAGE_H
#define KAIRAN_FEEDBACK_PAGE_H

#include <stdbool.h>

#include "buf.h"
#include "web_request.h"
#include "slice.h"
#include "page_words.h"

#define PAGE_MAX ((size_t)64 * 1024) /* ceiling for out */

enum page_kind {
	PAGE_ASK,	   /* stop? buttons for list and all */
	PAGE_OFF,	   /* stopped */
	PAGE_UNDONE,	   /* and taken back */
	PAGE_LATE,	   /* too late to take back */
	PAGE_MOVE,	   /* form for a new address */
	PAGE_ASKED,	   /* the new address gets a mail */
	PAGE_LIMIT,	   /* it got too many */
	PAGE_CONFIRM_MOVE, /* button */
	PAGE_CONFIRM_JOIN, /* button */
	PAGE_CONFIRMED_MOVE,
	PAGE_CONFIRMED_JOIN,
	PAGE_EXPIRED,
	PAGE_GONE, /* a mail to somebody whose data was erased */
	PAGE_BAD,  /* forged, cut off, of a run that is gone: all alike */
	PAGE_BUSY, /* try again */
	PAGE_KINDS
};

/* Slices are borrowed; UTF-8, may be empty. */
struct page {
	enum page_kind kind;
	const struct page_words *words;
	enum page_language language;
	struct slice list, sender;
	struct slice address;	  /* masked */
	struct slice new_address; /* as it was given */
	struct slice old_address; /* of the form, as it was given */
	struct slice token;	  /* verified, or empty */
	long days;
	bool is_all;	   /* PAGE_OFF: everything, not the list alone */
	bool may_undo;	   /* PAGE_OFF: with the button for it */
	bool may_move;	   /* with a link to the form for a new address */
	enum word mistake; /* PAGE_MOVE: what was wrong with the form; WORDS: nothing */
};

/* Appends the page. */
void page_render(const struct page *page, struct buf *out);

/* Appends text escaped for HTML; control characters become blanks, but line ends stay with lines. */
void page_put_escaped(struct buf *out, struct slice text, bool lines);

/* The value of style-src in the Content-Security-Policy that lets the page's own style in:
 * 'sha256-…'. dst has room for 64 bytes. */
void page_style_source(char dst[64]);

#endif
