/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notice: see notice.h. Owns nothing. A delivery report gives the recipients and their codes,
 * the prose beside it only what the report leaves out.
 */
#include "notice.h"

#include <string.h>

#include "bounce_text.h"
#include "codes.h"
#include "mail_text.h"
#include "marks.h"
#include "prose.h"
#include "verdict.h"
#include "words.h"

#define FRONT_MAX 3000	/* bytes of a notice in which its marks stand */
#define TAG_MAX 30	/* bytes of a word in brackets before a subject */
#define SUBJECT_MAX 500 /* bytes of a field that are compared */
#define TEXTS_MAX 4	/* text parts that are read */
#define FRAME_MAX 600	/* bytes of a first paragraph */
#define FOOTER_MAX 200	/* bytes of a line that are compared */
#define ABOUT_MAX 1000	/* bytes that are looked at for a code of one address */

static const struct slice nothing = { NULL, 0 };

static int read_notice(
    struct notice *notice, const struct mail *mail, bool is_inner, struct arena *arena);

struct reader {
	struct notice *notice;
	const struct mail *mail;
	struct arena *arena;
	struct slice subject, from; /* normalised */
	struct slice text;	    /* the prose */
	struct slice front;	    /* its beginning, normalised, without quoted lines */
	struct phrases_found in_subject, in_from, in_front; /* marks of these */
	struct bounce_text prose;
	bool has_prose;	   /* prose was read */
	bool some_told;	   /* it says of one recipient at least why */
	bool is_daemon;	   /* from a mail system: null return path or its name */
	bool is_null_path; /* Return-Path: <>, which auto-replies have, too */
	bool is_system;	   /* named like a mail system */
	bool is_own_path;  /* Return-Path: somebody, and no mail system */
	bool is_inner;	   /* the mail stood inside another */
};

const char *
notice_kind_name(enum notice_kind kind)
{
	static const char *const names[] = { "other", "bounce", "delayed", "delivered", "complaint",
		"auto_reply" };

	return (unsigned)kind < sizeof(names) / sizeof(names[0]) ? names[kind] : "other";
}

/* ---------------------------------------------------------------- views of the mail */

static struct slice
normalise(struct reader *r, struct slice text)
{
	char *bytes = arena_alloc(r->arena, text.len + 1);

	return bytes != NULL ? words_normalise(text, bytes, false) : nothing;
}

/* A part of prose with something in it, before the returned mail; its place, or part_count. */
static size_t
next_prose(struct reader *r, size_t from, bool with_html, struct slice *text)
{
	for (size_t i = from; i < r->mail->part_count; i++) {
		const struct mail_part *part = &r->mail->parts[i];

		if (part->kind == MAIL_EMBEDDED || part->kind == MAIL_HEADERS)
			break;
		if (part->kind != MAIL_TEXT && (part->kind != MAIL_HTML || !with_html))
			continue;
		*text = slice_cut(mail_part_text(part, r->arena), BOUNCE_TEXT_MAX);
		if (slice_trim(*text).len > 0)
			return i;
	}
	return r->mail->part_count;
}

/* The prose: text parts before the returned mail; HTML too when it comes first, for then it is
 * no other form of a text. */
static struct slice
collect_text(struct reader *r)
{
	struct slice pieces[TEXTS_MAX], text, out;
	size_t count = 0, total = 0, n = 0;
	size_t i = next_prose(r, 0, true, &text);
	bool with_html = i < r->mail->part_count && r->mail->parts[i].kind == MAIL_HTML;
	char *bytes;

	for (; i < r->mail->part_count && count < TEXTS_MAX;
	     i = next_prose(r, i + 1, with_html, &text)) {
		pieces[count++] = text;
		total += text.len + 2;
	}
	if (total == 0)
		return nothing;
	if (count == 1)
		return prose_restore(pieces[0], r->arena);
	bytes = arena_alloc(r->arena, total + 1);
	if (bytes == NULL)
		return nothing;
	for (size_t k = 0; k < count; k++) {
		memcpy(bytes + n, pieces[k].ptr, pieces[k].len);
		n += pieces[k].len;
		memcpy(bytes + n, "\n\n", 2);
		n += 2;
	}
	out = slice_make(bytes, n);
	return prose_restore(slice_cut(out, BOUNCE_TEXT_MAX), r->arena);
}

static bool
is_quoted(struct slice line)
{
	return line.ptr[0] == '>' && !(line.len > 2 && line.ptr[1] == '>');
}

static bool
is_footer(struct slice line)
{
	char bytes[FOOTER_MAX];

	return marks_match(
	    words_normalise(slice_cut(line, sizeof(bytes)), bytes, false), MARK_FOOTER);
}

/* The lines of text that are not such; empty without memory. */
static struct slice
lines_but(struct reader *r, struct slice text, bool (*is_such)(struct slice line))
{
	char *bytes = arena_alloc(r->arena, text.len + 1);
	size_t n = 0;

	while (bytes != NULL && text.len > 0) {
		const char *end = memchr(text.ptr, '\n', text.len);
		size_t len = end != NULL ? (size_t)(end - text.ptr) + 1 : text.len;

		if (!is_such(slice_make(text.ptr, len))) {
			memcpy(bytes + n, text.ptr, len);
			n += len;
		}
		text = slice_make(text.ptr + len, text.len - len);
	}
	return slice_make(bytes, n);
}

/* The address of the mail's own recipient: to whom the notice was sent. */
static struct slice
own_address(const struct mail *mail)
{
	static const char *const names[] = { "Delivered-To", "X-Original-To", "To" };
	struct slice address = nothing;

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		size_t at = 0;
		if (bounce_text_address(mail_field(mail, names[i]), &at, &address))
			return address;
	}
	return nothing;
}

static int
read_text(struct reader *r, struct slice text)
{
	if (bounce_text_read(&r->prose, text, own_address(r->mail), r->arena) < 0)
		return -1;
	for (size_t i = 0; i < r->prose.count; i++)
		r->prose.recipients[i].text = lines_but(r, r->prose.recipients[i].text, is_footer);
	return 0;
}

static int
read_prose(struct reader *r)
{
	if (r->has_prose)
		return 0;
	r->has_prose = true;
	r->text = collect_text(r);
	if (read_text(r, r->text) < 0)
		return -1;
	r->front = normalise(r, lines_but(r, slice_cut(r->prose.notice, FRONT_MAX), is_quoted));
	marks_find(r->front, &r->in_front);
	return 0;
}

static bool
is_blank_char(char c)
{
	return c == ' ' || c == '\t';
}

