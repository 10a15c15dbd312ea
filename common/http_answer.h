/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_answer: bytes from a connection -> one answer of HTTP/1 (RFC 9112) to a request other than
 * HEAD and CONNECT. No I/O; fed any pieces, it says the same. Interim answers (1xx) are skipped.
 *
 * Strict, since whoever reads an answer otherwise than a device on the way takes another one's answer
 * for his own: two lengths, a length beside chunks, an unknown coding, a folded or malformed field, a
 * line without CR LF, an upgrade nobody asked for are no answer.
 */
#ifndef KAIRAN_HTTP_ANSWER_H
#define KAIRAN_HTTP_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "slice.h"

#define HTTP_ANSWER_HEAD_MAX ((size_t)32 << 10) /* bytes of all heads and trailers */
#define HTTP_ANSWER_CHUNK_LINE_MAX 256		/* a chunk's size and its extensions */
#define HTTP_ANSWER_ERROR_TYPE_MAX 200		/* what is longer is cut */
#define HTTP_ANSWER_DATE_MAX 63

enum http_answer_result {
	HTTP_ANSWER_MORE,  /* not all is there */
	HTTP_ANSWER_WHOLE, /* status, fields and all of the body */
	HTTP_ANSWER_CUT,   /* status, but not all of the body or of the fields */
	HTTP_ANSWER_BAD	   /* no answer: why says what is wrong */
};

enum http_answer_state {
	HTTP_ANSWER_STATUS,
	HTTP_ANSWER_FIELDS,
	HTTP_ANSWER_COUNTED,	 /* a body of `left` bytes more */
	HTTP_ANSWER_UNTIL_CLOSE, /* a body that ends with the connection */
	HTTP_ANSWER_CHUNK_SIZE,
	HTTP_ANSWER_CHUNK, /* `left` bytes more of this one */
	HTTP_ANSWER_CHUNK_END,
	HTTP_ANSWER_TRAILERS,
	HTTP_ANSWER_ENDED /* WHOLE, CUT or BAD */
};

struct http_answer {
	int status; /* as soon as its line was read, and unless BAD; else 0. 1xx until its end */
	bool keeps; /* WHOLE: the connection stays */
	const char *why; /* BAD: static text; else "" */
	struct buf body; /* owned; coding undone; at most body_max bytes */
	char error_type[HTTP_ANSWER_ERROR_TYPE_MAX + 1]; /* x-amzn-ErrorType, "" when absent */
	char date[HTTP_ANSWER_DATE_MAX + 1];		 /* Date, "" when absent */

	/* of the parser */
	enum http_answer_state state;
	struct buf line;   /* the beginning of one that is not all there */
	size_t head_bytes; /* of HTTP_ANSWER_HEAD_MAX */
	uint64_t left;
	bool old; /* HTTP/1.0 */
	bool has_length, is_chunked, says_close, says_keep;
};

/* body_max: what is longer is CUT. */
void http_answer_init(struct http_answer *a, size_t body_max);
void http_answer_release(struct http_answer *a);

/* For the next answer; keeps the memory. */
void http_answer_reset(struct http_answer *a);

/* Takes the next bytes. *used: how many belong to this answer; all of them when MORE. When it is not
 * MORE nothing else may be fed before http_answer_reset(). */
enum http_answer_result http_answer_feed(
    struct http_answer *a, const char *bytes, size_t n, size_t *used);

/* The connection has ended, or nobody waits any longer: WHOLE when that is how this answer ends, CUT
 * when there is a status, else BAD. closed: by its other side, in order. */
enum http_answer_result http_answer_end(struct http_answer *a, bool closed);

#endif
