/* SPDX-License-Identifier: Apache-2.0 */
/* bounce_text: see bounce_text.h. Owns nothing. The phrases are in marks.c. */
#include "bounce_text.h"

#include <stdbool.h>
#include <string.h>

#include "marks.h"
#include "words.h"

#define LINES_MAX 1200
#define LINE_MAX 500  /* bytes of a line that are looked at */
#define BEFORE_MAX 40 /* bytes before an address that tell whose it is */
#define HEADING_MAX 60
#define WRAPPED_MIN 30 /* bytes of a line that may have been wrapped */
#define BLOCK_LINES 14 /* of what is said about one recipient */
#define DATE_MAX 48    /* bytes behind an address that are a date */

static struct slice
take_line(struct slice *rest)
{
	const char *end = memchr(rest->ptr, '\n', rest->len);
	size_t len = end != NULL ? (size_t)(end - rest->ptr) : rest->len;
	struct slice line = slice_make(rest->ptr, len);

	len += end != NULL;
	rest->ptr += len;
	rest->len -= len;
	return line;
}

/* Blanks, dashes, stars and the like off both ends. */
static struct slice
undecorate(struct slice s)
{
	static const char marks[] = " \t\r-=*_#~+.:";

	while (s.len > 0 && memchr(marks, s.ptr[0], sizeof(marks) - 1) != NULL) {
		s.ptr++;
		s.len--;
	}
	while (s.len > 0 && memchr(marks, s.ptr[s.len - 1], sizeof(marks) - 1) != NULL)
		s.len--;
	return s;
}

/* ---------------------------------------------------------------- the returned original */

static bool
is_original_mark(struct slice line)
{
	char bytes[LINE_MAX];
	struct slice words;
	struct slice plain = undecorate(line);
	struct phrases_found found;

	if (plain.len == 0 || plain.len > 120)
		return false;
	words = words_normalise(plain, bytes, false);
	/* decorated on both sides, it may say less */
	marks_find(words, &found);
	return phrases_has(&found, MARK_ORIGINAL) ||
	    (slice_starts_nocase(line, SLICE("---")) && phrases_has(&found, MARK_ORIGINAL_FRAMED));
}

/* Fields of a returned header that stands without announcement. */
static bool
is_header_start(struct slice line, struct slice rest)
{
	struct slice next = rest.len > 0 ? take_line(&rest) : rest;

	if (slice_starts_nocase(line, SLICE("Received: from ")) ||
	    slice_starts_nocase(line, SLICE("Received: by ")) ||
	    slice_starts_nocase(line, SLICE("Received: (")) ||
	    slice_starts_nocase(line, SLICE("Return-Path: <")))
		return true;
	return slice_starts_nocase(line, SLICE("DKIM-Signature: v=")) ||
	    (slice_starts_nocase(line, SLICE("Message-ID: <")) &&
		(slice_starts_nocase(next, SLICE("Date: ")) ||
		    slice_starts_nocase(next, SLICE("From: "))));
}

void
bounce_text_split(struct slice text, struct slice *notice, struct slice *original)
{
	struct slice rest = slice_cut(text, BOUNCE_TEXT_MAX);
	bool has_words = false;

	*notice = rest;
	*original = slice_make(NULL, 0);
	while (rest.len > 0) {
		const char *at = rest.ptr;
		struct slice line = take_line(&rest);

		if (has_words && is_original_mark(line)) {
			*notice = slice_make(text.ptr, (size_t)(at - text.ptr));
			*original = slice_make(rest.ptr, (size_t)(text.ptr + text.len - rest.ptr));
			return;
		}
		if (has_words && is_header_start(line, rest)) {
			*notice = slice_make(text.ptr, (size_t)(at - text.ptr));
			*original = slice_make(at, (size_t)(text.ptr + text.len - at));
			return;
		}
		has_words = has_words || slice_trim(line).len > 0;
	}
}

/* ---------------------------------------------------------------- addresses */

static bool
is_local_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	    (c != '\0' && strchr("!#$%&'*+/=?^_`{|}~.-", c) != NULL);
}

static bool
is_domain_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	    c == '.' || c == '-' || c == '_';
}

