/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_http_head: any head of a request. Lines of the input: flags (p: pages, h: a webhook, o: open),
 * method, path, then fields "name: value". Only what has one framing is read on, never more than
 * the place takes, and nothing but POST comes through to the parsers of documents. The order of
 * the fields says nothing.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "http_head.h"
#include "sns.h"
#include "web_request.h"
#include "webhook.h"

#define FIELDS_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct field {
	struct slice name, value;
};

static struct slice
take_until(struct slice *s, char end)
{
	const char *at = s->len > 0 ? memchr(s->ptr, end, s->len) : NULL;
	size_t n = at != NULL ? (size_t)(at - s->ptr) : s->len;
	struct slice part = slice_make(s->ptr, n);

	n += at != NULL;
	*s = slice_make(s->ptr + n, s->len - n);
	return part;
}

static bool
has(struct slice flags, char c)
{
	return flags.len > 0 && memchr(flags.ptr, c, flags.len) != NULL;
}

static void
check(const struct http_framing *f, struct slice url, struct slice method,
    const struct http_places *places, unsigned status)
{
	bool is_page = places->has_pages && web_request_page(url) != WEB_NO_PAGE;
	bool is_hook = places->hook.len > 0 && slice_equal(url, places->hook);
	uint64_t max = is_page ? WEB_BODY_MAX : is_hook ? WEBHOOK_BODY_MAX : SNS_BODY_MAX;

	if (status != 0)
		return;
	assert(f->lengths + f->encodings <= 1 && !f->is_bad && f->length <= max);
	assert(is_page || is_hook || slice_equal(url, places->sns));
	assert(is_page || (places->is_open && slice_equal(method, SLICE("POST"))));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice rest = slice_make((const char *)data, size), flags = take_until(&rest, '\n'),
		     method = take_until(&rest, '\n'), url = take_until(&rest, '\n');
	struct http_places places = { .sns = SLICE("/sns"),
		.hook = has(flags, 'h') ? SLICE("/hook") : slice_make(NULL, 0),
		.has_pages = has(flags, 'p'),
		.is_open = has(flags, 'o') };
	struct http_framing there = { 0 }, back = { 0 };
	struct field fields[FIELDS_MAX];
	bool at_once, at_once_back;
	unsigned status;
	size_t n = 0;

	for (; n < FIELDS_MAX && rest.len > 0; n++) {
		struct slice line = take_until(&rest, '\n');

		fields[n].name = take_until(&line, ':');
		fields[n].value = slice_trim(line);
		http_framing_field(&there, fields[n].name, fields[n].value);
	}
	while (n-- > 0)
		http_framing_field(&back, fields[n].name, fields[n].value);
	status = http_head_judge(&there, url, method, &places, &at_once);
	check(&there, url, method, &places, status);
	assert(status == http_head_judge(&back, url, method, &places, &at_once_back));
	assert(at_once == at_once_back && !(at_once && status == 0));
	assert(http_framing_is_whole(&there) == http_framing_is_whole(&back));
	return 0;
}
