/* SPDX-License-Identifier: Apache-2.0 */
/*
 * template: see template.h. Three parts: the HTML scan (where does a field stand?), the
 * compiler (one pass, a stack of open blocks), the runner. Only the compiler takes memory.
 *
 * At the end of a block the two branches must leave the HTML in the same place; then the
 * stricter of both is what the scan goes on with.
 */
#include "template.h"

#include <assert.h>

#include "mime.h"

/* --- HTML scan --- */

enum place {
	PLACE_TEXT,
	PLACE_TAG_OPEN, /* behind "<" */
	PLACE_TAG_NAME,
	PLACE_TAG, /* inside a tag, between attributes */
	PLACE_ATTR_NAME,
	PLACE_ATTR_AFTER,  /* blanks behind a name: "=" may come */
	PLACE_ATTR_EQUALS, /* behind "=" */
	PLACE_QUOTED,
	PLACE_UNQUOTED,
	PLACE_MARKUP, /* <!doctype>, <!--[if mso]>: up to ">" */
	PLACE_COMMENT
};

enum attr_kind { ATTR_PLAIN, ATTR_LINK, ATTR_STYLE, ATTR_CODE };

#define SCAN_NAME_MAX 16

struct scan {
	enum place place;
	enum attr_kind attr;
	char quote;
	bool closing;	   /* in </tag> */
	bool scheme_open;  /* a link value that may still be given a scheme */
	bool scheme_field; /* and holds a field already */
	bool in_script;
	bool in_style;
	uint8_t unsure;	   /* in PLACE_TAG: 2 an attribute name may go on, 1 its "=" may come */
	bool name_unknown; /* the attribute's name depends on a condition */
	uint8_t dashes;	   /* in a comment */
	uint8_t tag_len;
	uint8_t name_len;
	char tag[SCAN_NAME_MAX];
	char name[SCAN_NAME_MAX]; /* attribute name, then start of a link value; lower case */
};

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
	if (*len < SCAN_NAME_MAX)
		name[*len] = lower(c);
	if (*len < UINT8_MAX)
		(*len)++;
}

static bool
name_is(const char *name, uint8_t len, const char *word)
{
	return len <= SCAN_NAME_MAX && strlen(word) == len && memcmp(name, word, len) == 0;
}

static bool
name_in(const char *name, uint8_t len, const char *const *words)
{
	for (; *words != NULL; words++)
		if (name_is(name, len, *words))
			return true;
	return false;
}

static enum attr_kind
attr_kind(const struct scan *s)
{
	static const char *const links[] = { "href", "src", "action", "formaction", "background",
		"cite", "poster", "longdesc", "data", "xlink:href", "lowsrc", "dynsrc", "srcset",
		"ping", "manifest", "codebase", "usemap", "classid", "profile", "icon", NULL };

	if (s->name_unknown)
		return ATTR_CODE;
	if (name_in(s->name, s->name_len, links))
		return ATTR_LINK;
	if (name_is(s->name, s->name_len, "style"))
		return ATTR_STYLE;
	if (name_is(s->name, s->name_len, "srcdoc") ||
	    (s->name_len > 2 && s->name[0] == 'o' && s->name[1] == 'n'))
		return ATTR_CODE;
	return ATTR_PLAIN;
}

static void
scan_start_value(struct scan *s, char quote)
{
	s->attr = attr_kind(s);
	s->quote = quote;
	s->place = quote != '\0' ? PLACE_QUOTED : PLACE_UNQUOTED;
	s->scheme_open = s->attr == ATTR_LINK;
	s->scheme_field = false;
	s->name_len = 0;
}

static void
scan_end_tag(struct scan *s)
{
	s->place = PLACE_TEXT;
	s->in_script = !s->closing && name_is(s->tag, s->tag_len, "script");
	s->in_style = !s->closing && name_is(s->tag, s->tag_len, "style");
}

/* One byte of an attribute value. false: a field before it would choose the scheme. */
static bool
scan_value(struct scan *s, char c)
{
	static const char *const code[] = { "javascript", "vbscript", "data", NULL };

	if (!s->scheme_open || (unsigned char)c <= ' ')
		return true;
	if (c == '/' || c == '?' || c == '#') {
		s->scheme_open = false;
	} else if (c == ':') {
		if (s->scheme_field)
			return false;
		s->scheme_open = false;
		if (name_in(s->name, s->name_len, code))
			s->attr = ATTR_CODE;
	} else {
		name_add(s->name, &s->name_len, c);
	}
	return true;
}

static void
scan_text(struct scan *s, char c)
{
	if (c == '<')
		s->place = PLACE_TAG_OPEN;
}

