/* SPDX-License-Identifier: Apache-2.0 */
/* ses_content: see ses_content.h. */
#include "ses_content.h"

#include <string.h>

#define TEMPLATE_MAX ((size_t)2 << 20) /* texts of a piece: TEMPLATE_SOURCE_MAX and NULs */
#define NAME_MAX_BYTES 126	       /* of a header (service model, MessageHeader) */

static const char *const piece_names[MESSAGE_PIECES] = { "subject", "text", "html" };
static const char *const content_names[MESSAGE_PIECES] = { "Subject", "Text", "Html" };
static const char slot_letters[] = "sth";

enum ses_content
ses_content_of(const char *name)
{
	return strcmp(name, "simple") == 0 ? SES_CONTENT_SIMPLE
	    : strcmp(name, "bulk") == 0	   ? SES_CONTENT_BULK
					   : SES_CONTENT_RAW;
}

/* ---- header fields ---- */

/* Takes one folded field off the front. False at the end of the header. */
static bool
next_field(struct slice *head, struct slice *name, struct slice *value)
{
	const char *colon, *end = head->ptr + head->len, *p;

	if (head->len < 2 || head->ptr[0] == '\r')
		return false;
	colon = memchr(head->ptr, ':', head->len);
	if (colon == NULL)
		return false;
	for (p = colon; p < end; p++)
		if (p[0] == '\n' && (p + 1 == end || (p[1] != ' ' && p[1] != '\t')))
			break;
	*name = slice_make(head->ptr, (size_t)(colon - head->ptr));
	*value = slice_trim(slice_make(colon + 1, (size_t)(p - colon - 1)));
	p += p < end;
	*head = slice_make(p, (size_t)(end - p));
	return true;
}

/* RFC 5322 2.2.3: the line ends go, the blanks behind them stay. There is room in text. */
static struct slice
unfold(struct slice value, struct buf *text)
{
	size_t from = text->len;

	for (size_t i = 0; i < value.len; i++)
		if (value.ptr[i] != '\r' && value.ptr[i] != '\n')
			buf_append_char(text, value.ptr[i]);
	return slice_make(text->data + from, text->len - from);
}

/* What SES writes itself, whatever it is given. */
static bool
is_theirs(struct slice name)
{
	static const char *const names[] = { "Date", "Subject", "Message-ID", "MIME-Version",
		"Content-Type", "Content-Transfer-Encoding" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (slice_equal_nocase(name, slice_str(names[i])))
			return true;
	return false;
}

static bool
is_printable(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] < ' ' || s.ptr[i] > '~')
			return false;
	return true;
}

static int
add_field(struct ses_fields *f, struct slice name, struct slice value, struct err *err)
{
	if (slice_equal_nocase(name, SLICE("Sender")))
		return err_set(err, "sender: SES does not take one besides the address in From");
	if (slice_starts_nocase(name, SLICE("X-SES-")))
		return err_set(
		    err, "header %.*s: SES reads it in whole mails only", SLICE_ARG(name));
	if (name.len > NAME_MAX_BYTES || name.len + value.len > SES_HEADER_MAX ||
	    !is_printable(value))
		return err_set(err, "header %.*s: longer than the %d bytes that SES takes",
		    SLICE_ARG(name), SES_HEADER_MAX);
	if (f->count == SES_HEADERS_MAX)
		return err_set(err,
		    "headers: SES takes %d besides those it writes itself; leave some out",
		    SES_HEADERS_MAX);
	f->field[f->count++] = (struct ses_tag){ name, value };
	return 0;
}

int
ses_fields_read(struct ses_fields *f, struct slice head, struct buf *text, struct err *err)
{
	struct slice name, value;

	*f = (struct ses_fields){ 0 };
	if (!buf_reserve(text, head.len + 1))
		return err_set(err, "no memory for the header");
	while (next_field(&head, &name, &value)) {
		if (is_theirs(name))
			continue;
		value = unfold(value, text);
		if (slice_equal_nocase(name, SLICE("From")))
			f->from = value;
		else if (slice_equal_nocase(name, SLICE("To")))
			f->to = value;
		else if (slice_equal_nocase(name, SLICE("Reply-To")))
			f->reply_to = value;
		else if (add_field(f, name, value, err) != 0)
			return -1;
	}
	return 0;
}

/* ---- templates ---- */

/* Takes what stands before the next NUL off the front; false when there is none. */
static bool
next_text(struct slice *list, struct slice *text)
{
	const char *end = list->len > 0 ? memchr(list->ptr, '\0', list->len) : NULL;

	if (end == NULL)
		return false;
	*text = slice_make(list->ptr, (size_t)(end - list->ptr));
	*list = slice_make(end + 1, list->len - text->len - 1);
	return true;
}

void
ses_content_template(const struct message_plan *plan, struct buf *out)
{
	struct buf texts, joined;
	bool first = true;

	buf_init(&texts, TEMPLATE_MAX);
	buf_init(&joined, TEMPLATE_MAX);
	for (int i = 0; i < MESSAGE_PIECES; i++) {
		const struct template_slots *slots = message_slots(plan, (enum message_piece)i);
		struct slice list, text;

		if (slots == NULL)
			continue;
		buf_reset(&texts);
		buf_reset(&joined);
		template_slots_texts(slots, &texts);
		list = buf_slice(&texts);
		for (size_t k = 0; next_text(&list, &text); k++) {
			if (k > 0)
				buf_printf(&joined, "{{%c%zu}}", slot_letters[i], k - 1);
			buf_append_slice(&joined, text);
		}
		buf_printf(out, "%s\"%s\":", first ? "{" : ",", content_names[i]);
		ses_put_text(out, buf_slice(&joined));
		first = false;
		out->failed |= buf_failed(&texts) || buf_failed(&joined);
	}
	buf_append_char(out, '}');
	buf_release(&texts);
	buf_release(&joined);
}

