/* SPDX-License-Identifier: Apache-2.0 */
/* attach: see attach.h. Names that are not plain ASCII are written as RFC 2231 says. */
#include "attach.h"

#include <stdint.h>

#include "mime.h"
#include "utf8.h"
#include "digit.h"

#define PIECE_COLUMNS 60 /* of a value in one line: " filename*10*=UTF-8''" and ";" are beside it */

const char *
attach_type(struct slice name)
{
	static const struct {
		const char *ending;
		const char *type;
	} types[] = { { ".png", "image/png" }, { ".jpg", "image/jpeg" }, { ".jpeg", "image/jpeg" },
		{ ".gif", "image/gif" }, { ".webp", "image/webp" }, { ".svg", "image/svg+xml" },
		{ ".pdf", "application/pdf" }, { ".ics", "text/calendar" }, { ".csv", "text/csv" },
		{ ".txt", "text/plain" }, { ".zip", "application/zip" } };

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		struct slice ending = slice_str(types[i].ending);

		if (name.len > ending.len &&
		    slice_equal_nocase(
			slice_make(name.ptr + name.len - ending.len, ending.len), ending))
			return types[i].type;
	}
	return "application/octet-stream";
}

bool
attach_decode(struct arena *arena, const char *base64, struct slice *bytes)
{
	size_t n = 0;
	char *data = arena_alloc(arena, strlen(base64) / 4 * 3 + 3);
	uint32_t bits = 0;
	unsigned count = 0;

	if (data == NULL)
		return false;
	for (const char *p = base64; *p != '\0' && *p != '='; p++) {
		int digit = digit_base64(*p);

		if (*p == '\n')
			continue;
		if (digit < 0)
			return false;
		bits = bits << 6 | (uint32_t)digit;
		count += 6;
		if (count >= 8) {
			count -= 8;
			data[n++] = (char)(bits >> count & 0xff);
		}
	}
	*bytes = slice_make(data, n);
	return true;
}

static bool
is_token_char(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	    (c != '\0' && strchr("!#$&+-.^_{}", c) != NULL);
}

static bool
type_ok(struct slice type)
{
	size_t slashes = 0;

	for (size_t i = 0; i < type.len; i++) {
		if (type.ptr[i] == '/' && i > 0 && i + 1 < type.len)
			slashes++;
		else if (!is_token_char(type.ptr[i]))
			return false;
	}
	return slashes == 1 && type.len <= 127;
}

static bool
id_ok(struct slice id)
{
	for (size_t i = 0; i < id.len; i++)
		if (!is_token_char(id.ptr[i]) && id.ptr[i] != '@')
			return false;
	return id.len <= 200;
}

/* No path, no control character, nothing that a reader's folder could take for something else. */
static bool
name_ok(struct slice name)
{
	if (name.len == 0 || name.len > ATTACH_NAME_MAX || !utf8_ok(name))
		return false;
	for (size_t i = 0; i < name.len; i++)
		if (name.ptr[i] == '/' || name.ptr[i] == '\\' ||
		    mime_control_at(name.ptr + i, name.len - i) > 0)
			return false;
	return true;
}

/* Can it stand between quotes in one line? */
static bool
quotable(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.ptr[i] >= 0x7f || s.ptr[i] == '"')
			return false;
	return s.len <= PIECE_COLUMNS && memmem(s.ptr, s.len, "=?", 2) == NULL;
}

/* Bytes of s that make at most PIECE_COLUMNS; a character is not split, for poor readers. */
static size_t
piece_len(struct slice s)
{
	size_t taken = 0, columns = 0, n;

	while (taken < s.len) {
		n = utf8_char(s.ptr + taken, s.len - taken);
		columns += n == 1 && is_token_char(s.ptr[taken]) ? 1 : 3 * n;
		if (columns > PIECE_COLUMNS - 8)
			break;
		taken += n;
	}
	return taken;
}

static void
put_percent(struct buf *out, struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (is_token_char(s.ptr[i]))
			buf_append_char(out, s.ptr[i]);
		else
			buf_printf(out, "%%%02X", (unsigned)(unsigned char)s.ptr[i]);
	}
}

/* ";" and the parameter in lines of its own (RFC 2231 3 and 4). */
static void
put_filename(struct buf *out, struct slice name)
{
	size_t n = piece_len(name);

	if (quotable(name)) {
		buf_printf(out, ";\r\n filename=\"%.*s\"", SLICE_ARG(name));
		return;
	}
	if (n == name.len) {
		buf_append_str(out, ";\r\n filename*=UTF-8''");
		put_percent(out, name);
		return;
	}
	for (unsigned i = 0; name.len > 0; i++) {
		buf_printf(out, ";\r\n filename*%u*=%s", i, i == 0 ? "UTF-8''" : "");
		put_percent(out, slice_make(name.ptr, n));
		name = slice_make(name.ptr + n, name.len - n);
		n = piece_len(name);
	}
}

int
attach_put(const struct attach *a, struct buf *out, struct err *err)
{
	if (!name_ok(a->name))
		return err_set(err,
		    "a file's name must have 1 to %d bytes of UTF-8, without / and control "
		    "characters",
		    ATTACH_NAME_MAX);
	if (!type_ok(a->type))
		return err_set(err, "%.100s: not a media type such as image/png", a->type.ptr);
	if (!id_ok(a->content_id))
		return err_set(err, "a file's content id may have letters, digits, '.', '-', '_'");
	buf_printf(
	    out, "Content-Type: %.*s\r\nContent-Transfer-Encoding: base64\r\n", SLICE_ARG(a->type));
	if (a->content_id.len > 0)
		buf_printf(out, "Content-ID: <%.*s>\r\n", SLICE_ARG(a->content_id));
	buf_printf(out, "Content-Disposition: %s", a->content_id.len > 0 ? "inline" : "attachment");
	put_filename(out, a->name);
	buf_append_str(out, "\r\n\r\n");
	mime_put_base64(out, a->bytes);
	if (a->bytes.len == 0)
		buf_append_str(out, "\r\n");
	return 0;
}