static void
scan_tag_open(struct scan *s, char c)
{
	bool raw = s->in_script || s->in_style;

	if (c == '/' && !s->closing) {
		s->closing = true;
		return;
	}
	if (is_letter(c) && (!raw || s->closing)) {
		s->place = PLACE_TAG_NAME;
		s->tag_len = 0;
		name_add(s->tag, &s->tag_len, c);
	} else if (c == '!' && !raw && !s->closing) {
		s->place = PLACE_MARKUP;
		s->name_len = 0;
		s->dashes = 0;
	} else if (c == '?' && !raw && !s->closing) {
		s->place = PLACE_MARKUP;
		s->name_len = 1;
		s->dashes = 0;
	} else {
		s->closing = false;
		s->place = c == '<' ? PLACE_TAG_OPEN : PLACE_TEXT;
	}
}

/* Inside script and style only their own end tag counts. */
static bool
is_stray_end(const struct scan *s)
{
	return (s->in_script && !name_is(s->tag, s->tag_len, "script")) ||
	    (s->in_style && !name_is(s->tag, s->tag_len, "style"));
}

static void
scan_tag(struct scan *s, char c)
{
	if (c == '>') {
		scan_end_tag(s);
	} else if (is_blank(c) || c == '/') {
		s->place = PLACE_TAG;
		s->unsure = s->unsure > 0 ? 1 : 0;
		return;
	} else if (c == '=' && s->unsure > 0) {
		s->place = PLACE_ATTR_EQUALS;
		s->name_unknown = true;
	} else {
		s->place = PLACE_ATTR_NAME;
		s->name_unknown = s->unsure == 2;
		s->name_len = 0;
		name_add(s->name, &s->name_len, c);
	}
	s->unsure = 0;
}

static void
scan_tag_name(struct scan *s, char c)
{
	if (c != '>' && c != '/' && !is_blank(c)) {
		name_add(s->tag, &s->tag_len, c);
	} else if (is_stray_end(s)) {
		s->place = PLACE_TEXT;
		s->closing = false;
	} else {
		scan_tag(s, c);
	}
}

static void
scan_attr_name(struct scan *s, char c)
{
	if (c == '=')
		s->place = PLACE_ATTR_EQUALS;
	else if (c == '>')
		scan_end_tag(s);
	else if (c == '/')
		s->place = PLACE_TAG;
	else if (is_blank(c))
		s->place = PLACE_ATTR_AFTER;
	else
		name_add(s->name, &s->name_len, c);
}

/* <!-- starts a comment unless it is <!--[if ...]>, which some clients read as HTML. */
static void
scan_markup(struct scan *s, char c)
{
	if (s->name_len == s->dashes && s->dashes < 2 && c == '-') {
		s->dashes++;
		s->name_len++;
		return;
	}
	if (s->dashes == 2 && s->name_len == 2 && c != '[') {
		/* <!--> is a whole comment */
		s->place = c == '>' ? PLACE_TEXT : PLACE_COMMENT;
		s->dashes = c == '-' ? 2 : 0;
		return;
	}
	s->name_len = 3;
	if (c == '>')
		s->place = PLACE_TEXT;
}

static void
scan_comment(struct scan *s, char c)
{
	if (c == '-')
		s->dashes = s->dashes < 2 ? (uint8_t)(s->dashes + 1) : 2;
	else if (c == '>' && s->dashes == 2)
		s->place = PLACE_TEXT;
	else
		s->dashes = 0;
}

static bool
scan_byte(struct scan *s, char c)
{
	switch (s->place) {
	case PLACE_TEXT:
		s->closing = false;
		scan_text(s, c);
		break;
	case PLACE_TAG_OPEN:
		scan_tag_open(s, c);
		break;
	case PLACE_TAG_NAME:
		scan_tag_name(s, c);
		break;
	case PLACE_TAG:
		scan_tag(s, c);
		break;
	case PLACE_ATTR_NAME:
		scan_attr_name(s, c);
		break;
	case PLACE_ATTR_AFTER:
		if (c == '=')
			s->place = PLACE_ATTR_EQUALS;
		else if (!is_blank(c))
			scan_tag(s, c);
		break;
	case PLACE_ATTR_EQUALS:
		if (c == '"' || c == '\'') {
			scan_start_value(s, c);
		} else if (c == '>') {
			scan_end_tag(s);
		} else if (!is_blank(c)) {
			scan_start_value(s, '\0');
			return scan_value(s, c);
		}
		break;
	case PLACE_QUOTED:
		if (c != s->quote)
			return scan_value(s, c);
		s->place = PLACE_TAG;
		break;
	case PLACE_UNQUOTED:
		if (c == '>')
			scan_end_tag(s);
		else if (is_blank(c))
			s->place = PLACE_TAG;
		else
			return scan_value(s, c);
		break;
	case PLACE_MARKUP:
		scan_markup(s, c);
		break;
	case PLACE_COMMENT:
		scan_comment(s, c);
		break;
	}
	return true;
}

