/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mime: see mime.h. Owns every rule about columns and about what may stand in a line. Body
 * encoders reserve the worst case once and then write through a pointer.
 */
#include "mime.h"
#include "base64.h"
#include "utf8.h"

#include <assert.h>
#include <stdint.h>

#define CLUSTER_MAX 32		 /* bytes of one unsplit group: a long emoji sequence */
#define QP_COLUMNS 75		 /* of content; the 76th is for the "=" of a soft break */
#define QP_WORST(n) ((n)*4 + 16) /* 3 for each byte and its share of soft breaks */
#define BASE64_LINE 57		 /* bytes in one line */
#define BASE64_RUN_MIN 96	 /* bytes; below, a copy with its line end gains nothing */

/* --- characters --- */

size_t
mime_control_at(const char *p, size_t n)
{
	unsigned char c = (unsigned char)p[0];

	if (c < 0x20 || c == 0x7f)
		return 1;
	if (c == 0xc2 && n >= 2 && (unsigned char)p[1] == 0x85)
		return 2;
	if (c == 0xe2 && n >= 3 && (unsigned char)p[1] == 0x80 &&
	    ((unsigned char)p[2] == 0xa8 || (unsigned char)p[2] == 0xa9))
		return 3;
	return 0;
}

unsigned
mime_put_clean(struct buf *out, struct slice s, bool is_value)
{
	size_t start = 0, i = 0, n;
	unsigned runs = 0;

	while (i < s.len) {
		n = is_value ? utf8_bidi(s.ptr + i, s.len - i) : 0;
		if (n > 0) {
			buf_append(out, s.ptr + start, i - start);
			runs++;
			start = i += n;
			continue;
		}
		n = mime_control_at(s.ptr + i, s.len - i);
		if (n == 0) {
			i++;
			continue;
		}
		buf_append(out, s.ptr + start, i - start);
		buf_append_char(out, ' ');
		runs++;
		while (i < s.len && (n = mime_control_at(s.ptr + i, s.len - i)) > 0)
			i += n;
		start = i;
	}
	if (start < s.len)
		buf_append(out, s.ptr + start, s.len - start);
	return runs;
}

/* --- header fields --- */

bool
mime_header_name_ok(struct slice name)
{
	if (name.len == 0 || name.len > MIME_HEADER_NAME_MAX)
		return false;
	for (size_t i = 0; i < name.len; i++)
		if (name.ptr[i] <= ' ' || name.ptr[i] > '~' || name.ptr[i] == ':')
			return false;
	return true;
}

/* The one exit: no control character, valid UTF-8. *ascii tells whether all is ASCII. */
static bool
value_ok(struct slice s, bool *ascii)
{
	size_t n;

	*ascii = true;
	for (size_t i = 0; i < s.len; i += n) {
		n = utf8_char(s.ptr + i, s.len - i);
		if (n == 0 || mime_control_at(s.ptr + i, s.len - i) > 0)
			return false;
		if (n > 1)
			*ascii = false;
	}
	return true;
}

static uint32_t
code_point(const char *p, size_t n)
{
	const unsigned char *s = (const unsigned char *)p;
	uint32_t c;

	if (n == 1)
		return s[0];
	c = s[0] & (0x7fU >> n);
	for (size_t i = 1; i < n; i++)
		c = c << 6 | (s[i] & 0x3fU);
	return c;
}

/* A character that belongs to the one before it: joiners, marks, variation and skin tones. */
static bool
is_joined(uint32_t c)
{
	return c == 0x200d || c == 0x20e3 || c == 0x3099 || c == 0x309a ||
	    (c >= 0x300 && c <= 0x36f) || (c >= 0xfe00 && c <= 0xfe0f) ||
	    (c >= 0x1f3fb && c <= 0x1f3ff) || (c >= 0xe0020 && c <= 0xe007f) ||
	    (c >= 0xe0100 && c <= 0xe01ef);
}

static bool
is_regional(uint32_t c)
{
	return c >= 0x1f1e6 && c <= 0x1f1ff;
}

