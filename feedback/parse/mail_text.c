/* SPDX-License-Identifier: Apache-2.0 */
/* mail_text: see mail_text.h. Owns nothing. */
#include "mail_text.h"

#include <errno.h>
#include <iconv.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "utf8.h"
#include "digit.h"

#define GROWTH 4 /* bytes of UTF-8 from one byte of any charset, at most */
#define CHARSET_MAX 40

static const struct slice nothing = { NULL, 0 };

struct slice
mail_text_lines(struct arena *arena, struct slice raw, size_t max)
{
	size_t len = raw.len < max ? raw.len : max, n = 0;
	bool has_lf = len > 0 && memchr(raw.ptr, '\n', len) != NULL;
	char *out = arena_alloc(arena, len + 1);

	if (out == NULL)
		return nothing;
	if (len > 0 && has_lf && memchr(raw.ptr, '\r', len) == NULL &&
	    memchr(raw.ptr, '\0', len) == NULL) {
		memcpy(out, raw.ptr, len);
		out[len] = '\0';
		return slice_make(out, len);
	}
	for (size_t i = 0; i < len; i++) {
		char c = raw.ptr[i];

		if (c == '\r' && !has_lf) {
			c = '\n';
		} else if (c == '\r') {
			size_t next = i;
			while (next < len && raw.ptr[next] == '\r')
				next++;
			if (next == len || raw.ptr[next] == '\n') {
				i = next - 1;
				continue;
			}
			c = ' ';
		} else if (c == '\0') {
			c = ' ';
		}
		out[n++] = c;
	}
	out[n] = '\0';
	return slice_make(out, n);
}

/* Foreign bytes are skipped (RFC 2045 6.8); many of them mean that it is no base64. */
static struct slice
decode_base64(struct arena *arena, struct slice body)
{
	char *out = arena_alloc(arena, body.len / 4 * 3 + 4);
	uint32_t bits = 0;
	size_t n = 0, count = 0, foreign = 0;

	if (out == NULL)
		return nothing;
	for (size_t i = 0; i < body.len; i++) {
		int digit = digit_base64(body.ptr[i]);

		if (digit < 0) {
			foreign += body.ptr[i] != '\n' && body.ptr[i] != '\r' &&
			    body.ptr[i] != ' ' && body.ptr[i] != '=';
			continue;
		}
		bits = bits << 6 | (uint32_t)digit;
		if (++count % 4 == 0) {
			out[n++] = (char)(bits >> 16);
			out[n++] = (char)(bits >> 8);
			out[n++] = (char)bits;
		}
	}
	if (foreign * 10 > count)
		return body;
	if (count % 4 >= 2)
		out[n++] = (char)(bits >> (count % 4 == 2 ? 4 : 10));
	if (count % 4 == 3)
		out[n++] = (char)(bits >> 2);
	return slice_make(out, n);
}

/* quoted-printable, or "Q" of RFC 2047 where '_' is a blank. */
static struct slice
decode_quoted(struct arena *arena, struct slice body, bool is_word)
{
	char *out = arena_alloc(arena, body.len + 1);
	size_t n = 0;

	if (out == NULL)
		return nothing;
	for (size_t i = 0; i < body.len; i++) {
		char c = body.ptr[i];

		if (c == '=' && i + 2 < body.len && digit_hex(body.ptr[i + 1]) >= 0 &&
		    digit_hex(body.ptr[i + 2]) >= 0) {
			c = (char)(digit_hex(body.ptr[i + 1]) << 4 | digit_hex(body.ptr[i + 2]));
			i += 2;
		} else if (c == '=' && !is_word) {
			size_t end = i + 1;
			while (end < body.len && (body.ptr[end] == ' ' || body.ptr[end] == '\t'))
				end++;
			if (end >= body.len || body.ptr[end] == '\n') {
				i = end;
				continue;
			}
		} else if (c == '_' && is_word) {
			c = ' ';
		}
		out[n++] = c;
	}
	return slice_make(out, n);
}

struct slice
mail_text_decode(struct arena *arena, struct slice body, struct slice encoding)
{
	encoding = slice_trim(encoding);
	if (slice_starts_nocase(encoding, SLICE("base64")))
		return decode_base64(arena, body);
	if (slice_starts_nocase(encoding, SLICE("quoted-printable")))
		return decode_quoted(arena, body, false);
	return body;
}

