/* SPDX-License-Identifier: Apache-2.0 */
/*
 * html_text: a template for text from a template for HTML, so that every mail has a text part.
 * Tags go, template tags stay as they are. Links become "text (address)", list items "- text" or
 * "1. text" (indented when nested), the cells of a row stand in one line with " | " between them
 * in a table that has <th>, images give their alt text, <pre> keeps its lines, entities become
 * characters. Pure; linear in its input; what is not HTML passes as text.
 */
#ifndef KAIRAN_HTML_TEXT_H
#define KAIRAN_HTML_TEXT_H

#include "buf.h"
#include "slice.h"

/* Appends the text, which ends in a line end. html is UTF-8. */
void html_text(struct buf *out, struct slice html);

#endif
