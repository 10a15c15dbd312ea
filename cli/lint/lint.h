/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lint: what a campaign should be before it is sent, as a table of rules. A rule looks at the
 * templates (so that every branch of a condition is seen, with line and column) and at a sample
 * of the mail as it goes over the wire. Pure: what only a database knows is handed in.
 *
 * Errors are what the law forbids, a filter takes for fraud, or no mail program shows; warnings
 * cost delivery or readers; notes are worth a thought.
 */
#ifndef KAIRAN_LINT_H
#define KAIRAN_LINT_H

#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "campaign_compose.h"
#include "campaign_source.h"
#include "campaign_template.h"
#include "err.h"

#define LINT_ARENA_MAX ((size_t)256 << 20)
#define LINT_RULE_FINDINGS_MAX 50 /* of one rule; the last one says that there are more */

#define LINT_GMAIL_BYTES ((size_t)102 << 10) /* Gmail clips what is longer */
#define LINT_CARRIER_BYTES ((size_t)3000000) /* au refuses more than 3 MB */
#define LINT_SUBJECT_COLUMNS 78 /* East Asian characters take two; lists show about half */
#define LINT_SUBJECT_BYTES 255

enum lint_severity { LINT_NOTE, LINT_WARNING, LINT_ERROR, LINT_SEVERITIES };

/* Where a reader can unsubscribe by the header List-Unsubscribe. */
enum lint_unsubscribe {
	LINT_UNSUBSCRIBE_UNKNOWN, /* the database was not asked */
	LINT_UNSUBSCRIBE_NONE,
	LINT_UNSUBSCRIBE_MAILTO,
	LINT_UNSUBSCRIBE_HTTP,
	LINT_UNSUBSCRIBE_HTTPS
};

struct lint_input {
	const struct campaign_source *source;
	const struct campaign_templates *templates;
	const struct campaign_mail *mail; /* a sample */
	enum lint_unsubscribe unsubscribe;
	int64_t customers;     /* in the segment */
	const int64_t *absent; /* of them without templates->field[i]; NULL: not counted */
	const char *too_large; /* for every way out, and why; NULL: it is not, as far as is known */
	const char *not_asked; /* why one of these two is not known; NULL: nobody need know */
};

struct lint;

struct lint_rule {
	const char *id;
	enum lint_severity severity;
	const char *advice;  /* what to do, one sentence */
	const char *example; /* how it looks when it is right */
	void (*check)(struct lint *l);
};

struct lint_finding {
	const struct lint_rule *rule;
	const char *file; /* "html" and its like for a campaign of the database */
	size_t line;	  /* 0: the whole file */
	size_t column;	  /* in characters; 0: not known */
	const char *text; /* what is wrong; one line of UTF-8 without control characters */
};

struct lint_report {
	const struct lint_finding *findings; /* errors first, then in the order of the table */
	size_t count;
	size_t by_severity[LINT_SEVERITIES];
};

/* Everything in the report is the arena's, or lives as long as input and its parts. 0, or -1 with
 * err when a template is too large to look at. */
int lint_run(struct lint_report *report, const struct lint_input *input, struct arena *arena,
    struct err *err) MUST_CHECK;

/* The table; *count rules. */
const struct lint_rule *lint_rules(size_t *count);

/* NULL when there is none of this id. */
const struct lint_rule *lint_rule_by_id(const char *id);

const char *lint_severity_name(enum lint_severity severity);

/* What an unsubscribe_base, or else the domain for mail, makes possible. */
enum lint_unsubscribe lint_unsubscribe_by(const char *unsubscribe_base, const char *mail_domain);

#endif