/* Fields that were set in by blanks: their lines without those of the first. */
static struct slice
without_indent(struct reader *r, struct slice text)
{
	char *bytes;
	size_t indent = 0, n = 0;

	while (text.len > 0 && text.ptr[0] == '\n')
		text = slice_make(text.ptr + 1, text.len - 1);
	while (indent < text.len && is_blank_char(text.ptr[indent]))
		indent++;
	text = slice_cut(text, MAIL_HEADER_MAX);
	bytes = indent > 0 ? arena_alloc(r->arena, text.len + 1) : NULL;
	if (bytes == NULL)
		return text;
	while (text.len > 0) {
		const char *end = memchr(text.ptr, '\n', text.len);
		size_t len = end != NULL ? (size_t)(end - text.ptr) + 1 : text.len, skip = 0;

		while (skip < indent && skip < len && is_blank_char(text.ptr[skip]))
			skip++;
		memcpy(bytes + n, text.ptr + skip, len - skip);
		n += len - skip;
		text = slice_make(text.ptr + len, text.len - len);
	}
	return slice_make(bytes, n);
}

/* The header of the mail that came back, from its part or from the prose. */
static struct slice
find_original(struct reader *r)
{
	struct slice text = nothing;
	const char *end;

	for (size_t i = 0; i < r->mail->part_count && text.len == 0; i++) {
		const struct mail_part *part = &r->mail->parts[i];
		if (part->kind == MAIL_EMBEDDED || part->kind == MAIL_HEADERS)
			text = mail_text_decode(r->arena, part->body, part->encoding);
	}
	if (text.len == 0 && r->has_prose)
		text = without_indent(r, r->prose.original);
	while (text.len > 0 && (text.ptr[0] == '\n' || text.ptr[0] == ' ' || text.ptr[0] == '-'))
		text = slice_make(text.ptr + 1, text.len - 1);
	end = text.len > 0 ? memmem(text.ptr, text.len, "\n\n", 2) : NULL;
	if (end != NULL)
		text.len = (size_t)(end + 1 - text.ptr);
	return slice_cut(text, MAIL_HEADER_MAX);
}

/* The first field of this name in the header of the original. */
static struct slice
original_field(struct reader *r, struct slice want)
{
	struct dsn_fields fields = { r->notice->original };
	struct slice name, value;
	enum dsn_field_result result;

	while ((result = dsn_fields_next(&fields, r->arena, &name, &value)) == DSN_FIELD ||
	    result == DSN_FIELD_BLANK)
		if (result == DSN_FIELD && slice_equal_nocase(name, want))
			return value;
	return nothing;
}

/* Behind "[EXTERNAL] ", "***SPAM*** ", "{Spam?} "; s itself without such or with nothing behind. */
static struct slice
without_tag(struct slice s)
{
	static const char *const marks[] = { "[]", "{}", "**" };

	for (size_t i = 0; i < sizeof(marks) / sizeof(*marks); i++) {
		struct slice rest = s;
		const char *end;

		while (rest.len > 0 && rest.ptr[0] == marks[i][0])
			rest = slice_make(rest.ptr + 1, rest.len - 1);
		end = rest.len > 0 && rest.len < s.len ? memchr(rest.ptr, marks[i][1], rest.len)
						       : NULL;
		if (end == NULL || (size_t)(end - rest.ptr) > TAG_MAX)
			continue;
		rest = slice_make(end, (size_t)(s.ptr + s.len - end));
		while (rest.len > 0 && (rest.ptr[0] == marks[i][1] || is_blank_char(rest.ptr[0])))
			rest = slice_make(rest.ptr + 1, rest.len - 1);
		return rest.len > 0 ? rest : s;
	}
	return s;
}

/* Opening brackets stand before the words in Japanese subjects. */
static struct slice
without_brackets(struct slice s)
{
	for (;;) {
		if (slice_starts_nocase(s, SLICE("【")) || slice_starts_nocase(s, SLICE("（")))
			s = slice_make(s.ptr + 3, s.len - 3);
		else if (slice_starts_nocase(s, SLICE("[")) || slice_starts_nocase(s, SLICE("(")) ||
		    slice_starts_nocase(s, SLICE(" ")))
			s = slice_make(s.ptr + 1, s.len - 1);
		else
			return s;
	}
}

/* The marks of the subject, with those that it has behind what gateways and lists set in front. */
static void
look_at_subject(struct reader *r)
{
	struct phrases_found more;
	struct slice rest = r->subject, before;

	marks_find(rest, &r->in_subject);
	do {
		before = rest;
		marks_find(without_brackets(rest), &more);
		for (size_t i = 0; i < sizeof(more.lists) / sizeof(*more.lists); i++)
			r->in_subject.lists[i] |= more.lists[i];
		rest = without_tag(rest);
	} while (rest.len < before.len);
}

static void
look_at_header(struct reader *r)
{
	const struct mail *mail = r->mail;
	struct slice subject = slice_cut(mail_field(mail, "Subject"), SUBJECT_MAX);
	struct slice from = slice_cut(mail_field(mail, "From"), SUBJECT_MAX);
	struct slice path = slice_trim(mail_field(mail, "Return-Path"));
	bool is_system_path;

	r->subject = normalise(r, mail_text_words(r->arena, subject));
	r->from = normalise(r, mail_text_words(r->arena, from));
	r->is_null_path = slice_equal(path, SLICE("<>"));
	look_at_subject(r);
	marks_find(r->from, &r->in_from);
	is_system_path = marks_match(normalise(r, slice_cut(path, SUBJECT_MAX)), MARK_DAEMON_PATH);
	r->is_own_path = path.len > 0 && !r->is_null_path && !is_system_path;
	r->is_system = phrases_has(&r->in_from, MARK_DAEMON) || is_system_path ||
	    mail_field(mail, "X-Failed-Recipients").len > 0;
	r->is_daemon = r->is_null_path || r->is_system;
}

/* ---------------------------------------------------------------- one recipient */

struct notice_recipient *
notice_add(struct notice *notice, struct arena *arena)
{
	if (notice->count == NOTICE_RECIPIENTS_MAX)
		return NULL;
	if (notice->count == notice->capacity) {
		size_t capacity = notice->capacity == 0 ? 2 : notice->capacity * 2;
		struct notice_recipient *items = arena_array(arena, capacity, sizeof(*items));

		if (items == NULL)
			return NULL;
		if (notice->count > 0)
			memcpy(items, notice->recipients, notice->count * sizeof(*items));
		notice->recipients = items;
		notice->capacity = capacity;
	}
	notice->recipients[notice->count].reason = "undefined";
	return &notice->recipients[notice->count++];
}

/* A rule that saw more than a bare code. */
static bool
says_much(const struct classify_verdict *v)
{
	return strcmp(v->reason, "undefined") != 0 && strcmp(v->reason, "policy") != 0 &&
	    strcmp(v->reason, "system") != 0;
}

