/* SPDX-License-Identifier: Apache-2.0 */
/*
 * template_run: the part of template.h that runs a compiled template. Values of #each and #with
 * are read where they stand in the field's JSON text; nothing is built from it.
 */
#include <stdio.h>

#include "html_scan.h"
#include "jsontext.h"
#include "mime.h"
#include "template.h"
#include "utf8.h"

/* -ftrivial-auto-var-init would clear these for every recipient; each is set before it is read. */
#if defined(__has_attribute)
#if __has_attribute(uninitialized)
#define NOT_ZEROED __attribute__((uninitialized))
#endif
#endif
#ifndef NOT_ZEROED
#define NOT_ZEROED
#endif

/* One #each or #with that is under way. */
struct frame {
	struct jsontext_walk walk; /* #each */
	struct slice value;
	size_t index; /* from 0 */
};

struct runner {
	const bool *json; /* by field */
	const struct template_values *values;
	struct template_sink *sink;
	struct template_result *result;
	size_t work;
	char number[24];
	struct frame *frames; /* TEMPLATE_SCOPES_MAX + 1; set by the #each or #with they are */
};

/* A value as a tag shows it. */
struct found {
	struct slice text;
	bool present;
	bool escaped; /* holds JSON escapes */
};

static const struct template_value no_value;

static const struct template_value *
value_of(const struct template_values *v, uint32_t field)
{
	size_t i = field & ~TEMPLATE_BUILTIN;

	if ((field & TEMPLATE_BUILTIN) != 0)
		return i < v->builtin_count ? &v->builtins[i] : &no_value;
	return i < v->count ? &v->fields[i] : &no_value;
}

static enum template_status
fail(struct template_result *result, enum template_status status, struct slice field)
{
	result->status = status;
	result->field = field;
	return status;
}

/* --- checks --- */

static enum template_status
check_value(const struct template_value *v, bool json)
{
	if (!v->present)
		return TEMPLATE_OK;
	if (v->text.len > TEMPLATE_VALUE_MAX)
		return TEMPLATE_TOO_LARGE;
	if (!utf8_ok(v->text))
		return TEMPLATE_BAD_DATA;
	return !json || jsontext_check(v->text) ? TEMPLATE_OK : TEMPLATE_BAD_DATA;
}

bool
template_values_check(const struct template_fields *fields, const struct template_values *values,
    struct template_result *result)
{
	enum template_status status;

	for (size_t i = 0; i < values->count && i < fields->count; i++) {
		status = check_value(&values->fields[i], fields->json[i]);
		if (status != TEMPLATE_OK)
			return fail(result, status, fields->names[i]) == TEMPLATE_OK;
	}
	for (size_t i = 0; i < values->builtin_count && i < fields->builtin_count; i++) {
		if ((fields->builtins_used >> i & 1) == 0)
			continue;
		status = check_value(&values->builtins[i], false);
		if (status != TEMPLATE_OK)
			return fail(result, status, fields->builtins[i]) == TEMPLATE_OK;
	}
	return true;
}

/* --- finding --- */

/* The JSON value that an #each or #with, or a tag inside one, names; empty when missing. */
static struct slice
find_json(struct runner *r, const struct template_ref *ref)
{
	struct slice value;
	const struct template_value *v;

	if (ref->scope == 0) {
		v = value_of(r->values, ref->field);
		return v->present ? jsontext_value(v->text) : slice_make(NULL, 0);
	}
	value = r->frames[ref->scope].value;
	for (size_t i = 0; i < ref->path_len; i++) {
		r->work += value.len;
		value = jsontext_member(value, ref->path[i]);
	}
	return value;
}

static struct found
found_json(struct slice value)
{
	struct found f = { .text = value };
	struct jsontext_walk walk;

	switch (jsontext_kind(value)) {
	case JSONTEXT_NONE:
	case JSONTEXT_NULL:
		f.text = slice_make(NULL, 0);
		return f;
	case JSONTEXT_STRING:
		f.text = jsontext_inside(value);
		f.escaped = f.text.len > 0 && memchr(f.text.ptr, '\\', f.text.len) != NULL;
		break;
	case JSONTEXT_LIST:
		walk = jsontext_walk(value);
		if (!jsontext_next(&walk))
			f.text = SLICE("[]"); /* however it was written */
		break;
	case JSONTEXT_FALSE:
	case JSONTEXT_TRUE:
	case JSONTEXT_NUMBER:
	case JSONTEXT_OBJECT:
		break;
	}
	f.present = true;
	return f;
}