/* Where the local part that ends before `at` begins; `floor` is as far as it may reach. */
static size_t
local_start(struct slice s, size_t floor, size_t at)
{
	size_t from = at;

	if (at > floor + 1 && s.ptr[at - 1] == '"') {
		from = at - 1;
		while (from > floor && s.ptr[from - 1] != '"' && s.ptr[from - 1] != '\n')
			from--;
		return from > floor && s.ptr[from - 1] == '"' ? from - 1 : at;
	}
	while (from > floor && (is_local_char(s.ptr[from - 1]) || (s.ptr[from - 1] & 0x80)))
		from--;
	/* other letters than ASCII belong to it only inside brackets (RFC 6531) */
	if (from == 0 || s.ptr[from - 1] != '<') {
		size_t ascii = at;
		while (ascii > from && is_local_char(s.ptr[ascii - 1]))
			ascii--;
		from = ascii;
	}
	while (from < at && strchr("'`*|=/", s.ptr[from]) != NULL)
		from++;
	return from;
}

/* "recipient=a@b", "to=<a@b>" of a log: where the address begins. */
static size_t
behind_key(struct slice s, size_t from, size_t end)
{
	static const char *const keys[] = { "recipient", "rcpt", "to", "orig_to", "address",
		"email", "user", "final_recipient", "final-recipient", "mail" };
	const char *sign = memchr(s.ptr + from, '=', end - from);

	for (size_t i = 0; sign != NULL && i < sizeof(keys) / sizeof(*keys); i++)
		if (slice_equal_nocase(slice_make(s.ptr + from, (size_t)(sign - s.ptr) - from),
			slice_str(keys[i])))
			return (size_t)(sign - s.ptr) + 1;
	return from;
}

bool
bounce_text_address(struct slice s, size_t *at, struct slice *address)
{
	size_t floor = *at;

	while (*at < s.len) {
		const char *sign = memchr(s.ptr + *at, '@', s.len - *at);
		size_t mid, from, end;
		bool in_brackets;

		if (sign == NULL)
			break;
		mid = (size_t)(sign - s.ptr);
		*at = mid + 1;
		from = behind_key(s, local_start(s, floor, mid), mid);
		in_brackets = from > 0 && s.ptr[from - 1] == '<';
		end = mid + 1;
		if (end < s.len && s.ptr[end] == '[') {
			while (end < s.len && s.ptr[end] != ']' && s.ptr[end] != ' ')
				end++;
			end += end < s.len && s.ptr[end] == ']';
		} else {
			while (end < s.len &&
			    (is_domain_char(s.ptr[end]) || (in_brackets && (s.ptr[end] & 0x80))))
				end++;
		}
		while (end > mid + 1 && strchr(".-_", s.ptr[end - 1]) != NULL)
			end--;
		*at = end;
		floor = end;
		if (from == mid || end == mid + 1 || end - from > 320)
			continue;
		if (!in_brackets && memchr(s.ptr + mid, '.', end - mid) == NULL)
			continue;
		*address = slice_make(s.ptr + from, end - from);
		return true;
	}
	*at = s.len;
	return false;
}

/* ---------------------------------------------------------------- lines */

struct candidate {
	struct slice address;
	size_t line;
	const char *behind; /* the rest of its line begins here */
	enum bounce_text_rank rank;
};

struct reader {
	struct arena *arena;
	struct slice own;
	struct slice lone; /* the first address that may have failed */
	bool has_others;   /* there is another one */
	struct slice *lines;
	size_t line_count;
	struct candidate *candidates;
	size_t count;
};

/* An address that cannot be the failed one. */
static bool
is_foreign(struct slice address, struct slice before)
{
	const char *sign = memchr(address.ptr, '@', address.len);
	struct slice local = slice_make(address.ptr, (size_t)(sign - address.ptr));
	char bytes[BEFORE_MAX];

	if (slice_equal_nocase(local, SLICE("mailer-daemon")) ||
	    slice_equal_nocase(local, SLICE("mailer_daemon")))
		return true;
	if (before.len > BEFORE_MAX)
		before = slice_make(before.ptr + before.len - BEFORE_MAX, BEFORE_MAX);
	return marks_match(words_normalise(before, bytes, false), MARK_NOT_FAILED);
}

