/* SPDX-License-Identifier: Apache-2.0 */
/*
 * message: see message.h. Two halves: the plan and the rendering. A plan is a list of blocks that
 * are ready for the wire and of parts; a part is either ready too, or a template with its
 * literals encoded.
 *
 * Nothing here writes a value into the header but through the writers of mime.
 */
#include "message.h"

#include <assert.h>
#include <string.h>

#include "addr.h"
#include "html_text.h"
#include "mime.h"
#include "utf8.h"
#include "hash.h"

#define PARTS_MAX 2
#define HOST_MAX 253
#define BOUNDARY_BYTES 24 /* "=_k", a letter, 16 digits and a NUL */

const struct slice message_builtins[MESSAGE_BUILTINS] = { { "unsubscribe_url", 15 },
	{ "campaign", 8 }, { "amazonSESUnsubscribeUrl", 23 }, { "view_url", 8 },
	{ LINKS_TOKEN, sizeof(LINKS_TOKEN) - 1 } };

static bool
is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* --- plan --- */

struct part {
	struct slice lead; /* boundaries and heads of multiparts around it */
	struct slice head; /* the lead, then its own header and the empty line */
	struct template template;
	bool base64;
	bool ready;		       /* body holds the whole part */
	struct slice body;	       /* encoded */
	struct mime_qp_run *runs;      /* by op (quoted-printable) */
	struct mime_base64_run *texts; /* by op (base64) */
};

/* Header fields that are the same for all recipients, in one charset. */
struct fixed {
	const struct jis *jis; /* NULL: UTF-8 */
	struct slice from;     /* From, Sender */
	struct slice reply_to;
	struct slice last;    /* everything behind the recipient's fields; without the header of a
				 single part and the empty line behind it */
	struct slice subject; /* the whole field, when nothing in it varies */
};

enum multipart { MIXED, ALTERNATIVE, RELATED, MULTIPARTS };

static const char *const multipart_names[MULTIPARTS] = { "mixed", "alternative", "related" };

struct message_plan {
	struct arena *arena;
	struct template_fields fields;
	struct fixed utf8;
	struct fixed jis; /* usable when jis.jis is there */
	struct slice *jis_domains;
	size_t jis_domain_count;
	struct template subject;
	struct slice unsubscribe_base; /* with what stands between it and a token */
	struct slice mailto_domain;
	struct slice web_base; /* with "/" at its end, or empty */
	struct links links;
	struct slice html_source; /* as it is sent */
	struct slice message_id_domain;
	int zone_minutes;
	bool ses_tags;
	struct part parts[PARTS_MAX];
	size_t part_count;
	struct slice closing; /* files and last boundaries */
	struct slice text_source;
	const struct template *html; /* borrowed from parts, or NULL */
	const struct template *text;
	bool has_slots;
	struct template_slots slots[MESSAGE_PIECES];
	bool uses[MULTIPARTS];
	char boundaries[MULTIPARTS][BOUNDARY_BYTES];
};

struct maker {
	const struct message_source *source;
	struct message_plan *plan;
	struct buf scratch;
	struct err *err;
};

/* Keeps the scratch's bytes in the arena and empties it. */
static int
keep(struct maker *m, struct slice *dst)
{
	bool failed = buf_failed(&m->scratch);

	*dst = failed ? slice_make(NULL, 0) : arena_copy(m->plan->arena, buf_slice(&m->scratch));
	if (dst->ptr == NULL && (failed || m->scratch.len > 0))
		return err_set(m->err, "no memory for the message");
	buf_reset(&m->scratch);
	return 0;
}

static int
keep_copy(struct maker *m, struct slice *dst, struct slice s)
{
	buf_append_slice(&m->scratch, s);
	return keep(m, dst);
}

static bool
host_ok(struct slice s)
{
	if (s.len == 0 || s.len > HOST_MAX)
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (!is_alnum(s.ptr[i]) && s.ptr[i] != '-' && s.ptr[i] != '_' &&
		    (s.ptr[i] != '.' || i == 0 || i + 1 == s.len || s.ptr[i - 1] == '.'))
			return false;
	return true;
}

static bool
is_address(struct slice s)
{
	return s.len > 0 && memchr(s.ptr, '@', s.len) != NULL;
}

/* Nothing for an empty address. Senders are ASCII (addr_parse_sender). */
static bool
put_mailbox(struct maker *m, const struct jis *jis, struct slice field, struct slice name,
    struct slice addr)
{
	return addr.len == 0 ||
	    (is_address(addr) && !addr_needs_utf8(addr) &&
		mime_put_mailbox_header_in(jis, &m->scratch, field, name, addr));
}

static int
make_sender(struct maker *m, struct fixed *f)
{
	const struct message_source *s = m->source;

	if (s->from_addr.len == 0 ||
	    !put_mailbox(m, f->jis, SLICE("From"), s->from_name, s->from_addr))
		return err_set(m->err, "from: not a name and an address fit for a header");
	/* RFC 5322 3.6.2: Sender is left out when it is the author */
	if (!slice_equal_nocase(s->sender_addr, s->from_addr) &&
	    !put_mailbox(m, f->jis, SLICE("Sender"), s->sender_name, s->sender_addr))
		return err_set(m->err, "sender: not a name and an address fit for a header");
	if (keep(m, &f->from) != 0)
		return -1;
	if (!put_mailbox(m, f->jis, SLICE("Reply-To"), s->reply_to_name, s->reply_to))
		return err_set(m->err, "reply_to: not a name and an address fit for a header");
	return keep(m, &f->reply_to);
}

static int
make_domains(struct maker *m)
{
	const struct message_source *s = m->source;

	if (!host_ok(s->message_id_domain))
		return err_set(m->err, "message_id_domain: not a host name");
	if (keep_copy(m, &m->plan->message_id_domain, s->message_id_domain) != 0)
		return -1;
	if (s->jis_domain_count == 0)
		return 0;
	m->plan->jis_domains =
	    arena_array(m->plan->arena, s->jis_domain_count, sizeof(*m->plan->jis_domains));
	if (m->plan->jis_domains == NULL)
		return err_set(m->err, "no memory for the message");
	for (size_t i = 0; i < s->jis_domain_count; i++)
		if (keep_copy(m, &m->plan->jis_domains[i], s->jis_domains[i]) != 0)
			return -1;
	m->plan->jis_domain_count = s->jis_domain_count;
	return 0;
}

