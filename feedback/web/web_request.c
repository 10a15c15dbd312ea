/* SPDX-License-Identifier: Apache-2.0 */
/* web_request: see web_request.h. No I/O; every loop goes forward through its input once. */
#include "web_request.h"

#include <string.h>

#include "digit.h"

static const struct {
	char letter;
	enum web_page page;
	enum token_purpose purpose;
	bool has_rest;
} pages[] = {
	{ 'u', WEB_UNSUBSCRIBE, TOKEN_UNSUBSCRIBE, false },
	{ 'a', WEB_ADDRESS, TOKEN_UNSUBSCRIBE, false },
	{ 'c', WEB_CONFIRM, TOKEN_CONFIRM, false },
	{ 'v', WEB_VIEW, TOKEN_VIEW, true },
	{ 'o', WEB_OPEN, TOKEN_TRACK, false },
	{ 'k', WEB_CLICK, TOKEN_TRACK, true },
};
#define PAGES (sizeof(pages) / sizeof(pages[0]))

static size_t
page_index(struct slice path)
{
	size_t i = PAGES;

	if (path.len >= 3 && path.ptr[0] == '/' && path.ptr[2] == '/')
		for (i = 0; i < PAGES && pages[i].letter != path.ptr[1]; i++)
			;
	return i;
}

enum web_page
web_request_page(struct slice path)
{
	size_t i = page_index(path);

	return i < PAGES ? pages[i].page : WEB_NO_PAGE;
}

enum page_language
web_request_language(struct slice text)
{
	static const char *const names[LANGUAGES] = { [LANGUAGE_EN] = "en", [LANGUAGE_JA] = "ja" };

	for (unsigned i = 0; i < LANGUAGES; i++)
		if (slice_starts_nocase(text, slice_str(names[i])) &&
		    (text.len == 2 || text.ptr[2] == '-' || text.ptr[2] == '_' ||
			text.ptr[2] == '.'))
			return (enum page_language)i;
	return LANGUAGE_NONE;
}

/* Cuts s at the first c: returns what is before it, s is what is behind it. */
static struct slice
cut_at(struct slice *s, char c)
{
	const char *at = s->len > 0 ? memchr(s->ptr, c, s->len) : NULL;
	size_t n = at != NULL ? (size_t)(at - s->ptr) : s->len;
	struct slice before = slice_make(s->ptr, n);

	*s = at != NULL ? slice_make(at + 1, s->len - n - 1) : slice_make(NULL, 0);
	return before;
}

/* ";q=0.85" -> 850; 1000 without one (RFC 9110 12.4.2). */
static int
quality(struct slice parameters)
{
	while (parameters.len > 0) {
		struct slice p = slice_trim(cut_at(&parameters, ';'));
		int value = 0, unit = 1000;

		if (!slice_starts_nocase(p, SLICE("q=")))
			continue;
		for (size_t i = 2; i < p.len && unit > 0; i++) {
			if (p.ptr[i] == '.')
				continue;
			if (p.ptr[i] < '0' || p.ptr[i] > '9')
				return 0;
			value += (p.ptr[i] - '0') * unit;
			unit /= 10;
		}
		return value;
	}
	return 1000;
}

static enum page_language
preferred(struct slice header)
{
	enum page_language best = LANGUAGE_NONE;
	int best_quality = 0;

	while (header.len > 0) {
		struct slice parameters = cut_at(&header, ',');
		enum page_language language =
		    web_request_language(slice_trim(cut_at(&parameters, ';')));
		int q = quality(parameters);

		if (language != LANGUAGE_NONE && q > best_quality) {
			best = language;
			best_quality = q;
		}
	}
	return best;
}

/* Percent-decodes into the arena; empty when it is too long or without room. */
static struct slice
url_decode(struct slice s, struct arena *arena)
{
	char *out;
	size_t n = 0;

	if (s.len > 3 * (size_t)WEB_VALUE_MAX || (out = arena_alloc(arena, s.len + 1)) == NULL)
		return slice_make(NULL, 0);
	for (size_t i = 0; i < s.len; i++) {
		int high, low;

		if (s.ptr[i] == '%' && i + 2 < s.len && (high = digit_hex(s.ptr[i + 1])) >= 0 &&
		    (low = digit_hex(s.ptr[i + 2])) >= 0) {
			out[n++] = (char)(high * 16 + low);
			i += 2;
		} else {
			out[n++] = s.ptr[i];
			if (s.ptr[i] == '+')
				out[n - 1] = ' ';
		}
	}
	return slice_make(out, n);
}

