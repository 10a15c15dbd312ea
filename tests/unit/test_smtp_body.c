/* SPDX-License-Identifier: Apache-2.0 */
/* Dot-stuffing: known cases, the sequences of SMTP smuggling, and every short text. */
#include "dispatcher/smtp/smtp_body.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void
check(struct slice in, struct slice want, uint64_t want_repaired)
{
	uint64_t repaired = 0;
	struct buf out;

	buf_init(&out, 1 << 16);
	assert_true(smtp_body_append(&out, in, &repaired));
	if (!slice_equal(buf_slice(&out), want))
		fail_msg("\"%.*s\" gives \"%s\"", SLICE_ARG(in), buf_str(&out));
	assert_int_equal(repaired, want_repaired);
	assert_true(out.len <= SMTP_BODY_MAX(in.len));
	buf_release(&out);
}

static void
test_known(void **state)
{
	static const struct {
		const char *in, *out;
		unsigned repaired;
	} cases[] = {
		{ "", ".\r\n", 0 },
		{ "a\r\n", "a\r\n.\r\n", 0 },
		{ "a", "a\r\n.\r\n", 0 },
		{ "\r\n", "\r\n.\r\n", 0 },
		{ ".", "..\r\n.\r\n", 0 },
		{ ".\r\n", "..\r\n.\r\n", 0 },
		{ "a\r\n.\r\nb\r\n", "a\r\n..\r\nb\r\n.\r\n", 0 },
		{ "a\r\n..b\r\n", "a\r\n...b\r\n.\r\n", 0 },
		{ "a.b\r\n", "a.b\r\n.\r\n", 0 },
		/* smuggling: what a lax server might take for the end of data */
		{ "a\n.\r\nb", "a\r\n..\r\nb\r\n.\r\n", 1 },
		{ "a\n.\nb", "a\r\n..\r\nb\r\n.\r\n", 2 },
		{ "a\r.\rb", "a\r\n..\r\nb\r\n.\r\n", 2 },
		{ "a\r\n.\rb", "a\r\n..\r\nb\r\n.\r\n", 1 },
		{ "a\r\n.\nb", "a\r\n..\r\nb\r\n.\r\n", 1 },
		{ "a\r.\r\nb", "a\r\n..\r\nb\r\n.\r\n", 1 },
		{ "a\r", "a\r\n.\r\n", 1 },
		{ "a\n", "a\r\n.\r\n", 1 },
		{ "a\r\r\nb", "a\r\n\r\nb\r\n.\r\n", 1 },
		{ "a\n\rb", "a\r\n\r\nb\r\n.\r\n", 2 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		check(slice_str(cases[i].in), slice_str(cases[i].out), cases[i].repaired);
}

/* The same, one byte at a time. */
static void
slow(struct slice in, struct buf *out, uint64_t *repaired)
{
	bool start = true;

	for (size_t i = 0; i < in.len; i++) {
		char c = in.ptr[i];

		if (c == '\r' && i + 1 < in.len && in.ptr[i + 1] == '\n')
			continue;
		if (c == '\n' || c == '\r') {
			*repaired += c == '\r' || i == 0 || in.ptr[i - 1] != '\r';
			buf_append_str(out, "\r\n");
			start = true;
			continue;
		}
		if (start && c == '.')
			buf_append_char(out, '.');
		buf_append_char(out, c);
		start = false;
	}
	if (!start)
		buf_append_str(out, "\r\n");
	buf_append_str(out, ".\r\n");
}

static void
test_every_short_text(void **state)
{
	static const char alphabet[4] = { 'a', '.', '\r', '\n' };

	(void)state;
	for (size_t len = 0; len <= 7; len++) {
		for (size_t n = 0; n < (size_t)1 << (2 * len); n++) {
			char text[8];
			struct buf want;
			uint64_t repaired = 0;

			for (size_t i = 0; i < len; i++)
				text[i] = alphabet[n >> (2 * i) & 3];
			buf_init(&want, 64);
			slow(slice_make(text, len), &want, &repaired);
			check(slice_make(text, len), buf_slice(&want), repaired);
			buf_release(&want);
		}
	}
}

static void
test_appends_and_overflows(void **state)
{
	uint64_t repaired = 0;
	struct buf out, many;

	(void)state;
	buf_init(&out, 4096);
	buf_append_str(&out, "DATA\r\n");
	assert_true(smtp_body_append(&out, SLICE("x\r\n"), &repaired));
	assert_string_equal(buf_str(&out), "DATA\r\nx\r\n.\r\n");
	buf_release(&out);

	buf_init(&out, 40);
	assert_false(smtp_body_append(
	    &out, SLICE("more than forty bytes of text in one line that is long\r\n"), &repaired));
	assert_true(buf_failed(&out));
	buf_release(&out);

	/* fits only without the doubled dots; buf rounds its ceiling up to a power of two */
	buf_init(&many, 1024);
	for (int i = 0; i < 163; i++)
		buf_append_str(&many, ".\r\n");
	buf_init(&out, 511);
	assert_false(smtp_body_append(&out, buf_slice(&many), &repaired));
	assert_true(buf_failed(&out));
	buf_release(&out);
	buf_release(&many);
}

/* A chunk that grew by its repair until it fits no more is not written at all. */
static void
test_chunk_overflows(void **state)
{
	uint64_t repaired = 0;
	char lines[60];
	struct buf out;

	(void)state;
	memset(lines, '\n', sizeof(lines));
	for (size_t max = 100; max < 140; max++) {
		buf_init(&out, max);
		if (smtp_body_append_chunk(&out, slice_make(lines, sizeof(lines)), &repaired))
			assert_int_equal(out.len, 15 + 2 * sizeof(lines));
		else
			assert_true(buf_failed(&out));
		buf_release(&out);
	}
}

/* One chunk: its stated length is that of what follows, and nothing is stuffed. */
static void
test_chunks(void **state)
{
	static const struct {
		const char *in, *out;
		unsigned repaired;
	} cases[] = {
		{ "", "BDAT 0 LAST\r\n", 0 },
		{ "a\r\n", "BDAT 3 LAST\r\na\r\n", 0 },
		{ "a", "BDAT 3 LAST\r\na\r\n", 0 },
		{ ".\r\n..\r\n", "BDAT 7 LAST\r\n.\r\n..\r\n", 0 },
		{ "a\n.\r\nb\rc", "BDAT 12 LAST\r\na\r\n.\r\nb\r\nc\r\n", 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct slice in = slice_str(cases[i].in);
		uint64_t repaired = 0;
		struct buf out;

		buf_init(&out, 1 << 16);
		assert_true(smtp_body_append_chunk(&out, in, &repaired));
		assert_string_equal(buf_str(&out), cases[i].out);
		assert_int_equal(repaired > 0, cases[i].repaired);
		buf_release(&out);
		buf_init(&out, 5);
		assert_false(smtp_body_append_chunk(&out, in, &repaired));
		buf_release(&out);
	}
}

/* NUL and 8-bit bytes are seen wherever they stand. */
static void
test_look(void **state)
{
	char data[70];

	(void)state;
	for (size_t n = 0; n <= sizeof(data); n++) {
		memset(data, 'a', sizeof(data));
		assert_false(smtp_body_look(slice_make(data, n)).nul);
		assert_false(smtp_body_look(slice_make(data, n)).eight_bit);
		for (size_t i = 0; i < n; i++) {
			data[i] = '\0';
			assert_true(smtp_body_look(slice_make(data, n)).nul);
			data[i] = '\x80';
			assert_true(smtp_body_look(slice_make(data, n)).eight_bit);
			assert_false(smtp_body_look(slice_make(data, n)).nul);
			data[i] = 'a';
		}
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known),
		cmocka_unit_test(test_every_short_text),
		cmocka_unit_test(test_appends_and_overflows),
		cmocka_unit_test(test_chunk_overflows),
		cmocka_unit_test(test_chunks),
		cmocka_unit_test(test_look),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
