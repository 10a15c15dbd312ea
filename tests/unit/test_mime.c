/* SPDX-License-Identifier: Apache-2.0 */
/* mime: every encoder is decoded again here by plain code of the test's own, over all lengths. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mime.h"
#include "utf8.h"

/* --- decoders of the test --- */

static int
hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static int
base64_value(char c)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *p = c != '\0' ? strchr(digits, c) : NULL;

	return p != NULL ? (int)(p - digits) : -1;
}

static void
decode_base64(struct buf *dst, struct slice s)
{
	uint32_t bits = 0;
	unsigned count = 0;

	assert_int_equal(s.len % 4, 0);
	for (size_t i = 0; i < s.len; i++) {
		int v = base64_value(s.ptr[i]);

		if (s.ptr[i] == '=') {
			assert_true(i + 2 >= s.len);
			continue;
		}
		assert_true(v >= 0);
		bits = bits << 6 | (uint32_t)v;
		count += 6;
		if (count >= 8) {
			count -= 8;
			buf_append_char(dst, (char)(bits >> count & 0xff));
		}
	}
}

static void
decode_q(struct buf *dst, struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] == '=') {
			assert_true(i + 2 < s.len);
			buf_append_char(dst, (char)(hex(s.ptr[i + 1]) << 4 | hex(s.ptr[i + 2])));
			i += 2;
		} else {
			assert_true(s.ptr[i] > ' ' && s.ptr[i] <= '~' && s.ptr[i] != '?');
			buf_append_char(dst, s.ptr[i] == '_' ? ' ' : s.ptr[i]);
		}
	}
}

/* Checks the lines of a field and decodes its value (all words, or all plain). */
static void
decode_header(struct buf *dst, struct slice field, const char *name)
{
	size_t at = strlen(name) + 2;
	bool after_word = false;

	assert_true(field.len > at + 1);
	assert_memory_equal(field.ptr, name, strlen(name));
	assert_memory_equal(field.ptr + field.len - 2, "\r\n", 2);
	for (size_t i = 0, from = 0; i < field.len; i++) {
		assert_true((unsigned char)field.ptr[i] < 0x7f);
		if (field.ptr[i] != '\n') {
			assert_true(field.ptr[i] >= ' ' ||
			    (field.ptr[i] == '\r' && field.ptr[i + 1] == '\n'));
			continue;
		}
		assert_true(i > 0 && field.ptr[i - 1] == '\r');
		assert_true(i - 1 - from <=
		    (memmem(field.ptr + from, i - from, "=?", 2) != NULL ? 76 : 78));
		assert_true(i - 1 > from);
		from = i + 1;
		assert_true(from == field.len || field.ptr[from] == ' ');
	}
	field.len -= 2;
	while (at < field.len) {
		struct slice rest = slice_make(field.ptr + at, field.len - at), payload;
		const char *end;
		size_t before = dst->len;

		if (rest.len > 2 && rest.ptr[0] == '\r') {
			at += after_word ? 3 : 2;
			continue;
		}
		if (rest.len < 12 || memcmp(rest.ptr, "=?", 2) != 0) {
			buf_append_char(dst, rest.ptr[0]);
			after_word = false;
			at++;
			continue;
		}
		assert_memory_equal(rest.ptr, "=?UTF-8?", 8);
		end = memmem(rest.ptr + 10, rest.len - 10, "?=", 2);
		assert_non_null(end);
		assert_true(end + 2 - rest.ptr <= 75);
		payload = slice_make(rest.ptr + 10, (size_t)(end - rest.ptr) - 10);
		if (rest.ptr[8] == 'B')
			decode_base64(dst, payload);
		else
			decode_q(dst, payload);
		/* each word holds whole characters */
		assert_true(utf8_ok(slice_make(dst->data + before, dst->len - before)));
		after_word = true;
		at += (size_t)(end + 2 - rest.ptr);
	}
}