/* Length of what a reader sees as one character at the start of s, up to CLUSTER_MAX. */
static size_t
cluster_len(struct slice s)
{
	size_t len = utf8_char(s.ptr, s.len), n;
	uint32_t last = code_point(s.ptr, len), c;
	bool flag = is_regional(last);

	while (len < s.len) {
		n = utf8_char(s.ptr + len, s.len - len);
		c = code_point(s.ptr + len, n);
		if (!is_joined(c) && last != 0x200d && !(flag && is_regional(c)))
			break;
		if (len + n > CLUSTER_MAX)
			break;
		flag = false;
		last = c;
		len += n;
	}
	return len;
}

/* May stand as itself in a Q word, even in a phrase (RFC 2047 5 (3)). */
static bool
is_q_literal(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	    c == '!' || c == '*' || c == '+' || c == '-' || c == '/' || c == ' ';
}

static size_t
q_size(struct slice s)
{
	size_t size = 0;

	for (size_t i = 0; i < s.len; i++)
		size += is_q_literal((unsigned char)s.ptr[i]) ? 1 : 3;
	return size;
}

enum word_kind { WORD_B, WORD_Q, WORD_JIS };

static const struct {
	const char *start; /* of a word, with its "?" */
	size_t overhead;   /* with the "?=" at its end */
} word_kinds[] = { { "=?UTF-8?B?", 12 }, { "=?UTF-8?Q?", 12 }, { "=?ISO-2022-JP?B?", 18 } };

struct words {
	struct buf *out;
	const struct jis *jis; /* of WORD_JIS */
	enum word_kind kind;
	bool padded; /* any word may have padding */
};

/*
 * How many bytes of s fit into `room` columns of payload; whole clusters, or whole characters when
 * `split`. Base64 with padding may stand in the last word only: GMime 3.2 joins the words of one
 * charset before it decodes them, and loses what is behind a "=".
 */
static size_t
word_fit(const struct words *w, struct slice s, size_t room, bool split)
{
	size_t taken = 0, fit = 0, n, size, cost, q_cost = 0;

	while (taken < s.len) {
		struct slice rest = slice_make(s.ptr + taken, s.len - taken);

		n = split ? utf8_char(rest.ptr, rest.len) : cluster_len(rest);
		size = taken + n;
		if (w->kind == WORD_Q) {
			q_cost += q_size(slice_make(rest.ptr, n));
			cost = q_cost;
		} else {
			if (w->kind == WORD_JIS)
				size = jis_size(w->jis, slice_make(s.ptr, size));
			cost = (size + 2) / 3 * 4;
		}
		if (cost > room)
			break;
		taken += n;
		if (w->kind == WORD_Q || taken == s.len || size % 3 == 0 || w->padded)
			fit = taken;
	}
	return fit;
}

static const char hex_digit[] = "0123456789ABCDEF";

static void
put_word(const struct words *w, struct slice s)
{
	char word[MIME_WORD_MAX], *p = word, jis[JIS_WORST(MIME_WORD_MAX)];
	size_t n = strlen(word_kinds[w->kind].start);

	memcpy(p, word_kinds[w->kind].start, n);
	p += n;
	if (w->kind == WORD_JIS) {
		n = jis_encode(w->jis, s, jis);
		p = base64_put(p, jis, n);
	} else if (w->kind == WORD_B) {
		p = base64_put(p, s.ptr, s.len);
	} else {
		for (size_t i = 0; i < s.len; i++) {
			unsigned char c = (unsigned char)s.ptr[i];

			if (c == ' ') {
				*p++ = '_';
			} else if (is_q_literal(c)) {
				*p++ = (char)c;
			} else {
				*p++ = '=';
				*p++ = hex_digit[c >> 4];
				*p++ = hex_digit[c & 15];
			}
		}
	}
	*p++ = '?';
	*p++ = '=';
	assert(p <= word + sizeof(word));
	buf_append(w->out, word, (size_t)(p - word));
}

