/* SPDX-License-Identifier: Apache-2.0 */
/*
 * template: see template.h. The compiler: one pass with a stack of open blocks. A partial is
 * compiled anew at each place of use, as the escapes depend on the place; so is the body of an
 * #each when its end leaves the HTML in a stricter place than its start (a second turn begins
 * where the first one ended). Both count against TEMPLATE_TAGS_MAX.
 *
 * At the end of a block the branches must leave the HTML in the same place; then the stricter
 * of both is what goes on.
 */
#include "template.h"

#include <assert.h>
#include <string.h>

#include "html_scan.h"
#include "mime.h"
#include "template_tag.h"
#include "utf8.h"

#define ROUNDS_MAX 4 /* of an #each until its places are settled */
#define PATH_MAX_PARTS 64
#define PARAMS_MAX 100 /* of all partials that are inside each other */

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

static bool
starts(struct slice s, struct slice prefix)
{
	return s.len >= prefix.len && memcmp(s.ptr, prefix.ptr, prefix.len) == 0;
}

static struct slice
behind(struct slice s, size_t n)
{
	return slice_make(s.ptr + n, s.len - n);
}

/* --- tags --- */

struct tag {
	size_t from, to;	     /* with its braces */
	size_t inner_from, inner_to; /* what stands in them, without "~" */
	bool raw;		     /* three braces */
	bool comment;
	bool trim_left, trim_right; /* "~" */
};

/* The end of the inside of a plain tag, or NULL. The texts of a default and of a partial may hold
 * braces. */
static const char *
plain_tag_end(const char *p, const char *end)
{
	const char *word = p;
	char quote = '\0';
	bool quoted;

	while (word < end && is_blank(*word))
		word++;
	quoted = (word < end && *word == '>') ||
	    (end - word > 7 && memcmp(word, "default", 7) == 0 && is_blank(word[7]));
	for (; p + 1 < end; p++) {
		if (quote != '\0' && *p == '\\')
			p++;
		else if (quote != '\0')
			quote = *p == quote ? '\0' : quote;
		else if (quoted && (*p == '"' || *p == '\''))
			quote = *p;
		else if (p[0] == '}' && p[1] == '}')
			return p;
	}
	return NULL;
}

/* The end of the inside: where `close` begins, or "~" and then close. */
static const char *
closed_by(const char *p, const char *end, const char *close)
{
	return p < end ? memmem(p, (size_t)(end - p), close, strlen(close)) : NULL;
}

/* Reads the tag at `from` ("{{" is there); false when it is not closed. */
static bool
read_tag(struct slice source, size_t from, struct tag *tag)
{
	const char *s = source.ptr, *end = s + source.len, *p = s + from + 2, *q = NULL;
	size_t close = 2;

	*tag = (struct tag){ .from = from };
	if (p < end && *p == '~') {
		tag->trim_left = true;
		p++;
	}
	if (p < end && *p == '{') {
		tag->raw = true;
		p++;
		q = closed_by(p, end, "}}}");
		close = 3;
		if (q == NULL && (q = closed_by(p, end, "}~}}")) != NULL) {
			tag->trim_right = true;
			close = 4;
		}
	} else if (end - p >= 3 && memcmp(p, "!--", 3) == 0) {
		const char *other = closed_by(p + 3, end, "--~}}");

		tag->comment = true;
		q = closed_by(p + 3, end, "--}}");
		close = 4;
		if (other != NULL && (q == NULL || other < q)) {
			q = other;
			close = 5;
			tag->trim_right = true;
		}
	} else {
		tag->comment = p < end && *p == '!';
		q = tag->comment ? closed_by(p, end, "}}") : plain_tag_end(p, end);
	}
	if (q == NULL)
		return false;
	tag->to = (size_t)(q - s) + close;
	tag->inner_from = (size_t)(p - s);
	if (close == 2 && q > p && q[-1] == '~') {
		tag->trim_right = true;
		q--;
	}
	tag->inner_to = (size_t)(q - s);
	return true;
}

/* The place of the next "{{" before end, or end. */
static size_t
next_braces(struct slice source, size_t at, size_t end)
{
	const char *p = at < end ? memmem(source.ptr + at, end - at, "{{", 2) : NULL;

	return p != NULL ? (size_t)(p - source.ptr) : end;
}

static struct slice
tag_body(struct slice source, const struct tag *tag)
{
	return slice_trim(
	    slice_make(source.ptr + tag->inner_from, tag->inner_to - tag->inner_from));
}

size_t
template_tag_len(struct slice s)
{
	struct tag tag;

	return read_tag(s, 0, &tag) ? tag.to : 0;
}

/* The word at the start of s; *rest is what follows, trimmed. */
static struct slice
first_word(struct slice s, struct slice *rest)
{
	size_t n = 0;

	while (n < s.len && !is_blank(s.ptr[n]))
		n++;
	*rest = slice_trim(behind(s, n));
	return slice_make(s.ptr, n);
}

/* {{#*inline "name"}} or {{#* inline "name"}}: true, and the name without quotes; empty when
 * there is none. */
static bool
is_inline(struct slice body, struct slice *name)
{
	struct slice rest, word;

	if (!starts(body, SLICE("#*")))
		return false;
	word = first_word(slice_trim(behind(body, 2)), &rest);
	*name = slice_make(NULL, 0);
	if (slice_equal(word, SLICE("inline")) && rest.len > 2 &&
	    (rest.ptr[0] == '"' || rest.ptr[0] == '\'') && rest.ptr[rest.len - 1] == rest.ptr[0])
		*name = slice_make(rest.ptr + 1, rest.len - 2);
	return true;
}

/* True when an {{#*inline}} of the source has this name. */
static bool
defines(struct slice source, struct slice name)
{
	struct tag tag;
	struct slice found;

	for (size_t at = next_braces(source, 0, source.len); at < source.len;
	     at = next_braces(source, tag.to, source.len)) {
		if (!read_tag(source, at, &tag))
			return false;
		if (!tag.raw && !tag.comment && is_inline(tag_body(source, &tag), &found) &&
		    slice_equal(found, name))
			return true;
	}
	return false;
}