static void
decode_qp(struct buf *dst, struct slice s)
{
	size_t column = 0;

	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		if (c == '\r') {
			assert_int_equal(s.ptr[i + 1], '\n');
			assert_true(column <= 76);
			assert_true(i == 0 || (s.ptr[i - 1] != ' ' && s.ptr[i - 1] != '\t'));
			buf_append(dst, "\r\n", 2);
			i++;
			column = 0;
			continue;
		}
		if (column == 0) {
			assert_true(c != '.');
			assert_true(s.len - i < 5 || memcmp(s.ptr + i, "From ", 5) != 0);
		}
		if (c == '=' && s.ptr[i + 1] == '\r') {
			assert_int_equal(s.ptr[i + 2], '\n');
			assert_true(column + 1 <= 76);
			i += 2;
			column = 0;
			continue;
		}
		if (c == '=') {
			assert_true(
			    i + 2 < s.len && hex(s.ptr[i + 1]) >= 0 && hex(s.ptr[i + 2]) >= 0);
			buf_append_char(dst, (char)(hex(s.ptr[i + 1]) << 4 | hex(s.ptr[i + 2])));
			i += 2;
			column += 3;
			continue;
		}
		assert_true(c == '\t' || (c >= ' ' && c <= '~'));
		buf_append_char(dst, (char)c);
		column++;
	}
	assert_true(column <= 76);
	assert_true(s.len == 0 || (s.ptr[s.len - 1] != ' ' && s.ptr[s.len - 1] != '\t'));
}

static void
assert_bytes(const struct buf *got, struct slice want)
{
	assert_int_equal(got->len, want.len);
	assert_memory_equal(got->len > 0 ? got->data : "", want.len > 0 ? want.ptr : "", want.len);
}

/* --- tests --- */