/* Bytes of s for a word from `column` on, 0 when there is no room. In UTF-8 w->kind becomes Q where
 * base64 would need padding. */
static size_t
next_word(struct words *w, size_t column, struct slice s)
{
	size_t overhead = word_kinds[w->kind].overhead, room, n;

	if (column + overhead >= MIME_WORD_COLUMNS)
		return 0;
	room = MIME_WORD_COLUMNS - column - overhead;
	n = word_fit(w, s, room, false);
	if (n == 0)
		n = word_fit(w, s, room, true);
	if (n > 0)
		return n;
	/* as Q, which ISO-2022-JP is not read in everywhere */
	if (w->kind == WORD_B)
		w->kind = WORD_Q;
	w->padded = true;
	n = word_fit(w, s, room, false);
	return n > 0 ? n : word_fit(w, s, room, true);
}

/* s as encoded words from `column` on; returns the column behind them. */
static size_t
put_words(struct buf *out, const struct jis *jis, size_t column, struct slice s)
{
	struct words w = { .out = out, .jis = jis };
	enum word_kind kind = WORD_B;

	if (jis != NULL)
		kind = WORD_JIS;
	else if (q_size(s) <= (s.len + 2) / 3 * 4)
		kind = WORD_Q;
	while (s.len > 0 && !buf_failed(out)) {
		size_t before = out->len, n;

		w.kind = kind;
		w.padded = false;
		n = next_word(&w, column, s);
		if (n == 0) {
			assert(column > 1);
			buf_append(out, "\r\n ", 3);
			column = 1;
			continue;
		}
		put_word(&w, slice_make(s.ptr, n));
		column += out->len - before;
		s = slice_make(s.ptr + n, s.len - n);
		if (s.len > 0) {
			buf_append(out, "\r\n ", 3);
			column = 1;
		}
	}
	return column;
}

/* The next unit for folding: blanks and the word behind them. */
static size_t
fold_unit(struct slice s)
{
	size_t n = 0;

	while (n < s.len && s.ptr[n] == ' ')
		n++;
	while (n < s.len && s.ptr[n] != ' ')
		n++;
	return n;
}

/* True when plain ASCII s can stand as it is, folded, from `column` on, within `limit`. */
static bool
plain_fits(struct slice s, size_t column, size_t limit)
{
	if (s.len == 0)
		return true;
	if (s.ptr[0] == ' ' || s.ptr[s.len - 1] == ' ')
		return false;
	for (size_t i = 0; i < s.len;) {
		size_t n = fold_unit(slice_make(s.ptr + i, s.len - i));

		if ((i == 0 ? column : 0) + n > limit)
			return false;
		i += n;
	}
	return true;
}

static bool
has_word_mark(struct slice s)
{
	return s.len >= 2 && memmem(s.ptr, s.len, "=?", 2) != NULL;
}

/* s as it is, folded at blanks; returns the column behind it. */
static size_t
put_plain(struct buf *out, size_t column, struct slice s)
{
	for (size_t i = 0; i < s.len;) {
		size_t n = fold_unit(slice_make(s.ptr + i, s.len - i));

		if (i > 0 && column + n > MIME_HEADER_COLUMNS) {
			buf_append(out, "\r\n", 2);
			column = 0;
		}
		buf_append(out, s.ptr + i, n);
		column += n;
		i += n;
	}
	return column;
}

static size_t
put_name(struct buf *out, struct slice name)
{
	buf_append_slice(out, name);
	buf_append(out, ": ", 2);
	return name.len + 2;
}

/* Has every character of a checked value its place? */
static bool
charset_fits(const struct jis *jis, struct slice value, bool ascii)
{
	return jis == NULL || ascii || jis_size(jis, value) != JIS_NO_PLACE;
}

