/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session: one connection to the relay: a socket, a timer and an SMTP engine. It takes flights
 * from its route when its engine wants one, has them composed, and gives each outcome to settle.
 */
#ifndef KAIRAN_SESSION_H
#define KAIRAN_SESSION_H

#include <stdbool.h>
#include <sys/socket.h>

#include "dispatcher.h"
#include "flight.h"
#include "outcome.h"

struct session;

/* The route a session belongs to. */
struct session_host {
	void *ctx;
	/* the next flight that may leave now, NULL: none; the session has it then */
	struct flight *(*take)(void *ctx);
	/* back from a session that ended before its turn */
	void (*give_back)(void *ctx, struct flight *f, const struct outcome *why);
	/* it ended badly before any message (connect, greeting, EHLO) */
	void (*unwell)(void *ctx, const struct outcome *why);
	/* it got through its EHLO */
	void (*works)(void *ctx);
	/* it has ended; its memory goes now */
	void (*ended)(void *ctx, struct session *s);
};

/* Starts connecting. NULL without memory. `host` outlives the session, which frees itself after
 * its end. */
struct session *session_open(
    struct dispatcher *d, const struct session_host *host, const struct sockaddr *address);

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