static void
test_utf8(void **state)
{
	static const char *const bad[] = { "\x80", "\xc1\x81", "\xe0\x9f\xbf", "\xed\xa0\x80",
		"\xef\xbf", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff" };
	static const char *const good[] = { "a", "\x7f", "é", "あ", "\xed\x9f\xbf", "\xee\x80\x80",
		"😀", "\xf4\x8f\xbf\xbf" };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(utf8_char(bad[i], strlen(bad[i])), 0);
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_int_equal(utf8_char(good[i], strlen(good[i])), strlen(good[i]));
	assert_false(utf8_ok(SLICE("abcdefg\0")));
	assert_false(utf8_ok(SLICE("abcdefghijk\x80")));
	assert_true(utf8_ok(SLICE("abcdefghijkあabcdefghijk")));
	assert_true(utf8_ok(SLICE("")));
}

static void
test_subject_lengths(void **state)
{
	static const char *const units[] = { "a", "a b", "あ", "カ゚", "😀", "é", "x😀",
		"👨‍👩‍👧", "ab é", "=?", "🇯🇵", "👍🏽 " };
	struct buf value, field, back;

	(void)state;
	buf_init(&value, 100000);
	buf_init(&field, 100000);
	buf_init(&back, 100000);
	for (size_t u = 0; u < sizeof(units) / sizeof(units[0]); u++) {
		for (size_t n = 1; n <= 80; n++) {
			for (size_t lead = 0; lead < 5; lead++) {
				buf_reset(&value);
				buf_reset(&field);
				buf_reset(&back);
				buf_append(&value, "abcd", lead);
				for (size_t i = 0; i < n; i++)
					buf_append_str(&value, units[u]);
				assert_true(mime_put_text_header(
				    &field, SLICE("Subject"), buf_slice(&value)));
				decode_header(&back, buf_slice(&field), "Subject");
				assert_bytes(&back, buf_slice(&value));
			}
		}
	}
	buf_release(&value);
	buf_release(&field);
	buf_release(&back);
}

static void
test_names_of_all_lengths(void **state)
{
	char name[MIME_HEADER_NAME_MAX + 2];
	struct buf field, back;
	struct slice value = SLICE(
	    "👨‍👩‍👧‍👦👨‍👩‍👧‍👦あいうえおかきくけこさし"
	    "す"
	    "せ"
	    "そ");

	(void)state;
	buf_init(&field, 100000);
	buf_init(&back, 100000);
	memset(name, 'X', sizeof(name));
	for (size_t n = 1; n <= MIME_HEADER_NAME_MAX; n++) {
		name[n] = '\0';
		buf_reset(&field);
		buf_reset(&back);
		assert_true(mime_put_text_header(&field, slice_str(name), value));
		decode_header(&back, buf_slice(&field), name);
		assert_bytes(&back, value);
		name[n] = 'X';
	}
	assert_false(
	    mime_put_text_header(&field, slice_make(name, MIME_HEADER_NAME_MAX + 1), value));
	buf_release(&field);
	buf_release(&back);
}

static const char *
text_header(const char *name, struct slice value)
{
	static struct buf field;

	buf_release(&field);
	buf_init(&field, 100000);
	if (!mime_put_text_header(&field, slice_str(name), value)) {
		assert_int_equal(field.len, 0);
		return NULL;
	}
	return buf_str(&field);
}

static void
test_text_header(void **state)
{
	(void)state;
	assert_string_equal(
	    text_header("Subject", SLICE("Hello there")), "Subject: Hello there\r\n");
	assert_string_equal(text_header("Subject", SLICE("")), "Subject: \r\n");
	assert_string_equal(text_header("Subject", SLICE("Jörg Schmidt")),
	    "Subject: =?UTF-8?Q?J=C3=B6rg_Schmidt?=\r\n");
	assert_string_equal(
	    text_header("Subject", SLICE("日本")), "Subject: =?UTF-8?B?5pel5pys?=\r\n");
	assert_string_equal(text_header("Subject", SLICE(" x")), "Subject: =?UTF-8?Q?_x?=\r\n");
	assert_string_equal(text_header("Subject",
				SLICE("one two three four five six seven eight nine ten eleven "
				      "twelve thirteen")),
	    "Subject: one two three four five six seven eight nine ten eleven twelve\r\n"
	    " thirteen\r\n");
}

/* Base64 with padding stands in the last word only, but for texts in ISO-2022-JP that have no other
 * way; every mixture of lengths comes through. */
static void
test_words_of_mixed_lengths(void **state)
{
	static const char *const units[] = { "a", "é", "漢", "😀" };
	struct arena arena;
	const struct jis *jis;
	struct buf value, field, back;

	(void)state;
	arena_init(&arena, (size_t)1 << 20);
	jis = jis_new(&arena);
	assert_non_null(jis);
	buf_init(&value, 10000);
	buf_init(&field, 100000);
	buf_init(&back, 10000);
	for (unsigned pattern = 0; pattern < 4096; pattern++) {
		const char *first;

		buf_reset(&value);
		for (unsigned i = 0; i < 48; i++)
			buf_append_str(&value, units[pattern >> 2 * (i % 6) & 3]);
		buf_reset(&field);
		buf_reset(&back);
		assert_true(mime_put_text_header(&field, SLICE("Subject"), buf_slice(&value)));
		decode_header(&back, buf_slice(&field), "Subject");
		assert_bytes(&back, buf_slice(&value));
		first = strstr(buf_str(&field), "=?=\r\n");
		assert_true(first == NULL || first[5] == '\0');
		buf_reset(&value);
		for (unsigned i = 0; i < 48; i++)
			buf_append_str(&value, pattern >> (i % 12) & 1 ? "漢" : "a");
		buf_reset(&field);
		assert_true(
		    mime_put_text_header_in(jis, &field, SLICE("Subject"), buf_slice(&value)));
		for (const char *p = buf_str(&field); *p != '\0'; p = strstr(p, "\r\n") + 2)
			assert_true(strstr(p, "\r\n") - p <= 76);
	}
	arena_release(&arena);
	buf_release(&value);
	buf_release(&field);
	buf_release(&back);
}

static void
test_refused_headers(void **state)
{
	static const struct slice bad[] = { { "a\r\nBcc: x", 9 }, { "a\rb", 3 }, { "a\nb", 3 },
		{ "a\0b", 3 }, { "a\x7f", 2 }, { "a\tb", 3 }, { "\xe2\x80\xa8", 3 },
		{ "\xe2\x80\xa9", 3 }, { "\xc2\x85", 2 }, { "\xff", 1 }, { "\xe3\x81", 2 } };
	static const char *const names[] = { "", "A B", "A:", "あ", "A\r\n", "A\x7f" };
	struct buf out;

	(void)state;
	buf_init(&out, 1000);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_null(text_header("Subject", bad[i]));
		assert_false(mime_put_token_header(&out, SLICE("X"), bad[i]));
		assert_false(mime_put_mailbox_header(&out, SLICE("To"), bad[i], SLICE("a@b.jp")));
		assert_false(mime_put_mailbox_header(&out, SLICE("To"), SLICE(""), bad[i]));
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_null(text_header(names[i], SLICE("x")));
	assert_false(mime_put_token_header(&out, SLICE("X"), SLICE("あ")));
	assert_false(mime_put_token_header(&out, SLICE("X"), SLICE("")));
	assert_int_equal(out.len, 0);
	buf_release(&out);
}

static const char *
mailbox(const char *display, const char *addr)
{
	static struct buf field;

	buf_release(&field);
	buf_init(&field, 100000);
	if (!mime_put_mailbox_header(&field, SLICE("To"), slice_str(display), slice_str(addr)))
		return NULL;
	return buf_str(&field);
}

static void
test_mailbox(void **state)
{
	static const char *const bad[] = { "", "a@b@c", "a b@c.jp", "a@c.jp,", "<a@c.jp>", "a@",
		"@c.jp", "\"a\"@c.jp", "a@c.jp(x)", "a;b@c.jp", "あ@", "\xe3\x81@c.jp", "a\\@c.jp",
		"a@[1.2.3.4]" };

	(void)state;
	assert_string_equal(mailbox("", "a@b.jp"), "To: a@b.jp\r\n");
	assert_string_equal(mailbox("Jane Doe", "a@b.jp"), "To: Jane Doe <a@b.jp>\r\n");
	assert_string_equal(mailbox("Doe, Jane", "a@b.jp"), "To: \"Doe, Jane\" <a@b.jp>\r\n");
	assert_string_equal(
	    mailbox("J. \"X\" \\", "a@b.jp"), "To: \"J. \\\"X\\\" \\\\\" <a@b.jp>\r\n");
	assert_string_equal(mailbox("山田", "a@b.jp"), "To: =?UTF-8?B?5bGx55Sw?= <a@b.jp>\r\n");
	assert_string_equal(mailbox("=?x", "a@b.jp"), "To: =?UTF-8?B?PT94?= <a@b.jp>\r\n");
	assert_string_equal(mailbox("a@evil.jp", "a@b.jp"), "To: \"a@evil.jp\" <a@b.jp>\r\n");
	assert_string_equal(mailbox("山田", "あ@b.jp"), "To: =?UTF-8?B?5bGx55Sw?= <あ@b.jp>\r\n");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_null(mailbox("", bad[i]));
		assert_null(mailbox("x", bad[i]));
	}
	/* every line stays in its limit, whatever the length of the name */
	for (size_t n = 1; n < 200; n++) {
		char name[601], *line;

		for (size_t kind = 0; kind < 3; kind++) {
			const char *unit = kind == 0 ? "ab " : kind == 1 ? "a.\"" : "あ";

			for (size_t i = 0; i < n; i++)
				memcpy(name + 3 * i, unit, 3);
			name[3 * n] = '\0';
			line = strdup(mailbox(name, "someone.with.a.long.name@mail.example.co.jp"));
			for (char *p = line, *end; *p != '\0'; p = end + 2) {
				end = strstr(p, "\r\n");
				assert_true(end - p <= 78 && end > p);
			}
			free(line);
		}
	}
}