/* @index and its like. */
static struct found
found_item(struct runner *r, const struct template_ref *ref)
{
	const struct frame *frame = &r->frames[ref->scope];
	struct found f = { .present = true };
	int n;

	if (ref->item == TEMPLATE_FIRST) {
		f.text = frame->index == 0 ? SLICE("true") : SLICE("false");
	} else if (ref->item == TEMPLATE_LAST) {
		f.text = frame->walk.last ? SLICE("true") : SLICE("false");
	} else if (ref->item == TEMPLATE_KEY && frame->walk.object) {
		f.text = frame->walk.key;
		f.escaped = f.text.len > 0 && memchr(f.text.ptr, '\\', f.text.len) != NULL;
	} else {
		n = snprintf(r->number, sizeof(r->number), "%zu", frame->index);
		f.text = slice_make(r->number, (size_t)n);
	}
	return f;
}

/* The value of a field of the customer that is given as text; NULL when it is another. */
static inline const struct template_value *
find_plain(const struct runner *r, const struct template_ref *ref)
{
	if (ref->scope > 0 || ref->item != TEMPLATE_VALUE ||
	    ((ref->field & TEMPLATE_BUILTIN) == 0 && r->json[ref->field]))
		return NULL;
	return value_of(r->values, ref->field);
}

static struct found
find(struct runner *r, const struct template_ref *ref)
{
	const struct template_value *v = find_plain(r, ref);

	if (v != NULL)
		return (struct found){ .text = v->text, .present = v->present };
	return ref->item != TEMPLATE_VALUE ? found_item(r, ref) : found_json(find_json(r, ref));
}

/* 0, 0.00 */
static bool
is_zero(struct slice s)
{
	if (s.len == 0 || s.ptr[0] != '0')
		return false;
	if (s.len == 1)
		return true;
	for (size_t i = 2; i < s.len; i++)
		if (s.ptr[i] != '0')
			return false;
	return s.len > 2 && s.ptr[1] == '.';
}

bool
template_is_true(struct slice text)
{
	return text.len > 0 && !slice_equal(text, SLICE("false")) &&
	    !slice_equal(text, SLICE("[]")) && !is_zero(text);
}

static bool
is_true(const struct found *f)
{
	return f->present && template_is_true(f->text);
}

/* --- escapes --- */

static void
put_span(struct template_sink *sink, struct slice s, size_t from, size_t to)
{
	if (to > from)
		sink->put_value(sink, slice_make(s.ptr + from, to - from));
}

static void
put_plain(struct template_sink *sink, struct slice s)
{
	const char *p;
	size_t start = 0, i = 0;

	while (i < s.len && (p = memchr(s.ptr + i, 0xe2, s.len - i)) != NULL) {
		i = (size_t)(p - s.ptr);
		if (utf8_bidi(s.ptr + i, s.len - i) == 0) {
			i++;
			continue;
		}
		put_span(sink, s, start, i);
		start = i += 3;
	}
	put_span(sink, s, start, s.len);
}

/* Which characters are not put as they are. */
enum { MARK_AND = 1, MARK_QUOTES = 2, MARK_DASH = 4, MARK_BIDI = 8 };

static const unsigned char mark_of[256] = { ['&'] = MARK_AND,
	['<'] = MARK_QUOTES,
	['>'] = MARK_QUOTES,
	['"'] = MARK_QUOTES,
	['\''] = MARK_QUOTES,
	['-'] = MARK_DASH,
	[0xe2] = MARK_BIDI };

static struct slice
reference(char c)
{
	switch (c) {
	case '&':
		return SLICE("&amp;");
	case '<':
		return SLICE("&lt;");
	case '>':
		return SLICE("&gt;");
	case '"':
		return SLICE("&quot;");
	case '\'':
		return SLICE("&#39;");
	default:
		return SLICE("&#45;");
	}
}

