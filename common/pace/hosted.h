/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hosted: where domains that the table of providers does not name have their mail: at one of its providers,
 * by the names of their mail servers, or at a site that several of them share. What DNS says is
 * kept in the table domain_mx; what is not there is asked for pace.mx_wait_s at most.
 */
#ifndef KAIRAN_HOSTED_H
#define KAIRAN_HOSTED_H

#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "db.h"
#include "err.h"
#include "providers.h"

#define HOSTED_MIN 20	  /* recipients from which a domain is looked up, */
#define HOSTED_MAX 2000	  /* and how many, the largest first */
#define HOSTED_SITE "mx:" /* how lanes of a site are called, before the first of its hosts */

struct hosted {
	char *domain; /* owned, lower case */
	uint64_t recipients;
	bool may_share; /* it may be of the lane of a site */
	uint32_t place; /* the caller's */
	/* filled: */
	int group;  /* PROVIDERS_NONE: none of the table */
	char *site; /* owned: the lane's name; NULL: none, or too small for one */
};

struct hosted_search {
	struct db *db;
	const struct config *config;
	const struct providers *table;
	uint64_t site_min; /* recipients from which a site has a lane */
	bool keep; /* what DNS says is written into the table; needs the rights of the producer */
};

/* pace.mx_groups; for auto whether mail goes to the mail servers of each domain. */
bool hosted_wanted(const struct config *config);

/* Sorts the list by site; without one last. 0 also when DNS does not answer; -1 with err when PostgreSQL
 * does not, or there is no memory. */
int hosted_find(const struct hosted_search *search, struct hosted *list, size_t count,
    struct err *err) MUST_CHECK;

void hosted_release(struct hosted *list, size_t count); /* the list itself as well */

#endif