static void
test_token_header(void **state)
{
	struct buf out;
	char big[1100];

	(void)state;
	buf_init(&out, 10000);
	assert_true(mime_put_token_header(&out, SLICE("List-Help"),
	    SLICE("<https://www.example.jp/a/rather/long/address/of/a/page>, "
		  "<mailto:help@example.jp>")));
	assert_string_equal(buf_str(&out),
	    "List-Help: <https://www.example.jp/a/rather/long/address/of/a/page>,\r\n"
	    " <mailto:help@example.jp>\r\n");
	buf_reset(&out);
	memset(big, 'x', sizeof(big));
	assert_true(mime_put_token_header(&out, SLICE("X"), slice_make(big, 998 - 3)));
	buf_reset(&out);
	assert_false(mime_put_token_header(&out, SLICE("X"), slice_make(big, 998 - 2)));
	buf_release(&out);
}

static void
test_clean(void **state)
{
	struct buf out;

	(void)state;
	buf_init(&out, 1000);
	assert_int_equal(
	    mime_put_clean(&out, SLICE("a\r\n\t\0b\x7f\xc2\x85 c\xe2\x80\xa8"), false), 3);
	assert_string_equal(buf_str(&out), "a b  c ");
	buf_reset(&out);
	assert_int_equal(mime_put_clean(&out, SLICE("\xc2\x86\xe2\x80\xaa"), false), 0);
	assert_int_equal(out.len, 5);
	buf_release(&out);
}