/* An address that something is put behind. */
static int
check_base(struct maker *m, const char *name, struct slice base)
{
	if ((!slice_starts_nocase(base, SLICE("https://")) &&
		!slice_starts_nocase(base, SLICE("http://"))) ||
	    base.len > MESSAGE_URL_MAX)
		return err_set(
		    m->err, "%s: not an https: address of at most %d bytes", name, MESSAGE_URL_MAX);
	for (size_t i = 0; i < base.len; i++)
		if (base.ptr[i] <= ' ' || base.ptr[i] > '~' ||
		    strchr("<>\",\\", base.ptr[i]) != NULL)
			return err_set(m->err,
			    "%s: blanks, quotes, commas and angle brackets must be percent-encoded",
			    name);
	return 0;
}

/* Where the mail is shown and counted, and the html that leads there. */
static int
make_links(struct maker *m)
{
	const struct message_source *s = m->source;
	struct links_options o = { .opens = s->track_opens,
		.clicks = s->track_clicks,
		.files = s->files_by_link,
		.keep_ses = s->keep_ses_no_track,
		.leave = { s->unsubscribe_url_base } };

	if (s->web_base.len > 0) {
		if (check_base(m, "web.base", s->web_base) != 0)
			return -1;
		buf_append_slice(&m->scratch, s->web_base);
		if (s->web_base.ptr[s->web_base.len - 1] != '/')
			buf_append_char(&m->scratch, '/');
		if (keep(m, &m->plan->web_base) != 0)
			return -1;
	} else if (o.opens || o.clicks || o.files) {
		return err_set(m->err, "web.base: needed to track opens and clicks");
	}
	o.base = o.leave[1] = m->plan->web_base;
	return links_rewrite(
	    s->html, &o, m->plan->arena, &m->plan->links, &m->plan->html_source, m->err);
}

static int
make_unsubscribe(struct maker *m)
{
	struct slice base = m->source->unsubscribe_url_base;

	if (m->source->unsubscribe_mailto_domain.len > 0) {
		if (!host_ok(m->source->unsubscribe_mailto_domain))
			return err_set(m->err, "unsubscribe_mailto_domain: not a host name");
		if (keep_copy(m, &m->plan->mailto_domain, m->source->unsubscribe_mailto_domain) !=
		    0)
			return -1;
	}
	if (base.len == 0)
		return 0;
	if (check_base(m, "unsubscribe_url_base", base) != 0)
		return -1;
	buf_append_slice(&m->scratch, base);
	if (base.ptr[base.len - 1] != '/' && base.ptr[base.len - 1] != '=')
		buf_append_char(&m->scratch, '/');
	return keep(m, &m->plan->unsubscribe_base);
}

/* Names that are ours to write, or that no sender should (RFC 5322 3.6, 5321 4.4). */
static bool
is_reserved(struct slice name)
{
	static const char *const names[] = { "date", "from", "sender", "to", "cc", "bcc",
		"reply-to", "subject", "message-id", "mime-version", "list-unsubscribe",
		"list-unsubscribe-post", "list-id", "feedback-id", "auto-submitted", "return-path",
		"received", "dkim-signature", "authentication-results", NULL };
	static const char *const prefixes[] = { "content-", "resent-", "x-kairan-", "arc-", NULL };

	for (const char *const *p = names; *p != NULL; p++)
		if (slice_equal_nocase(name, slice_str(*p)))
			return true;
	for (const char *const *p = prefixes; *p != NULL; p++)
		if (slice_starts_nocase(name, slice_str(*p)))
			return true;
	return false;
}

static int
put_extra_headers(struct maker *m, const struct jis *jis)
{
	const struct message_header *h = m->source->headers;
	size_t count = m->source->header_count;

	if (count > MESSAGE_HEADERS_MAX)
		return err_set(m->err, "more than %d extra header fields", MESSAGE_HEADERS_MAX);
	for (size_t i = 0; i < count; i++) {
		struct slice value = slice_trim(h[i].value);

		if (!mime_header_name_ok(h[i].name))
			return err_set(m->err, "extra header %zu: not a header name", i + 1);
		if (is_reserved(h[i].name))
			return err_set(m->err, "extra header %.*s: this one can not be set here",
			    SLICE_ARG(h[i].name));
		for (size_t j = 0; j < i; j++)
			if (slice_equal_nocase(h[i].name, h[j].name))
				return err_set(
				    m->err, "extra header %.*s: given twice", SLICE_ARG(h[i].name));
		/* as it is when that is possible, so that addresses and URLs stay whole */
		if (!mime_put_token_header(&m->scratch, h[i].name, value) &&
		    !mime_put_text_header_in(jis, &m->scratch, h[i].name, value))
			return err_set(m->err,
			    "extra header %.*s: a control character or invalid UTF-8 in its value",
			    SLICE_ARG(h[i].name));
	}
	return 0;
}

static int
put_list_id(struct maker *m, const struct jis *jis)
{
	const struct message_source *s = m->source;
	char value[HOST_MAX + 3];

	if (!host_ok(s->list_id))
		return err_set(m->err, "list_id: not like a host name");
	if (s->list_name.len == 0) {
		value[0] = '<';
		memcpy(value + 1, s->list_id.ptr, s->list_id.len);
		value[s->list_id.len + 1] = '>';
		if (mime_put_token_header(
			&m->scratch, SLICE("List-Id"), slice_make(value, s->list_id.len + 2)))
			return 0;
	} else if (mime_put_mailbox_header_in(
		       jis, &m->scratch, SLICE("List-Id"), s->list_name, s->list_id)) {
		return 0;
	}
	return err_set(m->err, "list_name: a control character or invalid UTF-8");
}

/* The header of a multipart and its empty line. */
static void
put_multipart(struct maker *m, enum multipart kind)
{
	buf_printf(&m->scratch, "Content-Type: multipart/%s;%s\r\n boundary=\"%s\"\r\n\r\n",
	    multipart_names[kind], kind == RELATED ? " type=\"text/html\";" : "",
	    m->plan->boundaries[kind]);
}

