/* SPDX-License-Identifier: Apache-2.0 */
/* mail_wire: see mail_wire.h. Owns nothing. Numbers are little-endian; a text is its length in 4
 * bytes and its bytes. */
#include "mail_wire.h"

#include <string.h>

#include "jsontext.h"

#define WORD_MAX 40

/* ---- writing ---------------------------------------------------------------------------- */

static void
put_number(struct buf *dst, uint64_t value, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		buf_append_char(dst, (char)(value >> (8 * i) & 0xff));
}

static void
put_text(struct buf *dst, struct slice s)
{
	put_number(dst, s.len, 4);
	buf_append_slice(dst, s);
}

static void
store(unsigned char *dst, uint64_t value, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		dst[i] = (unsigned char)(value >> (8 * i) & 0xff);
}

/* ---- reading ---------------------------------------------------------------------------- */

struct cursor {
	struct slice left;
	bool failed; /* sticky: everything after it is 0 or empty */
};

static struct slice
take(struct cursor *c, size_t n)
{
	struct slice s = { NULL, 0 };

	if (c->failed || c->left.len < n) {
		c->failed = true;
		return s;
	}
	s = slice_make(c->left.ptr, n);
	c->left = slice_make(c->left.ptr + n, c->left.len - n);
	return s;
}

static uint64_t
get_number(struct cursor *c, size_t bytes)
{
	struct slice s = take(c, bytes);
	uint64_t value = 0;

	for (size_t i = 0; i < s.len; i++)
		value |= (uint64_t)(unsigned char)s.ptr[i] << (8 * i);
	return value;
}

static struct slice
get_text(struct cursor *c)
{
	return take(c, (size_t)get_number(c, 4));
}

/* ---- frames ----------------------------------------------------------------------------- */

void
mail_wire_header(unsigned char dst[MAIL_WIRE_HEADER], enum mail_wire_kind kind, size_t len)
{
	memset(dst, 0, MAIL_WIRE_HEADER);
	dst[0] = (unsigned char)kind;
	store(dst + 4, len, 4);
}

bool
mail_wire_header_read(
    const unsigned char src[MAIL_WIRE_HEADER], enum mail_wire_kind *kind, size_t *len)
{
	static const char kinds[] = { MAIL_WIRE_MAIL, MAIL_WIRE_ASK, MAIL_WIRE_TELL,
		MAIL_WIRE_EVENTS, MAIL_WIRE_LAST, MAIL_WIRE_REFUSED };
	struct cursor c = { { (const char *)src + 4, 4 }, false };

	*kind = (enum mail_wire_kind)src[0];
	*len = (size_t)get_number(&c, 4);
	return memchr(kinds, src[0], sizeof(kinds)) != NULL && src[1] == 0 && src[2] == 0 &&
	    src[3] == 0 && *len <= MAIL_WIRE_PAYLOAD_MAX;
}

/* ---- mail, question, answer ------------------------------------------------------------- */

void
mail_wire_put_mail(struct buf *dst, const struct inbound_input *in)
{
	put_text(dst, in->bounce_domain);
	put_number(dst, in->rcpt_count, 4);
	for (size_t i = 0; i < in->rcpt_count; i++)
		put_text(dst, in->rcpts[i]);
	put_text(dst, in->raw);
}

bool
mail_wire_get_mail(struct slice payload, struct arena *arena, struct inbound_input *in)
{
	struct cursor c = { payload, false };
	struct slice *rcpts;

	*in = (struct inbound_input){ 0 };
	in->bounce_domain = get_text(&c);
	in->rcpt_count = (size_t)get_number(&c, 4);
	if (in->rcpt_count > payload.len) /* each takes 4 bytes at least */
		return false;
	rcpts = arena_array(arena, in->rcpt_count + 1, sizeof(*rcpts));
	if (rcpts == NULL)
		return false;
	for (size_t i = 0; i < in->rcpt_count && !c.failed; i++)
		rcpts[i] = get_text(&c);
	in->rcpts = rcpts;
	in->raw = get_text(&c);
	return !c.failed && c.left.len == 0;
}

void
mail_wire_put_question(char dst[MAIL_WIRE_QUESTION], enum token_purpose purpose, struct slice text)
{
	dst[0] = (char)purpose;
	memcpy(dst + 1, text.ptr, TOKEN_CHARS);
}

bool
mail_wire_get_question(struct slice payload, enum token_purpose *purpose, struct slice *text)
{
	if (payload.len != MAIL_WIRE_QUESTION ||
	    (payload.ptr[0] != TOKEN_BOUNCE && payload.ptr[0] != TOKEN_UNSUBSCRIBE &&
		payload.ptr[0] != TOKEN_MESSAGE))
		return false;
	*purpose = (enum token_purpose)payload.ptr[0];
	*text = slice_make(payload.ptr + 1, TOKEN_CHARS);
	return true;
}

void
mail_wire_put_answer(unsigned char dst[MAIL_WIRE_ANSWER], bool is_ours, const struct token *token)
{
	memset(dst, 0, MAIL_WIRE_ANSWER);
	if (!is_ours)
		return;
	dst[0] = 1;
	store(dst + 1, token->run, 4);
	store(dst + 5, token->send, 4);
	store(dst + 9, token->attempt, 2);
}

bool
mail_wire_get_answer(struct slice payload, bool *is_ours, struct token *token)
{
	struct cursor c = { payload, payload.len != MAIL_WIRE_ANSWER };

	*is_ours = get_number(&c, 1) == 1;
	token->run = (uint32_t)get_number(&c, 4);
	token->send = (uint32_t)get_number(&c, 4);
	token->attempt = (uint16_t)get_number(&c, 2);
	return !c.failed;
}

/* ---- events ----------------------------------------------------------------------------- */

