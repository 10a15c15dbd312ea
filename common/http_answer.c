/* SPDX-License-Identifier: Apache-2.0 */
/* http_answer: see http_answer.h. Heads, chunk sizes and trailers are lines; bodies are counted bytes. */
#include "http_answer.h"

#include <string.h>

#include "digit.h"

#define LENGTH_DIGITS_MAX 15 /* of Content-Length: no number wraps */
#define CHUNK_DIGITS_MAX 12  /* hexadecimal */

void
http_answer_init(struct http_answer *a, size_t body_max)
{
	*a = (struct http_answer){ .why = "" };
	buf_init(&a->body, body_max);
	buf_init(&a->line, HTTP_ANSWER_HEAD_MAX);
}

void
http_answer_release(struct http_answer *a)
{
	buf_release(&a->body);
	buf_release(&a->line);
}

void
http_answer_reset(struct http_answer *a)
{
	struct buf body = a->body, line = a->line;

	buf_reset(&body);
	buf_reset(&line);
	a->status = 0;
	a->keeps = a->old = a->has_length = a->is_chunked = a->says_close = a->says_keep = false;
	a->why = "";
	a->error_type[0] = a->date[0] = '\0';
	a->state = HTTP_ANSWER_STATUS;
	a->head_bytes = 0;
	a->left = 0;
	a->body = body;
	a->line = line;
}

static enum http_answer_result
bad(struct http_answer *a, const char *why)
{
	a->state = HTTP_ANSWER_ENDED;
	a->status = 0;
	a->why = why;
	return HTTP_ANSWER_BAD;
}

static enum http_answer_result
whole(struct http_answer *a)
{
	a->state = HTTP_ANSWER_ENDED;
	return HTTP_ANSWER_WHOLE;
}

static enum http_answer_result
cut(struct http_answer *a)
{
	a->state = HTTP_ANSWER_ENDED;
	return HTTP_ANSWER_CUT;
}

/* RFC 9112 4: "HTTP/1.1 200 OK"; the blank behind the number may be missing with the words. */
static enum http_answer_result
on_status(struct http_answer *a, struct slice line)
{
	struct slice version = SLICE("HTTP/1.");
	int minor, status;

	if (line.len < version.len || memcmp(line.ptr, version.ptr, version.len) != 0)
		return bad(a, "not an answer of HTTP/1");
	line = slice_make(line.ptr + version.len, line.len - version.len);
	if (!slice_take_digits(&line, 1, &minor) || minor > 1 || !slice_take_char(&line, " ") ||
	    !slice_take_digits(&line, 3, &status) || (line.len > 0 && line.ptr[0] != ' '))
		return bad(a, "a malformed status line");
	if (status < 100 || status > 599 || status == 101)
		return bad(a, "a status that was not asked for");
	a->old = minor == 0;
	a->status = status;
	a->state = HTTP_ANSWER_FIELDS;
	return HTTP_ANSWER_MORE;
}

/* ---- fields ---- */

/* RFC 9110 5.6.2 */
static bool
is_token(struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];
		bool is_word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		    (c >= '0' && c <= '9') || c == '-';

		if (!is_word && (c == '\0' || strchr("!#$%&'*+.^_`|~", c) == NULL))
			return false;
	}
	return s.len > 0;
}

static void
copy(char *dst, size_t max, struct slice value)
{
	size_t n = value.len < max ? value.len : max;

	if (n > 0)
		memcpy(dst, value.ptr, n);
	dst[n] = '\0';
}

static enum http_answer_result
on_length(struct http_answer *a, struct slice value)
{
	if (a->has_length)
		return bad(a, "two lengths");
	if (value.len == 0 || value.len > LENGTH_DIGITS_MAX)
		return bad(a, "a malformed length");
	for (size_t i = 0; i < value.len; i++) {
		if (value.ptr[i] < '0' || value.ptr[i] > '9')
			return bad(a, "a malformed length");
		a->left = a->left * 10 + (uint64_t)(value.ptr[i] - '0');
	}
	a->has_length = true;
	return HTTP_ANSWER_MORE;
}

static enum http_answer_result
on_coding(struct http_answer *a, struct slice value)
{
	if (a->is_chunked || !slice_equal_nocase(value, SLICE("chunked")))
		return bad(a, "a transfer coding other than chunked");
	a->is_chunked = true;
	return HTTP_ANSWER_MORE;
}