static void
take_field(struct web_request *r, struct slice name, struct slice value)
{
	value = slice_trim(value);
	if (value.len > WEB_VALUE_MAX ||
	    (value.len > 0 && memchr(value.ptr, '\0', value.len) != NULL))
		return;
	if (slice_equal(name, SLICE("scope"))) {
		r->is_from_page = true;
		r->all = slice_equal(value, SLICE("all"));
	} else if (slice_equal(name, SLICE("do"))) {
		r->is_from_page = true;
		r->undo = slice_equal(value, SLICE("undo"));
	} else if (slice_equal(name, SLICE("old"))) {
		r->old_address = value;
	} else if (slice_equal(name, SLICE("new"))) {
		r->new_address = value;
	}
}

static void
read_urlencoded(struct web_request *r, struct slice body, struct arena *arena)
{
	for (unsigned n = 0; body.len > 0 && n < WEB_FIELDS_MAX; n++) {
		struct slice value = cut_at(&body, '&'), name = cut_at(&value, '=');

		take_field(r, url_decode(name, arena), url_decode(value, arena));
	}
}

/* The value of a parameter in a header field, with or without quotes. */
static struct slice
parameter(struct slice field, struct slice name)
{
	(void)cut_at(&field, ';');
	while (field.len > 0) {
		struct slice p = slice_trim(cut_at(&field, ';'));

		if (!slice_starts_nocase(p, name) || p.len <= name.len || p.ptr[name.len] != '=')
			continue;
		p = slice_make(p.ptr + name.len + 1, p.len - name.len - 1);
		if (p.len >= 2 && p.ptr[0] == '"' && p.ptr[p.len - 1] == '"')
			p = slice_make(p.ptr + 1, p.len - 2);
		return p;
	}
	return slice_make(NULL, 0);
}

/* One part without its boundaries: header, empty line, content. */
static void
read_part(struct web_request *r, struct slice part)
{
	const char *end = part.len >= 4 ? memmem(part.ptr, part.len, "\r\n\r\n", 4) : NULL;
	struct slice header, value;

	if (end == NULL)
		return;
	header = slice_make(part.ptr, (size_t)(end - part.ptr));
	value = slice_make(end + 4, part.len - header.len - 4);
	while (header.len > 0) {
		struct slice line = slice_trim(cut_at(&header, '\n'));

		if (slice_starts_nocase(line, SLICE("content-disposition:"))) {
			take_field(r, parameter(line, SLICE("name")), value);
			return;
		}
	}
}

/* RFC 2046 5.1.1; boundaries of at most 70 characters. */
static void
read_multipart(struct web_request *r, struct slice body, struct slice boundary)
{
	char mark[74] = "--";
	size_t n = boundary.len + 2;

	if (boundary.len == 0 || boundary.len > 70)
		return;
	memcpy(mark + 2, boundary.ptr, boundary.len);
	for (unsigned parts = 0; parts < WEB_FIELDS_MAX; parts++) {
		const char *start = body.len >= n ? memmem(body.ptr, body.len, mark, n) : NULL;
		const char *end;

		if (start == NULL)
			return;
		start += n;
		body = slice_make(start, body.len - (size_t)(start - body.ptr));
		end = body.len >= n ? memmem(body.ptr, body.len, mark, n) : NULL;
		if (end == NULL)
			return;
		read_part(r, slice_make(start, (size_t)(end - start)));
		body = slice_make(end, body.len - (size_t)(end - start));
	}
}

void
web_request_parse(struct web_request *r, const struct web_request_input *in,
    const struct token_keys *keys, struct arena *arena)
{
	size_t page = page_index(in->path);

	*r = (struct web_request){ .is_post = in->is_post,
		.asked = web_request_language(in->lang),
		.browser = preferred(in->accept_language) };
	if (page == PAGES)
		return;
	r->page = pages[page].page;
	r->token_text = slice_make(in->path.ptr + 3, in->path.len - 3);
	if (pages[page].has_rest) {
		r->rest = r->token_text;
		r->token_text = cut_at(&r->rest, '/');
	} else if (r->token_text.len > 0 && r->token_text.ptr[r->token_text.len - 1] == '/') {
		r->token_text.len--;
	}
	r->has_token = token_verify(keys, pages[page].purpose, r->token_text, &r->token);
	if (!in->is_post || in->body.len == 0 || in->body.len > WEB_BODY_MAX)
		return;
	if (slice_starts_nocase(in->content_type, SLICE("multipart/form-data")))
		read_multipart(r, in->body, parameter(in->content_type, SLICE("boundary")));
	else
		read_urlencoded(r, in->body, arena);
}
