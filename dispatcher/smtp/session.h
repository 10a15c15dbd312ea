/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session: one connection to a relay: a socket, TLS, a timer and an SMTP engine. It takes flights
 * from its route when its engine wants one, has them composed, and gives each outcome to settle.
 */
#ifndef KAIRAN_SESSION_H
#define KAIRAN_SESSION_H

#include <stdbool.h>
#include <sys/socket.h>

#include "auth.h"
#include "dispatcher.h"
#include "flight.h"
#include "outcome.h"
#include "relay.h"
#include "smtp.h"
#include "tls.h"

struct session;

/* The route a session belongs to, and how it speaks. Borrowed for the life of its sessions. */
struct session_host {
	void *ctx;
	bool lmtp;
	bool is_relay;		     /* what it says of our account is its own word */
	struct tls_context *tls;     /* NULL: none */
	const struct auth *auth;     /* NULL: none */
	const struct sockaddr *from; /* local address to bind to, NULL: the kernel's choice */
	const char *ehlo;
	unsigned max_messages, idle_s, connect_timeout_s;

	/* the next flight that may leave now, NULL: none; the session has it then */
	struct flight *(*take)(void *ctx, struct relay *relay);
	/* back from a session that ended before its turn, or with an outcome that the relay is to
	 * blame for (relay_is_to_blame) */
	void (*give_back)(
	    void *ctx, struct relay *relay, struct flight *f, const struct outcome *why);
	/* it ended badly before any message (connect, greeting, EHLO, TLS, login) */
	void (*unwell)(void *ctx, struct relay *relay, const struct outcome *why);
	/* it got through its EHLO, TLS and login */
	void (*works)(void *ctx, struct relay *relay);
	/* it has ended; its memory goes now */
	void (*ended)(void *ctx, struct session *s);
};

/* Starts connecting to the relay's present address. tls: how this connection is encrypted.
 * NULL with *error (of libuv) when it cannot even be begun. `host` and `relay` outlive the
 * session, which frees itself after its end. */
struct session *session_open(struct dispatcher *d, const struct session_host *host,
    struct relay *relay, enum smtp_tls tls, int *error);

struct relay *session_relay(const struct session *s);

/* True when it can take a flight now. */
bool session_is_free(const struct session *s);

/* Has nothing in hand. */
bool session_is_idle(const struct session *s);

/* Got through its EHLO, TLS and login; also while it ends. */
bool session_has_worked(const struct session *s);

/* Not yet through EHLO. */
bool session_is_connecting(const struct session *s);

/* Looks for work: takes due flights, writes. Safe to call at any time. */
void session_kick(struct session *s);

/* Finishes what it has in hand, then QUIT. */
void session_quit(struct session *s);

#endif