static void
test_date(void **state)
{
	char dst[MIME_DATE_BYTES];
	struct tm tm;

	(void)state;
	assert_int_equal(mime_date(dst, 1751328307, 540), 31);
	assert_string_equal(dst, "Tue, 01 Jul 2025 09:05:07 +0900");
	mime_date(dst, 0, 0);
	assert_string_equal(dst, "Thu, 01 Jan 1970 00:00:00 +0000");
	mime_date(dst, 951782400, -570);
	assert_string_equal(dst, "Mon, 28 Feb 2000 14:30:00 -0930");
	mime_date(dst, 951868799, 0);
	assert_string_equal(dst, "Tue, 29 Feb 2000 23:59:59 +0000");
	/* against libc, every day for 500 years */
	for (time_t t = 3661; t < (time_t)500 * 366 * 86400; t += 86400 + 61) {
		char want[64];

		gmtime_r(&t, &tm);
		assert_true(strftime(want, sizeof(want), "%a, %d %b %Y %H:%M:%S +0000", &tm) > 0);
		mime_date(dst, t, 0);
		assert_string_equal(dst, want);
	}
	assert_int_equal(mime_date(dst, INT64_MAX, 1439), 31);
	assert_int_equal(mime_date(dst, INT64_MIN, -1439), 31);
}

static void
test_base64(void **state)
{
	struct buf raw, one, two, back;

	(void)state;
	buf_init(&raw, 10000);
	buf_init(&one, 100000);
	buf_init(&two, 100000);
	buf_init(&back, 10000);
	for (size_t n = 0; n < 400; n++) {
		size_t column = 0;
		struct buf joined;
		struct mime_base64 stream;

		buf_reset(&one);
		buf_reset(&two);
		buf_reset(&back);
		buf_init(&joined, 10000);
		mime_put_base64(&one, buf_slice(&raw));
		assert_int_equal(one.len, mime_base64_size(n));
		stream = (struct mime_base64){ .out = &two };
		for (size_t at = 0, take; at < n; at += take) {
			take = 1 + (at * 7 + n) % 40 < n - at ? 1 + (at * 7 + n) % 40 : n - at;
			mime_base64_put(&stream, slice_make(raw.data + at, take));
		}
		mime_base64_end(&stream);
		assert_bytes(&one, buf_slice(&two));
		for (size_t i = 0; i < one.len; i++) {
			if (one.data[i] == '\r' || one.data[i] == '\n') {
				column = 0;
				continue;
			}
			assert_true(++column <= 76);
			buf_append_char(&joined, one.data[i]);
		}
		assert_true(one.len == 0 || one.data[one.len - 1] == '\n');
		decode_base64(&back, buf_slice(&joined));
		assert_bytes(&back, buf_slice(&raw));
		buf_release(&joined);
		buf_append_char(&raw, (char)(n * 37));
	}
	buf_release(&raw);
	buf_release(&one);
	buf_release(&two);
	buf_release(&back);
}