/* " le 22/11/2009 10:01": a short tail with a time in it. */
static bool
is_dated(struct slice tail)
{
	for (size_t i = 1; i + 2 < tail.len && tail.len < DATE_MAX; i++)
		if (tail.ptr[i] == ':' && tail.ptr[i - 1] >= '0' && tail.ptr[i - 1] <= '9' &&
		    tail.ptr[i + 1] >= '0' && tail.ptr[i + 1] <= '5' && tail.ptr[i + 2] >= '0' &&
		    tail.ptr[i + 2] <= '9')
			return true;
	return false;
}

/* "(expanded from <x>)", "<mailto:x>", " on Thu, 29 Apr", "(generated from x)": nothing that
 * speaks against an address alone in its line. */
static bool
is_remark(struct slice behind)
{
	char bytes[LINE_MAX];
	struct slice words = words_normalise(slice_cut(behind, LINE_MAX), bytes, false);

	return marks_match(words, MARK_REMARK) ||
	    (behind.len > 0 && behind.ptr[0] == ' ' && is_dated(behind));
}

static bool
is_only(struct slice s, const char *any)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] == '\0' || strchr(any, s.ptr[i]) == NULL)
			return false;
	return true;
}

/* Only a reply code, an enhanced code and punctuation. */
static bool
is_reply_front(struct slice before)
{
	bool has_digit = false;

	for (size_t i = 0; i < before.len; i++)
		has_digit = has_digit || (before.ptr[i] >= '0' && before.ptr[i] <= '9');
	return has_digit && before.len < 30 && is_only(before, " \t0123456789.-#<(:[");
}

/* "Who: a@b" and nothing behind the address: one or two words, then a colon or, between the cells
 * of a table, a tab. */
static bool
is_labelled(struct slice before, struct slice tail)
{
	struct slice label = slice_trim(before);

	while (label.len > 0 && strchr("<\"'([ ", label.ptr[label.len - 1]) != NULL)
		label.len--;
	if (label.len > 1 && label.len <= 24 && label.ptr + label.len < before.ptr + before.len &&
	    label.ptr[label.len] == '\t')
		return is_only(tail, " \t:;,.)]>|\r");
	return label.len > 1 && label.len <= 24 && label.ptr[label.len - 1] == ':' &&
	    memchr(label.ptr, ':', label.len) == label.ptr + label.len - 1 &&
	    is_only(tail, " \t:;,.)]>|\r");
}

static enum bounce_text_rank
rank_of(struct slice before, struct slice behind, bool in_brackets)
{
	char bytes[LINE_MAX], more[LINE_MAX];
	struct slice words;
	struct phrases_found found;
	struct slice tail = slice_trim(behind);

	while (tail.len > 0 && strchr(">\"')]", tail.ptr[0]) != NULL)
		tail = slice_make(tail.ptr + 1, tail.len - 1);
	if (is_only(before, " \t<\"'*-([>\xE2\x80\xA2\xC2\xB7+.")) {
		struct slice said = slice_trim(tail);

		if (is_only(said, " \t:;,.)]>|") || is_remark(said))
			return BOUNCE_TEXT_LINE;
		if (in_brackets && strchr(":(.;,", said.ptr[0]) != NULL)
			return BOUNCE_TEXT_LINE;
		if (strchr(":;.(,-", said.ptr[0]) != NULL)
			return BOUNCE_TEXT_LABEL;
		words = words_normalise(slice_cut(said, LINE_MAX), bytes, false);
		if (marks_match(words, MARK_FAILURE))
			return BOUNCE_TEXT_LABEL;
		return in_brackets ? BOUNCE_TEXT_SENTENCE : BOUNCE_TEXT_NONE;
	}
	if (is_reply_front(before))
		return BOUNCE_TEXT_REPLY;
	words = words_normalise(slice_cut(before, LINE_MAX), bytes, false);
	while (words.len > 0 && strchr("<\"'([", words.ptr[words.len - 1]) != NULL)
		words.len--;
	words = slice_trim(words);
	marks_find(words, &found);
	if (phrases_has(&found, MARK_LABEL))
		return BOUNCE_TEXT_LABEL;
	if (phrases_has(&found, MARK_COMMAND))
		return BOUNCE_TEXT_COMMAND;
	if (phrases_has(&found, MARK_SENTENCE))
		return BOUNCE_TEXT_SENTENCE;
	/* "Name <a@b>", "Name (a@b)" alone in its line, as GroupWise and Notes write */
	if (words_match(words, "^to:|^to :|^an:|^cc:"))
		return BOUNCE_TEXT_MENTIONED;
	if (is_labelled(before, tail) ||
	    marks_match(words_normalise(slice_cut(tail, LINE_MAX), more, false), MARK_FAILURE) ||
	    phrases_has(&found, MARK_FAILURE))
		return BOUNCE_TEXT_MENTIONED;
	return BOUNCE_TEXT_NONE;
}