/* Length of text up to a byte that gives a field's link a scheme; text.len when there is none. */
static size_t
scan_literal(struct scan *s, struct slice text)
{
	size_t i = 0;
	const char *lt;

	while (i < text.len) {
		if (s->place == PLACE_TEXT) {
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

/* The escape for a field at this place; a complaint, or NULL. */
static const char *
scan_field(struct scan *s, enum template_escape *escape)
{
	*escape = TEMPLATE_ENTITIES;
	switch (s->place) {
	case PLACE_TEXT:
		if (s->in_script)
			return "no field is safe inside <script>";
		if (s->in_style)
			*escape = TEMPLATE_STYLE;
		return NULL;
	case PLACE_COMMENT:
		s->dashes = 0;
		return NULL;
	case PLACE_QUOTED:
		if (s->attr == ATTR_CODE)
			return "no field is safe inside code (an on... attribute, srcdoc, "
			       "javascript:)";
		if (s->attr == ATTR_STYLE)
			*escape = TEMPLATE_STYLE;
		if (s->attr == ATTR_LINK && s->scheme_open) {
			*escape = TEMPLATE_LINK;
			s->scheme_field = true;
		}
		return NULL;
	case PLACE_ATTR_EQUALS:
	case PLACE_UNQUOTED:
		return "put the attribute value in quotes";
	case PLACE_TAG_OPEN:
	case PLACE_TAG_NAME:
	case PLACE_TAG:
	case PLACE_ATTR_NAME:
	case PLACE_ATTR_AFTER:
	case PLACE_MARKUP:
		break;
	}
	return "a field can not stand inside a tag, outside of an attribute value";
}

static bool
in_tag(const struct scan *s)
{
	return s->place == PLACE_TAG || s->place == PLACE_TAG_NAME || s->place == PLACE_ATTR_NAME ||
	    s->place == PLACE_ATTR_AFTER;
}

static bool
same_name(const char *a, uint8_t a_len, const char *b, uint8_t b_len)
{
	return a_len == b_len && memcmp(a, b, a_len < SCAN_NAME_MAX ? a_len : SCAN_NAME_MAX) == 0;
}

static bool
join_in_tag(struct scan *s, const struct scan *other)
{
	bool same = s->place == other->place &&
	    same_name(s->name, s->name_len, other->name, other->name_len);

	if (!same_name(s->tag, s->tag_len, other->tag, other->tag_len) ||
	    s->closing != other->closing)
		return false;
	if (same || (s->place == PLACE_TAG && other->place == PLACE_TAG)) {
		s->unsure = s->unsure > other->unsure ? s->unsure : other->unsure;
		s->name_unknown |= other->name_unknown;
		return true;
	}
	s->place = PLACE_TAG;
	s->unsure = 2;
	return true;
}

static bool
join_in_value(struct scan *s, const struct scan *other)
{
	if (s->quote != other->quote)
		return false;
	if (s->attr != other->attr) {
		if (s->attr != ATTR_CODE && other->attr != ATTR_CODE)
			return false;
		s->attr = ATTR_CODE;
	}
	/* text may or may not have come before: what follows must not end a scheme */
	if (s->scheme_open != other->scheme_open ||
	    (s->scheme_open && !same_name(s->name, s->name_len, other->name, other->name_len)))
		s->scheme_field = true;
	s->scheme_open |= other->scheme_open;
	s->scheme_field |= other->scheme_field;
	return true;
}

/* Joins the end of another branch into s; false when they are at different places. */
static bool
scan_join(struct scan *s, const struct scan *other)
{
	if (s->in_script != other->in_script || s->in_style != other->in_style)
		return false;
	if (in_tag(s) && in_tag(other))
		return join_in_tag(s, other);
	if (s->place != other->place)
		return false;
	switch (s->place) {
	case PLACE_QUOTED:
	case PLACE_UNQUOTED:
		return join_in_value(s, other);
	case PLACE_ATTR_EQUALS:
		return same_name(s->name, s->name_len, other->name, other->name_len) &&
		    s->name_unknown == other->name_unknown;
	case PLACE_MARKUP:
	case PLACE_COMMENT:
		return s->dashes == other->dashes && s->name_len == other->name_len;
	case PLACE_TAG_OPEN:
		return s->closing == other->closing;
	case PLACE_TEXT:
	case PLACE_TAG_NAME:
	case PLACE_TAG:
	case PLACE_ATTR_NAME:
	case PLACE_ATTR_AFTER:
		break;
	}
	return true;
}

/* --- compiler --- */

struct block {
	size_t at; /* offset of the opening tag */
	struct slice name;
	bool unless;
	bool has_else;
	uint32_t skip;	    /* op that jumps over the first branch */
	uint32_t skip_else; /* op that jumps over the second */
	struct scan before; /* scan at the opening tag */
	struct scan first;  /* at the end of the first branch */
};

struct compiler {
	struct slice source;
	struct template *t;
	struct template_op *ops;
	struct template_fields *fields;
	struct err *err;
	struct scan scan;
	size_t text_from; /* start of the pending literal */
	size_t depth;
	struct block blocks[TEMPLATE_NESTING_MAX];
};

bool
template_fields_init(struct template_fields *fields, const struct slice *builtins,
    size_t builtin_count, struct arena *arena)
{
	assert(builtin_count <= 64);
	*fields = (struct template_fields){ .builtins = builtins,
		.builtin_count = builtin_count,
		.arena = arena,
		.names = arena_array(arena, TEMPLATE_FIELDS_MAX, sizeof(struct slice)) };
	return fields->names != NULL;
}

int64_t
template_field_index(const struct template_fields *fields, struct slice name)
{
	for (size_t i = 0; i < fields->builtin_count; i++)
		if (slice_equal(fields->builtins[i], name))
			return (int64_t)(TEMPLATE_BUILTIN | i);
	for (size_t i = 0; i < fields->count; i++)
		if (slice_equal(fields->names[i], name))
			return (int64_t)i;
	return -1;
}

/* "line L, column C: " what, and the offending text in quotes, shortened. */
static int
fail_at(struct compiler *c, size_t at, const char *what, struct slice text)
{
	size_t line = 1, column = 1, shown = 0;
	char copy[64];

	for (size_t i = 0; i < at; i++) {
		if (c->source.ptr[i] == '\n') {
			line++;
			column = 1;
		} else if (((unsigned char)c->source.ptr[i] & 0xc0) != 0x80) {
			column++;
		}
	}
	while (shown < text.len && shown + 4 < sizeof(copy)) {
		size_t n = mime_utf8_char(text.ptr + shown, text.len - shown);

		if (n == 0 || mime_control_at(text.ptr + shown, text.len - shown) > 0)
			break;
		memcpy(copy + shown, text.ptr + shown, n);
		shown += n;
	}
	copy[shown] = '\0';
	if (c->err != NULL)
		c->err->offset = at;
	return err_set(c->err, "line %zu, column %zu: %s: \"%s%s\"", line, column, what, copy,
	    shown < text.len ? "..." : "");
}

static struct slice
span(const struct compiler *c, size_t from, size_t to)
{
	return slice_make(c->source.ptr + from, to - from);
}

/* What to quote for an error inside a link value: some bytes before and the byte at fault. */
static int
fail_scheme(struct compiler *c, size_t at)
{
	return fail_at(c, at, "a field must not choose the scheme of a link",
	    span(c, at, at + 12 < c->source.len ? at + 12 : c->source.len));
}

/* Literal text up to `to`; in a header its control characters become spaces here. */
static int
add_text(struct compiler *c, size_t to)
{
	struct slice text = span(c, c->text_from, to), copy;
	size_t good;

	if (text.len == 0)
		return 0;
	if (c->t->context == TEMPLATE_HTML) {
		good = scan_literal(&c->scan, text);
		if (good < text.len)
			return fail_scheme(c, c->text_from + good);
	}
	if (c->t->context == TEMPLATE_HEADER) {
		struct buf b;

		buf_init(&b, TEMPLATE_SOURCE_MAX * 2);
		mime_put_clean(&b, text);
		copy = buf_failed(&b) ? slice_make(NULL, 0)
				      : arena_copy(c->fields->arena, buf_slice(&b));
		buf_release(&b);
	} else {
		copy = arena_copy(c->fields->arena, text);
	}
	if (copy.ptr == NULL)
		return err_set(c->err, "no memory for the template");
	c->ops[c->t->count++] = (struct template_op){ .kind = TEMPLATE_OP_TEXT, .text = copy };
	c->t->text_bytes += copy.len;
	return 0;
}

static bool
is_name_char(char ch)
{
	return is_letter(ch) || (ch >= '0' && ch <= '9') || ch == '_' || ch == '-' || ch == '.' ||
	    (unsigned char)ch >= 0x80;
}

/* Finds or adds a field. at: where it is named. */
static int
find_field(struct compiler *c, struct slice name, size_t at, uint32_t *index)
{
	struct template_fields *f = c->fields;
	struct slice copy;
	int64_t found;

	if (name.len == 0)
		return fail_at(c, at, "a field name is missing",
		    span(c, at, at + 10 < c->source.len ? at + 10 : c->source.len));
	for (size_t i = 0; i < name.len; i++)
		if (!is_name_char(name.ptr[i]))
			return fail_at(c, at, "not a field name", name);
	if (name.len > TEMPLATE_NAME_MAX)
		return fail_at(c, at, "the field name is too long", name);
	found = template_field_index(f, name);
	if (found < 0) {
		if (f->count == TEMPLATE_FIELDS_MAX)
			return fail_at(c, at, "more than 1000 different fields", name);
		copy = arena_copy(f->arena, name);
		if (copy.ptr == NULL)
			return err_set(c->err, "no memory for the template");
		f->names[f->count] = copy;
		found = (int64_t)f->count++;
	}
	*index = (uint32_t)found;
	if ((*index & TEMPLATE_BUILTIN) != 0)
		f->builtins_used |= UINT64_C(1) << (*index & ~TEMPLATE_BUILTIN);
	return 0;
}

static int
add_field(struct compiler *c, struct slice name, size_t at, bool raw, const struct slice *fallback)
{
	struct template_op op = { .kind = TEMPLATE_OP_FIELD, .escape = TEMPLATE_RAW };
	struct scan before = c->scan;
	const char *complaint;

	if (find_field(c, name, at, &op.field) != 0)
		return -1;
	if (c->t->context == TEMPLATE_HEADER) {
		op.escape = TEMPLATE_LINE;
	} else if (c->t->context == TEMPLATE_HTML) {
		complaint = scan_field(&c->scan, &op.escape);
		if (raw) {
			op.escape = TEMPLATE_RAW;
			before.scheme_field = c->scan.scheme_field;
			c->scan = before;
		} else if (complaint != NULL) {
			return fail_at(c, at, complaint, name);
		}
	}
	if (raw)
		c->t->raw_count++;
	if (fallback != NULL) {
		op.has_default = true;
		op.text = *fallback;
	}
	c->ops[c->t->count++] = op;
	return 0;
}

/* {{default name "text"}}: from..to is what stands behind the word. */
static int
add_default(struct compiler *c, size_t from, size_t to)
{
	struct slice rest = slice_trim(span(c, from, to)), name = rest, text, fallback;
	size_t at = (size_t)(rest.ptr - c->source.ptr), n = 0;
	char *p, quote;

	while (n < rest.len && !is_blank(rest.ptr[n]) && rest.ptr[n] != '"' && rest.ptr[n] != '\'')
		n++;
	name.len = n;
	text = slice_trim(slice_make(rest.ptr + n, rest.len - n));
	quote = text.len > 0 ? text.ptr[0] : '\0';
	if (text.len < 2 || (quote != '"' && quote != '\'') || text.ptr[text.len - 1] != quote)
		return fail_at(c, at, "default needs a field and a text in quotes", rest);
	text = slice_make(text.ptr + 1, text.len - 2);
	p = arena_alloc(c->fields->arena, text.len + 1);
	if (p == NULL)
		return err_set(c->err, "no memory for the template");
	n = 0;
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] == '\\' && i + 1 < text.len &&
		    (text.ptr[i + 1] == '\\' || text.ptr[i + 1] == '"' || text.ptr[i + 1] == '\''))
			i++;
		else if (text.ptr[i] == quote)
			return fail_at(c, at, "text behind the default's closing quote", rest);
		if (c->t->context == TEMPLATE_HEADER &&
		    mime_control_at(text.ptr + i, text.len - i) > 0)
			return fail_at(
			    c, at, "a line break or control character in a default", rest);
		p[n++] = text.ptr[i];
	}
	fallback = slice_make(p, n);
	if (fallback.len > TEMPLATE_VALUE_MAX)
		return fail_at(c, at, "the default text is too long", rest);
	return add_field(c, name, at, false, &fallback);
}

