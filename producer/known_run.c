/* SPDX-License-Identifier: Apache-2.0 */
/* known_run: see known_run.h. */
#include "known_run.h"

#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "jobs.h"

void
known_run_free(struct known_run *k)
{
	for (size_t i = 0; i < k->list_count; i++) {
		free(k->lists[i].name);
		free(k->lists[i].route);
	}
	free(k->lists);
	free(k->others);
	free(k->stream);
	free(k->lanes);
	free(k);
}

/* List 0, and the lanes with a list of their own. */
static int
read_lists(struct policy *policy, struct db *db, struct known_run *k)
{
	char number[16];
	const char *params[] = { number };
	struct buf others;
	struct err err = { 0 };
	PGresult *r;
	int n;

	(void)snprintf(number, sizeof(number), "%d", k->id);
	r = db_query(db,
	    "SELECT lane, name, provider, recipients, pushed, handed, time_zone, route FROM "
	    "kairan.run_lane "
	    "WHERE run_id = $1 AND paced ORDER BY lane",
	    1, params);
	if (r == NULL)
		return -1;
	n = PQntuples(r);
	buf_init(&others, (size_t)1 << 20);
	k->lists = calloc((size_t)n + 1, sizeof(*k->lists));
	k->lanes = calloc((size_t)n + 1, sizeof(*k->lanes));
	for (int i = 0; k->lists != NULL && i < n; i++) {
		struct list *l = &k->lists[i + 1];

		*l = (struct list){ .lane = (int)db_number(r, i, 0),
			.name = strdup(db_text(r, i, 1)),
			.route = strdup(db_text(r, i, 7)),
			.group =
			    providers_filed(policy_providers(policy), slice_str(db_text(r, i, 2))),
			.recipients = db_number(r, i, 3),
			.pushed = db_number(r, i, 4),
			.handed = db_number(r, i, 5),
			.refill_at = -1 };
		if (db_text(r, i, 6)[0] != '\0')
			l->zone = policy_zone_named(policy, db_text(r, i, 6), &err);
		buf_printf(&others, "%s%d", i > 0 ? "," : "AND lane <> ALL ('{", l->lane);
	}
	buf_append_str(&others, n > 0 ? "}')" : "");
	PQclear(r);
	k->others = buf_failed(&others) ? NULL : strdup(buf_str(&others));
	buf_release(&others);
	if (k->lists == NULL || k->lanes == NULL || k->others == NULL)
		return 1;
	k->list_count = (size_t)n + 1;
	k->lists[0] = (struct list){ .group = PROVIDERS_NONE, .refill_at = -1 };
	return 0;
}

struct known_run *
known_run_find(struct known_run **runs, struct policy *policy, struct db *db,
    const struct run_row *row, bool *lost)
{
	struct known_run **link = runs, *k;
	bool unsorted = false;

	while ((k = *link) != NULL && k->id != row->id)
		link = &k->next;
	if (k != NULL && k->relisted != row->relisted) { /* lanes have lists of their own now */
		*link = k->next;
		known_run_free(k);
		k = NULL;
		unsorted = true;
	}
	if (k == NULL) {
		int result;

		k = calloc(1, sizeof(*k));
		if (k == NULL)
			return NULL;
		*k = (struct known_run){
			.id = row->id,
			.queued = -1,
			.stream = strdup(row->stream),
			.relisted = row->relisted,
			.unsorted = unsorted,
		};
		result = read_lists(policy, db, k);
		*lost = result < 0;
		if (result != 0 || k->stream == NULL) {
			known_run_free(k);
			return NULL;
		}
		k->next = *runs;
		*runs = k;
	}
	if (k->queued != row->queued || k->sending != row->sending ||
	    k->deferred != row->deferred) {
		k->queued = row->queued;
		k->sending = row->sending;
		k->deferred = row->deferred;
		k->since_ms = jobs_now_ms();
	}
	k->lists[0].pushed = row->pushed;
	k->per_s = row->per_s;
	k->began = row->began;
	k->class = row->class;
	k->weight = row->weight;
	k->reserve = row->reserve;
	k->until = row->until;
	k->quiet_from = row->quiet_from;
	k->quiet_till = row->quiet_till;
	k->planned = row->planned;
	k->open = row->open;
	k->seen = true;
	return k;
}

void
known_run_refill(struct known_run *k, int64_t low_water)
{
	for (size_t i = 0; i < k->list_count; i++)
		k->lists[i].refill_at = low_water > 0 ? low_water : 1;
	k->since_ms = jobs_now_ms();
}

bool
known_run_list_is_done(const struct list *l, int64_t open)
{
	return l->pushed >= open ||
	    (l->lane > 0 && (l->clear >= open || l->handed >= l->recipients));
}

/* What is left of each list, about: a look at the rows would cost more than it tells. Who waits for
 * a canary asks for nothing yet; the rate of a run that is spread is that of the whole. */
void
known_run_count_lanes(struct known_run *k)
{
	bool all = k->open >= k->planned || k->until > 0;
	double part = all ? 1 : (double)k->open / (double)k->planned;
	double others = (double)(k->queued - (all ? 0 : k->planned - k->open));

	for (size_t i = k->list_count; i-- > 0;) {
		const struct list *l = &k->lists[i];
		double left = part * (double)l->recipients - (double)(l->handed - l->length);

		if (left < (double)l->length)
			left = (double)l->length;
		if (i > 0)
			others -= left;
		else
			left = others > (double)l->length ? others : (double)l->length;
		k->lanes[i] = (struct pacer_lane){ .lane = l->lane,
			.zone = l->zone,
			.group = l->group,
			.name = l->name,
			.route = l->route,
			.remaining = left };
	}
}
