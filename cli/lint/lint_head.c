/* SPDX-License-Identifier: Apache-2.0 */
/* lint_head: the rules about sender, subject, fields and size. */
#include "lint_rules.h"

#include <stdio.h>
#include <string.h>
#include <wchar.h>

#include "mime.h"
#include "utf8.h"

/* ---------------------------------------------------------------- sender */

static struct slice
from_domain(const struct lint *l)
{
	const char *at = strrchr(l->in->source->file.from_address, '@');

	return slice_str(at != NULL ? at + 1 : "");
}

void
lint_from_free_mail(struct lint *l)
{
	/* their owners publish DMARC for themselves, or their users' filters refuse the name from
	 * outside, as the carriers' do */
	static const char *const domains[] = { "gmail.com", "googlemail.com", "yahoo.co.jp",
		"yahoo.com", "ymail.com", "ymail.ne.jp", "yahoo.ne.jp", "hotmail.com",
		"hotmail.co.jp", "outlook.com", "outlook.jp", "live.com", "live.jp", "msn.com",
		"icloud.com", "me.com", "mac.com", "aol.com", "gmx.com", "gmx.de", "gmx.net",
		"web.de", "proton.me", "protonmail.com", "mail.ru", "yandex.ru", "qq.com",
		"163.com", "docomo.ne.jp", "au.com", "ezweb.ne.jp", "softbank.ne.jp",
		"i.softbank.jp", NULL };
	struct slice domain = from_domain(l);

	for (const char *const *d = domains; *d != NULL; d++)
		if (slice_equal_nocase(domain, slice_str(*d)))
			lint_whole(l, "the sender is at %s, where everybody has an address", *d);
}

void
lint_no_from_name(struct lint *l)
{
	if (l->in->source->file.from_name[0] == '\0')
		lint_whole(l, "from is an address without a name");
}

void
lint_no_reply(struct lint *l)
{
	static const char *const starts[] = { "no-reply", "noreply", "no_reply", "no.reply",
		"donotreply", "do-not-reply", "do_not_reply", NULL };
	const struct campaign_file *f = &l->in->source->file;
	const char *address = f->reply_to[0] != '\0' ? f->reply_to : f->from_address;

	for (const char *const *s = starts; *s != NULL; s++)
		if (slice_starts_nocase(slice_str(address), slice_str(*s)))
			lint_whole(l, "answers would go to %s", lint_shown(l, slice_str(address)));
}

void
lint_no_list(struct lint *l)
{
	if (l->in->source->file.list[0] == '\0')
		lint_whole(l, "there is no list");
}

void
lint_no_list_unsubscribe(struct lint *l)
{
	if (l->in->unsubscribe == LINT_UNSUBSCRIBE_NONE)
		lint_whole(l, "the stream \"%s\" has nowhere to unsubscribe",
		    lint_shown(l, slice_str(l->in->source->file.stream)));
}

void
lint_no_one_click(struct lint *l)
{
	if (l->in->unsubscribe == LINT_UNSUBSCRIBE_MAILTO ||
	    l->in->unsubscribe == LINT_UNSUBSCRIBE_HTTP)
		lint_whole(l, "List-Unsubscribe of the stream \"%s\" has %s",
		    lint_shown(l, slice_str(l->in->source->file.stream)),
		    l->in->unsubscribe == LINT_UNSUBSCRIBE_HTTP ? "http without s"
								: "a mail address only");
}

/* ---------------------------------------------------------------- subject */

/* Cells of a terminal, which are what lists of mails have room for. A field in brackets counts as
 * its name does. */
static size_t
columns_of(struct slice s, size_t *characters)
{
	size_t columns = 0, i = 0;

	*characters = 0;
	while (i < s.len) {
		unsigned char c = (unsigned char)s.ptr[i];
		size_t n = utf8_char(s.ptr + i, s.len - i);

		/* U+1100 up to U+115F, and nearly everything from U+2E80 on, is wide */
		columns += c >= 0xE3 || (c == 0xE2 && n == 3 && (unsigned char)s.ptr[i + 1] >= 0xBA)
		    ? 2
		    : 1;
		(*characters)++;
		i += n > 0 ? n : 1;
	}
	return columns;
}

void
lint_subject_long(struct lint *l)
{
	struct slice sample = slice_trim(buf_slice(&l->in->mail->subject));
	const char *at = campaign_part_text(l->in->source, CAMPAIGN_SUBJECT).ptr;
	size_t characters, columns = columns_of(sample, &characters);

	if (sample.len == 0)
		lint_at(l, CAMPAIGN_SUBJECT, at, "the subject is empty");
	else if (columns > LINT_SUBJECT_COLUMNS || sample.len > LINT_SUBJECT_BYTES)
		lint_at(l, CAMPAIGN_SUBJECT, at,
		    "the subject has %zu characters, %zu columns and %zu bytes (fields shown by "
		    "their names)",
		    characters, columns, sample.len);
}

void
lint_subject_encoding(struct lint *l)
{
	static const struct {
		const char *text, *what;
	} signs[] = { { "=?utf-8?", "is encoded already" },
		{ "=?iso-2022-jp?", "is encoded already" },
		{ "&amp;", "has a reference of HTML in it" },
		{ "&lt;", "has a reference of HTML in it" },
		{ "&gt;", "has a reference of HTML in it" },
		{ "&nbsp;", "has a reference of HTML in it" },
		{ "&quot;", "has a reference of HTML in it" },
		{ "&#", "has a reference of HTML in it" },
		{ "\xEF\xBF\xBD", "has U+FFFD in it, what is left of a broken character" } };
	struct slice subject = campaign_part_text(l->in->source, CAMPAIGN_SUBJECT);

	for (size_t i = 0; i < sizeof(signs) / sizeof(signs[0]); i++) {
		const char *at = lint_find(subject, slice_str(signs[i].text));

		if (at == NULL)
			continue;
		lint_at(l, CAMPAIGN_SUBJECT, at, "the subject %s: \"%s\"", signs[i].what,
		    lint_shown(l, slice_make(at, (size_t)(subject.ptr + subject.len - at))));
		return;
	}
}

