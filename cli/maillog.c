/* SPDX-License-Identifier: Apache-2.0 */
/* maillog: see maillog.h. */
#include "maillog.h"

#include <ctype.h>
#include <string.h>

#include "token.h"

/* The rest of s behind the first text in it; false: it is not there. */
static bool
skip_past(struct slice *s, const char *text)
{
	const char *at = memmem(s->ptr, s->len, text, strlen(text));

	if (at == NULL)
		return false;
	at += strlen(text);
	*s = slice_make(at, s->len - (size_t)(at - s->ptr));
	return true;
}

static bool
take_word(struct slice *s, size_t max, const char *end, struct slice *word)
{
	size_t n = 0;

	while (n < s->len && n < max && isalnum((unsigned char)s->ptr[n]))
		n++;
	if (n == 0 || s->len - n < strlen(end) || memcmp(s->ptr + n, end, strlen(end)) != 0)
		return false;
	*word = slice_make(s->ptr, n);
	*s = slice_make(s->ptr + n + strlen(end), s->len - n - strlen(end));
	return true;
}

bool
maillog_read(struct slice line, struct maillog_line *out)
{
	static const char from[] = "from=<b+", active[] = "(queue active)";

	if (line.len > MAILLOG_LINE_MAX || !skip_past(&line, "/qmgr[") ||
	    !skip_past(&line, "]: ") ||
	    !take_word(&line, MAILLOG_QUEUE_ID_MAX, ": ", &out->queue_id))
		return false;
	if (line.len < sizeof(from) - 1 || memcmp(line.ptr, from, sizeof(from) - 1) != 0)
		return false;
	line = slice_make(line.ptr + sizeof(from) - 1, line.len - (sizeof(from) - 1));
	return take_word(&line, TOKEN_CHARS, "@", &out->token) && out->token.len == TOKEN_CHARS &&
	    skip_past(&line, ">, ") && skip_past(&line, active);
}