static void
put_boundary(struct maker *m, enum multipart kind)
{
	buf_printf(&m->scratch, "--%s\r\n", m->plan->boundaries[kind]);
}

static const char *
encoding_name(const struct part *p)
{
	return p->base64 ? "base64" : "quoted-printable";
}

static const char *
type_name(const struct part *p)
{
	return p->template.context == TEMPLATE_HTML ? "text/html" : "text/plain";
}

static int
make_last_block(struct maker *m, struct fixed *f)
{
	const struct message_source *s = m->source;
	struct buf *b = &m->scratch;

	if (slice_starts_nocase(m->plan->unsubscribe_base, SLICE("https:")))
		buf_append_str(b, "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n");
	if (s->list_id.len > 0 && put_list_id(m, f->jis) != 0)
		return -1;
	if (s->feedback_id.len > 0 &&
	    !mime_put_token_header(b, SLICE("Feedback-ID"), s->feedback_id))
		return err_set(m->err, "feedback_id: ASCII without control characters is needed");
	if (s->auto_submitted)
		buf_append_str(b, "Auto-Submitted: auto-generated\r\n");
	if (put_extra_headers(m, f->jis) != 0)
		return -1;
	buf_append_str(b, "MIME-Version: 1.0\r\n");
	for (size_t i = 0; i < MULTIPARTS; i++) {
		if (!m->plan->uses[i])
			continue;
		put_multipart(m, (enum multipart)i);
		break;
	}
	return keep(m, &f->last);
}

static int
compile_named(struct maker *m, const char *name, struct template *t, struct slice source,
    enum template_context context)
{
	struct err inner = { 0 };

	if (template_compile(t, source, context, &m->plan->fields, &inner) == 0)
		return 0;
	if (m->err != NULL)
		m->err->offset = inner.offset;
	return err_set(m->err, "%s: %.380s", name, inner.msg);
}

static int
make_subject(struct maker *m, struct fixed *f)
{
	const struct template *t = &m->plan->subject;
	struct slice text = SLICE("");

	if (!template_is_static(t))
		return 0;
	/* comments may have cut the text into several literals */
	for (size_t i = 0; i < t->count; i++)
		buf_append_slice(&m->scratch, t->ops[i].text);
	if (keep(m, &text) != 0)
		return -1;
	if (!mime_put_text_header_in(f->jis, &m->scratch, SLICE("Subject"), slice_trim(text)))
		return err_set(m->err, "subject: not fit for a header");
	return keep(m, &f->subject);
}

static int
make_fixed(struct maker *m, struct fixed *f)
{
	if (make_sender(m, f) != 0 || make_subject(m, f) != 0)
		return -1;
	return make_last_block(m, f);
}

/* The same once more in ISO-2022-JP. When something in it has no place there, nobody gets it. */
static int
make_fixed_jis(struct maker *m)
{
	struct fixed *f = &m->plan->jis;
	struct err why, *err = m->err;
	int status;

	if (m->plan->jis_domain_count == 0)
		return 0;
	f->jis = jis_new(m->plan->arena);
	if (f->jis == NULL)
		return err_set(m->err, "ISO-2022-JP: iconv does not know it, or no memory");
	m->err = &why;
	status = make_fixed(m, f);
	m->err = err;
	if (status != 0 && (m->plan->arena->failed || buf_failed(&m->scratch)))
		return err_set(m->err, "no memory for the message in ISO-2022-JP");
	if (status != 0) {
		f->jis = NULL;
		buf_reset(&m->scratch);
	}
	return 0;
}

/* Bytes of s in quoted-printable, about: soft breaks are a share. */
static size_t
qp_estimate(struct slice s)
{
	size_t n = s.len;

	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.ptr[i] >= 0x7f || s.ptr[i] == '=')
			n += 2;
	return n + n / 73 * 3;
}

static int
encode_literals(struct maker *m, struct part *p)
{
	const struct template *t = &p->template;

	if (p->base64)
		p->texts = arena_array(m->plan->arena, t->count, sizeof(*p->texts));
	else
		p->runs = arena_array(m->plan->arena, t->count, sizeof(*p->runs));
	if (t->count > 0 && p->texts == NULL && p->runs == NULL)
		return err_set(m->err, "no memory for the message");
	for (size_t i = 0; i < t->count; i++) {
		if (t->ops[i].kind != TEMPLATE_OP_TEXT)
			continue;
		if (p->base64) {
			struct slice text;

			mime_put_crlf(&m->scratch, t->ops[i].text);
			if (keep(m, &text) != 0)
				return -1;
			if (!mime_base64_run_make(&p->texts[i], text, m->plan->arena))
				return err_set(m->err, "no memory for the message");
		} else if (!mime_qp_run_make(&p->runs[i], t->ops[i].text, m->plan->arena)) {
			return err_set(m->err, "no memory for the message");
		}
	}
	return 0;
}

static enum template_status put_part(const struct part *p, const struct template_values *values,
    struct buf *out, struct template_result *result);

/* Decides the encoding from the literals and encodes what does not vary. */
static int
make_body(struct maker *m, struct part *p)
{
	static const struct template_values none;
	struct template_result result = { .status = TEMPLATE_OK };
	size_t qp = 0;

	for (size_t i = 0; i < p->template.count; i++)
		if (p->template.ops[i].kind == TEMPLATE_OP_TEXT)
			qp += qp_estimate(p->template.ops[i].text);
	p->base64 = mime_base64_size(p->template.text_bytes) < qp;
	if (encode_literals(m, p) != 0)
		return -1;
	if (!template_is_static(&p->template))
		return 0;
	if (put_part(p, &none, &m->scratch, &result) != TEMPLATE_OK)
		return err_set(m->err, "no memory for the message");
	p->ready = true;
	return keep(m, &p->body);
}

static int
add_part(struct maker *m, const char *name, struct slice source, enum template_context context)
{
	struct part *p = &m->plan->parts[m->plan->part_count++];

	if (compile_named(m, name, &p->template, source, context) != 0)
		return -1;
	return make_body(m, p);
}

