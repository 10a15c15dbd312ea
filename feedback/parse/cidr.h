/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cidr: lists of networks: "192.0.2.0/24, 2001:db8::/32, 198.51.100.7". Pure. IPv4 within IPv6
 * (::ffff:192.0.2.1) is the IPv4 address, in lists and in what is looked up.
 */
#ifndef KAIRAN_CIDR_H
#define KAIRAN_CIDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "err.h"
#include "slice.h"

#define CIDR_MAX 1000 /* networks of a list */

struct cidr {
	uint8_t bytes[16]; /* IPv4 as ::ffff:a.b.c.d */
	unsigned bits;	   /* of 128 */
};

struct cidr_list {
	struct cidr *items; /* owned */
	size_t count;
};

/* Networks between commas and blanks; an address alone is its own network. -1 with err, which
 * names the setting: not an address, a bit set behind the prefix (a slip of the pen), a NUL, too many.
 * Release it either way. */
int cidr_list_parse(
    struct cidr_list *list, struct slice text, const char *setting, struct err *err) MUST_CHECK;
void cidr_list_release(struct cidr_list *list);

/* False for what is no IP address. */
bool cidr_list_has(const struct cidr_list *list, const struct sockaddr *address);

#endif
