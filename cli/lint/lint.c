/* SPDX-License-Identifier: Apache-2.0 */
/* lint: see lint.h. Here are the table, and what the rules share; they are in lint_head.c
 * (sender, subject, fields, size) and lint_body.c (HTML, links, what the law asks for). */
#include "lint.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lint_rules.h"
#include "message.h"
#include "mime.h"
#include "utf8.h"

#define SHOWN_MAX 80 /* bytes of foreign text in a message */

#define RULE(name, severity, function, advice, example)                                            \
	{                                                                                          \
		name, severity, advice, example, function                                          \
	}

static const struct lint_rule rules[] = {
	RULE("css-external", LINT_WARNING, lint_css_external,
	    "put the style into the mail: mail programs load no style sheet",
	    "<style>p { color: #333 }</style>, or better <p style=\"color:#333\">"),
	RULE("field-absent", LINT_WARNING, lint_field_absent,
	    "write {{default NAME \"…\"}} or an #if around it, or leave those customers out of the "
	    "segment",
	    "{{default name \"customer\"}}"),
	RULE("field-no-default", LINT_NOTE, lint_field_no_default,
	    "give the field a default, unless a customer without it is not to be written to",
	    "{{default city \"your town\"}}"),
	RULE("field-raw", LINT_WARNING, lint_field_raw,
	    "write two braces, unless the field holds HTML that you made yourself", "{{name}}"),
	RULE("from-free-mail", LINT_ERROR, lint_from_free_mail,
	    "send from a domain of your own: the owner of this one lets nobody else (DMARC)",
	    "from = Shop <news@shop.example>"),
	RULE("html-unbalanced", LINT_WARNING, lint_html_unbalanced,
	    "close what is open, in order: mail programs guess, each its own way",
	    "<table><tr><td>…</td></tr></table>"),
	RULE("image-only", LINT_WARNING, lint_image_only,
	    "say it in words as well: many readers see no images, and filters see nothing else",
	    "<p>Our December sale begins today.</p><img …>"),
	RULE("image-without-alt", LINT_WARNING, lint_image_without_alt,
	    "say in alt what the image says, or alt=\"\" when it says nothing",
	    "<img src=\"https://shop.example/tea.jpg\" alt=\"New tea\" width=\"560\" "
	    "height=\"300\">"),
	RULE("image-without-size", LINT_WARNING, lint_image_without_size,
	    "give width and height, so that the page stands before the image is there",
	    "<img src=\"https://shop.example/tea.jpg\" alt=\"New tea\" width=\"560\" "
	    "height=\"300\">"),
	RULE("line-too-long", LINT_ERROR, lint_line_too_long,
	    "break the line: relays cut or refuse more than 998 bytes (RFC 5322 2.1.1)",
	    "a header field of several short words"),
	RULE("link-not-https", LINT_WARNING, lint_link_not_https,
	    "write https: http is shown as unsafe or not at all", "https://shop.example/news"),
	RULE("link-other-host", LINT_ERROR, lint_link_other_host,
	    "show the host that the link goes to: filters take this for phishing",
	    "<a href=\"https://shop.example/\">shop.example</a>"),
	RULE("link-relative", LINT_ERROR, lint_link_relative,
	    "write the whole address: a mail has no page to be relative to",
	    "<a href=\"https://shop.example/sale\">"),
	RULE("no-contact", LINT_WARNING, lint_no_contact,
	    "say where complaints and questions go: an address, telephone number or page (Act on "
	    "Specified Electronic Mail, ordinance)",
	    "お問い合わせ: https://shop.example/contact, or reply_to = help@shop.example"),
	RULE("no-from-name", LINT_WARNING, lint_no_from_name,
	    "give the sender a name: lists show it before the subject",
	    "from = Shop <news@shop.example>"),
	RULE("no-list", LINT_NOTE, lint_no_list,
	    "name the list: without it the stream is the List-Id, and who unsubscribes leaves all "
	    "of the stream",
	    "list = news"),
	RULE("no-list-unsubscribe", LINT_ERROR, lint_no_list_unsubscribe,
	    "give the stream an unsubscribe_base or set feedback.domain: Gmail and Yahoo refuse "
	    "bulk mail without List-Unsubscribe",
	    "UPDATE kairan.stream SET unsubscribe_base = 'https://u.shop.example/u/' WHERE name = "
	    "'marketing'"),
	RULE("no-one-click", LINT_WARNING, lint_no_one_click,
	    "give the stream an unsubscribe_base with https: Gmail and Yahoo ask bulk senders for "
	    "one click (RFC 8058)",
	    "UPDATE kairan.stream SET unsubscribe_base = 'https://u.shop.example/u/' WHERE name = "
	    "'marketing'"),
	RULE("no-optout-words", LINT_WARNING, lint_no_optout_words,
	    "say beside the link that one can unsubscribe there (Act on Specified Electronic Mail, "
	    "Article 4)",
	    "配信停止はこちら, or: Unsubscribe"),
	RULE("no-postal-address", LINT_ERROR, lint_no_postal_address,
	    "give the sender's postal address, or link to the page that has it (Act on Specified "
	    "Electronic Mail, Article 4; CAN-SPAM wants it in the mail)",
	    "青葉ストア株式会社 〒980-0000 宮城県仙台市青葉区1-1"),
	RULE("no-preheader", LINT_NOTE, lint_no_preheader,
	    "begin with a hidden line for the list of mails, which shows it behind the subject",
	    "<div style=\"display:none\">New tea and the ceramics of autumn</div>"),
	RULE("no-reply", LINT_WARNING, lint_no_reply,
	    "set reply_to to an address that somebody reads: readers answer, and their answers "
	    "count",
	    "reply_to = help@shop.example"),
	RULE("no-sender-name", LINT_ERROR, lint_no_sender_name,
	    "name the sender in the text, as From does or as a company is registered (Act on "
	    "Specified Electronic Mail, Article 4)",
	    "青葉ストア株式会社"),
	RULE("no-text-part", LINT_WARNING, lint_no_text_part,
	    "write a text part: what is made from the HTML is seldom what you would say",
	    "text = newsletter.txt"),
	RULE("no-unsubscribe-link", LINT_ERROR, lint_no_unsubscribe_link,
	    "put {{unsubscribe_url}} into it (Act on Specified Electronic Mail, Article 3; Gmail "
	    "and Yahoo ask for a link that is seen)",
	    "<a href=\"{{unsubscribe_url}}\">配信停止はこちら</a>"),
	RULE("not-looked-up", LINT_NOTE, lint_not_looked_up,
	    "run it again with the database to learn who lacks a field and whether the stream has "
	    "a "
	    "way out",
	    "KAIRAN_DATABASE_URL=postgresql://… kairan campaign lint news.campaign"),
	RULE("over-3mb", LINT_ERROR, lint_over_carrier,
	    "make it smaller: au refuses mails of more than 3 MB", "images by link"),
	RULE("over-102kb", LINT_WARNING, lint_over_gmail,
	    "make it smaller: Gmail cuts the end off, and with it the link to unsubscribe",
	    "fewer sections; styles once in <style>"),
	RULE("over-size", LINT_ERROR, lint_over_size,
	    "no way out takes it, and campaign start refuses it", "files by link"),
	RULE("ses-content", LINT_ERROR, lint_ses_content,
	    "leave it out, or let the stream send whole mails, which carry everything",
	    "UPDATE kairan.stream SET ses_content = 'raw' WHERE name = 'marketing'"),
	RULE("subject-encoding", LINT_WARNING, lint_subject_encoding,
	    "write the subject as plain text: it is encoded when it is sent",
	    "subject = 11月のお知らせ"),
	RULE("subject-long", LINT_WARNING, lint_subject_long,
	    "say it in fewer words, the most important ones first: telephones show about 40 "
	    "columns",
	    "subject = News of November"),
	RULE("tag-unsupported", LINT_ERROR, lint_tag_unsupported,
	    "take it out: mail programs drop it, and filters count it against you",
	    "a link to a page that has it"),
	RULE("tracking-words", LINT_NOTE, lint_tracking_words,
	    "think of whether you need to follow readers here: filters and readers know these "
	    "marks",
	    "https://shop.example/november"),
	RULE("url-shortener", LINT_ERROR, lint_url_shortener,
	    "link to your own host: filters block shorteners, whoever uses them",
	    "https://shop.example/december"),
};