/* FNV-1a over the sources, in hexadecimal, and a letter for each kind. "=_" can not occur in
 * either body encoding, so the boundary needs no search (RFC 2045 6.7). */
static void
make_boundaries(struct maker *m)
{
	static const char digits[] = "0123456789abcdef", letters[] = "mar";
	const struct slice in[] = { m->source->html, m->source->text, m->source->subject };
	uint64_t hash = HASH_START;

	for (size_t i = 0; i < sizeof(in) / sizeof(in[0]); i++)
		hash = hash_slice(hash, in[i]);
	for (size_t i = 0; i < MULTIPARTS; i++) {
		char *p = m->plan->boundaries[i];

		memcpy(p, "=_k", 3);
		p[3] = letters[i];
		for (size_t k = 0; k < 16; k++)
			p[4 + k] = digits[hash >> (60 - 4 * k) & 15];
		p[20] = '\0';
	}
}

static int
make_text_source(struct maker *m)
{
	struct buf *b = &m->scratch;

	if (m->source->text.len > 0)
		buf_append_slice(b, m->source->text);
	else
		html_text(b, m->source->html);
	return keep(m, &m->plan->text_source);
}

static int
make_parts(struct maker *m)
{
	struct message_plan *plan = m->plan;
	bool given = m->source->text.len > 0;

	if (m->source->html.len == 0 && !given)
		return err_set(m->err, "html or text is needed");
	if (make_text_source(m) != 0)
		return -1;
	/* errors of the html itself are to be told first, and by its own lines */
	if (!given || plan->html_source.ptr != m->source->html.ptr) {
		struct template probe;

		if (compile_named(m, "html", &probe, m->source->html, TEMPLATE_HTML) != 0)
			return -1;
	}
	if (add_part(m, given ? "text" : "text made from html (give a text instead)",
		plan->text_source, TEMPLATE_TEXT) != 0)
		return -1;
	plan->text = &plan->parts[0].template;
	if (m->source->html.len > 0) {
		if (add_part(m, "html", plan->html_source, TEMPLATE_HTML) != 0)
			return -1;
		plan->html = &plan->parts[1].template;
	}
	return 0;
}

/* Which multiparts there are; checks the files. */
static int
make_structure(struct maker *m)
{
	const struct message_source *s = m->source;
	bool *uses = m->plan->uses;
	size_t bytes = 0;

	if (s->file_count > ATTACH_COUNT_MAX)
		return err_set(m->err, "more than %d files", ATTACH_COUNT_MAX);
	for (size_t i = 0; i < s->file_count; i++) {
		uses[s->files[i].content_id.len > 0 ? RELATED : MIXED] = true;
		if (s->files[i].bytes.len > ATTACH_BYTES_MAX - bytes)
			return err_set(m->err, "the files are larger than %zu MB together",
			    ATTACH_BYTES_MAX >> 20);
		bytes += s->files[i].bytes.len;
	}
	uses[ALTERNATIVE] = m->plan->part_count > 1;
	if (uses[RELATED] && m->plan->html == NULL)
		return err_set(m->err, "there is a file for the html, but no html");
	make_boundaries(m);
	return 0;
}

static int
make_heads(struct maker *m)
{
	const bool *uses = m->plan->uses;

	for (size_t i = 0; i < m->plan->part_count; i++) {
		struct part *p = &m->plan->parts[i];

		if (i == 0 && uses[MIXED])
			put_boundary(m, MIXED);
		if (i == 0 && uses[MIXED] && uses[ALTERNATIVE])
			put_multipart(m, ALTERNATIVE);
		if (uses[ALTERNATIVE])
			put_boundary(m, ALTERNATIVE);
		if (i == 1 && uses[RELATED]) {
			put_multipart(m, RELATED);
			put_boundary(m, RELATED);
		}
		if (keep(m, &p->lead) != 0)
			return -1;
		buf_append_slice(&m->scratch, p->lead);
		buf_printf(&m->scratch,
		    "Content-Type: %s; charset=UTF-8\r\nContent-Transfer-Encoding: %s\r\n\r\n",
		    type_name(p), encoding_name(p));
		if (keep(m, &p->head) != 0)
			return -1;
	}
	return 0;
}

/* The files of one kind and its last boundary. */
static int
put_files(struct maker *m, enum multipart kind)
{
	struct err why = { 0 };

	if (!m->plan->uses[kind])
		return 0;
	for (size_t i = 0; i < m->source->file_count && kind != ALTERNATIVE; i++) {
		const struct attach *a = &m->source->files[i];

		if ((a->content_id.len > 0) != (kind == RELATED))
			continue;
		put_boundary(m, kind);
		if (attach_put(a, &m->scratch, &why) != 0)
			return err_set(m->err, "file %.200s: %.200s",
			    a->name.len > 0 ? a->name.ptr : "", why.msg);
	}
	buf_printf(&m->scratch, "--%s--\r\n", m->plan->boundaries[kind]);
	return 0;
}

static const struct template *
piece_template(const struct message_plan *plan, enum message_piece piece)
{
	return piece == MESSAGE_SUBJECT ? &plan->subject
	    : piece == MESSAGE_TEXT	? plan->text
					: plan->html;
}

static int
make_slots(struct maker *m)
{
	struct message_plan *plan = m->plan;

	plan->has_slots = m->source->slots;
	for (int i = 0; plan->has_slots && i < MESSAGE_PIECES; i++) {
		const struct template *t = piece_template(plan, (enum message_piece)i);

		if (t != NULL && !template_slots_make(&plan->slots[i], t, plan->arena))
			return err_set(m->err, "no memory for the message");
	}
	return 0;
}

static int
make_closing(struct maker *m)
{
	if (put_files(m, RELATED) != 0 || put_files(m, ALTERNATIVE) != 0 ||
	    put_files(m, MIXED) != 0)
		return -1;
	return keep(m, &m->plan->closing);
}

