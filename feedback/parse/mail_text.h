/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mail_text: from the bytes of a mail to UTF-8 that can be read. Pure but for iconv's tables;
 * linear. Broken input gives '?' for what cannot be read, never an error. What is returned lives
 * in the arena or is the input itself; {NULL, 0} only when the arena is full or the input empty.
 */
#ifndef KAIRAN_MAIL_TEXT_H
#define KAIRAN_MAIL_TEXT_H

#include "arena.h"
#include "slice.h"

/* LF line ends, blanks for NULs, at most max bytes, with a NUL behind that is not counted. A CR
 * alone ends a line only where there is no LF at all. */
struct slice mail_text_lines(struct arena *arena, struct slice raw, size_t max);

/* Content-Transfer-Encoding "base64", "quoted-printable"; any other leaves the body as it is
 * (RFC 2045 section 6). What is no base64 at all is left, too. */
struct slice mail_text_decode(struct arena *arena, struct slice body, struct slice encoding);

/* From the named charset. Without a name, and for text that is not what its name says: UTF-8
 * if it is that, ISO-2022-JP by its escapes, Shift_JIS or EUC-JP by their bytes, else Latin-1. */
struct slice mail_text_utf8(struct arena *arena, struct slice bytes, struct slice charset);

/* RFC 2047 words of a header field. */
struct slice mail_text_words(struct arena *arena, struct slice value);

/* Text of HTML: tags away, breaks and blocks as line ends, the usual entities. */
struct slice mail_text_html(struct arena *arena, struct slice html);

#endif
