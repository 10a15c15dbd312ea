/* SPDX-License-Identifier: Apache-2.0 */
/* run_sql: see run_sql.h. */
#include "run_sql.h"

#include <string.h>

#include "buf.h"

#define NAME_MAX_BYTES 64
#define SQL_MAX ((size_t)512 << 10)

void
run_sql_with_origins(struct buf *sql, const char *text)
{
	const char *mark, *end;

	while ((mark = strstr(text, RUN_SQL_ORIGIN)) != NULL) {
		buf_append(sql, text, (size_t)(mark - text));
		mark += strlen(RUN_SQL_ORIGIN);
		end = strstr(mark, "*/");
		buf_append(sql, mark, (size_t)(end - mark));
		text = end + 2;
	}
	buf_append_str(sql, text);
}

static void
append_run(struct buf *sql, const char *text, int run)
{
	const char *mark;

	while ((mark = strstr(text, RUN_SQL_MARK)) != NULL) {
		buf_append(sql, text, (size_t)(mark - text));
		buf_printf(sql, "%d", run);
		text = mark + strlen(RUN_SQL_MARK);
		text += strspn(text, "0123456789");
	}
	buf_append_str(sql, text);
}

bool
run_sql_make(struct run_sql *s, struct arena *arena, const char *what, const char *text, int run,
    bool has_origins)
{
	struct buf sql, with, name;

	buf_init(&sql, SQL_MAX);
	buf_init(&with, SQL_MAX);
	buf_init(&name, NAME_MAX_BYTES);
	buf_printf(&name, "%s_%d", what, run);
	if (has_origins)
		run_sql_with_origins(&with, text);
	append_run(&sql, has_origins ? buf_str(&with) : text, run);
	s->name = buf_failed(&name) ? NULL : arena_str(arena, buf_str(&name));
	s->sql = buf_failed(&sql) || buf_failed(&with) ? NULL : arena_str(arena, buf_str(&sql));
	buf_release(&sql);
	buf_release(&with);
	buf_release(&name);
	return s->name != NULL && s->sql != NULL;
}
