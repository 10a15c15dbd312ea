/* SPDX-License-Identifier: Apache-2.0 */
/* page: see page.h. Every byte that is not a literal of this file goes through put_escaped(). */
#include "page.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

static const char style[] =
    ":root{color-scheme:light dark;--back:#f3f4f6;--card:#fff;--text:#1b1f24;--soft:#57606a;"
    "--line:#d0d7de;--main:#1f5fbf;--on:#fff;--bad:#b42318}"
    "@media(prefers-color-scheme:dark){:root{--back:#14171a;--card:#1f2428;--text:#e6e9ec;"
    "--soft:#a3adb6;--line:#3c444c;--main:#7fb0ff;--on:#10151b;--bad:#ff9a8f}}"
    "*{box-sizing:border-box}"
    "body{margin:0;min-height:100vh;padding:24px 16px;background:var(--back);color:var(--text);"
    "font:16px/1.7 system-ui,-apple-system,'Hiragino Sans','Noto Sans CJK JP','Noto Sans JP',"
    "'Yu Gothic',sans-serif;-webkit-text-size-adjust:100%;overflow-wrap:anywhere}"
    "main{max-width:34rem;margin:4vh auto 0;padding:28px 24px;background:var(--card);"
    "border:1px solid var(--line);border-radius:12px}"
    "h1{margin:0 0 12px;font-size:1.35rem;line-height:1.4}p{margin:0 0 16px}"
    "form{margin:0 0 12px}"
    "label{display:block;margin:0 0 14px;font-weight:600}"
    "input{display:block;width:100%;margin-top:4px;padding:11px "
    "12px;font:inherit;font-weight:400;color:inherit;"
    "background:var(--back);border:1px solid var(--line);border-radius:8px}"
    "button{display:block;width:100%;padding:13px "
    "16px;font:inherit;font-weight:600;line-height:1.4;"
    "color:var(--on);background:var(--main);border:1px solid var(--main);border-radius:8px;"
    "cursor:pointer}"
    "h1,button{text-wrap:balance}:lang(ja){word-break:auto-phrase}main>:last-child{margin-bottom:0}"
    "button.second{color:var(--main);background:transparent}"
    ".note{margin:16px 0 0;color:var(--soft);font-size:.9rem}.bad{color:var(--bad);font-weight:600}"
    "a{color:var(--main)}nav{max-width:34rem;margin:14px auto 0;text-align:right;font-size:.9rem}"
    "input:focus-visible,button:focus-visible,a:focus-visible{outline:3px solid var(--main);"
    "outline-offset:2px}";

static const struct {
	enum word title, text, note; /* WORDS: none */
} kinds[PAGE_KINDS] = {
	[PAGE_ASK] = { WORD_ASK_TITLE, WORD_ASK_TEXT, WORD_ASK_NOTE },
	[PAGE_OFF] = { WORD_OFF_TITLE, WORD_OFF_TEXT, WORD_OFF_NOTE },
	[PAGE_UNDONE] = { WORD_UNDONE_TITLE, WORD_UNDONE_TEXT, WORDS },
	[PAGE_LATE] = { WORD_LATE_TITLE, WORD_LATE_TEXT, WORDS },
	[PAGE_MOVE] = { WORD_MOVE_TITLE, WORD_MOVE_TEXT, WORDS },
	[PAGE_ASKED] = { WORD_ASKED_TITLE, WORD_ASKED_TEXT, WORDS },
	[PAGE_LIMIT] = { WORD_LIMIT_TITLE, WORD_LIMIT_TEXT, WORDS },
	[PAGE_CONFIRM_MOVE] = { WORD_CONFIRM_TITLE, WORD_CONFIRM_MOVE_TEXT, WORDS },
	[PAGE_CONFIRM_JOIN] = { WORD_CONFIRM_TITLE, WORD_CONFIRM_JOIN_TEXT, WORDS },
	[PAGE_CONFIRMED_MOVE] = { WORD_CONFIRMED_TITLE, WORD_CONFIRMED_MOVE_TEXT, WORDS },
	[PAGE_CONFIRMED_JOIN] = { WORD_CONFIRMED_TITLE, WORD_CONFIRMED_JOIN_TEXT, WORDS },
	[PAGE_EXPIRED] = { WORD_EXPIRED_TITLE, WORD_EXPIRED_TEXT, WORDS },
	[PAGE_GONE] = { WORD_GONE_TITLE, WORD_GONE_TEXT, WORDS },
	[PAGE_BAD] = { WORD_BAD_TITLE, WORD_BAD_TEXT, WORDS },
	[PAGE_BUSY] = { WORD_BUSY_TITLE, WORD_BUSY_TEXT, WORDS },
};