/*
 * Class and reason from code, status and text; more is the prose around it, asked when they say
 * little. Never hard: a delay, a 4xx, an address that the notice does not call failed.
 */
static void
judge(struct notice_recipient *r, struct slice text, struct slice more)
{
	struct classify_verdict verdict = verdict_read(r->code, r->enhanced, text), other;
	/* a status field alone is often generic or invented: the prose may know better */
	bool is_bare = text.len == 0 && r->enhanced[2] == 0;

	if (r->action == DSN_DELIVERED || r->action == DSN_RELAYED || r->action == DSN_EXPANDED) {
		r->reason = dsn_action_name(r->action);
		r->cls = OUTCOME_CLASS_NONE;
		return;
	}
	if ((is_bare || !says_much(&verdict)) && more.len > 0) {
		bool is_more;

		other = verdict_of_words(r->code, r->enhanced, more);
		is_more = says_much(&other) || strcmp(verdict.reason, "undefined") == 0;
		/* what surrounds a reply is often a form with every cause it knows */
		if (is_more && (other.cls != OUTCOME_HARD || codes_find(text).code == 0))
			verdict = other;
	}
	r->reason = verdict.reason;
	r->cls = verdict.cls == OUTCOME_CLASS_NONE ? OUTCOME_SOFT : verdict.cls;
	if (r->action == DSN_DELAYED)
		r->cls = OUTCOME_SOFT;
	if (r->cls == OUTCOME_HARD && (r->code / 100 == 4 || r->enhanced[0] == 4))
		r->cls = OUTCOME_SOFT;
}

/* ---------------------------------------------------------------- delivery reports */

/* "@relay:a@b" -> "a@b" (RFC 5321 appendix C). */
static struct slice
without_route(struct slice address)
{
	const char *colon;

	if (address.len == 0 || address.ptr[0] != '@')
		return address;
	colon = memrchr(address.ptr, ':', address.len);
	return colon != NULL
	    ? slice_make(colon + 1, (size_t)(address.ptr + address.len - colon) - 1)
	    : address;
}

static bool
is_address(struct slice s)
{
	return s.len > 2 && memchr(s.ptr, '@', s.len) != NULL && s.ptr[0] != '@';
}

/* The addresses that the outer header or the prose names, for a report that names none. */
static struct slice
fallback_address(struct reader *r, size_t number)
{
	struct slice failed = mail_field(r->mail, "X-Failed-Recipients"), address;
	struct slice to = original_field(r, SLICE("To")), second;
	size_t at = 0;

	for (size_t i = 0; bounce_text_address(failed, &at, &address); i++)
		if (i == number)
			return address;
	if (read_prose(r) == 0 && number < r->prose.count)
		return r->prose.recipients[number].address;
	at = 0;
	if (number == 0 && bounce_text_address(to, &at, &address) &&
	    !bounce_text_address(to, &at, &second))
		return address;
	return number == 0 ? r->prose.lone : nothing;
}

static enum dsn_action
action_of(struct reader *r, const struct dsn_recipient *in)
{
	if (in->action != DSN_ACTION_NONE)
		return in->action;
	if (phrases_has(&r->in_subject, MARK_DELAY_SUBJECT))
		return DSN_DELAYED;
	return in->status[0] == 2 ? DSN_DELIVERED : DSN_FAILED;
}

/* What the prose says about an address; else all of it when there is one recipient. */
static struct slice
prose_about(struct reader *r, struct slice address, bool is_only)
{
	if (read_prose(r) < 0)
		return nothing;
	for (size_t i = 0; i < r->prose.count; i++)
		if ((slice_equal_nocase(r->prose.recipients[i].address, address) ||
			slice_equal_nocase(r->prose.recipients[i].final, address)) &&
		    r->prose.recipients[i].text.len > 0)
			return r->prose.recipients[i].text;
	return is_only ? lines_but(r, slice_cut(r->prose.notice, FRONT_MAX), is_footer) : nothing;
}

static void
take_codes(struct notice_recipient *out, struct codes found)
{
	if (out->code == 0)
		out->code = found.code;
	if (found.enhanced[0] != 0 &&
	    (out->enhanced[0] == 0 || (out->enhanced[1] == 0 && out->enhanced[2] == 0)))
		memcpy(out->enhanced, found.enhanced, sizeof(out->enhanced));
}

/* The address that was written to, where the prose tells which alias led to final; else nothing. */
static struct slice
alias_of(struct reader *r, struct slice final)
{
	struct slice original = r->notice->original;

	/* the mail that came back was for final itself */
	if ((original.len > 0 &&
		memmem(original.ptr, original.len, final.ptr, final.len) != NULL) ||
	    read_prose(r) < 0)
		return nothing;
	for (size_t i = 0; i < r->prose.count; i++)
		if (slice_equal_nocase(r->prose.recipients[i].final, final))
			return r->prose.recipients[i].address;
	return nothing;
}

static int
read_dsn_recipient(struct reader *r, const struct dsn_recipient *in, bool is_only)
{
	struct notice_recipient *out = notice_add(r->notice, r->arena);
	struct feedback_event said = { .reason = "none" };
	struct slice original = without_route(in->original), final = without_route(in->final);
	struct slice more = nothing;

	if (out == NULL)
		return r->notice->count == NOTICE_RECIPIENTS_MAX ? 0 : -1;
	out->action = action_of(r, in);
	dsn_quote(&r->notice->dsn, in, r->arena, &said);
	memcpy(out->reported, in->status, sizeof(out->reported));
	memcpy(out->enhanced, said.enhanced, sizeof(out->enhanced));
	out->code = said.code;
	out->text = said.text;
	out->remote = said.remote;
	out->last_attempt_us = in->last_attempt_us;
	if (!is_address(original) && is_address(final))
		original = alias_of(r, final);
	if (is_address(original))
		out->address = original;
	else if (is_address(final))
		out->address = final;
	else
		out->address = fallback_address(r, r->notice->count - 1);
	if (out->address.len == 0)
		out->address = original.len > 0 ? original : final;
	out->address = feedback_text(r->arena, out->address, FEEDBACK_ADDRESS_MAX);
	if (!slice_equal_nocase(final, out->address))
		out->final = feedback_text(r->arena, final, FEEDBACK_ADDRESS_MAX);
	judge(out, in->diagnostic, nothing);
	if (out->cls == OUTCOME_CLASS_NONE ||
	    (in->diagnostic.len > 0 && out->code != 0 && strcmp(out->reason, "undefined") != 0 &&
		strcmp(out->reason, "policy") != 0))
		return 0;
	more = prose_about(r, out->address, is_only);
	if (more.len == 0)
		return 0;
	if (out->action != DSN_DELAYED || out->code == 0)
		take_codes(out, codes_find(more));
	if (out->text.len == 0)
		out->text = feedback_text(r->arena, more, OUTCOME_TEXT_MAX);
	judge(out, in->diagnostic, more);
	return 0;
}

