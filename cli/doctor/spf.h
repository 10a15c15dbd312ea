/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spf: may this address send for this domain? check_host() of RFC 7208 4, with its limits of 10 terms
 * that ask DNS and 2 that find nothing. Terms with macros and ptr are not followed: they match
 * nothing, and the answer says so. No I/O of its own.
 */
#ifndef KAIRAN_SPF_H
#define KAIRAN_SPF_H

#include "arena.h"
#include "dns.h"

#define SPF_LOOKUPS_MAX 10 /* RFC 7208 4.6.4 */
#define SPF_VOIDS_MAX 2

enum spf_result {
	SPF_NONE, /* no record */
	SPF_NEUTRAL,
	SPF_PASS,
	SPF_FAIL,
	SPF_SOFTFAIL,
	SPF_TEMPERROR, /* DNS did not answer */
	SPF_PERMERROR  /* the record is wrong */
};

const char *spf_result_name(enum spf_result result);

struct spf_answer {
	enum spf_result result;
	struct slice record; /* of the domain itself; empty: none */
	char why[200];	     /* the term that decided, or what is wrong */
	unsigned lookups;
	bool not_followed; /* a term with a macro, or ptr, was passed over */
};

/* address NULL: only whether there is one record that can be read as far as it goes. Strings of the
 * answer are in the arena. */
void spf_check(const struct dns *dns, struct arena *arena, const char *address, const char *domain,
    struct spf_answer *answer);

#endif