struct slice
message_feedback_id(struct arena *arena, const char *campaign, const char *list, const char *stream,
    const char *sender)
{
	struct slice id = SLICE("");
	struct buf b;

	if (sender == NULL || sender[0] == '\0')
		return id;
	buf_init(&b, 1000);
	buf_printf(&b, "%s:%s:%s:%s", campaign, list, stream, sender);
	if (!buf_failed(&b))
		id = arena_copy(arena, buf_slice(&b));
	buf_release(&b);
	return id;
}

int
message_compile(const struct message_source *source, struct arena *arena,
    struct message_plan **plan, struct err *err)
{
	struct maker m = { .source = source, .err = err };
	int status = -1;

	*plan = NULL;
	m.plan = arena_alloc(arena, sizeof(*m.plan));
	if (m.plan == NULL ||
	    !template_fields_init(&m.plan->fields, message_builtins, MESSAGE_BUILTINS, arena))
		return err_set(err, "no memory for the message");
	m.plan->arena = arena;
	m.plan->zone_minutes = source->zone_minutes;
	m.plan->ses_tags = source->ses_tags;
	buf_init(&m.scratch, MESSAGE_BUFFER_MAX);
	if (make_domains(&m) == 0 && make_unsubscribe(&m) == 0 && make_links(&m) == 0 &&
	    compile_named(&m, "subject", &m.plan->subject, slice_trim(source->subject),
		TEMPLATE_HEADER) == 0 &&
	    make_parts(&m) == 0 && make_structure(&m) == 0 && make_heads(&m) == 0 &&
	    make_closing(&m) == 0 && make_fixed(&m, &m.plan->utf8) == 0 &&
	    make_fixed_jis(&m) == 0 && make_slots(&m) == 0) {
		*plan = m.plan;
		status = 0;
	}
	buf_release(&m.scratch);
	return status;
}

const struct slice *
message_fields(const struct message_plan *plan, size_t *count)
{
	*count = plan->fields.count;
	return plan->fields.names;
}

bool
message_field_is_json(const struct message_plan *plan, size_t index)
{
	return plan->fields.json[index];
}

bool
message_is_unsubscribe(uint32_t field)
{
	return field == (TEMPLATE_BUILTIN | MESSAGE_UNSUBSCRIBE_URL) ||
	    field == (TEMPLATE_BUILTIN | MESSAGE_SES_UNSUBSCRIBE_URL);
}

unsigned
message_raw_fields(const struct message_plan *plan)
{
	return plan->html != NULL ? plan->html->raw_count : 0;
}

struct slice
message_text_source(const struct message_plan *plan)
{
	return plan->text_source;
}

struct slice
message_html_source(const struct message_plan *plan)
{
	return plan->html_source;
}

bool
message_has_files(const struct message_plan *plan)
{
	return plan->uses[MIXED] || plan->uses[RELATED];
}

bool
message_has_jis(const struct message_plan *plan)
{
	return plan->jis_domain_count > 0;
}

const struct template_slots *
message_slots(const struct message_plan *plan, enum message_piece piece)
{
	const struct template_slots *slots = &plan->slots[piece];

	return slots->template != NULL ? slots : NULL;
}

const struct links *
message_links(const struct message_plan *plan)
{
	return &plan->links;
}

bool
message_uses(const struct message_plan *plan, unsigned builtin)
{
	return (plan->fields.builtins_used >> builtin & 1) != 0;
}

/* --- rendering --- */

struct part_sink {
	struct template_sink base; /* first: the callbacks get its address */
	const struct part *part;
	struct mime_qp qp;
	struct mime_base64 base64;
};

static void
qp_text(struct template_sink *sink, size_t op, struct slice text)
{
	struct part_sink *s = (struct part_sink *)sink;

	(void)text;
	mime_qp_put_run(&s->qp, &s->part->runs[op]);
}

static void
qp_value(struct template_sink *sink, struct slice piece)
{
	mime_qp_put(&((struct part_sink *)sink)->qp, piece);
}

static void
base64_text(struct template_sink *sink, size_t op, struct slice text)
{
	struct part_sink *s = (struct part_sink *)sink;

	(void)text;
	mime_base64_put_run(&s->base64, &s->part->texts[op]);
}

static void
base64_value(struct template_sink *sink, struct slice piece)
{
	struct mime_base64 *b = &((struct part_sink *)sink)->base64;

	while (piece.len > 0) {
		size_t n = 0, end;

		while (n < piece.len && piece.ptr[n] != '\r' && piece.ptr[n] != '\n')
			n++;
		mime_base64_put(b, slice_make(piece.ptr, n));
		if (n == piece.len)
			return;
		mime_base64_put(b, SLICE("\r\n"));
		end = piece.ptr[n] == '\r' && n + 1 < piece.len && piece.ptr[n + 1] == '\n' ? 2 : 1;
		piece = slice_make(piece.ptr + n + end, piece.len - n - end);
	}
}

static void
plain_value(struct template_sink *sink, struct slice piece)
{
	mime_put_crlf(sink->out, piece);
}

static void
plain_text(struct template_sink *sink, size_t op, struct slice text)
{
	(void)op;
	plain_value(sink, text);
}

/* The encoded body of one part; it ends with CRLF. */
static enum template_status
put_part(const struct part *p, const struct template_values *values, struct buf *out,
    struct template_result *result)
{
	struct part_sink sink = {
		.base = { .out = out }, .part = p, .qp = { .out = out }, .base64 = { .out = out }
	};
	size_t start = out->len;

	if (p->ready) {
		buf_append_slice(out, p->body);
		return TEMPLATE_OK;
	}
	sink.base.put_text = p->base64 ? base64_text : qp_text;
	sink.base.put_value = p->base64 ? base64_value : qp_value;
	if (template_run(&p->template, values, &sink.base, result) != TEMPLATE_OK)
		return result->status;
	mime_base64_end(&sink.base64);
	if (sink.qp.column > 0 || out->len == start)
		buf_append(out, "\r\n", 2);
	return TEMPLATE_OK;
}

static bool
token_ok(struct slice s)
{
	if (s.len == 0 || s.len > MESSAGE_TOKEN_MAX)
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (!is_alnum(s.ptr[i]) && (s.ptr[i] == '\0' || strchr("._-+=", s.ptr[i]) == NULL))
			return false;
	return true;
}

