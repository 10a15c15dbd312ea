/* SPDX-License-Identifier: Apache-2.0 */
/*
 * brake_report: what a dispatcher has heard of one destination since its last word, as one line in
 * a list in Redis, and back. Pure. Words about one destination may come in several lines.
 */
#ifndef KAIRAN_BRAKE_REPORT_H
#define KAIRAN_BRAKE_REPORT_H

#include "brake.h"

#define BRAKE_REPORT_MAX (BRAKE_NAME_MAX + 120) /* with NUL */

struct brake_report {
	char name[BRAKE_NAME_MAX + 1];
	unsigned answers;	  /* without complaint */
	int run;		  /* of the event; 0: none */
	struct brake_event event; /* REACTION_NONE: none */
};

void brake_report_print(const struct brake_report *r, char text[BRAKE_REPORT_MAX]);

/* false: that is no report. */
bool brake_report_parse(struct brake_report *r, const char *text, size_t len) MUST_CHECK;

#endif
