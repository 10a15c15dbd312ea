/* SPDX-License-Identifier: Apache-2.0 */
/* http_head: see http_head.h. */
#include "http_head.h"

#include "sns.h"
#include "web_request.h"
#include "webhook.h"

#define LENGTH_DIGITS_MAX 18 /* fits an uint64_t */

static bool
read_length(struct slice text, uint64_t *length)
{
	*length = 0;
	for (size_t i = 0; i < text.len && i < LENGTH_DIGITS_MAX; i++) {
		if (text.ptr[i] < '0' || text.ptr[i] > '9')
			return false;
		*length = *length * 10 + (uint64_t)(text.ptr[i] - '0');
	}
	return text.len > 0 && text.len <= LENGTH_DIGITS_MAX;
}

void
http_framing_field(struct http_framing *f, struct slice name, struct slice value)
{
	if (slice_equal_nocase(name, SLICE("Content-Length"))) {
		f->lengths++;
		if (!read_length(value, &f->length))
			f->is_bad = true;
	} else if (slice_equal_nocase(name, SLICE("Transfer-Encoding"))) {
		f->encodings++;
	}
}

bool
http_framing_is_whole(const struct http_framing *f)
{
	return f->lengths == 1 && f->encodings == 0 && !f->is_bad;
}

static bool
is_reading(struct slice method)
{
	return slice_equal(method, SLICE("GET")) || slice_equal(method, SLICE("HEAD"));
}

unsigned
http_head_judge(const struct http_framing *f, struct slice url, struct slice method,
    const struct http_places *places, bool *is_at_once)
{
	bool is_post = slice_equal(method, SLICE("POST"));

	*is_at_once = true;
	if (f->is_bad || f->lengths > 1 || f->encodings > 1 ||
	    (f->lengths > 0 && f->encodings > 0) || url.len == 0 || url.ptr[0] != '/')
		return 400;
	if (f->length > SNS_BODY_MAX)
		return 413;
	*is_at_once = false; /* the body is read first, so that the answer is not lost by a reset */
	if (slice_equal(url, SLICE("/healthz")) && is_reading(method))
		return places->is_open ? 200 : 503;
	if (places->has_pages && web_request_page(url) != WEB_NO_PAGE) {
		if (f->length > WEB_BODY_MAX)
			return 413;
		return is_reading(method) || is_post ? 0 : 400;
	}
	if (places->hook.len > 0 && slice_equal(url, places->hook)) {
		if (f->length > WEBHOOK_BODY_MAX)
			return 413;
	} else if (!slice_equal(url, places->sns)) {
		return 404;
	}
	if (!is_post)
		return 405;
	return places->is_open ? 0 : 503;
}
