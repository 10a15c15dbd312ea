/* SPDX-License-Identifier: Apache-2.0 */
/*
 * template: text with fields, compiled once to a small program and run once per recipient
 * without allocation (beyond the growth of the output buffer). kairan-campaign(5) describes
 * the language for those who write templates; it is what Amazon SES takes of Handlebars:
 *
 *   {{name}}  {{order.total}}  {{{name}}}  {{default name "text"}}
 *   {{#if x}} {{#unless x}} {{else}} {{else if y}} {{/if}}
 *   {{#each list}} {{this}} {{x}} {{../x}} {{@root.x}} {{@index}} {{@key}} {{@first}} {{@last}}
 *   {{#with object}} {{x}} {{/with}}  {{#each list as |x i|}} {{x.y}} {{i}}  {{#with object as |x|}}
 *   {{#*inline "part"}}..{{/inline}} {{> part}} {{> part key=field other="text"}}
 *   {{! comment }}  {{!-- comment with }} in it --}}  {{~x~}} takes blanks around it away
 *
 * Names are letters, digits, "_", "-", "." and anything that is not ASCII. A block tag, partial
 * or comment alone on its line takes the line with it. There is no input and output, and values
 * are never read as template. Files of partials are the caller's: it appends them to the source
 * as {{#*inline}} blocks, which count wherever they stand.
 *
 * The names of as |x i| are seen in their block, in the blocks inside it, and not in partials. A
 * parameter is seen in its partial, and in partials that are used there, but not inside an #each or
 * #with of it, where ../key names it; what it means is settled where the partial is used.
 *
 * A field that is missing (or null) is false for #if, and otherwise stops the recipient with
 * TEMPLATE_MISSING_FIELD unless it has a default (for #each and #with: an {{else}}) or the
 * values say that missing ones are blank.
 *
 * In HTML a field is escaped by its place, which is found when the template is compiled:
 * text and attribute values get entities; at the start of a link (href, src, action, ...) a
 * value may only be relative or http, https, mailto, tel, and is "#" otherwise; in style only
 * [A-Za-z0-9 #%.,_-] passes, the rest becomes "_". Where no escape is safe (script, on...=,
 * srcdoc, srcset, meta, names of tags and attributes, values without quotes) a field is a
 * compile error. {{{name}}} is HTML as it is in text; in an attribute value it keeps "&" only,
 * and the rule for links holds. Bidirectional embeddings, overrides and isolates (U+202A to
 * U+202E, U+2066 to U+2069) are dropped from values, but for raw HTML.
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

#define TEMPLATE_SOURCE_MAX ((size_t)1 << 20) /* as given, and with its partials where used */
#define TEMPLATE_FIELDS_MAX 1000
#define TEMPLATE_TAGS_MAX 20000 /* in one template, with its partials where they are used */
#define TEMPLATE_NESTING_MAX 32
#define TEMPLATE_SCOPES_MAX 8 /* #each and #with inside each other */
#define TEMPLATE_PARTIALS_MAX 100
#define TEMPLATE_PARTIAL_DEPTH_MAX 16
#define TEMPLATE_NAME_MAX 128
#define TEMPLATE_VALUE_MAX ((size_t)64 << 10)
#define TEMPLATE_OUTPUT_MAX ((size_t)10 << 20)
#define TEMPLATE_WORK_MAX ((size_t)32 << 20) /* bytes of JSON looked at and steps in one run */

enum template_context {
	TEMPLATE_TEXT,
	TEMPLATE_HTML,
	TEMPLATE_HEADER /* one line: runs of control characters become a space, counted */
};

enum template_status {
	TEMPLATE_OK,
	TEMPLATE_MISSING_FIELD, /* used, not present, without default */
	TEMPLATE_BAD_DATA,	/* invalid UTF-8, NUL, not JSON, #each of what is no list */
	TEMPLATE_TOO_LARGE /* TEMPLATE_VALUE_MAX, _OUTPUT_MAX, _WORK_MAX, or the buffer is full */
};

/* The names that the templates of one message share. Everything is owned by the arena. */
struct template_fields {
	struct slice *names; /* index -> name, in order of first use */
	bool *json; /* index -> the value is to be given as JSON text: #each or #with needs it */
	size_t count;
	const struct slice *builtins; /* borrowed; they hide fields of the same name */
	size_t builtin_count;
	uint64_t builtins_used; /* bit per built-in */
	struct arena *arena;
};

/* Index of a built-in: this bit and its place in builtins (at most 64 of them). */
#define TEMPLATE_BUILTIN 0x80000000U
/* The index of a field that nobody has: a parameter of a partial that is a text is its default. */
#define TEMPLATE_NOTHING UINT32_MAX

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
	bool blank_missing; /* what is missing shows nothing and stops nobody */
};

enum template_op_kind {
	TEMPLATE_OP_TEXT,
	TEMPLATE_OP_FIELD,
	TEMPLATE_OP_SKIP_UNLESS, /* to target when the field is false */
	TEMPLATE_OP_SKIP_IF,
	TEMPLATE_OP_SKIP,
	TEMPLATE_OP_EACH, /* the first value of the field; to target when there is none */
	TEMPLATE_OP_NEXT, /* back to target with the next value, on when there is none */
	TEMPLATE_OP_WITH  /* into the field; to target when it is false */
};

enum template_escape {
	TEMPLATE_RAW,
	TEMPLATE_PLAIN, /* text: as it is, without bidirectional controls */
	TEMPLATE_ENTITIES,
	TEMPLATE_LINK,	      /* scheme check, then entities */
	TEMPLATE_QUOTES,      /* entities, but "&" stays */
	TEMPLATE_LINK_QUOTES, /* scheme check, then that */
	TEMPLATE_COMMENT,     /* entities, "-" too */
	TEMPLATE_STYLE,
	TEMPLATE_LINE /* control characters to spaces */
};

/* What of the value of an #each or #with. */
enum template_item { TEMPLATE_VALUE, TEMPLATE_INDEX, TEMPLATE_KEY, TEMPLATE_FIRST, TEMPLATE_LAST };

/* What a tag names: a field of the customer (scope 0), or a path into the value of the #each or
 * #with that is the scope-th from outside. */
struct template_ref {
	uint32_t field; /* scope 0 */
	uint8_t scope;
	enum template_item item;
	const struct slice *path;
	size_t path_len;
	struct slice name; /* as it is told: items[].price */
};

struct template_op {
	enum template_op_kind kind;
	enum template_escape escape;
	bool has_default; /* FIELD: text; EACH, WITH: there is an else */
	uint8_t frame;	  /* EACH, NEXT, WITH: the scope that they are */
	uint32_t target;
	uint32_t at; /* byte in the source of what it comes from */
	struct template_ref ref;
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

/* Line and column (in characters) of a byte of the source, from 1. */
void template_position(struct slice source, size_t offset, size_t *line, size_t *column);

/* The whole length of the tag at the start of s, which begins with "{{"; 0 when it is open. */
size_t template_tag_len(struct slice s);

/* Is a value that is there true for #if? */
bool template_is_true(struct slice text);

/* The next {{> name}} behind *at that no {{#*inline}} of the source defines: its name, and *at
 * is moved to it. False when there is none. */
bool template_next_partial(struct slice source, size_t *at, struct slice *name);

/* Checks every value once for UTF-8, NUL, size and JSON; result names the first bad one. */
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
