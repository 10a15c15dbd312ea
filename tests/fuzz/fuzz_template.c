/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_template: input = context byte, template, NUL, value for all fields. A template that
 * compiles must render or say why not; in HTML a field of a plain attribute or text must leave
 * no mark-up behind, and in a header no control character may pass. Fields that are read as JSON
 * get the value as their JSON text, then inside [{"a": value, "b": [value, value]}, value].
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "jsontext.h"
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

/* [{"a":value,"b":[value,value]},value] */
static void
put_json(struct buf *out, struct slice value)
{
	static const char *const around[] = { "[{\"a\":\"", "\",\"b\":[\"", "\",\"", "\"]},\"" };

	for (size_t k = 0; k < 4; k++) {
		buf_append_str(out, around[k]);
		for (size_t i = 0; i < value.len; i++) {
			unsigned char c = (unsigned char)value.ptr[i];

			if (c < 0x20 || c == '"' || c == '\\')
				buf_printf(out, "\\u%04x", c);
			else
				buf_append_char(out, (char)c);
		}
	}
	buf_append_str(out, "\"]");
}

static void
set_values(const struct template_fields *fields, struct template_value *values, struct slice value,
    struct slice json)
{
	for (size_t i = 0; i < fields->count; i++)
		values[i] = (struct template_value){ fields->json[i] ? json : value, true };
}

/* Values bring no "<", ">" or quote into HTML: as many as with an empty value. */
static void
check_html(const struct template *t, struct template_values *values, struct buf *with)
{
	static const char marks[] = "<>\"'";
	struct template_value *fields = calloc(TEMPLATE_FIELDS_MAX, sizeof(*fields));
	struct template_values other = { .fields = fields, .count = values->count };
	struct template_result result;
	struct buf without, json;

	buf_init(&without, (size_t)16 << 20);
	buf_init(&json, 1000);
	if (fields == NULL)
		abort();
	put_json(&json, SLICE("x"));
	set_values(t->fields, fields, SLICE("x"), buf_slice(&json));
	if (template_render(t, &other, &without, &result) == TEMPLATE_OK)
		for (const char *m = marks; *m != '\0'; m++)
			if (count(buf_slice(&without), *m) != count(buf_slice(with), *m))
				abort();
	buf_release(&without);
	buf_release(&json);
	free(fields);
}

/* A value that conditions take for true, as they take "x". */
static bool
is_true_text(struct slice v)
{
	return v.len > 0 && v.ptr[0] != '0' && v.ptr[0] != '[' && !slice_equal(v, SLICE("false"));
}

static void
run(const struct template *t, struct template_value *values, struct slice value, struct slice json,
    bool comparable)
{
	struct template_values v = { .fields = values, .count = t->fields->count };
	struct template_result result;
	struct buf out;

	buf_init(&out, (size_t)16 << 20);
	set_values(t->fields, values, value, json);
	if (template_render(t, &v, &out, &result) == TEMPLATE_OK) {
		if (t->context == TEMPLATE_HEADER)
			check_header(buf_slice(&out));
		if (t->context == TEMPLATE_HTML && t->raw_count == 0 && comparable &&
		    is_true_text(value))
			check_html(t, &v, &out);
	} else if (out.len != 0) {
		abort();
	}
	buf_release(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct template_value *values;
	struct template_fields fields;
	struct template t;
	struct arena arena;
	struct buf json;
	struct err err = { 0 };
	const uint8_t *nul;
	struct slice source, value = SLICE("");

	if (size < 1)
		return 0;
	source = slice_make((const char *)data + 1, size - 1);
	nul = memchr(data + 1, '\0', size - 1);
	if (nul != NULL) {
		source.len = (size_t)(nul - data) - 1;
		value = slice_make((const char *)nul + 1, size - source.len - 2);
	}
	arena_init(&arena, (size_t)64 << 20);
	buf_init(&json, (size_t)4 << 20);
	values = calloc(TEMPLATE_FIELDS_MAX, sizeof(*values));
	if (values == NULL || !template_fields_init(&fields, NULL, 0, &arena))
		abort();
	if (template_compile(&t, source, (enum template_context)(data[0] % 3), &fields, &err) ==
	    0) {
		run(&t, values, value, value, false);
		put_json(&json, value);
		run(&t, values, value, buf_slice(&json), true);
	} else if (err.offset > source.len) {
		abort();
	}
	buf_release(&json);
	free(values);
	arena_release(&arena);
	return 0;
}
