/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ses_link: one connection to an endpoint of HTTP, kept between requests, and one request at a time on
 * it. libcurl makes the connection (names, proxies, TLS, certificates) and carries its bytes; what is
 * said on it is said here, with one watch on its socket for the whole of its life.
 *
 * What has to be sent last, the end of the body, is not handed to anybody before may_leave() has
 * agreed. From then on the request is never repeated, not even when nothing was heard. An idle
 * connection that its server has closed costs a new connection and nothing else. SIGPIPE is ignored
 * by the program.
 */
#ifndef KAIRAN_SES_LINK_H
#define KAIRAN_SES_LINK_H

#include <stdbool.h>
#include <uv.h>

#include "config.h"
#include "curlloop.h"
#include "http_answer.h"
#include "slice.h"

#define SES_LINK_PIECE ((size_t)16384) /* bytes of one TLS record (RFC 8446 5.1) */

/* Where links lead to. Borrowed by all of them for their life. */
struct ses_link_place {
	uv_loop_t *loop;
	struct curlloop *curl;	     /* of ses_link_connected() */
	const char *url;	     /* http(s)://host[:port] */
	const char *ca_file;	     /* NULL: the system's */
	const struct config *config; /* ses.connect_timeout_s, timeout_s, idle_s; may change */
	char in[SES_LINK_PIECE];     /* what was just read */
};

enum ses_link_end {
	SES_LINK_WHOLE,	  /* a whole answer */
	SES_LINK_CUT,	  /* an answer's status, and not all of the rest */
	SES_LINK_SILENT,  /* no answer */
	SES_LINK_REFUSED, /* by may_leave() */
};

struct ses_link_report {
	enum ses_link_end end;
	const struct http_answer *answer; /* WHOLE and CUT; until the next request */
	const char *text;		  /* SILENT: why; static */
	bool begun;			  /* some of the request was written */
	bool ours; /* SILENT: we have no descriptor or port for a connection */
};

struct ses_link_user {
	/* the rest of the request may leave now, which makes it whole; called once a request */
	bool (*may_leave)(void *ctx);
	/* the request has ended; the link is free for the next one. Perhaps before ses_link_send()
	 * returns */
	void (*ended)(void *ctx, const struct ses_link_report *report);
};

struct ses_link;

/* Connects with the first request. NULL without memory. */
struct ses_link *ses_link_new(
    struct ses_link_place *place, const struct ses_link_user *user, void *ctx);

/* With no request under way, and the loop has closed what ses_link_close() left. */
void ses_link_free(struct ses_link *l);

/* Begins a request, head and body in one; borrowed until it has ended. Only when none is under way.
 * False without memory: it has not begun, and nothing will be told. */
bool ses_link_send(struct ses_link *l, struct slice request) MUST_CHECK;

/* Each second: ends a wait that is too long and closes what was idle for too long. */
void ses_link_tick(struct ses_link *l);

/* Closes the connection. A request under way is forgotten without a word. */
void ses_link_close(struct ses_link *l);

/* For curlloop_new(): a handle of a link has connected, or has not. */
void ses_link_connected(void *ctx, void *link, CURLcode code);

#endif
