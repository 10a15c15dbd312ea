/* SPDX-License-Identifier: Apache-2.0 */
/* html_scan: see html_scan.h. */
#include "html_scan.h"

#include <string.h>

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

static bool
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

/* Names longer than the room can not be equal to any that matters; the length still grows. */
static void
name_add(char *name, uint8_t *len, char c)
{
	if (*len < HTML_NAME_MAX)
		name[*len] = lower(c);
	if (*len < UINT8_MAX)
		(*len)++;
}

static bool
name_is(const char *name, uint8_t len, const char *word)
{
	return len <= HTML_NAME_MAX && strlen(word) == len && memcmp(name, word, len) == 0;
}

static bool
name_in(const char *name, uint8_t len, const char *const *words)
{
	for (; *words != NULL; words++)
		if (name_is(name, len, *words))
			return true;
	return false;
}

static enum html_attr
attr_kind(const struct html_scan *s)
{
	static const char *const links[] = { "href", "src", "action", "formaction", "background",
		"cite", "poster", "longdesc", "data", "xlink:href", "lowsrc", "dynsrc", "manifest",
		"codebase", "usemap", "classid", "profile", "icon", NULL };
	/* scripts, whole documents, lists of links */
	static const char *const code[] = { "srcdoc", "srcset", "imagesrcset", "ping", "archive",
		NULL };
	/* their attributes set other attributes, or hold a link behind other text */
	static const char *const setters[] = { "meta", "set", "animate", "animatetransform",
		"animatemotion", NULL };

	if (s->name_unknown || name_in(s->tag, s->tag_len, setters))
		return HTML_ATTR_CODE;
	if (name_is(s->tag, s->tag_len, "param"))
		return HTML_ATTR_LINK;
	if (name_in(s->name, s->name_len, links))
		return HTML_ATTR_LINK;
	if (name_is(s->name, s->name_len, "style"))
		return HTML_ATTR_STYLE;
	if (name_in(s->name, s->name_len, code) ||
	    (s->name_len > 2 && s->name[0] == 'o' && s->name[1] == 'n'))
		return HTML_ATTR_CODE;
	return HTML_ATTR_PLAIN;
}

static void
scan_start_value(struct html_scan *s, char quote)
{
	s->attr = attr_kind(s);
	s->quote = quote;
	s->place = quote != '\0' ? HTML_QUOTED : HTML_UNQUOTED;
	s->scheme_open = s->attr == HTML_ATTR_LINK;
	s->scheme_field = false;
	s->scheme_entity = false;
	s->name_len = 0;
}

static void
scan_end_tag(struct html_scan *s)
{
	s->place = HTML_TEXT;
	s->in_script = !s->closing && name_is(s->tag, s->tag_len, "script");
	s->in_style = !s->closing && name_is(s->tag, s->tag_len, "style");
}

/* One byte of an attribute value. false: a field before it would choose the scheme. Behind "&"
 * only "/", "?" and ":" are what they look like. */
static bool
scan_value(struct html_scan *s, char c)
{
	static const char *const code[] = { "javascript", "vbscript", "data", NULL };

	if (!s->scheme_open || (unsigned char)c <= ' ')
		return true;
	if (c == '/' || c == '?' || (c == '#' && !s->scheme_entity)) {
		s->scheme_open = false;
	} else if (c == ':') {
		if (s->scheme_field)
			return false;
		s->scheme_open = false;
		if (s->scheme_entity || name_in(s->name, s->name_len, code))
			s->attr = HTML_ATTR_CODE;
	} else if (c == '&' && s->scheme_field) {
		return false;
	} else {
		s->scheme_entity |= c == '&';
		name_add(s->name, &s->name_len, c);
	}
	return true;
}

static void
scan_text(struct html_scan *s, char c)
{
	if (c == '<')
		s->place = HTML_TAG_OPEN;
}

