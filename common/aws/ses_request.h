/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ses_request: bodies and paths of requests to the Amazon SES API v2 (service model 2019-09-27).
 * No I/O. Every builder appends to a buffer; an overflow shows by buf_failed().
 */
#ifndef KAIRAN_SES_REQUEST_H
#define KAIRAN_SES_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"
#include "err.h"
#include "slice.h"

#define SES_SEND_PATH "/v2/email/outbound-emails"
#define SES_BULK_PATH "/v2/email/outbound-bulk-emails"
#define SES_ACCOUNT_PATH "/v2/email/account"
#define SES_SUPPRESSION_PATH "/v2/email/suppression/addresses"

#define SES_TAG_MAX 256		   /* letters, digits, "-" and "_" in names and values */
#define SES_MESSAGE_MAX 41943040   /* 40 MB after base64 */
#define SES_BULK_RECIPIENTS_MAX 50 /* of one call */
#define SES_BULK_BODY_MAX 1000000  /* of a call with its template: "1 MB" (Developer Guide) */
#define SES_TEMPLATE_DATA_MAX 262144
#define SES_HEADERS_MAX 15 /* of Simple, and of an entry */
#define SES_HEADER_MAX 996 /* name and value */

struct ses_tag {
	struct slice name, value;
};

/* What is alike for every kind of content; empty where it is not wanted. */
struct ses_common {
	struct slice from;		/* FromEmailAddress; Raw may leave it to the header */
	struct slice configuration_set; /* ConfigurationSetName */
	struct slice identity_arn;	/* FromEmailAddressIdentityArn */
	struct slice feedback_address;	/* FeedbackForwardingEmailAddress, must be verified */
	struct slice tenant;		/* TenantName */
	const struct ses_tag *tags;
	size_t tag_count;
};

struct ses_simple {
	struct slice to;
	struct slice reply_to;
	struct slice subject, text, html; /* UTF-8; text or html is needed */
	const struct ses_tag *headers;	  /* at most SES_HEADERS_MAX, printable ASCII */
	size_t header_count;
};

/* One recipient of SendBulkEmail. */
struct ses_bulk_entry {
	struct slice to;
	struct slice template_data; /* a JSON object as text, at most SES_TEMPLATE_DATA_MAX */
	const struct ses_tag *tags;
	size_t tag_count;
	const struct ses_tag *headers; /* as of ses_simple */
	size_t header_count;
};

/* SendEmail with Content.Raw: `message` is a whole mail with CRLF line ends. */
void ses_send_raw(
    struct buf *out, const struct ses_common *common, struct slice to, struct slice message);

/* SendEmail with Content.Simple. */
void ses_send_simple(
    struct buf *out, const struct ses_common *common, const struct ses_simple *simple);

/* SendBulkEmail with a template that comes with it: begin, 1 .. SES_BULK_RECIPIENTS_MAX times entry,
 * end. content: {"Subject":"..","Html":"..","Text":".."}, each of which may be absent. */
void ses_bulk_begin(
    struct buf *out, const struct ses_common *common, struct slice reply_to, struct slice content);
void ses_bulk_entry(struct buf *out, const struct ses_bulk_entry *entry, bool is_first);
void ses_bulk_end(struct buf *out);

/* A JSON string; s is UTF-8. */
void ses_put_text(struct buf *out, struct slice s);

/* PutSuppressedDestination; reason: "BOUNCE" or "COMPLAINT". */
void ses_suppression_put(struct buf *out, struct slice address, const char *reason);

/* Path of GetSuppressedDestination and DeleteSuppressedDestination, percent-encoded once. */
void ses_suppression_path(struct buf *out, struct slice address);

/* Query of ListSuppressedDestinations, sorted and encoded; since_s 0 and next "" for the first
 * page of everything. */
void ses_suppression_query(struct buf *out, int64_t since_s, struct slice next, unsigned page);

#endif