bool
mime_put_text_header_in(
    const struct jis *jis, struct buf *out, struct slice name, struct slice value)
{
	size_t column;
	bool ascii;

	if (!mime_header_name_ok(name) || !value_ok(value, &ascii) ||
	    !charset_fits(jis, value, ascii))
		return false;
	column = put_name(out, name);
	if (ascii && !has_word_mark(value) && plain_fits(value, column, MIME_HEADER_COLUMNS))
		put_plain(out, column, value);
	else
		put_words(out, jis, column, value);
	buf_append(out, "\r\n", 2);
	return true;
}

bool
mime_put_token_header(struct buf *out, struct slice name, struct slice value)
{
	bool ascii;

	if (!mime_header_name_ok(name) || value.len == 0 || !value_ok(value, &ascii) || !ascii ||
	    !plain_fits(value, name.len + 2, MIME_LINE_MAX))
		return false;
	put_plain(out, put_name(out, name), value);
	buf_append(out, "\r\n", 2);
	return true;
}

static bool
is_atom_char(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	    (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

/* Letters and marks of an addr-spec or dot-atom, with at most one '@' inside. */
static bool
addr_ok(struct slice addr)
{
	size_t ats = 0;

	if (addr.len == 0 || addr.len > MIME_LINE_MAX / 3 || !utf8_ok(addr))
		return false;
	for (size_t i = 0; i < addr.len; i++) {
		if (addr.ptr[i] == '@' && i > 0 && i + 1 < addr.len)
			ats++;
		else if (mime_control_at(addr.ptr + i, addr.len - i) > 0 ||
		    ((unsigned char)addr.ptr[i] < 0x80 && !is_atom_char(addr.ptr[i]) &&
			addr.ptr[i] != '.'))
			return false;
	}
	return ats <= 1;
}

enum phrase { PHRASE_ATOMS, PHRASE_QUOTED, PHRASE_WORDS };

/* RFC 5322 3.2.5. What would need folding becomes encoded words: a quoted string is not folded, and
 * GMime 3.2 keeps the line ends between atoms. */
static enum phrase
phrase_kind(struct slice s, bool ascii, size_t column)
{
	enum phrase kind = PHRASE_ATOMS;
	size_t quoted = 2;

	if (!ascii || has_word_mark(s))
		return PHRASE_WORDS;
	for (size_t i = 0; i < s.len; i++) {
		if (!is_atom_char(s.ptr[i]) && !(s.ptr[i] == ' ' && i > 0 && s.ptr[i - 1] != ' '))
			kind = PHRASE_QUOTED;
		quoted += s.ptr[i] == '"' || s.ptr[i] == '\\' ? 2 : 1;
	}
	if (s.ptr[s.len - 1] == ' ')
		kind = PHRASE_QUOTED;
	if (kind == PHRASE_ATOMS && column + s.len <= MIME_HEADER_COLUMNS)
		return PHRASE_ATOMS;
	return column + quoted <= MIME_HEADER_COLUMNS ? PHRASE_QUOTED : PHRASE_WORDS;
}

static size_t
put_quoted(struct buf *out, size_t column, struct slice s)
{
	size_t before = out->len;

	buf_append_char(out, '"');
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] == '"' || s.ptr[i] == '\\')
			buf_append_char(out, '\\');
		buf_append_char(out, s.ptr[i]);
	}
	buf_append_char(out, '"');
	return column + (out->len - before);
}

bool
mime_put_mailbox_header_in(const struct jis *jis, struct buf *out, struct slice name,
    struct slice display, struct slice addr)
{
	size_t column, limit = MIME_HEADER_COLUMNS;
	bool ascii;

	if (!mime_header_name_ok(name) || !value_ok(display, &ascii) || !addr_ok(addr) ||
	    !charset_fits(jis, display, ascii))
		return false;
	column = put_name(out, name);
	if (display.len == 0) {
		buf_append_slice(out, addr);
		buf_append(out, "\r\n", 2);
		return true;
	}
	switch (phrase_kind(display, ascii, column)) {
	case PHRASE_ATOMS:
		column = put_plain(out, column, display);
		break;
	case PHRASE_QUOTED:
		column = put_quoted(out, column, display);
		break;
	case PHRASE_WORDS:
		column = put_words(out, jis, column, display);
		limit = MIME_WORD_COLUMNS;
		break;
	}
	if (column + addr.len + 3 > limit)
		buf_append(out, "\r\n", 2);
	buf_append(out, " <", 2);
	buf_append_slice(out, addr);
	buf_append(out, ">\r\n", 3);
	return true;
}

