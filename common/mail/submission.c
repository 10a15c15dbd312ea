/* SPDX-License-Identifier: Apache-2.0 */
/* submission: see submission.h. From top to bottom: fields, mailbox lists, bodies, the whole. */
#include "submission.h"

#include <stdio.h>
#include <string.h>

#include "mime.h"
#include "utf8.h"

#define MAILBOX_MAX 2000 /* bytes of one mailbox with its display name */
#define BOUNDARY_MAX 70	 /* RFC 2046 5.1.1 */

struct field {
	struct slice raw; /* name to line end, folded as it was */
	struct slice name;
	struct slice value; /* folded as it was, without the last line end */
};

struct entity {
	struct field *fields;
	size_t count;
	struct slice body;
};

struct maker {
	const struct submission_input *in;
	struct arena *arena;
	struct buf *out;
	struct submission *s;
	struct err *err;
};

/* ---- fields ---- */

/* Takes the next line off the front, with its end. */
static struct slice
take_line(struct slice *rest)
{
	struct slice line = { rest->ptr, 0 };

	while (line.len < rest->len) {
		char c = rest->ptr[line.len++];

		if (c == '\n')
			break;
		if (c == '\r') {
			line.len += line.len < rest->len && rest->ptr[line.len] == '\n';
			break;
		}
	}
	rest->ptr += line.len;
	rest->len -= line.len;
	return line;
}