/* Runs of every length behind every phase give the bytes that went in, in lines of 76. */
static void
test_base64_runs(void **state)
{
	struct arena arena;
	struct buf raw, out, back;

	(void)state;
	arena_init(&arena, (size_t)8 << 20);
	buf_init(&raw, 10000);
	buf_init(&out, 100000);
	buf_init(&back, 10000);
	for (size_t n = 0; n < 300; n++) {
		struct mime_base64_run run;

		arena_reset(&arena);
		assert_true(mime_base64_run_make(&run, buf_slice(&raw), &arena));
		for (size_t before = 0; before < 5; before++) {
			struct mime_base64 stream = { .out = &out };
			struct buf want, joined;
			size_t column = 0;

			buf_init(&want, 10000);
			buf_init(&joined, 10000);
			buf_reset(&out);
			buf_reset(&back);
			for (int twice = 0; twice < 2; twice++) {
				mime_base64_put(&stream, slice_make("01234", before));
				mime_base64_put_run(&stream, &run);
				buf_append(&want, "01234", before);
				buf_append_slice(&want, buf_slice(&raw));
			}
			mime_base64_end(&stream);
			for (size_t i = 0; i < out.len; i++) {
				if (out.data[i] == '\n') {
					assert_true(i > 1 && out.data[i - 1] == '\r' && column > 0);
					column = 0;
				} else if (out.data[i] != '\r') {
					assert_true(++column <= 76);
					buf_append_char(&joined, out.data[i]);
				}
			}
			assert_int_equal(column, 0);
			decode_base64(&back, buf_slice(&joined));
			assert_bytes(&want, buf_slice(&back));
			buf_release(&want);
			buf_release(&joined);
		}
		buf_append_char(&raw, (char)(n * 37 + 11));
	}
	arena_release(&arena);
	buf_release(&raw);
	buf_release(&out);
	buf_release(&back);
}

static const char *
qp(struct slice s)
{
	static struct buf out;
	struct mime_qp stream = { .out = &out };

	buf_release(&out);
	buf_init(&out, 100000);
	mime_qp_put(&stream, s);
	return buf_str(&out);
}

static void
test_qp(void **state)
{
	(void)state;
	assert_string_equal(qp(SLICE("a=b")), "a=3Db");
	assert_string_equal(qp(SLICE("é")), "=C3=A9");
	assert_string_equal(qp(SLICE("a \nb\t\r\nc ")), "a=20\r\nb=09\r\nc=20");
	assert_string_equal(qp(SLICE("a\rb\nc\r\nd\n\re\r")), "a\r\nb\r\nc\r\nd\r\n\r\ne\r\n");
	assert_string_equal(qp(SLICE(".\r.\r\n..")), "=2E\r\n=2E\r\n=2E.");
	assert_string_equal(qp(SLICE("From x\nFrom\nFro")), "=46rom x\r\nFrom\r\n=46ro");
	assert_string_equal(qp(SLICE("a\0b")), "a=00b");
}

