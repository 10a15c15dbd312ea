/* SPDX-License-Identifier: Apache-2.0 */
/*
 * html_text: see html_text.h. One pass; what a line end or a blank means is held back until the
 * next text, so that nothing is written that would have to be taken away.
 */
#include "html_text.h"

#include <stdbool.h>
#include <stdint.h>

#include "template.h"
#include "utf8.h"

#define NESTING_MAX 8 /* of lists; deeper ones look like the deepest */

struct texter {
	struct buf *out;
	size_t have;		      /* line ends just written; 2 at the start */
	size_t pending;		      /* line ends to write before the next text */
	bool blank;		      /* a blank is due */
	bool in_row;		      /* a cell of this row has begun */
	bool ruled;		      /* the table has <th>: bars between cells */
	size_t pre;		      /* open <pre> elements: blanks and line ends stay */
	size_t depth;		      /* of lists */
	unsigned number[NESTING_MAX]; /* of the next item; 0: a dash */
	bool in_link;
	size_t link_at;	   /* offset of the link's text in out */
	struct slice link; /* its href, as in the source */
};

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f';
}

static bool
is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool
is_alnum(char c)
{
	return is_alpha(c) || (c >= '0' && c <= '9');
}

static void
texter_lines(struct texter *x, size_t n)
{
	x->blank = false;
	if (x->have + x->pending < n)
		x->pending = n - x->have;
}

static void
texter_flush(struct texter *x)
{
	if (x->pending > 0) {
		for (; x->pending > 0; x->pending--) {
			buf_append_char(x->out, '\n');
			x->have++;
		}
	} else if (x->blank && x->have == 0) {
		buf_append_char(x->out, ' ');
	}
	x->blank = false;
}

static void
texter_put(struct texter *x, struct slice s)
{
	if (s.len == 0)
		return;
	texter_flush(x);
	buf_append_slice(x->out, s);
	x->have = 0;
}

/* Length of the template tag at s ("{{" is there); s.len if open. */
static size_t
braces_len(struct slice s)
{
	size_t n = template_tag_len(s);

	return n > 0 ? n : s.len;
}

static bool
at_braces(struct slice s)
{
	return s.len >= 2 && s.ptr[0] == '{' && s.ptr[1] == '{';
}

/* A template tag passes through; one that prints counts as text. */
static size_t
texter_braces(struct texter *x, struct slice s)
{
	size_t n = braces_len(s), have;
	struct slice inside = slice_trim(slice_make(s.ptr + 2, n - 2));

	if (inside.len > 0 && inside.ptr[0] == '!')
		return n;
	texter_flush(x);
	have = x->have;
	texter_put(x, slice_make(s.ptr, n));
	if (inside.len > 0 &&
	    (inside.ptr[0] == '#' || inside.ptr[0] == '/' ||
		slice_starts_nocase(inside, SLICE("else"))))
		x->have = have;
	return n;
}

/* U+00A0 to U+00FF, in their order (HTML 4, 24.2.1). */
static const char *const latin[96] = { "nbsp", "iexcl", "cent", "pound", "curren", "yen", "brvbar",
	"sect", "uml", "copy", "ordf", "laquo", "not", "shy", "reg", "macr", "deg", "plusmn",
	"sup2", "sup3", "acute", "micro", "para", "middot", "cedil", "sup1", "ordm", "raquo",
	"frac14", "frac12", "frac34", "iquest", "Agrave", "Aacute", "Acirc", "Atilde", "Auml",
	"Aring", "AElig", "Ccedil", "Egrave", "Eacute", "Ecirc", "Euml", "Igrave", "Iacute",
	"Icirc", "Iuml", "ETH", "Ntilde", "Ograve", "Oacute", "Ocirc", "Otilde", "Ouml", "times",
	"Oslash", "Ugrave", "Uacute", "Ucirc", "Uuml", "Yacute", "THORN", "szlig", "agrave",
	"aacute", "acirc", "atilde", "auml", "aring", "aelig", "ccedil", "egrave", "eacute",
	"ecirc", "euml", "igrave", "iacute", "icirc", "iuml", "eth", "ntilde", "ograve", "oacute",
	"ocirc", "otilde", "ouml", "divide", "oslash", "ugrave", "uacute", "ucirc", "uuml",
	"yacute", "thorn", "yuml" };

