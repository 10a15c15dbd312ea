/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_web_request: any request of a page. Lines of the input: path, query's lang, content type,
 * Accept-Language; the rest is the body. A GET never asks for a change, what is kept fits its
 * limits and its arena, and whatever was given, the page made from it has no tag of it.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "page.h"
#include "web_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct slice
take_line(struct slice *s)
{
	const char *end = s->len > 0 ? memchr(s->ptr, '\n', s->len) : NULL;
	size_t n = end != NULL ? (size_t)(end - s->ptr) : s->len;
	struct slice line = slice_make(s->ptr, n);

	n += end != NULL;
	*s = slice_make(s->ptr + n, s->len - n);
	return line;
}

static size_t
count_tags(const char *text)
{
	size_t n = 0;

	for (; (text = strchr(text, '<')) != NULL; text++)
		n++;
	return n;
}

static size_t
render(const struct web_request *r, bool is_empty)
{
	static struct page_words words; /* empty texts but for the places */
	struct page p = { .kind = PAGE_MOVE, .words = &words, .mistake = WORDS };
	struct buf out;
	size_t n;

	words.text[WORD_MOVE_TITLE] = SLICE("{new}{list}");
	if (!is_empty) {
		p.old_address = p.list = r->old_address;
		p.new_address = r->new_address;
	}
	buf_init(&out, PAGE_MAX);
	page_render(&p, &out);
	assert(!buf_failed(&out));
	n = count_tags(buf_str(&out));
	buf_release(&out);
	return n;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct token_keys keys = { .count = 1 };
	struct slice rest = slice_make((const char *)data, size);
	struct web_request_input in = { .path = take_line(&rest),
		.lang = take_line(&rest),
		.content_type = take_line(&rest),
		.accept_language = take_line(&rest),
		.body = rest };
	struct web_request r;
	struct arena arena;

	arena_init(&arena, WEB_ARENA_MAX);
	web_request_parse(&r, &in, &keys, &arena);
	assert(!r.is_post && !r.all && !r.undo && !r.is_from_page && r.new_address.len == 0);
	in.is_post = true;
	web_request_parse(&r, &in, &keys, &arena);
	assert(r.old_address.len <= WEB_VALUE_MAX && r.new_address.len <= WEB_VALUE_MAX);
	assert(!r.has_token || r.token_text.len == TOKEN_CHARS);
	assert(render(&r, false) == render(&r, true));
	arena_release(&arena);
	return 0;
}