static void
scan_tag_open(struct html_scan *s, char c)
{
	bool raw = s->in_script || s->in_style;

	if (c == '/' && !s->closing) {
		s->closing = true;
		return;
	}
	if (is_letter(c) && (!raw || s->closing)) {
		s->place = HTML_TAG_NAME;
		s->tag_len = 0;
		name_add(s->tag, &s->tag_len, c);
	} else if (c == '!' && !raw && !s->closing) {
		s->place = HTML_MARKUP;
		s->name_len = 0;
		s->dashes = 0;
	} else if (c == '?' && !raw && !s->closing) {
		s->place = HTML_MARKUP;
		s->name_len = 1;
		s->dashes = 0;
	} else {
		s->closing = false;
		s->place = c == '<' ? HTML_TAG_OPEN : HTML_TEXT;
	}
}

/* Inside script and style only their own end tag counts. */
static bool
is_stray_end(const struct html_scan *s)
{
	return (s->in_script && !name_is(s->tag, s->tag_len, "script")) ||
	    (s->in_style && !name_is(s->tag, s->tag_len, "style"));
}

static void
scan_tag(struct html_scan *s, char c)
{
	if (c == '>') {
		scan_end_tag(s);
	} else if (is_blank(c) || c == '/') {
		s->place = HTML_TAG;
		s->unsure = s->unsure > 0 ? 1 : 0;
		return;
	} else if (c == '=' && s->unsure > 0) {
		s->place = HTML_ATTR_EQUALS;
		s->name_unknown = true;
	} else {
		s->place = HTML_ATTR_NAME;
		s->name_unknown = s->unsure == 2;
		s->name_len = 0;
		name_add(s->name, &s->name_len, c);
	}
	s->unsure = 0;
}

static void
scan_tag_name(struct html_scan *s, char c)
{
	if (c != '>' && c != '/' && !is_blank(c)) {
		name_add(s->tag, &s->tag_len, c);
	} else if (is_stray_end(s)) {
		s->place = HTML_TEXT;
		s->closing = false;
	} else {
		scan_tag(s, c);
	}
}

static void
scan_attr_name(struct html_scan *s, char c)
{
	if (c == '=')
		s->place = HTML_ATTR_EQUALS;
	else if (c == '>')
		scan_end_tag(s);
	else if (c == '/')
		s->place = HTML_TAG;
	else if (is_blank(c))
		s->place = HTML_ATTR_AFTER;
	else
		name_add(s->name, &s->name_len, c);
}

/* <!-- starts a comment unless it is <!--[if ...]>, which some clients read as HTML. */
static void
scan_markup(struct html_scan *s, char c)
{
	if (s->name_len == s->dashes && s->dashes < 2 && c == '-') {
		s->dashes++;
		s->name_len++;
		return;
	}
	if (s->dashes == 2 && s->name_len == 2 && c != '[') {
		/* <!--> is a whole comment */
		s->place = c == '>' ? HTML_TEXT : HTML_COMMENT;
		s->dashes = c == '-' ? 2 : 0;
		return;
	}
	s->name_len = 3;
	if (c == '>')
		s->place = HTML_TEXT;
}

static void
scan_comment(struct html_scan *s, char c)
{
	if (c == '-')
		s->dashes = s->dashes < 2 ? (uint8_t)(s->dashes + 1) : 2;
	else if (c == '>' && s->dashes == 2)
		s->place = HTML_TEXT;
	else
		s->dashes = 0;
}