/* What the bytes look like. */
struct look {
	bool is_ascii;	   /* 7 bits, no escapes */
	bool has_japanese; /* escapes of ISO-2022-JP */
	bool is_utf8;
};

static struct look
look_at(struct slice s)
{
	struct look look = { true, false, true };
	size_t follow = 0;

	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		if (c == 0x1B) {
			look.is_ascii = false;
			if (i + 2 < s.len &&
			    ((s.ptr[i + 1] == '$' &&
				 (s.ptr[i + 2] == 'B' || s.ptr[i + 2] == '@' ||
				     s.ptr[i + 2] == '(')) ||
				(s.ptr[i + 1] == '(' && s.ptr[i + 2] == 'I')))
				look.has_japanese = true;
		}
		if (c < 0x80) {
			look.is_utf8 = look.is_utf8 && follow == 0;
			follow = 0;
			continue;
		}
		look.is_ascii = false;
		if (follow > 0 && c < 0xC0)
			follow--;
		else if (follow == 0 && c >= 0xC2 && c < 0xF5)
			follow = c >= 0xF0 ? 3 : c >= 0xE0 ? 2 : 1;
		else
			look.is_utf8 = false;
	}
	/* a character that was cut off at the end does not spoil the rest */
	return look;
}

/* How well the bytes fit a Japanese encoding: double bytes that are characters minus those that
 * are not. */
static long
fit_of(struct slice s, bool is_euc)
{
	long fit = 0;

	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i], d;

		if (c < 0x80)
			continue;
		d = i + 1 < s.len ? (unsigned char)s.ptr[i + 1] : 0;
		if (is_euc ? (c == 0xA4 || c == 0xA5 || (c >= 0xB0 && c <= 0xF4)) && d >= 0xA1
			   : ((c >= 0x81 && c <= 0x9F) || (c >= 0xE0 && c <= 0xEF)) && d >= 0x40 &&
			    d != 0x7F && d <= 0xFC) {
			fit += c == 0xA4 || c == 0xA5 || c == 0x82 || c == 0x83 ? 2 : 1;
			i++;
		} else {
			fit -= 2;
		}
	}
	return fit;
}

static struct slice
from_latin1(struct arena *arena, struct slice s)
{
	char *out = arena_alloc(arena, 2 * s.len + 1);
	size_t n = 0;

	if (out == NULL)
		return nothing;
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		if (c < 0x80) {
			out[n++] = (char)c;
		} else {
			out[n++] = (char)(0xC0 | c >> 6);
			out[n++] = (char)(0x80 | (c & 63));
		}
	}
	return slice_make(out, n);
}

/* Empty when the charset is not known. */
static struct slice
from_charset(struct arena *arena, struct slice s, const char *charset)
{
	iconv_t cd = iconv_open("UTF-8", charset);
	size_t room = GROWTH * s.len, left = s.len;
	char *start, *out, *in = (char *)(uintptr_t)s.ptr; /* iconv does not write to it */

	if (cd == (iconv_t)-1)
		return nothing;
	start = out = arena_alloc(arena, room + 1);
	while (out != NULL && left > 0) {
		if (iconv(cd, &in, &left, &out, &room) != (size_t)-1)
			break;
		if (errno == E2BIG || room == 0)
			break;
		*out++ = '?';
		room--;
		in++;
		left--;
	}
	(void)iconv_close(cd);
	return start != NULL ? slice_make(start, (size_t)(out - start)) : nothing;
}

/* Names that mean something else in practice, or that iconv does not know. */
static const struct {
	const char *name, *means;
} charset_names[] = {
	{ "iso-2022-jp", "ISO-2022-JP-3" },
	{ "shift_jis", "CP932" },
	{ "shift-jis", "CP932" },
	{ "x-sjis", "CP932" },
	{ "sjis", "CP932" },
	{ "euc-jp", "EUC-JP-MS" },
	{ "x-euc-jp", "EUC-JP-MS" },
	{ "gb2312", "GB18030" },
	{ "gbk", "GB18030" },
	{ "ks_c_5601-1987", "CP949" },
	{ "euc-kr", "CP949" },
	{ "unicode-1-1-utf-7", "UTF-7" },
	{ "iso-8859-8-i", "ISO-8859-8" },
};

