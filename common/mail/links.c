/* SPDX-License-Identifier: Apache-2.0 */
/*
 * links: see links.h. Walks the template byte by byte with html_scan, which knows where a browser
 * would be, notes the attributes of the tag at hand, and decides at its end. {{tags}} are stepped
 * over as a whole.
 */
#include "links.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "html_scan.h"
#include "template.h"
#include "digit.h"

#define ATTRS_MAX 64 /* a tag with more is left alone */

struct attr {
	size_t from, name_to; /* of its name */
	size_t value_from, value_to;
	size_t to; /* behind all of it */
	char quote;
	bool has_value;
	bool varies; /* a template tag is in the value */
};

struct walk {
	const struct links_options *options;
	struct arena *arena;
	struct links *links;
	struct slice html;
	struct buf out;
	size_t copied; /* of html */
	struct html_scan scan;
	struct attr attrs[ATTRS_MAX];
	size_t attr_count;
	bool odd;	 /* the tag at hand: conditions between attributes, or too many */
	unsigned depth;	 /* of template blocks */
	size_t tag_from; /* the "<" of the tag at hand */
	bool has_body_end;
	size_t body_end; /* in out: the last </body> that stands in no block */
	struct err *err;
};

/* --- destinations --- */

/* The character reference at s, which begins with "&": its length and character; 1 and "&" when it
 * is none. -1: one that is not known here. */
static int
reference(struct slice s, uint32_t *c)
{
	static const struct {
		struct slice name;
		char c;
	} names[] = { { { "&amp;", 5 }, '&' }, { { "&quot;", 6 }, '"' }, { { "&apos;", 6 }, '\'' },
		{ { "&lt;", 4 }, '<' }, { { "&gt;", 4 }, '>' } };
	size_t i = 1, digits = 0;
	bool hex;

	for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++)
		if (s.len >= names[k].name.len &&
		    memcmp(s.ptr, names[k].name.ptr, names[k].name.len) == 0) {
			*c = (unsigned char)names[k].c;
			return (int)names[k].name.len;
		}
	if (s.len < 2 || s.ptr[1] != '#') {
		while (i < s.len && i < 40 &&
		    ((s.ptr[i] >= 'a' && s.ptr[i] <= 'z') || (s.ptr[i] >= 'A' && s.ptr[i] <= 'Z') ||
			(s.ptr[i] >= '0' && s.ptr[i] <= '9')))
			i++;
		return i > 1 && i < s.len && s.ptr[i] == ';' ? -1 : 1;
	}
	*c = 0;
	hex = s.len > 2 && (s.ptr[2] == 'x' || s.ptr[2] == 'X');
	for (i = hex ? 3 : 2; i < s.len && digits < 8; i++, digits++) {
		int value = digit_hex(s.ptr[i]);

		if (value < 0 || (!hex && value > 9))
			break;
		*c = *c * (hex ? 16 : 10) + (unsigned)value;
	}
	return digits > 0 && i < s.len && s.ptr[i] == ';' && *c > 0 && *c < 0x80 ? (int)i + 1 : -1;
}

static bool
is_host_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	    c == '-' || c == '.' || c == ':' || c == '[' || c == ']' || c == '_';
}

/* http://host or https://host, ASCII, and nothing but "/", "?" or "#" behind it. */
static bool
has_host(struct slice url)
{
	size_t n = slice_starts_nocase(url, SLICE("https://")) ? 8
	    : slice_starts_nocase(url, SLICE("http://"))       ? 7
							       : 0;
	size_t i = n;

	while (n > 0 && i < url.len && is_host_char(url.ptr[i]))
		i++;
	return i > n && (i == url.len || memchr("/?#", url.ptr[i], 3) != NULL);
}

