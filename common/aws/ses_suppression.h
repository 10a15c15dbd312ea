/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ses_suppression: a page of the account suppression list of Amazon SES (ListSuppressedDestinations
 * of the API v2). No I/O.
 */
#ifndef KAIRAN_SES_SUPPRESSION_H
#define KAIRAN_SES_SUPPRESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "err.h"
#include "slice.h"

#define SES_SUPPRESSED_PAGE 1000 /* entries asked for at once, the most there is */

struct ses_suppressed {
	struct slice address; /* as SES has it; not checked */
	bool is_complaint;    /* else it bounced */
	int64_t updated_s;    /* since 1970 UTC; 0: not said */
};

struct ses_suppressed_page {
	struct ses_suppressed *items;
	size_t count;
	struct slice next; /* token of the page behind; empty: this is the last */
};

/* Everything lives in the arena. 0, or -1 with err when the answer is none: an entry without address
 * or with an unknown reason is an error, since the rest would look as if it were the whole list. */
int ses_suppressed_parse(struct slice json, struct arena *arena, struct ses_suppressed_page *page,
    struct err *err) MUST_CHECK;

#endif