/* --- date --- */

static char *
put_digits(char *p, unsigned value, unsigned width)
{
	for (unsigned i = width; i > 0; i--) {
		p[i - 1] = (char)('0' + value % 10);
		value /= 10;
	}
	return p + width;
}

size_t
mime_date(char dst[MIME_DATE_BYTES], time_t when, int zone_minutes)
{
	static const char days[] = "SunMonTueWedThuFriSat";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	const int64_t latest = INT64_C(253402214400); /* 9999-12-31, so that a year has 4 digits */
	int64_t t = (int64_t)when < 0 ? 0 : when > latest ? latest : (int64_t)when;
	unsigned zone, seconds, year_of_era, day_of_year, month, day;
	int64_t day_number, era_day, year;
	char *p = dst;

	if (zone_minutes < -1439 || zone_minutes > 1439)
		zone_minutes = 0;
	t += (int64_t)zone_minutes * 60;
	if (t < 0)
		t = 0;
	day_number = t / 86400;
	seconds = (unsigned)(t % 86400);
	/* years counted from March, in eras of 400: leap days come last */
	era_day = (day_number + 719468) % 146097;
	year_of_era =
	    (unsigned)((era_day - era_day / 1460 + era_day / 36524 - era_day / 146096) / 365);
	year = (int64_t)year_of_era + (day_number + 719468) / 146097 * 400;
	day_of_year = (unsigned)era_day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	month = (5 * day_of_year + 2) / 153;
	day = day_of_year - (153 * month + 2) / 5 + 1;
	month = month < 10 ? month + 2 : month - 10; /* 0 is January */
	if (month < 2)
		year++;
	memcpy(p, days + (day_number + 4) % 7 * 3, 3);
	memcpy(p + 3, ", ", 2);
	p = put_digits(p + 5, day, 2);
	*p++ = ' ';
	memcpy(p, months + (size_t)month * 3, 3);
	p[3] = ' ';
	p = put_digits(p + 4, (unsigned)year, 4);
	*p++ = ' ';
	p = put_digits(p, seconds / 3600, 2);
	*p++ = ':';
	p = put_digits(p, seconds / 60 % 60, 2);
	*p++ = ':';
	p = put_digits(p, seconds % 60, 2);
	*p++ = ' ';
	*p++ = zone_minutes < 0 ? '-' : '+';
	zone = (unsigned)(zone_minutes < 0 ? -zone_minutes : zone_minutes);
	p = put_digits(p, zone / 60, 2);
	p = put_digits(p, zone % 60, 2);
	*p = '\0';
	return (size_t)(p - dst);
}

/* --- bodies --- */

size_t
mime_base64_size(size_t n)
{
	return BASE64_SIZE(n) + (n + BASE64_LINE - 1) / BASE64_LINE * 2;
}

static void
base64_lines(char *p, const unsigned char *s, size_t n)
{
	while (n > 0) {
		size_t take = n < BASE64_LINE ? n : BASE64_LINE;

		p = base64_put(p, s, take);
		*p++ = '\r';
		*p++ = '\n';
		s += take;
		n -= take;
	}
}

void
mime_put_base64(struct buf *out, struct slice bytes)
{
	size_t size = mime_base64_size(bytes.len);

	if (size == 0 || !buf_reserve(out, size))
		return;
	base64_lines(out->data + out->len, (const unsigned char *)bytes.ptr, bytes.len);
	buf_commit(out, size);
}

