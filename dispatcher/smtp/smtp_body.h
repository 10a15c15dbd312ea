/* SPDX-License-Identifier: Apache-2.0 */
/*
 * smtp_body: a message as it goes over the wire after 354 (RFC 5321 4.5.2). Owns nothing. What
 * it writes has no CR or LF outside CRLF and no line that begins with an unstuffed dot, so no
 * content can pass for the end of data.
 */
#ifndef KAIRAN_SMTP_BODY_H
#define KAIRAN_SMTP_BODY_H

#include <stdbool.h>

#include "buf.h"

/* The most that smtp_body_append() writes for n bytes: every bare line end and every dot doubled,
 * CRLF and dot line added. */
#define SMTP_BODY_MAX(n) (2 * (n) + 5)

/* Length of the final line "." CRLF. */
#define SMTP_BODY_DOT 3

/*
 * Appends the dot-stuffed data to out, every line ended by CRLF, then the final "." CRLF.
 * *repaired grows by the bare CRs and LFs made CRLF. False when out has no room (buf_failed).
 */
bool smtp_body_append(struct buf *out, struct slice data, uint64_t *repaired) MUST_CHECK;

/*
 * The same as one chunk (RFC 3030): "BDAT n LAST" CRLF and n bytes, every line ended by CRLF,
 * nothing stuffed and no dot behind.
 */
bool smtp_body_append_chunk(struct buf *out, struct slice data, uint64_t *repaired) MUST_CHECK;

/* What of the data needs care: a NUL, which is never sent, and bytes above 127 (RFC 6152). */
struct smtp_body_bytes {
	bool nul, eight_bit;
};
struct smtp_body_bytes smtp_body_look(struct slice data);

#endif
