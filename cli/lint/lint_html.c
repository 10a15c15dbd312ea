/* SPDX-License-Identifier: Apache-2.0 */
/* lint_html: see lint_html.h. */
#include "lint_html.h"

#include "html_scan.h"
#include "template.h"
#include "template_tag.h"

#define NONE SIZE_MAX
#define BLOCKS_MAX TEMPLATE_NESTING_MAX
#define WORK_MAX (8 * TEMPLATE_SOURCE_MAX) /* bytes, partials counted where they are used */

/* {{#*inline "name"}} */
struct partial {
	struct slice name;
	size_t at;	 /* of its tag */
	size_t from, to; /* its body */
	size_t end;	 /* behind its {{/inline}} */
};

/* Where both branches of a condition begin. */
struct block {
	struct html_scan scan;
	size_t tag;
	struct lint_attr *attr;
};

struct reader {
	struct slice source;
	struct arena *arena;
	struct html_scan scan;
	struct lint_node *nodes;
	size_t count, capacity;
	size_t text_from;	/* of the text that is not a node yet */
	size_t less_than;	/* of the "<" under way */
	size_t name_from;	/* of the tag or attribute under way */
	size_t value_from;	/* of the attribute value under way */
	size_t tag;		/* under way, by its place in nodes; NONE */
	struct lint_attr *attr; /* its last */
	struct block *block;	/* BLOCKS_MAX conditions under way */
	size_t depth;
	struct partial *partial; /* TEMPLATE_PARTIALS_MAX */
	size_t partial_count, partial_depth;
	size_t work;
	bool failed;
};

static struct slice
cut(const struct reader *r, size_t from, size_t to)
{
	/* what a partial began and its user ends is nowhere in one piece */
	return slice_make(r->source.ptr + from, to > from ? to - from : 0);
}

/* Its place in nodes, or NONE. */
static size_t
add_node(struct reader *r, enum lint_node_kind kind, struct slice text)
{
	size_t capacity = r->capacity > 0 ? r->capacity * 2 : 256;
	struct lint_node *grown = r->nodes;

	if (r->count == r->capacity) {
		grown = arena_array(r->arena, capacity, sizeof(*grown));
		if (grown == NULL) {
			r->failed = true;
			return NONE;
		}
		if (r->count > 0)
			memcpy(grown, r->nodes, r->count * sizeof(*grown));
		r->nodes = grown;
		r->capacity = capacity;
	}
	r->nodes[r->count] = (struct lint_node){ .kind = kind, .text = text };
	return r->count++;
}

/* What stands before `to` and is not a node yet. Scripts hold nothing to look at. */
static void
end_text(struct reader *r, size_t to)
{
	if (to > r->text_from && !r->scan.in_script)
		(void)add_node(
		    r, r->scan.in_style ? LINT_STYLE : LINT_TEXT, cut(r, r->text_from, to));
	r->text_from = to;
}

static void
add_attr(struct reader *r, size_t at)
{
	struct lint_attr *attr = arena_alloc(r->arena, sizeof(*attr));

	r->name_from = at;
	if (attr == NULL)
		r->failed = true;
	if (attr == NULL || r->tag == NONE)
		return;
	if (r->attr != NULL)
		r->attr->next = attr;
	else
		r->nodes[r->tag].attrs = attr;
	r->attr = attr;
}

static bool
in_value(enum html_place place)
{
	return place == HTML_QUOTED || place == HTML_UNQUOTED;
}

/* What ended with the byte at i. */
static void
leave(struct reader *r, const struct html_scan *before, size_t i)
{
	if (before->place == HTML_TAG_NAME && r->tag != NONE)
		r->nodes[r->tag].text = cut(r, r->name_from, i);
	else if (before->place == HTML_ATTR_NAME && r->attr != NULL)
		r->attr->name = cut(r, r->name_from, i);
	else if (in_value(before->place) && r->attr != NULL)
		r->attr->value = cut(r, r->value_from, i);
}