/* "a@b <c@d>": a name that looks like an address. */
static bool
is_display_name(struct slice behind)
{
	while (behind.len > 0 && (behind.ptr[0] == ' ' || behind.ptr[0] == '"'))
		behind = slice_make(behind.ptr + 1, behind.len - 1);
	return behind.len > 3 && behind.ptr[0] == '<' &&
	    memchr(behind.ptr, '@', behind.len) != NULL &&
	    !slice_starts_nocase(behind, SLICE("<mailto:")) &&
	    memchr(behind.ptr, '>', behind.len) != NULL;
}

static bool
is_known(const struct reader *r, size_t from, struct slice address)
{
	for (size_t i = from; i < r->count; i++)
		if (slice_equal_nocase(r->candidates[i].address, address))
			return true;
	return false;
}

/* The line above, where a long sentence was wrapped before the address: it tells whose it is. */
static struct slice
wrapped_from(const struct reader *r, size_t number)
{
	struct slice above;

	if (number == 0 || r->lines[number].ptr[0] == ' ' || r->lines[number].ptr[0] == '\t')
		return slice_make(NULL, 0);
	above = slice_trim(r->lines[number - 1]);
	if (above.len < WRAPPED_MIN || strchr(".:;!?)>", above.ptr[above.len - 1]) != NULL)
		return slice_make(NULL, 0);
	return above;
}

/* Under a short heading such as "Questions", with at most one blank line between. */
static bool
is_under_contact(const struct reader *r, size_t number)
{
	char bytes[HEADING_MAX];
	struct slice above;

	if (number > 1 && slice_trim(r->lines[number - 1]).len == 0)
		number--;
	above = number > 0 ? slice_trim(r->lines[number - 1]) : slice_make(NULL, 0);
	for (size_t i = above.len; i-- > 1;)
		if (above.ptr[i] == ' ' && above.ptr[i - 1] == '.') {
			above = slice_make(above.ptr + i + 1, above.len - i - 1);
			break; /* its last sentence */
		}
	return above.len > 0 && above.len < HEADING_MAX &&
	    marks_match(words_normalise(above, bytes, false), MARK_CONTACT);
}

/* Ours, or one of ours, such as a Message-ID. */
static bool
is_of_domain(struct slice address, struct slice own)
{
	const char *sign = own.len > 0 ? memchr(own.ptr, '@', own.len) : NULL;
	struct slice domain = sign != NULL ? slice_make(sign, (size_t)(own.ptr + own.len - sign))
					   : slice_make(NULL, 0);

	return domain.len > 0 && address.len > domain.len &&
	    slice_equal_nocase(
		slice_make(address.ptr + address.len - domain.len, domain.len), domain);
}

/* Remembers an address that nothing else tells to be the failed one. */
static void
note_lone(struct reader *r, struct slice address)
{
	if (is_of_domain(address, r->own) || slice_equal_nocase(address, r->lone))
		return;
	r->has_others = r->has_others || r->lone.len > 0;
	r->lone = address;
}

static bool
is_to(struct slice gap)
{
	gap = slice_trim(gap);
	return slice_equal_nocase(gap, SLICE("to")) || slice_starts_nocase(gap, SLICE("to "));
}

