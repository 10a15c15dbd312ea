/* SPDX-License-Identifier: Apache-2.0 */
/* ses_compose: see ses_compose.h. */
#include "ses_compose.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "addr.h"
#include "compose.h"
#include "db.h"
#include "ses_content.h"
#include "ses_request.h"

#define KEEP_BYTES 2000000 /* larger buffers are not kept */

static void
trim(struct buf *b)
{
	if (b->capacity > KEEP_BYTES) {
		size_t max = b->max;

		buf_release(b);
		buf_init(b, max);
	} else {
		buf_reset(b);
	}
}

void
ses_body_init(struct ses_body *b)
{
	buf_init(&b->json, SES_HEAD_ROOM + SES_MESSAGE_MAX + 65536);
	buf_init(&b->message, MESSAGE_BUFFER_MAX);
	buf_init(&b->text, MESSAGE_BUFFER_MAX);
	buf_init(&b->data, MESSAGE_BUFFER_MAX);
}

void
ses_body_release(struct ses_body *b)
{
	buf_release(&b->json);
	buf_release(&b->message);
	buf_release(&b->text);
	buf_release(&b->data);
}

void
ses_body_trim(struct ses_body *b)
{
	trim(&b->json);
	trim(&b->message);
	trim(&b->text);
	trim(&b->data);
}

void
ses_body_begin(struct ses_body *b)
{
	buf_reset(&b->json);
	if (buf_reserve(&b->json, SES_HEAD_ROOM))
		buf_commit(&b->json, SES_HEAD_ROOM);
}

struct slice
ses_body_json(const struct ses_body *b)
{
	return slice_make(b->json.data + SES_HEAD_ROOM, b->json.len - SES_HEAD_ROOM);
}

struct slice
ses_body_request(struct ses_body *b, struct slice head)
{
	char *start = b->json.data + SES_HEAD_ROOM - head.len;

	assert(head.len <= SES_HEAD_ROOM);
	memcpy(start, head.ptr, head.len);
	return slice_make(start, head.len + b->json.len - SES_HEAD_ROOM);
}

static void
refuse(struct flight *f, enum outcome_class cls, const char *reason, const char *text)
{
	f->refused = true;
	f->refusal =
	    (struct compose_refusal){ .cls = cls, .reason = reason, .text = slice_str(text) };
}

/* "Amazon SES does not support the SMTPUTF8 extension" (API reference, Destination) */
static void
check_address(struct flight *f)
{
	struct slice to = slice_str(db_text(f->batch->rows, f->row, CLAIM_ADDRESS));

	if (!f->refused && addr_needs_utf8(to))
		refuse(f, OUTCOME_CONFIG, "smtputf8_unsupported",
		    "non-ASCII address, and Amazon SES does not take it");
}

static struct ses_common
common_of(const struct dispatcher *d, const struct ses_tag *tags, size_t count)
{
	const struct config *config = d->config;

	return (struct ses_common){ .configuration_set = slice_str(config->ses_configuration_set),
		.identity_arn = slice_str(config->ses_identity_arn),
		.feedback_address = slice_str(config->ses_feedback_address),
		.tenant = slice_str(config->ses_tenant),
		.tags = tags,
		.tag_count = count };
}

/* The whole message, perhaps made ahead. */
static void
compose_raw(struct dispatcher *d, struct ses_body *b, struct flight *f)
{
	struct ses_tag tag = { SLICE("kairan"), { NULL, 0 } };
	struct ses_common common = common_of(d, &tag, 1);
	struct buf *made = f->message; /* by the signer; NULL: not made ahead */
	struct slice to = slice_str(db_text(f->batch->rows, f->row, CLAIM_ADDRESS));

	if (made == NULL) {
		f->message = &b->message;
		f->refused = !compose_flight(&d->keys, f, &f->refusal);
	}
	check_address(f);
	if (!f->refused) {
		tag.value = slice_str(f->token);
		ses_send_raw(&b->json, &common, to, buf_slice(f->message));
	}
	if (made != NULL)
		buf_release(made);
	free(made);
}