/* ---------------------------------------------------------------- fields */

static const char *
place_of(const struct lint *l, enum campaign_part part, size_t at)
{
	struct slice text = campaign_part_text(l->in->source, part);

	return text.len > 0 ? text.ptr + (at <= text.len ? at : text.len) : NULL;
}

void
lint_field_raw(struct lint *l)
{
	const struct template *t = &l->in->templates->part[CAMPAIGN_HTML];
	size_t last = SIZE_MAX;

	for (size_t i = 0; i < t->count; i++) {
		const struct template_op *op = &t->ops[i];

		if (op->kind != TEMPLATE_OP_FIELD || op->at == last ||
		    (op->escape != TEMPLATE_RAW && op->escape != TEMPLATE_QUOTES &&
			op->escape != TEMPLATE_LINK_QUOTES))
			continue;
		last = op->at;
		lint_at(l, CAMPAIGN_HTML, place_of(l, CAMPAIGN_HTML, op->at),
		    "the field \"%s\" in three braces goes out as HTML",
		    lint_shown(l, op->ref.name));
	}
}

void
lint_field_no_default(struct lint *l)
{
	const struct campaign_templates *t = l->in->templates;

	if (strcmp(l->in->source->file.missing_field, "blank") == 0)
		return;
	for (size_t i = 0; i < t->fields.count; i++) {
		const struct campaign_field *f = &t->field[i];

		if (f->stops)
			lint_at(l, f->stops_part, place_of(l, f->stops_part, f->stops_at),
			    "a customer without the field \"%s\" gets no mail%s (missing_field = "
			    "%s)",
			    lint_shown(l, f->name), f->required ? "" : " where it is shown",
			    l->in->source->file.missing_field);
	}
}

void
lint_field_absent(struct lint *l)
{
	const struct campaign_templates *t = l->in->templates;
	bool blank = strcmp(l->in->source->file.missing_field, "blank") == 0;

	if (l->in->absent == NULL)
		return;
	for (size_t i = 0; i < t->fields.count; i++) {
		const struct campaign_field *f = &t->field[i];

		if (!f->stops || l->in->absent[i] <= 0)
			continue;
		lint_at(l, f->stops_part, place_of(l, f->stops_part, f->stops_at),
		    "%lld of %lld customers have no field \"%s\" and %s%s",
		    (long long)l->in->absent[i], (long long)l->in->customers,
		    lint_shown(l, f->name), blank ? "see nothing" : "get no mail",
		    f->required ? "" : " where it is shown");
	}
}

void
lint_not_looked_up(struct lint *l)
{
	const struct campaign_templates *t = l->in->templates;
	bool stream = l->in->unsubscribe == LINT_UNSUBSCRIBE_UNKNOWN, fields = false;

	for (size_t i = 0; i < t->fields.count; i++)
		fields |= t->field[i].stops && l->in->absent == NULL;
	if (l->in->not_asked != NULL && (stream || fields))
		lint_whole(l, "%s%s%s %s not looked up in the database: %s",
		    stream ? "the stream" : "", stream && fields ? " and " : "",
		    fields ? "the fields of customers" : "", fields ? "were" : "was",
		    l->in->not_asked);
}

/* The stream is asked for in the database; without it there is nothing to say. */
void
lint_ses_content(struct lint *l)
{
	if (l->in->mail->unfit.msg[0] != '\0')
		lint_whole(l, "%s", l->in->mail->unfit.msg);
}

/* ---------------------------------------------------------------- size */

static const char *
kilobytes(size_t bytes, char dst[40])
{
	(void)snprintf(dst, 40, "%zu.%zu kB", bytes >> 10, (bytes & 1023) * 10 >> 10);
	return dst;
}

void
lint_over_gmail(struct lint *l)
{
	size_t bytes = l->in->mail->eml.len;
	char wire[40], html[40];

	if (bytes > LINT_GMAIL_BYTES && bytes <= LINT_CARRIER_BYTES)
		lint_whole(l, "the mail has %s on the wire (its HTML %s before encoding)",
		    kilobytes(bytes, wire), kilobytes(l->in->mail->html.len, html));
}

void
lint_over_carrier(struct lint *l)
{
	char wire[40];

	if (l->in->mail->eml.len > LINT_CARRIER_BYTES)
		lint_whole(l, "the mail has %s on the wire", kilobytes(l->in->mail->eml.len, wire));
}

/* The relays are asked by the command. */
void
lint_over_size(struct lint *l)
{
	if (l->in->too_large != NULL)
		lint_whole(l, "%s", l->in->too_large);
}

void
lint_line_too_long(struct lint *l)
{
	struct slice rest = buf_slice(&l->in->mail->eml);

	for (size_t line = 1; rest.len > 0; line++) {
		const char *end = memchr(rest.ptr, '\n', rest.len);
		size_t n = end != NULL ? (size_t)(end - rest.ptr) + 1 : rest.len;
		size_t bytes = n;

		while (bytes > 0 && (rest.ptr[bytes - 1] == '\n' || rest.ptr[bytes - 1] == '\r'))
			bytes--;
		if (bytes > MIME_LINE_MAX)
			lint_whole(l, "line %zu of the mail has %zu bytes (\"%s\")", line, bytes,
			    lint_shown(l, slice_make(rest.ptr, bytes < 40 ? bytes : 40)));
		rest = slice_make(rest.ptr + n, rest.len - n);
	}
}
