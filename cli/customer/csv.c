/* SPDX-License-Identifier: Apache-2.0 */
/* csv: see csv.h. A state machine that copies runs of bytes, not single ones. */
#include "csv.h"

enum state {
	S_MARK,	    /* at the very start: a byte order mark may come */
	S_START,    /* at the start of a record */
	S_FIELD,    /* at the start of a later field */
	S_PLAIN,    /* inside an unquoted field */
	S_PLAIN_CR, /* CR seen there */
	S_QUOTED,   /* inside a quoted field */
	S_CLOSED,   /* behind a quotation mark in it: closing, or the first of two */
	S_CLOSED_CR,
	S_SKIP /* dropping a refused record up to its line end */
};

static const unsigned char byte_order_mark[3] = { 0xef, 0xbb, 0xbf };

void
csv_init(struct csv *c, char separator)
{
	memset(c, 0, sizeof(*c));
	buf_init(&c->record, CSV_RECORD_MAX);
	c->separator = separator;
	c->next_line = 1;
	c->state = S_MARK;
}

void
csv_release(struct csv *c)
{
	buf_release(&c->record);
}

static void
begin_record(struct csv *c)
{
	buf_reset(&c->record);
	c->count = 0;
	c->broken = CSV_RECORD;
	c->line = c->last_line = c->next_line;
}

static void
refuse(struct csv *c, enum csv_result why)
{
	c->broken = why;
	c->state = S_SKIP;
	buf_reset(&c->record);
}

static void
append(struct csv *c, const char *bytes, size_t n)
{
	buf_append(&c->record, bytes, n);
	if (buf_failed(&c->record))
		refuse(c, c->record.len + n > CSV_RECORD_MAX ? CSV_TOO_LONG : CSV_NO_MEMORY);
}

static void
end_field(struct csv *c)
{
	if (c->count == CSV_FIELDS_MAX) {
		refuse(c, CSV_TOO_MANY);
		return;
	}
	c->ends[c->count++] = c->record.len;
	c->state = S_FIELD;
}

/* The record is complete, or what was skipped is over. */
static enum csv_result
end_record(struct csv *c)
{
	size_t from = 0;

	c->state = S_START;
	if (c->broken != CSV_RECORD)
		return c->broken;
	for (size_t i = 0; i < c->count; i++) {
		/* a record of empty fields has no bytes to point into */
		c->fields[i] = c->ends[i] > from
		    ? slice_make(c->record.data + from, c->ends[i] - from)
		    : SLICE("");
		from = c->ends[i];
	}
	return CSV_RECORD;
}

static enum csv_result
end_last_field(struct csv *c)
{
	end_field(c);
	return end_record(c);
}

static bool
is_ordinary(const struct csv *c, char b)
{
	return b != c->separator && b != '\n' && b != '\r' && b != '"';
}

/* Bytes at the front of s that need no decision in the present state. */
static size_t
run_length(const struct csv *c, struct slice s)
{
	size_t n = 0;

	if (c->state == S_QUOTED) {
		const char *quote = memchr(s.ptr, '"', s.len);

		return quote != NULL ? (size_t)(quote - s.ptr) : s.len;
	}
	if (c->state == S_SKIP) {
		const char *end = memchr(s.ptr, '\n', s.len);

		return end != NULL ? (size_t)(end - s.ptr) : s.len;
	}
	if (c->state != S_PLAIN)
		return 0;
	while (n < s.len && is_ordinary(c, s.ptr[n]))
		n++;
	return n;
}

static void
count_lines(struct csv *c, struct slice s)
{
	const char *p = s.ptr, *end = s.ptr + s.len;

	while (p < end && (p = memchr(p, '\n', (size_t)(end - p))) != NULL) {
		c->next_line++;
		p++;
	}
}

/* One byte that ends or begins something. CSV_MORE: go on. */
static enum csv_result
step(struct csv *c, char b)
{
	bool quoted_end = c->state == S_CLOSED || c->state == S_CLOSED_CR;

	if (c->state == S_PLAIN_CR && b != '\n') {
		c->state = S_PLAIN;
		append(c, "\r", 1); /* a CR alone is a character */
	}
	if (c->state == S_SKIP)
		return b == '\n' ? end_record(c) : CSV_MORE;
	if (c->state == S_QUOTED) { /* only '"' comes here */
		c->state = S_CLOSED;
		return CSV_MORE;
	}
	if (b == '\n')
		return end_last_field(c);
	if (c->state == S_CLOSED_CR || (quoted_end && b != '"' && b != c->separator && b != '\r')) {
		refuse(c, CSV_BAD_QUOTE);
		return CSV_MORE;
	}
	if (b == c->separator) {
		end_field(c);
		return CSV_MORE;
	}
	if (b == '\r') {
		c->state = quoted_end ? S_CLOSED_CR : S_PLAIN_CR;
		return CSV_MORE;
	}
	if (b == '"') {
		if (c->state == S_PLAIN) {
			refuse(c, CSV_BAD_QUOTE);
			return CSV_MORE;
		}
		if (c->state == S_CLOSED)
			append(c, "\"", 1);
		if (c->state != S_SKIP)
			c->state = S_QUOTED;
		return CSV_MORE;
	}
	c->state = S_PLAIN;
	append(c, &b, 1);
	return CSV_MORE;
}

