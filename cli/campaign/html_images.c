/* SPDX-License-Identifier: Apache-2.0 */
/* html_images: see html_images.h. */
#include "html_images.h"

#include <stdbool.h>

static bool
is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	    c == '-' || c == '_' || c == ':';
}

/* Is there a scheme, a host or an absolute path before anything else? */
static bool
is_relative(struct slice s)
{
	if (s.len == 0 || s.ptr[0] == '/' || s.ptr[0] == '#' || s.ptr[0] == '?' ||
	    memmem(s.ptr, s.len, "{{", 2) != NULL)
		return false;
	for (size_t i = 0; i < s.len && s.ptr[i] != '/'; i++)
		if (s.ptr[i] == ':')
			return false;
	return true;
}

/* The value of src or background that begins at *at: its end, or 0. *at is moved to the value. */
static size_t
image_value(struct slice html, size_t *at)
{
	static const struct slice names[] = { { "src", 3 }, { "background", 10 } };
	struct slice here = slice_make(html.ptr + *at, html.len - *at);

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		size_t n = names[i].len;
		const char *end;

		if (!slice_starts_nocase(here, names[i]))
			continue;
		while (n < here.len && (here.ptr[n] == ' ' || here.ptr[n] == '\n'))
			n++;
		if (n == here.len || here.ptr[n] != '=')
			continue;
		n++;
		while (n < here.len && (here.ptr[n] == ' ' || here.ptr[n] == '\n'))
			n++;
		if (n == here.len || (here.ptr[n] != '"' && here.ptr[n] != '\''))
			continue;
		end = memchr(here.ptr + n + 1, here.ptr[n], here.len - n - 1);
		if (end == NULL)
			continue;
		*at += n + 1;
		return (size_t)(end - html.ptr);
	}
	return 0;
}

static int
put_value(struct buf *out, struct slice value, html_image_id *id_of, void *ctx, struct err *err)
{
	struct slice name = slice_trim(value), id = slice_make(NULL, 0);
	enum html_image kind = HTML_IMAGE_FILE;

	if (slice_starts_nocase(name, SLICE("cid:"))) {
		kind = HTML_IMAGE_CID;
		name = slice_make(name.ptr + 4, name.len - 4);
	} else if (slice_starts_nocase(name, SLICE("./"))) {
		name = slice_make(name.ptr + 2, name.len - 2);
	}
	if ((kind == HTML_IMAGE_CID || is_relative(name)) && id_of(ctx, kind, name, &id, err) != 0)
		return -1;
	if (id.len == 0) {
		buf_append_slice(out, value);
		return 0;
	}
	buf_append_str(out, "cid:");
	buf_append_slice(out, id);
	return 0;
}

int
html_images_rename(
    struct buf *out, struct slice html, html_image_id *id_of, void *ctx, struct err *err)
{
	bool in_tag = false;
	size_t done = 0;

	for (size_t i = 0; i < html.len; i++) {
		char c = html.ptr[i];
		size_t at = i, end;

		if (c == '<' && html.len - i >= 4 && memcmp(html.ptr + i, "<!--", 4) == 0) {
			const char *p = memmem(html.ptr + i, html.len - i, "-->", 3);

			i = p != NULL ? (size_t)(p - html.ptr) + 2 : html.len;
			continue;
		}
		if (c == '<' || c == '>')
			in_tag = c == '<';
		if (!in_tag || i == 0 || is_name_char(html.ptr[i - 1]))
			continue;
		end = image_value(html, &at);
		if (end == 0)
			continue;
		buf_append(out, html.ptr + done, at - done);
		if (put_value(out, slice_make(html.ptr + at, end - at), id_of, ctx, err) != 0)
			return -1;
		done = end;
		i = end;
	}
	buf_append(out, html.ptr + done, html.len - done);
	return 0;
}
