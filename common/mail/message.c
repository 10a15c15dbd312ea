/* SPDX-License-Identifier: Apache-2.0 */
/*
 * message: see message.h. Three parts: text made from HTML, the plan, the rendering. A plan is
 * a list of blocks that are ready for the wire and of parts; a part is either ready too, or a
 * template with its literals encoded (quoted-printable) or only normalised (base64).
 *
 * Nothing here writes a value into the header but through the writers of mime.
 */
#include "message.h"

#include <assert.h>
#include <string.h>

#include "mime.h"

#define PARTS_MAX 2
#define HOST_MAX 253
#define BOUNDARY_BYTES 24 /* "=_k", 16 digits and a NUL */

const struct slice message_builtins[MESSAGE_BUILTINS] = { { "unsubscribe_url", 15 },
	{ "campaign", 8 }, { "amazonSESUnsubscribeUrl", 23 } };

/* --- text from HTML --- */

struct texter {
	struct buf *out;
	size_t have;	/* line ends just written; 2 at the start */
	size_t pending; /* line ends to write before the next text */
	bool blank;	/* a blank is due */
	bool in_link;
	size_t link_at;	   /* offset of the link's text in out */
	struct slice link; /* its href, as in the source */
};

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f';
}

static bool
is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool
is_alnum(char c)
{
	return is_alpha(c) || (c >= '0' && c <= '9');
}

static void
texter_lines(struct texter *x, size_t n)
{
	x->blank = false;
	if (x->have + x->pending < n)
		x->pending = n - x->have;
}

static void
texter_flush(struct texter *x)
{
	if (x->pending > 0) {
		for (; x->pending > 0; x->pending--) {
			buf_append_char(x->out, '\n');
			x->have++;
		}
	} else if (x->blank && x->have == 0) {
		buf_append_char(x->out, ' ');
	}
	x->blank = false;
}

static void
texter_put(struct texter *x, struct slice s)
{
	if (s.len == 0)
		return;
	texter_flush(x);
	buf_append_slice(x->out, s);
	x->have = 0;
}

/* Length of the template tag at s ("{{" is there); s.len if open. */
static size_t
braces_len(struct slice s)
{
	size_t n = template_tag_len(s);

	return n > 0 ? n : s.len;
}

static bool
at_braces(struct slice s)
{
	return s.len >= 2 && s.ptr[0] == '{' && s.ptr[1] == '{';
}

/* A template tag passes through; one that prints counts as text. */
static size_t
texter_braces(struct texter *x, struct slice s)
{
	size_t n = braces_len(s), have;
	struct slice inside = slice_trim(slice_make(s.ptr + 2, n - 2));

	if (inside.len > 0 && inside.ptr[0] == '!')
		return n;
	texter_flush(x);
	have = x->have;
	texter_put(x, slice_make(s.ptr, n));
	if (inside.len > 0 &&
	    (inside.ptr[0] == '#' || inside.ptr[0] == '/' ||
		slice_starts_nocase(inside, SLICE("else"))))
		x->have = have;
	return n;
}

static const struct entity {
	const char *name;
	const char *text;
} entities[] = {
	{ "amp;", "&" },
	{ "lt;", "<" },
	{ "gt;", ">" },
	{ "quot;", "\"" },
	{ "apos;", "'" },
	{ "nbsp;", " " },
	{ "copy;", "©" },
	{ "reg;", "®" },
	{ "trade;", "™" },
	{ "hellip;", "…" },
	{ "mdash;", "—" },
	{ "ndash;", "–" },
	{ "lsquo;", "‘" },
	{ "rsquo;", "’" },
	{ "ldquo;", "“" },
	{ "rdquo;", "”" },
	{ "laquo;", "«" },
	{ "raquo;", "»" },
	{ "middot;", "·" },
	{ "bull;", "•" },
	{ "times;", "×" },
	{ "yen;", "¥" },
	{ "euro;", "€" },
	{ "pound;", "£" },
	{ "sect;", "§" },
	{ "deg;", "°" },
	{ "rarr;", "→" },
	{ "larr;", "←" },
	{ "zwnj;", "" },
	{ "zwj;", "" },
	{ "shy;", "" },
	{ "ensp;", " " },
	{ "emsp;", " " },
	{ "thinsp;", " " },
};

