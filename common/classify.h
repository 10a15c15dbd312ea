/* SPDX-License-Identifier: Apache-2.0 */
/*
 * classify: whose fault a refusal is, how far it reaches, and one word for why. One table of
 * rules serves the dispatcher (live replies) and feedback (diagnostics in bounces), so that
 * both suppress and retry alike. Pure; it decides neither kind nor retry.
 *
 * Reasons (all there are):
 *   user_unknown      the mailbox does not exist
 *   domain_unknown    the domain does not exist or takes no mail
 *   bad_address       the address is malformed or ambiguous
 *   mailbox_disabled  the mailbox exists and is closed or inactive
 *   mailbox_full      over quota
 *   moved             the owner has gone elsewhere or changed
 *   too_large         the message is too big
 *   content           the content was refused (spam, virus, malformed)
 *   policy            refused by policy, without a better word
 *   reputation        our address, domain or network is listed or distrusted
 *   rate              too much, too fast, too many connections
 *   greylisted        come back later
 *   system            the remote system is unwell
 *   network           no connection, DNS, timeout, routing
 *   expired           somebody gave up after trying
 *   auth              SPF, DKIM, DMARC, reverse DNS, login or TLS required
 *   config            our own commands, sender address or set-up
 *   undefined         nothing known
 */
#ifndef KAIRAN_CLASSIFY_H
#define KAIRAN_CLASSIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "outcome.h"

struct classify_input {
	enum outcome_phase phase; /* NONE for a diagnostic without one: treated as RCPT */
	int code;		  /* reply code, 0 when unknown: then enhanced[0] decides */
	uint16_t enhanced[3];	  /* all 0 when absent */
	struct slice text;	  /* reply or diagnostic text; only its first 2 kB are looked at */
};

struct classify_verdict {
	enum outcome_class cls;
	enum outcome_scope scope;
	const char *reason; /* static */
	const char *rule;   /* static: where the rule that matched comes from */
	bool by_words;	    /* of the text; else by its codes alone */
};

/* Never fails; a success (2xx) gives CLASS_NONE, "undefined". */
struct classify_verdict classify(const struct classify_input *in);

#endif