#define RULES (sizeof(rules) / sizeof(rules[0]))

const struct lint_rule *
lint_rules(size_t *count)
{
	*count = RULES;
	return rules;
}

const struct lint_rule *
lint_rule_by_id(const char *id)
{
	for (size_t i = 0; i < RULES; i++)
		if (strcmp(rules[i].id, id) == 0)
			return &rules[i];
	return NULL;
}

const char *
lint_severity_name(enum lint_severity severity)
{
	static const char *const names[LINT_SEVERITIES] = { "note", "warning", "error" };

	return names[severity];
}

enum lint_unsubscribe
lint_unsubscribe_by(const char *unsubscribe_base, const char *mail_domain)
{
	if (slice_starts_nocase(slice_str(unsubscribe_base), SLICE("https:")))
		return LINT_UNSUBSCRIBE_HTTPS;
	if (unsubscribe_base[0] != '\0')
		return LINT_UNSUBSCRIBE_HTTP;
	return mail_domain[0] != '\0' ? LINT_UNSUBSCRIBE_MAILTO : LINT_UNSUBSCRIBE_NONE;
}

/* ---------------------------------------------------------------- findings */

static bool
more_room(struct lint *l)
{
	size_t capacity = l->capacity > 0 ? l->capacity * 2 : 64;
	struct lint_finding *grown;

	if (l->count < l->capacity)
		return true;
	grown = arena_array(l->arena, capacity, sizeof(*grown));
	if (grown == NULL) {
		l->failed = true;
		return false;
	}
	if (l->count > 0)
		memcpy(grown, l->findings, l->count * sizeof(*grown));
	l->findings = grown;
	l->capacity = capacity;
	return true;
}

