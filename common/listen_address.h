/* SPDX-License-Identifier: Apache-2.0 */
/* listen_address: where a listener of the configuration is to be: "127.0.0.1:8080", "[::1]:8080". */
#ifndef KAIRAN_LISTEN_ADDRESS_H
#define KAIRAN_LISTEN_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

#include "err.h"

/* A numeric address and a port. key names the setting. 0, or -1 with err. */
int listen_address_parse(const char *text, const char *key, struct sockaddr_storage *address,
    struct err *err) MUST_CHECK;

bool listen_address_is_loopback(const struct sockaddr_storage *address);

#endif
