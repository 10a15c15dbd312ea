/* SPDX-License-Identifier: Apache-2.0 */
/* lint_body: the rules about HTML, links, images and what the law wants a reader to see. */
#include "lint_rules.h"

#include <string.h>

#include "message.h"
#include "template.h"

#define IMAGE_ONLY_BYTES 100 /* of visible text: about 30 Japanese or 100 Latin letters */
#define OPEN_TAGS_MAX 200    /* inside each other */

static bool
has_field(struct slice s)
{
	return memmem(s.ptr, s.len, "{{", 2) != NULL;
}

static bool
starts_with_field(struct slice s)
{
	return s.len >= 2 && memcmp(s.ptr, "{{", 2) == 0;
}

/* The next start tag of a name from *i on; NULL behind the last. */
static const struct lint_node *
next_tag(const struct lint *l, size_t *i, const char *name)
{
	while (*i < l->html.count) {
		const struct lint_node *n = &l->html.nodes[(*i)++];

		if (n->kind == LINT_OPEN && lint_tag_is(n, name))
			return n;
	}
	return NULL;
}

/* ---------------------------------------------------------------- parts, law */

void
lint_no_text_part(struct lint *l)
{
	if (l->in->source->text.len == 0)
		lint_whole(l, "there is no text part");
}

/* The parts that a reader may see. */
static bool
has_part(const struct lint *l, enum campaign_part part)
{
	return campaign_part_text(l->in->source, part).len > 0;
}

/* A stream of receipts and the like needs no link to leave it. */
static bool
is_transactional(const struct lint *l)
{
	return strcmp(l->in->source->file.stream, "transactional") == 0;
}

static bool
uses_unsubscribe_url(const struct template *t)
{
	for (size_t i = 0; i < t->count; i++)
		if (t->ops[i].kind == TEMPLATE_OP_FIELD && t->ops[i].ref.scope == 0 &&
		    message_is_unsubscribe(t->ops[i].ref.field))
			return true;
	return false;
}

/* A page of the sender's own will do, when its address says what it is. */
static bool
links_to_unsubscribe(const struct lint *l, enum campaign_part part)
{
	static const char *const words[] = { "unsubscrib", "optout", "opt-out", "opt_out",
		"/haishin", NULL };
	struct slice url;
	size_t i = 0;
	const struct lint_node *a;

	if (part == CAMPAIGN_TEXT) {
		while (lint_next_url(l->seen[CAMPAIGN_TEXT], &i, &url))
			if (lint_has_word(url, words))
				return true;
		return false;
	}
	while ((a = next_tag(l, &i, "a")) != NULL) {
		const struct slice *href = lint_attr(a, "href");

		if (href != NULL && lint_has_word(*href, words))
			return true;
	}
	return false;
}

void
lint_no_unsubscribe_link(struct lint *l)
{
	for (enum campaign_part p = CAMPAIGN_HTML; p <= CAMPAIGN_TEXT; p++)
		if (has_part(l, p) && !is_transactional(l) &&
		    !uses_unsubscribe_url(&l->in->templates->part[p]) &&
		    !links_to_unsubscribe(l, p))
			lint_at(l, p, NULL, "the %s part has no link to unsubscribe",
			    campaign_part_name(p));
}

void
lint_no_optout_words(struct lint *l)
{
	static const char *const words[] = { "unsubscribe", "opt out", "opt-out", "stop receiving",
		"no longer wish", "配信停止", "配信の停止", "配信を停止", "配信解除", "配信の解除",
		"配信を解除", "購読解除", "購読の解除", "購読を解除", "購読停止", "登録解除",
		"登録の解除", "受信拒否", "受信停止", "退会", NULL };

	for (enum campaign_part p = CAMPAIGN_HTML; p <= CAMPAIGN_TEXT; p++)
		if (has_part(l, p) && !is_transactional(l) && !lint_has_word(l->seen[p], words))
			lint_at(l, p, NULL, "no words in the %s part say how to unsubscribe",
			    campaign_part_name(p));
}

