/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lint_html: a template of HTML as a list of its tags, texts, fields and conditions, in the order
 * of the mail: partials stand where they are used. Where the bytes stand is what html_scan says of
 * them; both branches of a condition begin where the condition does. Pure.
 */
#ifndef KAIRAN_LINT_HTML_H
#define KAIRAN_LINT_HTML_H

#include <stdbool.h>
#include <stddef.h>

#include "arena.h"
#include "err.h"
#include "slice.h"

enum lint_node_kind {
	LINT_OPEN,  /* <name ...>; text is the name */
	LINT_CLOSE, /* </name> */
	LINT_TEXT,  /* between tags, references such as &amp; as they are */
	LINT_STYLE, /* inside <style> */
	LINT_FIELD, /* a field between tags; text is the whole {{tag}} */
	LINT_IF,    /* #if, #unless, #each, #with: a branch begins */
	LINT_ELSE,
	LINT_END
};

/* Values may hold fields as they are written; empty without "=". */
struct lint_attr {
	struct slice name;
	struct slice value;
	const struct lint_attr *next;
};

/* Slices point into the source. */
struct lint_node {
	enum lint_node_kind kind;
	bool self_closed; /* <name/> */
	struct slice text;
	const struct lint_attr *attrs;
};

struct lint_html {
	const struct lint_node *nodes;
	size_t count;
};

/* source is borrowed as long as html is used, the rest is the arena's. 0, or -1 with err when the
 * arena has no room. */
int lint_html_read(
    struct lint_html *html, struct slice source, struct arena *arena, struct err *err) MUST_CHECK;

/* The value of an attribute (any case); NULL without it. */
const struct slice *lint_attr(const struct lint_node *node, const char *name);

bool lint_tag_is(const struct lint_node *node, const char *name);

/* A tag of a list that ends with NULL. */
bool lint_tag_in(const struct lint_node *node, const char *const *names);

/* What a tag of the template is to the flow: LINT_FIELD, LINT_IF, LINT_ELSE, LINT_END, or
 * LINT_TEXT for remarks and partials. tag: as template_tag_len() measured it. */
enum lint_node_kind lint_template_tag(struct slice tag);

#endif