static struct slice
by_name(struct arena *arena, struct slice s, struct slice charset)
{
	char name[CHARSET_MAX + 1];

	if (charset.len == 0 || charset.len > CHARSET_MAX)
		return nothing;
	for (size_t i = 0; i < charset.len; i++) {
		char c = charset.ptr[i];
		/* "//TRANSLIT" and the like are not for strangers */
		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			c == '-' || c == '_' || c == '.'))
			return nothing;
		name[i] = c;
	}
	name[charset.len] = '\0';
	for (size_t i = 0; i < sizeof(charset_names) / sizeof(charset_names[0]); i++)
		if (slice_equal_nocase(charset, slice_str(charset_names[i].name)))
			return from_charset(arena, s, charset_names[i].means);
	return from_charset(arena, s, name);
}

struct slice
mail_text_utf8(struct arena *arena, struct slice s, struct slice charset)
{
	struct look look = look_at(s);
	struct slice out;
	bool is_utf7 = slice_equal_nocase(charset, SLICE("utf-7")) ||
	    slice_equal_nocase(charset, SLICE("unicode-1-1-utf-7"));

	if ((slice_starts_nocase(charset, SLICE("utf-16")) ||
		slice_starts_nocase(charset, SLICE("utf-32"))) &&
	    (out = by_name(arena, s, charset)).ptr != NULL)
		return out;
	if (look.has_japanese && (out = from_charset(arena, s, "ISO-2022-JP-3")).ptr != NULL)
		return out;
	if ((look.is_ascii && !is_utf7) || s.len == 0)
		return s;
	if (look.is_utf8 && !is_utf7)
		return s;
	if (!slice_equal_nocase(charset, SLICE("utf-8")) &&
	    !slice_equal_nocase(charset, SLICE("us-ascii")) &&
	    !slice_equal_nocase(charset, SLICE("iso-8859-1")) &&
	    (out = by_name(arena, s, charset)).ptr != NULL)
		return out;
	if (!slice_equal_nocase(charset, SLICE("iso-8859-1"))) {
		long sjis = fit_of(s, false), euc = fit_of(s, true);
		if (euc > 0 && euc >= sjis && (out = from_charset(arena, s, "EUC-JP-MS")).ptr)
			return out;
		if (sjis > 0 && sjis > euc && (out = from_charset(arena, s, "CP932")).ptr)
			return out;
	}
	return from_latin1(arena, s);
}

/* "=?charset?B?text?=" at the front of s: its length and its text, or 0. */
static size_t
take_word(struct arena *arena, struct slice s, struct slice *text)
{
	const char *marks[3];
	struct slice charset, body;
	size_t at = 2;
	char how;

	if (s.len < 8 || s.ptr[0] != '=' || s.ptr[1] != '?')
		return 0;
	for (int i = 0; i < 3; i++) {
		marks[i] = at < s.len ? memchr(s.ptr + at, '?', s.len - at) : NULL;
		if (marks[i] == NULL)
			return 0;
		at = (size_t)(marks[i] - s.ptr) + 1;
	}
	if (marks[1] != marks[0] + 2 || at >= s.len || s.ptr[at] != '=')
		return 0;
	charset = slice_make(s.ptr + 2, (size_t)(marks[0] - s.ptr) - 2);
	if (charset.len > 0 && memchr(charset.ptr, '*', charset.len) != NULL) /* RFC 2231 5 */
		charset.len =
		    (size_t)((const char *)memchr(charset.ptr, '*', charset.len) - charset.ptr);
	how = (char)(marks[0][1] | 0x20);
	body = slice_make(marks[1] + 1, (size_t)(marks[2] - marks[1]) - 1);
	if (how == 'b')
		body = decode_base64(arena, body);
	else if (how == 'q')
		body = decode_quoted(arena, body, true);
	else
		return 0;
	*text = mail_text_utf8(arena, body, charset);
	return at + 1;
}