/* The marks become character references. */
static void
put_marks(struct template_sink *sink, struct slice s, unsigned marks)
{
	size_t start = 0;

	marks |= MARK_BIDI;
	for (size_t i = 0; i < s.len; i++) {
		unsigned mark = mark_of[(unsigned char)s.ptr[i]] & marks;

		if (mark == 0 || (mark == MARK_BIDI && utf8_bidi(s.ptr + i, s.len - i) == 0))
			continue;
		put_span(sink, s, start, i);
		if (mark == MARK_BIDI)
			i += 2;
		else
			sink->put_value(sink, reference(s.ptr[i]));
		start = i + 1;
	}
	put_span(sink, s, start, s.len);
}

/* Reads the scheme as a browser does: blanks and controls inside it are passed over. raw: a
 * character reference may be any character, so none may stand before the scheme's end. */
static bool
link_ok(struct slice s, bool raw)
{
	char name[8];
	size_t len = 0;

	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];

		if (c == '/' || c == '?' || c == '#' || c == '\\')
			return true;
		if (c == ':')
			return html_scheme_ok(slice_make(name, len));
		if (raw && c == '&')
			return false;
		if ((unsigned char)c > ' ' && len < sizeof(name))
			name[len++] = c;
	}
	return true;
}

static void
put_style(struct template_sink *sink, struct slice s)
{
	size_t start = 0;

	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		    (c != '\0' && strchr(" #%.,_-", c) != NULL))
			continue;
		put_span(sink, s, start, i);
		sink->put_value(sink, SLICE("_"));
		start = i + 1;
	}
	put_span(sink, s, start, s.len);
}

/* Control characters to spaces; returns the number of runs. */
static unsigned
put_line(struct template_sink *sink, struct slice s)
{
	size_t start = 0, i = 0, n;
	unsigned runs = 0;

	while (i < s.len) {
		bool bidi = (unsigned char)s.ptr[i] == 0xe2 && utf8_bidi(s.ptr + i, s.len - i) > 0;

		if (!bidi && mime_control_at(s.ptr + i, s.len - i) == 0) {
			i++;
			continue;
		}
		put_span(sink, s, start, i);
		runs++;
		if (bidi)
			i += 3;
		else
			sink->put_value(sink, SLICE(" "));
		while (!bidi && i < s.len && (n = mime_control_at(s.ptr + i, s.len - i)) > 0)
			i += n;
		start = i;
	}
	put_span(sink, s, start, s.len);
	return runs;
}

static void
put_text(struct runner *r, enum template_escape escape, struct slice s)
{
	if (s.len == 0)
		return;
	if ((escape == TEMPLATE_LINK || escape == TEMPLATE_LINK_QUOTES) &&
	    !link_ok(s, escape == TEMPLATE_LINK_QUOTES))
		s = SLICE("#");
	switch (escape) {
	case TEMPLATE_RAW:
		r->sink->put_value(r->sink, s);
		break;
	case TEMPLATE_PLAIN:
		put_plain(r->sink, s);
		break;
	case TEMPLATE_ENTITIES:
	case TEMPLATE_LINK:
		put_marks(r->sink, s, MARK_AND | MARK_QUOTES);
		break;
	case TEMPLATE_QUOTES:
	case TEMPLATE_LINK_QUOTES:
		put_marks(r->sink, s, MARK_QUOTES);
		break;
	case TEMPLATE_COMMENT:
		put_marks(r->sink, s, MARK_AND | MARK_QUOTES | MARK_DASH);
		break;
	case TEMPLATE_STYLE:
		put_style(r->sink, s);
		break;
	case TEMPLATE_LINE:
		r->result->cleaned += put_line(r->sink, s);
		break;
	}
}

/* A JSON string with escapes: on the stack, as a value is never larger. */
static __attribute__((noinline)) void
put_decoded(struct runner *r, enum template_escape escape, struct slice inside)
{
	char plain[TEMPLATE_VALUE_MAX] NOT_ZEROED;

	put_text(r, escape, slice_make(plain, jsontext_decode(inside, plain)));
}