static const struct entity {
	const char *name;
	uint32_t character;
} entities[] = {
	{ "amp", '&' },
	{ "lt", '<' },
	{ "gt", '>' },
	{ "quot", '"' },
	{ "apos", '\'' },
	{ "trade", 0x2122 },
	{ "hellip", 0x2026 },
	{ "mdash", 0x2014 },
	{ "ndash", 0x2013 },
	{ "lsquo", 0x2018 },
	{ "rsquo", 0x2019 },
	{ "sbquo", 0x201a },
	{ "ldquo", 0x201c },
	{ "rdquo", 0x201d },
	{ "bdquo", 0x201e },
	{ "lsaquo", 0x2039 },
	{ "rsaquo", 0x203a },
	{ "bull", 0x2022 },
	{ "euro", 0x20ac },
	{ "larr", 0x2190 },
	{ "uarr", 0x2191 },
	{ "rarr", 0x2192 },
	{ "darr", 0x2193 },
	{ "dagger", 0x2020 },
	{ "permil", 0x2030 },
	{ "prime", 0x2032 },
	{ "minus", 0x2212 },
	{ "infin", 0x221e },
	{ "ne", 0x2260 },
	{ "le", 0x2264 },
	{ "ge", 0x2265 },
	{ "OElig", 0x0152 },
	{ "oelig", 0x0153 },
	{ "ensp", 0x2002 },
	{ "emsp", 0x2003 },
	{ "thinsp", 0x2009 },
	{ "zwnj", 0x200c },
	{ "zwj", 0x200d },
};

/* Blanks of any width are a blank, invisible characters nothing. */
static size_t
put_character(char dst[4], uint32_t c)
{
	if (c == 0xa0 || (c >= 0x2002 && c <= 0x2009))
		c = ' ';
	return c == 0xad || (c >= 0x200b && c <= 0x200d) ? 0 : utf8_put(dst, c);
}

/* &#38; &#x26; at s: its length, or 0. Braces stay as they are: they could become a tag. */
static size_t
numeric_entity(struct slice s, char dst[4], size_t *n)
{
	size_t i = 2;
	uint32_t c = 0, base = 10, digit;

	if (s.len < 4 || s.ptr[1] != '#')
		return 0;
	if (s.ptr[2] == 'x' || s.ptr[2] == 'X') {
		base = 16;
		i = 3;
	}
	for (; i < s.len && is_alnum(s.ptr[i]); i++) {
		char ch = s.ptr[i];

		digit = ch <= '9' ? (uint32_t)(ch - '0') : (uint32_t)((ch | 32) - 'a' + 10);
		if (digit >= base || c > 0x10ffff)
			return 0;
		c = c * base + digit;
	}
	if (i == s.len || s.ptr[i] != ';' || c < 0x20 || c == 0x7f || c > 0x10ffff ||
	    (c >= 0xd800 && c <= 0xdfff) || c == '{' || c == '}')
		return 0;
	*n = put_character(dst, c);
	return i + 1;
}

/* The entity at s ("&" is there): its length, or 0 when there is none. */
static size_t
entity_at(struct slice s, char dst[4], size_t *n)
{
	size_t len = numeric_entity(s, dst, n), end = 1;
	struct slice name;

	if (len > 0)
		return len;
	while (end < s.len && end <= 8 && is_alnum(s.ptr[end]))
		end++;
	if (end == s.len || s.ptr[end] != ';')
		return 0;
	name = slice_make(s.ptr + 1, end - 1);
	for (size_t i = 0; i < sizeof(entities) / sizeof(entities[0]); i++) {
		if (!slice_equal(name, slice_str(entities[i].name)))
			continue;
		*n = put_character(dst, entities[i].character);
		return end + 1;
	}
	for (uint32_t i = 0; i < sizeof(latin) / sizeof(latin[0]); i++) {
		if (!slice_equal(name, slice_str(latin[i])))
			continue;
		*n = put_character(dst, 0xa0 + i);
		return end + 1;
	}
	return 0;
}