static void
enter(struct reader *r, const struct html_scan *before, size_t i)
{
	bool raw = before->in_script || before->in_style;

	switch (r->scan.place) {
	case HTML_TAG_OPEN:
		r->less_than = i;
		break;
	case HTML_TAG_NAME:
		end_text(r, r->less_than);
		r->name_from = i;
		r->attr = NULL;
		r->tag = add_node(r, r->scan.closing ? LINT_CLOSE : LINT_OPEN, slice_make(NULL, 0));
		break;
	case HTML_ATTR_NAME:
		add_attr(r, i);
		break;
	case HTML_QUOTED:
		r->value_from = i + 1;
		break;
	case HTML_UNQUOTED:
		r->value_from = i;
		break;
	case HTML_MARKUP:
		end_text(r, r->less_than);
		break;
	case HTML_TEXT:
		if (before->place == HTML_TAG_OPEN)
			break; /* "<" alone is text */
		if (raw && (r->scan.in_script || r->scan.in_style) && r->count > 0 &&
		    r->tag == r->count - 1) {
			r->count--; /* the end of another tag inside a style */
			r->text_from = r->less_than;
		} else {
			r->text_from = i + 1;
			if (r->tag != NONE)
				r->nodes[r->tag].self_closed = i > 0 && r->source.ptr[i - 1] == '/';
		}
		r->tag = NONE;
		r->attr = NULL;
		break;
	case HTML_TAG:
	case HTML_ATTR_AFTER:
	case HTML_ATTR_EQUALS:
	case HTML_COMMENT:
		break;
	}
}

static void
take_byte(struct reader *r, size_t i)
{
	struct html_scan before = r->scan;

	/* a byte that is refused there does not move the scan: the compiler has its word on it */
	(void)html_scan_text(&r->scan, cut(r, i, i + 1));
	if (r->scan.place == before.place)
		return;
	leave(r, &before, i);
	enter(r, &before, i);
}

/* A tag of the template without its braces, "~" and blanks. */
static struct slice
inside(struct slice tag)
{
	while (tag.len > 0 && memchr("{~ \t\r\n", tag.ptr[0], 6) != NULL)
		tag = slice_make(tag.ptr + 1, tag.len - 1);
	while (tag.len > 0 && memchr("}~ \t\r\n", tag.ptr[tag.len - 1], 6) != NULL)
		tag.len--;
	return tag;
}

enum lint_node_kind
lint_template_tag(struct slice tag)
{
	tag = inside(tag);
	if (tag.len == 0 || tag.ptr[0] == '!' || tag.ptr[0] == '>')
		return LINT_TEXT;
	if (tag.ptr[0] == '#')
		return LINT_IF;
	if (tag.ptr[0] == '/')
		return LINT_END;
	if (tag.ptr[0] == '^')
		return LINT_ELSE;
	if (tag.len >= 4 && memcmp(tag.ptr, "else", 4) == 0 &&
	    (tag.len == 4 || memchr(" \t\r\n", tag.ptr[4], 4) != NULL))
		return LINT_ELSE;
	return LINT_FIELD;
}

/* {{> name}}, or {{#*inline "name"}} with mark "#*": true, and the name. */
static bool
partial_name(struct slice tag, const char *mark, struct slice *name)
{
	size_t n = strlen(mark);

	struct slice rest;

	tag = inside(tag);
	if (n == 1)
		return template_tag_partial(tag, name, &rest);
	if (tag.len < n || memcmp(tag.ptr, mark, n) != 0)
		return false;
	tag = slice_trim(slice_make(tag.ptr + n, tag.len - n));
	if (tag.len > 6 && memcmp(tag.ptr, "inline", 6) == 0)
		tag = slice_trim(slice_make(tag.ptr + 6, tag.len - 6));
	if (tag.len > 2 && (tag.ptr[0] == '"' || tag.ptr[0] == '\'') &&
	    tag.ptr[tag.len - 1] == tag.ptr[0])
		tag = slice_make(tag.ptr + 1, tag.len - 2);
	*name = tag;
	return true;
}

/* A second branch begins where the first did. */
static void
take_flow(struct reader *r, enum lint_node_kind kind)
{
	const struct block *b;

	if (kind == LINT_IF && r->depth < BLOCKS_MAX) {
		r->block[r->depth++] =
		    (struct block){ .scan = r->scan, .tag = r->tag, .attr = r->attr };
	} else if (kind == LINT_END && r->depth > 0) {
		r->depth--;
	} else if (kind == LINT_ELSE && r->depth > 0) {
		b = &r->block[r->depth - 1];
		r->scan = b->scan;
		r->tag = b->tag;
		r->attr = b->attr;
	}
}

static void read_range(struct reader *r, size_t from, size_t to);

