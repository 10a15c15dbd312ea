/* SPDX-License-Identifier: Apache-2.0 */
/*
 * smtp_body: see smtp_body.h. Works in runs: bytes are copied up to the next place that must be
 * changed. The usual message, whose every CR and LF belongs to a CRLF, takes one search per line;
 * it is taken for such until the count of CRs says otherwise, and then done again with care.
 */
#include "smtp_body.h"

#include <string.h>

#define BLOCK 16

/* Sixteen bytes compared at once; gcc and clang make it one instruction where there is one. */
typedef unsigned char bytes16 __attribute__((vector_size(BLOCK)));

static size_t
count_cr(const char *p, size_t n)
{
	const bytes16 cr = (bytes16){ 0 } + (unsigned char)'\r';
	size_t count = 0;

	while (n >= BLOCK) {
		/* a lane of the sum overflows at 256 */
		size_t blocks = n / BLOCK < 255 ? n / BLOCK : 255;
		bytes16 sum = { 0 };

		for (size_t i = 0; i < blocks; i++, p += BLOCK) {
			bytes16 block;

			memcpy(&block, p, BLOCK);
			sum -= (bytes16)(block == cr);
		}
		for (size_t i = 0; i < BLOCK; i++)
			count += sum[i];
		n -= blocks * BLOCK;
	}
	for (; n > 0; n--)
		count += *p++ == '\r';
	return count;
}

static const char *
find(const char *from, const char *end, char c)
{
	const char *p = from < end ? memchr(from, c, (size_t)(end - from)) : NULL;

	return p != NULL ? p : end;
}

/* Copies [run, upto) and then the literal of n bytes. */
static void
copy_run(struct buf *out, const char *run, const char *upto, const char *literal, size_t n)
{
	buf_append(out, run, (size_t)(upto - run));
	buf_append(out, literal, n);
}

/* Appends data whose last byte is LF, stuffed or not. False, with out in any state, when a CR or
 * LF is bare. */
static bool
append_clean(struct buf *out, struct slice data, bool stuffed)
{
	const char *line = data.ptr, *run = line;
	const char *const end = line + data.len;
	size_t lines = 0;

	while (line < end) {
		const char *lf = find(line, end, '\n');

		if (lf == end || lf == line || lf[-1] != '\r')
			return false;
		if (stuffed && *line == '.') {
			copy_run(out, run, line, ".", 1);
			run = line;
		}
		line = lf + 1;
		lines++;
	}
	if (lines != count_cr(data.ptr, data.len))
		return false;
	buf_append(out, run, (size_t)(end - run));
	return true;
}

static void
append_repaired(struct buf *out, struct slice data, bool stuffed, uint64_t *repaired)
{
	const char *line = data.ptr, *run = line;
	const char *const end = line + data.len;

	while (line < end) {
		const char *lf = find(line, end, '\n');
		const char *cr = find(line, lf, '\r');

		if (stuffed && *line == '.') {
			copy_run(out, run, line, ".", 1);
			run = line;
		}
		if (lf < end && cr + 1 == lf) {
			line = lf + 1;
			continue;
		}
		/* a bare CR, a bare LF, or a last line without end */
		copy_run(out, run, cr, "\r\n", 2);
		*repaired += cr < end;
		line = run = cr < end ? cr + 1 : end;
	}
	buf_append(out, run, (size_t)(end - run));
}

bool
smtp_body_append(struct buf *out, struct slice data, uint64_t *repaired)
{
	const size_t start = out->len;

	/* one growth for the usual message; the ceiling is checked by every append */
	if (!buf_reserve(out, data.len + data.len / 32 + SMTP_BODY_DOT + 2))
		return false;
	if (!append_clean(out, data, true)) {
		out->len = start;
		append_repaired(out, data, true, repaired);
	}
	buf_append(out, ".\r\n", SMTP_BODY_DOT);
	return !buf_failed(out);
}

bool
smtp_body_append_chunk(struct buf *out, struct slice data, uint64_t *repaired)
{
	const size_t start = out->len;
	struct buf whole;

	if (!buf_reserve(out, data.len + 64))
		return false;
	buf_printf(out, "BDAT %zu LAST\r\n", data.len);
	if (append_clean(out, data, false))
		return !buf_failed(out);
	/* the length is known only when all is repaired */
	out->len = start;
	buf_init(&whole, out->max);
	append_repaired(&whole, data, false, repaired);
	buf_printf(out, "BDAT %zu LAST\r\n", whole.len);
	buf_append_slice(out, buf_slice(&whole));
	out->failed = out->failed || buf_failed(&whole);
	buf_release(&whole);
	return !buf_failed(out);
}

struct smtp_body_bytes
smtp_body_look(struct slice data)
{
	bytes16 nul = { 0 }, high = { 0 };
	struct smtp_body_bytes found = { false, false };
	size_t at = 0;

	for (; at + BLOCK <= data.len; at += BLOCK) {
		bytes16 block;

		memcpy(&block, data.ptr + at, BLOCK);
		nul |= (bytes16)(block == (bytes16){ 0 });
		high |= block;
	}
	for (size_t i = 0; i < BLOCK; i++) {
		found.nul = found.nul || nul[i] != 0;
		found.eight_bit = found.eight_bit || high[i] >= 0x80;
	}
	for (; at < data.len; at++) {
		found.nul = found.nul || data.ptr[at] == '\0';
		found.eight_bit = found.eight_bit || (unsigned char)data.ptr[at] >= 0x80;
	}
	return found;
}
