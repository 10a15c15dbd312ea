/* SPDX-License-Identifier: Apache-2.0 */
/*
 * smtp_reply: see smtp_reply.h. Owns the text of one reply. Text lines are kept packed: when a
 * line is complete its code is cut off, so that a finished reply is one slice of the buffer.
 */
#include "smtp_reply.h"

#include <string.h>

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_word(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

void
smtp_reply_init(struct smtp_reply_parser *p)
{
	*p = (struct smtp_reply_parser){ 0 };
	buf_init(&p->bytes, SMTP_REPLY_MAX);
}

void
smtp_reply_release(struct smtp_reply_parser *p)
{
	buf_release(&p->bytes);
}

void
smtp_reply_reset(struct smtp_reply_parser *p)
{
	buf_reset(&p->bytes);
	p->line_at = p->total = 0;
	p->lines = 0;
	p->code = 0;
	p->bad = p->done = false;
}

bool
smtp_reply_is_partial(const struct smtp_reply_parser *p)
{
	return p->total > 0 && !p->done;
}

/* The code of a line of len bytes without its end, 0 when it has none. */
static int
line_code(const char *line, size_t len)
{
	if (len < 3 || line[0] < '1' || line[0] > '5' || !is_digit(line[1]) || !is_digit(line[2]))
		return 0;
	if (len > 3 && line[3] != ' ' && line[3] != '-')
		return 0;
	return (line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0');
}

/* One line is complete in bytes, LF included: checks it and packs its text. */
static enum smtp_reply_result
line_finish(struct smtp_reply_parser *p, struct smtp_reply *reply)
{
	char *line = p->bytes.data + p->line_at;
	size_t len = p->bytes.len - p->line_at - 1, skip;
	bool more;
	int code;

	if (len > 0 && line[len - 1] == '\r')
		len--;
	code = line_code(line, len);
	if (code == 0 || (p->lines > 0 && code != p->code))
		return SMTP_REPLY_BAD;
	p->code = code;
	p->lines++;
	more = len > 3 && line[3] == '-';
	skip = len > 3 ? 4 : 3;
	memmove(line, line + skip, len - skip);
	p->bytes.len = p->line_at + (len - skip);
	if (more) {
		if (p->lines >= SMTP_REPLY_LINES_MAX)
			return SMTP_REPLY_BAD;
		buf_append_char(&p->bytes, '\n');
		p->line_at = p->bytes.len;
		return SMTP_REPLY_MORE;
	}
	p->bytes.data[p->bytes.len] = '\0';
	p->done = true;
	reply->code = code;
	reply->text = buf_slice(&p->bytes);
	(void)smtp_enhanced_find(reply->text, (unsigned)(code / 100), reply->enhanced);
	return SMTP_REPLY_DONE;
}

enum smtp_reply_result
smtp_reply_feed(struct smtp_reply_parser *p, const char *bytes, size_t n, size_t *used,
    struct smtp_reply *reply)
{
	enum smtp_reply_result result = SMTP_REPLY_MORE;

	*used = 0;
	if (p->done)
		smtp_reply_reset(p);
	while (!p->bad && result == SMTP_REPLY_MORE && *used < n) {
		const char *from = bytes + *used;
		const char *lf = memchr(from, '\n', n - *used);
		size_t take = lf != NULL ? (size_t)(lf - from) + 1 : n - *used;

		if (take > SMTP_REPLY_LINE_MAX ||
		    p->bytes.len - p->line_at + take > SMTP_REPLY_LINE_MAX ||
		    p->total + take > SMTP_REPLY_MAX)
			result = SMTP_REPLY_BAD;
		if (result == SMTP_REPLY_MORE) {
			buf_append(&p->bytes, from, take);
			p->total += take;
			*used += take;
			if (buf_failed(&p->bytes))
				result = SMTP_REPLY_BAD;
			else if (lf != NULL)
				result = line_finish(p, reply);
		}
		p->bad = result == SMTP_REPLY_BAD;
	}
	return p->bad ? SMTP_REPLY_BAD : result;
}

/* A number of one to three digits at *at; advances. */
static bool
number_take(struct slice text, size_t *at, uint16_t *value)
{
	size_t from = *at;
	unsigned v = 0;

	while (*at < text.len && is_digit(text.ptr[*at]) && *at - from < 4)
		v = v * 10 + (unsigned)(text.ptr[(*at)++] - '0');
	*value = (uint16_t)v;
	return *at > from && *at - from <= 3;
}

/* A whole enhanced code at offset at, with nothing behind it that makes it something else. */
static bool
enhanced_at(struct slice text, size_t at, uint16_t enhanced[3])
{
	for (int i = 0; i < 3; i++) {
		if (i > 0 && (at >= text.len || text.ptr[at++] != '.'))
			return false;
		if (!number_take(text, &at, &enhanced[i]))
			return false;
	}
	if (at == text.len)
		return true;
	if (is_word(text.ptr[at]) || text.ptr[at] == '@' || text.ptr[at] == '/')
		return false;
	if (text.ptr[at] == '.' || text.ptr[at] == '-')
		return at + 1 == text.len || !is_word(text.ptr[at + 1]);
	return true;
}

bool
smtp_enhanced_find(struct slice text, unsigned class_digit, uint16_t enhanced[3])
{
	for (size_t i = 0; i + 5 <= text.len; i++) {
		char c = text.ptr[i];

		if (text.ptr[i + 1] != '.' || (c != '2' && c != '4' && c != '5'))
			continue;
		if (class_digit != 0 && (unsigned)(c - '0') != class_digit)
			continue;
		if (i > 0 && (is_word(text.ptr[i - 1]) || text.ptr[i - 1] == '.'))
			continue;
		if (enhanced_at(text, i, enhanced))
			return true;
	}
	memset(enhanced, 0, 3 * sizeof(enhanced[0]));
	return false;
}
