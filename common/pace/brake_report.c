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
