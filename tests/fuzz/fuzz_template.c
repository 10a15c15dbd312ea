/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_template: input = context byte, template, NUL, value for all fields. A template that
 * compiles must render or say why not; in HTML a field of a plain attribute or text must leave
 * no mark-up behind, and in a header no control character may pass.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mime.h"
#include "template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_header(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (mime_control_at(s.ptr + i, s.len - i) > 0)
			abort();
}

static size_t
count(struct slice s, char c)
{
	size_t n = 0;

	for (size_t i = 0; i < s.len; i++)
		n += s.ptr[i] == c;
	return n;
}

/* Values bring no "<", ">" or quote into HTML: as many as with an empty value. */
static void
check_html(const struct template *t, struct template_values *values, struct buf *with)
{
	static const char marks[] = "<>\"'";
	struct template_value *fields = calloc(TEMPLATE_FIELDS_MAX, sizeof(*fields));
	struct template_values other = { .fields = fields, .count = values->count };
	struct template_result result;
	struct buf without;

	buf_init(&without, (size_t)16 << 20);
	if (fields == NULL)
		abort();
	for (size_t i = 0; i < values->count; i++)
		fields[i] = (struct template_value){ SLICE("x"), true };
	if (template_render(t, &other, &without, &result) == TEMPLATE_OK)
		for (const char *m = marks; *m != '\0'; m++)
			if (count(buf_slice(&without), *m) != count(buf_slice(with), *m))
				abort();
	buf_release(&without);
	free(fields);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct template_value *values;
	struct template_values v;
	struct template_result result;
	struct template_fields fields;
	struct template t;
	struct arena arena;
	struct buf out;
	struct err err;
	const uint8_t *nul;
	struct slice source, value = SLICE("");
	enum template_context context;

	if (size < 1)
		return 0;
	context = (enum template_context)(data[0] % 3);
	source = slice_make((const char *)data + 1, size - 1);
	nul = memchr(data + 1, '\0', size - 1);
	if (nul != NULL) {
		source.len = (size_t)(nul - data) - 1;
		value = slice_make((const char *)nul + 1, size - source.len - 2);
	}
	arena_init(&arena, (size_t)32 << 20);
	buf_init(&out, (size_t)16 << 20);
	values = calloc(TEMPLATE_FIELDS_MAX, sizeof(*values));
	if (values == NULL || !template_fields_init(&fields, NULL, 0, &arena))
		abort();
	if (template_compile(&t, source, context, &fields, &err) == 0) {
		for (size_t i = 0; i < fields.count; i++)
			values[i] = (struct template_value){ value, true };
		v = (struct template_values){ .fields = values, .count = fields.count };
		if (template_render(&t, &v, &out, &result) == TEMPLATE_OK) {
			if (context == TEMPLATE_HEADER && t.raw_count == 0)
				check_header(buf_slice(&out));
			if (context == TEMPLATE_HTML && t.raw_count == 0 && value.len > 0 &&
			    !slice_equal(value, SLICE("0")) && !slice_equal(value, SLICE("false")))
				check_html(&t, &v, &out);
		} else if (out.len != 0) {
			abort();
		}
	}
	buf_release(&out);
	free(values);
	arena_release(&arena);
	return 0;
}
