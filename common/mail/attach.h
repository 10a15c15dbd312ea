/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attach: a file in a message, as an attachment (RFC 2183) or as an image that the HTML names by
 * cid: (RFC 2392). Encoded once per campaign; pure.
 */
#ifndef KAIRAN_ATTACH_H
#define KAIRAN_ATTACH_H

#include <stdbool.h>

#include "arena.h"
#include "buf.h"
#include "err.h"
#include "slice.h"

#define ATTACH_COUNT_MAX 20
#define ATTACH_NAME_MAX 200		    /* bytes */
#define ATTACH_BYTES_MAX ((size_t)10 << 20) /* all files of one message together */

struct attach {
	struct slice name;	 /* as the reader sees it: UTF-8, without a path */
	struct slice type;	 /* image/png */
	struct slice content_id; /* without brackets; empty: an attachment */
	struct slice bytes;
};

/* The media type by the ending of a name; application/octet-stream for others. */
const char *attach_type(struct slice name);

/* Bytes from base64 as PostgreSQL's encode() gives it, into the arena. False when it is none, or
 * without memory. */
bool attach_decode(struct arena *arena, const char *base64, struct slice *bytes) MUST_CHECK;

/* Appends the header and the body of the part, in base64. 0, or -1 with err when the name, the
 * type or the id is not fit for a header. */
int attach_put(const struct attach *a, struct buf *out, struct err *err) MUST_CHECK;

#endif
