/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notify: a word to the service manager, sd_notify(3)'s protocol: one datagram to the socket that
 * NOTIFY_SOCKET names. Does nothing where there is none.
 */
#ifndef KAIRAN_NOTIFY_H
#define KAIRAN_NOTIFY_H

/* state: "READY=1", "STOPPING=1". */
void notify_service(const char *state);

/* "RELOADING=1" with the time that systemd wants beside it; READY=1 follows. */
void notify_reloading(void);

/* Milliseconds after which the manager wants to hear WATCHDOG=1 again, half of what it allows
 * (WATCHDOG_USEC, WATCHDOG_PID); 0: it does not. */
unsigned long notify_watchdog_ms(void);

#endif