static int
open_block(struct compiler *c, size_t tag, struct slice name, size_t at, bool unless)
{
	struct block *b;

	if (c->depth == TEMPLATE_NESTING_MAX)
		return fail_at(c, tag, "more than 32 blocks inside each other", name);
	b = &c->blocks[c->depth++];
	*b = (struct block){ .at = tag,
		.name = name,
		.unless = unless,
		.skip = (uint32_t)c->t->count,
		.before = c->scan };
	c->ops[c->t->count] =
	    (struct template_op){ .kind = unless ? TEMPLATE_OP_SKIP_IF : TEMPLATE_OP_SKIP_UNLESS };
	if (find_field(c, name, at, &c->ops[c->t->count].field) != 0)
		return -1;
	c->t->count++;
	return 0;
}

static int
add_else(struct compiler *c, size_t tag, struct slice text)
{
	struct block *b = c->depth > 0 ? &c->blocks[c->depth - 1] : NULL;

	if (b == NULL)
		return fail_at(c, tag, "else without #if", text);
	if (b->has_else)
		return fail_at(c, tag, "a second else in the same block", text);
	b->has_else = true;
	b->skip_else = (uint32_t)c->t->count;
	c->ops[c->t->count++] = (struct template_op){ .kind = TEMPLATE_OP_SKIP };
	c->ops[b->skip].target = (uint32_t)c->t->count;
	b->first = c->scan;
	c->scan = b->before;
	return 0;
}

