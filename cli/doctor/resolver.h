/* SPDX-License-Identifier: Apache-2.0 */
/* resolver: DNS for commands: one question after another, by c-ares, with a deadline. It asks
 * the servers of the system, or a given one. */
#ifndef KAIRAN_RESOLVER_H
#define KAIRAN_RESOLVER_H

#include "dns.h"
#include "err.h"

struct resolver;

/* server: "address", "address:port" or "[address]:port"; NULL: those of the system. NULL with err. */
struct resolver *resolver_new(const char *server, struct err *err) MUST_CHECK;
void resolver_free(struct resolver *r);

/* Borrowed from r. */
const struct dns *resolver_dns(const struct resolver *r);

#endif