/* "what is there: what to do". */
static void
add(struct lint *l, const char *file, size_t line, size_t column, const char *format, va_list args)
{
	char text[900];
	const char *copy;
	int n;

	if (++l->of_rule > LINT_RULE_FINDINGS_MAX || !more_room(l))
		return;
	if (l->of_rule == LINT_RULE_FINDINGS_MAX) {
		line = column = 0;
		n = snprintf(text, sizeof(text), "there is more of this kind");
	} else {
		n = vsnprintf(text, sizeof(text) / 2, format, args);
	}
	if (n >= (int)sizeof(text) / 2)
		n = (int)sizeof(text) / 2 - 1;
	if (n >= 0)
		(void)snprintf(text + n, sizeof(text) - (size_t)n, ": %s", l->rule->advice);
	for (size_t i = l->count; i > 0 && l->findings[i - 1].rule == l->rule; i--)
		if (file != NULL && strcmp(l->findings[i - 1].file, file) == 0 &&
		    strcmp(l->findings[i - 1].text, text) == 0 && l->findings[i - 1].line == line &&
		    l->findings[i - 1].column == column)
			return; /* a partial that is used twice */
	copy = arena_str(l->arena, text);
	if (copy == NULL || file == NULL) {
		l->failed = true;
		return;
	}
	l->findings[l->count++] = (struct lint_finding){ l->rule, file, line, column, copy };
}

/* As people open it, with the part of a file of Amazon SES. */
static const char *
file_of(struct lint *l, const struct campaign_place *place, enum campaign_part part)
{
	char *file;
	size_t size;

	if (place->path == NULL)
		return campaign_part_name(part);
	if (place->part[0] == '\0')
		return place->path;
	size = strlen(place->path) + strlen(place->part) + 1;
	file = arena_alloc(l->arena, size);
	if (file != NULL)
		(void)snprintf(file, size, "%s%s", place->path, place->part);
	return file;
}