static bool
scan_byte(struct html_scan *s, char c)
{
	switch (s->place) {
	case HTML_TEXT:
		s->closing = false;
		scan_text(s, c);
		break;
	case HTML_TAG_OPEN:
		scan_tag_open(s, c);
		break;
	case HTML_TAG_NAME:
		scan_tag_name(s, c);
		break;
	case HTML_TAG:
		scan_tag(s, c);
		break;
	case HTML_ATTR_NAME:
		scan_attr_name(s, c);
		break;
	case HTML_ATTR_AFTER:
		if (c == '=')
			s->place = HTML_ATTR_EQUALS;
		else if (!is_blank(c))
			scan_tag(s, c);
		break;
	case HTML_ATTR_EQUALS:
		if (c == '"' || c == '\'') {
			scan_start_value(s, c);
		} else if (c == '>') {
			scan_end_tag(s);
		} else if (!is_blank(c)) {
			scan_start_value(s, '\0');
			return scan_value(s, c);
		}
		break;
	case HTML_QUOTED:
		if (c != s->quote)
			return scan_value(s, c);
		s->place = HTML_TAG;
		break;
	case HTML_UNQUOTED:
		if (c == '>')
			scan_end_tag(s);
		else if (is_blank(c))
			s->place = HTML_TAG;
		else
			return scan_value(s, c);
		break;
	case HTML_MARKUP:
		scan_markup(s, c);
		break;
	case HTML_COMMENT:
		scan_comment(s, c);
		break;
	}
	return true;
}

size_t
html_scan_text(struct html_scan *s, struct slice text)
{
	size_t i = 0;
	const char *lt;

	while (i < text.len) {
		if (s->place == HTML_TEXT) {
			s->closing = false;
			lt = memchr(text.ptr + i, '<', text.len - i);
			if (lt == NULL)
				return text.len;
			i = (size_t)(lt - text.ptr);
		}
		if (!scan_byte(s, text.ptr[i]))
			return i;
		i++;
	}
	return i;
}

static const char *
field_in_value(struct html_scan *s, bool raw, enum template_escape *escape)
{
	switch (s->attr) {
	case HTML_ATTR_CODE:
		return "no field is safe in this attribute (on..., srcdoc, srcset, meta, "
		       "javascript:, data:): put the text there itself";
	case HTML_ATTR_STYLE:
		*escape = TEMPLATE_STYLE;
		return raw ? "no raw field is safe in a style: write two braces" : NULL;
	case HTML_ATTR_PLAIN:
		*escape = raw ? TEMPLATE_QUOTES : TEMPLATE_ENTITIES;
		return NULL;
	case HTML_ATTR_LINK:
		break;
	}
	*escape = raw ? TEMPLATE_QUOTES : TEMPLATE_ENTITIES;
	if (!s->scheme_open)
		return NULL;
	if (s->scheme_entity)
		return "a field can not follow &...; at the start of a link: write the character "
		       "itself";
	*escape = raw ? TEMPLATE_LINK_QUOTES : TEMPLATE_LINK;
	s->scheme_field = true;
	return NULL;
}

const char *
html_scan_field(struct html_scan *s, bool raw, enum template_escape *escape)
{
	*escape = raw ? TEMPLATE_RAW : TEMPLATE_ENTITIES;
	switch (s->place) {
	case HTML_TEXT:
		if (s->in_script)
			return "no field is safe inside <script>: take it out";
		if (!s->in_style)
			return NULL;
		*escape = TEMPLATE_STYLE;
		return raw ? "no raw field is safe in a style: write two braces" : NULL;
	case HTML_COMMENT:
		if (raw || s->dashes > 0)
			return "this field could end the HTML comment: use {{! }} for the comment";
		*escape = TEMPLATE_COMMENT;
		return NULL;
	case HTML_QUOTED:
		return field_in_value(s, raw, escape);
	case HTML_ATTR_EQUALS:
	case HTML_UNQUOTED:
		return "put the attribute value in quotes";
	case HTML_TAG_OPEN:
	case HTML_TAG_NAME:
	case HTML_TAG:
	case HTML_ATTR_NAME:
	case HTML_ATTR_AFTER:
	case HTML_MARKUP:
		break;
	}
	return "a field can not stand inside a tag outside of a quoted attribute value: move it "
	       "into one or use #if";
}

static bool
in_tag(const struct html_scan *s)
{
	return s->place == HTML_TAG || s->place == HTML_TAG_NAME || s->place == HTML_ATTR_NAME ||
	    s->place == HTML_ATTR_AFTER;
}