/* Text of an attribute, entities decoded, template tags untouched. */
static void
texter_attr(struct texter *x, struct slice s)
{
	char dst[4];
	size_t n = 0, len;

	for (size_t i = 0; i < s.len; i += len) {
		struct slice rest = slice_make(s.ptr + i, s.len - i);

		if (at_braces(rest)) {
			len = texter_braces(x, rest);
		} else if (s.ptr[i] == '&' && (len = entity_at(rest, dst, &n)) > 0) {
			texter_put(x, slice_make(dst, n));
		} else {
			len = 1;
			texter_put(x, slice_make(s.ptr + i, 1));
		}
	}
}

/* Length of the HTML tag at s ("<" is there) with its ">"; quotes and braces are passed over. */
static size_t
tag_len(struct slice s)
{
	char quote = '\0';

	for (size_t i = 1; i < s.len; i++) {
		struct slice rest = slice_make(s.ptr + i, s.len - i);

		if (at_braces(rest))
			i += braces_len(rest) - 1;
		else if (quote != '\0')
			quote = s.ptr[i] == quote ? '\0' : quote;
		else if ((s.ptr[i] == '"' || s.ptr[i] == '\'') && s.ptr[i - 1] == '=')
			quote = s.ptr[i];
		else if (s.ptr[i] == '>')
			return i + 1;
	}
	return s.len;
}

/* The quoted or bare value of an attribute of the tag; empty when there is none. */
static struct slice
tag_attr(struct slice tag, struct slice name)
{
	for (size_t i = 1; i + name.len + 1 < tag.len; i++) {
		struct slice here = slice_make(tag.ptr + i, tag.len - i);
		size_t from = name.len + 1, to;
		char quote;

		if (at_braces(here)) {
			i += braces_len(here) - 1;
			continue;
		}
		if ((!is_blank(here.ptr[-1]) && here.ptr[-1] != '"' && here.ptr[-1] != '\'') ||
		    !slice_starts_nocase(here, name) || here.ptr[name.len] != '=')
			continue;
		quote = here.ptr[from];
		if (quote == '"' || quote == '\'')
			from++;
		for (to = from; to < here.len; to++) {
			struct slice rest = slice_make(here.ptr + to, here.len - to);

			if (at_braces(rest))
				to += braces_len(rest) - 1;
			else if (quote == '"' || quote == '\''
				? here.ptr[to] == quote
				: is_blank(here.ptr[to]) || here.ptr[to] == '>')
				break;
		}
		if (to > here.len)
			to = here.len;
		return slice_trim(slice_make(here.ptr + from, to - from));
	}
	return slice_make(NULL, 0);
}

static void
texter_link_end(struct texter *x)
{
	struct slice label, url = x->link;

	if (!x->in_link)
		return;
	x->in_link = false;
	if (url.len == 0 || url.ptr[0] == '#' || buf_failed(x->out))
		return;
	if (slice_starts_nocase(url, SLICE("mailto:")))
		url = slice_make(url.ptr + 7, url.len - 7);
	label = slice_make(NULL, 0);
	if (x->out->len > x->link_at)
		label = slice_trim(slice_make(x->out->data + x->link_at, x->out->len - x->link_at));
	if (label.len == 0) {
		texter_attr(x, url);
	} else if (!slice_equal(label, url)) {
		x->blank = true;
		texter_put(x, SLICE("("));
		texter_attr(x, url);
		texter_put(x, SLICE(")"));
	}
}

/* Line ends that an element asks for before and behind itself. */
static size_t
element_lines(struct slice name)
{
	static const char *const two[] = { "p", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote",
		"ul", "ol", "dl", "pre", "table", NULL };
	static const char *const one[] = { "div", "tr", "li", "dt", "dd", "section", "article",
		"header", "footer", "main", "nav", "form", "center", "address", "figure", "body",
		"tbody", "thead", NULL };

	for (const char *const *p = two; *p != NULL; p++)
		if (slice_equal_nocase(name, slice_str(*p)))
			return 2;
	for (const char *const *p = one; *p != NULL; p++)
		if (slice_equal_nocase(name, slice_str(*p)))
			return 1;
	return 0;
}

