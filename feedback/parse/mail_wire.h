/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mail_wire: what the daemon and the parser of mails (mail_worker.h) say to each other. Pure.
 *
 * A frame is MAIL_WIRE_HEADER bytes (kind, three zeros, length of the payload, little-endian) and
 * the payload, at most MAIL_WIRE_PAYLOAD_MAX.
 *
 *   parent -> parser   MAIL      bounce domain, envelope recipients, the mail
 *   parser -> parent   QUESTION  purpose and TOKEN_CHARS characters: is this a token of ours?
 *   parent -> parser   ANSWER    yes or no, run, send, attempt
 *   parser -> parent   EVENTS    what the mail says; LAST as well, then the parser ends
 *   parser -> parent   REFUSED   why the mail cannot be read
 *
 * The parser reads strangers' bytes, so the parent takes none of its words for true: all lengths
 * are checked, texts are cleaned anew, words come from lists, and a token counts only when the
 * parent verified it for this very mail.
 */
#ifndef KAIRAN_MAIL_WIRE_H
#define KAIRAN_MAIL_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "buf.h"
#include "event.h"
#include "inbound.h"
#include "slice.h"
#include "token.h"

#define MAIL_WIRE_HEADER 8
#define MAIL_WIRE_PAYLOAD_MAX (4 * 1024 * 1024)
#define MAIL_WIRE_QUESTIONS_MAX 256 /* of one mail */
#define MAIL_WIRE_QUESTION (1 + TOKEN_CHARS)
#define MAIL_WIRE_ANSWER 11

enum mail_wire_kind {
	MAIL_WIRE_MAIL = 'M',
	MAIL_WIRE_ASK = 'Q',
	MAIL_WIRE_TELL = 'A',
	MAIL_WIRE_EVENTS = 'E',
	MAIL_WIRE_LAST = 'L',
	MAIL_WIRE_REFUSED = 'X'
};

/* A token that the parent verified. */
struct mail_wire_token {
	enum token_purpose purpose;
	struct token token;
};

void mail_wire_header(unsigned char dst[MAIL_WIRE_HEADER], enum mail_wire_kind kind, size_t len);
/* False when it is no header, or of a payload past the maximum. */
bool mail_wire_header_read(
    const unsigned char src[MAIL_WIRE_HEADER], enum mail_wire_kind *kind, size_t *len) MUST_CHECK;

void mail_wire_put_mail(struct buf *dst, const struct inbound_input *in);
/* Sets raw, rcpts (in the arena), rcpt_count and bounce_domain, which borrow from payload. */
bool mail_wire_get_mail(
    struct slice payload, struct arena *arena, struct inbound_input *in) MUST_CHECK;

void mail_wire_put_question(
    char dst[MAIL_WIRE_QUESTION], enum token_purpose purpose, struct slice text);
/* text borrows from payload. */
bool mail_wire_get_question(
    struct slice payload, enum token_purpose *purpose, struct slice *text) MUST_CHECK;

void mail_wire_put_answer(
    unsigned char dst[MAIL_WIRE_ANSWER], bool is_ours, const struct token *token);
bool mail_wire_get_answer(struct slice payload, bool *is_ours, struct token *token) MUST_CHECK;

void mail_wire_put_events(struct buf *dst, const struct feedback_events *events);
/*
 * Events as event.h promises them, copied into the arena. False when they are malformed, none,
 * of a source that no mail has, or linked to a token that is not among tokens: the parser is not
 * to be trusted any more.
 */
bool mail_wire_get_events(struct slice payload, const struct mail_wire_token *tokens, size_t count,
    struct arena *arena, struct feedback_events *events) MUST_CHECK;

#endif