static bool
same_name(const char *a, uint8_t a_len, const char *b, uint8_t b_len)
{
	return a_len == b_len && memcmp(a, b, a_len < HTML_NAME_MAX ? a_len : HTML_NAME_MAX) == 0;
}

static bool
join_in_tag(struct html_scan *s, const struct html_scan *other)
{
	bool same = s->place == other->place &&
	    same_name(s->name, s->name_len, other->name, other->name_len);

	if (!same_name(s->tag, s->tag_len, other->tag, other->tag_len) ||
	    s->closing != other->closing)
		return false;
	if (same || (s->place == HTML_TAG && other->place == HTML_TAG)) {
		s->unsure = s->unsure > other->unsure ? s->unsure : other->unsure;
		s->name_unknown |= other->name_unknown;
		return true;
	}
	s->place = HTML_TAG;
	s->unsure = 2;
	return true;
}

static bool
join_in_value(struct html_scan *s, const struct html_scan *other)
{
	if (s->quote != other->quote || !same_name(s->tag, s->tag_len, other->tag, other->tag_len))
		return false;
	if (s->attr != other->attr) {
		if (s->attr != HTML_ATTR_CODE && other->attr != HTML_ATTR_CODE)
			return false;
		s->attr = HTML_ATTR_CODE;
	}
	/* text may or may not have come before: what follows must not end a scheme */
	if (s->scheme_open != other->scheme_open ||
	    (s->scheme_open && !same_name(s->name, s->name_len, other->name, other->name_len)))
		s->scheme_field = true;
	s->scheme_entity |= other->scheme_entity;
	s->scheme_open |= other->scheme_open;
	s->scheme_field |= other->scheme_field;
	return true;
}

bool
html_scan_join(struct html_scan *s, const struct html_scan *other)
{
	if (s->in_script != other->in_script || s->in_style != other->in_style)
		return false;
	if (in_tag(s) && in_tag(other))
		return join_in_tag(s, other);
	if (s->place != other->place)
		return false;
	switch (s->place) {
	case HTML_QUOTED:
	case HTML_UNQUOTED:
		return join_in_value(s, other);
	case HTML_ATTR_EQUALS:
		return same_name(s->name, s->name_len, other->name, other->name_len) &&
		    same_name(s->tag, s->tag_len, other->tag, other->tag_len) &&
		    s->name_unknown == other->name_unknown;
	case HTML_MARKUP:
	case HTML_COMMENT:
		return s->dashes == other->dashes && s->name_len == other->name_len;
	case HTML_TAG_OPEN:
		return s->closing == other->closing;
	case HTML_TEXT:
	case HTML_TAG_NAME:
	case HTML_TAG:
	case HTML_ATTR_NAME:
	case HTML_ATTR_AFTER:
		break;
	}
	return true;
}

bool
html_scan_same(const struct html_scan *a, const struct html_scan *b)
{
	bool names = same_name(a->name, a->name_len, b->name, b->name_len);

	if (a->place != b->place || a->in_script != b->in_script || a->in_style != b->in_style)
		return false;
	if (a->place == HTML_TEXT)
		return true; /* the rest is about a tag that is over */
	if (a->closing != b->closing || !same_name(a->tag, a->tag_len, b->tag, b->tag_len))
		return false;
	if (a->place == HTML_QUOTED || a->place == HTML_UNQUOTED)
		return a->attr == b->attr && a->quote == b->quote &&
		    a->scheme_open == b->scheme_open && a->scheme_field == b->scheme_field &&
		    a->scheme_entity == b->scheme_entity && (!a->scheme_open || names);
	return names && a->unsure == b->unsure && a->name_unknown == b->name_unknown &&
	    a->dashes == b->dashes;
}

bool
html_scheme_ok(struct slice name)
{
	static const char *const good[] = { "http", "https", "mailto", "tel", NULL };

	for (const char *const *p = good; *p != NULL; p++)
		if (slice_equal_nocase(name, slice_str(*p)))
			return true;
	return false;
}
