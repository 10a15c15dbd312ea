/* SPDX-License-Identifier: Apache-2.0 */
/* doctor_identity: has Amazon SES verified whom this installation sends as? */
#ifndef KAIRAN_DOCTOR_IDENTITY_H
#define KAIRAN_DOCTOR_IDENTITY_H

#include "aws_call.h"
#include "config.h"
#include "doctor.h"

/* Names (addresses and domains) in any case; count of them. */
struct doctor_identities {
	const struct slice *names;
	size_t count;
};

/* sender: an address or a domain. An address is verified by itself, its domain or one above it; a
 * domain by itself or one above it. True when it is; else a result was added: a failure, or a
 * warning for a domain of which an address is verified. */
bool doctor_judge_sender(
    struct doctor_checks *d, const struct doctor_identities *verified, const char *sender);

/* Asks ListEmailIdentities, and PostgreSQL for the senders of streams (mail_from) and of campaigns
 * with a run of the last 30 days or to come; the domains, NULL at the end, are judged besides. */
void doctor_check_identities(struct doctor_checks *d, const struct config *config,
    const struct aws_client *client, const char *const *domains);

#endif
