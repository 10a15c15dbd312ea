/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_html_text: input = HTML. The text has a bounded size, stays UTF-8 when the input is, ends in
 * a line end, and begins no template tag that the HTML does not have.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "html_text.h"
#include "mime.h"
#include "utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t
count_tags(struct slice s)
{
	size_t n = 0;

	for (size_t i = 0; i + 1 < s.len; i++)
		n += s.ptr[i] == '{' && s.ptr[i + 1] == '{';
	return n;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice html = slice_make((const char *)data, size);
	struct buf out;

	buf_init(&out, 20 * size + 1000);
	html_text(&out, html);
	if (buf_failed(&out) || out.len == 0 || out.data[out.len - 1] != '\n')
		abort();
	if (utf8_ok(html) && !utf8_ok(buf_slice(&out)))
		abort();
	if (size > 0 && memchr(html.ptr, '{', html.len) == NULL && count_tags(buf_slice(&out)) > 0)
		abort();
	buf_release(&out);
	return 0;
}