static struct slice
without_end(struct slice line)
{
	while (line.len > 0 && (line.ptr[line.len - 1] == '\n' || line.ptr[line.len - 1] == '\r'))
		line.len--;
	return line;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* A field's name ends at a colon, which obsolete syntax lets follow blanks (RFC 5322 4.5). */
static bool
begins_field(struct slice line, struct slice *name)
{
	size_t n = 0;

	while (n < line.len && line.ptr[n] > ' ' && line.ptr[n] <= '~' && line.ptr[n] != ':')
		n++;
	*name = slice_make(line.ptr, n);
	while (n < line.len && is_blank(line.ptr[n]))
		n++;
	return name->len > 0 && n < line.len && line.ptr[n] == ':';
}

/* Header and body of text. A first line that is no field begins the body, as programs that pipe a
 * bare text expect. */
static int
read_entity(struct maker *m, struct slice text, struct entity *e)
{
	struct slice rest = text, name;

	*e = (struct entity){ 0 };
	e->fields = arena_array(m->arena, SUBMISSION_FIELDS_MAX, sizeof(struct field));
	if (e->fields == NULL)
		return err_set(m->err, "no memory");
	for (;;) {
		struct slice before = rest, line = take_line(&rest), bare = without_end(line);
		struct field *f = e->count > 0 ? &e->fields[e->count - 1] : NULL;

		if (bare.len == 0) {
			e->body = rest;
			return 0;
		}
		if ((size_t)(rest.ptr - text.ptr) > SUBMISSION_HEADER_MAX)
			return err_set(m->err, "a header is larger than %zu bytes",
			    (size_t)SUBMISSION_HEADER_MAX);
		if (is_blank(bare.ptr[0]) && f != NULL) {
			f->raw.len += line.len;
			f->value.len = (size_t)(bare.ptr + bare.len - f->value.ptr);
			continue;
		}
		if (!begins_field(bare, &name)) {
			e->body = before;
			return 0;
		}
		if (e->count == SUBMISSION_FIELDS_MAX)
			return err_set(
			    m->err, "a header has more than %d fields", SUBMISSION_FIELDS_MAX);
		f = &e->fields[e->count++];
		f->raw = line;
		f->name = name;
		f->value.ptr = (const char *)memchr(bare.ptr, ':', bare.len) + 1;
		f->value.len = (size_t)(bare.ptr + bare.len - f->value.ptr);
	}
}

static bool
is_named(const struct field *f, const char *name)
{
	return slice_equal_nocase(f->name, slice_str(name));
}

static bool
is_one_of(const struct field *f, const char *const *names)
{
	for (; *names != NULL; names++)
		if (is_named(f, *names))
			return true;
	return false;
}

static const struct field *
find(const struct entity *e, const char *name)
{
	for (size_t i = 0; i < e->count; i++)
		if (is_named(&e->fields[i], name))
			return &e->fields[i];
	return NULL;
}

/* The value on one line, blanks around it dropped. */
static struct slice
unfolded(struct maker *m, struct slice value)
{
	char *text = arena_alloc(m->arena, value.len + 1);
	size_t n = 0;

	if (text == NULL)
		return slice_make(NULL, 0);
	for (size_t i = 0; i < value.len; i++)
		if (value.ptr[i] == '\t')
			text[n++] = ' ';
		else if (value.ptr[i] != '\r' && value.ptr[i] != '\n')
			text[n++] = value.ptr[i];
	return slice_trim(slice_make(text, n));
}

/* Printable ASCII and tabs in lines that may go as they are. */
static bool
is_plain(struct slice raw)
{
	size_t column = 0;

	for (size_t i = 0; i < raw.len; i++) {
		unsigned char c = (unsigned char)raw.ptr[i];

		column = c == '\n' || c == '\r' ? 0 : column + 1;
		if (column > MIME_LINE_MAX || c >= 0x7f || (c < ' ' && c != '\t' && column > 0))
			return false;
	}
	return true;
}

/* ---- lists of mailboxes (RFC 5322 3.4, with groups and the obsolete route left out) ---- */

struct mailbox {
	struct slice display, address; /* in `text` */
	char text[MAILBOX_MAX];
	size_t len;
};

/* Copies without comments and quotes up to the end of the mailbox; -1 when it is malformed. */
static int
take_mailbox(struct slice *rest, struct mailbox *box)
{
	size_t i = 0, angle = SIZE_MAX, close = SIZE_MAX;
	int comment = 0;
	bool quoted = false;

	box->len = 0;
	for (; i < rest->len; i++) {
		char c = rest->ptr[i];
		bool escaped = c == '\\' && (quoted || comment > 0) && i + 1 < rest->len;

		if (escaped)
			c = rest->ptr[++i];
		if (!escaped && c == '"' && comment == 0) {
			quoted = !quoted;
			continue;
		}
		if (!escaped && !quoted && (c == '(' || (c == ')' && comment > 0))) {
			comment += c == '(' ? 1 : -1;
			continue;
		}
		if (comment > 0)
			continue;
		if (!escaped && !quoted && (c == ',' || c == ';'))
			break;
		if (!escaped && !quoted && c == ':' && angle == SIZE_MAX) {
			box->len = 0; /* the name of a group */
			continue;
		}
		if (!escaped && !quoted && c == '<')
			angle = box->len;
		if (!escaped && !quoted && c == '>')
			close = box->len;
		if (box->len == sizeof(box->text))
			return -1;
		box->text[box->len++] = c;
	}
	if (quoted || comment > 0 || (angle == SIZE_MAX) != (close == SIZE_MAX) ||
	    (angle != SIZE_MAX && close < angle))
		return -1;
	rest->ptr += i < rest->len ? i + 1 : i;
	rest->len -= i < rest->len ? i + 1 : i;
	box->address =
	    slice_trim(angle == SIZE_MAX ? slice_make(box->text, box->len)
					 : slice_make(box->text + angle + 1, close - angle - 1));
	box->display = slice_trim(slice_make(box->text, angle == SIZE_MAX ? 0 : angle));
	return 0;
}

static int
add_recipient(struct maker *m, struct slice address, const char *where)
{
	struct submission *s = m->s;
	struct err why = { 0 };
	struct addr a;

	if (addr_parse(&a, address, &why) < 0)
		return err_set(m->err, "%s: an address is not understood: %s", where, why.msg);
	for (size_t i = 0; i < s->recipient_count; i++)
		if (strcmp(s->recipients[i].key, a.key) == 0)
			return 0;
	if (s->recipient_count == SUBMISSION_RECIPIENTS_MAX)
		return err_set(m->err, "more than %d recipients; a campaign is made for that",
		    SUBMISSION_RECIPIENTS_MAX);
	s->recipients[s->recipient_count++] = a;
	return 0;
}

static int
add_recipients(struct maker *m, const struct field *f)
{
	struct slice rest = unfolded(m, f->value);
	struct mailbox box;
	char where[32];

	(void)snprintf(where, sizeof(where), "%.*s", SLICE_ARG(f->name));
	while (rest.len > 0) {
		if (take_mailbox(&rest, &box) < 0)
			return err_set(m->err, "%s: not a list of addresses", where);
		if (box.address.len > 0 && add_recipient(m, box.address, where) < 0)
			return -1;
	}
	return 0;
}

static int
read_from(struct maker *m, struct slice value)
{
	struct slice rest = unfolded(m, value);
	struct mailbox box;
	struct err why = { 0 };

	if (take_mailbox(&rest, &box) < 0 || slice_trim(rest).len > 0)
		return err_set(m->err, "From: exactly one mailbox is needed");
	if (addr_parse_sender(&m->s->from, box.address, &why) < 0)
		return err_set(m->err, "From: %s", why.msg);
	return 0;
}

/* An address that is not ASCII makes every copy need SMTPUTF8: only who needs it anyway gets one. */
static bool
may_name(const struct maker *m, const struct addr *a)
{
	if (!addr_needs_utf8(slice_make(a->text, a->len)))
		return true;
	for (size_t i = 0; i < m->s->recipient_count; i++) {
		const struct addr *to = &m->s->recipients[i];

		if (!addr_needs_utf8(slice_make(to->text, to->len)))
			return false;
	}
	return true;
}

/* "Name <a@b>, …" with names in UTF-8 -> encoded words. */
static int
put_mailboxes(struct maker *m, const struct field *f)
{
	struct slice rest = unfolded(m, f->value), name = f->name;
	struct mailbox box;
	struct addr a;
	struct buf one;
	bool first = true, good = true;

	buf_init(&one, 16000);
	while (good && rest.len > 0) {
		struct err why;

		good = take_mailbox(&rest, &box) == 0;
		if (!good || box.address.len == 0)
			continue;
		buf_reset(&one);
		good = addr_parse(&a, box.address, &why) == 0;
		if (good && !may_name(m, &a)) {
			buf_release(&one);
			return err_set(m->err,
			    "%.*s: an address that is not ASCII; others get the mail, too, whose "
			    "hosts may not take it (SMTPUTF8): send to it alone",
			    SLICE_ARG(name));
		}
		good = good &&
		    mime_put_mailbox_header(&one, name, box.display, slice_make(a.text, a.len)) &&
		    !buf_failed(&one);
		if (!good)
			continue;
		if (first)
			buf_append(m->out, one.data, one.len - 2);
		else
			buf_printf(m->out, ",\r\n%.*s", (int)(one.len - name.len - 3),
			    one.data + name.len + 1);
		first = false;
	}
	buf_release(&one);
	if (!good || first)
		return err_set(
		    m->err, "%.*s: neither ASCII nor mailboxes in UTF-8", SLICE_ARG(name));
	buf_append_str(m->out, "\r\n");
	return 0;
}

static int
put_field(struct maker *m, const struct field *f)
{
	static const char *const mailboxes[] = { "From", "Sender", "Reply-To", "To", "Cc",
		"Resent-From", "Resent-To", "Resent-Cc", "Resent-Sender", NULL };

	if (is_plain(f->raw)) {
		mime_put_crlf(m->out, without_end(f->raw));
		buf_append_str(m->out, "\r\n");
		return 0;
	}
	m->s->encoded = true;
	if (is_one_of(f, mailboxes))
		return put_mailboxes(m, f);
	if (!mime_put_text_header(m->out, f->name, unfolded(m, f->value)))
		return err_set(m->err, "%.*s: neither ASCII nor UTF-8, or with control characters",
		    SLICE_ARG(f->name));
	return 0;
}

/* ---- bodies ---- */

static bool
is_clean(struct slice body)
{
	size_t column = 0;

	for (size_t i = 0; i < body.len; i++) {
		unsigned char c = (unsigned char)body.ptr[i];

		column = c == '\n' || c == '\r' ? 0 : column + 1;
		if (c >= 0x80 || column > MIME_LINE_MAX)
			return false;
	}
	return true;
}

static struct slice
value_of(struct maker *m, const struct entity *e, const char *name)
{
	const struct field *f = find(e, name);

	return f != NULL ? unfolded(m, f->value) : slice_make(NULL, 0);
}

static bool
has_type(struct slice type, const char *lead)
{
	return slice_starts_nocase(type, slice_str(lead));
}

/* The boundary parameter (RFC 2046 5.1.1), in the value; empty when there is none. */
static struct slice
boundary_of(struct slice type)
{
	static const struct slice name = { "boundary=", 9 };
	bool quoted = false;

	for (size_t i = 0; i + name.len < type.len; i++) {
		quoted ^= type.ptr[i] == '"';
		if (quoted || (type.ptr[i] != ';' && !is_blank(type.ptr[i])) ||
		    !slice_starts_nocase(slice_make(type.ptr + i + 1, type.len - i - 1), name))
			continue;
		type = slice_make(type.ptr + i + 1 + name.len, type.len - i - 1 - name.len);
		quoted = type.len > 0 && type.ptr[0] == '"';
		type.ptr += quoted;
		type.len -= quoted;
		for (i = 0; i < type.len; i++)
			if (quoted ? type.ptr[i] == '"'
				   : type.ptr[i] == ';' || is_blank(type.ptr[i]))
				break;
		return slice_make(type.ptr, i <= BOUNDARY_MAX ? i : 0);
	}
	return slice_make(NULL, 0);
}

/* 1: a delimiter line, 2: the closing one, 0: another line. */
static int
delimiter(struct slice line, struct slice boundary)
{
	bool closes;

	line = without_end(line);
	if (line.len < boundary.len + 2 || memcmp(line.ptr, "--", 2) != 0 ||
	    memcmp(line.ptr + 2, boundary.ptr, boundary.len) != 0)
		return 0;
	line = slice_make(line.ptr + 2 + boundary.len, line.len - 2 - boundary.len);
	closes = line.len >= 2 && memcmp(line.ptr, "--", 2) == 0;
	if (closes)
		line = slice_make(line.ptr + 2, line.len - 2);
	return slice_trim(line).len > 0 ? 0 : closes ? 2 : 1;
}

static int put_entity(struct maker *m, struct slice text, unsigned depth);

static int
put_fields(struct maker *m, const struct entity *e, bool keep_encoding)
{
	for (size_t i = 0; i < e->count; i++)
		if ((keep_encoding || !is_named(&e->fields[i], "Content-Transfer-Encoding")) &&
		    put_field(m, &e->fields[i]) < 0)
			return -1;
	return 0;
}

/* Each part on its own; what stands before the first and behind the last is for no reader. */
static int
put_parts(struct maker *m, struct slice body, struct slice boundary, unsigned depth)
{
	struct slice part = { NULL, 0 };
	bool open = false;

	for (;;) {
		const char *at = body.ptr;
		bool ended = body.len == 0;
		struct slice line = take_line(&body);
		int what = ended ? 2 : delimiter(line, boundary);

		if (what == 0)
			continue;
		if (open) {
			/* the line end before the delimiter belongs to it */
			part.len = (size_t)(at - part.ptr);
			if (part.len > 0 && part.ptr[part.len - 1] == '\n')
				part.len--;
			if (part.len > 0 && part.ptr[part.len - 1] == '\r')
				part.len--;
			buf_printf(m->out, "--%.*s\r\n", SLICE_ARG(boundary));
			if (put_entity(m, part, depth + 1) < 0)
				return -1;
		}
		if (what == 2)
			break;
		open = true;
		part.ptr = body.ptr;
	}
	if (!open)
		return err_set(m->err, "a multipart without parts has 8-bit content");
	buf_printf(m->out, "--%.*s--\r\n", SLICE_ARG(boundary));
	return 0;
}

/* A body of its own: quoted-printable or base64, whichever is shorter. */
static int
put_leaf(struct maker *m, const struct entity *e, struct slice type)
{
	struct slice encoding = value_of(m, e, "Content-Transfer-Encoding");
	bool is_text = type.len == 0 || has_type(type, "text/");
	size_t high = 0;
	struct buf lines;

	if (slice_equal_nocase(encoding, SLICE("base64")) ||
	    slice_equal_nocase(encoding, SLICE("quoted-printable")))
		return err_set(m->err,
		    "a part has 8-bit content or lines above %d bytes, but says it is %.*s",
		    MIME_LINE_MAX, SLICE_ARG(encoding));
	for (size_t i = 0; i < e->body.len; i++)
		high += (unsigned char)e->body.ptr[i] >= 0x80;
	if (find(e, "MIME-Version") == NULL && type.len == 0)
		buf_append_str(m->out, "MIME-Version: 1.0\r\n");
	if (type.len == 0) /* RFC 1428 names what cannot be known */
		buf_printf(m->out, "Content-Type: text/plain; charset=%s\r\n",
		    utf8_ok(e->body) ? "utf-8" : "unknown-8bit");
	if (is_text && high < e->body.len / 6) {
		struct mime_qp qp = { .out = m->out };

		buf_append_str(m->out, "Content-Transfer-Encoding: quoted-printable\r\n\r\n");
		mime_qp_put(&qp, e->body);
		return 0;
	}
	buf_append_str(m->out, "Content-Transfer-Encoding: base64\r\n\r\n");
	buf_init(&lines, m->out->max);
	if (is_text)
		mime_put_crlf(&lines, e->body); /* RFC 2046 4.1.1 */
	else
		buf_append_slice(&lines, e->body);
	mime_put_base64(m->out, buf_slice(&lines));
	m->out->failed |= buf_failed(&lines);
	buf_release(&lines);
	return 0;
}

static int
put_body(struct maker *m, const struct entity *e, unsigned depth)
{
	struct slice type = value_of(m, e, "Content-Type"), boundary = boundary_of(type);

	m->s->encoded = true;
	if (depth >= SUBMISSION_DEPTH_MAX)
		return err_set(m->err, "more than %d parts in one another", SUBMISSION_DEPTH_MAX);
	if (has_type(type, "multipart/signed"))
		return err_set(m->err,
		    "8-bit content in multipart/signed; sign it in 7-bit form (RFC 3156 3)");
	if (put_fields(m, e, false) < 0)
		return -1;
	if (has_type(type, "multipart/")) {
		if (boundary.len == 0)
			return err_set(m->err, "a multipart has no usable boundary");
		buf_append_str(m->out, "\r\n");
		return put_parts(m, e->body, boundary, depth);
	}
	if (has_type(type, "message/rfc822")) {
		buf_append_str(m->out, "\r\n");
		return put_entity(m, e->body, depth + 1);
	}
	return put_leaf(m, e, type);
}

static int
put_read_entity(struct maker *m, struct entity *e, unsigned depth)
{
	struct slice encoding = value_of(m, e, "Content-Transfer-Encoding");

	if (!is_clean(e->body)) {
		if (put_body(m, e, depth) < 0)
			return -1;
	} else {
		/* what needs no BINARYMIME should not ask for it */
		if (put_fields(m, e, !slice_equal_nocase(encoding, SLICE("binary"))) < 0)
			return -1;
		buf_append_str(m->out, "\r\n");
		mime_put_crlf(m->out, e->body);
	}
	if (m->out->len >= 2 && memcmp(m->out->data + m->out->len - 2, "\r\n", 2) != 0)
		buf_append_str(m->out, "\r\n");
	return 0;
}

static int
put_entity(struct maker *m, struct slice text, unsigned depth)
{
	struct entity e;

	return read_entity(m, text, &e) < 0 ? -1 : put_read_entity(m, &e, depth);
}

/* ---- the whole ---- */

/* Takes out what may not go on, and the recipients with it. */
static int
sift(struct maker *m, struct entity *e)
{
	static const char *const dropped[] = { "Bcc", "Resent-Bcc", "Return-Path", NULL };
	static const char *const first[] = { "To", "Cc", "Bcc", NULL };
	static const char *const resent[] = { "Resent-To", "Resent-Cc", "Resent-Bcc", NULL };
	const char *const *lists = first;
	size_t kept = 0, hops = 0, froms = 0;

	for (size_t i = 0; i < e->count; i++)
		if (is_one_of(&e->fields[i], resent))
			lists = resent;
	for (size_t i = 0; i < e->count; i++) {
		struct field *f = &e->fields[i];

		hops += is_named(f, "Received");
		froms += is_named(f, "From");
		if (m->in->take_recipients && is_one_of(f, lists) && add_recipients(m, f) < 0)
			return -1;
		if (!is_one_of(f, dropped) && !slice_starts_nocase(f->name, SLICE("X-Kairan-")) &&
		    !slice_starts_nocase(f->name, SLICE("X-SES-")))
			e->fields[kept++] = *f;
	}
	e->count = kept;
	if (hops > SUBMISSION_HOPS_MAX)
		return err_set(m->err, "%zu Received fields: the mail goes round in circles", hops);
	if (froms > 1)
		return err_set(m->err, "From: more than one field");
	if (m->s->recipient_count == 0)
		return err_set(m->err, "there is no recipient");
	return 0;
}

static int
add_missing(struct maker *m, const struct entity *e)
{
	const struct field *from = find(e, "From"), *id = find(e, "Message-ID");
	char date[MIME_DATE_BYTES];

	if (from == NULL && m->in->default_from.len == 0)
		return err_set(m->err, "From: missing; write it, or name a sender with -f");
	if (read_from(m, from != NULL ? from->value : m->in->default_from) < 0)
		return -1;
	if (from == NULL &&
	    !mime_put_mailbox_header(m->out, SLICE("From"), m->in->full_name,
		slice_make(m->s->from.text, m->s->from.len)))
		return err_set(m->err, "the full name is neither ASCII nor UTF-8");
	if (find(e, "Date") == NULL) {
		(void)mime_date(date, m->in->date, 0);
		buf_printf(m->out, "Date: %s\r\n", date);
	}
	if (id != NULL)
		m->s->message_id = unfolded(m, id->value);
	else
		buf_printf(m->out, "Message-ID: <%.*s@%.*s>\r\n", SLICE_ARG(m->in->id_left),
		    SLICE_ARG(addr_domain(&m->s->from)));
	return 0;
}

int
submission_make(const struct submission_input *in, struct arena *arena, struct buf *out,
    struct submission *s, struct err *err)
{
	struct maker m = { in, arena, out, s, err };
	struct slice text = in->bytes;
	struct entity e;

	*s = (struct submission){ 0 };
	s->recipients = arena_array(arena, SUBMISSION_RECIPIENTS_MAX, sizeof(struct addr));
	if (s->recipients == NULL)
		return err_set(err, "no memory");
	if (text.len > 0 && memchr(text.ptr, '\0', text.len) != NULL)
		return err_set(err, "there is a NUL byte in the mail (RFC 5322 2.2)");
	if (slice_starts_nocase(text, SLICE("From "))) /* mbox; programs write it first */
		(void)take_line(&text);
	for (size_t i = 0; i < in->to_count; i++)
		if (add_recipient(&m, in->to[i], "recipient") < 0)
			return -1;
	if (read_entity(&m, text, &e) < 0 || sift(&m, &e) < 0 || add_missing(&m, &e) < 0 ||
	    put_read_entity(&m, &e, 0) < 0)
		return -1;
	if (arena->failed) /* a field that could not be unfolded was taken for none */
		return err_set(err, "no memory for the parts and fields of the mail");
	return buf_failed(out) ? err_set(err, "the mail is too large once it is encoded") : 0;
}
