/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mail_server: sessions of mail on the loop, in either dialect of smtpd.h: sockets, clocks, TLS,
 * and the way of a message to the intake. A message is answered 250 when it is committed, 451
 * when it cannot be taken now. Who may connect, what is taken and what a mail means is the
 * owner's (lmtp_server.c, smtp_server.c).
 *
 * Slow clients: silence of idle_s ends a session, and so does its whole length session_s. When
 * three quarters of the sessions are in use, both are short (MAIL_SERVER_STRESS_*), so that those
 * who say nothing make room.
 */
#ifndef KAIRAN_FEEDBACK_MAIL_SERVER_H
#define KAIRAN_FEEDBACK_MAIL_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <uv.h>

#include "arena.h"
#include "err.h"
#include "event.h"
#include "intake.h"
#include "smtpd.h"
#include "source.h"
#include "tls.h"

#define MAIL_SERVER_STRESS_IDLE_S 10
#define MAIL_SERVER_STRESS_SESSION_S 120

struct mail_server_config {
	const char *name; /* of the source: "lmtp", "smtp" */
	struct smtpd_config smtpd;
	unsigned sessions_max;
	unsigned per_peer_max; /* sessions from one address; 0: any number */
	unsigned idle_s;
	unsigned session_s; /* 0: no limit */
	struct intake *intake;
	void *owner;
	/* NULL: everybody may. Else the refusal ("554 5.7.1 …") in place of the greeting, or NULL. */
	const char *(*refuses)(void *owner, const struct sockaddr *peer);
	/* For STARTTLS, when smtpd.offers_tls; NULL: not now. Borrowed for the call. */
	struct tls_context *(*tls)(void *owner);
	/* A mail, from peer -> events in the arena; none: there is nothing to record. 0, or -1: not
	 * now. Nothing is borrowed of mail. */
	int (*take)(void *owner, const struct smtpd_message *mail, const struct sockaddr *peer,
	    struct arena *arena, struct feedback_events *events);
	void (*release)(void *owner); /* with the server; may be NULL */
};

struct mail_server;

/* The config is copied, what it points to is borrowed until the source is freed. NULL with err;
 * then the owner was released. */
struct mail_server *mail_server_new(
    uv_loop_t *loop, const struct mail_server_config *config, struct err *err);

/* Listen; only then is the server used as a source. 0, or -1 with err, which names the setting; free
 * the source then. */
int mail_server_listen_unix(
    struct mail_server *server, const char *path, const char *setting, struct err *err) MUST_CHECK;
int mail_server_listen_tcp(struct mail_server *server, const struct sockaddr_storage *address,
    const char *setting, struct err *err) MUST_CHECK;

struct source *mail_server_source(struct mail_server *server);

#endif
