/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls: TLS (OpenSSL) over bytes, as client or server: what came from the network in, what goes to
 * it out. No socket, no clock. One context a route or listener, one `tls` a connection.
 *
 *	tls_input(t, bytes, n);                          from the network
 *	while ((n = tls_read(t, dst, size)) > 0)         what the peer said
 *	tls_write(t, text);                              what we say
 *	while ((out = tls_output(t)).len > 0)            to the network, then tls_wrote(t, n)
 *	switch (tls_state(t))
 *
 * Versions below 1.2 are never spoken (RFC 8996), neither are compression and renegotiation.
 */
#ifndef KAIRAN_TLS_H
#define KAIRAN_TLS_H

#include <stdbool.h>

#include "err.h"
#include "slice.h"
#include "tlsa.h"

struct tls_settings {
	bool is_server;	       /* needs a certificate; verify and ca_file do not count */
	bool verify;	       /* the certificate must be trusted and carry the name */
	bool only_1_3;	       /* else 1.2 and 1.3 */
	const char *ca_file;   /* trusted authorities, PEM; "" = the system's */
	const char *cert_file; /* our own certificate and its chain, PEM; "" = none */
	const char *key_file;  /* its key; a file that others can read is refused */
};

struct tls_context;
struct tls;

enum tls_state {
	TLS_HANDSHAKE,
	TLS_OPEN,
	TLS_ENDED, /* the peer closed properly; what came before is still read */
	TLS_FAILED /* see tls_failure() */
};

/* NULL with err (which file, what to do). The settings are not kept. */
struct tls_context *tls_context_new(
    const struct tls_settings *settings, struct err *err) MUST_CHECK;
/* Connections made from it may outlive it. */
void tls_context_free(struct tls_context *c);

/* A connection to the host of this name (or address), which is sent as SNI and verified. Its
 * first bytes are ready at once. NULL without memory.
 * tlsa: its certificate must match one of these records, whatever the context says of verifying
 * (DANE); those that OpenSSL cannot use are left out, and when none is left the context decides.
 * Borrowed for the call; NULL: none. */
struct tls *tls_new(struct tls_context *c, const char *name, const struct tlsa *tlsa) MUST_CHECK;
/* The server's side of a connection. NULL without memory. */
struct tls *tls_accept(struct tls_context *c) MUST_CHECK;
void tls_free(struct tls *t);

void tls_input(struct tls *t, const char *bytes, size_t n);

/* At most n bytes, 0 when there are none now. */
size_t tls_read(struct tls *t, char *dst, size_t n);

/* All of it, only while TLS_OPEN. False when it failed: nothing of this text was sent. */
bool tls_write(struct tls *t, struct slice text) MUST_CHECK;

/* Borrowed until the next tls_* call on t. */
struct slice tls_output(struct tls *t);
void tls_wrote(struct tls *t, size_t n);

/* Says goodbye (close_notify), for tls_output(). */
void tls_close(struct tls *t);

enum tls_state tls_state(const struct tls *t);

/* Why it failed, in words: "certificate is not for smtp.example.net", ...; "" when it did not. */
const char *tls_failure(const struct tls *t);

/* "TLSv1.3 TLS_AES_256_GCM_SHA384", perhaps with "verified by DANE" behind, for the log. */
const char *tls_version(const struct tls *t);

#endif
