/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mx_survey: asks DNS for the mail servers of many domains at once, for no longer than it is given. Blocks.
 */
#ifndef KAIRAN_MX_SURVEY_H
#define KAIRAN_MX_SURVEY_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct mx_survey_item {
	const char *domain; /* borrowed */
	/* filled: */
	char *
	    hosts; /* owned: those of the lowest preference by name, a blank between; "": there is no
			    MX record that names one; NULL: no answer in time */
	unsigned keep_s; /* as DNS says; 0: it does not */
};

/* server: as dnsloop_new() takes it. 0 also when nobody answered; -1 with err when DNS cannot be asked. */
int mx_survey(struct mx_survey_item *items, size_t count, const char *server, uint64_t longest_ms,
    struct err *err) MUST_CHECK;

#endif