void
lint_at(struct lint *l, enum campaign_part part, const char *at, const char *format, ...)
{
	struct slice text = campaign_part_text(l->in->source, part);
	size_t offset = at >= text.ptr && at <= text.ptr + text.len ? (size_t)(at - text.ptr) : 0;
	struct campaign_place place;
	va_list args;

	if (l->of_rule >= LINT_RULE_FINDINGS_MAX)
		return;
	place = campaign_part_place(l->in->source, part, offset);
	if (part == CAMPAIGN_SUBJECT && l->in->source->path != NULL) {
		/* a subject of Amazon SES is found by the line that names its file */
		place.path = l->in->source->path;
		if (l->in->source->file.template[0] != '\0')
			place.line = l->in->source->file.template_line;
	}
	va_start(args, format);
	/* the column of a subject is that in its value, which begins behind the key */
	add(l, file_of(l, &place, part), place.line, part == CAMPAIGN_SUBJECT ? 0 : place.column,
	    format, args);
	va_end(args);
}

void
lint_whole(struct lint *l, const char *format, ...)
{
	const char *path = l->in->source->path;
	va_list args;

	va_start(args, format);
	add(l, path != NULL ? path : l->in->source->file.name, 0, 0, format, args);
	va_end(args);
}

const char *
lint_shown(struct lint *l, struct slice text)
{
	char *shown, *p;
	size_t i = 0, n;

	text = slice_trim(text);
	shown = p = arena_alloc(l->arena, SHOWN_MAX + sizeof("…"));
	if (shown == NULL) {
		l->failed = true;
		return "";
	}
	while (i < text.len && (size_t)(p - shown) < SHOWN_MAX - 4) {
		size_t control = mime_control_at(text.ptr + i, text.len - i);

		n = utf8_char(text.ptr + i, text.len - i);
		if (control > 0 || n == 0) {
			if (p > shown && p[-1] != ' ')
				*p++ = ' ';
			i += control > 0 ? control : 1;
			continue;
		}
		memcpy(p, text.ptr + i, n);
		p += n;
		i += n;
	}
	(void)strcpy(p, i < text.len ? "…" : "");
	return shown;
}

/* ---------------------------------------------------------------- texts */

const char *
lint_find(struct slice text, struct slice word)
{
	char first = word.ptr[0], other = first;

	if ((first >= 'a' && first <= 'z') || (first >= 'A' && first <= 'Z'))
		other = (char)(first ^ ('a' ^ 'A'));
	for (size_t i = 0; i + word.len <= text.len; i++)
		if ((text.ptr[i] == first || text.ptr[i] == other) &&
		    slice_equal_nocase(slice_make(text.ptr + i, word.len), word))
			return text.ptr + i;
	return NULL;
}

bool
lint_has_word(struct slice text, const char *const *words)
{
	for (; *words != NULL; words++)
		if (lint_find(text, slice_str(*words)) != NULL)
			return true;
	return false;
}

struct slice
lint_url_host(struct slice url)
{
	const char *p;
	size_t n = 0;

	url = slice_trim(url);
	if (slice_starts_nocase(url, SLICE("https://")))
		url = slice_make(url.ptr + 8, url.len - 8);
	else if (slice_starts_nocase(url, SLICE("http://")))
		url = slice_make(url.ptr + 7, url.len - 7);
	else
		return SLICE("");
	while (n < url.len && strchr("/?#\"'<> \t\r\n", url.ptr[n]) == NULL)
		n++;
	url.len = n;
	p = memrchr(url.ptr, '@', url.len);
	if (p != NULL)
		url = slice_make(p + 1, url.len - (size_t)(p + 1 - url.ptr));
	p = memchr(url.ptr, ':', url.len);
	if (p != NULL)
		url.len = (size_t)(p - url.ptr);
	if (memchr(url.ptr, '{', url.len) != NULL)
		return SLICE("");
	return url;
}

/* Up to a blank, a quote, a bracket, or a condition of the template; fields belong to it. */
static size_t
url_len(struct slice s)
{
	size_t n = 0, tag;

	while (n < s.len && (unsigned char)s.ptr[n] > ' ' && strchr("\"'<>()", s.ptr[n]) == NULL) {
		struct slice rest = slice_make(s.ptr + n, s.len - n);

		tag = rest.len > 1 && memcmp(rest.ptr, "{{", 2) == 0 ? template_tag_len(rest) : 0;
		if (tag > 0 && lint_template_tag(slice_make(rest.ptr, tag)) != LINT_FIELD)
			break;
		n += tag > 0 ? tag : 1;
	}
	return n;
}