/* All addresses of one line; a list "a@b, c@d" has the rank of its first. */
static void
read_line(struct reader *r, size_t number)
{
	struct slice line = slice_cut(r->lines[number], LINE_MAX), address;
	size_t at = 0, first = r->count, start = 0, last = 0;

	/* quoted text, but not ">>> RCPT TO" */
	if (line.len > 1 && line.ptr[0] == '>' && line.ptr[1] != '>')
		return;
	while (
	    r->count < BOUNCE_TEXT_RECIPIENTS_MAX * 2 && bounce_text_address(line, &at, &address)) {
		size_t from = (size_t)(address.ptr - line.ptr);
		struct slice before = slice_make(line.ptr + start, from - start);
		struct slice behind = slice_make(line.ptr + at, line.len - at);
		bool in_brackets = from > 0 && line.ptr[from - 1] == '<';
		struct slice gap = slice_make(line.ptr + last, from - last);
		enum bounce_text_rank rank;

		/* "from us@our to a@b": what stood before the first says nothing of the second */
		if (last == 0 || !is_to(gap))
			gap = slice_make(line.ptr, from);
		last = at;
		if (r->count == first && is_display_name(behind)) {
			start = at;
			continue;
		}
		if (is_known(r, first, address) || is_foreign(address, gap) ||
		    (slice_trim(before).len < 2 &&
			(is_foreign(address, wrapped_from(r, number)) ||
			    is_under_contact(r, number))))
			continue;
		note_lone(r, address);
		if (r->count > first && is_only(before, " \t,;<>\"'") && start > 0)
			rank = r->candidates[r->count - 1].rank;
		else if (r->count > first)
			continue;
		else
			rank = rank_of(before, behind, in_brackets);
		/* the first of a list looks as if text followed */
		if (rank == BOUNCE_TEXT_NONE)
			continue;
		r->candidates[r->count++] =
		    (struct candidate){ address, number, line.ptr + at, rank };
		start = at;
	}
}

/* ---------------------------------------------------------------- blocks */

/* Another address of the same rank stands in the line. */
static bool
is_next_candidate(const struct reader *r, size_t line, const struct candidate *c)
{
	for (size_t i = 0; i < r->count; i++)
		if (r->candidates[i].line == line && r->candidates[i].rank == c->rank &&
		    !slice_equal_nocase(r->candidates[i].address, c->address))
			return true;
	return false;
}

/* A reply in a transcript with the remote's lines ("<<<") right above it. */
static struct slice
transcript_of(const struct reader *r, const struct candidate *c)
{
	struct slice line = r->lines[c->line];
	const char *start = line.ptr;

	for (size_t i = c->line; i-- > 0 && c->line - i < BLOCK_LINES;) {
		struct slice above = slice_trim(r->lines[i]);

		if (!slice_starts_nocase(above, SLICE("<<<")))
			break;
		start = above.ptr;
	}
	return slice_trim(slice_make(start, (size_t)(line.ptr + line.len - start)));
}

/* "Unknown user: a@b": the label is the reason. */
static bool
is_cause(struct slice before)
{
	char bytes[LINE_MAX];

	return words_match(words_normalise(slice_cut(before, LINE_MAX), bytes, false),
	    "unknown user:|user unknown:|no such user:|invalid user:|unknown recipient:|"
	    "mailbox full:|mailbox is full:|allowed size:|unknown address:");
}

/* "because:" and a blank line: the reason is yet to come. */
static bool
is_open_ended(const char *start, const char *end)
{
	struct slice said = slice_trim(slice_make(start, (size_t)(end - start)));

	return said.len > 0 && said.len < HEADING_MAX && said.ptr[said.len - 1] == ':';
}

/* What is said about a candidate: the rest of its line and the lines below, up to a blank line
 * behind some words, or to the next candidate. */
static struct slice
block_of(const struct reader *r, const struct candidate *c)
{
	struct slice line = r->lines[c->line];
	const char *start = c->behind, *end = line.ptr + line.len;
	size_t words = 0;

	while (start < end && strchr(" \t>:;\"')]*", *start) != NULL)
		start++;
	if (c->rank == BOUNCE_TEXT_LABEL &&
	    is_cause(slice_make(line.ptr, (size_t)(c->address.ptr - line.ptr))))
		start = line.ptr;
	words = (size_t)(end - start);
	if (is_remark(slice_make(start, words)))
		words = 0;
	for (size_t i = c->line + 1; i < r->line_count && i < c->line + BLOCK_LINES; i++) {
		size_t len = slice_trim(r->lines[i]).len;

		if (is_next_candidate(r, i, c) ||
		    slice_starts_nocase(slice_trim(r->lines[i]), SLICE("-----")))
			break;
		if (len == 0 && words > 0 && !is_open_ended(start, end))
			break;
		if (words == 0 && len > 0)
			start = r->lines[i].ptr;
		words += len;
		end = r->lines[i].ptr + r->lines[i].len;
	}
	return words > 0 ? slice_trim(slice_make(start, (size_t)(end - start)))
			 : slice_make(NULL, 0);
}

