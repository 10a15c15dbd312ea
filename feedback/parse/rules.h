/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rules: which recipients the SMTP listener takes, in the manner of the receipt rules of Amazon
 * SES: an ordered list, and the first row that fits an address decides. Pure.
 *
 *     # who                        what
 *     token                        accept    a return path or unsubscribe address of ours that verifies
 *     postmaster@bounce.example    keep      this address
 *     bounce.example               bounce    any address of this domain
 *     .bounce.example              drop      any address of a domain below it
 *
 *   accept  read; kept for a person when it is not understood
 *   keep    read, and kept for a person in any case
 *   drop    taken and thrown away, unread
 *   bounce  refused with 550
 *
 * What no row fits is refused, too: as unknown when its domain is in a row, else as foreign. No
 * row can relay: there is no word for it. Case does not matter; empty lines and # comments are
 * skipped.
 */
#ifndef KAIRAN_RULES_H
#define KAIRAN_RULES_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"
#include "slice.h"

#define RULES_MAX 1000
#define RULES_TEXT_MAX ((size_t)256 * 1024)

enum rule_action { RULE_BOUNCE, RULE_FOREIGN, RULE_ACCEPT, RULE_KEEP, RULE_DROP };

enum rule_kind { RULE_TOKEN, RULE_ADDRESS, RULE_DOMAIN, RULE_BELOW };

struct rule {
	enum rule_kind kind;
	struct slice who; /* of the list's text */
	enum rule_action action;
};

struct rules {
	char *text;	    /* owned */
	struct rule *items; /* owned */
	size_t count;
};

/* Reads the text of a file. -1 with err (the line, and what is wrong). Release it either way. */
int rules_parse(struct rules *rules, struct slice text, struct err *err) MUST_CHECK;

/* What holds without a file: tokens are accepted, postmaster, abuse and fbl at the domain kept. */
int rules_standard(struct rules *rules, struct slice domain, struct err *err) MUST_CHECK;

void rules_release(struct rules *rules);

/* is_token: the address is b+TOKEN@ or u+TOKEN@ at our domain and its token verifies. */
enum rule_action rules_decide(const struct rules *rules, struct slice address, bool is_token);

#endif