struct slice
links_destination(struct slice value, struct arena *arena)
{
	const struct slice none = { NULL, 0 };
	char url[LINK_URL_MAX];
	size_t n = 0;

	value = slice_trim(value);
	for (size_t i = 0; i < value.len;) {
		uint32_t c = (unsigned char)value.ptr[i];
		int taken = 1;

		if (c == '&')
			taken = reference(slice_make(value.ptr + i, value.len - i), &c);
		if (taken < 0 || n + 3 >= sizeof(url))
			return none;
		i += (size_t)taken;
		if (c <= ' ' || c == 0x7f || (c < 0x80 && strchr("\"<>\\^`{|}", (int)c) != NULL))
			return none;
		if (c < 0x80) {
			url[n++] = (char)c;
		} else {
			url[n++] = '%';
			url[n++] = "0123456789ABCDEF"[c >> 4 & 15];
			url[n++] = "0123456789ABCDEF"[c & 15];
		}
	}
	return has_host(slice_make(url, n)) ? arena_copy(arena, slice_make(url, n)) : none;
}

static void
make_id(struct slice url, char id[LINK_ID_CHARS + 1])
{
	static const char base32[] = "abcdefghijklmnopqrstuvwxyz234567";
	unsigned char digest[EVP_MAX_MD_SIZE] = { 0 };
	uint64_t bits = 0;

	if (EVP_Digest(url.ptr, url.len, digest, NULL, EVP_sha256(), NULL) != 1)
		abort(); /* only without memory */
	for (size_t i = 0; i < 8; i++)
		bits = bits << 8 | digest[i];
	for (size_t i = 0; i < LINK_ID_CHARS; i++, bits >>= 5)
		id[i] = base32[bits & 31];
	id[LINK_ID_CHARS] = '\0';
}

bool
links_id_ok(struct slice id)
{
	for (size_t i = 0; i < id.len; i++)
		if (!(id.ptr[i] >= 'a' && id.ptr[i] <= 'z') &&
		    !(id.ptr[i] >= '2' && id.ptr[i] <= '7'))
			return false;
	return id.len == LINK_ID_CHARS;
}

/* The link with this destination; NULL with err. */
static const struct link *
add_link(struct walk *w, struct slice url)
{
	struct links *l = w->links;
	struct link *link;

	for (size_t i = 0; i < l->count; i++)
		if (slice_equal(l->items[i].url, url))
			return &l->items[i];
	if (l->count == LINKS_MAX) {
		(void)err_set(w->err, "more than %d different links", LINKS_MAX);
		return NULL;
	}
	if (l->items == NULL)
		l->items = arena_array(w->arena, LINKS_MAX, sizeof(*l->items));
	if (l->items == NULL) {
		(void)err_set(w->err, "no memory for the links");
		return NULL;
	}
	link = &l->items[l->count++];
	link->url = url;
	make_id(url, link->id);
	return link;
}

/* --- edits --- */

static void
copy_to(struct walk *w, size_t at)
{
	buf_append(&w->out, w->html.ptr + w->copied, at - w->copied);
	w->copied = at;
}

static struct slice
span(const struct walk *w, size_t from, size_t to)
{
	return slice_make(w->html.ptr + from, to - from);
}

static bool
is_named(const struct walk *w, const struct attr *a, struct slice name)
{
	return slice_equal_nocase(span(w, a->from, a->name_to), name);
}

static bool
tag_is(const struct walk *w, const char *name)
{
	return strlen(name) == w->scan.tag_len && memcmp(w->scan.tag, name, w->scan.tag_len) == 0;
}

/* Buttons for Outlook are VML, which has links of its own. */
static bool
is_link_tag(const struct walk *w)
{
	return !w->scan.closing &&
	    (tag_is(w, "a") || tag_is(w, "area") || tag_is(w, "v:roundrect") ||
		tag_is(w, "v:rect"));
}

/* Puts base, what, the token and rest in the place of a value. */
static void
put_value(struct walk *w, const struct attr *a, const char *what, struct slice rest)
{
	copy_to(w, a->value_from);
	buf_printf(&w->out, "%s%.*s%s{{" LINKS_TOKEN "}}/%.*s%s", a->quote == '\0' ? "\"" : "",
	    SLICE_ARG(w->options->base), what, SLICE_ARG(rest), a->quote == '\0' ? "\"" : "");
	w->copied = a->value_to;
}

