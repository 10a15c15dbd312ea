/* SPDX-License-Identifier: Apache-2.0 */
/* mbox: see mbox.h. */
#include "mbox.h"

#include <string.h>

bool
mbox_is(struct slice text)
{
	return text.len >= 5 && memcmp(text.ptr, "From ", 5) == 0;
}

/* Off the front, its end included. */
static struct slice
take_line(struct slice *s)
{
	const char *end = s->len > 0 ? memchr(s->ptr, '\n', s->len) : NULL;
	size_t n = end != NULL ? (size_t)(end - s->ptr) + 1 : s->len;
	struct slice line = slice_make(s->ptr, n);

	*s = slice_make(n > 0 ? s->ptr + n : s->ptr, s->len - n);
	return line;
}

bool
mbox_next(struct slice *rest, struct slice *mail)
{
	struct slice line, ahead;
	bool is_behind_empty = false;
	const char *begin, *end;

	if (!mbox_is(*rest))
		return false;
	(void)take_line(rest);
	begin = end = rest->ptr;
	while (rest->len > 0 && !(is_behind_empty && mbox_is(*rest))) {
		ahead = *rest;
		line = take_line(&ahead);
		is_behind_empty = slice_trim(line).len == 0;
		*rest = ahead;
		if (!is_behind_empty)
			end = line.ptr + line.len;
	}
	*mail = slice_make(begin, (size_t)(end - begin));
	return true;
}
