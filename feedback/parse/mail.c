/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mail: see mail.h. Owns nothing. Each level of nesting is cut along its boundary lines, and its
 * pieces are cut again; so a piece that lost its closing boundary ends where its parent's next
 * piece begins. Recursion is bounded by MAIL_DEPTH_MAX.
 */
#include "mail.h"

#include <string.h>

#include "dsn.h"
#include "mail_text.h"

static const struct slice nothing = { NULL, 0 };

/* What the header of an entity says about its content. */
struct content {
	struct slice type; /* whole value */
	struct slice encoding;
};

static struct slice
take_line(struct slice *rest)
{
	const char *end = rest->len > 0 ? memchr(rest->ptr, '\n', rest->len) : NULL;
	size_t len = end != NULL ? (size_t)(end - rest->ptr) : rest->len;
	struct slice line = slice_make(rest->ptr, len);

	len += end != NULL;
	rest->ptr += len;
	rest->len -= len;
	return line;
}

static struct slice
peek_line(struct slice rest)
{
	return take_line(&rest);
}

/* "Name:" without blanks before the colon. */
static bool
is_field_line(struct slice line)
{
	size_t n = 0;

	while (n < line.len && line.ptr[n] > ' ' && line.ptr[n] < 127 && line.ptr[n] != ':')
		n++;
	return n > 0 && n < line.len && n < 80 && line.ptr[n] == ':';
}

