/* SPDX-License-Identifier: Apache-2.0 */
/* campaign_pace: see campaign_pace.h. */
#include "campaign_pace.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "policy.h"
#include "pool.h"
#include "settings.h"

struct wait {
	int group;
	double opens;
};

static int
compare_waits(const void *a, const void *b)
{
	const struct wait *x = a, *y = b;

	return x->opens != y->opens ? (x->opens > y->opens) - (x->opens < y->opens)
				    : (x->group > y->group) - (x->group < y->group);
}

/* Marks the providers of a run; all when it has no lanes yet. -1 with db->error. */
static int
mark_groups(struct db *db, int64_t run, const struct providers *p, bool *marked)
{
	char id[24];
	const char *params[] = { id };
	PGresult *r;
	int n;

	(void)snprintf(id, sizeof(id), "%lld", (long long)run);
	r = db_query(db, "SELECT DISTINCT provider, paced FROM kairan.run_lane WHERE run_id = $1",
	    1, params);
	if (r == NULL)
		return -1;
	n = PQntuples(r);
	for (int i = 0; i < n; i++) {
		int group = providers_find(p, slice_str(db_text(r, i, 0)));

		if (group != PROVIDERS_NONE && db_text(r, i, 1)[0] == 't')
			marked[group] = true;
	}
	for (size_t g = 0; n == 0 && g < providers_count(p); g++)
		marked[g] = true;
	PQclear(r);
	return 0;
}

/* A minute is exact enough: rounded up. */
static json_t *
opens_text(double opens)
{
	struct tm utc;
	char text[40];
	time_t t;

	if (isinf(opens))
		return json_null();
	t = ((time_t)(opens / 1e6) + ADMISSION_EPOCH_S + 59) / 60 * 60;
	(void)gmtime_r(&t, &utc);
	(void)strftime(text, sizeof(text), "%Y-%m-%d %H:%M UTC", &utc);
	return json_string(text);
}

/* When the run begins, and what of its pace is asked for. */
struct asked {
	double begin, at; /* us since 2026 */
	bool limited;	  /* it has a rate, whatever the group: ramps are open */
	bool urgent;	  /* no guard holds it */
};

static json_t *
waits_of(const struct policy *policy, const bool *marked, const struct asked *a)
{
	const struct providers *p = policy_providers(policy);
	struct wait *waits = calloc(providers_count(p) + 1, sizeof(*waits));
	json_t *list = json_array();
	size_t n = 0;

	for (size_t g = 0; waits != NULL && !a->urgent && g < providers_count(p); g++) {
		bool steps = a->limited || policy_is_limited(policy, (int)g);
		double opens = marked[g] && policy_guard(policy, (int)g) != GUARD_OFF
		    ? policy_opens(policy, (int)g, a->begin, a->at, steps)
		    : a->at;

		if (opens > a->at)
			waits[n++] = (struct wait){ (int)g, opens };
	}
	if (waits != NULL)
		qsort(waits, n, sizeof(*waits), compare_waits);
	for (size_t i = 0; i < n; i++)
		(void)json_array_append_new(list,
		    json_pack("{s:s, s:o}", "provider", providers_group(p, waits[i].group)->name,
			"opens", opens_text(waits[i].opens)));
	free(waits);
	return list;
}

/* What the pacer knows of the run. -1 with db->error. */
static int
read_asked(
    struct db *db, const struct policy *policy, const struct campaign_moment *m, struct asked *a)
{
	char id[24];
	const char *params[] = { id, m->campaign };
	PGresult *r;

	(void)snprintf(id, sizeof(id), "%lld", (long long)m->run);
	r = db_query(db,
	    "SELECT coalesce(s.rate_per_s, 0) > 0 OR coalesce(c.spread_s, 0) > 0, s.kind = "
	    "'transactional', coalesce(extract(epoch FROM coalesce(r.started_at, r.due_at)), 0) "
	    "FROM kairan.campaign c JOIN kairan.stream s ON s.id = c.stream_id LEFT JOIN "
	    "kairan.run r ON r.campaign_id = c.id AND r.id = $1 WHERE r.id = $1 OR c.name = $2",
	    2, params);
	if (r == NULL)
		return -1;
	if (PQntuples(r) == 0) {
		a->begin = a->at - 24 * HOUR_US;
	} else {
		double began = strtod(db_text(r, 0, 2), NULL);

		a->begin = began > 0 ? (began - ADMISSION_EPOCH_S) * 1e6 : a->at;
		a->limited = db_text(r, 0, 0)[0] == 't';
		a->urgent = db_text(r, 0, 1)[0] == 't' && policy_urgent_part(policy) > 0;
	}
	PQclear(r);
	return 0;
}

json_t *
campaign_waits(struct cli *cli, struct db *db, const struct campaign_moment *m, struct err *err)
{
	struct policy *policy = policy_new(&cli->config, err);
	bool marked[PROVIDERS_GROUPS_MAX] = { false };
	struct asked asked = { 0 };
	struct err away = { 0 };
	struct pool pool;
	json_t *list = NULL;

	if (policy == NULL)
		return NULL;
	asked.at = (double)((m->at != 0 ? m->at : time(NULL)) - ADMISSION_EPOCH_S) * 1e6;
	if (pool_read(&pool, &cli->config, policy, &away) == 0 && m->at == 0)
		asked.at = pool.now;
	if (settings_read(db, policy) >= 0 &&
	    mark_groups(db, m->run, policy_providers(policy), marked) == 0 &&
	    read_asked(db, policy, m, &asked) == 0)
		list = waits_of(policy, marked, &asked);
	else
		(void)err_set(err, "%s", db->error);
	policy_free(policy);
	return list;
}

void
campaign_print_waits(const char *label, const json_t *waits)
{
	size_t i;
	json_t *w;

	if (json_array_size(waits) == 0)
		return;
	fputs(label, stdout);
	json_array_foreach(waits, i, w)
	{
		const char *opens = json_string_value(json_object_get(w, "opens"));
		const json_t *next = json_array_get(waits, i + 1);
		const char *then = json_string_value(json_object_get(next, "opens"));

		fputs(json_string_value(json_object_get(w, "provider")), stdout);
		if (opens == NULL && next == NULL)
			fputs(" for ever (pace.guard_lead_s leaves no minute open)", stdout);
		else if (opens != NULL && (then == NULL || strcmp(then, opens) != 0))
			printf(" until %s", opens);
		fputs(next != NULL ? ", " : "\n", stdout);
	}
}