/* n bytes, whole groups, as lines from *column on; a full line is ended when more follows. */
static char *
base64_groups(char *p, const unsigned char *s, size_t n, size_t *column)
{
	while (n > 0) {
		size_t room, take;

		if (*column == MIME_BODY_COLUMNS) {
			*p++ = '\r';
			*p++ = '\n';
			*column = 0;
		}
		room = (MIME_BODY_COLUMNS - *column) / 4 * 3;
		take = n < room ? n : room;
		p = base64_put(p, s, take);
		*column += take / 3 * 4;
		s += take;
		n -= take;
	}
	return p;
}

void
mime_base64_put(struct mime_base64 *b, struct slice bytes)
{
	const unsigned char *s = (const unsigned char *)bytes.ptr;
	size_t n = bytes.len, whole;
	unsigned char group[3];
	char *p;

	if (n > SIZE_MAX / 8 || !buf_reserve(b->out, mime_base64_size(n + 2) + 2))
		return;
	p = b->out->data + b->out->len;
	if (b->carried > 0 && b->carried + n >= 3) {
		memcpy(group, b->carry, b->carried);
		memcpy(group + b->carried, s, 3 - b->carried);
		p = base64_groups(p, group, 3, &b->column);
		s += 3 - b->carried;
		n -= 3 - b->carried;
		b->carried = 0;
	}
	if (b->carried == 0) {
		whole = n - n % 3;
		p = base64_groups(p, s, whole, &b->column);
		s += whole;
		n -= whole;
	}
	buf_commit(b->out, (size_t)(p - (b->out->data + b->out->len)));
	while (n > 0) {
		b->carry[b->carried++] = *s++;
		n--;
	}
}

void
mime_base64_end(struct mime_base64 *b)
{
	char end[8], *p = end;

	if (b->carried > 0) {
		if (b->column == MIME_BODY_COLUMNS)
			buf_append(b->out, "\r\n", 2);
		p = base64_put(p, b->carry, b->carried);
		b->column = 1;
	}
	if (b->column > 0) {
		*p++ = '\r';
		*p++ = '\n';
	}
	buf_append(b->out, end, (size_t)(p - end));
	b->column = b->carried = 0;
}

bool
mime_base64_run_make(struct mime_base64_run *run, struct slice raw, struct arena *arena)
{
	*run = (struct mime_base64_run){ .raw = raw };
	if (raw.len < BASE64_RUN_MIN)
		return true;
	for (size_t i = 0; i < 3; i++) {
		size_t n = (raw.len - i) / 3 * 3;
		char *start = arena_alloc(arena, mime_base64_size(n)), *end;

		if (start == NULL)
			return false;
		end = base64_groups(
		    start, (const unsigned char *)raw.ptr + i, n, &run->from[i].column);
		run->from[i].lines = slice_make(start, (size_t)(end - start));
	}
	return true;
}

void
mime_base64_put_run(struct mime_base64 *b, const struct mime_base64_run *run)
{
	size_t from = (3 - b->carried) % 3, rest;
	struct slice lines = run->from[from].lines;

	if (lines.len == 0) {
		mime_base64_put(b, run->raw);
		return;
	}
	mime_base64_put(b, slice_make(run->raw.ptr, from));
	if (b->column > 0)
		buf_append(b->out, "\r\n", 2);
	buf_append_slice(b->out, lines);
	b->column = run->from[from].column;
	rest = (run->raw.len - from) % 3;
	memcpy(b->carry, run->raw.ptr + run->raw.len - rest, rest);
	b->carried = rest;
}

void
mime_put_crlf(struct buf *out, struct slice s)
{
	size_t i = 0;

	while (i < s.len) {
		const char *p = s.ptr + i, *end = s.ptr + s.len;

		while (p < end && *p != '\r' && *p != '\n')
			p++;
		buf_append(out, s.ptr + i, (size_t)(p - (s.ptr + i)));
		if (p == end)
			return;
		buf_append(out, "\r\n", 2);
		i = (size_t)(p - s.ptr) + (*p == '\r' && p + 1 < end && p[1] == '\n' ? 2 : 1);
	}
}

enum { QP_LITERAL, QP_BLANK, QP_END, QP_ESCAPE };