/* The field stands at the start of a line, with blanks before it at most. */
static const char *
field_line(struct slice text, const char *name)
{
	struct slice want = slice_str(name);

	while (text.len > 0) {
		const char *end = memchr(text.ptr, '\n', text.len);
		size_t len = end != NULL ? (size_t)(end - text.ptr) + 1 : text.len;

		if (slice_starts_nocase(slice_trim(slice_make(text.ptr, len)), want))
			return text.ptr;
		text = slice_make(text.ptr + len, text.len - len);
	}
	return NULL;
}

/* The fields of a report as plain text, perhaps set in by blanks. */
static struct slice
report_in_text(struct slice text)
{
	static const char *const starts[] = {
		"Reporting-MTA:", "Final-Recipient:", "Original-Recipient:"
	};
	const char *first = NULL;

	if (field_line(text, "Final-Recipient:") == NULL ||
	    (field_line(text, "Action:") == NULL && field_line(text, "Status:") == NULL))
		return nothing;
	for (size_t i = 0; i < sizeof(starts) / sizeof(*starts); i++) {
		const char *at = field_line(text, starts[i]);

		if (at != NULL && (first == NULL || at < first))
			first = at;
	}
	return slice_make(first, (size_t)(text.ptr + text.len - first));
}

void
notice_settle(struct notice *notice)
{
	bool has_failed = false, has_delayed = false;

	for (size_t i = 0; i < notice->count; i++) {
		has_failed = has_failed || notice->recipients[i].action == DSN_FAILED;
		has_delayed = has_delayed || notice->recipients[i].action == DSN_DELAYED;
	}
	notice->kind = has_failed ? NOTICE_BOUNCE : has_delayed ? NOTICE_DELAYED : NOTICE_DELIVERED;
}

/* The mail went to another target behind the address of r as well, and that one is not dead. */
static bool
has_live_sister(const struct notice *notice, const struct notice_recipient *r)
{
	for (size_t i = 0; i < notice->count; i++) {
		const struct notice_recipient *other = &notice->recipients[i];

		if (other->cls != OUTCOME_HARD && slice_equal_nocase(other->address, r->address) &&
		    !slice_equal_nocase(other->final, r->final))
			return true;
	}
	return false;
}

/* An alias is dead when all that it leads to is: one target that took the mail, or may take it yet,
 * and the address works. */
static void
spare_aliases(struct notice *notice)
{
	for (size_t i = 0; i < notice->count; i++)
		if (notice->recipients[i].cls == OUTCOME_HARD &&
		    has_live_sister(notice, &notice->recipients[i]))
			notice->recipients[i].cls = OUTCOME_SOFT;
}

/* What the prose says is said of this one: it is alone, or alone failed. */
static bool
is_only_failed(struct reader *r, const struct dsn_recipient *one)
{
	const struct dsn *dsn = &r->notice->dsn;

	for (size_t i = 0; i < dsn->count; i++)
		if (&dsn->recipients[i] != one &&
		    (action_of(r, one) != DSN_FAILED ||
			(action_of(r, &dsn->recipients[i]) != DSN_DELIVERED &&
			    action_of(r, &dsn->recipients[i]) != DSN_RELAYED &&
			    action_of(r, &dsn->recipients[i]) != DSN_EXPANDED)))
			return false;
	return true;
}

/* 1 when the body is a report that says something, 0 when not, -1 without memory. */
static int
read_report(struct reader *r, struct slice body)
{
	struct notice *notice = r->notice;

	if (dsn_parse(&notice->dsn, body, r->arena) < 0)
		return -1;
	for (size_t i = 0; i < notice->dsn.count; i++) {
		const struct dsn_recipient *in = &notice->dsn.recipients[i];

		if (read_dsn_recipient(r, in, is_only_failed(r, in)) < 0)
			return -1;
	}
	notice->source = "dsn";
	if (notice->count == 0)
		return 0;
	spare_aliases(notice);
	notice_settle(notice);
	notice->reason = notice_kind_name(notice->kind);
	return 1;
}

/* ---------------------------------------------------------------- complaints */

static struct slice
lower(struct arena *arena, struct slice s)
{
	char *out = arena_alloc(arena, s.len + 1);

	if (out == NULL)
		return nothing;
	for (size_t i = 0; i < s.len; i++)
		out[i] = s.ptr[i] >= 'A' && s.ptr[i] <= 'Z' ? (char)(s.ptr[i] + 32) : s.ptr[i];
	return slice_make(out, s.len);
}

static int
add_complainer(struct reader *r, struct slice address)
{
	struct notice_recipient *out;

	for (size_t i = 0; i < r->notice->count; i++)
		if (slice_equal_nocase(r->notice->recipients[i].address, address))
			return 0;
	out = notice_add(r->notice, r->arena);
	if (out == NULL)
		return r->notice->count == NOTICE_RECIPIENTS_MAX ? 0 : -1;
	out->address = feedback_text(r->arena, address, FEEDBACK_ADDRESS_MAX);
	out->reason = arf_type_name(r->notice->arf.type);
	return 0;
}

/* Every Original-Rcpt-To; else the To of the reported mail. */
static int
add_complainers(struct reader *r, struct slice report)
{
	struct dsn_fields fields = { report };
	struct slice name, value, address;
	enum dsn_field_result result;
	size_t at;

	while ((result = dsn_fields_next(&fields, r->arena, &name, &value)) != DSN_FIELD_END) {
		if (result == DSN_FIELD_NO_MEMORY)
			return -1;
		if (result != DSN_FIELD ||
		    (!slice_equal_nocase(name, SLICE("Original-Rcpt-To")) &&
			!slice_equal_nocase(name, SLICE("Removal-Recipient"))))
			continue;
		at = 0;
		while (bounce_text_address(value, &at, &address))
			if (add_complainer(r, address) < 0)
				return -1;
	}
	value = original_field(r, SLICE("X-HmXmrOriginalRecipient"));
	if (r->notice->count == 0 && value.len == 0)
		value = original_field(r, SLICE("To"));
	at = 0;
	while (bounce_text_address(value, &at, &address))
		if (add_complainer(r, address) < 0)
			return -1;
	return 0;
}

static int
read_complaint(struct reader *r, struct slice report, const char *source)
{
	struct notice *notice = r->notice;

	if (arf_parse(&notice->arf, report, r->arena) < 0)
		return -1;
	notice->kind = NOTICE_COMPLAINT;
	notice->source = source;
	notice->feedback_type = lower(r->arena, notice->arf.type_name);
	if (!notice->arf.has_type && report.len == 0) {
		notice->arf.has_type = true; /* a loop without report: it complains of abuse */
		notice->arf.type = ARF_ABUSE;
		notice->feedback_type = SLICE("abuse");
	}
	notice->reason = notice->arf.has_type ? arf_type_name(notice->arf.type) : "no_type";
	return add_complainers(r, report);
}