bool
template_next_partial(struct slice source, size_t *at, struct slice *name)
{
	struct tag tag;
	struct slice rest;

	for (size_t i = next_braces(source, *at, source.len); i < source.len;
	     i = next_braces(source, tag.to, source.len)) {
		if (!read_tag(source, i, &tag))
			return false;
		*at = tag.to;
		if (!tag.raw && !tag.comment &&
		    template_tag_partial(tag_body(source, &tag), name, &rest) &&
		    !defines(source, *name))
			return true;
	}
	*at = source.len;
	return false;
}

/* --- compiler --- */

enum block_kind { BLOCK_IF, BLOCK_UNLESS, BLOCK_EACH, BLOCK_WITH, BLOCK_KINDS };

static const struct {
	struct slice open, word; /* #if, if */
	enum template_op_kind op;
} block_kinds[BLOCK_KINDS] = {
	{ { "#if", 3 }, { "if", 2 }, TEMPLATE_OP_SKIP_UNLESS },
	{ { "#unless", 7 }, { "unless", 6 }, TEMPLATE_OP_SKIP_IF },
	{ { "#each", 5 }, { "each", 4 }, TEMPLATE_OP_EACH },
	{ { "#with", 5 }, { "with", 4 }, TEMPLATE_OP_WITH },
};

struct block {
	enum block_kind kind;
	size_t at; /* offset of the opening tag */
	struct slice name;
	bool chained; /* by {{else if}}: ends with the block around it */
	bool has_else;
	uint32_t skip;		 /* op that jumps over the first branch */
	uint32_t skip_else;	 /* op that jumps over the second */
	struct html_scan before; /* scan at the opening tag */
	struct html_scan first;	 /* at the end of the first branch */
	/* #each: to compile its body once more */
	size_t body_at;
	size_t body_op, text_bytes;
	unsigned raw_count, rounds;
};

struct partial {
	struct slice name;
	size_t at;	 /* of the opening tag */
	size_t from, to; /* what it holds */
	size_t end;	 /* behind its /inline */
	bool open;	 /* being compiled */
};

/* What a name or a parameter stands for: what a tag names, or a text. */
struct meaning {
	struct template_ref ref;
	bool literal; /* then ref is a field that nobody has, but for its name */
	struct slice text;
};

/* key=value of a partial. */
struct param {
	struct slice key;
	struct meaning meaning;
};

/* A partial that is being compiled. */
struct call {
	size_t scopes;	   /* open where it is used: there its parameters are seen */
	size_t param_from; /* its first in params; the last is before that of the next call */
};

struct compiler {
	struct slice source;
	struct template *t;
	struct template_op *ops;
	size_t room; /* in ops */
	size_t tags; /* compiled so far */
	struct template_fields *fields;
	struct err *err;
	struct html_scan scan;
	size_t at;	  /* what is read next */
	size_t end;	  /* of the source, or of the partial */
	size_t text_from; /* start of the pending literal */
	size_t depth;
	size_t floor; /* blocks that were open before the partial */
	struct block blocks[TEMPLATE_NESTING_MAX];
	size_t scopes;
	struct {
		struct slice name;	 /* as it is told */
		struct slice value, key; /* as |value key|; empty: without */
		bool each;
	} scope[TEMPLATE_SCOPES_MAX + 1];
	size_t partial_count, partial_depth;
	struct partial partials[TEMPLATE_PARTIALS_MAX];
	struct call calls[TEMPLATE_PARTIAL_DEPTH_MAX]; /* partial_depth of them */
	size_t param_count;
	struct param params[PARAMS_MAX];
};

