/* SPDX-License-Identifier: Apache-2.0 */
/* campaign_lookup: see campaign_lookup.h. */
#include "campaign_lookup.h"

#include <stdio.h>
#include <string.h>

#include "buf.h"

#define STATEMENT_MAX ((size_t)1 << 20) /* a count of a thousand fields */

static const char *
no_memory(struct db *db)
{
	(void)snprintf(db->error, sizeof(db->error), "there is not enough memory");
	return NULL;
}

int
campaign_lookup_stream(struct db *db, struct campaign_source *source)
{
	const char *name = source->file.stream;
	PGresult *r = db_query(db,
	    "SELECT unsubscribe_base, return_path_domain, auto_submitted, ses_content "
	    "FROM kairan.stream WHERE name = $1",
	    1, &name);
	int rows = r != NULL ? PQntuples(r) : -1;

	if (rows == 1) {
		source->unsubscribe_base = arena_str(&source->arena, db_text(r, 0, 0));
		source->return_path_domain = arena_str(&source->arena, db_text(r, 0, 1));
		source->auto_submitted = db_text(r, 0, 2)[0] == 't';
		source->ses_content = ses_content_of(db_text(r, 0, 3));
	}
	PQclear(r);
	if (source->unsubscribe_base == NULL || source->return_path_domain == NULL) {
		source->unsubscribe_base = source->return_path_domain = "";
		(void)no_memory(db);
		return -1;
	}
	return rows;
}

const char *
campaign_lookup_columns(struct db *db, struct arena *arena)
{
	PGresult *r = db_query(db,
	    "SELECT string_agg(attname, E'\\n') FROM pg_attribute "
	    "WHERE attrelid = 'kairan.customer'::regclass AND attnum > 0 AND NOT attisdropped",
	    0, NULL);
	const char *columns;

	if (r == NULL)
		return NULL;
	columns = arena_str(arena, db_text(r, 0, 0));
	PQclear(r);
	return columns != NULL ? columns : no_memory(db);
}

const char *
campaign_segment_condition(struct db *db, struct arena *arena, const char *segment, bool *named)
{
	PGresult *r =
	    db_query(db, "SELECT condition FROM kairan.segment WHERE name = $1", 1, &segment);
	const char *condition = segment;

	*named = r != NULL && PQntuples(r) == 1;
	if (*named)
		condition = arena_str(arena, db_text(r, 0, 0));
	PQclear(r);
	return condition;
}

int
campaign_segment_begin(struct db *db, const char *timeout)
{
	char limit[80];

	(void)snprintf(limit, sizeof(limit), "SET LOCAL statement_timeout = '%s'", timeout);
	if (db_run(db, "BEGIN READ ONLY", 0, NULL) != 0 ||
	    db_run(db, "SET LOCAL ROLE kairan_segment", 0, NULL) != 0)
		return -1;
	return db_run(db, limit, 0, NULL);
}

PGresult *
campaign_segment_run(struct db *db, const char *start, const char *condition)
{
	struct buf sql;
	PGresult *r = NULL;

	buf_init(&sql, STATEMENT_MAX);
	buf_printf(&sql, "%s FROM kairan.customer c WHERE (%s)", start, condition);
	if (buf_failed(&sql))
		(void)snprintf(db->error, sizeof(db->error), "the statement becomes too large");
	else
		r = db_query(db, buf_str(&sql), 0, NULL);
	buf_release(&sql);
	return r;
}
