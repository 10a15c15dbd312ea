/* SPDX-License-Identifier: Apache-2.0 */
/* codes: see codes.h. Owns nothing. */
#include "codes.h"

#include <string.h>

/* How much a reply is to be believed. */
enum { RANK_NONE, RANK_PLACE, RANK_ENHANCED, RANK_QUOTED };

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Up to three digits; the count of them, 0 when there is none or more than three. */
static size_t
read_number(struct slice s, uint16_t *value)
{
	size_t n = 0;
	unsigned v = 0;

	while (n < s.len && is_digit(s.ptr[n])) {
		if (n == 3)
			return 0;
		v = v * 10 + (unsigned)(s.ptr[n++] - '0');
	}
	*value = (uint16_t)v;
	return n;
}

size_t
codes_read_status(struct slice s, uint16_t status[3])
{
	size_t at = 0;
	uint16_t v[3];

	if (s.len == 0)
		return 0;
	for (int i = 0; i < 3; i++) {
		size_t n = read_number(slice_make(s.ptr + at, s.len - at), &v[i]);

		if (n == 0 || (i == 0 && n != 1))
			return 0;
		at += n;
		if (i < 2) {
			if (at >= s.len || s.ptr[at] != '.')
				return 0;
			at++;
		}
	}
	if (v[0] != 2 && v[0] != 4 && v[0] != 5)
		return 0;
	if (at + 1 < s.len && s.ptr[at] == '.' && is_digit(s.ptr[at + 1]))
		return 0;
	memcpy(status, v, sizeof(v));
	return at;
}

/* "550", "550-5.1.1", "550: 5.1.1", "550#5.1.1" at the front. */
static bool
read_reply(struct slice s, struct codes *reply)
{
	uint16_t number, status[3];
	size_t at = read_number(s, &number);

	if (at != 3 || number < 200 || number > 599 || number / 100 == 3 || number % 100 > 79)
		return false;
	if (at < s.len &&
	    (is_digit(s.ptr[at]) || is_letter(s.ptr[at]) || s.ptr[at] == '/' || s.ptr[at] == '@' ||
		s.ptr[at] == '%'))
		return false;
	/* "550_5.1.1_<a@b>_User_unknown" */
	if (at + 2 < s.len && s.ptr[at] == '_' &&
	    !(is_digit(s.ptr[at + 1]) && s.ptr[at + 2] == '.'))
		return false;
	if (at + 1 < s.len && s.ptr[at] == '.' && is_digit(s.ptr[at + 1]))
		return false;
	memset(reply, 0, sizeof(*reply));
	reply->code = number;
	while (at < s.len &&
	    (s.ptr[at] == ' ' || s.ptr[at] == '-' || s.ptr[at] == '#' || s.ptr[at] == '\t' ||
		s.ptr[at] == ':' || s.ptr[at] == '(' || s.ptr[at] == '[' || s.ptr[at] == '_' ||
		s.ptr[at] == '\'' || s.ptr[at] == '"' || s.ptr[at] == '\n'))
		at++;
	if (codes_read_status(slice_make(s.ptr + at, s.len - at), status) > 0 &&
	    status[0] == number / 100)
		memcpy(reply->enhanced, status, sizeof(status));
	return true;
}

static bool
ends_with(struct slice s, const char *word)
{
	struct slice w = slice_str(word);

	return s.len >= w.len && slice_equal_nocase(slice_make(s.ptr + s.len - w.len, w.len), w) &&
	    (s.len == w.len || !is_letter(s.ptr[s.len - w.len - 1]));
}

/* "：" of Chinese and Japanese texts. */
static bool
ends_with_wide_colon(struct slice s)
{
	return s.len >= 3 && memcmp(s.ptr + s.len - 3, "\xEF\xBC\x9A", 3) == 0;
}