bool
template_fields_init(struct template_fields *fields, const struct slice *builtins,
    size_t builtin_count, struct arena *arena)
{
	assert(builtin_count <= 64);
	*fields = (struct template_fields){ .builtins = builtins,
		.builtin_count = builtin_count,
		.arena = arena,
		.names = arena_array(arena, TEMPLATE_FIELDS_MAX, sizeof(struct slice)),
		.json = arena_array(arena, TEMPLATE_FIELDS_MAX, sizeof(bool)) };
	return fields->names != NULL && fields->json != NULL;
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

void
template_position(struct slice source, size_t offset, size_t *line, size_t *column)
{
	*line = *column = 1;
	for (size_t i = 0; i < offset && i < source.len; i++) {
		if (source.ptr[i] == '\n') {
			(*line)++;
			*column = 1;
		} else if (((unsigned char)source.ptr[i] & 0xc0) != 0x80) {
			(*column)++;
		}
	}
}

/* "line L, column C: " what, and the offending text in quotes, shortened. */
static int
fail_at(struct compiler *c, size_t at, const char *what, struct slice text)
{
	size_t line, column, shown = 0;
	char copy[64];

	template_position(c->source, at, &line, &column);
	while (shown < text.len && shown + 4 < sizeof(copy)) {
		size_t n = utf8_char(text.ptr + shown, text.len - shown);

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

static int
no_memory(struct compiler *c)
{
	return err_set(c->err, "there is not enough memory for the template");
}

static struct slice
span(const struct compiler *c, size_t from, size_t to)
{
	return slice_make(c->source.ptr + from, to - from);
}

/* At most n bytes from `at`, for an error. */
static struct slice
excerpt(const struct compiler *c, size_t at, size_t n)
{
	return span(c, at, c->source.len - at < n ? c->source.len : at + n);
}

static size_t
offset_of(const struct compiler *c, struct slice s)
{
	return (size_t)(s.ptr - c->source.ptr);
}

/* Room for one more op; NULL without memory. */
static struct template_op *
add_op(struct compiler *c, enum template_op_kind kind, size_t at)
{
	struct template_op *op;

	if (c->t->count == c->room) {
		size_t room = c->room * 2 + 16;
		struct template_op *more = arena_array(c->fields->arena, room, sizeof(*more));

		if (more == NULL) {
			(void)no_memory(c);
			return NULL;
		}
		if (c->t->count > 0)
			memcpy(more, c->ops, c->t->count * sizeof(*more));
		c->ops = more;
		c->room = room;
		c->t->ops = more;
	}
	op = &c->ops[c->t->count++];
	*op = (struct template_op){ .kind = kind, .at = (uint32_t)at };
	return op;
}

/* Literal text up to `to`; in a header its control characters become spaces here. */
static int
add_text(struct compiler *c, size_t to)
{
	struct slice text = span(c, c->text_from, to > c->text_from ? to : c->text_from), copy;
	struct template_op *op;
	size_t good, bad;

	if (text.len == 0)
		return 0;
	if (c->t->context == TEMPLATE_HTML) {
		good = html_scan_text(&c->scan, text);
		bad = c->text_from + good;
		if (good < text.len)
			return fail_at(c, bad,
			    "a field must not choose the scheme of a link: write https:// before "
			    "it, or put the whole link into the field",
			    excerpt(c, bad, 12));
	}
	if (c->t->context == TEMPLATE_HEADER) {
		struct buf b;

		buf_init(&b, TEMPLATE_SOURCE_MAX * 2);
		mime_put_clean(&b, text, false);
		copy = buf_failed(&b) ? slice_make(NULL, 0)
				      : arena_copy(c->fields->arena, buf_slice(&b));
		buf_release(&b);
	} else {
		copy = arena_copy(c->fields->arena, text);
	}
	if (copy.ptr == NULL)
		return no_memory(c);
	op = add_op(c, TEMPLATE_OP_TEXT, c->text_from);
	if (op == NULL)
		return -1;
	op->text = copy;
	c->t->text_bytes += copy.len;
	if (c->t->text_bytes > TEMPLATE_SOURCE_MAX * 2)
		return err_set(c->err, "the template is larger than 2 MB with its partials");
	return 0;
}

/* --- names --- */

static bool
is_name_char(char ch)
{
	return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
	    ch == '_' || ch == '-' || ch == '.' || (unsigned char)ch >= 0x80;
}

static int
check_name(struct compiler *c, struct slice name, size_t at)
{
	if (name.len == 0)
		return fail_at(c, at, "a field name is missing", excerpt(c, at, 10));
	for (size_t i = 0; i < name.len; i++)
		if (!is_name_char(name.ptr[i]))
			return fail_at(c, at,
			    "not a field name (letters, digits, _ - and . make one; the only "
			    "helper is default)",
			    name);
	if (name.len > TEMPLATE_NAME_MAX)
		return fail_at(c, at, "the field name is longer than 128 bytes", name);
	return 0;
}

/* Finds or adds a field of the customer. */
static int
find_field(struct compiler *c, struct slice name, size_t at, struct template_ref *ref)
{
	struct template_fields *f = c->fields;
	int64_t found = template_field_index(f, name);
	struct slice copy;

	if (found < 0) {
		if (f->count == TEMPLATE_FIELDS_MAX)
			return fail_at(c, at, "more than 1000 different fields", name);
		copy = arena_copy(f->arena, name);
		if (copy.ptr == NULL)
			return no_memory(c);
		f->names[f->count] = copy;
		f->json[f->count] = false;
		found = (int64_t)f->count++;
	}
	ref->field = (uint32_t)found;
	if ((ref->field & TEMPLATE_BUILTIN) != 0) {
		f->builtins_used |= UINT64_C(1) << (ref->field & ~TEMPLATE_BUILTIN);
		ref->name = f->builtins[ref->field & ~TEMPLATE_BUILTIN];
	} else {
		ref->name = f->names[ref->field];
	}
	return 0;
}

/* "items[].price": the name of a list or object, and the path in it. */
static int
tell_name(struct compiler *c, struct template_ref *ref, struct slice base, struct slice path)
{
	char *p = arena_alloc(c->fields->arena, base.len + path.len + 2);
	size_t n = base.len;

	if (p == NULL)
		return no_memory(c);
	memcpy(p, base.ptr, base.len);
	if (path.len > 0) {
		p[n++] = '.';
		memcpy(p + n, path.ptr, path.len);
	}
	ref->name = slice_make(p, n + path.len);
	return 0;
}

/* Adds the parts of path to those that ref has. */
static int
split_path(struct compiler *c, struct slice path, size_t at, struct template_ref *ref)
{
	struct slice copy = arena_copy(c->fields->arena, path), *parts;
	size_t n = ref->path_len + 1;

	for (size_t i = 0; i < path.len; i++)
		n += path.ptr[i] == '.';
	if (n > PATH_MAX_PARTS)
		return fail_at(c, at, "too many dots in the field name", path);
	parts = arena_array(c->fields->arena, n, sizeof(*parts));
	if (copy.ptr == NULL || parts == NULL)
		return no_memory(c);
	for (size_t i = 0; i < ref->path_len; i++)
		parts[i] = ref->path[i];
	ref->path = parts;
	while (ref->path_len < n) {
		const char *dot = memchr(copy.ptr, '.', copy.len);
		size_t len = dot != NULL ? (size_t)(dot - copy.ptr) : copy.len;

		if (len == 0)
			return fail_at(
			    c, at, "two dots, or one at the end of the field name", path);
		parts[ref->path_len++] = slice_make(copy.ptr, len);
		copy = behind(copy, len + (dot != NULL));
	}
	return 0;
}

/* @index and its like; the scope is that of the innermost #each. */
static int
find_item(struct compiler *c, struct slice name, size_t at, struct template_ref *ref)
{
	static const struct {
		struct slice name;
		enum template_item item;
	} items[] = { { { "index", 5 }, TEMPLATE_INDEX }, { { "key", 3 }, TEMPLATE_KEY },
		{ { "first", 5 }, TEMPLATE_FIRST }, { { "last", 4 }, TEMPLATE_LAST } };
	struct slice word = behind(name, 1);

	while (starts(word, SLICE("../")) && ref->scope > 0) {
		ref->scope--;
		word = behind(word, 3);
	}
	while (ref->scope > 0 && !c->scope[ref->scope].each)
		ref->scope--;
	for (size_t i = 0; i < sizeof(items) / sizeof(items[0]); i++) {
		if (!slice_equal(word, items[i].name))
			continue;
		if (ref->scope == 0)
			return fail_at(c, at, "this stands only inside #each", name);
		ref->item = items[i].item;
		return tell_name(c, ref, c->scope[ref->scope].name, name);
	}
	return fail_at(
	    c, at, "unknown; there are @index, @key, @first, @last and @root.name", name);
}

/* True when the first part of path is this name; *rest is what follows its dot. */
static bool
begins_with(struct slice path, struct slice name, struct slice *rest)
{
	if (name.len == 0 || !starts(path, name) ||
	    (path.len > name.len && (path.ptr[name.len] != '.' || path.len == name.len + 1)))
		return false;
	*rest = behind(path, path.len > name.len ? name.len + 1 : name.len);
	return true;
}

/* The name that an #each or #with gave (as |x i|), from inside. Those around a partial are not seen
 * in it. 1: found. */
static int
find_given(struct compiler *c, struct slice name, size_t at, struct template_ref *ref)
{
	size_t outside = c->partial_depth > 0 ? c->calls[c->partial_depth - 1].scopes : 0;
	struct slice rest;

	for (size_t i = c->scopes; i > outside; i--) {
		bool key = slice_equal(name, c->scope[i].key) && name.len > 0;

		if (!key && !begins_with(name, c->scope[i].value, &rest))
			continue;
		ref->scope = (uint8_t)i;
		if (key) {
			ref->item = TEMPLATE_KEY;
			rest = SLICE("@key");
		} else if (check_name(c, name, at) != 0 ||
		    (rest.len > 0 && split_path(c, rest, at, ref) != 0)) {
			return -1;
		}
		return tell_name(c, ref, c->scope[i].name, rest) != 0 ? -1 : 1;
	}
	return 0;
}

/* What a parameter means with the path behind its name. */
static int
use_param(
    struct compiler *c, const struct param *p, struct slice rest, size_t at, struct meaning *m)
{
	const struct template_ref *ref = &p->meaning.ref;

	*m = p->meaning;
	if (rest.len == 0)
		return 0;
	if (p->meaning.literal || ref->item != TEMPLATE_VALUE ||
	    (ref->scope == 0 && (ref->field & TEMPLATE_BUILTIN) != 0))
		return fail_at(c, at, "this parameter is a text and has no members", p->key);
	if (tell_name(c, &m->ref, ref->name, rest) != 0)
		return -1;
	if (ref->scope == 0)
		return find_field(c, m->ref.name, at, &m->ref);
	return split_path(c, rest, at, &m->ref);
}

/* The parameter of a partial that is seen where scopes are open; NULL when there is none. */
static const struct param *
find_param(const struct compiler *c, size_t scopes, struct slice path, struct slice *rest)
{
	size_t end = c->param_count;

	for (size_t i = c->partial_depth; i > 0; i--) {
		const struct call *call = &c->calls[i - 1];

		for (size_t k = call->param_from; call->scopes == scopes && k < end; k++)
			if (begins_with(path, c->params[k].key, rest))
				return &c->params[k];
		if (call->scopes < scopes)
			return NULL; /* in an #each or #with of the partial */
		end = call->param_from;
	}
	return NULL;
}

/* What a name in a tag means here. */
static int
find_ref(struct compiler *c, struct slice name, size_t at, struct meaning *m)
{
	struct template_ref *ref = &m->ref;
	const struct param *param;
	struct slice path = name, rest;
	bool here = false, root = false;
	int found;

	*m = (struct meaning){ 0 };
	found = find_given(c, name, at, ref);
	if (found != 0)
		return found < 0 ? -1 : 0;
	ref->scope = (uint8_t)c->scopes;
	if (starts(path, SLICE("@root."))) {
		root = true;
		ref->scope = 0;
		path = behind(path, 6);
	} else if (starts(path, SLICE("@"))) {
		return find_item(c, name, at, ref);
	}
	for (; starts(path, SLICE("../")); path = behind(path, 3)) {
		if (ref->scope == 0)
			return fail_at(
			    c, at, "../ leads out of every #each and #with: take it away", name);
		ref->scope--;
	}
	if (slice_equal(path, SLICE("this")) || slice_equal(path, SLICE(".")) ||
	    slice_equal(path, SLICE(".."))) {
		if (path.len == 2 && path.ptr[0] == '.' && ref->scope > 0)
			ref->scope--;
		path = slice_make(NULL, 0);
		here = true;
	} else if (starts(path, SLICE("this.")) || starts(path, SLICE("this/"))) {
		path = behind(path, 5);
		here = true;
	} else if (starts(path, SLICE("./"))) {
		path = behind(path, 2);
		here = true;
	}
	if (path.len == 0 && here && ref->scope == 0)
		return fail_at(c, at, "this stands only inside #each or #with: name a field", name);
	if ((path.len > 0 || !here) && check_name(c, path, at) != 0)
		return -1;
	param = root ? NULL : find_param(c, ref->scope, path, &rest);
	if (param != NULL)
		return use_param(c, param, rest, at, m);
	if (ref->scope == 0)
		return find_field(c, path, at, ref);
	/* what the program fills has its name everywhere */
	for (size_t i = 0; !here && i < c->fields->builtin_count; i++)
		if (slice_equal(c->fields->builtins[i], path)) {
			ref->scope = 0;
			return find_field(c, path, at, ref);
		}
	if (path.len > 0 && split_path(c, path, at, ref) != 0)
		return -1;
	return tell_name(c, ref, c->scope[ref->scope].name, path);
}

/* --- fields --- */

static int
add_field(struct compiler *c, struct slice name, size_t at, bool raw, const struct slice *fallback)
{
	enum template_escape escape = raw ? TEMPLATE_RAW : TEMPLATE_PLAIN;
	struct template_op *op;
	struct meaning m;
	const char *complaint = NULL;

	if (find_ref(c, name, at, &m) != 0)
		return -1;
	/* a text of its own is what a field that nobody has shows instead */
	if (m.literal && (fallback == NULL || m.text.len > 0))
		fallback = &m.text;
	if (c->t->context == TEMPLATE_HEADER)
		escape = TEMPLATE_LINE;
	else if (c->t->context == TEMPLATE_HTML)
		complaint = html_scan_field(&c->scan, raw, &escape);
	if (complaint != NULL)
		return fail_at(c, at, complaint, name);
	if (raw)
		c->t->raw_count++;
	op = add_op(c, TEMPLATE_OP_FIELD, at);
	if (op == NULL)
		return -1;
	op->escape = escape;
	op->ref = m.ref;
	op->has_default = fallback != NULL;
	if (fallback != NULL)
		op->text = *fallback;
	return 0;
}

/* A text between quotes: a backslash goes before a quote or a backslash in it. whole: for errors. */
static int
unquote(struct compiler *c, struct slice whole, struct slice text, char quote, struct slice *plain)
{
	size_t at = offset_of(c, whole), n = 0;
	char *p = arena_alloc(c->fields->arena, text.len + 1);

	if (p == NULL)
		return no_memory(c);
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] == '\\' && i + 1 < text.len &&
		    (text.ptr[i + 1] == '\\' || text.ptr[i + 1] == '"' || text.ptr[i + 1] == '\''))
			i++;
		else if (text.ptr[i] == quote)
			return fail_at(c, at,
			    "text behind the closing quote: write \\ before a quote inside", whole);
		if (c->t->context == TEMPLATE_HEADER &&
		    mime_control_at(text.ptr + i, text.len - i) > 0)
			return fail_at(
			    c, at, "a line break or control character in this text", whole);
		p[n++] = text.ptr[i];
	}
	*plain = slice_make(p, n);
	if (n > TEMPLATE_VALUE_MAX)
		return fail_at(c, at, "the text is longer than 64 kB", whole);
	return 0;
}

