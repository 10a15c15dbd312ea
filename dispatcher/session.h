/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session: one connection to the relay: a socket, a timer and an SMTP engine. It takes flights
 * from the route when its engine wants one, composes them, and gives each outcome to settle.
 */
#ifndef KAIRAN_SESSION_H
#define KAIRAN_SESSION_H

#include <stdbool.h>
#include <sys/socket.h>

#include "dispatcher.h"

struct session;

/* Starts connecting. NULL without memory. The session frees itself after its end and calls
 * route_forget_session() then. */
struct session *session_open(struct dispatcher *d, const struct sockaddr *address);

/* True when it can take a flight now. */
bool session_is_free(const struct session *s);

/* Through EHLO and not ending. */
bool session_is_ready(const struct session *s);

/* Not yet through EHLO. */
bool session_is_connecting(const struct session *s);

/* Looks for work: takes due flights, writes. Safe to call at any time. */
void session_kick(struct session *s);

/* Finishes what it has in hand, then QUIT. */
void session_quit(struct session *s);

#endif
