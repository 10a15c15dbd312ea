/* SPDX-License-Identifier: Apache-2.0 */
/* retries: see retries.h. */
#include "retries.h"

#include "buf.h"
#include "crash.h"
#include "pgarray.h"

/* The list that a retry goes to, and what of its run may be handed over; NULL: its run is not known
 * here. */
static struct list *
list_of(struct known_run *runs, int run, int lane, int64_t *open)
{
	for (struct known_run *k = runs; k != NULL; k = k->next) {
		*open = k->open;
		for (size_t i = 0; k->id == run && i < k->list_count; i++)
			if (k->lists[i].lane == lane)
				return &k->lists[i];
	}
	return NULL;
}

/* First tries are still to come from it: retries may have a share only. */
static bool
has_first_tries(const struct list *l, int64_t open)
{
	return l->length > l->ahead || l->refill_at >= 0 ||
	    (l->lane > 0 && !known_run_list_is_done(l, open));
}

/* Lists whose share is used up, as arrays of runs and lanes. */
static void
put_exhausted(const struct known_run *runs, struct buf *ids, struct buf *lanes)
{
	for (const struct known_run *k = runs; k != NULL; k = k->next)
		for (size_t i = 0; i < k->list_count; i++) {
			const struct list *l = &k->lists[i];

			if (!has_first_tries(l, k->open) || retry_budget_left(&l->retries) > 0)
				continue;
			pgarray_int(ids, k->id);
			pgarray_int(lanes, l->lane);
		}
}

static PGresult *
find_retries(const struct known_run *runs, struct db *db)
{
	struct buf ids, lanes;
	const char *params[2];
	PGresult *r = NULL;

	buf_init(&ids, (size_t)1 << 20);
	buf_init(&lanes, (size_t)1 << 20);
	put_exhausted(runs, &ids, &lanes);
	params[0] = pgarray_end(&ids);
	params[1] = pgarray_end(&lanes);
	if (params[0] != NULL && params[1] != NULL)
		r = db_query(db,
		    "SELECT run_id, send_id, lane FROM kairan.retries_due($1::int[], $2::int[], "
		    "1000)",
		    2, params);
	buf_release(&ids);
	buf_release(&lanes);
	return r;
}

/* Deferred recipients whose time has come. Pushed ones are pushed again after a while, in case
 * Redis lost them; a lane that is closed for so long would only gather them. */
int
retries_push(struct jobs *j, struct db *db, struct known_run *runs)
{
	PGresult *r = find_retries(runs, db);
	int n, result = 0;

	if (r == NULL)
		return -1;
	n = PQntuples(r);
	for (int i = 0; i < n && result == 0; i++) {
		const char *params[] = { db_text(r, i, 0), db_text(r, i, 1) };
		int64_t id = db_number(r, i, 1);
		int run = (int)db_number(r, i, 0), lane = (int)db_number(r, i, 2);
		int64_t open = 0;
		struct list *l = list_of(runs, run, lane, &open);

		if (l == NULL || (has_first_tries(l, open) && !retry_budget_take(&l->retries)))
			continue;
		if (jobs_push(j, run, lane, "LPUSH", &id, 1) < 0)
			break;
		l->length++;
		l->ahead++;
		CRASH_POINT("retry_pushed");
		result = db_run(db,
		    "UPDATE kairan.retry SET pushed_at = now() WHERE run_id = $1 AND send_id = $2",
		    2, params);
	}
	PQclear(r);
	return result;
}

int
retries_forget(struct db *db)
{
	return db_run(db, "SELECT kairan.retries_forget()", 0, NULL);
}