/* {{default name "text"}}: rest is what stands behind the word. */
static int
add_default(struct compiler *c, struct slice rest)
{
	struct slice name = rest, text, fallback;
	size_t at = offset_of(c, rest), n = 0;
	char quote;

	while (n < rest.len && !is_blank(rest.ptr[n]) && rest.ptr[n] != '"' && rest.ptr[n] != '\'')
		n++;
	name.len = n;
	text = slice_trim(behind(rest, n));
	quote = text.len > 0 ? text.ptr[0] : '\0';
	if (text.len < 2 || (quote != '"' && quote != '\'') || text.ptr[text.len - 1] != quote)
		return fail_at(c, at,
		    "default needs a field and a text in quotes: default name \"text\"", rest);
	text = slice_make(text.ptr + 1, text.len - 2);
	if (unquote(c, rest, text, quote, &fallback) != 0)
		return -1;
	return add_field(c, name, at, false, &fallback);
}

/* --- blocks --- */

static int
open_scope(struct compiler *c, size_t at, const struct template_ref *ref, bool each)
{
	size_t n = ref->name.len;
	char *name;

	if (c->scopes == TEMPLATE_SCOPES_MAX)
		return fail_at(c, at, "more than 8 #each and #with inside each other", ref->name);
	if (ref->item != TEMPLATE_VALUE ||
	    (ref->scope == 0 && (ref->field & TEMPLATE_BUILTIN) != 0))
		return fail_at(c, at, "this is never a list or an object", ref->name);
	if (ref->scope == 0)
		c->fields->json[ref->field] = true;
	name = arena_alloc(c->fields->arena, n + 3);
	if (name == NULL)
		return no_memory(c);
	memcpy(name, ref->name.ptr, n);
	if (each)
		memcpy(name + n, "[]", 2);
	c->scopes++;
	c->scope[c->scopes].name = slice_make(name, n + (each ? 2 : 0));
	c->scope[c->scopes].each = each;
	return 0;
}