static int
close_block(struct compiler *c, size_t tag, struct slice text, bool unless)
{
	struct block *b = c->depth > 0 ? &c->blocks[c->depth - 1] : NULL;

	if (b == NULL)
		return fail_at(c, tag, "nothing is open here", text);
	if (b->unless != unless)
		return fail_at(
		    c, tag, b->unless ? "/unless is expected here" : "/if is expected here", text);
	c->ops[b->has_else ? b->skip_else : b->skip].target = (uint32_t)c->t->count;
	if (c->t->context == TEMPLATE_HTML &&
	    !scan_join(&c->scan, b->has_else ? &b->first : &b->before))
		return fail_at(c, b->at,
		    "the branches of this block end at different places of the HTML (a tag, quote "
		    "or "
		    "comment is left open in one)",
		    b->name);
	c->depth--;
	return 0;
}

/* True when the tag at [from, to) is alone on its line; widens it to the line. */
static bool
take_line(const struct compiler *c, size_t *from, size_t *to)
{
	const char *s = c->source.ptr;
	size_t a = *from, b = *to;

	while (a > c->text_from && (s[a - 1] == ' ' || s[a - 1] == '\t'))
		a--;
	if (a > 0 && s[a - 1] != '\n')
		return false;
	while (b < c->source.len && (s[b] == ' ' || s[b] == '\t'))
		b++;
	if (b < c->source.len && s[b] == '\r' && b + 1 < c->source.len && s[b + 1] == '\n')
		b++;
	if (b < c->source.len && s[b] != '\n')
		return false;
	*from = a;
	*to = b < c->source.len ? b + 1 : b;
	return true;
}