/* A feedback loop that sends the mail itself instead of a report. */
static bool
is_bare_complaint(struct reader *r)
{
	if (original_field(r, SLICE("X-HmXmrOriginalRecipient")).len > 0)
		return true;
	return phrases_has(&r->in_subject, MARK_COMPLAINT_SUBJECT) && r->notice->original.len > 0;
}

/* "Feedback-Type:" and "User-Agent:" as plain text. */
static struct slice
complaint_in_text(struct slice text)
{
	const char *at;

	if (text.len == 0 || memmem(text.ptr, text.len, "User-Agent:", 11) == NULL)
		return nothing;
	if (slice_starts_nocase(text, SLICE("Feedback-Type:")))
		return text;
	at = memmem(text.ptr, text.len, "\nFeedback-Type:", 15);
	return at != NULL ? slice_make(at + 1, (size_t)(text.ptr + text.len - at) - 1) : nothing;
}

/* ---------------------------------------------------------------- prose */

/* With a return path of its own, and neither from a mail system's address nor with its field. */
static bool
is_of_somebody(const struct reader *r)
{
	return !r->is_null_path && mail_field(r->mail, "X-Failed-Recipients").len == 0 &&
	    !phrases_has(&r->in_from, MARK_DAEMON_ADDRESS);
}

/* Sent to many (RFC 2369, RFC 2919, and the older Precedence). Who returns the mail of a list may
 * copy its fields: only List-Unsubscribe is believed of a mail without return path. */
static bool
is_bulk(const struct reader *r)
{
	struct slice precedence = slice_trim(mail_field(r->mail, "Precedence"));

	if (mail_field(r->mail, "List-Unsubscribe").len > 0)
		return true;
	return mail_field(r->mail, "Return-Path").len > 0 &&
	    (mail_field(r->mail, "List-Id").len > 0 ||
		(!r->is_system &&
		    (slice_equal_nocase(precedence, SLICE("bulk")) ||
			slice_equal_nocase(precedence, SLICE("list")))));
}

/* A person's answer or forward, or sent to many, not the mail of a system. */
static bool
is_reply(const struct reader *r)
{
	if (is_of_somebody(r) && (is_bulk(r) || phrases_has(&r->in_subject, MARK_REPLY_SUBJECT)))
		return true;
	return !r->is_daemon && !phrases_has(&r->in_subject, MARK_BOUNCE_SUBJECT) &&
	    (mail_field(r->mail, "List-Id").len > 0 || mail_field(r->mail, "In-Reply-To").len > 0);
}

static bool
is_same_domain(struct slice a, struct slice b)
{
	const char *in_a = a.len > 0 ? memrchr(a.ptr, '@', a.len) : NULL;
	const char *in_b = b.len > 0 ? memrchr(b.ptr, '@', b.len) : NULL;

	return in_a != NULL && in_b != NULL &&
	    slice_equal_nocase(slice_make(in_a, (size_t)(a.ptr + a.len - in_a)),
		slice_make(in_b, (size_t)(b.ptr + b.len - in_b)));
}

/* Somebody failed, or a mail came back: else a shop's words about a parcel would do. */
static bool
names_mail(const struct reader *r)
{
	struct slice to;
	size_t at = 0;

	if (r->prose.count == 1 && bounce_text_address(mail_field(r->mail, "To"), &at, &to) &&
	    is_same_domain(r->prose.recipients[0].address, to))
		return r->notice->original.len > 0 ||
		    (!slice_equal_nocase(r->prose.recipients[0].address, to) &&
			codes_find(r->prose.notice).code != 0);
	return r->prose.count > 0 || r->notice->original.len > 0;
}

/* Its words alone say why, whatever code it has. */
static bool
tells_by_words(struct slice text)
{
	static const uint16_t none[3];
	struct classify_verdict verdict = verdict_of_words(0, none, text);

	return says_much(&verdict);
}

/* A mail system's own address returns an address that stands by itself: no word is needed to know
 * what that is, only that nobody answered somebody. */
static bool
is_wordless_notice(const struct reader *r)
{
	return r->prose.rank >= BOUNCE_TEXT_REPLY &&
	    phrases_has(&r->in_from, MARK_DAEMON_ADDRESS) &&
	    !slice_equal_nocase(r->prose.recipients[0].address, own_address(r->mail)) &&
	    (r->is_null_path ||
		(mail_field(r->mail, "In-Reply-To").len == 0 &&
		    (codes_find(r->prose.recipients[0].text).code != 0 ||
			(r->notice->original.len > 0 &&
			    tells_by_words(r->prose.recipients[0].text)))));
}

/* "User unknown: a@b" as subject. */
static struct slice
names_in_subject(const struct reader *r)
{
	struct slice address;
	size_t at = 0;

	return bounce_text_address(r->subject, &at, &address) &&
		!slice_equal_nocase(address, own_address(r->mail))
	    ? address
	    : nothing;
}

/* A mail that came back, or a reply's code. */
static bool
has_proof(const struct reader *r)
{
	return r->notice->original.len > 0 || codes_find(r->prose.notice).code != 0;
}

/* Whoever it is names nobody but us, or, with a return path of his own, nobody but those of our
 * house; and no reply and no mail that came back: he wants us to click. */
static bool
is_about_us(const struct reader *r)
{
	struct slice to = nothing;
	size_t at = 0;
	bool is_house = mail_field(r->mail, "Return-Path").len > 0 && !r->is_null_path &&
	    !(phrases_has(&r->in_from, MARK_DAEMON_ADDRESS) &&
		phrases_has(&r->in_subject, MARK_BOUNCE_SUBJECT));

	if (has_proof(r) || (!is_house && r->prose.count == 0))
		return false;
	(void)bounce_text_address(mail_field(r->mail, "To"), &at, &to);
	for (size_t i = 0; i < r->prose.count; i++)
		if (!slice_equal_nocase(r->prose.recipients[i].address, to) &&
		    !(is_house && is_same_domain(r->prose.recipients[i].address, to)))
			return false;
	return true;
}

/* The writer speaks of nobody but himself, or, with a return path of his own, of somebody in his
 * house without a reply's code and not in a line by itself: a person, a shop, a program that answers
 * for a mailbox. */