/* Fragments of all cuts, some encoded beforehand, decode to the whole. */
static void
test_qp_fragments(void **state)
{
	static const char *const words[] = { "From ", ".", " ", "\t", "\r\n", "\n", "a", "=", "é",
		"Fro", "m ", "abcdefghijklmnopqrstuvwxyz0123456789", "日本", "\n.\n", "x \n" };
	struct buf out, want, back;
	struct arena arena;
	uint32_t seed = 1;

	(void)state;
	buf_init(&out, 1000000);
	buf_init(&want, 1000000);
	buf_init(&back, 1000000);
	arena_init(&arena, 10000000);
	for (int round = 0; round < 20000; round++) {
		struct mime_qp stream = { .out = &out };

		buf_reset(&out);
		buf_reset(&want);
		buf_reset(&back);
		arena_reset(&arena);
		for (int piece = 0; piece < 12; piece++) {
			struct buf fragment;
			struct mime_qp_run run;

			buf_init(&fragment, 100000);
			seed = seed * 1664525 + 1013904223;
			for (uint32_t i = 0; i < (seed >> 28); i++) {
				seed = seed * 1664525 + 1013904223;
				buf_append_str(&fragment, words[(seed >> 16) % 15]);
			}
			mime_put_crlf(&want, buf_slice(&fragment));
			if ((seed >> 20 & 1) != 0) {
				mime_qp_put(&stream, buf_slice(&fragment));
			} else {
				assert_true(mime_qp_run_make(&run, buf_slice(&fragment), &arena));
				mime_qp_put_run(&stream, &run);
			}
			buf_release(&fragment);
		}
		decode_qp(&back, buf_slice(&out));
		assert_bytes(&back, buf_slice(&want));
	}
	buf_release(&out);
	buf_release(&want);
	buf_release(&back);
	arena_release(&arena);
}

static void
test_long_line(void **state)
{
	char *big = malloc(100000);
	struct buf back;

	(void)state;
	memset(big, 'x', 100000);
	buf_init(&back, 200000);
	{
		struct buf out;
		struct mime_qp stream = { .out = &out };

		buf_init(&out, 1000000);
		mime_qp_put(&stream, slice_make(big, 100000));
		decode_qp(&back, buf_slice(&out));
		buf_release(&out);
	}
	assert_bytes(&back, slice_make(big, 100000));
	buf_release(&back);
	free(big);
}

static void
test_full_buffer(void **state)
{
	struct buf out;

	(void)state;
	for (size_t max = 300; max < 400; max++) {
		struct mime_qp stream = { .out = &out };
		struct mime_base64 base64 = { .out = &out };

		buf_init(&out, max);
		for (int i = 0; i < 10; i++) {
			assert_true(
			    mime_put_text_header(&out, SLICE("Subject"), SLICE("日本日本日本")));
			assert_true(mime_put_mailbox_header(
			    &out, SLICE("To"), SLICE("日本日本"), SLICE("a@b.jp")));
			mime_put_base64(&out, SLICE("abcdefghijklmnopqrstuvwxyz"));
			mime_base64_put(&base64, SLICE("abcdefghijklmnopqrstuvwxyz"));
			mime_base64_end(&base64);
			mime_qp_put(&stream, SLICE("abc"));
		}
		assert_true(buf_failed(&out));
		buf_release(&out);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_subject_lengths),
		cmocka_unit_test(test_names_of_all_lengths),
		cmocka_unit_test(test_text_header),
		cmocka_unit_test(test_words_of_mixed_lengths),
		cmocka_unit_test(test_refused_headers),
		cmocka_unit_test(test_mailbox),
		cmocka_unit_test(test_token_header),
		cmocka_unit_test(test_clean),
		cmocka_unit_test(test_date),
		cmocka_unit_test(test_base64),
		cmocka_unit_test(test_base64_runs),
		cmocka_unit_test(test_qp),
		cmocka_unit_test(test_qp_fragments),
		cmocka_unit_test(test_long_line),
		cmocka_unit_test(test_full_buffer),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