/* The offset of the closing braces for the tag at `tag`, or 0. Sets the number of braces. */
static size_t
tag_end(const struct compiler *c, size_t tag, size_t *braces)
{
	const char *s = c->source.ptr + tag, *end = c->source.ptr + c->source.len, *p;
	struct slice body = slice_make(s + 2, (size_t)(end - s) - 2);
	char quote = '\0';

	*braces = 2;
	if (body.len >= 3 && memcmp(body.ptr, "!--", 3) == 0) {
		p = memmem(body.ptr + 3, body.len - 3, "--}}", 4);
		return p != NULL ? (size_t)(p - c->source.ptr) + 2 : 0;
	}
	if (body.len > 0 && body.ptr[0] == '{') {
		*braces = 3;
		p = memmem(body.ptr, body.len, "}}}", 3);
		return p != NULL ? (size_t)(p - c->source.ptr) : 0;
	}
	while (body.len > 0 && is_blank(body.ptr[0]))
		body = slice_make(body.ptr + 1, body.len - 1);
	if (!(body.len > 7 && memcmp(body.ptr, "default", 7) == 0 && is_blank(body.ptr[7]))) {
		p = memmem(body.ptr, body.len, "}}", 2);
		return p != NULL ? (size_t)(p - c->source.ptr) : 0;
	}
	for (p = body.ptr; p + 1 < end; p++) {
		if (quote != '\0' && *p == '\\')
			p++;
		else if (quote != '\0')
			quote = *p == quote ? '\0' : quote;
		else if (*p == '"' || *p == '\'')
			quote = *p;
		else if (p[0] == '}' && p[1] == '}')
			return (size_t)(p - c->source.ptr);
	}
	return 0;
}

/* The word at the start of s; *rest is what follows, trimmed. */
static struct slice
first_word(struct slice s, struct slice *rest)
{
	size_t n = 0;

	while (n < s.len && !is_blank(s.ptr[n]))
		n++;
	*rest = slice_trim(slice_make(s.ptr + n, s.len - n));
	return slice_make(s.ptr, n);
}

/* One tag whose inside is [from, to). */
static int
compile_tag(struct compiler *c, size_t tag, size_t from, size_t to)
{
	struct slice body = slice_trim(span(c, from, to)), word, rest;
	size_t at = (size_t)(body.ptr - c->source.ptr);

	word = first_word(body, &rest);
	if (slice_equal(word, SLICE("else")) && rest.len == 0)
		return add_else(c, tag, body);
	if (slice_equal(word, SLICE("default")) && rest.len > 0)
		return add_default(c, at + 7, to);
	if (slice_equal(word, SLICE("#if")) || slice_equal(word, SLICE("#unless")))
		return open_block(c, tag, rest,
		    rest.len > 0 ? (size_t)(rest.ptr - c->source.ptr) : at, word.len > 3);
	if (slice_equal(body, SLICE("/if")) || slice_equal(body, SLICE("/unless")))
		return close_block(c, tag, body, body.len > 3);
	if (body.len > 0 && strchr("#/&>^=", body.ptr[0]) != NULL)
		return fail_at(c, at, "unknown tag", body);
	return add_field(c, body, at, false, NULL);
}

static bool
is_line_tag(struct slice body)
{
	return body.len > 0 &&
	    (body.ptr[0] == '#' || body.ptr[0] == '/' || body.ptr[0] == '!' ||
		slice_equal(body, SLICE("else")));
}

static int
compile_all(struct compiler *c)
{
	struct slice s = c->source;
	size_t at = 0, braces;

	while (at < s.len) {
		const char *p = memmem(s.ptr + at, s.len - at, "{{", 2);
		size_t tag, end, from, to;
		struct slice body;

		if (p == NULL)
			break;
		tag = (size_t)(p - s.ptr);
		end = tag_end(c, tag, &braces);
		if (end == 0)
			return fail_at(c, tag, "the tag is not closed",
			    span(c, tag, tag + 20 < s.len ? tag + 20 : s.len));
		from = tag;
		to = end + braces;
		body = slice_trim(span(c, tag + braces, end));
		if (braces == 2 && is_line_tag(body) && c->t->context != TEMPLATE_HEADER)
			(void)take_line(c, &from, &to);
		if (add_text(c, from) != 0)
			return -1;
		c->text_from = to;
		at = to;
		if (braces == 3) {
			if (add_field(c, body, (size_t)(body.ptr - s.ptr), true, NULL) != 0)
				return -1;
		} else if (body.len == 0 || body.ptr[0] != '!') {
			if (compile_tag(c, tag, tag + 2, end) != 0)
				return -1;
		}
	}
	if (add_text(c, s.len) != 0)
		return -1;
	if (c->depth > 0)
		return fail_at(c, c->blocks[c->depth - 1].at,
		    c->blocks[c->depth - 1].unless ? "#unless is not closed" : "#if is not closed",
		    c->blocks[c->depth - 1].name);
	return 0;
}

