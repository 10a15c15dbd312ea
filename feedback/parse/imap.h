/* SPDX-License-Identifier: Apache-2.0 */
/*
 * imap: what of IMAP (RFC 3501, RFC 4315) and POP3 (RFC 1939) has to be read to empty a mailbox:
 * single lines, without their end. Pure; login and TLS are libcurl's.
 */
#ifndef KAIRAN_IMAP_H
#define KAIRAN_IMAP_H

#include <stdbool.h>
#include <stdint.h>

#include "slice.h"

#define IMAP_LITERAL_MAX ((size_t)2 * 1024 * 1024)

enum imap_answer { IMAP_UNTAGGED, IMAP_OK, IMAP_REFUSED }; /* REFUSED: NO, BAD, BYE */

/* Is it the end of the command with this tag? */
enum imap_answer imap_answer(struct slice line, struct slice tag);

/* A line that ends in {123}: 123 bytes follow, then the line goes on. False without one; size
 * is IMAP_LITERAL_MAX + 1 for what is longer. */
bool imap_literal(struct slice line, size_t *size);

/* "* SEARCH 4 8 15": the numbers, at most max. Returns how many; 0 for another line. */
size_t imap_search(struct slice line, uint32_t *uids, size_t max);

/* "* OK [UIDVALIDITY 3857529045] …"; 0 for another line. */
uint32_t imap_uidvalidity(struct slice line);

/* "* CAPABILITY …" names this one (as a whole word, whatever the case). */
bool imap_has_capability(struct slice line, struct slice name);

/* "* 12 FETCH (… BODY[]… {": the untagged answer that carries a mail. */
bool imap_is_fetch(struct slice line);

/* True for "+OK…". */
bool pop3_is_ok(struct slice line);

/* "12 uidl-of-it" of UIDL. False for another line; an id has 1..70 printable characters. */
bool pop3_uidl(struct slice line, uint32_t *number, struct slice *id);

#endif
