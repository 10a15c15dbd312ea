/* SPDX-License-Identifier: Apache-2.0 */
/*
 * smtp_ehlo: the text of a reply to EHLO (RFC 5321 4.1.1.1) or LHLO -> what the server offers.
 * Pure. Unknown keywords and malformed parameters are passed over one by one.
 */
#ifndef KAIRAN_SMTP_EHLO_H
#define KAIRAN_SMTP_EHLO_H

#include <stdint.h>

#include "auth.h"
#include "slice.h"

enum smtp_extension {
	SMTP_EXT_PIPELINING = 1 << 0, /* RFC 2920 */
	SMTP_EXT_SIZE = 1 << 1,	      /* RFC 1870 */
	SMTP_EXT_8BITMIME = 1 << 2,   /* RFC 6152 */
	SMTP_EXT_DSN = 1 << 3,	      /* RFC 3461 */
	SMTP_EXT_ENHANCED = 1 << 4,   /* RFC 2034 */
	SMTP_EXT_STARTTLS = 1 << 5,   /* RFC 3207 */
	SMTP_EXT_AUTH = 1 << 6,	      /* RFC 4954 */
	SMTP_EXT_CHUNKING = 1 << 7,   /* RFC 3030 */
	SMTP_EXT_UTF8 = 1 << 8,	      /* RFC 6531 */
	SMTP_EXT_LIMITS = 1 << 9      /* RFC 9422 */
};

struct smtp_features {
	unsigned extensions; /* bits of enum smtp_extension */
	unsigned mechanisms; /* bits of enum auth_mechanism that AUTH names */
	uint64_t size_max;   /* SIZE, 0 = not stated */
	/* Messages of one recipient that fit in a session by LIMITS, 0 = not stated: the least of
	 * MAILMAX and RCPTDOMAINMAX, since a message adds one domain at most. RCPTMAX is 1 at
	 * least, which is what we send. */
	unsigned messages_max;
};

/* text: the lines of the reply without their codes, joined by LF; the first one is the greeting
 * and says nothing. */
struct smtp_features smtp_ehlo_parse(struct slice text);

#endif
