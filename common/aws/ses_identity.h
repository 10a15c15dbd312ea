/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ses_identity: the identities (addresses and domains) of an account at Amazon SES as
 * ListEmailIdentities tells them (API v2, service model 2019-09-27). No I/O. In the sandbox they are
 * all that may be written to, besides the mailbox simulator.
 */
#ifndef KAIRAN_SES_IDENTITY_H
#define KAIRAN_SES_IDENTITY_H

#include <stddef.h>

#include "arena.h"
#include "buf.h"
#include "err.h"
#include "slice.h"

#define SES_IDENTITY_PATH "/v2/email/identities"
#define SES_IDENTITY_PAGE 1000 /* asked for at once, the most there is */
#define SES_IDENTITY_MAX 320   /* bytes of a name */

struct ses_identity_page {
	struct slice *names; /* of those that are verified */
	size_t count;
	struct slice next; /* token of the page behind; empty: this is the last */
};

/* Everything lives in the arena. An identity counts as verified when VerificationStatus is SUCCESS, or,
 * where that is not told, SendingEnabled is true. 0, or -1 with err when the answer is none. */
int ses_identities_parse(struct slice json, struct arena *arena, struct ses_identity_page *page,
    struct err *err) MUST_CHECK;

/* Query of ListEmailIdentities, sorted and encoded; next "" for the first page. */
void ses_identities_query(struct buf *out, struct slice next);

#endif