static size_t
count_tags(struct slice s)
{
	size_t n = 0;

	while (s.len > 0) {
		const char *p = memmem(s.ptr, s.len, "{{", 2);

		if (p == NULL)
			break;
		n++;
		s = slice_make(p + 2, s.len - (size_t)(p + 2 - s.ptr));
	}
	return n;
}

/* First byte that is not valid UTF-8 or is NUL; s.len when all is well. */
static size_t
first_bad_byte(struct slice s)
{
	size_t i = 0, n;

	while (i < s.len && s.ptr[i] != '\0' && (n = mime_utf8_char(s.ptr + i, s.len - i)) > 0)
		i += n;
	return i;
}

int
template_compile(struct template *t, struct slice source, enum template_context context,
    struct template_fields *fields, struct err *err)
{
	struct compiler c = { .source = source, .t = t, .fields = fields, .err = err };
	size_t tags, bad;

	*t = (struct template){ .context = context, .fields = fields };
	if (source.len == 0)
		return 0;
	if (source.len > TEMPLATE_SOURCE_MAX)
		return err_set(err, "the template is larger than 1 MB");
	if (!mime_utf8_ok(source)) {
		bad = first_bad_byte(source);
		return fail_at(&c, bad, "not valid UTF-8, or a NUL", slice_make(NULL, 0));
	}
	tags = count_tags(source);
	if (tags > TEMPLATE_TAGS_MAX)
		return err_set(err, "the template has more than %d tags", TEMPLATE_TAGS_MAX);
	c.ops = arena_array(fields->arena, tags * 2 + 1, sizeof(*c.ops));
	if (c.ops == NULL)
		return err_set(err, "no memory for the template");
	t->ops = c.ops;
	return compile_all(&c);
}

bool
template_is_static(const struct template *t)
{
	for (size_t i = 0; i < t->count; i++)
		if (t->ops[i].kind != TEMPLATE_OP_TEXT)
			return false;
	return true;
}

/* --- runner --- */

static const struct template_value no_value;

static const struct template_value *
value_of(const struct template_values *v, uint32_t field)
{
	size_t i = field & ~TEMPLATE_BUILTIN;

	if ((field & TEMPLATE_BUILTIN) != 0)
		return i < v->builtin_count ? &v->builtins[i] : &no_value;
	return i < v->count ? &v->fields[i] : &no_value;
}

static struct slice
name_of(const struct template_fields *f, uint32_t field)
{
	if ((field & TEMPLATE_BUILTIN) != 0)
		return f->builtins[field & ~TEMPLATE_BUILTIN];
	return f->names[field];
}

static bool
is_true(const struct template_value *v)
{
	return v->present && v->text.len > 0 && !slice_equal(v->text, SLICE("false")) &&
	    !slice_equal(v->text, SLICE("0"));
}

static enum template_status
fail(struct template_result *result, enum template_status status, struct slice field)
{
	result->status = status;
	result->field = field;
	return status;
}

static enum template_status
check_value(const struct template_value *v)
{
	if (!v->present)
		return TEMPLATE_OK;
	if (v->text.len > TEMPLATE_VALUE_MAX)
		return TEMPLATE_TOO_LARGE;
	return mime_utf8_ok(v->text) ? TEMPLATE_OK : TEMPLATE_BAD_DATA;
}

bool
template_values_check(const struct template_fields *fields, const struct template_values *values,
    struct template_result *result)
{
	enum template_status status;

	for (size_t i = 0; i < values->count && i < fields->count; i++) {
		status = check_value(&values->fields[i]);
		if (status != TEMPLATE_OK)
			return fail(result, status, fields->names[i]) == TEMPLATE_OK;
	}
	for (size_t i = 0; i < values->builtin_count && i < fields->builtin_count; i++) {
		status = check_value(&values->builtins[i]);
		if (status != TEMPLATE_OK)
			return fail(result, status, fields->builtins[i]) == TEMPLATE_OK;
	}
	return true;
}

static void
put_entities(struct template_sink *sink, struct slice s)
{
	size_t start = 0;

	for (size_t i = 0; i < s.len; i++) {
		struct slice entity;

		switch (s.ptr[i]) {
		case '&':
			entity = SLICE("&amp;");
			break;
		case '<':
			entity = SLICE("&lt;");
			break;
		case '>':
			entity = SLICE("&gt;");
			break;
		case '"':
			entity = SLICE("&quot;");
			break;
		case '\'':
			entity = SLICE("&#39;");
			break;
		default:
			continue;
		}
		if (i > start)
			sink->put_value(sink, slice_make(s.ptr + start, i - start));
		sink->put_value(sink, entity);
		start = i + 1;
	}
	if (s.len > start)
		sink->put_value(sink, slice_make(s.ptr + start, s.len - start));
}