/* "... for six months: 550 account is closed": a reply to a recipient, and no measure. */
static bool
is_behind_colon(struct slice before, struct slice number)
{
	static const char *const measures[] = { "byte", "kb", "kib", "mb", "mib", "gb", "message",
		"mail", "second", "minute", "hour", "day", "recipient" };

	char ahead =
	    before.len > 1 && before.ptr[before.len - 1] == ' ' ? before.ptr[before.len - 2] : ' ';
	bool is_mixed = (ahead & 0x80) != 0; /* "不存在 550 Mailbox not found" */

	if ((ahead != ':' && !is_mixed && !ends_with_wide_colon(before)) || number.len < 6 ||
	    number.ptr[0] < '4' || number.ptr[1] != '5' ||
	    (number.ptr[3] != ' ' && number.ptr[3] != '\n'))
		return false;
	number = slice_trim(slice_make(number.ptr + 4, number.len - 4));
	if (number.len == 0)
		return false;
	for (size_t i = 0; i < sizeof(measures) / sizeof(*measures); i++) {
		size_t n = strlen(measures[i]);

		if (slice_starts_nocase(number, slice_str(measures[i])) &&
		    (number.len == n || !is_letter(number.ptr[n]) || number.ptr[n] == 's'))
			return false;
	}
	return is_letter(number.ptr[0]) ||
	    (!is_mixed && (number.ptr[0] == '<' || (number.ptr[0] & 0x80) != 0));
}

/* "(550 no such user)", "(000B09B6) 550 Unknown user": words follow at once. */
static bool
is_bracketed(struct slice before, struct slice number)
{
	char c = before.len > 0 ? before.ptr[before.len - 1] : ' ';

	if (c == ' ' && before.len > 1)
		c = before.ptr[before.len - 2] == ')' ? ')' : ' ';
	return (c == '(' || c == ')') && number.len > 5 && number.ptr[3] == ' ' &&
	    is_letter(number.ptr[4]) && number.ptr[0] > '3';
}

/* "Grund: 550 …": one word from the start of its line, in any language. */
static bool
is_label(struct slice before)
{
	size_t n = before.len;

	while (n > 0 && before.ptr[n - 1] != '\n' && before.ptr[n - 1] != ' ')
		n--;
	return (n == 0 || before.ptr[n - 1] == '\n') && before.len - n < 30 &&
	    (is_letter(before.ptr[before.len - 1]) || (before.ptr[before.len - 1] & 0x80) != 0);
}

/* What stands before a number: nothing, a line's start, "said: ", "]: ", "error code ". */
static int
rank_place(struct slice before)
{
	static const char *const quoting[] = { "said", "replied", "<<<", "says", "answered",
		"received >>>", "talk to me" };
	static const char *const leading[] = { "error", "code", "reply", "response", "responded",
		"reason", "returned", "with", "status", "was", "smtp", "diagnostic", "server",
		"text", "failed", "rejected", "result", "message", "erreur", "antwort", "respuesta",
		"fehler", "because", "output", "errors", "to" };
	bool has_colon = false;

	for (; before.len > 0; before.len--) {
		char c = before.ptr[before.len - 1];

		/* a tab stands between the cells of a table */
		has_colon = has_colon || c == ':' || c == ';' || c == ',' || c == '\t';
		if (c != ' ' && c != ',' && c != '\t' && c != ':' && c != ';' && c != '#' &&
		    c != '\'' && c != '"' && c != '(' && c != '[' && c != '=' && c != '-' &&
		    c != '_' && c != '<')
			break;
		/* "<<< 550" */
		if (c == '<' && (ends_with(before, "<<<") || ends_with(before, "<<")))
			return RANK_QUOTED;
		/* "<-- 550" */
		if (c == '-' && ends_with(before, "<--"))
			return RANK_QUOTED;
	}
	if (before.len == 0 || before.ptr[before.len - 1] == '\n')
		return RANK_PLACE;
	for (size_t i = 0; i < sizeof(quoting) / sizeof(*quoting); i++)
		if (ends_with(before, quoting[i]))
			return RANK_QUOTED;
	for (size_t i = 0; i < sizeof(leading) / sizeof(*leading); i++)
		if (ends_with(before, leading[i]))
			return RANK_PLACE;
	if (has_colon && is_label(before))
		return RANK_PLACE;
	/* "host mx.example.jp [192.0.2.1]: 550 …", "<a@b>: 550 …" */
	if (has_colon &&
	    (before.ptr[before.len - 1] == ']' || before.ptr[before.len - 1] == ')' ||
		before.ptr[before.len - 1] == '>'))
		return RANK_PLACE;
	return RANK_NONE;
}

