/* SPDX-License-Identifier: Apache-2.0 */
/* relist: see relist.h. */
#include "relist.h"

#include <stdio.h>
#include <string.h>

#include "jobs.h"
#include "log.h"
#include "pgarray.h"

#define EVERY_MS 2000
#define ARRAY_MAX ((size_t)1 << 20)
#define TAIL "tail-" /* how lanes of many sites are called */

/* Names of the rows (name, provider) that the policy paces, as an array; how many. */
static size_t
choose(const PGresult *r, const struct policy *policy, struct buf *names)
{
	size_t n = 0;

	for (int i = 0; i < PQntuples(r); i++) {
		const char *name = db_text(r, i, 0);
		int group = providers_filed(policy_providers(policy), slice_str(db_text(r, i, 1)));

		if (!policy_is_paced(policy, group, strncmp(name, TAIL, strlen(TAIL)) == 0))
			continue;
		pgarray_text(names, slice_str(name));
		n++;
	}
	return n;
}

static int
give_lists(struct db *db, struct buf *names)
{
	const char *params[] = { pgarray_end(names) };
	PGresult *r;

	if (params[0] == NULL) {
		(void)snprintf(db->error, sizeof(db->error), "there is not enough memory");
		return -1;
	}
	r = db_query(db, "SELECT kairan.lanes_relist($1::text[])", 1, params);
	if (r == NULL)
		return -1;
	if (db_int(r, 0) > 0)
		log_info("lanes with a guard or limit have a list of their own now lanes=%s",
		    db_text(r, 0, 0));
	PQclear(r);
	return 0;
}

int
relist_round(struct relist *l, struct db *db, const struct policy *policy)
{
	int64_t now = jobs_now_ms();
	struct buf names;
	PGresult *r;
	int result = 0;

	if (l->at_ms != 0 && l->version == policy_version(policy) && now - l->at_ms < EVERY_MS)
		return 0;
	r = db_query(db,
	    "SELECT DISTINCT l.name, l.provider FROM kairan.run_lane l JOIN kairan.run r ON r.id = "
	    "l.run_id WHERE r.state = 'running' AND NOT l.paced",
	    0, NULL);
	if (r == NULL)
		return -1;
	buf_init(&names, ARRAY_MAX);
	if (choose(r, policy, &names) > 0)
		result = give_lists(db, &names);
	buf_release(&names);
	PQclear(r);
	l->version = policy_version(policy);
	l->at_ms = now;
	return result;
}