static int
put_link(struct walk *w, const struct attr *a)
{
	struct slice url = links_destination(span(w, a->value_from, a->value_to), w->arena);
	const struct link *link;

	if (url.len == 0)
		return 0;
	for (size_t i = 0; i < 2; i++)
		if (w->options->leave[i].len > 0 && slice_starts_nocase(url, w->options->leave[i]))
			return 0;
	link = add_link(w, url);
	if (link == NULL)
		return -1;
	put_value(w, a, "k/", slice_make(link->id, LINK_ID_CHARS));
	return 0;
}

/* With the blanks before it. */
static void
remove_attr(struct walk *w, const struct attr *a)
{
	size_t from = a->from;

	while (from > w->copied && memchr(" \t\r\n\f", w->html.ptr[from - 1], 5) != NULL)
		from--;
	copy_to(w, from);
	w->copied = a->to;
}

static bool
is_file(const struct walk *w, const struct attr *a)
{
	return w->options->files && a->has_value && !a->varies &&
	    (is_named(w, a, SLICE("src")) || is_named(w, a, SLICE("background"))) &&
	    slice_starts_nocase(span(w, a->value_from, a->value_to), SLICE("cid:"));
}

static int
end_tag(struct walk *w)
{
	bool track = w->options->clicks && !w->odd && is_link_tag(w);
	unsigned hrefs = 0;

	for (size_t i = 0; i < w->attr_count; i++) {
		const struct attr *a = &w->attrs[i];

		hrefs += is_named(w, a, SLICE("href"));
		if (is_named(w, a, SLICE("kairan:no-track")) ||
		    is_named(w, a, SLICE("ses:no-track")))
			track = false;
	}
	for (size_t i = 0; i < w->attr_count; i++) {
		const struct attr *a = &w->attrs[i];

		if (is_named(w, a, SLICE("kairan:no-track")) ||
		    (is_named(w, a, SLICE("ses:no-track")) && !w->options->keep_ses))
			remove_attr(w, a);
		else if (track && hrefs == 1 && is_named(w, a, SLICE("href")) && a->has_value &&
		    !a->varies && put_link(w, a) != 0)
			return -1;
		else if (is_file(w, a))
			put_value(w, a, "v/", span(w, a->value_from + 4, a->value_to));
	}
	return 0;
}

/* --- the walk --- */

static bool
in_tag(enum html_place place)
{
	return place == HTML_TAG_NAME || place == HTML_TAG || place == HTML_ATTR_NAME ||
	    place == HTML_ATTR_AFTER || place == HTML_ATTR_EQUALS || place == HTML_QUOTED ||
	    place == HTML_UNQUOTED;
}

static void
begin_attr(struct walk *w, size_t at)
{
	if (w->attr_count == ATTRS_MAX) {
		w->odd = true;
		w->attr_count--; /* the last one is forgotten, and nothing is tracked */
	}
	w->attrs[w->attr_count++] = (struct attr){ .from = at, .name_to = at, .to = at };
}

/* The byte at i took the scan from `was` to where it is. */
static int
note(struct walk *w, enum html_place was, size_t i)
{
	enum html_place is = w->scan.place;
	struct attr *a;

	if (is == HTML_TAG_OPEN && w->html.ptr[i] == '<')
		w->tag_from = i;
	if (is == HTML_TAG_NAME && was == HTML_TAG_OPEN) {
		w->attr_count = 0;
		w->odd = false;
	}
	a = w->attr_count > 0 ? &w->attrs[w->attr_count - 1] : NULL;
	if (a != NULL && was == HTML_ATTR_NAME && is != HTML_ATTR_NAME)
		a->name_to = a->to = i;
	if (a != NULL && was == HTML_ATTR_EQUALS && (is == HTML_QUOTED || is == HTML_UNQUOTED)) {
		a->quote = is == HTML_QUOTED ? w->html.ptr[i] : '\0';
		a->value_from = is == HTML_QUOTED ? i + 1 : i;
		a->has_value = true;
	}
	if (a != NULL && (was == HTML_QUOTED || was == HTML_UNQUOTED) && is != was) {
		a->value_to = i;
		a->to = was == HTML_QUOTED ? i + 1 : i;
	}
	if (is == HTML_ATTR_NAME && was != HTML_ATTR_NAME)
		begin_attr(w, i);
	if (is != HTML_TEXT || !in_tag(was))
		return 0;
	if (w->depth == 0 && w->scan.closing && tag_is(w, "body")) {
		copy_to(w, w->tag_from);
		w->has_body_end = true;
		w->body_end = w->out.len;
	}
	return end_tag(w);
}