/* Length from s on up to and with the end tag of an element whose content is not text. */
static size_t
skip_element(struct slice s, struct slice name)
{
	for (size_t i = 0; i + 2 + name.len < s.len; i++) {
		const char *p = memchr(s.ptr + i, '<', s.len - i);

		if (p == NULL)
			break;
		i = (size_t)(p - s.ptr);
		if (i + 2 + name.len < s.len && p[1] == '/' &&
		    slice_equal_nocase(slice_make(p + 2, name.len), name) &&
		    !is_alnum(p[2 + name.len]))
			return i + tag_len(slice_make(p, s.len - i));
	}
	return s.len;
}

/* Is there `what` before the next tag of the element `name` begins or ends? rest stands behind a
 * tag of it. Each byte is looked at once for each element that holds it alone. */
static bool
element_has(struct slice rest, struct slice name, struct slice what)
{
	for (size_t i = 0; i < rest.len; i++) {
		struct slice here = slice_make(rest.ptr + i, rest.len - i);
		size_t slash;

		if (slice_starts_nocase(here, what))
			return true;
		if (here.ptr[0] != '<')
			continue;
		slash = here.len > 1 && here.ptr[1] == '/';
		if (slice_starts_nocase(
			slice_make(here.ptr + 1 + slash, here.len - 1 - slash), name))
			return false;
	}
	return false;
}

/* Items in a condition or loop of the template cannot be counted beforehand. */
static void
texter_list(struct texter *x, struct slice name, struct slice rest)
{
	bool counted =
	    slice_equal_nocase(name, SLICE("ol")) && !element_has(rest, name, SLICE("{{#"));

	texter_lines(x, x->depth == 0 ? 2 : 1);
	if (x->depth < NESTING_MAX)
		x->number[x->depth] = counted;
	x->depth++;
}

static void
texter_item(struct texter *x)
{
	size_t at = x->depth == 0 ? 0 : x->depth > NESTING_MAX ? NESTING_MAX : x->depth;

	texter_lines(x, 1);
	for (size_t i = 1; i < at; i++)
		texter_put(x, SLICE("  "));
	if (at > 0 && x->number[at - 1] > 0) {
		texter_flush(x);
		buf_append_uint(x->out, x->number[at - 1]++);
		texter_put(x, SLICE("."));
	} else {
		texter_put(x, SLICE("-"));
	}
	x->blank = true;
}

static void
texter_cell(struct texter *x)
{
	if (x->in_row && x->ruled) {
		x->blank = true;
		texter_put(x, SLICE("|"));
	}
	x->blank = true;
	x->in_row = true;
}

static void
texter_break(struct texter *x)
{
	x->blank = false;
	if (x->pending + x->have < 2)
		x->pending++;
}

static bool
is_list(struct slice name)
{
	return slice_equal_nocase(name, SLICE("ul")) || slice_equal_nocase(name, SLICE("ol"));
}

/* rest: what stands behind the tag. */
static void
texter_open(struct texter *x, struct slice name, struct slice tag, struct slice rest)
{
	if (slice_equal_nocase(name, SLICE("br"))) {
		texter_break(x);
	} else if (slice_equal_nocase(name, SLICE("hr"))) {
		texter_lines(x, 1);
		texter_put(x, SLICE("----------"));
		texter_lines(x, 1);
	} else if (is_list(name)) {
		texter_list(x, name, rest);
	} else if (slice_equal_nocase(name, SLICE("li"))) {
		texter_item(x);
	} else if (slice_equal_nocase(name, SLICE("td")) || slice_equal_nocase(name, SLICE("th"))) {
		texter_cell(x);
	} else if (slice_equal_nocase(name, SLICE("img"))) {
		texter_attr(x, tag_attr(tag, SLICE("alt")));
	} else if (slice_equal_nocase(name, SLICE("a"))) {
		texter_link_end(x);
		texter_flush(x);
		x->in_link = true;
		x->link_at = x->out->len;
		x->link = tag_attr(tag, SLICE("href"));
	} else {
		if (slice_equal_nocase(name, SLICE("table")))
			x->ruled = element_has(rest, name, SLICE("<th"));
		x->in_row = x->in_row && !slice_equal_nocase(name, SLICE("tr"));
		texter_lines(x, element_lines(name));
		x->pre += slice_equal_nocase(name, SLICE("pre"));
	}
}

