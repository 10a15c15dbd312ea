/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_message: input = five texts with NUL between them: subject template, html template, text
 * template, value of all fields, display name; with a subject that begins with J the domain gets
 * ISO-2022-JP. Whatever comes out must be fit for the wire: 7-bit,
 * CRLF, bounded lines, no "." at the start of a line, no field that the plan does not have.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "message.h"

#define PIECES 5
#define LINE_MAX_HERE 78 /* no long address in the plan below */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_wire(struct slice m, size_t body_offset, size_t expected_fields)
{
	size_t from = 0, fields = 0;

	if (m.len < 4 || body_offset > m.len || m.ptr[m.len - 1] != '\n' ||
	    memcmp(m.ptr + body_offset - 4, "\r\n\r\n", 4) != 0)
		abort();
	for (size_t i = 0; i < m.len; i++) {
		if (m.ptr[i] <= 0 || m.ptr[i] == 0x7f || (m.ptr[i] == '\r' && m.ptr[i + 1] != '\n'))
			abort();
		if (m.ptr[i] != '\n')
			continue;
		if (m.ptr[i - 1] != '\r' || i - 1 - from > LINE_MAX_HERE || m.ptr[from] == '.')
			abort();
		if (from + 2 < body_offset && m.ptr[from] != ' ')
			fields++;
		if (from < body_offset && i - 1 == from && i + 1 != body_offset)
			abort();
		from = i + 1;
	}
	if (fields != expected_fields)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct slice jis_domain = { "j.jp", 4 };
	struct slice piece[PIECES] = { 0 };
	struct template_value *values;
	struct message_plan *plan;
	struct message_result result;
	struct arena arena;
	struct buf out;
	struct err err;
	size_t count;
	const char *p = (const char *)data, *end = p + size;

	for (size_t i = 0; i < PIECES && p < end; i++) {
		const char *nul = memchr(p, '\0', (size_t)(end - p));

		piece[i] = slice_make(p, (size_t)((nul != NULL ? nul : end) - p));
		p = nul != NULL ? nul + 1 : end;
	}
	arena_init(&arena, (size_t)32 << 20);
	buf_init(&out, MESSAGE_BUFFER_MAX);
	values = calloc(TEMPLATE_FIELDS_MAX, sizeof(*values));
	if (values == NULL)
		abort();
	if (message_compile(&(struct message_source){ .from_name = SLICE("Example"),
				.from_addr = SLICE("news@example.jp"),
				.subject = piece[0],
				.html = piece[1],
				.text = piece[2],
				.list_id = SLICE("news.example.jp"),
				.unsubscribe_url_base = SLICE("https://u.example.jp/u/"),
				.message_id_domain = SLICE("mail.example.jp"),
				.jis_domains = &jis_domain,
				.jis_domain_count = slice_starts_nocase(piece[0], SLICE("J")) },
		&arena, &plan, &err) == 0) {
		(void)message_fields(plan, &count);
		for (size_t i = 0; i < count; i++)
			values[i] = (struct template_value){ piece[3], true };
		if (message_render(plan,
			&(struct message_recipient){ .to_addr = SLICE("a@j.jp"),
			    .to_name = piece[4],
			    .values = values,
			    .value_count = count,
			    .message_id_left = SLICE("left"),
			    .id_token = SLICE("idtoken"),
			    .unsubscribe_token = SLICE("untoken"),
			    .campaign = piece[4] },
			&out, &result) == TEMPLATE_OK)
			/* a single part has its encoding in the header */
			check_wire(buf_slice(&out), result.body_offset, piece[1].len > 0 ? 12 : 13);
		else if (out.len != 0)
			abort();
	}
	buf_release(&out);
	free(values);
	arena_release(&arena);
	return 0;
}