static bool
may_precede(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '(' || c == '[' || c == ':' || c == ';' ||
	    c == '#' || c == '\'' || c == '"' || c == '<' || c == '>' || c == '=' ||
	    (c & 0x80) != 0; /* scripts that have no blanks, or "：" */
}

/* An enhanced code by itself: behind '#', in brackets, or as a word. Of the class wanted, or 4
 * or 5 when class is 0. */
static void
find_enhanced(struct slice text, int class, uint16_t enhanced[3])
{
	bool found = false;

	for (size_t i = 0; i < text.len; i++) {
		struct slice s = slice_make(text.ptr + i, text.len - i);
		uint16_t status[3];
		char before = i > 0 ? text.ptr[i - 1] : '\n', after;
		size_t n;
		bool is_marked = before == '#' || before == '(' || before == '[' || before == '\n';

		if ((s.ptr[0] != '4' && s.ptr[0] != '5' && s.ptr[0] != '2') || !may_precede(before))
			continue;
		n = codes_read_status(s, status);
		if (n == 0 || status[1] > 7 || status[0] == 2)
			continue;
		after = n < s.len ? s.ptr[n] : ' ';
		if (is_letter(after) || after == '-' || after == '_' || after == '@')
			continue;
		if ((class != 0 && status[0] != class) || (found && !is_marked))
			continue;
		memcpy(enhanced, status, sizeof(status));
		if (is_marked)
			return;
		found = true;
	}
}

/* "554 Service currently unavailable (#4.3.2)": qmail and its kin end a reply so, and mean that status
 * more than the number in front. */
static void
find_last(struct slice text, uint16_t enhanced[3])
{
	uint16_t status[3];
	const char *open;
	size_t n;

	text = slice_trim(text);
	open =
	    text.len > 0 && text.ptr[text.len - 1] == ')' ? memrchr(text.ptr, '(', text.len) : NULL;
	if (open == NULL || open[1] != '#')
		return;
	text = slice_make(open + 2, (size_t)(text.ptr + text.len - open) - 2);
	n = codes_read_status(text, status);
	if (n + 1 == text.len && status[0] == 4)
		memcpy(enhanced, status, sizeof(status));
}

/* Commands out of order, when an earlier one was refused: "503 Need RCPT" behind "550 User unknown". */
static bool
is_consequence(const struct codes *reply, const struct codes *earlier)
{
	return earlier->code >= 400 &&
	    (reply->code == 503 || (reply->enhanced[1] == 5 && reply->enhanced[2] == 1));
}

struct codes
codes_find(struct slice text)
{
	struct codes best = { 0 }, reply;
	int best_rank = RANK_NONE;

	for (size_t i = 0; i + 3 <= text.len; i++) {
		size_t from = i > 40 ? i - 40 : 0;
		int rank;

		if (text.ptr[i] < '2' || text.ptr[i] > '5' ||
		    (i > 0 && !may_precede(text.ptr[i - 1])) ||
		    !read_reply(slice_make(text.ptr + i, text.len - i), &reply))
			continue;
		rank = rank_place(slice_make(text.ptr + from, i - from));
		if (rank == RANK_NONE &&
		    (is_bracketed(slice_make(text.ptr + from, i - from),
			 slice_make(text.ptr + i, text.len - i)) ||
			is_behind_colon(slice_make(text.ptr + from, i - from),
			    slice_make(text.ptr + i, text.len - i))))
			rank = RANK_PLACE;
		if (reply.code < 300 && i > 0)
			continue; /* a success is one only where it stands first */
		if (reply.enhanced[0] != 0 && rank < RANK_ENHANCED)
			rank = RANK_ENHANCED;
		if (rank == RANK_NONE || rank < best_rank || is_consequence(&reply, &best))
			continue;
		/* the last line of a reply may have lost the enhanced code of the first */
		if (reply.code == best.code && reply.enhanced[0] == 0)
			memcpy(reply.enhanced, best.enhanced, sizeof(reply.enhanced));
		reply.at = reply.code == best.code && best_rank > RANK_PLACE ? best.at : i;
		reply.is_quoted = rank == RANK_QUOTED;
		best = reply;
		best_rank = rank;
	}
	if (best.enhanced[0] == 0)
		find_enhanced(text, best.code / 100, best.enhanced);
	if (best.enhanced[0] == 0)
		find_last(text, best.enhanced);
	return best;
}