/* A name that a tag gives: one word, which no path can be mistaken for. */
static int
check_given(struct compiler *c, struct slice name)
{
	size_t at = offset_of(c, name);

	if (check_name(c, name, at) != 0)
		return -1;
	if (memchr(name.ptr, '.', name.len) != NULL || slice_equal(name, SLICE("this")))
		return fail_at(
		    c, at, "this name is given to something: no dot, and not this", name);
	return 0;
}

/* Cuts "as |x i|" from the name of an #each or #with. */
static int
take_given(struct compiler *c, enum block_kind kind, struct slice *name, struct slice given[2])
{
	struct slice path;

	given[0] = given[1] = slice_make(NULL, 0);
	if (kind == BLOCK_IF || kind == BLOCK_UNLESS)
		return 0;
	if (!template_tag_names(*name, &path, given))
		return fail_at(c, offset_of(c, path),
		    "only as |name|, with #each also as |name key|, may stand behind what the "
		    "block "
		    "is about",
		    path);
	for (size_t i = 0; i < 2 && given[i].len > 0; i++)
		if (check_given(c, given[i]) != 0)
			return -1;
	if (given[1].len > 0 && kind == BLOCK_WITH)
		return fail_at(c, offset_of(c, given[1]), "#with gives one name", given[1]);
	if (slice_equal(given[0], given[1]) && given[0].len > 0)
		return fail_at(
		    c, offset_of(c, given[1]), "the same name twice: rename one", given[1]);
	*name = path;
	return 0;
}