/* Pieces and header fields of a message that SES puts together. */
static void
compose_fields(struct dispatcher *d, struct ses_body *b, struct flight *f,
    struct message_pieces *pieces, struct ses_fields *fields)
{
	struct err why = { 0 };

	f->message = &b->message;
	f->refused = !compose_pieces(&d->keys, f, pieces, &f->refusal);
	check_address(f);
	if (!f->refused && ses_fields_read(fields, pieces->head, &b->text, &why) != 0)
		refuse(f, OUTCOME_CLASS_NONE, "bad_data", "a header field that SES does not take");
}

static void
compose_simple(struct dispatcher *d, struct ses_body *b, struct flight *f)
{
	struct ses_tag tag = { SLICE("kairan"), { NULL, 0 } };
	struct ses_common common = common_of(d, &tag, 1);
	struct message_pieces pieces;
	struct ses_fields fields;
	struct ses_simple simple;

	compose_fields(d, b, f, &pieces, &fields);
	if (f->refused)
		return;
	tag.value = slice_str(f->token);
	common.from = fields.from;
	simple = (struct ses_simple){ .to = fields.to,
		.reply_to = fields.reply_to,
		.subject = slice_trim(pieces.piece[MESSAGE_SUBJECT]),
		.text = pieces.piece[MESSAGE_TEXT],
		.html = pieces.piece[MESSAGE_HTML],
		.headers = fields.field,
		.header_count = fields.count };
	ses_send_simple(&b->json, &common, &simple);
}

bool
ses_compose_one(struct dispatcher *d, struct ses_body *b, struct flight *f)
{
	ses_body_begin(b);
	buf_reset(&b->message);
	buf_reset(&b->text);
	if (flight_run(f)->content == SES_CONTENT_SIMPLE)
		compose_simple(d, b, f);
	else
		compose_raw(d, b, f);
	if (!f->refused && buf_failed(&b->json))
		refuse(f, OUTCOME_CLASS_NONE, "too_large", "");
	f->message = NULL;
	return !f->refused;
}

bool
ses_compose_entry(struct dispatcher *d, struct ses_body *b, struct flight *f)
{
	struct ses_tag tag = { SLICE("kairan"), { NULL, 0 } };
	struct ses_common common = common_of(d, NULL, 0);
	struct message_pieces pieces;
	struct ses_bulk_entry entry;
	struct ses_fields fields;
	size_t before;
	bool is_first;

	if (b->json.len == 0)
		ses_body_begin(b);
	before = b->json.len;
	is_first = before <= SES_HEAD_ROOM;
	buf_reset(&b->message);
	buf_reset(&b->text);
	buf_reset(&b->data);
	compose_fields(d, b, f, &pieces, &fields);
	f->message = NULL;
	if (f->refused)
		return false;
	ses_content_data(&pieces, &b->data);
	common.from = fields.from; /* the same for all of a run, as reply_to is */
	tag.value = slice_str(f->token);
	entry = (struct ses_bulk_entry){ .to = fields.to,
		.template_data = buf_slice(&b->data),
		.tags = &tag,
		.tag_count = 1,
		.headers = fields.field,
		.header_count = fields.count };
	if (is_first)
		ses_bulk_begin(&b->json, &common, fields.reply_to, flight_run(f)->ses_template);
	ses_bulk_entry(&b->json, &entry, is_first);
	if (!buf_failed(&b->json) && !buf_failed(&b->data) &&
	    b->data.len <= SES_TEMPLATE_DATA_MAX && ses_body_json(b).len + 2 <= SES_BULK_BODY_MAX)
		return true;
	if (is_first || b->data.len > SES_TEMPLATE_DATA_MAX)
		refuse(f, OUTCOME_CLASS_NONE, "too_large", "");
	b->json.len = before;
	b->json.failed = false;
	return false;
}

void
ses_compose_end(struct ses_body *b)
{
	ses_bulk_end(&b->json);
}