/* RFC 9110 7.6.1: a list of words. */
static void
on_connection(struct http_answer *a, struct slice value)
{
	while (value.len > 0) {
		const char *comma = memchr(value.ptr, ',', value.len);
		size_t n = comma != NULL ? (size_t)(comma - value.ptr) : value.len;
		struct slice word = slice_trim(slice_make(value.ptr, n));

		a->says_close = a->says_close || slice_equal_nocase(word, SLICE("close"));
		a->says_keep = a->says_keep || slice_equal_nocase(word, SLICE("keep-alive"));
		n += comma != NULL;
		value = slice_make(value.ptr + n, value.len - n);
	}
}

/* RFC 9112 5: name, colon, value; no line continues another. */
static enum http_answer_result
on_field(struct http_answer *a, struct slice line)
{
	const char *colon = memchr(line.ptr, ':', line.len);
	struct slice name, value;

	if (colon == NULL || !is_token(slice_make(line.ptr, (size_t)(colon - line.ptr))))
		return bad(a, "a malformed header field");
	name = slice_make(line.ptr, (size_t)(colon - line.ptr));
	value = slice_trim(slice_make(colon + 1, line.len - name.len - 1));
	if (a->state == HTTP_ANSWER_TRAILERS)
		return HTTP_ANSWER_MORE; /* nothing of it counts any more */
	if (slice_equal_nocase(name, SLICE("content-length")))
		return on_length(a, value);
	if (slice_equal_nocase(name, SLICE("transfer-encoding")))
		return on_coding(a, value);
	if (slice_equal_nocase(name, SLICE("connection")))
		on_connection(a, value);
	else if (slice_equal_nocase(name, SLICE("date")))
		copy(a->date, HTTP_ANSWER_DATE_MAX, value);
	else if (slice_equal_nocase(name, SLICE("x-amzn-errortype")))
		copy(a->error_type, HTTP_ANSWER_ERROR_TYPE_MAX, value);
	return HTTP_ANSWER_MORE;
}

/* RFC 9112 6.3 and 9.3. */
static enum http_answer_result
on_head_end(struct http_answer *a)
{
	if (a->is_chunked && (a->has_length || a->old))
		return bad(a, "a length beside chunks, or chunks in HTTP/1.0");
	if (a->status < 200) {
		if (a->is_chunked || a->has_length)
			return bad(a, "an interim answer with a body");
		a->status = 0;
		a->error_type[0] = a->date[0] = '\0';
		a->says_close = a->says_keep = false;
		a->state = HTTP_ANSWER_STATUS;
		return HTTP_ANSWER_MORE;
	}
	a->keeps = !a->says_close && (!a->old || a->says_keep);
	if (a->status == 204 || a->status == 304)
		return whole(a);
	if (a->is_chunked) {
		a->state = HTTP_ANSWER_CHUNK_SIZE;
	} else if (a->has_length) {
		if (a->left == 0)
			return whole(a);
		a->state = HTTP_ANSWER_COUNTED;
	} else {
		a->keeps = false;
		a->state = HTTP_ANSWER_UNTIL_CLOSE;
	}
	return HTTP_ANSWER_MORE;
}

/* ---- chunks (RFC 9112 7.1) ---- */

static enum http_answer_result
on_chunk_size(struct http_answer *a, struct slice line)
{
	size_t n = 0;
	int digit;

	a->left = 0;
	for (; n < line.len && (digit = digit_hex(line.ptr[n])) >= 0; n++) {
		if (n == CHUNK_DIGITS_MAX)
			return bad(a, "a chunk that is too long");
		a->left = a->left * 16 + (uint64_t)digit;
	}
	/* extensions are passed over; blanks before them are an old mistake of servers */
	if (n == 0 || (n < line.len && strchr("; \t", line.ptr[n]) == NULL))
		return bad(a, "a malformed chunk");
	a->state = a->left > 0 ? HTTP_ANSWER_CHUNK : HTTP_ANSWER_TRAILERS;
	return HTTP_ANSWER_MORE;
}

static enum http_answer_result
on_chunk_end(struct http_answer *a, struct slice line)
{
	if (line.len > 0)
		return bad(a, "a chunk that is longer than it says");
	a->state = HTTP_ANSWER_CHUNK_SIZE;
	return HTTP_ANSWER_MORE;
}