void
page_put_escaped(struct buf *out, struct slice s, bool lines)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		switch (c) {
		case '&':
			buf_append_str(out, "&amp;");
			break;
		case '<':
			buf_append_str(out, "&lt;");
			break;
		case '>':
			buf_append_str(out, "&gt;");
			break;
		case '"':
			buf_append_str(out, "&quot;");
			break;
		case '\'':
			buf_append_str(out, "&#39;");
			break;
		default:
			if ((c < 0x20 || c == 0x7f) && (!lines || (c != '\n' && c != '\t')))
				c = ' ';
			buf_append_char(out, (char)c);
			break;
		}
	}
}

static void
put_escaped(struct buf *out, struct slice s)
{
	page_put_escaped(out, s, false);
}

/* A text with its places filled in. What stands in a value is never a place itself. */
static void
put_word(const struct page *p, enum word word, struct buf *out)
{
	char days[24];
	int digits = snprintf(days, sizeof(days), "%ld", p->days);
	const struct {
		struct slice name, value;
	} places[] = { { SLICE("{list}"), p->list }, { SLICE("{sender}"), p->sender },
		{ SLICE("{address}"), p->address }, { SLICE("{new}"), p->new_address },
		{ SLICE("{days}"), slice_make(days, (size_t)digits) } };
	struct slice s = p->words->text[word];

	while (s.len > 0) {
		const char *brace = memchr(s.ptr, '{', s.len);
		size_t n = brace != NULL ? (size_t)(brace - s.ptr) : s.len, taken = 0;

		put_escaped(out, slice_make(s.ptr, n));
		s = slice_make(s.ptr + n, s.len - n);
		for (size_t i = 0; s.len > 0 && i < sizeof(places) / sizeof(places[0]); i++) {
			if (s.len < places[i].name.len ||
			    memcmp(s.ptr, places[i].name.ptr, places[i].name.len) != 0)
				continue;
			put_escaped(out, places[i].value);
			taken = places[i].name.len;
			break;
		}
		if (s.len > 0 && taken == 0) {
			buf_append_char(out, '{');
			taken = 1;
		}
		s = slice_make(s.ptr + taken, s.len - taken);
	}
}

static void
put_block(
    const struct page *p, const char *tag, const char *attributes, enum word word, struct buf *out)
{
	buf_printf(out, "<%s%s>", tag, attributes);
	put_word(p, word, out);
	buf_printf(out, "</%s>\n", tag);
}

/* A form of one button that posts name=value to this very address. */
static void
put_button(const struct page *p, const char *name, const char *value, bool is_second,
    enum word word, struct buf *out)
{
	buf_printf(out, "<form method=\"post\"><button name=\"%s\" value=\"%s\"%s>", name, value,
	    is_second ? " class=\"second\"" : "");
	put_word(p, word, out);
	buf_append_str(out, "</button></form>\n");
}

static void
put_input(const struct page *p, const char *name, enum word word, struct slice value,
    const char *complete, struct buf *out)
{
	buf_append_str(out, "<label>");
	put_word(p, word, out);
	buf_printf(out,
	    "<input type=\"email\" name=\"%s\" maxlength=\"254\" required "
	    "autocomplete=\"%s\" autocapitalize=\"none\" spellcheck=\"false\" value=\"",
	    name, complete);
	put_escaped(out, value);
	buf_append_str(out, "\"></label>\n");
}

