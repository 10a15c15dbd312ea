/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire: a connection on which libcurl has done the address, TLS and the login (IMAP or POP3);
 * from then on lines go both ways. Blocks, for at most WIRE_SILENCE_S without a byte; ends
 * within a second when *stop becomes true.
 *
 * libcurl's own IMAP and POP3 transfers are not used: they mark mail as seen, and would connect
 * again between two commands, when message numbers may have changed.
 */
#ifndef KAIRAN_FEEDBACK_WIRE_H
#define KAIRAN_FEEDBACK_WIRE_H

#include <curl/curl.h>
#include <stdatomic.h>

#include "buf.h"
#include "err.h"
#include "slice.h"

#define WIRE_SILENCE_S 60
#define WIRE_LINE_MAX ((size_t)1024 * 1024)

struct wire {
	CURL *curl;
	struct buf in; /* not yet taken */
	size_t taken;  /* of in, by the line given out last */
	const atomic_bool *stop;
};

struct wire_config {
	const char *url;
	const char *user, *password;
	const char *ca_file; /* "": the system's */
	bool needs_tls;
	const atomic_bool *stop;
};

/* 0 logged in, or -1 with err. Close it either way. */
MUST_CHECK int wire_open(struct wire *wire, const struct wire_config *config, struct err *err);
void wire_close(struct wire *wire);

/* Sends a line; the end is put behind it. */
MUST_CHECK int wire_send(struct wire *wire, struct slice line, struct err *err);

/* The next line without its end, at most WIRE_LINE_MAX. Good until the next call. */
MUST_CHECK int wire_line(struct wire *wire, struct slice *line, struct err *err);

/* Exactly n bytes, appended to out; what does not fit there is dropped. */
MUST_CHECK int wire_bytes(struct wire *wire, size_t n, struct buf *out, struct err *err);

#endif