/* Over a {{tag}} of n bytes at i. */
static void
pass_tag(struct walk *w, size_t i, size_t n)
{
	const char *p = w->html.ptr + i + 2, *end = w->html.ptr + i + n;

	while (p < end && (*p == '~' || *p == ' ' || *p == '\t'))
		p++;
	if (p < end && *p == '#')
		w->depth++;
	else if (p < end && *p == '/' && w->depth > 0)
		w->depth--;
	if (w->scan.place == HTML_QUOTED || w->scan.place == HTML_UNQUOTED) {
		if (w->attr_count > 0)
			w->attrs[w->attr_count - 1].varies = true;
	} else if (in_tag(w->scan.place)) {
		w->odd = true;
	}
}

static int
walk(struct walk *w)
{
	for (size_t i = 0; i < w->html.len; i++) {
		enum html_place was = w->scan.place;
		size_t n = 0;

		if (w->html.ptr[i] == '{' && i + 1 < w->html.len && w->html.ptr[i + 1] == '{' &&
		    (n = template_tag_len(slice_make(w->html.ptr + i, w->html.len - i))) > 0) {
			pass_tag(w, i, n);
			i += n - 1;
			continue;
		}
		(void)html_scan_text(&w->scan, slice_make(w->html.ptr + i, 1));
		if (note(w, was, i) != 0)
			return -1;
	}
	return 0;
}

static void
put_pixel(struct walk *w, struct buf *out)
{
	struct slice s = buf_slice(&w->out);
	size_t at = w->has_body_end ? w->body_end : s.len;

	buf_append(out, s.ptr, at);
	buf_printf(out,
	    "<img src=\"%.*so/{{" LINKS_TOKEN "}}\" width=\"1\" height=\"1\" alt=\"\" "
	    "style=\"border:0\">",
	    SLICE_ARG(w->options->base));
	if (at < s.len)
		buf_append(out, s.ptr + at, s.len - at);
}

int
links_rewrite(struct slice html, const struct links_options *options, struct arena *arena,
    struct links *links, struct slice *out, struct err *err)
{
	struct walk w = {
		.options = options, .arena = arena, .links = links, .html = html, .err = err
	};
	struct buf all;
	int result = -1;

	*links = (struct links){ 0 };
	*out = html;
	if (!options->opens && !options->clicks && !options->files &&
	    (html.len == 0 || memmem(html.ptr, html.len, "no-track", 8) == NULL))
		return 0;
	buf_init(&w.out, 4 * TEMPLATE_SOURCE_MAX);
	buf_init(&all, 4 * TEMPLATE_SOURCE_MAX);
	if (walk(&w) == 0) {
		copy_to(&w, html.len);
		if (options->opens && w.scan.place == HTML_TEXT && !w.scan.in_script &&
		    !w.scan.in_style)
			put_pixel(&w, &all);
		else
			buf_append_slice(&all, buf_slice(&w.out));
		*out = buf_failed(&all) || buf_failed(&w.out) ? slice_make(NULL, 0)
							      : arena_copy(arena, buf_slice(&all));
		result = out->ptr != NULL || html.len == 0 ? 0 : err_set(err, "no memory");
	}
	buf_release(&w.out);
	buf_release(&all);
	return result;
}
