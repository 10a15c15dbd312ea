/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ses_sandbox: whom an account of Amazon SES in the sandbox may write to: the identities that the
 * producer keeps in kairan.ses_sandbox, and the mailbox simulator (SES Developer Guide, "Request
 * production access").
 */
#ifndef KAIRAN_SES_SANDBOX_H
#define KAIRAN_SES_SANDBOX_H

#include <stdbool.h>

#include "addr.h"
#include "config.h"
#include "db.h"
#include "slice.h"

/* How the note of a candidate begins whom the sandbox leaves out (plan_exclude()). */
#define SES_SANDBOX_NOTE "sandbox: "

struct ses_sandbox {
	bool is_on; /* else everybody may be written to */
	char region[64];
	char *text; /* owned: identities, lower case, a LF in front of and behind each */
};

/* Of the region that this installation sends through; off when it does not send by the API of SES, or
 * SES was not asked for an hour. 0, or -1 with db->error. Release either way. */
int ses_sandbox_read(struct ses_sandbox *s, struct db *db, const struct config *config) MUST_CHECK;
void ses_sandbox_release(struct ses_sandbox *s);

/* The address, its domain or one above it is verified, or it is the simulator's. A guess to the
 * generous side: SES itself decides. */
bool ses_sandbox_allows(const struct ses_sandbox *s, const struct addr *a);

#endif
