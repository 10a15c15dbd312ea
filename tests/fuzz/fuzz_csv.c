/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_csv: whole and byte by byte must give the same records; what is written reads back. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "cli/customer/csv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t
mix(uint64_t h, uint64_t v)
{
	return (h ^ v) * 0x100000001b3u;
}

static void
read_back(const struct csv *c)
{
	struct csv *again = malloc(sizeof(*again));
	struct slice text;
	struct buf b;

	if (again == NULL)
		return;
	buf_init(&b, 4 * CSV_RECORD_MAX);
	for (size_t i = 0; i < c->count; i++) {
		if (i > 0)
			buf_append_char(&b, ',');
		csv_append(&b, c->fields[i], ',', true);
	}
	buf_append_char(&b, '\n');
	csv_init(again, ',');
	text = buf_slice(&b);
	/* a mark at the very start is no part of the text, and an empty line no record */
	if (!(text.len >= 1 && (unsigned char)text.ptr[0] == 0xef) && text.len > 1 &&
	    b.len <= CSV_RECORD_MAX) {
		assert(csv_next(again, &text, true) == CSV_RECORD);
		assert(again->count == c->count);
		for (size_t i = 0; i < c->count; i++)
			assert(slice_equal(csv_unguard(again->fields[i]), c->fields[i]));
	}
	csv_release(again);
	buf_release(&b);
	free(again);
}

static uint64_t
read_all(const uint8_t *data, size_t size, size_t piece, bool write)
{
	struct csv *c = malloc(sizeof(*c));
	struct slice left = { NULL, 0 };
	uint64_t h = 0xcbf29ce484222325u;
	enum csv_result r;
	size_t at = 0;

	if (c == NULL)
		return 0;
	csv_init(c, ',');
	while ((r = csv_next(c, &left, at == size && left.len == 0)) != CSV_END) {
		if (r == CSV_MORE) {
			size_t n = size - at < piece ? size - at : piece;

			left = slice_make((const char *)data + at, n);
			at += n;
			continue;
		}
		h = mix(mix(mix(h, r), c->line), c->last_line);
		if (r != CSV_RECORD)
			continue;
		assert(c->count >= 1 && c->count <= CSV_FIELDS_MAX);
		for (size_t i = 0; i < c->count; i++) {
			h = mix(h, c->fields[i].len);
			for (size_t k = 0; k < c->fields[i].len; k++)
				h = mix(h, (uint8_t)c->fields[i].ptr[k]);
		}
		if (write)
			read_back(c);
	}
	csv_release(c);
	free(c);
	return h;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t whole = read_all(data, size, size > 0 ? size : 1, true);

	assert(read_all(data, size, 1, false) == whole);
	assert(read_all(data, size, 7, false) == whole);
	return 0;
}