/* The alias that was written to, where the text behind the address names it; else the address. */
static struct slice
written_to(const struct candidate *c, struct slice block)
{
	struct slice said;
	const char *open;

	if (block.len == 0)
		return c->address;
	said = slice_make(c->behind, (size_t)(block.ptr + block.len - c->behind));
	while (said.len > 0 && (open = memchr(said.ptr, '(', said.len)) != NULL) {
		struct slice alias, remark;
		const char *close;
		size_t at = 0;

		said = slice_make(open + 1, (size_t)(said.ptr + said.len - open) - 1);
		close = said.len > 0 ? memchr(said.ptr, ')', said.len) : NULL;
		remark =
		    slice_make(said.ptr, close != NULL ? (size_t)(close - said.ptr) : said.len);
		if ((slice_starts_nocase(said, SLICE("expanded from")) ||
			slice_starts_nocase(said, SLICE("generated from")) ||
			slice_starts_nocase(said, SLICE("ultimately generated from"))) &&
		    bounce_text_address(remark, &at, &alias))
			return alias;
	}
	return c->address;
}

/* Our own address counts only when there is no other. */
static void
drop_own(struct reader *r)
{
	size_t n = 0, others = 0;

	for (size_t i = 0; i < r->count; i++)
		others += r->candidates[i].rank >= BOUNCE_TEXT_COMMAND &&
		    !slice_equal_nocase(r->candidates[i].address, r->own);
	for (size_t i = 0; i < r->count && others > 0; i++)
		if (!slice_equal_nocase(r->candidates[i].address, r->own))
			r->candidates[n++] = r->candidates[i];
	r->count = others > 0 ? n : r->count;
}

/* The candidates of the best rank, each once. */
static int
choose(struct reader *r, struct bounce_text *out)
{
	drop_own(r);
	for (size_t i = 0; i < r->count; i++)
		if (r->candidates[i].rank > out->rank)
			out->rank = r->candidates[i].rank;
	out->recipients =
	    arena_array(r->arena, BOUNCE_TEXT_RECIPIENTS_MAX, sizeof(*out->recipients));
	if (out->recipients == NULL)
		return -1;
	for (size_t i = 0; i < r->count && out->count < BOUNCE_TEXT_RECIPIENTS_MAX; i++) {
		const struct candidate *c = &r->candidates[i];
		struct bounce_text_recipient *same = NULL;
		struct slice text, address;

		if (c->rank != out->rank)
			continue;
		text = c->rank == BOUNCE_TEXT_REPLY ? transcript_of(r, c) : block_of(r, c);
		address = c->rank == BOUNCE_TEXT_LINE ? written_to(c, text) : c->address;
		for (size_t k = 0; k < out->count && same == NULL; k++)
			if (slice_equal_nocase(out->recipients[k].address, address))
				same = &out->recipients[k];
		if (same != NULL && same->text.len > 0)
			continue;
		if (same == NULL) {
			same = &out->recipients[out->count++];
			same->address = address;
			same->final = c->address;
		}
		same->text = text;
	}
	/* a list of addresses with one reason below it */
	for (size_t i = out->count; i-- > 1;)
		if (out->recipients[i - 1].text.len == 0)
			out->recipients[i - 1].text = out->recipients[i].text;
	return 0;
}

int
bounce_text_read(struct bounce_text *out, struct slice text, struct slice own, struct arena *arena)
{
	struct reader r = { .arena = arena, .own = own };
	struct slice rest;

	memset(out, 0, sizeof(*out));
	bounce_text_split(text, &out->notice, &out->original);
	r.lines = arena_array(arena, LINES_MAX, sizeof(*r.lines));
	r.candidates = arena_array(arena, BOUNCE_TEXT_RECIPIENTS_MAX * 2, sizeof(*r.candidates));
	if (r.lines == NULL || r.candidates == NULL)
		return -1;
	rest = out->notice;
	while (rest.len > 0 && r.line_count < LINES_MAX)
		r.lines[r.line_count++] = take_line(&rest);
	for (size_t i = 0; i < r.line_count; i++)
		if (memchr(r.lines[i].ptr, '@', r.lines[i].len) != NULL)
			read_line(&r, i);
	out->lone = r.has_others ? slice_make(NULL, 0) : r.lone;
	return choose(&r, out);
}