static void
put_move_form(const struct page *p, struct buf *out)
{
	if (p->mistake < WORDS)
		put_block(p, "p", " class=\"bad\" role=\"alert\"", p->mistake, out);
	buf_append_str(out, "<form method=\"post\" accept-charset=\"utf-8\">\n");
	put_input(p, "old", WORD_MOVE_OLD, p->old_address, "off", out);
	put_input(p, "new", WORD_MOVE_NEW, p->new_address, "email", out);
	put_block(p, "button", "", WORD_MOVE_BUTTON, out);
	buf_append_str(out, "</form>\n");
}

static void
put_actions(const struct page *p, struct buf *out)
{
	if (p->kind == PAGE_ASK) {
		put_button(p, "scope", "list", false, WORD_ASK_LIST, out);
		put_button(p, "scope", "all", true, WORD_ASK_ALL, out);
	} else if (p->kind == PAGE_OFF) {
		if (p->may_undo)
			put_button(p, "do", "undo", true, WORD_UNDO, out);
		if (!p->is_all)
			put_button(p, "scope", "all", true, WORD_ASK_ALL, out);
	} else if (p->kind == PAGE_MOVE) {
		put_move_form(p, out);
	} else if (p->kind == PAGE_CONFIRM_MOVE || p->kind == PAGE_CONFIRM_JOIN) {
		put_button(p, "do", "confirm", false, WORD_CONFIRM_BUTTON, out);
	}
}

void
page_render(const struct page *p, struct buf *out)
{
	static const struct {
		const char *code, *other_code, *other_name;
	} languages[LANGUAGES] = {
		[LANGUAGE_EN] = { "en", "ja", "日本語" }, [LANGUAGE_JA] = { "ja", "en", "English" }
	};
	enum word text = p->kind == PAGE_OFF && p->is_all ? WORD_OFF_ALL_TEXT : kinds[p->kind].text;

	buf_printf(out,
	    "<!doctype html>\n<html lang=\"%s\">\n<head>\n<meta charset=\"utf-8\">\n"
	    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
	    "<meta name=\"robots\" content=\"noindex\">\n",
	    languages[p->language].code);
	put_block(p, "title", "", kinds[p->kind].title, out);
	buf_printf(out, "<style>%s</style>\n</head>\n<body>\n<main>\n", style);
	put_block(p, "h1", "", kinds[p->kind].title, out);
	put_block(p, "p", "", text, out);
	put_actions(p, out);
	if (p->may_move && p->token.len > 0) {
		buf_append_str(out, "<p class=\"note\"><a href=\"../a/");
		put_escaped(out, p->token);
		buf_printf(out, "?lang=%s\">", languages[p->language].code);
		put_word(p, WORD_MOVE_LINK, out);
		buf_append_str(out, "</a></p>\n");
	}
	if (kinds[p->kind].note < WORDS)
		put_block(p, "p", " class=\"note\"", kinds[p->kind].note, out);
	buf_printf(out,
	    "</main>\n<nav><a href=\"?lang=%s\" lang=\"%s\" hreflang=\"%s\">%s</a></nav>\n</body>\n"
	    "</html>\n",
	    languages[p->language].other_code, languages[p->language].other_code,
	    languages[p->language].other_code, languages[p->language].other_name);
}

void
page_style_source(char dst[64])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int n = 0;

	if (EVP_Digest(style, sizeof(style) - 1, digest, &n, EVP_sha256(), NULL) != 1)
		abort(); /* only without memory, at the start */
	memcpy(dst, "'sha256-", 8);
	n = (unsigned)EVP_EncodeBlock((unsigned char *)dst + 8, digest, (int)n);
	memcpy(dst + 8 + n, "'", 2);
}