static int
open_block(struct compiler *c, size_t tag, struct slice name, enum block_kind kind, bool chained)
{
	bool scoped = kind == BLOCK_EACH || kind == BLOCK_WITH;
	size_t at = name.len > 0 ? offset_of(c, name) : tag + 2;
	struct slice given[2];
	struct template_op *op;
	struct meaning m;
	struct block *b;

	if (c->depth == TEMPLATE_NESTING_MAX)
		return fail_at(c, tag, "more than 32 blocks inside each other", name);
	if (take_given(c, kind, &name, given) != 0 || find_ref(c, name, at, &m) != 0 ||
	    (op = add_op(c, block_kinds[kind].op, at)) == NULL)
		return -1;
	op->ref = m.ref;
	/* a text is true or not from the start: over the branch always, or never */
	if (!scoped && m.literal && template_is_true(m.text))
		op->kind = kind == BLOCK_IF ? TEMPLATE_OP_SKIP_IF : TEMPLATE_OP_SKIP_UNLESS;
	b = &c->blocks[c->depth++];
	*b = (struct block){ .kind = kind,
		.at = tag,
		.name = name,
		.chained = chained,
		.skip = (uint32_t)c->t->count - 1,
		.before = c->scan,
		.body_at = c->at,
		.body_op = c->t->count,
		.text_bytes = c->t->text_bytes,
		.raw_count = c->t->raw_count };
	if (!scoped)
		return 0;
	op->frame = (uint8_t)(c->scopes + 1);
	if (open_scope(c, at, &m.ref, kind == BLOCK_EACH) != 0)
		return -1;
	c->scope[c->scopes].value = given[0];
	c->scope[c->scopes].key = given[1];
	return 0;
}

static int
fail_branches(struct compiler *c, const struct block *b)
{
	return fail_at(c, b->at,
	    "the branches of this block end at different places of the HTML: close every tag, "
	    "quote and comment in the branch that opens it",
	    b->name);
}

/* The end of the first branch: 0, 1 when the body is to be compiled again, -1. */
static int
end_body(struct compiler *c, struct block *b)
{
	struct html_scan joined = c->scan;
	struct template_op *op;

	if (b->kind == BLOCK_IF || b->kind == BLOCK_UNLESS)
		return 0;
	if (b->kind == BLOCK_EACH && c->t->context == TEMPLATE_HTML) {
		if (!html_scan_join(&joined, &b->before))
			return fail_branches(c, b);
		if (!html_scan_same(&joined, &b->before)) {
			if (++b->rounds == ROUNDS_MAX)
				return fail_branches(c, b);
			c->scan = b->before = joined;
			c->at = c->text_from = b->body_at;
			c->t->count = b->body_op;
			c->t->text_bytes = b->text_bytes;
			c->t->raw_count = b->raw_count;
			return 1;
		}
	}
	if (b->kind == BLOCK_EACH) {
		op = add_op(c, TEMPLATE_OP_NEXT, b->at);
		if (op == NULL)
			return -1;
		op->frame = (uint8_t)c->scopes;
		op->target = (uint32_t)b->body_op;
	}
	c->scopes--;
	return 0;
}

static int
add_else(struct compiler *c, size_t tag, struct slice text)
{
	struct block *b = c->depth > c->floor ? &c->blocks[c->depth - 1] : NULL;
	int again;

	if (b == NULL)
		return fail_at(c, tag, "else without #if: open a block before it", text);
	if (b->has_else)
		return fail_at(c, tag, "a second else in the same block: take one away", text);
	again = end_body(c, b);
	if (again != 0)
		return again;
	b->has_else = true;
	b->skip_else = (uint32_t)c->t->count;
	if (add_op(c, TEMPLATE_OP_SKIP, tag) == NULL)
		return -1;
	c->ops[b->skip].target = (uint32_t)c->t->count;
	c->ops[b->skip].has_default = true;
	b->first = c->scan;
	c->scan = b->before;
	return 0;
}

/* {{else if name}} */
static int
add_else_block(struct compiler *c, size_t tag, struct slice body, struct slice rest)
{
	struct slice name, word = first_word(rest, &name);
	int result;

	for (size_t i = 0; i < BLOCK_KINDS; i++) {
		if (!slice_equal(word, block_kinds[i].word))
			continue;
		result = add_else(c, tag, body);
		if (result != 0)
			return result;
		return open_block(c, tag, name, (enum block_kind)i, true);
	}
	return fail_at(c, tag, "else stands alone or before if, unless, each, with", body);
}

/* The word that ends the block, chained ones included. */
static enum block_kind
closing_kind(const struct compiler *c)
{
	size_t i = c->depth - 1;

	while (i > 0 && c->blocks[i].chained)
		i--;
	return c->blocks[i].kind;
}

static int
close_one(struct compiler *c, struct block *b)
{
	int again;

	if (!b->has_else && (again = end_body(c, b)) != 0)
		return again;
	c->ops[b->has_else ? b->skip_else : b->skip].target = (uint32_t)c->t->count;
	if (c->t->context == TEMPLATE_HTML &&
	    !html_scan_join(&c->scan, b->has_else ? &b->first : &b->before))
		return fail_branches(c, b);
	c->depth--;
	return 0;
}

static int
close_block(struct compiler *c, size_t tag, struct slice body, enum block_kind kind)
{
	char what[64];
	bool chained;
	int result;

	if (c->depth <= c->floor)
		return fail_at(
		    c, tag, "nothing is open here: take it away or open the block", body);
	if (closing_kind(c) != kind) {
		(void)snprintf(what, sizeof(what), "/%s is expected here",
		    block_kinds[closing_kind(c)].word.ptr);
		return fail_at(c, tag, what, body);
	}
	do {
		chained = c->blocks[c->depth - 1].chained;
		result = close_one(c, &c->blocks[c->depth - 1]);
	} while (result == 0 && chained);
	return result;
}

/* --- partials --- */

/* True when the tag is alone on its line; widens it to the line. */
static bool
take_line(struct slice source, size_t low, size_t high, size_t *from, size_t *to)
{
	const char *s = source.ptr;
	size_t a = *from, b = *to;

	while (a > low && (s[a - 1] == ' ' || s[a - 1] == '\t'))
		a--;
	if (a > 0 && s[a - 1] != '\n')
		return false;
	while (b < high && (s[b] == ' ' || s[b] == '\t'))
		b++;
	if (b < high && s[b] == '\r' && b + 1 < high && s[b + 1] == '\n')
		b++;
	if (b < high && s[b] != '\n')
		return false;
	*from = a;
	*to = b < high ? b + 1 : b;
	return true;
}

