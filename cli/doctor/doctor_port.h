/* SPDX-License-Identifier: Apache-2.0 */
/* doctor_port: does somebody greet where mail goes: the relays, and port 25 of others. */
#ifndef KAIRAN_DOCTOR_PORT_H
#define KAIRAN_DOCTOR_PORT_H

#include "config.h"
#include "doctor.h"

/* Every entry of relay.host, when dispatcher.transport is relay; with relay.tls = implicit within
 * TLS, and with a certificate that dispatchers would take. */
void doctor_check_relays(struct doctor_checks *d, const struct config *config);

/* probe: HOST:PORT or [ADDRESS]:PORT; a domain without port stands for its first MX. That it cannot
 * be reached is a failure when mail leaves from this host (transport mx), else a warning. */
void doctor_check_port25(struct doctor_checks *d, const struct config *config, const char *probe);

#endif