/* 0 literal, 1 blank, 2 CR or LF, 3 needs =XX */
/* clang-format off */
static const uint8_t qp_class[256] = {
	3, 3, 3, 3, 3, 3, 3, 3, 3, 1, 2, 3, 3, 2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3,
	1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0,
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3,
	3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3,
	3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3,
	3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3,
	3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3,
};
/* clang-format on */

/* At the start of a line: "." (a dot lost on the way) and what is or may become "From ". */
static bool
qp_unsafe_start(const unsigned char *s, size_t n)
{
	return s[0] == '.' || (s[0] == 'F' && memcmp(s, "From ", n < 5 ? n : 5) == 0);
}

static char *
qp_soft_break(char *p)
{
	memcpy(p, "=\r\n", 3);
	return p + 3;
}

void
mime_qp_put(struct mime_qp *qp, struct slice fragment)
{
	const unsigned char *s = (const unsigned char *)fragment.ptr, *end = s + fragment.len;
	size_t column = qp->column;
	char *start, *p;

	if (fragment.len == 0 || fragment.len > SIZE_MAX / 8 ||
	    !buf_reserve(qp->out, QP_WORST(fragment.len)))
		return;
	p = start = qp->out->data + qp->out->len;
	while (s < end) {
		uint8_t cls = qp_class[*s];

		if (cls == QP_END) {
			s += *s == '\r' && s + 1 < end && s[1] == '\n' ? 2 : 1;
			*p++ = '\r';
			*p++ = '\n';
			column = 0;
			continue;
		}
		if (cls == QP_BLANK && (s + 1 == end || qp_class[s[1]] == QP_END))
			cls = QP_ESCAPE;
		if (column + (cls == QP_ESCAPE ? 3 : 1) > QP_COLUMNS) {
			p = qp_soft_break(p);
			column = 0;
		}
		if (column == 0 && qp_unsafe_start(s, (size_t)(end - s)))
			cls = QP_ESCAPE;
		if (cls == QP_ESCAPE) {
			*p++ = '=';
			*p++ = hex_digit[*s >> 4];
			*p++ = hex_digit[*s & 15];
			column += 3;
			s++;
			continue;
		}
		do {
			*p++ = (char)*s++;
			column++;
		} while (column < QP_COLUMNS && s < end && qp_class[*s] == QP_LITERAL);
	}
	qp->column = column;
	buf_commit(qp->out, (size_t)(p - start));
}

bool
mime_qp_run_make(struct mime_qp_run *run, struct slice fragment, struct arena *arena)
{
	struct buf b;
	struct mime_qp qp = { .out = &b };
	const char *end;

	buf_init(&b, SIZE_MAX / 4);
	mime_qp_put(&qp, fragment);
	*run = (struct mime_qp_run){ .bytes = arena_copy(arena, buf_slice(&b)) };
	if (buf_failed(&b) || (b.len > 0 && run->bytes.ptr == NULL)) {
		buf_release(&b);
		return false;
	}
	end = b.len > 0 ? memmem(b.data, b.len, "\r\n", 2) : NULL;
	run->breaks = end != NULL;
	run->head = end != NULL ? (size_t)(end - b.data) : b.len;
	run->tail = qp.column;
	buf_release(&b);
	return true;
}

void
mime_qp_put_run(struct mime_qp *qp, const struct mime_qp_run *run)
{
	char *p;

	if (run->bytes.len == 0 || !buf_reserve(qp->out, run->bytes.len + 3))
		return;
	p = qp->out->data + qp->out->len;
	/* head counts the "=" of its own soft break, which may stand in the 76th column */
	if (qp->column > 0 && qp->column + run->head > QP_COLUMNS) {
		p = qp_soft_break(p);
		qp->column = 0;
	}
	memcpy(p, run->bytes.ptr, run->bytes.len);
	buf_commit(qp->out, (size_t)(p - (qp->out->data + qp->out->len)) + run->bytes.len);
	qp->column = run->breaks ? run->tail : qp->column + run->head;
}