bool
lint_next_url(struct slice text, size_t *at, struct slice *url)
{
	while (*at < text.len) {
		const char *h =
		    lint_find(slice_make(text.ptr + *at, text.len - *at), SLICE("http"));
		struct slice rest;

		if (h == NULL)
			break;
		rest = slice_make(h, text.len - (size_t)(h - text.ptr));
		*at = (size_t)(h - text.ptr) + 4;
		if (!slice_starts_nocase(rest, SLICE("http://")) &&
		    !slice_starts_nocase(rest, SLICE("https://")))
			continue;
		*url = slice_make(h, url_len(rest));
		*at = (size_t)(h - text.ptr) + url->len;
		return true;
	}
	*at = text.len;
	return false;
}

bool
lint_host_in(struct slice host, struct slice domain)
{
	if (host.len < domain.len || domain.len == 0)
		return false;
	return slice_equal_nocase(
		   slice_make(host.ptr + (host.len - domain.len), domain.len), domain) &&
	    (host.len == domain.len || host.ptr[host.len - domain.len - 1] == '.');
}

/* ---------------------------------------------------------------- what a reader sees */

static struct slice
seen_html(struct lint *l)
{
	static const char *const hidden[] = { "title", "head", NULL };
	/* words go on over these */
	static const char *const inlines[] = { "a", "b", "i", "u", "em", "strong", "span", "font",
		"small", "big", "wbr", NULL };
	struct slice source = l->in->source->html;
	char *p, *start = p = arena_alloc(l->arena, source.len + 1);
	const struct lint_node *hides = NULL;

	if (start == NULL) {
		l->failed = true;
		return SLICE("");
	}
	for (size_t i = 0; i < l->html.count; i++) {
		const struct lint_node *n = &l->html.nodes[i];

		if (hides == NULL && n->kind == LINT_OPEN && lint_tag_in(n, hidden))
			hides = n;
		else if (hides != NULL && n->kind == LINT_CLOSE &&
		    slice_equal_nocase(n->text, hides->text))
			hides = NULL;
		if (n->kind == LINT_TEXT && hides == NULL) {
			memcpy(p, n->text.ptr, n->text.len);
			p += n->text.len;
		} else if ((n->kind == LINT_OPEN || n->kind == LINT_CLOSE) &&
		    !lint_tag_in(n, inlines)) {
			*p++ = '\n';
		}
	}
	return slice_make(start, (size_t)(p - start));
}

/* A text part without the tags of the template. */
static struct slice
seen_text(struct lint *l)
{
	struct slice s = l->in->source->text;
	char *p, *start = p = arena_alloc(l->arena, s.len + 1);
	size_t n;

	if (start == NULL) {
		l->failed = true;
		return SLICE("");
	}
	while (s.len > 0) {
		n = s.len > 1 && s.ptr[0] == '{' && s.ptr[1] == '{' ? template_tag_len(s) : 0;
		if (n == 0)
			*p++ = s.ptr[0];
		n = n > 0 ? n : 1;
		s = slice_make(s.ptr + n, s.len - n);
	}
	return slice_make(start, (size_t)(p - start));
}

int
lint_run(struct lint_report *report, const struct lint_input *input, struct arena *arena,
    struct err *err)
{
	struct lint l = { .in = input, .arena = arena };

	*report = (struct lint_report){ 0 };
	if (lint_html_read(&l.html, input->source->html, arena, err) != 0)
		return -1;
	l.seen[CAMPAIGN_HTML] = seen_html(&l);
	l.seen[CAMPAIGN_TEXT] = seen_text(&l);
	for (int severity = LINT_ERROR; severity >= LINT_NOTE; severity--) {
		size_t before = l.count;

		for (size_t i = 0; i < RULES && !l.failed; i++) {
			if ((int)rules[i].severity != severity)
				continue;
			l.rule = &rules[i];
			l.of_rule = 0;
			rules[i].check(&l);
		}
		report->by_severity[severity] = l.count - before;
	}
	if (l.failed)
		return err_set(err, "there is not enough memory to look at the campaign");
	report->findings = l.findings;
	report->count = l.count;
	return 0;
}
