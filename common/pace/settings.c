/* SPDX-License-Identifier: Apache-2.0 */
/* settings: see settings.h. */
#include "settings.h"

#include <stdio.h>
#include <string.h>

#include "log.h"
#include "warmup.h"

/* What can be set has other names. */
#define URGENT "in use: urgent"
#define WARMUP "in use: warm-up"

static int
take(struct policy *policy, const char *name, const char *value, struct err *err)
{
	char schedule[WARMUP_NAME_MAX];
	int day;

	if (strcmp(name, URGENT) == 0) {
		policy_set_urgent(policy, value[0] == 't');
		return 0;
	}
	if (strcmp(name, WARMUP) != 0)
		return policy_set(policy, name, value, err);
	if (sscanf(value, "%31s %d", schedule, &day) != 2)
		return err_set(err, "the warm-up is not understood");
	return policy_set_warmup(policy, schedule, day, err);
}

int
settings_read(struct db *db, struct policy *policy)
{
	PGresult *r = db_query(db,
	    "SELECT name, value FROM kairan.pace_setting UNION ALL "
	    "SELECT '" URGENT "', kairan.urgent_in_use()::text UNION ALL "
	    "SELECT '" WARMUP "', schedule || ' ' || day FROM kairan.warmup ORDER BY name",
	    0, NULL);
	struct err err = { 0 };
	int bad = -1, changed;

	if (r == NULL)
		return -1;
	policy_begin_settings(policy);
	for (int i = 0; i < PQntuples(r); i++)
		if (take(policy, db_text(r, i, 0), db_text(r, i, 1), &err) < 0)
			bad = i;
	changed = policy_end_settings(policy);
	if (bad >= 0 && changed)
		log_warn("a setting of the pace is left out name=\"%s\" why=\"%s\"",
		    db_text(r, bad, 0), err.msg);
	PQclear(r);
	return changed;
}
