/* SPDX-License-Identifier: Apache-2.0 */
/*
 * brake_report: what a dispatcher has heard of one destination since its last word, as one line in
 * a list in Redis, and back. Pure. Words about one destination may come in several lines.
 */
#ifndef KAIRAN_BRAKE_REPORT_H
#define KAIRAN_BRAKE_REPORT_H

#include "brake.h"
#include "policy.h"

#define BRAKE_ACCOUNT_PER_S 10.0		/* of an account that nothing was seen of */
#define BRAKE_REPORT_MAX (BRAKE_NAME_MAX + 120) /* with NUL */

struct brake_report {
	char name[BRAKE_NAME_MAX + 1];
	unsigned answers;	  /* without complaint */
	int run;		  /* of the event; 0: none */
	struct brake_event event; /* REACTION_NONE: none */
};

void brake_report_print(const struct brake_report *r, char text[BRAKE_REPORT_MAX]);

/* What holds for a destination without any brake: a provider, BRAKE_ACCOUNT, or a site. connections,
 * batch: as configured. */
struct brake_terms brake_terms_of(
    const struct policy *policy, const char *name, unsigned connections, unsigned batch);

/* The brake takes a report in. *changed: somebody must be told. */
enum brake_act brake_report_take(const struct brake_report *r, struct brake *b,
    const struct brake_terms *terms, double now, double chance, bool *changed) MUST_CHECK;

/* false: that is no report. */
bool brake_report_parse(struct brake_report *r, const char *text, size_t len) MUST_CHECK;

#endif
