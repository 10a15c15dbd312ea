/* SPDX-License-Identifier: Apache-2.0 */
/* A mail of any bytes: what comes out is ASCII in CRLF lines of 998 at most, without a NUL, and
 * handed in again it is fit already: nothing is encoded a second time. Only a header that names an
 * address in UTF-8, to nobody but such ones, is not ASCII. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "submission.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
is_to_utf8_only(const struct submission *s)
{
	for (size_t i = 0; i < s->recipient_count; i++)
		if (!addr_needs_utf8(slice_make(s->recipients[i].text, s->recipients[i].len)))
			return false;
	return true;
}

/* Whether it is all ASCII. */
static bool
check_wire(const struct buf *out, bool utf8)
{
	size_t column = 0;
	bool ascii = true, body = false;

	for (size_t i = 0; i < out->len; i++) {
		unsigned char c = (unsigned char)out->data[i];
		bool ends = c == '\r' && i + 1 < out->len && out->data[i + 1] == '\n';

		ascii &= c < 0x80;
		body |= c == '\n' && column <= 1;
		if (c == 0 || (c >= 0x80 && (!utf8 || body)) || (c == '\r' && !ends) ||
		    (c == '\n' && (i == 0 || out->data[i - 1] != '\r')))
			abort();
		column = c == '\n' ? 0 : column + 1;
		if (column > 999) /* with the CR */
			abort();
	}
	if (out->len < 2 || out->data[out->len - 1] != '\n')
		abort();
	return ascii;
}

static int
make(struct slice bytes, struct buf *out, struct submission *s, bool *utf8)
{
	static const struct slice to[] = { { "a@b.example", 11 } };
	struct submission_input in = { .bytes = bytes,
		.take_recipients = bytes.len % 2 == 1,
		.to = to,
		.to_count = bytes.len % 4 != 3, /* else those in the header alone */
		.default_from = SLICE("cron@example.org"),
		.id_left = SLICE("abc"),
		.date = 86400 };
	struct arena arena;
	struct err err;
	int code;

	arena_init(&arena, (size_t)16 << 20);
	code = submission_make(&in, &arena, out, s, &err);
	if (code == 0 &&
	    (s->recipient_count == 0 || s->recipient_count > SUBMISSION_RECIPIENTS_MAX))
		abort();
	*utf8 = code == 0 && is_to_utf8_only(s);
	arena_release(&arena);
	return code;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf once, twice;
	struct submission s;
	bool utf8;

	if (size > 100000)
		return 0;
	buf_init(&once, (size_t)8 << 20);
	buf_init(&twice, (size_t)8 << 20);
	if (make(slice_make((const char *)data, size), &once, &s, &utf8) == 0) {
		bool ascii = check_wire(&once, utf8);

		if (make(buf_slice(&once), &twice, &s, &utf8) == 0 && ascii && s.encoded)
			abort();
	}
	buf_release(&once);
	buf_release(&twice);
	return 0;
}
