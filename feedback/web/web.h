/* SPDX-License-Identifier: Apache-2.0 */
/*
 * web: the pages for recipients: from a request, by way of the database, to an answer. Runs on
 * the loop; http.c owns the connections.
 *
 * An unsubscribe is an event like all others: it goes through the intake into kairan.ingest(),
 * and the answer comes after the commit. The rest are functions of schema/007_web.sql.
 *
 * Opens and clicks are counted on the side (hits.h) and answered at once; where a click leads is
 * what the dispatcher kept under its id. The mail in a browser is made from the templates of its run
 * and the customer as he is now (web_view.c).
 *
 *   200 done or to be read   302 a counted link   303 to the page of whoever invited   404 no such link: forged, cut
 *   off, gone, all alike   410 the customer was erased   422 look at the form again   503 nothing has changed, try again
 */
#ifndef KAIRAN_FEEDBACK_WEB_H
#define KAIRAN_FEEDBACK_WEB_H

#include <stdbool.h>

#include "buf.h"
#include "config.h"
#include "err.h"
#include "intake.h"
#include "message.h"
#include "page.h"
#include "pgloop.h"
#include "web_request.h"

#define WEB_UNDO_MINUTES "60" /* an unsubscribe can be taken back by its own link */

struct web;

/* keys, config, pg and intake are borrowed until web_free(). NULL with err: a mistake in the
 * configuration, in a file of web.words or in web.machines. */
struct web *web_new(uv_loop_t *loop, const struct config *config, const struct token_keys *keys,
    struct pgloop *pg, struct intake *intake, struct err *err);

/* The end is near: opens and clicks that wait go to the database now. */
void web_stop(struct web *web);

/* Opens and clicks that wait. */
size_t web_waiting(const struct web *web);

/* Free it after pg, and before the intake; the loop must run on until its handle is closed. */
void web_free(struct web *web);

/* Strings are borrowed until the answer is sent: they live in the job's arena or for good. */
struct web_answer {
	unsigned status;
	struct buf body;      /* the callee takes it */
	const char *type;     /* Content-Type; NULL: HTML in UTF-8 */
	const char *policy;   /* Content-Security-Policy */
	const char *location; /* of 302 and 303, else NULL */
};

/* One request under way; made by http.c, usually inside its own struct. in and agent point to
 * what lives as long as the job. done is called exactly once, perhaps within web_begin(). */
struct web_job {
	struct web_request_input in;
	struct slice agent;   /* User-Agent */
	struct slice purpose; /* what Purpose, Sec-Purpose, X-Purpose or X-Moz says */
	struct arena *arena;  /* of WEB_ARENA_MAX at least */
	void (*done)(struct web_job *job, struct web_answer *answer);

	/* of web */
	struct web *web;
	struct web_request request;
	struct page page;
	const char *policy, *success_url, *failure_url;
	struct feedback_events events;
	struct intake_item item;
	struct arena view_arena; /* of a mail being shown */
	struct message_plan *view;
};

void web_begin(struct web *web, struct web_job *job);

#endif