static void
put_event(struct buf *dst, const struct feedback_event *e)
{
	put_number(dst, (uint64_t)e->kind, 1);
	put_number(dst, (uint64_t)e->cls, 1);
	put_number(dst, e->linked, 1);
	put_number(dst, (uint64_t)e->code, 2);
	for (size_t i = 0; i < 3; i++)
		put_number(dst, e->enhanced[i], 2);
	put_number(dst, e->token.run, 4);
	put_number(dst, e->token.send, 4);
	put_number(dst, e->token.attempt, 2);
	put_number(dst, (uint64_t)e->occurred_at_us, 8);
	put_text(dst, slice_str(e->source));
	put_text(dst, slice_str(e->reason));
	put_text(dst, e->text);
	put_text(dst, e->remote);
	put_text(dst, e->address);
	put_text(dst, e->key);
	put_text(dst, e->detail);
}

void
mail_wire_put_events(struct buf *dst, const struct feedback_events *events)
{
	put_number(dst, events->count, 4);
	for (size_t i = 0; i < events->count; i++)
		put_event(dst, &events->items[i]);
}

/* A word of our own: a-z, 0-9 and _; NULL otherwise. */
static const char *
get_word(struct cursor *c, struct arena *arena)
{
	struct slice s = get_text(c);

	if (s.len == 0 || s.len > WORD_MAX)
		return NULL;
	for (size_t i = 0; i < s.len; i++)
		if (!((s.ptr[i] >= 'a' && s.ptr[i] <= 'z') ||
			(s.ptr[i] >= '0' && s.ptr[i] <= '9') || s.ptr[i] == '_'))
			return NULL;
	return arena_copy(arena, s).ptr;
}

static const char *
get_source(struct cursor *c)
{
	static const char *const sources[] = { "dsn", "arf", "mail" };
	struct slice s = get_text(c);

	for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++)
		if (slice_equal(s, slice_str(sources[i])))
			return sources[i];
	return NULL;
}

static bool
is_of_a_mail(uint64_t kind)
{
	return kind == OUTCOME_DELIVERED || kind == OUTCOME_BOUNCED || kind == OUTCOME_DELAYED ||
	    kind == OUTCOME_COMPLAINED || kind == OUTCOME_UNSUBSCRIBED || kind == OUTCOME_OTHER;
}

static bool
get_facts(struct cursor *c, struct feedback_event *e)
{
	uint64_t kind = get_number(c, 1), cls = get_number(c, 1), linked = get_number(c, 1);

	e->code = (int)get_number(c, 2);
	for (size_t i = 0; i < 3; i++)
		e->enhanced[i] = (uint16_t)get_number(c, 2);
	e->token.run = (uint32_t)get_number(c, 4);
	e->token.send = (uint32_t)get_number(c, 4);
	e->token.attempt = (uint16_t)get_number(c, 2);
	e->occurred_at_us = (int64_t)get_number(c, 8);
	e->linked = linked == 1;
	if (c->failed || !is_of_a_mail(kind) || cls >= OUTCOME_CLASSES || linked > 1 ||
	    e->code > 999 || e->occurred_at_us < 0)
		return false;
	e->kind = (enum outcome_kind)kind;
	e->cls = (enum outcome_class)cls;
	return true;
}

static bool
get_texts(struct cursor *c, struct arena *arena, struct feedback_event *e)
{
	e->source = get_source(c);
	e->reason = get_word(c, arena);
	e->text = feedback_text(arena, get_text(c), OUTCOME_TEXT_MAX);
	e->remote = feedback_text(arena, get_text(c), OUTCOME_TEXT_MAX);
	e->address = feedback_text(arena, get_text(c), FEEDBACK_ADDRESS_MAX);
	e->key = feedback_text(arena, get_text(c), FEEDBACK_KEY_MAX);
	e->detail = feedback_text(arena, get_text(c), FEEDBACK_DETAIL_MAX);
	return !c->failed && e->source != NULL && e->reason != NULL && e->key.len > 0 &&
	    jsontext_kind(e->detail) == JSONTEXT_OBJECT && jsontext_check(e->detail);
}

/* An unsubscribe is the matter of a token to unsubscribe, all else of one of the return path or of
 * a Message-ID. */
static bool
may_link_by(enum token_purpose purpose, enum outcome_kind kind)
{
	return kind == OUTCOME_UNSUBSCRIBED ? purpose == TOKEN_UNSUBSCRIBE
					    : purpose == TOKEN_BOUNCE || purpose == TOKEN_MESSAGE;
}

static bool
may_link(const struct feedback_event *e, const struct mail_wire_token *tokens, size_t count)
{
	if (!e->linked)
		return e->token.run == 0 && e->token.send == 0 && e->token.attempt == 0;
	for (size_t i = 0; i < count; i++)
		if (may_link_by(tokens[i].purpose, e->kind) &&
		    tokens[i].token.run == e->token.run && tokens[i].token.send == e->token.send &&
		    tokens[i].token.attempt == e->token.attempt)
			return true;
	return false;
}

bool
mail_wire_get_events(struct slice payload, const struct mail_wire_token *tokens, size_t count,
    struct arena *arena, struct feedback_events *events)
{
	struct cursor c = { payload, false };
	uint64_t n = get_number(&c, 4);

	*events = (struct feedback_events){ 0 };
	if (n == 0 || n > FEEDBACK_EVENTS_MAX)
		return false;
	for (uint64_t i = 0; i < n; i++) {
		struct feedback_event *e = feedback_event_add(events, arena);

		if (e == NULL || !get_facts(&c, e) || !get_texts(&c, arena, e) ||
		    !may_link(e, tokens, count))
			return false;
	}
	return !c.failed && c.left.len == 0;
}