static void
texter_close(struct texter *x, struct slice name)
{
	if (slice_equal_nocase(name, SLICE("a"))) {
		texter_link_end(x);
		return;
	}
	if (is_list(name) && x->depth > 0) {
		x->depth--;
		texter_lines(x, x->depth == 0 ? 2 : 1);
		return;
	}
	if (slice_equal_nocase(name, SLICE("pre")) && x->pre > 0)
		x->pre--;
	texter_lines(x, element_lines(name));
}

/* What begins with "<": a tag, a comment, or only that character. Returns its length. */
static size_t
texter_tag(struct texter *x, struct slice s)
{
	static const char *const hidden[] = { "head", "style", "script", "title", "template",
		NULL };
	bool end = s.len > 1 && s.ptr[1] == '/';
	size_t from = end ? 2 : 1, to = from, len;
	struct slice name;
	const char *p;

	if (s.len >= 4 && memcmp(s.ptr, "<!--", 4) == 0) {
		p = memmem(s.ptr + 2, s.len - 2, "-->", 3);
		return p != NULL ? (size_t)(p - s.ptr) + 3 : s.len;
	}
	if (s.len > 1 && (s.ptr[1] == '!' || s.ptr[1] == '?'))
		return tag_len(s);
	while (to < s.len && is_alnum(s.ptr[to]))
		to++;
	if (to == from || !is_alpha(s.ptr[from])) {
		texter_put(x, slice_make(s.ptr, 1));
		return 1;
	}
	name = slice_make(s.ptr + from, to - from);
	len = tag_len(s);
	for (const char *const *h = hidden; !end && *h != NULL; h++)
		if (slice_equal_nocase(name, slice_str(*h)))
			return len + skip_element(slice_make(s.ptr + len, s.len - len), name);
	if (end)
		texter_close(x, name);
	else
		texter_open(x, name, slice_make(s.ptr, len), slice_make(s.ptr + len, s.len - len));
	return len;
}

/* A blank at s; in <pre> it stays. Returns its length. */
static size_t
texter_blank(struct texter *x, struct slice s)
{
	if (x->pre == 0) {
		x->blank = true;
		return 1;
	}
	if (s.ptr[0] == '\n') {
		texter_flush(x);
		buf_append_char(x->out, '\n');
		x->have++;
	} else if (s.ptr[0] != '\r') {
		texter_put(x, slice_make(s.ptr, 1));
	}
	return 1;
}

void
html_text(struct buf *out, struct slice html)
{
	struct texter x = { .out = out, .have = 2 };
	char dst[4];
	size_t n = 0, len;

	for (size_t i = 0; i < html.len; i += len) {
		struct slice rest = slice_make(html.ptr + i, html.len - i);

		len = 1;
		if (is_blank(rest.ptr[0])) {
			len = texter_blank(&x, rest);
		} else if (at_braces(rest)) {
			len = texter_braces(&x, rest);
		} else if (rest.ptr[0] == '<') {
			len = texter_tag(&x, rest);
		} else if (rest.ptr[0] == '&' && (len = entity_at(rest, dst, &n)) > 0) {
			if (n == 1 && dst[0] == ' ')
				x.blank = true;
			else
				texter_put(&x, slice_make(dst, n));
		} else {
			for (len = 1;
			     len < rest.len && strchr("<&{ \t\r\n\f", rest.ptr[len]) == NULL;)
				len++;
			texter_put(&x, slice_make(rest.ptr, len));
		}
	}
	texter_link_end(&x);
	buf_append_char(out, '\n');
}
