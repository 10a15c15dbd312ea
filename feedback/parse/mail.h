/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mail: a mail as fields and leaf parts (RFC 5322, RFC 2045, RFC 2046). Pure, linear in the size
 * times MAIL_DEPTH_MAX. Views of the mail live in the arena.
 *
 * Tolerates what MTAs really send: mbox "From " lines, blank lines before the header, any line
 * ends, no header at all, boundaries in other case, missing closing or declared boundaries,
 * invented multipart subtypes. An embedded mail (message/rfc822) is a leaf and is not opened.
 */
#ifndef KAIRAN_MAIL_H
#define KAIRAN_MAIL_H

#include <stdbool.h>
#include <stddef.h>

#include "arena.h"
#include "err.h"
#include "slice.h"

#define MAIL_READ_MAX (256 * 1024)
#define MAIL_HEADER_MAX (64 * 1024)
#define MAIL_FIELDS_MAX 500
#define MAIL_DEPTH_MAX 10
#define MAIL_PARTS_MAX 100

struct mail_field {
	struct slice name, value; /* value unfolded, not decoded */
};

enum mail_part_kind {
	MAIL_TEXT,	/* text/plain, and what cannot be told */
	MAIL_HTML,	/* text/html */
	MAIL_STATUS,	/* message/delivery-status, message/global-delivery-status */
	MAIL_FEEDBACK,	/* message/feedback-report */
	MAIL_RECEIPT,	/* message/disposition-notification */
	MAIL_TLS,	/* application/tlsrpt+gzip, +json */
	MAIL_EMBEDDED,	/* message/rfc822, message/global, message/partial */
	MAIL_HEADERS,	/* text/rfc822-headers, message/global-headers */
	MAIL_ATTACHMENT /* anything else */
};

struct mail_part {
	enum mail_part_kind kind;
	struct slice encoding, charset;
	struct slice body; /* as transferred */
	unsigned depth;	   /* 0: the mail itself */
};

struct mail {
	struct slice text; /* the whole, LF only */
	struct slice header;
	struct slice body;
	bool has_header;
	struct slice type; /* Content-Type of the mail */
	struct mail_field *fields;
	size_t field_count;
	struct mail_part *parts;
	size_t part_count;
	bool is_too_complex; /* past a limit; the parts so far are there */
};

/* 0, or -1 without memory. More than MAIL_READ_MAX bytes are not looked at. */
int mail_read(struct mail *mail, struct slice raw, struct arena *arena) MUST_CHECK;

/* The first field of this name, or empty. */
struct slice mail_field(const struct mail *mail, const char *name);

/* The first part of a kind, or NULL. */
const struct mail_part *mail_part(const struct mail *mail, enum mail_part_kind kind);

/* The content of a part: transfer encoding undone; for TEXT, HTML, STATUS, FEEDBACK and HEADERS
 * as UTF-8 with LF line ends, HTML as text. Empty when there is none. */
struct slice mail_part_text(const struct mail_part *part, struct arena *arena);

#endif