/* What the tag takes with it: its line, or the blanks that "~" stands for. */
static void
widen(const struct compiler *c, const struct tag *tag, bool line, size_t *from, size_t *to)
{
	*from = tag->from;
	*to = tag->to;
	if (line && c->t->context != TEMPLATE_HEADER)
		(void)take_line(c->source, c->text_from, c->end, from, to);
	while (tag->trim_left && *from > c->text_from && is_blank(c->source.ptr[*from - 1]))
		(*from)--;
	while (tag->trim_right && *to < c->end && is_blank(c->source.ptr[*to]))
		(*to)++;
}

static struct partial *
find_partial(struct compiler *c, struct slice name)
{
	for (size_t i = 0; i < c->partial_count; i++)
		if (slice_equal(c->partials[i].name, name))
			return &c->partials[i];
	return NULL;
}

static int
start_partial(struct compiler *c, const struct tag *tag, struct slice name, struct partial **p)
{
	size_t from;

	if (name.len == 0)
		return fail_at(
		    c, tag->from, "write {{#*inline \"name\"}}", span(c, tag->from, tag->to));
	if (find_partial(c, name) != NULL)
		return fail_at(c, tag->from, "a second partial of this name: rename one", name);
	if (c->partial_count == TEMPLATE_PARTIALS_MAX)
		return fail_at(c, tag->from, "more than 100 partials", name);
	*p = &c->partials[c->partial_count++];
	**p = (struct partial){ .name = name, .at = tag->from };
	c->text_from = 0;
	widen(c, tag, true, &from, &(*p)->from);
	return 0;
}

/* Finds every {{#*inline}} beforehand, so that they may stand in any order. */
static int
find_partials(struct compiler *c)
{
	struct partial *open = NULL;
	struct tag tag;
	struct slice name;

	for (size_t at = next_braces(c->source, 0, c->end); at < c->end;
	     at = next_braces(c->source, tag.to, c->end)) {
		struct slice body;

		if (!read_tag(c->source, at, &tag))
			break; /* told by the pass that compiles */
		body = tag_body(c->source, &tag);
		if (tag.raw || tag.comment)
			continue;
		if (is_inline(body, &name)) {
			if (open != NULL)
				return fail_at(
				    c, at, "a partial inside a partial: move it out", body);
			if (start_partial(c, &tag, name, &open) != 0)
				return -1;
		} else if (slice_equal(body, SLICE("/inline"))) {
			if (open == NULL)
				return fail_at(c, at, "nothing is open here: take it away", body);
			c->text_from = open->from;
			widen(c, &tag, true, &open->to, &open->end);
			open = NULL;
		}
	}
	if (open != NULL)
		return fail_at(
		    c, open->at, "#*inline is not closed: write {{/inline}}", open->name);
	c->text_from = 0;
	return 0;
}

static int compile_range(struct compiler *c);

/* 12, -1.5, true, false: in a parameter these are texts. */
static bool
is_literal(struct slice s)
{
	bool dot = false;
	size_t i = s.len > 1 && s.ptr[0] == '-';

	if (slice_equal(s, SLICE("true")) || slice_equal(s, SLICE("false")))
		return true;
	for (; i < s.len; i++) {
		if (s.ptr[i] == '.' && !dot && i + 1 < s.len && i > 0)
			dot = true;
		else if (s.ptr[i] < '0' || s.ptr[i] > '9')
			return false;
	}
	return s.len > 0;
}

static int
read_argument(struct compiler *c, const struct template_tag_argument *a, struct meaning *m)
{
	struct slice whole =
	    slice_make(a->key.ptr, (size_t)(a->value.ptr + a->value.len - a->key.ptr));

	*m = (struct meaning){ .literal = true, .ref.field = TEMPLATE_NOTHING };
	if (a->quote != '\0') {
		if (unquote(c, whole, a->value, a->quote, &m->text) != 0)
			return -1;
	} else if (is_literal(a->value)) {
		m->text = arena_copy(c->fields->arena, a->value);
	} else {
		return find_ref(c, a->value, offset_of(c, a->value), m);
	}
	m->ref.name = arena_copy(c->fields->arena, a->key);
	return m->ref.name.ptr == NULL || m->text.ptr == NULL ? no_memory(c) : 0;
}

/* The parameters of a partial, as they are meant where it is used; *count of them are behind those
 * that are seen now. */
static int
read_params(struct compiler *c, struct slice rest, size_t *count)
{
	struct param *params = c->params + c->param_count;
	struct template_tag_argument a;
	enum template_tag_result result;

	*count = 0;
	while ((result = template_tag_argument(&rest, &a)) == TEMPLATE_TAG_FOUND) {
		if (c->param_count + *count == PARAMS_MAX)
			return fail_at(c, offset_of(c, a.key),
			    "more than 100 parameters of partials inside each other", a.key);
		if (check_given(c, a.key) != 0)
			return -1;
		for (size_t i = 0; i < *count; i++)
			if (slice_equal(params[i].key, a.key))
				return fail_at(c, offset_of(c, a.key),
				    "this parameter is given twice: take one away", a.key);
		params[*count].key = a.key;
		if (read_argument(c, &a, &params[*count].meaning) != 0)
			return -1;
		(*count)++;
	}
	if (result == TEMPLATE_TAG_BAD)
		return fail_at(c, offset_of(c, rest),
		    "behind the name of a partial stands key=field or key=\"text\"", rest);
	return 0;
}

