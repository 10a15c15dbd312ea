/* SPDX-License-Identifier: Apache-2.0 */
/* A mail of any bytes: what comes out is ASCII in CRLF lines of 998 at most, without a NUL, and
 * handed in again it is fit already: nothing is encoded a second time. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "submission.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_wire(const struct buf *out)
{
	size_t column = 0;

	for (size_t i = 0; i < out->len; i++) {
		unsigned char c = (unsigned char)out->data[i];
		bool ends = c == '\r' && i + 1 < out->len && out->data[i + 1] == '\n';

		if (c == 0 || c >= 0x80 || (c == '\r' && !ends) ||
		    (c == '\n' && (i == 0 || out->data[i - 1] != '\r')))
			abort();
		column = c == '\n' ? 0 : column + 1;
		if (column > 999) /* with the CR */
			abort();
	}
	if (out->len < 2 || out->data[out->len - 1] != '\n')
		abort();
}

static int
make(struct slice bytes, struct buf *out, struct submission *s)
{
	static const struct slice to[] = { { "a@b.example", 11 } };
	struct submission_input in = { .bytes = bytes,
		.take_recipients = bytes.len % 2 == 1,
		.to = to,
		.to_count = 1,
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
	arena_release(&arena);
	return code;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf once, twice;
	struct submission s;

	if (size > 100000)
		return 0;
	buf_init(&once, (size_t)8 << 20);
	buf_init(&twice, (size_t)8 << 20);
	if (make(slice_make((const char *)data, size), &once, &s) == 0) {
		check_wire(&once);
		if (make(buf_slice(&once), &twice, &s) == 0 && s.encoded)
			abort();
	}
	buf_release(&once);
	buf_release(&twice);
	return 0;
}
