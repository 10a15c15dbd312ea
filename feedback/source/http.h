/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http: the endpoint that SNS posts to, behind the operator's TLS proxy, the webhook for JSON
 * with an HMAC (webhook_intake.h), the pages for recipients (web.h), and GET /healthz.
 *
 * The loop's thread reads requests, by libmicrohttpd, and answers them; workers verify and parse
 * what is feedback (fetching a certificate may block there), and hand it back for the intake. A
 * request is suspended meanwhile and answered when its events are committed.
 *
 *   200 committed   400 not a document of SNS, or doubtful framing   403 forged, not our topic
 *   404 405 413     503 try again: no database, queue full, certificate not to be had, too late
 *   Of the webhook: 401 not signed by a key of ours, 403 too old or from the future, 429 too many
 *
 * A connection goes on after a 200 to a request with one Content-Length, as a proxy wants it; after
 * any other answer, and after a page, it is closed. Refuses a second Content-Length,
 * Content-Length beside Transfer-Encoding, an absolute-form target, bodies past SNS_BODY_MAX.
 * Limits in http.c.
 */
#ifndef KAIRAN_FEEDBACK_HTTP_H
#define KAIRAN_FEEDBACK_HTTP_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "err.h"
#include "intake.h"
#include "sns_intake.h"
#include "web.h"
#include "webhook_intake.h"

struct http_config {
	const char *listen;	      /* "127.0.0.1:8080", "[::1]:8080", "0.0.0.0:8080" */
	const char *path;	      /* "/sns" */
	const struct sns_intake *sns; /* borrowed, like all here, until http_free() */
	struct intake *intake;
	struct web *web;		/* NULL: no pages */
	struct source *source;		/* whose health is kept; may be NULL */
	struct webhook_intake *webhook; /* NULL: none */
	struct source *webhook_source;
	unsigned workers;
};

#define HTTP_ANSWERS 29

/* Answers given, by status and reason; http_answer_row() names each. */
struct http_counts {
	uint64_t answers[HTTP_ANSWERS];
};

/* Of a number below HTTP_ANSWERS. Fixed: nothing of a request is in it. */
struct http_answer_row {
	unsigned status; /* 0: any other */
	const char *reason;
};
struct http_answer_row http_answer_row(size_t number);

struct http;

/* Starts listening. NULL with err. */
struct http *http_new(uv_loop_t *loop, const struct http_config *config, struct err *err);

/* Closes the listening socket; what was accepted goes on. */
void http_stop(struct http *http);

/* Requests whose answer is still due. */
bool http_is_idle(const struct http *http);

/* Answers what is left with 503, ends all threads (up to SNS_CERT_TIMEOUT_S) and frees. The
 * intake must be freed after it and be given no chance to run in between. */
void http_free(struct http *http);

struct http_counts http_counts(const struct http *http);

#endif