static bool
is_about_writer(const struct reader *r)
{
	struct slice from = nothing;
	size_t at = 0;
	bool is_house = !r->is_null_path && r->prose.rank < BOUNCE_TEXT_LINE &&
	    codes_find(r->prose.notice).code == 0;

	if (r->is_system || r->prose.count == 0 || r->notice->original.len > 0 ||
	    !bounce_text_address(mail_field(r->mail, "From"), &at, &from))
		return false;
	for (size_t i = 0; i < r->prose.count; i++)
		if (!slice_equal_nocase(r->prose.recipients[i].address, from) &&
		    !(is_house && is_same_domain(r->prose.recipients[i].address, from)))
			return false;
	return true;
}

/* From the null path with a reply and its enhanced code (either, from a mail system), and an
 * address: what else would say so? */
static bool
is_coded_notice(const struct reader *r)
{
	/* the return path may have been lost on the way */
	bool is_sender_gone = mail_field(r->mail, "Return-Path").len == 0 &&
	    mail_field(r->mail, "In-Reply-To").len == 0 &&
	    phrases_has(&r->in_from, MARK_DAEMON_ADDRESS);
	struct codes codes;

	if (!(r->is_null_path || is_sender_gone) ||
	    (r->prose.lone.len == 0 &&
		(r->prose.count == 0 ||
		    is_same_domain(r->prose.recipients[0].address, own_address(r->mail)))) ||
	    is_reply(r) || phrases_has(&r->in_subject, MARK_AUTO_SUBJECT) ||
	    mail_field(r->mail, "List-Id").len > 0)
		return false;
	codes = codes_find(r->prose.notice);
	return r->is_system ? codes.code >= 400 || codes.enhanced[0] >= 4
			    : codes.code >= 400 && codes.enhanced[0] != 0;
}

static bool
speaks_of_goods(const struct reader *r)
{
	return words_match(r->front,
	    "package|parcel|shipment|tracking number|courier|paket|sendungsnummer|colis|paquete|"
	    "pacco|pacote|encomenda|pakket|paczk|посылк|荷物|包裹|택배|kargo");
}

/* A mail, not a parcel or a payment, could not be delivered. */
static bool
speaks_of_mail(struct reader *r)
{
	struct slice text = lines_but(r, slice_cut(r->prose.notice, FRONT_MAX), is_footer);

	return r->prose.rank == BOUNCE_TEXT_LINE ||
	    words_match(normalise(r, text),
		"mail|message|nachricht|bericht|courriel|mensaje|mensagem|messaggio|meddeland|"
		"melding|"
		"besked|viesti|wiadomo|zprav|sprava|level|mesaj|письмо|сообщени|μηνυμα|メール|"
		"メッセージ|邮件|郵件|메일|메시지");
}

/* From no mail system, with the way out that the law asks of those who sell. */
static bool
is_offer(const struct reader *r)
{
	return !r->is_daemon &&
	    words_match(r->front,
		"unsubscribe|abmelden|desinscri|desabonner|darse de baja|descadastr|annulla "
		"iscrizione|"
		"配信停止|退订|수신거부");
}

/* A list of what a gateway, a log or a program saw since yesterday. */
static bool
is_summary(const struct reader *r)
{
	return words_match(r->subject,
	    "quarantine summary|quarantine digest|quarantine report|spam digest|spam summary|"
	    "spam report|spam quarantine|daily report|weekly report|daily summary|log summar|"
	    "logwatch|quarantänebericht|隔離レポート|隔離通知|隔离通知");
}

/* From no mail system's path, and it names nobody who failed, nor a reply, nor a mail. */
static bool
tells_nothing(const struct reader *r)
{
	return r->is_own_path && r->prose.count == 0 && r->prose.lone.len == 0 && !has_proof(r) &&
	    names_in_subject(r).len == 0;
}

/* The return path is the address in From, and no mail system's: somebody wrote it himself. */
static bool
is_of_person(const struct reader *r)
{
	struct slice from = nothing, path = nothing;
	size_t at = 0, path_at = 0;

	return r->is_own_path && !r->is_system &&
	    bounce_text_address(mail_field(r->mail, "From"), &at, &from) &&
	    bounce_text_address(mail_field(r->mail, "Return-Path"), &path_at, &path) &&
	    slice_equal_nocase(from, path);
}

/* Its first paragraph is a mail system's; a person says something before he shows a notice. */
static bool
begins_with_frame(const struct reader *r)
{
	char bytes[FRAME_MAX];
	struct slice first = slice_trim(r->prose.notice);
	const char *end = first.len > 0 ? memmem(first.ptr, first.len, "\n\n", 2) : NULL;

	if (end != NULL)
		first.len = (size_t)(end - first.ptr);
	return marks_match(
	    words_normalise(slice_cut(first, sizeof(bytes)), bytes, false), MARK_FRAME);
}

/* Is it the failure notice of a mail system? */
static bool
is_bounce_prose(struct reader *r)
{
	bool has_frame = phrases_has(&r->in_front, MARK_FRAME);
	bool has_subject = phrases_has(&r->in_subject, MARK_BOUNCE_SUBJECT) ||
	    phrases_has(&r->in_subject, MARK_DELAY_SUBJECT);
	bool has_failed = mail_field(r->mail, "X-Failed-Recipients").len > 0;
	bool is_sure = r->prose.rank >= BOUNCE_TEXT_SENTENCE;

	if (!r->mail->has_header)
		return has_frame && is_sure;
	if (is_reply(r) || (is_about_us(r) && !has_failed) || is_about_writer(r) || is_offer(r) ||
	    is_summary(r) || tells_nothing(r) || (is_of_person(r) && !begins_with_frame(r)))
		return false;
	if (has_failed ||
	    (r->is_daemon && has_subject &&
		(has_frame || r->prose.count > 0 || r->notice->original.len > 0)))
		return true;
	if (r->is_system && (has_subject || phrases_has(&r->in_front, MARK_DELAY)) &&
	    (is_sure || names_in_subject(r).len > 0))
		return true;
	if (has_frame &&
	    (r->is_daemon ||
		(has_subject && names_mail(r) &&
		    (has_proof(r) || (is_sure && speaks_of_mail(r) && !speaks_of_goods(r))))))
		return true;
	if (is_wordless_notice(r) || is_coded_notice(r))
		return true;
	/* the outer header was replaced on the way */
	return has_frame && r->prose.rank >= BOUNCE_TEXT_LABEL && begins_with_frame(r) &&
	    codes_find(r->prose.recipients[0].text).code != 0;
}

static bool
is_delay_prose(const struct reader *r)
{
	if (phrases_has(&r->in_front, MARK_DELAY) && !phrases_has(&r->in_front, MARK_FINAL))
		return true;
	return phrases_has(&r->in_subject, MARK_DELAY_SUBJECT) &&
	    !words_match(r->front, "given up|giving up|failed permanently|permanent");
}

