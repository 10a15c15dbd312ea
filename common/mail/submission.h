/* SPDX-License-Identifier: Apache-2.0 */
/*
 * submission: a whole mail that another program hands in, as sendmail(8) takes it, made fit for the
 * wire (RFC 6409 8): recipients found, Bcc taken out, From, Date and Message-ID added when missing,
 * 7-bit, CRLF, no line above 998. Pure: no I/O, no clock. Nothing in it is read as a template.
 *
 * What is 7-bit already passes unchanged but for its line ends. Bodies that are not are encoded part by
 * part, in quoted-printable or base64, whichever is shorter; header fields in UTF-8 become encoded
 * words. What cannot be made 7-bit without guessing is refused: a NUL, a header in another charset,
 * 8-bit content inside multipart/signed or behind a Content-Transfer-Encoding that denies it. An
 * address that is not ASCII is written as it is (RFC 6532 3.2), in a mail whose recipients all are
 * such; else it is refused, and as the one in From always.
 *
 * Fields that are taken out: Bcc and Resent-Bcc, Return-Path, X-Kairan-* and X-SES-* (which would name
 * another row or another account).
 */
#ifndef KAIRAN_SUBMISSION_H
#define KAIRAN_SUBMISSION_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "addr.h"
#include "arena.h"
#include "buf.h"
#include "err.h"
#include "slice.h"

#define SUBMISSION_RECIPIENTS_MAX 100
#define SUBMISSION_FIELDS_MAX 500	       /* header fields of one entity */
#define SUBMISSION_HEADER_MAX ((size_t)256000) /* bytes of one header */
#define SUBMISSION_DEPTH_MAX 10		       /* multiparts and messages in one another */
#define SUBMISSION_HOPS_MAX 50		       /* Received fields: more is a loop (RFC 5321 6.3) */

struct submission_input {
	struct slice bytes;	/* lines end in LF, CRLF or CR */
	bool take_recipients;	/* also those in To, Cc and Bcc; in Resent-To, -Cc, -Bcc alone
				 * when there is one of these */
	const struct slice *to; /* recipients besides */
	size_t to_count;
	struct slice default_from; /* when there is no From; empty: then it is refused */
	struct slice full_name;	   /* for that From; may be empty */
	struct slice id_left;	   /* of a Message-ID when there is none: unique, dot-atom */
	time_t date;		   /* when there is none */
};

struct submission {
	struct addr from;	 /* the one mailbox in From */
	struct slice message_id; /* value as it was given; empty: it was added */
	struct addr *recipients; /* in the arena, each address once, in order */
	size_t recipient_count;
	bool encoded; /* something had to be made 7-bit */
};

/* Appends the mail to out (ASCII but for such addresses). 0, or -1 with err, which says what to mend and quotes nothing of
 * the mail but names of fields. */
int submission_make(const struct submission_input *in, struct arena *arena, struct buf *out,
    struct submission *s, struct err *err) MUST_CHECK;

#endif
