/* SPDX-License-Identifier: Apache-2.0 */
/*
 * html_scan: where in the HTML the next byte of a template stands, as a browser would read it,
 * and so how a field has to be escaped there. Pure; copied by assignment; starts as { 0 }.
 */
#ifndef KAIRAN_HTML_SCAN_H
#define KAIRAN_HTML_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "slice.h"
#include "template.h"

enum html_place {
	HTML_TEXT,
	HTML_TAG_OPEN, /* behind "<" */
	HTML_TAG_NAME,
	HTML_TAG, /* inside a tag, between attributes */
	HTML_ATTR_NAME,
	HTML_ATTR_AFTER,  /* blanks behind a name: "=" may come */
	HTML_ATTR_EQUALS, /* behind "=" */
	HTML_QUOTED,
	HTML_UNQUOTED,
	HTML_MARKUP, /* <!doctype>, <!--[if mso]>: up to ">" */
	HTML_COMMENT
};

enum html_attr { HTML_ATTR_PLAIN, HTML_ATTR_LINK, HTML_ATTR_STYLE, HTML_ATTR_CODE };

#define HTML_NAME_MAX 16

struct html_scan {
	enum html_place place;
	enum html_attr attr;
	char quote;
	bool closing;	    /* in </tag> */
	bool scheme_open;   /* a link value that may still be given a scheme */
	bool scheme_field;  /* and holds a field already */
	bool scheme_entity; /* or a character reference, which may be any character */
	bool in_script;
	bool in_style;
	uint8_t unsure;	   /* in HTML_TAG: 2 an attribute name may go on, 1 its "=" may come */
	bool name_unknown; /* the attribute's name depends on a condition */
	uint8_t dashes;	   /* in a comment */
	uint8_t tag_len;
	uint8_t name_len;
	char tag[HTML_NAME_MAX];
	char name[HTML_NAME_MAX]; /* attribute name, then start of a link value; lower case */
};

/* Reads literal text. Returns its length, or the place of the byte that would give a link with
 * a field before it its scheme. */
size_t html_scan_text(struct html_scan *s, struct slice text);

/* A field (raw: in three braces) stands here: sets its escape and goes on behind it. Returns
 * NULL, or why no field may stand here and what to do. */
const char *html_scan_field(struct html_scan *s, bool raw, enum template_escape *escape);

/* Joins the end of another branch into s, which is then as strict as both; false when they are
 * at different places. */
bool html_scan_join(struct html_scan *s, const struct html_scan *other);

/* Both would treat everything that follows alike. */
bool html_scan_same(const struct html_scan *a, const struct html_scan *b);

/* A link may have these schemes when a field names one. */
bool html_scheme_ok(struct slice name);

#endif
