/* SPDX-License-Identifier: Apache-2.0 */
/*
 * campaign_count: the audience of a campaign as the producer would take it, counted by domain, and
 * who would be left out. Reads only: customers under the rights of a segment, one row at a time.
 * Takes about 16 bytes of memory for each customer, and a table of domains.
 */
#ifndef KAIRAN_CAMPAIGN_COUNT_H
#define KAIRAN_CAMPAIGN_COUNT_H

#include <stdint.h>

#include "campaign_source.h"
#include "db.h"
#include "err.h"
#include "policy.h"
#include "strmap.h"

/* Rules of the table exclusion, in the order in which they are applied. */
enum count_rule {
	COUNT_INVALID,
	COUNT_SEGMENT,
	COUNT_BOUNCED,
	COUNT_COMPLAINED,
	COUNT_UNSUBSCRIBED,
	COUNT_SUPPRESSED,
	COUNT_CAMPAIGN,
	COUNT_SANDBOX,
	COUNT_DUPLICATE,
	COUNT_RULES
};

#define COUNT_ZONES_MAX 64 /* those beyond it have the campaign's */

struct count_zone {
	char name[PROVIDERS_NAME_MAX];
	int place; /* in zones: 0 when there is no such zone on this host */
};

/* Recipients of a domain; with quiet hours, of a domain in a time zone. */
struct count_domain {
	int group;  /* of the provider table, PROVIDERS_NONE */
	int zone;   /* place in zones */
	bool by_mx; /* group or site were found by the domain's mail servers */
	char *site; /* owned: the lane of a site that it shares with others; NULL */
	uint64_t recipients;
	char name[]; /* for other zones than the first with its number behind */
};

struct campaign_count {
	int64_t audience, kept, excluded[COUNT_RULES];
	struct strmap domains;			  /* of struct count_domain, owned */
	struct count_zone zones[COUNT_ZONES_MAX]; /* the first is the campaign's */
	int zone_count;				  /* 0: it keeps no quiet hours */
	uint64_t routed[ROUTES_MAX];		  /* of them, by way of policy_ways() */
};

const char *count_rule_name(enum count_rule rule); /* as in the table exclusion */

/* 0; -1 with err: the segment is refused, the connection is lost (db_is_lost), no memory. Nothing may
 * be open on db. Release either way. */
int campaign_count_read(struct campaign_count *c, struct db *db, const struct campaign_file *file,
    struct policy *policy, const struct config *config, struct err *err) MUST_CHECK;
void campaign_count_release(struct campaign_count *c);

#endif