/* One of the words of the sender's name that are longer than a letter. */
static bool
names_sender(struct slice text, const char *name)
{
	static const char blanks[] = " \t,.()";

	for (name += strspn(name, blanks); *name != '\0'; name += strspn(name, blanks)) {
		size_t n = strcspn(name, blanks);

		if (n > 1 && lint_find(text, slice_make(name, n)) != NULL)
			return true;
		name += n;
	}
	return false;
}

void
lint_no_sender_name(struct lint *l)
{
	static const char *const companies[] = { "株式会社", "有限会社", "合同会社", "合資会社",
		"一般社団法人", "一般財団法人", "公益財団法人", "公益社団法人", "医療法人",
		"学校法人", "（株）", "㈱", "K.K.", "Co., Ltd", "Co.,Ltd", " Inc.", " Ltd", " LLC",
		" GmbH", " Corporation", NULL };
	const char *name = l->in->source->file.from_name;

	for (enum campaign_part p = CAMPAIGN_HTML; p <= CAMPAIGN_TEXT; p++)
		if (has_part(l, p) && !names_sender(l->seen[p], name) &&
		    !lint_has_word(l->seen[p], companies))
			lint_at(l, p, NULL, "the %s part names no sender", campaign_part_name(p));
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
has_digits(struct slice s, size_t at, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (at + i >= s.len || !is_digit(s.ptr[at + i]))
			return false;
	return true;
}

/* 980-0000, which no longer number holds, as telephone numbers do. */
static bool
has_japanese_code(struct slice s)
{
	for (size_t i = 0; i + 8 <= s.len; i++)
		if (has_digits(s, i, 3) && s.ptr[i + 3] == '-' && has_digits(s, i + 4, 4) &&
		    (i == 0 || (!is_digit(s.ptr[i - 1]) && s.ptr[i - 1] != '-')) &&
		    (i + 8 == s.len || (!is_digit(s.ptr[i + 8]) && s.ptr[i + 8] != '-')))
			return true;
	return false;
}

/* A word of an address and a number on one line. */
static bool
has_street(struct slice s, const char *const *words)
{
	while (s.len > 0) {
		const char *end = memchr(s.ptr, '\n', s.len);
		struct slice line = slice_make(s.ptr, end != NULL ? (size_t)(end - s.ptr) : s.len);
		bool number = false;

		for (size_t i = 0; i < line.len && !number; i++)
			number = is_digit(line.ptr[i]) ||
			    (i + 3 <= line.len && memcmp(line.ptr + i, "\xEF\xBC", 2) == 0 &&
				(unsigned char)line.ptr[i + 2] >= 0x90 &&
				(unsigned char)line.ptr[i + 2] <= 0x99); /* U+FF10 to U+FF19 */
		if (number && lint_has_word(line, words))
			return true;
		s = end != NULL ? slice_make(end + 1, s.len - line.len - 1) : SLICE("");
	}
	return false;
}

static bool
has_postal_address(struct slice s)
{
	/* prefectures but Tokyo, Hokkaido, Osaka and Kyoto all end in 県 */
	static const char *const marks[] = { "〒", "郵便番号", "P.O. Box", "PO Box", NULL };
	static const char *const streets[] = { "県", "東京都", "北海道", "大阪府", "京都府", "市",
		"区", "丁目", "番地", " Street", " St.", " Avenue", " Ave", " Road", " Rd",
		" Boulevard", " Blvd", " Lane", " Drive", " Suite", " Floor", "-ku", "-shi", "-cho",
		"-machi", "straße", "strasse", NULL };
	/* pages that have it */
	static const char *const pages[] = { "特定商取引", "特商法", "会社概要", "会社情報",
		"運営会社", "企業情報", "送信者情報", "About us", "Imprint", "Impressum",
		"Legal notice", "Company information", NULL };

	return lint_has_word(s, marks) || has_japanese_code(s) || has_street(s, streets) ||
	    lint_has_word(s, pages);
}

void
lint_no_postal_address(struct lint *l)
{
	for (enum campaign_part p = CAMPAIGN_HTML; p <= CAMPAIGN_TEXT; p++)
		if (has_part(l, p) && !is_transactional(l) && !has_postal_address(l->seen[p]))
			lint_at(
			    l, p, NULL, "the %s part has no postal address", campaign_part_name(p));
}

void
lint_no_contact(struct lint *l)
{
	static const char *const words[] = { "お問い合わせ", "お問合せ", "お問合わせ", "問い合わせ",
		"連絡先", "contact", "mailto:", "tel:", "telephone", "電話", "TEL", "phone",
		"support", NULL };

	if (l->in->source->file.reply_to[0] != '\0')
		return;
	if (!lint_has_word(l->in->source->html, words) &&
	    !lint_has_word(l->in->source->text, words))
		lint_whole(l, "there is no reply_to, and the text names no contact");
}

/* ---------------------------------------------------------------- preheader */

static bool
is_hidden(const struct lint_node *n)
{
	static const char *const styles[] = { "display:none", "display: none", "mso-hide:all",
		"mso-hide: all", "max-height:0", "max-height: 0", "opacity:0", "opacity: 0", NULL };
	const struct slice *style = lint_attr(n, "style"), *class = lint_attr(n, "class");

	return (style != NULL && lint_has_word(*style, styles)) ||
	    (class != NULL && lint_find(*class, SLICE("preheader")) != NULL) ||
	    (class != NULL && lint_find(*class, SLICE("preview")) != NULL) ||
	    lint_attr(n, "hidden") != NULL;
}

/* The first text of the body stands in something hidden. */
void
lint_no_preheader(struct lint *l)
{
	const struct lint_node *hidden = NULL, *skips = NULL;

	for (size_t i = 0; i < l->html.count; i++) {
		const struct lint_node *n = &l->html.nodes[i];
		bool shows =
		    n->kind == LINT_FIELD || (n->kind == LINT_TEXT && slice_trim(n->text).len > 0);

		if (n->kind == LINT_OPEN && (lint_tag_is(n, "title") || lint_tag_is(n, "head")))
			skips = skips != NULL ? skips : n;
		else if (n->kind == LINT_OPEN && hidden == NULL && is_hidden(n))
			hidden = n;
		else if (n->kind == LINT_CLOSE && skips != NULL &&
		    slice_equal_nocase(n->text, skips->text))
			skips = NULL;
		else if (n->kind == LINT_CLOSE && hidden != NULL &&
		    slice_equal_nocase(n->text, hidden->text))
			hidden = NULL;
		if (!shows || skips != NULL)
			continue;
		if (hidden == NULL)
			lint_at(l, CAMPAIGN_HTML, n->text.ptr,
			    "there is no preheader: lists of mails show \"%s\"",
			    lint_shown(l, n->text));
		return;
	}
}

/* ---------------------------------------------------------------- links */

static bool
is_scheme(struct slice url, const char *scheme)
{
	return slice_starts_nocase(url, slice_str(scheme));
}

/* The name of the attribute that makes a tag load or open something. */
static const char *
target_of(const struct lint_node *n)
{
	if (lint_tag_is(n, "a") || lint_tag_is(n, "area"))
		return "href";
	return lint_tag_is(n, "img") ? "src" : "background";
}

typedef void see_link(struct lint *l, enum campaign_part part, struct slice url);

/* A value that begins with a condition may hold an address in each branch. */
static void
each_address(struct lint *l, enum campaign_part part, struct slice text, see_link *see)
{
	struct slice url;
	size_t at = 0;

	while (lint_next_url(text, &at, &url))
		see(l, part, url);
}

/* Calls see() for every target of the HTML and every address in the text part. */
static void
each_link(struct lint *l, see_link *see)
{
	for (size_t i = 0; i < l->html.count; i++) {
		const struct lint_node *n = &l->html.nodes[i];

		if (n->kind != LINT_OPEN)
			continue;
		for (const struct lint_attr *a = n->attrs; a != NULL; a = a->next) {
			if (!slice_equal_nocase(a->name, slice_str(target_of(n))))
				continue;
			if (starts_with_field(slice_trim(a->value)))
				each_address(l, CAMPAIGN_HTML, a->value, see);
			else
				see(l, CAMPAIGN_HTML, a->value);
		}
	}
	each_address(l, CAMPAIGN_TEXT, l->in->source->text, see);
}

static void
see_not_https(struct lint *l, enum campaign_part part, struct slice url)
{
	if (is_scheme(slice_trim(url), "http://"))
		lint_at(l, part, url.ptr, "%s is not https", lint_shown(l, url));
}

void
lint_link_not_https(struct lint *l)
{
	each_link(l, see_not_https);
}

/* Anchors of the same page work in a mail. */
static void
see_relative(struct lint *l, enum campaign_part part, struct slice url)
{
	struct slice s = slice_trim(url);
	size_t n = 0;

	if (s.len > 1 && s.ptr[0] == '#')
		return;
	while (n < s.len && strchr(":/?#{", s.ptr[n]) == NULL)
		n++;
	if (n == 0 || n == s.len || s.ptr[n] != ':')
		lint_at(l, part, url.ptr, "\"%s\" leads nowhere", lint_shown(l, url));
}

void
lint_link_relative(struct lint *l)
{
	each_link(l, see_relative);
}

static void
see_shortener(struct lint *l, enum campaign_part part, struct slice url)
{
	static const char *const hosts[] = { "bit.ly", "bitly.com", "j.mp", "t.co", "goo.gl",
		"tinyurl.com", "ow.ly", "is.gd", "v.gd", "buff.ly", "x.gd", "rb.gy", "rebrand.ly",
		"cutt.ly", "shorturl.at", "t.ly", "tiny.cc", "ux.nu", "urx2.nu", "00m.in", "onl.tw",
		"onl.sc", "s.id", "bl.ink", "lnkd.in", "amzn.to", NULL };
	struct slice host = lint_url_host(url);

	for (const char *const *h = hosts; *h != NULL; h++)
		if (lint_host_in(host, slice_str(*h))) {
			lint_at(l, part, url.ptr, "%s hides where it goes", lint_shown(l, url));
			return;
		}
}

void
lint_url_shortener(struct lint *l)
{
	each_link(l, see_shortener);
}

static void
see_tracking(struct lint *l, enum campaign_part part, struct slice url)
{
	static const char *const words[] = { "utm_", "gclid=", "fbclid=", "mc_eid=", "mc_cid=",
		"yclid=", "msclkid=", "_hsenc=", "mkt_tok=", "/track/", "/open.gif", "/pixel",
		NULL };

	if (lint_has_word(url, words))
		lint_at(l, part, url.ptr, "%s looks like tracking", lint_shown(l, url));
}

void
lint_tracking_words(struct lint *l)
{
	size_t i = 0;
	const struct lint_node *n;

	each_link(l, see_tracking);
	while ((n = next_tag(l, &i, "img")) != NULL) {
		const struct slice *width = lint_attr(n, "width"), *height = lint_attr(n, "height");

		if (width != NULL && height != NULL && width->len == 1 && height->len == 1 &&
		    width->ptr[0] <= '1' && height->ptr[0] <= '1')
			lint_at(l, CAMPAIGN_HTML, n->text.ptr,
			    "an image of one pixel looks like tracking");
	}
}

static bool
is_host_char(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
	    c == '.';
}

/* A text that shows an address: "https://a.example/x", "www.a.example", "a.example/x". Words like
 * "e.g." and "Co.Ltd" are none: behind the last dot stand lower-case letters, two or more, and
 * there are no blanks. Empty when it shows none. */
static struct slice
shown_host(struct slice text)
{
	struct slice s = slice_trim(text), host = lint_url_host(s);
	size_t n = 0, dot = 0;

	if (host.len > 0 || has_field(s) || memchr(s.ptr, ' ', s.len) != NULL ||
	    memchr(s.ptr, '@', s.len) != NULL)
		return host;
	while (n < s.len && is_host_char(s.ptr[n])) {
		dot = s.ptr[n] == '.' ? n : dot;
		n++;
	}
	if (dot == 0 || n - dot < 3 || (n < s.len && s.ptr[n] != '/'))
		return SLICE("");
	for (size_t i = dot + 1; i < n; i++)
		if (s.ptr[i] < 'a' || s.ptr[i] > 'z')
			return SLICE("");
	return slice_make(s.ptr, n);
}

void
lint_link_other_host(struct lint *l)
{
	const struct slice *href = NULL;

	for (size_t i = 0; i < l->html.count; i++) {
		const struct lint_node *n = &l->html.nodes[i];
		struct slice real, shown;

		if (n->kind == LINT_OPEN && lint_tag_is(n, "a"))
			href = lint_attr(n, "href");
		else if (n->kind == LINT_CLOSE && lint_tag_is(n, "a"))
			href = NULL;
		if (n->kind != LINT_TEXT || href == NULL)
			continue;
		real = lint_url_host(*href);
		shown = shown_host(n->text);
		if (real.len > 0 && shown.len > 0 && !lint_host_in(real, shown) &&
		    !lint_host_in(shown, real))
			lint_at(l, CAMPAIGN_HTML, n->text.ptr, "the link shows %s and goes to %s",
			    lint_shown(l, shown), lint_shown(l, real));
	}
}

/* ---------------------------------------------------------------- images */

void
lint_image_without_alt(struct lint *l)
{
	size_t i = 0;
	const struct lint_node *n;

	while ((n = next_tag(l, &i, "img")) != NULL)
		if (lint_attr(n, "alt") == NULL)
			lint_at(l, CAMPAIGN_HTML, n->text.ptr, "the image has no alt");
}

/* Outlook reads the attributes alone; others take a style as well. */
void
lint_image_without_size(struct lint *l)
{
	static const char *const width[] = { "width:", NULL },
				 *const height[] = { "height:", NULL };
	size_t i = 0;
	const struct lint_node *n;

	while ((n = next_tag(l, &i, "img")) != NULL) {
		const struct slice *style = lint_attr(n, "style");
		bool wide = lint_attr(n, "width") != NULL ||
		    (style != NULL && lint_has_word(*style, width));
		bool high = lint_attr(n, "height") != NULL ||
		    (style != NULL && lint_has_word(*style, height));

		if (!wide || !high)
			lint_at(l, CAMPAIGN_HTML, n->text.ptr, "the image has no %s",
			    wide       ? "height"
				: high ? "width"
				       : "width and height");
	}
}

void
lint_image_only(struct lint *l)
{
	struct slice seen = l->seen[CAMPAIGN_HTML];
	size_t i = 0, bytes = 0;
	const struct lint_node *image = next_tag(l, &i, "img");

	for (size_t k = 0; k < seen.len; k++)
		bytes += (unsigned char)seen.ptr[k] > ' ';
	if (image != NULL && bytes < IMAGE_ONLY_BYTES)
		lint_at(l, CAMPAIGN_HTML, image->text.ptr,
		    "beside images the HTML has %zu bytes of text", bytes);
}

/* ---------------------------------------------------------------- tags */

void
lint_tag_unsupported(struct lint *l)
{
	static const char *const tags[] = { "script", "form", "iframe", "object", "embed", "video",
		"audio", "applet", "frame", "frameset", "input", "button", "select", "textarea",
		"base", "canvas", NULL };

	for (size_t i = 0; i < l->html.count; i++) {
		const struct lint_node *n = &l->html.nodes[i];

		if (n->kind != LINT_OPEN)
			continue;
		if (lint_tag_in(n, tags))
			lint_at(l, CAMPAIGN_HTML, n->text.ptr, "<%s> is not for mail",
			    lint_shown(l, n->text));
		for (const struct lint_attr *a = n->attrs; a != NULL; a = a->next)
			if ((a->name.len > 2 && slice_starts_nocase(a->name, SLICE("on"))) ||
			    is_scheme(slice_trim(a->value), "javascript:"))
				lint_at(l, CAMPAIGN_HTML, a->name.ptr, "%s is a script",
				    lint_shown(l, a->name));
	}
}

void
lint_css_external(struct lint *l)
{
	for (size_t i = 0; i < l->html.count; i++) {
		const struct lint_node *n = &l->html.nodes[i];
		const struct slice *rel =
		    n->kind == LINT_OPEN && lint_tag_is(n, "link") ? lint_attr(n, "rel") : NULL;
		const char *import =
		    n->kind == LINT_STYLE ? lint_find(n->text, SLICE("@import")) : NULL;

		if (rel != NULL && lint_find(*rel, SLICE("stylesheet")) != NULL)
			lint_at(l, CAMPAIGN_HTML, n->text.ptr, "a style sheet is loaded");
		if (import != NULL)
			lint_at(l, CAMPAIGN_HTML, import, "@import loads a style sheet");
	}
}

/* ---------------------------------------------------------------- balance */

/* Elements under way. */
struct open_tags {
	const struct lint_node *tag[OPEN_TAGS_MAX];
	size_t count;
};

struct balance {
	struct lint *l;
	struct open_tags open;
	struct open_tags *block; /* at the start of each condition under way */
	size_t depth;
};

/* HTML lets their end tags be left out, and mail programs know it. */
static bool
may_stay_open(const struct lint_node *n)
{
	static const char *const names[] = { "p", "li", "dt", "dd", "option", "optgroup", "html",
		"head", "body", "colgroup", "thead", "tbody", "tfoot", NULL };

	return lint_tag_in(n, names);
}

static bool
is_void(const struct lint_node *n)
{
	static const char *const names[] = { "area", "base", "br", "col", "embed", "hr", "img",
		"input", "link", "meta", "param", "source", "track", "wbr", "bgsound", "basefont",
		NULL };

	return lint_tag_in(n, names) || n->self_closed;
}

static void
not_closed(struct balance *b, const struct lint_node *n)
{
	if (!may_stay_open(n))
		lint_at(b->l, CAMPAIGN_HTML, n->text.ptr, "<%s> is not closed",
		    lint_shown(b->l, n->text));
}

static void
close_tag(struct balance *b, const struct lint_node *n)
{
	size_t i = b->open.count;

	while (i > 0 && !slice_equal_nocase(b->open.tag[i - 1]->text, n->text))
		i--;
	if (i == 0) {
		if (!may_stay_open(n) && !lint_tag_is(n, "br"))
			lint_at(b->l, CAMPAIGN_HTML, n->text.ptr, "</%s> closes nothing",
			    lint_shown(b->l, n->text));
		return;
	}
	while (b->open.count >= i)
		if (--b->open.count >= i)
			not_closed(b, b->open.tag[b->open.count]);
}

/* false: nested deeper than anything a person writes. */
static bool
weigh(struct balance *b, const struct lint_node *n)
{
	switch (n->kind) {
	case LINT_OPEN:
		if (is_void(n))
			break;
		if (b->open.count == OPEN_TAGS_MAX) {
			lint_at(b->l, CAMPAIGN_HTML, n->text.ptr, "more than %d tags are open here",
			    OPEN_TAGS_MAX);
			return false;
		}
		b->open.tag[b->open.count++] = n;
		break;
	case LINT_CLOSE:
		close_tag(b, n);
		break;
	case LINT_IF:
		if (b->depth == TEMPLATE_NESTING_MAX)
			return false;
		b->block[b->depth++] = b->open;
		break;
	case LINT_ELSE:
		if (b->depth > 0)
			b->open = b->block[b->depth - 1];
		break;
	case LINT_END:
		b->depth -= b->depth > 0;
		break;
	case LINT_TEXT:
	case LINT_STYLE:
	case LINT_FIELD:
		break;
	}
	return true;
}

void
lint_html_unbalanced(struct lint *l)
{
	struct balance b = { .l = l };

	b.block = arena_array(l->arena, TEMPLATE_NESTING_MAX, sizeof(*b.block));
	if (b.block == NULL) {
		l->failed = true;
		return;
	}
	for (size_t i = 0; i < l->html.count; i++)
		if (!weigh(&b, &l->html.nodes[i]))
			return;
	while (b.open.count > 0)
		not_closed(&b, b.open.tag[--b.open.count]);
}