void
ses_content_data(const struct message_pieces *pieces, struct buf *out)
{
	bool first = true;

	buf_append_char(out, '{');
	for (int i = 0; i < MESSAGE_PIECES; i++) {
		struct slice list = pieces->piece[i], value;

		for (size_t k = 0; next_text(&list, &value); k++) {
			buf_printf(out, "%s\"%c%zu\":", first ? "" : ",", slot_letters[i], k);
			ses_put_text(out, value);
			first = false;
		}
	}
	buf_append_char(out, '}');
}

/* ---- whether it can be said ---- */

/* A text between slots: nothing in it, nor where it meets one, may look like a tag. */
static const char *
confusing(struct slice text, bool has_slot_before, bool has_slot_behind)
{
	const char *last = text.len > 0 ? text.ptr + text.len - 1 : NULL;

	if (text.len >= 2 && memmem(text.ptr, text.len, "{{", 2) != NULL)
		return "{{ as text";
	if (last != NULL && has_slot_behind && *last == '{')
		return "{ right before a field";
	if (last != NULL && has_slot_behind && *last == '\\')
		return "\\ right before a field";
	if (last != NULL && has_slot_before && text.ptr[0] == '}')
		return "} right behind a field";
	return NULL;
}

static int
check_texts(const struct template_slots *slots, const char *name, struct err *err)
{
	struct slice list, text;
	struct buf texts;
	int result = 0;

	buf_init(&texts, TEMPLATE_MAX);
	template_slots_texts(slots, &texts);
	list = buf_slice(&texts);
	for (size_t k = 0; result == 0 && next_text(&list, &text); k++) {
		const char *what = confusing(text, k > 0, k < slots->count);

		if (what != NULL)
			result = err_set(err,
			    "%s: %s: a template of SES would take it for a part of a tag; put a "
			    "blank between, or write it otherwise",
			    name, what);
	}
	if (buf_failed(&texts))
		result = err_set(err, "%s: no memory", name);
	buf_release(&texts);
	return result;
}

static int
check_template(const struct message_plan *plan, struct err *err)
{
	struct buf whole;
	int result = 0;

	for (int i = 0; i < MESSAGE_PIECES; i++) {
		const struct template_slots *slots = message_slots(plan, (enum message_piece)i);

		if (slots != NULL && check_texts(slots, piece_names[i], err) != 0)
			return -1;
	}
	/* half of a call, so that there is room for recipients */
	buf_init(&whole, SES_BULK_BODY_MAX / 2);
	ses_content_template(plan, &whole);
	if (buf_failed(&whole))
		result = err_set(err,
		    "the templates are larger than the %d kB that leave room in a call",
		    SES_BULK_BODY_MAX / 2000);
	buf_release(&whole);
	return result;
}

/* The header that everybody gets, with short values in it. */
static int
check_header(const struct message_plan *plan, struct err *err)
{
	struct message_recipient sample = { .to_addr = SLICE("a@example.com"),
		.blank_missing = true,
		.message_id_left = SLICE("x"),
		.id_token = SLICE("x"),
		.unsubscribe_token = SLICE("x"),
		.view_token = SLICE("x"),
		.track_token = SLICE("x"),
		.campaign = SLICE("x") };
	struct message_pieces pieces;
	struct message_result result;
	struct ses_fields fields;
	struct buf out, text;
	int status;

	buf_init(&out, MESSAGE_BUFFER_MAX);
	buf_init(&text, MESSAGE_BUFFER_MAX);
	if (message_render_pieces(plan, &sample, &out, &pieces, &result) != TEMPLATE_OK)
		status = err_set(
		    err, "a sample of the message cannot be made: %.*s", SLICE_ARG(result.field));
	else
		status = ses_fields_read(&fields, pieces.head, &text, err);
	buf_release(&out);
	buf_release(&text);
	return status;
}

static int
check_parts(
    const struct message_plan *plan, enum ses_content content, bool is_signed, struct err *err)
{
	if (message_has_files(plan))
		return err_set(err, "attachments and inline images go in whole mails only");
	if (message_has_jis(plan))
		return err_set(err, "iso_2022_jp: SES writes UTF-8 only");
	if (is_signed)
		return err_set(err, "mail signed by our own DKIM key goes whole only");
	if (check_header(plan, err) != 0)
		return -1;
	return content == SES_CONTENT_BULK ? check_template(plan, err) : 0;
}

int
ses_content_check(const struct message_plan *plan, enum ses_content content, bool is_signed,
    const char *stream, struct err *err)
{
	struct err why = { 0 };

	if (content == SES_CONTENT_RAW || check_parts(plan, content, is_signed, &why) == 0)
		return 0;
	return err_set(err,
	    "ses_content = %s of the stream \"%.60s\" cannot carry this campaign: %.230s; with "
	    "ses_content = raw it can",
	    content == SES_CONTENT_BULK ? "bulk" : "simple", stream, why.msg);
}