/* {{> name}}: what it holds stands here. */
static void
take_partial(struct reader *r, struct slice name)
{
	for (size_t i = 0; i < r->partial_count; i++) {
		if (!slice_equal(r->partial[i].name, name) ||
		    r->partial_depth == TEMPLATE_PARTIAL_DEPTH_MAX)
			continue;
		r->partial_depth++;
		r->text_from = r->partial[i].from;
		read_range(r, r->partial[i].from, r->partial[i].to);
		r->partial_depth--;
		return;
	}
}

/* Behind the tag. */
static size_t
take_template_tag(struct reader *r, size_t at, size_t len)
{
	struct slice tag = cut(r, at, at + len), name;
	enum lint_node_kind kind = lint_template_tag(tag);
	bool text = r->scan.place == HTML_TEXT;
	size_t end = at + len;

	if (text)
		end_text(r, at);
	for (size_t i = 0; i < r->partial_count; i++)
		if (r->partial[i].at == at)
			end = r->partial[i].end;
	if (end == at + len && partial_name(tag, ">", &name)) {
		take_partial(r, name);
	} else if (end == at + len) {
		take_flow(r, kind);
		if (kind != LINT_TEXT && (kind != LINT_FIELD || text) && !r->scan.in_script)
			(void)add_node(r, kind, tag);
	}
	if (text || r->scan.place == HTML_TEXT)
		r->text_from = end;
	return end;
}

static size_t
tag_len_at(const struct reader *r, size_t i, size_t to)
{
	if (to - i < 2 || r->source.ptr[i] != '{' || r->source.ptr[i + 1] != '{')
		return 0;
	return template_tag_len(cut(r, i, to));
}

static void
read_range(struct reader *r, size_t from, size_t to)
{
	r->work += to - from;
	if (r->work > WORK_MAX)
		r->failed = true;
	for (size_t i = from; i < to && !r->failed;) {
		size_t len = tag_len_at(r, i, to);

		if (len > 0) {
			i = take_template_tag(r, i, len);
			continue;
		}
		take_byte(r, i);
		i++;
	}
	if (r->scan.place == HTML_TEXT)
		end_text(r, to);
}

/* Partials have none inside of them. */
static void
find_partials(struct reader *r)
{
	struct partial *open = NULL;
	struct slice name;
	size_t len;

	for (size_t i = 0; i<r->source.len; i += len> 0 ? len : 1) {
		struct slice tag;

		len = tag_len_at(r, i, r->source.len);
		if (len == 0)
			continue;
		tag = cut(r, i, i + len);
		if (open == NULL && r->partial_count < TEMPLATE_PARTIALS_MAX &&
		    partial_name(tag, "#*", &name)) {
			open = &r->partial[r->partial_count];
			*open = (struct partial){ .name = name, .at = i, .from = i + len };
		} else if (open != NULL && memmem(tag.ptr, tag.len, "/inline", 7) != NULL) {
			open->to = i;
			open->end = i + len;
			r->partial_count++;
			open = NULL;
		}
	}
}

int
lint_html_read(struct lint_html *html, struct slice source, struct arena *arena, struct err *err)
{
	struct reader r = { .source = source, .arena = arena, .tag = NONE };

	*html = (struct lint_html){ 0 };
	r.block = arena_array(arena, BLOCKS_MAX, sizeof(*r.block));
	r.partial = arena_array(arena, TEMPLATE_PARTIALS_MAX, sizeof(*r.partial));
	r.failed = r.block == NULL || r.partial == NULL;
	if (!r.failed) {
		find_partials(&r);
		read_range(&r, 0, source.len);
	}
	if (r.failed)
		return err_set(err, "the HTML is too large to look at");
	html->nodes = r.nodes;
	html->count = r.count;
	return 0;
}

const struct slice *
lint_attr(const struct lint_node *node, const char *name)
{
	for (const struct lint_attr *a = node->attrs; a != NULL; a = a->next)
		if (slice_equal_nocase(a->name, slice_str(name)))
			return &a->value;
	return NULL;
}

bool
lint_tag_is(const struct lint_node *node, const char *name)
{
	return (node->kind == LINT_OPEN || node->kind == LINT_CLOSE) &&
	    slice_equal_nocase(node->text, slice_str(name));
}

bool
lint_tag_in(const struct lint_node *node, const char *const *names)
{
	for (; *names != NULL; names++)
		if (lint_tag_is(node, *names))
			return true;
	return false;
}