struct render {
	const struct message_plan *plan;
	const struct fixed *fixed;
	const struct message_recipient *recipient;
	struct buf *out;
	size_t start; /* of the message in out */
	struct message_result *result;
	struct template_values values;
	struct template_value builtins[MESSAGE_BUILTINS];
	char url[MESSAGE_URL_MAX + 1 + MESSAGE_TOKEN_MAX + HOST_MAX + 16];
	char view_url[MESSAGE_URL_MAX + 1 + MESSAGE_TOKEN_MAX + 8];
};

static enum template_status
refuse(struct render *r, enum template_status status, struct slice field)
{
	r->result->field = field;
	r->result->status = status;
	return status;
}

/* Those that the templates alone may ask for. */
static enum template_status
check_tokens(struct render *r)
{
	const struct message_recipient *c = r->recipient;

	if (c->view_token.len > 0 && !token_ok(c->view_token))
		return refuse(r, TEMPLATE_BAD_DATA, SLICE("view_token"));
	if (c->track_token.len > 0 && !token_ok(c->track_token))
		return refuse(r, TEMPLATE_BAD_DATA, SLICE("track_token"));
	return TEMPLATE_OK;
}

static enum template_status
check_recipient(struct render *r)
{
	const struct message_recipient *c = r->recipient;
	bool unsubscribe = r->plan->unsubscribe_base.len > 0 || r->plan->mailto_domain.len > 0;

	if (!is_address(c->to_addr))
		return refuse(r, TEMPLATE_BAD_DATA, SLICE("to_addr"));
	if (c->to_name.len > TEMPLATE_VALUE_MAX)
		return refuse(r, TEMPLATE_TOO_LARGE, SLICE("to_name"));
	if (!utf8_ok(c->to_name))
		return refuse(r, TEMPLATE_BAD_DATA, SLICE("to_name"));
	if (!token_ok(c->message_id_left) || c->message_id_left.ptr[0] == '.' ||
	    c->message_id_left.ptr[c->message_id_left.len - 1] == '.')
		return refuse(r, TEMPLATE_BAD_DATA, SLICE("message_id_left"));
	if (!token_ok(c->id_token))
		return refuse(r, TEMPLATE_BAD_DATA, SLICE("id_token"));
	if (unsubscribe && !token_ok(c->unsubscribe_token))
		return refuse(r, TEMPLATE_BAD_DATA, SLICE("unsubscribe_token"));
	return check_tokens(r);
}

static void
add_bytes(char **p, struct slice s)
{
	if (s.len > 0)
		memcpy(*p, s.ptr, s.len);
	*p += s.len;
}

static enum template_status
set_values(struct render *r)
{
	const struct message_recipient *c = r->recipient;
	struct template_result inner = { .status = TEMPLATE_OK };
	char *p = r->url;

	if (r->plan->unsubscribe_base.len > 0) {
		add_bytes(&p, r->plan->unsubscribe_base);
		add_bytes(&p, c->unsubscribe_token);
	} else if (r->plan->mailto_domain.len > 0) {
		add_bytes(&p, SLICE("mailto:u+"));
		add_bytes(&p, c->unsubscribe_token);
		add_bytes(&p, SLICE("@"));
		add_bytes(&p, r->plan->mailto_domain);
	}
	r->builtins[MESSAGE_UNSUBSCRIBE_URL] =
	    (struct template_value){ slice_make(r->url, (size_t)(p - r->url)), p > r->url };
	r->builtins[MESSAGE_SES_UNSUBSCRIBE_URL] = r->builtins[MESSAGE_UNSUBSCRIBE_URL];
	r->builtins[MESSAGE_CAMPAIGN] = (struct template_value){ c->campaign, true };
	p = r->view_url;
	if (r->plan->web_base.len > 0 && c->view_token.len > 0) {
		add_bytes(&p, r->plan->web_base);
		add_bytes(&p, SLICE("v/"));
		add_bytes(&p, c->view_token);
	}
	r->builtins[MESSAGE_VIEW_URL] =
	    (struct template_value){ slice_make(r->view_url, (size_t)(p - r->view_url)),
		    p > r->view_url };
	r->builtins[MESSAGE_TRACK_TOKEN] =
	    (struct template_value){ c->track_token, c->track_token.len > 0 };
	r->values = (struct template_values){ c->values, c->value_count, r->builtins,
		MESSAGE_BUILTINS, c->blank_missing };
	if (!template_values_check(&r->plan->fields, &r->values, &inner))
		return refuse(r, inner.status, inner.field);
	return TEMPLATE_OK;
}

/* Cuts the n bytes at `from` out of the end of out. */
static void
cut(struct buf *out, size_t from, size_t n)
{
	if (buf_failed(out) || n == 0)
		return;
	memmove(out->data + from, out->data + from + n, out->len - from - n);
	out->len -= n;
	out->data[out->len] = '\0';
}

/* Room behind n raw bytes for the field made from them, so that they do not move meanwhile.
 * Q costs 3 for 1, and a word of 12 more holds at least 8 bytes. */
static bool
reserve_field(struct buf *out, size_t n)
{
	return buf_reserve(out, 8 * n + 2048);
}

static enum template_status
put_to(struct render *r)
{
	struct buf *out = r->out;
	size_t start = out->len, raw;
	bool ok;

	r->result->cleaned += mime_put_clean(out, r->recipient->to_name, true);
	raw = out->len - start;
	if (buf_failed(out) || !reserve_field(out, raw))
		return TEMPLATE_OK; /* told at the end */
	ok = mime_put_mailbox_header_in(r->fixed->jis, out, SLICE("To"),
	    slice_trim(slice_make(out->data + start, raw)), r->recipient->to_addr);
	cut(out, start, raw);
	return ok ? TEMPLATE_OK : refuse(r, TEMPLATE_BAD_DATA, SLICE("to_addr"));
}

