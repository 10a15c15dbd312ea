/* SPDX-License-Identifier: Apache-2.0 */
/*
 * addr: one mail address, checked and normalised. What is checked is byte for byte what is
 * sent and what is keyed.
 *
 * Accepted: dot-atom local part @ host name with at least two labels (RFC 5321 4.1.2), IDN
 * domains (IDNA2008 by libidn2, turned into A-labels), local parts in UTF-8 (RFC 6531 3.3), which
 * are brought to NFC (RFC 6532 3.1) and need SMTPUTF8 on every hop. Refused: comments, groups,
 * quoted local parts, address literals, dotless domains, a leading '-', control characters,
 * over-long parts (64 / 255 / 254 octets). Of local parts that are not ASCII also what is a slip
 * of the keyboard or the clipboard rather than a mailbox: invisible characters, other blanks, and
 * full-width, half-width and other compatibility forms (those that NFKC changes; RFC 8264 9.17).
 *
 * Address key = local part with ASCII letters in lower case @ lower-case A-label domain, without
 * dot or plus folding. SQL function kairan.address_key() gives the same answers
 * (tests/data/addresses.tsv).
 */
#ifndef KAIRAN_ADDR_H
#define KAIRAN_ADDR_H

#include <stdbool.h>

#include "err.h"
#include "slice.h"

#define ADDR_MAX 254 /* RFC 5321 4.5.3.1.3: path 256 with its angle brackets */

struct addr {
	char text[ADDR_MAX +
	    1]; /* as sent: local part as written (NFC), domain as lower-case A-labels */
	char key[ADDR_MAX + 1]; /* address key */
	size_t len;		/* of both */
	size_t domain_at;	/* offset of the domain in both */
};

/* 0, or -1 with err (a reason without the address in it, fit for a log). input is UTF-8
 * without surrounding blanks. */
int addr_parse(struct addr *a, struct slice input, struct err *err) MUST_CHECK;

/* Borrowed from a. */
struct slice addr_domain(const struct addr *a);

/* True when the address can only be sent to by hosts with SMTPUTF8: its local part is not ASCII. */
bool addr_needs_utf8(struct slice address);

/* As addr_parse, for an address that mail is sent from: it must be ASCII, since a mail from
 * another one could reach nobody whose hosts do not all have SMTPUTF8. */
int addr_parse_sender(struct addr *a, struct slice input, struct err *err) MUST_CHECK;

#endif
