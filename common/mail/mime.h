/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mime: bytes on the wire for header fields and bodies. Everything written here is 7-bit (but for
 * addresses that are not), with CRLF line ends and bounded lines: 76 columns in bodies and in lines with encoded words, 78
 * elsewhere (RFC 2045 6.7 and 6.8, RFC 2047 2, RFC 5322 2.1.1).
 *
 * A header value has one exit, which refuses control characters, so that no value can start
 * a new line or field. Text is UTF-8. Pure: no locale, no clock, no global state. A full
 * buffer shows in buf_failed() as usual.
 */
#ifndef KAIRAN_MIME_H
#define KAIRAN_MIME_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "arena.h"
#include "buf.h"
#include "err.h"
#include "jis.h"
#include "slice.h"

#define MIME_BODY_COLUMNS 76	/* RFC 2045 6.7 (5) and 6.8 */
#define MIME_WORD_MAX 75	/* RFC 2047 2: one encoded word */
#define MIME_WORD_COLUMNS 76	/* RFC 2047 2: a line that holds one */
#define MIME_HEADER_COLUMNS 78	/* RFC 5322 2.1.1: aim */
#define MIME_LINE_MAX 998	/* RFC 5322 2.1.1: never more */
#define MIME_HEADER_NAME_MAX 50 /* ours: leaves room for a first word */
#define MIME_DATE_BYTES 32	/* "Tue, 01 Jul 2025 09:05:07 +0900" and a NUL */

/* Length of the line-breaking or control character at p that may not stand in a header: C0,
 * DEL, U+0085, U+2028, U+2029; 0 when there is another one. n > 0. */
size_t mime_control_at(const char *p, size_t n);

/* Appends s with each run of such characters as one space; returns the number of runs. Of a value (what
 * no author of a template wrote) bidirectional controls (utf8_bidi) are dropped, and counted. */
unsigned mime_put_clean(struct buf *out, struct slice s, bool is_value);

/* Printable ASCII without ':' (RFC 5322 2.2), at most MIME_HEADER_NAME_MAX. */
bool mime_header_name_ok(struct slice name);

/*
 * The header writers append one whole field, "Name: value" CRLF, folded. They return false and
 * append nothing when the name or a value is not fit for the wire.
 *
 * Encoded words are in UTF-8, or in ISO-2022-JP when a table is given; then a value with a
 * character that has no place there is refused.
 */

/* Unstructured text (RFC 5322 2.2.1); becomes encoded words when it is not plain ASCII, when
 * it looks like an encoded word, or when it can not be folded otherwise. Refused: control
 * characters as above, invalid UTF-8. */
bool mime_put_text_header_in(
    const struct jis *jis, struct buf *out, struct slice name, struct slice value) MUST_CHECK;

static inline bool MUST_CHECK
mime_put_text_header(struct buf *out, struct slice name, struct slice value)
{
	return mime_put_text_header_in(NULL, out, name, value);
}

/* Structured value: printable ASCII and single spaces, already in its final form; folded at
 * spaces only. Refused: anything else, a line above MIME_LINE_MAX. */
bool mime_put_token_header(struct buf *out, struct slice name, struct slice value) MUST_CHECK;

/* "display" <addr>, or the bare addr without a display name. The display name becomes atoms,
 * a quoted string or encoded words (RFC 5322 3.2.5). addr: an addr-spec or, for List-Id, a
 * dot-atom; without specials (what addr_parse lets through). One that is not ASCII is written in
 * UTF-8 as it is (RFC 6532 3.2), and its message needs SMTPUTF8. */
bool mime_put_mailbox_header_in(const struct jis *jis, struct buf *out, struct slice name,
    struct slice display, struct slice addr) MUST_CHECK;

static inline bool MUST_CHECK
mime_put_mailbox_header(struct buf *out, struct slice name, struct slice display, struct slice addr)
{
	return mime_put_mailbox_header_in(NULL, out, name, display, addr);
}

/* RFC 5322 3.3, in the zone given as minutes east of UTC (-1439..1439). Returns the length. */
size_t mime_date(char dst[MIME_DATE_BYTES], time_t when, int zone_minutes);

/* Base64 in lines of 76 with CRLF behind each (RFC 2045 6.8). */
void mime_put_base64(struct buf *out, struct slice bytes);

/* What mime_put_base64 would append for n bytes. */
size_t mime_base64_size(size_t n);

/* Appends s with CR, LF and CRLF each as CRLF. */
void mime_put_crlf(struct buf *out, struct slice s);

/*
 * Quoted-printable (RFC 2045 6.7) as a stream of fragments. CR, LF and CRLF inside a fragment
 * are line ends. No line begins with "." or "From ", none ends in a blank, none is above 76.
 * Each fragment is safe whatever stands before and behind it.
 */
struct mime_qp {
	struct buf *out; /* borrowed */
	size_t column;	 /* 0 at the start of a body */
};

void mime_qp_put(struct mime_qp *qp, struct slice fragment);

/* A fragment encoded once and put many times. */
struct mime_qp_run {
	struct slice bytes; /* encoded as if at the start of a line */
	size_t head;	    /* columns before its first line end, or of all of it */
	size_t tail;	    /* column behind it, when it has a line end */
	bool breaks;	    /* it has a line end, soft or hard */
};

/* The bytes are copied to the arena; false without memory. */
bool mime_qp_run_make(
    struct mime_qp_run *run, struct slice fragment, struct arena *arena) MUST_CHECK;
void mime_qp_put_run(struct mime_qp *qp, const struct mime_qp_run *run);

/*
 * Base64 (RFC 2045 6.8) as a stream of fragments. Lines are of 76 columns or less: where a run
 * begins a line ends early, which readers pass over, so that the run can be copied as it is.
 */
struct mime_base64 {
	struct buf *out; /* borrowed */
	size_t column;	 /* 0 at the start of a body */
	size_t carried;	 /* 0..2 bytes that wait for their group of three */
	unsigned char carry[2];
};

void mime_base64_put(struct mime_base64 *b, struct slice bytes);

/* The last group and the last line end; nothing for an empty body. */
void mime_base64_end(struct mime_base64 *b);

/* A fragment encoded once and put many times, for each of the three places in a group of bytes
 * where it may begin. */
struct mime_base64_run {
	struct slice raw;
	struct {
		struct slice lines; /* whole groups from byte i of raw on; no line end behind */
		size_t column;	    /* behind them */
	} from[3];		    /* empty for a short run, which is encoded each time */
};

/* raw is borrowed as long as the run is used, the rest lives in the arena; false without memory. */
bool mime_base64_run_make(
    struct mime_base64_run *run, struct slice raw, struct arena *arena) MUST_CHECK;
void mime_base64_put_run(struct mime_base64 *b, const struct mime_base64_run *run);

#endif