static enum template_status
put_subject(struct render *r)
{
	struct buf *out = r->out;
	struct template_result inner;
	size_t start = out->len, raw;
	bool ok;

	if (r->fixed->subject.len > 0) {
		buf_append_slice(out, r->fixed->subject);
		return TEMPLATE_OK;
	}
	if (template_render(&r->plan->subject, &r->values, out, &inner) != TEMPLATE_OK)
		return refuse(r, inner.status, inner.field);
	r->result->cleaned += inner.cleaned;
	raw = out->len - start;
	if (buf_failed(out) || !reserve_field(out, raw))
		return TEMPLATE_OK;
	ok = mime_put_text_header_in(
	    r->fixed->jis, out, SLICE("Subject"), slice_trim(slice_make(out->data + start, raw)));
	cut(out, start, raw);
	return ok ? TEMPLATE_OK : refuse(r, TEMPLATE_BAD_DATA, SLICE("subject"));
}

static enum template_status
put_campaign(struct render *r)
{
	struct buf *out = r->out;
	size_t start = out->len, raw;
	bool ok;

	buf_append_uint(out, r->recipient->run);
	if (r->recipient->campaign.len > 0) {
		buf_append(out, "; ", 2);
		r->result->cleaned += mime_put_clean(out, r->recipient->campaign, true);
	}
	raw = out->len - start;
	if (buf_failed(out) || !reserve_field(out, raw))
		return TEMPLATE_OK;
	ok = mime_put_text_header_in(r->fixed->jis, out, SLICE("X-Kairan-Campaign"),
	    slice_trim(slice_make(out->data + start, raw)));
	cut(out, start, raw);
	return ok ? TEMPLATE_OK : refuse(r, TEMPLATE_BAD_DATA, SLICE("campaign"));
}

static void
put_list_unsubscribe(struct render *r)
{
	const struct message_plan *plan = r->plan;
	struct buf *out = r->out;

	if (plan->unsubscribe_base.len == 0 && plan->mailto_domain.len == 0)
		return;
	buf_append_str(out, "List-Unsubscribe: <");
	if (plan->unsubscribe_base.len > 0) {
		buf_append_slice(out, plan->unsubscribe_base);
		buf_append_slice(out, r->recipient->unsubscribe_token);
		if (plan->mailto_domain.len > 0)
			buf_append_str(out, ">,\r\n <");
	}
	if (plan->mailto_domain.len > 0) {
		buf_append_str(out, "mailto:u+");
		buf_append_slice(out, r->recipient->unsubscribe_token);
		buf_append_char(out, '@');
		buf_append_slice(out, plan->mailto_domain);
	}
	buf_append(out, ">\r\n", 3);
}

static enum template_status
put_header(struct render *r)
{
	const struct message_plan *plan = r->plan;
	struct buf *out = r->out;
	char date[MIME_DATE_BYTES];
	size_t n = mime_date(date, r->recipient->date, plan->zone_minutes);

	buf_append_str(out, "X-Kairan-Id: ");
	buf_append_slice(out, r->recipient->id_token);
	if (plan->ses_tags) {
		buf_append_str(out, "\r\nX-SES-MESSAGE-TAGS: kairan=");
		buf_append_slice(out, r->recipient->id_token);
	}
	buf_append_str(out, "\r\nDate: ");
	buf_append(out, date, n);
	buf_append(out, "\r\n", 2);
	buf_append_slice(out, r->fixed->from);
	if (put_to(r) != TEMPLATE_OK)
		return r->result->status;
	buf_append_slice(out, r->fixed->reply_to);
	if (put_subject(r) != TEMPLATE_OK)
		return r->result->status;
	buf_append_str(out, "Message-ID: <");
	buf_append_slice(out, r->recipient->message_id_left);
	buf_append_char(out, '@');
	buf_append_slice(out, plan->message_id_domain);
	buf_append(out, ">\r\n", 3);
	put_list_unsubscribe(r);
	if (put_campaign(r) != TEMPLATE_OK)
		return r->result->status;
	buf_append_slice(out, r->fixed->last);
	r->result->body_offset = out->len - r->start;
	return TEMPLATE_OK;
}

/* Lines that may stand as they are: of 76 columns, none that could be taken for a boundary, a
 * dot or "From ". */
static bool
is_plain(struct slice s)
{
	size_t from = 0;

	for (size_t i = 0; i < s.len; i++) {
		if (i == from &&
		    (s.ptr[i] == '.' || (s.ptr[i] == '-' && i + 1 < s.len && s.ptr[i + 1] == '-') ||
			slice_starts_nocase(slice_make(s.ptr + i, s.len - i), SLICE("From "))))
			return false;
		if (s.ptr[i] == '\n') {
			if (i - from > MIME_BODY_COLUMNS + 1 ||
			    (i >= 2 && (s.ptr[i - 2] == ' ' || s.ptr[i - 2] == '\t')))
				return false;
			from = i + 1;
		}
	}
	return from == s.len;
}

/* One part in ISO-2022-JP with its header: as it is, or in base64. BAD_DATA when a character has
 * no place. */
static enum template_status
put_part_jis(struct render *r, const struct part *p, struct template_result *inner)
{
	struct part_sink sink = { .base = { .out = r->out } };
	struct buf *out = r->out;
	size_t raw = out->len, coded, n;
	bool plain;

	sink.base.put_text = plain_text;
	sink.base.put_value = plain_value;
	if (template_run(&p->template, &r->values, &sink.base, inner) != TEMPLATE_OK)
		return inner->status;
	if (out->len == raw || (!buf_failed(out) && out->data[out->len - 1] != '\n'))
		buf_append(out, "\r\n", 2);
	coded = out->len;
	n = JIS_WORST(coded - raw) + 1;
	if (buf_failed(out) || !buf_reserve(out, n + mime_base64_size(n) + 200))
		return TEMPLATE_OK; /* told at the end */
	n = jis_encode(r->fixed->jis, slice_make(out->data + raw, coded - raw), out->data + coded);
	if (n == JIS_NO_PLACE)
		return inner->status = TEMPLATE_BAD_DATA;
	buf_commit(out, n);
	plain = is_plain(slice_make(out->data + coded, n));
	buf_printf(out,
	    "Content-Type: %s; charset=ISO-2022-JP\r\nContent-Transfer-Encoding: %s\r\n\r\n",
	    type_name(p), plain ? "7bit" : "base64");
	if (r->plan->part_count == 1 && !r->plan->uses[MIXED])
		r->result->body_offset = out->len - r->start - (coded + n - raw);
	if (plain)
		buf_append(out, out->data + coded, n);
	else
		mime_put_base64(out, slice_make(out->data + coded, n));
	cut(out, raw, coded + n - raw);
	return TEMPLATE_OK;
}

