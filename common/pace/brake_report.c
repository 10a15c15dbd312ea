/* SPDX-License-Identifier: Apache-2.0 */
/* brake_report: see brake_report.h. */
#include "brake_report.h"

#include <stdio.h>
#include <string.h>

#define COUNT_MAX 10000000 /* of one report */

void
brake_report_print(const struct brake_report *r, char text[BRAKE_REPORT_MAX])
{
	(void)snprintf(text, BRAKE_REPORT_MAX, "%s %u %d %s %d %d %u %d", r->name, r->answers,
	    r->run, reaction_name(r->event.reaction), r->event.minutes, r->event.at_once,
	    r->event.count, r->event.code);
}

bool
brake_report_parse(struct brake_report *r, const char *text, size_t len)
{
	char copy[BRAKE_REPORT_MAX], reaction[20];
	int at_once, at = 0;

	*r = (struct brake_report){ 0 };
	if (len >= sizeof(copy) || memchr(text, '\0', len) != NULL)
		return false;
	memcpy(copy, text, len);
	copy[len] = '\0';
	if (sscanf(copy, "%254s %u %d %19s %d %d %u %d%n", r->name, &r->answers, &r->run, reaction,
		&r->event.minutes, &at_once, &r->event.count, &r->event.code, &at) != 8 ||
	    copy[at] != '\0' || !reaction_parse(&r->event.reaction, slice_str(reaction)))
		return false;
	r->event.at_once = at_once == 1;
	return r->answers <= COUNT_MAX && r->run >= 0 && r->event.minutes >= 0 &&
	    r->event.minutes <= 1440 && (at_once == 0 || at_once == 1) &&
	    r->event.count <= COUNT_MAX && r->event.code >= 0 && r->event.code < 1000;
}

struct brake_terms
brake_terms_of(const struct policy *policy, const char *name, unsigned connections, unsigned batch)
{
	const struct providers *table = policy_providers(policy);
	int group = providers_filed(table, slice_str(name));

	if (strcmp(name, BRAKE_ACCOUNT) == 0)
		return (struct brake_terms){ .cap_per_s = policy_account_per_s(policy),
			.start_per_s = BRAKE_ACCOUNT_PER_S,
			.is_account = true };
	return (struct brake_terms){ .cap_per_s = policy_cap_per_s(policy, group),
		.start_per_s = providers_group(table, group)->rate_per_s,
		.connections = providers_connections(table, group, connections),
		.batch = providers_messages(table, group, batch) };
}

enum brake_act
brake_report_take(const struct brake_report *r, struct brake *b, const struct brake_terms *terms,
    double now, double chance, bool *changed)
{
	enum brake_act act = BRAKE_NOTHING;

	*changed = brake_count(b, now, r->answers) != BRAKE_NOTHING;
	if (r->event.reaction != REACTION_NONE)
		act = brake_hear(b, terms, &r->event, now, chance);
	*changed = *changed || act == BRAKE_CHANGED || act == BRAKE_STOPPED;
	return act;
}