/* {{> name key=value}}: what it holds, compiled for this place. */
static int
add_partial(struct compiler *c, size_t tag, struct slice name, struct slice rest)
{
	size_t at = c->at, end = c->end, text_from = c->text_from, floor = c->floor;
	struct partial *p = find_partial(c, name);
	size_t count;
	int result;

	if (p == NULL)
		return fail_at(c, tag,
		    "there is no such partial: define it with {{#*inline}} or put its file beside "
		    "the template",
		    name);
	if (p->open)
		return fail_at(c, tag, "this partial holds itself", name);
	if (c->partial_depth == TEMPLATE_PARTIAL_DEPTH_MAX)
		return fail_at(c, tag, "more than 16 partials inside each other", name);
	if (read_params(c, rest, &count) != 0)
		return -1;
	c->calls[c->partial_depth++] = (struct call){ c->scopes, c->param_count };
	c->param_count += count;
	p->open = true;
	c->floor = c->depth;
	c->at = c->text_from = p->from;
	c->end = p->to;
	result = compile_range(c);
	c->at = at;
	c->end = end;
	c->text_from = text_from;
	c->floor = floor;
	p->open = false;
	c->param_count -= count;
	c->partial_depth--;
	return result;
}

/* Over an {{#*inline}} where it stands. */
static void
pass_partial(struct compiler *c, size_t tag)
{
	for (size_t i = 0; i < c->partial_count; i++)
		if (c->partials[i].at == tag)
			c->at = c->text_from = c->partials[i].end;
}

/* --- the pass --- */

/* One tag that is no comment. Negative: an error. */
static int
compile_tag(struct compiler *c, const struct tag *tag)
{
	struct slice body = tag_body(c->source, tag), word, rest, name;
	size_t at = offset_of(c, body);

	if (tag->raw)
		return add_field(c, body, at, true, NULL);
	word = first_word(body, &rest);
	if ((slice_equal(word, SLICE("else")) || slice_equal(word, SLICE("^"))) && rest.len == 0)
		return add_else(c, tag->from, body);
	if (slice_equal(word, SLICE("else")))
		return add_else_block(c, tag->from, body, rest);
	if (slice_equal(word, SLICE("default")) && rest.len > 0)
		return add_default(c, rest);
	for (size_t i = 0; i < BLOCK_KINDS; i++) {
		if (slice_equal(word, block_kinds[i].open))
			return open_block(c, tag->from, rest, (enum block_kind)i, false);
		if (body.len > 0 && body.ptr[0] == '/' &&
		    slice_equal(slice_trim(behind(body, 1)), block_kinds[i].word))
			return close_block(c, tag->from, body, (enum block_kind)i);
	}
	if (is_inline(body, &name)) {
		pass_partial(c, tag->from);
		return 0;
	}
	if (template_tag_partial(body, &name, &rest))
		return add_partial(c, tag->from, name, rest);
	if (body.len > 0 && body.ptr[0] == '&') {
		name = slice_trim(behind(body, 1));
		return add_field(c, name, at, true, NULL);
	}
	if (body.len > 0 && strchr("#/^=", body.ptr[0]) != NULL)
		return fail_at(c, at,
		    "unknown tag; there are #if, #unless, #each, #with, #*inline, else and the "
		    "same with / at the end",
		    body);
	return add_field(c, body, at, false, NULL);
}

static bool
is_line_tag(const struct tag *tag, struct slice body)
{
	return tag->comment ||
	    (!tag->raw && body.len > 0 &&
		(strchr("#/^>", body.ptr[0]) != NULL || slice_equal(body, SLICE("else")) ||
		    starts(body, SLICE("else "))));
}

/* From c->at to c->end; every block that is opened in it is closed in it. */
static int
compile_range(struct compiler *c)
{
	const size_t end = c->end;
	struct tag tag;
	size_t from, to;

	for (;;) {
		size_t at = next_braces(c->source, c->at, end);

		if (at == end)
			break;
		if (!read_tag(c->source, at, &tag) || tag.to > end)
			return fail_at(c, at, "the tag is not closed: write }} (or }}}) behind it",
			    excerpt(c, at, 20));
		if (++c->tags > TEMPLATE_TAGS_MAX)
			return err_set(c->err,
			    "the template has more than %d tags, those of its partials counted "
			    "where they are used",
			    TEMPLATE_TAGS_MAX);
		widen(c, &tag, is_line_tag(&tag, tag_body(c->source, &tag)), &from, &to);
		if (add_text(c, from) != 0)
			return -1;
		c->at = c->text_from = to;
		if (!tag.comment && compile_tag(c, &tag) < 0)
			return -1;
	}
	if (add_text(c, end) != 0)
		return -1;
	if (c->depth > c->floor) {
		struct block *b = &c->blocks[c->depth - 1];
		char what[80];

		(void)snprintf(what, sizeof(what), "%s is not closed: write {{/%s}}",
		    b->chained ? "else" : block_kinds[b->kind].open.ptr,
		    block_kinds[closing_kind(c)].word.ptr);
		return fail_at(c, b->at, what, b->name);
	}
	return 0;
}

/* First byte that is not valid UTF-8 or is NUL; s.len when all is well. */
static size_t
first_bad_byte(struct slice s)
{
	size_t i = 0, n;

	while (i < s.len && s.ptr[i] != '\0' && (n = utf8_char(s.ptr + i, s.len - i)) > 0)
		i += n;
	return i;
}

int
template_compile(struct template *t, struct slice source, enum template_context context,
    struct template_fields *fields, struct err *err)
{
	struct compiler c = {
		.source = source, .end = source.len, .t = t, .fields = fields, .err = err
	};

	*t = (struct template){ .context = context, .fields = fields };
	if (source.len == 0)
		return 0;
	if (source.len > TEMPLATE_SOURCE_MAX)
		return err_set(err, "the template is larger than 1 MB");
	if (!utf8_ok(source))
		return fail_at(&c, first_bad_byte(source),
		    "not valid UTF-8, or a NUL: save the file as UTF-8", slice_make(NULL, 0));
	if (find_partials(&c) != 0)
		return -1;
	return compile_range(&c);
}

bool
template_is_static(const struct template *t)
{
	for (size_t i = 0; i < t->count; i++)
		if (t->ops[i].kind != TEMPLATE_OP_TEXT)
			return false;
	return true;
}