static bool
has_codes(struct codes c)
{
	return c.code != 0 || c.enhanced[0] != 0;
}

static struct slice
first_line(struct slice s)
{
	const char *end = s.len > 0 ? memchr(s.ptr, '\n', s.len) : NULL;

	return slice_make(s.ptr, end != NULL ? (size_t)(end - s.ptr) : s.len);
}

/* Lines elsewhere in the notice that name the address and hold a code; or the address stands alone
 * in its line, and the code in the paragraph below, before another address. The last such place. */
static struct slice
line_about(struct slice notice, struct slice address)
{
	struct slice found = nothing;

	while (notice.len > 0) {
		struct slice line = first_line(notice), alone = slice_trim(line);
		size_t len = line.len + (line.len < notice.len);
		const char *end;

		notice = slice_make(notice.ptr + len, notice.len - len);
		if (line.len < address.len || line.len >= ABOUT_MAX ||
		    memmem(line.ptr, line.len, address.ptr, address.len) == NULL)
			continue;
		if (slice_equal_nocase(alone, address) && notice.len > 0) {
			line = slice_cut(notice, ABOUT_MAX);
			end = memmem(line.ptr, line.len, "\n\n", 2);
			line.len = end != NULL ? (size_t)(end - line.ptr) : line.len;
			end = memchr(line.ptr, '@', line.len);
			if (end != NULL) /* of another */
				end = memrchr(line.ptr, '\n', (size_t)(end - line.ptr));
			line.len = end != NULL ? (size_t)(end - line.ptr) : line.len;
		}
		if (has_codes(codes_find(line)))
			found = line;
	}
	return found;
}

static bool
is_some_told(const struct bounce_text *prose)
{
	for (size_t i = 0; i < prose->count; i++)
		if (has_codes(codes_find(prose->recipients[i].text)) ||
		    tells_by_words(prose->recipients[i].text))
			return true;
	return false;
}

static int
read_prose_recipient(
    struct reader *r, struct slice address, struct slice text, bool is_only, enum dsn_action action)
{
	struct notice_recipient *out = notice_add(r->notice, r->arena);
	struct slice notice = lines_but(r, slice_cut(r->prose.notice, FRONT_MAX * 2), is_footer);
	struct codes codes = codes_find(text);
	struct slice said; /* what is judged: where the code stands, unless text says more */

	if (out == NULL)
		return r->notice->count == NOTICE_RECIPIENTS_MAX ? 0 : -1;
	said = text;
	if (!has_codes(codes) && r->notice->count <= 20) {
		struct slice line = line_about(notice, address);

		if (line.len == 0 && is_only)
			line = notice;
		codes = codes_find(line);
		if (has_codes(codes) && !tells_by_words(text))
			said = line;
		if (text.len == 0)
			text = line;
	}
	/* of several, what is said of another one is not about this */
	if (text.len == 0 && (is_only || !r->some_told))
		text = notice;
	if (said.len == 0)
		said = text;
	out->action = action;
	out->address = feedback_text(r->arena, address, FEEDBACK_ADDRESS_MAX);
	out->text = feedback_text(r->arena, text, OUTCOME_TEXT_MAX);
	take_codes(out, codes);
	judge(out, said, is_only || !r->some_told ? notice : nothing);
	return 0;
}

/* The addresses of X-Failed-Recipients with what the prose says about them. */
static int
read_failed_field(struct reader *r, struct slice field, enum dsn_action action)
{
	struct slice address, second;
	size_t at = 0, ahead = 0;
	bool is_only = bounce_text_address(field, &ahead, &address) &&
	    !bounce_text_address(field, &ahead, &second);

	while (bounce_text_address(field, &at, &address)) {
		struct slice text = nothing;

		for (size_t i = 0; i < r->prose.count; i++)
			if (slice_equal_nocase(r->prose.recipients[i].address, address))
				text = r->prose.recipients[i].text;
		if (read_prose_recipient(r, address, text, is_only, action) < 0)
			return -1;
	}
	return 0;
}

/* A gateway wrapped the bounce of another system: 1 when that one says who failed. */
static int
read_wrapped(struct reader *r)
{
	const struct mail_part *part = mail_part(r->mail, MAIL_EMBEDDED);
	struct mail inner;
	struct notice notice;

	if (part == NULL || r->is_inner || !r->is_system)
		return 0;
	if (mail_read(&inner, mail_text_decode(r->arena, part->body, part->encoding), r->arena) <
		0 ||
	    read_notice(&notice, &inner, true, r->arena) < 0)
		return -1;
	if (strcmp(notice.source, "dsn") != 0 || notice.count == 0)
		return 0;
	*r->notice = notice;
	return 1;
}

static int
read_bounce_prose(struct reader *r)
{
	enum dsn_action action = is_delay_prose(r) ? DSN_DELAYED : DSN_FAILED;
	struct notice *notice = r->notice;
	const struct bounce_text *prose = &r->prose;
	bool is_sure = prose->rank >= BOUNCE_TEXT_COMMAND;
	struct slice address;

	if (prose->count == 0 && mail_field(r->mail, "X-Failed-Recipients").len == 0) {
		int wrapped = read_wrapped(r);
		if (wrapped != 0)
			return wrapped < 0 ? -1 : 0;
	}
	if (action == DSN_FAILED && phrases_has(&r->in_front, MARK_SUCCESS) &&
	    !phrases_has(&r->in_front, MARK_FAILURE))
		action = DSN_DELIVERED;
	notice->source = "text";
	r->some_told = is_some_told(prose);
	if (read_failed_field(r, mail_field(r->mail, "X-Failed-Recipients"), action) < 0)
		return -1;
	for (size_t i = 0; notice->count < prose->count && is_sure && i < prose->count; i++) {
		const struct bounce_text_recipient *p = &prose->recipients[i];
		bool is_known = mail_field(r->mail, "X-Failed-Recipients").len > 0;

		if (!is_known &&
		    read_prose_recipient(r, p->address, p->text, prose->count == 1, action) < 0)
			return -1;
	}
	address = notice->count == 0 ? fallback_address(r, 0) : nothing;
	if (address.len > 0 && read_prose_recipient(r, address, nothing, true, action) < 0)
		return -1;
	address = notice->count == 0 ? names_in_subject(r) : nothing;
	if (address.len > 0 && read_prose_recipient(r, address, r->subject, true, action) < 0)
		return -1;
	notice_settle(notice);
	if (notice->count == 0)
		notice->kind = action == DSN_DELAYED ? NOTICE_DELAYED : NOTICE_BOUNCE;
	notice->reason = notice_kind_name(notice->kind);
	return 0;
}

/* ---------------------------------------------------------------- auto-replies */

