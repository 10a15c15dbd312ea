/* SPDX-License-Identifier: Apache-2.0 */
/* settings: see settings.h. */
#include "settings.h"

#include "log.h"

int
settings_read(struct db *db, struct policy *policy)
{
	/* the row without a name comes first */
	PGresult *r = db_query(db,
	    "SELECT name, value FROM kairan.pace_setting UNION ALL "
	    "SELECT '', kairan.urgent_in_use()::text ORDER BY name",
	    0, NULL);
	struct err err = { 0 };
	int bad = -1, changed;

	if (r == NULL)
		return -1;
	policy_begin_settings(policy);
	policy_set_urgent(policy, db_text(r, 0, 1)[0] == 't');
	for (int i = 1; i < PQntuples(r); i++)
		if (policy_set(policy, db_text(r, i, 0), db_text(r, i, 1), &err) < 0)
			bad = i;
	changed = policy_end_settings(policy);
	if (bad >= 0 && changed)
		log_warn("a setting of the pace is left out name=\"%s\" why=\"%s\"",
		    db_text(r, bad, 0), err.msg);
	PQclear(r);
	return changed;
}
