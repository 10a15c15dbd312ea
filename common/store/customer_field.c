/* SPDX-License-Identifier: Apache-2.0 */
/* customer_field: see customer_field.h. */
#include "customer_field.h"

#include <string.h>

bool
customer_has_column(const char *columns, struct slice name)
{
	while (*columns != '\0') {
		size_t n = strcspn(columns, "\n");

		if (slice_equal(slice_make(columns, n), name))
			return true;
		columns += n + (columns[n] == '\n');
	}
	return false;
}

static void
append_quoted(struct buf *sql, struct slice name, char quote)
{
	buf_append_char(sql, quote);
	for (size_t i = 0; i < name.len; i++) {
		if (name.ptr[i] == quote)
			buf_append_char(sql, quote);
		buf_append_char(sql, name.ptr[i]);
	}
	buf_append_char(sql, quote);
}

static void
append_column(struct buf *sql, const char *alias, struct slice name)
{
	buf_append_str(sql, alias);
	buf_append_char(sql, '.');
	append_quoted(sql, name, '"');
}

/* #>> ARRAY['a','b'], or #> for JSON. */
static void
append_path(struct buf *sql, struct slice path, bool json)
{
	buf_append_str(sql, json ? " #> ARRAY[" : " #>> ARRAY[");
	for (;;) {
		const char *dot = memchr(path.ptr, '.', path.len);
		size_t n = dot != NULL ? (size_t)(dot - path.ptr) : path.len;

		append_quoted(sql, slice_make(path.ptr, n), '\'');
		if (dot == NULL)
			break;
		buf_append_char(sql, ',');
		path = slice_make(dot + 1, path.len - n - 1);
	}
	buf_append_char(sql, ']');
}

void
customer_field_sql(
    struct buf *sql, const char *columns, const char *alias, struct slice field, bool json)
{
	const char *dot = memchr(field.ptr, '.', field.len);
	struct slice first = slice_make(field.ptr, dot != NULL ? (size_t)(dot - field.ptr) : 0);
	bool path = false;

	buf_append_str(sql, json ? "(" : "");
	if (customer_has_column(columns, field)) {
		buf_append_str(sql, json ? "to_jsonb(" : "");
		append_column(sql, alias, field);
		buf_append_str(sql, json ? ")" : "");
	} else if (first.len > 0 && customer_has_column(columns, first)) {
		buf_append_str(sql, "to_jsonb(");
		append_column(sql, alias, first);
		buf_append_char(sql, ')');
		field = slice_make(dot + 1, field.len - first.len - 1);
		path = true;
	} else if (customer_has_column(columns, SLICE("attributes"))) {
		append_column(sql, alias, SLICE("attributes"));
		path = true;
	} else {
		buf_append_str(sql, "NULL");
	}
	if (path)
		append_path(sql, field, json);
	buf_append_str(sql, json ? ")::text" : path ? "" : "::text");
}
