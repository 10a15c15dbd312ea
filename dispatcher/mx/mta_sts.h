/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mta_sts: the policy of a domain about TLS of its mail servers (RFC 8461): what its TXT record and
 * its policy file say. Pure; sts_fetch gets them.
 */
#ifndef KAIRAN_MTA_STS_H
#define KAIRAN_MTA_STS_H

#include <stdbool.h>
#include <stddef.h>

#include "dns.h"
#include "slice.h"

#define MTA_STS_ID_MAX 32
#define MTA_STS_HOSTS_MAX 20
#define MTA_STS_BYTES_MAX 65536	   /* of a policy file (3.3) */
#define MTA_STS_AGE_MAX_S 31557600 /* 3.2 */

enum mta_sts_mode { MTA_STS_NONE, MTA_STS_TESTING, MTA_STS_ENFORCE };

struct mta_sts_policy {
	enum mta_sts_mode mode;
	unsigned max_age_s;
	size_t host_count;
	char hosts[MTA_STS_HOSTS_MAX]
		  [DNS_NAME_MAX + 1]; /* lower case, perhaps with "*." in front */
};

/* The id of the one record that says v=STSv1 among the texts of _mta-sts.DOMAIN (3.1). false: none,
 * more than one, or malformed: the domain has no policy. */
bool mta_sts_read_record(const struct dns_answer *answer, char id[MTA_STS_ID_MAX + 1]);

/* A policy file (3.2). false when it is malformed. */
bool mta_sts_read_policy(struct slice text, struct mta_sts_policy *policy);

/* The policy allows this mail server (4.1); "*." stands for one label. policy: const void * for
 * mx_filter(). */
bool mta_sts_allows(const void *policy, const char *host);

#endif
