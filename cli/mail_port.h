/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mail_port: one short visit to a mail server, which waits: greeting, perhaps EHLO and STARTTLS, QUIT. What it
 * offers is for a person or a check before the start; mail goes by dispatchers.
 */
#ifndef KAIRAN_MAIL_PORT_H
#define KAIRAN_MAIL_PORT_H

#include <stdbool.h>

#include "err.h"
#include "smtp_ehlo.h"
#include "tls.h"

struct mail_port {
	const char *host; /* name, address, or the path of a unix socket */
	unsigned port;
	bool local;		 /* host is a path */
	struct tls_context *tls; /* NULL: in clear */
	const char *tls_name;
	bool starttls;	  /* tls is for STARTTLS, when it is offered; else from the first byte */
	const char *ehlo; /* our name; NULL: its greeting is enough */
	bool lmtp;	  /* say LHLO */
};

/* 0 when it greets (and answers EHLO, with *features of the last one); or -1 with err. Each of its addresses is waited
 * for so long; looking the name up takes as long as it takes. features may be NULL without ehlo. */
int mail_port_visit(const struct mail_port *p, unsigned wait_ms, struct smtp_features *features,
    struct err *err) MUST_CHECK;

#endif
