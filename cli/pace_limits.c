/* SPDX-License-Identifier: Apache-2.0 */
/* pace_limits: see pace_limits.h. */
#include "pace_limits.h"

#include <stdio.h>

static void
say(const char *provider, double cap, const char *whose, double per_s)
{
	fprintf(stderr,
	    "kairan: the limit of %s (%g/s) is above the rate of %s (%g/s), so it is never "
	    "reached\n",
	    provider, cap, whose, per_s);
}

void
pace_limits_warn(const struct pace_limits *l)
{
	const struct providers *table = policy_providers(l->policy);
	double account = policy_account_per_s(l->policy);

	for (size_t g = 0; g < providers_count(table); g++) {
		double cap = policy_set_cap_per_s(l->policy, (int)g);
		const char *name = providers_group(table, (int)g)->name;

		if (cap <= 0 || (l->groups != NULL && !l->groups[g]))
			continue;
		if (account > 0 && cap > account)
			say(name, cap, "the account", account);
		if (l->stream_per_s > 0 && cap > l->stream_per_s)
			say(name, cap, l->stream, l->stream_per_s);
	}
}
