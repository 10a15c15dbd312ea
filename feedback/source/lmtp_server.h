/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lmtp_server: mail from the local MTA by LMTP. Many sessions on the loop; a message is parsed,
 * handed to the intake and answered 250 when it is committed, 451 when it cannot be taken now.
 *
 * LMTP knows no password, so it listens on a unix socket or the loopback only. A closed network
 * of one's own (containers) may be opened with the word "network:" in front of the address.
 */
#ifndef KAIRAN_FEEDBACK_LMTP_SERVER_H
#define KAIRAN_FEEDBACK_LMTP_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "err.h"
#include "intake.h"
#include "mail_intake.h"

#define LMTP_SESSIONS_MAX 200
#define LMTP_IDLE_S 300

struct lmtp_server_config {
	const char *listen;	 /* "unix:/path", "127.0.0.1:24", "network:10.0.0.2:24" */
	const char *hostname;	 /* borrowed, like all here, until the source is freed */
	struct mail_intake mail; /* without a domain, b+… and u+… of any are taken */
	struct intake *intake;
};

/* A stale unix socket is removed only if nobody answers on it; the new one has mode 0666, so
 * restrict its folder. NULL with err. */
struct source *lmtp_server_new(
    uv_loop_t *loop, const struct lmtp_server_config *config, struct err *err);

#endif