static size_t
put_utf8(char dst[4], uint32_t c)
{
	if (c < 0x80) {
		dst[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		dst[0] = (char)(0xc0 | c >> 6);
		dst[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		dst[0] = (char)(0xe0 | c >> 12);
		dst[1] = (char)(0x80 | (c >> 6 & 0x3f));
		dst[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	dst[0] = (char)(0xf0 | c >> 18);
	dst[1] = (char)(0x80 | (c >> 12 & 0x3f));
	dst[2] = (char)(0x80 | (c >> 6 & 0x3f));
	dst[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

/* &#38; &#x26; at s: its length, or 0. Braces stay as they are: they could become a tag. */
static size_t
numeric_entity(struct slice s, char dst[4], size_t *n)
{
	size_t i = 2;
	uint32_t c = 0, base = 10, digit;

	if (s.len < 4 || s.ptr[1] != '#')
		return 0;
	if (s.ptr[2] == 'x' || s.ptr[2] == 'X') {
		base = 16;
		i = 3;
	}
	for (; i < s.len && is_alnum(s.ptr[i]); i++) {
		char ch = s.ptr[i];

		digit = ch <= '9' ? (uint32_t)(ch - '0') : (uint32_t)((ch | 32) - 'a' + 10);
		if (digit >= base || c > 0x10ffff)
			return 0;
		c = c * base + digit;
	}
	if (i == s.len || s.ptr[i] != ';' || c < 0x20 || c == 0x7f || c > 0x10ffff ||
	    (c >= 0xd800 && c <= 0xdfff) || c == '{' || c == '}')
		return 0;
	*n = put_utf8(dst, c);
	return i + 1;
}

/* The entity at s ("&" is there): its length, or 0 when there is none. */
static size_t
entity_at(struct slice s, char dst[4], size_t *n)
{
	struct slice rest = slice_make(s.ptr + 1, s.len - 1);
	size_t len = numeric_entity(s, dst, n);

	for (size_t i = 0; len == 0 && i < sizeof(entities) / sizeof(entities[0]); i++) {
		size_t name = strlen(entities[i].name);

		if (rest.len < name || memcmp(rest.ptr, entities[i].name, name) != 0)
			continue;
		*n = strlen(entities[i].text);
		memcpy(dst, entities[i].text, *n);
		len = name + 1;
	}
	return len;
}

/* Text of an attribute, entities decoded, template tags untouched. */
static void
texter_attr(struct texter *x, struct slice s)
{
	char dst[4];
	size_t n = 0, len;

	for (size_t i = 0; i < s.len; i += len) {
		struct slice rest = slice_make(s.ptr + i, s.len - i);

		if (at_braces(rest)) {
			len = texter_braces(x, rest);
		} else if (s.ptr[i] == '&' && (len = entity_at(rest, dst, &n)) > 0) {
			texter_put(x, slice_make(dst, n));
		} else {
			len = 1;
			texter_put(x, slice_make(s.ptr + i, 1));
		}
	}
}

/* Length of the HTML tag at s ("<" is there) with its ">"; quotes and braces are passed over. */
static size_t
tag_len(struct slice s)
{
	char quote = '\0';

	for (size_t i = 1; i < s.len; i++) {
		struct slice rest = slice_make(s.ptr + i, s.len - i);

		if (at_braces(rest))
			i += braces_len(rest) - 1;
		else if (quote != '\0')
			quote = s.ptr[i] == quote ? '\0' : quote;
		else if ((s.ptr[i] == '"' || s.ptr[i] == '\'') && s.ptr[i - 1] == '=')
			quote = s.ptr[i];
		else if (s.ptr[i] == '>')
			return i + 1;
	}
	return s.len;
}

/* The quoted or bare value of an attribute of the tag; empty when there is none. */
static struct slice
tag_attr(struct slice tag, struct slice name)
{
	for (size_t i = 1; i + name.len + 1 < tag.len; i++) {
		struct slice here = slice_make(tag.ptr + i, tag.len - i);
		size_t from = name.len + 1, to;
		char quote;

		if (at_braces(here)) {
			i += braces_len(here) - 1;
			continue;
		}
		if ((!is_blank(here.ptr[-1]) && here.ptr[-1] != '"' && here.ptr[-1] != '\'') ||
		    !slice_starts_nocase(here, name) || here.ptr[name.len] != '=')
			continue;
		quote = here.ptr[from];
		if (quote == '"' || quote == '\'')
			from++;
		for (to = from; to < here.len; to++) {
			struct slice rest = slice_make(here.ptr + to, here.len - to);

			if (at_braces(rest))
				to += braces_len(rest) - 1;
			else if (quote == '"' || quote == '\''
				? here.ptr[to] == quote
				: is_blank(here.ptr[to]) || here.ptr[to] == '>')
				break;
		}
		if (to > here.len)
			to = here.len;
		return slice_trim(slice_make(here.ptr + from, to - from));
	}
	return slice_make(NULL, 0);
}

static void
texter_link_end(struct texter *x)
{
	struct slice label, url = x->link;

	if (!x->in_link)
		return;
	x->in_link = false;
	if (url.len == 0 || url.ptr[0] == '#' || buf_failed(x->out))
		return;
	if (slice_starts_nocase(url, SLICE("mailto:")))
		url = slice_make(url.ptr + 7, url.len - 7);
	label = slice_trim(slice_make(x->out->data + x->link_at, x->out->len - x->link_at));
	if (x->out->data == NULL || label.len == 0) {
		texter_attr(x, url);
	} else if (!slice_equal(label, url)) {
		x->blank = true;
		texter_put(x, SLICE("("));
		texter_attr(x, url);
		texter_put(x, SLICE(")"));
	}
}

/* Line ends that an element asks for before and behind itself. */
static size_t
element_lines(struct slice name)
{
	static const char *const two[] = { "p", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote",
		"ul", "ol", "dl", "pre", "table", NULL };
	static const char *const one[] = { "div", "tr", "li", "dt", "dd", "section", "article",
		"header", "footer", "main", "nav", "form", "center", "address", "figure", "body",
		"tbody", "thead", NULL };

	for (const char *const *p = two; *p != NULL; p++)
		if (slice_equal_nocase(name, slice_str(*p)))
			return 2;
	for (const char *const *p = one; *p != NULL; p++)
		if (slice_equal_nocase(name, slice_str(*p)))
			return 1;
	return 0;
}

/* Length from s on up to and with the end tag of an element whose content is not text. */
static size_t
skip_element(struct slice s, struct slice name)
{
	for (size_t i = 0; i + 2 + name.len < s.len; i++) {
		const char *p = memchr(s.ptr + i, '<', s.len - i);

		if (p == NULL)
			break;
		i = (size_t)(p - s.ptr);
		if (i + 2 + name.len < s.len && p[1] == '/' &&
		    slice_equal_nocase(slice_make(p + 2, name.len), name) &&
		    !is_alnum(p[2 + name.len]))
			return i + tag_len(slice_make(p, s.len - i));
	}
	return s.len;
}

static void
texter_open(struct texter *x, struct slice name, struct slice tag)
{
	struct slice alt;

	if (slice_equal_nocase(name, SLICE("br"))) {
		x->blank = false;
		if (x->pending + x->have < 2)
			x->pending++;
	} else if (slice_equal_nocase(name, SLICE("hr"))) {
		texter_lines(x, 1);
		texter_put(x, SLICE("----------"));
		texter_lines(x, 1);
	} else if (slice_equal_nocase(name, SLICE("li"))) {
		texter_lines(x, 1);
		texter_put(x, SLICE("-"));
		x->blank = true;
	} else if (slice_equal_nocase(name, SLICE("td")) || slice_equal_nocase(name, SLICE("th"))) {
		x->blank = true;
	} else if (slice_equal_nocase(name, SLICE("img"))) {
		alt = tag_attr(tag, SLICE("alt"));
		texter_attr(x, alt);
	} else if (slice_equal_nocase(name, SLICE("a"))) {
		texter_link_end(x);
		texter_flush(x);
		x->in_link = true;
		x->link_at = x->out->len;
		x->link = tag_attr(tag, SLICE("href"));
	} else {
		texter_lines(x, element_lines(name));
	}
}

/* What begins with "<": a tag, a comment, or only that character. Returns its length. */
static size_t
texter_tag(struct texter *x, struct slice s)
{
	static const char *const hidden[] = { "head", "style", "script", "title", "template",
		NULL };
	bool end = s.len > 1 && s.ptr[1] == '/';
	size_t from = end ? 2 : 1, to = from, len;
	struct slice name;
	const char *p;

	if (s.len >= 4 && memcmp(s.ptr, "<!--", 4) == 0) {
		p = memmem(s.ptr + 2, s.len - 2, "-->", 3);
		return p != NULL ? (size_t)(p - s.ptr) + 3 : s.len;
	}
	if (s.len > 1 && (s.ptr[1] == '!' || s.ptr[1] == '?'))
		return tag_len(s);
	while (to < s.len && is_alnum(s.ptr[to]))
		to++;
	if (to == from || !is_alpha(s.ptr[from])) {
		texter_put(x, slice_make(s.ptr, 1));
		return 1;
	}
	name = slice_make(s.ptr + from, to - from);
	len = tag_len(s);
	for (const char *const *h = hidden; !end && *h != NULL; h++)
		if (slice_equal_nocase(name, slice_str(*h)))
			return len + skip_element(slice_make(s.ptr + len, s.len - len), name);
	if (!end)
		texter_open(x, name, slice_make(s.ptr, len));
	else if (slice_equal_nocase(name, SLICE("a")))
		texter_link_end(x);
	else
		texter_lines(x, element_lines(name));
	return len;
}

/* A template for text from a template for HTML: tags dropped, links as "text (address)",
 * entities decoded, blocks on lines of their own, fields and conditions kept. */
static void
text_from_html(struct buf *out, struct slice html)
{
	struct texter x = { .out = out, .have = 2 };
	char dst[4];
	size_t n = 0, len;

	for (size_t i = 0; i < html.len; i += len) {
		struct slice rest = slice_make(html.ptr + i, html.len - i);

		len = 1;
		if (is_blank(rest.ptr[0])) {
			x.blank = true;
		} else if (at_braces(rest)) {
			len = texter_braces(&x, rest);
		} else if (rest.ptr[0] == '<') {
			len = texter_tag(&x, rest);
		} else if (rest.ptr[0] == '&' && (len = entity_at(rest, dst, &n)) > 0) {
			if (n == 1 && dst[0] == ' ')
				x.blank = true;
			else
				texter_put(&x, slice_make(dst, n));
		} else {
			for (len = 1;
			     len < rest.len && strchr("<&{ \t\r\n\f", rest.ptr[len]) == NULL;)
				len++;
			texter_put(&x, slice_make(rest.ptr, len));
		}
	}
	texter_link_end(&x);
	buf_append_char(out, '\n');
}

/* --- plan --- */

struct part {
	struct slice head; /* boundary, part header and empty line; empty for a single part */
	struct template template;
	bool base64;
	bool ready;		  /* body holds the whole part */
	struct slice body;	  /* encoded */
	struct mime_qp_run *runs; /* by op (quoted-printable) */
	struct slice *texts;	  /* by op (base64): CRLF */
	size_t encoded_bytes;	  /* of all literals */
	size_t uses;		  /* of fields */
};

struct message_plan {
	struct arena *arena;
	struct template_fields fields;
	struct slice from_block; /* From */
	struct slice reply_block;
	struct slice last_block; /* everything behind the recipient's fields, with the empty line */
	struct template subject;
	struct slice subject_block;    /* the whole field, when nothing in it varies */
	struct slice unsubscribe_base; /* with what stands between it and a token */
	struct slice mailto_domain;
	struct slice message_id_domain;
	int zone_minutes;
	struct part parts[PARTS_MAX];
	size_t part_count;
	struct slice closing; /* last boundary */
	struct slice text_source;
	const struct template *html; /* borrowed from parts, or NULL */
	const struct template *text;
	char boundary[BOUNDARY_BYTES];
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

static int
make_sender(struct maker *m)
{
	const struct message_source *s = m->source;

	if (!is_address(s->from_addr) ||
	    !mime_put_mailbox_header(&m->scratch, SLICE("From"), s->from_name, s->from_addr))
		return err_set(m->err, "from: not a name and an address fit for a header");
	if (keep(m, &m->plan->from_block) != 0)
		return -1;
	if (s->reply_to.len > 0 &&
	    (!is_address(s->reply_to) ||
		!mime_put_mailbox_header(&m->scratch, SLICE("Reply-To"), SLICE(""), s->reply_to)))
		return err_set(m->err, "reply_to: not an address");
	if (keep(m, &m->plan->reply_block) != 0)
		return -1;
	if (!host_ok(s->message_id_domain))
		return err_set(m->err, "message_id_domain: not a host name");
	return keep_copy(m, &m->plan->message_id_domain, s->message_id_domain);
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
	if ((!slice_starts_nocase(base, SLICE("https://")) &&
		!slice_starts_nocase(base, SLICE("http://"))) ||
	    base.len > MESSAGE_URL_MAX)
		return err_set(m->err,
		    "unsubscribe_url_base: not an https: address of at most %d bytes",
		    MESSAGE_URL_MAX);
	for (size_t i = 0; i < base.len; i++)
		if (base.ptr[i] <= ' ' || base.ptr[i] > '~' ||
		    strchr("<>\",\\", base.ptr[i]) != NULL)
			return err_set(m->err,
			    "unsubscribe_url_base: blanks, quotes, commas and angle "
			    "brackets must be percent-encoded");
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
put_extra_headers(struct maker *m)
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
		    !mime_put_text_header(&m->scratch, h[i].name, value))
			return err_set(m->err,
			    "extra header %.*s: a control character or invalid UTF-8 in its value",
			    SLICE_ARG(h[i].name));
	}
	return 0;
}

static int
put_list_id(struct maker *m)
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
	} else if (mime_put_mailbox_header(
		       &m->scratch, SLICE("List-Id"), s->list_name, s->list_id)) {
		return 0;
	}
	return err_set(m->err, "list_name: a control character or invalid UTF-8");
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
make_last_block(struct maker *m)
{
	const struct message_source *s = m->source;
	struct message_plan *plan = m->plan;
	struct buf *b = &m->scratch;

	if (slice_starts_nocase(plan->unsubscribe_base, SLICE("https:")))
		buf_append_str(b, "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n");
	if (s->list_id.len > 0 && put_list_id(m) != 0)
		return -1;
	if (s->feedback_id.len > 0 &&
	    !mime_put_token_header(b, SLICE("Feedback-ID"), s->feedback_id))
		return err_set(m->err, "feedback_id: ASCII without control characters is needed");
	if (s->auto_submitted)
		buf_append_str(b, "Auto-Submitted: auto-generated\r\n");
	if (put_extra_headers(m) != 0)
		return -1;
	buf_append_str(b, "MIME-Version: 1.0\r\n");
	if (plan->part_count > 1)
		buf_printf(b, "Content-Type: multipart/alternative;\r\n boundary=\"%s\"\r\n\r\n",
		    plan->boundary);
	else
		buf_printf(b,
		    "Content-Type: %s; charset=UTF-8\r\nContent-Transfer-Encoding: %s\r\n\r\n",
		    type_name(&plan->parts[0]), encoding_name(&plan->parts[0]));
	return keep(m, &plan->last_block);
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
make_subject(struct maker *m)
{
	struct message_plan *plan = m->plan;
	struct slice text = SLICE("");

	if (compile_named(
		m, "subject", &plan->subject, slice_trim(m->source->subject), TEMPLATE_HEADER) != 0)
		return -1;
	if (!template_is_static(&plan->subject))
		return 0;
	/* comments may have cut the text into several literals */
	for (size_t i = 0; i < plan->subject.count; i++)
		buf_append_slice(&m->scratch, plan->subject.ops[i].text);
	if (keep(m, &text) != 0)
		return -1;
	if (!mime_put_text_header(&m->scratch, SLICE("Subject"), slice_trim(text)))
		return err_set(m->err, "subject: not fit for a header");
	return keep(m, &plan->subject_block);
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
			mime_put_crlf(&m->scratch, t->ops[i].text);
			if (keep(m, &p->texts[i]) != 0)
				return -1;
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

	for (size_t i = 0; i < p->template.count; i++) {
		if (p->template.ops[i].kind == TEMPLATE_OP_TEXT)
			qp += qp_estimate(p->template.ops[i].text);
		else if (p->template.ops[i].kind == TEMPLATE_OP_FIELD)
			p->uses++;
	}
	p->base64 = mime_base64_size(p->template.text_bytes) < qp;
	p->encoded_bytes = p->base64 ? mime_base64_size(p->template.text_bytes) : qp;
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

/* FNV-1a over the sources, in hexadecimal. "=_" can not occur in either body encoding, so the
 * boundary needs no search (RFC 2045 6.7). */
static void
make_boundary(struct maker *m)
{
	static const char digits[] = "0123456789abcdef";
	const struct slice in[] = { m->source->html, m->source->text, m->source->subject };
	uint64_t hash = UINT64_C(14695981039346656037);
	char *p = m->plan->boundary;

	for (size_t i = 0; i < sizeof(in) / sizeof(in[0]); i++)
		for (size_t j = 0; j < in[i].len; j++)
			hash = (hash ^ (unsigned char)in[i].ptr[j]) * UINT64_C(1099511628211);
	memcpy(p, "=_k", 3);
	for (size_t i = 0; i < 16; i++)
		p[3 + i] = digits[hash >> (60 - 4 * i) & 15];
	p[19] = '\0';
}

static int
make_text_source(struct maker *m)
{
	struct buf *b = &m->scratch;

	if (m->source->text.len > 0)
		buf_append_slice(b, m->source->text);
	else
		text_from_html(b, m->source->html);
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
	/* errors of the html itself are to be told first */
	if (!given) {
		struct template probe;

		if (compile_named(m, "html", &probe, m->source->html, TEMPLATE_HTML) != 0)
			return -1;
	}
	if (add_part(m, given ? "text" : "text made from html (give a text instead)",
		plan->text_source, TEMPLATE_TEXT) != 0)
		return -1;
	plan->text = &plan->parts[0].template;
	if (m->source->html.len > 0) {
		if (add_part(m, "html", m->source->html, TEMPLATE_HTML) != 0)
			return -1;
		plan->html = &plan->parts[1].template;
	}
	if (plan->part_count == 1)
		return 0;
	make_boundary(m);
	for (size_t i = 0; i < plan->part_count; i++) {
		buf_printf(&m->scratch,
		    "--%s\r\nContent-Type: %s; charset=UTF-8\r\nContent-Transfer-Encoding: "
		    "%s\r\n\r\n",
		    plan->boundary, type_name(&plan->parts[i]), encoding_name(&plan->parts[i]));
		if (keep(m, &plan->parts[i].head) != 0)
			return -1;
	}
	buf_printf(&m->scratch, "--%s--\r\n", plan->boundary);
	return keep(m, &plan->closing);
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
	buf_init(&m.scratch, MESSAGE_BUFFER_MAX);
	if (make_sender(&m) == 0 && make_unsubscribe(&m) == 0 && make_subject(&m) == 0 &&
	    make_parts(&m) == 0 && make_last_block(&m) == 0) {
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

static bool
uses_unsubscribe(const struct template *t)
{
	for (size_t i = 0; t != NULL && i < t->count; i++)
		if (t->ops[i].kind == TEMPLATE_OP_FIELD && t->ops[i].ref.scope == 0 &&
		    message_is_unsubscribe(t->ops[i].ref.field))
			return true;
	return false;
}

bool
message_html_has_unsubscribe(const struct message_plan *plan)
{
	return uses_unsubscribe(plan->html);
}

bool
message_text_has_unsubscribe(const struct message_plan *plan)
{
	return uses_unsubscribe(plan->text);
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

size_t
message_size_estimate(const struct message_plan *plan, size_t value_bytes)
{
	/* X-Kairan-Id, Date, To, Message-ID, List-Unsubscribe, X-Kairan-Campaign */
	size_t size = 400 + 2 * plan->unsubscribe_base.len + plan->from_block.len +
	    plan->reply_block.len + plan->last_block.len + plan->subject_block.len +
	    plan->closing.len + plan->subject.text_bytes + value_bytes;

	for (size_t i = 0; i < plan->part_count; i++) {
		const struct part *p = &plan->parts[i];

		size += p->head.len + (p->ready ? p->body.len : p->encoded_bytes);
		size += p->base64 ? mime_base64_size(p->uses * value_bytes) : p->uses * value_bytes;
	}
	return size;
}

/* --- rendering --- */

struct part_sink {
	struct template_sink base; /* first: the callbacks get its address */
	const struct part *part;
	struct mime_qp qp;
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
crlf_text(struct template_sink *sink, size_t op, struct slice text)
{
	(void)text;
	buf_append_slice(sink->out, ((struct part_sink *)sink)->part->texts[op]);
}

static void
crlf_value(struct template_sink *sink, struct slice piece)
{
	mime_put_crlf(sink->out, piece);
}

/* The encoded body of one part; it ends with CRLF. */
static enum template_status
put_part(const struct part *p, const struct template_values *values, struct buf *out,
    struct template_result *result)
{
	struct part_sink sink = { .base = { .out = out }, .part = p, .qp = { .out = out } };
	size_t start = out->len;

	if (p->ready) {
		buf_append_slice(out, p->body);
		return TEMPLATE_OK;
	}
	sink.base.put_text = p->base64 ? crlf_text : qp_text;
	sink.base.put_value = p->base64 ? crlf_value : qp_value;
	if (template_run(&p->template, values, &sink.base, result) != TEMPLATE_OK)
		return result->status;
	if (p->base64)
		mime_base64_tail(out, start);
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
	const struct message_recipient *recipient;
	struct buf *out;
	struct message_result *result;
	struct template_values values;
	struct template_value builtins[MESSAGE_BUILTINS];
	char url[MESSAGE_URL_MAX + 1 + MESSAGE_TOKEN_MAX + HOST_MAX + 16];
};

static enum template_status
refuse(struct render *r, enum template_status status, struct slice field)
{
	r->result->field = field;
	r->result->status = status;
	return status;
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
	if (!mime_utf8_ok(c->to_name))
		return refuse(r, TEMPLATE_BAD_DATA, SLICE("to_name"));
	if (!token_ok(c->message_id_left) || c->message_id_left.ptr[0] == '.' ||
	    c->message_id_left.ptr[c->message_id_left.len - 1] == '.')
		return refuse(r, TEMPLATE_BAD_DATA, SLICE("message_id_left"));
	if (!token_ok(c->id_token))
		return refuse(r, TEMPLATE_BAD_DATA, SLICE("id_token"));
	if (unsubscribe && !token_ok(c->unsubscribe_token))
		return refuse(r, TEMPLATE_BAD_DATA, SLICE("unsubscribe_token"));
	return TEMPLATE_OK;
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

	r->result->cleaned += mime_put_clean(out, r->recipient->to_name);
	raw = out->len - start;
	if (buf_failed(out) || !reserve_field(out, raw))
		return TEMPLATE_OK; /* told at the end */
	ok = mime_put_mailbox_header(out, SLICE("To"),
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

	if (r->plan->subject_block.len > 0) {
		buf_append_slice(out, r->plan->subject_block);
		return TEMPLATE_OK;
	}
	if (template_render(&r->plan->subject, &r->values, out, &inner) != TEMPLATE_OK)
		return refuse(r, inner.status, inner.field);
	r->result->cleaned += inner.cleaned;
	raw = out->len - start;
	if (buf_failed(out) || !reserve_field(out, raw))
		return TEMPLATE_OK;
	ok = mime_put_text_header(
	    out, SLICE("Subject"), slice_trim(slice_make(out->data + start, raw)));
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
		r->result->cleaned += mime_put_clean(out, r->recipient->campaign);
	}
	raw = out->len - start;
	if (buf_failed(out) || !reserve_field(out, raw))
		return TEMPLATE_OK;
	ok = mime_put_text_header(
	    out, SLICE("X-Kairan-Campaign"), slice_trim(slice_make(out->data + start, raw)));
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
	buf_append_str(out, "\r\nDate: ");
	buf_append(out, date, n);
	buf_append(out, "\r\n", 2);
	buf_append_slice(out, plan->from_block);
	if (put_to(r) != TEMPLATE_OK)
		return r->result->status;
	buf_append_slice(out, plan->reply_block);
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
	buf_append_slice(out, plan->last_block);
	return TEMPLATE_OK;
}

static enum template_status
put_body(struct render *r)
{
	const struct message_plan *plan = r->plan;
	struct template_result inner = { .status = TEMPLATE_OK };

	for (size_t i = 0; i < plan->part_count; i++) {
		buf_append_slice(r->out, plan->parts[i].head);
		if (put_part(&plan->parts[i], &r->values, r->out, &inner) != TEMPLATE_OK)
			return refuse(r, inner.status, inner.field);
	}
	buf_append_slice(r->out, plan->closing);
	return TEMPLATE_OK;
}

enum template_status
message_render(const struct message_plan *plan, const struct message_recipient *recipient,
    struct buf *out, struct message_result *result)
{
	struct render r = { .plan = plan, .recipient = recipient, .out = out, .result = result };
	size_t start = out->len;

	*result = (struct message_result){ .status = TEMPLATE_OK };
	if (check_recipient(&r) == TEMPLATE_OK && set_values(&r) == TEMPLATE_OK &&
	    put_header(&r) == TEMPLATE_OK) {
		result->body_offset = out->len - start;
		(void)put_body(&r);
	}
	if (result->status == TEMPLATE_OK && buf_failed(out))
		result->status = TEMPLATE_TOO_LARGE;
	if (result->status != TEMPLATE_OK && out->data != NULL) {
		out->len = start;
		out->data[start] = '\0';
	}
	return result->status;
}
