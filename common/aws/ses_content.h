/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ses_content: a message as the kinds of content that Amazon SES puts together itself: Simple of
 * SendEmail, and a template with slots of SendBulkEmail. No I/O.
 *
 * SES writes From, To, Reply-To, Subject, Date, Message-ID, MIME-Version and the MIME structure
 * from what it is given; all other fields go as headers. SES puts the values of slots into their
 * places as they are ("SES doesn't escape HTML content", Developer Guide), so they come escaped;
 * templates in a request know simple substitution only, so all else is done here.
 */
#ifndef KAIRAN_SES_CONTENT_H
#define KAIRAN_SES_CONTENT_H

#include <stdbool.h>

#include "buf.h"
#include "err.h"
#include "message.h"
#include "ses_request.h"

enum ses_content { SES_CONTENT_RAW, SES_CONTENT_SIMPLE, SES_CONTENT_BULK };

/* "raw", "simple", "bulk" (stream.ses_content); what is none of them is raw. */
enum ses_content ses_content_of(const char *name);

/*
 * Whether messages of the plan, compiled with slots for BULK, can be said in this kind of content;
 * is_signed: by a DKIM key of our own. 0, or -1 with err, which names the stream, says what stands in
 * the way, and what to do.
 */
int ses_content_check(const struct message_plan *plan, enum ses_content content, bool is_signed,
    const char *stream, struct err *err) MUST_CHECK;

/* Header fields of a message as SES takes them: values unfolded, printable ASCII. */
struct ses_fields {
	struct slice from, to, reply_to; /* mailboxes; reply_to may be empty */
	struct ses_tag field[SES_HEADERS_MAX];
	size_t count;
};

/* head: as of message_pieces. The slices point into `text`, to which values are appended, until its
 * next change. 0, or -1 with err. */
int ses_fields_read(
    struct ses_fields *f, struct slice head, struct buf *text, struct err *err) MUST_CHECK;

/* Appends what ses_bulk_begin() takes: the plan's texts with {{s0}}, {{t0}}, {{h0}} and so on as the
 * slots of subject, text and html. */
void ses_content_template(const struct message_plan *plan, struct buf *out);

/* Appends the template data of one recipient: {"s0":"..","t0":"..","h0":".."}. pieces: of a plan with
 * slots. */
void ses_content_data(const struct message_pieces *pieces, struct buf *out);

#endif