static struct slice
first_word(struct slice value)
{
	size_t n = 0;

	while (n < value.len && value.ptr[n] != ';' && value.ptr[n] != '(' && value.ptr[n] != ' ' &&
	    value.ptr[n] != '\t')
		n++;
	return slice_make(value.ptr, n);
}

/* RFC 3834 section 5, and what is used in its place. auto-generated alone is a notification. */
static bool
is_auto_reply(const struct reader *r)
{
	static const char *const present[] = { "X-Autoreply", "X-Autorespond", "X-Auto-Reply-From",
		"X-Mail-Autoreply", "X-Autoresponder", "X-Vacation" };
	struct slice submitted = first_word(mail_field(r->mail, "Auto-Submitted"));
	struct slice precedence = first_word(mail_field(r->mail, "Precedence"));
	bool has_subject = phrases_has(&r->in_subject, MARK_AUTO_SUBJECT);
	bool is_list = mail_field(r->mail, "List-Id").len > 0 ||
	    mail_field(r->mail, "List-Unsubscribe").len > 0;

	if (slice_starts_nocase(submitted, SLICE("auto-replied")) ||
	    slice_starts_nocase(precedence, SLICE("auto_reply")) ||
	    slice_starts_nocase(precedence, SLICE("auto-reply")) ||
	    slice_starts_nocase(mail_field(r->mail, "X-Autogenerated"), SLICE("Reply")))
		return true;
	for (size_t i = 0; i < sizeof(present) / sizeof(*present); i++)
		if (mail_field(r->mail, present[i]).len > 0)
			return true;
	/* Exchange asks other programs for silence in all it answers by itself */
	if (r->is_null_path && mail_field(r->mail, "X-Auto-Response-Suppress").len > 0)
		return true;
	if (submitted.len > 0 && !slice_equal_nocase(submitted, SLICE("no")) &&
	    ((r->is_null_path && !r->is_system) || has_subject ||
		(mail_field(r->mail, "In-Reply-To").len > 0 && !is_list)))
		return true;
	return has_subject && !is_list;
}

static bool
is_challenge(struct reader *r)
{
	return phrases_has(&r->in_front, MARK_CHALLENGE) ||
	    phrases_has(&r->in_from, MARK_CHALLENGE);
}

/* No failed address but perhaps our own, or one that a person's guard names; and no reply of a host. */
static bool
names_nobody(const struct reader *r)
{
	return mail_field(r->mail, "X-Failed-Recipients").len == 0 &&
	    (r->prose.count == 0 || !r->is_system ||
		(r->prose.count == 1 &&
		    slice_equal_nocase(r->prose.recipients[0].address, own_address(r->mail)))) &&
	    codes_find(r->prose.notice).code == 0;
}

/* ---------------------------------------------------------------- the whole */

static int
settle(struct reader *r, enum notice_kind kind, const char *reason)
{
	r->notice->kind = kind;
	r->notice->reason = reason;
	return 0;
}

/* A receipt asks nothing of us; but Sieve (RFC 5429 2.1.2) and Dovecot refuse mail by one. */
static int
read_receipt(struct reader *r)
{
	if (read_prose(r) < 0)
		return -1;
	if (words_match(r->front, "automatically rejected") && r->prose.count > 0)
		return read_bounce_prose(r);
	return settle(r, NOTICE_OTHER, "read_receipt");
}

/* What is neither report nor receipt. */
static int
read_unmarked(struct reader *r)
{
	struct notice *notice = r->notice;
	struct slice report;
	bool has_subject;

	if (read_prose(r) < 0)
		return -1;
	if (notice->original.len == 0)
		notice->original = find_original(r);
	report = complaint_in_text(r->text);
	if (report.len > 0 && !is_reply(r))
		return read_complaint(r, report, "arf");
	if (is_bare_complaint(r) && !is_reply(r))
		return read_complaint(r, nothing, "arf");
	report = report_in_text(r->text);
	has_subject = phrases_has(&r->in_subject, MARK_BOUNCE_SUBJECT);
	if (report.len > 0 && !is_reply(r) &&
	    (r->is_daemon || has_subject || !r->mail->has_header)) {
		/* its fields are no prose */
		int result =
		    read_text(r, slice_make(r->text.ptr, (size_t)(report.ptr - r->text.ptr)));

		result = result < 0 ? -1 : read_report(r, without_indent(r, report));
		if (result != 0)
			return result < 0 ? -1 : 0;
		if (read_text(r, r->text) < 0)
			return -1;
	}
	if (is_bounce_prose(r) &&
	    !(is_auto_reply(r) && r->prose.count == 0 && !r->is_system && !is_coded_notice(r)) &&
	    !((is_auto_reply(r) || !r->is_system) && is_challenge(r) && names_nobody(r)))
		return read_bounce_prose(r);
	if (is_auto_reply(r))
		return settle(r, NOTICE_AUTO_REPLY, is_challenge(r) ? "challenge" : "auto_reply");
	if (is_challenge(r) && (r->is_daemon || phrases_has(&r->in_subject, MARK_CHALLENGE)))
		return settle(r, NOTICE_AUTO_REPLY, "challenge");
	return settle(r, NOTICE_OTHER, "unrecognised");
}

static int
read_notice(struct notice *notice, const struct mail *mail, bool is_inner, struct arena *arena)
{
	struct reader r = { .notice = notice, .mail = mail, .arena = arena, .is_inner = is_inner };
	const struct mail_part *status = mail_part(mail, MAIL_STATUS);
	const struct mail_part *feedback = mail_part(mail, MAIL_FEEDBACK);
	int result;

	memset(notice, 0, sizeof(*notice));
	notice->source = "mail";
	look_at_header(&r);
	notice->original = find_original(&r);
	if (status != NULL) {
		result = read_report(&r, mail_part_text(status, arena));
		if (result < 0)
			return -1;
		if (result == 0) {
			if (read_prose(&r) < 0)
				return -1;
			if (is_bounce_prose(&r))
				return read_bounce_prose(&r);
			return settle(&r, NOTICE_OTHER, "report_unreadable");
		}
		if (notice->kind == NOTICE_BOUNCE && words_match(r.from, "boxbe|bluebottle"))
			return settle(&r, NOTICE_AUTO_REPLY, "challenge");
		return 0;
	}
	if (feedback != NULL)
		return read_complaint(&r, mail_part_text(feedback, arena), "arf");
	if (mail_part(mail, MAIL_RECEIPT) != NULL)
		return read_receipt(&r);
	if (mail_part(mail, MAIL_TLS) != NULL)
		return settle(&r, NOTICE_OTHER, "tls_report");
	return read_unmarked(&r);
}

int
notice_read(struct notice *notice, const struct mail *mail, struct arena *arena)
{
	return read_notice(notice, mail, false, arena);
}
