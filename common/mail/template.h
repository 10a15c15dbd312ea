/* SPDX-License-Identifier: Apache-2.0 */
/*
 * template: text with fields, compiled once to a small program and run once per recipient
 * without allocation (beyond the growth of the output buffer).
 *
 *   {{name}}  {{order.total}}          the value of a field, escaped for where it stands
 *   {{{name}}}                         the value as it is
 *   {{default name "text"}}            the value, or the text when it is missing or empty
 *   {{#if name}}..{{else}}..{{/if}}    when the value is present, not empty, not "false" or "0"
 *   {{#unless name}}..{{else}}..{{/unless}}
 *   {{! comment }}  {{!-- comment with }} in it --}}
 *
 * Names are letters, digits, "_", "-", "." and anything that is not ASCII; a dot means nothing.
 * A block tag or comment alone on its line takes the line with it. There is no input, output,
 * loop or include, and values are never read as template.
 *
 * In HTML a field is escaped by its place, which is found when the template is compiled:
 * text and attribute values get entities; at the start of a link (href, src, action, ...) a
 * value may only be relative or http, https, mailto, tel, and is "#" otherwise; in style only
 * [A-Za-z0-9 #%.,_-] passes, the rest becomes "_". Where no escape is safe (script, on...=,
 * srcdoc, names of tags and attributes, values without quotes) {{name}} is a compile error.
 */
#ifndef KAIRAN_TEMPLATE_H
#define KAIRAN_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "buf.h"
#include "err.h"
#include "slice.h"

#define TEMPLATE_SOURCE_MAX ((size_t)1 << 20)
#define TEMPLATE_FIELDS_MAX 1000
#define TEMPLATE_TAGS_MAX 20000 /* in one template */
#define TEMPLATE_NESTING_MAX 32
#define TEMPLATE_NAME_MAX 128
#define TEMPLATE_VALUE_MAX ((size_t)64 << 10)
#define TEMPLATE_OUTPUT_MAX ((size_t)10 << 20)

enum template_context {
	TEMPLATE_TEXT,
	TEMPLATE_HTML,
	TEMPLATE_HEADER /* one line: runs of control characters become a space, counted */
};

enum template_status {
	TEMPLATE_OK,
	TEMPLATE_MISSING_FIELD, /* used, not present, without default */
	TEMPLATE_BAD_DATA,	/* invalid UTF-8 or NUL */
	TEMPLATE_TOO_LARGE	/* TEMPLATE_VALUE_MAX, TEMPLATE_OUTPUT_MAX, or the buffer is full */
};

/* The names that the templates of one message share. Everything is owned by the arena. */
struct template_fields {
	struct slice *names; /* index -> name, in order of first use */
	size_t count;
	const struct slice *builtins; /* borrowed; they hide fields of the same name */
	size_t builtin_count;
	uint64_t builtins_used; /* bit per built-in */
	struct arena *arena;
};

/* Index of a built-in: this bit and its place in builtins (at most 64 of them). */
#define TEMPLATE_BUILTIN 0x80000000U

struct template_value {
	struct slice text;
	bool present;
};

/* Values by index; indices at or above count are not present. */
struct template_values {
	const struct template_value *fields;
	size_t count;
	const struct template_value *builtins;
	size_t builtin_count;
};

enum template_op_kind {
	TEMPLATE_OP_TEXT,
	TEMPLATE_OP_FIELD,
	TEMPLATE_OP_SKIP_UNLESS, /* to target when the field is false */
	TEMPLATE_OP_SKIP_IF,
	TEMPLATE_OP_SKIP
};

enum template_escape {
	TEMPLATE_RAW,
	TEMPLATE_ENTITIES,
	TEMPLATE_LINK, /* scheme check, then entities */
	TEMPLATE_STYLE,
	TEMPLATE_LINE /* control characters to spaces */
};

struct template_op {
	enum template_op_kind kind;
	enum template_escape escape;
	bool has_default;
	uint32_t field;
	uint32_t target;
	struct slice text; /* literal, or default */
};

struct template
{
	const struct template_op *ops;
	size_t count;
	size_t text_bytes;  /* of all literals */
	unsigned raw_count; /* {{{name}}} tags: to be shown to whoever checks the template */
	enum template_context context;
	const struct template_fields *fields; /* borrowed */
};

struct template_result {
	enum template_status status;
	struct slice field; /* the field at fault, borrowed from the fields; empty if none */
	unsigned cleaned;   /* runs of control characters replaced (TEMPLATE_HEADER) */
};

/* builtins: at most 64 names that the program fills; borrowed. false without memory. */
bool template_fields_init(struct template_fields *fields, const struct slice *builtins,
    size_t builtin_count, struct arena *arena) MUST_CHECK;

/* Index of a name that some template uses, or -1. */
int64_t template_field_index(const struct template_fields *fields, struct slice name);

/*
 * Compiles source (borrowed during the call) and adds its names to fields. 0, or -1 with err:
 * "line 3, column 14: ...", err->offset = byte in the source; columns count characters.
 */
int template_compile(struct template *t, struct slice source, enum template_context context,
    struct template_fields *fields, struct err *err) MUST_CHECK;

/* Checks every value once for UTF-8, NUL and size; result names the first bad one. */
bool template_values_check(const struct template_fields *fields,
    const struct template_values *values, struct template_result *result) MUST_CHECK;

/* Appends the rendered text to out; on failure out is as it was. Values are checked first. */
enum template_status template_render(const struct template *t, const struct template_values *values,
    struct buf *out, struct template_result *result);

/* Where the pieces of a run go. put_text gets literals with the number of their op, put_value
 * everything that comes from values. */
struct template_sink {
	struct buf *out;
	void (*put_text)(struct template_sink *sink, size_t op, struct slice text);
	void (*put_value)(struct template_sink *sink, struct slice piece);
};

/* As template_render for values that have been checked, into any sink. What was appended to
 * sink->out before a failure stays there. */
enum template_status template_run(const struct template *t, const struct template_values *values,
    struct template_sink *sink, struct template_result *result);

/* The whole program runs without fields and conditions: one text, or nothing. */
bool template_is_static(const struct template *t);

#endif