/* Fields by which a header is known from a text that happens to have colons. */
static bool
is_mail_field(struct slice line)
{
	static const char *const names[] = { "From:", "To:", "Subject:", "Date:", "Received:",
		"Return-Path:", "Message-ID:", "Content-Type:", "MIME-Version:", "Delivered-To:",
		"X-Failed-Recipients:", "Auto-Submitted:", "Reply-To:", "Precedence:",
		"DKIM-Signature:", "Errors-To:", "Sender:", "Cc:", "Content-Transfer-Encoding:",
		"X-Original-To:", "Envelope-To:", "Delivery-Date:", "X-" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (slice_starts_nocase(line, slice_str(names[i])))
			return true;
	return false;
}

/* Cuts off what may stand before a header: a byte order mark, blank lines, a mailbox's "From "
 * line. */
static struct slice
skip_front(struct slice text)
{
	if (text.len >= 3 && memcmp(text.ptr, "\xEF\xBB\xBF", 3) == 0)
		text = slice_make(text.ptr + 3, text.len - 3);
	/* several mailboxes may have added theirs */
	while (text.len > 0 &&
	    (slice_trim(peek_line(text)).len == 0 ||
		(text.len > 5 &&
		    (memcmp(text.ptr, "From ", 5) == 0 || memcmp(text.ptr, ">From ", 6) == 0))))
		(void)take_line(&text);
	return text;
}

/*
 * Splits text into header and body. A mail without a blank line ends its header with the first
 * line that is none of it.
 */
static bool
split_header(struct slice text, struct slice *header, struct slice *body)
{
	struct slice rest = text;
	bool is_mail = false;

	while (rest.len > 0) {
		struct slice line = peek_line(rest);

		if (slice_trim(line).len == 0)
			break;
		if (line.ptr[0] != ' ' && line.ptr[0] != '\t') {
			if (!is_field_line(line) && rest.ptr == text.ptr)
				break;
			is_mail = is_mail || is_mail_field(line);
		}
		(void)take_line(&rest);
	}
	if (!is_mail)
		return false;
	*header = slice_make(text.ptr, (size_t)(rest.ptr - text.ptr));
	(void)take_line(&rest);
	*body = rest;
	return true;
}

/* A parameter of a structured field, without quotes; empty when absent. */
static struct slice
parameter(struct slice value, struct slice name)
{
	bool is_quoted = false;

	for (size_t i = 0; i < value.len; i++) {
		struct slice rest;
		size_t n = 0;

		if (value.ptr[i] == '"')
			is_quoted = !is_quoted;
		if (value.ptr[i] != ';' || is_quoted)
			continue;
		rest = slice_trim(slice_make(value.ptr + i + 1, value.len - i - 1));
		if (!slice_starts_nocase(rest, name))
			continue;
		rest = slice_trim(slice_make(rest.ptr + name.len, rest.len - name.len));
		if (rest.len == 0 || rest.ptr[0] != '=')
			continue;
		rest = slice_trim(slice_make(rest.ptr + 1, rest.len - 1));
		if (rest.len > 0 && rest.ptr[0] == '"') {
			rest = slice_make(rest.ptr + 1, rest.len - 1);
			while (n < rest.len && rest.ptr[n] != '"')
				n++;
		} else {
			while (n < rest.len && rest.ptr[n] != ';' && rest.ptr[n] != ' ' &&
			    rest.ptr[n] != '\t')
				n++;
		}
		rest.len = n;
		return rest;
	}
	return nothing;
}

static bool
is_type(struct slice type, const char *name)
{
	struct slice want = slice_str(name);

	return slice_starts_nocase(type, want) &&
	    (type.len == want.len || type.ptr[want.len] == ';' || type.ptr[want.len] == ' ' ||
		type.ptr[want.len] == '\t');
}

static enum mail_part_kind
kind_of(struct slice type)
{
	static const struct {
		const char *name;
		enum mail_part_kind kind;
	} kinds[] = {
		{ "text/plain", MAIL_TEXT },
		{ "text", MAIL_TEXT },
		{ "text/html", MAIL_HTML },
		{ "message/delivery-status", MAIL_STATUS },
		{ "message/global-delivery-status", MAIL_STATUS },
		{ "message/feedback-report", MAIL_FEEDBACK },
		{ "message/disposition-notification", MAIL_RECEIPT },
		{ "message/global-disposition-notification", MAIL_RECEIPT },
		{ "application/tlsrpt+gzip", MAIL_TLS },
		{ "application/tlsrpt+json", MAIL_TLS },
		{ "message/rfc822", MAIL_EMBEDDED },
		{ "message/global", MAIL_EMBEDDED },
		{ "message/partial", MAIL_EMBEDDED },
		{ "message/delivered", MAIL_EMBEDDED },
		{ "text/rfc822-headers", MAIL_HEADERS },
		{ "text/rfc822", MAIL_HEADERS },
		{ "message/rfc822-headers", MAIL_HEADERS },
		{ "message/global-headers", MAIL_HEADERS },
	};

	if (type.len == 0)
		return MAIL_TEXT;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (is_type(type, kinds[i].name))
			return kinds[i].kind;
	return slice_starts_nocase(type, SLICE("text/")) ? MAIL_TEXT : MAIL_ATTACHMENT;
}

static void
add_part(struct mail *mail, const struct content *content, struct slice body, unsigned depth)
{
	if (mail->part_count == MAIL_PARTS_MAX) {
		mail->is_too_complex = true;
		return;
	}
	mail->parts[mail->part_count++] = (struct mail_part){ .kind = kind_of(content->type),
		.encoding = content->encoding,
		.charset = parameter(content->type, SLICE("charset")),
		.body = body,
		.depth = depth };
}

/* "--boundary", "--boundary--": 1, 2; 0 for another line. Case counts unless is_loose. */
static int
boundary_of(struct slice line, struct slice boundary, bool is_loose)
{
	struct slice rest;

	if (line.len < boundary.len + 2 || line.ptr[0] != '-' || line.ptr[1] != '-')
		return 0;
	rest = slice_make(line.ptr + 2, boundary.len);
	if (is_loose ? !slice_equal_nocase(rest, boundary) : !slice_equal(rest, boundary))
		return 0;
	rest = slice_trim(slice_make(rest.ptr + boundary.len, line.len - 2 - boundary.len));
	if (rest.len == 0)
		return 1;
	return rest.len >= 2 && rest.ptr[0] == '-' && rest.ptr[1] == '-' ? 2 : 0;
}

static bool
has_boundary(struct slice body, struct slice boundary, bool is_loose)
{
	while (boundary.len > 0 && body.len > 0)
		if (boundary_of(take_line(&body), boundary, is_loose) != 0)
			return true;
	return false;
}

/* The declared boundary does not occur: the first "--x" line with a Content- field behind it. */
static struct slice
guess_boundary(struct slice body)
{
	while (body.len > 0) {
		struct slice line = slice_trim(take_line(&body));

		if (line.len > 4 && line.ptr[0] == '-' && line.ptr[1] == '-' &&
		    slice_starts_nocase(peek_line(body), SLICE("Content-")))
			return slice_make(line.ptr + 2, line.len - 2);
	}
	return nothing;
}

static int split_entity(struct mail *mail, const struct content *content, struct slice body,
    unsigned depth, struct arena *arena);

/* One piece between two boundary lines: its own header, if it has one, and its body. */
static int
split_piece(
    struct mail *mail, struct slice piece, bool is_digest, unsigned depth, struct arena *arena)
{
	struct content content = { is_digest ? SLICE("message/rfc822") : nothing, nothing };
	struct dsn_fields fields = { piece };
	struct slice name, value, body = piece;
	enum dsn_field_result result;

	if (piece.len > 0 &&
	    (slice_trim(peek_line(piece)).len == 0 || is_field_line(peek_line(piece)))) {
		while ((result = dsn_fields_next(&fields, arena, &name, &value)) == DSN_FIELD) {
			if (slice_equal_nocase(name, SLICE("Content-Type")))
				content.type = value;
			else if (slice_equal_nocase(name, SLICE("Content-Transfer-Encoding")))
				content.encoding = value;
		}
		if (result == DSN_FIELD_NO_MEMORY)
			return -1;
		body = fields.rest;
	}
	return split_entity(mail, &content, body, depth, arena);
}

static int
split_multipart(struct mail *mail, struct slice body, struct slice boundary, bool is_loose,
    bool is_digest, unsigned depth, struct arena *arena)
{
	struct slice rest = body;
	const char *start = NULL;

	while (rest.len > 0 && !mail->is_too_complex) {
		const char *at = rest.ptr;
		int what = boundary_of(take_line(&rest), boundary, is_loose);

		if (what == 0)
			continue;
		if (start != NULL &&
		    split_piece(mail, slice_make(start, (size_t)(at - start)), is_digest, depth + 1,
			arena) < 0)
			return -1;
		start = what == 1 ? rest.ptr : NULL;
		if (what == 2)
			break;
	}
	if (start != NULL && !mail->is_too_complex)
		return split_piece(mail, slice_make(start, (size_t)(rest.ptr - start)), is_digest,
		    depth + 1, arena);
	return 0;
}

static int
split_entity(struct mail *mail, const struct content *content, struct slice body, unsigned depth,
    struct arena *arena)
{
	struct slice boundary;
	bool is_multipart = slice_starts_nocase(content->type, SLICE("multipart/"));
	bool is_loose = false;

	if (depth >= MAIL_DEPTH_MAX) {
		mail->is_too_complex = true;
		return 0;
	}
	if (!is_multipart) {
		add_part(mail, content, body, depth);
		return 0;
	}
	boundary = parameter(content->type, SLICE("boundary"));
	if (!has_boundary(body, boundary, false)) {
		is_loose = true;
		if (!has_boundary(body, boundary, true))
			boundary = guess_boundary(body);
	}
	if (boundary.len == 0) {
		add_part(mail, &(struct content){ nothing, content->encoding }, body, depth);
		return 0;
	}
	return split_multipart(mail, body, boundary, is_loose,
	    is_type(content->type, "multipart/digest"), depth, arena);
}

static int
read_fields(struct mail *mail, struct slice header, struct arena *arena)
{
	struct dsn_fields fields = { header };
	struct slice name, value;
	enum dsn_field_result result;
	size_t room = 8;

	for (size_t i = 0; i < header.len && room < MAIL_FIELDS_MAX; i++)
		room += header.ptr[i] == '\n';
	mail->fields = arena_array(arena, room, sizeof(*mail->fields));
	if (mail->fields == NULL)
		return -1;
	while (mail->field_count < room &&
	    (result = dsn_fields_next(&fields, arena, &name, &value)) != DSN_FIELD_END) {
		if (result == DSN_FIELD_NO_MEMORY)
			return -1;
		if (result == DSN_FIELD)
			mail->fields[mail->field_count++] = (struct mail_field){ name, value };
	}
	if (mail->field_count >= MAIL_FIELDS_MAX)
		mail->is_too_complex = true;
	return 0;
}

int
mail_read(struct mail *mail, struct slice raw, struct arena *arena)
{
	struct content content = { nothing, nothing };
	struct slice text;

	memset(mail, 0, sizeof(*mail));
	mail->text = mail_text_lines(arena, raw, MAIL_READ_MAX);
	mail->parts = arena_array(arena, MAIL_PARTS_MAX, sizeof(*mail->parts));
	if (mail->text.ptr == NULL || mail->parts == NULL)
		return -1;
	text = skip_front(mail->text);
	mail->has_header = split_header(text, &mail->header, &mail->body);
	if (!mail->has_header)
		mail->body = mail->text;
	if (mail->header.len > MAIL_HEADER_MAX) {
		mail->is_too_complex = true;
		mail->header.len = MAIL_HEADER_MAX;
	}
	if (read_fields(mail, mail->header, arena) < 0)
		return -1;
	mail->type = content.type = mail_field(mail, "Content-Type");
	content.encoding = mail_field(mail, "Content-Transfer-Encoding");
	/* a body whose header was lost, but that is cut into parts */
	if (!mail->has_header && guess_boundary(mail->body).len > 0)
		content.type = SLICE("multipart/mixed");
	return split_entity(mail, &content, mail->body, 0, arena);
}

struct slice
mail_field(const struct mail *mail, const char *name)
{
	struct slice want = slice_str(name);

	for (size_t i = 0; i < mail->field_count; i++)
		if (slice_equal_nocase(mail->fields[i].name, want))
			return mail->fields[i].value;
	return nothing;
}

const struct mail_part *
mail_part(const struct mail *mail, enum mail_part_kind kind)
{
	for (size_t i = 0; i < mail->part_count; i++)
		if (mail->parts[i].kind == kind)
			return &mail->parts[i];
	return NULL;
}

struct slice
mail_part_text(const struct mail_part *part, struct arena *arena)
{
	struct slice text = mail_text_decode(arena, part->body, part->encoding);
	/* in UTF-16 and UTF-32 a line end is no single byte */
	bool is_wide = slice_starts_nocase(part->charset, SLICE("utf-16")) ||
	    slice_starts_nocase(part->charset, SLICE("utf-32"));

	if (is_wide)
		text = mail_text_utf8(arena, text, part->charset);
	if (text.ptr != part->body.ptr)
		text = mail_text_lines(arena, text, MAIL_READ_MAX);
	if (text.len == 0)
		return nothing;
	if (!is_wide)
		text = mail_text_utf8(arena, text, part->charset);
	return part->kind == MAIL_HTML && text.len > 0 ? mail_text_html(arena, text) : text;
}
