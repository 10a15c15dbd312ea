/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics_server: the listener behind /metrics of every program. HTTP on the loopback only, GET
 * only, one request per connection; a thread of libmicrohttpd answers, so that a program that is
 * stuck can still be seen to be stuck. A page is either rendered when asked for (the function
 * must be safe on that thread), or shows the text that the program published last.
 */
#ifndef KAIRAN_METRICS_SERVER_H
#define KAIRAN_METRICS_SERVER_H

#include "buf.h"
#include "err.h"

#define METRICS_SERVER_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct metrics_page {
	const char *path;			    /* "/metrics" */
	const char *type;			    /* Content-Type */
	void (*render)(void *ctx, struct buf *out); /* NULL: the published text */
};

struct metrics_server;

/* listen: "127.0.0.1:9630" or "[::1]:9630"; key: the configuration key it stands in, for errors.
 * pages: ends with path NULL, borrowed. NULL with err. */
struct metrics_server *metrics_server_new(const char *listen, const char *key,
    const struct metrics_page *pages, void *ctx, struct err *err) MUST_CHECK;
/* Waits for requests under way. server may be NULL. */
void metrics_server_free(struct metrics_server *server);

/* Replaces the published text by a copy; a text that failed (no memory) is not taken. Until the first
 * one, pages without render answer 503. server may be NULL. */
void metrics_server_publish(struct metrics_server *server, const struct buf *text);

#endif