static enum template_status
put_field(struct runner *r, const struct template_op *op)
{
	struct found f = find(r, &op->ref);

	if (op->has_default && f.text.len == 0)
		put_text(r, op->escape, op->text);
	else if (!f.present && !r->values->blank_missing)
		return fail(r->result, TEMPLATE_MISSING_FIELD, op->ref.name);
	else if (f.escaped)
		put_decoded(r, op->escape, f.text);
	else
		put_text(r, op->escape, f.text);
	return TEMPLATE_OK;
}

/* --- blocks --- */

/* Into an #each or #with; *next is set to where to go on. */
static enum template_status
enter(struct runner *r, const struct template_op *op, size_t *next)
{
	struct frame *frame = &r->frames[op->frame];
	struct slice value = find_json(r, &op->ref);
	struct found f = found_json(value);
	enum jsontext_kind kind = jsontext_kind(value);

	*frame = (struct frame){ .value = value };
	if (!f.present && !op->has_default && !r->values->blank_missing)
		return fail(r->result, TEMPLATE_MISSING_FIELD, op->ref.name);
	if (!is_true(&f)) {
		*next = op->target;
		return TEMPLATE_OK;
	}
	if (op->kind == TEMPLATE_OP_WITH)
		return TEMPLATE_OK;
	if (kind != JSONTEXT_LIST && kind != JSONTEXT_OBJECT)
		return fail(r->result, TEMPLATE_BAD_DATA, op->ref.name);
	frame->walk = jsontext_walk(value);
	r->work += value.len;
	if (jsontext_next(&frame->walk))
		frame->value = frame->walk.value;
	else
		*next = op->target;
	return TEMPLATE_OK;
}

static void
go_on(struct runner *r, const struct template_op *op, size_t *next)
{
	struct frame *frame = &r->frames[op->frame];

	r->work += *next - op->target + frame->value.len;
	if (!jsontext_next(&frame->walk))
		return;
	frame->index++;
	frame->value = frame->walk.value;
	*next = op->target;
}

/* One op that is neither text nor a plain field; *i, behind it, is set to where to go on. */
static enum template_status
step(struct runner *r, const struct template_op *op, size_t *i)
{
	struct found f;

	switch (op->kind) {
	case TEMPLATE_OP_TEXT:
		break;
	case TEMPLATE_OP_FIELD:
		return put_field(r, op);
	case TEMPLATE_OP_SKIP_UNLESS:
	case TEMPLATE_OP_SKIP_IF:
		f = find(r, &op->ref);
		if (is_true(&f) == (op->kind == TEMPLATE_OP_SKIP_IF))
			*i = op->target;
		break;
	case TEMPLATE_OP_SKIP:
		*i = op->target;
		break;
	case TEMPLATE_OP_EACH:
	case TEMPLATE_OP_WITH:
		return enter(r, op, i);
	case TEMPLATE_OP_NEXT:
		go_on(r, op, i);
		break;
	}
	return TEMPLATE_OK;
}

enum template_status
template_run(const struct template *t, const struct template_values *values,
    struct template_sink *sink, struct template_result *result)
{
	struct frame frames[TEMPLATE_SCOPES_MAX + 1] NOT_ZEROED;
	struct runner r = { .json = t->fields->json,
		.values = values,
		.sink = sink,
		.result = result,
		.frames = frames };
	size_t start = sink->out->len, i = 0;

	while (i < t->count) {
		const struct template_op *op = &t->ops[i++];
		const struct template_value *v;

		/* nearly all there is to do */
		if (op->kind == TEMPLATE_OP_TEXT)
			sink->put_text(sink, i - 1, op->text);
		else if (op->kind == TEMPLATE_OP_FIELD && (v = find_plain(&r, &op->ref)) != NULL &&
		    v->present && v->text.len > 0)
			put_text(&r, op->escape, v->text);
		else if (step(&r, op, &i) != TEMPLATE_OK)
			return result->status;
		if (buf_failed(sink->out) || sink->out->len - start > TEMPLATE_OUTPUT_MAX ||
		    r.work > TEMPLATE_WORK_MAX)
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
