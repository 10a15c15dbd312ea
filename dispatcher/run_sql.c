/* SPDX-License-Identifier: Apache-2.0 */
/* run_sql: see run_sql.h. */
#include "run_sql.h"

#include <string.h>

#include "buf.h"

#define NAME_MAX_BYTES 64
#define SQL_MAX ((size_t)512 << 10)

bool
run_sql_make(struct run_sql *s, struct arena *arena, const char *what, const char *text, int run)
{
	const char *mark;
	struct buf sql, name;

	buf_init(&sql, SQL_MAX);
	buf_init(&name, NAME_MAX_BYTES);
	buf_printf(&name, "%s_%d", what, run);
	while ((mark = strstr(text, RUN_SQL_MARK)) != NULL) {
		buf_append(&sql, text, (size_t)(mark - text));
		buf_printf(&sql, "%d", run);
		text = mark + strlen(RUN_SQL_MARK);
		text += strspn(text, "0123456789");
	}
	buf_append_str(&sql, text);
	s->name = buf_failed(&name) ? NULL : arena_str(arena, buf_str(&name));
	s->sql = buf_failed(&sql) ? NULL : arena_str(arena, buf_str(&sql));
	buf_release(&sql);
	buf_release(&name);
	return s->name != NULL && s->sql != NULL;
}