struct slice
mail_text_words(struct arena *arena, struct slice value)
{
	char *out;
	size_t n = 0, room = (GROWTH + 1) * value.len;
	bool after_word = false;

	if (value.len == 0)
		return value;
	if (memmem(value.ptr, value.len, "=?", 2) == NULL)
		return mail_text_utf8(arena, value, nothing);
	out = arena_alloc(arena, room + 1);
	if (out == NULL)
		return value;
	for (size_t i = 0; i < value.len;) {
		struct slice text = nothing;
		size_t used = take_word(arena, slice_make(value.ptr + i, value.len - i), &text),
		       next = i;

		if (used > 0 && text.len <= room - n) {
			if (text.len > 0)
				memcpy(out + n, text.ptr, text.len);
			n += text.len;
			i += used;
			after_word = true;
			continue;
		}
		/* blanks between two words do not count (RFC 2047 6.2) */
		while (next < value.len && (value.ptr[next] == ' ' || value.ptr[next] == '\t'))
			next++;
		if (after_word && next > i && next + 1 < value.len && value.ptr[next] == '=' &&
		    value.ptr[next + 1] == '?') {
			i = next;
			after_word = false;
			continue;
		}
		after_word = false;
		if (n < room)
			out[n++] = value.ptr[i];
		i++;
	}
	return slice_make(out, n);
}

static const struct {
	const char *name;
	uint32_t c;
} entities[] = { { "lt;", '<' }, { "gt;", '>' }, { "amp;", '&' }, { "quot;", '"' },
	{ "nbsp;", ' ' }, { "apos;", '\'' }, { "commat;", '@' }, { "rsquo;", '\'' },
	{ "lsquo;", '\'' }, { "period;", '.' }, { "colon;", ':' }, { "shy;", 0xAD } };

/* The letters of ISO 8859-1 from U+00C0 on (HTML 4.01 section 24.2.1). */
static const char *const letters[64] = { "Agrave;", "Aacute;", "Acirc;", "Atilde;", "Auml;",
	"Aring;", "AElig;", "Ccedil;", "Egrave;", "Eacute;", "Ecirc;", "Euml;", "Igrave;",
	"Iacute;", "Icirc;", "Iuml;", "ETH;", "Ntilde;", "Ograve;", "Oacute;", "Ocirc;", "Otilde;",
	"Ouml;", "times;", "Oslash;", "Ugrave;", "Uacute;", "Ucirc;", "Uuml;", "Yacute;", "THORN;",
	"szlig;", "agrave;", "aacute;", "acirc;", "atilde;", "auml;", "aring;", "aelig;", "ccedil;",
	"egrave;", "eacute;", "ecirc;", "euml;", "igrave;", "iacute;", "icirc;", "iuml;", "eth;",
	"ntilde;", "ograve;", "oacute;", "ocirc;", "otilde;", "ouml;", "divide;", "oslash;",
	"ugrave;", "uacute;", "ucirc;", "uuml;", "yacute;", "thorn;", "yuml;" };

/* "#64;", "#x40;": its length, or 0. */
static size_t
take_number(struct slice s, uint32_t *c)
{
	bool is_hex = s.len > 1 && (s.ptr[1] | 0x20) == 'x';
	size_t first = is_hex ? 2 : 1, n = first;
	uint32_t value = 0;

	if (s.len < 3 || s.ptr[0] != '#')
		return 0;
	while (n < s.len && n < first + 7) {
		int digit = digit_hex(s.ptr[n]);

		if (digit < 0 || (!is_hex && digit > 9))
			break;
		value = value * (is_hex ? 16 : 10) + (uint32_t)digit;
		n++;
	}
	if (n == first || n >= s.len || s.ptr[n] != ';')
		return 0;
	*c = value == 0xA0 || value < ' ' ? ' ' : value;
	return n + 1;
}

/* What stands behind '&': its length, or 0 when it is no character. */
static size_t
take_entity(struct slice s, uint32_t *c)
{
	for (size_t i = 0; i < sizeof(entities) / sizeof(entities[0]); i++) {
		struct slice name = slice_str(entities[i].name);
		if (slice_starts_nocase(s, name)) {
			*c = entities[i].c;
			return name.len;
		}
	}
	for (size_t i = 0; i < sizeof(letters) / sizeof(letters[0]); i++) {
		size_t len = strlen(letters[i]);
		if (s.len >= len && memcmp(s.ptr, letters[i], len) == 0) {
			*c = 0xC0 + (uint32_t)i;
			return len;
		}
	}
	return take_number(s, c);
}

/* Where the tag or comment that begins behind '<' ends: before its '>'. */
static size_t
tag_length(struct slice rest)
{
	bool is_comment = rest.len >= 3 && memcmp(rest.ptr, "!--", 3) == 0;
	const char *end =
	    is_comment ? memmem(rest.ptr, rest.len, "-->", 3) : memchr(rest.ptr, '>', rest.len);

	if (end == NULL)
		return rest.len;
	return (size_t)(end - rest.ptr) + (is_comment ? 2 : 0);
}