/* The byte order mark, if it is one; what only looked like its beginning is given back. */
static enum csv_result
skip_mark(struct csv *c, struct slice *input)
{
	while (c->mark < sizeof(byte_order_mark) && input->len > 0 &&
	    (unsigned char)input->ptr[0] == byte_order_mark[c->mark]) {
		c->mark++;
		input->ptr++;
		input->len--;
	}
	if (c->mark < sizeof(byte_order_mark) && input->len == 0)
		return CSV_MORE;
	c->state = S_START;
	if (c->mark > 0 && c->mark < sizeof(byte_order_mark)) {
		begin_record(c);
		c->state = S_PLAIN;
		append(c, (const char *)byte_order_mark, c->mark);
	}
	return CSV_RECORD;
}

static enum csv_result
finish(struct csv *c)
{
	enum state state = (enum state)c->state;

	if (state == S_MARK && c->mark > 0 && c->mark < sizeof(byte_order_mark)) {
		begin_record(c);
		append(c, (const char *)byte_order_mark, c->mark);
	} else if (state == S_MARK || state == S_START) {
		return CSV_END;
	} else if (state == S_PLAIN_CR) {
		append(c, "\r", 1);
	}
	c->last_line = c->next_line;
	if (state == S_QUOTED)
		c->broken = CSV_UNCLOSED;
	if (c->broken != CSV_RECORD)
		return end_record(c);
	return end_last_field(c);
}

static bool
is_empty_line(const struct csv *c, enum csv_result result)
{
	return result == CSV_RECORD && c->count == 1 && c->fields[0].len == 0;
}

enum csv_result
csv_next(struct csv *c, struct slice *input, bool at_end)
{
	enum csv_result result;

	if (c->state == S_MARK && skip_mark(c, input) == CSV_MORE)
		return at_end ? finish(c) : CSV_MORE;
	while (input->len > 0) {
		size_t n;
		char b;

		if (c->state == S_START)
			begin_record(c);
		if ((c->state == S_START || c->state == S_FIELD) && is_ordinary(c, input->ptr[0]))
			c->state = S_PLAIN;
		n = run_length(c, *input);
		if (n > 0) {
			if (c->state == S_QUOTED)
				count_lines(c, slice_make(input->ptr, n));
			if (c->state != S_SKIP)
				append(c, input->ptr, n);
			input->ptr += n;
			input->len -= n;
			continue;
		}
		b = *input->ptr++;
		input->len--;
		c->last_line = c->next_line;
		if (b == '\n')
			c->next_line++;
		result = step(c, b);
		if (result != CSV_MORE && !is_empty_line(c, result))
			return result;
	}
	if (!at_end)
		return CSV_MORE;
	result = finish(c);
	return is_empty_line(c, result) ? CSV_END : result;
}

const char *
csv_reason(enum csv_result result)
{
	switch (result) {
	case CSV_TOO_LONG:
		return "record longer than 1 MB (is a quotation mark left open?)";
	case CSV_TOO_MANY:
		return "more than 500 columns";
	case CSV_BAD_QUOTE:
		return "misplaced quotation mark";
	case CSV_UNCLOSED:
		return "quotation mark never closed";
	case CSV_NO_MEMORY:
		return "no memory for the record";
	case CSV_MORE:
	case CSV_RECORD:
	case CSV_END:
		break;
	}
	return "";
}

static bool
is_formula(struct slice field)
{
	size_t i = 0;

	while (i < field.len && field.ptr[i] == '\'')
		i++;
	return i < field.len && field.ptr[i] != '\0' && strchr("=+-@\t\r", field.ptr[i]) != NULL;
}

void
csv_append(struct buf *b, struct slice field, char separator, bool guard)
{
	bool guarded = guard && is_formula(field), quote = false;

	for (size_t i = 0; i < field.len && !quote; i++)
		quote = field.ptr[i] == '"' || field.ptr[i] == '\n' || field.ptr[i] == '\r' ||
		    field.ptr[i] == separator;
	if (quote)
		buf_append_char(b, '"');
	if (guarded)
		buf_append_char(b, '\'');
	for (size_t i = 0, from = 0; i <= field.len; i++)
		if (i == field.len || field.ptr[i] == '"') {
			buf_append(b, field.ptr + from, i - from + (i < field.len));
			if (i < field.len)
				buf_append_char(b, '"');
			from = i + 1;
		}
	if (quote)
		buf_append_char(b, '"');
}

struct slice
csv_unguard(struct slice field)
{
	if (field.len > 1 && field.ptr[0] == '\'' && is_formula(field))
		return slice_make(field.ptr + 1, field.len - 1);
	return field;
}