static enum template_status
put_body(struct render *r)
{
	const struct message_plan *plan = r->plan;
	struct template_result inner = { .status = TEMPLATE_OK };

	for (size_t i = 0; i < plan->part_count; i++) {
		const struct part *p = &plan->parts[i];

		buf_append_slice(r->out, r->fixed->jis != NULL ? p->lead : p->head);
		if (plan->part_count == 1 && !plan->uses[MIXED])
			r->result->body_offset = r->out->len - r->start;
		if ((r->fixed->jis != NULL
			    ? put_part_jis(r, p, &inner)
			    : put_part(p, &r->values, r->out, &inner)) != TEMPLATE_OK)
			return refuse(r, inner.status, inner.field);
	}
	buf_append_slice(r->out, plan->closing);
	return TEMPLATE_OK;
}

static void
drop(struct render *r)
{
	if (r->out->data == NULL)
		return;
	r->out->len = r->start;
	r->out->data[r->start] = '\0';
}

static enum template_status
put_message(struct render *r, const struct fixed *fixed)
{
	*r->result = (struct message_result){ .status = TEMPLATE_OK };
	r->fixed = fixed;
	if (put_header(r) == TEMPLATE_OK)
		(void)put_body(r);
	return r->result->status;
}

static bool
wants_jis(const struct message_plan *plan, struct slice addr)
{
	const char *at = addr.len > 0 ? memrchr(addr.ptr, '@', addr.len) : NULL;
	struct slice domain;

	/* an address in UTF-8 does not go with a header in another charset */
	if (plan->jis_domain_count == 0 || at == NULL || addr_needs_utf8(addr))
		return false;
	domain = slice_make(at + 1, addr.len - (size_t)(at + 1 - addr.ptr));
	for (size_t i = 0; i < plan->jis_domain_count; i++)
		if (slice_equal_nocase(domain, plan->jis_domains[i]))
			return true;
	return false;
}

enum template_status
message_render(const struct message_plan *plan, const struct message_recipient *recipient,
    struct buf *out, struct message_result *result)
{
	struct render r = { .plan = plan, .recipient = recipient, .out = out, .result = result };
	bool jis = wants_jis(plan, recipient->to_addr), done = false;

	r.start = out->len;
	*result = (struct message_result){ .status = TEMPLATE_OK };
	if (check_recipient(&r) == TEMPLATE_OK && set_values(&r) == TEMPLATE_OK) {
		if (jis && plan->jis.jis != NULL) {
			/* what fails here is told by the second try */
			done = put_message(&r, &plan->jis) == TEMPLATE_OK && !buf_failed(out);
			if (!done && !buf_failed(out))
				drop(&r);
		}
		if (!done)
			(void)put_message(&r, &plan->utf8);
		result->is_jis = done;
		result->jis_failed = jis && !done;
	}
	if (result->status == TEMPLATE_OK && buf_failed(out))
		result->status = TEMPLATE_TOO_LARGE;
	if (result->status != TEMPLATE_OK)
		drop(&r);
	return result->status;
}

enum template_status
message_render_view(const struct message_plan *plan, const struct message_recipient *recipient,
    struct buf *out, bool *is_html, struct message_result *result)
{
	struct render r = { .plan = plan, .recipient = recipient, .out = out, .result = result };
	const struct template *t = plan->html != NULL ? plan->html : plan->text;
	struct template_result inner = { .status = TEMPLATE_OK };

	*is_html = plan->html != NULL;
	*result = (struct message_result){ .status = TEMPLATE_OK };
	if (check_tokens(&r) == TEMPLATE_OK && set_values(&r) == TEMPLATE_OK &&
	    template_render(t, &r.values, out, &inner) != TEMPLATE_OK)
		return refuse(&r, inner.status, inner.field);
	return result->status;
}

/* Where each piece begins in the buffer, which moves while it grows. */
static enum template_status
put_pieces(struct render *r, size_t from[MESSAGE_PIECES])
{
	const struct message_plan *plan = r->plan;
	struct template_result inner = { .status = TEMPLATE_OK };

	r->fixed = &plan->utf8;
	if (put_header(r) != TEMPLATE_OK)
		return r->result->status;
	for (int i = 0; i < MESSAGE_PIECES; i++) {
		const struct template *t = piece_template(plan, (enum message_piece)i);
		enum template_status status = TEMPLATE_OK;

		from[i] = r->out->len;
		if (t != NULL)
			status = plan->has_slots
			    ? template_slots_run(&plan->slots[i], &r->values, r->out, &inner)
			    : template_render(t, &r->values, r->out, &inner);
		if (status != TEMPLATE_OK)
			return refuse(r, inner.status, inner.field);
	}
	return TEMPLATE_OK;
}

enum template_status
message_render_pieces(const struct message_plan *plan, const struct message_recipient *recipient,
    struct buf *out, struct message_pieces *pieces, struct message_result *result)
{
	struct render r = { .plan = plan, .recipient = recipient, .out = out, .result = result };
	size_t from[MESSAGE_PIECES] = { 0 };

	r.start = out->len;
	*result = (struct message_result){ .status = TEMPLATE_OK };
	*pieces = (struct message_pieces){ 0 };
	if (check_recipient(&r) == TEMPLATE_OK && set_values(&r) == TEMPLATE_OK &&
	    put_pieces(&r, from) == TEMPLATE_OK && buf_failed(out))
		result->status = TEMPLATE_TOO_LARGE;
	if (result->status != TEMPLATE_OK) {
		drop(&r);
		return result->status;
	}
	pieces->head = slice_make(out->data + r.start, from[0] - r.start);
	for (int i = 0; i < MESSAGE_PIECES; i++) {
		size_t to = i + 1 < MESSAGE_PIECES ? from[i + 1] : out->len;

		pieces->piece[i] = slice_make(out->data + from[i], to - from[i]);
	}
	return TEMPLATE_OK;
}