static bool
is_name(struct slice tag, const char *const *names, size_t count)
{
	size_t n = 0;

	if (tag.len > 0 && tag.ptr[0] == '/') {
		tag.ptr++;
		tag.len--;
	}
	while (n < tag.len && tag.ptr[n] != ' ' && tag.ptr[n] != '/' && tag.ptr[n] != '\n' &&
	    tag.ptr[n] != '\t')
		n++;
	for (size_t i = 0; i < count; i++)
		if (slice_equal_nocase(slice_make(tag.ptr, n), slice_str(names[i])))
			return true;
	return false;
}

/* <p> without space round it, or the end of such a one: a line, not a paragraph. is_tight is what
 * the last <p> was. */
static bool
is_tight_paragraph(struct slice tag, bool *is_tight)
{
	static const char *const names[] = { "p" };
	static const char *const styles[] = { "margin:0", "margin: 0", "margin-bottom:0",
		"margin-bottom: 0", "MsoNormal", "MsoPlainText" };

	if (!is_name(tag, names, 1))
		return false;
	if (tag.ptr[0] == '/')
		return *is_tight;
	*is_tight = false;
	for (size_t i = 0; i < sizeof(styles) / sizeof(*styles); i++)
		*is_tight =
		    *is_tight || memmem(tag.ptr, tag.len, styles[i], strlen(styles[i])) != NULL;
	return *is_tight;
}

/* "a@b>" at the front. */
static bool
is_bracketed_address(struct slice s)
{
	const char *end;

	s.len = s.len < 320 ? s.len : 320;
	end = s.len > 0 ? memchr(s.ptr, '>', s.len) : NULL;
	if (end == NULL)
		return false;
	s.len = (size_t)(end - s.ptr);
	return s.len > 0 && memchr(s.ptr, '@', s.len) != NULL &&
	    memchr(s.ptr, ' ', s.len) == NULL && memchr(s.ptr, '=', s.len) == NULL;
}

struct slice
mail_text_html(struct arena *arena, struct slice html)
{
	static const char *const breaks[] = { "br", "p" };
	static const char *const blocks[] = { "div", "tr", "li", "h1", "h2", "h3", "h4", "table",
		"ul", "ol", "pre", "hr", "title", "body", "blockquote" };
	static const char *const hidden[] = { "style", "script" };
	static const char *const cells[] = { "td", "th" };
	char *out = arena_alloc(arena, html.len + 1);
	bool is_hidden = false, after_break = false, is_tight = false;
	size_t n = 0, used;

	if (out == NULL)
		return nothing;
	for (size_t i = 0; i < html.len; i += used) {
		struct slice rest = slice_make(html.ptr + i + 1, html.len - i - 1);
		bool was_break = after_break;
		uint32_t c = 0;

		used = 1;
		after_break = false;
		/* "<a@b>" that nobody escaped is an address */
		if (html.ptr[i] == '<' && !is_bracketed_address(rest) && rest.len > 0 &&
		    (rest.ptr[0] == '/' || rest.ptr[0] == '!' ||
			((rest.ptr[0] | 0x20) >= 'a' && (rest.ptr[0] | 0x20) <= 'z'))) {
			rest.len = tag_length(rest);
			used = rest.len + 2;
			if (is_name(rest, hidden, 2)) {
				is_hidden = rest.ptr[0] != '/';
			} else if (is_tight_paragraph(rest, &is_tight) ||
			    is_name(rest, blocks, sizeof(blocks) / sizeof(*blocks))) {
				if (n > 0 && out[n - 1] != '\n')
					out[n++] = '\n';
				after_break = true;
			} else if (is_name(rest, breaks, sizeof(breaks) / sizeof(*breaks))) {
				out[n++] = '\n';
				after_break = true;
			} else if (is_name(rest, cells, 2)) {
				out[n++] = '\t';
			}
		} else if (is_hidden || (was_break && html.ptr[i] == '\n')) {
			continue; /* the source's line end behind a break is none */
		} else if (html.ptr[i] == '&' && (used = take_entity(rest, &c)) > 0) {
			char bytes[4];
			size_t len = utf8_put(bytes, c); /* never longer than what names it */

			memcpy(out + n, bytes, len);
			n += len;
			used++;
		} else {
			out[n++] = html.ptr[i];
			used = 1;
		}
	}
	return slice_make(out, n);
}