/* Reads the scheme as a browser does: blanks and controls inside it are passed over. */
static bool
link_ok(struct slice s)
{
	static const char *const good[] = { "http", "https", "mailto", "tel", NULL };
	char name[SCAN_NAME_MAX];
	uint8_t len = 0;

	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];

		if (c == '/' || c == '?' || c == '#' || c == '\\')
			return true;
		if (c == ':')
			return name_in(name, len, good);
		if ((unsigned char)c > ' ')
			name_add(name, &len, c);
	}
	return true;
}

static void
put_style(struct template_sink *sink, struct slice s)
{
	size_t start = 0;

	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];

		if (is_letter(c) || (c >= '0' && c <= '9') ||
		    (c != '\0' && strchr(" #%.,_-", c) != NULL))
			continue;
		if (i > start)
			sink->put_value(sink, slice_make(s.ptr + start, i - start));
		sink->put_value(sink, SLICE("_"));
		start = i + 1;
	}
	if (s.len > start)
		sink->put_value(sink, slice_make(s.ptr + start, s.len - start));
}

/* Control characters to spaces; returns the number of runs. */
static unsigned
put_line(struct template_sink *sink, struct slice s)
{
	size_t start = 0, i = 0, n;
	unsigned runs = 0;

	while (i < s.len) {
		if (mime_control_at(s.ptr + i, s.len - i) == 0) {
			i++;
			continue;
		}
		if (i > start)
			sink->put_value(sink, slice_make(s.ptr + start, i - start));
		sink->put_value(sink, SLICE(" "));
		runs++;
		while (i < s.len && (n = mime_control_at(s.ptr + i, s.len - i)) > 0)
			i += n;
		start = i;
	}
	if (s.len > start)
		sink->put_value(sink, slice_make(s.ptr + start, s.len - start));
	return runs;
}

static void
put_field(struct template_sink *sink, const struct template_op *op, struct slice text,
    struct template_result *result)
{
	if (text.len == 0)
		return;
	switch (op->escape) {
	case TEMPLATE_RAW:
		sink->put_value(sink, text);
		break;
	case TEMPLATE_ENTITIES:
		put_entities(sink, text);
		break;
	case TEMPLATE_LINK:
		put_entities(sink, link_ok(text) ? text : SLICE("#"));
		break;
	case TEMPLATE_STYLE:
		put_style(sink, text);
		break;
	case TEMPLATE_LINE:
		result->cleaned += put_line(sink, text);
		break;
	}
}

enum template_status
template_run(const struct template *t, const struct template_values *values,
    struct template_sink *sink, struct template_result *result)
{
	size_t start = sink->out->len;

	for (size_t i = 0; i < t->count;) {
		const struct template_op *op = &t->ops[i];
		const struct template_value *v;

		switch (op->kind) {
		case TEMPLATE_OP_TEXT:
			sink->put_text(sink, i, op->text);
			break;
		case TEMPLATE_OP_FIELD:
			v = value_of(values, op->field);
			if (op->has_default && (!v->present || v->text.len == 0))
				put_field(sink, op, op->text, result);
			else if (v->present)
				put_field(sink, op, v->text, result);
			else
				return fail(
				    result, TEMPLATE_MISSING_FIELD, name_of(t->fields, op->field));
			break;
		case TEMPLATE_OP_SKIP_UNLESS:
		case TEMPLATE_OP_SKIP_IF:
			if (is_true(value_of(values, op->field)) ==
			    (op->kind == TEMPLATE_OP_SKIP_IF)) {
				i = op->target;
				continue;
			}
			break;
		case TEMPLATE_OP_SKIP:
			i = op->target;
			continue;
		}
		i++;
		if (buf_failed(sink->out) || sink->out->len - start > TEMPLATE_OUTPUT_MAX)
			return fail(result, TEMPLATE_TOO_LARGE, slice_make(NULL, 0));
	}
	return TEMPLATE_OK;
}

static void
plain_text(struct template_sink *sink, size_t op, struct slice text)
{
	(void)op;
	buf_append_slice(sink->out, text);
}

static void
plain_value(struct template_sink *sink, struct slice piece)
{
	buf_append_slice(sink->out, piece);
}

enum template_status
template_render(const struct template *t, const struct template_values *values, struct buf *out,
    struct template_result *result)
{
	struct template_sink sink = {
		.out = out, .put_text = plain_text, .put_value = plain_value
	};
	size_t start = out->len;

	*result = (struct template_result){ .status = TEMPLATE_OK };
	if (buf_failed(out))
		return fail(result, TEMPLATE_TOO_LARGE, slice_make(NULL, 0));
	if (!template_values_check(t->fields, values, result))
		return result->status;
	if (template_run(t, values, &sink, result) != TEMPLATE_OK && out->data != NULL) {
		out->len = start;
		out->data[start] = '\0';
	}
	return result->status;
}
