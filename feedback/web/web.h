/* SPDX-License-Identifier: Apache-2.0 */
/*
 * web: the pages for recipients: from a request, by way of the database, to an answer. Runs on
 * the loop; http.c owns the connections.
 *
 * An unsubscribe is an event like all others: it goes through the intake into kairan.ingest(),
 * and the answer comes after the commit. The rest are functions of schema/007_web.sql.
 *
 *   200 done or to be read   303 to the page of whoever invited   404 no such link: forged, cut
 *   off, gone, all alike   422 look at the form again   503 nothing has changed, try again
 */
#ifndef KAIRAN_FEEDBACK_WEB_H
#define KAIRAN_FEEDBACK_WEB_H

#include <stdbool.h>

#include "buf.h"
#include "config.h"
#include "err.h"
#include "intake.h"
#include "page.h"
#include "pgloop.h"
#include "web_request.h"

#define WEB_UNDO_MINUTES "60" /* an unsubscribe can be taken back by its own link */

struct web;

/* keys, config, pg and intake are borrowed until web_free(). NULL with err: a mistake in the
 * configuration or in a file of web.words. */
struct web *web_new(const struct config *config, const struct token_keys *keys, struct pgloop *pg,
    struct intake *intake, struct err *err);

/* Free it after pg, and before the intake. */
void web_free(struct web *web);

/* Strings are borrowed until the answer is sent: they live in the job's arena or for good. */
struct web_answer {
	unsigned status;
	struct buf body;      /* the callee takes it */
	const char *policy;   /* Content-Security-Policy */
	const char *location; /* of 303, else NULL */
};

/* One request under way; made by http.c, usually inside its own struct. in and agent point to
 * what lives as long as the job. done is called exactly once, perhaps within web_begin(). */
struct web_job {
	struct web_request_input in;
	struct slice agent;  /* User-Agent */
	struct arena *arena; /* of WEB_ARENA_MAX at least */
	void (*done)(struct web_job *job, struct web_answer *answer);

	/* of web */
	struct web *web;
	struct web_request request;
	struct page page;
	const char *policy, *success_url, *failure_url;
	struct feedback_events events;
	struct intake_item item;
};

void web_begin(struct web *web, struct web_job *job);

#endif