/* ---- lines and bytes ---- */

static bool
is_in_chunks(const struct http_answer *a)
{
	return a->state == HTTP_ANSWER_CHUNK_SIZE || a->state == HTTP_ANSWER_CHUNK_END;
}

static enum http_answer_result
on_line(struct http_answer *a, struct slice line)
{
	if (a->state == HTTP_ANSWER_STATUS)
		return on_status(a, line);
	if (a->state == HTTP_ANSWER_CHUNK_SIZE)
		return on_chunk_size(a, line);
	if (a->state == HTTP_ANSWER_CHUNK_END)
		return on_chunk_end(a, line);
	if (line.len > 0)
		return on_field(a, line);
	return a->state == HTTP_ANSWER_TRAILERS ? whole(a) : on_head_end(a);
}

/* RFC 9112 2.2: CR LF and nothing else; of control characters only tabs (RFC 9110 5.5). */
static bool
is_clean(struct slice line)
{
	if (line.len < 2 || line.ptr[line.len - 2] != '\r')
		return false;
	for (size_t i = 0; i < line.len - 2; i++) {
		unsigned char c = (unsigned char)line.ptr[i];

		if ((c < ' ' && c != '\t') || c == 0x7f)
			return false;
	}
	return true;
}

static enum http_answer_result
take_line(struct http_answer *a, const char *bytes, size_t n, size_t *used)
{
	const char *end = memchr(bytes, '\n', n);
	size_t here = end != NULL ? (size_t)(end - bytes) + 1 : n;
	bool too_long = is_in_chunks(a) ? a->line.len + here > HTTP_ANSWER_CHUNK_LINE_MAX
					: here > HTTP_ANSWER_HEAD_MAX - a->head_bytes;
	struct slice line = slice_make(bytes, here);
	enum http_answer_result result;

	*used = here;
	if (too_long)
		return bad(a, "a head that is too long");
	if (!is_in_chunks(a))
		a->head_bytes += here;
	if (end == NULL || a->line.len > 0) {
		buf_append(&a->line, bytes, here);
		if (buf_failed(&a->line))
			return bad(a, "no memory");
		if (end == NULL)
			return HTTP_ANSWER_MORE;
		line = buf_slice(&a->line);
	}
	if (!is_clean(line))
		return bad(a, "a malformed line");
	result = on_line(a, slice_make(line.ptr, line.len - 2));
	buf_reset(&a->line);
	return result;
}

static enum http_answer_result
take_body(struct http_answer *a, const char *bytes, size_t n, size_t *used)
{
	size_t room = a->body.max - a->body.len;

	if (a->state != HTTP_ANSWER_UNTIL_CLOSE && a->left < n)
		n = (size_t)a->left;
	*used = n;
	buf_append(&a->body, bytes, n < room ? n : room);
	if (n > room || buf_failed(&a->body))
		return cut(a);
	if (a->state == HTTP_ANSWER_UNTIL_CLOSE)
		return HTTP_ANSWER_MORE;
	a->left -= n;
	if (a->left > 0)
		return HTTP_ANSWER_MORE;
	if (a->state == HTTP_ANSWER_COUNTED)
		return whole(a);
	a->state = HTTP_ANSWER_CHUNK_END;
	return HTTP_ANSWER_MORE;
}

enum http_answer_result
http_answer_feed(struct http_answer *a, const char *bytes, size_t n, size_t *used)
{
	enum http_answer_result result = HTTP_ANSWER_MORE;
	size_t at = 0, taken;

	while (result == HTTP_ANSWER_MORE && at < n) {
		if (a->state == HTTP_ANSWER_COUNTED || a->state == HTTP_ANSWER_UNTIL_CLOSE ||
		    a->state == HTTP_ANSWER_CHUNK)
			result = take_body(a, bytes + at, n - at, &taken);
		else
			result = take_line(a, bytes + at, n - at, &taken);
		at += taken;
	}
	*used = at;
	return result;
}

enum http_answer_result
http_answer_end(struct http_answer *a, bool closed)
{
	if (a->state == HTTP_ANSWER_UNTIL_CLOSE && closed)
		return whole(a);
	/* an interim answer promises nothing */
	if (a->status >= 200)
		return cut(a);
	return bad(a, "no answer");
}
